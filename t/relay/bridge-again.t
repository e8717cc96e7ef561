#!/usr/bin/perl

# Protects: a channel under TLS that another worker holds is like any other to
# the worker of the client: idle there after a connection, used again, given to
# a worker that needs one, and lent to nginx's upstream code, with no new
# bridge.  Where it is not needed for a while it is given back.
#
# The worker of the clients sleeps while the agent opens its channel, and the
# one with the channel while a client comes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(msg register);

my $t = ZLTunnel->new(workers => 2, range => 2, allow => [ qr/signal 9/ ],
                      zltunnel => 'heartbeat_interval 5s;');
my $token = $t->token('alice');
my $front = $t->free_port;
$t->write_conf(http => <<"EOT");
upstream web { zltunnel_service web lanes=off; }
server { listen 127.0.0.1:$front; location / { proxy_pass http://web; } }
EOT
$t->start;

my $tls = $t->tls_to($t->{tls_port});
my ($holder, $other) = $t->workers;

halt($other);
my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
$agent->send_msg(register('web'));
my $port = $agent->expect('RegisterOk')->{port};


# for clients of a port

my $ch = channel();

for my $n (1 .. 3) {
    my $c = client($port);
    $c->send("hello $n");
    served($ch, "hello $n", "answer $n");
    is($c->take(8), "answer $n", 'its answer comes back');
    $c->shut;
    is($ch->ends, 'eof', 'the end of the client');
    $ch->eof;
    is($c->ending, 'eof', 'and that of the service');
    is_idle();
}

is_deeply(ways(), { bridged => 1, local => 2 }, 'over one bridge');

# what is reset, or refused, is over as well

my $c = client($port);
$c->send('hello');
served($ch, 'hello', 'answer');
$c->take(6);
$c->reset;
is($ch->ends, 'reset', 'a client that is reset');
$ch->rst;
is_idle();
is_deeply(ways(), { bridged => 1, local => 3 }, 'over the same');

# it goes on, here to where it came from

my $bridges = $t->worker_pairs;

for my $worker ($holder, $other) {
    my $c = client($port, $worker);
    $c->send('hello');
    served($ch, 'hello', 'answer');
    $c->shut;
    is($ch->ends, 'eof', 'the end of the client');
    $ch->eof;
    is($c->ending, 'eof', 'and that of the service');
    is_idle();
}

is_deeply(ways(), { bridged => 3, local => 3 }, 'given on');
is($t->worker_pairs, $bridges, 'over the same bridge');

# nobody needs it: it is idle where it came from, and asked there

ok(wait_for(sub { $t->worker_pairs == $bridges - 2 }), 'the bridge is given up');
is_idle();

my $m = $ch->next(20, heartbeats => 1);
is($m->{type}, 'Heartbeat', 'the channel is asked whether it lives');
$ch->send_msg(msg('HeartbeatAck', $m->{payload}));

$c = client($port, $holder);
$c->send('hello');
served($ch, 'hello', 'answer');
$c->shut;
is($ch->ends, 'eof', 'the end of the client');
$ch->eof;
is($c->ending, 'eof', 'and that of the service');
is_idle();
is_deeply(ways(), { bridged => 3, local => 4 }, 'there it is local');

# back there it may be dead

$c = client($port);
$c->send('hello');
served($ch, 'hello', 'answer');
$c->shut;
$ch->ends;
$ch->eof;
is_idle();
is($ch->next(20, heartbeats => 1)->{type}, 'Heartbeat', 'it is asked');
is($ch->ending(20), 'eof', 'and does not answer');
ok(wait_for(sub { idle() == 0 }), 'so it is not idle any more');
$ch->close;

# its worker dies

$ch = channel();
$c = client($port);
$c->send('hello');
served($ch, 'hello', 'answer');
$c->take(6);
$c->shut;
$ch->ends;
$ch->eof;
$c->ending;
is_idle();

kill CONT => $other;
kill KILL => $holder;
ok(wait_for(sub { idle() == 0 }), 'with its worker it is gone');
ok(wait_for(sub { 2 == grep { $_ != $holder } $t->workers }, 20),
   'there is another');
$_->close for $ch, $agent;
($other, $holder) = sort { ($a != $other) <=> ($b != $other) } $t->workers;


# for requests: the connection is lent

halt($other);
ok(wait_for(sub {
    $agent = ZLTunnel::Wire->agent($t, $token, features => 1) or return 0;
    return ($agent->{ok}{type} // '') eq 'AuthOk';
}), 'the agent is back');
$agent->send_msg(register('web'));
$agent->expect('RegisterOk');
$ch = channel();
my $before = ways();

for my $n (1 .. 3) {
    my $c = client($front);
    $c->send("GET /$n HTTP/1.0\r\n\r\n");

    served($ch, "GET /$n HTTP/1.0\r\n",
           "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n$n!");
    $ch->eof;
    $c->ending;
    like($c->{in}, qr/^HTTP\/1\.\d 200.*$n!$/s, 'the answer comes back');

    my $m;
    do { $m = $ch->next // { type => 'none' } } while $m->{type} eq 'Data';
    like($m->{type}, qr/^(?:Eof|Reset)$/, 'the end of the request');
    $ch->{data} = '';
    is_idle();
}

my $now = ways();
$now->{$_} -= $before->{$_} // 0 for keys %$now;
delete @$now{ grep { !$now->{$_} } keys %$now };
is_deeply($now, { bridged => 1, local => 2 }, 'over one bridge');

# one that ends while it is lent leaves nothing of its bridge behind

for my $n (1 .. 3) {
    my $c = client($front);
    $c->send("GET /$n HTTP/1.0\r\n\r\n");
    served($ch, "GET /$n HTTP/1.0\r\n", '');
    $ch->reset;
    $c->ending;
    like($c->{in}, qr/^HTTP\/1\.\d 502/, 'the channel ends: 502');

    halt($other);
    $ch = channel();
}

kill CONT => $other;
is_deeply([ sort $t->workers ], [ sort $holder, $other ], 'the workers live');
$_->close for $ch, $agent;
$t->finish;


sub idle { (($t->status->{tunnels} || [])->[0] || {})->{idle_channels} // 0 }

sub is_idle { ok(wait_for(sub { idle() == 1 }), 'idle again') }

sub ways {
    my $all = $t->status->{acquired};
    return { map { $_ => $all->{$_} } grep { $all->{$_} } keys %$all };
}


# Of the agent, in the one worker that is awake.

sub channel {
    halt($other);

    my $ch = ZLTunnel::Wire->channel($t, @{ $agent->{ok} }{qw(tunnel_id
        data_key)}, undef, port => $tls->{port});
    ok(wait_for(sub { idle() == 1 }), 'an idle channel');
    return $ch;
}


# That has come to one worker, or to the one without the channel.

sub client {
    my ($to, $worker) = @_;

    return $t->clients_of($worker // $other, $to);
}


sub served {
    my ($ch, $bytes, $answer) = @_;

    my $m = $ch->next // { type => $ch->{end} // 'none' };
    is($m->{type}, 'Connect', 'Connect on the same channel');
    $ch->ack($m);
    is($ch->bytes(length $bytes), $bytes, 'and its bytes');
    $ch->data($answer);
}
