#!/usr/bin/perl

# Protects: a service that answers, and resets the connection while the client
# is still sending: the client sees all of the answer, and then a reset, never
# an end.  The kernel tells the agent of a reset once, and whoever writes to the
# service may be told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new;
my $service = IO::Socket::INET->new(Listen => 9, LocalAddr => '127.0.0.1')
    or die $@;
my %token = map { $_ => $t->token($_) } qw(ws wss);
$t->start;

for my $scheme (qw(ws wss)) {
    for my $transport (qw(raw websocket)) {
        my $agent = $t->agent(
            token => $token{$scheme}, tls => $scheme eq 'wss',
            services => [ 'answer:' . $service->sockport ],
            args => [ '--transport', $transport ]);

        answered("$scheme, $transport", $agent->port('answer'));
        is($agent->stop, 0, "$scheme, $transport: the agent ends");
    }
}

$t->finish;


sub answered {
    my ($name, $port) = @_;

    my $c = ZLTunnel::Wire::Socket->new($port);
    my $s = $service->accept;

    # until all buffers on the way are full

    $c->{s}->blocking(0);
    my ($sent, $quiet) = (0, 0);

    while ($quiet < 20) {
        my $n = syswrite $c->{s}, 'x' x 65536;
        $sent += $n // 0;
        $quiet = $n ? 0 : $quiet + 1;
        select undef, undef, undef, 0.02 if !$n;
    }

    note "$sent bytes are on their way";

    # unread bytes make a reset of the close

    syswrite $s, 'the answer';
    close $s;

    is($c->ending(20), 'reset', "$name: a reset");
    is($c->{in}, 'the answer', "$name: and the answer before it");
    $c->reset;
}
