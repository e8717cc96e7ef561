#!/usr/bin/perl

# Protects: tunnels between nodes.  Three machines, each with an nginx, an
# agent and the same file, in a ring of tunnels of both protocols: all carry
# what they are given, one machine that dies takes its own tunnels and no
# others, and a server is reached by its other address when one is lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Nodes;

my $size = sizes('bytes through each tunnel', 50_000_000, 400_000);
my $count = sizes('datagrams of each client', 5000, 100);

my ($t, %p, @n, $separate);

subtest 'a ring' => \&ring;

done_testing();


# Of what is on a node: { ip, ip2, dir, procs, node }.  Without namespaces all
# of them are on this machine, at addresses of their own.

sub ring {
    $t = ZLTunnel->new;
    $t->nettool;

    my @nodes = ZLTunnel::Nodes->create(1 .. 3);
    $separate = @nodes ? 1 : 0;
    note("all on one machine: $ZLTunnel::Nodes::why") if !$separate;

    $p{$_} = $t->free_port(4) for qw(http tcp udp local_tcp local_udp);

    for my $i (1 .. 3) {
        $n[$i] = { i => $i, node => $nodes[ $i - 1 ], dir => "$t->{dir}/n$i",
                   ip => $separate ? $nodes[ $i - 1 ]{ip} : "127.0.7.$i",
                   token => ZLTunnel::random_token() };
        push @{ $t->{secrets} }, $n[$i]{token};
    }

    if ($separate) {
        $n[2]{ip2} = '10.77.0.22';
        $nodes[1]->all([ 'ip', 'addr', 'add', "$n[2]{ip2}/25", 'dev', 'eth0' ])
            or die $ZLTunnel::Nodes::why;
    }

    prepare($_) for @n[ 1 .. 3 ];
    start($_) for @n[ 1 .. 3 ];

    ok(all_connected(), 'all tunnels are connected') or tell_logs();
    data_everywhere();
    exposure();
    death();
    other_address() if $separate;

    for my $n (@n[ 1 .. 3 ]) {
        my $agent = $n->{procs}{agent};
        is($agent->stop, 0, "the agent of node $n->{i} ends with 0");
        is($n->{procs}{nginx}->stop('QUIT', 20), 0,
           "the nginx of node $n->{i} quits with 0");
        $_->stop for values %{ $n->{procs} };
    }

    $_->stop for @nodes;
    logs_are_clean();

    $t->finish;
}


sub before { $n[ ($_[0]{i} + 1) % 3 + 1 ] }
sub after  { $n[ $_[0]{i} % 3 + 1 ] }


# The file is the same for all, but for the name.

sub prepare {
    my ($n) = @_;

    my $dir = $n->{dir};
    my $modules = ZLTunnel::load_modules();
    my $user = $> == 0 ? 'user www-data;' : '';
    my $from = before($n);
    my $at = $separate ? '' : '127.0.0.1:';
    my ($tcp, $udp) = map { $at . ($p{$_} + $from->{i}) } qw(tcp udp);
    my $conf = "connect_timeout = 1s\n";

    mkdir $_ for $dir, "$dir/temp";
    chmod 0755, $dir;
    chmod 0777, "$dir/temp";

    write_file("$dir/tokens", sha256_hex($from->{token}) . " n$from->{i} "
                              . "sessions=2\n", 0644);
    write_file("$dir/token", "$n->{token}\n", 0600);

    my $listen = join ' ', map { "listen $_:$p{http};" }
                           $separate ? '0.0.0.0' : $n->{ip};

    write_file("$dir/nginx.conf", <<"EOT");
$modules
$user
worker_processes 2;
daemon off;
pid $dir/nginx.pid;
error_log $dir/error.log info;
events { worker_connections 1024; }
zltunnel {
    token_file $dir/tokens;
    heartbeat_interval 1s;
    heartbeat_timeout 3s;
    reconnect_grace 2s;
    connect_timeout 3s;
}
http {
    access_log off;
    client_body_temp_path $dir/temp/body;
    proxy_temp_path $dir/temp/proxy;
    fastcgi_temp_path $dir/temp/fastcgi;
    uwsgi_temp_path $dir/temp/uwsgi;
    scgi_temp_path $dir/temp/scgi;
    server { $listen location = /tunnel/v1 { zltunnel; } }
}
stream {
    server {
        listen $tcp;
        listen $udp udp rcvbuf=1m;
        zltunnel_ports reserved;
    }
}
EOT

    for my $i (1 .. 3) {
        my $to = after($n[$i]);
        my $server = join '', map { "server = ws://$_:$p{http}/tunnel/v1\n" }
                              grep { defined } $to->{ip}, $to->{ip2};

        for my $proto (qw(tcp udp)) {
            $conf .= "[tunnel $proto-$i]\nfrom = n$i\nto = n$to->{i}\n$server"
                     . "protocol = $proto\nlocal_port = "
                     . ($p{"local_$proto"} + $i) . "\nremote_port = "
                     . ($p{$proto} + $i) . "\nexpose = internal\n";
        }
    }

    write_file("$dir/agent.conf", "[nodes]\nnames = n1 n2 n3\n"
        . "[node]\nname = n$n->{i}\n[agent]\ntoken_file = token\n"
        . "reconnect_interval = 300ms\nmax_reconnect_interval = 1s\n"
        . "control = agent.sock\n$conf");
}


