#!/usr/bin/perl

# Protects: data channels within a WebSocket keep what raw ones keep: exact
# bytes, half-close, resets, bounded memory, datagrams, hundreds of connections,
# and nothing that was cut off looks like an end.  Over ws and wss, with one
# worker and with several, where channels move or are bridged.
#
# Long: 256 MiB and 500 connections; short: 16 MiB and 100.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Paths;

my $size = sizes('bytes of a big transfer', 256 << 20, 16 << 20);
my $connections = sizes('connections', 500, 100);
my $watch = sizes('seconds of a slow reader', 10, 2);

for my $workers (1, 4) {
    subtest "$workers workers" => sub { paths($workers) };
}

done_testing();


sub paths {
    my ($workers) = @_;

    my $t = ZLTunnel->new(workers => $workers, range => 12, udp => 1);
    $t->start;

    for my $scheme (qw(ws wss)) {
        my $p = ZLTunnel::Paths->new($t,
            name => "$scheme, $workers workers", size => $size,
            connections => $connections, watch => $watch,
            agent => { tls => $scheme eq 'wss',
                       args => [ '--transport', 'websocket' ] });

        $p->idle(45) if long_run();
        $p->all;
        $p->end;
    }

    my $status = $t->status;

    if ($workers == 1) {
        is($status->{spliced}, 0, 'no byte was spliced: all were framed');

    } else {
        cmp_ok($status->{acquired}{moved}, '>', 0, 'channels were moved');
        cmp_ok($status->{acquired}{bridged}, '>', 0, 'and bridged');
    }

    $t->finish;
}
