#!/usr/bin/perl

# Protects: two nodes behind a balancer that sends each connection where it likes.
# Three hundred clients at once, at one link of an agent: none is reset, whatever
# its data channel met first, over ws and wss and within a WebSocket; the agent
# says once what the balancer should do, and with that done no channel goes
# astray.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

my $n = 300;
my $SAYS = qr/data channels come to another node than the tunnel/;
my @nodes = map { ZLTunnel->new(range => 4, workers => 2) } 1 .. 2;
my %front = map { $_ => $nodes[0]->free_port } qw(ws wss hashed);

need_nofile(2 * $n + 1000);
nodes();

my $echo = $nodes[0]->service('echo');

subtest 'a balancer, ws' => sub { balanced('ws', 'raw') };
subtest 'a balancer, wss' => sub { balanced('wss', 'raw') };
subtest 'a balancer, ws, within a WebSocket' =>
    sub { balanced('ws', 'websocket') };
subtest 'a balancer that knows what to do' => \&hashed;

$nodes[0]->finish($nodes[1]);


sub nodes {
    my $token = ZLTunnel::random_token();
    my $upstream = sub {
        my ($name, $how, $port) = @_;

        return "upstream $name { $how; " . join(' ', map {
            "server 127.0.0.1:$_->{$port};" } @nodes) . ' } ';
    };

    $nodes[0]->write_conf(
        stream => $upstream->('ws', 'random', 'http_port')
                  . $upstream->('wss', 'random', 'tls_port')
                  . $upstream->('hashed', 'hash $remote_addr', 'http_port')
                  . join '', map { "server { listen 127.0.0.1:$front{$_}
                                     backlog=4096; proxy_pass $_; } " }
                             sort keys %front);

    for my $node (@nodes) {
        $node->{at} = $token;
        $node->token('alice', 'sessions=2', $token);
        $node->start;
    }
}


sub misdirected {
    my $logs = join '', map { slurp("$_->{dir}/logs/access.log") } @nodes;

    return scalar(() = $logs =~ /" 421 /g);
}


# All of them at once: those that stay, and those that end soon.

sub burst {
    my ($agent) = @_;

    my $port = $agent->port('echo');
    my $load = $nodes[0]->spawn("held-$port-" . $agent->pid,
                                $nodes[0]->nettool, 'held', $port, $n, 2, $n);

    ok(wait_for(sub { $load->output =~ /^held/m || !$load->running }, 60),
       'all are answered');
    is(($load->output =~ /^held (\d+)/m)[0], $n, 'none is reset')
        or diag($load->output);
    $load->say('go on');
    is($load->wait(60), 0, 'all exchange and end') or diag($load->output);

    my ($rc, $out) = run({ timeout => 60 }, $nodes[0]->nettool, 'short', $port, $n,
                         $n);
    is($rc, 0, 'so do short ones') or diag($out);
}


sub balanced {
    my ($scheme, $transport) = @_;

    my $before = misdirected();
    my $agent = $nodes[0]->agent(
        token => $nodes[0]{at}, tls => $scheme eq 'wss',
        server => "$scheme://127.0.0.1:$front{$scheme}",
        services => [ "echo:$echo->{port}" ],
        args => [ '--transport', $transport ]);

    burst($agent);

    cmp_ok(misdirected() - $before, '>', $n / 2, 'half came to the other node');

    if ($scheme eq 'ws' && $transport eq 'raw') {
        ok($agent->logged($SAYS, 20), 'told what the balancer should do');
        burst($agent);
    }

    my @told = grep { !/is not encrypted|answered 503/ }
               $agent->log =~ /( WARN .*)/g;
    is((grep { !/$SAYS/ } @told), 0, 'nothing else is wrong') or diag("@told");
    cmp_ok(scalar @told, '<=', 1, 'and that is told once');
    is($agent->stop, 0, 'the agent ends');
}


sub hashed {
    my $before = misdirected();
    my $agent = $nodes[0]->agent(
        token => $nodes[0]{at}, services => [ "echo:$echo->{port}" ],
        server => "ws://127.0.0.1:$front{hashed}");

    burst($agent);

    is(misdirected() - $before, 0, 'none came to the other node');
    unlike($agent->log, qr/another node/, 'nothing is told');
    is($agent->stop, 0, 'the agent ends');
}
