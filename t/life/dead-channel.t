#!/usr/bin/perl

# Protects: an idle channel that is dead, silently dropped by a middlebox,
# does not cost a client its connection: after a second the connection is
# announced again on another channel, with every byte that the client sent by
# then, and the service is dialled once only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(msg register ext str16);

for my $scheme (qw(ws wss)) {
    for my $workers (1, 4) {
        subtest "$scheme, $workers worker(s)" => sub {
            stalled($scheme, $workers);
        };
    }

    subtest "$scheme, within a WebSocket" => sub {
        stalled($scheme, 4, '--transport', 'websocket');
    };
}

subtest 'answers late' => \&late;
subtest 'by hand' => \&by_hand;

done_testing();


sub idle { ($_[0]->status->{tunnels}[0] || {})->{idle_channels} // 0 }


# A real agent; all of its idle channels are stalled in the path.

sub stalled {
    my ($scheme, $workers, @args) = @_;

    my $t = ZLTunnel->new(workers => $workers);
    my $token = $t->token('alice');
    $t->start;

    my $tls = $scheme eq 'wss';
    my $relay = $t->relay($tls);
    my $echo = $t->service('echo');
    my $agent = $t->agent(
        token => $token, server => $relay->{url},
        services => ["e:$echo->{port}"],
        args => [ @args, $tls ? ('--ca-file', $t->certs . '/ca.pem') : () ]);
    my $port = $agent->port('e');

    ok(wait_for(sub { idle($t) }), 'there are idle channels');
    $t->tell($relay, 'stall 2-');

    my $start = time;
    my @c = map { ZLTunnel::Wire::Socket->new($port) } 1 .. 3;
    my @early = map { "hello $_" . 'x' x (4000 * $_) } 0 .. 2;
    $c[$_]->send($early[$_]) for 0 .. 2;

    ok(($c[$_]->take(length $early[$_], 15) // '') eq $early[$_],
       "client $_ is served all the same") for 0 .. 2;
    note sprintf 'after %.1f s', time - $start;

    $_->shut for @c;
    is($_->ending, 'eof', 'to its end') for @c;

    is($t->events($echo, 'accept'), 3, 'the service was dialled once for each');
    cmp_ok($t->status->{repeated}, '>=', 1, 'the repeats are counted');

    $relay->{proc}->stop;      # else the agent waits for its dead channels
    $t->finish;
}


# The channels are not dead, only late: what comes out of them afterwards must
# not be acted on again.

sub late {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $relay = $t->relay;
    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, server => $relay->{url},
                          services => ["e:$echo->{port}"]);
    my $port = $agent->port('e');
    ok(wait_for(sub { idle($t) }), 'there are idle channels');


    # the Connect itself is held back

    $t->tell($relay, 'stall 2-');
    my $c = ZLTunnel::Wire::Socket->new($port);
    $c->send('one');
    is($c->take(3, 15), 'one', 'served on another channel');
    $t->tell($relay, 'resume 2-');

    $c->send('two');
    is($c->take(3), 'two', 'and still, when the first Connect has arrived');
    $c->shut;
    is($c->ending, 'eof', 'to its end');
    is($t->events($echo, 'accept'), 1, 'the service was dialled once');


    # the answer is held back: the service has been dialled already

    ok(wait_for(sub { idle($t) }), 'there are idle channels again');
    $t->tell($relay, 'deafen 2-');
    $c = ZLTunnel::Wire::Socket->new($port);
    $c->send('three');
    ok(wait_for(sub { $t->events($echo, 'accept') == 2 }), 'dialled');
    is($c->ending(2.5), 'open', 'the client is held');
    $t->tell($relay, 'resume 2-');
    is($c->take(5, 15), 'three', 'and served when the answer comes');
    $c->shut;
    is($c->ending, 'eof', 'to its end');
    is($t->events($echo, 'accept'), 2, 'the service was dialled once');

    $t->finish;
}


# An agent by hand, with two idle channels: every order of answers.

sub by_hand {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
    $agent->send_msg(register('e'));
    my $port = $agent->expect('RegisterOk')->{port};
    my @ok = @{ $agent->{ok} }{qw(tunnel_id data_key)};


    # two idle channels and a client that has sent something: the channel
    # that got it first, the other one, the Connect

    my $setup = sub {
        my ($bytes) = @_;

        my @d = map { ZLTunnel::Wire->channel($t, @ok) } 1, 2;
        wait_for(sub { idle($t) == 2 }) or die 'no idle channels';

        my $c = ZLTunnel::Wire::Socket->new($port);
        $c->send($bytes);

        wait_for(sub { $_->fill(0.05) && return 1 for @d; 0 });
        @d = reverse @d if !length $d[0]{in};

        my $m = $d[0]->next;
        is($m->{type}, 'Connect', 'announced');

        return ($c, @d, $m);
    };

    # Where a connection is announced again: on the other channel, or on the
    # control channel; there the answer is a fresh channel.

    my $again = sub {
        my ($e) = @_;

        my $control = 0;
        wait_for(sub {
            return 1 if $e->fill(0.05);
            return $control = $agent->fill(0.05);
        }, 5);

        my $m = ($control ? $agent : $e)->next(1);
        return ($m, $e) unless $m && $control;

        $e->close;
        my $f = ZLTunnel::Wire->channel($t, @ok, $m->{connection_id});
        return ($m, $f);
    };

    my $fail = sub {
        my ($d, $m, $code, $reason) = @_;
        $d->send(msg('ConnectFail', $m->{connection_id} . str16($reason)
                                    . ext(1, pack 'C', $code)));
        $d->shut;
    };

    my $end = sub { $_->close for @_; wait_for(sub { idle($t) == 0 }) };


    # 1. silence on the first, the second answers

    my ($c, $d, $e, $m) = $setup->('early bytes');
    my $start = time;
    is($d->bytes(11), 'early bytes', 'bytes follow Connect without waiting');

    (my $n, $e) = $again->($e);
    is($n->{type}, 'Connect', 'silence: announced again');
    is($n->{connection_id}, $m->{connection_id}, 'with the same id');
    cmp_ok(time - $start, '>', 0.7, 'after a second');

    $e->ack($n);
    is($e->bytes(11), 'early bytes', 'with the same bytes');
    $e->data('answer');
    is($c->take(6), 'answer', 'the second channel serves');
    isnt($d->ending(5), 'open', 'the first one is closed');
    $end->($c, $d, $e);


    # 2. the second says duplicate, the first answers late

    ($c, $d, $e, $m) = $setup->('early bytes');
    ($n, $e) = $again->($e);
    is($n->{type}, 'Connect', 'duplicate: announced again');
    $fail->($e, $n, 9, 'duplicate');
    is($c->ending(0.3), 'open', 'duplicate: the client is held');

    $d->ack($m);
    is($d->bytes(11), 'early bytes', 'duplicate: the bytes came once');
    $d->data('answer');
    is($c->take(6), 'answer', 'duplicate: the first channel serves');
    $c->send('more');
    is($d->bytes(4), 'more', 'duplicate: and goes on');
    $end->($c, $d, $e);


    # 3. the first ends or retires: again at once

    for my $how ('close', 'reset', 'retire') {
        ($c, $d, $e, $m) = $setup->('early');
        $start = time;

        $d->close if $how eq 'close';
        $d->reset if $how eq 'reset';
        $d->send(msg('Retire')) if $how eq 'retire';

        ($n, $e) = $again->($e);
        is($n->{type}, 'Connect', "$how: announced again");
        cmp_ok(time - $start, '<', 0.8 * slowdown(),
               "$how: at once");
        $e->ack($n);
        is($e->bytes(5), 'early', "$how: with the bytes");
        $end->($c, $d, $e);
    }


    # 4. more bytes than are kept: nothing lost, nothing twice

    my $bytes = join '', map { chr(int rand 256) } 1 .. 200_000;
    ($c, $d, $e, $m) = $setup->($bytes);
    ($n, $e) = $again->($e);
    $e->ack($n);
    ok($e->bytes(200_000, 20) eq $bytes,
       '200,000 bytes come whole on the second channel');
    $end->($c, $d, $e);


    # 5. half-closed before the answer

    ($c, $d, $e, $m) = $setup->('question');
    $c->shut;
    ($n, $e) = $again->($e);
    $e->ack($n);
    is($e->bytes(8), 'question', 'half-closed early: the bytes');
    is($e->ends(5), 'eof', 'half-closed early: and EOF after them');
    $e->data('answer');
    $e->eof;
    is($c->take(6), 'answer', 'half-closed early: the answer comes');
    is($c->ending, 'eof', 'half-closed early: and ends');
    $end->($c, $d, $e);


    # 6. duplicate on the control channel, as an agent says that dials already

    ($c, $d, $e, $m) = $setup->('early');
    $e->close;
    $n = $agent->expect('Connect', 5);
    is($n->{connection_id}, $m->{connection_id}, 'announced on the control '
       . 'channel');
    $agent->send_msg(msg('ConnectFail', $n->{connection_id}
                         . str16('duplicate') . ext(1, pack 'C', 9)));
    is($c->ending(1.5), 'open', 'duplicate there: the client is held');
    $d->ack($m);
    is($d->bytes(5), 'early', 'duplicate there: the bytes');
    $d->data('answer');
    is($c->take(6), 'answer', 'duplicate there: the first channel serves');
    $end->($c, $d, $e);


    # 7. announced twice on the control channel: the answer to one of them
    # says duplicate, the other's is a fresh channel

    ($c, $d, $e, $m) = $setup->('early');
    $e->close;
    wait_for(sub { idle($t) == 0 });
    $d->send(msg('Retire'));

    # those before it may have been announced again, too
    for (1 .. 2) {
        do { $n = $agent->next(5) }
            while $n && $n->{connection_id} ne $m->{connection_id};
    }

    is($n && $n->{type}, 'Connect', 'announced twice');
    $agent->send_msg(msg('ConnectFail', $n->{connection_id}
                         . str16('duplicate') . ext(1, pack 'C', 9)));
    is($c->ending(0.5), 'open', 'twice: the client is held');
    my $f = ZLTunnel::Wire->channel($t, @ok, $n->{connection_id});
    is($f->{answer}{status}, 101, 'twice: a fresh channel');
    $f->ack($n);
    is($f->bytes(5), 'early', 'twice: the bytes');
    $f->data('answer');
    is($c->take(6), 'answer', 'twice: the fresh channel serves');
    $end->($c, $d, $f);


    # 8. refused

    ($c, $d, $e, $m) = $setup->('x');
    $fail->($d, $m, 7, 'connection refused');
    is($c->ending(5), 'reset', 'a refusal is final: the client is reset');
    is($e->next(1.5), undef, 'and not announced again');
    $end->($c, $d, $e);

    $agent->reset;
    $t->finish;
}
