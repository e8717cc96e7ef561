#!/usr/bin/perl

# Protects: an agent whose token is replaced by another holder's (SIGHUP) moves
# to that one's tunnel: the former one gives its ports up at once, and ends with
# its last connection, or after shutdown_timeout.  A new token of the same name
# cuts nothing, and one that is wrong leaves everything as it was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(workers => 2, range => 8,
                      zltunnel => 'reconnect_grace 2s;');
my $alice = $t->token('alice');
my %token = map { $_ => $t->token($_) } qw(bob carol);
my $same = $t->token('carol');
$t->start;

my $echo = $t->service('echo');

my $agent = $t->agent(token => $alice, services => ['e'], conf => <<"EOT");
[agent]
server = @{[ $t->url('ws') ]}
token_file = %%token_file%%
shutdown_timeout = 9s

[service e]
local = 127.0.0.1:$echo->{port}
EOT


sub change {
    my ($token) = @_;

    write_file($agent->{token_file}, "$token\n", 0600);
    $agent->{proc}->kill('HUP');
}


sub tunnel {
    my ($name) = @_;
    return (grep { $_->{name} eq $name } @{ $t->status->{tunnels} })[0];
}


# Waits until the service is that of a token; its port.

sub served_by {
    my ($name) = @_;

    return wait_for(sub {
        my $tunnel = tunnel($name) or return 0;
        return $tunnel->{state} eq 'connected' && @{ $tunnel->{services} }
               && $tunnel->{services}[0]{port};
    });
}


sub talk {
    my ($c, $what) = @_;

    $c->send('hello');
    is($c->take(5), 'hello', $what);
}


# With a connection that goes on.

my $port = served_by('alice');
my $client = ZLTunnel::Wire::Socket->new($port);
talk($client, 'a connection');

my $start = time;
change($token{bob});

my $other = served_by('bob');
ok($other, 'the service is that of the other token');
isnt($other, $port, 'at a port of its own');
ok(wait_for(sub { refuses($port) }, 7), 'the former port refuses');

talk($client, 'the connection goes on');
my $new = ZLTunnel::Wire::Socket->new($other);
talk($new, 'there are new ones');

is($client->ending(30), 'reset', 'the former one is cut');
cmp_ok(time - $start, '>', 8, 'after shutdown_timeout');
ok(wait_for(sub { !tunnel('alice') }, 20), 'the former tunnel is gone');
ok($agent->logged(qr/1 connection of the former token's tunnel cut short/),
   'the agent says so');
talk($new, 'the others are not cut');


# With one that ends before.

my $bobs = $other;
change($token{carol});
$port = served_by('carol');
ok(wait_for(sub { refuses($bobs) }, 7), 'the former port refuses');
talk($new, 'its connection goes on');
$new->close;
ok(wait_for(sub { !tunnel('bob') }, 20), 'its tunnel ends with it');
my @cut = $agent->log =~ /cut short/g;
is(scalar @cut, 1, 'nothing more is cut');


# A token of the same name, and a wrong one.

$client = ZLTunnel::Wire::Socket->new($port);
talk($client, 'a connection');

my $id = tunnel('carol')->{id};
change($same);
$t->{tokens} = [ grep { $_->{token} ne $token{carol} } @{ $t->{tokens} } ];

ok(wait_for(sub {
    my $now = () = $agent->log =~ /connected as/g;
    return $now >= 4;
}), 'it has connected with a token of the same name');
is(tunnel('carol')->{id}, $id, 'to the same tunnel');

change('f' x 48);
ok($agent->logged(qr/refuses the token/), 'one that is wrong is refused');

my $end = time + 10;
wait_for(sub { time > $end });

talk($client, 'the connection goes on all the while');
is(served_by('carol'), $port, 'the tunnel is there');
ok(!refuses($port), 'with its port');

$client->close;
change($same);


# At a server of version 1, which carries nothing, either.

my $server = ZLTunnel::Server->new($t, features => 0);

$agent = $t->agent(token => 'one' x 16, wait => 0, conf => <<"EOT");
[agent]
server = @{[ $server->url ]}
token_file = %%token_file%%

[service e]
local = 127.0.0.1:$echo->{port}
EOT

ok($server->wait(sub { $server->{services}{e} }), 'version 1: registered');
my $former = $server->control;

$server->{tunnel} = 'U' x 16;
change('two' x 16);

ok($server->wait(sub { $server->{auths} == 2 }), 'the other token');
ok($server->wait(sub { $former->{gone} }), 'ends the former control channel');
like($former->{close} // '', qr/token has changed/, 'and says why');
is(scalar $server->conns('control'), 1, 'the other one stays');

# it would wait for the server's Close
$agent->{proc}->kill('KILL');
$agent->{proc}->wait(10);
$server->close_all;

$t->finish;
