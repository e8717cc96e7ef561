package Rows;

# What is measured of a way from the client to the service: a function for each
# kind of row, which takes what Setups has started, and returns figures by name.
# "cpu" is what the relaying processes have used, in seconds, for so much work.

use strict;
use warnings;

use Exporter 'import';
use List::Util qw(max sum0);
use POSIX ();
use Setups qw(slurp family leaders far_side add_agent stop tunnel);
use Time::HiRes qw(sleep);

our @EXPORT_OK = qw(bulk latency connections burst http by_name memory
                    idle_tunnels datagrams udp_latency);

our %opt = (seconds => 1.5, connections => 2000, tunnels => 20,
            clients => 32);
our $LOAD = 'objs/bench/load';
our $RUN = '';                     # what a load is run by

my $tick = POSIX::sysconf(POSIX::_SC_CLK_TCK());


# One load; its figures by name.

sub load {
    my @args = @_;

    my $out = `$RUN $LOAD @args 2>&1`;
    die "load @args: $out" if $?;

    my %figures = $out =~ /(\w+) ([\d.]+)/g;
    return \%figures;
}


# CPU seconds that the relaying processes have used so far; the scheduler knows
# nanoseconds, where it is asked to.

sub cpu {
    my ($running) = @_;
    my $sum = 0;

    for my $pid (family(leaders($running))) {
        my @tasks = map { slurp($_) =~ /^(\d+)/ }
                        glob "/proc/$pid/task/*/schedstat";

        if (grep { $_ } @tasks) {
            $sum += sum0(@tasks) / 1e9;
            next;
        }

        my ($rest) = slurp("/proc/$pid/stat") =~ /^.*\) (.*)/s or next;
        my @field = split / /, $rest;
        $sum += ($field[11] + $field[12]) / $tick;
    }

    return $sum;
}


# .. for so much work, by whoever relays: two figures.

sub cpu_for {
    my ($running, $before, $work) = @_;

    return if !leaders($running);

    sleep 0.05;
    return (work => $work, cpu => (cpu($running) - $before) / $work);
}


# Resident memory, in kB: shared pages in part; or without files' pages, for
# what grows, as those are shared by more and fewer processes.

sub pss {
    return memory_of(qr/^Pss:\s+(\d+)/m, @_);
}


sub own_memory {
    return memory_of(qr/^Pss_(?:Anon|Shmem):\s+(\d+)/m, @_);
}


sub memory_of {
    my ($re, @pids) = @_;
    my $sum = 0;

    for my $pid (family(@pids)) {
        $sum += sum0(slurp("/proc/$pid/smaps_rollup") =~ /$re/g);
    }

    return $sum;
}


sub kernel_memory {
    my ($slab) = slurp('/proc/meminfo') =~ /^Slab:\s+(\d+)/m;
    my ($pages) = slurp('/proc/net/sockstat') =~ /^TCP:.* mem (\d+)/m;

    return $slab + 4 * $pages;
}


# So many bytes that it takes about the time asked for, whatever the way.

sub bulk {
    my ($mode, $streams, $running) = @_;

    my $bytes = $running->{"bytes$mode$streams"};

    if (!$bytes) {
        my $n = 64e6 / $streams;
        load($mode, $running->{port}, $streams, $n);
        my $f = load($mode, $running->{port}, $streams, 4 * $n);
        $bytes = $f->{bytes} / $f->{seconds} * $opt{seconds} / $streams;
        $bytes = max(1e6, int($bytes / 1e6) * 1e6);
        $running->{"bytes$mode$streams"} = $bytes;
    }

    my $cpu = cpu($running);
    my $f = load($mode, $running->{port}, $streams, $bytes);

    die "$f->{bytes} bytes of " . $bytes * $streams . "\n"
        if $f->{bytes} != $bytes * $streams;

    my $gb = $f->{bytes} / 1e9;

    return { speed => $gb / $f->{seconds},
             cpu_for($running, $cpu, $gb) };
}


sub latency {
    my ($running) = @_;

    my $cpu = cpu($running);
    my $f = load('rr', $running->{port}, $opt{seconds} / 2);

    return { p50 => $f->{p50}, p99 => $f->{p99},
             cpu_for($running, $cpu, $f->{requests} / 1e5) };
}


# There and back, by 16 clients with 16 under way each.  A datagram counts once
# for each way.

sub datagrams {
    my ($size, $running) = @_;

    return {} if !$running->{udp};

    # what is under way, and is lost, when sessions are opened

    load('udp', $running->{udp}, 16, 0.1, 4, $size);

    my $cpu = cpu($running);
    my $f = load('udp', $running->{udp}, 16, $opt{seconds}, 16, $size);

    my $loss = 100 * $f->{lost} / $f->{sent};

    die sprintf "%.2f %% of the datagrams were lost\n", $loss
        if $running->{agents} && $loss > 0.1;

    return { rate => 2 * $f->{datagrams} / $f->{seconds}, loss => $loss,
             cpu_for($running, $cpu, 2 * $f->{datagrams} / 1e6) };
}


