#!/usr/bin/perl

# Protects: README.md's first tunnel, and the configuration that it shows.  What
# it says to type is typed and what it says to write is written, on a server and
# a machine at home that have Debian's nginx.conf and the packages; what it shows
# has to come, and no line may do anything else than is said.  ZLT_LONG=1 does it
# on a new Debian.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;
use ZLTunnel::Doc;
use ZLTunnel::Readme;

my $why = ZLTunnel::Readme::missing();
plan(skip_all => $why) if $why;

my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my ($server, $home) = ZLTunnel::Readme::machines($dir);
my $doc = ZLTunnel::Readme->new('README.md', server => $server,
                                home => $home);

for my $title ('A first tunnel', 'How it is used') {
    subtest $title => sub { cmp_ok($doc->follow($title), '>', 3, 'its blocks') };
}

subtest 'what else is said' => \&rest;
subtest 'connect' => \&connect;

$doc->finish;

done_testing();


# The command that needs no file, and what it prints.

sub connect {
    my ($command, $shown) = $doc->{text}
        =~ /^    (zltunnel-agent connect .*\\\n.*)\n\n((?:    \S.*\n)+)/m;
    ok($command, 'the command') or return;

    my ($rc, $out, $err) = $doc->shell('home', 'systemctl stop zltunnel-agent'
        . ' && install -m 600 /etc/zltunnel/token token');
    is($rc, 0, 'the token is not in use') or diag $err;

    $doc->shell('home', "timeout 60 $command > connect.out 2> connect.err &"
                . ' echo $! > connect.pid');

    ok(wait_for(sub {
        ($rc, $out) = $doc->shell('home', 'cat connect.out');
        return $out =~ s/:3\d{4}$/:30000/mgr eq $shown =~ s/^    //mgr;
    }), 'services are published, as shown')
        or diag $out, ($doc->shell('home', 'cat connect.err'))[1];

    $doc->shell('home', 'kill $(cat connect.pid)');
}


sub rest {
    my ($rc, $out) = $doc->shell('home', 'curl -s -H "Upgrade: websocket"'
        . ' -H "Connection: upgrade" https://blog.t.example.com/headers');
    like($out, qr{^GET /headers HTTP/1\.1\r?$}m, 'HTTP/1.1');
    like($out, qr{^Host: blog\.t\.example\.com\r?$}mi, '.. and Host');
    like($out, qr{^Upgrade: websocket\r?$}mi, '.. and Upgrade');

    ($rc, $out) = $doc->shell('home', 'zltunnel-agent status agent');
    like($out, qr/\bgame\b.*:30015\b/, 'a service of UDP has its port');
    like($out, qr/\bssh\b.*:2222\b/, 'a reserved port');
    like($out, qr{\bweb\b.*https://blog\.t\.example\.com}, 'a host has its URL');

    ($rc, $out) = $doc->shell('home', 'curl -s https://tunnel.example.com/');
    is($out, "Hello from home\n", 'one service, by its name');

    # soon after a start an agent may yet come that has the name

    ok(wait_for(sub {
        ($rc, $out) = $doc->shell('server', 'curl -sk'
            . ' -H "Host: none.t.example.com" https://localhost/ -o page'
            . ' -w "%{http_code}\n"; cat page; rm page');
        return $out =~ /\A404\n<!DOCTYPE html>/;
    }, 60), 'a page where nobody answers') or diag($out);

    like($server->slurp_file('/var/log/nginx/zltunnel.log'),
         qr/agent "home" connected/, 'the log tells who has come');

    ($rc, $out) = $doc->shell('server', 'stat -c "%a %G" /etc/nginx/zltunnel.tokens');
    is($out, "640 www-data\n", 'the workers may read the token file');
    ($rc, $out) = $doc->shell('home', 'stat -c "%a %U" /etc/zltunnel/token');
    is($out, "600 zltunnel\n", 'the token is the agent\'s alone');

    ($rc, $out) = $doc->shell('server', 'nginx -t 2>&1');
    unlike($out, qr/warn|emerg/, 'nginx -t has no complaint') or diag $out;

    systemds();
}


# What other pages ask of systemd, which is here.

sub systemds {
    for ([ 'server', 'systemctl status nginx', qr/Active: active/ ],
         [ 'home', 'systemctl status zltunnel-agent', qr/Active: active/ ],
         [ 'home', 'journalctl -u zltunnel-agent', qr/connected as "home"/ ],
         [ 'home', 'timedatectl', qr/Universal time:/ ])
    {
        my ($at, $command, $shown) = @$_;

        my ($rc, $out, $err) = $doc->shell($at, $command);
        is($rc, 0, $command) or diag $err;
        like($out, $shown, '.. shows it');
    }
}
