#!/usr/bin/perl

# Protects: whatever README.md, docs/ and the other documents say to type is typed
# by a test: blocks by the test that follows their section, what is said within
# sentences by t/docs/commands.t or another that is named here.  A command that
# nobody runs is found, unless it is named here with the reason.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Commands;

my $root = $ZLTunnel::ROOT;

# who follows the blocks of a page, and of which sections; without any, of all

my %followed = (
    'README.md'          => [ 't/install/readme.t', 'A first tunnel',
                              'How it is used' ],
    'docs/access.md'     => [ 't/access/moves.t', 'A walk-through' ],
    'docs/agent.md'      => [ 't/docs/commands.t', 'A first configuration',
                              'systemd' ],
    'docs/operations.md' => [ 't/docs/commands.t', 'Reload', 'Binary upgrade',
                              'And back', 'Tokens' ],
    'docs/cookbook.md'   => [ 't/docs/cookbook.t' ],
    'docs/nodes.md'      => [ 't/docs/nodes.t', 'A walk-through' ],
    map { ("docs/jobs/$_.md" => [ 't/docs/jobs.t' ]) }
        qw(vps teams developer database datacentres),
);

# what other tests run: where, and by which words; "*" is the rest of a command

my %elsewhere = (
    'make deb'                    => [ 't/lib/ZLTunnel/Root.pm', "'deb'" ],
    'make rpm'                    => [ 't/install/packaging.t', "'rpm'," ],
    'apt-get install ./objs/deb/*' => [ 't/install/deb.t', 'apt-get install' ],
    'make'                        => [ 't/install/files.t', 'make all' ],
    'make install'                => [ 't/install/files.t', 'make install ' ],
    'make agent install-agent'    => [ 't/install/files.t',
                                       'make agent install-agent ' ],
    'make install-agent'          => [ 't/install/files.t', ' install-agent ' ],
    'make uninstall'              => [ 't/install/files.t', 'make uninstall ' ],
    'make uninstall-agent'        => [ 't/install/files.t',
                                       'make uninstall-agent ' ],
    'make man completions'        => [ 't/install/files.t', 'man/man1' ],
    'make agent STATIC=1'         => [ 't/install/static.t', 'STATIC=1' ],
    'make layers'                 => [ 't/source/layers.t', '/auto/layers' ],
    'make demo'                   => [ 't/install/demo.t', '/t/demo.sh' ],
    't/install-deps.sh && make demo' => [ 't/install/demo.t', '/t/demo.sh' ],
    'nginx -T'                    => [ 't/tokens/unsaid.t', "'-T'" ],
    'openssl x509 -noout -fingerprint -sha256'
                                  => [ 't/tokens/certificates.t',
                                       "'-fingerprint', '-sha256'" ],
    'psql -h 127.0.0.1 -p ...'    => [ 't/access/visitor.t',
                                       "'psql', '-h', '127.0.0.1'" ],
    'status game'                 => [ 't/agent/ranges.t', "('status', \$name)" ],
    'check --connect'             => [ 't/agent/check-connect.t',
                                       "'check', '--connect'" ],
    'zltunnel-agent connect --server wss://tunnel.example.com *'
                                  => [ 't/install/readme.t', 'agent connect' ],
    'zltunnel-agent http 3000'    => [ 't/agent/http-command.t',
                                       "'http', '3000'" ],
    'zltunnel-agent access office --to *' => [ 't/access/open.t',
                                               "'office', '--to'" ],
    'ufw *'                       => [ 't/docs/cookbook.t', "'ufw')" ],
    'firewall-cmd *'              => [ 't/docs/cookbook.t', "'firewalld')" ],
    'semanage port *'             => [ 't/docs/cookbook.t', 'semanage port' ],
    'systemctl status'            => [ 't/install/readme.t', 'systemctl status' ],
    'systemctl status nginx'      => [ 't/install/readme.t',
                                       'systemctl status nginx' ],
    'journalctl -u zltunnel-agent' => [ 't/install/readme.t',
                                        'journalctl -u zltunnel-agent' ],
    'timedatectl'                 => [ 't/install/readme.t', 'timedatectl' ],
);

# what no test runs, and why

my %never = (
    't/install-deps.sh && make check' => 'runs the tests, this one too',
    'make check'                  => 'the same',
    'make check-long'             => 'the same',
    'make test T=*'               => 'the same',
    'perl t/relay/exact.t'        => 'what prove does with each test',
    'ZLT_SOAK=3600 *'             => 'an hour of t/life/soak.t',
    't/with-nginx.sh DIR'         => 'all tests, with an nginx to be fetched',
    'make CLUSTER=1'              => 'what "make check" does where hiredis is',
    'make CLUSTER=1 install'      => 'make install, with one more file',
    'make NGINX_SRC=dir'          => 'an nginx to be fetched',
    'make V=1'                    => 'compiles all of it',
    'make CFLAGS=*'               => 'the same, in place of what is tested',
    'make sanitize-check'         => 'all tests, and minutes to compile',
    'make coverage'               => 'twenty minutes',
    'make bench'                  => 'twenty minutes',
    'make bench BENCH=*'          => 'a machine without other work',
    'make bench BASE=*'           => 'another tree, built',
    'make fuzz FUZZ=*'            => 'ten minutes',
    'make fuzz-corpus'            => 'changes the tree',
    'make lint'                   => 'minutes; done before each change',
    'make figures'                => 'prints what to look at',
    'make traces'                 => 'prints what to look at',
    'make module-zltunnel'        => 'a checkout of pkg-oss; t/install/packaging.t'
                                     . ' reads its recipe',
    'docker build *'              => 'no docker in tests; t/install/packaging.t'
                                     . ' does each step',
    'cd packaging/docker && *'    => 'the same, and it runs ./token.sh',
    'semanage fcontext *'         => 'no machine of tests has SELinux',
    'restorecon FILE'             => 'the same',
    'ausearch -m AVC -c nginx'    => 'the same',
    'service FAILED'              => 'a word of "check", no program',
);

