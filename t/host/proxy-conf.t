#!/usr/bin/perl

# Protects: zltunnel_proxy.conf as it is.  A WebSocket, server-sent events,
# gRPC-web and an upload pass through a host by it, and other requests keep their
# connection; the service sees the name by which it was chosen and no other, with
# the client's port, and nothing that a client says of where it comes from; a
# cache knows hosts apart.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

my $UPGRADE = { Upgrade => 'websocket', Connection => 'Upgrade',
                'Sec-WebSocket-Version' => 13,
                'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==' };

my $t = ZLTunnel->new(workers => 2, zltunnel => 'domain t.example;');
my ($front, $tls, $cached) = map { $t->free_port } 1 .. 3;
my ($h2, $h2_on) = since(1, 25, 1) ? ('', 'http2 on;') : (' http2', '');
my $certs = $t->certs;
my $next = "$t->{dir}/next";

$t->write_conf(http => <<"EOC");
upstream tunnelled { zltunnel_host \$host; keepalive 8; }
proxy_cache_path $t->{dir}/temp/cache keys_zone=c:1m;
server {
    listen 127.0.0.1:$front;
    server_name *.t.example;
    location / { include zltunnel_proxy.conf; proxy_pass http://tunnelled; }
}
server {
    listen 127.0.0.1:$tls ssl$h2;
    $h2_on
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    include zltunnel_proxy.conf;
    location / { proxy_pass http://tunnelled; }
}
server {
    listen 127.0.0.1:$cached;
    include zltunnel_proxy.conf;
    location / {
        proxy_buffering on;
        proxy_cache c;
        proxy_cache_valid 1m;
        add_header X-Cache \$upstream_cache_status;
        proxy_pass http://tunnelled;
    }
}
EOC

my $token = $t->token('alice', 'hosts=*.t.example');
$t->start;

my $app = app($t, 'blog', env => { NEXT => $next });
my $other = app($t, 'shop');
my $agent = $t->agent(token => $token, services => [ "web:$app->{port}" ],
    args => [ '--host', 'blog', '--service', "shop:$other->{port}",
              '--host', 'shop' ]);

subtest 'what the service sees' => \&seen;
subtest 'which name' => \&named;
subtest 'kept' => \&kept;
subtest 'WebSocket' => \&websocket;
subtest 'server-sent events' => \&events;
subtest 'upload' => \&upload;
subtest 'gRPC-web' => \&grpc_web;
subtest 'cache' => \&cache;

$t->finish;


# The request as it comes to the service: { name => value }, as one asks with
# that Host.

sub headers {
    my ($host, %o) = @_;

    my $text = http_request($o{port} // $front, join("\r\n",
        'GET ' . ($o{target} // '/headers') . ' HTTP/1.1',
        defined $host ? "Host: $host" : (), @{ $o{headers} || [] },
        "Connection: $o{connection}", '', '')) // { status => 0 };

    return { status => $text->{status} } if $text->{status} != 200;

    my %h;
    push @{ $h{ lc $1 } }, $2 while $text->{body} =~ /^([\w-]+): (.*?)\r?$/mg;
    return { map { $_ => join ' | ', @{ $h{$_} } } keys %h };
}


sub seen {
    my $h = headers('blog.t.example', connection => 'close', headers => [
        'X-Forwarded-For: 203.0.113.1', 'X-Forwarded-Proto: gopher',
        'X-Forwarded-Host: bank.example', 'X-Forwarded-Port: 1',
        'X-Real-IP: 203.0.113.1', 'Forwarded: for=203.0.113.1',
        'X-Other: kept' ]);

    is_deeply([ @$h{qw(x-forwarded-for x-forwarded-proto x-forwarded-host
                       x-real-ip host x-other)} ],
              [ '127.0.0.1', 'http', 'blog.t.example', '127.0.0.1',
                'blog.t.example', 'kept' ], 'who comes, and how');
    is_deeply([ grep { exists $h->{$_} } qw(x-forwarded-port forwarded
                                            connection upgrade) ], [],
              'no more than that');

    for my $version ('--http1.1', '--http2') {
        my $out = run_ok('curl', '-sSk', $version, '--connect-to',
                         "::127.0.0.1:$tls",
                         "https://BLOG.t.example:$tls/headers");
        like($out, qr/^X-Forwarded-Proto: https\r?$/m, "$version: https");
        like($out, qr/^Host: blog\.t\.example:$tls\r?$/m, '.. and its port');
    }
}


sub named {
    for my $row ([ 'blog.t.example', 'blog.t.example' ],
                 [ 'BLOG.t.Example:8080', 'blog.t.example:8080' ],
                 [ 'blog.t.example.:8080', 'blog.t.example:8080' ],
                 [ 'blog.t.example:80', 'blog.t.example' ],
                 [ 'blog.t.example:443', 'blog.t.example:443' ],
                 [ 'blog.t.example:', 'blog.t.example' ])
    {
        my ($host, $is) = @$row;
        is(headers($host, connection => 'close')->{host}, $is, $host);
    }

    # what is no port: nginx refuses it since 1.29

    for my $host ('blog.t.example:99999', 'blog.t.example:8x') {
        my $told = headers($host, connection => 'close');
        is($told->{host} // 400, $told->{status} // 'blog.t.example', $host);
    }

    my $h = headers('blog.t.example:443', connection => 'close');
    is($h->{'x-forwarded-host'}, $h->{host}, 'X-Forwarded-Host is Host');

    # the request line says another name than Host

    $h = headers('shop.t.example:81', connection => 'close',
                 target => "http://blog.t.example:8080/headers");
    is($h->{host} // 400, $h->{status} // 'blog.t.example',
       'the name of the request line, or an error');

    $h = headers('blog.t.example:8080', connection => 'close',
                 target => 'http://blog.t.example:8080/headers');
    is($h->{host}, 'blog.t.example:8080', '.. with its port');

    is(headers('blog.t.example', connection => 'close',
               headers => [ 'Host: shop.t.example' ])->{status}, 400,
       'a Host given twice');
    is(headers('blog.t.example shop.t.example', connection => 'close')->{status},
       400, 'two names in it');
    is(headers(undef, connection => 'close')->{status}, 400, 'none');
}


sub kept {
    my @first = split / /, get($front, '/', host => 'blog.t.example')->{body};
    my $again = 0;

    for (1 .. 20) {
        my @now = split / /, get($front, '/', host => 'blog.t.example')->{body};
        is($now[0], 'blog', 'the right one') if $now[0] ne 'blog';
        $again++ if $now[2] > 1;
    }

    cmp_ok($again, '>', 10, 'requests keep the connection to the service');
}


sub websocket {
    my $s = connect_to($front);
    my $r = request($front, 'GET /ws', socket => $s, host => 'blog.t.example',
                    headers => $UPGRADE);
    is($r->{status}, 101, 'accepted');

    my $buf = '';
    for my $text ('hello', 'x' x 100) {
        syswrite $s, pack('C C N', 0x81, 128 | length $text, 0) . $text;
        my $want = pack('C C', 0x81, length $text) . $text;
        while (length $buf < length $want) {
            last unless defined read_some($s, \$buf, 10);
        }
        is($buf, $want, length($text) . ' bytes come back');
        $buf = '';
    }
    close $s;

    my $h = headers('blog.t.example', connection => 'Upgrade',
                    headers => [ 'Upgrade: tcp' ]);
    is("$h->{connection} $h->{upgrade}", 'upgrade tcp', 'another upgrade');

    # what only the nearest peer is asked for

    $h = headers('blog.t.example', connection => 'Upgrade, HTTP2-Settings',
                 headers => [ 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQA' ]);
    is($h->{connection}, undef, 'h2c is not passed on');
}


sub events {
    for my $path ('/sse', '/stream') {
        my $s = connect_to($front);
        syswrite $s, "GET $path?5 HTTP/1.1\r\nHost: blog.t.example\r\n\r\n";

        my ($buf, $seen) = ('', 0);
        for my $i (1 .. 5) {
            while ($buf !~ /event $i\n/) {
                last unless defined read_some($s, \$buf, 10);
            }
            last unless $buf =~ /event $i\n/;
            $seen = $i;
            ZLTunnel::write_file("$next.$i", '');
        }

        is($seen, 5, "$path: they come one by one");
        unlink glob "$next.*";
    }
}


sub upload {
    my ($size, $n) = (100_000, 50);
    my $block = join '', map { chr($_ % 251) } 1 .. $size;
    my $s = connect_to($front);

    syswrite $s, "POST /upload HTTP/1.1\r\nHost: blog.t.example\r\n"
                 . "Connection: close\r\nContent-Length: " . $size * $n
                 . "\r\n\r\n" . substr $block, 0, 1000;
    ok(wait_for(sub { $t->events($app, 'first') == 1 }),
       'the first bytes arrive before the last are sent');

    my $rest = substr $block x $n, 1000;
    while (length $rest) {
        my $sent = syswrite $s, $rest or last;
        substr $rest, 0, $sent, '';
    }

    my $buf = '';
    1 while defined read_some($s, \$buf, 30);
    like($buf, qr/\r\n\r\n@{[ $size * $n ]} @{[ sha256_hex($block x $n) ]}$/m,
         'all of it arrives');
}


# A call whose messages are answered one by one; the trailers are in the body.

sub grpc_web {
    my $s = connect_to($front);
    my @messages = map { pack 'C N/a*', 0, "message $_" } 1 .. 3;

    syswrite $s, "POST /grpc HTTP/1.1\r\nHost: blog.t.example\r\n"
                 . "Content-Type: application/grpc-web+proto\r\n"
                 . "X-Grpc-Web: 1\r\nTransfer-Encoding: chunked\r\n\r\n";

    my ($buf, $seen) = ('', 0);
    for my $message (@messages) {
        syswrite $s, sprintf "%x\r\n%s\r\n", length $message, $message;
        while (index($buf, $message) < 0) {
            last unless defined read_some($s, \$buf, 10);
        }
        $seen++ if index($buf, $message) >= 0;
    }
    is($seen, 3, 'messages are answered one by one');

    syswrite $s, "0\r\n\r\n";
    while ($buf !~ /\r\n0\r\n\r\n$/) {
        last unless defined read_some($s, \$buf, 10);
    }
    like($buf, qr/\x80\0\0\0\x0fgrpc-status:0\r\n/, 'trailers');
    like($buf, qr{^Content-Type: application/grpc-web\+proto\r$}m, 'of its type');
}


sub cache {
    for my $host (qw(blog shop)) {
        my $body = '';

        ok(wait_for(sub {
            my $r = get($cached, '/', host => "$host.t.example");
            $body .= $r->{body};
            return $r->{head} =~ /^X-Cache: HIT/m;
        }), "$host is cached");
        is(scalar(() = $body =~ /^(?!$host )/mg), 0, '.. and no other');
    }
}
