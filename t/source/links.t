#!/usr/bin/perl

# Protects: what the documents name is there.  Links and their anchors resolve,
# by GitHub's rules; files, directives, variables, commands, options, keys of
# agent.conf and targets of make exist, and each directive has its place in
# docs/directives.md.  What finds these is seen to find each where it is
# planted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Basename qw(dirname);
use Test::More;
use ZLTunnel;
use ZLTunnel::Known;
use ZLTunnel::Links;

my $root = $ZLTunnel::ROOT;
my @docs = map { s{^\Q$root\E/}{}r }
           "$root/README.md", "$root/CONTRIBUTING.md", "$root/bench/README.md",
           "$root/packaging/README.md",
           glob("$root/docs/*.md $root/docs/*/*.md");

my %file = tree();
my %text = map { $_ => slurp("$root/$_") } @docs;
my $module = join '', map { slurp($_) }
             map { glob "$root/ngx_zltunnel_module/$_" } '*.c', '*/*.c';
my %directive = map { $_ => 1 }
                $module =~ /\{ ngx_string\("(\w+)"\),\n\s+NGX_/g,
                $module =~ /^\s+ngx_zltunnel_range_command\((\w+)\)/mg;
my %variable = map { $_ => 1 }
               $module =~ /\{ ngx_string\("(zltunnel_\w+)"\), NULL,/g;
my @parameters = $module =~ /\{ ngx_string\("(\w+)"\), ngx_zltunnel_token_/g;
my ($help) = (run($ZLTunnel::AGENT, '--help'))[1] =~ /^Commands:\n(.*?)^$/ms;
my %command = map { $_ => 1 } 'help', 'version', ($help // '') =~ /^  (\w+)/mg;

# what a document defines itself: names for Prometheus
my %metric = map { $_ => 1 } map { /kind\("(\w+)"/g } values %text;

# .. and those of zltunnel_status, whose text is what it says of each
$metric{"zltunnel_$_"} = 1
    for join('', map { slurp("$root/ngx_zltunnel_module/registry/ngx_zltunnel_$_.c") }
                     qw(metrics cluster_status))
        =~ /"([a-z_]+)"/g;

# .. and of the agent
$metric{"zltunnel_agent_$_"} = 1
    for slurp("$root/agent/ctl/ctl_metrics.c") =~ /"([a-z_]+)"/g;

my %option = map { $_ => 1 } known_options();
my %key = %{ known_keys() };
my %target = map { $_ => 1 } slurp("$root/Makefile") =~ /^([a-z][\w-]*):/mg;

# that of pkg-oss's own Makefile
$target{'module-zltunnel'} = 1;

# of other programs: what configures nginx, and what measures
my $others = join '', map { slurp($_) }
             map { glob "$root/bench/$_" } '*.pl', 'lib/*';
my $configure = qr/^(?:with-cc-opt|with-debug)$/;

cmp_ok(scalar keys %$_, '>', 5, 'what there is was found')
    for \(%directive, %variable, %command, %option, %key, %target);

for my $doc (@docs) {
    is_deeply([ faults($doc, $text{$doc}) ], [], $doc);
}

subtest 'the manual of directives' => \&manual;
subtest 'planted' => \&planted;

done_testing();


# What a document names that is not there.

sub faults {
    my ($doc, $text) = @_;

    my @code;
    my @faults = broken_links($root, $doc, $text);

    # a block of code, in a fence or by its indent; of what language
    $text =~ s{^```(\w*)\n(.*?)^```$}{push @code, [ $1, $2 ]; ''}msge;
    $text =~ s{(?:\A|(?<=\n))\n((?: {4}\S.*\n)(?: {4}.*\n|\n(?= {4}))*)}
              {push @code, [ '', $1 ]; "\n"}ge;

    my @inline = $text =~ /`([^`]+)`/g;

    for my $said ($text, map { $_->[1] } @code) {
        push @faults, paths($doc, $said), names($said);
    }

    push @faults, options($_) for @inline, map { commands_of($_->[1]) } @code;
    push @faults, map { blocks(@$_) } @code;

    for my $said (@inline, map { $_->[1] =~ /^[ #\$]*(make .*)/mg } @code) {
        push @faults, map { "make $_" } grep { !$target{$_} }
                      $said =~ /(?:^|&& )make ([a-z][\w-]*)/g;
    }

    return @faults;
}


# Files: those of a folder of ours, and those whose names are like ours.

sub paths {
    my ($doc, $text) = @_;

    my $folder = qr{(?:t|docs|agent|auto|bench|proto|config|control|registry
                      |worker|cmd|process|ngx_zltunnel_module)}x;
    my @found = $text =~ m{(?<![\w/.*-])($folder/[\w./*-]*[\w*/])(?!\w)}g;
    my @faults = grep { !there($doc, $_) } @found;

    push @faults, grep { !$file{$_} }
                  $text =~ /\b((?:ngx_\w*zltunnel|zlt)_[a-z_0-9]+\.[ch])\b/g;

    return @faults;
}


sub there {
    my ($doc, $path) = @_;

    return 1 if $path =~ m{^agent/\d};                  # an agent's version
    return 1 if $path =~ m{^(?:control|worker|config|cmd|process)/$};

    return grep { -e } map { glob "$_/$path" }
           $root, "$root/ngx_zltunnel_module", "$root/agent",
           "$root/" . dirname($doc);
}


# Directives and variables that bear our name.

sub names {
    my ($text) = @_;

    $text =~ s{\w*zltunnel_\w+(?:\.\w+|\()}{}g;          # files, functions
    $text =~ s{ngx_\w*zltunnel_\w+}{}g;

    my @variables = $text =~ /\$(zltunnel_\w+)/g;
    my @others = $text =~ /(?<![\w\$.\/-])(zltunnel_\w+)\b(?!\.)/g;

    return ((map { "\$$_" } grep { !$variable{$_} } @variables),
            grep { !$directive{$_} && !$variable{$_} && !$metric{$_} } @others);
}


# The command lines of a block that are the agent's, continued ones joined.

sub commands_of {
    my ($code) = @_;

    $code =~ s/\\\n//g;
    return grep { /\bzltunnel-agent / } split /\n/, $code;
}


sub options {
    my ($said) = @_;

    my ($command) = $said =~ /\bzltunnel-agent ([a-z]+)\b/;
    my ($first) = $said =~ /^([a-z][\w-]*) /;

    # a command of another program
    return if defined $first && !defined $command && !$command{$first};

    my @faults = defined $command && !$command{$command}
                 ? "zltunnel-agent $command" : ();

    # of more programs in a line the agent's only
    $said =~ s/^.*?(?=\bzltunnel-agent )//s if defined $command;
    $said =~ s/[;|&>].*//s;

    return @faults, map { "--$_" }
        grep { !$option{$_} && !/$configure/ && $others !~ /'\Q$_\E[=!']/
               && $others !~ /--\Q$_\E\b/ }
        $said =~ /(?:^|\s)--([a-z][a-z-]+)/g;
}


# Directives in the block of a registry; sections and keys of agent.conf.

sub blocks {
    my ($language, $code) = @_;

    my @faults;

    if ($code =~ /^ *zltunnel(?: \w+)? \{(?! *\.\.\.)(.*?)\}/ms) {
        my $block = $1 =~ s/#.*//gr;
        push @faults, grep { !$directive{$_} }
                      $block =~ /(?:^|;)\s*([a-z_]+)\s/g;
    }

    return @faults if $language ne 'ini';

    my $section = '';

    for my $line (split /\n/, $code) {
        $section = $1 if $line =~ /^\[([\w ]*?)(?: [\w.-]+)?\]$/;
        my ($known) = grep { ($_ =~ s/ NAME$//r) eq $section } sort keys %key;

        push @faults, "[$section]" if $line =~ /^\[/ && !$known;
        next unless $line =~ /^(\w+) =/ && $known;

        my $name = $1;
        push @faults, "$name in [$section]"
            if !grep { $_ eq $name } map { $_ eq '*' ? @{ $key{agent} } : $_ }
                                     @{ $key{$known} };
    }

    return @faults;
}


sub manual {
    my $page = $text{'docs/directives.md'};
    my %entry = map { $_ => 1 } $page =~ /^    Syntax:  (\w+)/mg;

    is_deeply([ sort keys %entry ], [ sort keys %directive ], 'directives');

    my ($table) = $page =~ /^### Variables\n(.*?)^## /ms;
    is_deeply([ sort $table =~ /^\| `\$(\w+)`/mg ], [ sort keys %variable ],
              'variables');

    ($table) = $page =~ /^## The token file\n(.*?)^### /ms;
    is_deeply([ sort $table =~ /^\| `(\w+)=/mg ], [ sort @parameters ],
              'rights of tokens');
}


sub planted {
    for ([ '[a](none.md)', 'none.md' ],
         [ '[a](agent.md#none)', 'agent.md#none' ],
         [ '[a](#none)', '#none' ],
         [ "[a\nb](none.md)", 'none.md' ],
         [ "## A `b`, c\n\n[x](#a-b-c)" ],
         [ "## A\n\n## A\n\n[x](#a-1) [y](#a-2)", '#a-2' ],
         [ "```\n[a](none.md)\n```\n" ],
         [ 'look into t/none/none.t', 't/none/none.t' ],
         [ 'look into zlt_none.c', 'zlt_none.c' ],
         [ '`zltunnel_none`', 'zltunnel_none' ],
         [ '`$zltunnel_none`', '$zltunnel_none' ],
         [ '`--none`', '--none' ],
         [ '`zltunnel-agent none`', 'zltunnel-agent none' ],
         [ "```sh\nzltunnel-agent run \\\n    --none x\n```\n", '--none' ],
         [ "```sh\ncurl --none x\n```\n" ],
         [ "```nginx\nzltunnel { zone 8m; none 1; }\n```\n", 'none' ],
         [ "```ini\n[agent]\nnone = 1\n```\n", 'none in [agent]' ],
         [ "```ini\n[none]\n```\n", '[none]' ],
         [ "```ini\n[service web]\nlocal = 1\n```\n" ],
         [ '`sessions --none`', '--none' ],
         [ '`curl --none`' ],
         [ '`make none`', 'make none' ])
    {
        my ($said, @found) = @$_;
        is_deeply([ faults('docs/planted.md', "$said\n") ], \@found,
                  ($said =~ s/\n/ /gr) . (@found ? ' is found' : ' is right'));
    }
}


# The files of the tree, by name, without what is built.

sub tree {
    return map { s{.*/}{}r => 1 }
           split /\n/, run_ok('find', $root, '-path', "$root/objs", '-prune',
                              '-o', '-type', 'f', '-print');
}
