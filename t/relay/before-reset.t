#!/usr/bin/perl

# Protects: what is sent before a reset.  Who closes a connection with something
# unread in it resets it; what the peer's kernel has acknowledged is the peer's
# all the same, however slowly it reads, and where an end has gone before the
# reset it has an end.  Plain TCP does so, and is asked here first; then whatever
# the way through the tunnel is, from the service and from the client.
#
# Long: a reader for which a channel that is done waits longer than it would
# to be idle again.
#
# The reset itself does not wait for a peer that takes nothing: exact.t does that.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Socket qw(PF_INET SOCK_STREAM SOL_SOCKET SO_RCVBUF INADDR_LOOPBACK
              pack_sockaddr_in sockaddr_in MSG_PEEK);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Wire;

use constant TIOCOUTQ => 0x5411;

# more than the kernels on the way take at once

my $SIZE = sizes('bytes of each', 20_000_000, 3_000_000);
my $PAUSE = sizes('ms between two reads', 12, 2) / 1000;
my @CASES = map { my $from = $_; map { [ $from, $_ ] } qw(ended open) }
            qw(service client);

my %direct = results(direct => { listen => listener() });

subtest 'one worker' => \&one;
subtest 'a channel at another worker' => \&bridged;

done_testing();


sub one {
    my $t = ZLTunnel->new(range => 8);
    my $up = $t->free_port;

    $t->write_conf(stream => <<"EOT");
upstream up { zltunnel_service ws; }
server { listen 127.0.0.1:$up sndbuf=16k; proxy_pass up; proxy_half_close on; }
EOT

    my %token = map { $_ => $t->token($_) } qw(ws wss websocket);
    my $visit = $t->token('alice', 'access=ws,wss access_ttl=1h sessions=2');
    $t->start;

    my %way = map { $_ => { listen => listener() } } keys %token;

    for my $name (keys %way) {
        my $agent = $t->agent(
            token => $token{$name}, tls => $name eq 'wss',
            services => [ "$name:" . $way{$name}{listen}->sockport ],
            args => [ $name eq 'websocket' ? qw(--transport websocket) : () ]);
        $way{$name}{port} = $agent->port($name);
    }

    for my $tls (0, 1) {
        my $name = $tls ? 'wss' : 'ws';
        my $visitor = $t->agent(token => $visit, tls => $tls, wait => 0,
                                access => [ $name ]);
        $way{"visit by $name"} = { listen => $way{$name}{listen},
                                   port => $visitor->granted($name) };
    }

    $way{upstream} = { listen => $way{ws}{listen}, port => $up };

    compare(%way);
    $t->finish;
}


# An idle channel of each agent is at one worker, and the client at the other.

sub bridged {
    my $t = ZLTunnel->new(workers => 2, range => 4);
    my @token = map { $t->token("alice$_") } 1 .. @CASES;
    $t->start;

    my ($holder, $other) = $t->workers;
    my $listen = listener();

    halt($other);
    my @port = map {
        $t->agent(token => $_, tls => 1,
                  services => [ 'far:' . $listen->sockport ])->port('far')
    } @token;
    ok(wait_for(sub { @CASES == grep { $_->{idle_channels} }
                                @{ $t->status->{tunnels} } }), 'channels');
    kill CONT => $other;

    compare(bridge => { listen => $listen, by => sub {
        $t->clients_of($other, shift @port)->{s};
    } });

    is($t->status->{acquired}{bridged}, @CASES, 'over bridges');
    $t->finish;
}


# All ways, at once.

sub compare {
    my %way = @_;

    my %got = results(%way);

    for my $name (sort keys %got) {
        my $like = $direct{ 'direct' . $name =~ s/^[^:]*//r };

        # of any reset nginx's stream proxy makes an end

        $like =~ s/reset/eof/ if $name =~ /^upstream/;
        is($got{$name}, $like, $name);
    }
}


# "WAY: CASE" => "BYTES END", for each way and case.

sub results {
    my %way = @_;

    my %running;

    for my $name (sort keys %way) {
        for my $case (@CASES) {
            my $key = "$name: the $case->[0] closes, its end "
                      . ($case->[1] eq 'ended' ? 'sent' : 'not sent');
            $running{$key} = begin($way{$name}, @$case);
        }
    }

    return map { $_ => scalar readline $running{$_} } keys %running;
}


# Where what came of it will be written.

sub begin {
    my ($way, $from, $end) = @_;

    my ($service, $client) = pair($way);
    my ($writer, $reader) = $from eq 'service' ? ($service, $client)
                                               : ($client, $service);

    pipe(my $result, my $out) or die "pipe: $!";

    child(sub {
        close $_ for $reader, $out, $result;
        writer($writer, $end);
    });
    child(sub {
        close $_ for $writer, $result;
        print $out reader($reader);
        close $out;
    });

    return $result;
}


# A connection: the service's socket, and the client's.

sub pair {
    my ($way) = @_;

    my $client = $way->{by} ? $way->{by}->()
                            : small($way->{port} // $way->{listen}->sockport);

    vec(my $rin = '', fileno $way->{listen}, 1) = 1;
    select($rin, undef, undef, 20 * slowdown()) or die 'no connection';

    return (scalar $way->{listen}->accept, $client);
}


sub child {
    my ($do) = @_;

    my $pid = fork // die "fork: $!";
    return if $pid;

    alarm 60 * slowdown();
    $do->();
    POSIX::_exit(0);
}


# Sends all, and closes when that is acknowledged, and its peer has sent
# something that it leaves.

sub writer {
    my ($s, $end) = @_;

    $s->blocking(1);
    $s->recv(my $in, 1, MSG_PEEK);

    my $bytes = 'x' x 65536;

    for (my $left = $SIZE; $left > 0; ) {
        $left -= syswrite($s, $bytes, $left < 65536 ? $left : 65536) // return;
    }

    CORE::shutdown $s, 1 if $end eq 'ended';

    do {
        sleep 0.01;
        ioctl($s, TIOCOUTQ, my $left = pack 'i', 0) or die "TIOCOUTQ: $!";
        return if !unpack 'i', $left;
    } while (1);
}


# Sends something, and reads slowly what comes.

sub reader {
    my ($s) = @_;

    my ($got, $n) = 0;

    $s->blocking(1);
    syswrite $s, 'more';

    while ($n = sysread $s, my $in, 16384) {
        $got += $n;
        sleep $PAUSE;
    }

    return "$got " . (defined $n ? 'eof' : 'reset');
}


# Both have a kernel that takes little for them.

sub listener {
    socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    setsockopt($s, SOL_SOCKET, SO_RCVBUF, 16384) or die "SO_RCVBUF: $!";
    bind($s, pack_sockaddr_in(0, INADDR_LOOPBACK)) or die "bind: $!";
    listen($s, 64) or die "listen: $!";

    return IO::Socket::INET->new_from_fd($s, '+<');
}


sub small {
    my ($port) = @_;

    socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    setsockopt($s, SOL_SOCKET, SO_RCVBUF, 16384) or die "SO_RCVBUF: $!";
    connect($s, pack_sockaddr_in($port, INADDR_LOOPBACK)) or die "connect: $!";

    return IO::Socket::INET->new_from_fd($s, '+<');
}
