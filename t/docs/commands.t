#!/usr/bin/perl

# Protects: the commands of docs/agent.md and docs/operations.md, which are no
# walk-throughs, and those which README.md, docs/ and CONTRIBUTING.md have within
# sentences.  All that one would type there is typed, on a server and a machine
# behind it: blocks in the order of the page, and what is said within a sentence
# from a table.  t/source/commands.t finds what nobody runs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Doc;

# within sentences, in the order in which it is done: page, where, what, and what
# is typed where that is more

my $tokens = '/etc/nginx/zltunnel.tokens';
my @inline = (
    [ 'operations', 'server', 'zltunnel-agent token --name NAME' ],
    [ 'operations', 'server', 'nginx -V' ],
    [ 'operations', 'server', 'nginx -t' ],
    [ 'operations', 'server', 'nginx -s quit' ],
    [ 'operations', 'server', 'nginx -s stop' ],
    [ 'operations', 'home',   'zltunnel-agent status' ],
    [ 'operations', 'home',   'zltunnel-agent reload' ],
    [ 'operations', 'home',   'zltunnel-agent stop NAME' ],
    [ 'operations', 'home',   'start NAME', 'zltunnel-agent start agent' ],
    [ 'operations', 'home',   'systemctl restart zltunnel-agent' ],
    [ 'operations', 'home',   'systemctl enable --now zltunnel-agent' ],
    [ 'agent',      'home',   'zltunnel-agent status' ],
    [ 'agent',      'home',   'zltunnel-agent reload' ],
    [ 'agent',      'home',   'stop NAME', 'zltunnel-agent stop agent' ],
    [ 'agent',      'home',   'start NAME', 'zltunnel-agent start agent' ],
    [ 'agent',      'home',   'systemctl reload zltunnel-agent' ],
    [ 'agent',      'home',   'systemctl restart zltunnel-agent' ],
    [ 'agent',      'home',   'ulimit -n' ],
    [ 'agent',      'home',   'zltunnel-agent help COMMAND',
      'zltunnel-agent help run' ],
    [ 'troubleshooting', 'server', 'nginx -V' ],
    [ 'troubleshooting', 'server', 'chown root:www-data',
      "chown root:www-data $tokens" ],
    [ 'troubleshooting', 'server', 'chmod 640', "chmod 640 $tokens && nginx -t" ],
    [ 'troubleshooting', 'home', 'getent hosts NAME',
      'getent hosts tunnel.example.com' ],
    [ 'troubleshooting', 'home', 'zltunnel-agent check -c FILE',
      'zltunnel-agent check -c /etc/zltunnel/agent.conf' ],
    [ 'troubleshooting', 'server', 'grep -i refused',
      'echo zlt_0 > wrong; chmod 600 wrong; ! zltunnel-agent connect'
      . ' --server wss://tunnel.example.com --token-file wrong --service 80'
      . ' --control none && grep -i refused /var/log/nginx/zltunnel.log' ],
    [ 'CONTRIBUTING', 'server', 'gdb -p PID', '! command -v gdb'
      . ' || gdb -p $(cat /run/nginx.pid) -batch' ],

    # other agents' tokens, and what a visitor types
    [ 'README', 'server', 'init --nginx --name laptop',
      'zltunnel-agent init --nginx --name laptop' ],
    [ 'jobs/developer', 'server', 'init --nginx --name alice',
      'zltunnel-agent init --nginx --name alice' ],
    [ 'jobs/teams', 'server', 'init --nginx --name team20',
      "zltunnel-agent init --nginx --name team20 | grep -o 'zlt_.*' > token"
      . " && chmod 600 token && sed -i 's/ team20\$/& access=internal-api/'"
      . " $tokens" ],
    [ 'README', 'server', 'zltunnel-agent access internal-api --ttl 1h',
      goes_on('zltunnel-agent access internal-api --ttl 1h', 'Access internal') ],
);

my @nodes = ZLTunnel::Doc->machines([ 'server', 'home' ],
    hosts => { 'tunnel.example.com' => 'server' })
    or plan(skip_all => $ZLTunnel::Nodes::why);
my %node = map { $_->{name} => $_ } @nodes;
my $agent = ZLTunnel::Doc->new('docs/agent.md', home => $node{home},
                               server => $node{server});
my $operations = ZLTunnel::Doc->new('docs/operations.md', %node{server},
                                    %node{home});

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
        my ($page, $at, $said, $typed) = @$_;

        does($operations, $at, $typed // $said =~ s/NAME/agent/r, $said);

        if ($said =~ /^nginx -s/) {
            masters(0);
            does($operations, 'server', 'systemctl start nginx');
        }
    }

    connected();
};

$operations->finish;

done_testing();


sub does {
    my ($doc, $at, $command, $said) = @_;

    my ($rc, $out, $err) = $doc->shell($at, $command);
    is($rc, 0, "$at: " . ($said // $command)) or diag($out, $err);

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


# A command that goes on until it is told to end, as soon as it has said this, in
# a shell with jobs.  The server may not know its token yet.

sub goes_on {
    my ($command, $said) = @_;

    return <<"EOT";
bash -m << 'END'
export ZLTUNNEL_SERVER=wss://tunnel.example.com ZLTUNNEL_TOKEN_FILE=token
for try in {1..20}; do
    $command < /dev/null > out 2> log &
    until grep -q '$said' out log || ! kill -0 \$! 2> /dev/null; do sleep 0.1; done
    ! grep -q '$said' out log || break
    wait \$! || sleep 0.5
done
cat out log
kill %1 && wait \$!
END
EOT
}
