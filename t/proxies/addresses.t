#!/usr/bin/perl

# Protects: the forms that a server's address may have (a path, a port, IPv6, a
# UNIX socket), and whose address nginx sees behind a proxy: with the realip
# module and with the PROXY protocol it is the agent's own, in the access rules
# of the location, in the logs and in the status, for control and data channels
# alike, and channels are detached, moved and bridged as always.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Middle;
use ZLTunnel::Paths;

subtest 'URLs' => \&urls;
subtest 'a path' => \&path;
subtest 'UNIX socket' => \&unix;
subtest 'realip' => sub { behind('realip') };
subtest 'PROXY protocol' => sub { behind('proxy') };
subtest 'PROXY protocol, TLS' => sub { behind('proxy', tls => 1) };
subtest 'PROXY protocol, UNIX socket' => sub { behind('proxy', unix => 1) };

done_testing();


# What is a URL and what is not.

sub urls {
    my @wrong = (
        [ 'http://localhost/', qr/must begin with wss:\/\/, ws:\/\/, srv/ ],
        [ 'ws+unix:nginx.sock', qr/needs the path of a socket/ ],
        [ 'ws+unix://run/nginx.sock', qr/needs the path of a socket/ ],
        [ 'ws+unix:/', qr/needs the path of a socket/ ],
        [ 'ws+unix:/' . 'x' x 108, qr/too long a path of the socket/ ],
        [ 'ws+unix:/run/nginx.sock:tunnel', qr/path that begins with/ ],
        [ 'ws://[::1', qr/"\[" without "\]"/ ],
        [ 'ws://[::1]x', qr/something other than a port/ ],
        [ 'ws://me@localhost', qr/user name/ ],
        [ 'ws://localhost:0', qr/invalid port/ ],
        [ 'ws://local host', qr/space/ ],
    );

    for my $case (@wrong) {
        my ($url, $re) = @$case;
        my ($rc, $out) = run({ timeout => 10 }, $ZLTunnel::AGENT, 'connect',
                             '--server', $url, '--service', 'a:1');
        is($rc, 2, "$url: exit 2");
        like($out, qr/"server" .*$re/, "$url: told");
    }
}


# A path with a prefix and a query, at a port of its own, over IPv6 if there
# is any.

sub path {
    my $t = ZLTunnel->new(range => 4);
    my $token = $t->token('alice');
    my ($port, $tls) = map { $t->free_port } 1 .. 2;
    my $six = eval { require IO::Socket::IP;
                     IO::Socket::IP->new(LocalHost => '::1', Listen => 1) };
    my $more = $six ? "listen [::1]:$port; listen [::1]:$tls ssl;" : '';

    $t->write_conf(http => <<"EOT");
server {
    listen 127.0.0.1:$port;
    $more
    ssl_certificate @{[ $t->certs ]}/server.pem;
    ssl_certificate_key @{[ $t->certs ]}/server.key;
    location /a/b/ { zltunnel; }
}
EOT
    $t->start;

    my $echo = $t->service('echo');

    for my $url ("ws://127.0.0.1:$port/a/b/tunnel?x=1",
                 "ws://localhost:$port/a/b/",
                 $six ? ("ws://[::1]:$port/a/b/c", "wss://[::1]:$tls/a/b/c")
                      : ())
    {
        my $agent = $t->agent(token => $token, server => $url,
                              tls => $url =~ /^wss/ ? 1 : 0,
                              services => ["e:$echo->{port}"]);
        my $r = $t->transfer($agent->port('e'), 10_000);
        is($r->{received_sha}, $r->{sent_sha}, $url);
        $agent->stop;
    }

    $t->finish;
}


# Everything over a UNIX socket; there is no proxy for it.

