#!/usr/bin/perl

# Protects: the directory in an engine.  What a node has is there within a second,
# in one line each, without a token or a client's address, and goes when it goes;
# what others have comes to the node, by a message and by reading, and goes with
# their hash.  A reload and a new worker change none of it; a node that stops takes
# its own with it; entries that are none are left out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Engine;

plan(skip_all => ZLTunnel::Engine::missing()) if ZLTunnel::Engine::missing();

my @t = map { ZLTunnel->new(workers => 2, allow => [ qr/exited on signal 9/ ]) }
            0, 1;
my $engine = ZLTunnel::Engine->start($t[0]);
my @agents;
my @token = map { my $t = $_; $t->token('alice', 'hosts=*.example.com sessions=2') } @t;

for my $t (@t) {
    my %node = $engine->node;
    $node{zltunnel} .= 'reconnect_grace 2s;';
    $t->write_conf(%node);
    $t->start;
}

ok(wait_for(sub { keys %{ $engine->nodes } == 2 }), 'both nodes are there');
ok(wait_for(sub { at($t[0])->{nodes} == 1 && at($t[1])->{nodes} == 1 }),
   'each knows the other one');

# which is which their address says
my %id = map { my $n = $_; ($engine->nodes->{$n}{node} =~ /^\S+:(\d+) /)[0] => $n }
             keys %{ $engine->nodes };
my $ghost = 'ab' x 16;        # a node that only the engine knows
my @id = map { $id{ $_->{node_port} } } @t;

