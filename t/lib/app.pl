#!/usr/bin/perl

# An application behind an agent: HTTP/1.1 with keepalive, one process for
# each connection.
#
#     app.pl PORT NAME [proxy]
#
#     /            "NAME CONNECTION REQUEST\n", numbers
#     /number      the header X-Number is printed, "number N"
#     /slow?MS     the same as / after so many milliseconds
#     /hold        no answer; "gone" is printed when the client has left
#     /upload      "LENGTH SHA256\n" of the body
#     /sse?N       N server-sent events, one after the other is acknowledged
#                  by "next" in the file that NEXT names
#     /stream?N    the same without a length, up to the end of the connection
#     /ws          a WebSocket that echoes
#     /grpc        gRPC-web: each message is sent back as soon as it is there
#     /headers     the request's header
#     /page        the file that PAGE names, of HTML
#     /reset       half of an answer without a length, then a reset
#     /status?N    an answer with that status
#     /proxy       the PROXY protocol's header, with "proxy", which expects it
#
# It prints "ready", and for each connection "accept NUMBER".

use strict;
use warnings;

use Digest::SHA;
use IO::Handle;
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64);
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(sleep);

my ($port, $name, $proxy) = @ARGV;
my ($number, $s, $in, $header) = (0);

$SIG{CHLD} = 'IGNORE';
$SIG{PIPE} = 'IGNORE';
STDOUT->autoflush(1);

my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
                              Listen => 1024, ReuseAddr => 1)
    or die "listen: $@";
say_("ready");

while (1) {
    $s = $l->accept or next;
    $number++;
    say_("accept $number");

    my $pid = fork() // die "fork: $!";
    if (!$pid) {
        close $l;
        setsockopt $s, IPPROTO_TCP, TCP_NODELAY, 1;
        connection();
        exit 0;
    }

    close $s;
}


# a line of the log, whole: several processes write

sub say_ { syswrite STDOUT, "$_[0]\n" }


sub connection {
    my $requests = 0;

    $in = '';
    proxy_header() if $proxy;

    while (1) {
        more() or return while $in !~ /\r\n\r\n/;
        $in =~ s/^(.*?)\r\n\r\n//s;

        my $head = $1;
        my ($line, @fields) = split /\r\n/, $head;
        my ($method, $path, $arg)
            = $line =~ m{^(\w+) (/[^ ?]*)\??([^ &]*)\S* HTTP/};
        my %h = map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () } @fields;

        $requests++;
        my $rest = $path =~ m{^/(\w+)} ? $1 : '';
        my $text = "$name $number $requests\n";
        my $type = 'text/plain';

        if ($rest eq 'upload') {
            $text = upload(\%h);

        } elsif ($rest eq 'grpc') {
            grpc_web(\%h);
            next;

        } else {
            body(\%h, sub {});
        }

        if ($rest eq 'ws') {
            return websocket(\%h);

        } elsif ($rest eq 'sse') {
            return events($arg, 'Transfer-Encoding: chunked');

        } elsif ($rest eq 'stream') {
            return events($arg, 'Connection: close');

        } elsif ($rest eq 'hold') {
            say_("hold $number");
            1 while more();
            say_("gone $number");
            return;

        } elsif ($rest eq 'reset') {
            out("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" . 'x' x 1000);
            sleep 0.2;
            setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'i i', 1, 0;
            return;

        } elsif ($rest eq 'number') {
            say_("number $h{'x-number'}");
            $text = "number $h{'x-number'}\n";

        } elsif ($rest eq 'headers') {
            $text = "$head\n";

        } elsif ($rest eq 'page') {
            open my $fh, '<:raw', $ENV{PAGE} or die "$ENV{PAGE}: $!";
            $text = do { local $/; <$fh> };
            $type = 'text/html';

        } elsif ($rest eq 'slow') {
            say_("slow $number");
            sleep $arg / 1000;

        } elsif ($rest eq 'proxy') {
            $text = "$header\n";
        }

        my $status = $rest eq 'status' ? $arg : 200;

        out("HTTP/1.1 $status Whatever\r\nContent-Type: $type\r\n"
            . 'Content-Length: ' . length($text) . "\r\n\r\n$text");

        return if ($h{connection} // '') =~ /close/i;
    }
}


sub more { sysread $s, $in, 65536, length $in }

sub out {
    my ($data) = @_;

    while (length $data) {
        my $n = syswrite $s, $data or exit 0;
        substr $data, 0, $n, '';
    }
}


