#!/usr/bin/perl

# Protects: a NAT that forgets its flows.  Nobody is told, and no packet comes
# through any more; the agent comes back from another address.  Whoever waits
# for an answer on a channel that is dead by that is told so as soon as a
# control channel would be found dead, and whoever may be served otherwise is,
# when the agent is back; also where another worker has the channel.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Wan;
use ZLTunnel::Wire;

my $SLOW = slowdown();
my ($interval, $timeout) = (2, 3);         # s

# what is lost is found in $timeout, an agent in as much, on both sides, and it
# needs some time to come back, chance says how much (reconnect_interval, 5 s);
# a client waits for longer than both; the rest is for a busy machine

my $lost = ($timeout + 1 + 4) * $SLOW;
my $back = (2 * $timeout + 12) * $SLOW;

subtest 'ws' => \&forgotten, 'ws', 1;
subtest 'wss' => \&forgotten, 'wss', 1;
subtest 'wss, 2 workers' => \&forgotten, 'wss', 2;
subtest 'within a WebSocket' => \&forgotten, 'wss', 1, '--transport',
        'websocket';

done_testing();


sub forgotten {
    my ($scheme, $workers, @args) = @_;

    my $t = ZLTunnel->new(
        workers => $workers,
        zltunnel => "connect_timeout 30s;
                     heartbeat_interval ${interval}s;
                     heartbeat_timeout ${timeout}s;");
    my $wan = ZLTunnel::Wan->new($t)
        or plan(skip_all => $ZLTunnel::Wan::why);
    my %port = map { $_ => $t->free_port } qw(front near app);
    my $near = $ZLTunnel::Wan::NEAR;
    my $ssl = $scheme eq 'wss' ? 'ssl' : '';
    my $certs = $t->certs;

    $t->write_conf(http => <<"EOT");
client_header_timeout 5s;        # of what was just being opened
upstream on { zltunnel_service web max_fails=0; }
upstream on_kept { zltunnel_service web max_fails=0; keepalive 8; }
upstream off { zltunnel_service web max_fails=0 lanes=off; }
upstream off_kept { zltunnel_service web max_fails=0 lanes=off; keepalive 8; }
server {
    listen $near:$port{near} $ssl;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    location = /tunnel/v1 { zltunnel; }
}
server {
    listen 127.0.0.1:$port{front};
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_read_timeout 90s;
    location /on/ { proxy_pass http://on/; }
    location /on_kept/ { proxy_pass http://on_kept/; }
    location /off/ { proxy_pass http://off/; }
    location /off_kept/ { proxy_pass http://off_kept/; }
}
EOT

    $wan->path(5);
    my $token = $t->token('alice', '', "of-the-forgotten");
    $t->start;

    my $log = "$t->{dir}/logs/app";
    my $app = ZLTunnel::Proc->start(
        name => 'app', out => $log, err => "$log.err",
        cmd => [ $wan->far($^X, "$ZLTunnel::ROOT/t/lib/app.pl", $port{app},
                           'app') ]);
    push @{ $t->{procs} }, $app;
    wait_for(sub { slurp($log) =~ /^ready/ }, 10) or die 'no app';

    write_file("$t->{dir}/token", "$token\n", 0600);
    my $agent = ZLTunnel::Proc->start(
        name => 'agent', out => "$t->{dir}/logs/agent.out",
        err => "$t->{dir}/logs/agent.err",
        cmd => [ $wan->far($ZLTunnel::AGENT, 'connect', '--server',
                           "$scheme://$near:$port{near}/tunnel/v1",
                           '--token-file', "$t->{dir}/token", '--service',
                           "web:$port{app}", '--control', 'none', @args,
                           $ssl ? '--insecure' : ()) ]);
    push @{ $t->{procs} }, $agent;

    ok(wait_for(sub { idle($t) }, 30), 'the agent is there');

    # one that lasts, and some that wait for their answer

    my $established = ZLTunnel::Wire::Socket->new(port($t));
    $established->send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");

    my @kept = grep { /kept/ } my @ways = qw(on on_kept off off_kept);

    is(get($port{front}, "/$_/")->{status}, 200, "$_: a request") for @kept;

    # not one that nginx would send again by itself

    my %held = map { $_ => asked($port{front}, "/$_/hold", 'POST') } @ways;

    # chance says where a channel is: of so many one is over a bridge

    my @more = map { asked($port{front}, "/off/hold", 'POST') }
               1 .. ($workers > 1 ? 12 : 0);
    is(get($port{front}, "/$_/")->{status}, 200, "$_: another") for @kept;

    ok(wait_for(sub {
        return 1 + @ways + @more == (() = slurp($log) =~ /^hold/mg);
    }), 'all are at the service');

    forget($wan);

    my %new = map { $_ => asked($port{front}, "/$_/") } @ways;
    answers(values %held, values %new, @more);

    for my $way (@ways) {
        my $h = $held{$way};
        my $n = $new{$way};

        note sprintf '%s: on its way: %s after %.1f s, new: %s after %.1f s',
                     $way, $h->{status}, $h->{time}, $n->{status}, $n->{time};

        like($h->{status}, qr/^50[24]$/, "$way: on its way, and lost");
        cmp_ok($h->{time}, '<', $lost, "$way: which is found in time");
        is($n->{status}, 200, "$way: served when the agent is back");
        cmp_ok($n->{time}, '<', $back, "$way: soon");
    }

    is(scalar(grep { $_->{time} >= $lost } @more), 0, 'all others are told, too');

    is($established->ending(90), 'reset', 'a connection of a port is reset')
        if ZLTunnel::long_run();
    $established->reset;

    $agent->stop;
    run('ip', 'route', 'del', 'blackhole', "$ZLTunnel::Wan::FAR/32");
    $t->finish;
}


sub tunnel { ($_[0]->status->{tunnels} || [])->[0] || {} }

sub idle { tunnel($_[0])->{idle_channels} // 0 }

sub port { (tunnel($_[0])->{services} || [])->[0]{port} }


# What was between the two knows of nothing any more; the agent is seen with
# another address from now on.

sub forget {
    my ($wan) = @_;

    my @cmd = (
        [ 'sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1' ],
        [ 'sysctl', '-qw', 'net.ipv4.conf.wan0.rp_filter=1' ],
        [ 'ip', 'route', 'add', 'blackhole', "$ZLTunnel::Wan::FAR/32" ],
        [ $wan->far('ip', 'addr', 'add', '10.9.0.3/24', 'dev', 'wan0') ],
        [ $wan->far('ip', 'addr', 'del', "$ZLTunnel::Wan::FAR/24", 'dev',
                    'wan0') ],
        [ $wan->far('ip', 'addr', 'replace', '10.9.0.3/24', 'dev', 'wan0') ],
    );

    for my $cmd (@cmd) {
        my ($rc, $out) = run(@$cmd);
        is($rc, 0, "@$cmd") or diag($out) if $rc;
    }
}


sub asked {
    my ($port, $path, $method) = @_;

    my $c = ZLTunnel::Wire::Socket->new($port);
    $c->send(($method // 'GET') . " $path HTTP/1.1\r\nHost: localhost\r\n"
             . "Content-Length: 0\r\nConnection: close\r\n\r\n");

    return { c => $c, start => time, status => 'none' };
}


# Waits for the answers: {status}, {time}, from now on.

sub answers {
    my @open = @_;

    my $start = time;
    my $end = $start + 30 * $SLOW;

    while (@open && time < $end) {
        $_->{c}->fill(0.02) for @open;

        for my $a (@open) {
            next if !$a->{c}{end};
            ($a->{status}) = $a->{c}{in} =~ /^HTTP\/1\.1 (\d+)/;
            $a->{status} //= $a->{c}{end};
            $a->{time} = time - $start;
        }

        @open = grep { !defined $_->{time} } @open;
    }

    $_->{time} = time - $start for @open;
}
