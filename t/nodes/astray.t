#!/usr/bin/perl

# Protects: several nodes behind one address, where a balancer, or chance, sends
# data channels to another node than that of their tunnel (421).  Each is tried
# again at once, and says which node it is for: idle ones, those that a client
# waits for, of TCP and UDP, and visitors', within a WebSocket and without.  The
# agent says once what the balancer should do, and nothing of it while one
# binary of nginx follows another.  A server that never says anything else is
# not asked without end, and where all channels come to one other node the
# tunnel follows them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use Digest::SHA qw(sha1_base64);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16 ext);

my ($OWN, $OTHER, $THIRD) = map { $_ x 16 } "\xaa", "\xbb", "\xcc";
my $WARNS = qr/ WARN data channels come to another node than the tunnel: at ws:\/\/\S+ \(127\.0\.0\.1:\d+\) 3 in a row met the node (?:bb){16}, and the tunnel is at (?:aa){16}; .*"hash \$remote_addr"/;

my $t = ZLTunnel->new;
my $echo = $t->service('echo');

# the first are for another node, then all for this one: [ node, what is behind
# its id ]; undef: for ever

my (@astray, $always);

subtest 'raw' => sub { by_chance('raw') };
subtest 'within a WebSocket' => sub { by_chance('websocket') };
subtest 'visitors' => \&visitors;
subtest 'an upgrade' => \&upgrade;
subtest 'another status of that number' => \&foreign;
subtest 'a node that was left' => \&left;
subtest 'for ever' => \&forever;

$t->finish;


