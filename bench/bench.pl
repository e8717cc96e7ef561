#!/usr/bin/perl

# The benchmark: the tunnel beside what a user has without it, in one run on
# one machine.  bench/README.md says what the rows are and how to read them.
#
#     bench/bench.pl [--quick] [--rows=up1,rr,...] [--workers=1,4] [--runs=5]
#                    [--setups=direct,chain,ws,...] [--verbose]
#
# Exit 1 if a target is missed, 2 if a run failed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Getopt::Long;
use List::Util qw(max min);
use POSIX ();
use Rows qw(bulk latency connections burst http by_name memory idle_tunnels
            datagrams udp_latency);
use Setups qw(setups service http_service stop slurp leaders);
use Time::HiRes qw(sleep);

chdir "$FindBin::Bin/.." or die;
$| = 1;

my %opt = (rows => '', workers => '1,4', runs => 5, setups => '',
           %Rows::opt);

GetOptions(\%opt, 'quick', 'verbose', 'rows=s', 'workers=s', 'runs=i',
           'setups=s', 'seconds=f', 'connections=i', 'tunnels=i')
    or exit 2;

if ($opt{quick}) {
    @opt{qw(runs seconds connections tunnels)} = (3, 0.4, 500, 5);
}

$Rows::opt{$_} = $opt{$_} for keys %Rows::opt;

$SIG{INT} = $SIG{TERM} = sub { exit 2 };

my %base = (plain => 'chain', tls => 'chain-tls');
my %ours = (ws => 1, wss => 1);

# Rows: what is measured together, and the figures that come of it.  A target
# is a ratio to the chain, or to the "base", a number for both or one each; "more" is better
# where it is a least.  What is to be zero is so in every run.

my %rows = (
    up1  => { run => sub { bulk('up', 1, @_) } },
    down1 => { run => sub { bulk('down', 1, @_) } },
    up8  => { run => sub { bulk('up', 8, @_) } },
    down8 => { run => sub { bulk('down', 8, @_) } },
    rr   => { run => \&latency },
    conn => { run => \&connections },
    burst1000 => { run => sub { burst(1000, @_) } },
    burst5000 => { run => sub { burst(5000, @_) } },
    http => { run => sub { http('/', @_) } },
    once => { run => sub { http('/once/', @_) } },
    host => { run => \&by_name },
    mem  => { run => \&memory, fresh => 1 },
    tunnels => { run => \&idle_tunnels, fresh => 1 },
    udp64   => { run => sub { datagrams(64, @_) } },
    udp1200 => { run => sub { datagrams(1200, @_) } },
    udprr   => { run => \&udp_latency },
);

my %cpu = (unit => 'CPU-s/GB', most => { plain => 0.65, tls => 1.1 });
my %speed = (unit => 'GB/s', least => { plain => 1.2, tls => 1.2 });

# of clients that come in the same moment

my %burst_time = (unit => 's', most => { plain => 1.2, tls => 1.2 });

# of an http front with the service as its upstream

my %http_rate = (least => { plain => 1.15, tls => 1.15 });
my %http_p99 = (most => { plain => 0.9, tls => 0.9 });
my %http_cpu = (unit => 'CPU-s/100k', most => { plain => 0.85, tls => 0.85 });

