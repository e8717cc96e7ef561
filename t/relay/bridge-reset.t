#!/usr/bin/perl

# Protects: a client that is reset, at another worker than the one with its
# channel under TLS, is reset at a service that takes nothing, and as soon as one
# at the same worker; and a client that has ended is not, however long its service
# takes for what it sent.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(workers => 2, range => 4);
my $token = $t->token('alice');
$t->start;

my $hold = $t->service('hold');
my ($holder, $other) = $t->workers;

halt($other);
my $agent = $t->agent(token => $token, tls => 1,
                      services => ["hold:$hold->{port}"]);
ok(wait_for(sub { $t->status->{tunnels}[0]{idle_channels} }), 'channels');
kill CONT => $other;

my $c = $t->clients_of($other, $agent->port('hold'));
$c->send_to_full;
is($t->status->{acquired}{bridged}, 1, 'a client over a bridge');

$c->reset;
ok(wait_for(sub { $t->events($hold, 'reset') == 1 }, 20),
   'a service that does not read sees the reset');

$agent->stop;
$t->finish;
