#!/usr/bin/perl

# Protects: while two binaries serve, either may meet a channel of the other.  The
# one that does not know it answers 421, with its own node, and nobody is told
# that a balancer does wrong.  The new binary is another node, and so is a server
# that was started again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(workers => 1, range => 4, daemon => 'on');
my $token = $t->token('alice');
$t->start;

my ($drawn, $told, %met) = (who($t), 0);

subtest 'two binaries' => sub {
    my $agent = ZLTunnel::Wire->agent($t, $token);
    my $old = $t->{nginx}->pid;
    my $new = upgrade();

    # of whose workers it is, the kernel says

    ok(wait_for(sub {
        my $c = ZLTunnel::Wire->channel(
            $t, @{ $agent->{ok} }{qw(tunnel_id data_key)}, undef,
            headers => 'Zltunnel-Node: ' . unpack('H*', $drawn) . "\r\n");
        my $answer = $c->{answer};
        my ($node) = $answer->{head} =~ /^Zltunnel-Node: (\w+); upgrade\r?$/m;

        $met{ $answer->{status} }{ $node // '' }++;
        $told++ if $answer->{head} =~ /^Zltunnel-Node: \w{32}; upgrade\r?$/m;
        $c->close;

        # enough for the warning, were it one

        return $met{101} && $met{421} && (values %{ $met{421} })[0] >= 4;
    }), 'channels meet both');

    my ($node) = keys %{ $met{421} };
    is_deeply([ sort keys %met ], [ 101, 421 ], 'and nothing else');
    is(keys %{ $met{421} }, 1, 'the new one says who it is');
    isnt($node, unpack('H*', $drawn), 'which is somebody else');
    is($told, $met{421}{$node}, 'and that it is beside another binary');

    $agent->close;
    kill QUIT => $old;
    ok(wait_for(sub { !$t->{nginx}->running }, 30), 'the old one ends');
    $t->follow($new);

    is(unpack('H*', (who($t))[0]), $node, 'agents are told the same');
    unlike($t->log, qr/what balances the servers/, 'no balancer is blamed');
};

subtest 'started again' => sub {
    my $former = who($t);

    $t->{nginx}->stop;
    $t->start;
    isnt(who($t), $former, 'another node');
};

$t->finish;


sub upgrade {
    my $old = $t->{nginx}->pid;
    my $new;

    $t->{nginx}->kill('USR2');
    ok(wait_for(sub {
        ($new) = slurp("$t->{dir}/nginx.pid") =~ /^(\d+)/;
        return $new && $new != $old && -e "$t->{dir}/nginx.pid.oldbin"
               && children_of($new) >= 1;
    }, 30), 'a new binary') or die "no new binary\n";

    return $new;
}


sub who {
    my ($t) = @_;

    my $agent = ZLTunnel::Wire->agent($t, $token);
    $agent->close;

    return $agent->{ok}{node};
}
