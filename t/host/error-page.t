#!/usr/bin/perl

# Protects: zltunnel_error.conf as it is.  A visitor of a host that does not answer
# gets a page that says why, with the status that belongs to it and Retry-After,
# whatever the method; it needs nothing from elsewhere, has a language, and
# colours for light and dark; what a service itself answers stays as it is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

my $t = ZLTunnel->new(workers => 1, zltunnel => 'domain t.example;'
                      . ' connect_timeout 1s; reconnect_grace 1s;');
my $front = $t->free_port;

$t->write_conf(http => <<"EOC");
upstream tunnelled { zltunnel_host \$host; keepalive 8; }
server {
    listen 127.0.0.1:$front;
    server_name *.t.example;
    include zltunnel_error.conf;
    include zltunnel_proxy.conf;
    location / { proxy_pass http://tunnelled; }
    location /soon { proxy_read_timeout 300ms; proxy_pass http://tunnelled; }
    location = /here { return 404; }
}
EOC

my $token = $t->token('alice', 'hosts=*.t.example');
$t->start;

my $app = app($t, 'web');
my $mute = $t->service('hold');
my $gone = $t->free_port;
my $agent = $t->agent(token => $token, services => [ "web:$app->{port}" ],
    args => [ '--host', 'web', '--service', "mute:$mute->{port}",
              '--host', 'mute', '--service', "gone:$gone", '--host', 'gone' ]);

# after a start agents may be about to come that have the name
ok(wait_for(sub { told('nobody')->{status} == 404 }, 20), 'a name of nobody');

like(page('nobody', 404), qr/nothing at this address/, 'unknown');
like(page('gone', 502), qr/not running/, 'refused');
like(page('mute', 504, path => '/soon'), qr/does not answer/, 'silent');

for my $method (qw(POST PUT DELETE OPTIONS)) {
    like(page('gone', 502, method => $method), qr/not running/, $method);
}
is(told('gone', method => 'HEAD')->{body}, '', 'HEAD has no body');

like(page('web', 404, path => '/here'), qr/not available/,
     'an error that is not of a host');
is(told('web', path => '/.zltunnel/error')->{status}, 404,
   'nobody asks for the page itself');

is(told('web', path => '/status?404')->{body}, "web 1 1\n",
   'the error of a service stays');
is(told('web', path => '/status?503')->{status}, 503, '.. with its status');

kill KILL => $agent->pid;
$agent->{proc}->wait(5);
ok(wait_for(sub { !@{ $t->status->{tunnels} } }, 20), 'its agent goes');

like(page('web', 503), qr/is away/, 'away');
like(told('web')->{head}, qr/^Retry-After: \d+\r?$/m, '.. with Retry-After');

$t->finish;


sub told {
    my ($name, %o) = @_;

    return request($front, ($o{method} // 'GET') . ' ' . ($o{path} // '/'),
                   host => "$name.t.example",
                   timeout => ($o{method} // '') eq 'HEAD' ? 1 : 20);
}


# The page, which is looked at.

sub page {
    my ($name, $status, %o) = @_;

    my $r = told($name, %o);
    my $what = ($o{method} // '') . " $name: ";

    is($r->{status}, $status, "$what$status");
    like($r->{head}, qr{^Content-Type: text/html; charset=utf-8\r?$}m,
         "$what a page");
    like($r->{head}, qr/^Cache-Control: no-store\r?$/m, "$what not kept");

    my $html = $r->{body} // '';
    my ($title) = $html =~ m{<title>(.+)</title>};

    like($html, qr/\A<!DOCTYPE html>\n<html lang="en">/, "$what its language");
    like($html, qr/color-scheme: light dark.*prefers-color-scheme: dark/s,
         "$what light and dark");
    like($html, qr{<main>\n<h1>\Q$title\E</h1>}, "$what a heading");
    unlike($html, qr{://|\bsrc=|\bhref=|url\(|\@import|<script|\$}i,
           "$what nothing from elsewhere");

    return $html;
}