sub unix {
    my $t = ZLTunnel->new(workers => 2, udp => 1, range => 10,
                          connections => 8192,
                          zltunnel => ZLTunnel::Paths::LIMITS);
    my $socket = "$t->{dir}/temp/nginx.sock";

    $t->{path_token} = $t->token('path');
    $t->write_conf(http => "server { listen unix:$socket;
                            location = /tunnel/v1 { zltunnel; }
                            location /other { zltunnel; } }");
    $t->start;

    my $path = ZLTunnel::Paths->new($t, name => 'unix', size => 4 << 20,
        connections => sizes('connections', 500, 50), watch => 2,
        agent => { server => "ws+unix:$socket",
                   env => { all_proxy => 'http://127.0.0.1:1' } });

    unlike($path->{real}->log, qr/not encrypted/, 'no warning');
    like($path->{real}->log, qr/for ws\+unix:\Q$socket\E$/m, 'the log');
    is(ZLTunnel::Paths::tunnel($t)->{address}, 'unix:', 'the status');
    like($t->log, qr/agent "path" connected from unix:/, "nginx's log");

    $path->all;
    is($path->{real}->stop, 0, 'the agent ends');

    # without a WebSocket, to another path: there is no reset then

    my $r;
    my $agent = $t->agent(token => $t->{path_token}, services => [
                              "echo:$path->{s}{echo}{port}" ],
                          server => "ws+unix:$socket:/other?a=b",
                          args => [ '--transport', 'raw' ]);
    $r = $t->transfer($agent->port('echo'), 10_000);
    is($r->{received_sha}, $r->{sent_sha}, 'with a path');
    like(slurp("$t->{dir}/logs/access.log"),
         qr/^unix: .*"GET \/other\?a=b HTTP/m, 'the access log');

    $agent = $t->agent(token => 'x', services => ['a:1'], wait => 0,
                       server => "ws+unix:$socket.none");
    ok($agent->logged(qr/cannot be reached: unix:\S+: No such file/, 10),
       'a socket that is not there');

    $path->end;
    $t->finish;
}


# HAProxy connects from 127.0.0.9, the agent from 127.0.0.1: only the latter
# may come in.

sub behind {
    my ($how, %o) = @_;

    installed('haproxy') or plan(skip_all => 'no haproxy');

    my $t = ZLTunnel->new(workers => 2, udp => 1, range => 10);
    my $port = $t->free_port;
    my $socket = "$t->{dir}/temp/nginx.sock";
    my $certs = $t->certs;

    my $listen = $o{unix} ? "unix:$socket" : "127.0.0.1:$port";
    $listen .= ' ssl' if $o{tls};
    $listen .= ' proxy_protocol' if $how eq 'proxy';
    my $header = $how eq 'proxy' ? 'proxy_protocol' : 'X-Forwarded-For';

    $t->{path_token} = $t->token('path');
    $t->write_conf(http => <<"EOT");
server {
    listen $listen;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    set_real_ip_from 127.0.0.9;
    set_real_ip_from unix:;
    real_ip_header $header;
    location = /tunnel/v1 { allow 127.0.0.1; deny all; zltunnel; }
}
EOT
    $t->start;

    my $p = haproxy($t,
        to => $o{unix} ? "unix\@$socket" : "127.0.0.1:$port",
        mode => $how eq 'proxy' ? 'tcp' : 'http',
        server => ($o{unix} ? '' : 'source 127.0.0.9 ')
                  . ($how eq 'proxy' ? 'send-proxy-v2' : ''));

    my $url = $p->{url};
    $url =~ s/^ws:/wss:/ if $o{tls};

    my $path = ZLTunnel::Paths->new($t, name => $how, size => 4 << 20,
        connections => 50, keeps => { truncation => 0 },
        agent => { server => $url, tls => $o{tls} });

    is(ZLTunnel::Paths::tunnel($t)->{address}, '127.0.0.1', 'the status');
    like($t->log, qr/agent "path" connected from 127\.0\.0\.1\b(?!:)/,
         "nginx's error log");

    $path->bytes;
    $path->half_close if $how eq 'proxy';
    $path->many;
    $path->datagrams;

    my @lines = grep { m{/tunnel/v1} }
                split /\n/, slurp("$t->{dir}/logs/access.log");
    # 503 is one idle channel too many, if the agent was quicker than a worker
    is_deeply([ grep { !/^127\.0\.0\.1 .* (?:101|503) / } @lines ], [],
              'the access log, control and data channels');
    cmp_ok(scalar(grep { / 101 / } @lines), '>', 2, 'of which there are some');

    $path->end;

    # the others are those that the rules keep out

    if (!$o{unix}) {
        my $agent = $t->agent(token => $t->{path_token}, services => ['a:1'],
                              tls => $o{tls}, server => $url, wait => 0);
        ok($agent->registered(1), 'once more');
        $agent->stop;

        $t->{http} =~ s/allow 127\.0\.0\.1/allow 127.0.0.9/;
        $t->write_conf;
        $t->{nginx}->kill('HUP');

        $agent = $t->agent(token => $t->{path_token}, services => ['a:1'],
                           tls => $o{tls}, server => $url, wait => 0,
                           args => [ '--reconnect-interval', '300ms' ]);
        ok($agent->logged(qr/the server answered 403/, 10),
           'the address of the proxy counts for nothing');
        $agent->stop;
    }

    $t->finish;
}
