#!/usr/bin/perl

# Protects: what a node lets other nodes have.  A channel is theirs by their
# certificate alone, whatever nginx itself asks of its clients; on it the node is
# what an agent is, to the byte and to the end of each connection, and has only
# services of its own agents; it is idle again and used again, also behind a
# refusal; datagrams pass; what is said there by who should not say it ends that
# channel only, and so does the death of its worker.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Socket ();
use Test::More;
use Time::HiRes qw(sleep time);
use ZLTunnel;
use ZLTunnel::Engine;
use ZLTunnel::Wire qw(msg announce new_id datagram datagram_open);

plan(skip_all => ZLTunnel::Engine::missing()) if ZLTunnel::Engine::missing();

my $t = ZLTunnel->new(workers => 2, range => 10, udp => 1,
                      allow => [ qr/exited on signal 9/ ]);
my $certs = $t->certs;
my $token = $t->token('alice', 'sessions=2');
my $node = '00112233445566778899aabbccddeeff';
my $self = 'aa' x 16;

# The engine's address leads nowhere: none of it is needed for this.

$t->write_conf(
    main => 'load_module ' . ZLTunnel::Engine::module() . ';',
    zltunnel => "node_id $self;
                 cluster redis://127.0.0.1:" . $t->free_port . "/0
                         node=127.0.0.1:$t->{tls_port};
                 cluster_certificate $certs/server.pem;
                 cluster_certificate_key $certs/server.key;
                 cluster_trusted_certificate $certs/ca.pem;",
    location => 'ssl_verify_client optional_no_ca;');
$t->start;

my $echo = $t->service('echo');
my $local = $t->free_port;
my $udp = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $local);
wait_for(sub { $udp->output =~ /ready/ }) or die 'no echo of datagrams';
my $agent = $t->agent(token => $token, services => [
    "web:$echo->{port}", 'closed:' . $t->free_port,
    "near:$echo->{port}/internal", "dns:$local/udp" ]);
my %id = map { my $n = $_; ($n => pack 'H*', service($n)->{id}) }
      qw(web closed near dns);

subtest 'who may' => \&certificate;
subtest 'connections' => \&connections;
subtest 'refusals' => \&refusals;
subtest 'ends' => \&ends;
subtest 'datagrams' => \&datagrams;
subtest 'what should not be said' => \&hostile;
subtest 'a reload' => \&reload;
subtest 'a worker dies' => \&death;

$t->finish;


sub service {
    my ($name) = @_;
    my ($s) = grep { $_->{name} eq $name }
              map { @{ $_->{services} } } @{ $t->status->{tunnels} };
    return $s;
}


# A channel of another node; its answer in {answer}.

