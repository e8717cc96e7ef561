package ZLTunnel::Web;

# The loop of the small web servers of tests, one process for all connections.
#
#     web($port, sub {
#         my ($q) = @_;             # { head, body, due: answers that wait }
#         return ($answer, $seconds);
#     });
#
# The answer goes after so many seconds, and none if it is undef.  "close" has
# the connection closed behind it; "stdin" has the server end with its input.
# It prints "ready" when it listens.

use strict;
use warnings;

use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

our @EXPORT = qw(web answer);


sub web {
    my ($port, $asked, %o) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Listen => 1024, ReuseAddr => 1)
        or die "listen: $!";
    $listen->blocking(0);

    local $SIG{PIPE} = 'IGNORE';
    STDOUT->autoflush;
    print "ready\n";

    my $select = IO::Select->new($listen, $o{stdin} ? \*STDIN : ());
    my (%in, @due);

    while (1) {
        my $wait = @due ? $due[0][0] - time : undef;

        for my $s ($select->can_read(defined $wait && $wait < 0 ? 0 : $wait)) {

            if ($s == $listen) {
                while (my $c = $listen->accept) {
                    $select->add($c);
                    $in{$c} = '';
                }
                next;
            }

            if ($s == \*STDIN) {
                return if !sysread $s, my $data, 1;
                next;
            }

            if (!sysread $s, $in{$s}, 65536, length $in{$s}) {
                $select->remove($s);
                delete $in{$s};
                next;
            }

            while (my $q = request(\$in{$s})) {
                $q->{due} = @due;
                my ($answer, $seconds) = $asked->($q);
                next if !defined $answer;

                push @due, [ time + ($seconds // 0), $s, $answer ];
                @due = sort { $a->[0] <=> $b->[0] } @due;
            }
        }

        while (@due && $due[0][0] <= time) {
            my (undef, $s, $answer) = @{ shift @due };
            syswrite $s, $answer;

            if ($o{close}) {
                $select->remove($s);
                delete $in{$s};
                close $s;
            }
        }
    }
}


# Takes one that is there as a whole: { head, body }.

sub request {
    my ($in) = @_;

    my ($head) = $$in =~ /\A(.*?)\r\n\r\n/s or return;
    my ($length) = $head =~ /^Content-Length: (\d+)/mi;
    my $all = length($head) + 4 + ($length // 0);

    return if length $$in < $all;

    my $body = substr $$in, $all - ($length // 0), $length // 0;
    substr $$in, 0, $all, '';

    return { head => $head, body => $body };
}


sub answer {
    my ($status, $body, @headers) = @_;

    return join("\r\n", "HTTP/1.1 $status X", @headers,
                'Content-Length: ' . length $body) . "\r\n\r\n$body";
}


1;