sub spawn {
    my ($n, $name, @cmd) = @_;

    my $out = "$n->{dir}/$name.log";

    $n->{procs}{$name} = $separate
        ? $n->{node}->spawn($name, $out, @cmd)
        : ZLTunnel::Proc->start(name => "$name at $n->{i}", out => $out,
                                cmd => \@cmd);
}


sub start {
    my ($n) = @_;

    my $dir = $n->{dir};

    spawn($n, 'echo', $t->nettool, 'serve', 'echo',
          $p{local_tcp} + $n->{i});
    spawn($n, 'udp-echo', $t->nettool, 'udp-echo', $p{local_udp} + $n->{i});
    spawn($n, 'nginx', $ZLTunnel::NGINX, '-p', $dir, '-c', "$dir/nginx.conf",
          '-e', "$dir/error.log");
    spawn($n, 'agent', $ZLTunnel::AGENT, 'run', '-c', "$dir/agent.conf");
}


# A unix socket is in the file system, which all share.

sub status {
    my ($n) = @_;

    my ($rc, $out) = run({ timeout => 20 }, $ZLTunnel::AGENT, 'status',
                         '--json', '--control', "$n->{dir}/agent.sock");

    return $rc == 0 ? JSON::PP::decode_json($out) : undef;
}


sub tunnel {
    my ($n, $name) = @_;

    my $status = status($n) or return {};
    return (grep { $_->{name} eq $name } @{ $status->{tunnels} })[0] || {};
}


sub all_connected {
    return wait_for(sub {
        for my $n (@n[ 1 .. 3 ]) {
            my $status = status($n) or return 0;
            return 0 if @{ $status->{tunnels} } != 2;
            return 0 if grep { $_->{state} ne 'connected' }
                             @{ $status->{tunnels} };
        }
        return 1;
    }, 30);
}


sub on {
    my ($n, @cmd) = @_;

    return run({ timeout => 200 }, $separate ? $n->{node}->inside(@cmd) : @cmd);
}


sub accepted { scalar(() = slurp("$_[0]{dir}/echo.log") =~ /^accept /mg) }


sub data_everywhere {
    for my $n (@n[ 1 .. 3 ]) {
        my $to = after($n);
        my $name = "from $n->{i} to $to->{i}";
        my $before = accepted($n);

        my $r = ZLTunnel::Local::parse_transfer((on(
            $to, $t->nettool, 'transfer', $p{tcp} + $n->{i}, $size))[1]);
        is($r->{received}, $size, "TCP $name: all bytes");
        is($r->{received_sha}, $r->{sent_sha}, "TCP $name: the same");
        is($r->{end}, 'eof', "TCP $name: to a clean end");
        is(accepted($n), $before + 1, "TCP $name: from the right node");

        my ($rc, $out) = on($to, $t->nettool, 'udp', $p{udp} + $n->{i},
                            'clients=4', "count=$count", 'window=4',
                            'size=16-1400');
        my $all = 4 * $count;
        like($out, qr/received $all lost 0 again 0 foreign 0 corrupt 0/,
             "UDP $name: all datagrams");
    }

    my $status = status($n[1]);
    is(join(' ', map { $_->{name} } @{ $status->{tunnels} }), 'tcp-1 udp-1',
       'status: what begins here');
    is(join(' ', map { "$_->{name} $_->{from}" } @{ $status->{expected} }),
       'tcp-3 n3 udp-3 n3', 'status: what is expected');
    is($status->{tunnels}[0]{to}, 'n2', 'status: where it goes');
    cmp_ok($status->{tunnels}[0]{bytes}{in}, '>=', $size, 'status: bytes');
}


# "internal" is for the node itself.

sub exposure {
    my $port = $p{tcp} + 1;

    if (!$separate) {
        note('on one machine all clients are local');
        return;
    }

    my $before = accepted($n[1]);
    my ($rc, $out) = $n[3]{node}->run(
        'perl', '-MIO::Socket::INET', '-e',
        'my $s = IO::Socket::INET->new(PeerAddr => shift) or print("refused"),'
        . ' exit; my $n = sysread $s, my $b, 1;'
        . ' print defined $n ? $n ? "served" : "eof" : "reset"',
        "$n[2]{ip}:$port");

    is($out, 'reset', 'a client of another machine is reset');
    is(accepted($n[1]), $before, 'and the service does not see it');
}


# A client that stays: what it is told comes back.

