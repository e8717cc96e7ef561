#!/usr/bin/perl

# Protects: services of agents that are at another node.  They are reached by
# name, upstream and datagrams as those of agents here, by channels between nodes
# that are kept and used again; bytes, half-closes and resets pass; what a
# service refuses is said.  An agent here goes first; a node that is dead, or has
# the service no more, costs nobody a connection where another one has it.  Who
# has no certificate of a node is told what one without a key is, and a node is
# only believed by its certificate, and within the rights of its token.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use IO::Socket::SSL;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use ZLTunnel;
use ZLTunnel::Engine;
use ZLTunnel::UDP;

plan(skip_all => ZLTunnel::Engine::missing()) if ZLTunnel::Engine::missing();

# A, where the clients are, and two others

my @t = map { ZLTunnel->new(workers => 2, allow => [ qr/exited on signal 9/ ]) }
            0 .. 2;
my $engine = ZLTunnel::Engine->start($t[0]);
my $certs = $t[0]->certs;
my ($tcp, $up, $sum, $no) = map { $t[0]->free_port } 0 .. 3;
my (%port, %agent);

for my $t (@t) {
    my %node = $engine->node;
    $node{zltunnel} =~ s/server\.pem;$/ca.pem;/;
    $node{zltunnel} .= 'reconnect_grace 1s; connect_timeout 3s;';
    $port{$t} = $node{node_port};
    $t->write_conf(%node,
        http => "upstream web { zltunnel_service web; keepalive 4; }
                 server {
                     listen 127.0.0.1:$node{node_port} ssl;
                     ssl_certificate $certs/server.pem;
                     ssl_certificate_key $certs/server.key;
                     ssl_client_certificate $certs/ca.pem;
                     ssl_verify_client optional_no_ca;
                     location = /tunnel/v1 { zltunnel; }
                 }",
        location => 'location /web { proxy_pass http://web/tunnel/status;
                         proxy_http_version 1.1; proxy_set_header Connection ""; }',
        stream => $t == $t[0] ? "
            server { listen 127.0.0.1:$tcp; zltunnel_pass echo; }
            server { listen 127.0.0.1:$sum; zltunnel_pass sum; }
            server { listen 127.0.0.1:$no; zltunnel_pass no; }
            server { listen 127.0.0.1:$up udp; zltunnel_pass dns; }" : '');
}

my @token = map { my $t = $_; $t->token('alice', 'sessions=3') } @t;
$_->start for @t;

my $echo = $t[1]->service('echo');
my $udp = $t[1]->free_port;
$t[1]->spawn('udp-echo', $t[1]->nettool, 'udp-echo', $udp);
my $sums = $t[1]->service('sum');
my $reset = $t[1]->free_port;

$agent{B} = $t[1]->agent(token => $token[1], services => [
    "echo:$echo->{port}", "sum:$sums->{port}", "no:" . $t[1]->free_port,
    "web:$t[1]{http_port}", "dns:$udp/udp" ]);

ok(there('echo') && there('dns') && there('web') && there('no') && there('sum'),
   'A knows the services of B');

subtest 'bytes' => \&bytes;
subtest 'ends' => \&ends;
subtest 'http' => \&http;
subtest 'datagrams' => \&datagrams;
subtest 'who is no node' => \&strangers;
subtest 'an agent here goes first' => \&first;
subtest 'nodes that are dead' => \&dead;
subtest 'a node that claims what it may not' => \&claims;

# with the last service its channels go, while the engine is there to tell

is($agent{B}->stop, 0, 'the agent ends');
ok(there('echo', 0), '.. and its services at A');

$t[0]->finish(@t[1, 2]);


# The services of other nodes that A has, by name.

