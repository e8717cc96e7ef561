#!/usr/bin/perl

# Protects: the agent's log, against those who can cause a line of it as often
# as they like: clients of a service that is down, and a server that says
# what nothing had asked for.  One line, then a count.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::UDP;
use ZLTunnel::Wire qw(msg register ext str16);

my $n = sizes('connections', 1000, 300);

subtest 'a service that is down' => \&down;
subtest 'a server that talks nonsense' => \&nonsense;

done_testing();


# How many lines of the log at a level that people see, and the number of
# events that these stand for.

sub lines {
    my ($log, $re) = @_;

    my @lines = grep { /^\S+ (?:WARN|ERROR) / && /$re/ } split /\n/, $log;
    my $all = 0;

    $all += /\((\d+) more of this kind/ ? $1 : 1 for @lines;

    return (scalar @lines, $all);
}


sub down {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my ($down, $other) = ($t->free_port, $t->free_port);
    my $agent = $t->agent(token => $token, services => [ "down:$down",
                                                         "other:$other" ]);
    my $port = $agent->port('down');
    my $reset = 0;

    for (1 .. $n) {
        my $c = ZLTunnel::Wire::Socket->new($port) or last;
        $reset++ if $c->ending(10) eq 'reset';
        $c->close;
    }

    is($reset, $n, "$n clients are reset");

    my ($lines) = lines($agent->log, qr/connection to "down" failed/);
    cmp_ok($lines, '>=', 1, 'the log says so');
    cmp_ok($lines, '<=', 3, 'in a line');

    # which says nothing about another service

    ZLTunnel::Wire::Socket->new($agent->port('other'))->ending(10);
    ok($agent->logged(qr/WARN a connection to "other" failed/),
       'another service that is down has a line of its own');

    is($agent->stop, 0, 'the agent ends');

    my (undef, $all) = lines($agent->log, qr/connection to "down" failed/);
    is($all, $n, 'and all of them have been counted');

    $t->finish;
}


sub nonsense {
    my $t = ZLTunnel->new;
    my $server = ZLTunnel::Server->new($t);
    my $token = $t->token('alice');

    my $agent = $t->agent(token => $token, server => $server->url,
                          services => [ 'e:127.0.0.1:9' ], wait => 0);

    ok($server->wait(sub { $server->{services}{e} && $server->control }),
       'the agent has registered');

    my $control = $server->control;

    $control->tell(msg('RegisterFail', str16('unasked'))) for 1 .. $n;
    $control->tell(register("e")) for 1 .. $n;

    # what it says to that comes behind it

    ok($server->wait(sub {
        $agent->log =~ /nothing had asked for/
        && $agent->log =~ /message of type \S+ from the server is ignored/
        || !$agent->{proc}->running;
    }), 'the log says so');
    $server->pass(1);

    for my $re (qr/nothing had asked for/, qr/of type \S+ from the server/) {
        my ($lines) = lines($agent->log, $re);
        cmp_ok($lines, '<=', 2, "in a line: $re") or diag($agent->log);
    }

    is($agent->stop, 0, 'the agent ends');

    my (undef, $all) = lines($agent->log, qr/nothing had asked for/);
    is($all, $n, 'and all of them have been counted');

    $server->close_all;
    $t->finish;
}
