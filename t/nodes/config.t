#!/usr/bin/perl

# Protects: the configuration of many servers and of tunnels between nodes.
# One file is right at every node; what is wrong with it is told with file and
# line, by check, run and reload alike; what a tunnel leaves out is [agent]'s.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;

my $agent = $ZLTunnel::AGENT;
my $dir = File::Temp::tempdir(CLEANUP => 1);
my $file = "$dir/agent.conf";

write_file("$dir/$_", "secret-token-text\n", 0600) for qw(token db.token);

my $node = "[node]\nname = east\n";
my $tunnel = "[tunnel db]\nfrom = east\nto = west\n"
             . "server = ws://127.0.0.1:1/\nlocal_port = 5432\n"
             . "token_file = db.token\n";

subtest 'right' => \&right;
subtest 'wrong' => \&wrong;
subtest 'defaults' => \&defaults;
subtest 'command line' => \&command_line;

done_testing();


sub check {
    my ($text, $command, @args) = @_;

    write_file($file, $text);
    return run({ timeout => 10 }, $agent, $command // 'check', '-c', $file,
               @args);
}


sub right {
    my %files = (
        'the one of the documentation' => <<'EOT',
[node]
name = node-us-east
[tunnel db-tunnel]
from = node-us-east
to = node-eu-west
server = wss://eu-west.example.com/tunnel/v1
protocol = tcp
local_port = 5432
remote_port = 5432
expose = internal            # this node's nginx only
token_file = db.token
EOT
        'several servers' => <<'EOT',
[agent]
server = ws://127.0.0.1:1/
server = ws://127.0.0.1:2/
server = ws://127.0.0.1:3/tunnel
mode = all
token_file = token
control = none
[service web]
local = 80
EOT
        'tunnels without nodes, and services beside them' => <<'EOT',
[agent]
server = ws://127.0.0.1:1/
token_file = token
[service web]
local = 80
[tunnel a]
server = ws://127.0.0.1:2/
server = ws://127.0.0.1:3/
local_host = ::1
local_port = 53
protocol = udp
service = dns
expose = public
EOT
        'the names of all nodes' => <<"EOT",
[nodes]
names = east, west
names = north
$node$tunnel
EOT
        'a node where tunnels only end' => "[node]\nname = west\n$tunnel",
        'trust of its own' => <<"EOT",
[agent]
ca_file = ${\ ZLTunnel->certs }/ca.pem
token_file = token
[tunnel a]
server = wss://127.0.0.1:2/
insecure = yes
local_port = 1
[tunnel b]
server = ws://127.0.0.1:3/
local_port = 1
EOT
    );

    for my $name (sort keys %files) {
        my ($rc, $out) = check($files{$name});
        is($rc, 0, "$name: check says so") or diag($out);
        unlike($out, qr/secret-token/, "$name: no secret");
    }

    # a token that belongs to another node need not be here

    my ($rc, $out) = check("[node]\nname = west\n"
                           . $tunnel =~ s/db\.token/absent.token/r);
    is($rc, 0, 'a token file of another node is not looked for')
        or diag($out);

    ($rc, $out) = check($node . $tunnel);
    like($out, qr/"db" begins here, to west/, 'check tells where it goes');

    ($rc, $out) = check("[node]\nname = west\n$tunnel");
    like($out, qr/"db" is expected from east/, 'and what is expected');
}


