package ZLTunnel::Middle;

# What stands between agent and nginx in a test: proxies as they are packaged,
# and servers in front.  The functions take the harness as their first
# argument and return { port, url, proc, log }, or undef where the program is
# not installed.
#
#     my $p = tinyproxy($t, user => 'me', password => 'secret');
#     $t->agent(args => [ '--proxy', $p->{url} ]);

use strict;
use warnings;

use Exporter 'import';

use ZLTunnel::Proc qw(wait_for slurp run_ok);

our @EXPORT = qw(tinyproxy squid microsocks dante haproxy front installed
                 proxy_by_hand end_at_once);


sub installed {
    my ($program) = @_;

    my ($path) = grep { -x } map { "$_/$program" }
                 split(/:/, $ENV{PATH}), qw(/usr/local/sbin /usr/sbin /sbin);
    return $path;
}


# Starts it and waits until its port answers; ends with the test.

sub launch {
    my ($t, $name, $port, %o) = @_;

    my $log = "$t->{dir}/logs/$name-$port";
    my $proc = ZLTunnel::Proc->start(name => $name, out => $log, %o);

    push @{ $t->{procs} }, $proc;

    wait_for(sub { ZLTunnel::connect_to($port) || !$proc->running }, 30)
        && $proc->running or die "no $name: " . slurp($log);

    return { name => $name, port => $port, proc => $proc, log => $log };
}


# A directory that the daemon's user may write to.

sub place {
    my ($t, $name, $user) = @_;

    my $dir = "$t->{dir}/$name";
    mkdir $dir;
    chmod 0755, $dir;

    if ($> == 0 && $user) {
        my ($uid, $gid) = (getpwnam $user)[2, 3];
        chown $uid, $gid, $dir;
    }

    return $dir;
}


sub user_part {
    my (%o) = @_;
    return defined $o{user} ? "$o{user}:$o{password}\@" : '';
}


# A program whose names are those of a ZLTunnel::Names, given as "names".

sub named {
    my ($program, %o) = @_;

    return $program if !$o{names};
    return ('env', "WITH_NAMES=$program", $o{names}->program);
}


sub tinyproxy {
    my ($t, %o) = @_;

    my $program = installed('tinyproxy') or return undef;
    my $port = $o{port} // $t->free_port;
    my $auth = defined $o{user} ? "BasicAuth $o{user} $o{password}" : '';

    ZLTunnel::write_file("$t->{dir}/tinyproxy-$port.conf", <<"EOT");
Port $port
Listen 127.0.0.1
Timeout 600
MaxClients 2000
LogLevel Connect
$auth
EOT

    my $p = launch($t, 'tinyproxy', $port, cmd => [
        named($program, %o), '-d', '-c', "$t->{dir}/tinyproxy-$port.conf" ]);

    $p->{url} = 'http://' . user_part(%o) . "127.0.0.1:$port";
    return $p;
}


sub squid {
    my ($t, %o) = @_;

    my $program = installed('squid') or return undef;
    my $port = $t->free_port;
    my $dir = place($t, "squid-$port", 'proxy');
    my $access = 'http_access allow all';

    if (defined $o{user}) {
        my $hash = run_ok('openssl', 'passwd', '-apr1', $o{password});
        ZLTunnel::write_file("$dir/users", "$o{user}:$hash", 0644);
        $access = "auth_param basic program /usr/lib/squid/basic_ncsa_auth "
                  . "$dir/users\nacl known proxy_auth REQUIRED\n"
                  . "http_access allow known\nhttp_access deny all";
    }

    ZLTunnel::write_file("$dir/squid.conf", <<"EOT", 0644);
http_port 127.0.0.1:$port
$access
cache deny all
access_log stdio:$dir/access.log
cache_log $dir/cache.log
cache_store_log none
pid_filename $dir/squid.pid
coredump_dir $dir
pinger_enable off
shutdown_lifetime 0 seconds
half_closed_clients on
EOT

    my $p = launch($t, 'squid', $port, cmd => [
        $program, '-N', '-f', "$dir/squid.conf" ]);

    $p->{log} = "$dir/access.log";
    $p->{url} = 'http://' . user_part(%o) . "127.0.0.1:$port";
    return $p;
}


