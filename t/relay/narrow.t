#!/usr/bin/perl

# Protects: bytes where hardly any can be written at once.  All streams of
# nginx and of the agents have the smallest buffers for it
# (t/lib/preload/narrow.c), so that each write is one in pieces, with a wait
# between: ports, lanes in both directions, access, datagrams, with and without
# TLS and WebSocket.  All of it arrives, once and in order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Path ();
use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Many;

plan(skip_all => 'Linux only') if $^O ne 'linux';

my $lib = "$ZLTunnel::ROOT/objs/t/narrow.so";

File::Path::make_path("$ZLTunnel::ROOT/objs/t");
run_ok($ENV{CC} || 'cc', '-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-o',
       $lib, "$ZLTunnel::ROOT/t/lib/preload/narrow.c");

my $size = sizes('bytes of a transfer', 1_000_000, 150_000);
my $n = sizes('at a time', 6, 4);

pattern(1_000_000);

subtest "$_->[0], $_->[1], $_->[2] worker(s)" => \&narrow, @$_
    for [ 'ws', 'raw', 2 ], [ 'wss', 'raw', 1 ], [ 'ws', 'websocket', 1 ],
        [ 'wss', 'websocket', 2 ];

done_testing();


sub narrow {
    my ($scheme, $transport, $workers) = @_;

    local $ENV{ASAN_OPTIONS} = join ':', 'verify_asan_link_order=0',
                                         $ENV{ASAN_OPTIONS} // ();

    my $t = ZLTunnel->new(workers => $workers, udp => 1);
    my ($front, $udp, $local) = map { $t->free_port } 1 .. 3;

    $t->write_conf(http => <<"EOT");
upstream files { zltunnel_service files; }
upstream app { zltunnel_service app; }
server {
    listen 127.0.0.1:$front;
    client_max_body_size 0;
    location /files/ { proxy_pass http://files/; }
    location /app/ { proxy_pass http://app/; proxy_request_buffering off; }
}
EOT

    my $files = backend($t, <<'EOT');
server { listen 127.0.0.1:%PORT%; root %DIR%; location / { max_ranges 1; } }
EOT
    write_file("$files->{dir}/file", pattern($size), 0644);

    my $app = app($t, 'app');
    my $sum = $t->service('sum');
    my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp);
    wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo service';

    my ($serve, $visit) = ($t->token('site'), $t->token('alice', 'access=*'));

    {
        local $ENV{LD_PRELOAD} = $lib;
        $t->start;
    }

    my @args = (tls => $scheme eq 'wss', env => { LD_PRELOAD => $lib });
    my @transport = ('--transport', $transport);

    my $agent = $t->agent(token => $serve, @args, args => \@transport,
        services => [ "files:$files->{port}/private",
                      "app:$app->{port}/private", "sum:$sum->{port}",
                      "echo:$udp/udp" ]);
    my $visitor = $t->agent(token => $visit, wait => 0, @args,
                            access => [ 'sum', @transport ]);
    my $access = $visitor->granted('sum');

    # at a port, and by access

    for my $port ($agent->port('sum'), $access) {
        my @run = map {
            $t->spawn("transfer-$port-$_", $t->nettool, 'transfer', $port,
                      $size)
        } 1 .. $n;

        $_->wait(120) for @run;
        my @r = map { ZLTunnel::Local::parse_transfer($_->output) } @run;
        is(scalar(grep { ($_->{tail} // '') eq "$_->{sent_sha} $size" } @r),
           $n, 'transfers ' . ($port == $access ? 'by access' : 'at a port'))
            or diag explain \@r;
    }

    # on lanes

    my @r = many($front, 2 * $n, [ map {
        my $len = int($size / $_);
        ({ line => 'GET /files/file', expect => part(0, $len),
           headers => { Range => 'bytes=0-' . ($len - 1) } },
         { line => 'POST /app/upload', body => part(0, $len),
           expect => "$len " . sha256_hex(part(0, $len)) . "\n" })
    } 1 .. $n ], timeout => 120);

    is(scalar(grep { ($_->{answer} // '') eq $_->{expect} } @r), 2 * $n,
       'requests and answers')
        or diag explain [ map { "$_->{line}: $_->{status}, "
                                . length $_->{answer} // '' } @r ];

    # datagrams, of which one may be lost

    my $c = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
                                  PeerPort => $agent->port('echo'));
    my $wrong = 0;

    for my $len (0, 1, 1400, 9000, 65000) {
        $wrong++ if !wait_for(sub {
            send $c, part(0, $len), 0;
            vec(my $rin = '', fileno $c, 1) = 1;
            select($rin, undef, undef, 1) or return 0;
            recv $c, my $got, 70000, 0;
            return $got eq part(0, $len);
        }, 30);
    }

    is($wrong, 0, 'datagrams');

    $t->finish;
}
