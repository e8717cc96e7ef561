package Setups;

# The ways from the client to the service that are compared, each with its
# processes, in a directory of its own:
#
#     direct      client - service
#     hop         client - nginx - service: stream, UDP, and http, without a
#                 tunnel
#     chain       client - nginx - nginx - service, stream proxies both
#     ws          client - nginx with the module - agent - service
#     chain-tls   the chain with TLS between the two nginxes
#     wss         the tunnel over TLS
#     ws-framed, wss-framed   the tunnel, its data channels within a WebSocket
#     frp, frp-tls, frp-default, rathole   where they are on the PATH
#
# Every nginx has the same workers, worker_connections and no access log.

use strict;
use warnings;

use Cwd ();
use Exporter 'import';
use File::Path ();
use File::Temp ();
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(time sleep);

our @EXPORT_OK = qw(setups service http_service workdir stop slurp family
                    leaders far_side add_agent tunnel nodes no_nodes frp rathole
                    chisel on_path);

my $owner = $$;
my %running;                       # pid => 1, leaders of process groups
my $next_port = 20000 + $$ % 5000;
my $workdir;
my $http_service;                  # port of the service of http rows

our $NGINX = $ENV{TEST_NGINX_BINARY} || 'nginx';
our $OBJS = 'objs';
our $AGENT = "$OBJS/zltunnel-agent";
our @UNDER;                        # what the tunnel's programs are run by


sub slurp {
    my ($file) = @_;

    open my $fh, '<', $file or return '';
    local $/;
    return scalar(<$fh>) // '';
}


sub spew {
    my ($file, $text) = @_;

    open my $fh, '>', $file or die "$file: $!\n";
    print $fh $text;
    close $fh or die "$file: $!\n";

    return $file;
}


sub workdir {
    return $workdir if $workdir;

    $workdir = File::Temp::tempdir('zltunnel-bench-XXXXXX', TMPDIR => 1);
    chmod 0755, $workdir;                   # the workers are another user

    return $workdir;
}


# Ports below the range from which the system takes ports for connections.

sub free_port {
    while (1) {
        my $port = $next_port++;
        $next_port = 20000 if $next_port > 32000;

        my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                      LocalPort => $port, ReuseAddr => 1);
        return $port if $s;
    }
}


# That many in a row; the first of them.

sub free_range {
    my ($n) = @_;

    my ($base, $last);

    do {
        $base = $last = free_port();

        for (2 .. $n) {
            my $next = free_port();
            last if $next != $last + 1;
            $last = $next;
        }
    } while ($last != $base + $n - 1);

    return $base;
}


sub wait_port {
    my ($port, $what) = @_;

    for (1 .. 600) {
        return if IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                        PeerPort => $port);
        sleep 0.05;
    }

    die "$what does not accept connections on port $port\n";
}


sub spawn {
    my ($log, @cmd) = @_;

    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        setpgrp(0, 0);
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$log.out";
        open STDERR, '>>', "$log.err";
        # as many descriptors as they may have

        @cmd = ('/bin/sh', '-c', 'ulimit -n "$(ulimit -H -n)"; exec "$@"',
                'sh', @cmd);
        exec @cmd or POSIX::_exit(127);
    }

    $running{$pid} = 1;
    return $pid;
}


sub stop {
    for my $pid (@_) {
        kill 'TERM', $pid;
    }

    for my $pid (@_) {
        my $end = time + 5;

        while (waitpid($pid, POSIX::WNOHANG()) == 0) {
            kill 'KILL', -$pid if time > $end;
            sleep 0.01;
        }

        kill 'KILL', -$pid;                 # what it may have left
        delete $running{$pid};
    }
}


END {
    if ($$ == $owner) {
        my $status = $?;
        stop(keys %running);

        if ($workdir && !$ENV{BENCH_KEEP}) {
            File::Path::remove_tree($workdir);
        }

        $? = $status;
    }
}


# The process and its children.

sub family {
    my @pids = @_;
    my %of;

    for my $stat (glob '/proc/[0-9]*/stat') {
        my ($pid, $ppid) = slurp($stat) =~ /^(\d+) \(.*\) \S (\d+)/s or next;
        push @{ $of{$ppid} }, $pid;
    }

    return map { ($_, @{ $of{$_} || [] }) } @pids;
}


# nginx

my $modules;

