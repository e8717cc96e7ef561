#!/usr/bin/perl

# Protects: what real applications do, through an http upstream to a service
# behind an agent: WebSocket, server-sent events, large uploads that are not
# buffered, gRPC, HTTP/2 at the front and, where nginx can, to the service, a
# cache that serves while the agent is away, TLS to the service itself, and
# the PROXY protocol towards it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

for my $tls (0, 1) {
    subtest $tls ? 'wss' : 'ws', \&apps, $tls;
}

done_testing();


sub apps {
    my ($tls) = @_;

    my $t = ZLTunnel->new(workers => 4, zltunnel => 'reconnect_grace 2s;');
    my ($front, $front2, $plain) = map { $t->free_port } 1 .. 3;
    my $certs = $t->certs;
    my $next = "$t->{dir}/next";

    my $app = app($t, 'app', env => { NEXT => $next });
    my $v1 = app($t, 'v1', proxy => 1);
    my $v2 = app($t, 'v2', proxy => 1);
    my $secure = backend($t, <<"EOT");
server {
    listen 127.0.0.1:%PORT% ssl;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    location / { return 200 "behind TLS \$connection_requests\\n"; }
}
EOT

    my $python = '/usr/bin/python3';
    my $grpc = $t->free_port;
    my $has_grpc = !(run($python, '-c', 'import grpc'))[0];
    my $grpc_proc;

    if ($has_grpc) {
        $grpc_proc = ZLTunnel::Proc->start(
            name => 'gRPC service', out => "$t->{dir}/grpc",
            cmd => [ $python, "$FindBin::Bin/../lib/grpc_echo.py", 'serve',
                     $grpc ]);
        push @{ $t->{procs} }, $grpc_proc;
        wait_for(sub { slurp("$t->{dir}/grpc") =~ /^ready/ }, 30)
            or die 'no gRPC service';
    }

    # a parameter of "listen" at first
    my ($http2, $http2_on) = since(1, 25, 1) ? ('', 'http2 on;')
                                             : (' http2', '');

    my $h2c = since(1, 29, 4) && backend($t, <<"EOT");
server {
    listen 127.0.0.1:%PORT%;
    http2 on;
    root %DIR%;
    client_max_body_size 0;
    location = / { return 200 "\$server_protocol \$connection_requests\n"; }
    location /upload { proxy_pass http://127.0.0.1:$app->{port};
                       proxy_request_buffering off; }
}
EOT

    my $h2c_location = $h2c ? <<'EOT' : '';
location /h2c/ { proxy_pass http://h2c/; proxy_http_version 2;
                 proxy_request_buffering off;
                 proxy_set_header Host localhost; }
EOT

    $t->write_conf(http => <<"EOT");
proxy_cache_path $t->{dir}/temp/cache keys_zone=c:1m;
map \$http_upgrade \$connection_upgrade { default upgrade; '' ''; }
upstream web { zltunnel_service web; keepalive 8; }
upstream grpc { zltunnel_service grpc; keepalive 8; }
upstream h2c { zltunnel_service h2c; keepalive 8; }
upstream v1 { zltunnel_service v1; }
upstream v2 { zltunnel_service v2; }
upstream secure { zltunnel_service secure; keepalive 8; }
proxy_http_version 1.1;
proxy_set_header Connection \$connection_upgrade;
proxy_set_header Upgrade \$http_upgrade;
client_max_body_size 0;
server {
    listen 127.0.0.1:$front;
    location / { proxy_pass http://web; proxy_buffering off;
                 proxy_request_buffering off; }
    $h2c_location
    location /cached { proxy_pass http://web; proxy_cache c;
                       proxy_cache_valid 3s;
                       proxy_connect_timeout 1s;
                       add_header X-Cache \$upstream_cache_status;
                       proxy_cache_use_stale error timeout http_502 http_504; }
    location /v1/ { proxy_pass http://v1/; proxy_set_header Connection close; }
    location /v2/ { proxy_pass http://v2/; proxy_set_header Connection close; }
    location /secure { proxy_pass https://secure;
                       proxy_set_header Connection ''; }
}
server {
    listen 127.0.0.1:$front2 ssl$http2;
    $http2_on
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    location / { proxy_pass http://web; proxy_set_header Connection ''; }
    $h2c_location
}
server {
    listen 127.0.0.1:$plain$http2;
    $http2_on
    location / { grpc_pass grpc://grpc; }
}
EOT

    my $token = $t->token('alice');
    $t->start;
    my $agent = $t->agent(token => $token, tls => $tls, services => [
        "web:$app->{port}/private", "secure:$secure->{port}/private",
        "v1:127.0.0.1:$v1->{port}/private/proxy-v1",
        "v2:127.0.0.1:$v2->{port}/proxy-v2/private",
        "grpc:$grpc/private", $h2c ? "h2c:$h2c->{port}/private" : () ]);


    # WebSocket

    my $s = connect_to($front);
    my $r = request($front, 'GET /ws', socket => $s, headers => {
        Upgrade => 'websocket', Connection => 'Upgrade',
        'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==' });
    is($r->{status}, 101, 'a WebSocket is accepted');
    like($r->{head}, qr/^Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/m,
         'by the service');

    my ($buf, $wrong) = ('', 0);
    for my $i (1 .. 200) {
        my $text = "message $i" . '.' x ($i * 5);
        my $mask = pack 'N', 0x01020304 * $i;
        my $len = length $text;

        syswrite $s, pack('C', 0x81)
            . ($len < 126 ? pack 'C', 128 | $len : pack 'C n', 254, $len)
            . $mask . ($text ^ substr $mask x $len, 0, $len);

        my $want = pack('C', 0x81) . ($len < 126 ? pack 'C', $len
                                                 : pack 'C n', 126, $len)
                   . $text;
        $buf = '';
        while (length $buf < length $want) {
            last unless defined read_some($s, \$buf, 10);
        }
        $wrong++ if $buf ne $want;
    }
    is($wrong, 0, '200 messages are echoed');
    close $s;


    # server-sent events: each is there before the next one is sent

    $s = connect_to($front);
    syswrite $s, "GET /sse?5 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    $buf = '';
    my $seen = 0;
    for my $i (1 .. 5) {
        while ($buf !~ /event $i\n/) {
            last unless defined read_some($s, \$buf, 10);
        }
        last unless $buf =~ /event $i\n/;
        $seen = $i;
        ZLTunnel::write_file("$next.$i", '');
    }
    is($seen, 5, 'server-sent events come one by one');
    unlink glob "$next.*";


    # an upload goes on while it comes

    my $size = sizes('bytes', 100_000_000, 10_000_000);
    my $block = join '', map { chr($_ % 251) } 1 .. 100_000;
    my $sha = Digest::SHA->new(256);

    $s = connect_to($front);
    syswrite $s, "POST /upload HTTP/1.1\r\nHost: localhost\r\n"
                 . "Connection: close\r\nContent-Length: $size\r\n\r\n$block";
    $sha->add($block);
    ok(wait_for(sub { $t->events($app, 'first') == 1 }),
       'the first bytes of an upload arrive before the last are sent');

    for (my $sent = length $block; $sent < $size; $sent += length $block) {
        $sha->add($block);
        my $pos = 0;
        while ($pos < length $block) {
            my $n = syswrite $s, $block, length($block) - $pos, $pos or last;
            $pos += $n;
        }
    }
    $buf = '';
    1 while defined read_some($s, \$buf, 30);
    like($buf, qr/\r\n\r\n$size @{[ $sha->hexdigest ]}$/m,
         "$size bytes arrive whole");


    # HTTP/2 at the front

  SKIP: {
        skip 'this curl has no HTTP/2', 1 unless `curl -V` =~ /HTTP2/;

        my $out = twenty($certs, "https://localhost:$front2/");
        is(scalar(() = $out =~ /^2$/mg), 20, '20 requests over HTTP/2');
        is(scalar(() = $out =~ /app \d+ \d+$/mg), 20, 'are answered');
    }


    # HTTP/2 to the service

  SKIP: {
        skip 'proxy_pass of this nginx has no HTTP/2', 6 unless $h2c;

        my $big = $block x 50;
        write_file("$h2c->{dir}/big", $big, 0644);

        is(get($front, '/h2c/')->{body}, "HTTP/2.0 1\n", 'HTTP/2 to a service');
        my $again = grep { get($front, '/h2c/')->{body} !~ / 1$/ } 1 .. 20;
        cmp_ok($again, '>', 10, 'is kept alive');

        is(sha256_hex(get($front, '/h2c/big')->{body}), sha256_hex($big),
           length($big) . ' bytes come whole');
        is(request($front, 'POST /h2c/upload', body => $big)->{body},
           length($big) . ' ' . sha256_hex($big) . "\n", 'and go');

        skip 'this curl has no HTTP/2', 2 unless `curl -V` =~ /HTTP2/;

        my $out = twenty($certs, "https://localhost:$front2/h2c/");
        is(scalar(() = $out =~ /^2$/mg), 20, '20 requests over HTTP/2');
        is(scalar(() = $out =~ /^HTTP\/2\.0 \d+$/mg), 20, 'on both sides');
    }


    # gRPC

  SKIP: {
        skip 'no gRPC for Python', 1 unless $has_grpc;

        my ($rc, $out) = run({ timeout => 120 }, $python,
                             "$FindBin::Bin/../lib/grpc_echo.py", 'call', $plain,
                             50);
        is($rc, 0, 'gRPC calls') or diag($out);
        like($out, qr/^once 50$/m, 'one by one');
        like($out, qr/^stream 50$/m, 'as a stream in both directions');
        like($out, qr/^missing UNIMPLEMENTED$/m, 'with their status');
    }


    # TLS to the service

    is(get($front, '/secure')->{body}, "behind TLS 1\n", 'https to a service');
    my $again = 0;
    for (1 .. 20) {
        $again++ if get($front, '/secure')->{body} !~ / 1$/;
    }
    cmp_ok($again, '>', 10, 'is kept alive');


    # the PROXY protocol

    $s = connect_to($front);
    my $port = $s->sockport;
    $r = request($front, 'GET /v1/proxy', socket => $s);
    is($r->{body}, "v1 PROXY TCP4 127.0.0.1 127.0.0.1 $port $v1->{port}\n",
       'PROXY protocol v1');

    $s = connect_to($front);
    $port = $s->sockport;
    $r = request($front, 'GET /v2/proxy', socket => $s);
    is($r->{body}, "v2 21 11 127.0.0.1:$port 127.0.0.1:$v2->{port}\n",
       'PROXY protocol v2');
    close $s;


    # a cache

    ok(wait_for(sub {
        $r = get($front, '/cached');
        return $r->{head} =~ /^X-Cache: HIT/m;
    }), 'an answer is cached');
    my $body = $r->{body};
    like($body, qr/^app /, 'and served');

    kill KILL => $agent->pid;
    $agent->{proc}->wait(5);

    ok(wait_for(sub {
        $r = get($front, '/cached');
        return $r->{head} =~ /^X-Cache: STALE/m;
    }), 'the agent is away: it is served although stale');
    is($r->{body}, $body, 'the same answer');

    $t->finish;
}


# 20 requests at once over HTTP/2: the answers, and lines with the version.

sub twenty {
    my ($certs, $url) = @_;

    return run_ok('curl', '-sS', '--no-progress-meter', '--http2', '--cacert',
                  "$certs/ca.pem", '-w', '%{http_version}\n', '--parallel',
                  map { "$url?$_" } 1 .. 20);
}
