#!/usr/bin/perl

# Protects: a registry has a slot for each worker, however many there are and
# however many former ones still run.  With 64 workers a second reload under
# long connections loses none, and refuses nobody; after a reload of 70 or of
# 128 none is deaf.  What many workers cost an agent is told and bounded: idle
# channels, the time until it has them, the time of a reload.  Where the zone
# has no memory for another slot, a worker accepts nobody, and has one as soon
# as one is free.
#
# Long: 400 long connections.  Short: 120.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Access qw(visitor ask connected);
use ZLTunnel::Scene;
use ZLTunnel::UDP;
use ZLTunnel::Wire qw(access_close datagram datagram_open datagram_close);

need_nofile(4096);

my $long = sizes('long connections', 400, 120);

subtest '64 workers, two reloads' => \&twice;
subtest '70 workers, one reload' => sub { once(70) };
subtest '128 workers, one reload' => sub { once(128) };
subtest 'a zone without memory for a slot' => \&full;
subtest 'a zone without memory for counters' => \&counters;
subtest '.. nor for those of visitors' => \&visitors;
subtest 'a master without descriptors' => \&descriptors;

done_testing();


sub twice {
    my $s = ZLTunnel::Scene->new(long => $long, workers => 64,
                                 connections => 512, interval => 1000,
                                 zltunnel => 'max_idle_channels 128;');
    my $t = $s->{t};

    idle($s, 'at the start');

    for my $n (1, 2) {
        my $start = time;

        $s->reload;
        ok($s->settled, "reload $n: the agents are there");
        note sprintf "reload %d: %.1f s", $n, time - $start;

        all_there($s, "reload $n");
        serves($s, "reload $n");
        $s->goes_on("reload $n: records");
        $s->nothing_lost("reload $n");
        idle($s, "reload $n");
    }

    $s->finish;
}


sub once {
    my ($n) = @_;

    my $s = ZLTunnel::Scene->new(long => 40, workers => $n,
                                 connections => 512, interval => 1000,
                                 schemes => { alice => 'ws' });

    $s->reload;
    ok($s->settled, 'the agent is there');
    all_there($s, "$n workers");
    serves($s, "$n workers");
    $s->nothing_lost("$n workers");

    $s->finish;
}


# Every worker that accepts has a slot.

sub all_there {
    my ($s, $what) = @_;

    my $t = $s->{t};
    my ($missing, $left);

    ok(wait_for(sub {
        my $st = $t->status or return 0;
        my %known = map { $_->{pid} => 1 } grep { !$_->{exiting} }
                    @{ $st->{workers} };
        $missing = grep { !$known{$_} } $t->workers;
        $left = grep { $_->{exiting} } @{ $st->{workers} };
        return !$missing;
    }, 30), "$what: each worker has a slot") or diag("$missing have none");

    note "$what: ", scalar($t->workers), " workers, $left former ones";
}


# New connections to ports and by zltunnel_pass, enough for each worker to
# have met some.

