#!/usr/bin/perl

# Protects: who opens control channels and says nothing keeps no agent out.  All
# places of a worker are taken by one address, or by a few: an agent of another
# one comes in at once, while an address that has most of them gets no more.
# And what security.md advises against handshakes by the hundred works: it
# counts control channels and lets data channels pass.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

need_nofile(1024);

subtest "from $_->[1] address(es), $_->[0]" => \&silent, @$_
    for [ 'IPv4', 1 ], [ 'IPv4', 6 ], [ 'IPv6', 1 ];
subtest 'limit_req, as advised' => \&advice;

done_testing();


# So many of them from these addresses, in turn; the sockets that got a 101.

sub handshakes {
    my ($t, $n, %o) = @_;

    my @from = @{ delete $o{from} };
    my @open;

    for my $i (0 .. $n - 1) {
        my $c = ZLTunnel::Wire->control($t, %o, from => $from[$i % @from]);
        push @open, $c if $c && $c->{answer}{status} == 101;
    }

    return @open;
}

sub left { grep { $_->ending(0.001) eq 'open' } @_ }


sub silent {
    my ($family, $n) = @_;

    plan(skip_all => 'no IPv6 here') if $family eq 'IPv6'
        && !IO::Socket::IP->new(LocalHost => '::1', Listen => 1);

    my $t = ZLTunnel->new;
    my @more;
    my @from = map { "127.0.1.$_" } 1 .. $n;

    if ($family eq 'IPv6') {
        my $port = $t->free_port;
        $t->write_conf(http => "server { listen [::1]:$port;
                                         location / { zltunnel; } }");
        @more = (port => $port, host => '::1');
        @from = ('::1');
    }

    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my @silent = handshakes($t, 300, from => \@from, @more);
    is(@silent, 256, 'as many as max_unauthenticated allows')
        if $n == 1;

    # they are closed after ten seconds, which is not waited for

    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    cmp_ok(scalar(left(@silent)), '>=', 200,
           'an agent is there while they are');

    my @late = handshakes($t, 20, from => \@from, @more);
    cmp_ok(scalar(@late), '<=', 2, 'others of theirs do not come in')
        if $n == 1;

    my @others = handshakes($t, 10, from => ['127.0.2.1']);
    is(left(@others), 10, 'others do');

    $_->close for @silent, @late, @others;
    $t->finish;
}


# The configuration of docs/security.md, but for the rate.

sub advice {
    my ($http) = slurp("$ZLTunnel::ROOT/docs/security.md")
                 =~ /^```nginx\n(map .*?)^```/ms;
    my ($limit) = $http =~ s/^(location .*)//ms ? $1 : '';
    my $port;

    ok($limit, 'there is one');

    my $t = ZLTunnel->new(workers => 1);
    $port = $t->free_port;
    $limit =~ s/\bburst=\d+/burst=3/;
    $http =~ s/\brate=\S+;/rate=1r\/m;/;

    $t->write_conf(http => "$http server { listen 127.0.0.1:$port; $limit }");
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                          server => "ws://127.0.0.1:$port/tunnel/v1");

    my ($rc, $out) = run({ timeout => 60 }, $t->nettool, 'short',
                         $agent->port('e'), 300, 100);
    is($rc, 0, '300 connections of one agent') or diag($out);

    my %status;
    $status{ ZLTunnel::Wire->control($t, port => $port, from => '127.0.1.1')
             ->{answer}{status} }++ for 1 .. 10;
    is_deeply(\%status, { 101 => 4, 503 => 6 },
              'ten handshakes of an address: a burst of four');
    is(ZLTunnel::Wire->control($t, port => $port, from => '127.0.1.2')
       ->{answer}{status}, 101, 'one of another address');

    my $c = ZLTunnel::Wire->control($t, port => $port, from => '127.0.1.1',
        headers => "Zltunnel-Tunnel: x\r\n"
                   . "Sec-WebSocket-Protocol: zltunnel\r\n");
    is($c->{answer}{status}, 503, 'also if it looks like a data channel');
    $c->close;

    $t->finish;
}
