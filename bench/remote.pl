#!/usr/bin/perl

# The benchmark's row "remote": http requests at a node whose service's agent is at
# another node, beside the same requests at that other one, in one run.  bench.pl
# runs it; bench/README.md says how to read it.
#
#     bench/remote.pl [--quick] [--workers=1,4] [--runs=5] [--plain]
#                     [--clients=32]
#
# Exit 1 if a target is missed, 2 if a run failed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Getopt::Long;
use Rows qw(http);
use Setups qw(http_service nodes no_nodes service stop leaders);
use Time::HiRes qw(sleep);

chdir "$FindBin::Bin/.." or die;
$| = 1;
$SIG{INT} = $SIG{TERM} = sub { exit 2 };

my %opt = (workers => '1,4', runs => 5, clients => 32);

GetOptions(\%opt, 'quick', 'plain', 'workers=s', 'runs=i',
           'clients=i') or exit 2;

if (no_nodes()) {
    print "\nremote: skipped, ", no_nodes(), "\n";
    exit 0;
}

$Rows::opt{clients} = $opt{clients};
$Rows::opt{seconds} = 0.4 if $opt{quick};

# name, figure, its unit, the most that it may be of the one at the other node

my @kept = ([ 'http, kept alive', 'cpu', 'CPU-s/100k', 2 ],
            [ '  p50', 'p50', 'us', 2 ], [ '  p99', 'p99', 'us' ],
            [ '  rate', 'rate', '1/s' ]);
my @once = ([ 'http, a connection each', 'cpu', 'CPU-s/100k' ],
            [ '  p50', 'p50', 'us' ], [ '  p99', 'p99', 'us' ],
            [ '  rate', 'rate', '1/s' ]);
my $missed = 0;

eval {
    my $service = service(1);
    http_service(2);
    measure($_, $service) for split /,/, $opt{workers};
    1;
} or do {
    warn $@;
    exit 2;
};

exit $missed;


# Both take turns, and each pair has a ratio of its own: what else the machine
# does hits both of it.

sub measure {
    my ($workers, $service) = @_;

    my $nodes = nodes(!$opt{plain}, $workers, $service);
    sleep 0.5;

    printf "\n%-24s %-10s  %9s  %9s  %5s  target   (%d worker%s, the agent by "
           . "%s)\n", 'from node to node', '', 'local', 'remote', 'ratio', $workers,
           $workers > 1 ? 's' : '', $opt{plain} ? 'ws' : 'wss';

    for my $row ([ '/', \@kept ], [ '/once/', \@once ]) {
        my ($path, $figures) = @$row;
        http($path, $nodes->{$_}) for qw(there here);       # warm

        my @pairs = map { [ map { http($path, $nodes->{$_}) } qw(there here) ] }
                    1 .. $opt{runs};
        line($_, @pairs) for @$figures;
    }

    stop(leaders($nodes->{here}), $nodes->{engine});
}


sub line {
    my ($figure, @pairs) = @_;

    my ($title, $key, $unit, $most) = @$figure;
    my ($local, $remote) = map { my $i = $_; median(map { $_->[$i]{$key} } @pairs) }
                           0, 1;
    my $ratio = median(map { $_->[1]{$key} / $_->[0]{$key} } @pairs);
    my $over = $most && $ratio > $most;

    $missed = 1 if $over;
    printf "%-24s %-10s  %9.2f  %9.2f  %5.2f%s%s\n", $title, $unit, $local,
           $remote, $ratio, $most ? sprintf('  <= %.2f', $most) : '',
           $over ? ' MISSED' : '';
}


sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}
