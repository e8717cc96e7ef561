#!/usr/bin/perl

# Protects: what a client is told of a host.  A name that nobody has is a 404; an
# agent that is away, after the wait that ports have, a 503 with Retry-After; a
# service that refuses a 502, one that is silent a 504.  Each can be caught by
# error_page, and $zltunnel_error says which it was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

my $t = ZLTunnel->new(workers => 2,
                      zltunnel => 'domain t.example; connect_timeout 1s;'
                                  . ' reconnect_grace 1s; public_url http://*;');
my $front = $t->free_port;
my $pages = $t->free_port;
my $log = "$t->{dir}/logs/front.log";

$t->write_conf(http => <<"EOT");
log_format front '\$host \$status \$upstream_status "\$zltunnel_error"';
upstream hosts { zltunnel_host \$host; keepalive 8; }
server {
    listen 127.0.0.1:$front;
    access_log $log front;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_set_header Host \$host;
    location / { proxy_pass http://hosts; }
    location /soon { proxy_pass http://hosts; proxy_read_timeout 300ms; }
}
server {
    listen 127.0.0.1:$pages;
    error_page 404 /404.txt;
    error_page 502 503 504 /down.txt;
    location / { proxy_pass http://hosts; proxy_read_timeout 300ms; }
    location = /404.txt { internal; return 404 "nobody has \$host\\n"; }
    location = /down.txt {
        internal; default_type text/plain;
        add_header Zltunnel-Error \$zltunnel_error always;
        return 200 "\$host: \$zltunnel_error\\n";
    }
}
EOT

my $token = $t->token('alice', 'hosts=*.t.example sessions=2');
$t->start;

sleep 1;      # after it nobody is expected any more

my $app = app($t, 'web');
my $mute = $t->service('hold');
my $gone = $t->free_port;

my $agent = $t->agent(token => $token,
    services => [ "web:$app->{port}" ],
    args => [ '--host', 'web', '--service', "mute:$mute->{port}",
              '--host', 'mute', '--service', "gone:$gone", '--host', 'gone',
              '--service', "left:$gone", '--host', 'pair' ]);

my $asked = 0;

told('web', '/', 200, '');
told('WEB', '/', 200, '');
told('nobody', '/', 404, 'unknown');
told('mute', '/soon', 504, 'silent');
told('gone', '/', 502, 'refused');

# what another agent answers has not failed

my $other = $t->agent(token => $token, services => [ "right:$app->{port}" ],
                      args => [ '--host', 'pair' ]);

told('pair', '/', 200, '') for 1 .. 2;
like(slurp($log), qr/^pair\S+ 200 502, 200 ""$/m, 'the other one was asked');
is($other->stop, 0, 'it ends');

like(ask('nobody', '/', $pages)->{body}, qr/nobody has nobody\.t\.example/,
     '404 can be caught');
like(ask('gone', '/', $pages)->{body}, qr/refused/, '502 can be caught');
like(ask('mute', '/', $pages)->{body}, qr/silent/, '504 can be caught');

kill KILL => $agent->pid;
$agent->{proc}->wait(5);
ok(wait_for(sub { ($t->status->{tunnels}[0]{state} // '') eq 'disconnected'
                  || !@{ $t->status->{tunnels} } }), 'the agent is away');

my $answer = told('web', '/', 503, 'away');
like($answer->{head}, qr/^Retry-After: \d+\r?$/m, '.. with Retry-After');
like(ask('web', '/', $pages)->{body}, qr/web\.t\.example: away/,
     '503 can be caught');

ok(wait_for(sub { !@{ $t->status->{tunnels} } }, 20), 'its tunnel goes');
told('web', '/', 503, 'away');

$t->finish;


sub ask {
    my ($name, $path, $port) = @_;

    return ZLTunnel::http_request($port // $front, "GET " . ($path // '/')
        . " HTTP/1.1\r\nHost: $name.t.example\r\nConnection: close\r\n\r\n", 20)
        // {};
}


sub told {
    my ($name, $path, $status, $error) = @_;

    my $answer = ask($name, $path);
    is($answer->{status}, $status, "$name$path: $status");

    $asked++;
    ok(wait_for(sub { (split /\n/, slurp($log)) == $asked }), 'it is logged');
    like((split /\n/, slurp($log))[-1], qr/ $status (?:\d+, )?\S+ "\Q$error\E"$/,
         "$name: it is \"$error\"");

    return $answer;
}
