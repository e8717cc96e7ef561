#!/usr/bin/perl

# A system that decides about tokens, for zltunnel_auth:
#
#     auth.pl PORT DIR
#
# What it answers is in DIR/answers: a number, another one whenever it is replaced,
# and a line a token:
#
#     TOKEN STATUS DELAY [Header: value|Header: value ...]
#
# "*" is any other token, STATUS "garbage" no HTTP at all, DELAY in seconds.
# DIR/asked gets a line for each request: how many are served at that moment,
# the token, the other headers.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

my ($port, $dir) = @ARGV;

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
    LocalPort => $port, Listen => 1024, ReuseAddr => 1) or die "listen: $!";
$listen->blocking(0);

open my $log, '>>', "$dir/asked" or die $!;
$log->autoflush;

my $select = IO::Select->new($listen, \*STDIN);
my (%in, @due, %answers);
my $known = '';

while (1) {
    my $wait = @due ? $due[0][0] - time : 10;

    for my $s ($select->can_read($wait < 0 ? 0 : $wait)) {

        if ($s == \*STDIN) {
            exit if !sysread $s, my $data, 1;

        } elsif ($s == $listen) {
            while (my $c = $listen->accept) {
                $select->add($c);
                $in{$c} = '';
            }

        } elsif (!sysread $s, $in{$s}, 65536, length $in{$s}) {
            $select->remove($s);
            delete $in{$s};

        } elsif ($in{$s} =~ /\r\n\r\n/) {
            $select->remove($s);
            asked($s, delete $in{$s});
        }
    }

    while (@due && $due[0][0] <= time) {
        my (undef, $s, $answer) = @{ shift @due };
        syswrite $s, $answer;
        close $s;
    }
}


# They are read again when there is another file, by its number.

sub answers {
    open my $fh, '<', "$dir/answers" or die $!;
    my $number = <$fh>;
    return if $known eq $number;

    $known = $number;
    %answers = ();

    while (<$fh>) {
        chomp;
        my ($for, $status, $delay, $headers) = split ' ', $_, 4;
        $answers{$for} = [ $status, $delay, $headers // '' ];
    }
}


sub asked {
    my ($s, $request) = @_;

    my ($token) = $request =~ /^Authorization: Bearer (.*)\r$/m;

    answers();

    my ($status, $delay, $headers) =
        @{ $answers{$token // ''} || $answers{'*'} };

    $headers =~ s/\|/\r\n/g;
    $headers .= "\r\n" if length $headers;

    @due = sort { $a->[0] <=> $b->[0] } @due,
           [ time + $delay, $s, $status eq 'garbage' ? "what?\r\n"
             : "HTTP/1.1 $status Status\r\n$headers"
               . "Content-Length: 3\r\nConnection: close\r\n\r\nno\n" ];

    print $log scalar(@due), ' ', $token // '-', ' ',
               join('|', grep { /^(?:Zltunnel|X-Real)/ }
                         split /\r\n/, $request), "\n";
}
