#!/usr/bin/perl

# Protects: what a peer calls itself, its services and its troubles comes into
# the log and into zltunnel_status as text that is seen as it is: no control
# character, of C1 as well, no end of a line, none that is invisible or turns
# the text around it.  What is meant to be read stays as it is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Encode qw(encode_utf8 decode_utf8);
use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(msg str16 ext register);

my @hidden = (0x01, 0x1b, 0x7f, 0x80, 0x85, 0x9b, 0x9f, 0xad, 0x61c, 0x180e,
              0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2060,
              0x2066, 0x2069, 0xfeff, 0xe0041);
my @seen = (0x20, 0x7e, 0xa1, 0xe9, 0x3b1, 0x5d0, 0x4e2d, 0x1f600);

my $t = ZLTunnel->new;
my $token = $t->token('alice');
$t->start;

sub text { encode_utf8(join '', map { 'x' . chr $_ } @_) . 'x' }

my $n = 0;

my @rest = @hidden;

while (my $part = [ splice @rest, 0, 4 ]) {
    last if !@$part;

    my $name = join ' ', map { sprintf 'U+%04X', $_ } @$part;
    my $text = text(@$part, @seen[2 .. 4]);

    my $c = ZLTunnel::Wire->control($t);
    $c->send_msg(msg('Auth', str16($token) . ZLTunnel::Wire::new_id()
                     . ext(1, pack('N', 7), 2, $text)));
    my $ok = $c->expect('AuthOk');

    # as the agent's name, in the status

    my $tunnel = $t->status->{tunnels}[0];
    ok(defined $tunnel->{agent}, "$name: the status is JSON, and has the agent");
    is_clean($tunnel->{agent}, @$part, "$name: the agent's name");
    like($tunnel->{agent}, qr/x\x{a1}x\x{e9}x\x{3b1}x\z/,
         "$name: and what is plain");

    # as a service's name, and as a reason, in the log

    $c->send_msg(register($text));
    is($c->expect('RegisterFail')->{type}, 'RegisterFail', "$name: no name");

    $c->send_msg(register('s' . ++$n));
    my $port = $c->expect('RegisterOk')->{port};
    my $client = ZLTunnel::Wire::Socket->new($port);
    my $m = $c->expect('Connect');
    $c->send_msg(msg('ConnectFail', $m->{connection_id} . str16($text)));
    is($client->ending, 'reset', "$name: not connected");

    $c->close;
}

my $log = decode_utf8($t->log);

is_clean($log, @hidden, 'the log');
unlike($log, qr/[^\P{C}\n]|[\x{2028}\x{2029}]/,
       'nothing is hidden in the log');
like($log, qr/service "x\\x01x\\x1bx\\x7fx\\xc2\\x80x/, 'it is escaped there');
like($log, qr/could not connect to service "s1": x\\x01x\\x1b/, '.. and there');

$t->finish;


sub is_clean {
    my $name = pop;
    my ($text, @chars) = @_;

    my @there = grep { index($text, chr $_) >= 0 } @chars;
    is_deeply([ map { sprintf 'U+%04X', $_ } @there ], [], "$name is clean");
}
