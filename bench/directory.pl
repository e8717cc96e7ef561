#!/usr/bin/perl

# Models a directory of many nodes: NODES that only the engine knows, with SERVICES
# each, and a real one, which reads them and hears of CHANGES a second.  It prints
# messages, bytes, memory, and the time until the node knows all.
#
#     bench/directory.pl [NODES [SERVICES [CHANGES [SECONDS]]]]
#
# Without arguments it is 50 1000 100 10.  "make CLUSTER=1" comes first.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib";

use Test::More;
use Time::HiRes qw(sleep time);
use ZLTunnel;
use ZLTunnel::Engine;

my ($nodes, $services, $changes, $seconds)
    = map { $ARGV[$_] // (50, 1000, 100, 10)[$_] } 0 .. 3;

die ZLTunnel::Engine::missing() . "\n" if ZLTunnel::Engine::missing();

my $t = ZLTunnel->new(workers => 2, zone => '128m');
my $engine = ZLTunnel::Engine->start($t);
my @tokens = map { $t->token("tenant$_", 'hosts=*.example.com') } 1 .. $nodes;

$t->write_conf($engine->node(more => 'refresh=10s'));

my @id = map { sprintf '%032x', 0xabc0000 + $_ } 1 .. $nodes;

sub line {
    my ($node, $n, $turn) = @_;
    return sprintf 'tcp service-%d token=tenant%d port=%d hosts=h%d-%d.example.com'
                   . '%s', $n, $node + 1, 1 + $n % 60000, $node, $n,
                   $turn ? " turn=$turn" : '';
}

sub id { sprintf '%08x%024x', $_[0], 0x5eed0000 + $_[1] }

for my $node (0 .. $nodes - 1) {
    my @fields = map { (id($node, $_), line($node, $_)) } 0 .. $services - 1;
    my @commands;

    while (my @some = splice @fields, 0, 1000) {
        push @commands, [ 'HSET', "zlt:node:$id[$node]", @some ];
    }

    $engine->tell([ 'HSET', "zlt:node:$id[$node]", 'node', "10.1.0.$node:7443" ],
                  @commands, [ 'EXPIRE', "zlt:node:$id[$node]", 3600 ],
                  [ 'SADD', 'zlt:nodes', $id[$node] ]);
}

sub info {
    my ($name) = @_;
    my ($value) = $engine->ask('INFO') =~ /^$name:(\d+)/m;
    return $value;
}

sub cpu {
    my $ticks = 0;
    for my $pid (@_) {
        my @stat = split ' ', slurp("/proc/$pid/stat") =~ s/^.*\) //sr;
        $ticks += $stat[11] + $stat[12];
    }
    return $ticks / 100;
}

my $total = $nodes * $services;
my $used = info('used_memory');
$t->start;
my $begun = time;
my $empty = $t->status->{zone}{used};
wait_for(sub { ($t->status->{cluster}{services} // 0) >= $total }, 120)
    or die "it does not get to know all\n";
printf "%d nodes, %d services, known after %.2f s\n", $nodes, $total,
       time - $begun;
printf "the engine: %.1f MB; the zone: %.1f MB\n", $used / 1e6,
       ($t->status->{zone}{used} - $empty) / 1e6;

my @pids = $t->workers;
my ($rss) = sort { $b <=> $a } map { slurp("/proc/$_/status") =~ /VmRSS:\s+(\d+)/ }
                               @pids;
printf "memory of the worker that reads: %.1f MB\n", $rss / 1024;

# changes

my $before = cpu(@pids);
my $heard = sub {
    my ($n) = http_get($t->{http_port}, '/tunnel/status?format=prometheus')->{body}
              =~ /^zltunnel_cluster_changes_total\{direction="in"\} (\d+)/m;
    return $n };
my $from = $heard->();
my ($in, $out) = (info('total_net_input_bytes'), info('total_net_output_bytes'));
my $s = $engine->connection;
my $start = time;

for my $n (1 .. $changes * $seconds) {
    my ($node, $service) = ($n % $nodes, int rand $services);
    my $id = id($node, $service);
    my $line = line($node, $service, $n);

    print $s ZLTunnel::Engine::command('HSET', "zlt:node:$id[$node]", $id, $line),
             ZLTunnel::Engine::command('PUBLISH', 'zlt:changes',
                                       "$id[$node]\n+$id $line\n");
    ZLTunnel::Engine::answer($s) for 1, 2;
    my $ahead = $start + $n / $changes - time;
    sleep $ahead if $ahead > 0;
}

my $sent = time;
wait_for(sub { $heard->() - $from >= $changes * $seconds }, 20);
printf "%d changes a second for %d s: all heard %.2f s after the last one\n",
       $changes, $seconds, time - $sent;
printf "by the engine: %.1f KB/s in, %.1f KB/s out, to one node\n",
       (info('total_net_input_bytes') - $in) / $seconds / 1000,
       (info('total_net_output_bytes') - $out) / $seconds / 1000;
printf "the node's workers: %.1f %% of a processor\n",
       100 * (cpu(@pids) - $before) / (time - $start);

$t->finish;
