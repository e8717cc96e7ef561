#!/usr/bin/perl

# Protects: the pages of docs/jobs/.  Each is done as it is written, by machines
# of its own, with nginx.conf as Debian has it and an nginx that runs; what is
# published is reached.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Doc;

my ($doc, @nodes);

# what runs at the machines before the text begins

subtest 'vps' => sub {
    job('vps', [qw(server home elsewhere)],
        { 'home.example.com' => 'server' }, programs => [qw(sshd ssh-keygen)],
        files => [ ZLTunnel->nettool ]);

    web('home', 3000, 'the app at home');
    ssh('home', 'elsewhere');
    begin('home', '/mnt/nettool udp-echo 27015');
    done();

    # .. the game, too
    my ($rc, $out) = $doc->shell('elsewhere', 'timeout 10 bash -c "exec'
        . ' 3<>/dev/udp/home.example.com/27015; echo play >&3; head -n 1 <&3"');
    is($out, "play\n", 'datagrams come and go');
    $doc->finish;
};

subtest 'teams' => sub {
    job('teams', [qw(server team7)],
        { 'tunnel.example.com' => 'server',
          'team7-web.teams.example.com' => 'server' }, programs => [ 'jq' ]);

    web('team7', 3000, 'the web of team7');
    done();
    $doc->finish;
};

subtest 'developer' => sub {
    job('developer', [qw(server laptop elsewhere)],
        { 'tunnel.dev.example.com' => 'server',
          'demo.dev.example.com' => 'server', '*.dev.example.com' => 'server' });

    web('laptop', 3000, 'hello from the laptop');
    done();
    made_up();
    $doc->finish;
};

subtest 'database' => sub {
    job('database', [ 'server', 'office', 'Alice' ],
        { 'tunnel.example.com' => 'server' },
        programs => [qw(redis-server redis-cli jq)]);

    begin('office', 'redis-server --port 6379 --save "" --daemonize no');
    done();
    $doc->finish;
};

subtest 'datacentres' => sub {
    job('datacentres', [qw(frankfurt dallas tokyo)],
        { map { ("$_.example.com" => $_) } qw(frankfurt dallas tokyo) },
        places => [ headquarters => 'hq' ]);

    web('frankfurt', 5432, 'the database of frankfurt');
    web('dallas', 3000, 'the shop of dallas');
    done();
    $doc->finish;
};

done_testing();


sub job {
    my ($page, $machines, $hosts, %o) = @_;

    @nodes = ZLTunnel::Doc->machines($machines, hosts => $hosts, %o)
        or plan(skip_all => $ZLTunnel::Nodes::why);
    $doc = ZLTunnel::Doc->new("docs/jobs/$page.md", @{ $o{places} || [] },
                              map { $_->{name} => $_ } @nodes);

    my %server = reverse %$hosts;
    $doc->shell($_, 'systemctl start nginx') for sort keys %server;
}


sub done {
    for my $title ($doc->sections) {
        $doc->follow($title);
    }
}


sub begin {
    my ($at, $command) = @_;
    $doc->shell($at, "$command < /dev/null > /dev/null 2>&1 &");
}


sub web {
    my ($at, $port, $text) = @_;

    $doc->shell($at, "mkdir /tmp/w$port; echo '$text'"
                     . " > /tmp/w$port/index.html");
    begin($at, "python3 -m http.server --bind 127.0.0.1 --directory /tmp/w$port"
               . " $port");
    ok(wait_for(sub {
        ($doc->shell($at, "curl -sS http://127.0.0.1:$port/"))[1] eq "$text\n"
    }), $text);
}


# The next developer's token, and a name that the server makes up.  The server
# knows a new token within seconds.

sub made_up {
    my ($rc, $out, $err) = $doc->shell('server', 'umask 077; zltunnel-agent'
        . " init --nginx --name alice | grep -o 'zlt_.*' > token");
    is($rc, 0, 'another token') or diag($err);

    ($rc, $out, $err) = $doc->shell('laptop', <<'EOT');
scp server:token .
export ZLTUNNEL_SERVER=wss://tunnel.dev.example.com ZLTUNNEL_TOKEN_FILE=token
timeout 60 sh -c 'until zltunnel-agent http 3000 > url; do sleep 0.5; done' &
EOT
    is($rc, 0, 'http') or diag($err);

    my $url;
    ok(wait_for(sub {
        ($url) = ($doc->shell('laptop', 'cat url'))[1]
                 =~ m{\A(https://[a-z0-9-]+\.dev\.example\.com)\n\z}
    }, 30), 'its address alone is printed') or return;

    ($rc, $out) = $doc->shell('elsewhere', 'curl -sS --connect-to'
                              . " ::tunnel.dev.example.com: $url/");
    is($out, "hello from the laptop\n", 'which leads there');
}


# A real sshd, and a key that it takes.

sub ssh {
    my ($at, $from) = @_;

    my ($rc, $out, $err) = $doc->shell($at, <<'EOT');
mkdir -p /run/sshd .ssh
ssh-keygen -q -t ed25519 -N '' -f .ssh/id
ssh-keygen -q -t ed25519 -N '' -f host
mv .ssh/id.pub .ssh/authorized_keys
chmod 700 /root
$(command -v sshd) -f /dev/null -h /root/host -o UsePAM=no \
    -o PidFile=none -o ListenAddress=127.0.0.1
EOT
    is($rc, 0, 'sshd') or diag($err);

    $doc->shell($from, "mkdir -p .ssh && scp $at:.ssh/id .ssh/id_ed25519"
                . ' && echo StrictHostKeyChecking no > /etc/ssh/ssh_config');
}
