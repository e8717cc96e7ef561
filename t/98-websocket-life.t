#!/usr/bin/perl

# Protects: what is true of raw data channels over their whole life is true
# within a WebSocket: a dead idle channel costs a client nothing but a second,
# a reload and the agent's return nothing at all; upstreams of http and stream
# go through them; a revoked token and a timeout reset; counters count.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Scene;
use ZLTunnel::Wire;

my @FRAMED = ('--transport', 'websocket');

for my $scheme (qw(ws wss)) {
    subtest "$scheme: dead channels" => sub { dead($scheme) };
}

for my $scheme (qw(ws wss)) {
    subtest "$scheme: upstreams" => sub { upstreams($scheme) };
}

subtest 'ends' => \&ends;
subtest 'reload' => \&reload;

done_testing();


sub idle { ($_[0]->status->{tunnels}[0] || {})->{idle_channels} // 0 }


# All idle channels are stalled in the path.

sub dead {
    my ($scheme) = @_;

    my $t = ZLTunnel->new(workers => 4);
    my $token = $t->token('alice');
    $t->start;

    my $tls = $scheme eq 'wss';
    my $relay = $t->relay($tls);
    my $echo = $t->service('echo');
    my $agent = $t->agent(
        token => $token, server => $relay->{url},
        services => ["e:$echo->{port}"],
        args => [ @FRAMED, $tls ? ('--ca-file', $t->certs . '/ca.pem') : () ]);
    my $port = $agent->port('e');

    ok(wait_for(sub { idle($t) }), 'there are idle channels');
    $t->tell($relay, 'stall 2-');

    my @early = map { chr(97 + $_) x (4000 * $_ + 5) } 0 .. 2;
    my @c = map { ZLTunnel::Wire::Socket->new($port) } @early;

    $c[$_]->send($early[$_]) for 0 .. $#c;
    ok(($c[$_]->take(length $early[$_], 15) // '') eq $early[$_],
       "client $_ is served all the same, with all of its bytes") for 0 .. $#c;

    $_->shut for @c;
    is($_->ending, 'eof', 'to its end') for @c;

    is($t->events($echo, 'accept'), 3, 'the service was dialled once for each');
    cmp_ok($t->status->{repeated}, '>=', 1, 'the repeats are counted');

    $relay->{proc}->stop;      # else the agent waits for its dead channels
    $t->finish;
}


sub upstreams {
    my ($scheme) = @_;

    my $t = ZLTunnel->new(workers => 2, range => 4);
    my $token = $t->token('alice');
    my $pass = $t->free_port;
    my $body = join '', map { chr int rand 256 } 1 .. 1_000_000;

    write_file("$t->{dir}/body", $body, 0644);

    # the service is a web server, of the same nginx

    my $web = $t->free_port;

    $t->write_conf(http => <<"EOT", stream => <<"EOT2",
upstream web { zltunnel_service web; keepalive 4; }
server {
    listen 127.0.0.1:$web;
    root $t->{dir};
    client_max_body_size 8m;
    location /echo { proxy_pass http://127.0.0.1:$web/sink; }
    location /sink { return 200 ok; }
}
EOT
upstream echo { zltunnel_service echo; }
server { listen 127.0.0.1:$pass; proxy_pass echo; proxy_half_close on; }
EOT2
        location => "location / { proxy_pass http://web; "
                    . 'proxy_http_version 1.1; '
                    . 'proxy_set_header Connection ""; '
                    . 'client_max_body_size 8m; }');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, tls => $scheme eq 'wss',
                          services => [ "web:$web/private",
                                        "echo:$echo->{port}/private" ],
                          args => \@FRAMED);

    for my $i (1 .. 20) {
        my $r = http_get($t->{http_port}, '/body');
        next if $r && $r->{status} == 200 && $r->{body} eq $body;
        fail("request $i: " . ($r ? $r->{status} : 'no answer'));
    }

    pass('http: 20 requests of 1 MB');

    my $r = http_request($t->{http_port}, "POST /echo HTTP/1.1\r\n"
        . "Host: localhost\r\nConnection: close\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body");
    is($r && $r->{body}, 'ok', 'http: an upload of 1 MB');

    my $web_total = $t->service_status('web')->{total};
    cmp_ok($web_total, '<', 21, "connections were kept alive ($web_total)");

    my $s = $t->transfer($pass, 3_000_000);
    is("$s->{received} $s->{received_sha}", "3000000 $s->{sent_sha}",
       'stream: 3 MB both ways');
    is($s->{end}, 'eof', 'to a clean end');

    my $c = ZLTunnel::Wire::Socket->new($pass);
    $c->send('hello');
    is($c->take(5), 'hello', 'stream: a connection');
    $echo->{proc}->stop('KILL');
    is($c->ending, 'eof', 'ends with its service');
    $c->close;

    my $status = $t->service_status('web');
    cmp_ok($status->{bytes_out}, '>', 20_000_000, 'bytes to clients count');
    cmp_ok($status->{bytes_in}, '>', 1_000_000, 'and from them');

    is($agent->stop, 0, 'the agent ends with 0');
    $t->finish;
}


sub ends {
    my $t = ZLTunnel->new(ports => 'zltunnel_timeout 1s;', range => 4);
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                          args => \@FRAMED);

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('hello');
    is($c->take(5), 'hello', 'a connection');
    is($c->ending(5), 'reset', 'zltunnel_timeout resets it');
    ok(wait_for(sub { $t->events($echo, 'reset') == 1 }),
       'at the service, too');

    $t->write_conf(ports => '');
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { my $n = () = $agent->log =~ /connected to the server/g;
                      $n >= 2 }), 'a reload');

    $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('hello');
    is($c->take(5), 'hello', 'a connection');

    my $s = $t->service_status('e');
    is("$s->{active} $s->{bytes_in} $s->{bytes_out}", '1 10 10',
       'bytes are counted as the client\'s, without frames');

    $t->revoke('alice');
    is($c->ending(10), 'reset', 'a revoked token resets it');
    ok(wait_for(sub { $t->events($echo, 'reset') == 2 }),
       'at the service, too');

    $agent->stop;
    $t->finish;
}


sub reload {
    my $s = ZLTunnel::Scene->new(
        long => sizes('long connections', 200, 60),
        agents => { map { $_ => { args => \@FRAMED } } qw(alice bob) });

    for my $i (1 .. 3) {
        $s->reload;
        $s->goes_on("reload $i");
    }

    $s->nothing_lost('after reloads');

    $s->finish;
}
