#!/usr/bin/perl

# Protects: the man pages and the completion of shells, which are made from the
# documents and from the agent's own words.  mandoc has nothing to complain of,
# each key and each command is there, and shells complete what the agent takes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;
use ZLTunnel::Known;

my $dir = File::Temp::tempdir(CLEANUP => 1);

$ENV{AGENT} = $ZLTunnel::AGENT;
$ENV{SOURCE_DATE_EPOCH} = 1_700_000_000;

my %page;

for my $page (qw(zltunnel-agent.1 agent.conf.5 zltunnel.8)) {
    my ($rc, $out) = run("$ZLTunnel::ROOT/auto/manual", $page);
    is($rc, 0, "$page is made") or diag($out);
    write_file("$dir/$page", $out);
    like($out, qr/^\.TH \S+ \d "2023-11-14"/m, "$page: with the date given");

    SKIP: {
        skip('there is no mandoc', 1) if !in_path('mandoc');
        ($rc, my $said) = run('mandoc', '-T', 'lint', '-W', 'style',
                              "$dir/$page");
        is($said, '', "$page: mandoc is content");
        ($rc, $out) = run('mandoc', '-T', 'utf8', "$dir/$page");
        $out =~ s/.\x08//g;
    }

    $page{$page} = $out;
}

unlike($page{$_}, qr{\]\(|`|^ *\|[ -]}m, "$_: no Markdown is left")
    for sort keys %page;

for my $row (key_table()) {
    my ($key, $section) = @$row{qw(key section)};

    like($page{'agent.conf.5'}, qr/^ +\Q$key\E = /m, "[$section] $key");
}

my @commands = (run($ZLTunnel::AGENT, '--help'))[1] =~ /^  (\w+) /mg;
cmp_ok(scalar @commands, '>', 9, 'commands');
like($page{'zltunnel-agent.1'}, qr/^ +zltunnel-agent $_\b/m, "the usage of $_")
    for @commands;

for my $directive (slurp("$ZLTunnel::ROOT/docs/directives.md")
                   =~ /^### (\w+)/mg) {
    like($page{'zltunnel.8'}, qr/^ +$directive\b/m, $directive);
}


# A shell's completion: what it offers behind these words.

my %shell = (bash => \&bash, zsh => \&zsh, fish => \&fish);

for my $shell (sort keys %shell) {
    my ($rc, $out) = run("$ZLTunnel::ROOT/auto/completion", $shell);
    is($rc, 0, "the completion of $shell is made") or diag($out);
    write_file("$dir/$shell", $out);

    SKIP: {
        skip("there is no $shell", 1) if !in_path($shell);
        is((run($shell, '-n', "$dir/$shell"))[1], '', "$shell can read it");
        $shell{$shell}->();
    }
}

done_testing();


sub in_path {
    my ($program) = @_;
    return grep { -x "$_/$program" } split /:/, $ENV{PATH};
}


sub offers {
    my ($shell, $offer) = @_;

    is_deeply([ $offer->('') ], [ sort @commands, qw(help version --help
                                                     --version) ],
              "$shell: commands") if $shell eq 'bash';
    is_deeply([ grep { /^conn/ } $offer->('conn') ], ['connect'],
              "$shell: a command");
    is_deeply([ $offer->('connect', '--mo') ], ['--mode'],
              "$shell: an option");
    is_deeply([ $offer->('connect', '--mode', '') ], [qw(all standby)],
              "$shell: what it may be");
    is_deeply([ $offer->('run', '--token-file', "$dir/agent") ],
              ["$dir/agent.conf.5"], "$shell: a file");
    is_deeply([ grep { /^--/ } $offer->('start', '--') ],
              [qw(--control --help --version)], "$shell: no other's options");
}


sub bash {
    offers('bash', sub {
        my ($rc, $out) = run('bash', '-c', <<'EOT', 'bash', "$dir/bash", @_);
. "$1"; shift
COMP_WORDS=(zltunnel-agent "$@")
COMP_CWORD=$#
_zltunnel_agent
printf '%s\n' "${COMPREPLY[@]}"
EOT
        my @sorted = sort grep { $_ ne '' } split /\n/, $out;
        return @sorted;
    });

    # as readline cuts it at "="
    my ($rc, $out) = run('bash', '-c', <<'EOT', 'bash', "$dir/bash");
. "$1"
COMP_WORDS=(zltunnel-agent connect --log-level = d) COMP_CWORD=4
_zltunnel_agent
echo "${COMPREPLY[@]}"
EOT
    is($out, "debug\n", 'bash: behind "="');
}


sub fish {
    offers('fish', sub {
        my $line = join ' ', 'zltunnel-agent', @_;
        my ($rc, $out) = run({ env => { HOME => $dir } }, 'fish', '-N', '-c',
                             "source $dir/fish; complete -C '$line'");
        my @sorted = sort map { (split /\t/)[0] } split /\n/, $out;
        return @sorted;
    });
}


# The function is called with what zsh's own would do in place of it.

sub zsh {
    like(slurp("$dir/zsh"), qr/\A#compdef zltunnel-agent\n/, 'zsh: its mark');

    my ($rc, $out) = run('zsh', '-f', '-c', <<'EOT', 'zsh', "$dir/zsh");
_arguments() { print -l -- "$@" }
_describe() { print -l -- ${(P)2} }
words=(zltunnel-agent '') CURRENT=2
. "$1"
words=(zltunnel-agent connect --mo) CURRENT=3
_zltunnel_agent
EOT
    like($out, qr/^connect:/m, 'zsh: commands');
    like($out, qr/^--mode=\[[^]]+\]:mode:\(standby all\)$/m,
         'zsh: what an option may be');
    like($out, qr/^\*--server=/m, 'zsh: one that may be repeated');
    like($out, qr/^--token-file=\[[^]]+\]:file:_files$/m, 'zsh: a file');
    unlike($out, qr/^--ttl/m, 'zsh: no other\'s options');
}
