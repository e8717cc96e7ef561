#!/usr/bin/perl

# Protects: what nginx's log says at "notice" of an agent, as it connects, is
# lost, comes back and loses its token, each with token, tunnel and address, the
# tunnel by the id that the status has.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

my $t = ZLTunnel->new(workers => 1);
my $token = $t->token('alice');
$t->start;

my $echo = $t->service('echo');
my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
my $id = $t->status->{tunnels}[0]{id};
like($id, qr/^[0-9a-f]{32}$/, 'a tunnel');

said(qr/\[notice\].*agent "alice" connected from 127\.0\.0\.1, tunnel $id/,
     'connected');

kill 'STOP', $agent->pid;
kill 'KILL', $agent->pid;
said(qr/\[notice\].*agent "alice" disconnected, tunnel $id/, 'disconnected');
$agent->stop;

$agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
my $next = $t->status->{tunnels}[-1]{id};

$t->revoke('alice');
said(qr/\[notice\].*agent "alice" was removed or has expired, its tunnel $next/,
     'revoked');

$agent->stop;
$t->finish;


sub said {
    my ($re, $what) = @_;

    ok(wait_for(sub { $t->log =~ $re }), "$what: the log says so");
}
