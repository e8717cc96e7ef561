#!/usr/bin/perl

# Protects: what runs, when something runs out: descriptors of a worker or of
# an agent, worker_connections, the zone.  New work is refused or waits, a line
# in a log says why, running connections do not notice, and when there is room
# again all is as before, without help.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Scene;
use ZLTunnel::Wire qw(register msg);

my $long = sizes('long connections', 40, 20);
my $rounds = sizes('rounds', 3, 1);

subtest 'descriptors of a worker' => sub {
    server('main' => 'worker_rlimit_nofile 160;',
           qr/\(24: Too many open files\)|no descriptor/);
};

subtest 'worker_connections' => sub {
    server('connections' => 160, qr/wait to be accepted: .*worker_connections/,
           once => 1, allow => [ qr/worker_connections are not enough/ ]);
};

subtest 'descriptors of an agent' => \&agent;
subtest 'the zone' => \&zone;

done_testing();


# More clients than there is room for: those that are connected are served,
# the others wait or are reset, and all of them leave again.

sub crowd {
    my ($s, $what, $n, $is_full) = @_;

    my @c = grep { defined } map {
        ZLTunnel::Wire::Socket->new($s->{port}{alice})
    } 1 .. $n;

    $_->send('x') for @c;
    ok(wait_for($is_full), "$what: a log says so");

    $s->goes_on("$what: running connections");
    my $r = $s->report;
    is($r->{lost}, 0, "$what: none of them was lost");
    is($r->{long}, $s->{long}, "$what: all of them live");

    $_->close for @c;
}


sub again {
    my ($s, $what) = @_;

    ok(wait_for(sub {
        my $c = ZLTunnel::Wire::Socket->new($s->{port}{alice}) or return 0;
        $c->send('x');
        my $x = $c->take(1, 2) // '';
        $c->close;
        return $x eq 'x';
    }, 40), "$what: served again");

    ok($s->settled, "$what: the agent is there");
    is($s->report->{long}, $s->{long}, "$what: with what ran");
}


sub server {
    my ($key, $value, $log, %o) = @_;

    # a complaint comes once a minute

    my $once = delete $o{once};

    my $s = ZLTunnel::Scene->new(
        workers => 1, long => $long, short => 0, $key => $value,
        zltunnel => 'max_pending 1000; connect_timeout 3s;',
        schemes => { alice => 'ws' }, %o);
    my $t = $s->{t};

    for my $round (1 .. $rounds) {
        my $before = () = $t->log =~ /$log/g;
        crowd($s, "round $round", 200, sub {
            return ($once ? 0 : $before) < (() = $t->log =~ /$log/g);
        });
        again($s, "round $round");
    }

    $s->finish;
}


sub agent {
    my $s = ZLTunnel::Scene->new(
        workers => 1, long => $long, short => 0, schemes => { alice => 'ws' },
        zltunnel => 'connect_timeout 3s;',
        agents => { alice => sub {
            my $dir = $_[0]{t}{dir};
            write_file("$dir/limited", "#!/bin/sh\nulimit -n "
                       . (2 * $long + 80) . "\nexec $ZLTunnel::AGENT "
                       . "\"\$@\"\n", 0755);
            return (program => "$dir/limited",
                    args => [ '--log-level', 'debug' ]);
        } });

    for my $round (1 .. $rounds) {
        my $agent = $s->{agent}{alice};
        my $before = () = $agent->log =~ /out of descriptors/g;
        crowd($s, "round $round", 150, sub {
            return $before < (() = $agent->log =~ /out of descriptors/g);
        });
        ok($agent->{proc}->running, "round $round: the agent runs");
        again($s, "round $round");
    }

    $s->finish;
}


sub zone {
    my $token;
    my $s = ZLTunnel::Scene->new(
        workers => 1, zone => '128k', range => 16, long => $long, short => 1,
        schemes => { alice => 'ws' },
        zltunnel => 'max_services 10000; max_tunnels 100;',
        first => sub { $token = $_[0]->token('bob'); () });
    my $t = $s->{t};

    for my $round (1 .. $rounds) {
        my $c = ZLTunnel::Wire->agent($t, $token, features => 1);
        my ($n, @ids, $m) = (0);

        # private ones, which need no port

        while ($n < 2000) {
            $n++;
            $c->send_msg(register("s$n-" . 'x' x 200,
                                  ext => ZLTunnel::Wire::ext(1, "\1")));
            $m = $c->next(10) // { type => 'none' };
            last if $m->{type} ne 'RegisterOk';
            push @ids, $m->{service_id};
        }

        is($m->{type}, 'RegisterFail', "round $round: after $n services");
        is($m->{code}, 10, "round $round: code 10, busy");
        note $m->{reason} // '';

        ok($t->log =~ /service "s$n-x+" of agent "bob" refused: .*zone/,
           "round $round: the log says why");

        $s->goes_on("round $round: running connections");
        is($s->report->{lost}, 0, "round $round: none of them was lost");

        $c->send_msg(msg('Unregister', $_)) for @ids;
        $c->send_msg(register('one-more',
                              ext => ZLTunnel::Wire::ext(1, "\1")));
        is($c->expect('RegisterOk')->{type}, 'RegisterOk',
           "round $round: there is room again");
        $c->send_msg(msg('Unregister', $c->{last})) if $c->{last};
        $c->reset;

        ok(wait_for(sub {
            !grep { $_->{name} eq 'bob' && $_->{state} eq 'connected' }
             @{ $t->status->{tunnels} };
        }), "round $round: it is gone");

        again($s, "round $round");
        $s->allow_lost;
    }

    $s->finish;
}
