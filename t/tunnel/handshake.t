#!/usr/bin/perl

# Protects: what may become a channel, and the answer to everything that may
# not: each wrong upgrade request gets its own 4xx, a data channel needs the
# right key and tunnel, limits are 503 before the 101, silence ends in time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(msg register new_id str16);

my $t = ZLTunnel->new(
    zltunnel => 'max_unauthenticated 5; max_idle_channels 3;',
    location => 'location = /long { zltunnel; postpone_output 8k; add_header '
                . 'X-Long "' . 'x' x 3000 . '" always; }',
    range => 2);
my $token = $t->token('alice');
$t->start;
my $port = $t->{http_port};


# The request of a control channel, with one thing changed in each

my %good = (
    'Host' => 'localhost', 'Upgrade' => 'websocket',
    'Connection' => 'Upgrade', 'Sec-WebSocket-Version' => '13',
    'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==',
);

sub ask {
    my ($change, $line, $body) = @_;

    my %h = (%good, %{ $change || {} });
    my $head = join '', map { "$_: $h{$_}\r\n" }
                        grep { defined $h{$_} } sort keys %h;

    return http_request($port, ($line // 'GET /tunnel/v1 HTTP/1.1')
                               . "\r\n$head\r\n" . ($body // ''));
}

my $r = ask();
is($r->{status}, 101, 'a right request: 101');
like($r->{head}, qr/^Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r?$/m,
     'with the key of RFC 6455 answered');
like($r->{head}, qr/^Upgrade: websocket\r?$/mi, 'Upgrade');
like($r->{head}, qr/^Connection: Upgrade\r?$/mi, 'Connection');
like($r->{head}, qr/^HTTP\/1\.1 101 Switching Protocols/, 'status line');

is(ask({ Connection => 'keep-alive, Upgrade' })->{status}, 101,
   'Upgrade among other connection options: 101');
is(ask({ Upgrade => 'WebSocket' })->{status}, 101, 'in other letters: 101');

my @cases = (
    [ 'no Upgrade', 426, { Upgrade => undef, Connection => undef } ],
    [ 'an unknown Upgrade', 426, { Upgrade => 'h2c' } ],
    [ 'no Connection: Upgrade', [ 400, 426 ], { Connection => 'close' } ],
    [ 'version 8', 426, { 'Sec-WebSocket-Version' => '8' } ],
    [ 'no version', [ 400, 426 ], { 'Sec-WebSocket-Version' => undef } ],
    [ 'no key', 400, { 'Sec-WebSocket-Key' => undef } ],
    [ 'a key that is none', 400, { 'Sec-WebSocket-Key' => 'abc' } ],
    [ 'Origin', 403, { Origin => 'https://example.com' } ],
    [ 'Origin null', 403, { Origin => 'null' } ],
    [ 'a body', 400, { 'Content-Length' => 5 }, undef, 'hello' ],
    [ 'a chunked body', 400, { 'Transfer-Encoding' => 'chunked' }, undef,
      "0\r\n\r\n" ],
    [ 'POST', 405, {}, 'POST /tunnel/v1 HTTP/1.1' ],
    [ 'HEAD', 405, {}, 'HEAD /tunnel/v1 HTTP/1.1' ],
    [ 'HTTP/1.0', [ 400, 426, 505 ], {}, 'GET /tunnel/v1 HTTP/1.0' ],
    [ 'a data channel without tunnel and key', 400,
      { Upgrade => 'zltunnel' } ],
    [ 'a data channel with Origin', 403,
      { Upgrade => 'zltunnel', Origin => 'https://example.com' } ],
    [ 'a data channel with an id too short', 400,
      { Upgrade => 'zltunnel', 'Zltunnel-Tunnel' => '00' x 15,
        'Zltunnel-Key' => '00' x 32 } ],
    [ 'a data channel with a key too long', 400,
      { Upgrade => 'zltunnel', 'Zltunnel-Tunnel' => '00' x 16,
        'Zltunnel-Key' => '00' x 33 } ],
    [ 'a data channel with a key not in hex', 400,
      { Upgrade => 'zltunnel', 'Zltunnel-Tunnel' => '00' x 16,
        'Zltunnel-Key' => 'xy' x 32 } ],
    [ 'a data channel of no tunnel', 403,
      { Upgrade => 'zltunnel', 'Zltunnel-Tunnel' => '00' x 16,
        'Zltunnel-Key' => '00' x 32 } ],
);

for my $case (@cases) {
    my ($name, $status, @request) = @$case;

    my $r = ask(@request);
    my @allowed = ref $status ? @$status : $status;
    my $got = $r ? $r->{status} : 'nothing';

    ok((grep { $got eq $_ } @allowed), "$name: @allowed")
        or diag("got $got");

    like($r->{head}, qr/^Upgrade: websocket\r?$/mi, "$name: names an upgrade")
        if $got eq '426';
    like($r->{head}, qr/^Allow: GET\r?$/mi, "$name: names the method")
        if $got eq '405' && $name ne 'HEAD';
}

is(http_get($port, '/tunnel/status')->{status}, 200, 'status: GET');
is(http_request($port, "POST /tunnel/status HTTP/1.1\r\nHost: x\r\n"
                       . "Content-Length: 0\r\n\r\n")->{status}, 405,
   'status: POST is 405');


# Control channels that have not sent Auth are few, and not for long

my $start = time;
my @mute = map { ZLTunnel::Wire->control($t) } 1 .. 5;
is(scalar(grep { $_->{answer}{status} == 101 } @mute), 5,
   'five channels before Auth are allowed');

my $more = ZLTunnel::Wire->control($t);
is($more->{answer}{status}, 503, 'a sixth is 503');

my $ended = grep { $_->ending(20) ne 'open' } @mute;
my $took = time - $start;
is($ended, 5, 'silence ends all of them');
cmp_ok($took, '>', 8, "not before 10 s ($took)");

my $c;
ok(wait_for(sub {
    $c = ZLTunnel::Wire->control($t);
    return $c->{answer}{status} == 101;
}), 'then there is room again');

$c->send_msg(register('web'));
my $m = $c->expect('AuthFail');
is($m->{reason}, 'Expected AUTH message', 'another message first: AuthFail');
like($c->ending, qr/eof|reset/, 'and the end');

$c = ZLTunnel::Wire->control($t);
$c->send_msg("\x01\x00\x00\x00\x02ab");
like(($c->next // { type => 'end' })->{type}, qr/Close|end/,
     'an undecodable message first: closed without AuthFail');


# Data channels

my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
my $ok = $agent->{ok};
my ($id, $key) = @$ok{qw(tunnel_id data_key)};
is(length $key, 32, 'AuthOk has a data key');
is($ok->{features}, 1, 'and only features that were asked for');

my $d = ZLTunnel::Wire->channel($t, $id, $key);
is($d->{answer}{status}, 101, 'a right data channel: 101');
like($d->{answer}{head}, qr/^Zltunnel-Worker: 0\/1\r?$/m, 'names its worker');
like($d->{answer}{head}, qr/^Upgrade: zltunnel\r?$/mi, 'Upgrade');
like($d->{answer}{head}, qr/^Cache-Control: no-store\r?$/mi, 'no-store');

my $wrong = $key ^ ("\0" x 31 . "\1");
is(ZLTunnel::Wire->channel($t, $id, $wrong)->{answer}{status}, 403,
   'a wrong key: 403');
my $other = ZLTunnel::Wire->channel($t, new_id(), $key);
is($other->{answer}{status}, 403, 'a wrong tunnel: 403');
like($other->{answer}{head}, qr/^Cache-Control: no-store\r?$/mi,
     'refusals are no-store, too');

is(ZLTunnel::Wire->channel($t, $id, $key, new_id())->{answer}{status}, 410,
   'an unknown connection: 410');

my @idle = map { ZLTunnel::Wire->channel($t, $id, $key) } 1 .. 2;
is($_->{answer}{status}, 101, 'up to max_idle_channels') for @idle;
is(ZLTunnel::Wire->channel($t, $id, $key)->{answer}{status}, 503,
   'one more: 503');


# A connection is announced, answered by a fresh channel, once

$_->close for @idle, $d;

# one that nginx would keep until more of it comes

$r = ask({ Upgrade => 'zltunnel', 'Zltunnel-Tunnel' => unpack('H*', $id),
           'Zltunnel-Key' => unpack 'H*', $key }, 'GET /long HTTP/1.1');
is($r && $r->{status}, 101, 'a long answer: 101');

ok(wait_for(sub { $t->status->{tunnels}[0]{idle_channels} == 0 }),
   'channels that closed are forgotten');

$agent->send_msg(register('web'));
my $service = $agent->expect('RegisterOk');

my $client = connect_to($service->{port});
$m = $agent->expect('Connect');
is($m->{service_id}, $service->{service_id}, 'Connect names the service');
is($m->{client_addr}, '127.0.0.1:' . $client->sockport, 'and the client');

my $fresh = ZLTunnel::Wire->channel($t, $id, $key, $m->{connection_id});
is($fresh->{answer}{status}, 101, 'its connection id: 101');
$fresh->ack($m);
$fresh->data('from the service');
sysread $client, my $buf, 100;
is($buf, 'from the service', 'bytes flow');

is(ZLTunnel::Wire->channel($t, $id, $key, $m->{connection_id})
   ->{answer}{status}, 410, 'the id again: 410');

is($t->status->{acquired}{fresh}, 1, 'counted as fresh');

$fresh->close;
close $client;
$agent->reset;

$t->finish;
