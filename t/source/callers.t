#!/usr/bin/perl

# Protects: the programs have no function that nobody calls.  The compiler says
# so of static ones; here it is the exported ones, of the agent, the module and
# what they share, as they are built.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../auto";

use Source ();
use Test::More;
use ZLTunnel;

my $root = $ZLTunnel::ROOT;

# those of an older build, whose sources have gone, do not count
my @programs = map { Source::program($_, $root) } @Source::PROGRAMS;
my @objects = eval { map { $_->[0] } map { $_->objects } @programs };

plan(skip_all => 'nothing is built in objs/') if !@objects;

my ($rc, $out) = run('nm', '-g', '--defined-only', @objects);
plan(skip_all => 'there is no nm') if $rc != 0;

my %exported = map { $_ => 1 }
               $out =~ /^[0-9a-f]+ T ((?:zlt|ngx_\w*zltunnel)_\w+)$/mg;
my %used;

# the module for "cluster" calls others, and is built where hiredis is

my @cluster = glob "$root/ngx_zltunnel_module/cluster/*.[ch]";

for my $file (@cluster,
              map { my $p = $_; map { $p->path($_) } $p->files } @programs)
{
    my $text = slurp($file);

    $text =~ s{/\*.*?\*/}{}gs;
    $text =~ s/^\w+\(//mg;              # where it is defined
    $text =~ s/^\w[^;{}()]*\b\w+\([^;{}]*\);//mg if $file =~ /\.h$/;
    $used{$_} = 1 for $text =~ /\b((?:zlt|ngx_\w*zltunnel)_\w+)\b/g;
}

cmp_ok(scalar keys %exported, '>', 300, 'functions are there');
is(join(' ', grep { !$used{$_} } sort keys %exported), '',
   'each of them has a caller');

done_testing();
