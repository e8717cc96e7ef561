package ZLTunnel::Doc;

# A document that is done as it says, so that it and its test cannot part.
# What it says to write is written, what it says to type is typed, and what it
# shows has to come:
#
#     my @nodes = ZLTunnel::Doc->machines([ 'server', 'home' ], hosts =>
#         { 'tunnel.example.com' => 'server' }) or plan(skip_all => ...);
#     my $doc = ZLTunnel::Doc->new('docs/cookbook.md',
#                                  map { $_->{name} => $_ } @nodes);
#     $doc->follow('fail2ban');
#     $doc->finish;
#
# A block of code is one of these:
#
#     a file      the line before it ends with its name in backquotes and a
#                 colon; a relative one is put where commands run
#     ```sh       commands, all of which must succeed; what they start in the
#                 background goes on, and so does what they export
#     ```text     what the commands before it show, as soon as it is so.  "..."
#                 stands for anything within a line; of a table that begins
#                 with NAME the heading counts, and three columns below it
#
# Who does it types the token that "init --nginx" has printed where he is asked.
#
# Words in bold, "**On NAME**" (In, At, From), tell where it is done from there
# on: at one of the machines, at "each NAME", or at a place that is a folder.
# Without them, and where a section begins, it is the place that is named first.

use strict;
use warnings;

use File::Temp ();
use Test::More;
use ZLTunnel::Nodes;
use ZLTunnel::Proc qw(wait_for slurp run);

my $work = File::Temp::tempdir(CLEANUP => 1);
my $steps = 0;                  # of all documents, each with files of its own


# Machines of these names; none where they cannot be had, for the reason that
# $ZLTunnel::Nodes::why tells.  Options: hosts => { name => machine }, which
# their certificate is for, too; programs that the document wants; files for
# /mnt.

sub machines {
    my ($class, $names, %o) = @_;

    ZLTunnel::Nodes->packaged or return;

    for my $program (qw(openssl curl python3), @{ $o{programs} || [] }) {
        $ZLTunnel::Nodes::why = "there is no $program";
        return if (run('sh', '-c', "command -v $program"))[0] != 0;
    }

    my @nodes = ZLTunnel::Nodes->create(@$names) or return;
    my %ip = map { $_->{name} => $_->{ip} } @nodes;
    my %hosts = map { $_ => $ip{ $o{hosts}{$_} } } keys %{ $o{hosts} };

    for my $node (@nodes) {
        $node->furnish(dir => $work, names => [ sort keys %hosts ],
                       hosts => \%hosts, nodes => \@nodes,
                       files => $o{files}) or return;
    }

    return @nodes;
}


sub new {
    my ($class, $file, @places) = @_;

    my %place = @places;

    # a place that is no machine: a folder with what a machine has in /mnt

    for my $at (grep { !ref $place{$_} } keys %place) {
        my ($node) = grep { ref } values %place;
        $place{$at} = "$work/$place{$at}";
        ZLTunnel::run_ok('mkdir', $place{$at});
        ZLTunnel::run_ok('cp', '-r', "$node->{work}/bin",
                         "$node->{work}/keepers", $place{$at});
    }

    my $text = slurp("$ZLTunnel::ROOT/$file");
    die "there is no $file" if !length $text;

    return bless { file => $file, text => $text, place => \%place,
                   first => $places[0] }, $class;
}


# The titles of the document's sections.

