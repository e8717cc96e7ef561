#!/usr/bin/perl

# Protects: the manual has what the agent has.  Every key of a section, every
# suffix of a service, every request of the control socket and every option is
# documented, and nothing is that the agent does not know; a token is at the
# same place on all pages.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);
use Test::More;
use ZLTunnel;
use ZLTunnel::Known;

my %page = map { $_ => slurp("$ZLTunnel::ROOT/docs/$_.md") }
           qw(agent access nodes security);
my %where = (
    'agent' => 'agent', 'service NAME' => 'agent', 'access NAME' => 'access',
    'access' => 'access', 'node' => 'nodes', 'nodes' => 'nodes',
    'tunnel NAME' => 'nodes',
);
my $dir = File::Temp::tempdir(CLEANUP => 1);

subtest 'keys' => \&keys_of_sections;
subtest 'defaults and bounds' => \&values;
subtest 'the example' => \&example;
subtest 'options' => \&options;
subtest 'suffixes' => \&suffixes;
subtest 'requests' => \&requests;
subtest 'the token\'s place' => \&token_place;

# what a service learns of its clients
like($page{security}, qr/^## What is not protected\n.*`proxy_protocol`/ms,
     'security.md knows of proxy_protocol');

done_testing();


# The keys in the table that begins with "| [section] |".

sub documented {
    my ($section) = @_;

    $page{ $where{$section} } =~ /^\| \[\Q$section\E\] \|.*\n\|[-|]+\n((?:\|.*\n)+)/m
        or return;

    return map { /`(\w+)`/g } map { /^\| ([^|]*) \|/ } split /\n/, $1;
}


sub same {
    my ($got, $want, $what) = @_;

    is(join(' ', sort @$got), join(' ', sort @$want), $what);
}


sub keys_of_sections {
    my $known = known_keys();

    same([ keys %$known ], [ keys %where ], 'the sections');

    for my $section (sort keys %$known) {
        my @keys = grep { $_ ne '*' } @{ $known->{$section} };

        # a tunnel refuses some keys of [agent], which its page names
        if ($section eq 'tunnel NAME') {
            like($page{nodes}, qr/keys of `\[agent\]`,\s+but\s+for [^.]*`$_`/,
                 "[tunnel NAME] $_ is said to be refused")
                for grep { refused($_) } @keys;
            @keys = grep { !refused($_) } @keys;
        }

        # .. and may repeat one that it takes
        my %own = map { $_ => 1 } @keys;
        my %also = $section eq 'tunnel NAME'
                   ? (map { $_ => 1 } @{ $known->{agent} }) : ();

        same([ grep { $own{$_} || !$also{$_} } documented($section) ], \@keys,
             "[$section]");
    }
}


# Each default and each bound of the table is in the row of its key, and no
# other.

sub values {
    for my $row (key_table()) {
        my ($section, $key) = @$row{qw(section key)};
        my ($cells) = grep { $_->[0] =~ /`$key`/ } rows($section);
        my ($keys, $default, $text) = @{ $cells // next };
        my $what = "[$section] $key";

        # "`a`, `b`" have one default in common
        is($default =~ tr/`//dr, $row->{default}, "$what: default")
            if $row->{default} ne '';
        unlike($default, qr/^[\d`]/, "$what: no default that is a value")
            if $row->{default} eq '';

        like($text, qr/\b\Q$_\E\b|^as above/, "$what: choice $_")
            for grep { $_ ne $row->{default} } split /\|/, $row->{choices};
        like($text, qr/\Q$_\E/, "$what: bounds")
            for $row->{form} =~ /time|number/
                ? $row->{bounds} =~ /((?:from|up to) .*)/ : ();
    }
}


# The rows of a section's table: [ keys, default, text ].

