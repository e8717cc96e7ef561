#!/usr/bin/perl

# Protects: several addresses of one node have one link together, which takes one
# session, so that they do not fight for it; where its address fails it goes on
# to another one.  And a name of a host that nginx makes up is the same at all
# nodes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Names;
use ZLTunnel::Proc qw(run);

my $why = ZLTunnel::Names::missing();
plan(skip_all => $why) if $why;

my $token = ZLTunnel::random_token();
my $PORT = 4433;
my (@t, $names, $agent);

# the first is one node, at two addresses

@t = (node('127.0.0.2', '127.0.0.3'), node('127.0.0.4'));

$names = ZLTunnel::Names->new($t[0]);
$names->answers('nodes.test' => '127.0.0.2,127.0.0.3,127.0.0.4');
$names->serve;

subtest 'a link for each node' => \&each_node;
subtest 'check' => \&checked;
subtest 'its other address' => \&other_address;
subtest 'localhost' => \&localhost;

$t[0]->finish($t[1]);


sub listens {
    return http => 'server { ' . join(' ', map { "listen $_:$PORT;" } @_)
                   . ' location = /tunnel/v1 { zltunnel; } }';
}


sub node {
    my (@addresses) = @_;

    my $t = ZLTunnel->new(workers => 2, range => 4, listens(@addresses),
                          zltunnel => 'domain t.example;',
                          allow => [ qr/exited on signal 9/ ]);

    $t->token('alice', 'hosts=auto', $token);
    $t->start;

    return $t;
}


sub start {
    my ($server) = @_;

    $agent = $t[0]->agent(wait => 0, token => $token,
                          program => $names->program, conf => <<"EOT");
[agent]
server = $server
mode = all
token_file = %%token_file%%
log_level = debug
reconnect_interval = 200ms
max_reconnect_interval = 500ms
[service e]
local = 127.0.0.1:9
host = auto
EOT
}


sub links { @{ ($agent->status || { tunnels => [] })->{tunnels} } }

sub address { $_[0]{address} =~ /^(.*):\d+$/ ? $1 : '' }

# The link of the first node, which is not at the other one's address.

sub of_first { (grep { address($_) ne '127.0.0.4' } links())[0] }


sub sessions {
    my ($t) = @_;
    return scalar(() = $t->log =~ /agent "alice" (?:connected|is back)/g);
}


sub each_node {
    start("ws://nodes.test:$PORT");

    ok(wait_for(sub { 2 == grep { $_->{state} eq 'connected' } links() }, 20),
       'two are connected') or diag($agent->log);
    ok(wait_for(sub { $agent->log =~ /the server is the node [0-9a-f]{32}, /
                      || $agent->log =~ /is in use/ }, 20),
       'the third address is tried');

    my @links = links();
    is(scalar @links, 2, 'and has no link');
    isnt($links[0]{node}, $links[1]{node}, 'each link has a node of its own');
    like($_->{node}, qr/^[0-9a-f]{32}$/, 'which it shows') for @links;
    is_deeply([ map { sessions($_) } @t ], [ 1, 1 ],
              'each node has had one session');
    unlike($agent->log, qr/ (?:WARN|ERROR) (?!.*not encrypted)/,
           'nobody need know of it');

    my @urls = map { $_->{services}[0]{urls}[0] } @links;
    like($urls[0], qr{^https?://\w+\.t\.example}, 'a name is made up');
    is($urls[1] =~ s/:\d+$//r, $urls[0] =~ s/:\d+$//r,
       'which is the same at the other one');
}


# "check --connect" goes to each address, and tells whose it is.

sub checked {
    my ($rc, $out) = run($names->program, 'check', '--connect', '-c',
                         $agent->{conf});

    is($rc, 0, 'check --connect') or diag($out);
    is(scalar(() = $out =~ /^ws:\S+ at 127\.0\.0\.[234]:$PORT:$/mg), 2,
       'it tells of each further address');

    my @nodes = $out =~ /^    node +OK +([0-9a-f]{32})$/mg;
    my %nodes = map { $_ => 1 } @nodes;
    is(scalar @nodes, 3, 'of three addresses');
    is_deeply([ sort keys %nodes ], [ sort map { $_->{node} } links() ],
              'which are those of two nodes');
}


# It is killed, and has other addresses afterwards.

sub moves {
    my ($t, @addresses) = @_;

    kill 'KILL', $t->{nginx}->pid, $t->workers;
    $t->{nginx}->wait(10);
    $t->write_conf(listens(@addresses));
    $t->start;
}


# Its node is at one of its addresses no more.

sub other_address {
    my $at = address(of_first());
    my ($other) = grep { $_ ne $at } '127.0.0.2', '127.0.0.3';

    moves($t[0], $other);

    ok(wait_for(sub {
        my $l = of_first();
        return address($l) eq $other && $l->{state} eq 'connected';
    }, 20), 'the link goes on to the other address') or diag($agent->log);
    is(sessions($t[1]), 1, 'the other link has stayed where it is');
    is($agent->stop, 0, 'the agent ends');
}


# Of one nginx, by both families.

sub localhost {
    moves($t[1], '127.0.0.1', '[::1]');

    my $before = sessions($t[1]);

    start("ws://localhost:$PORT");
    ok(wait_for(sub { $agent->log =~ /the server is the node / }, 20),
       'both addresses are tried') or diag($agent->log);

    my @links = links();
    is(scalar @links, 1, 'there is one link');
    is($links[0]{state}, 'connected', 'which is connected');
    is(sessions($t[1]), $before + 1, 'by one session');
    is($agent->stop, 0, 'the agent ends');
}
