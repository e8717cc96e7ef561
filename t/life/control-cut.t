#!/usr/bin/perl

# Protects: a control channel that is cut takes nothing with it.  Established
# connections live on, new ones wait for the agent, which is back at once if
# the channel was healthy, with jitter if not, and no later than it was up; and
# one that is dropped silently, as by a firewall, is found dead by both sides in
# heartbeat_timeout.
#
# Long: 200 long connections, short: 40.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Scene;
use ZLTunnel::Wire;

my $long = sizes('long connections', 200, 40);

subtest 'reset' => \&reset_;
subtest 'silence' => \&silence;
subtest 'jitter' => \&jitter;
subtest 'up in between' => \&between;

done_testing();


# Both agents go through a relay; the first connection there is their control
# channel.

sub scene {
    my (%o) = @_;
    my %relay;

    my $s = ZLTunnel::Scene->new(
        long => $long, interval => 1000, short => 2, pause => 200, %o,
        agents => { map {
            my $name = $_;
            $name => sub {
                my ($s) = @_;
                $relay{$name} = $s->{t}->relay($name eq 'bob');
                return (server => $relay{$name}{url}, tls => 0,
                        $name eq 'bob'
                        ? (args => ['--ca-file', ZLTunnel->certs . '/ca.pem'])
                        : ());
            };
        } qw(alice bob) });

    $s->{relay} = \%relay;

    return $s;
}


sub connected {
    my ($s, $name) = @_;
    return scalar(() = $s->{agent}{$name}->log =~ /connected as/g);
}


# After 10 healthy seconds a reset is followed by an attempt within 200 ms.

sub reset_ {
    my $s = scene();
    my $t = $s->{t};
    my %id = map { $_->{name} => $_->{id} } @{ $t->status->{tunnels} };

    $s->pass_time(10.5);

    my $start = time;
    $t->tell($s->{relay}{$_}, 'reset 1') for @{ $s->{names} };

    for my $name (@{ $s->{names} }) {
        ok(wait_for(sub { connected($s, $name) == 2 }, 20), "$name is back");
    }

    cmp_ok(time - $start, '<', 1 * slowdown(), 'at once');
    ok($s->settled, 'with the ports');

    is($_->{id}, $id{ $_->{name} }, "$_->{name}: the same tunnel")
        for @{ $t->status->{tunnels} };

    $s->goes_on;
    $s->nothing_lost('a reset');
    $s->finish;
}


# Nothing is passed on any more in either direction, and nobody is told.

sub silence {
    my $s = scene(zltunnel => 'heartbeat_interval 1s; heartbeat_timeout 3s;');
    my $t = $s->{t};

    my $start = time;
    $t->tell($s->{relay}{$_}, 'stall 1') for @{ $s->{names} };

    # a beat may just have been answered, and each side looks once a second

    my $most = 3 + 1.2 + 1 + 1;

    for my $name (@{ $s->{names} }) {
        ok(wait_for(sub {
            $t->log =~ /agent "$name" does not answer heartbeats/;
        }, $most), "$name: found dead by the server");
    }

    for my $name (@{ $s->{names} }) {
        ok(wait_for(sub {
            $s->{agent}{$name}->log =~ /nothing was heard from the server/;
        }, $start + $most - time), "$name: found dead by the agent");
    }

    note sprintf 'after %.1f s', time - $start;

    for my $name (@{ $s->{names} }) {
        ok(wait_for(sub { connected($s, $name) == 2 }, 30), "$name is back");
    }

    ok($s->settled, 'with the ports');
    $s->goes_on;
    $s->nothing_lost('silence');
    $s->finish;
}


# One that breaks again and again is not hammered at: the delays spread between
# 0 and reconnect_interval, then twice that.

sub jitter {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $relay = $t->relay;
    my $agent = $t->agent(
        token => $token, services => ['e:1'], server => $relay->{url},
        args => ['--reconnect-interval', '1s',
                 '--max-reconnect-interval', '4s']);

    my @delays;

    for my $cut (1 .. 6) {
        my ($last) = reverse $relay->{proc}->output =~ /^open (\d+)$/mg;
        $t->tell($relay, 'reset 1-');

        my $start = time;
        my $opened = $last;
        ok(wait_for(sub {
            ($opened) = reverse $relay->{proc}->output =~ /^open (\d+)$/mg;
            return $opened > $last;
        }, 30), "cut $cut: an attempt") or last;

        push @delays, time - $start;
        wait_for(sub { connected_n($agent) > $cut }, 20);
    }

    note join ' ', map { sprintf '%.2f', $_ } @delays;

    ok(!(grep { $_ > 4 + 1 * slowdown() } @delays),
       'no delay exceeds the maximum');

    my ($least, $most) = (sort { $a <=> $b } @delays)[0, -1];
    cmp_ok($most - $least, '>', 0.1, 'they are not all the same');

    $relay->{proc}->stop;
    $t->finish;
}


# A server that is started again and again, and is up for a second each time: what
# came before does not make an agent wait longer than that.

sub between {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $relay = $t->relay;
    my $agent = $t->agent(
        token => $token, services => ['e:1'], server => $relay->{url},
        args => ['--reconnect-interval', '100ms',
                 '--max-reconnect-interval', '60s']);

    my $n = 1;
    my $back = time;
    my $cut = sub {
        $t->tell($relay, 'reset 1-');
        ok(wait_for(sub { connected_n($agent) > $n }, 60), "cut $n: back");
        $n = connected_n($agent);
        my $took = time - $back;
        $back += $took;
        return $took;
    };

    $cut->() for 1 .. 6;

    for (1 .. 4) {
        select undef, undef, undef, 1;

        my $lines = () = $agent->log =~ /connecting again in/g;
        my $took = $cut->();

        my @told = $agent->log =~ /connecting again in ([\d.]+) s/g;
        my $waited = @told > $lines ? $told[$lines] : 0;
        cmp_ok($waited, '<=', $took - $waited + 0.2, 'no longer than it was up');
    }

    $relay->{proc}->stop;
    $t->finish;
}


sub connected_n { scalar(() = $_[0]->log =~ /connected as/g) }
