#!/usr/bin/perl

# A web server that is told of events.  Each request is a line of what it
# prints: what "Zltunnel-Event" and "Zltunnel-Event-Id" say, the content type,
# and the body.  It answers as the file says that the second argument names:
# "STATUS MILLISECONDS [STATUS]", with which the answer waits; status 0: not at
# all; the second one is for events that have come before.
# Arguments: port, file.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

my ($port, $file) = @ARGV;

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 512,
                                   LocalPort => $port, ReuseAddr => 1)
    or die "listen: $!";

$SIG{PIPE} = 'IGNORE';
$| = 1;
print "ready\n";

my $select = IO::Select->new($listen);
my (%in, %seen, @later);

while (1) {
    my $wait = @later ? $later[0][0] - time : undef;

    for my $s ($select->can_read(defined $wait && $wait < 0 ? 0 : $wait)) {

        if ($s == $listen) {
            my $c = $listen->accept or next;
            $in{$c} = '';
            $select->add($c);
            next;
        }

        if (!sysread $s, $in{$s}, 65536, length $in{$s}) {
            $select->remove($s);
            delete $in{$s};
            next;
        }

        while ($in{$s} =~ /\A(.*?)\r\n\r\n/s) {
            my $head = $1;
            my ($length) = $head =~ /^Content-Length: (\d+)/mi;
            my $all = length($head) + 4 + ($length // 0);

            last if length $in{$s} < $all;

            my $body = substr $in{$s}, $all - ($length // 0), $length // 0;
            substr $in{$s}, 0, $all, '';

            print join(' ', map({ $head =~ /^$_: ([^\r\n]*)/mi ? $1 : '-' }
                                qw(Zltunnel-Event Zltunnel-Event-Id
                                   Content-Type)), $body =~ s/\n\z//r), "\n";

            open my $fh, '<', $file or die "$file: $!";
            my ($status, $ms, $again) = <$fh> =~ /(\d+)/g;

            my ($id) = $head =~ /^Zltunnel-Event-Id: (\w+)/mi;
            $status = $again if $seen{ $id // '' }++ && defined $again;

            push @later, [ time + $ms / 1000, $s, $status ] if $status;
            @later = sort { $a->[0] <=> $b->[0] } @later;
        }
    }

    while (@later && $later[0][0] <= time) {
        my (undef, $s, $status) = @{ shift @later };

        syswrite $s, "HTTP/1.1 $status X\r\nContent-Length: 2\r\n\r\nok";
    }
}
