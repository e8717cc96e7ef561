#!/usr/bin/perl

# Protects: clients of protocol version 1, which know nothing of extensions,
# are served on the control channel as that protocol says: answers in the
# order of the requests above all, since they match them by order alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(
    range => 60,
    zltunnel => 'heartbeat_interval 1s; heartbeat_timeout 3s;
                 connect_timeout 3s; reconnect_grace 2s;');
my $token = $t->token('alice', 'sessions=2');
my $short = $t->token('bob');
$t->start;

my $n = 0;

sub client {
    my ($token) = @_;

    return $t->spawn('v1-client-' . ++$n, $^X, "$FindBin::Bin/client.pl",
                     $t->{http_port}, $token);
}

# all lines of a kind that came so far
sub lines {
    my ($c, $kind) = @_;
    my @lines = $c->output =~ /^$kind ?(.*)$/mg;
    return @lines;
}

# waits for the nth line of a kind
sub line {
    my ($c, $kind, $n) = @_;

    return wait_for(sub {
        my @lines = lines($c, $kind);
        return @lines >= ($n // 1) && ($lines[($n // 1) - 1] || '(empty)');
    }) // '';
}


# Auth

my $c = client($token);
like(line($c, 'authok'), qr/^[0-9a-f]{32}$/, 'AuthOk');
ok(line($c, 'heartbeat'), 'a heartbeat follows');

my $bad = client('wrong' x 8);
like(line($bad, 'authfail'), qr/\w/, 'a wrong token: AuthFail, with a reason');
is($bad->wait(10), 0, 'and the end of it');


# 50 registrations in one write, one of them a duplicate, one forbidden

my @names = map { "s$_" } 1 .. 50;
$names[20] = 's3';
$names[30] = 's30:1';

$c->say("register @names");
ok(wait_for(sub { lines($c, 'register(?:ok|fail)') >= 50 }), '50 answers');

my @answers = map { /^register(ok|fail)/ ? $1 : () }
              split /\n/, $c->output;
my @expected = map { $_ == 20 || $_ == 30 ? 'fail' : 'ok' } 0 .. 49;
is_deeply(\@answers, \@expected, 'in the order of the requests');

my @ids = map { /^registerok (\w+)/ ? $1 : /^registerfail/ ? '' : () }
          split /\n/, $c->output;
my %by_name = map { $names[$_] => $ids[$_] } grep { $ids[$_] } 0 .. 49;

my ($tunnel) = @{ $t->status->{tunnels} };
is(scalar @{ $tunnel->{services} }, 48, 'the status has them');
is($tunnel->{features}, 0, 'without features');

my @wrong = grep { $_->{id} ne ($by_name{ $_->{name} } // '') }
            @{ $tunnel->{services} };
is_deeply(\@wrong, [], 'each with the id that its answer gave');


# Connect: announced, and reset at the client's ConnectFail, or later

my ($s1) = grep { $_->{name} eq 's1' } @{ $tunnel->{services} };
my $client = ZLTunnel::Wire::Socket->new($s1->{port});
my @connect = split ' ', line($c, 'connect');

is($connect[0], $s1->{id}, 'Connect: service');
like($connect[1], qr/^[0-9a-f]{32}$/, 'Connect: connection');
is($connect[2], '127.0.0.1:' . $client->{s}->sockport, 'Connect: client');

$c->say("fail $connect[1] no way");
is($client->ending(2), 'reset', 'ConnectFail resets the client at once');

$client = ZLTunnel::Wire::Socket->new($s1->{port});
@connect = split ' ', line($c, 'connect', 2);
$c->say("ack $connect[1]");
$client->ending(0.5);
is($client->ending(0), 'open', 'ConnectAck: the client is held');
is($client->ending(10), 'reset', 'and reset at connect_timeout');


# Heartbeats

$c->say('heartbeat');
is(line($c, 'heartbeatack'), '1234567890123',
   'a heartbeat of the client is answered');
ok(line($c, 'heartbeat', 3), 'the server sends its own');


# Unregister has no answer, and frees the port

my $before = () = $c->output =~ /^register/mg;
$c->say("unregister $s1->{id}");
ok(wait_for(sub { refuses($s1->{port}) }), 'Unregister closes the port');
$c->say('register after');
line($c, 'registerok', 49);
my $after = () = $c->output =~ /^register/mg;
is($after, $before + 1, 'and is not answered');


# Messages in the wrong direction are ignored

$c->say('raw 4100000002' . '0000');
$c->say('raw 0200000010' . '00' x 16);
$c->say('heartbeat');
line($c, 'heartbeatack', 2);
is(scalar(lines($c, 'heartbeatack')), 2,
   'known types in the wrong direction are ignored');


# It cannot be told of one service's end: it gets Disconnect.  Here, at the
# end of its right.

my $b = client($short);
line($b, 'authok');
$b->say('register b');
line($b, 'registerok');
$t->revoke('bob');
like(line($b, 'disconnect'), qr/\w/, 'a revoked token: Disconnect');
is($b->wait(10), 0, 'and the end');


# A client that answers no heartbeat is dead after heartbeat_timeout; its
# ports stay for at least 70 s, since it takes that long to come back.

my ($s2) = grep { $_->{name} eq 's2' } @{ $t->status->{tunnels}[0]{services} };
$c->say('mute');
ok(wait_for(sub { !$c->running }, 15), 'without heartbeats it is dead');

wait_for(sub { 0 }, 3);
ok(!refuses($s2->{port}), 'its port is kept longer than reconnect_grace');

my $again = client($token);
line($again, 'authok');
$again->say('register s2');
line($again, 'registerok');
is($t->service_status('s2')->{port}, $s2->{port},
   'and it has the same one when it is back');

$t->finish;
