#!/usr/bin/perl

# Protects: a port or a host has one tenant, at all nodes.  What another token has
# leased ends a service that asked for it, and moves one whose port the server has
# chosen; the same token has it at two nodes; who goes gives it back, but not what
# another node of the token still has.  Two halves with engines of their own agree
# when they are one again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Engine;

plan(skip_all => ZLTunnel::Engine::missing()) if ZLTunnel::Engine::missing();

my @t = map { ZLTunnel->new(workers => 2) } 0, 1;
my $engine = ZLTunnel::Engine->start($t[0]);
my %token = map { $_ => ZLTunnel::random_token() } qw(alice bob);

for my $t (@t) {
    my %node = $engine->node;
    $node{zltunnel} .= 'reconnect_grace 1s;';
    $t->token($_, 'hosts=*.example.com sessions=4', $token{$_}) for keys %token;
    $t->write_conf(%node);
    $t->start;
}

my $echo = $t[0]->service('echo');

sub agent {
    my ($n, $name, $service, @args) = @_;

    return $t[$n]->agent(token => $token{$name}, args => \@args, wait => 0,
                         services => [ "$name:$echo->{port}$service" ]);
}

sub leases {
    my %lease = map { $_ => $engine->ask('GET', $_) }
                map { @{ $engine->ask('KEYS', "zlt:$_:*") } } qw(port host);
    return join ' ', map { s/^zlt://r . '=' . $lease{$_} }
                    grep { defined $lease{$_} } sort keys %lease;
}

sub has {
    my ($leases, $what) = @_;
    ok(wait_for(sub { leases() eq $leases }), $what) or diag(leases());
}

my $lost = sub { $t[1]->status->{cluster}{leases_lost} };

# a host

my $a = agent(0, 'alice', '', '--host', 'a.example.com');
has('host:a.example.com=alice', 'a host is leased');

# what the other node has is known already, or it is lost

my $b = agent(1, 'bob', '', '--host', 'a.example.com');
ok(wait_for(sub { $b->log =~ /withdrawn.*Another\ token\ has\ one\ of\ its\ hosts
                              |refuses.*is\ another\ token's/x }),
   'another token does not have it') or diag($t[1]->tails);
my $withdrawn = $b->log =~ /withdrawn/ ? 1 : 0;
like($t[1]->log, $withdrawn
     ? qr/"bob" loses host:a.example.com, which token "alice" has/
     : qr/"bob" refused: The host "a.example.com" is another token's/,
     'the log says it');
is($lost->(), $withdrawn, 'and it is counted');
$b->stop;

# the same token

my $a2 = agent(1, 'alice', '', '--host', 'a.example.com');
ok(wait_for(sub { $t[1]->status->{cluster}{leases} == 1 }), 'the same token');
$a->stop;
sleep 3;
has('host:a.example.com=alice', 'keeps what is left at another node');
is($lost->(), $withdrawn, 'without losing it');
$a2->stop;
has('', 'what nobody has is given back');

# a port that is asked for, and one that is not

$engine->tell([ 'SET', "zlt:port:tcp:$t[1]{base}", 'alice', 'EX', 100 ]);
$b = agent(1, 'bob', ":$t[1]{base}");
ok(wait_for(sub { $b->log =~ /withdrawn.*Another token has the port/ }),
   'a port that is asked for') or diag($t[1]->tails);
$b->stop;

$b = agent(1, 'bob', '');
ok(wait_for(sub { leases() =~ /port:tcp:(\d+)=bob/ && $1 != $t[1]{base} }),
   'one that is not: there is another one') or diag($b->log, $t[1]->tails);
ok(wait_for(sub { connect_to($b->port('bob')) }), 'which serves');
ok(refuses($t[1]{base}), 'the other one is closed');
$b->stop;
$engine->tell([ 'DEL', "zlt:port:tcp:$t[1]{base}" ]);
has('', 'all is given back');

# the other half has an engine of its own

my $other = ZLTunnel::Engine->start($t[1]);
my %node = $other->node;
$node{zltunnel} .= 'reconnect_grace 1s;';
$t[1]->write_conf(%node);
$t[1]{nginx}->kill('HUP');
ok(wait_for(sub { $t[1]->status->{cluster}{engine} =~ /:$other->{port}$/ }),
   'a half of its own');

$a = agent(0, 'alice', '', '--host', 'b.example.com');
$b = agent(1, 'bob', '', '--host', 'b.example.com');
has('host:b.example.com=alice', 'the one half');

%node = $engine->node;
$node{zltunnel} .= 'reconnect_grace 1s;';
$t[1]->write_conf(%node);
$t[1]{nginx}->kill('HUP');
ok(wait_for(sub { $b->log =~ /withdrawn.*Another token has one of its hosts/ }),
   'one again, one of them has it');

$_->stop for $a, $b;
$t[0]->finish($t[1]);
