#!/usr/bin/perl

# Protects: datagrams for which a socket of the agent has no room, since it did
# not come to read them, are counted.  Those of a service, and those of the
# clients of another's service, in the metrics, the status and the log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::UDP;

my $sent = 300;                # far more than 2 MB, of what follows
my $flood = 'x' x 60_000;

my $t = ZLTunnel->new(range => 2, udp => 1);
my $site = $t->token('site');
my $token = $t->token('alice', 'access=*');
$t->start;

my $service = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1')
    or die "udp: $!";
my $port = $service->sockport;

my %at = map { $_ => $t->free_port } qw(serving visitor);
my $serving = $t->agent(token => $site, args => [ '--metrics', $at{serving} ],
                        services => [ "echo:$port/udp" ]);
my $local = $t->free_port;
my $visitor = $t->agent(
    token => $token, wait => 0,
    conf => "[agent]\nserver = " . $t->url('ws')
            . "\ntoken_file = %%token_file%%\nmetrics = $at{visitor}\n"
            . "[access echo]\nlocal = 127.0.0.1:$local\nprotocol = udp\n");
ok($visitor->in_state('agent', 'connected'), 'the visitor is there');

subtest 'of a service' => sub {
    my $c = ZLTunnel::UDP->client($serving->port('echo'));
    my $from;

    ok(wait_for(sub { $c->send('hello'); $from = came() }), 'a session');
    counted($serving, 'serving', sub { send $service, $_[0], 0, $from });
};

subtest 'of clients by access' => sub {
    my $c = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
                                  PeerPort => $local) or die "client: $!";

    ok(wait_for(sub { send $c, 'hello', 0; came() }), 'a session');
    counted($visitor, 'visitor', sub { send $c, $_[0], 0 });
};

is($_->stop, 0, 'an agent ends') for $serving, $visitor;
like($serving->log, qr/the UDP service "echo": .* [1-9]\d* without room/,
     'it is in the log');

$t->finish;


# Who has sent to the service, if anybody did.

sub came {
    vec(my $rin = '', fileno $service, 1) = 1;
    select($rin, undef, undef, 1) or return;

    return recv $service, my $data, 70_000, 0;
}


sub dropped {
    my ($which) = @_;

    my $r = http_get($at{$which}, '/metrics');
    my ($n) = $r->{body} =~ /^zltunnel_agent_datagrams_dropped_total
                             \{link="agent",cause="kernel"\}\ (\d+)$/mx;
    return $n;
}


# The agent is told of what was dropped with a datagram that it gets.

sub counted {
    my ($agent, $which, $send) = @_;

    is(dropped($which), 0, 'none was dropped');

    kill STOP => $agent->pid;
    ok(wait_for(sub { slurp('/proc/' . $agent->pid . '/stat') =~ /\) T / }),
       'it stands still');
    $send->($flood) for 1 .. $sent;
    kill CONT => $agent->pid;

    ok(wait_for(sub { $send->('more'); dropped($which) }), 'some were');
    my $n = dropped($which);
    cmp_ok($n, '>', $sent / 2, '.. most of them');
    cmp_ok($n, '<', $sent, '.. each once');
    is($agent->link->{dropped}{kernel}, $n, 'as in the status');
}
