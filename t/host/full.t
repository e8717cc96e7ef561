#!/usr/bin/perl

# Protects: in a full zone a service that waits for its agent, and whose Register
# is refused, stays what it was: with the names that it had, and no other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(ext register);

my ($FEATURES, $HOSTS, $BUSY) = (0x83, 4, 10);

my $t = ZLTunnel->new(zone => '256k', zltunnel => 'domain t.example;'
                      . ' reconnect_grace 60s;');
my $alice = $t->token('alice', 'hosts=*.t.example');
my @fill = map { $t->token("fill$_") } 1 .. 6;
$t->start;

# private, with a host; or with a list that takes a page

my $list = join ',', ('n' x 15) x 160;

my $c = ZLTunnel::Wire->agent($t, $alice, features => $FEATURES);
$c->send_msg(register('web', ext => ext(1, "\1", $HOSTS, 'old')));
is($c->expect('RegisterOk')->{type}, 'RegisterOk', 'a service with a host');
is_deeply(names(), [ 'old.t.example' ], 'which it has');

my %key = (resume_key => $c->{ok}{resume_key});
$c->reset;
ok(wait_for(sub { $t->status->{tunnels}[0]{state} eq 'disconnected' }),
   'its agent is away');

$c = ZLTunnel::Wire->agent($t, $alice, features => $FEATURES, %key);

my @others = map { ZLTunnel::Wire->agent($t, $_, features => 1) } @fill;
my %codes;

for my $other (@others) {
    for my $n (1 .. 16) {
        $other->send_msg(register("s$n", ext => ext(1, "\1", 3, $list)));
        $codes{ ($other->next // {})->{code} // 0 }++;
    }
}

ok($codes{0} && $codes{$BUSY}, 'the zone is full of lists');

$c->send_msg(register('web', ext => ext(1, "\1", 3, $list, $HOSTS, 'new')));
is($c->expect('RegisterFail')->{code}, $BUSY, 'no room for another');
is_deeply(names(), [ 'old.t.example' ], 'it has the name that it had');

$c->send_msg(register('web', ext => ext(1, "\1", $HOSTS, 'new')));
is($c->expect('RegisterOk')->{type}, 'RegisterOk', 'without a list there is');
is_deeply(names(), [ 'new.t.example' ], 'and it has the new name');

$_->reset for $c, @others;
$t->finish;


sub names {
    return [ map { @{ $_->{hosts} } } map { @{ $_->{services} } }
             @{ $t->status->{tunnels} } ];
}
