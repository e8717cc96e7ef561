#!/usr/bin/perl

# Protects: our agent at a server of protocol version 1 registers, answers
# heartbeats, refuses connections it cannot carry, and tells its user what
# that server cannot do.  What is not to be public is not told to a server that
# makes all public, and where there is another server that one is used.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

my $t = ZLTunnel->new;
my $port = $t->free_port;
my $token = $t->token('alice');

my $server = $t->spawn('v1-server', $^X, "$FindBin::Bin/server.pl", $port,
                       $token);
wait_for(sub { $server->output =~ /^ready/ }) or die 'no server';

sub said { my ($re, $s) = @_; wait_for(sub { $server->output =~ $re }, $s) }

my $echo = $t->service('echo');
my $agent = $t->agent(
    token => $token, server => "ws://127.0.0.1:$port/tunnel/v1",
    services => [ "web:$echo->{port}:8000", "ssh:127.0.0.1:$echo->{port}",
                  "secret:$echo->{port}/private",
                  "inner:$echo->{port}/internal" ], wait => 0);
ok($agent->registered(2), 'two services are registered');

ok(said(qr/^auth ok/m), 'authenticates');
ok(said(qr/^register web 0 $echo->{port} 8000$/m), 'registers, with its port');
ok(said(qr/^register ssh 0 $echo->{port} 0$/m), 'registers, without one');
ok(said(qr/^heartbeatack\n(.*\n)*heartbeatack$/m), 'answers heartbeats');

my $s = $agent->services;
is($s->{$_}{public}, 'unknown', "$_: the public address is unknown")
    for qw(web ssh);

ok($agent->logged(qr/cannot carry connections/i),
   'tells that this server cannot carry connections');

my $link = $agent->link;
my %service = map { $_->{name} => $_ } @{ $link->{services} };

is($link->{state}, 'connected', 'status: connected');
is($link->{transport}, 'none', 'status: no data channels');
is($service{$_}{state}, 'up', "status: $_ is up") for qw(web ssh);
is($service{$_}{public}, undef, "status: $_ has no address") for qw(web ssh);

for my $name (qw(secret inner)) {
    is($service{$name}{state}, 'refused', "status: $name is refused");
    like($service{$name}{reason}, qr/not public/, '.. with the reason');
    like($agent->log, qr/"$name": it is not public/, '.. which is logged');
    unlike($server->output, qr/^register $name/m, '.. the server is not told');
}

like(($agent->ask('status', 'agent'))[1], qr/data channels: none/,
     'status of one: the same');

$server->say('connect web');
ok(said(qr/^fail 636f6e6e656374696f6e2d69642d3031 no data channel$/m),
   'answers Connect with ConnectFail "no data channel"');

$server->say('connect ssh');
said(qr/^fail.*\n(.*\n)*fail/m);
is($t->events($echo, 'accept'), 0, 'the service is not dialled');

unlike($server->output, qr/^heartbeat$/m, 'sends no heartbeats of its own');
unlike($server->output, qr/^unknown|^other/m, 'and nothing version 1 lacks');


# Comes back after the end of its channel

$server->say('drop');
ok(said(qr/^dropped\n(.*\n)*auth ok\n(.*\n)*register ssh/m, 30),
   'comes back when the channel is dropped');

$server->say('disconnect shutting down');
ok(said(qr/^disconnected\n(.*\n)*auth ok/m, 40), 'comes back at Disconnect');

my @warnings = $agent->log =~ /cannot carry connections/ig;
is(scalar @warnings, 3, 'warns each time');

is($agent->stop, 0, 'ends at SIGTERM');

standby();

$t->finish;


# With another server in the list that one is used; with one that is not there
# this one is.

sub standby {
    my $other = ZLTunnel->new;
    $other->token('alice', '', $token);
    $other->start;

    my $none = $t->free_port;

    for my $case ([ 'one that carries', $other->url('ws'), 'raw', 'up' ],
                  [ 'one that is not there', "ws://127.0.0.1:$none/", 'none',
                    'refused' ]) {
        my ($name, $url, $transport, $state) = @$case;

        my $agent = $t->agent(token => $token, wait => 0, conf => <<"EOT");
[agent]
server = ws://127.0.0.1:$port/tunnel/v1
server = $url
token_file = %%token_file%%
reconnect_interval = 100ms
max_reconnect_interval = 200ms

[service web]
local = 127.0.0.1:$echo->{port}

[service secret]
local = 127.0.0.1:$echo->{port}
private = yes
EOT

        my $link = $agent->in_state('agent', 'connected');
        is($link->{transport}, $transport, "beside $name: $transport");

        my ($secret) = grep { $_->{name} eq 'secret' } @{ $link->{services} };
        is($secret->{state}, $state, ".. the private service is $state");

        is($agent->stop, 0, '.. and ends');
    }

    $other->end;
    $other->check_logs;
    $other->{done} = 1;
}
