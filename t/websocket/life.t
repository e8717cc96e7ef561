#!/usr/bin/perl

# Protects: what is true of raw data channels over their whole life is true
# within a WebSocket: a reload costs nothing; upstreams of http and stream go
# through them; a revoked token and a timeout reset; counters count.  (That of
# dead idle channels is in life/dead-channel.t.)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Paths;
use ZLTunnel::Scene;
use ZLTunnel::Wire;

my @FRAMED = ('--transport', 'websocket');

for my $scheme (qw(ws wss)) {
    subtest "$scheme: upstreams" => sub { upstreams($scheme) };
}

for my $scheme (qw(ws wss)) {
    subtest "$scheme: no idle channels" => sub { fresh($scheme) };
}

subtest 'ends' => \&ends;
subtest 'reload' => \&reload;

done_testing();


# An agent that keeps none: each connection, and each channel of datagrams, is
# announced on the control channel.

sub fresh {
    my ($scheme) = @_;

    my $t = ZLTunnel->new(workers => 4, range => 14, udp => 1);
    $t->start;

    my $p = ZLTunnel::Paths->new($t,
        name => "$scheme, fresh", size => 4 << 20, connections => 50,
        agent => { tls => $scheme eq 'wss',
                   args => [ @FRAMED, '--max-idle', 0 ] });

    $p->bytes;
    $p->half_close;
    $p->resets;
    $p->many;
    $p->datagrams;

    # but for those that a client meets before the agent has retired them

    my $a = $t->status->{acquired};
    cmp_ok($a->{local} + $a->{moved} + $a->{bridged}, '<', $a->{fresh} / 2,
           "most were fresh: $a->{fresh}");

    $p->end;
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
    ok(wait_for(sub { my $n = () = $agent->log =~ /connected as/g;
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
