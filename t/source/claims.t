#!/usr/bin/perl

# Protects: what docs/security.md claims is tested where it says.  Each section
# of it that claims something has rows in the table at its end; the tests that
# they name are there, and so are the parts of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

my $root = $ZLTunnel::ROOT;
my $text = slurp("$root/docs/security.md");

my ($body, $table) = $text =~ /\A(.*)^## Which test holds what\n(.*)\z/ms;
ok(defined $table, 'there is a table') or BAIL_OUT('no table');

# advice, and what is nobody's claim
my %without = map { $_ => 1 } 'Who is trusted with what', 'Status',
                              'What is not protected';
my @sections = grep { !$without{$_} } $body =~ /^## (.*)$/mg;

my %rows;
my $rows = 0;

for my $row ($table =~ /^\| (?!section|---)(.*) \|$/mg) {
    my ($section, $claim, $tests) = split / \| /, $row;

    $rows{$section}++;
    $rows++;

    my @missing = map { missing($_) } split /, (?=t\/)/, $tests;

    is_deeply(\@missing, [], "$section: $claim");
}

cmp_ok($rows, '>', 30, "$rows rows");
is_deeply([ sort keys %rows ], [ sort @sections ],
          'each section that claims something has some, and no other');

done_testing();


# What of "t/area/name.t: a part; another part" is not there.

sub missing {
    my ($test) = @_;

    my ($file, $parts) = $test =~ /^(t\/[\w\/-]+\.[tc])(?:: (.*))?$/
        or return $test;

    return $file unless -f "$root/$file";

    my $source = slurp("$root/$file");

    return map { "$file: $_" }
           grep { $source !~ /^\s*subtest (['"])\Q$_\E\1/m }
           split /; /, $parts // '';
}