sub there {
    my ($name, $n) = @_;

    return wait_for(sub {
        my @all = grep { $_->{name} eq $name }
                  map { @{ $_->{services} } }
                  grep { $_->{remote_node} } @{ $t[0]->status->{tunnels} };
        return @all == ($n // 1);
    }, 30);
}


sub echoes {
    my ($text) = @_;

    my $s = connect_to($tcp) or return "no connection: $!";
    $s->timeout(20);
    print $s $text;
    read $s, my $back, length $text;
    shutdown $s, 1;
    my $end = read $s, my $more, 1;

    return ($back // '') eq $text && defined $end && $end == 0 ? 'all'
           : length($back // '') . ' bytes';
}


sub bytes {
    is(echoes('x'), 'all', 'a few');
    is(echoes('0123456789' x 100_000), 'all', 'many');
    is(join(' ', map { echoes("connection $_") } 1 .. 20), join(' ', ('all') x 20),
       'one after another');

    my $status = $t[0]->status;
    my ($tunnel) = grep { $_->{remote_node} } @{ $status->{tunnels} };
    is($tunnel->{services}[0]{total_connections} // $tunnel->{services}[0]{total},
       22, 'A has counted them') or diag(explain($tunnel));
}


sub ends {
    my $s = connect_to($sum) or die;
    print $s 'x' x 100_000;
    shutdown $s, 1;
    my $answer = do { local $/; <$s> };
    like($answer, qr/ 100000$/, 'an end of one direction passes');

    $s = connect_to($no) or die;
    is(sysread($s, my $b, 1) // 0, 0, 'who is refused is closed');
    like($t[0]->log, qr/agent "alice" could not connect to service "no"/,
         'and it is said why');
    is(echoes('y'), 'all', 'the channel is good for another');

    $s = connect_to($tcp) or die;
    print $s 'z';
    sysread $s, $b, 1;
    setsockopt $s, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
    my $resets = $t[1]->events($echo, 'reset');
    close $s;
    ok(wait_for(sub { $t[1]->events($echo, 'reset') > $resets }),
       'a reset of the client reaches the service');
}


sub http {
    my %answers;
    $answers{ http_get($t[0]{http_port}, '/web')->{status} }++ for 1 .. 20;
    is_deeply(\%answers, { 200 => 20 }, 'requests are answered');
    is(fresh_after(sub { http_get($t[0]{http_port}, '/web') for 1 .. 20 }) < 5, 1,
       'by channels that are used again');
}


# How many channels A has opened meanwhile.

sub fresh_after {
    my ($do) = @_;

    my $before = $t[0]->status->{channels}{acquired}{fresh}
                 // $t[0]->status->{acquired}{fresh};
    $do->();
    return ($t[0]->status->{channels}{acquired}{fresh}
            // $t[0]->status->{acquired}{fresh}) - $before;
}


sub datagrams {
    my @c = map { ZLTunnel::UDP->client($up) } 1 .. 3;

    for my $n (1 .. 5) {
        for my $i (0 .. 2) {
            is(answer($c[$i], "$i: $n"), "$i: $n", "client $i, datagram $n");
        }
    }
}


# What comes first waits for its channel, which has a second to come, a TLS
# handshake and two dials away; later ones wait for 100 ms.  On a busy machine these
# may pass, and who wants an answer asks again, as clients of UDP do.  An answer
# of before may come as well.

sub answer {
    my ($c, $text) = @_;

    my $back;

    for (1 .. 10) {
        $c->send($text);

        do { $back = $c->recv(2) }
            while defined $back && $back ne $text && $back lt $text
                  && substr($back, 0, 1) eq substr($text, 0, 1);

        last if defined $back;
    }

    return $back;
}


# What a TLS client of B's port for nodes is answered, with those certificates.

sub asks {
    my ($headers, @cert) = @_;

    my $s = IO::Socket::SSL->new(
        PeerAddr => '127.0.0.1', PeerPort => $port{ $t[1] }, Timeout => 10,
        SSL_verify_mode => SSL_VERIFY_NONE,
        @cert ? (SSL_cert_file => "$certs/$cert[0].pem",
                 SSL_key_file => "$certs/$cert[0].key") : ())
        or return "no connection: $SSL_ERROR";

    $s->syswrite("GET /tunnel/v1 HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\n"
             . "Upgrade: zltunnel\r\n$headers\r\n");
    my $head = '';

    while ($head !~ /\r\n\r\n/) {
        $s->sysread($head, 1, length $head) or last;
    }

    my ($status) = $head =~ / (\d+)/;
    my ($length) = $head =~ /Content-Length: (\d+)/;
    my $text = '';

    while (length $text < ($length // 0)) {
        $s->sysread($text, $length, length $text) or last;
    }

    return wantarray ? ($status, $s) : "$status " . ($text // '');
}


sub peer { "Zltunnel-Peer: @{[ 'cd' x 16 ]}\r\n" }


sub strangers {
    my $stranger = asks("Zltunnel-Tunnel: @{[ 'ab' x 16 ]}\r\n"
                        . "Zltunnel-Key: @{[ 'ab' x 32 ]}\r\n");
    like($stranger, qr/^403 /, 'without a key');
    is(asks(peer()), $stranger, 'without a certificate the same');
    is(asks(peer(), 'unknown'), $stranger, 'with one of another CA the same');
    is(asks("Zltunnel-Peer: x\r\n"), $stranger, '.. and whatever it sends');
    is((asks("Zltunnel-Peer: x\r\n", 'server'))[0], 400, 'a node is told');
    is((asks("Zltunnel-Node: @{[ 'ab' x 16 ]}\r\n" . peer(), 'server'))[0], 421,
       'a node that means another one');
}


sub first {
    my $greet = $t[0]->service('greet');
    my $agent = $t[0]->agent(token => $token[0],
                             services => [ "echo:$greet->{port}" ]);
    $agent->registered(1);

    my $s = connect_to($tcp);
    ok(sysread($s, my $b, 10), 'the agent here');
    close $s;

    is($agent->stop, 0, 'goes');
    ok(wait_for(sub { echoes('w') eq 'all' }), 'the other node has them again');
}


# A node that only the engine knows.

sub ghost {
    my ($id, $at, @lines) = @_;

    my $n = 0;
    $engine->tell([ 'SADD', 'zlt:nodes', $id ],
                  [ 'HSET', "zlt:node:$id", node => $at,
                    map { (sprintf('%s%02x', substr($id, 0, 30), $n++) => $_) }
                        @lines ],
                  [ 'EXPIRE', "zlt:node:$id", 100 ]);
}


sub dead {
    my $mute = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1')
        or die;
    my $line = 'tcp echo token=alice';

    ghost('a1' x 16, '127.0.0.1:' . $t[0]->free_port, $line);
    ghost('a2' x 16, '127.0.0.1:' . $mute->sockport, $line);
    ghost('a3' x 16, "127.0.0.1:$echo->{port}", $line);
    ok(there('echo', 4), 'three that do not work');

    is(join(' ', map { echoes("dead $_") } 1 .. 12), join(' ', ('all') x 12),
       'nobody notices');
    like($t[0]->log, qr/node [0-9a-f]{32} at 127\.0\.0\.1:\d+ was not reached: /,
         'but the log');

    # the service is at B no more, and the entry not gone yet
    ghost('a4' x 16, "127.0.0.1:$port{ $t[1] }", $line);
    ok(there('echo', 5), 'one that is another node now');
    is(join(' ', map { echoes("astray $_") } 1 .. 6), join(' ', ('all') x 6),
       'nor that');

    $engine->tell([ 'DEL', map { "zlt:node:$_" } map { $_ x 16 }
                                 qw(a1 a2 a3 a4) ]);
    ok(there('echo', 1), 'they go');
}


sub claims {
    ghost('b1' x 16, '127.0.0.1:1', 'tcp a token=nobody',
          'tcp b token=alice hosts=others.example.com',
          'tcp c token=alice');
    ok(there('c'), 'what it may');
    is_deeply([ map { there_now($_) } qw(a b) ], [ 0, 0 ], '.. and nothing else');
    like($t[0]->log, qr/service "a" of token "nobody" at node .* is left out: there is no such token/, 'which is said');

    $engine->tell([ 'DEL', 'zlt:node:' . 'b1' x 16 ]);
    ok(there('c', 0), 'it goes');
}


sub there_now {
    my ($name) = @_;
    return scalar grep { $_->{name} eq $name } map { @{ $_->{services} } }
                  grep { $_->{remote_node} } @{ $t[0]->status->{tunnels} };
}
