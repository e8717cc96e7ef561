#!/usr/bin/perl

# Protects: a directory among machines, each with an address of its own, paths of
# 20 ms each way between the nodes, an engine, a balancer in front and an agent that
# is at two nodes of three.  Ports of its services are at all of them.  A node that
# is cut off, from the engine, from the other nodes, from the agent, or from all of
# them as if it had lost its power, costs clients of the others nothing but a wait,
# and is as good as before when it is back.
#
# Long: what is told lasts as long as by default, 30 s; short: 3 s.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep time);
use ZLTunnel;
use ZLTunnel::Engine;
use ZLTunnel::Nodes;
use ZLTunnel::Probes;
use ZLTunnel::UDP;
use ZLTunnel::Wan;
use ZLTunnel::Wire;

plan(skip_all => ZLTunnel::Engine::missing()) if ZLTunnel::Engine::missing();
plan(skip_all => 'no network namespace of its own') if !ZLTunnel::Net::own();
plan(skip_all => 'no /dev/net/tun') if !-e '/dev/net/tun';

my $refresh = sizes('seconds from refresh to refresh', 10, 1);
my $life = 3 * $refresh;
my ($timeout, $silence, $grace) = (3, 3, 2);

# a node is reached by the other ones at its router, behind a long path

my @names = qw(a b c);
my @m = ZLTunnel::Nodes->create(@names, map({ "router-$_" } @names),
                                qw(engine agent front))
    or plan(skip_all => $ZLTunnel::Nodes::why);
my %m = map { $_->{name} => $_ } @m;
my $self = ZLTunnel::Nodes->self($m[0]{hub}, 100)
    or plan(skip_all => $ZLTunnel::Nodes::why);

my @t = map { ZLTunnel->new(workers => 2, range => 4, udp => 1,
                            machine => $m{$_}) } @names;
my $engine = ZLTunnel::Engine->start($t[0], machine => $m{engine});
my ($base, $http) = @{ $t[0] }{qw(base http_port)};
my $front = $t[0]->free_port;
my $token = ZLTunnel::random_token();
my @path = map { path($_) } 0 .. 2;
my ($agent, @at, $x, $y, $z);

start();

subtest 'all of it' => \&all;
subtest 'cut from the engine' => \&from_engine;
subtest 'cut from the other nodes' => \&from_nodes;
subtest 'cut from the agent' => \&from_agent;
subtest 'without power' => \&from_all;

finish();


# From a node to its router.

sub path {
    my ($n) = @_;

    my ($node, $router) = ($m{ $names[$n] }, $m{"router-$names[$n]"});
    my $log = "$t[$n]{dir}/logs/path";
    my $wan = bless { t => $t[$n], set => 0, log => $log }, 'ZLTunnel::Wan';

    $wan->{proc} = ZLTunnel::Proc->start(
        name => "path $n", out => $log, stdin => 1,
        cmd => [ $t[$n]->nettool, 'wan', map { $_->{proc}->pid } $node, $router ]);
    wait_for(sub { slurp($log) =~ /^ready/ || !$wan->{proc}->running }, 20);
    slurp($log) =~ /^ready/ or plan(skip_all => 'no tun devices: ' . slurp($log));

    $node->{peer} = "10.79.$n.1";
    $node->all([ qw(ip addr add), "$node->{peer}/32", qw(dev wan0) ],
               [ qw(ip link set wan0 up) ],
               [ qw(ip route add 10.79.0.0/16 dev wan0 src), $node->{peer} ])
    && $router->all([ qw(sysctl -qw net.ipv4.ip_forward=1) ],
                    [ qw(ip link set wan0 up) ],
                    [ qw(ip route add), $node->{peer}, qw(dev wan0) ],
                    map { [ qw(ip route add), "10.79.$_.1", 'via',
                            $m{"router-$names[$_]"}{ip} ] }
                        grep { $_ != $n } 0 .. 2)
        or plan(skip_all => $ZLTunnel::Nodes::why);

    push @{ $t[$n]{paths} }, $wan->{proc};
    $wan->path(10);

    return $wan;
}


