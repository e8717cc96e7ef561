#!/usr/bin/perl

# The benchmark's row "size": what agents take of a disk and of memory, ours with
# its libraries and without them, beside those of others where they are on the
# PATH.  bench.pl runs it; bench/README.md says how to read it.
#
#     bench/size.pl
#
# Exit 2 if something failed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(sum0);
use Setups qw(http_service service stop slurp leaders far_side on_path tunnel
              frp rathole chisel workdir);

chdir "$FindBin::Bin/.." or die;
$| = 1;
$SIG{INT} = $SIG{TERM} = sub { exit 2 };

my $static = "$Setups::OBJS/static/zltunnel-agent";
my $service = service(1);
http_service(1);

# Connected over TLS where they can, with nothing open.

my @all = (
    [ 'zltunnel-agent', $Setups::AGENT, sub { tunnel(1, 1, $service) } ],
    [ 'zltunnel-agent, static', $static, sub {
          local $Setups::AGENT = $static;
          return tunnel(1, 1, $service);
      } ],
    [ 'frpc', path('frpc'), sub { frp(1, 1, 1, $service) }, 'frps' ],
    [ 'rathole', path('rathole'), sub { rathole(0, 1, $service) } ],
    [ 'chisel', path('chisel'), sub { chisel($service) } ],

    # which wants an account, so that it runs nowhere else

    [ 'cloudflared', path('cloudflared') ],
);

system "make -s agent STATIC=1 > /dev/null 2>&1";

eval {
    printf "\n%-23s %9s %9s %9s %9s\n", 'kB of an agent', 'file', 'libraries',
           'RSS', 'its own';
    table(@$_) for @all;
    1;
} or do {
    warn $@;
    exit 2;
};


sub path {
    my ($program) = @_;

    my ($dir) = on_path($program);
    return defined $dir ? "$dir/$program" : undef;
}


# Not there is not told of others.

sub table {
    my ($name, $file, $start, $with) = @_;

    return if !defined $file || $with && !on_path($with);

    if (!-x $file) {
        printf "%-23s %9s\n", $name, 'not built';
        return;
    }

    my ($rss, $own);

    if ($start) {
        my $running = $start->();
        sleep 1;

        for my $pid (far_side($running)) {
            my ($kb) = slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
            die "$name has ended\n" if !$kb;

            $rss += $kb;
            $own += sum0(slurp("/proc/$pid/smaps_rollup")
                         =~ /^Pss_(?:Anon|Shmem):\s+(\d+)/mg);
        }

        stop(leaders($running));
    }

    printf "%-23s %9s %9s %9s %9s\n", $name, kb(stripped($file)),
           kb(libraries($file)), $rss // '-', $own // '-';
}

sub kb { return sprintf '%.0f', $_[0] / 1024 }


# As it is installed: without what a debugger wants.

sub stripped {
    my ($file) = @_;

    my $copy = workdir() . '/stripped';
    unlink $copy;

    return -s (system('strip', '-o', $copy, $file) == 0 ? $copy : $file);
}


sub libraries {
    my ($file) = @_;

    return sum0(map { -s } `ldd $file 2> /dev/null` =~ m{(/\S+) \(0x}g);
}
