#!/usr/bin/perl

# A TCP relay in the path between agent and nginx, which can be told to
# misbehave as a middlebox does.
#
#     relay.pl PORT TO_PORT
#
# Commands on stdin, for connection N, or N and all later ones there are by
# now ("N-"); the first is the agent's control channel.  Connections that come
# afterwards are not affected.
#
#     stall N     nothing is passed on any more, and nobody is told
#     deafen N    the same, in the direction from agent to server alone
#     resume N    passes on again, what was held back first
#     fin N       FIN to both sides, and nothing passed on any more
#     reset N     a reset to both sides
#     refuse      new connections are reset at once, until "pass"
#     quit
#
# Prints "open N" for each connection, "closed N", and "done COMMAND".

use strict;
use warnings;

use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER);

$| = 1;
$SIG{PIPE} = 'IGNORE';

my ($port, $to) = @ARGV;

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 256,
                                   LocalPort => $port, ReuseAddr => 1)
    or die "listen: $!";

print "ready\n";

my ($count, $refuse, $commands) = (0, 0, '');
my (%side, %conn);             # by descriptor; by number

while (1) {
    my ($rin, $win) = ('', '');

    vec($rin, fileno $listen, 1) = 1;
    vec($rin, 0, 1) = 1;

    for my $fd (keys %side) {
        my $s = $side{$fd};

        vec($rin, $fd, 1) = 1
            if !$s->{stalled} && !$s->{eof} && length $s->{peer}{out} < 65536;
        vec($win, $fd, 1) = 1 if !$s->{peer}{stalled} && length $s->{out};
    }

    select $rin, $win, undef, undef;

    welcome() if vec $rin, fileno $listen, 1;

    if (vec $rin, 0, 1) {
        sysread STDIN, $commands, 4096, length $commands or exit;
        command($1) while $commands =~ s/^(.*)\n//;
    }

    for my $fd (keys %side) {
        input($side{$fd}) if $side{$fd} && vec $rin, $fd, 1;
        output($side{$fd}) if $side{$fd} && vec $win, $fd, 1;
    }
}


sub welcome {
    my $a = $listen->accept or return;       # the agent's side is sides[0]

    if ($refuse) {
        setsockopt $a, SOL_SOCKET, SO_LINGER, pack 'i i', 1, 0;
        return;
    }

    my $b = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to)
        or return;

    my $c = { n => ++$count };
    $conn{$count} = $c;

    for my $s ($a, $b) {
        $s->blocking(0);
        setsockopt $s, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
        push @{ $c->{sides} }, $side{ fileno $s } =
            { s => $s, conn => $c, out => '' };
    }

    $c->{sides}[$_]{peer} = $c->{sides}[1 - $_] for 0, 1;
    print "open $count\n";
}


sub input {
    my ($s) = @_;

    my $peer = $s->{peer};
    my $n = sysread $s->{s}, $peer->{out}, 65536, length $peer->{out};

    return if !defined $n && $!{EAGAIN};
    return finish($s->{conn}, 1) if !defined $n;

    $s->{eof} = 1 if !$n;
    output($peer);
}


sub output {
    my ($s) = @_;

    if (length $s->{out}) {
        my $n = syswrite $s->{s}, $s->{out};

        return if !defined $n && $!{EAGAIN};
        return finish($s->{conn}, 1) if !defined $n;

        substr $s->{out}, 0, $n, '';
    }

    if ($s->{peer}{eof} && !length $s->{out} && !$s->{shut}++) {
        shutdown $s->{s}, 1;
        finish($s->{conn}, 0) if $s->{peer}{shut};
    }
}


sub finish {
    my ($c, $reset) = @_;

    for my $s (@{ $c->{sides} }) {
        delete $side{ fileno $s->{s} };
        setsockopt $s->{s}, SOL_SOCKET, SO_LINGER, pack 'i i', 1, 0 if $reset;
        close $s->{s};
        delete $s->{peer};
    }

    delete $conn{ $c->{n} };
    print "closed $c->{n}\n";
}


sub command {
    my ($what, $which) = split ' ', $_[0];

    exit if $what eq 'quit';
    $refuse = $what eq 'refuse' if $what =~ /^(refuse|pass)$/;

    my ($n, $more) = ($which // '') =~ /^(\d+)(-?)$/;

    for my $c (defined $n ? values %conn : ()) {
        next unless $more ? $c->{n} >= $n : $c->{n} == $n;

        if ($what eq 'reset') {
            finish($c, 1);
            next;
        }

        $c->{sides}[0]{stalled} = $what ne 'resume';
        $c->{sides}[1]{stalled} = $what =~ /^(stall|fin)$/;

        if ($what eq 'fin') {
            shutdown $_->{s}, 1 for @{ $c->{sides} };
        }
    }

    print "done $_[0]\n";
}
