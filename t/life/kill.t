#!/usr/bin/perl

# Protects: a worker that is killed takes the connections that it relays with
# it, which are reset and do not seem to end, and nothing else.  Connections of
# other workers go on, new ones are served within a second, the counters are
# right, and nothing is stuck: not even if it held the registry's lock.
#
# Long: each of the four workers, 200 long connections.  Short: the owner of a
# control channel and one more, 80.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use List::Util qw(sum);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Scene;
use ZLTunnel::Wire;

my $long = sizes('long connections', 200, 80);
my $kills = sizes('workers killed', 4, 2);

subtest 'each in turn' => \&in_turn;
subtest 'with the lock' => \&with_lock;

done_testing();


# An agent retries at once if its control channel was healthy for 10 s.

sub healthy {
    my ($s) = @_;

    my %since;

    ok(wait_for(sub {
        my $now = time;

        for my $name (@{ $s->{names} }) {
            my $n = () = $s->{agent}{$name}->log =~ /connected as/g;
            $since{$name} = [ $n, $now ]
                if !$since{$name} || $since{$name}[0] != $n;
        }

        return !grep { $now - $_->[1] < 10.5 } values %since;
    }, 60), 'the control channels are healthy');
}


# The worker with a tunnel's control channel: by the log, which names it.

sub owner {
    my ($s, $name) = @_;

    my @lines = $s->{t}->log =~
                /^.*? (\d+)#\d+: .*agent "$name" (?:connected|is back) from/mg;
    return $lines[-1];
}


# Clients' connections to some ports in a worker.

sub clients {
    my ($pid, @ports) = @_;

    my $ports = join '|', @ports;
    my $out = run_ok('ss', '-Htnp', 'state', 'established');

    return scalar grep { /127\.0\.0\.1:(?:$ports)\s+127\.0\.1\.\d+:\d+\s.*
                          pid=$pid,/x } split /\n/, $out;
}


# New connections to every port are served within a second of the kill.

sub served_soon {
    my ($s, $what, $start) = @_;

    for my $port ($s->ports) {
        my $ok = wait_for(sub {
            my $c = ZLTunnel::Wire::Socket->new($port) or return 0;
            $c->send('x');
            my $x = $c->take(1, 1) // '';
            $c->close;
            return $x eq 'x';
        }, 10);

        my $took = time - $start;
        ok($ok, "$what: port $port serves");
        cmp_ok($took, '<', 1 * slowdown(),
               sprintf '%s: after %.2f s', $what, $took);
    }
}


# The status agrees with what the load has.

sub counted {
    my ($s, $what) = @_;

    $s->{load}->say('short 0');

    my ($active, $pending, $r);
    my $ok = wait_for(sub {
        my @tunnels = @{ ($s->{t}->status // return 0)->{tunnels} };
        $active = sum(map { $_->{active} } map { @{ $_->{services} } }
                      @tunnels);
        $pending = sum(map { $_->{pending} } @tunnels);
        $r = $s->report;
        return $active == $r->{long} && $pending == 0;
    }, 20);

    ok($ok, "$what: the status counts the connections that live")
        or diag("active $active, pending $pending, alive $r->{long}");

    $s->{load}->say("short $s->{short}");
}


sub in_turn {
    my $s = ZLTunnel::Scene->new(long => $long,
        allow => [ qr/exited on signal 9/ ]);
    my $t = $s->{t};

    my @workers = $t->workers;
    my %order = map { $_ => 9 } @workers;
    $order{ owner($s, 'alice') } = 1;
    @workers = sort { $order{$a} <=> $order{$b} } @workers;

    for my $n (1 .. $kills) {
        my $pid = $workers[$n - 1];
        my $what = "worker $n";

        healthy($s);

        # in the place of those that were lost

        if ($n > 1) {
            my $want = $long + $s->report->{lost};
            $s->{load}->say("fill $want");
            ok(wait_for(sub { $s->report->{long} == $long }, 30),
               "$what: $long connections");
            $s->goes_on;
        }

        my @owned = grep { owner($s, $_) == $pid } @{ $s->{names} };
        note "$what: $pid, control channels: @owned";

        my $before = $s->allow_lost;
        my $alice = clients($pid, $s->ports('alice'));
        my $start = time;
        kill KILL => $pid;

        served_soon($s, $what, $start);
        ok($s->settled, "$what: the agents are there, with their ports");
        ok(wait_for(sub { $t->workers == 4 }), "$what: there are four again");

        my $after = $s->allow_lost;
        is($after->{eof}, 0, "$what: no connection seemed to end")
            or diag(grep { /^lost long.*an end/ } split /^/,
                    $s->{load}->output);

        my @lost = $s->lost;
        splice @lost, 0, $before->{lost} + $before->{short_lost};
        my %of;
        $of{ $_->{port} }++ for grep { $_->{class} eq 'long' } @lost;

        # plain channels are where their clients are; under TLS there may be
        # one in this worker for a client of another

        my $n = sum(0, map { $_ // 0 } @of{ $s->ports('alice') });
        is($n, $alice, "$what: of the connections over ws those that it "
           . 'relayed were reset');
        cmp_ok($after->{long}, '>', 0, "$what: others live");

        $s->goes_on("$what: the others");
        counted($s, $what);
    }

    $s->finish;
}


# A worker that stops inside the lock and is killed there.

sub with_lock {
    my (undef, $v) = run($ZLTunnel::NGINX, '-V');

    if ($v !~ /--with-debug/) {
        plan(skip_all => 'nginx was built without --with-debug');
    }

    my $s = ZLTunnel::Scene->new(long => $long,
        allow => [ qr/exited on signal 9|was locked by \d+/ ],
        first => sub {
            (zltunnel => "debug_stop $_[0]{dir}/temp/stop;")
        });
    my $t = $s->{t};

    for my $how ('read', 'change') {
        healthy($s);

        my %id = map { $_->{name} => $_->{id} } @{ $t->status->{tunnels} };
        $s->allow_lost;

        write_file("$t->{dir}/temp/stop.$how", '');
        my ($pid, @more);
        ok(wait_for(sub {
            ($pid, @more) = grep { slurp("/proc/$_/stat") =~ /\) T/ }
                            $t->workers;
            return $pid;
        }), "$how: a worker has stopped with the lock");
        is(scalar @more, 0, "$how: one");

        my $start = time;
        kill KILL => $pid;

        served_soon($s, $how, $start);
        ok($s->settled, "$how: the agents are there, with their ports");

        my %now = map { $_->{name} => $_->{id} } @{ $t->status->{tunnels} };
        my $broken = () = $t->log =~ /was left broken/g;

        if ($how eq 'read') {
            is($broken, 0, 'read: the registry is not broken');
            is_deeply(\%now, \%id, 'read: the tunnels are the same');

        } else {
            is($broken, 1, 'change: the registry was emptied');
            isnt($now{$_}, $id{$_}, "change: $_ has another tunnel")
                for sort keys %id;
        }

        my $after = $s->allow_lost;
        is($after->{eof}, 0, "$how: no connection seemed to end")
            or diag(grep { /^lost long.*an end/ } split /^/,
                    $s->{load}->output);
        cmp_ok($after->{long}, '>', 0, "$how: others live");
        $s->goes_on("$how: the others");

        counted($s, $how) if $how eq 'read';
    }

    $s->finish;
}
