#!/usr/bin/perl

# Protects: a token is not in the memory of a worker any more when it has been
# looked at: who reads that memory, by whatever fault, learns the keys of
# tunnels, which end with them, and no token.

use strict;
use warnings;
no warnings 'portable';  ## no critic (ProhibitNoWarnings): of 64 bits

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(msg str16 ext ws_frame);

plan(skip_all => 'root reads the memory of others') if $> != 0;
plan(skip_all => 'a sanitizer keeps what is freed, and maps terabytes')
    if slurp($ZLTunnel::NGINX) =~ /__asan_init/;

my $t = ZLTunnel->new;
my %token = map { $_ => $t->token($_) } qw(ws wss behind pieces wrong slow);
$t->start;
my ($worker) = $t->workers;

# the search finds what is there

my $long = ZLTunnel::Wire->control($t);
$long->send(substr auth('slow'), 0, -3);
ok(wait_for(sub { found($token{slow}, 16) }),
   'a token that has not come whole is there');
$long->reset;
ok(wait_for(sub { !found($token{slow}, 16) }), 'and no more, when it is gone');

my $echo = $t->service('echo');
$t->agent(token => $token{ws}, services => ["a:$echo->{port}"]);
$t->agent(token => $token{wss}, services => ["b:$echo->{port}"], tls => 1);

my $c = ZLTunnel::Wire->control($t);
$c->send(substr auth('pieces'), 0, 40);
wait_for(sub { 0 }, 0.2);
$c->send(substr auth('pieces'), 40);
is($c->expect('AuthOk')->{type}, 'AuthOk', 'in pieces');

my $f = ZLTunnel::Wire->control($t);
my @parts = unpack '(a20)*', auth_msg('wrong');
$f->send(join '', map { ws_frame($parts[$_], op => $_ ? 0 : 2,
                                 fin => $_ == $#parts) } 0 .. $#parts);
is($f->expect('AuthOk')->{type}, 'AuthOk', 'in fragments');

my $b = ZLTunnel::Wire::Socket->new($t->{http_port});
$b->upgrade("GET /tunnel/v1 HTTP/1.1\r\nHost: localhost\r\n"
    . "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    . "Sec-WebSocket-Version: 13\r\n"
    . "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    . auth('behind'));
is($b->{answer}{status}, 101, 'behind the request');
ok($b->take(20), 'which is answered');

for my $name (sort keys %token) {
    is(found($token{$name}, 12), 0, "$name: the token is not in memory");
}

$_->reset for $c, $f, $b;
$t->finish;


sub auth_msg {
    my ($name) = @_;
    return msg('Auth', str16($token{$name}) . 'i' x 16 . ext(1, pack 'N', 1));
}

# masked with zeros, so that what is seen is what was sent

sub auth {
    my ($name) = @_;

    my $m = auth_msg($name);
    return pack('C C n N', 0x82, 0x80 | 126, length $m, 0) . $m
        if length $m > 125;
    return pack('C C N', 0x82, 0x80 | length $m, 0) . $m;
}


# How often a part of the token, of that length, is in what the worker can
# write to.

sub found {
    my ($token, $len) = @_;

    my $part = substr $token, 8, $len;
    my $n = 0;

    open my $mem, '<:raw', "/proc/$worker/mem" or return 0;

    for my $line (split /\n/, slurp("/proc/$worker/maps")) {
        my ($from, $to) = $line =~ /^(\w+)-(\w+) rw/ or next;
        ($from, $to) = (hex $from, hex $to);

        sysseek $mem, $from, 0 or next;
        sysread($mem, my $data, $to - $from) or next;
        $n++ while $data =~ /\Q$part\E/g;
    }

    return $n;
}
