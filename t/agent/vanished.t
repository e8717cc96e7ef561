#!/usr/bin/perl

# Protects: an agent whose connections stand still finds out when the other
# side has vanished without a word: a server's worker that was killed while
# the path lost its reset, a service whose machine is gone.  Both sides of
# what is open for a while have TCP's keepalive.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new;
my $echo = $t->service('echo');
my %token = map { $_ => $t->token($_) } qw(ws wss);
$t->start;

for my $scheme (qw(ws wss)) {
    my $agent = $t->agent(token => $token{$scheme}, tls => $scheme eq 'wss',
                          services => [ "$scheme:$echo->{port}" ]);

    my $c = ZLTunnel::Wire::Socket->new($agent->port($scheme));
    $c->send('hello');
    is($c->take(5), 'hello', "$scheme: an echo");

    my $server = $t->{ $scheme eq 'wss' ? 'tls_port' : 'http_port' };

    # towards the server the control channel has it anyway, and idle channels
    # have heartbeats of their own

    for ([ $echo->{port}, 1 ], [ $server, 2 ]) {
        my ($port, $n) = @$_;
        my @lines;

        ok(wait_for(sub {
            my $pid = $agent->pid;
            @lines = grep { /:$port\s+users:.*pid=$pid,/ }
                     split /\n/, run_ok('ss', '-Htnop', 'state', 'established');

            return $n == grep { /timer:\(keepalive/ } @lines;
        }, 60), "$scheme: keepalive towards $port")
            or diag(join "\n", @lines);
    }

    $c->close;
}

$t->finish;
