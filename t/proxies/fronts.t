#!/usr/bin/perl

# Protects: an nginx or an HAProxy in front, which speak HTTP, with and without
# TLS.  Where they make "Upgrade: websocket" of every upgrade, agents take data
# channels within a WebSocket and all is kept.  Where they pass on each as it
# is, the bytes of a connection that is ended by whoever has had all of it are
# exact, and so are datagrams, but an end in one direction and resets are lost,
# as docs/operations.md says.  What is quiet is not cut by their timeouts, if
# these exceed the intervals of heartbeats, which are all shortened here by the
# same factor.
#
# Long: 64 MiB, idle for 20 s; short: 4 MiB, 3 s.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Middle;
use ZLTunnel::Paths;

my %size = (size => sizes('bytes of a big file', 64 << 20, 4 << 20));
my $idle = sizes('seconds of silence', 20, 3);

my $t = ZLTunnel->new(
    workers => 2, udp => 1, range => 10,
    connections => 8192,
    zltunnel => 'heartbeat_interval 1s; heartbeat_timeout 4s;'
                . ZLTunnel::Paths::LIMITS);
$t->{path_token} = $t->token('path');
$t->start;

# as docs/operations.md has it: everything is a WebSocket

my $websocket = <<'EOT';
proxy_set_header Upgrade websocket;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
EOT

# 60 s, which is nginx's default, to heartbeats each 30 s

my $short = <<'EOT';
proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 2s;
            proxy_send_timeout 2s;
EOT

my @fronts = (
    [ 'nginx', sub { front($t, @_, location => $websocket) },
      sub { front($t, @_, location => $short) } ],
    [ 'haproxy', sub { haproxy($t, @_, front =>
                               'http-request set-header Upgrade websocket') },
      sub { haproxy($t, @_, more => 'timeout tunnel 2s') } ],
);

for my $front (@fronts) {
    my ($name, $whole, $quiet) = @$front;

    for my $tls (0, 1) {
        my $what = $name . ($tls ? ', TLS' : '');
        my @tls = $tls ? (tls => 1, to_tls => 1) : ();

        SKIP: {
            my $p = $quiet->(@tls) or skip("no $name", 1);

            my $path = ZLTunnel::Paths->new($t, name => $what, %size,
                agent => { tls => $tls, server => $p->{url} });

            $path->bytes;
            $path->datagrams;
            $path->idle($idle);
            $path->end;

            $p = $whole->(@tls);
            $path = ZLTunnel::Paths->new($t, name => "$what, WebSocket",
                %size, connections => sizes('connections', 500, 20),
                watch => 1, agent => { tls => $tls, server => $p->{url} },
                cut => sub { end_at_once($p) });

            $tls ? $path->all : $path->half_close;
            $path->{real}->stop;
            $path->end;
        }
    }
}

$t->finish;
