#!/usr/bin/perl

# Protects: one token cannot take the zone from the others by lists of who may
# reach its services: they are bounded for all of its tunnels together, what is
# above is refused with a code and a reason, and what is given back counts no
# more.  "nginx -t" says when the zone is too small for what tokens allow.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(ext msg register);

my $t = ZLTunnel->new(range => 1, zone => '8m', zltunnel => 'max_services 50;');
my $greedy = $t->token('greedy', 'sessions=1000');
my $other = $t->token('other');

# private, with a list of so many bytes

sub listed { ext(1, "\1") . ext(3, join ',', ('n' x 15) x ($_[0] / 16)) }

my ($rc, $out) = $t->test_conf;
is($rc, 0, 'a token that could fill the zone is allowed');
like($out, qr/\[warn\].*zone.*tokens/, 'but gives a warning');

my $few = $t->{tokens}[0]{rights};
$t->{tokens}[0]{rights} = 'sessions=1000 max_services=1000';
$t->write_tokens;
($rc, $out) = $t->test_conf;
unlike($out, qr/\[warn\]/, 'max_services= says that it cannot');

$t->{tokens}[0]{rights} = $few;
$t->write_tokens;
$t->start;

my $other_agent = ZLTunnel::Wire->agent($t, $other, features => 1);


# As many lists of the longest kind as it may have, from many tunnels

my $before = $t->status->{zone}{free};
my (@agents, %answers, @ids, $reason);

for my $n (1 .. 10) {
    my $c = ZLTunnel::Wire->agent($t, $greedy, features => 1);
    push @agents, $c;

    for my $k (1 .. 10) {
        $c->send_msg(register("s-$n-$k", ext => listed(4096)));
        my $m = $c->next // { type => 'none' };
        $answers{ $m->{code} // $m->{type} }++;
        push @ids, [ $c, $m->{service_id} ] if $m->{service_id};
        $reason = $m->{reason} if $m->{reason};
    }
}

is_deeply([ sort keys %answers ], [ 4, 'RegisterOk' ],
          'some are taken, the others refused with code 4');
like($reason // '', qr/lists/, 'and a reason: ' . ($reason // ''));
cmp_ok(scalar @ids, '>=', 4, 'some');
cmp_ok($before - $t->status->{zone}{free}, '<', 1024 * 1024,
       'the zone is not filled');


# without a list there is no such limit, and others have their own

$agents[9]->send_msg(register('without', ext => ext(1, "\1")));
is($agents[9]->expect('RegisterOk')->{type}, 'RegisterOk',
   'one without a list is taken');

$other_agent->send_msg(register('mine', ext => listed(4096)));
is($other_agent->expect('RegisterOk')->{type}, 'RegisterOk',
   'one of another token, too');


# What is given back

my ($c, $id) = @{ $ids[0] };
$c->send_msg(msg('Unregister', $id));
$c->send_msg(register('instead', ext => listed(4096)));
is($c->expect('RegisterOk')->{type}, 'RegisterOk', 'another in its place');
$c->send_msg(register('more', ext => listed(4096)));
is($c->expect('RegisterFail')->{code}, 4, 'and no more');


# A service that is registered again has its list already

$other_agent->send_msg(register("mine-$_", ext => listed(4096))) for 1 .. 10;
my @taken = grep { ($other_agent->next // {})->{type} eq 'RegisterOk' } 1 .. 10;

my $resumed = ZLTunnel::Wire->agent(
    $t, $other, features => 1, resume_key => $other_agent->{ok}{resume_key});

for my $n (@taken) {
    $resumed->send_msg(register("mine-$n", ext => listed(4096)));
    is($resumed->expect('RegisterOk')->{type}, 'RegisterOk',
       "mine-$n is registered again");
}

$_->reset for @agents, $other_agent, $resumed;
$t->finish;
