#!/usr/bin/perl

# Protects: a visitor's channel that is lost behind its 101, before the service
# was there: another one is opened for the client, who does not notice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg);

my $t = ZLTunnel->new;
my $token = $t->token('alice');
my $local = $t->free_port;

my $server = ZLTunnel::Server->new($t, features => 15);
$server->{grant} = 1;

my $agent = $t->agent(token => $token, wait => 0, server => $server->url,
                      access => [ "web:$local" ]);

ok($server->wait(sub { $agent->accesses->{web} }), 'granted');

for my $how (qw(eof reset)) {
    my $client = ZLTunnel::Wire::Socket->new($local);

    ok($server->wait(sub { $server->conns('visit') }), "$how: a channel");
    my $first = ($server->conns('visit'))[0];
    $first->drop($how);

    ok($server->wait(sub { $server->conns('visit') }), "$how: and another");
    my $next = ($server->conns('visit'))[0];

    $next->say(msg('ConnectAck', 'C' x 16) . msg('Data', 'hello')
               . msg('Eof'));
    $client->shut;

    ok($server->wait(sub { $client->fill(0); $client->{end} }),
       "$how: the client has an answer");
    is($client->{in}, 'hello', "$how: which is the service's");
    is($client->{end}, 'eof', "$how: to its end");

    ok($server->wait(sub { !$server->conns('visit') }), "$how: and is gone");
}

$agent->{proc}->kill('TERM');
$server->wait(sub { !$agent->{proc}->running });
is($agent->stop, 0, 'the agent ends');
$server->close_all;
$t->finish;
