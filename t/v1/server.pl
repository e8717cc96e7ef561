#!/usr/bin/perl

# A server of protocol version 1, as the crate's is, for one agent after
# another: it registers services, announces connections and moves no byte.
# Nothing here knows of extensions; an HTTP request for anything but a
# WebSocket gets 404.
#
#     server.pl PORT TOKEN
#
# Commands on stdin: connect NAME | disconnect REASON | drop | deaf | quit.
# What the agent says on stdout, one message a line.

use strict;
use warnings;

use Digest::SHA qw(sha1_base64);
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

$| = 1;

my ($port, $token) = @ARGV;

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
                                   LocalPort => $port, ReuseAddr => 1)
    or die "listen: $!";

print "ready\n";

my ($agent, $in, %services, $heartbeat, $deaf);
my $commands = '';
my $select = IO::Select->new($listen, \*STDIN);

while (1) {
    for my $fh ($select->can_read(0.2)) {

        if ($fh == $listen) {
            welcome();

        } elsif ($agent && $fh == $agent) {
            if ($deaf) {
                select undef, undef, undef, 0.05;
                next;
            }

            if (!sysread $agent, $in, 65536, length $in) {
                leave('gone');
                next;
            }

            messages();

        } else {
            sysread STDIN, $commands, 65536, length $commands or exit;
            command($1) while $commands =~ s/^(.*)\n//;
        }
    }

    if ($agent && !$deaf && time > $heartbeat) {
        $heartbeat = time + 1;
        say_to(0x30, pack 'Q>', 1000 * time);
    }
}


sub leave {
    print "$_[0]\n";
    $select->remove($agent);
    close $agent;
    undef $agent;
}


# The upgrade, read to the end of its head; requests are small and arrive at
# once, or their sender waits for ever.

sub welcome {
    my $s = $listen->accept or return;
    my $head = '';

    while ($head !~ /\r\n\r\n/) {
        IO::Select->new($s)->can_read(5) or return;
        sysread $s, $head, 65536, length $head or return;
    }

    my ($key) = $head =~ /^Sec-WebSocket-Key: *(\S+)/mi;

    if ($agent || !$key || $head !~ /^Upgrade: *websocket/mi) {
        my ($upgrade) = $head =~ /^Upgrade: *(\S+)/mi;
        print 'other ', $upgrade // 'none', "\n";
        syswrite $s, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
                     . "Connection: close\r\n\r\n";
        return;
    }

    my $accept = sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11');
    syswrite $s, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 . "Connection: Upgrade\r\n"
                 . "Sec-WebSocket-Accept: $accept=\r\n\r\n";

    print "upgraded\n";

    ($agent, $in, %services) = ($s, '');
    $heartbeat = time + 3600;
    $deaf = 0;
    $select->add($s);
}


sub say_to {
    my ($type, $payload) = @_;

    my $bytes = pack 'C N/a', $type, $payload;
    my $len = length $bytes;

    syswrite $agent, pack('C', 0x82)
        . ($len < 126 ? pack 'C', $len : pack 'C n', 126, $len) . $bytes;
}


sub messages {
    while ($agent && length $in >= 6) {
        my ($op, $len) = unpack 'C C', $in;
        my $head = 2;

        $len &= 0x7f;

        if ($len == 126) {
            ($len, $head) = (unpack('x2 n', $in), 4);
        }

        $head += 4;
        return if length $in < $head + $len;

        my $mask = substr $in, $head - 4, 4;
        my $payload = substr($in, $head, $len)
                      ^ substr $mask x ($len / 4 + 1), 0, $len;
        $in = substr $in, $head + $len;
        message($op & 15, $payload);
    }
}


sub message {
    my ($op, $bytes) = @_;

    if ($op == 8) {
        print "close\n";
        return leave('gone');
    }

    if ($op == 9) {
        print "ping\n";
        syswrite $agent, pack('C C', 0x8a, length $bytes) . $bytes;
        return;
    }

    return if $op != 2;

    my ($type, $len) = unpack 'C N', $bytes;
    my $p = substr $bytes, 5;

    if ($type == 0x01) {
        my $given = unpack 'n/a', $p;

        if ($given ne $token) {
            print "auth wrong\n";
            say_to(0x03, pack 'n/a', 'Invalid token');
            return leave('refused');
        }

        print "auth ok\n";
        say_to(0x02, 'T' x 16);
        $heartbeat = 0;

    } elsif ($type == 0x10) {
        my ($name, $protocol, $local, $remote) = unpack 'C/a C n n', $p;
        print "register $name $protocol $local $remote\n";

        my $id = pack 'a16', $name;
        $services{$name} = $id;
        say_to(0x11, $id);

    } elsif ($type == 0x21) {
        print 'ack ', unpack('H32', $p), "\n";

    } elsif ($type == 0x22) {
        print join(' ', 'fail', unpack 'H32 n/a', $p), "\n";

    } elsif ($type == 0x30) {
        print "heartbeat\n";
        say_to(0x31, $p);

    } elsif ($type == 0x31) {
        print "heartbeatack\n";

    } elsif ($type == 0x40) {
        print 'unregister ', unpack('Z16', $p), "\n";

    } else {
        print "unknown $type\n";
    }
}


sub command {
    my ($what, @args) = split ' ', $_[0];

    if ($what eq 'connect') {
        say_to(0x20, $services{ $args[0] } . 'connection-id-01'
                     . pack 'n/a', '192.0.2.1:1234');

    } elsif ($what eq 'disconnect') {
        say_to(0x41, pack 'n/a', "@args");
        leave('disconnected');

    } elsif ($what eq 'drop') {
        leave('dropped');

    } elsif ($what eq 'deaf') {
        $deaf = 1;

    } elsif ($what eq 'quit') {
        exit;
    }
}
