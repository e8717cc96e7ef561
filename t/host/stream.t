#!/usr/bin/perl

# Protects: TLS to the services themselves, which the name in the client's hello
# leads to, by zltunnel_pass and by zltunnel_host in an upstream of stream.  Two
# tenants' services are told apart, in whatever form the name is written; without
# a name, or with one that nobody has, the connection ends.  Clients wait for an
# agent that is on its way: after a start, and when it comes back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

my ($t, %p, %tls, %token);

set_up();
awaited();
names();
comes_back();

$t->finish;


sub set_up {
    $t = ZLTunnel->new(workers => 2, zltunnel => 'domain t.example;'
        . ' public_url https://*; reconnect_grace 90s; connect_timeout 5s;');
    %p = map { $_ => $t->free_port } qw(pass upstream alice);

    $t->write_conf(stream => <<"EOT");
upstream hosts { zltunnel_host \$ssl_preread_server_name; }
upstream alice { zltunnel_host \$ssl_preread_server_name token=alice; }
ssl_preread on;
proxy_connect_timeout 5s;
server { listen 127.0.0.1:$p{pass};
         zltunnel_pass host=\$ssl_preread_server_name; }
server { listen 127.0.0.1:$p{upstream}; proxy_pass hosts; }
server { listen 127.0.0.1:$p{alice};
         zltunnel_pass host=\$ssl_preread_server_name token=alice; }
EOT

    $token{$_} = $t->token($_, 'hosts=*.t.example') for 'alice', 'bob';
    $t->start;

    my $certs = $t->certs;

    $tls{$_} = backend($t, <<"EOT") for 'alice', 'bob';
server {
    listen 127.0.0.1:%PORT% ssl;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    return 200 "$_ \$ssl_server_name\n";
}
EOT
}


# Begins a TLS connection and a request in it; with "-" it has no name.

sub begin {
    my ($port, $name) = @_;

    my @name = $name eq '-' ? '-noservername' : ('-servername', $name);

    open my $out, '-|', 'sh', '-c', 'printf "GET / HTTP/1.0\r\n\r\n" | timeout '
        . 60 * slowdown() . ' openssl s_client -quiet -connect 127.0.0.1:'
        . "$port @name 2>/dev/null" or die "openssl: $!";
    return $out;
}

sub answer {
    my ($out) = @_;

    local $/ = undef;
    my $text = <$out> // '';
    return $text =~ /\r\n\r\n(.*)\n/s ? $1 : $text;
}

sub ask { return answer(begin(@_)) }


sub agent {
    my ($name, @names) = @_;

    return $t->agent(token => $token{$name}, services => [
        "tls:$tls{$name}{port}" ], args => [ map { ('--host', $_) } @names ]);
}


my %agent;

sub awaited {
    my %waits = map { $_ => begin($p{$_}, 'shop.t.example') } qw(pass upstream);

    ok(wait_for(sub { () = $t->log =~ /client \S+ connected to/g;
                      return 2 == (() = $t->log =~ /client \S+ connected to/g)
               }), 'clients are connected, and no agent is');

    $agent{alice} = agent('alice', 'web', '*.wild.t.example');
    $agent{bob} = agent('bob', 'shop', 'x.wild.t.example');

    is(answer($waits{$_}), 'bob shop.t.example', "$_: who waited is answered")
        for sort keys %waits;
}


sub names {
    for my $kind ('pass', 'upstream') {
        is(ask($p{$kind}, $_->[0]), $_->[1], "$kind: $_->[0]") for
            [ 'web.t.example', 'alice web.t.example' ],
            [ 'WEB.t.Example', 'alice WEB.t.Example' ],
            [ 'shop.t.example', 'bob shop.t.example' ],
            [ 'a.b.wild.t.example', 'alice a.b.wild.t.example' ],
            [ 'x.wild.t.example', 'bob x.wild.t.example' ],
            [ '-', '' ], [ 'nobody.t.example', '' ], [ 'tls', '' ],
            [ 'a_b.wild.t.example', '' ];
    }

    is(ask($p{alice}, 'web.t.example'), 'alice web.t.example', 'token=: its own');
    is(ask($p{alice}, 'shop.t.example'), '', "and none of another's");
}


sub comes_back {
    my @old = $t->workers;
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub {
        my %now = map { $_ => 1 } $t->workers;
        return keys %now == 2 && !grep { $now{$_} } @old;
    }, 30), 'a reload');
    is(ask($p{$_}, 'web.t.example'), 'alice web.t.example', "$_: after it")
        for 'pass', 'upstream';

    $agent{alice}{proc}->kill('KILL');
    $agent{alice}{proc}->wait(5);
    my %waits = map { $_ => begin($p{$_}, 'web.t.example') } qw(pass upstream);
    $agent{alice}->launch;
    is(answer($waits{$_}), 'alice web.t.example', "$_: the agent is back")
        for sort keys %waits;
}
