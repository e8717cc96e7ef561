#!/usr/bin/perl

# Protects: worker_shutdown_timeout cuts what is left in workers that exit:
# clients that are relayed, that wait for an agent, and channels under TLS that
# are bridged.  They are reset, it is logged at info, nothing at alert, and
# what new workers serve does not notice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Scene;
use ZLTunnel::Wire;

my $long = sizes('long connections', 200, 80);

my $carol;
my $s = ZLTunnel::Scene->new(long => $long,
    first => sub { $carol = $_[0]->token('carol'); () },
    main => 'worker_shutdown_timeout 4s;',
    zltunnel => 'connect_timeout 60s;');
my $t = $s->{t};


# a client whose service does not answer, and one whose agent is away

my $c = ZLTunnel::Wire->agent($t, $carol, features => 1);
$c->send_msg(ZLTunnel::Wire::register('held'));
my $held = $c->expect('RegisterOk')->{port};
my $asked = ZLTunnel::Wire::Socket->new($held);
is($c->expect('Connect')->{type}, 'Connect',
   'a client whose service does not answer');

$c->reset;
ok(wait_for(sub {
    grep { $_->{state} eq 'disconnected' } @{ $t->status->{tunnels} }
}), 'an agent is away');
my $waits = ZLTunnel::Wire::Socket->new($held);
$waits->send('hello');

my @old = $t->workers;
my $start = time;
$s->reload;

ok($s->gone(20, @old), 'the old workers exit');
my $took = time - $start;
cmp_ok($took, '>', 3, 'not before worker_shutdown_timeout');
note sprintf 'after %.1f s', $took;

is($asked->ending(5), 'reset', 'the client that waited for the service is '
   . 'reset');
is($waits->ending(5), 'reset', 'and the one that waited for the agent');

my $r;
ok(wait_for(sub { ($r = $s->report)->{long} == 0 }), 'no relay is left');
is($r->{reset}, $long, 'all long connections were reset');
is($r->{eof}, 0, 'none seemed to end');
is($r->{short_lost}, 0, 'no short one was lost');

ok($s->settled, 'the agents are with the new workers');
$s->allow_lost;
$s->end_load;

like($t->log, qr/\[info\] .*relay is cut: the worker shuts down/,
     'it is logged at info');
unlike($t->log, qr/\[(?:alert|crit|emerg)\]/, 'and at no level above error');

my @errors = grep { !/could not be reached|was not reached/ }
             $t->log =~ /^(.*\[error\].*)$/mg;
is_deeply(\@errors, [], 'nothing at error');

$s->start_load;
$s->nothing_lost('afterwards');
$s->finish;
