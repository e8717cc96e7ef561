#!/usr/bin/perl

# Protects: how little it takes to the first byte.  Counts what the documents say
# to type and to write, of each journey; that it works as written is what the
# tests of these documents hold (t/install/readme.t, t/docs).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

# a document, its sections, at most so many commands and files

my @journeys = (
    # to https://blog.t.example.com, from two new machines
    [ 'own VPS to first byte', 'README.md', [ 'A first tunnel' ], 8, 2 ],
    [ 'VPS: web, ssh, game', 'docs/jobs/vps.md', [ 'The server', 'At home' ],
      8, 2 ],
    # the token is asked for once, and from then on it is one command
    [ 'ngrok-like, once the server is set up', 'docs/jobs/developer.md',
      [ 'The laptop' ], 2, 0 ],
    [ 'twenty teams', 'docs/jobs/teams.md', [ 'The server' ], 9, 1 ],
    # a look at the log, a renewal and an early end among them
    [ 'a database for an hour: who reaches it', 'docs/jobs/database.md',
      [ 'Alice' ], 9, 0 ],
    [ 'three data centres: at each site', 'docs/jobs/datacentres.md',
      [ 'At each site' ], 6, 0 ],
);

for my $journey (@journeys) {
    my ($name, $file, $sections, $commands, $files) = @$journey;

    my $text = slurp("$ZLTunnel::ROOT/$file");
    my ($typed, $written) = (0, 0);

    for my $section (@$sections) {
        my ($body) = $text =~ /^## \Q$section\E\n(.*?)(?=^## |\z)/ms;
        ok(defined $body, "$name: \"$section\"") or next;

        $typed += commands($body);
        $written += () = $body =~ /`[\w.\/-]+`:\n+```/g;
    }

    ok($typed > 0 && $typed <= $commands,
       "$name: $typed commands, at most $commands");
    cmp_ok($written, '<=', $files, "$name: $written files to write");
}

done_testing();


# A line is a command, however long it is; what is behind "&&" is one more.

sub commands {
    my ($body) = @_;

    my $n = 0;

    for my $block ($body =~ /^```sh\n(.*?)^```$/msg) {
        $block =~ s/\\\n\s*//g;
        $n += () = $block =~ /^(?!\s)(?!#)\S/mg;
        $n += () = $block =~ /&&/g;
    }

    return $n;
}