sub wrong {
    my @cases = (
        [ 'the same name twice', "$node$tunnel$tunnel", 9, qr/"db".*twice/ ],
        [ 'from to itself', $node . $tunnel =~ s/to = west/to = east/r, 5,
          qr/ends where it begins/ ],
        [ 'no "from"', $node . $tunnel =~ s/from = east\n//r, 3, qr/"from"/ ],
        [ 'no "to"', $node . $tunnel =~ s/to = west\n//r, 3, qr/"to"/ ],
        [ 'no "server"', $node . $tunnel =~ s/server.*\n//r, 3, qr/"server"/ ],
        [ 'no "local_port"', $node . $tunnel =~ s/local_port.*\n//r, 3,
          qr/"local_port"/ ],
        [ 'no [node]', $tunnel, 1, qr/\[node\]/ ],
        [ 'an unknown key', "$node${tunnel}colour = red\n", 9, qr/colour/ ],
        [ 'an unknown key of [node]', "[node]\nname = x\nport = 1\n", 3,
          qr/port.*\[node\]/ ],
        [ 'an unknown key of [nodes]', "[nodes]\nnode = x\n", 2,
          qr/node.*\[nodes\]/ ],
        [ 'a key of all tunnels', "$node${tunnel}control = none\n", 9,
          qr/control.*\[agent\]/ ],
        [ 'nobody in "to"', "[nodes]\nnames = east, north\n$node$tunnel", 7,
          qr/no node "west"/ ],
        [ 'nobody in "from"', "[nodes]\nnames = west north\n[node]\n"
          . "name = west\n$tunnel", 6, qr/no node "east"/ ],
        [ 'itself nobody', "[nodes]\nnames = east west\n[node]\nname = we\n"
          . $tunnel, 4, qr/no node "we"/ ],
        [ 'a name in no tunnel', "[node]\nname = eats\n$tunnel", 2,
          qr/"eats".*its name/ ],
        [ 'a node name that is none', "[node]\nname = a b\n", 2, qr/letters/ ],
        [ '[node] twice', "$node$node", 3, qr/twice/ ],
        [ 'a port too high', $node . $tunnel =~ s/5432/70000/r, 7, qr/65535/ ],
        [ 'a protocol unknown', "$node${tunnel}protocol = sctp\n", 9,
          qr/tcp or udp/ ],
        [ 'an exposure unknown', "$node${tunnel}expose = some\n", 9,
          qr/internal or public/ ],
        [ 'a server that is none', $node . $tunnel =~ s/ws:/http:/r, 6,
          qr/ws:/ ],
        [ 'the same server twice',
          "$node${tunnel}server = ws://127.0.0.1:1/\n", 9, qr/twice/ ],
        [ 'a mode unknown', "$node${tunnel}mode = some\n", 9,
          qr/standby or all/ ],
        [ 'a tunnel called agent', $node . $tunnel =~ s/db\]/agent]/r, 3,
          qr/\[agent\]/ ],
        [ 'a tunnel without a name', "$node\[tunnel]\n", 3, qr/needs a name/ ],
        [ 'a name for [agent]', "[agent x]\n", 1, qr/no name/ ],
        [ 'a CA without TLS', "$node${tunnel}ca_file = ca.pem\n", 3,
          qr/wss/ ],
        [ 'PROXY protocol over UDP',
          "$node${tunnel}protocol = udp\nproxy_protocol = v2\n", 3,
          qr/TCP/ ],
        [ 'nine servers', "$node$tunnel" . join('', map {
              "server = ws://127.0.0.1:1$_/\n" } 1 .. 8), 16,
          qr/more than 8/ ],
    );

    for my $case (@cases) {
        my ($name, $text, $line, $re) = @$case;

        for my $command (qw(check run)) {
            my ($rc, $out) = check($text, $command);
            is($rc, 2, "$name: $command exits with 2");
            like($out, qr/\Q$file\E:$line: /, "$name: $command names the line")
                or diag($out);
            like($out, $re, "$name: $command says what") or diag($out);
        }
    }

    my ($rc, $out) = check($node . $tunnel =~ s/db\.token/none.token/r);
    is($rc, 2, 'a token file that is missing');
    like($out, qr/"db".*none\.token/, 'is told with its tunnel');
}


# What the agent makes of them is what it does at the server: t/nodes/ring.t.

sub defaults {
    my $t = ZLTunnel->new(workers => 1, range => 4);
    my $token = $t->token('alice', 'sessions=4');
    $t->start;

    my $echo = $t->service('echo');
    my $a = $t->agent(wait => 0, token => $token, conf => <<"EOT");
[agent]
token_file = %%token_file%%
connect_timeout = 5s
[node]
name = east
[tunnel db]
from = east
to = west
server = ${\ $t->url('ws') }
local_port = $echo->{port}
[tunnel open]
from = east
to = west
server = ${\ $t->url('ws') }
local_host = localhost
local_port = $echo->{port}
service = other
remote_port = ${\ ($t->{base} + 3) }
expose = public
EOT

    my $link = $a->in_state('db', 'connected');
    is($link->{services}[0]{name}, 'db', 'the service has the tunnel\'s name');
    is($link->{services}[0]{local}, "127.0.0.1:$echo->{port}",
       'and is local');
    is($link->{to}, 'west', 'the status names the node');

    $link = $a->in_state('open', 'connected');
    is($link->{services}[0]{name}, 'other', 'another name');
    is($link->{services}[0]{local}, "localhost:$echo->{port}",
       'another host');
    is($t->service_status('other')->{port}, $t->{base} + 3, 'its port');

    $t->finish;
}


sub command_line {
    my @base = ('connect', '--service', 'a:1', '--token-file', "$dir/token");

    my ($rc, $out) = run({ timeout => 10 }, $agent, @base,
                         ('--server', 'ws://127.0.0.1:1/') x 2);
    is($rc, 2, 'the same server twice');
    like($out, qr/twice/, 'is told');

    ($rc, $out) = run({ timeout => 10 }, $agent, @base, '--server',
                      'ws://127.0.0.1:1/', '--mode', 'some');
    is($rc, 2, 'a mode unknown');
    like($out, qr/standby or all/, 'is told');

    for my $case ([ 'status', 'a', 'b' ], [ 'stop' ], [ 'start' ],
                  [ 'reload', 'x' ], [ 'stop', '--json', 'x' ],
                  [ 'status', '--fast' ], [ 'stop', 'a b' ]) {
        ($rc, $out) = run({ timeout => 10 }, $agent, @$case);
        is($rc, 2, "@$case: exit 2");
        ok(length $out, 'and a word why');
    }

    for my $command (qw(status start stop reload)) {
        ($rc, $out) = run({ timeout => 10 }, $agent, $command, '--help');
        is($rc, 0, "$command --help");
        like($out, qr/--control/, 'tells the options');
    }
}
