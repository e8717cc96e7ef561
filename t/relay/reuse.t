#!/usr/bin/perl

# Protects: a data channel that has carried a connection, whose bytes came as
# messages to the end in both directions, carries the next one: however the
# connection ended, with nothing of it left over for the next; and a direction
# that turns raw ends as a raw one does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(msg register ext str16);

for my $scheme (qw(ws wss)) {
    for my $workers (1, 4) {
        subtest "$scheme, $workers worker(s)" => sub {
            real($scheme, $workers);
        };
    }
}

subtest 'an agent that keeps none idle' => \&none;
subtest 'by hand' => \&by_hand;
subtest 'by hand, garbage' => \&garbage;

done_testing();


sub idle { ($_[0]->status->{tunnels}[0] || {})->{idle_channels} // 0 }

sub opened {
    my ($t) = @_;

    my @lines = slurp("$t->{dir}/logs/access.log") =~ / 101 /g;
    return scalar @lines;
}


# One connection with bytes of its own; true if they come back.

sub echo {
    my ($port, $n) = @_;

    my $c = ZLTunnel::Wire::Socket->new($port) or return 0;
    my $bytes = "$n " x (1 + $n % 700);

    $c->send($bytes);
    my $ok = ($c->take(length $bytes) // '') eq $bytes;

    $c->shut;
    return $ok && $c->ending eq 'eof' && $c->{in} eq '';
}


# The real agent.

sub real {
    my ($scheme, $workers) = @_;

    my $t = ZLTunnel->new(workers => $workers);
    my $token = $t->token('alice');
    $t->start;

    my $e = $t->service('echo');
    my $sum = $t->service('sum');
    my $reset = $t->service('reset');
    my $source = $t->service('source', 3_000_000);

    my $agent = $t->agent(
        token => $token, tls => $scheme eq 'wss',
        services => [ "echo:$e->{port}", "sum:$sum->{port}",
                      "reset:$reset->{port}", "bulk:$source->{port}",
                      'down:1' ]);

    ok(wait_for(sub { idle($t) }), 'there are idle channels');

    my $good = grep { echo($agent->port('echo'), $_) } 1 .. 150;
    is($good, 150, '150 connections one after another, each with its bytes');

    my $before = opened($t);
    $good = grep { echo($agent->port('echo'), $_) } 1 .. 150;
    is($good, 150, 'and 150 more');

    # also those that another worker has, and relays

    my $more = opened($t) - $before;
    cmp_ok($t->status->{reused}, '>', 250, 'the status has it, too');
    cmp_ok($more, '<', 20,
           "a channel carries many: $more were opened for them");

    # other ends in between: nothing of them is left for the next

    for my $n (1 .. 10) {
        my $c = ZLTunnel::Wire::Socket->new($agent->port('echo'));
        $c->send('x' x 5000);
        $c->take($n % 2 ? 1 : 5000);
        $c->reset;

        my $r = ZLTunnel::Wire::Socket->new($agent->port('reset'));
        $r->send('hello');
        is($r->ending, 'reset', 'reset by the service') if $n == 1;

        my $d = ZLTunnel::Wire::Socket->new($agent->port('down'));
        is($d->ending, 'reset', 'service down') if $n == 1;

        my $s = ZLTunnel::Wire::Socket->new($agent->port('sum'));
        $s->send('y' x $n);
        $s->shut;
        is($s->ending, 'eof', 'half-closed, and answered') if $n == 1;

        echo($agent->port('echo'), $n) or fail("echo $n");
    }

    my $c = ZLTunnel::Wire::Socket->new($agent->port('bulk'));
    is(length($c->take(3_000_000) // ''), 3_000_000, 'bulk');
    is($c->ending, 'eof', 'to its end');
    $c->close;

    # messages of which the agent takes a part only, for now

    my @s = map { ZLTunnel::Wire::Socket->new($agent->port("echo")) } 1 .. 6;
    for my $s (@s) {
        $s->send('first');
        $s->take(5);
        $s->{s}->blocking(0);
    }

    # in pieces that are not bulk, more than its socket takes

    $agent->{proc}->kill('STOP');
    my $bytes = join '', map { "$_ " } 1 .. 1_300_000;
    for (1 .. 600) {
        for my $s (@s) {
            my $n = syswrite $s->{s}, $bytes, 15_000, $s->{sent} // 0;
            $s->{sent} += $n // 0;
        }
        select undef, undef, undef, 0.005;
    }
    $agent->{proc}->kill('CONT');

    my $whole = grep {
        $_->send(substr $bytes, $_->{sent})
        && ($_->take(length $bytes) // '') eq $bytes;
    } @s;
    is($whole, 6, 'all come back, exact, once the agent reads on');
    $_->shut for @s;
    is((grep { $_->ending eq 'eof' } @s), 6, 'to their ends');

    ok(echo($agent->port('echo'), 7), 'and again');
    is($t->events($e, 'accept'), 300 + 20 + 7,
       'each was dialled once');

    $t->finish;
}


sub none {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $e = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["echo:$e->{port}"],
                          args => [ '--max-idle', '0' ]);

    my $good = grep { echo($agent->port('echo'), $_) } 1 .. 20;
    is($good, 20, 'is served');
    is($t->status->{acquired}{fresh}, 20, 'by a fresh channel each');
    ok(wait_for(sub { idle($t) == 0 }), 'and none is left idle');

    $t->finish;
}


# An agent by hand: its channels, a client, and the Connect that it got.

my ($t, $agent, $port, @ok);

sub setup {
    $t = ZLTunnel->new(workers => 1);
    my $token = $t->token('alice');
    $t->start;

    $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
    $agent->send_msg(register('e'));
    $port = $agent->expect('RegisterOk')->{port};
    @ok = @{ $agent->{ok} }{qw(tunnel_id data_key)};
}

sub channel {
    my $d = ZLTunnel::Wire->channel($t, @ok);
    wait_for(sub { idle($t) == 1 }) or die 'no idle channel';
    return $d;
}

sub connection {
    my ($d, $bytes) = @_;

    my $c = ZLTunnel::Wire::Socket->new($port);
    $c->send($bytes) if length $bytes;

    my $m = $d->next;
    is($m->{type}, 'Connect', 'a client is announced');

    return ($c, $m);
}

sub ack { msg('ConnectAck', $_[0]{connection_id}) }

sub is_msg {
    my ($d, $type, $payload, $name) = @_;

    my $m = $d->next(5) || { type => $d->{end} // 'nothing' };
    is($m->{type}, $type, $name // $type);
    is($m->{payload}, $payload, '.. with its bytes') if defined $payload;
}

sub is_idle { ok(wait_for(sub { idle($t) == 1 }), 'idle again') }


sub by_hand {
    setup();

    my $d = channel();
    my ($c, $m) = connection($d, 'hello');

    is_msg($d, 'Data', 'hello');

    $d->send(ack($m) . msg('Data', 'wor') . msg('Data', '')
             . msg('Data', 'ld') . msg('Eof'));
    is($c->take(5), 'world', 'the answer');
    is($c->ending, 'eof', 'and its end');
    is(idle($t), 0, 'not idle before the client has ended');
    $c->send('!');
    is_msg($d, 'Data', '!', 'the other direction goes on');
    $c->shut;
    is_msg($d, 'Eof');
    is_idle();

    # the client ends first

    ($c, $m) = connection($d, '');
    $d->send(ack($m));
    $c->send('a');
    $c->shut;
    is_msg($d, 'Data', 'a');
    is_msg($d, 'Eof');
    $d->send(msg('Data', 'b') . msg('Eof'));
    is($c->take(1), 'b', 'the answer to all of it');
    is($c->ending, 'eof', 'and its end');
    is_idle();

    # resets, either way

    ($c, $m) = connection($d, 'x');
    is_msg($d, 'Data', 'x');
    $d->send(ack($m) . msg('Data', 'y') . msg('Reset'));
    is($c->ending, 'reset', 'Reset resets the client');
    is_msg($d, 'Reset', undef, 'and is answered');
    is_idle();

    ($c, $m) = connection($d, '');
    $d->send(ack($m));
    $c->send('z');
    is_msg($d, 'Data', 'z');
    $c->reset;
    is_msg($d, 'Reset', undef, 'a client that is reset');
    is(idle($t), 0, 'not idle before it is answered');
    $d->send(msg('Data', 'on the way') . msg('Reset'));
    is_idle();

    # refused

    ($c, $m) = connection($d, 'q');
    is_msg($d, 'Data', 'q');
    $d->send(msg('ConnectFail', $m->{connection_id} . str16('no')
                                . ext(1, pack 'C', 7)));
    is($c->ending, 'reset', 'ConnectFail resets the client');
    is_msg($d, 'Reset', undef, 'and is answered');
    is_idle();

    # an end without Eof

    ($c, $m) = connection($d, '');
    $d->send(ack($m) . msg('Data', 'part'));
    is($c->take(4), 'part', 'a part of the answer');
    $d->shut;
    is($c->ending, 'reset', 'the end of the channel is none of it');
    $d->close;

    # raw from some point on; then EOF is EOF

    $d = channel();
    ($c, $m) = connection($d, '');
    $d->send(ack($m) . msg('Data', 'framed'));
    is($c->take(6), 'framed', 'framed');
    $d->send(msg('Raw'));
    wait_for(sub { 0 }, 0.3);
    $d->shut;
    is($c->ending, 'eof', 'Raw, then FIN: an end');
    $c->send('up');
    is_msg($d, 'Data', 'up', 'the other direction is not raw');
    $c->shut;
    is_msg($d, 'Eof');
    is($d->ending, 'eof', 'the channel ends with it');

    $d = channel();
    ($c, $m) = connection($d, '');
    $d->send(ack($m) . msg('Raw') . 'raw bytes');
    is($c->take(9), 'raw bytes', 'bytes in one piece with Raw');
    $c->reset;
    is($d->ending, 'reset', 'a reset resets the channel then');
    $d->close;

    $agent->close;
    $t->finish;
}


sub garbage {
    setup();

    my %garbage = (
        'an unknown type' => pack('C N', 0x7f, 0),
        'Connect' => msg('Connect', 'x' x 40),
        'a heartbeat' => msg('Heartbeat', 'x' x 8),
        'Data too long' => pack('C N', 0x55, 65532),
        'Data of 4294967295' => pack('C N', 0x55, 0xffffffff),
        'Eof with a payload' => msg('Eof', 'x'),
        'much behind Eof' => msg('Eof') . 'x' x 100,
    );

    for my $name (sort keys %garbage) {
        my $d = channel();
        my ($c, $m) = connection($d, '');

        $d->send(ack($m) . msg('Data', 'so far'));
        is($c->take(6), 'so far', 'so far, so good');
        $d->send($garbage{$name});

        is($c->ending, 'reset', "$name: the client is reset");
        isnt($d->ending, 'open', 'and the channel closed');
        $d->close;
    }

    # much too much after our end

    my $d = channel();
    my ($c, $m) = connection($d, '');
    $d->send(ack($m) . msg('Data', 'x'));
    $c->take(1);
    $c->reset;
    is_msg($d, 'Reset');
    $d->send(msg('Data', 'x' x 60_000)) for 1 .. 20;
    isnt($d->ending, 'open', 'more than a megabyte is not waited for');
    $d->close;

    ok(wait_for(sub { ($t->service_status('e') // {})->{active} == 0 }),
       'none is active');

    $agent->close;
    $t->finish;
}
