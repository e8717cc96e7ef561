#!/usr/bin/perl

# Two trees beside each other: what the tunnel of this one costs, divided by
# what that of another one does, in one run.  bench/README.md says how to read
# it.
#
#     bench/compare.pl BASE [--quick] [--rows=up1,http,...] [--setups=ws,...]
#                      [--pairs=N] [--workers=1] [--seconds=S] [--most=1.03]
#     bench/compare.pl BASE --instructions [--rows=rr,conn,http,once] ...
#
# Exit 1 if a ratio is above what it may be, 2 if a run failed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd ();
use File::Temp ();
use Getopt::Long;
use List::Util qw(max sum0);
use Rows qw(bulk latency connections http memory datagrams);
use Setups qw(setups service http_service stop leaders family slurp);
use Time::HiRes qw(sleep);

my %opt = (rows => '', pairs => 12, workers => 1,
           setups => 'ws,wss,ws-framed,wss-framed', seconds => 1,
           most => 1.03);

GetOptions(\%opt, 'quick', 'instructions', 'rows=s', 'setups=s', 'pairs=i', 'workers=i',
           'seconds=f', 'most=f')
    or exit 2;

die "Which tree is the base?  It has to be built.\n"
    if @ARGV != 1 || !-x "$ARGV[0]/objs/zltunnel-agent";

my %tree = (base => Cwd::abs_path($ARGV[0]),
            here => Cwd::abs_path("$FindBin::Bin/.."));

chdir $tree{here} or die;
$| = 1;

if ($opt{quick}) {
    @opt{qw(pairs seconds)} = (5, 0.5);
}

$opt{rows} ||= $opt{instructions} ? 'rr,conn,http,once'
                                  : 'up1,down1,rr,conn,http,once';
$Rows::opt{seconds} = $opt{seconds};
$Rows::opt{connections} = 500;

$SIG{INT} = $SIG{TERM} = sub { exit 2 };

# The cost is what is asked for, not the speed: processor time for so much work,
# or memory.

my %rows = (
    up1     => sub { bulk('up', 1, @_) },
    down1   => sub { bulk('down', 1, @_) },
    up8     => sub { bulk('up', 8, @_) },
    down8   => sub { bulk('down', 8, @_) },
    rr      => \&latency,
    conn    => \&connections,
    http    => sub { http('/', @_) },
    once    => sub { http('/once/', @_) },
    mem     => sub { return { cpu => memory(@_)->{conn} } },
    udp64   => sub { datagrams(64, @_) },
    udp1200 => sub { datagrams(1200, @_) },
);

my %unit = (up1 => 'CPU-s/GB', down1 => 'CPU-s/GB', up8 => 'CPU-s/GB',
            down8 => 'CPU-s/GB', mem => 'kB', udp64 => 'CPU-s/M',
            udp1200 => 'CPU-s/M');

# where perf counts system calls: those of the relaying processes, for a load

my $calls = File::Temp::tempdir(CLEANUP => 1) . '/calls';
my $perf = "perf stat -x, -o $calls -e raw_syscalls:sys_enter";

$perf = '' if system("$perf true 2> /dev/null") || !counted();

my %setup = map { $_->{name} => $_ } setups();
my (@above, @unsure);
my $format = "%-8s %-11s %-10s %9s %9s  %6s  %-13s %6s %s\n";


sub counted {
    return slurp($calls) =~ /^(\d+),/m ? $1 : 0;
}


sub start {
    my ($tree, $name) = @_;

    local $Setups::OBJS = "$tree{$tree}/objs";
    local $Setups::AGENT = "$tree{$tree}/objs/zltunnel-agent";

    my $running = $setup{$name}{start}->($opt{workers}, $opt{service});
    $running->{workers} = $opt{workers};

    return $running;
}


# A pair: each tree once, in turn which of them is first.  What both do is the
# same, so that whatever else the machine does disturbs them alike.

sub pair {
    my ($row, $running, $first) = @_;
    my (%cost, %count);

    for my $tree ($first ? qw(here base) : qw(base here)) {
        my $fresh = $row eq 'mem' ? start($tree, $running->{setup}) : undef;

        my $pids = join ',', family(leaders($fresh || $running->{$tree}));
        local $Rows::RUN = $perf && "$perf -p $pids --";

        my $f = $rows{$row}->($fresh || $running->{$tree});

        $cost{$tree} = $f->{cpu};
        $count{$tree} = counted() / $f->{work} if $perf && $f->{work};
        stop(leaders($fresh)) if $fresh;
    }

    return (\%cost, $count{base} ? $count{here} / $count{base} : ());
}


# What the tunnel's programs execute for so much work, without the kernel, in
# thousands: the more work in two runs of them, by the more instructions.

