#!/usr/bin/perl

# Protects: clients of a service that is down, at a port of the range from which
# the kernel takes those of connections.  Now and then it takes the very port
# that is connected to, and the connection leads to itself: the client must
# not get its own bytes back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use Test::More;
use ZLTunnel;
use ZLTunnel::Net;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16 datagram);

my $RANGE = '/proc/sys/net/ipv4/ip_local_port_range';

plan(skip_all => 'there is no network namespace') if !ZLTunnel::Net::own();

# one of 32, of which connect(2) prefers every other one

my $down = 40970;

eval { write_file($RANGE, "40960 40991\n"); 1 }
    or plan(skip_all => "the range of ports cannot be set: $@");

subtest 'TCP' => \&tcp;
subtest 'UDP' => \&udp;

done_testing();


sub tcp {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $agent = $t->agent(token => $token, services => [ "down:$down" ]);
    my $port = $agent->port('down');
    my ($back, $ended) = (0, 0);

    for (1 .. 300) {
        my $c = ZLTunnel::Wire::Socket->new($port) or next;
        $c->send('hello');
        $back++ if ($c->take(5, 10) // '') ne '';
        $ended++ if $c->ending(10) ne 'open';
        $c->reset;
    }

    is($back, 0, 'no client has its own bytes back');
    is($ended, 300, 'the connection of each of them ends');

    $t->finish;
}


sub udp {
    my $t = ZLTunnel->new;
    my $server = ZLTunnel::Server->new($t);
    my $token = $t->token('alice');

    my $agent = $t->agent(token => $token, server => $server->url, wait => 0,
                          services => [ "down:$down/udp" ]);

    ok($server->wait(sub { $agent->services->{down} }), 'registered');

    my $ch = $server->idle;
    my $closed = sub {
        return scalar grep { $_->[0] eq 'DatagramClose' } @{ $ch->{frames} };
    };

    for my $n (1 .. 300) {
        $ch->say(msg('DatagramOpen', pack('N', $n) . md5('down')
                                     . str16("192.0.2.1:$n"))
                 . datagram($n, 'hello'));
        $server->wait(sub { $closed->() >= $n }, 10) or last;
    }

    is($closed->(), 300, 'each session is closed');
    is(scalar(grep { $_->[0] eq 'Datagram' } @{ $ch->{frames} }), 0,
       'none has its own datagram back');

    $agent->{proc}->kill('TERM');
    $server->wait(sub { !$agent->{proc}->running }, 30);
    is($agent->stop, 0, 'the agent ends');

    $server->close_all;
    $t->finish;
}
