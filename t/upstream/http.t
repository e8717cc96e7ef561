#!/usr/bin/perl

# Protects: tunnelled services as the server of an http upstream.  Requests
# get there and back, connections are kept alive, failures go to the next
# agent or give 502 at once, time-outs 504; a client that gives up leaves
# nothing behind, and a truncated answer never looks whole.  With channels
# that can be given to nginx (ws) and those that cannot (wss), in one worker
# and in four.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

for my $tls (0, 1) {
    for my $workers (1, 4) {
        subtest(($tls ? 'wss' : 'ws') . ", $workers worker(s)",
                sub { basic($tls, $workers) });
    }
}

done_testing();


sub basic {
    my ($tls, $workers) = @_;

    my $t = ZLTunnel->new(workers => $workers,
                          zltunnel => 'reconnect_grace 2s;');
    my $front = $t->free_port;
    my $log = "$t->{dir}/logs/front.log";

    $t->write_conf(http => <<"EOT");
log_format front '\$uri \$status \$upstream_addr \$zltunnel_service '
                 '\$zltunnel_tunnel \$zltunnel_connection_id '
                 '\$zltunnel_connect_time';
upstream web { zltunnel_service web; keepalive 16; }
upstream once { zltunnel_service web; }
upstream hidden { zltunnel_service hidden; }
upstream broken { zltunnel_service broken; }
upstream nobody { zltunnel_service nobody; }
upstream mine { zltunnel_service web token=alice; }
upstream theirs { zltunnel_service web token=bob; }
server {
    listen 127.0.0.1:$front;
    access_log $log front;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_connect_timeout 10s;
    location / { proxy_pass http://web; }
    location /once/ { proxy_pass http://once/; proxy_set_header Connection close; }
    location /hidden { proxy_pass http://hidden; }
    location /broken { proxy_pass http://broken; }
    location /nobody { proxy_pass http://nobody; }
    location /mine/ { proxy_pass http://mine/; }
    location /theirs/ { proxy_pass http://theirs/; }
    location /quick/ { proxy_pass http://once/; proxy_connect_timeout 300ms; }
    location /raw/ { proxy_pass http://once/; proxy_buffering off; }
}
EOT

    my $token = $t->token('alice');
    $t->token('bob');
    $t->start;

    my $app = app($t, 'app');
    my $agent = $t->agent(token => $token, tls => $tls, services => [
        "web:$app->{port}", "hidden:$app->{port}/private",
        'broken:' . $t->free_port ]);

    my $accepts = sub { $t->events($app, 'accept') };


    # there and back

    my $r = get($front, '/');
    is($r->{status}, 200, 'a request is answered');
    is($r->{body}, "app 1 1\n", 'by the service');

    my $bad = grep { get($front, '/')->{status} != 200 } 1 .. 40;
    is($bad, 0, '40 more are');

    # one that came by way of another worker is not kept where there is a lane

    cmp_ok($accepts->(), '<=', $tls && $workers > 1 ? 2 * $workers : $workers,
           'by connections that are kept alive');

    my $before = $accepts->();
    $bad = grep { get($front, '/once/')->{status} != 200 } 1 .. 20;
    is($bad, 0, '20 without keepalive');
    is($accepts->(), $before + 20, 'had one connection each');

    like(get($front, '/hidden')->{body}, qr/^app /, 'a private service');
    like(get($front, '/mine/')->{body}, qr/^app /, 'bound to its token');
    is(get($front, '/theirs/')->{status}, 502, 'bound to another');

    my $body = join '', map { chr($_ * 7 % 256) } 1 .. 300_000;
    $r = request($front, 'POST /upload', body => $body);
    is($r->{body}, '300000 ' . sha256_hex($body) . "\n", 'a body');

    ok(wait_for(sub { slurp($log) =~ m{^/upload}m }), 'a line is logged');
    like(slurp($log), qr{^/ 200 alice/web web alice [0-9a-f]{32} \d+\.\d{3}$}m,
         'with the variables');


    # failures

    $r = get($front, '/nobody');
    is($r->{status}, 502, 'a name that nobody has registered');
    cmp_ok($r->{time}, '<', 2 * slowdown(), 'is refused at once');

    $r = get($front, '/broken');
    is($r->{status}, 502, 'a service that the agent cannot reach');
    cmp_ok($r->{time}, '<', 2 * slowdown(), 'is refused at once');
    like($t->log, qr/could not connect to service "broken"/, 'with a reason');

    for my $path ('/reset', '/once/reset', '/raw/reset') {
        $r = get($front, $path);
        is($r->{status}, 200, "$path: half of an answer");
        ok(!$r->{complete}, 'does not look like a whole one');
    }


    # an agent that does not answer

    kill STOP => $agent->pid;

    $r = get($front, '/quick/');
    is($r->{status}, 504, 'a connect timeout');
    cmp_ok($r->{time}, '<', 5 * slowdown(), '.. is the one set');

    # those that are kept alive are active, too

    my $kept = $t->service_status('web')->{active};
    my @waiting = map {
        my $s = connect_to($front);
        syswrite $s, "GET /once/waits HTTP/1.1\r\nHost: localhost\r\n\r\n";
        $s
    } 1 .. 20;

    ok(wait_for(sub { ($t->service_status('web')->{active} // 0)
                      >= $kept + 20 }),
       'clients wait for channels');
    abort($_) for @waiting;
    ok(wait_for(sub {
        20 == (() = slurp($log) =~ m{^/once/waits 499 }mg)
    }), 'and give up') or diag(slurp($log) =~ m{^/once/waits.*\n}mg);
    ok(wait_for(sub {
        my $st = $t->status;
        return $t->service_status('web')->{active} <= $workers
               && $st->{tunnels}[0]{pending} == 0;
    }), '.. which ends what was under way for them');

    kill CONT => $agent->pid;

    is(get($front, '/once/')->{status}, 200, 'the agent goes on');


    # a client that gives up while the service works

    my @held = map {
        my $s = connect_to($front);
        syswrite $s, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
        $s
    } 1 .. 5;

    ok(wait_for(sub { $t->events($app, 'hold') == 5 }),
       'requests are held by the service');
    abort($_) for @held;
    ok(wait_for(sub { $t->events($app, 'gone') == 5 }),
       'which sees the clients go');


    # the agent ends: what is kept alive does not hold it up

    is($agent->stop, 0, 'the agent ends');
    ok(wait_for(sub { get($front, '/quick/')->{status} == 502 }),
       'and its service is gone');

    $t->finish;
}
