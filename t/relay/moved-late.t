#!/usr/bin/perl

# Protects: an idle channel that comes from another worker when its client has
# gone is idle where it has come to, plain or under TLS where it came from: it
# is there for the next client.
#
# The worker with the channel sleeps while the client comes and goes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(register);

my $t = ZLTunnel->new(workers => 2, range => 2);
my $token = $t->token('alice');
$t->start;

my $tls = $t->tls_to($t->{tls_port});
my ($holder, $other) = $t->workers;

halt($other);
my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
$agent->send_msg(register('web'));
my $port = $agent->expect('RegisterOk')->{port};

for my $to ($t->{http_port}, $tls->{port}) {
    my $scheme = $to == $tls->{port} ? 'wss' : 'ws';

    halt($other);
    my $ch = ZLTunnel::Wire->channel($t, @{ $agent->{ok} }{qw(tunnel_id
        data_key)}, undef, port => $to);
    ok(wait_for(sub { tunnel()->{idle_channels} == 1 }),
       "$scheme: an idle channel");

    # it has asked the other worker, and now asks the agent

    halt($holder);
    kill CONT => $other;
    my $gone = ZLTunnel::Wire::Socket->new($port);
    ok(wait_for(sub { tunnel()->{pending} == 1 }), 'a client waits');
    $gone->reset;
    ok(wait_for(sub { tunnel()->{pending} == 0 }), 'it has gone');
    kill CONT => $holder;

    # behind the answer to the first

    $agent->expect('Connect');
    ok(wait_for(sub { tunnel()->{idle_channels} == 1 }), 'the channel is idle');

    my $c = $t->clients_of($scheme eq 'ws' ? $other : $holder, $port);
    $c->send('hello');
    my $m = $ch->next // { type => $ch->{end} // 'none' };
    is($m->{type}, 'Connect', 'the next one has the channel');
    $ch->ack($m);
    is($ch->bytes(5), 'hello', 'and its bytes go there');
    $_->reset for $c, $ch;
}

$agent->close;
$t->finish;


sub tunnel { $t->status->{tunnels}[0] }
