#!/usr/bin/perl

# Protects: "log_format = json" of the agent: each line is an object with time,
# level and message, whatever a name has in it, however long it is; another
# format is an error.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP ();
use Test::More;
use ZLTunnel;

my $t = ZLTunnel->new(workers => 1);
my $token = $t->token('alice');
$t->start;

my $echo = $t->service('echo');
my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                      args => [ '--log-format', 'json' ]);
ok($agent->in_state('agent', 'connected'), 'connected');

my @lines = split /\n/, $agent->log;
my @objects = map { eval { JSON::PP::decode_json($_) } || () } @lines;
is(scalar @objects, scalar @lines, 'each line is an object');
is((grep { $_->{time} =~ /^\d{4}-\d\d-\d\dT[\d:]{8}Z$/
           && $_->{level} =~ /^(?:info|warn)$/ && $_->{message} } @objects),
   scalar @lines, '.. with time, level and message');
ok((grep { $_->{message} =~ /^connected as "alice"/ } @objects),
   'quotes are escaped');

my ($rc, $out) = run($ZLTunnel::AGENT, 'connect', '--server', $t->url('ws'),
                     '--service', '1', '--log-format', 'xml');
is($rc, 2, 'another format: 2');
like($out, qr/"log_format" is "xml", but must be text or json/, '.. and why');

is($agent->stop, 0, 'the agent ends');
$t->finish;
