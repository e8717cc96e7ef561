#!/usr/bin/perl

# Protects: what an agent can send on a data channel within a WebSocket.  The
# handshake gives what RFC 6455 wants and the answers of other channels; its
# messages come whole however they are cut; a middlebox's Ping is answered
# anywhere; and whatever may not come closes its channel, resets its client, and
# disturbs nothing else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::SHA qw(sha1);
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Paths;
use ZLTunnel::Wire qw(msg register ws_frame new_id str16 ext);

my $t = ZLTunnel->new;
my $token = $t->token('alice');
$t->start;

my $agent = ZLTunnel::Wire->agent($t, $token);
$agent->send_msg(register('e'));
my $port = $agent->expect('RegisterOk')->{port};
my @ok = @{ $agent->{ok} }{qw(tunnel_id data_key)};

subtest 'handshake' => \&handshake;
subtest 'idle' => \&idle;
subtest 'garbage on an idle channel' => \&garbage_idle;
subtest 'bytes, however they come' => \&bytes;
subtest 'ends' => \&ends;
subtest 'garbage on a connection' => \&garbage_open;
subtest 'a fresh channel' => \&fresh;
subtest 'a flood of nothing' => \&flood;

$agent->close;
$t->finish;


sub nidle { ($t->status->{tunnels}[0] || {})->{idle_channels} // 0 }


# An idle channel; the only one.

sub channel {
    wait_for(sub { nidle() == 0 }) or diag('channels are left');

    my $d = ZLTunnel::Wire->framed($t, @ok);
    wait_for(sub { nidle() == 1 }) or diag('no idle channel');

    return $d;
}


# A client, and the channel that its connection was announced on, acknowledged.

sub connection {
    my $d = channel();
    my $c = ZLTunnel::Wire::Socket->new($port);
    my $m = $d->expect('Connect');

    $d->ack($m);
    return ($c, $d);
}


sub handshake {
    my $d = ZLTunnel::Wire->framed($t, @ok);
    my $head = $d->{answer}{head};
    my $accept = encode_base64(sha1($d->{key}
                     . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'), '');

    is($d->{answer}{status}, 101, 'the upgrade');
    like($head, qr/^Upgrade: websocket\r?$/m, 'Upgrade');
    like($head, qr/^Connection: upgrade\r?$/mi, 'Connection');
    like($head, qr/^Sec-WebSocket-Accept: \Q$accept\E\r?$/m, 'Accept');
    like($head, qr/^Sec-WebSocket-Protocol: zltunnel-data\r?$/m,
         'the subprotocol is echoed');
    like($head, qr/^Zltunnel-Worker: 0\/1\r?$/m, 'the worker is told');
    like($head, qr/^Cache-Control: no-store\r?$/m, 'no-store');
    $d->close;

    my @cases = (
        [ 403, 'a wrong key', $ok[0], 'k' x 32 ],
        [ 403, 'a wrong tunnel', new_id(), $ok[1] ],
        [ 410, 'an unknown connection', @ok, new_id() ],
        [ 400, 'no tunnel', undef, $ok[1] ],
        [ 403, 'Origin', @ok, undef, headers => "Origin: http://x\r\n" ],
        [ 400, 'no Sec-WebSocket-Key', @ok, undef, ws_headers =>
          "Connection: Upgrade\r\nUpgrade: websocket\r\n"
          . "Sec-WebSocket-Version: 13\r\n"
          . "Sec-WebSocket-Protocol: zltunnel-data\r\n" ],
        [ 426, 'another version', @ok, undef, ws_headers =>
          "Connection: Upgrade\r\nUpgrade: websocket\r\n"
          . "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: x\r\n"
          . "Sec-WebSocket-Protocol: zltunnel-data\r\n" ],
    );

    for my $case (@cases) {
        my ($status, $what, @args) = @$case;
        my $e = ZLTunnel::Wire->framed($t, @args[0, 1], $args[2],
                                       @args[3 .. $#args]);
        is($e->{answer}{status}, $status, "$what: $status");
        like($e->{answer}{head}, qr/^Zltunnel-Worker: /m,
             'which is known for an answer of ours');
        $e->close;
    }

    is(nidle(), 0, 'none of them is counted');
}


sub idle {
    my $d = channel();

    $d->send_msg(msg('Heartbeat', pack 'Q>', 77));
    my $m = $d->next(5, heartbeats => 1);
    is("$m->{type} $m->{timestamp}", 'HeartbeatAck 77', 'Heartbeat');

    $d->send(ws_frame('there?', op => 9));
    is_deeply($d->next(5), { type => 'Pong', payload => 'there?' }, 'Ping');

    $d->send(ws_frame('', op => 10));
    $d->send(ws_frame(substr(msg('Heartbeat', pack 'Q>', 78), 0, 3), fin => 0));
    $d->send(ws_frame('between', op => 9));
    $d->send(ws_frame(substr(msg('Heartbeat', pack 'Q>', 78), 3), op => 0));

    is_deeply($d->next(5), { type => 'Pong', payload => 'between' },
              'Pong is ignored, Ping between fragments answered');
    $m = $d->next(5, heartbeats => 1);
    is("$m->{type} $m->{timestamp}", 'HeartbeatAck 78',
       'and the fragments are one message');

    # where a WebSocket message ends means nothing

    my $two = msg('Heartbeat', pack 'Q>', 79) . msg('Heartbeat', pack 'Q>', 80);
    my @cut = unpack 'a3 a9 a*', $two;

    for my $wire ([ ws_frame($two), 'two messages in one' ],
                  [ join('', map { ws_frame($_) } @cut), 'two in three' ],
                  [ join('', map { ws_frame('') . ws_frame($_) } @cut),
                    'and empty ones between' ])
    {
        $d->send($wire->[0]);
        is(join(' ', map { $d->next(5, heartbeats => 1)->{timestamp} } 1, 2),
           '79 80', $wire->[1]);
    }

    $d->send_msg(msg('Retire'));
    is($d->next(5)->{type}, 'Close', 'Retire is answered by Close');
    is($d->ending, 'eof', 'Retire ends it');
}


# What may not come on an idle channel, by its name.

sub garbage_idle {
    my $beat = msg('Heartbeat', pack 'Q>', 1);

    my %garbage = (
        'an unmasked frame' => ws_frame($beat, mask => 0),
        'text' => ws_frame('hello', op => 1),
        'an unknown opcode' => ws_frame($beat, op => 3),
        'a reserved bit' => "\xc2" . substr(ws_frame($beat), 1),
        'a continuation of nothing' => ws_frame($beat, op => 0),
        'a length of 64 bits' => "\x82\xff" . pack('Q>', 1 << 63) . 'mask',
        'a message within a message' => ws_frame('', fin => 0)
                                        . ws_frame($beat),
        'what is no message' => ws_frame('x' x 5),
        'Raw' => ws_frame(msg('Raw')),
        'Data' => ws_frame(msg('Data', 'hello')),
        'Eof' => ws_frame(msg('Eof')),
        'Reset' => ws_frame(msg('Reset')),
        'ConnectAck' => ws_frame(msg('ConnectAck', new_id())),
        'an unknown message' => ws_frame(msg(0x7e, 'x')),
        'a frame of 5000 bytes' => ws_frame(msg('ConnectFail', 'x' x 5000)),
        'a long Ping' => ws_frame('x' x 126, op => 9),
        'Close' => ws_frame(pack('n', 1000), op => 8),
    );

    my ($c, $d) = connection();

    for my $what (sort keys %garbage) {
        my $e = ZLTunnel::Wire->framed($t, @ok);
        $e->send($garbage{$what});
        isnt($e->ending(5), 'open', "$what closes the channel");
    }

    ok(wait_for(sub { nidle() == 0 }), 'none of them is left');

    $c->send('still');
    is($d->bytes(5), 'still', 'another connection goes on');
    $d->data('here');
    is($c->take(4), 'here', 'both ways');
    $d->eof;
    $c->shut;
    is($c->ending, 'eof', 'to its end');
    $d->close;
}


sub bytes {
    my $big = join '', map { chr int rand 256 } 1 .. 300_001;

    my ($c, $d) = connection();
    my $m = join '', map { msg('Data', $_) } unpack '(a40000)*', $big;
    $d->send_msg($m);
    ok($c->take(length $big) eq $big, 'Data of 300 kB in one frame');

    # in fragments, with all that may come between them

    my ($first, $sent) = (1, 0);

    while (length $m) {
        my $n = 1 + int rand 20_000;
        my $piece = substr $m, 0, $n, '';
        $d->send(ws_frame($piece, op => $first ? 2 : 0,
                          fin => length $m ? 0 : 1));
        $d->send(ws_frame('p' . $sent++, op => 9)) if length $m;
        $d->send(ws_frame('', op => 0, fin => 0)) if length $m;
        $first = 0;
    }

    ok($c->take(length $big) eq $big, 'and in fragments');
    my $pong = $d->next(5);
    like($pong->{payload} // '', qr/^p\d+$/, 'Pings between them are answered');

    # byte by byte

    my ($cc, $e) = connection();
    my $wire = ws_frame(msg('Data', 'a message')) . ws_frame('', op => 10)
               . ws_frame(msg('Data', '')) . ws_frame(msg('Data', ' more'));

    for my $byte (split //, $wire) {
        $e->send($byte);
        select undef, undef, undef, 0.001;
    }

    is($cc->take(14), 'a message more', 'byte by byte');

    # the acknowledgement, the bytes behind it and the end in one piece

    my $f = channel();
    my $ccc = ZLTunnel::Wire::Socket->new($port);
    $ccc->send('early');
    $m = $f->expect('Connect');
    is($f->bytes(5), 'early', 'the client\'s bytes come with Connect');
    $f->send(ws_frame(msg('ConnectAck', $m->{connection_id}))
             . ws_frame(msg('Data', 'at once')) . ws_frame(msg('Eof')));
    is($ccc->take(7), 'at once', 'the answer with ConnectAck');
    is($ccc->ending, 'eof', 'and the end');
    $ccc->shut;
    is($f->next->{type}, 'Eof', 'Eof of the client');
    ok(wait_for(sub { nidle() == 1 }), 'and the channel is idle again');

    # the other way, in full size

    $c->send($big);
    my $got = '';

    while (length $got < length $big) {
        my $m = $d->next(5) // last;
        $got .= $m->{payload} if $m->{type} eq 'Data';
    }

    ok($got eq $big, 'Data to the service');

    $_->reset for $c, $cc, $ccc;
    $_->close for $d, $e, $f;
}


sub ends {
    my ($c, $d) = connection();
    $d->eof;
    is($c->ending, 'eof', 'Eof ends one direction');
    $d->send(ws_frame('still there?', op => 9));
    is_deeply($d->next(5), { type => 'Pong', payload => 'still there?' },
              'a Ping behind it is answered');
    $c->send('and I go on');
    is($d->bytes(11), 'and I go on', 'the other direction goes on');
    $c->shut;
    is($d->next->{type}, 'Eof', 'and ends by itself');
    $d->close;

    ($c, $d) = connection();
    $c->shut;
    is($d->next->{type}, 'Eof', 'the client ends first');
    $d->data('answer');
    $d->eof;
    is($c->take(6), 'answer', 'and gets its answer');
    is($c->ending, 'eof', 'to the end');
    ok(wait_for(sub { nidle() == 1 }), 'and the channel is idle again');
    $d->send(ws_frame(pack('n', 1000), op => 8));
    is($d->next->{type}, 'Close', 'Close is answered by Close');
    is($d->ending, 'eof', 'and the end');

    ($c, $d) = connection();
    $c->send('hello');
    is($d->bytes(5), 'hello', 'a client');
    $c->reset;
    my $m = $d->next(5) // { type => $d->{end} };
    like($m->{type}, qr/^(Reset|reset)$/, 'that is reset');
    $d->close;

    my %ends = (
        'Reset' => sub { $_[0]->rst },
        'a close without Eof' => sub { $_[0]->shut },
        'Close without Eof' => sub {
            $_[0]->send(ws_frame(pack('n', 1000), op => 8)) },
        'a close in the middle of a message' => sub {
            $_[0]->send(substr ws_frame(msg('Data', 'x' x 1000)), 0, 500);
            $_[0]->shut },
        'a reset of TCP' => sub { $_[0]->reset },
    );

    for my $what (sort keys %ends) {
        my ($c, $d) = connection();
        $d->data('some bytes');
        is($c->take(10), 'some bytes', 'a connection');
        $ends{$what}->($d);
        is($c->ending, 'reset', "$what is a reset");
        $d->close;
    }

    for my $what ('Close without Eof', 'a close without Eof',
                  'a reset of TCP')
    {
        my ($c, $d) = connection();
        $d->eof;
        is($c->ending, 'eof', 'a half-closed connection');
        $ends{$what}->($d);
        $c->{end} = undef;

        ok(wait_for(sub {
            my $n = $c->send('x');
            select undef, undef, undef, 0.01;
            return !$n;
        }), "$what behind Eof is a reset");
        $d->close;
    }
}


sub garbage_open {
    my %garbage = (
        'Data behind Eof' => ws_frame(msg('Eof')) . ws_frame(msg('Data', 'x')),
        'a second Eof' => ws_frame(msg('Eof')) x 2,
        'a frame' => ws_frame(msg('Heartbeat', pack 'Q>', 1)),
        'ConnectAck again' => ws_frame(msg('ConnectAck', new_id())),
        'text' => ws_frame('hello', op => 1),
        'an unmasked frame' => ws_frame(msg('Data', 'x'), mask => 0),
        'Data of 65532 bytes' => ws_frame(pack 'C N', 0x55, 65532),
        'what is no message' => ws_frame('x' x 5),
        'Eof with a payload' => ws_frame(msg('Eof', 'x')),
        'Raw' => ws_frame(msg('Raw')),
    );

    for my $what (sort keys %garbage) {
        my ($c, $d) = connection();
        $c->send('hello');
        is($d->bytes(5), 'hello', 'a connection');
        $d->send($garbage{$what});

        if ($what =~ /behind Eof|second Eof/) {
            is($c->ending(5), 'eof', "$what: the client has an end");
            $c->shut;
            isnt($d->ending(5), 'open', '.. but the channel ends with its own');

        } else {
            is($c->ending(5), 'reset', "$what resets the client");
        }

        $c->reset;
        $d->close;
    }
}


sub fresh {
    wait_for(sub { nidle() == 0 });

    my $c = ZLTunnel::Wire::Socket->new($port);
    $c->send('early');
    my $m = $agent->expect('Connect');
    my $d = ZLTunnel::Wire->framed($t, @ok, $m->{connection_id});

    is($d->{answer}{status}, 101, 'accepted');
    is($d->bytes(5), 'early', 'Data comes at once');
    $d->ack($m);
    $d->data('late');
    is($c->take(4), 'late', 'and goes');
    $d->eof;
    $c->shut;
    is($c->ending, 'eof', 'to its end');
    $d->close;

    $c = ZLTunnel::Wire::Socket->new($port);
    $m = $agent->expect('Connect');
    $d = ZLTunnel::Wire->framed($t, @ok, $m->{connection_id});
    $d->data('before ConnectAck');
    isnt($d->ending(5), 'open', 'Data before ConnectAck ends the channel');
    $c->reset;

    my $e = channel();
    $c = ZLTunnel::Wire::Socket->new($port);
    $m = $e->expect('Connect');
    $e->send_msg(msg('ConnectFail', $m->{connection_id} . str16('no')
                                    . ext(1, pack 'C', 7)));
    is($c->ending, 'reset', 'ConnectFail resets the client');
    $e->close;

    1 while $agent->next(0.2);         # Connects that were repeated
}


# Frames without end that carry nothing: memory is bounded, others are served.

sub flood {
    my ($c, $d) = connection();
    my ($cc, $e) = connection();

    my ($pid) = $t->workers;
    my $before = ZLTunnel::Paths::memory($pid);
    my $flood = ws_frame('', op => 0, fin => 0) x 5000
                . ws_frame('x' x 100, op => 9) x 500;
    my ($slowest, $end) = (0, time + 2);

    $d->send(ws_frame('', op => 2, fin => 0));
    $d->{s}->blocking(0);

    while (time < $end) {
        syswrite $d->{s}, $flood for 1 .. 3;

        my $start = time;
        $cc->send('ping');
        $e->bytes(4) eq 'ping' or last;
        $e->data('pong');
        $cc->take(4) or last;
        $slowest = time - $start if time - $start > $slowest;
    }

    cmp_ok(time, '>=', $end, 'another connection is served all the while');
    cmp_ok($slowest, '<', 1 * slowdown(), 'and quickly');
    cmp_ok(ZLTunnel::Paths::memory($pid) - $before, '<', 1024,
           'nothing is kept') if !$ENV{ZLT_SLOW};

    $_->reset for $c, $cc;
    $_->close for $d, $e;
}

