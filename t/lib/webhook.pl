#!/usr/bin/perl

# A web server that is told of events.  Each request is a line of what it
# prints: what "Zltunnel-Event" and "Zltunnel-Event-Id" say, the content type,
# and the body.  It answers as the file says that the second argument names:
# "STATUS MILLISECONDS [STATUS]", with which the answer waits; status 0: not at
# all; the second one is for events that have come before.
# Arguments: port, file.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use ZLTunnel::Web;

my ($port, $file) = @ARGV;
my %seen;

web($port, sub {
    my ($q) = @_;

    my %is = map { $_ => $q->{head} =~ /^$_: ([^\r\n]*)/mi ? $1 : '-' }
                 my @names = qw(Zltunnel-Event Zltunnel-Event-Id Content-Type);

    print join(' ', @is{@names}, $q->{body} =~ s/\n\z//r), "\n";

    open my $fh, '<', $file or die "$file: $!";
    my ($status, $ms, $again) = <$fh> =~ /(\d+)/g;

    $status = $again if $seen{ $is{'Zltunnel-Event-Id'} }++ && defined $again;

    return ($status ? answer($status, 'ok') : undef, $ms / 1000);
});
