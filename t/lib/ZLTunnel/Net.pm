package ZLTunnel::Net;

# A network of its own for each test, where that is allowed: its ports, limits,
# sysctls and counters are nobody else's, and what runs beside it is not seen.
# Elsewhere tests share the machine's loopback, and reserve_ports() keeps them
# apart.
#
# The test is executed again in a new network namespace, however it was
# started.  ZLT_NETNS=none keeps it where it is; inside it is "own".  To look
# into a test that runs: nsenter -t PID -n ss -tlnp

use strict;
use warnings;


sub own { ($ENV{ZLT_NETNS} // '') eq 'own' }


sub enter {
    return if $ENV{ZLT_NETNS} || $> != 0 || $0 !~ /\.t$/;

    my @up = qw(ip link set lo up);

    open my $out, '>&', \*STDOUT or die;
    open my $err, '>&', \*STDERR or die;
    open STDOUT, '>', '/dev/null' or die;
    open STDERR, '>', '/dev/null' or die;
    my $status = system 'unshare', '--net', '--', @up;
    open STDOUT, '>&', $out or die;
    open STDERR, '>&', $err or die;

    return if $status != 0;

    $ENV{ZLT_NETNS} = 'own';
    exec qw(unshare --net -- sh -c), "@up && exec \"\$\@\"", 'sh', $^X, $0,
         @ARGV or die "unshare: $!";
}


1;
