#!/usr/bin/perl

# Protects: hosts in all ways in which nginx asks an upstream: subrequests of
# SSI, auth_request and mirror, a fallback by error_page to another host, an
# update of the cache in the background; and clients that leave while an agent is
# waited for.  Each has its own answer and its own $zltunnel_error, and nothing is
# left behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

my $t = ZLTunnel->new(workers => 2, zltunnel => 'domain t.example;'
    . ' public_url http://*; connect_timeout 3s; reconnect_grace 60s;');
my $front = $t->free_port;
my $h2 = $t->free_port;
my $log = "$t->{dir}/logs/front.log";
my $pages = "$t->{dir}/temp/pages";
my $http2 = since(1, 25, 1) ? "http2 on; listen 127.0.0.1:$h2;"
                            : "listen 127.0.0.1:$h2 http2;";

mkdir $pages;
chmod 0755, $pages;
write_file("$pages/page", <<'EOT', 0644);
[<!--# include virtual="/part/web" -->]
[<!--# include virtual="/part/gone" -->]
[<!--# include virtual="/part/shop" -->]
[<!--# include virtual="/part/a_b" -->]
EOT

$t->write_conf(http => <<"EOT");
log_format front '\$request_uri \$status "\$zltunnel_error"';
proxy_cache_path $t->{dir}/temp/cache keys_zone=cache:1m;
upstream hosts { zltunnel_host \$host; keepalive 8; }
upstream part { zltunnel_host \$name.t.example; keepalive 8; }
upstream shop { zltunnel_host shop.t.example; keepalive 8; }
proxy_http_version 1.1;
proxy_set_header Connection '';
server {
    listen 127.0.0.1:$front;
    $http2
    access_log $log front;
    location / { proxy_pass http://hosts; }
    location ~ ^/part/(?<name>\\w+) {
        error_page 502 503 504 404 = /why;
        rewrite ^ / break;
        proxy_pass http://part;
    }
    location = /why { internal; return 200 "(\$zltunnel_error)"; }
    location = /page { ssi on; default_type text/html; root $pages; }
    location ~ ^/auth/(?<name>\\w+) {
        auth_request /ask;
        auth_request_set \$why \$zltunnel_error;
        add_header Why \$why always;
        rewrite ^ / break;
        proxy_pass http://shop;
    }
    location = /ask { internal; proxy_pass http://part/; }
    location ~ ^/mirror/(?<name>\\w+) { mirror /ask; rewrite ^ / break; proxy_pass http://shop; }
    location /else {
        error_page 404 502 503 504 = \@shop;
        proxy_pass http://hosts;
    }
    location \@shop { add_header Why "\$zltunnel_error"; proxy_pass http://shop; }
    location /both {
        error_page 404 502 503 504 = \@none;
        proxy_pass http://hosts;
    }
    location \@none { set \$name none_; proxy_pass http://part; }
    location /cached {
        proxy_cache cache;
        proxy_cache_key \$host\$uri;
        proxy_cache_valid 200 1s;
        proxy_cache_use_stale updating error timeout;
        proxy_cache_background_update on;
        proxy_pass http://hosts;
    }
}
EOT

my $token = $t->token('alice', 'hosts=*.t.example');
my $other = $t->token('bob', 'hosts=*.t.example');
$t->start;

my ($web, $shop) = map { app($t, $_) } 'web', 'shop';
my $gone = $t->free_port;

my $agent = $t->agent(token => $token, services => [ "web:$web->{port}" ],
    args => [ '--host', 'web', '--service', "gone:$gone", '--host', 'gone' ]);
$t->agent(token => $other, services => [ "shop:$shop->{port}" ],
          args => [ '--host', 'shop' ]);


like(ask('web', '/page')->{body},
     qr/^\[web .*\n\]\n\[\(refused\)\]\n\[shop .*\n\]\n\[\(unknown\)\]$/,
     'four parts of a page, each its own');

is(ask('web', '/auth/web')->{status}, 200, 'a host says who may');
my $r = ask('web', '/auth/a_b');
is($r->{status}, 500, 'one that nobody has does not');

like(ask('web', "/mirror/$_")->{body}, qr/^shop /, "a copy to $_ is no matter")
    for qw(web gone a_b);

$r = ask('a_b', '/else');
like($r->{body}, qr/^shop /, 'another host in place of one that nobody has');
unlike($r->{head}, qr/^Why/m, '.. which had no error');
$r = ask('gone', '/else');
like($r->{body}, qr/^shop /, '.. in place of one whose service is not there');
is(ask('gone', '/both')->{status}, 404, 'and neither of them');

like(ask('web', '/cached')->{body}, qr/^web /, 'an answer is cached');

$agent->{proc}->kill('KILL');
$agent->{proc}->wait(5);
ok(wait_for(sub { grep { $_->{state} eq 'disconnected' }
                  @{ $t->status->{tunnels} } }), 'its agent is away');
sleep 2;
like(ask('web', '/cached')->{body}, qr/^web /, 'what is old is better than a wait')
    for 1 .. 3;

$r = ask('web', '/both');
is($r->{status}, 404, 'the last of two has the say');
is(scalar(() = $r->{head} =~ /^Retry-After/mgi), 0,
   '.. and what the first had to say of the time is not told');

# clients leave while it is waited for, at any moment of it

give_up($front, "GET /$_ HTTP/1.1\r\nHost: web.t.example\r\n\r\n", 200,
        most => 300) for 'one', 'else', 'page', 'auth/web', 'mirror/web';

my $frame = sub { substr(pack('N', length $_[3]), 1) . pack('C C N', @_[0 .. 2])
                  . $_[3] };
for my $round (1 .. 20) {
    my $s = connect_to($h2);
    my $n = 0;
    syswrite $s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . $frame->(4, 0, 0, '')
        . join '', map { $frame->(1, 5, 2 * $n++ + 1, join '', map {
              "\0" . pack 'C/a C/a', @$_ } [ ':method', 'GET' ],
              [ ':scheme', 'http' ], [ ':path', $_ ],
              [ ':authority', 'web.t.example' ]) }
          ('/one', '/else', '/part/web', '/page') x 5;
    select undef, undef, undef, 0.01 * $round;
    syswrite $s, join '', map { $frame->(3, 0, 2 * $_ + 1, pack 'N', 8) } 0 .. 9;
    select undef, undef, undef, 0.01 * ($round % 3);
    $round % 2 ? abort($s) : close $s;
}

ok(wait_for(sub { !grep { $_->{pending} } @{ $t->status->{tunnels} } }, 30),
   'nothing is left of those that have gone');

# and one waits until it is back

my $s = connect_to($front);
syswrite $s, "GET / HTTP/1.1\r\nHost: web.t.example\r\nConnection: close\r\n\r\n";
$agent->launch;
my $text = '';
1 while defined read_some($s, \$text, 20);
like($text, qr/^web /m, 'the agent is back');

$t->finish;


sub ask {
    my ($name, $path) = @_;

    return get($front, $path, host => "$name.t.example");
}
