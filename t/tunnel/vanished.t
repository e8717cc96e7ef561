#!/usr/bin/perl

# Protects: a client that vanishes without a word, as a machine that loses its
# power or its network does, is noticed, and its connection ended: while it is
# idle, while it is sent something, and while it sends; also with TLS, and where
# it came by zltunnel_pass.  What the listen directive says of keepalive goes
# before.
#
# The time that this takes passes quickly for nginx (t/lib/preload/lapse.c).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::Net;

# the addresses of the clients are taken away

plan(skip_all => 'needs a network of its own') unless ZLTunnel::Net::own();

my $lapse = 20;
my $lib = ZLTunnel->nettool =~ s{[^/]*$}{lapse.so}r;

run_ok({ timeout => 60 }, $ENV{CC} || 'cc', '-shared', '-fPIC', '-O2',
       '-o', $lib, "$ZLTunnel::ROOT/t/lib/preload/lapse.c");

my $t = ZLTunnel->new(
    workers => 1, range => 4, main => 'env LAPSE;',
    zltunnel => 'heartbeat_interval 10m; heartbeat_timeout 1h;
                 connect_timeout 10m;');
my ($pass, $tls, $own) = map { $t->free_port } 1 .. 3;
my $certs = $t->certs;

$t->write_conf(stream => <<"EOT");
server { listen 127.0.0.1:$pass; zltunnel_pass echo token=alice; }
server { listen 127.0.0.1:$own so_keepalive=1h:1h:9;
         zltunnel_pass echo token=alice; }
EOT

my $token = $t->token('alice');

{
    local $ENV{LD_PRELOAD} = $lib;
    local $ENV{LAPSE} = $lapse;
    local $ENV{ASAN_OPTIONS} = join ':', 'verify_asan_link_order=0',
                                         $ENV{ASAN_OPTIONS} // ();
    $t->start;
}

my $echo = $t->service('echo');
my $source = $t->service('source', 50_000_000);
my $sum = $t->service('sum');
my $agent = $t->agent(token => $token, services => [
    "echo:$echo->{port}", "source:$source->{port}", "sum:$sum->{port}" ]);
my %port = map { $_ => $agent->port($_) } qw(echo source sum);


# A client whose address can be taken away.

my $last = 0;

sub client {
    my ($port) = @_;

    my $addr = '198.51.100.' . ++$last;
    run_ok('ip', 'addr', 'add', "$addr/32", 'dev', 'lo');

    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
                                  LocalAddr => $addr) or die "$addr: $@";
    return { s => $s, addr => $addr };
}

sub vanish { run_ok('ip', 'addr', 'del', "$_->{addr}/32", 'dev', 'lo') for @_ }

sub greeted {
    my ($c) = @_;

    syswrite $c->{s}, 'hello';
    sysread $c->{s}, my $answer, 5;
    return $answer eq 'hello';
}

my $stays = client($port{echo});
ok(greeted($stays), 'a client that stays');

my $kept = client($own);
ok(greeted($kept), 'one whose keepalive is as so_keepalive says');

my @idle = (client($port{echo}), client($pass));
ok(greeted($_), 'a client that will be idle') for @idle;

# that has read a part of what it was sent

my @down = (client($port{source}), client($port{source}));
ok(sysread($_->{s}, my $buf, 65536), 'a download') for @down;

my $up = client($port{sum});
syswrite $up->{s}, 'x' x 100_000;
ok(wait_for(sub { $t->service_status('sum')->{bytes_in} == 100_000 }),
   'an upload');

my $active = sub {
    my %n = map { $_ => $t->service_status($_)->{active} } keys %port;
    return \%n;
};

is_deeply($active->(), { echo => 4, source => 2, sum => 1 }, 'all are there');

vanish(@idle, @down, $up, $kept);

ok(wait_for(sub { $active->()->{sum} == 0 }, 60), 'the upload is ended');
ok(wait_for(sub { $active->()->{source} == 0 }, 60), 'the downloads are');
ok(wait_for(sub { $active->()->{echo} == 2 }, 60), 'idle clients are');
ok(wait_for(sub { $t->events($sum, 'reset') == 1 }), 'the service sees a reset');

ok(greeted($stays), 'the one that stays is served');
is($active->()->{echo}, 2, 'and the other is waited for');

run_ok('ip', 'addr', 'add', "$kept->{addr}/32", 'dev', 'lo');
ok(greeted($kept), 'which comes back');

close $_->{s} for $stays, $kept;
$t->finish;