sub rows {
    my ($section) = @_;

    $page{ $where{$section} } =~ /^\| \[\Q$section\E\] \|.*\n\|[-|]+\n((?:\|.*\n)+)/m
        or return;

    return map { [ map { s/^ +| +$//gr } (split /(?<!\\)\|/, $_, -1)[1 .. 3] ] }
           split /\n/, $1;
}


# agent.conf.example has the keys of each section, in a comment too; a value
# of [agent] in a comment is the default, where there is one.

sub example {
    my %known = %{ known_keys() };
    my %default = map { $_->{key} => $_->{default} }
                  grep { $_->{section} eq 'agent' } key_table();
    my ($section, %seen);

    for (split /\n/, slurp("$ZLTunnel::ROOT/agent/agent.conf.example")) {
        if (/^(?:; )?\[(\w+)( \S+)?\]$/) {
            $section = $2 ? "$1 NAME" : $1;
            ok($known{$section}, "there is a section [$section]");

        } elsif (/^(; )?(\w+) = (.*)$/) {
            $seen{$section}{$2} = 1;
            is($3, $default{$2}, "$2: its default")
                if $1 && $section eq 'agent' && $default{$2};
        }
    }

    is((grep { delete $seen{$_}{include} } keys %seen), 1, 'and "include"');

    for my $of (sort keys %known) {
        my %have = %{ $seen{$of} // {} };
        my %may = map { $_ => 1 } @{ $known{$of} },
                  $of eq 'tunnel NAME' ? @{ $known{agent} } : ();

        is(join(' ', grep { !$may{$_} } sort keys %have), '',
           "[$of] has no key that is not known");
        is(join(' ', grep { !$have{$_} && $_ ne '*' && !refused($_) }
                     @{ $known{$of} }), '', "[$of] has all");
    }
}


# Beside the file that names it, where the agent's user can read it: what is
# elsewhere is one exception of agent.md.

sub token_place {
    my %text = map { s{^\Q$ZLTunnel::ROOT\E/}{}r => slurp($_) }
               "$ZLTunnel::ROOT/README.md", "$ZLTunnel::ROOT/debian/agent.conf",
               glob("$ZLTunnel::ROOT/docs/*.md $ZLTunnel::ROOT/docs/*/*.md"
                    . " $ZLTunnel::ROOT/agent/*.example");
    my $n = 0;

    for my $file (sort keys %text) {
        for ($text{$file} =~ /^(?:; )?token_file = *(.*)$/mg) {
            like($_, qr/^[\w-]+(?:\.token)?$/, "$file: token_file");
            $n++;
        }
    }

    cmp_ok($n, '>', 8, 'there are some');

    my @root = grep { $text{$_} =~ m{/run/credentials} } sort keys %text;
    is("@root", 'docs/agent.md', 'where a token is root\'s');
}


sub refused {
    my ($key) = @_;

    write_file("$dir/agent.conf", "[tunnel x]\n$key = 1\n");
    my (undef, $out) = run($ZLTunnel::AGENT, 'check', '-c', "$dir/agent.conf");
    return $out =~ /is for all tunnels/;
}


# Each key of [agent] is one of "connect".

sub options {
    my ($rc, $help) = run($ZLTunnel::AGENT, 'connect', '--help');
    my %of_service = map { tr/_/-/r => 1 } documented('service NAME');
    my @help = grep { !/^(?:help|version|service)$/ && !$of_service{$_} }
               $help =~ /--([\w-]+)/g;
    my %seen;
    @help = grep { !$seen{$_}++ } @help;

    same(\@help, [ map { tr/_/-/r } documented('agent') ],
         'options of connect');

    my $table = (split /^## The command\n/m, $page{access})[1];
    ($table) = split /^## /m, $table;
    $table =~ s/^.*?(?=^\| option)//ms;
    ($rc, $help) = run($ZLTunnel::AGENT, 'access', '--help');
    my %want = map { $_ => 1 } grep { !/^(?:help|version|server)$/ }
               $help =~ /--([\w-]+)/g;
    my %have = map { $_ => 1 } $table =~ /`--([\w-]+)/g;

    same([ keys %have ], [ keys %want ], 'options of access');
}


sub suffixes {
    my ($usage) = $page{agent} =~ /^## Services\n(.*?)^## /ms;
    my %have = map { $_ => 1 } $usage =~ /`(\/[\w-]+)`/g;

    same([ keys %have ], [ known_suffixes() ], 'behind --service');

    for my $suffix (sort keys %have) {
        my ($rc, $out) = run({ timeout => 10 }, $ZLTunnel::AGENT, 'connect',
                             '--server', 'ws://127.0.0.1:1/', '--token-file',
                             "$dir/none", '--service', "x:1$suffix");
        unlike($out, qr/--service/, "$suffix is taken");
    }

    my ($rc, $out) = run($ZLTunnel::AGENT, 'connect', '--server',
                         'ws://127.0.0.1:1/', '--service', 'x:1/no');
    like($out, qr/\b\Q$_\E\b/, "the complaint names $_")
        for map { s/^\///r } known_suffixes();
}


sub requests {
    my ($list) = $page{agent}
                 =~ /^A request is one line.*?\n\n((?: {4}[^\n]*\n)+)/ms;
    my %have = map { /^ +(\w+)/ ? ($1 => $_) : () } split /\n/, $list // '';

    same([ keys %have ], [ known_requests() ], 'of the control socket');

    # a running agent knows them, with the words that the page gives

    write_file("$dir/token", "secret\n", 0600);
    my $agent = ZLTunnel::Proc->start(
        name => 'agent', out => "$dir/log",
        cmd => [ $ZLTunnel::AGENT, 'connect', '--server', 'ws://127.0.0.1:1/',
                 '--token-file', "$dir/token", '--service', 'x:1', '--control',
                 "$dir/sock" ]);
    ok(wait_for(sub { IO::Socket::UNIX->new(Peer => "$dir/sock") }), 'an agent');

    for my $request (sort keys %have) {
        my $line = $have{$request} =~ s/^ +//r;
        my $least = $line =~ s/ \[\w+\]//r;

        for my $words ($least, $line) {
            $words =~ tr/[]//d;
            my ($first) = split /\|/, $words;
            my $s = IO::Socket::UNIX->new(Peer => "$dir/sock",
                                          Type => SOCK_STREAM) or next;
            syswrite $s, $words =~ s/(\w+)\|\S+/$1/gr . "\n";
            local $/;
            my $answer = <$s> // '';
            like($answer, qr/^(?:OK|FAIL) \d+\n/, "\"$words\" is answered");
            unlike($answer, qr/no request|too (?:few|many) words/,
                   'and has the right words');
        }
    }

    is($agent->stop, 0, 'it ends');
}
