#!/usr/bin/perl

# Protects: what docs/operations.md says of how to change the token file works
# as it stands there, for root with a tight umask, too: owner and mode stay, the
# workers read it, and who was taken out is cut.  Where it goes wrong the log
# says each different error once, though many workers follow the file, with the
# remedy; and once that the file is in order again, at the same level.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $root = $> == 0;
my $t = ZLTunnel->new(workers => 3);
my %token = map { $_ => $t->token($_) } qw(keeper team7 team70 team8);
my $file = "$t->{dir}/tokens";

if ($root) {
    chown 0, (getgrnam 'www-data')[2], $file;
    chmod 0640, $file;
}

my $access = access_of($file);
my $bin = $ZLTunnel::AGENT =~ s{/[^/]*$}{}r;
$t->start;

# The commands of the docs, one after another.  "zltunnel.tokens" of nginx is the
# file here, that of /root is "new", and the editor takes out a line.

my $docs = slurp("$ZLTunnel::ROOT/docs/operations.md");
my ($section) = $docs =~ /^## Tokens\n(.*?)^To rotate/ms;
my @recipes = map { split /\n/ } $section =~ /^```sh\n(.*?)^```$/msg;
my %way = map { /(\w+)/ ? ($1 => $_) : () } @recipes;

write_file("$t->{dir}/editor", "#!/bin/sh\nexec sed -i '/ team8\$/d' \"\$1\"\n",
           0755);

recipe('cp');
cut('team8', 'edited beside, and moved');
there(qw(keeper team7 team70));

recipe('sed');
cut('team7', 'a line taken out in place');
there(qw(keeper team70));

recipe('umask', 'tail');
ok(wait_for(sub { slurp($file) =~ / team9\n/ }), 'a line is added');
ok(wait_for(sub { holds() == 3 }), 'and taken over');

write_file("$t->{dir}/new", slurp($file) =~ s/.* team70\n//r, 0600);
recipe('install');
cut('team70', 'made anew');
there('keeper');

is(errors(), 0, 'nothing of all that was an error');

different_errors();
unreadable() if $root;

$t->finish;


sub access_of {
    my ($name) = @_;

    my @st = stat $name or return 'none';
    return sprintf '%o %d:%d', $st[2] & 07777, @st[4, 5];
}


sub recipe {
    my (@ways) = @_;

    for my $way (@ways) {
        my $cmd = $way{$way} // return fail("the docs have one with $way");

        $cmd =~ s{/root/zltunnel\.tokens /etc/nginx$}{new tokens};
        $cmd =~ s{(?:/etc/nginx/)?zltunnel\.tokens}{tokens}g;
        $cmd =~ s/-o root -g www-data // if !$root;

        my ($rc, $out) = run({ env => { EDITOR => "$t->{dir}/editor" } },
                             'sh', '-c', "umask 077; cd $t->{dir} &&"
                             . "PATH=$bin:\$PATH; $cmd");
        is($rc, 0, "$way: runs as it stands") or diag($cmd, $out);
    }

    is(access_of($file), $access, "$ways[-1]: owner and mode are as before");
}


sub admitted { ZLTunnel::Wire->admitted($t, $token{ $_[0] }) }


sub cut {
    my ($name, $what) = @_;

    ok(wait_for(sub { !grep { admitted($name) } 1 .. 3 }),
       "$what: $name is not let in any more");
}

sub there { ok(admitted($_), "$_ still is") for @_ }

sub lines { my ($re) = @_; return scalar grep { /$re/ } split /\n/, $t->log }
sub errors { lines(qr/\[error\]/) }

sub holds {
    my ($n) = ($t->log =~ /it holds (\d+) tokens? now/g)[-1];
    return $n // 0;
}


# A slip, and another one in its place, within a second or two.

sub different_errors {
    my $right = slurp($file);

    my @wrong = ([ 'nonsense instead', "what is this\n",
                   qr/the first word must be/ ],
                 [ 'another', $right =~ s/^(.*keeper.*)$/$1 ports=none/mr,
                   qr/is not in force/ ],
                 [ 'none at all', "\n" . '# nothing', qr/stay in force/ ]);

    for my $case (@wrong) {
        my ($what, $content, $re) = @$case;
        my $before = errors();

        put($content);
        ok(wait_for(sub { errors() > $before }), "$what: the log says so");
        like(last_error(), $re, "$what: and what it is");
    }

    my $said = errors();
    put($right);

    my $again = qr/\[error\].* \Q$file\E is in order again, it holds 2 tokens/;

    ok(wait_for(sub { lines($again) }), 'in order again: that is told');
    is(errors(), $said + 1, 'in order again: once, and nothing else');

    cmp_ok($said, '<=', @wrong, 'each error was said once');
}

# As a whole, so that no worker sees it half written.

sub put {
    write_file("$t->{dir}/new", $_[0], 0644);
    rename "$t->{dir}/new", $file or die;
}


sub last_error { (grep { /\[error\]/ } split /\n/, $t->log)[-1] // '' }


# What cp and mv of root do.

sub unreadable {
    my $before = errors();

    run_ok('sh', '-c', "umask 077; cp $file $t->{dir}/new"
                       . " && mv $t->{dir}/new $file");

    ok(wait_for(sub { errors() > $before }), 'unreadable: the log says so');
    my $says = q{: open() failed, the workers' user "www-data" cannot read it: }
               . 'chown root:www-data and chmod 640 it; the former tokens stay '
               . 'in force, what it revokes is not revoked (13: ';
    like(last_error(), qr/\Q$says\E/, 'unreadable: and what to do');

    run_ok('chown', 'root:www-data', $file);
    run_ok('chmod', '640', $file);

    ok(wait_for(sub { last_error() =~ / is in order again/ }),
       'unreadable: done that, it is in order again');
    is(errors(), $before + 2, 'unreadable: two lines in all');
}
