package ZLTunnel::Links;

# Links of documents, by GitHub's rules: which do not resolve in a tree, be it
# this one or an installed one.

use strict;
use warnings;

use Exporter qw(import);
use File::Basename qw(dirname);
use File::Find ();
use ZLTunnel::Proc qw(slurp);

our @EXPORT = qw(broken_links documents);


# The names of all documents below a folder.

sub documents {
    my ($tree) = @_;

    my @found;

    File::Find::find(sub {
        push @found, $File::Find::name =~ s{^\Q$tree\E/*}{}r if /\.md$/ && -f;
    }, $tree);

    @found = sort @found;
    return @found;
}


# The links of a document of a tree that lead nowhere.  The text is what is in
# its file if none is given.

sub broken_links {
    my ($tree, $doc, $text) = @_;

    $text //= slurp("$tree/$doc");

    my @broken;
    my $prose = $text =~ s/^```.*?^```$//msgr =~ s/`[^`]*`/code/gr;

    while ($prose =~ /\[[^\]]*\]\(\s*([^)\s]*)\s*\)/g) {
        my $link = $1;

        next if $link =~ /^https?:/;

        my ($file, $anchor) = split /#/, $link, 2;
        my $to = length $file ? normal(dirname($doc) . "/$file") : $doc;

        if ($to =~ m{^\.\./} || $to ne $doc && !-e "$tree/$to") {
            push @broken, $link;

        } elsif (defined $anchor) {
            my $there = $to eq $doc ? $text : slurp("$tree/$to");
            push @broken, $link if !grep { $_ eq $anchor } anchors($there);
        }
    }

    return @broken;
}


sub normal {
    my ($path) = @_;

    $path =~ s{(?:^|(?<=/))\./}{}g;
    1 while $path =~ s{(?:^|(?<=/))(?!\.\./)[^/]+/\.\./}{};
    return $path;
}


# As GitHub makes them of headings: small letters, no punctuation, "-" for a
# blank, and a number behind one that is there again.

sub anchors {
    my ($text) = @_;

    my (%seen, @anchors);

    $text =~ s/^```.*?^```$//msg;

    for my $heading ($text =~ /^#{1,6} +(.*?) *$/mg) {
        my $anchor = lc $heading =~ s/\[([^\]]*)\]\([^)]*\)/$1/gr;

        $anchor =~ s/[^\w\s-]//g;
        $anchor =~ s/\s/-/g;

        my $n = $seen{$anchor}++;
        push @anchors, $n ? "$anchor-$n" : $anchor;
    }

    return @anchors;
}


1;