sub instructions {
    my ($tree, $name, $row) = @_;
    my (@count, @work);

    for my $seconds (1, 4) {
        my $log = File::Temp::tempdir(CLEANUP => 1);

        local @Setups::UNDER =
            ('valgrind', '--tool=cachegrind', '--cache-sim=no',
             '--cachegrind-out-file=/dev/null', "--log-file=$log/%p");

        chmod 0777, $log;
        local $Rows::opt{seconds} = $seconds;

        my $running = start($tree, $name);

        push @work, $rows{$row}->($running)->{work};
        stop(leaders($running));

        push @count, sum0(map { /I\s+refs:\s+([\d,]+)/ ? $1 =~ tr/,//dr : 0 }
                          map { slurp($_) } glob "$log/*");
    }

    return ($count[1] - $count[0]) / ($work[1] - $work[0])
           / ($unit{$row} ? 1e9 : 1e8);
}


sub compare_instructions {
    my ($row, $name) = @_;

    my %cost = map { $_ => instructions($_, $name, $row) } qw(base here);
    my $ratio = $cost{here} / $cost{base};

    push @above, sprintf '%s, %s: %.3f', $row, $name, $ratio
        if $ratio > $opt{most};

    printf $format, $row, $name, 'k-instr',
           (map { sprintf '%.4g', $cost{$_} } qw(base here)),
           sprintf('%.3f', $ratio), '', '', $ratio > $opt{most} ? 'ABOVE' : '';
}


sub median {
    my @sorted = sort { $a <=> $b } @_;

    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}


# Between which two of them the median of all that could have been measured is,
# 94 times of 100 or more: a table of the binomial distribution.

sub bounds {
    my @sorted = sort { $a <=> $b } @_;
    my $n = @sorted;
    my ($k, $tail, $term) = (0, 0, 0.5 ** $n);

    while ($tail + $term <= 0.03) {
        $tail += $term;
        $k++;
        $term *= ($n - $k + 1) / $k;
    }

    $k = max($k, 1);
    return @sorted[$k - 1, $n - $k];
}


# Pairs until it is clear on which side of the limit the ratio is, but not for
# ever.

sub compare {
    my ($row, $name, $running) = @_;
    my (%cost, @ratio, @calls, $low, $high);

    pair($row, $running, 0) if $row ne 'mem';     # warm

    for my $n (1 .. 3 * $opt{pairs}) {
        my ($cost, @more) = pair($row, $running, $n & 1);

        push @calls, @more;
        push @{ $cost{$_} }, $cost->{$_} for keys %$cost;
        push @ratio, $cost->{here} / $cost->{base};

        next if $n < $opt{pairs};

        ($low, $high) = bounds(@ratio);
        last if $high <= $opt{most} || $low > $opt{most} || $row eq 'mem';
    }

    my $ratio = median(@ratio);
    my $what = sprintf '%s, %s: %.3f (%.3f-%.3f)', $row, $name, $ratio, $low,
                       $high;
    my $say = '';

    if ($low > $opt{most}) {
        push @above, $what;
        $say = 'ABOVE';

    } elsif ($high > $opt{most}) {
        push @unsure, $what;
        $say = $ratio > $opt{most} ? 'above?' : 'unsure';
    }

    printf $format, $row, $name, $unit{$row} || 'CPU-s/100k',
           (map { sprintf '%.4g', median(@{ $cost{$_} }) } qw(base here)),
           sprintf('%.3f', $ratio), sprintf('%.3f-%.3f', $low, $high),
           @calls ? sprintf('%.3f', median(@calls)) : '-', @ratio . ($say && " $say");
}


eval {
    for my $row (split /,/, $opt{rows}) {
        $rows{$row} or die "no row $row; there are: @{[ sort keys %rows ]}\n";
    }

    $opt{service} = service(2);
    http_service(1);

    printf $format, 'row', 'setup', 'cost', 'base', 'here', 'ratio', 'between',
           'calls', 'pairs';

    for my $name (split /,/, $opt{setups}) {
        $setup{$name} or die "no setup $name\n";

        if ($opt{instructions}) {
            compare_instructions($_, $name) for split /,/, $opt{rows};
            next;
        }

        my $running = { setup => $name, map { $_ => start($_, $name) }
                                            qw(base here) };
        sleep 0.5;

        for my $row (split /,/, $opt{rows}) {
            eval { compare($row, $name, $running); 1 }
                or die "$name, $row: $@";
        }

        stop(map { leaders($running->{$_}) } qw(base here));
    }

    1;

} or do {
    warn $@;
    exit 2;
};

if (@unsure) {
    print "\nNot clear, as the machine is too busy; more --pairs may tell:\n",
          map { "    $_\n" } @unsure;
}

if (@above) {
    print "\nAbove $opt{most}:\n", map { "    $_\n" } @above;
    exit 1;
}
