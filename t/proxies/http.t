#!/usr/bin/perl

# Protects: agents behind an HTTP proxy.  Control and data channels go through
# tinyproxy and squid by CONNECT, with and without a password; over wss
# everything that a relay must keep is kept, over ws what these proxies can.
#
# Long: 64 MiB, 500 connections; short: 4 MiB, 50.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use MIME::Base64 qw(encode_base64);
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

my %user = (user => 'agent', password => 'open-sesame');
push @{ $t->{secrets} }, $user{password},
    encode_base64("$user{user}:$user{password}", '') =~ s/=*$//r;

SKIP: {
    my $p = tinyproxy($t, %user) or skip('no tinyproxy', 1);
    my $file = "$t->{dir}/proxy";
    write_file($file, "$p->{url}\n", 0600);

    my $path = ZLTunnel::Paths->new($t, name => 'tinyproxy', %size,
        agent => { tls => 1, args => [ '--proxy-file', $file ] },
        cut => sub { $p->{proc}->stop('KILL') });

    like($path->{real}->log, qr/ through http:\/\/127\.0\.0\.1:$p->{port}$/m,
         'the agent tells the way that it takes');
    like($path->{real}->log,
         qr/connected .*through the proxy \S+ \(from \Q$file\E/,
         'and who says so');
    like(slurp($p->{log}), qr/CONNECT 127\.0\.0\.1:$t->{tls_port} /,
         'the proxy was asked for the server');

    $path->all;

    $p = tinyproxy($t, %user, port => $p->{port});
    ok(wait_for(sub { ZLTunnel::Paths::tunnel($t) }, 30),
       'the proxy is back, and so is the tunnel');
    $path->end;
}

SKIP: {
    my $p = squid($t, %user) or skip('no squid', 1);

    my $path = ZLTunnel::Paths->new($t, name => 'squid', %size,
        agent => { tls => 1, env => { https_proxy => $p->{url} } });
    like($path->{real}->log, qr/\(from https_proxy\)/,
         'the proxy of the environment');
    like($path->{real}->link->{proxy}, qr/127\.0\.0\.1/, 'in the status, too');
    is($path->{real}->link->{transport}, 'raw', 'and raw channels');

    $path->all;
    $path->end;

    like(slurp($p->{log}), qr/CONNECT 127\.0\.0\.1:$t->{tls_port} agent /,
         'squid knows the user');
}

# Over ws an end in one direction ends both: that is what these proxies do.

for my $kind (['tinyproxy', \&tinyproxy], ['squid', \&squid]) {
    my ($name, $start) = @$kind;

    SKIP: {
        my $p = $start->($t) or skip("no $name", 1);
        my $path = ZLTunnel::Paths->new($t, name => "$name, ws", %size,
            keeps => { half_close => 0, resets => 0, truncation => 0 },
            agent => { args => [ '--proxy', $p->{url} ] });

        $path->bytes;
        $path->datagrams;
        $path->end;
    }
}

$t->finish;
