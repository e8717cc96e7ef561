#!/usr/bin/perl

# A web server whose health is what a file says: a status, or "hang".  Asks for
# another path than /healthz get its name.  Arguments: port, name, file.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;

my ($port, $name, $file) = @ARGV;

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128,
                                   LocalPort => $port, ReuseAddr => 1)
    or die "listen: $!";

$SIG{PIPE} = 'IGNORE';
$| = 1;
print "ready\n";

my $select = IO::Select->new($listen);
my %in;

while (1) {
    for my $s ($select->can_read) {

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

        while ($in{$s} =~ s/\A(.*?)\r\n\r\n//s) {
            my ($path) = $1 =~ /^GET (\S+)/m;
            print "asked $path\n";

            my $status = 200;

            if ($path eq '/healthz') {
                open my $fh, '<', $file or die "$file: $!";
                chomp($status = <$fh>);
                next if $status eq 'hang';
            }

            syswrite $s, "HTTP/1.1 $status X\r\nContent-Length: "
                         . length($name) . "\r\n\r\n$name";
        }
    }
}
