#!/usr/bin/perl

# Protects: an agent with "mode = all" at several real nodes behind HAProxy, as
# docs/operations.md has it: passing on bytes, and speaking HTTP, where each data
# channel goes to the node that it is for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Front;
use ZLTunnel::Wire;

plan(skip_all => 'there is no haproxy')
    if (run('sh', '-c', 'command -v haproxy'))[0];

my $f = ZLTunnel::Front->new;
my @t = @{ $f->{t} };
my $url = "wss://$ZLTunnel::Front::NAME:$f->{front}{443}/tunnel/v1";

subtest 'by the address' => \&source;
subtest 'speaking HTTP' => \&http;
subtest 'in turn, and a node dies' => \&in_turn;

$f->finish;


sub astray { return scalar grep { $t[$_]->log =~ /data channel of the agent/ } 0 .. 2 }


sub source {
    $f->haproxy('HAProxy, in front');
    $f->agent($url);

    ok(wait_for(sub { $f->nodes == 1 }), 'the agent is at one node');
    is(astray(), 0, 'no data channel has met another');
    is($f->{agent}->stop, 0, 'the agent ends');
}


# The agent first as well: what meets another node is asked for again.  Then it has
# the nodes' addresses.  A range of ports is two lines, and a node that is dead is
# not asked.

sub in_turn {
    $f->haproxy('HAProxy, in front', sub {
        $_[0] =~ s/balance source\n.*/balance roundrobin/ or die 'no balance';
    });
    my $port = $f->{front}{port};
    my $served = sub {
        my $c = ZLTunnel::Wire::Socket->new($port) or return 0;
        $c->send('hello');
        my $ok = ($c->take(5, 20) // '') eq 'hello';
        $c->close;
        return $ok;
    };

    $f->agent($url);
    $f->is_at('the agent in turn', 0, 1, 2);
    is(scalar(grep { $served->() } 1 .. 12), 12, 'twelve of twelve');
    is($f->{agent}->stop, 0, 'the agent ends');

    $f->{names}->hosts(map { ($ZLTunnel::Front::NAME => $_) } @{ $f->{ip} });
    $f->agent("wss://$ZLTunnel::Front::NAME:$f->{port}{443}/tunnel/v1");
    $f->is_at('clients in turn', 0, 1, 2);
    is(scalar(grep { $served->() } 1 .. 12), 12, 'the port in front: twelve of twelve');

    $f->{fleet}->crash(2);
    ok(wait_for(sub { 6 == grep { $served->() } 1 .. 6 }, 30),
       'a node dies: HAProxy goes on without it');
    is(scalar(grep { $served->() } 1 .. 12), 12, 'twelve of twelve');

    $t[2]->start;
    $f->is_at('it is back', 0, 1, 2);
    is($f->{agent}->stop, 0, 'the agent ends');
}


sub http {
    my $certs = $t[0]->certs;
    my $pem = "$f->{dir}/front.pem";

    write_file($pem, slurp("$certs/other.pem") . slurp("$certs/other.key"));
    $f->haproxy('HAProxy, speaking HTTP', sub {
        $_[0] =~ s{/etc/haproxy/tunnel\.pem}{$pem};
    });

    $f->agent($url);
    $f->is_at('HTTP', 0, 1, 2);
    $f->at_each('HTTP');

    is(astray(), 0, 'no data channel has met another node');
    is($f->{agent}->stop, 0, 'the agent ends');
}