sub peer {
    my (%o) = @_;

    $o{cert} //= 'server';
    my $c = ZLTunnel::Wire::under_tls($t, undef,
                qw(-no_ign_eof -nocommands), $o{no_cert} ? ()
                : ('-cert', "$certs/$o{cert}.pem",
                   '-key', "$certs/$o{cert}.key"));

    $c->upgrade("GET /tunnel/v1 HTTP/1.1\r\nHost: localhost\r\n"
        . "Connection: Upgrade\r\nUpgrade: zltunnel\r\n"
        . 'Zltunnel-Node: ' . ($o{to} // $self) . "\r\n"
        . 'Zltunnel-Peer: ' . ($o{from} // $node) . "\r\n\r\n"
        . ($o{early} // ''));

    return $c;
}


# Connect, and what follows it at once; the answer.

sub join_to {
    my ($c, $name, $behind) = @_;

    my $cid = new_id();
    $c->send(announce($id{$name} // $name, id => $cid) . ($behind // ''));

    my $m = $c->next // { type => $c->{end} // 'none' };
    is(unpack('H*', $m->{connection_id} // ''), unpack('H*', $cid),
       "$m->{type} of that connection");

    return $m;
}


# Whether the channel is idle: it answers a heartbeat, with nothing before.

sub idle {
    my ($c) = @_;

    $c->send(msg('Heartbeat', pack 'Q>', 77));
    my $m = $c->next // { type => $c->{end} // 'none' };

    return $m->{type} eq 'HeartbeatAck' && $m->{timestamp} == 77;
}


# The end of the program that speaks TLS is either.

sub closed { $_[0]->ending =~ /^(?:eof|reset)$/ }


# One connection to the echo, to both its ends.

sub echoes {
    my ($c, $bytes, $size) = @_;

    my $m = join_to($c, 'web');
    return 0 if $m->{type} ne 'ConnectAck';

    $c->data($bytes);
    my $back = $c->bytes(length $bytes, 20);
    $c->eof;

    return $back eq $bytes && $c->ends eq 'eof';
}


sub certificate {
    my $c = peer();
    is($c->{answer}{status}, 101, 'a node is let in');
    ok(idle($c), 'and its channel is idle');
    $c->close;

    for (
        [ 'no certificate' => 403, no_cert => 1 ],
        [ "another authority's" => 403, cert => 'unknown' ],
        [ 'no id' => 400, from => 'x' ],
        [ 'what was meant for another node' => 421, to => 'bb' x 16 ],
    ) {
        my ($what, $status, @o) = @$_;
        $c = peer(@o);
        is($c->{answer}{status}, $status, $what);
        $c->close;
    }

    $c = ZLTunnel::Wire::Channel->new($t->{http_port});
    is($c->upgrade("GET /tunnel/v1 HTTP/1.1\r\nHost: localhost\r\n"
                   . "Connection: Upgrade\r\nUpgrade: zltunnel\r\n"
                   . "Zltunnel-Peer: $node\r\n\r\n")->{status}, 403,
       'without TLS nobody is a node');
    $c->close;

    like($t->log, qr/\[warn\].*channel of another node refused/,
         'the log says so');
}


sub connections {
    my $before = service('web')->{total};
    my $c = peer();

    ok(echoes($c, 'x'), 'a byte');
    ok(idle($c), 'the channel is idle then');

    my $large = join '', map { chr int rand 256 } 1 .. 1000;
    ok(echoes($c, $large x 700), '700 kB on the same channel');
    ok(echoes($c, ''), 'none at all');
    ok(idle($c), 'idle still');

    # all of it before there is an answer
    my $m = join_to($c, 'web', msg('Data', 'early') . msg('Data', ' bytes')
                               . msg('Eof'));
    is($m->{type}, 'ConnectAck', 'what comes with Connect');
    is($c->bytes(11), 'early bytes', 'comes back');
    is($c->ends, 'eof', 'to the end');
    ok(idle($c), 'and the channel is idle');

    # the next one at once behind an end that the other side has seen
    $m = join_to($c, 'web', msg('Data', 'a'));
    is($c->bytes(1), 'a', 'a byte');
    $c->eof;
    is($c->ends, 'eof', 'its end');
    $m = join_to($c, 'web', msg('Data', 'b') . msg('Eof'));
    is($c->bytes(1), 'b', 'and the next connection');
    is($c->ends, 'eof', 'and its end');

    my @many = map { peer() } 1 .. 8;
    is(scalar(grep { join_to($_, 'web')->{type} eq 'ConnectAck' } @many), 8,
       'eight at once');
    $_->data('same') for @many;
    is(join('', map { $_->bytes(4) } @many), 'same' x 8, 'each has its own');
    $_->close for @many, $c;

    my $count = $before + 6 + 8;
    ok(wait_for(sub { service('web')->{total} == $count }),
       'each is counted at its service, once')
        or diag(service('web')->{total} . " of $count");
    ok(wait_for(sub { !service('web')->{active} }),
       'and none is open');
}


sub refusals {
    my $c = peer();

    for ([ closed => 0x08, 'one that refuses' ], [ near => undef, 'one that is internal' ],
         [ new_id(), undef, 'one that there is not' ])
    {
        my ($name, $code, $what) = @$_;

        my $m = join_to($c, $name, msg('Data', 'for nobody'));
        is($m->{type}, 'ConnectFail', $what);
        isnt($m->{reason} // '', '', "with a reason: $m->{reason}");
        $c->rst;
        ok(idle($c), 'the channel is idle behind it');
    }

    ok(echoes($c, 'still'), 'and carries the next connection');
    $c->close;
}


# The ends of connections: who resets, and who goes away.

sub ends {
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5)
                 or die "listen: $!";
    my $other = $t->agent(token => $token, services =>
                          [ 'mine:' . $listen->sockport ]);
    $id{mine} = pack 'H*', service('mine')->{id};

    my $c = peer();
    is(join_to($c, 'mine', msg('Data', 'q'))->{type}, 'ConnectAck', 'joined');
    my $s = $listen->accept;
    is(sysread($s, my $in, 1), 1, 'its byte is there');

    # half-closed by the service: the other direction goes on
    shutdown $s, 1;
    is($c->ends, 'eof', "the service's end");
    $c->data('more');
    is(sysread($s, $in, 10), 4, 'more comes behind it');
    $c->eof;
    is(sysread($s, $in, 10), 0, 'and the end');
    ok(idle($c), 'both ended: idle');

    # its end, and at once the next connection with more than is kept beside one
    join_to($c, 'mine', msg('Data', 'q'));
    $s = $listen->accept;
    shutdown $s, 1;
    is($c->ends, 'eof', "the service's end again");
    my $text = 'next' x 5000;
    $c->send(msg('Eof') . announce($id{mine}) . msg('Data', $text));
    is(($c->next // {})->{type}, 'ConnectAck', 'joined with what is behind it')
        or return;
    $s = $listen->accept;
    is(read($s, $in, 20000) && $in, $text, 'and so are its bytes');
    shutdown $s, 1;
    is($c->ends, 'eof', 'to the end');
    $c->eof;
    ok(idle($c), 'idle');

    # reset by the service
    join_to($c, 'mine', msg('Data', 'q'));
    $s = $listen->accept;
    sysread $s, $in, 1;
    setsockopt $s, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'i i', 1, 0;
    close $s;
    is($c->ends, 'reset', 'a reset of the service is one');
    $c->close;

    # reset by the node's client
    $c = peer();
    join_to($c, 'mine', msg('Data', 'q'));
    $s = $listen->accept;
    sysread $s, $in, 1;
    $c->rst;
    is(sysread($s, $in, 10), undef, 'a reset of the client is one');
    $c->close;

    # the other node dies
    $c = peer();
    join_to($c, 'mine', msg('Data', 'q'));
    $s = $listen->accept;
    sysread $s, $in, 1;
    $c->close;
    is(sysread($s, $in, 10), undef, 'and so is the end of the channel');

    # its agent goes
    $c = peer();
    join_to($c, 'mine', msg('Data', 'q'));
    $s = $listen->accept;
    $other->{proc}->kill("KILL");
    is($c->ends, 'reset', 'the end of the agent is a reset');
    $c->close;
}


sub datagrams {
    my $c = peer();

    $c->send(datagram_open(1, service => $id{dns}, addr => '192.0.2.7:7')
             . datagram(1, 'one'));
    is(($c->next // {})->{data}, 'one', 'a datagram comes back');
    $c->send(datagram_open(2, service => $id{dns}, addr => '192.0.2.8:8')
             . datagram(2, 'two'));
    my $m = $c->next // {};
    is("$m->{session} $m->{data}", '2 two', 'and one of another session');
    ok(idle($c), 'the heartbeat is answered');
    $c->close;

    for ([ 'a service of TCP' => $id{web} ], [ 'none' => new_id() ]) {
        my ($what, $id) = @$_;
        $c = peer();
        $c->send(datagram_open(1, service => $id) . datagram(1, 'x'));
        ok(closed($c), "for $what the channel is closed");
        $c->close;
    }

    $c = peer();
    is(join_to($c, 'dns')->{type}, 'ConnectFail',
       'a connection to one of datagrams is refused');
    $c->close;
}


sub hostile {
    for my $bytes (msg('Register', 'x'), msg(0xee, 'x'), "\x20\xff\xff\xff\xff",
                   msg('Connect', 'short'), msg('ConnectAck', new_id()),
                   msg('Data', 'x'), msg('Eof'), msg('Lane', "\0\0\0\0x"),
                   msg('Auth', ''), "GET / HTTP/1.1\r\n\r\n")
    {
        my $c = peer();
        $c->send($bytes);
        ok(closed($c), 'channel closed: '
                       . unpack('H*', substr $bytes, 0, 6));
        $c->close;
    }

    # the same in the request's own packet
    my $c = peer(early => msg('Auth', ''));
    ok(closed($c), 'behind the request, too');
    $c->close;

    # within a connection
    $c = peer();
    is(join_to($c, 'web')->{type}, 'ConnectAck', 'joined');
    $c->send(announce($id{web}));
    ok(closed($c), 'Connect within a connection');
    $c->close;

    # cut anywhere
    my $all = announce($id{web}) . msg('Data', 'xyz') . msg('Eof');

    for my $n (map { $_ * 7 } 0 .. length($all) / 7) {
        $c = peer(early => substr $all, 0, $n);
        $c->close;
    }

    ok(wait_for(sub { !service('web')->{active} }),
       'nothing of it stays');

    $c = peer();
    ok(echoes($c, 'ok'), 'and a node is served as before');
    $c->close;
}


# What is idle goes with its worker, what is not stays.

sub reload {
    my $idle = peer();
    my $busy = peer();

    ok(idle($idle), 'one that is idle');
    is(join_to($busy, 'web')->{type}, 'ConnectAck', 'one that is not');

    my @old = $t->workers;
    $t->{nginx}->kill('HUP');

    is(($idle->next(20) // { type => $idle->{end} // 'none' })->{type},
       'Retire', 'the idle one is told to go');
    $idle->close;

    $busy->data('through');
    is($busy->bytes(7), 'through', 'the other one goes on');
    $busy->eof;
    is($busy->ends, 'eof', 'to its end');

    # a Connect may cross with it, as it would on any channel that is idle
    $busy->send(announce($id{web}) . msg('Data', 'lost?'));
    is(($busy->next(20) // { type => $busy->{end} // 'none' })->{type},
       'Retire', '.. with which it is told to go, and that nobody has acted');
    $busy->close;

    ok(wait_for(sub { my %w = map { $_ => 1 } $t->workers;
                      !grep { $w{$_} } @old }, 20), 'the old workers are gone');

    my $c = peer();
    ok(echoes($c, 'new'), 'the new ones serve');
    $c->close;
}


# Those of the worker end, and no others; nothing of them stays in the registry.

sub death {
    my @c = map { peer() } 1 .. 8;
    join_to($_, 'web') for @c;

    my ($victim) = $t->workers;
    kill 'KILL', $victim;

    ok(wait_for(sub { !grep { $_ == $victim } $t->workers }), 'a worker died');

    my $alive = 0;

    for my $c (@c) {
        $c->data('still');
        my $back = $c->bytes(5, 10);
        $alive++ if $back eq 'still';
        like($back, qr/^(?:still| none| eof| reset)$/, 'one lives, or has ended');
        $c->close;
    }

    ok(wait_for(sub { my $s = service('web'); $s && !$s->{active} }, 20),
       'none is counted any more');

    my $c = peer();
    ok(wait_for(sub { my $x = peer(); my $ok = $x->{answer}{status} == 101;
                      $x->close; $ok }), 'nodes are let in');
    ok(echoes($c, 'again'), 'and served');
    $c->close;
}