my @figures = (
    { key => 'up1.speed',   title => '1 stream to the service', %speed },
    { key => 'up1.cpu',     title => '', %cpu },
    { key => 'down1.speed', title => '1 stream from the service', %speed },
    { key => 'down1.cpu',   title => '', %cpu },
    { key => 'up8.speed',   title => '8 streams to the service', %speed },
    { key => 'up8.cpu',     title => '', %cpu },
    { key => 'down8.speed', title => '8 streams from the service', %speed },
    { key => 'down8.cpu',   title => '', %cpu },
    { key => 'rr.p50',      title => 'request of 64 bytes, p50', unit => 'us',
      most => { plain => 1.1, tls => 1.1 } },
    { key => 'rr.p99',      title => '  p99', unit => 'us' },
    { key => 'rr.cpu',      title => '', unit => 'CPU-s/100k' },
    { key => 'conn.rate',   title => 'new connections, 16 at once',
      unit => '1/s', least => { plain => 0.9, tls => 0.9 } },
    { key => 'conn.cpu',    title => '', unit => 'CPU-s/100k' },
    { key => 'burst1000.time', title => '1,000 clients at once',
      %burst_time },
    { key => 'burst1000.resets', title => '  reset', unit => '', zero => 1 },
    { key => 'burst5000.time', title => '5,000 clients at once',
      %burst_time },
    { key => 'burst5000.resets', title => '  reset', unit => '', zero => 1 },
    { key => 'http.rate',   title => 'http, kept alive', unit => '1/s',
      %http_rate },
    { key => 'http.p50',    title => '  p50', unit => 'us' },
    { key => 'http.p99',    title => '  p99', unit => 'us', %http_p99 },
    { key => 'http.cpu',    title => '', %http_cpu },
    { key => 'http.cpu',    title => '  beside the hop', unit => 'CPU-s/100k',
      base => 'hop', most => { plain => 1.15, tls => 1.25 } },
    { key => 'once.rate',   title => 'http, a connection each', unit => '1/s',
      %http_rate },
    { key => 'once.p50',    title => '  p50', unit => 'us' },
    { key => 'once.p99',    title => '  p99', unit => 'us', %http_p99 },
    { key => 'once.cpu',    title => '', %http_cpu },
    { key => 'host.share',  title => 'http by name, requests beside service',
      unit => '', base => 'hop', least => { plain => 0.97, tls => 0.97 } },
    { key => 'host.rate',   title => '  beside the hop', unit => '1/s',
      base => 'hop' },
    { key => 'host.cpu',    title => '', unit => 'CPU-s/100k', base => 'hop',
      most => { plain => 1.25 } },
    { key => 'mem.conn',    title => 'memory, open idle connection',
      unit => 'kB', most => { plain => 1.0, tls => 1.0 } },
    { key => 'mem.kernel',  title => '  kernel, all its sockets',
      unit => 'kB' },
    { key => 'mem.far',     title => 'memory at rest, service side',
      unit => 'kB' },
    { key => 'tunnels.near', title => 'memory, idle tunnel in nginx',
      unit => 'kB' },
    { key => 'tunnels.far', title => '  and its agent', unit => 'kB' },
    { key => 'udp64.rate',   title => 'datagrams of 64 bytes and back',
      unit => '1/s' },
    { key => 'udp64.cpu',    title => '', unit => 'CPU-s/M',
      most => { plain => 0.6 } },
    { key => 'udp64.loss',   title => '  lost', unit => '%' },
    { key => 'udp1200.rate', title => 'datagrams of 1200 bytes and back',
      unit => '1/s', least => { plain => 1.5 } },
    { key => 'udp1200.cpu',  title => '', unit => 'CPU-s/M',
      most => { plain => 0.6 } },
    { key => 'udp1200.loss', title => '  lost', unit => '%' },
    { key => 'udprr.p50',    title => 'one of 200 bytes at a time, p50',
      unit => 'us', most => { plain => 1.2 } },
    { key => 'udprr.p99',    title => '  p99', unit => 'us' },
);

my @rows = split /,/, $opt{rows};
my @wanted = split /,/, $opt{setups};
my $checked = 0;                       # targets

# of another kind, in programs of their own

my @others = @rows ? grep { /^(?:remote|size|wan)$/ } @rows
                   : qw(remote size wan);
@rows = grep { !/^(?:remote|size|wan)$/ } @rows;

for my $row (@rows) {
    $rows{$row} or die "no row $row; there are: "
                       . join(' ', sort(keys %rows), 'remote', 'size', 'wan') . "\n";
}

if (!@rows && !$opt{rows}) {
    @rows = qw(up1 down1 up8 down8 rr conn burst1000 burst5000 http once host
               mem tunnels udp64 udp1200 udprr);
}

my @setups = setups();

if (@wanted) {
    my %want = map { $_ => 1 } @wanted;
    @setups = grep { delete $want{$_->{name}} } @setups;
    die 'not here: ' . join(' ', keys %want) . "\n" if %want;
}


sub median {
    my @sorted = sort { $a <=> $b } grep { defined } @_;

    return undef if !@sorted;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}


# All the runs with one number of workers: { setup => { figure => [values] }}.
# The setups take turns within each run, so that whatever else the machine
# does hits all of them.

sub measure {
    my ($workers, $service) = @_;

    my (%values, %running);

    for my $row (@rows) {
        my $fresh = $rows{$row}{fresh};

        for my $run (1 .. $opt{runs}) {
            progress("$workers workers, $row, run $run of $opt{runs}");

            for my $setup (@setups) {
                my $name = $setup->{name};
                my $running = $fresh ? undef : $running{$name};

                if (!$running) {
                    $running = $setup->{start}->($workers, $service);
                    $running->{workers} = $workers;
                    $running{$name} = $running if !$fresh;
                    sleep 0.5;
                }

                my $f = eval { $rows{$row}{run}->($running) };
                die "$name, $row: $@" if !$f;

                push @{ $values{$name}{"$row.$_"} }, $f->{$_} for keys %$f;
                stop(leaders($running)) if $fresh;
            }
        }
    }

    stop(map { leaders($_) } values %running);
    progress('');

    return \%values;
}


sub progress {
    print STDERR "\r\e[K$_[0]" if -t STDERR;
}


sub figure {
    my ($value) = @_;

    return '-' if !defined $value;
    return sprintf $value >= 1000 ? '%.0f' : $value >= 100 ? '%.1f' : '%.2f',
                   $value;
}


# One table, of the setups without TLS or of those with it; returns the targets
# that were missed.

