#!/usr/bin/perl

# Protects: a reload loses nothing.  Records on long connections go on, new
# connections are served and none is refused, old workers exit when their
# connections have ended, and nothing piles up, however often it is done.
#
# Long: 50 reloads a second apart, 200 long connections.  Short: 8, 80.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(max sum);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Scene;

my $reloads = sizes('reloads', 50, 8);
my $long = sizes('long connections', 200, 80);

subtest 'again and again' => \&again;

done_testing();


sub again {
    my $s = ZLTunnel::Scene->new(long => $long);
    my $t = $s->{t};
    my @first = $t->workers;
    my (@use, %state);

    for my $n (1 .. $reloads) {
        my $start = time;
        $s->reload;

        my $left = $start + 1 - time;
        $s->pass_time($left) if $left > 0;
    }

    $s->nothing_lost("$reloads reloads");

    $s->finish;
}
