#!/usr/bin/perl

# Protects: http through lanes over a long path.  A body, of whatever size and
# in whatever pieces, takes about as long as through two nginxes over the same
# path: a lane's window is not what it waits for, neither is the credit for what
# came before, nor a lane that is being left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Many;
use ZLTunnel::Wan;

my $large = 2_000_000;
my $long = 6_000_000;

my $body = pattern($long);

my $t = ZLTunnel->new;
my $wan = ZLTunnel::Wan->new($t) or plan(skip_all => $ZLTunnel::Wan::why);
my ($front, $agent);
my %port = map { $_ => $t->free_port } qw(front near tls service app far);

setup();

subtest 'bodies, 100 ms, 50 Mbit/s' => \&bodies;
subtest 'small ones, 100 ms' => \&small;
subtest 'over TLS, 200 ms, 20 Mbit/s, with loss' => \&tls;
subtest 'a lane that is left, 20 ms, 50 Mbit/s' => \&left;

$agent->stop;
$t->finish;


# Near, an nginx with both upstreams; far, an agent, an nginx as the other end
# of the chain, and their service.

sub setup {
    my $certs = $t->certs;

    $t->write_conf(http => <<"EOT");
upstream tunnel { zltunnel_service web max_fails=0; keepalive 32; }
upstream tunnel_once { zltunnel_service web max_fails=0; }
upstream chain { server $ZLTunnel::Wan::FAR:$port{far} max_fails=0; keepalive 32; }
upstream chain_once { server $ZLTunnel::Wan::FAR:$port{far} max_fails=0; }
server {
    listen $ZLTunnel::Wan::NEAR:$port{near};
    listen $ZLTunnel::Wan::NEAR:$port{tls} ssl;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    location = /tunnel/v1 { zltunnel; }
}
server {
    listen 127.0.0.1:$port{front};
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_max_temp_file_size 0;
    proxy_request_buffering off;
    location /tunnel/ { proxy_pass http://tunnel/; }
    location /tunnel_once/ { proxy_pass http://tunnel_once/; }
    location /tunnel_raw/ { proxy_pass http://tunnel/; proxy_buffering off; }
    location /chain/ { proxy_pass http://chain/; }
    location /chain_once/ { proxy_pass http://chain_once/; }
    location /chain_raw/ { proxy_pass http://chain/; proxy_buffering off; }
}
EOT

    $wan->path(0);
    $t->token('alice', '', 'of-the-long-path');
    $t->start;

    $wan->start('app', $^X, "$ZLTunnel::ROOT/t/lib/app.pl", $port{app}, 'app');

    my $dir = $wan->nginx(http => <<"EOT", stream => <<"EOT2");
    client_body_buffer_size 64k;
    server {
        listen 127.0.0.1:$port{service};
        root %DIR%;
        location / { }
        location /pieces/ { alias %DIR%/; sendfile off; output_buffers 1 3k; }
        location /upload { proxy_pass http://127.0.0.1:$port{app}; }
    }
EOT
    server {
        listen $ZLTunnel::Wan::FAR:$port{far};
        proxy_pass 127.0.0.1:$port{service};
    }
EOT2

    for my $size (1000, 60_000, $large, $long) {
        write_file("$dir/$size", part(0, $size), 0644);
    }

    wait_for(sub {
        IO::Socket::INET->new(PeerAddr => $ZLTunnel::Wan::FAR,
                              PeerPort => $port{far})
    }) or die 'no far nginx: ' . slurp("$dir/error.log");
}


# Another path, and an agent that has not known another one.

sub path {
    my ($delay, $tls, %o) = @_;

    $agent->stop if $agent;
    $wan->path($delay, %o);

    write_file("$t->{dir}/token", "of-the-long-path\n", 0600);
    my $where = $ZLTunnel::Wan::NEAR . ':' . $port{ $tls ? 'tls' : 'near' };

    $agent = $wan->start('agent', $ZLTunnel::AGENT, 'connect', '--server',
                 ($tls ? 'wss' : 'ws') . "://$where/tunnel/v1",
                 ($tls ? '--insecure' : ()),
                 '--token-file', "$t->{dir}/token",
                 '--control', "$t->{dir}/agent.sock",
                 '--service', "web:127.0.0.1:$port{service}/private");

    ok(wait_for(sub {
        my $st = $t->status->{tunnels}[0] or return 0;
        return $st->{state} eq 'connected' && $st->{idle_channels} >= 1;
    }), 'the agent is there');
}


# How long a request takes, exact, the best of some: what else the machine does
# makes it longer, and nothing makes it shorter.

sub took {
    my ($n, %r) = @_;

    my $best;

    for (1 .. $n) {
        my $r = { %r };

        many($port{front}, 1, [ $r ]);

        if (!$r->{whole} || $r->{answer} ne $r->{expect}) {
            diag "$r{line}: $r->{status}, ", length($r->{answer} // ''),
                 ' bytes';
            return undef;
        }

        $best = $r->{time} if !$best || $best > $r->{time};
    }

    return $best;
}

sub download {
    my ($size, $n, $way, $path) = @_;

    return took($n, line => "GET /$way/" . ($path // '') . $size,
                expect => part(0, $size));
}

sub upload {
    my ($size, $n, $way) = @_;

    my $part = part(0, $size);

    return took($n, line => "POST /$way/upload", body => $part,
                expect => "$size " . sha256_hex($part) . "\n");
}


# The tunnel beside the chain; no more than so many times as long.

sub compare {
    my ($name, $most, $code, $suffix) = @_;

    $suffix //= '';
    my ($chain, $tunnel) = map { $code->("$_$suffix") } qw(chain tunnel);

    if (!ok($chain && $tunnel, "$name: exact")) {
        return;
    }

    # the chain has no sanitized agent

    cmp_ok($tunnel, '<', $chain * $most + 0.1 * ($ENV{ZLT_SLOW} || 1),
           sprintf '%s: %.3f s, chain %.3f', $name, $tunnel, $chain);
}


sub bodies {
    path(50, 0, rate => 50_000);

    compare('download', 1.4, sub { download($large, 2, @_) });
    compare('download, a connection each', 1.4,
            sub { download($large, 2, @_) }, '_once');
    compare('download, unbuffered', 1.4,
            sub { download($large, 2, @_) }, '_raw');
    compare('download in small pieces', 1.4,
            sub { download($large, 2, $_[0], 'pieces/') });
    compare('upload', 1.4, sub { upload($large, 2, @_) });
    compare('upload, a connection each', 1.4, sub { upload($large, 2, @_) },
            '_once');
}


# What one round trip is enough for, one after the other.

sub small {
    path(50, 0);

    compare('60 kB', 1.4, sub { download(60_000, 8, @_) });
    compare('1 kB', 1.4, sub { download(1000, 4, @_) });

    my @r = map {
        { line => 'GET /tunnel/60000', expect => part(0, 60_000) }
    } 1 .. 128;

    many($port{front}, 16, \@r);
    is((grep { $_->{whole} && $_->{answer} eq $_->{expect} } @r), 128,
       '16 at once');

    my ($best) = sort { $a <=> $b } map { $_->{time} } splice @r, 64;
    cmp_ok($best, '<', 0.35, "within two round trips: $best");
}


sub tls {
    path(100, 1, rate => 20_000, loss => 1);

    compare('download', 2, sub { download($large, 2, @_) }, '_once');
    compare('upload', 2, sub { upload($large, 2, @_) }, '_once');
}


# Bulk that lasts goes on on a channel of its own.

sub left {
    path(10, 0, rate => 50_000);

    my $before = $t->status->{left_lane};

    compare('a long download', 1.3, sub { download($long, 2, @_) }, '_once');
    cmp_ok($t->status->{left_lane}, '>', $before, 'has left its lane');

    $before = $t->status->{left_lane};

    compare('a long upload', 1.3, sub { upload($long, 2, @_) }, '_once');
    cmp_ok($t->status->{left_lane}, '>', $before, 'has left its lane');
}
