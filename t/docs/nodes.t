#!/usr/bin/perl

# Protects: the walk-through of docs/nodes.md leads to what it says, as it is
# written: from a CA of one's own to two nodes that publish to each other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Doc;

my @nodes = ZLTunnel::Doc->machines([ 'us-east', 'eu-west' ], hosts => {
    'us-east.example.com' => 'us-east', 'eu-west.example.com' => 'eu-west' })
    or plan(skip_all => $ZLTunnel::Nodes::why);

my $doc = ZLTunnel::Doc->new('docs/nodes.md', 'an empty directory' => 'empty',
                             map { $_->{name} => $_ } @nodes);

cmp_ok($doc->follow('A walk-through'), '>', 10, 'its blocks');
$doc->finish;

done_testing();
