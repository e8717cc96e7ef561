#!/usr/bin/perl

# Protects: an nginx or an HAProxy in front, which terminate HTTP.  With and
# without TLS the bytes of a connection that is ended by whoever has had all of
# it are exact, also many at once, and so are datagrams; and what is quiet is
# not cut by their timeouts, if these exceed the intervals of heartbeats, which
# are all shortened here by the same factor.
#
# What such a front does not pass on, an end in one direction and resets, is in
# docs/operations.md.
#
# Long: 64 MiB, idle for 20 s; short: 4 MiB, 3 s.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Middle;
use ZLTunnel::Paths;

my %size = (size => sizes('bytes of a big file', 64 << 20, 4 << 20));
my $idle = sizes('seconds of silence', 20, 3);

my $t = ZLTunnel->new(
    workers => 2, udp => 1, range => 10,
    zltunnel => 'heartbeat_interval 1s; heartbeat_timeout 4s;');
$t->{path_token} = $t->token('path');
$t->start;

# 60 s, which is nginx's default, to heartbeats each 30 s

my $short = <<'EOT';
proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 2s;
            proxy_send_timeout 2s;
EOT

my @fronts = (
    [ 'nginx', sub { front($t, @_, location => $short) } ],
    [ 'haproxy', sub { haproxy($t, @_, more => 'timeout tunnel 2s') } ],
);

for my $front (@fronts) {
    my ($name, $start) = @$front;

    for my $tls (0, 1) {
        my $what = $name . ($tls ? ', TLS' : '');

        SKIP: {
            my $p = $start->($tls ? (tls => 1, to_tls => 1) : ())
                or skip("no $name", 1);

            my $path = ZLTunnel::Paths->new($t, name => $what, %size,
                agent => { tls => $tls, server => $p->{url} });

            $path->bytes;
            $path->datagrams;
            $path->idle($idle);
            $path->end;
        }
    }
}

$t->finish;