sub scene {
    my (%o) = @_;

    my $server = ZLTunnel::Server->new($t, features => 15);

    $server->{grant} = 1;
    $server->{asked} = [];
    $server->{opened} = [];
    $server->{deal} = sub { return ($OWN) };
    $server->{meet} = sub {
        my ($head) = @_;

        $head =~ /^Zltunnel-Tunnel:/m or return undef;
        push @{ $server->{asked} }, $head;

        my $to = $always // shift @astray;
        return answer(@$to) if $to;

        push @{ $server->{opened} }, $head;
        return undef if $head !~ /^Sec-WebSocket-Key: (\S+)/m;

        my $accept = sha1_base64("${1}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
               . "Connection: Upgrade\r\nSec-WebSocket-Accept: $accept=\r\n"
               . "Sec-WebSocket-Protocol: zltunnel-data\r\n"
               . "Zltunnel-Worker: 0/1\r\n\r\n";
    };

    my $agent = $t->agent(
        token => 'x' x 43, server => $server->url, wait => 0,
        $o{access} ? (access => $o{access})
                   : (services => [ "echo:$echo->{port}" ]),
        args => [ '--transport', $o{transport} // 'raw',
                  '--reconnect-interval', '100ms',
                  '--max-reconnect-interval', '100ms' ]);

    return ($server, $agent);
}


sub answer {
    my ($node, $more) = @_;

    return "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n"
           . "Connection: close\r\n"
           . (defined $node ? "Zltunnel-Worker: 0/1\r\nZltunnel-Node: "
                              . unpack('H*', $node) . ($more // '') . "\r\n"
                            : '')
           . "\r\n";
}


sub end {
    my ($server, $agent) = @_;

    # it waits for the connections of clients

    for my $conn (values %{ $server->{conns} }) {
        $conn->drop if ($conn->{kind} // '') ne 'control';
    }

    kill TERM => $agent->pid;
    ok($server->wait(sub { !$agent->{proc}->running }, 20), 'the agent ends');
    $agent->stop;
    $server->close_all;
    (@astray, $always) = ();
}


sub by_chance {
    my ($transport) = @_;

    # two are idle: one of them has three in a row

    @astray = ([ $OTHER ]) x 6;

    my ($server, $agent) = scene(transport => $transport);

    ok($server->wait(sub { !@astray && $server->{services}{echo} }, 20),
       'idle channels are tried again');
    ok($server->wait(sub { @{ $server->{opened} } == 2 }, 20),
       'and are there');
    is((grep { !/^Zltunnel-Node: (?:aa){16}\r?$/m } @{ $server->{asked} }), 0,
       'each says which node it is for');

    # a client waits

    @astray = (([ $OTHER ], [ $THIRD ]) x 20);
    $server->control->tell(msg('Connect', md5('echo') . 'c' x 16
                                          . str16('192.0.2.1:5')));

    ok($server->wait(sub { grep { /^Zltunnel-Connection:/m }
                           @{ $server->{opened} } }, 20),
       'the one for a client is tried until it gets there');
    is(@astray, 0, 'after forty that did not');
    unlike($agent->log, qr/could not be opened/, 'it is not given up');

    if ($transport eq 'raw') {
        ok($server->wait(sub { $agent->log =~ $WARNS }, 20), 'told');
    }

    end($server, $agent);
}


# Channels of visitors, and for their datagrams.

sub visitors {
    my ($tcp, $udp) = map { $t->free_port } 1 .. 2;
    my ($server, $agent) = scene(access => [ "web:$tcp", "dns/udp:$udp" ]);
    my $opened = sub {
        my $id = unpack 'H*', md5($_[0]);
        return scalar grep { /^Zltunnel-Access: $id\r?$/m }
                      @{ $server->{opened} };
    };

    ok($server->wait(sub { keys %{ $agent->accesses } == 2 }, 20), 'granted');

    @astray = ([ $OTHER ]) x 20;
    my $client = ZLTunnel::Wire::Socket->new($tcp);
    ok($server->wait(sub { $opened->('web') }, 20),
       'a channel is tried until it gets there');
    is($client->ending(0), 'open', 'its client waits');

    @astray = ([ $OTHER ]) x 20;
    my $peer = IO::Socket::INET->new(Proto => 'udp', PeerPort => $udp,
                                     PeerAddr => '127.0.0.1');
    $peer->send('hello');
    ok($server->wait(sub { $opened->('dns') }, 20), 'one for datagrams, too');

    is((grep { !/^Zltunnel-Node: (?:aa){16}\r?$/m } @{ $server->{asked} }), 0,
       'each says which node it is for');
    unlike($agent->log, qr/ failed: /, 'nothing has failed');

    $client->close;
    end($server, $agent);
}


# Two binaries behind one port: the other one has an id of its own.

sub upgrade {
    @astray = ([ $OTHER, '; upgrade' ]) x 12;

    my ($server, $agent) = scene();

    ok($server->wait(sub { @{ $server->{opened} } == 2 }, 20),
       'channels are tried again');
    is(@astray, 0, 'until they get there');

    @astray = ([ $OWN ]) x 12;
    $server->control->tell(msg('Connect', md5('echo') . 'u' x 16
                                          . str16('192.0.2.1:5')));
    ok($server->wait(sub { $server->conns('fresh') == 1 }, 20),
       'where both have one id, too');

    # it would be told within three seconds

    $server->pass(4);
    unlike($agent->log, qr/ WARN data channels/, 'nothing is told');

    end($server, $agent);
}


# nginx has it for a name that is not the certificate's.

sub foreign {
    $always = [];

    my ($server, $agent) = scene();

    ok($server->wait(sub {
        $agent->log =~ /no data channel can be opened: .*421/
    }, 20), 'what is not of the server is a failure') or diag($agent->log);
    cmp_ok(scalar @{ $server->{asked} }, '<', 20, 'as others are');

    end($server, $agent);
}


# At a reload with another zone, what an earlier tunnel wants meets new workers
# alone: they are the node where the link is by then.

sub left {
    my ($server, $agent) = scene();
    my $meet = $server->{meet};
    my @tries;

    $server->{deal} = sub { return $server->{auths} > 1 ? $OTHER : $OWN };
    $server->{meet} = sub {
        my ($head) = @_;

        $head =~ /^Zltunnel-Connection:/m or return $meet->($head);
        push @tries, $head;

        return @tries == 1 ? '' : answer($OTHER);
    };

    ok($server->wait(sub { $server->{services}{echo} }, 20), 'registered');
    my $former = $server->control;
    $former->tell(msg('Connect', md5('echo') . 'l' x 16
                                 . str16('192.0.2.1:5')));
    ok($server->wait(sub { @tries }, 20), 'a channel is on its way');

    my ($asks) = grep { $_->{head}{'zltunnel-connection'} }
                 values %{ $server->{conns} };

    delete $server->{services}{echo};
    $former->tell(msg('Disconnect', str16('a reload') . ext(1 => "\1")));
    ok($server->wait(sub { $server->{services}{echo} }, 20),
       'the link goes elsewhere');

    $asks->say(answer($OTHER));
    ok($server->wait(sub {
        $agent->log =~ /a data channel could not be opened: .*421/
    }, 20), 'the channel is given up');
    cmp_ok(scalar @tries, '<', 20, 'after a few tries');

    end($server, $agent);
}


sub forever {
    $always = [ $OTHER ];

    my ($server, $agent) = scene();

    ok($server->wait(sub { $server->{services}{echo} }, 20), 'registered');

    $server->control->tell(msg('Connect', md5('echo') . 'f' x 16
                                          . str16('192.0.2.1:5')));

    ok($server->wait(sub { $server->{auths} >= 2 && $agent->log =~ $WARNS },
                     60), 'where all come to another node the tunnel follows them');
    like($agent->log, qr/all data channels come to another node than the tunnel/,
         'told');
    cmp_ok(scalar @{ $server->{asked} }, '<', 600, 'there is a bound')
        or diag(scalar @{ $server->{asked} });
    is(scalar(() = $agent->log =~ /$WARNS/g), 1, 'the balancer is told of once');

    end($server, $agent);
}