sub start {
    for my $n (0 .. 2) {
        my $t = $t[$n];
        my %node = $engine->node(address => $m{ $names[$n] }{peer},
                                 more => "refresh=${refresh}s");
        my $certs = $t->certs;

        # the same ports at each

        $node{zltunnel} =~ s/server\.pem;$/ca.pem;/;
        $node{zltunnel} .= "node_id $names[$n]; nodes 3; connect_timeout ${timeout}s;
            heartbeat_interval 1s; heartbeat_timeout ${silence}s;
            reconnect_grace ${grace}s;";
        $t->{http_port} = $http;
        $t->token('home', '', $token);
        $t->write_conf(%node,
            listen => "$t->{address}:$base-" . ($base + 3),
            http => "server {
                         listen $m{ $names[$n] }{peer}:$node{node_port} ssl;
                         ssl_certificate $certs/server.pem;
                         ssl_certificate_key $certs/server.key;
                         ssl_verify_client optional_no_ca;
                         location = /tunnel/v1 { zltunnel; }
                     }");
        $t->start;
    }

    balancer();

    my @local = map { $t[0]->free_port } 0, 1;
    service('echo', qw(serve echo), $local[0]);
    service('udp-echo', 'udp-echo', $local[1]);

    # a name that has the three

    my $hosts = "$t[0]{dir}/hosts";
    write_file($hosts, join '', "127.0.0.1 localhost\n",
               map { "$m{$_}{ip} nodes.example.com\n" } @names);
    $m{agent}->all([ qw(mount --bind), $hosts, '/etc/hosts' ])
        or die $ZLTunnel::Nodes::why;

    my $program = "$t[0]{dir}/at-agent";
    write_file($program, "#!/bin/sh\nexec "
               . join(' ', $m{agent}->inside($ZLTunnel::AGENT)) . " \"\$@\"\n", 0755);

    $agent = $t[0]->agent(wait => 0, token => $token, program => $program,
                          conf => <<"EOT");
[agent]
server = ws://nodes.example.com:$http/tunnel/v1
mode = all
nodes = 2
token_file = %%token_file%%
reconnect_interval = 300ms
max_reconnect_interval = 1s
[service echo]
local = 127.0.0.1:$local[0]
remote_port = $base
[service dns]
local = 127.0.0.1:$local[1]
protocol = udp
remote_port = @{[ $base + 1 ]}
EOT
}


sub service {
    my ($name, @args) = @_;

    my $log = "$t[0]{dir}/logs/$name";
    my $proc = $m{agent}->spawn($name, $log, $t[0]->nettool, @args);
    push @{ $t[0]{procs} }, $proc;
    wait_for(sub { slurp($log) =~ /^ready/ }) or die "no $name";
}


# nginx, in turn, for clients.

sub balancer {
    my $dir = "$t[0]{dir}/front";
    my $servers = join ' ', map { "server $m{$_}{ip}:$base fail_timeout=2s;" }
                                @names;

    mkdir $dir;
    write_file("$dir/nginx.conf", ZLTunnel::load_modules() . <<"EOT");
daemon off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events {}
stream {
    upstream nodes { $servers }
    server {
        listen $m{front}{ip}:$front;
        proxy_pass nodes;
        proxy_connect_timeout 1s;
    }
}
EOT

    push @{ $t[0]{procs} }, $m{front}->spawn('front', "$t[0]{dir}/logs/front",
        $ZLTunnel::NGINX, '-p', $dir, '-c', "$dir/nginx.conf", '-e',
        "$dir/error.log");
}


# The services of other nodes that this one has, as the names of those.

