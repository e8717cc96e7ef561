#!/usr/bin/perl

# Protects: our agent at a server of protocol version 1 registers, answers
# heartbeats, refuses connections it cannot carry, and tells its user what
# that server cannot do.

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
    services => [ "web:$echo->{port}:8000", "ssh:127.0.0.1:$echo->{port}" ]);

ok(said(qr/^auth ok/m), 'authenticates');
ok(said(qr/^register web 0 $echo->{port} 8000$/m), 'registers, with its port');
ok(said(qr/^register ssh 0 $echo->{port} 0$/m), 'registers, without one');
ok(said(qr/^heartbeatack\n(.*\n)*heartbeatack$/m), 'answers heartbeats');

my $s = $agent->services;
is($s->{$_}{public}, 'unknown', "$_: the public address is unknown")
    for qw(web ssh);

ok($agent->logged(qr/cannot carry connections/i),
   'tells that this server cannot carry connections');

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
is(scalar @warnings, 1, 'warned once');

is($agent->stop, 0, 'ends at SIGTERM');

$t->finish;
