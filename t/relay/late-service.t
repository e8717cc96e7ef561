#!/usr/bin/perl

# Protects: a service that has ended its own side and reads late what it was
# sent.  For nginx the connection is over when it has sent all; the agent still
# has what the service does not take.  Neither the channel's heartbeats, nor the
# next client, nor the end of the channel may cost the service a byte.
#
# Long: a service that pauses for more than a minute, behind a stream upstream
# whose client has gone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Socket qw(PF_INET SOCK_STREAM SOL_SOCKET SO_RCVBUF INADDR_LOOPBACK
              pack_sockaddr_in sockaddr_in);
use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Wire;

my $SIZE = 4_000_000;         # more than one kernel takes, less than all
my $PIECE = 8000;             # no bulk, which would turn raw

subtest 'one worker' => sub { late(1, qw(ws wss websocket)) };

# most clients get a channel that another worker has; it is idle with theirs

subtest '4 workers' => sub { late(4, qw(ws wss wss-2 wss-3 wss-4)) };

my $pause = sizes('seconds of a pause', 70, 0);
subtest 'a stream upstream' => sub { upstream($pause) } if $pause;

done_testing();


# The client goes when nginx has taken all of its upload.

sub upstream {
    my ($pause) = @_;

    my $t = ZLTunnel->new(range => 2);
    my $up = $t->free_port;

    $t->write_conf(stream => <<"EOT");
upstream up { zltunnel_service s; }
server { listen 127.0.0.1:$up; proxy_pass up; }
EOT

    my $token = $t->token('alice');
    $t->start;

    my $listen = service();
    my $agent = $t->agent(token => $token, services =>
        [ 's:' . (sockaddr_in(getsockname $listen))[0] ]);

    my $client = ZLTunnel::Wire::Socket->new($up);
    my $late = taken($listen);

    $client->send('x' x $SIZE);
    $client->close;
    ok(wait_for(sub { $t->log =~ /client disconnected/ }, 20),
       'nginx is done with the client');

    sleep $pause;

    is($late->ending(60), 'eof', 'the service has an end, and no reset');
    is(length $late->{in}, $SIZE, 'behind every byte');
    $late->close;
    $t->finish;
}


sub late {
    my ($workers, @ways) = @_;

    my $t = ZLTunnel->new(range => 8, workers => $workers,
        zltunnel => 'heartbeat_interval 1s; heartbeat_timeout 3s;');
    my %token = map { $_ => $t->token($_) } @ways;
    $t->start;

    my %late = map { $_ => upload($t, $_, $token{$_}) } @ways;

    # longer than two heartbeats, and than the time to answer them

    sleep 6;

    for my $way (@ways) {
        is($late{$way}->ending(60), 'eof', "$way: the late one has an end, "
           . 'and no reset');
        is(length $late{$way}{in}, $SIZE, "$way: behind every byte");
    }

    $t->finish;
}


# What the service has of one that took nothing, while others were served.

sub upload {
    my ($t, $way, $token) = @_;

    my $tls = $way =~ /wss/;
    my $listen = service();
    my $agent = $t->agent(
        token => $token, tls => $tls,
        conf => "[agent]\nserver = " . $t->url($tls ? 'wss' : 'ws') . "\n"
                . "token_file = %%token_file%%\nmax_idle = 1\n"
                . ($way eq 'websocket' ? "transport = websocket\n" : '')
                . ($tls ? 'ca_file = ' . $t->certs . "/ca.pem\n" : '')
                . "[service $way]\nlocal = "
                . (sockaddr_in(getsockname $listen))[0] . "\n");

    my $port = $agent->port($way);
    my $client = ZLTunnel::Wire::Socket->new($port);
    my $late = taken($listen);

    $late->shut;
    is($client->ending(20), 'eof', "$way: the service has ended its side");

    for (1 .. $SIZE / $PIECE) {
        $client->send('x' x $PIECE);
        sleep 0.0005;
    }

    $client->shut;
    $client->close;

    ok(wait_for(sub { !$t->service_status($way)->{active} }, 20),
       "$way: nginx has sent all, and the connection is over");

    # which may take its channel, and find that nobody answers there

    for my $n (1 .. 9) {
        my $next = ZLTunnel::Wire::Socket->new($port);
        $next->send("hello $n");
        my $s = taken($listen);
        is($s && $s->take(7, 20), "hello $n",
           "$way: client $n is served meanwhile");
        $_->close for grep { $_ } $s, $next;
    }

    return $late;
}


# Where the agent connects to, with a kernel that takes little.

sub service {
    socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    setsockopt($s, SOL_SOCKET, SO_RCVBUF, 8192) or die "SO_RCVBUF: $!";
    bind($s, pack_sockaddr_in(0, INADDR_LOOPBACK)) or die "bind: $!";
    listen($s, 16) or die "listen: $!";

    return $s;
}


sub taken {
    my ($listen) = @_;

    vec(my $rin = '', fileno $listen, 1) = 1;
    select($rin, undef, undef, 20 * slowdown()) or return;
    accept(my $s, $listen) or die "accept: $!";

    return bless { s => IO::Handle->new_from_fd($s, '+<'), in => '' },
        'ZLTunnel::Wire::Socket';
}
