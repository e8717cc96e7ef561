#!/usr/bin/perl

# Protects: requests for names whose agents are still on their way, after a
# start.  They wait, and are answered by the right agent; a connection that was
# found so is kept for its own service alone.  As many as wait leave the worker
# room for others: the rest is told to come again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

my ($t, $front, $alice, $bob, $web, $shop, $agent);

set_up();
kept();
crowd();
away();
$t->finish;



sub set_up {
    $t = ZLTunnel->new(workers => 1, connections => 256,
        zltunnel => 'domain t.example; reconnect_grace 60s;'
                    . ' connect_timeout 8s;');
    $front = $t->free_port;

    $t->write_conf(http => <<"EOT");
proxy_cache_path $t->{dir}/temp/cache keys_zone=cache:1m;
upstream hosts { zltunnel_host \$host; keepalive 8; }
server {
    listen 127.0.0.1:$front;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_set_header Host \$host;
    location / { proxy_pass http://hosts; }
    location /short { proxy_pass http://hosts; proxy_connect_timeout 2s;
                      proxy_read_timeout 300ms; }
    location /stale {
        proxy_cache cache;
        proxy_cache_key \$host\$request_uri;
        proxy_cache_valid 200 1s;
        proxy_cache_use_stale timeout;
        proxy_connect_timeout 1s;
        proxy_pass http://hosts;
    }
}
EOT

    $alice = $t->token('alice', 'hosts=*.t.example');
    $bob = $t->token('bob', 'hosts=*.t.example');
    $t->start;

    $web = app($t, 'web');
    $shop = app($t, 'shop');
}


# Both wait, and come to their agents one after the other.

sub kept {
    my @waits = map { ask($_) } 'web', 'shop';
    $agent = $t->agent(token => $alice, services => [ "web:$web->{port}" ],
                          args => [ '--host', 'web' ]);
    like(answer($waits[0]), qr/^web /m, 'the first is answered by its agent');
    my @later = map { ask('shop') } 1 .. 3;
    my $second = $t->agent(token => $bob, services => [ "s:$shop->{port}" ],
                           args => [ '--host', 'shop' ]);
    like(answer($_), qr/^shop /m, 'and those that wait for another by its own')
        for $waits[1], @later;
}


# More than the worker has connections ask for names that nobody has.

sub crowd {
    my @s = map { ask("nobody$_") } 1 .. 300;

    is(scalar(grep { answer(ask('web')) =~ /^web /m } 1 .. 20), 20,
       'others are served while a crowd waits for agents');

    is(answer(ask('none', '/short')) =~ m{^HTTP/1.1 (\d+)} && $1, 503,
       'so it is where nginx would wait for a shorter time');

    my %told;
    $told{ answer($_) =~ m{^HTTP/1.1 (\d+)} ? $1 : 'nothing' }++ for @s;
    is_deeply(\%told, { 503 => 300 }, 'and the crowd is told to come again');
}


# To wait for an agent is not to wait for an answer.

sub away {
    like(answer(ask('web', '/stale')), qr/^web /m, 'an answer is cached');
    $agent->{proc}->kill('KILL');
    $agent->{proc}->wait(5);
    ok(wait_for(sub { grep { $_->{state} eq 'disconnected' }
                      @{ $t->status->{tunnels} } }), 'an agent is away');
    sleep 2;                                  # what is cached has expired

    like(answer(ask('web', '/short')), qr/^HTTP\S+ 503 .*^Retry-After: /ms,
         'where answers have less time than agents: 503');
    like(answer(ask('web', '/stale')), qr/^web /m,
         'what is cached is an answer, if a timeout allows it');

    my $s = ask('web');
    $agent->launch;
    like(answer($s), qr/^web /m, 'it comes back in time');
}


sub ask {
    my ($name, $path) = @_;
    my $s = connect_to($front);
    syswrite $s, 'GET ' . ($path // '/') . " HTTP/1.1\r\nHost: $name.t.example\r\n"
                 . "Content-Length: 0\r\nConnection: close\r\n\r\n";
    return $s;
}

sub answer {
    my ($s) = @_;
    my $text = '';
    1 while defined read_some($s, \$text, 20);
    return $text;
}
