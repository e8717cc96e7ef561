#!/usr/bin/perl

# Protects: whatever comes over the wire, the server answers as the protocol
# says, ends that one tunnel or channel at most, and a transfer that runs
# beside it comes through byte for byte.
#
# The transfer runs the whole time: see beside().

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(msg str16 ext ws_frame register new_id %TYPE);

need_nofile(4_000);

my $t = ZLTunnel->new(
    workers => 2, range => 20,
    zltunnel => 'max_tunnels 100000; connect_timeout 5s;
                 reconnect_grace 1s;');
my $token = $t->token('alice');
my $hand = $t->token('mallory', 'sessions=65535');
$t->start;

my $echo = $t->service('echo');
my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
my $port = $agent->port('e');


# Runs a part of the test beside transfers of 8 MB at 4 MB/s, one after the
# other until the part has ended.

sub beside {
    my ($name, $part) = @_;

    my $stop = "$t->{dir}/stop";
    unlink $stop;

    my $n = ++$t->{nbeside};
    my $log = "$t->{dir}/logs/transfer-$n";
    my $proc = ZLTunnel::Proc->start(name => "transfer $n", out => $log,
                                     code => sub {
        my $tool = ZLTunnel->nettool;
        do {
            my ($rc, $out) = run({ timeout => 120 }, $tool, 'transfer', $port,
                                 8_000_000, 4_000_000);
            my $r = ZLTunnel::Local::parse_transfer($out);
            my $ok = $r->{end} eq 'eof'
                     && ($r->{received_sha} // '') eq $r->{sent_sha}
                     && $r->{received} == 8_000_000;
            syswrite STDOUT, $ok ? "right\n" : "wrong: $out\n";
        } until -e $stop;
    });
    push @{ $t->{procs} }, $proc;

    subtest $name => $part;

    write_file($stop, '');
    is($proc->wait(120), 0, "$name: the transfers beside it end");

    my $out = slurp($log);
    like($out, qr/^(right\n)+$/, "$name: and are right") or diag($out);
}


# A new authenticated channel; its peer's answer to some bytes: "close CODE",
# "end" without a Close, or the type of a message; "nothing" if it does not
# answer but a heartbeat shows that it lives.

sub open_control { ZLTunnel::Wire->agent($t, $hand, @_) }

sub answer {
    my ($c, $bytes) = @_;

    $c->send($bytes);
    return verdict($c);
}

sub verdict {
    my ($c) = @_;

    $c->send(ws_frame(msg('Heartbeat', pack 'Q>', 77)));
    my $m = $c->next(10, heartbeats => 1);

    while ($m && $m->{type} eq 'Heartbeat') {
        $m = $c->next(10, heartbeats => 1);
    }

    return $c->{end} ? 'end' : 'silent' if !$m;
    return "close $m->{code}" if $m->{type} eq 'Close';
    return 'nothing' if $m->{type} eq 'HeartbeatAck' && $m->{timestamp} == 77;
    return $m->{type};
}

my $id = 'i' x 16;

my %payload = (
    Auth => str16('t' x 20) . $id,
    AuthOk => $id,
    AuthFail => str16('reason'),
    Register => pack('C/a C n n', 'web', 0, 80, 0),
    RegisterOk => $id,
    RegisterFail => str16('reason'),
    Connect => $id . $id . str16('1.2.3.4:5'),
    ConnectAck => $id,
    ConnectFail => $id . str16('reason'),
    Heartbeat => pack('Q>', 1),
    HeartbeatAck => pack('Q>', 1),
    Unregister => $id,
    Disconnect => str16('reason'),
);


beside 'messages truncated at every byte' => sub {
    for my $type (sort keys %payload) {
        my $p = $payload{$type};
        my (%first, %later);

        for my $len (0 .. length($p) - 1) {
            my $short = msg($type, substr $p, 0, $len);

            my $c = ZLTunnel::Wire->control($t);
            $c->send_msg($short);
            $first{ first($c) }++;
            $c->reset;

            $c = open_control();
            $later{ answer($c, ws_frame($short)) }++;
            $c->reset;
        }

        # without AuthFail; as the first message it may be any other end
        ok(!grep({ !/^(close 1002|end)$/ } keys %first),
           "$type as the first message: closed") or diag(explain(\%first));
        is_deeply([ keys %later ], [ 'close 1002' ], "$type: 1002")
            or diag(explain(\%later));
    }

    # the whole message, its header cut
    my %all;

    for my $len (0 .. 4) {
        my $c = open_control();
        $all{ answer($c, ws_frame(substr msg('Heartbeat', pack 'Q>', 1), 0,
                                  $len)) }++;
        $c->reset;
    }

    is_deeply([ keys %all ], [ 'close 1002' ], 'a header cut: 1002')
        or diag(explain(\%all));
};


sub first {
    my ($c) = @_;

    my $m = $c->next(15);
    return $m->{type} eq 'Close' ? "close $m->{code}" : $m->{type} if $m;
    return $c->{end} ? 'end' : 'silent';
}


beside 'extension blocks' => sub {
    my $block = ext(1, pack('N', 1), 2, 'name/1.0', 3, 'k' x 32, 99, 'new');
    my $auth = str16($hand) . $id;
    my %all;

    for my $len (0 .. length $block) {
        my $c = ZLTunnel::Wire->control($t);
        $c->send_msg(msg('Auth', $auth . substr $block, 0, $len));
        my $m = $c->next;

        my $whole = grep { $_ == $len } 7, 18, 53, 59;
        my $features = defined $m->{features} ? 'extended' : 'plain';
        $all{"$m->{type} $features"}{ $whole ? 'whole' : 'cut' }++;
        $c->reset;
    }

    is_deeply([ sort keys %all ], [ 'AuthOk extended', 'AuthOk plain' ],
              'a block that does not parse is void, no error');
    is_deeply([ sort keys %{ $all{'AuthOk extended'} } ], [ 'whole' ],
              'only whole ones count') or diag(explain(\%all));

    my $auths = sub {
        my $c = ZLTunnel::Wire->control($t);
        $c->send_msg(msg('Auth', $auth . $_[0]));
        my $m = $c->next;
        $c->reset;
        return $m->{features} // 'plain';
    };

    is($auths->(ext(1, pack 'n', 1)), 'plain', 'a value too short: void');
    is($auths->(ext(1, pack('N', 1) . 'xx')), 1, 'too long: cut');
    is($auths->(ext(1, pack('N', 1), 1, pack('N', 0))), 1,
       'the first of repeated tags counts');
    is($auths->(ext(1, pack 'N', 0xffffffff)) & ~0x18f, 0,
       'only features that the server knows');
    is($auths->(ext(77, 'x' x 60000, 1, pack 'N', 1)), 1,
       'a tag unknown and large is skipped');
};


beside 'lengths and types' => sub {
    my $head = sub { pack 'C N', @_ };

    for my $type (qw(Heartbeat Register Unregister)) {
        my $t = $TYPE{$type};

        is(answer(open_control(), ws_frame($head->($t, 0))), 'close 1002',
           "$type of length 0");
        is(answer(open_control(), ws_frame($head->($t, 65531) . 'x' x 100)),
           'close 1002', "$type that promises 65531 bytes");
        is(answer(open_control(), ws_frame($head->($t, $_) . 'x' x 100)),
           'close 1009', "$type of length $_") for 65532, 4294967295;
    }

    is(answer(open_control(), ws_frame(msg('Heartbeat', pack('Q>', 77)
                                           . 'x' x 65523))), 'nothing',
       'a message of the largest size is read, and what follows its fields '
       . 'ignored');
    is(answer(open_control(), ws_frame(msg('Heartbeat', pack 'Q>', 77)
                                       . 'x' x 1000)), 'nothing',
       'bytes behind the message are ignored');

    for my $type (0, 4, 0x13, 0x59, 0xff) {
        is(answer(open_control(), ws_frame(msg($type, 'x' x 40))),
           'close 1002', "type $type is unknown");
    }

    for my $type (qw(AuthOk AuthFail RegisterOk RegisterFail Connect
                     Disconnect Auth ConnectAck ConnectFail Unregister)) {
        is(answer(open_control(), ws_frame(msg($type, $payload{$type}))),
           'nothing', "$type at the wrong time is ignored");
    }

    is(answer(open_control(), ws_frame(msg('Register', pack('C/a C n n', 'a',
              2, 1, 1)))), 'close 1002', 'protocol 2');
    is(answer(open_control(), ws_frame(msg('Register', pack('C/a C n n',
              "\xff\xfe", 0, 1, 1)))), 'close 1002', 'a name not in UTF-8');
};


beside 'frames' => sub {
    my $beat = msg('Heartbeat', pack 'Q>', 77);

    is(answer(open_control(), ws_frame($beat, mask => 0)), 'close 1002',
       'unmasked');
    is(answer(open_control(), pack('C C', 0xc2, 0x80) . 'mask'), 'close 1002',
       'a reserved bit');
    is(answer(open_control(), ws_frame('x', op => $_)), 'close 1002',
       "opcode $_") for 3, 7, 11, 15;
    is(answer(open_control(), ws_frame('x' x 126, op => 9)), 'close 1002',
       'a ping too long');
    is(answer(open_control(), ws_frame('x', op => 9, fin => 0)), 'close 1002',
       'a ping in fragments');
    is(answer(open_control(), ws_frame('x', op => 0)), 'close 1002',
       'a continuation of nothing');
    is(answer(open_control(), ws_frame('x', fin => 0) . ws_frame('y')),
       'close 1002', 'a message inside another');
    is(answer(open_control(), pack('C C n', 0x82, 0x80 | 126, 5) . 'mask'),
       'close 1002', 'a length not in its shortest form');
    is(answer(open_control(), pack('C C Q>', 0x82, 0x80 | 127, 1 << 63)),
       'close 1002', 'a length with its top bit set');
    is(answer(open_control(), pack('C C Q>', 0x82, 0x80 | 127, 1 << 40)
                              . 'mask'), 'close 1009', 'a length of 1 TB');

    is(answer(open_control(), ws_frame('some text', op => 1)), 'nothing',
       'text is ignored');
    is(answer(open_control(), ws_frame('t' x 65536, op => 1)), 'nothing',
       '65536 bytes of it, too');
    is(answer(open_control(), ws_frame('t' x 65537, op => 1)), 'close 1009',
       'one more: 1009');
    is(answer(open_control(), ws_frame('t' x 1_000_000, op => 1)),
       'close 1009', '1 MB of text: 1009');
    is(answer(open_control(), ws_frame('b' x 1_000_000)), 'close 1009',
       '1 MB of a message: 1009');
    is(answer(open_control(), ws_frame('t' x 40_000, op => 1, fin => 0)
                              . ws_frame('t' x 40_000, op => 0)),
       'close 1009', 'text too long in fragments: 1009');


    # what is allowed

    my $c = open_control();
    $c->send(ws_frame('ping me', op => 9));
    my $m = $c->next;
    is("$m->{type} $m->{payload}", 'Pong ping me', 'a ping is answered');

    my $register = register('fragments');
    my @parts = $register =~ /(.)/gs;
    my $last = pop @parts;
    my $first = shift @parts;

    $c->send(ws_frame($first, fin => 0));
    $c->send(ws_frame($_, op => 0, fin => 0) . ws_frame('', op => 9))
        for @parts;
    $c->send(ws_frame($last, op => 0));

    my %types;
    for (0 .. @parts) {
        my $m = $c->next // last;
        $types{ $m->{type} }++;
    }
    is_deeply(\%types, { Pong => scalar @parts, RegisterOk => 1 },
              'a message in fragments of one byte, with pings between');

    my $bytes = ws_frame(register('slowly'));
    for my $byte (split //, $bytes) {
        $c->send($byte);
        wait_for(sub { 0 }, 0.002);
    }
    is($c->expect('RegisterOk')->{type}, 'RegisterOk',
       'a frame that comes byte by byte');

    $c->send(ws_frame(pack('n', 1000) . 'bye', op => 8));
    $m = $c->expect('Close');
    is($m->{code}, 1000, 'a Close is answered');
    isnt($c->ending, 'open', 'and ends the channel');
};


beside 'half-open handshakes' => sub {
    my @half = map { ZLTunnel::Wire::Socket->new($t->{http_port}) } 1 .. 100;
    $_->send("GET /tunnel/v1 HTTP/1.1\r\nHost: ") for @half;

    my @open = map { ZLTunnel::Wire->control($t) } 1 .. 500;
    my %status;
    $status{ $_->{answer}{status} }++ for grep { $_ } @open;

    note explain(\%status);
    ok(!grep({ !/^(101|503)$/ } keys %status), 'each gets 101 or 503');
    cmp_ok($status{101}, '>=', 256, 'as many as max_unauthenticated allows');

    # half of them with a part of an Auth
    my $part = substr ws_frame(msg('Auth', $payload{Auth})), 0, 20;
    $open[$_]->send($part) for grep { $_ % 2 && $open[$_] } 0 .. $#open;

    my $c;
    ok(wait_for(sub {
        $c = ZLTunnel::Wire->control($t);
        return 0 unless $c && $c->{answer}{status} == 101;
        $c->auth($hand, features => 1);
        return ($c->next // { type => '' })->{type} eq 'AuthOk';
    }, 30), 'others come in, at the latest when those have been closed');

    my $left = grep { $_ && $_->ending(20) eq 'open' } @open;
    is($left, 0, 'all are closed');
    $_->close for @half, grep { $_ } @open;
};


beside 'data channels' => sub {
    my $c = open_control(features => 1);
    my @ok = @{ $c->{ok} }{qw(tunnel_id data_key)};

    $c->send_msg(register('data'));
    my $port = $c->expect('RegisterOk')->{port};

    my %status;
    for my $n (0 .. 31) {
        my $wrong = $ok[1];
        vec($wrong, $n, 8) ^= 1;
        $status{ ZLTunnel::Wire->channel($t, $ok[0], $wrong)
                 ->{answer}{status} }++;

        my $other = $ok[0];
        vec($other, $n % 16, 8) ^= 1;
        $status{ ZLTunnel::Wire->channel($t, $other, $ok[1])
                 ->{answer}{status} }++;
    }
    is_deeply(\%status, { 403 => 64 }, 'every wrong key and tunnel: 403');

    my @bad = (
        [ 'an unknown type', msg(0xee, 'x') ],
        [ 'Register', register('x') ],
        [ 'Auth', msg('Auth', $payload{Auth}) ],
        [ 'Data', msg('Data', 'x') ],
        [ 'a frame of 4097 bytes', msg('Heartbeat', 'x' x 4097) ],
        [ 'a length of 4294967295', pack('C N', 0x30, 4294967295) ],
        [ 'an answer to nothing', msg('ConnectAck', $id) ],
        [ 'a failure of nothing', msg('ConnectFail', $id . str16('x')) ],
        (map { [ "a Heartbeat of $_ bytes", msg('Heartbeat', 'x' x $_) ] }
         0 .. 7),
    );

    for my $case (@bad) {
        my ($name, $bytes) = @$case;
        my $d = ZLTunnel::Wire->channel($t, @ok);
        is($d->{answer}{status}, 101, "idle: $name") or next;
        $d->send($bytes);
        isnt($d->ending, 'open', "idle: $name: closed");
        $d->close;
    }

    # in place of an answer
    my @answers = (
        [ 'another id', sub { msg('ConnectAck', new_id()) } ],
        [ 'an unknown type', sub { msg(0xee, 'x') } ],
        [ 'half an answer, then EOF', sub {
            substr msg('ConnectAck', $_[0]{connection_id}), 0, 12 } ],
        [ 'nothing, then EOF', sub { '' } ],
    );

    for my $case (@answers) {
        my ($name, $bytes) = @$case;
        my $client = ZLTunnel::Wire::Socket->new($port);
        my $m = $c->expect('Connect');
        my $d = ZLTunnel::Wire->channel($t, @ok, $m->{connection_id});
        is($d->{answer}{status}, 101, "fresh: $name");
        $d->send($bytes->($m));
        $d->shut;
        is($client->ending(15), 'reset', "fresh: $name: the client is reset");
        $_->close for $d, $client;

        # it may be announced again before that
        while (my $again = $c->next(0.2)) {
            last if $again->{type} ne 'Connect';
        }
    }

    # an answer by two
    my $client = ZLTunnel::Wire::Socket->new($port);
    my $m = $c->expect('Connect');
    my $d = ZLTunnel::Wire->channel($t, @ok, $m->{connection_id});
    $d->ack($m);
    $d->data('fine');
    is($client->take(4), 'fine', 'answered');
    $c->send_msg(msg('ConnectFail', $m->{connection_id} . str16('late')));
    is($client->ending(0.3), 'open', 'ConnectFail after that is ignored');
    $d->data('still');
    is($client->take(5), 'still', 'the connection goes on');

    is(ZLTunnel::Wire->channel($t, @ok, $m->{connection_id})
       ->{answer}{status}, 410, 'a used connection: 410');
    $client->close;
    $c->reset;
};


# Nobody is left behind, and the registry is as small as before

is($agent->services->{e}{lines}, 1, 'the agent noticed nothing');

ok(wait_for(sub { @{ $t->status->{tunnels} } == 1 }, 30),
   'the tunnels of all this are gone');

$t->finish;
