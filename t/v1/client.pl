#!/usr/bin/perl

# A control client of protocol version 1, without extensions, as the crate's
# is: nothing here knows of data channels, keys or codes.
#
#     client.pl PORT TOKEN
#
# Commands on stdin, one a line; what the server says on stdout, one message
# a line, fields separated by spaces, ids in hex, reasons last.
#
#     register NAME[:REMOTE_PORT] ...    all in one write
#     unregister SERVICE_ID
#     ack CONNECTION_ID | fail CONNECTION_ID REASON
#     heartbeat | mute | raw HEX | quit

use strict;
use warnings;

use IO::Socket::INET;
use MIME::Base64 qw(encode_base64);

$| = 1;

my ($port, $token) = @ARGV;
my $path = $ENV{ZLT_PATH} || '/tunnel/v1';

my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
    or die "connect: $!";

print $s "GET $path HTTP/1.1\r\nHost: 127.0.0.1:$port\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
    encode_base64(random(16), ''), "\r\n\r\n";
$s->flush;

my $in = '';
fill() until $in =~ s/^(.*?)\r\n\r\n//s;
my $status = (split ' ', $1)[1];

print "upgraded $status\n";
exit 1 if $status != 101;

say_to(0x01, pack 'n/a a16', $token, random(16));

my ($mute, $commands) = (0, '');

while (1) {
    messages();

    my $rin = '';
    vec($rin, fileno $s, 1) = 1;
    vec($rin, 0, 1) = 1;
    select $rin, undef, undef, undef;

    fill() if vec $rin, fileno $s, 1;

    if (vec $rin, 0, 1) {
        sysread STDIN, $commands, 65536, length $commands or exit;
        command($1) while $commands =~ s/^(.*)\n//;
    }
}


sub random {
    open my $fh, '<:raw', '/dev/urandom' or die;
    read $fh, my $bytes, $_[0];
    return $bytes;
}


sub fill {
    my $n = sysread $s, $in, 65536, length $in;
    return if $n;

    print defined $n ? "eof\n" : "reset\n";
    exit;
}


sub frame {
    my ($op, $payload) = @_;

    my ($len, $mask) = (length $payload, random(4));

    return pack('C', 0x80 | $op)
        . ($len < 126 ? pack 'C', 0x80 | $len : pack 'C n', 0x80 | 126, $len)
        . $mask . ($payload ^ substr $mask x ($len / 4 + 1), 0, $len);
}


sub say_to {
    my ($type, $payload) = @_;
    syswrite $s, frame(2, pack 'C N/a', $type, $payload);
}


sub messages {
    while (length $in >= 2) {
        my ($op, $len) = unpack 'C C', $in;
        my $head = 2;

        if ($len == 126) {
            return if length $in < 4;
            ($len, $head) = (unpack('x2 n', $in), 4);
        }

        return if length $in < $head + $len;

        my $payload = substr $in, $head, $len;
        $in = substr $in, $head + $len;
        message($op & 15, $payload);
    }
}


sub message {
    my ($op, $bytes) = @_;

    if ($op == 8) {
        my ($code) = unpack 'n', $bytes;
        print "close $code\n";
        exit;
    }

    if ($op == 9) {
        syswrite $s, frame(10, $bytes);
        return;
    }

    return if $op != 2;

    my ($type, $len) = unpack 'C N', $bytes;
    my $p = substr $bytes, 5;

    if ($type == 0x02) {
        print 'authok ', unpack('H32', $p), "\n";

    } elsif ($type == 0x03) {
        print 'authfail ', unpack('n/a', $p), "\n";

    } elsif ($type == 0x11) {
        print 'registerok ', unpack('H32', $p), "\n";

    } elsif ($type == 0x12) {
        print 'registerfail ', unpack('n/a', $p), "\n";

    } elsif ($type == 0x20) {
        print join(' ', 'connect', unpack 'H32 H32 n/a', $p), "\n";

    } elsif ($type == 0x30) {
        print "heartbeat\n";
        say_to(0x31, $p) if !$mute;

    } elsif ($type == 0x31) {
        print 'heartbeatack ', unpack('Q>', $p), "\n";

    } elsif ($type == 0x41) {
        print 'disconnect ', unpack('n/a', $p), "\n";

    } else {
        print "unknown $type\n";
    }
}


sub command {
    my ($what, @args) = split ' ', $_[0];

    if ($what eq 'register') {
        my $all = '';

        for (@args) {
            my ($name, $remote) = split /:/;
            $all .= frame(2, pack 'C N/a', 0x10,
                          pack 'C/a C n n', $name, 0, 8080, $remote // 0);
        }

        syswrite $s, $all;

    } elsif ($what eq 'unregister') {
        say_to(0x40, pack 'H32', $args[0]);

    } elsif ($what eq 'ack') {
        say_to(0x21, pack 'H32', $args[0]);

    } elsif ($what eq 'fail') {
        say_to(0x22, pack 'H32 n/a', $args[0], "@args[1 .. $#args]");

    } elsif ($what eq 'heartbeat') {
        say_to(0x30, pack 'Q>', 1234567890123);

    } elsif ($what eq 'mute') {
        $mute = 1;

    } elsif ($what eq 'raw') {
        syswrite $s, frame(2, pack 'H*', $args[0]);

    } elsif ($what eq 'quit') {
        exit;
    }
}