is(join(' ', map { length($_ // '') } @id), '32 32', 'and says where it is');

subtest 'what it has' => \&services;
subtest 'a reload' => \&reload;
subtest 'another worker' => \&worker;
subtest 'what others have' => \&others;
subtest 'what is no entry' => \&garbage;
subtest 'a node stops' => \&stops;
subtest 'figures' => \&figures;

$t[0]->finish($t[1]);


sub at { $_[0]->status->{cluster} }


# the lines of a node's services

sub lines {
    my ($id) = @_;
    my $node = $engine->nodes->{$id} // {};

    return sort map { $node->{$_} } grep { /^[0-9a-f]{32}$/ } keys %$node;
}


sub has {
    my ($id, @lines) = @_;

    ok(wait_for(sub { "@{[ lines($id) ]}" eq "@lines" }), "@lines")
        or diag(join "\n", lines($id));
}


sub services {
    my $echo = $t[0]->service('echo');

    push @agents, $t[0]->agent(
        token => $token[0],
        services => [ "near:$echo->{port}/internal",
                      "mine:$echo->{port}/private", "web:$echo->{port}" ],
        args => [ '--host', 'a.example.com', '--host', 'b.example.com' ]);
    push @agents, $t[0]->agent(token => $token[0],
                               services => [ "tcp:$echo->{port}" ]);
    my $port = $agents[1]->port('tcp');

    has($id[0], 'tcp mine token=alice flags=1',
        "tcp tcp token=alice port=$port",
        'tcp web token=alice flags=1 hosts=a.example.com,b.example.com');

    ok(wait_for(sub { at($t[1])->{services} == 3 }), 'the other node knows them');
    is(at($t[0])->{published}, 3, 'this one knows what it has told');

    my $all = join ' ', map { (%{ $engine->nodes->{$_} }) } @id;
    unlike($all, qr/\Q$token[0]\E|@{[ sha256_hex($token[0]) ]}/,
           'without a token');
}


# Nothing of it is written, but that the node is there.

sub changes {
    my ($watch) = @_;
    return grep { /"(?:HSET|HDEL|DEL|PUBLISH)"/i && !/"node" / } $watch->();
}


sub reload {
    my $watch = $engine->watch;
    my $worker = speaker();

    $t[0]{nginx}->kill('HUP');

    ok(wait_for(sub { speaker() != $worker && at($t[0])->{published} == 3 }),
       'a new worker speaks to the engine');
    sleep 2;
    is(join("\n", changes($watch)), '', 'nothing has changed in the engine');
    is(at($t[1])->{services}, 3, 'nor at the other node');
}


sub speaker {
    my ($pid) = reverse $t[0]->log =~ /\] (\d+)#.*this worker speaks to the engine/g;
    return $pid;
}


sub worker {
    my $watch = $engine->watch;
    my $pid = speaker();

    kill 'KILL', $pid;
    ok(wait_for(sub { speaker() != $pid && at($t[0])->{published} == 3 }),
       'another worker takes over from one that died');
    sleep 1;
    is(join("\n", changes($watch)), '', 'nothing has changed in the engine');

    # stopped, it cannot keep its place; when it goes on, it finds another one
    # there

    $pid = speaker();
    kill 'STOP', $pid;
    ok(wait_for(sub { speaker() != $pid }), '.. from one that is stopped');
    kill 'CONT', $pid;

    ok(wait_for(sub {
        my @of = grep { /cmd=(?:subscribe|ping)/ }
                      split /\n/, $engine->ask('CLIENT', 'LIST');
        return @of <= 4 }), 'which leaves the engine to the other one');
    ok(wait_for(sub { at($t[1])->{services} == 3 }), 'nothing is lost by it');
}


sub others {
    my $service = 'cd' x 16;
    my $line = 'tcp ghost token=alice port=7001';
    my $before = at($t[0])->{services};

    $engine->tell([ 'HSET', "zlt:node:$ghost", node => '127.0.0.9:1', $service,
                    $line ], [ 'EXPIRE', "zlt:node:$ghost", 100 ],
                  [ 'PUBLISH', 'zlt:changes', "$ghost\n+$service $line\n" ]);
    ok(wait_for(sub { at($t[0])->{nodes} == 2 }, 2),
       'a new node is known by its message');
    ok(wait_for(sub { at($t[0])->{services} == $before + 1 }), 'its service, too');

    $engine->tell([ 'SADD', 'zlt:nodes', $ghost ],
                  [ 'HSET', "zlt:node:$ghost", 'ef' x 16, $line ]);
    ok(wait_for(sub { at($t[0])->{services} == $before + 2 }),
       'what no message told is read');

    $engine->tell([ 'HDEL', "zlt:node:$ghost", $service ]);
    ok(wait_for(sub { at($t[0])->{services} == $before + 1 }),
       'what no message took is missed');

    $engine->tell([ 'PUBLISH', 'zlt:changes', "$ghost\n-" . 'ef' x 16 . "\n" ],
                  [ 'HDEL', "zlt:node:$ghost", 'ef' x 16 ]);
    ok(wait_for(sub { at($t[0])->{services} == $before }, 2),
       'what a message takes goes');

    $engine->tell([ 'PEXPIRE', "zlt:node:$ghost", 300 ]);
    ok(wait_for(sub { at($t[0])->{nodes} == 1 }), 'a node goes with its hash');
}


sub garbage {
    my $key = "zlt:node:$ghost";
    my $before = at($t[0])->{services};
    my $ok = 'tcp x token=alice';
    my @bad = ('', 'x', 'sctp x token=a', 'tcp', 'tcp a', 'tcp a/b token=a',
               'tcp a token=', 'tcp a token=' . 'x' x 65, "$ok port=65536",
               "$ok port=-1", "$ok port=", "$ok flags=x", "$ok down=2",
               "$ok hosts=", "$ok hosts=a..b", "$ok hosts=A.example.com",
               "$ok hosts=a,,b", "$ok hosts=" . join(',', ('a.b') x 65),
               "$ok " . 'x' x 20000, "\xff\xfe" x 50, "tcp \xff token=a");

    $engine->tell([ 'HSET', $key, node => '127.0.0.9:1' ], [ 'EXPIRE', $key, 100 ],
                  [ 'SADD', 'zlt:nodes', $ghost, 'none', "\xff" x 16 ],
                  (map { [ 'HSET', $key, sprintf('%032x', $_), $bad[$_] ] }
                       0 .. $#bad),
                  [ 'HSET', $key, 'f' x 31, $ok, 'name', $ok, 'g' x 32, $ok ],
                  [ 'HSET', $key, 'f' x 32, "$ok later=1 word" ],
                  (map { [ 'PUBLISH', 'zlt:changes', $_ ] }
                       '', "\n", 'x', $ghost, "$ghost\n", "$ghost\n+", "$ghost\n-x",
                       "$ghost\n+" . '0' x 32, "$ghost\n*\n\n\n", "\xff" x 70000));

    ok(wait_for(sub { at($t[0])->{services} == $before + 1 }),
       'the one that is an entry is there');
    sleep 1.2;
    is(at($t[0])->{services}, $before + 1, 'no other one');
    like($t[0]->log, qr/does not parse.*$ghost/, 'which is told');

    # one that has a type of its own
    $engine->tell([ 'DEL', $key ], [ 'SET', $key, 'text' ],
                  [ 'EXPIRE', $key, 100 ]);
    ok(wait_for(sub { $t[0]->log =~ /WRONGTYPE/ }), 'a wrong type is told');
    ok(at($t[0])->{connected}, 'the engine is there');

    $engine->tell([ 'DEL', $key ], [ 'SREM', 'zlt:nodes', $ghost ]);
    ok(wait_for(sub { at($t[0])->{nodes} == 1 }), 'and it goes');
}


sub stops {
    is($_->stop, 0, 'an agent stops') for @agents;
    has($id[0]);
    ok(wait_for(sub { at($t[1])->{services} == 0 }), 'its services have gone');

    is($t[0]{nginx}->stop('QUIT', 20), 0, 'nginx quits');
    ok(!$engine->nodes->{ $id[0] }, 'its hash has gone with it');
    ok(wait_for(sub { at($t[1])->{nodes} == 0 }, 2), 'the other node knows it');
    like($t[1]->log, qr/node $id[0] has stopped, 0 of its services go/, 'and says it');
}


sub figures {
    my $text = http_get($t[1]{http_port}, '/metrics') // {};
    my $status = at($t[1]);

    is($status->{engine}, "127.0.0.1:$engine->{port}", 'the engine');
    ok($status->{connected}, 'it is connected');
    is($status->{leases_lost}, 0, 'nothing was lost');
}
