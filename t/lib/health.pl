#!/usr/bin/perl

# A web server whose health is what a file says: a status, or "hang".  Asks for
# another path than /healthz get its name.  Arguments: port, name, file.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use ZLTunnel::Web;

my ($port, $name, $file) = @ARGV;

web($port, sub {
    my ($path) = $_[0]{head} =~ /^GET (\S+)/m;
    print "asked $path\n";

    return answer(200, $name) if $path ne '/healthz';

    open my $fh, '<', $file or die "$file: $!";
    chomp(my $status = <$fh>);

    return $status eq 'hang' ? undef : answer($status, $name);
});