# where, page by page, t/docs/commands.t types what is within sentences

my @typed = map { [ ($_->[0] =~ s/^(?![A-Z]|\w+\/README)/docs\//r) . '.md', $_->[1] ] }
            map { [ /\[ '([\w\/]+)', +'\w+', +'([^']+)'/ ] }
            grep { /^    \[ '/ } split /\n/, slurp("$root/t/docs/commands.t");

my %text = map { s{^\Q$root\E/}{}r => slurp($_) }
           "$root/README.md", "$root/CONTRIBUTING.md", "$root/bench/README.md",
           "$root/packaging/README.md", glob("$root/docs/*.md $root/docs/*/*.md");

my $blocks = join '', map { $_->[2] } map { @{ (commands($_))[0] } }
             @text{ sort keys %followed };

for my $page (sort keys %text) {
    is(join("\n", untyped($page, $text{$page})), '', $page);
}

subtest 'it is found' => \&planted;
subtest 'it is typed there' => \&there;

done_testing();


# What a page says to type, and nobody does.

sub untyped {
    my ($page, $text) = @_;

    my ($blocks, @commands) = commands($text);

    return (map { "a block of \"$_->[1]\"" } grep { !followed($page, @$_) }
            @$blocks),
           grep { !known($page, $_) } @commands;
}


sub followed {
    my ($page, $section, $title) = @_;

    my ($test, @titles) = @{ $followed{$page} || return 0 };

    return length $section if !@titles;

    # of a reference a part only
    $section = $title if $test eq 't/docs/commands.t';
    return grep { $_ eq $section } @titles;
}


sub known {
    my ($page, $command) = @_;

    for my $said ($command, $command =~ s/^zltunnel-agent //r) {
        return 1 if grep { $said =~ pattern($_) } keys %elsewhere, keys %never;
    }

    return 1 if grep { $_->[1] eq $command } @typed;

    # a block has it, with what names stand for, and perhaps with more behind it
    my $pattern = join '\S+', map { quotemeta }
                  split /\b(?:NAME|FILE|PID)\b/, $command, -1;
    return $blocks =~ /(?:^|[\s(])$pattern(?:$|[\s;|)])/m;
}


sub pattern {
    my ($name) = @_;

    return $name =~ /^(.*)\*$/ ? qr/^\Q$1\E/ : qr/^\Q$name\E$/;
}


sub planted {
    for ([ 'a `nginx -x` b', 'nginx -x' ],
         [ 'a `nginx -t` b' ],
         [ "a `systemctl reload\nnone` b", 'systemctl reload none' ],
         [ 'a `zltunnel-agent stop NAME` b' ],
         [ '`stop --none`', 'stop --none' ],
         [ '`timedatectl` and `getent`' ],
         [ '`X=1 ls -l`', 'X=1 ls -l' ],
         [ '`restorecon -v`', 'restorecon -v' ],
         [ '`t/none.sh x`', 't/none.sh x' ],
         [ "a\n\n    make none   # c\n    cat x \\\n        y\n", 'make none', 'cat x y' ],
         [ '`install = 1` `listen 80;` `kill [ID]`' ],
         [ "| message | cure |\n|---|---|\n| `which file` | `ls x` |\n", 'ls x' ],
         [ "## A\n\n```sh\nls\n```\n", 'a block of "A"' ],
         [ "## Tokens\n\n### A\n\n```sh\nls\n```\n", 'a block of "A"' ],
         [ "## Tokens\n\n```sh\nls\n```\n```nginx\nkill 1;\n```\n" ])
    {
        my ($said, @found) = @$_;
        is_deeply([ sort(untyped('docs/operations.md', "$said\n")) ],
                  [ sort @found ], $said =~ s/\n/ /gr);
    }
}


sub there {
    for my $page (sort keys %followed) {
        my ($file, @titles) = @{ $followed{$page} };
        my $test = slurp("$root/$file");

        @titles = '->sections' if !@titles;
        @titles = map { "follow('$_'" } @titles if $file eq 't/docs/commands.t';

        my ($name) = $page =~ /([\w-]+)\.md$/;
        ok(index($test, $_) >= 0, "$page: $_: $file") for $name, @titles;
    }

    for my $command (sort keys %elsewhere) {
        my ($file, $words) = @{ $elsewhere{$command} };
        ok(index(slurp("$root/$file"), $words) >= 0, "$command: $file");
    }

    cmp_ok(scalar @typed, '>', 20, 'and some in t/docs/commands.t');

    for (@typed) {
        my ($page, $command) = @$_;
        my (undef, @said) = commands($text{$page} // '');
        ok((grep { $_ eq $command } @said), "$page has it: $command");
    }

    # nothing is an exception that nobody says
    my %said = map { $_ => 1 } map { my (undef, @c) = commands($_); @c }
               values %text;

    for my $name (sort(keys %elsewhere), sort keys %never) {
        my $pattern = pattern($name);
        ok((grep { $_ =~ $pattern } keys %said), "it is said: $name");
    }
}
