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

use FindBin;
use lib $FindBin::Bin;

use ZLTunnel::Web;

my ($port, $dir) = @ARGV;

open my $log, '>>', "$dir/asked" or die $!;
$log->autoflush;

my %answers;
my $known = '';

web($port, \&asked, close => 1, stdin => 1);


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
    my ($q) = @_;

    my ($token) = $q->{head} =~ /^Authorization: Bearer ([^\r\n]*)/m;

    answers();

    my ($status, $delay, $headers) =
        @{ $answers{$token // ''} || $answers{'*'} };

    print $log $q->{due} + 1, ' ', $token // '-', ' ',
               join('|', grep { /^(?:Zltunnel|X-Real)/ }
                         split /\r\n/, $q->{head}), "\n";

    return ($status eq 'garbage' ? "what?\r\n"
            : answer($status, "no\n", 'Connection: close',
                     split /\|/, $headers), $delay);
}