sub load_modules {
    my ($ours) = @_;

    if (!defined $modules) {
        my $v = `$NGINX -V 2>&1`;
        $modules = '';

        if ($v =~ /--modules-path=(\S+)/ && -e "$1/ngx_stream_module.so") {
            $modules = "load_module $1/ngx_stream_module.so;\n";
        }
    }

    my $so = Cwd::abs_path("$OBJS/ngx_zltunnel_module.so");

    return $modules . ($ours ? "load_module $so;\n" : '');
}


sub cluster_module { "$OBJS/ngx_zltunnel_cluster_module.so" }


sub nginx {
    my ($name, $workers, $text, %o) = @_;

    my $dir = workdir() . "/$name." . free_port();
    mkdir $dir or die "$dir: $!\n";
    mkdir "$dir/temp";

    my $load = load_modules($o{module}) . ($o{load} // '');
    my $level = $ENV{BENCH_LOG} || 'warn';
    my $user = $> == 0 && getpwnam('www-data') ? "user www-data;\n" : '';
    chown((getpwnam 'www-data')[2, 3], "$dir/temp") if $user;

    spew("$dir/nginx.conf", <<EOT);
$load$user
daemon off;
worker_processes $workers;
pid $dir/nginx.pid;
error_log $dir/error.log $level;
events { worker_connections 16384; }
$text
EOT

    spew("$dir/tokens", $o{tokens}) if $o{tokens};

    my $pid = spawn("$dir/nginx", $o{module} ? @UNDER : (), $NGINX, '-p', $dir, '-c',
                    "$dir/nginx.conf", '-e', "$dir/error.log");

    eval { wait_port($o{port}, $name); 1 }
        or die $@ . slurp("$dir/error.log") . slurp("$dir/nginx.err");

    return ($pid, $dir);
}


my $certificate;

sub certificate {
    return $certificate if $certificate;

    my $dir = workdir();

    system("openssl req -x509 -newkey ec -pkeyopt "
           . "ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
           . "/CN=localhost -addext "
           . "subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "
           . "$dir/key.pem -out $dir/cert.pem 2> /dev/null") == 0
        or die "openssl could not make a certificate\n";

    return $certificate = "ssl_certificate $dir/cert.pem; "
                          . "ssl_certificate_key $dir/key.pem; "
                          . "ssl_protocols TLSv1.2 TLSv1.3;";
}


# What both have for http: a front with keepalive to its upstream, and without;
# and what is beside a service by the name of a host.

sub http_front {
    my ($port, $server, $scheme, $ssl, $host) = @_;

    return <<EOT;
    access_log off;
    client_body_temp_path temp/body;
    proxy_temp_path temp/proxy;
    fastcgi_temp_path temp/fastcgi;
    uwsgi_temp_path temp/uwsgi;
    scgi_temp_path temp/scgi;

    upstream web {
        $server;
        keepalive 64;
        keepalive_requests 1000000;
    }

    upstream once {
        $server;
    }

    upstream host {
        $host;
        keepalive 64;
        keepalive_requests 1000000;
    }

    server {
        listen 127.0.0.1:$port;
        keepalive_requests 1000000;
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        location /host/ { proxy_pass http://host; }
        $ssl
        location / { proxy_pass $scheme://web; }
        location /once/ { proxy_pass $scheme://once;
                          proxy_set_header Connection close; }
    }
EOT
}


sub chain {
    my ($tls, $workers, $service) = @_;

    my ($a, $b, $front, $web) = map { free_port() } 1 .. 4;
    my ($ssl, $listen, $cert) = ('', '', '');

    if ($tls) {
        $cert = certificate();
        $listen = 'ssl';
        $ssl = 'proxy_ssl on; proxy_ssl_protocols TLSv1.2 TLSv1.3; '
               . 'proxy_ssl_verify on; proxy_ssl_name localhost; '
               . 'proxy_ssl_trusted_certificate ' . workdir() . '/cert.pem;';
    }

    my ($far) = nginx('chain-far', $workers, <<EOT, port => $b);
stream {
    server {
        listen 127.0.0.1:$b $listen;
        $cert
        proxy_pass 127.0.0.1:$service;
    }
    server {
        listen 127.0.0.1:$b udp rcvbuf=4m reuseport;
        proxy_pass 127.0.0.1:$service;
    }

    server {
        listen 127.0.0.1:$web $listen;
        $cert
        proxy_pass 127.0.0.1:$http_service;
    }
}
EOT

    my $http = http_front($front, "server 127.0.0.1:$web",
                          $tls ? 'https' : 'http',
                          $ssl =~ s/proxy_ssl on;//r,
                          "server 127.0.0.1:$http_service");

    my ($near) = nginx('chain-near', $workers, <<EOT, port => $a);
stream {
    server {
        listen 127.0.0.1:$a;
        $ssl
        proxy_pass 127.0.0.1:$b;
    }
    server {
        listen 127.0.0.1:$a udp rcvbuf=4m reuseport;
        proxy_pass 127.0.0.1:$b;
    }
}

http {
$http
}
EOT

    return { port => $a, near => $near, far => $far, front => $front,
             udp => $tls ? 0 : $a };
}


# What a user has who needs no tunnel.

sub hop {
    my ($workers, $service) = @_;

    my ($port, $front) = (free_port(), free_port());
    my $server = "server 127.0.0.1:$http_service";
    my $http = http_front($front, $server, 'http', '', $server);

    my ($near) = nginx('hop', $workers, <<EOT, port => $port);
stream {
    server {
        listen 127.0.0.1:$port;
        proxy_pass 127.0.0.1:$service;
    }
    server {
        listen 127.0.0.1:$port udp rcvbuf=4m reuseport;
        proxy_pass 127.0.0.1:$service;
    }
}

http {
$http
}
EOT

    return { port => $port, near => $near, front => $front, udp => $port };
}


# One nginx with the module and an agent; ports: for how many agents.  A node has a
# token in common with others, and text for each block; with "agentless" no agent.

sub tunnel {
    my ($tls, $workers, $service, %o) = @_;

    my $ports = $o{ports} // 1;
    my ($http, $front, $base) = (free_port(), free_port(),
                                 free_range($ports));
    my ($secret, $line) = @{ $o{token} || token() };
    my $node = $o{node} || {};

    my $range = $ports > 1 ? "$base-" . ($base + $ports - 1) : $base;
    my $cert = $tls ? certificate() : '';
    my $listen = $tls ? 'ssl' : '';
    my $web = http_front($front, 'zltunnel_service web', 'http', '',
                         'zltunnel_host $host');

    my ($near, $dir) = nginx($tls ? 'wss' : 'ws', $workers, <<EOT,
zltunnel {
    token_file tokens;
    @{[ $node->{zltunnel} // '' ]}
}

http {
$web
    server {
        listen 127.0.0.1:$http $listen;
        $cert
        location = /tunnel/v1 { zltunnel; }
        location = /tunnel/status { zltunnel_status; }
    }
    @{[ $node->{http} // '' ]}
}

stream {
    server {
        listen 127.0.0.1:$range;
        listen 127.0.0.1:$range udp rcvbuf=4m;
        zltunnel_ports;
    }
}
EOT
        port => $http, module => 1, load => $node->{load},
        tokens => "$line sessions=1000 hosts=web.example\n");

    my $self = { near => $near, agents => [], http => $http, dir => $dir,
                 service => $service, tls => $tls, front => $front,
                 transport => $o{framed} ? 'websocket' : 'raw' };

    spew("$dir/token", "$secret\n");
    chmod 0600, "$dir/token";

    add_agent($self) if !$o{agentless};

    return $self;
}


sub token {
    my ($secret, $line) =
        split /\n/, `$AGENT token --name bench 2> /dev/null`;
    die "zltunnel-agent token has failed\n" if !$line;

    return [ $secret, $line ];
}


# Two nodes that have a directory in common, the agent at the second one; what is
# to be stopped of the engine is in "engine".

sub nodes {
    my ($tls, $workers, $service) = @_;

    my $token = token();
    my ($engine, $url) = engine();
    my $there = tunnel($tls, $workers, $service, token => $token,
                       node => node($url));
    my $here = tunnel($tls, $workers, $service, token => $token,
                      node => node($url), agentless => 1);

    $here->{agents} = [ leaders($there) ];
    wait_service($here);

    return { here => $here, there => $there, engine => $engine };
}


# Why there can be none, or ''.

sub no_nodes {
    return 'no redis-server and no valkey-server' if !engine_program();
    return 'make CLUSTER=1 has not been done, or hiredis is missing'
        if !-e cluster_module();
    return '';
}


sub engine_program {
    my ($found) = grep { -x } map { my $p = $_; map { "$_/$p" }
                                    split /:/, "$ENV{PATH}:/usr/sbin" }
                              qw(redis-server valkey-server);
    return $found;
}


sub engine {
    my $port = free_port();
    my $dir = workdir();
    my $pid = spawn("$dir/engine", engine_program(), '--port', $port, '--bind',
                    '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir',
                    $dir);
    wait_port($port, 'the engine');

    return ($pid, "redis://127.0.0.1:$port/0");
}


# By whatever the agents come, nodes know each other by their certificates.

sub node {
    my ($url) = @_;

    my $cert = certificate();
    my $port = free_port();
    my $dir = workdir();
    my $so = Cwd::abs_path(cluster_module());

    return { load => "load_module $so;\n", zltunnel => <<ZLTUNNEL, http => <<HTTP };
    cluster $url node=127.0.0.1:$port refresh=1s;
    cluster_certificate $dir/cert.pem;
    cluster_certificate_key $dir/key.pem;
    cluster_trusted_certificate $dir/cert.pem;
ZLTUNNEL
    server {
        listen 127.0.0.1:$port ssl;
        $cert
        ssl_verify_client optional_no_ca;
        location = /tunnel/v1 { zltunnel; }
    }
HTTP
}


# Until the front has the service of the other node.

sub wait_service {
    my ($running) = @_;

    for (1 .. 600) {
        my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                      PeerPort => $running->{front});
        if ($s) {
            print $s "GET / HTTP/1.0\r\n\r\n";
            my $answer = <$s>;
            return if ($answer // '') =~ / 200 /;
        }

        sleep 0.05;
    }

    die "a node does not have the other one's service:\n"
        . slurp("$running->{dir}/error.log");
}


sub add_agent {
    my ($self) = @_;

    my $n = @{ $self->{agents} };
    my $log = "$self->{dir}/agent$n";
    my $scheme = $self->{tls} ? 'wss' : 'ws';

    my $pid = spawn($log, @UNDER, $AGENT, 'connect', '--server',
                    "$scheme://127.0.0.1:$self->{http}/tunnel/v1",
                    '--token-file', "$self->{dir}/token",
                    '--transport', $self->{transport},
                    $self->{tls} ? ('--ca-file', workdir() . '/cert.pem') : (),
                    '--service', "bench$n:127.0.0.1:$self->{service}",
                    $n == 0 ? ('--service',
                               "udp:127.0.0.1:$self->{service}/udp",
                               '--service',
                               "web:127.0.0.1:$http_service/private",
                               '--host', 'web.example')
                            : ());

    push @{ $self->{agents} }, $pid;

    for (1 .. 600) {
        my $out = slurp("$log.out");

        if ($out =~ /^bench$n\s+tcp\s.*->\s.*:(\d+)\s*$/m) {
            $self->{port} //= $1;
            return if $n;
        }

        if ($self->{port} && $out =~ /^udp\s+udp\s.*->\s.*:(\d+)\s*$/m) {
            $self->{udp} = $1;
            return;
        }

        sleep 0.05;
    }

    die "the agent does not register:\n" . slurp("$log.err")
        . slurp("$self->{dir}/error.log");
}


# Others.  frp is given what it recommends for speed, a connection for each
# client, which both sides have to say, and some in advance; or its defaults.
# TLS is its default.

sub frp {
    my ($tls, $defaults, $workers, $service) = @_;

    my ($server_more, $client_more) = ('', '');

    if (!$defaults) {
        $server_more = "transport.tcpMux = false\n"
                       . 'transport.maxPoolCount = 16';
        $client_more = "transport.tcpMux = false\ntransport.poolCount = 16";
    }

    my ($server, $port) = (free_port(), free_port());
    my $dir = workdir() . "/frp.$server";
    my $enable = $tls ? 'true' : 'false';

    mkdir $dir;
    spew("$dir/frps.toml", <<EOT);
bindAddr = "127.0.0.1"
bindPort = $server
proxyBindAddr = "127.0.0.1"
auth.token = "bench"
log.level = 'warn'
$server_more
EOT
    spew("$dir/frpc.toml", <<EOT);
serverAddr = "127.0.0.1"
serverPort = $server
auth.token = "bench"
log.level = 'warn'
transport.tls.enable = $enable
$client_more

[[proxies]]
name = "bench"
type = "tcp"
localIP = "127.0.0.1"
localPort = $service
remotePort = $port
EOT

    my $near = spawn("$dir/frps", 'frps', '-c', "$dir/frps.toml");
    wait_port($server, 'frps');
    my $far = spawn("$dir/frpc", 'frpc', '-c', "$dir/frpc.toml");
    wait_port($port, 'frp');

    return { port => $port, near => $near, far => $far };
}


sub rathole {
    my ($tls, $workers, $service) = @_;

    my ($server, $port) = (free_port(), free_port());
    my $dir = workdir() . "/rathole.$server";

    mkdir $dir;
    spew("$dir/server.toml", <<EOT);
[server]
bind_addr = "127.0.0.1:$server"
default_token = "bench"

[server.services.bench]
bind_addr = "127.0.0.1:$port"
EOT
    spew("$dir/client.toml", <<EOT);
[client]
remote_addr = "127.0.0.1:$server"
default_token = "bench"

[client.services.bench]
local_addr = "127.0.0.1:$service"
EOT

    my $near = spawn("$dir/server", 'rathole', '--server',
                     "$dir/server.toml");
    wait_port($server, 'rathole');
    my $far = spawn("$dir/client", 'rathole', '--client', "$dir/client.toml");
    wait_port($port, 'rathole');

    return { port => $port, near => $near, far => $far };
}


# For its size alone: it speaks TLS only with a certificate that a CA of the
# system has signed.

sub chisel {
    my ($service) = @_;

    my ($server, $port) = (free_port(), free_port());
    my $dir = workdir() . "/chisel.$server";

    mkdir $dir;

    my $near = spawn("$dir/server", 'chisel', 'server', '--host', '127.0.0.1',
                     '--port', $server, '--reverse');
    wait_port($server, 'chisel');
    my $far = spawn("$dir/client", 'chisel', 'client',
                    "http://127.0.0.1:$server",
                    "R:127.0.0.1:$port:127.0.0.1:$service");
    wait_port($port, 'chisel');

    return { port => $port, near => $near, far => $far };
}


sub on_path {
    my ($program) = @_;

    return grep { -x "$_/$program" } split /:/, $ENV{PATH};
}


# All that can run here: { name, group, start => sub (workers, port) }.

sub setups {
    my @all = (
        { name => 'direct', group => 'both',
          start => sub { return { port => $_[1], udp => $_[1],
                                  front => $http_service } } },
        { name => 'hop', group => 'both', start => \&hop },
        { name => 'chain', group => 'plain', start => sub { chain(0, @_) } },
        { name => 'ws', group => 'plain', start => sub { tunnel(0, @_) } },
        { name => 'ws-framed', group => 'plain',
          start => sub { tunnel(0, @_, framed => 1) } },
        { name => 'chain-tls', group => 'tls',
          start => sub { chain(1, @_) } },
        { name => 'wss', group => 'tls', start => sub { tunnel(1, @_) } },
        { name => 'wss-framed', group => 'tls',
          start => sub { tunnel(1, @_, framed => 1) } },
    );

    if (on_path('frps') && on_path('frpc')) {
        push @all, { name => 'frp', group => 'plain',
                     start => sub { frp(0, 0, @_) } },
                   { name => 'frp-tls', group => 'tls',
                     start => sub { frp(1, 0, @_) } },
                   { name => 'frp-default', group => 'tls',
                     start => sub { frp(1, 1, @_) } };
    }

    if (on_path('rathole')) {
        push @all, { name => 'rathole', group => 'plain',
                     start => sub { rathole(0, @_) } };
    }

    return @all;
}


# What it consists of, for figures and to stop it.

sub leaders {
    my ($running) = @_;

    return grep { defined } $running->{near}, $running->{far},
                            @{ $running->{agents} || [] };
}


sub far_side {
    my ($running) = @_;

    return grep { defined } $running->{far}, @{ $running->{agents} || [] };
}


# An nginx that answers at once, for http.

sub http_service {
    my ($processes) = @_;

    $http_service = free_port();

    nginx('web', $processes, <<EOT, port => $http_service);
http {
    access_log off;
    client_body_temp_path temp/body;
    proxy_temp_path temp/proxy;
    fastcgi_temp_path temp/fastcgi;
    uwsgi_temp_path temp/uwsgi;
    scgi_temp_path temp/scgi;

    server {
        listen 127.0.0.1:$http_service;
        keepalive_requests 1000000;
        location / { return 200 "an answer of some sixty-four bytes, as it may be in an API ...\\n"; }
    }
}
EOT
}


sub service {
    my ($processes) = @_;

    my $port = free_port();
    spawn(workdir() . '/service', "$OBJS/bench/load", 'service', $port,
          $processes);
    spawn(workdir() . '/udp-service', "$OBJS/bench/load", 'udp-service',
          $port, 1);
    wait_port($port, 'the service');

    return $port;
}


1;
