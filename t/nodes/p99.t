#!/usr/bin/perl

# Protects: what a burst of new connections costs where the agent is at three nodes
# behind one balancer, which takes turns for clients and agents alike, or where the
# agent finds the nodes by DNS: none is reset, and with DNS the slowest take no more
# than at one node behind the same balancer.
# Alone: it compares delays.
#
# Long: 900 connections, seven times; short: none, since t/nodes/front.t has a burst.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Fleet;
use ZLTunnel::Names;

plan(skip_all => 'it measures: with ZLT_LONG=1') if !long_run();
my $why = ZLTunnel::Names::missing();
plan(skip_all => $why) if $why;
need_nofile(8192);

my $n = 900;
my $times = 7;
my $name = 'other.example';

# a fourth node is the one that all others are compared with

my $fleet = ZLTunnel::Fleet->new(4, rights => 'sessions=4', range => 4,
                                 workers => 2, connections => 8192,
                                 zltunnel => 'reconnect_grace 2s; nodes 3;');
my ($first, @others) = my @t = @{ $fleet->{t} };
my @ip = @{ $fleet->{ip} };
my $tls = $fleet->port;
my %port = map { $_ => $fleet->port(2) } qw(one turns dns);
my $certs = $first->certs;

for my $i (0 .. 3) {
    $t[$i]->write_conf(
        $i == 3 ? (zltunnel => 'reconnect_grace 2s; nodes 1;') : (),
        http => "server { listen $ip[$i]:$tls ssl; ssl_certificate $certs/other.pem;
                 ssl_certificate_key $certs/other.key;
                 location = /tunnel/v1 { zltunnel; } }");
}

$fleet->start;
balancer();

my $names = ZLTunnel::Names->new($first);
my $echo = $first->service('echo');
my @base = map { $first->{base} + $_ } 0 .. 2;

$names->hosts($name => '127.0.0.1');
my %agent = (one   => agent("wss://$name:$port{one}", $base[0]),
             turns => agent("wss://$name:$port{turns}", $base[1]));
at('one', 3);
at('turns', 0 .. 2);

$names->hosts(map { ($name => $ip[$_]) } 0 .. 2);
$agent{dns} = agent("wss://$name:$tls", $base[2]);
at('dns', 0 .. 2);

my %ms;

for my $round (1 .. $times) {
    for my $way (qw(one turns dns)) {
        my ($p50, $p99) = burst($way, $round);
        push @{ $ms{$way} }, $p99;
    }
}

my %mid = map { my @p = sort { $a <=> $b } @{ $ms{$_} }; ($_ => $p[@p / 2]) } keys %ms;

for my $way (qw(turns dns)) {
    my $ratio = $mid{$way} / $mid{one};
    my $text = sprintf '%s: the 99th of 100 takes %.1f ms, at one node %.1f ms: %.2f',
                       $way, $mid{$way}, $mid{one}, $ratio;

    note("$way: @{ $ms{$way} }; one: @{ $ms{one} }");

    # in turn, two of three of the agent's channels meet another node
    cmp_ok($ratio, '<', { turns => 12, dns => 1.2 }->{$way}, $text);
}

is($_->stop, 0, 'an agent ends') for values %agent;
$fleet->finish;


sub balancer {
    my $dir = "$first->{dir}/balancer";
    my %to = (one => [ 3 ], turns => [ 0 .. 2 ], dns => [ 0 .. 2 ]);
    my %service = (one => 0, turns => 1, dns => 2);
    my $text = '';

    for my $way (keys %to) {
        for ([ agents => 0, $tls ],
             [ clients => 1, $first->{base} + $service{$way} ])
        {
            my ($what, $plus, $to) = @$_;
            my $servers = join ' ', map { "server $ip[$_]:$to;" } @{ $to{$way} };

            $text .= "upstream $way-$what { $servers }
                      server { listen 127.0.0.1:" . ($port{$way} + $plus)
                     . " backlog=4096; proxy_pass $way-$what; }\n";
        }
    }

    mkdir $dir;
    write_file("$dir/nginx.conf", ZLTunnel::load_modules() . <<"EOT");
worker_processes 2;
worker_rlimit_nofile 16384;
daemon off;
pid $dir/nginx.pid;
error_log $first->{dir}/logs/balancer;
events { worker_connections 8192; }
stream { $text }
EOT

    my $proc = $first->spawn('balancer-out', $ZLTunnel::NGINX, '-p', $dir, '-c',
                             "$dir/nginx.conf", '-e', "$dir/error.log");
    wait_for(sub { connect_to($port{one}) || !$proc->running });
}


sub agent {
    my ($url, $remote) = @_;

    return $first->agent(wait => 0, token => $fleet->{token},
                         program => $names->program, conf => <<"EOT");
[agent]
server = $url/tunnel/v1
mode = all
ca_file = $certs/ca.pem
token_file = %%token_file%%
reconnect_interval = 300ms
max_reconnect_interval = 1s
[service echo-$remote]
local = 127.0.0.1:$echo->{port}
remote_port = $remote
EOT
}


# Waits until each of these nodes serves it.

sub at {
    my ($way, @nodes) = @_;

    my %remote = (one => 0, turns => 1, dns => 2);

    for my $i (@nodes) {
        ok(wait_for(sub { connect_to("$ip[$i]:$base[ $remote{$way} ]") }, 60),
           "$way: node $i") or diag($agent{$way}->log);
    }
}


sub burst {
    my ($way, $round) = @_;

    my $load = $first->spawn("burst-$way-$round", $first->nettool, 'held',
                             $port{$way} + 1, $n, 2, $n);

    wait_for(sub { $load->output =~ /^held/m || !$load->running }, 90);
    my ($held) = $load->output =~ /^held (\d+)/m;
    my (undef, $p50, $p99) = $load->output =~ /^answered (\d+) p50 (\S+) p99 (\S+)/m;
    $load->say('go on');
    my $rc = $load->wait(90);

    is("$rc $held", "0 $n", "$way: all of $n are served") or diag($load->output);

    return ($p50, $p99);
}