# Reads the body of a request, by its length or in chunks.

sub body {
    my ($h, $take) = @_;

    if (($h->{'transfer-encoding'} // '') =~ /chunked/i) {
        while (1) {
            more() or exit 0 while $in !~ /\r\n/;
            $in =~ s/^([0-9a-fA-F]+)[^\r]*\r\n//;
            my $size = hex $1;
            take($size, $take);
            more() or exit 0 while length $in < 2;
            substr $in, 0, 2, '';
            return if !$size;
        }
    }

    take($h->{'content-length'} // 0, $take);
}

sub take {
    my ($left, $take) = @_;

    while ($left > 0) {
        if (!length $in) { more() or exit 0 }
        my $part = substr $in, 0, $left, '';
        $left -= length $part;
        $take->($part);
    }
}


sub upload {
    my ($h) = @_;

    my ($sha, $length) = (Digest::SHA->new(256), 0);

    body($h, sub {
        say_("first $number") if !$length;
        $sha->add($_[0]);
        $length += length $_[0];
    });

    return "$length " . $sha->hexdigest . "\n";
}


sub events {
    my ($n, $field) = @_;

    my $chunked = $field =~ /chunked/;

    out("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        . "$field\r\n\r\n");

    for my $i (1 .. $n) {
        my $event = "data: event $i\n\n";
        out($chunked ? sprintf "%x\r\n%s\r\n", length $event, $event : $event);

        # the next one only when the test has seen this one
        next unless $ENV{NEXT};
        sleep 0.01 until -e "$ENV{NEXT}.$i" || $i == $n;
    }

    out("0\r\n\r\n") if $chunked;
}


# A message is a byte 0, its length as 4 bytes, and what it says; trailers are one
# that begins with 0x80.

sub grpc_web {
    my ($h) = @_;

    my $got = '';
    my $chunk = sub { out(sprintf "%x\r\n%s\r\n", length $_[0], $_[0]) };

    out("HTTP/1.1 200 OK\r\nContent-Type: $h->{'content-type'}\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n");

    body($h, sub {
        $got .= $_[0];

        while (length $got >= 5) {
            my $len = 5 + unpack 'x N', $got;
            last if length $got < $len;
            $chunk->(substr $got, 0, $len, '');
        }
    });

    $chunk->(pack 'C N/a*', 0x80, "grpc-status:0\r\n");
    out("0\r\n\r\n");
}


sub websocket {
    my ($h) = @_;

    my $accept = encode_base64(Digest::SHA::sha1(
        $h->{'sec-websocket-key'} . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'),
        '');

    out("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        . "Connection: Upgrade\r\nSec-WebSocket-Accept: $accept\r\n\r\n");

    while (1) {
        more() or return while length $in < 6;
        my ($first, $len) = unpack 'CC', $in;
        $len &= 127;
        my $head = 2;

        if ($len == 126) {
            more() or return while length $in < 8;
            ($len, $head) = (unpack('x2 n', $in), 4);
        }

        more() or return while length $in < $head + 4 + $len;
        my $mask = substr $in, $head, 4;
        my $data = substr $in, $head + 4, $len;
        substr $in, 0, $head + 4 + $len, '';
        $data ^= substr $mask x ($len / 4 + 1), 0, $len;

        out(pack('C', $first) . ($len < 126 ? pack 'C', $len
                                            : pack 'C n', 126, $len) . $data);

        return if ($first & 15) == 8;
    }
}


# The header, as "v1 TEXT" or "v2 FAMILY SRC:PORT DST:PORT".

sub proxy_header {
    more() or exit 0 while length $in < 16;

    if ($in =~ /^PROXY /) {
        more() or exit 0 while $in !~ /\r\n/;
        $in =~ s/^(PROXY .*?)\r\n//;
        $header = "v1 $1";
        return;
    }

    my ($sig, $ver, $family, $len) = unpack 'a12 C C n', $in;
    die "no PROXY header" if $sig ne "\r\n\r\n\0\r\nQUIT\n";
    more() or exit 0 while length $in < 16 + $len;
    my $addr = substr $in, 16, $len;
    substr $in, 0, 16 + $len, '';

    my @a = $family == 0x11 ? unpack 'C8 n2', $addr : ();
    $header = sprintf 'v2 %02x %02x', $ver, $family;
    $header .= sprintf ' %d.%d.%d.%d:%d %d.%d.%d.%d:%d', @a[0 .. 3, 8, 4 .. 7],
        $a[9] if @a;
}
