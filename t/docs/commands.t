#!/usr/bin/perl

# Protects: the commands of docs/agent.md and docs/operations.md, which are no
# walk-throughs.  All that one would type there is typed, on a server and a
# machine behind it: blocks in the order of the page, and what is said within a
# sentence from a table.  A command that nobody runs is found.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Doc;

# what other tests run: where, and by which words

my %elsewhere = (
    'make deb'                    => [ 't/lib/ZLTunnel/Root.pm', "'deb'" ],
    'apt-get install ./objs/deb/' => [ 't/install/deb.t', 'apt-get install' ],
    'make'                        => [ 't/install/files.t', 'make all' ],
    'make install'                => [ 't/install/files.t', 'make install ' ],
    'make agent install-agent'    => [ 't/install/files.t',
                                       'make agent install-agent ' ],
    'make install-agent'          => [ 't/install/files.t', ' install-agent ' ],
    'make uninstall'              => [ 't/install/files.t', 'make uninstall ' ],
    'make uninstall-agent'        => [ 't/install/files.t',
                                       'make uninstall-agent ' ],
    'make agent STATIC=1'         => [ 't/install/static.t', 'STATIC=1' ],
);

# within sentences, in the order in which it is done: page, where, what

my @inline = (
    [ 'operations', 'server', 'zltunnel-agent token --name NAME' ],
    [ 'operations', 'server', 'nginx -V' ],
    [ 'operations', 'server', 'nginx -t' ],
    [ 'operations', 'server', 'nginx -s quit' ],
    [ 'operations', 'server', 'nginx -s stop' ],
    [ 'operations', 'home',   'zltunnel-agent status' ],
    [ 'operations', 'home',   'zltunnel-agent reload' ],
    [ 'operations', 'home',   'zltunnel-agent stop NAME' ],
    [ 'operations', 'home',   'systemctl restart zltunnel-agent' ],
    [ 'operations', 'home',   'systemctl enable --now zltunnel-agent' ],
    [ 'agent',      'home',   'zltunnel-agent status' ],
    [ 'agent',      'home',   'zltunnel-agent reload' ],
    [ 'agent',      'home',   'systemctl reload zltunnel-agent' ],
    [ 'agent',      'home',   'systemctl restart zltunnel-agent' ],
);

my @nodes = ZLTunnel::Doc->machines([ 'server', 'home' ],
    hosts => { 'tunnel.example.com' => 'server' })
    or plan(skip_all => $ZLTunnel::Nodes::why);
my %node = map { $_->{name} => $_ } @nodes;
my $agent = ZLTunnel::Doc->new('docs/agent.md', home => $node{home},
                               server => $node{server});
my $operations = ZLTunnel::Doc->new('docs/operations.md', %node{server},
                                    %node{home});
my %doc = (agent => $agent, operations => $operations);

subtest 'agent.md' => sub {
    does($agent, 'server', 'systemctl start nginx; cd /etc/letsencrypt/live'
         . ' 2> /dev/null || mkdir -p /etc/letsencrypt/live; cd'
         . ' /etc/letsencrypt/live && mkdir tunnel.example.com && cp'
         . ' /etc/nginx/tunnel.pem tunnel.example.com/fullchain.pem && cp'
         . ' /etc/nginx/tunnel.key tunnel.example.com/privkey.pem');
    $agent->follow('A first configuration', commands => 1);
    connected();

    does($agent, 'home', 'cp /etc/zltunnel/token token');
    $agent->follow('systemd', commands => 1);
    connected();
};

subtest 'operations.md' => sub {
    $operations->follow('Reload', commands => 1);
    connected();

    $operations->follow('Binary upgrade', commands => 1);
    masters(1);
    connected();

    does($operations, 'server', 'kill -USR2 $(cat /run/nginx.pid)');
    masters(2);
    does($operations, 'server', 'kill -WINCH $(cat /run/nginx.pid.oldbin)');
    $operations->follow('And back', commands => 1);
    masters(1);
    connected();

    does($operations, 'server', 'cp /etc/nginx/zltunnel.tokens /root');
    $operations->shell('server', 'export EDITOR=true', undef, 1);
    $operations->follow('Tokens', commands => 1);
    is(does($operations, 'server', 'stat -c "%a %G" /etc/nginx/zltunnel.tokens'),
       "640 www-data\n", 'the workers may read the token file');
    connected();
};

subtest 'within sentences' => sub {
    for (@inline) {
        my ($page, $at, $said) = @$_;

        ok($doc{$page}{text} =~ s/\s+/ /gr =~ /`\Q$said\E`/,
           "$page.md has it: $said");
        does($doc{$page}, $at, $said =~ s/NAME/agent/r);

        if ($said =~ /^nginx -s/) {
            masters(0);
            does($operations, 'server', 'systemctl start nginx');
        }

        does($operations, 'home', 'zltunnel-agent start agent')
            if $said =~ /agent stop/;
    }

    connected();
};

subtest 'all of them' => \&all;

$operations->finish;

done_testing();


sub does {
    my ($doc, $at, $command) = @_;

    my ($rc, $out, $err) = $doc->shell($at, $command);
    is($rc, 0, "$at: $command") or diag($out, $err);

    return $out;
}


sub connected {
    ok(wait_for(sub {
        ($agent->shell('home', 'zltunnel-agent status'))[1] =~ / connected /
    }), 'the agent is connected') or diag($agent->logs('home'));
}


# As many masters of nginx, each with its file.

sub masters {
    my ($n) = @_;

    ok(wait_for(sub {
        ($agent->shell('server', 'ls /run/nginx.pid* 2> /dev/null | wc -l'))[1]
            == $n
    }, 30), "masters: $n") or diag($agent->logs('server'));
}


# What looks like a command, and is neither in a block that is followed, nor in
# a table above.

sub all {
    my %known = (%elsewhere, map { ($_->[2] => 1) } @inline);

    for my $page (sort keys %doc) {
        my $text = $doc{$page}{text};

        my @found = unrun($text);

        is_deeply([ grep { !$known{$_} } @found ], [], "$page.md");
        cmp_ok(scalar @found, '>', 2, '.. and there are some');
    }

    is_deeply([ unrun("a `nginx -x` b\n\n    make all # c\n\n```sh\ncurl\n```\n") ],
              [ 'nginx -x', 'make all' ], 'they are found');

    for my $command (sort keys %elsewhere) {
        my ($file, $words) = @{ $elsewhere{$command} };
        ok(index(slurp("$ZLTunnel::ROOT/$file"), $words) >= 0,
           "$command: in $file");
    }
}


sub unrun {
    my ($text) = @_;

    my $program = qr/(?:make|nginx|kill|systemctl|apt-get|cp|sed|install|tail
                        |curl|chown|chmod|nft|openssl|zltunnel-agent)/x;

    $text =~ s/^```.*?^```$//msg;

    # a synopsis, and what stands for a command's name alone
    my @found = grep { !/\[|\.\.\.|FILE|SPEC|ID\b|COMMAND/ }
                $text =~ /`($program [^`]*)`/g;
    push @found, grep { !/\[|\.\.\.|COMMAND|   |^zltunnel-agent/ }
                 map { s/\s+#.*//r } $text =~ /^ {4}(?:\$ )?($program\b.*)$/mg;

    return map { s/\s+/ /gr =~ s/(\.\/objs\/deb\/).*/$1/r } @found;
}
