#!/usr/bin/perl

# Protects: access_ttl is what an access session lasts at most.  However often
# it is renewed, it ends no later than so long after it was opened.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::Wire qw(access_renew register ext);

my $t = ZLTunnel->new;
my $site = $t->token('site');
my $alice = $t->token('alice', 'access=web access_ttl=60s');
my $bob = $t->token('bob', 'access=web access_ttl=0');
$t->start;

my $s = ZLTunnel::Wire->agent($t, $site, features => 15);
$s->send_msg(register('web', ext => ext(1, "\1")));
$s->expect('RegisterOk');

my $c = visitor($t, $alice);
my $d = visitor($t, $bob);
my $start = time;
my $id = opened($c, 'web', ttl => 40);
my $free = opened($d, 'web', ttl => 40);

is(renewed($c, $id, 50), 'AccessOk', 'within what is allowed');

# so that seconds have passed by the server's clock

wait_for(sub { time - $start > 4.5 }, 10);

my $left = sub { 60 - int(time - $start) };

is(renewed($c, $id, 58), 'AccessFail 6', 'from now on it would be too long');
is(renewed($c, $id, $left->() + 2), 'AccessFail 6', 'a little, too');
is(renewed($c, $id, $left->() - 5), 'AccessOk', 'what is left of it, not');
is(renewed($d, $free, 58), 'AccessOk', 'without access_ttl: as one likes');

like($t->log, qr/allows access for 1m at most from when it was opened/,
     'the reason');

# resumed, it is the same session

my $m = ask($c, 'web', ttl => 59, resume => $id);
is($m->{access_id}, $id, 'resumed');
cmp_ok($m->{ttl}, '<=', $left->(), '.. to the end that it has');

# a new one has its own time

is(ask($c, 'web', ttl => 60)->{type}, 'AccessOk', 'a new session');

$_->reset for $c, $d, $s;
$t->finish;


sub renewed {
    my ($c, $id, $ttl) = @_;

    $c->send_msg(access_renew($id, $ttl));
    my $m = $c->next // { type => $c->{end} // 'none' };
    return $m->{type} . (defined $m->{code} ? " $m->{code}" : '');
}
