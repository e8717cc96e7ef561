#!/usr/bin/perl

# Protects: a token that loses rights takes services from an agent that does
# not read.  What is said to it of each may be too much for its queue, and end
# its tunnel in the middle: then the rest goes all the same, the agent is cut
# off, and the worker lives.  One that is away loses its services as well.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(ext register ws_frame);

my $SERVICES = 600;                   # Withdraw of each: 75 bytes
my $STEP = 64;                        # pings, and so pongs of 127 bytes

# a deaf agent does not answer heartbeats, and is not to be cut off for that

my $t = ZLTunnel->new(range => 4, zone => '8m',
                      zltunnel => 'max_services 1000;
                                   reconnect_grace 120s;
                                   heartbeat_interval 1h;
                                   heartbeat_timeout 2h;');
my $narrow = $t->free_port;

# little of what is written fits in the kernel

$t->write_conf(http => "server { listen 127.0.0.1:$narrow sndbuf=4k;
                                 location = /tunnel/v1 { zltunnel; } }");

my %token = map { $_ => $t->token($_, 'services=*') }
            qw(alice bob carol dave);
$t->start;

my ($worker) = $t->workers;


# An agent that has registered its services and reads no more.

sub deaf_agent {
    my ($name, $flags) = @_;

    my $c = ZLTunnel::Wire->control($t, port => $narrow);
    setsockopt $c->{s}, SOL_SOCKET, SO_RCVBUF, pack 'i', 4096;

    $c->auth($token{$name}, features => 1);
    is($c->expect('AuthOk')->{type}, 'AuthOk', "$name is there");

    for my $n (1 .. $SERVICES / 50) {
        $c->send_msg(register("$name-$n-$_", ext => ext(1, "\1")))
            for 1 .. 50;
        $c->expect('RegisterOk') for 1 .. 50;
    }

    return $c;
}


sub tunnel {
    my ($name) = @_;
    return (grep { $_->{name} eq $name } @{ $t->status->{tunnels} })[0];
}


sub complaints {
    my $n = () = $t->log =~ /does not read its control channel/g;
    return $n;
}


# So many steps of pings; returns how many were sent before the agent was cut
# off.

sub ping {
    my ($c, $steps) = @_;

    my $before = complaints();
    my $pings = ws_frame('p' x 125, op => 9) x $STEP;

    for my $n (1 .. $steps) {
        $c->send($pings);

        # whoever answers this has read those
        $t->status;
        return $n if complaints() > $before;
    }

    return $steps;
}


# How much is too much?

my $deaf = deaf_agent('alice');
my $full = ping($deaf, 1000);
ok($full > 20 && $full < 1000, "an agent that does not read is cut off ($full)")
    or BAIL_OUT('the queue has no end');
$deaf->reset;


# One that is a little below it loses more services than it can be told of.

my $one = deaf_agent('bob');
ping($one, $full - 3);
is(complaints(), 1, 'another one is just below that');
is(scalar @{ tunnel('bob')->{services} }, $SERVICES, 'it has its services');

my $client = ZLTunnel::Wire->agent($t, $token{carol}, features => 1);
$client->send_msg(register('carol'));
my $port = $client->expect('RegisterOk')->{port};

$t->{tokens}[1]{rights} = 'services=none';
$t->write_tokens;

ok(wait_for(sub { complaints() == 2 }, 30),
   'it loses them all, and is cut off');
is_deeply(tunnel('bob')->{services}, [], 'none of them is left');
# TCP asks an agent that did not read ever more rarely

isnt($one->ending(120), 'open', 'its connection ends');

is_deeply([ $t->workers ], [ $worker ], 'the worker lives');
ok(!refuses($port), 'and serves the others');

$_->reset for $one, $client;


# An agent that is away

my $away = ZLTunnel::Wire->agent($t, $token{dave}, features => 1);
$away->send_msg(register($_)) for qw(kept lost);
my %port = map { $_ => $away->expect('RegisterOk')->{port} } qw(kept lost);

$away->reset;
ok(wait_for(sub { tunnel('dave')->{state} eq 'disconnected' }),
   'an agent is away');
ok(!refuses($port{$_}), "the port of $_ is open") for qw(kept lost);

$t->{tokens}[3]{rights} = 'services=kept';
$t->write_tokens;

ok(wait_for(sub { refuses($port{lost}) }, 15),
   'what its token does not allow any more is gone');
ok(!refuses($port{kept}), 'what it does is not');

$t->finish;