sub remote {
    my ($n) = @_;

    my $st = $t[$n]->status or return 'none';
    return join ' ', sort map { my $at = $_->{remote_node};
                                (grep { sha256_hex($_) =~ /^$at/ } @names)[0] // $at }
                     grep { $_->{remote_node} } @{ $st->{tunnels} };
}


sub connected {
    my ($n) = @_;

    return scalar grep { !$_->{remote_node} && $_->{state} eq 'connected' }
                  @{ ($t[$n]->status || {})->{tunnels} };
}


# A client each at X, Y, Z and in front, all the time.

sub probes {
    return ZLTunnel::Probes->new(
        X => "$t[$x]{address}:$base", Y => "$t[$y]{address}:$base",
        Z => "$t[$z]{address}:$base", front => "$m{front}{ip}:$front");
}


# How long these have to wait at most, in seconds; at a name with "!" those who have
# come within that many seconds may have been lost: what they had sent may have come
# to the service.

sub waits {
    my ($p, %most) = @_;

    $p->end;
    note $_ for $p->text, map { my $n = $_; map { "$n: $_" } @{ $p->{$n}{failed} } } sort keys %{ $p->{to} };

    for my $name (sort keys %most) {
        my $r = $p->{ $name =~ s/!//r };
        my $most = $most{$name} * slowdown();

        my @bad = grep { $name !~ /!/ || !/ came at ([\d.]+)/ || $1 > $most }
                  @{ $r->{failed} };
        is_deeply(\@bad, [], "clients of $name: "
                             . scalar(@{ $r->{failed} }) . ' lost');
        cmp_ok($r->{slowest}, '<', $most, sprintf '.. within %.1f s, of %.1f',
               $r->{slowest}, $most);
    }
}


# A connection that is there for long.

sub lasting { ZLTunnel::Wire::Socket->new($base, PeerAddr => $t[$_[0]]{address}) }

sub goes_on {
    my ($what, @c) = @_;

    my $n = 0;

    for my $c (@c) {
        $c->send("it is $what");
        $n++ if ($c->take(6 + length $what, 30) // '') eq "it is $what";
    }

    is($n, @c, "$what: all connections go on");
}


sub all {
    ok(wait_for(sub { @at = grep { connected($_) } 0 .. 2; @at == 2 }, 60),
       'the agent is at two nodes') or BAIL_OUT($agent->log);

    ($x, $y) = @at;
    ($z) = grep { $_ != $x && $_ != $y } 0 .. 2;

    ok(wait_for(sub { remote($z) eq "$names[$x] $names[$y]"
                      && remote($x) eq $names[$y] && remote($y) eq $names[$x] }, 30),
       'the third knows both, and they each other') or diag(remote($z));

    my $p = probes();
    $p->run(1);
    waits($p, X => 0.5, Y => 0.5, Z => 1, front => 1);

    for my $n ($x, $y, $z) {
        my $c = ZLTunnel::UDP->client($base + 1, PeerHost => $t[$n]{address});
        my $back = wait_for(sub { $c->send('datagram'); $c->recv(1) });
        is($back, 'datagram', 'a datagram, the same at node ' . $names[$n]);
    }
}


# What X has is not known to anybody any more; what is known here stays.

sub from_engine {
    my @c = map { lasting($_) } $x, $x, $y, $z, $z;
    goes_on('connected', @c);

    $m[$x]->cut($m{engine});

    my $p = probes();
    ok($p->run($life + 20, sub { remote($z) eq $names[$y] }),
       'the third does not know it any more');
    ok($p->run(20, sub { !$t[$x]->status->{cluster}{connected} }),
       'it knows that the engine is away');
    is(remote($x), $names[$y], 'it still knows what others have');
    goes_on('without the engine', @c);

    $m[$x]->mend($m{engine});
    my $since = time;
    ok($p->run(40, sub { remote($z) eq "$names[$x] $names[$y]"
                         && $t[$x]->status->{cluster}{connected} }),
       'it is known again');
    cmp_ok(time - $since, '<', 30 * slowdown(), sprintf '.. after %.1f s',
           time - $since);
    goes_on('with it', @c);
    $_->close for @c;
    waits($p, X => 1, Y => 1, Z => 1, front => 1);
}


# The node from which the third has the port that clients come to.

sub lender {
    my ($tunnel) = grep { $_->{remote_node}
                          && grep { ($_->{port} // 0) == $base } @{ $_->{services} } }
                   @{ $t[$z]->status->{tunnels} };

    return (grep { sha256_hex($names[$_]) =~ /^$tunnel->{remote_node}/ } $x, $y)[0];
}


# Its clients are tried at the other one.

sub from_nodes {
    my $from = lender();
    my @here = map { lasting($_) } $x, $y;
    my @far = map { lasting($z) } 1 .. 4;
    goes_on('connected', @here, @far);

    $path[$from]->path(10, loss => 1000);

    my $p = probes();
    $p->run(4);
    goes_on('cut', @here);
    $path[$from]->path(10);
    goes_on('mended', @here, @far);
    $p->run(1);
    waits($p, X => 0.5, Y => 0.5, 'Z!' => $timeout, 'front!' => $timeout);
    $_->close for @here, @far;
}


# X finds out by its heartbeats, and then its clients are served by Y.

sub from_agent {
    my @c = map { lasting($_) } $y, $y;
    goes_on('connected', @c);

    $m[$x]->cut($m{agent});

    my $p = probes();
    ok($p->run($silence + 10, sub { !connected($x) }), 'it misses the agent');
    $p->run($grace + 2);
    goes_on('cut', @c);

    $m[$x]->mend($m{agent});
    ok($p->run(60, sub { 2 == grep { connected($_) } 0 .. 2 }),
       'the agent is at two nodes again');
    $p->run(1);
    waits($p, 'X!' => $silence + 1, Y => 0.5, 'Z!' => $silence + 1,
          'front!' => $silence + 1);
    $_->close for @c;
}


# As if it had lost its power: nobody is told, nothing is answered.

sub from_all {
    ($x, $y) = grep { connected($_) } 0 .. 2;
    ($z) = grep { $_ != $x && $_ != $y } 0 .. 2;
    ok(wait_for(sub { remote($z) eq "$names[$x] $names[$y]" }, 30),
       'the third knows both') or diag(remote($z));
    ($x, $y) = ($y, $x) if $x != lender();

    my @c = map { lasting($_) } $y, $y;
    goes_on('connected', @c);
    $_->cable('down') for $m{ $names[$x] }, $m{"router-$names[$x]"};

    my $p = probes();
    delete $p->{to}{X};
    my $since = time;
    ok($p->run($life + 20, sub { "@{[ map { remote($_) } $y, $z ]}"
                                 !~ /$names[$x]/ }), 'it is missed');
    cmp_ok(time - $since, '<', ($life + 1) * slowdown(),
           sprintf '.. after %.1f s', time - $since);
    goes_on('off', @c);

    $_->cable('up') for $m{ $names[$x] }, $m{"router-$names[$x]"};
    ok($p->run(60, sub { remote($x) && 2 == grep { connected($_) } 0 .. 2 }),
       'it is back, and the agent at two nodes');
    $p->end;
    my $q = probes();
    $q->run(1);
    waits($p, Y => 0.5, 'Z!' => $timeout, 'front!' => $timeout);
    waits($q, X => 1);
    $_->close for @c;
}


sub finish {
    is($agent->stop, 0, 'the agent ends');
    for my $n (0 .. 2) {
        ok(wait_for(sub { remote($n) eq '' }, 20), "$names[$n] has nothing");
    }

    push @{ $t[2]{paths} }, map { $_->{proc} } @m, $m[0]{hub};
    $t[0]->finish(@t[1, 2]);
}