sub sections { return $_[0]{text} =~ /^## (.*)$/mg }


# Does what a section says, or what is before the first one; how many blocks
# it has.  With commands => 1 it is a part of a reference, up to the next heading
# of any kind, and only what is typed and shown is done.

sub follow {
    my ($self, $title, %o) = @_;

    my ($text) = $o{commands}
                 ? $self->{text} =~ /^##+ \Q$title\E\n(.*?)(?=^##|\z)/ms
                 : defined $title
                 ? $self->{text} =~ /^## \Q$title\E\n(.*?)(?=^## |\z)/ms
                 : $self->{text} =~ /\A(.*?)(?=^## |\z)/ms;
    die "$self->{file} has no section \"$title\"" if !defined $text;

    $self->{at} = [ $self->{first} ];

    my ($n, $said) = (0, '');

    while ($text =~ /^```(\w*)\n(.*?)^```$
                     |^(?:\*\*(?:On|In|At|From)\ ([\w\s'-]+?)\*\*)?
                       ((?!```)[^\n]*)$/msgx)
    {
        my ($kind, $body, $where, $line) = ($1, $2, $3, $4);

        $self->{at} = [ $self->places($where) ] if defined $where;

        if (defined $line) {
            $said = $line if length $line;

        } else {
            next if $o{commands} && $kind ne 'sh' && $kind ne 'text';

            my ($name) = $said =~ /`([\w.\/-]+)`:$/;
            my $shown = substr($text, pos $text)
                        =~ /\A(?:(?!^```).)*^```text$/ms;

            $n++;
            $self->block($kind, $body, $name, $shown);
            $said = '';
        }
    }

    return $n;
}


sub places {
    my ($self, $where) = @_;

    $where =~ s/\s+/ /g;
    $where =~ s/^the |'s$//g;

    return grep { ref $self->{place}{$_} } sort keys %{ $self->{place} }
        if $where =~ /^each /;

    return $where if exists $self->{place}{$where};
    die "$self->{file}: where is \"$where\"?";
}


# What the machines have now is what restore() goes back to, with the programs
# that run; other files in /root are gone then, and rules of a firewall.

sub keep {
    my ($self) = @_;

    $self->everywhere('rm -rf /mnt/kept; mkdir /mnt/kept;'
                      . ' cp -a /etc/nginx /etc/zltunnel /mnt/kept;'
                      . ' for u in nginx zltunnel-agent; do'
                      . ' [ ! -e /run/$u.pid ] || touch /mnt/kept/run.$u;'
                      . ' done');
}


sub restore {
    my ($self) = @_;

    $self->everywhere(<<'EOT');
[ -d /mnt/kept ] || exit 0
nft flush ruleset 2> /dev/null || true
systemctl stop zltunnel-agent nginx
rm -f /mnt/env
rm -rf /etc/nginx /etc/zltunnel /root/*
cp -a /mnt/kept/nginx /mnt/kept/zltunnel /etc
[ ! -e /mnt/kept/run.nginx ] || systemctl start nginx
EOT
    $self->everywhere(<<'EOT');
[ -e /mnt/kept/run.zltunnel-agent ] || exit 0
systemctl start zltunnel-agent
until zltunnel-agent status | grep -q ' connected '; do sleep 0.05; done
EOT
}


sub everywhere {
    my ($self, $body) = @_;

    for my $at (grep { ref $self->{place}{$_} } sort keys %{ $self->{place} }) {
        my ($rc, $out, $err) = $self->shell($at, $body);
        die "$at: $body: exit $rc\n$out$err", $self->logs($at) if $rc;
    }
}


sub block {
    my ($self, $kind, $body, $name, $shown) = @_;

    if ($kind eq 'text') {
        $self->shows($body);

    } elsif ($kind eq 'sh') {
        $self->{last} = $body;
        $self->type($body) if !$shown;

    } elsif (defined $name) {
        for my $at (@{ $self->{at} }) {
            my ($rc, $out) = $self->shell($at, "cat > '$name'", $body);
            is($rc, 0, "$at: $name") or diag($out);
        }

    } else {
        fail("$self->{file}: whose block is this?") or diag($body);
    }
}


sub type {
    my ($self, $body) = @_;

    for my $at (@{ $self->{at} }) {
        my ($rc, $out, $err) = $self->shell($at, $body, undef, 1);
        is($rc, 0, "$at: " . ($body =~ /^(.*)$/m)[0]) or diag($out, $err);
    }
}


# What shows something may need a moment until it does.

sub shows {
    my ($self, $shown) = @_;

    my $ok = wait_for(sub {
        for my $at (@{ $self->{at} }) {
            my ($rc, $out) = $self->shell($at, $self->{last});
            return 0 if $rc || !same($out, $shown);
        }
        return 1;
    }, 30);

    my $what = ($self->{last} =~ /^(.*)$/m)[0];
    ok($ok, "@{ $self->{at} }: $what: as shown") or $self->tell($shown);
}


sub tell {
    my ($self, $shown) = @_;

    for my $at (@{ $self->{at} }) {
        my ($rc, $out, $err) = $self->shell($at, $self->{last});
        diag("exit $rc\n$out\nshown:\n$shown\n", $err, $self->logs($at));
    }
}


sub same {
    my ($got, $shown) = @_;

    ($got, $shown) = map { columns($_) } $got, $shown if $shown =~ /^NAME /m;

    my $pattern = join '[^\n]*', map { quotemeta } split /\.\.\./, $shown, -1;
    return $got =~ /\A$pattern\z/;
}


sub columns {
    my ($text) = @_;

    my $table;
    return join "\n", map {
        my $heading = /^NAME /;
        $table ||= $heading;
        $heading ? join ' ', split
                 : $table ? join ' ', grep { defined } (split)[ 0 .. 2 ] : $_
    } split /\n/, $text;
}


# Runs commands somewhere: (exit code, standard output, the rest).  With "goes
# on" their umask and what they export is there for the next ones.

sub shell {
    my ($self, $at, $body, $input, $goes_on) = @_;

    $input //= "$self->{token}\n" if $body =~ /^zltunnel-agent init --server/m;

    my $node = $self->{place}{$at};
    my $dir = ref $node ? $node->{work} : $node;
    my $mnt = ref $node ? '/mnt' : $dir;
    my $out = "$dir/step." . ++$steps;
    my $save = 'trap "{ export -p; echo umask \$(umask); }'
               . " > $mnt/env\" EXIT";
    my @cmd = ('sh', '-c', "set -e; cd " . (ref $node ? '/root' : $dir)
                           . "; export PATH=$mnt/bin:\$PATH HOME=/root\n"
                           . "[ ! -e $mnt/env ] || . $mnt/env\n"
                           . ($goes_on ? "$save\n" : '') . $body);

    my $proc = ZLTunnel::Proc->start(
        name => 'a step', out => "$out.out", err => "$out.err",
        env => { ASAN_OPTIONS => 'detect_leaks=0' }, stdin => defined $input,
        cmd => [ ref $node ? $node->inside(@cmd) : @cmd ]);

    if (defined $input) {
        print { $proc->{stdin} } $input;
        close delete $proc->{stdin};
    }

    my $rc = $proc->wait(60) // -1;
    my $said = slurp("$out.out");

    $self->{token} = $1 if $said =~ /^    (zlt_[0-9a-f]{64})$/m;

    return ($rc, $said, slurp("$out.err"));
}


# What the programs there have logged.

sub logs {
    my ($self, $at, $n) = @_;

    $n //= 20;

    my ($rc, $out) = $self->shell($at, 'for f in /var/log/nginx/error.log'
        . " /var/log/zltunnel-agent.log; do tail -n $n \$f || true; done");
    return $out;
}


# Nobody has complained, at any place.  The machines are gone then.

sub finish {
    my ($self) = @_;

    for my $at (grep { ref $self->{place}{$_} } sort keys %{ $self->{place} }) {
        my $said = join '', $self->logs($at, '+1'),
                   map { slurp($_) } glob "$self->{place}{$at}{work}/step.*";
        my @bad = grep { /Sanitizer|runtime error|\[alert\]|\[emerg\]/ }
                  split /\n/, $said;
        is_deeply(\@bad, [], "$at: nobody complains");
    }

    $_->stop for grep { ref } values %{ $self->{place} };
}


1;
