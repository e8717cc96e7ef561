#!/usr/bin/perl

# Protects: the tests themselves.  A second subroutine of a name replaces the
# first one without a word, and what that one held is held no more; a test
# that does not say what it protects cannot be judged.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel::Proc qw(slurp);

my $root = "$FindBin::Bin/../..";
my @tests = glob "$root/t/*/*.t";

is_deeply([ twice("sub a {\n}\nsub b {\n}\nsub a {\n}\n") ], [ 'a' ],
          'one that is there twice is found');

cmp_ok(@tests, '>', 100, 'there are tests');

for my $file (@tests, glob "$root/t/lib/*.pm $root/t/lib/*/*.pm") {
    my $text = slurp($file);
    my $name = $file =~ s{^\Q$root/}{}r;

    is(join(' ', twice($text)), '', "$name: each subroutine is there once");
    ok($text =~ /^# Protects:? \S/m, "$name: says what it protects")
        if $file =~ /\.t$/;
}

done_testing();


# The names of subroutines that a package defines twice.

sub twice {
    my ($text) = @_;

    my (%seen, @twice);
    my $package = 'main';

    for (split /^/, $text) {
        last if /^__(?:END|DATA)__/;
        $package = $1 if /^package ([\w:]+)/;
        push @twice, $1 if /^sub (\w+)/ && $seen{"$package $1"}++;
    }

    return @twice;
}