sub serves {
    my ($s, $what) = @_;

    local $SIG{PIPE} = 'IGNORE';
    my ($bad, $n) = (0, 0);

    for my $i (1 .. 50) {
        for my $port ($s->ports) {
            last if $bad > 3;

            my $c = ZLTunnel::Wire::Socket->new($port);

            $n++;
            $c->send("new $i");
            $bad++ if ($c->take(length "new $i", 20) // '') ne "new $i";
            $c->close;
        }
    }

    is($bad, 0, "$what: $n new connections are served");
}


# Idle channels of each agent stay within the limit, and each worker has some
# way to one.

sub idle {
    my ($s, $what) = @_;

    my $t = $s->{t};
    my $start = time;

    for my $name (@{ $s->{names} }) {
        my ($tunnel, $workers);

        ok(wait_for(sub {
            my $st = $t->status or return 0;
            ($tunnel) = grep { $_->{name} eq $name } @{ $st->{tunnels} };
            $workers = grep { $_->{idle_channels} && !$_->{exiting} }
                       @{ $st->{workers} };
            return $tunnel && $tunnel->{idle_channels} >= $t->{workers};
        }, 30), "$what: $name has an idle channel for each worker");

        # former workers, for which the limit does not count, leave theirs

        ok(wait_for(sub {
            ($tunnel) = grep { $_->{name} eq $name } @{ $t->status->{tunnels} };
            return $tunnel->{idle_channels} <= 128;
        }, 30), "$what: $name has at most as many as the limit says")
            or diag($tunnel->{idle_channels});
        note sprintf '%s: %s has %d idle channels, %d workers have some, '
                     . 'after %.1f s', $what, $name,
                     $tunnel->{idle_channels}, $workers, time - $start;
    }
}


# The zone has memory for one table of slots, and no more.  Workers of the
# third generation have none, until those of the first one are gone.

sub full {
    my $s = ZLTunnel::Scene->new(long => 40, short => 0, workers => 40,
                                 connections => 512, zone => '64k',
                                 schemes => { alice => 'ws' },
                                 zltunnel => 'max_tunnels 2; max_services 500;'
                                             . 'reconnect_grace 100s;',
                                 first => sub {
                                     $_[0]{full} = $_[0]->token('full');
                                     return;
                                 });
    my $t = $s->{t};
    my $full = fill($t);

    $s->reload;

    ok(wait_for(sub { $t->log =~ /has no slot for one more worker/ }),
       'workers find no slot');
    my $missing = () = $t->log =~ /has no slot for one more worker/g;
    note "$missing workers have none";

    $s->goes_on('records on the former workers');
    $s->nothing_lost('no slot');

    my @old = grep { my $pid = $_; !grep { $_ == $pid } $t->workers }
              $s->all_workers;
    $s->end_load;
    ok($s->gone(30, @old), 'the former workers exit');

    all_there($s, 'now');
    ok(wait_for(sub { echoes($s->{port}{alice}) }), 'clients are served');

    $full->close;
    $s->finish;
}


# There is memory for the counters of a few services at a time.

sub counters {
    my $t = ZLTunnel->new(workers => 1, zone => '64k', range => 60,
                          zltunnel => 'max_tunnels 2; max_services 500;');
    my $token = $t->token('alice');

    $t->{full} = $t->token('full');
    $t->start;

    my $echo = $t->service('echo');
    my @names = map { "s$_" } 1 .. 60;
    my $agent = $t->agent(token => $token,
                          services => [ map { "$_:$echo->{port}" } @names ]);

    ok(echoes($agent->port('s1')), 'one service is served');
    my $full = fill($t);

    my @served = grep {
        my $port = $agent->port($_);
        wait_for(sub { echoes($port) });
    } @names;

    is(scalar(@served), 60, 'each service is served in its turn');

    $full->close;
    my %total;

    ok(wait_for(sub {
        my ($tunnel) = grep { $_->{name} eq 'alice' }
                       @{ $t->status->{tunnels} };
        %total = map { $_->{name} => $_ } @{ $tunnel->{services} };
        return !grep { $_->{active} } values %total;
    }), 'all connections have ended');

    # whom there was no memory to count is served all the same

    my $n = $total{s1}{total};
    ok($n == 1 || $n == 2, "connections of one are counted ($n)");
    is(join(' ', @{ $total{s1} }{'bytes_in', 'bytes_out'}),
       join(' ', ($n * 5) x 2), 'and their bytes');
    is_deeply([ grep { $total{$_}{total} > 1 } @names[1 .. 59] ], [],
              'and none of another twice');
    cmp_ok(scalar(grep { $total{$_}{total} } @names), '>', 1,
           'most are counted');

    $t->finish;
}


sub visitors {
    my $t = ZLTunnel->new(workers => 1, zone => '64k', range => 1, udp => 1,
                          zltunnel => 'max_tunnels 3; max_services 500;'
                                      . 'reconnect_grace 1s;');
    my $alice = $t->token('alice');
    my $carol = $t->token('carol', 'access=*');

    $t->{full} = $t->token('full');
    $t->write_conf(ports => 'zltunnel_timeout 2s;');
    $t->start;

    my ($echo, $udp) = ($t->service('echo'), $t->free_port);
    $t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp);
    my $agent = $t->agent(token => $alice, services => [
        "web:$echo->{port}/private", "dns:$udp/udp",
        "game:$udp/udp/private" ]);
    my $visitor = visitor($t, $carol);
    my @sessions = map { ask($visitor, 'web')->{access_id} // () } 1 .. 20;
    my $game = ask($visitor, 'game', udp => 1)->{access_id};
    is(scalar(@sessions), 20, 'a visitor has access sessions');

    my $full = fill($t);
    my @open = map { connected($visitor, $_) // () } @sessions;
    is(scalar(@open), 20, 'a connection of each is served, all at once');

    my @clients = ZLTunnel::UDP->client($agent->port('dns'));
    my $v = ZLTunnel::Wire->visit($visitor, $game, udp => 1);
    my $echoes = sub {
        $clients[-1]->send('hello');
        is($clients[-1]->recv, 'hello', 'a client of UDP is served');
        $v->send(datagram_open($_[0]) . datagram($_[0], 'hello'));
        is(($v->next // {})->{data}, 'hello', '.. and a visitor');
    };
    $echoes->(1);

    my %counted;
    my $counts = sub {
        %counted = map { $_->{id} => $_->{connections} }
                   grep { $_->{service} eq 'web' } @{ $t->status->{access} };
        return grep { $_->{active} || $_->{total} } values %counted;
    };
    my $n = $counts->();
    ok($n > 0 && $n < 20, "those are counted whom memory was left for ($n)");
    is(scalar(grep { $_->{active} > 1 || $_->{total} > 1 } values %counted), 0,
       '.. and no other one as theirs');

    # what was not counted ends as well, in whatever order

    $visitor->send_msg(access_close($sessions[$_])) for 0, 19;
    $_->close for @open[5 .. 19], @open[0 .. 4];
    ok(wait_for(sub {
        $n = $counts->();
        return keys %counted == 18 && !grep { $_->{active} } values %counted;
    }), 'all of them end');

    # with memory again they end as they began

    my $free = $t->status->{zone}{free};
    $full->close;
    ok(wait_for(sub { $t->status->{zone}{free} > $free + 4096 }),
       'there is memory again');
    my ($session) = grep { my $c = $counted{ unpack 'H*', $_ };
                           $c && !$c->{total} } @sessions;
    my $last = connected($visitor, $session);
    is($counts->(), $n + 1, 'one more is counted now');

    push @clients, ZLTunnel::UDP->client($agent->port('dns'));
    $echoes->(2);
    $v->send(datagram_close(1) . datagram_close(2));
    ok(wait_for(sub {
        return !grep { $_->{active} } map { $t->service_status($_) }
                                      qw(dns game);
    }), 'those of UDP end');
    $echoes->(3);

    $_->close for $last // (), $v, $visitor;
    $t->finish;
}


sub echoes {
    my ($port) = @_;

    local $SIG{PIPE} = 'IGNORE';
    my $c = ZLTunnel::Wire::Socket->new($port) or return 0;

    $c->send('hello');
    my $back = $c->take(5) // '';
    $c->close;

    return $back eq 'hello';
}


# An agent that registers as many services as the zone has memory for, and
# leaves them there.

sub fill {
    my ($t) = @_;

    my $c = ZLTunnel::Wire->agent($t, $t->{full}) or die 'no control channel';
    my $n = 0;
    my $m;

    do {
        $c->send_msg(ZLTunnel::Wire::register(
            'f' x 200 . $n++, ext => ZLTunnel::Wire::ext(1, chr 1)));
        $m = $c->next // { type => 'nothing' };
    } while ($m->{type} eq 'RegisterOk' && $n < 500);

    is($m->{type}, 'RegisterFail', "the zone is full after $n services more");
    like($m->{reason}, qr/zone is full/, 'and the agent is told');

    return $c;
}


# A reload for which the master has too few descriptors: it takes more, as far
# as it may.  Otherwise the reload fails, and nothing else does.

sub descriptors {
    my $s = ZLTunnel::Scene->new(long => 40, workers => 16,
                                 connections => 512);
    my $t = $s->{t};
    my $pid = $t->{nginx}->pid;
    my $used = () = glob "/proc/$pid/fd/*";

    my $limit = sub { run_ok('prlimit', '--pid', $pid, "--nofile=$_[0]") };

    $limit->($used + 10 . ':');
    $s->reload;
    ok($s->settled, 'a soft limit that is too low is raised');
    like($t->log, qr/limit of descriptors is raised/, 'and that is told');
    all_there($s, 'raised');
    $s->nothing_lost('raised');

    my @now = sort { $a <=> $b } $t->workers;
    $used = () = glob "/proc/$pid/fd/*";
    $limit->($used + 10 . ':' . ($used + 10));
    $t->{nginx}->kill('HUP');

    my $why = qr/16 workers need \d+ descriptors in each process/;

    ok(wait_for(sub { $t->log =~ $why }),
       'beyond the hard limit a reload fails');
    push @{ $t->{allow} }, $why;

    $s->goes_on;
    is_deeply([ sort { $a <=> $b } $t->workers ], \@now,
              'the same workers go on');
    ok($s->settled, 'with the same agents');
    $s->nothing_lost('too few descriptors');

    $s->finish;
}
