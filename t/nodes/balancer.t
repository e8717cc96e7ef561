#!/usr/bin/perl

# Protects: an agent with "mode = all" whose server is several nodes behind one
# address.  It dials until it is at each of them, once, tells each server where
# it is already, drops doubles without a word to people, and goes on looking
# where it has lost one; those that it has are never disturbed by that.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16 ext);

my ($A, $B, $C) = map { $_ x 16 } qw(a b c);

my $t = ZLTunnel->new;
my $token = $t->token('alice');
my ($server, $agent);
my @auths;                      # [ node, ids that were told ]
my @ports;                      # that were asked for
my @deal;                       # what the balancer deals out, the last for ever
my $n;                          # nodes that there are

subtest 'each node once' => \&each_once;
subtest 'a node is lost, and comes back' => \&lost;
subtest 'a node reloads' => \&reloads;
subtest 'a node is gone for good' => \&gone;
subtest 'no more than "nodes"' => \&bounded;
subtest 'a node is not found' => \&missing;
subtest 'access sessions' => \&access;
subtest 'servers that do not tell how many they are' => \&untold;

$t->finish;


sub start {
    my (@args) = @_;
    my $conf = @args && $args[0] =~ /^\[/ ? shift @args : undef;

    @auths = ();
    @ports = ();
    $server = ZLTunnel::Server->new($t, features => 0x8f);
    $server->{deal} = sub {
        my ($m) = @_;
        my $node = @deal > 1 ? shift @deal : $deal[0];

        push @auths, [ $node, join ' ', sort map { substr $_, 0, 1 }
                                        unpack '(a16)*', $m->{ext}{5} // '' ];
        return ($node, $n);
    };

    $server->{hear} = sub {
        my ($m) = @_;
        push @ports, $m->{ext}{2} ? unpack 'n', $m->{ext}{2} : 0
            if $m->{type} eq 'Register';
    };

    $agent = $t->agent(
        token => $token, wait => 0, server => $server->url,
        services => ['web:8080'],
        defined $conf ? (conf => <<"EOT") : (),
[agent]
server = ${\ $server->url }
token_file = %%token_file%%
$conf
EOT
        args => [ '--mode', 'all', '--reconnect-interval', '200ms',
                  '--max-reconnect-interval', '300ms', @args ]);
}


sub end {
    $agent->{proc}->kill('TERM');
    $server->wait(sub { !$agent->{proc}->running }, 30);
    is($agent->stop, 0, 'the agent ends');
    $server->close_all;
}


sub links { @{ ($agent->status || { tunnels => [] })->{tunnels} } }


# The nodes at which there is a link that is connected.

sub at {
    return join ' ', sort map { substr pack('H*', $_->{node} // ''), 0, 1 }
                          grep { $_->{state} eq 'connected' } links();
}


sub are_at {
    my ($nodes, $what) = @_;

    my $at = '';
    ok($server->wait(sub { ($at = at()) eq $nodes }, 20), $what)
        or diag("at '$at'\n", $agent->log);
}


# The control channel that has led to a node.

sub channel {
    my ($node) = @_;

    my ($c) = grep { ($_->{node} // '') eq $node && !$_->{double} }
                   values %{ $server->{conns} };
    return $c;
}


# How often a tunnel was made at a node.

sub tunnels {
    my ($node) = @_;

    my $id = substr $node, 0, 1;
    return scalar grep { $_->[0] eq $node && $_->[1] !~ /$id/ } @auths;
}


sub each_once {
    @deal = ($A, $A, $B, $A, $B, $C);
    $n = 3;
    start();

    are_at('a b c', 'there is a link at each node');
    is(scalar links(), 3, 'and no other');
    is_deeply(\@auths, [ [ $A, '' ], [ $A, 'a' ], [ $B, 'a' ], [ $A, 'a b' ],
                         [ $B, 'a b' ], [ $C, 'a b' ] ],
              'each dial tells where the others are');
    is_deeply(\@ports, [ 0, 30000, 30000 ],
              'the port that the first has given is asked for at the others');
    unlike($agent->log, qr/ (?:WARN|ERROR) /, 'doubles are no news');

    for my $l (links()) {
        my $id = substr $l->{node}, 0, 8;
        like($agent->log, qr/agent at [^ ]+ \($id\): connected/,
             "the log says which one $id is");
    }
}


sub lost {
    @deal = ($A, $C, $B);
    @auths = ();

    my %before = map { $_->{node} => $_->{since} } links();
    channel($B)->drop;

    ok($server->wait(sub { @auths }, 20), 'the link is tried again');
    are_at('a b c', 'it finds its node again');
    is_deeply(\@auths, [ [ $A, 'a c' ], [ $C, 'a c' ], [ $B, 'a c' ] ],
              'and tells where the others are');

    for my $l (links()) {
        next if $l->{node} eq unpack 'H*', $B;
        is($l->{since}, $before{ $l->{node} }, 'another has stayed where it is');
    }
}


# Its former workers serve on while the link looks for the new ones.

sub reloads {
    my $c = channel($B);

    @deal = ($A, $C, $B);
    @auths = ();

    $c->tell(msg('Disconnect', str16('reloading') . ext(1 => "\1")));

    ok($server->wait(sub { @auths == 3 }, 20), 'it meets the others first');
    are_at('a b c', 'it finds its node again');
    is($auths[2][1], 'a c', 'as the same link');
    unlike($agent->log, qr/this one ends/, 'which has not ended meanwhile');
    $c->drop;
    are_at('a b c', 'nor with the former workers');
}


sub gone {
    @deal = ($A, $C);
    @auths = ();
    $n = 2;

    channel($B)->drop;
    ok($server->wait(sub { links() == 2 }, 20),
       'where there are no more nodes than links, a link that is lost ends');
    are_at('a c', 'the others are where they were');
    is(tunnels($B), 0, 'no tunnel was made');
    end();
}


sub bounded {
    @deal = ($A, $B, $C);
    $n = 3;
    start('--nodes', 2);

    are_at('a b', 'there are two');
    $server->pass(1.5);
    is(scalar @auths, 2, 'and no third one is looked for');
    end();
}


# Somebody has to know of a node that is never found.

sub missing {
    @deal = ($A);
    $n = 2;
    start();

    ok($server->wait(sub { $agent->log =~ /WARN .*2 nodes, and 1 is found/ }, 60),
       'it is told');
    end();
}


# There is one address of this machine, and so one link that has it.

sub access {
    my $port = $t->free_port;

    @deal = ($A, $B);
    $n = 2;
    start("[access v]\nservice = v\nlocal = 127.0.0.1:$port",
          '--shutdown-timeout', '1s');
    $server->{grant} = 1;

    are_at('a b', 'there is a link at each node');
    is($server->{sessions}{v}, 1, 'one of them has the session');
    is(visited($port), $A, 'which is the first');

    @deal = ($B);
    channel($A)->drop;

    ok($server->wait(sub { $server->{sessions}{v} == 2 }, 20),
       'when it is lost for longer the other one opens the session');
    is(visited($port), $B, 'and has its connections');
    is($agent->log =~ /(access .* cannot be .*)/ ? $1 : '', '',
       'the address has not changed hands');
    end();
}


# Connects there: the node to which the connection goes.

sub visited {
    my ($port) = @_;

    $_->drop for $server->conns('visit');

    my $c = ZLTunnel::Wire::Socket->new($port) or return "no: $!";
    my $ch;

    $server->wait(sub { ($ch) = $server->conns('visit'); $ch }, 20);
    my $tunnel = pack 'H*', $ch ? $ch->{head}{'zltunnel-tunnel'} : '';
    $c->close;

    return $tunnel ^ $server->{tunnel};
}


# Nothing says that there is more than one.

sub untold {
    @deal = ($A, $B);
    $n = undef;
    start();

    are_at('a', 'there is one');
    $server->pass(1);
    is(scalar @auths, 1, 'and nothing is tried out');
    end();
}
