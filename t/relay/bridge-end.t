#!/usr/bin/perl

# Protects: the end of a connection that is bridged counts, also where it was
# told before the worker of the client has taken the bridge: the client sees
# an end, not a reset.
#
# The worker of the client sleeps, while the agent opens a channel at the
# other, the service says all it has, and ends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(workers => 2, range => 2);
my $token = $t->token('alice');
$t->start;

my $source = $t->service('source', 1000);
my ($holder, $other) = $t->workers;

# the control channel goes to one, and there are no idle ones

halt($other);
my $agent = $t->agent(token => $token, tls => 1,
                      services => ["s:$source->{port}"],
                      args => [ '--max-idle', 0 ]);
my $port = $agent->port('s');

halt($holder);
kill CONT => $other;

my ($c, @more);

for my $try (1 .. 20) {
    push @more, ZLTunnel::Wire::Socket->new($port);
    wait_for(sub {
        ($c) = grep { has_connection($other, $port, $_->{s}->sockport) } @more;
        return $c;
    }, 0.5) and last;
}

$_->reset for grep { $_ != $c } @more;

halt($other);
kill CONT => $holder;

# others' connections see to it that the one that is awake is woken

ok(wait_for(sub {
    connect_to($t->{tls_port});
    return slurp($source->{log}) =~ /^accept/m;
}), 'the service is connected');
sleep 0.3;
kill CONT => $other;

is(length($c->take(1000) // ''), 1000, 'all bytes come');
is($c->ending(10), 'eof', 'then the end');
$c->shut;

$t->finish;
