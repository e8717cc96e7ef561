#!/usr/bin/perl

# Protects: a server that is busy when an agent returns to it, as one that
# reloads, does not end the access sessions that the agent has: they wait, and
# go on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Server;

my $t = ZLTunnel->new;
my $token = $t->token('alice');
my $local = $t->free_port;

subtest 'of a configuration' => \&busy, conf => <<"EOT";
[agent]
server = %%url%%
token_file = %%token_file%%
reconnect_interval = 100ms

[access web]
local = 127.0.0.1:$local
EOT

subtest 'of a command' => \&busy,
    access => [ "web:$local", '--reconnect-interval', '100ms' ];

$t->finish;


sub busy {
    my (%o) = @_;

    my $server = ZLTunnel::Server->new($t, features => 15);
    $server->{grant} = 1;
    my $url = $server->url;
    $o{conf} =~ s/%%url%%/$url/ if $o{conf};

    my $agent = $t->agent(token => $token, wait => 0, server => $url, %o);

    ok($server->wait(sub { $agent->accesses->{web} }), 'granted');

    $server->{busy} = 1;
    $server->control->drop;
    ok($server->wait(sub { $agent->log =~ /access to "web".*busy/ }), 'then busy');

    $server->{busy} = 0;
    $server->control->drop if $server->control;
    ok($server->wait(sub { $server->{sessions}{web} == 2 }),
       'and granted again');

    ok($agent->{proc}->running, 'the agent runs');
    ok(!refuses($local), 'the local address is there');
    like($agent->log, qr/ WARN the server puts off access to "web": busy; /,
         'told as what it is');
    unlike($agent->log, qr/ ERROR /, 'which is no error');
    unlike($agent->log, qr/has ended/, 'the session has not ended');

    $agent->{proc}->kill('TERM');
    $server->wait(sub { !$agent->{proc}->running });
    is($agent->stop, 0, 'told to end, it does');
    $server->close_all;
}
