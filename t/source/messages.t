#!/usr/bin/perl

# Protects: docs/troubleshooting.md has the words that nginx and the agent say.
# Each message in it is in the source, in one string; those of the last section
# are nginx's own.  Who changes a message changes it there.  Of one thing no
# message speaks as of several.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

my $root = $ZLTunnel::ROOT;
my ($ours, $nginxs) = slurp("$root/docs/troubleshooting.md")
    =~ /\A(.*)^## What nginx itself says\n(.*)\z/ms;
my $said = strings(map { glob "$root/$_" } 'agent/*/*.c',
                   'ngx_zltunnel_module/*.c', 'ngx_zltunnel_module/*/*.[ch]');
my $counted = join '|', qw(workers sockets sessions connections services lines
                          times days agents channels tokens visitors
                          datagrams);
my @plural = grep { !/more than %d|%u of %u|%llu bytes/ }
             $said =~ /^(.*%(?:[dui]|ui|uL|zu|llu)(?: [a-z]+)? (?:$counted)\b.*)/mg;

# the "s" of more than one
$said .= "\n" . $said =~ s/(?<=[a-z])%s(?![a-z])/s/gr;

my $nginx = slurp($ZLTunnel::NGINX) =~ s/[\0\n]+/\n/gr;

cmp_ok(messages($ours), '>', 60, 'messages of ours');
is(join("\n", grep { $said !~ pattern($_) } messages($ours)), '',
   '.. are in the source');

cmp_ok(messages($nginxs), '>', 8, 'messages of nginx');
is(join("\n", grep { !/^undefined symbol/ && $nginx !~ pattern($_) }
               messages($nginxs)), '', '.. are in its program');

is(join("\n", @plural), '', 'one is no plural');

unlike($said, pattern('the server ... every token'), 'what is not is found');
like($said, pattern('agent from ... refused: ...'), '.. and what is');

stream_first();

done_testing();


# The messages in the first column of tables whose head says "message".

sub messages {
    my ($text) = @_;

    return map { /^\| (.*?) \| / ? $1 =~ /`([^`]+)`/g : () }
           map { split /\n/ }
           $text =~ /^\| message \|.*\n\|[-|]+\n((?:\|.*\n)+)/mg;
}


# "..." stands for what a message has its variables for; so do numbers.

sub pattern {
    my ($message) = @_;

    my $pattern = join '[^\n]*', map { quotemeta } split /\.\.\./, $message, -1;

    # what nginx says of "Too many open files" is the system's
    $pattern =~ s/\\ failed\\ \\\(24.*/\\ failed/;

    return qr/$pattern/;
}


# The strings of C files, a line each; what the compiler joins is joined.

sub strings {
    my (@files) = @_;

    my @strings;

    for my $text (map { slurp($_) } @files) {
        $text =~ s{/\*.*?\*/}{}gs;
        $text =~ s/^#include.*//mg;
        $text =~ s/'(?:\\.|[^\\'])'//g;
        $text =~ s/(?<!\\)"\s*\n\s*"//g;
        push @strings, map { s/\\"/"/gr } $text =~ /"((?:\\.|[^"\\\n])*)"/g;
    }

    return join "\n", @strings;
}


# The linker's words, where stream is a module of its own.

sub stream_first {
    my ($stream, @rest) = split /^/, ZLTunnel::load_modules();

    SKIP: {
        skip('stream is not dynamic', 1) if !@rest;

        my $t = ZLTunnel->new;
        my ($rc, $out) = $t->test_conf(conf => join('', @rest, $stream)
            . "events { }\n");
        like($out, pattern('undefined symbol: ngx_stream_core_module'),
             'the order of modules');
    }
}