sub client {
    my ($n, $port) = @_;

    my $out = File::Temp::tmpnam();
    my @cmd = ('perl', '-MIO::Socket::INET', '-e', <<'EOT', $port);
my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . shift) or exit 1;
$| = 1;
while (my $line = <STDIN>) {
    syswrite $s, $line;
    $line = <$s>;
    print $line // exit 2;
}
EOT

    my $proc = ZLTunnel::Proc->start(
        name => 'client', stdin => 1, out => $out,
        cmd => [ $separate ? $n->{node}->inside(@cmd) : @cmd ]);

    return { proc => $proc, out => $out };
}


sub echoes {
    my ($c, $text) = @_;

    return 0 if !$c->{proc}->running;
    $c->{proc}->say($text);

    return wait_for(sub { slurp($c->{out}) =~ /^\Q$text\E$/m }, 10);
}


sub death {
    my @c = (undef, map { client(after($_), $p{tcp} + $_->{i}) } @n[ 1 .. 3 ]);

    ok(echoes($c[$_], "one $_"), "a connection from node $_") for 1 .. 3;

    my $since = tunnel($n[3], 'tcp-3')->{since};

    if ($separate) {
        $n[2]{node}->kill_all;

    } else {
        my $procs = $n[2]{procs};
        my @workers = children_of($procs->{nginx}->pid);
        $_->kill('KILL') for values %$procs;
        kill 'KILL', @workers;
    }

    $_->wait(10) for values %{ $n[2]{procs} };
    my $start = time;

    my $l = wait_for(sub {
        my $l = tunnel($n[1], 'tcp-1');
        return ($l->{state} // '') =~ /^(failed|disconnected)$/ && $l;
    }, 20);
    ok($l, 'node 2 dies: the tunnel to it knows');
    ok($l && $l->{reason}, 'and why: ' . ($l ? $l->{reason} // '' : ''));

    my ($rc) = (255);
    ok(wait_for(sub {
        ($rc) = on($n[3], $t->nettool, 'transfer', $p{tcp} + 2, 1);
        return $rc != 0;
    }, 20), 'the port of the tunnel from it refuses');

    ok(echoes($c[3], 'two 3'), 'the connection between the others goes on');
    is(tunnel($n[3], 'tcp-3')->{since}, $since,
       'their tunnel has not noticed');

    my $r = ZLTunnel::Local::parse_transfer((on(
        $n[1], $t->nettool, 'transfer', $p{tcp} + 3, $size))[1]);
    is($r->{received_sha}, $r->{sent_sha}, 'and carries on');
    note(sprintf 'node 2 was away for %.1f s', time - $start);

    start($n[2]);
    ok(all_connected(), 'node 2 is back: all tunnels are') or tell_logs();
    data_everywhere();
    ok(echoes($c[3], 'three 3'), 'the connection has lived through it');
    is(tunnel($n[3], 'tcp-3')->{since}, $since, 'and so has its tunnel');

    $_->{proc}->stop for @c[ 1 .. 3 ];
    unlink map { $_->{out} } @c[ 1 .. 3 ];
}


# Not even a reset comes from an address that is gone.

sub other_address {
    my @servers = map { "ws://$_:$p{http}/tunnel/v1" } @{ $n[2] }{qw(ip ip2)};
    my $l = tunnel($n[1], 'tcp-1');
    my ($first) = grep { $servers[$_] eq $l->{server} } 0, 1;
    my $gone = $first ? "$n[2]{ip2}/25" : "$n[2]{ip}/24";

    $n[2]{node}->all([ 'ip', 'addr', 'del', $gone, 'dev', 'eth0' ])
        or die $ZLTunnel::Nodes::why;
    my $start = time;

    ok(wait_for(sub {
        my $l = tunnel($n[1], 'tcp-1');
        return ($l->{state} // '') eq 'connected'
               && $l->{server} eq $servers[ !$first ];
    }, 40), sprintf 'one address is gone, the other has it after %.1f s',
            time - $start) or diag(explain(tunnel($n[1], 'tcp-1')));

    my $r = ZLTunnel::Local::parse_transfer((on(
        $n[2], $t->nettool, 'transfer', $p{tcp} + 1, $size))[1]);
    is($r->{received_sha}, $r->{sent_sha}, 'and it carries bytes');
}


sub tell_logs {
    for my $n (@n[ 1 .. 3 ]) {
        diag("--- node $n->{i}\n", slurp("$n->{dir}/agent.log"));
    }
}


sub logs_are_clean {
    my @bad = map {
        my $file = $_;
        map { "$file: $_" }
            grep { /\[alert\]|\[emerg\]|Sanitizer|runtime error/
                   && !/exited on signal 9/ } split /\n/, slurp($file);
    } glob "$t->{dir}/n[123]/*.log";

    is_deeply(\@bad, [], 'no alert, no sanitizer report in any log');
}


# Every command and every file is the document's; what a reader does by hand,
# to save the files and to copy a directory, is done here.
