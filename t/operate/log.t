#!/usr/bin/perl

# Protects: what nginx's log says at "notice" of an agent, as it connects, is
# refused, is lost, comes back, is taken over, stays away, is drained and ended,
# and loses its token, and of services and access that are refused: each once,
# with token, tunnel and address, the tunnel by the id that the status has.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(
    workers => 2, zltunnel => 'reconnect_grace 3s;',
    location => 'location /api/ { zltunnel_api write=on; allow 127.0.0.1;
                                  deny all; }');

my $token = $t->token('alice', 'services=e,f access=db');
my $short = $t->token('bob');
my $old = $t->token('carol', 'expires=2001-01-01T00:00:00Z');
my $away = $t->token('dan');
$t->start;

my $echo = $t->service('echo');
my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
my $id = $t->status->{tunnels}[0]{id};
like($id, qr/^[0-9a-f]{32}$/, 'a tunnel');

my $from = qr/from 127\.0\.0\.1/;
my $of = qr/\(tunnel [0-9a-f]{32}, $from\)/;

said(notice => qr/agent "alice" connected $from, tunnel $id/, 'connected');

kill 'STOP', $agent->pid;
kill 'KILL', $agent->pid;
said(notice => qr/agent "alice" disconnected, tunnel $id, $from: the connection was lost/,
     'disconnected');
$agent->stop;

$agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
said(notice => qr/agent "alice" is back $from, tunnel $id/, 'back');

# another process, while the one that was there answers no heartbeats

kill 'STOP', $agent->pid;

my $other = $t->agent(token => $token, services => ["e:$echo->{port}"],
                      wait => 0);

said(warn => qr/agent $from refused: Token already in use.* \(agent "alice"\)/,
     'refused, by name');
said(notice => qr/agent "alice" is back $from, tunnel $id, taken over $from/,
     'taken over');
kill 'KILL', $agent->pid;
kill 'CONT', $agent->pid;

# of the others

my $wire = ZLTunnel::Wire->control($t);
$wire->auth('of-nobody');
is($wire->next->{type}, 'AuthFail', 'a token that is none');
said(warn => qr/agent $from refused: Invalid token$/m, 'it has no name');

$wire = ZLTunnel::Wire->control($t);
$wire->auth($old);
is($wire->next->{type}, 'AuthFail', 'one that has expired');
said(warn => qr/agent $from refused: The token has expired \(agent "carol"\)/,
     'it has one');

$wire = ZLTunnel::Wire->agent($t, $short, features => 0x0f);
$wire->send_msg(ZLTunnel::Wire::register('not a name'));
$wire->expect('RegisterFail');
said(warn => qr/service "not a name" of agent "bob" refused: A service name has .* $of/,
     'a service');
$wire->send_msg(ZLTunnel::Wire::access_open('db', ttl => 60));
$wire->expect('AccessFail');
said(warn => qr/agent "bob" was refused access to service "db": The token .* $of/,
     'access');

my $bob = (grep { $_->{name} eq 'bob' } @{ $t->status->{tunnels} })[0]{id};
for ([ drain => 'is drained' ], [ resume => 'is in use again' ]) {
    my ($what, $says) = @$_;
    is(request('POST', "tunnels/$bob/$what"), 204, $what);
    said(notice => qr/a tunnel of agent "bob" $says by the administrator \(tunnel $bob, $from\)/,
         $says);
}

is(request('DELETE', "tunnels/$bob"), 204, 'ended');
said(notice => qr/agent "bob": ended by the administrator \(tunnel $bob, $from\)/,
     'so is that');

my $dan = $t->agent(token => $away, services => ["d:$echo->{port}"]);
my $his = (grep { $_->{name} eq 'dan' } @{ $t->status->{tunnels} })[0]{id};
$dan->stop;
said(notice => qr/agent "dan" disconnected, tunnel $his, $from$/m, 'it went');
said(notice => qr/agent "dan" has not come back in time, its tunnel $his $from is gone/,
     'and stays away');

ok(wait_for(sub { !grep { $_->{state} ne 'connected' }
                  grep { $_->{name} eq 'alice' } @{ $t->status->{tunnels} } }),
   'alice is there');
$t->revoke('alice');
said(notice => qr/agent "alice" does not hold any more, its tunnel $id $from ends: The token was revoked or has expired/,
     'revoked');

$other->stop;
$t->finish;


sub said {
    my ($level, $re, $what) = @_;

    ok(wait_for(sub { $t->log =~ /\[$level\][^\n]*$re/ }),
       "$what: the log says so");

    my @times = $t->log =~ /\[$level\][^\n]*$re/g;
    is(scalar(@times), 1, '.. once') if $level eq 'notice';
}


sub request {
    my ($method, $path) = @_;

    return http_request($t->{http_port},
                        "$method /api/1/$path HTTP/1.1\r\nHost: localhost\r\n"
                        . "Connection: close\r\n\r\n")->{status};
}
