#!/usr/bin/perl

# Protects: agents behind a SOCKS 5 proxy.  Control and data channels go
# through microsocks, with and without a password, and Dante; names are
# resolved by the proxy for socks5h:// and here for socks5://, whose addresses
# are tried in turn; over wss all is kept, and over ws what these proxies can.
#
# Long: 64 MiB, 500 connections; short: 4 MiB, 50.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Middle;
use ZLTunnel::Paths;

need_nofile(8192);

my %size = (size => sizes('bytes of a big file', 64 << 20, 4 << 20),
            connections => sizes('connections', 500, 50), watch => 2);

my $t = ZLTunnel->new(workers => 2, udp => 1, range => 10,
                      connections => 8192,
                      zltunnel => ZLTunnel::Paths::LIMITS);
$t->{path_token} = $t->token('path');
$t->start;

my %user = (user => 'agent', password => 'open:sesame/@');
my $wss = "wss://localhost:$t->{tls_port}/tunnel/v1";
push @{ $t->{secrets} }, $user{password};

SKIP: {
    my $p = microsocks($t, %user) or skip('no microsocks', 1);
    my $url = $p->{url} =~ s{sesame/\@}{sesame%2f%40}r;

    my $path = ZLTunnel::Paths->new($t, name => 'microsocks', %size,
        agent => { tls => 1, server => $wss, env => { all_proxy => $url } },
        cut => sub { $p->{proc}->stop('KILL') });

    like($path->{real}->log, qr/through the proxy socks5h:\S+ \(from all_/,
         'the agent tells the way that it takes');
    ok(wait_for(sub { slurp($p->{log}) =~ /localhost:$t->{tls_port}$/m }),
       'socks5h://: the proxy has the name');

    $path->all;
    $path->{real}->stop;
    $path->end;
}

SKIP: {
    my $p = microsocks($t, scheme => 'socks5')
        or skip('no microsocks', 1);

    # "localhost" is ::1 first, where nobody listens

    my $agent = $t->agent(tls => 1, server => $wss, token => 'nobody',
                          args => [ '--proxy', $p->{url} ],
                          services => ['a:1'], wait => 0);
    ok($agent->logged(qr/refuses the token/),
       'socks5://: an address that leads to the server');
    ok(wait_for(sub { slurp($p->{log}) =~ / 127\.0\.0\.1:$t->{tls_port}$/m }),
       'the proxy has the address');
    unlike(slurp($p->{log}), qr/localhost/, 'and not the name');
    is($agent->{proc}->wait(20), 2, 'the token ends it');
}

SKIP: {
    my $p = dante($t) or skip('no danted', 1);

    my $path = ZLTunnel::Paths->new($t, name => 'dante', %size,
        agent => { tls => 1, server => $wss,
                   args => [ '--proxy', $p->{url} ] });
    $path->bytes;
    $path->half_close;
    $path->resets;
    $path->many;
    $path->end;

    # over ws, too, it passes on an end in one direction

    $path = ZLTunnel::Paths->new($t, name => 'dante-ws', %size,
        agent => { args => [ '--proxy', $p->{url} ] });
    $path->bytes;
    $path->half_close;
    $path->datagrams;
    $path->end;
}

$t->finish;
