#!/usr/bin/perl

# Protects: a slip in one line of a live token file costs the token of that
# line, and keeps nobody else's from being revoked; the log says so, and where.
# What is no line of a token file, or leaves nothing of it, changes nothing.
# At a start and a reload any slip is refused.
#
# Long: that it is said again after a minute.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(register);

my $t = ZLTunnel->new;
my %token = map { $_ => $t->token($_, 'sessions=60') }
            qw(alice bob carol dave);
$t->start;

my %line = map { $_->{name} => sha256_hex($_->{token}) . " $_->{name}" }
           @{ $t->{tokens} };
my %c;


# A token's name may stand alone in what is given here.

sub file {
    my (@lines) = @_;

    s/^[0-9a-f]{64} \w+\K$/ sessions=60/ for @lines;

    write_file("$t->{dir}/tokens.new", join('', map { "$_\n" } @lines), 0644);
    rename "$t->{dir}/tokens.new", "$t->{dir}/tokens" or die;
}


# Whether a holder of the token is let in.

sub admitted { ZLTunnel::Wire->admitted($t, $token{ $_[0] }) }


sub come {
    my (@names) = @_;

    for my $name (@names) {
        $c{$name} = ZLTunnel::Wire->agent($t, $token{$name}, features => 1);
        $c{$name}->send_msg(register($name));
        is($c{$name}->expect('RegisterOk')->{type}, 'RegisterOk',
           "$name is there");
    }
}


sub ends {
    my ($name, $what) = @_;

    my $m = $c{$name}->next(20) // { type => 'none' };
    is($m->{type}, 'Disconnect', $what);
}


sub goes_on {
    my ($name, $what) = @_;

    my $m = $c{$name}->next(0.2);
    is($m && $m->{type}, undef, $what);
}


sub complaints {
    my @lines = $t->log =~ /\[error\].*is not in force.*/g;
    return @lines;
}

come(qw(alice bob carol dave));


# One that zltunnel-agent would make no more, and a token that is taken out.

file($line{alice}, $line{bob} . 'b' x 62, $line{dave});

ends('carol', 'one whose line is gone ends');
ends('bob', 'one whose line is bad ends');
goes_on($_, "$_ goes on") for qw(alice dave);

ok(wait_for(sub { !admitted('bob') && !admitted('carol') }),
   'neither is let in');
ok(admitted('alice'), 'others are');

my ($said) = complaints();
like($said, qr/name for the token.*\Q$t->{dir}\E\/tokens:2;/,
     'the log says what is wrong, and where');
unlike($said, qr/bbbb/, 'but not what stands there');

my ($rc, $out) = $t->test_conf;
isnt($rc, 0, 'nginx -t refuses it');
like($out, qr/\[emerg\].*tokens:2/, 'and says where');


# Of what else may be wrong behind the hash.

for my $case ([ 'a value', "$line{bob} ports=none" ],
              [ 'an unknown word', "$line{bob} servces=web" ],
              [ 'a word twice', "$line{bob} sessions=2 sessions=3" ],
              [ 'no name', substr $line{bob}, 0, 64 ]) {
    my ($what, $text) = @$case;

    file(@line{qw(alice bob dave)});
    ok(wait_for(sub { admitted('bob') }), "$what: the file is right again");

    file($line{alice}, $text, $line{dave});
    ok(wait_for(sub { !admitted('bob') }), "$what: it costs its own token");
    ok(admitted('alice'), "$what: and no other");
}


# Which of the two would count?

file(@line{qw(alice bob)}, "$line{dave} services=a", "$line{dave} services=b");
ends('dave', 'a token with two lines ends');
ok(wait_for(sub { !admitted('dave') }), 'and is not let in');
goes_on('alice', 'alice goes on');


# What is no token file changes nothing, though one line is gone.

file(@line{qw(alice bob dave)});
ok(wait_for(sub { admitted('dave') }), 'the file is right again');
come(qw(bob dave));

for my $case ([ 'a line of something else', '<<<<<<< HEAD', $line{alice} ],
              [ 'no line that is right', "$line{alice} nonsense" ],
              [ 'garbage', "\x7fELF\0" ]) {
    my ($what, @lines) = @$case;

    file(@lines);
    ok(wait_for(sub { $t->log =~ /former tokens stay in force/ }),
       "$what: the former tokens stay") or diag($what);

    my $end = time + 3;
    wait_for(sub { time > $end });

    goes_on($_, "$what: $_ goes on") for qw(alice bob dave);
    ok(admitted('dave'), "$what: dave is let in");
}


if (long_run()) {
    file(@line{qw(alice bob)}, "$line{dave} nonsense");
    ends('dave', 'a bad line again');

    my $n = complaints();
    ok(wait_for(sub { complaints() > $n }, 90),
       'it is said again each minute');
}

$_->reset for values %c;
$t->finish;