sub microsocks {
    my ($t, %o) = @_;

    my $program = installed('microsocks') or return undef;
    my $port = $t->free_port;

    my $p = launch($t, 'microsocks', $port, cmd => [
        named($program, %o), '-i', '127.0.0.1', '-p', $port,
        defined $o{user} ? ('-u', $o{user}, '-P', $o{password}) : () ]);

    $p->{url} = ($o{scheme} // 'socks5h') . '://' . user_part(%o)
                . "127.0.0.1:$port";
    return $p;
}


sub dante {
    my ($t, %o) = @_;

    my $program = installed('danted') or return undef;
    my $port = $t->free_port;
    my $dir = place($t, "dante-$port");

    ZLTunnel::write_file("$dir/danted.conf", <<"EOT", 0644);
logoutput: stdout
internal: 127.0.0.1 port = $port
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 log: connect error }
EOT

    my $p = launch($t, 'danted', $port, cmd => [
        $program, '-f', "$dir/danted.conf", '-p', "$dir/danted.pid" ]);

    $p->{url} = ($o{scheme} // 'socks5h') . "://127.0.0.1:$port";
    return $p;
}


# HAProxy before nginx, in http mode or another: over TLS to the agent with
# tls => 1, and on to nginx's TLS port with to_tls => 1, or to the address in
# "to"; bind and server are more words for these lines; more is text for "defaults", and front
# for its frontend.

sub haproxy {
    my ($t, %o) = @_;

    my $program = installed('haproxy') or return undef;
    my $port = $t->free_port;
    my $dir = place($t, "haproxy-$port");
    my $certs = $t->certs;
    my $more = $o{more} // '';
    my $mode = $o{mode} // 'http';

    $more .= "\n    option forwardfor" if $mode eq 'http';

    my $bind = '';
    my $server = $o{to} // "127.0.0.1:$t->{http_port}";

    if ($o{tls}) {
        ZLTunnel::write_file("$dir/server.pem",
            slurp("$certs/server.pem") . slurp("$certs/server.key"), 0600);
        $bind = "ssl crt $dir/server.pem " . ($o{bind} // q());
    }

    $server = "127.0.0.1:$t->{tls_port} ssl verify required ca-file "
              . "$certs/ca.pem sni str(localhost)" if $o{to_tls};
    $server .= " $o{server}" if $o{server};

    ZLTunnel::write_file("$dir/haproxy.cfg", <<"EOT", 0600);
global
    maxconn 4000
    log stdout format raw local0 notice

defaults
    mode $mode
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    timeout client-fin 1h
    timeout server-fin 1h
    $more

frontend in
    bind 127.0.0.1:$port $bind
    default_backend out
    @{[ $o{front} // '' ]}

backend out
    server nginx $server
EOT

    my $p = launch($t, 'haproxy', $port, cmd => [
        $program, '-db', '-f', "$dir/haproxy.cfg" ]);

    $p->{url} = ($o{tls} ? 'wss' : 'ws') . "://127.0.0.1:$port/tunnel/v1";
    return $p;
}


# Another nginx in front; tls and to_tls as above, location: text for it,
# instead of what passes every upgrade on.

sub front {
    my ($t, %o) = @_;

    my $port = $t->free_port;
    my $dir = place($t, "front-$port");
    my $certs = $t->certs;
    my $temp = place($t, "front-$port/temp", 'www-data');
    my $user = $> == 0 ? 'user www-data;' : '';
    my $ssl = $o{tls} ? 'ssl' : '';
    my $to = $o{to_tls} ? "https://127.0.0.1:$t->{tls_port}"
                        : "http://127.0.0.1:$t->{http_port}";

    my $location = $o{location} // <<'EOT';
proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
EOT

    ZLTunnel::write_file("$dir/nginx.conf", <<"EOT");
$user
worker_processes 1;
daemon off;
pid $dir/nginx.pid;
error_log $t->{dir}/logs/front-$port.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path $temp/body;
    proxy_temp_path $temp/proxy;
    fastcgi_temp_path $temp/fastcgi;
    uwsgi_temp_path $temp/uwsgi;
    scgi_temp_path $temp/scgi;
    server {
        listen 127.0.0.1:$port $ssl;
        ssl_certificate $certs/server.pem;
        ssl_certificate_key $certs/server.key;
        location = /tunnel/v1 {
            proxy_pass $to;
            proxy_http_version 1.1;
            proxy_set_header Host \$http_host;
            proxy_set_header X-Forwarded-For \$remote_addr;
            $location
        }
    }
}
EOT

    my $p = launch($t, 'front', $port, cmd => [
        $ZLTunnel::NGINX, '-p', $dir, '-c', "$dir/nginx.conf", '-e',
        "$t->{dir}/logs/front-$port.log" ]);

    $p->{url} = ($o{tls} ? 'wss' : 'ws') . "://127.0.0.1:$port/tunnel/v1";
    return $p;
}


# A proxy that does what no good one would.  For each connection it waits for
# the first bytes, notes them in its log as "got HEX", and calls the sub with
# the socket.  The sub's end is the connection's.

sub proxy_by_hand {
    my ($t, $code, %o) = @_;

    my $port = $o{port} // $t->free_port;

    my $p = launch($t, 'by-hand', $port, code => sub {
        my $listen = IO::Socket::INET->new(
            LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 64,
            ReuseAddr => 1) or die "listen: $!";
        local $SIG{CHLD} = 'IGNORE';
        $| = 1;

        while (my $s = $listen->accept) {
            my $pid = fork // die "fork: $!";
            next if $pid;

            sysread $s, my $first, 65536;
            printf "got %s\n", unpack 'H*', $first // '' if length $first;
            $code->($s, $first) if length $first;
            POSIX::_exit(0);
        }
    });

    $p->{url} = "http://127.0.0.1:$port";
    return $p;
}


# Ends it and its workers, with whatever they do at the moment.

sub end_at_once {
    my ($p) = @_;

    kill KILL => -$p->{proc}->pid;
    $p->{proc}->wait(10);
}


1;