sub udp_latency {
    my ($running) = @_;

    return {} if !$running->{udp};

    my $f = load('udp-rr', $running->{udp}, $opt{seconds} / 2, 200);
    return { p50 => $f->{p50}, p99 => $f->{p99} };
}


sub connections {
    my ($running) = @_;

    my $cpu = cpu($running);
    my $f = load('connect', $running->{port}, 16, $opt{seconds} / 2);

    return { rate => $f->{connections} / $f->{seconds},
             cpu_for($running, $cpu, $f->{connections} / 1e5) };
}


# That many in the same moment, each of one byte there and back, all open until
# the last one has had its byte.

sub burst {
    my ($n, $running) = @_;

    my $f = load('burst', $running->{port}, $n);
    return { time => $f->{seconds}, resets => $f->{resets} };
}


# wrk at an http front, with clients that keep their connections.

sub http {
    my ($path, $running) = @_;

    return {} if !$running->{front};

    my $seconds = max(1, int($opt{seconds} + 0.5));
    my $cpu = cpu($running);

    my $out = `$RUN wrk --latency -H 'Host: web.example' -t 1 -c $opt{clients} -d ${seconds}s http://127.0.0.1:$running->{front}$path 2>&1`;
    die "wrk: $out" if $? || $out =~ /Non-2xx|Socket errors/;

    my ($n) = $out =~ /^\s*(\d+) requests in/m or die "wrk: $out";
    my ($rate) = $out =~ /^Requests\/sec:\s*([\d.]+)/m;

    return { rate => $rate, p50 => microseconds($out =~ /^\s*50%\s+(\S+)/m),
             p99 => microseconds($out =~ /^\s*99%\s+(\S+)/m),
             cpu_for($running, $cpu, $n / 1e5) };
}


# By the name of a host, and by that of the service, which take turns; the hop
# has its service there, too, and the chain nothing.

sub by_name {
    my ($running) = @_;

    return {} if !$running->{front} || $running->{far};

    my @name = http('/host/', $running);
    my @service = $running->{agents} ? map { http('/', $running) } 1, 2 : @name;

    push @name, http('/host/', $running) if $running->{agents};

    my $cpu = mean('cpu', @name);

    return { rate => mean('rate', @name), cpu => $cpu,
             share => $cpu ? mean('cpu', @service) / $cpu : undef };
}


sub mean {
    my ($figure, @of) = @_;
    my $sum = 0;

    for my $f (@of) {
        return undef if !defined $f->{$figure};
        $sum += $f->{$figure};
    }

    return $sum / @of;
}


sub microseconds {
    my ($n, $unit) = $_[0] =~ /^([\d.]+)(us|ms|s)$/ or die "wrk: $_[0]\n";

    return $n * { us => 1, ms => 1e3, s => 1e6 }->{$unit};
}


# In processes just started, since nobody gives freed memory back: the growth
# with so many connections open, each of which has carried bytes.

sub memory {
    my ($running) = @_;

    my @relays = leaders($running);
    my $n = $opt{connections};

    hold($running, 20, sub { });
    sleep 0.5;

    my ($far, $before) = (pss(far_side($running)), own_memory(@relays));
    my $kernel = kernel_memory();
    my $after;

    hold($running, $n, sub {
        sleep 1;
        $after = own_memory(@relays);
        $kernel = kernel_memory() - $kernel;
    });

    return { kernel => $kernel / $n } if !@relays;
    return { conn => ($after - $before) / $n, kernel => $kernel / $n,
             far => $far };
}


sub hold {
    my ($running, $n, $code) = @_;

    pipe my $stdin, my $release or die "pipe: $!\n";
    pipe my $out, my $stdout or die "pipe: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        open STDIN, '<&', $stdin;
        open STDOUT, '>&', $stdout;
        close $release;
        exec $LOAD, 'hold', $running->{port}, $n or POSIX::_exit(127);
    }

    close $stdin;
    close $stdout;

    my $line = <$out> // '';
    $line eq "held $n\n" or die "hold: $n connections could not be opened\n";
    $code->();

    print $release "\n";
    close $release;
    $line = <$out> // '';
    waitpid $pid, 0;
    $line eq "closed $n\n" or die "hold: some of $n connections are gone\n";
}


sub idle_tunnels {
    my ($running) = @_;

    return {} if !$running->{agents};

    my $n = $opt{tunnels};
    stop(leaders($running));

    $running = tunnel($running->{tls}, $running->{workers},
                      $running->{service}, ports => $n + 1,
                      framed => $running->{transport} eq 'websocket');
    sleep 1;

    my $before = own_memory($running->{near});
    add_agent($running) for 1 .. $n;
    sleep 1;

    my $f = { near => (own_memory($running->{near}) - $before) / $n,
              far => own_memory(@{ $running->{agents} }) / ($n + 1) };

    stop(leaders($running));
    return $f;
}


1;