sub table {
    my ($workers, $values, $group) = @_;

    my @missed;
    my @columns = grep { $_->{group} eq $group || $_->{group} eq 'both' }
                       @setups;
    return if !grep { $_->{group} eq $group } @columns;

    my @head = ('', '');

    for my $setup (@columns) {
        push @head, $setup->{name};
        push @head, 'ratio', 'target' if $ours{$setup->{name}};
    }

    my @lines = (\@head);

    for my $figure (@figures) {
        my @line = ($figure->{title}, $figure->{unit});
        next if !grep { defined } map { @{ $_->{$figure->{key}} || [] } }
                                  values %$values;

        for my $setup (@columns) {
            my $name = $setup->{name};
            my @all = grep { defined } @{ $values->{$name}{$figure->{key}}
                                          || [] };
            my $value = $figure->{zero} ? max(@all) : median(@all);

            push @line, figure($value);

            if ($opt{verbose} && defined $value) {
                $line[-1] .= sprintf ' (%s-%s)', figure(min @all),
                                                 figure(max @all);
            }

            next if !$ours{$name};

            my $beside = $figure->{base} || $base{$group};
            my $chain = median(@{ $values->{$beside}{$figure->{key}} || [] });
            my $ratio = defined $value && $chain ? $value / $chain : undef;
            my $least = ($figure->{least} || {})->{$group};
            my $most = ($figure->{most} || {})->{$group};
            my $target = $least ? sprintf('>= %.2f', $least)
                         : $most ? sprintf('<= %.2f', $most) : '';

            if ($figure->{zero}) {
                $target = defined $value ? '0' : '';
                $ratio = undef;

                if ($value) {
                    $target .= ' MISSED';
                    push @missed, sprintf '%s, %s, %d worker%s: %s, not 0',
                        $name, $figure->{key}, $workers,
                        $workers > 1 ? 's' : '', figure($value);
                }
            }

            $checked++ if (defined $ratio || $figure->{zero}) && $target;

            if (defined $ratio && ($least && $ratio < $least
                                   || $most && $ratio > $most))
            {
                $target .= ' MISSED';
                push @missed, sprintf '%s, %s, %d worker%s: %.2f, not %s',
                    $name, $figure->{key}, $workers, $workers > 1 ? 's' : '',
                    $ratio, $least ? ">= $least" : "<= $most";
            }

            push @line, defined $ratio ? sprintf('%.2f', $ratio) : '-',
                        defined $ratio || $figure->{zero} ? $target : '';
        }

        push @lines, \@line;
    }

    my @width;

    for my $line (@lines) {
        $width[$_] = max($width[$_] // 0, length $line->[$_]) for 0 .. $#head;
    }

    printf "\n%d worker%s, %s\n\n", $workers, $workers > 1 ? 's' : '',
           $group eq 'tls' ? 'TLS between the sides' : 'no TLS';

    for my $line (@lines) {
        my $text = join '  ', map {
            my $left = $_ < 2 || $head[$_] eq 'target' ? '-' : '';
            sprintf "%$left$width[$_]s", $line->[$_]
        } 0 .. $#head;

        print $text =~ s/\s+$//r, "\n";
    }

    return @missed;
}


sub machine {
    my ($cpu) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)/m;
    my $cores = () = slurp('/proc/cpuinfo') =~ /^processor\s/mg;
    my ($nginx) = `$Setups::NGINX -v 2>&1` =~ m{(nginx/\S+)};

    printf "%s, %d cores, Linux %s, %s, medians of %d\n", $cpu // 'CPU',
           $cores, (POSIX::uname())[2], $nginx // 'no nginx', $opt{runs};
}


machine();

my $cores = () = slurp('/proc/cpuinfo') =~ /^processor\s/mg;
my @missed;

eval {
    return 1 if !@rows;

    my $service = service(max(2, min(4, $cores)));
    http_service(max(2, min(4, $cores)));

    for my $workers (split /,/, $opt{workers}) {
        my $values = measure($workers, $service);

        push @missed, map { table($workers, $values, $_) } qw(plain tls);
    }

    1;

} or do {
    progress('');
    warn $@;
    exit 2;
};

my $status = 0;

remote() if grep { $_ eq 'remote' } @others;

if (grep { $_ eq 'size' } @others) {
    system "$FindBin::Bin/size.pl";
    exit 2 if $?;
}

long_path() if grep { $_ eq 'wan' } @others;

if (@missed) {
    print "\nTargets missed:\n", map { "    $_\n" } @missed;
    exit 1;
}

print "\nAll targets met.\n" if $checked;
exit $status;


# Their tables, and their exit status.

sub remote {
    my @quick = $opt{quick} ? '--quick' : ();

    system "$FindBin::Bin/remote.pl", @quick, "--workers=$opt{workers}",
           "--runs=$opt{runs}";

    exit 2 if $? & 0xff || $? >> 8 > 1;
    $status ||= $? >> 8;
}


sub long_path {
    my @quick = $opt{quick} ? '--quick' : ();

    for my $tls ([], ['--tls']) {
        system "$FindBin::Bin/wan.pl", @quick, @$tls;

        exit 2 if $? & 0xff || $? >> 8 > 1;
        $status ||= $? >> 8;
    }
}
