#!/usr/bin/perl

# Protects: everything at once, for a while.  Random transfers through ports,
# http and stream upstreams, UDP and access, over ws and wss, on a long path
# that loses packets, while nginx is reloaded, workers and agents are killed,
# and a NAT on the path forgets what it knew.  No byte is wrong, nothing that
# ended early looks whole, nothing hangs, and what met no kill is not lost.
#
# ZLT_SOAK=N runs for N seconds: 600 if it is a long run, 30 if not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Proc;
use ZLTunnel::Wan;

my $seconds = $ENV{ZLT_SOAK} || sizes('seconds', 600, 30);
my $clients = sizes('clients', 32, 16);

# nothing moves for so long: more than any limit of the tunnel's, of which
# TCP's keepalive is the longest: 60 s and five times 10, from the thirtieth
# second on
my $hung = 200;

# seconds behind what is done in which it may cost a connection: until the
# agent is back, and what was on its way has met its limit
my %costs = (worker => 6, agent => 12, nat => $hung);

my $random = $ENV{ZLT_SEED} || time;
note "ZLT_SEED=$random";
srand $random;

my ($t, $wan, $load, @events, %at);

start();
disturb();
judge();


sub start {
    $t = ZLTunnel->new(workers => 2, udp => 1, zone => '8m', range => 16,
                       allow => [ qr{exited on signal 9} ],
                       zltunnel => 'heartbeat_interval 5s;
                                    heartbeat_timeout 15s;');

    $wan = ZLTunnel::Wan->new($t)
        or plan(skip_all => "no long path: $ZLTunnel::Wan::why");
    path();

    my %p = map { $_ => $t->free_port } qw(plain tls tcp http udp webs webp
                                           streams streamp);
    my $certs = $t->certs;
    my $far = $ZLTunnel::Wan::NEAR;

    $t->write_conf(http => <<"EOT", stream => <<"EOT2");
        proxy_read_timeout 30s;
        client_max_body_size 100m;
        upstream webs { zltunnel_service web token=wss; keepalive 8; }
        upstream webp { zltunnel_service web token=ws; }
        server { listen 127.0.0.1:$p{webs};
                 location / { proxy_pass http://webs; proxy_http_version 1.1;
                              proxy_set_header Connection ''; } }
        server { listen 127.0.0.1:$p{webp};
                 location / { proxy_pass http://webp;
                              proxy_request_buffering off;
                              proxy_buffering off; } }
        server {
            listen $far:$p{plain};
            listen $far:$p{tls} ssl;
            ssl_certificate $certs/server.pem;
            ssl_certificate_key $certs/server.key;
            location = /tunnel/v1 { zltunnel; }
        }
EOT
        upstream raws { zltunnel_service raw token=wss; }
        upstream rawp { zltunnel_service raw token=ws; }
        server { listen 127.0.0.1:$p{streams}; proxy_pass raws;
                 proxy_half_close on; }
        server { listen 127.0.0.1:$p{streamp}; zltunnel_pass raw token=ws; }
EOT2

    my %token = map { $_ => $t->token($_) } qw(ws wss);
    my $visitor = $t->token('visitor', 'access=hidden-ws,hidden-wss'
                                       . ' access_ttl=8h');
    $t->start;

    my $serve = $t->spawn('soak-serve', $wan->far('python3',
        "$ZLTunnel::ROOT/t/lib/soak.py", 'serve', @p{qw(tcp http udp)}));
    ok(wait_for(sub { $serve->output =~ /^ready/ }), 'the services are there')
        or BAIL_OUT($t->tails);

    my %agent;
    my $program = "$t->{dir}/agent";
    write_file($program, join(' ', "#!/bin/sh\nexec",
                              $wan->far($ZLTunnel::AGENT), '"$@"') . "\n", 0755);

    for my $kind (qw(ws wss)) {
        my $port = $p{ $kind eq 'ws' ? 'plain' : 'tls' };
        $agent{$kind} = $t->agent(
            program => $program, token => $token{$kind},
            tls => $kind eq 'wss', server => "$kind://$far:$port/tunnel/v1",
            services => [ "port:$p{tcp}", "udp:$p{udp}/udp",
                          "raw:$p{tcp}/internal", "web:$p{http}/internal",
                          "hidden-$kind:$p{tcp}/private" ]);
    }

    my $access = $t->agent(token => $visitor, wait => 0,
                           access => [ 'hidden-ws', 'hidden-wss', '--ttl',
                                       '8h' ]);

    my @targets = ("http:s=$p{webs}", "http:p=$p{webp}",
                   "stream:s=$p{streams}", "stream:p=$p{streamp}",
                   map({ ("port:$_=" . $agent{$_}->port('port'),
                          "udp:$_=" . $agent{$_}->port('udp'),
                          "access:$_=" . ($access->granted("hidden-$_")
                                          // die $access->log)) }
                       qw(ws wss)));

    $load = $t->spawn('soak-load', 'python3', "$ZLTunnel::ROOT/t/lib/soak.py",
                      'load', $seconds, $clients, $hung, @targets);

    %at = (agent => \%agent);
}


sub path { $wan->path(20, rate => 50_000, loss => 2, @_) }


# What the load calls the time: that of the monotonic clock.

sub now { Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }


sub event {
    my ($what) = @_;

    push @events, { what => $what, start => now() };
    note sprintf '%.1f %s', now(), $what;
}


sub disturb {
    my @kinds = (qw(reload reload worker agent off),
                 $seconds >= 300 ? 'nat' : ());
    my $end = now() + $seconds - 10;
    my $pause = $seconds < 60 ? 4 : 12;

    sleep 3;

    while (now() < $end) {
        my $what = $kinds[ rand @kinds ];

        event($what);

        if ($what eq 'reload') {
            $t->{nginx}->kill('HUP');

        } elsif ($what eq 'worker') {
            my @workers = $t->workers;
            kill 'KILL', $workers[ rand @workers ] if @workers;

        } elsif ($what eq 'agent') {
            my $agent = $at{agent}{ (qw(ws wss))[ rand 2 ] };
            $agent->{proc}->kill('KILL');
            $agent->{proc}->wait(20);
            sleep rand 1;
            $agent->launch;
            $agent->registered(5, 60);

        } elsif ($what eq 'nat') {
            $wan->forget;

        } elsif ($what eq 'off') {
            path(loss => 1000);
            sleep 2;
            path();
        }

        $events[-1]{end} = now();
        sleep $pause / 2 + rand $pause;
    }

    is($load->wait($seconds + 2 * $hung), 0, 'the load has ended')
        or diag(slurp("$t->{dir}/logs/soak-load.err"));
}


# Whether a transfer that failed met what may cost it.

sub excused {
    my ($j) = @_;

    for my $e (@events) {
        my $cost = $costs{ $e->{what} } // next;
        return 1 if $j->{start} < $e->{end} + $cost
                    && $j->{end} > $e->{start};
    }

    return 0;
}


sub judge {
    my (%n, @bad);

    for my $line (split /\n/, $load->output) {
        my $j = JSON::PP::decode_json($line);
        my $how = $j->{result};

        $n{$how}++;
        $n{ $j->{kind} }++;

        next if $how eq 'ok' || $how eq 'left';

        # What plain TCP splices ends with the process, and its kernel says
        # FIN: docs/security.md.

        next if ($how eq 'failed'
                 || $how eq 'short' && $j->{kind} =~ /^stream|:ws$/)
                && excused($j);

        push @bad, sprintf '%s %s %.1f to %.1f: %s', @$j{qw(kind result start
                                                         end detail)};
    }

    note explain \%n;
    cmp_ok($n{ok} // 0, '>', 20 * $seconds / 10, 'there was a load');
    ok($n{$_}, "some of it were $_") for map { ("port:$_", "udp:$_",
        "access:$_") } qw(ws wss);
    is(scalar(@bad), 0, 'nothing is wrong, cut short, hung or lost')
        or diag(join "\n", @bad > 30 ? @bad[0 .. 29] : @bad, '',
                map { sprintf '%.1f to %.1f %s', @$_{qw(start end what)} }
                    @events);

    is(slurp("$t->{dir}/logs/soak-serve") =~ s/^ready\n//r, '',
       'nor did a service see what it should not');

    my $st;
    ok(wait_for(sub {
        $st = $t->status or return 0;
        return !grep { $_->{active} } map { @{ $_->{services} } }
                     @{ $st->{tunnels} };
    }, $hung), 'no connection is left') or diag explain $st;

    for my $kind (sort keys %{ $at{agent} }) {
        my $n;
        ok(wait_for(sub {
            $n = ($at{agent}{$kind}->link // return 0)->{connections}{open};
            return defined $n && $n == 0;
        }, $hung), "nor one in the agent of $kind")
            or diag("$n open\n", run($wan->far('ss', '-tnpio')));
    }

    $t->finish;
}
