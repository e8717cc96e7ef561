#!/usr/bin/perl

# Protects: a worker that is short of connections closes the idle channels that
# another worker has over bridges, as it does its own: clients are not kept out
# for them, nor does a token's share count them.  One in use stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(msg register);

my $N = 30;

my $t = ZLTunnel->new(workers => 2, connections => 128,
                      zltunnel => 'max_channel_share 90%; connect_timeout 60s;');
my $token = $t->token('alice');
$t->token('bob');
$t->start;

my $tls = $t->tls_to($t->{tls_port});
my ($holder, $other) = $t->workers;

halt($other);
my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
$agent->send_msg(register('web'));
my $port = $agent->expect('RegisterOk')->{port};

my @ch = map {
    ZLTunnel::Wire->channel($t, @{ $agent->{ok} }{qw(tunnel_id data_key)},
                            undef, port => $tls->{port}) // die 'no channel'
} 1 .. $N;

ok(wait_for(sub { $t->status->{tunnels}[0]{idle_channels} == $N }),
   'idle channels');

# all are bridged: the newest is taken first

my @c;

for my $ch (reverse @ch) {
    my $c = $t->clients_of($other, $port);
    push @c, $c;
    $ch->ack($ch->next // die 'no Connect');
    $ch->data('hello');
    $c->take(5) // die 'no answer';
}

is($t->status->{acquired}{bridged}, $N, 'over bridges');

# all but one are idle there

my ($used, $client) = (shift @ch, pop @c);
$_->shut for @c;
$_->eof for @ch;
$_->ending for @c;
ok(wait_for(sub { $t->status->{tunnels}[0]{idle_channels} == $N - 1 }),
   'idle again');
$_->ends for @ch;

# the other worker would close the first of them in 20 s

my $start = time;
halt($other);
my @many = map { ZLTunnel::Wire::Socket->new($port) } 1 .. 100;
isnt((grep { $_->ending(15) ne 'open' } $ch[0])[0], undef, 'the oldest gives way');
cmp_ok(time - $start, '<', 15, 'at once');
kill CONT => $other;

$used->data('and on');
is($client->take(6), 'and on', 'one that is used stays');
$client->send('hello');
is($used->bytes(5), 'hello', 'in both directions');

$_->reset for @many, $client;
$_->close for @ch, $used, $agent;
$t->finish;
