#!/usr/bin/perl

# Protects: docs/convert.py makes of frpc.toml, and of rathole's client.toml and
# server.toml, a configuration that the agent takes and that means the same;
# what has no counterpart is named, and no secret is printed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;

plan(skip_all => 'there is no python3 with tomllib')
    if (run('python3', '-c', 'import tomllib'))[0] != 0;

my $dir = File::Temp::tempdir(CLEANUP => 1);
write_file("$dir/token", "secret\n", 0600);

subtest 'frp' => \&frp;
subtest 'rathole' => \&rathole;
subtest 'what is neither' => \&neither;

done_testing();


sub convert {
    my ($args, %files) = @_;

    write_file("$dir/$_", $files{$_}) for keys %files;

    my ($rc, $out) = run('sh', '-c', "cd $dir && python3 "
                         . "$ZLTunnel::ROOT/docs/convert.py $args");
    return ($rc, $out);
}


# The agent takes it; its sections, as { name => text }.

sub taken {
    my ($out) = @_;

    write_file("$dir/agent.conf", $out);
    my ($rc, $said) = run($ZLTunnel::AGENT, 'check', '-c', "$dir/agent.conf");
    is($rc, 0, 'the agent takes it') or diag($said, $out);

    my %sections;

    for my $part (split /\n(?=\[|;)/, $out) {
        my ($name, $keys) = $part =~ /^\[(.*?)\]\n(.*?)\s*\z/s or next;
        $sections{$name} = $keys;
    }

    return %sections;
}


sub frp {
    my ($rc, $out) = convert('frpc.toml', 'frpc.toml' => <<'EOT');
serverAddr = "frps.example.com"
serverPort = 7000
user = "me"
auth.method = "token"
auth.token = "hunter2"
log.level = "trace"
log.to = "./frpc.log"
transport.tls.enable = true
transport.poolCount = 3
metadatas.where = "attic"

[[proxies]]
name = "ssh"
type = "tcp"
localIP = "192.0.2.7"
localPort = 22
remotePort = 6001
transport.bandwidthLimit = "1MB"
transport.useCompression = true

[[proxies]]
name = "any port"
type = "tcp"
localIP = "::1"
localPort = 2222
remotePort = 0

[[proxies]]
name = "dns"
type = "udp"
localPort = 53
remotePort = 6002

[[proxies]]
name = "shop"
type = "https"
localPort = 8443
customDomains = ["shop.example.com"]
transport.proxyProtocolVersion = "v2"

[[proxies]]
name = "site"
type = "http"
localPort = 8080
customDomains = ["site.example.com", "www.example.com"]
httpUser = "admin"
httpPassword = "hunter3"

[[proxies]]
name = "docker"
type = "tcp"
remotePort = 6003
[proxies.plugin]
type = "unix_domain_socket"
unixPath = "/run/docker.sock"

[[proxies]]
name = "files"
type = "tcp"
remotePort = 6004
[proxies.plugin]
type = "static_file"
localPath = "/srv"

[[proxies]]
name = "hidden"
type = "stcp"
secretKey = "hunter4"
localPort = 5900

[[visitors]]
name = "desk"
type = "stcp"
serverName = "hidden"
secretKey = "hunter4"
bindPort = 5901
EOT

    is($rc, 0, 'it is converted') or return diag($out);
    my %s = taken($out);

    is($s{agent}, "server = wss://frps.example.com/tunnel/v1\n"
       . "token_file = token\nmin_idle = 3\nlog_level = debug", 'the agent');
    is($s{'service ssh'}, "local = 192.0.2.7:22\nremote_port = 6001", 'a port');
    is($s{'service any-port'}, 'local = [::1]:2222', 'any port');
    is($s{'service dns'}, "protocol = udp\nlocal = 127.0.0.1:53\n"
       . 'remote_port = 6002', 'UDP');
    is($s{'service shop'}, "local = 127.0.0.1:8443\nproxy_protocol = v2\n"
       . 'private = yes', 'https');
    is($s{'service site'}, "local = 127.0.0.1:8080\nprivate = yes", 'http');
    is($s{'service docker'}, "local = unix:/run/docker.sock\n"
       . 'remote_port = 6003', 'a socket');
    is($s{'service hidden'}, "local = 127.0.0.1:5900\nprivate = yes", 'stcp');
    is($s{'access desk'}, "service = hidden\nlocal = 127.0.0.1:5901\nttl = 0",
       'its visitor');

    for my $line ('The line of the token: HASH NAME services=ssh,any-port,dns,'
                  . 'shop,site,docker,hidden ports=6001,6002,6003'
                  . ' access=hidden access_ttl=0',
                  'nginx, in "stream": server { listen 6001; listen 6003;'
                  . ' listen 6002 udp; zltunnel_ports reserved; }',
                  'nginx, for site.example.com, www.example.com:'
                  . ' upstream site { zltunnel_service site; }',
                  'nginx, for shop.example.com: "ssl_preread on;" and'
                  . ' zltunnel_pass shop;',
                  'Not taken over: metadatas.where',
                  'Not taken over: "ssh": transport.bandwidthLimit',
                  'Not taken over: "site": httpUser, httpPassword',
                  'Not taken over: "files": the agent has no plugins'
                  . ' (static_file)')
    {
        like($out, qr/^; \Q$line\E$/m, $line);
    }

    is(() = $out =~ /^; Not taken over: /mg, 4, 'and nothing else is lost');
    unlike($out, qr/hunter/, 'no secret is printed');
}


sub rathole {
    my %files = ('client.toml' => <<'EOT', 'server.toml' => <<'EOS');
[client]
remote_addr = "tunnel.example.com:2333"
default_token = "hunter2"

[client.transport]
type = "tls"
[client.transport.tls]
trusted_root = "ca.pem"

[client.services.web]
local_addr = "127.0.0.1:8080"
nodelay = true

[client.services.game]
type = "udp"
token = "hunter3"
local_addr = "[::1]:27015"
EOT
[server]
bind_addr = "0.0.0.0:2333"
default_token = "hunter2"

[server.services.web]
bind_addr = "0.0.0.0:8081"
proxy_protocol = "v1"

[server.services.game]
type = "udp"
token = "hunter3"
bind_addr = "[::]:27015"
EOS

    my ($rc, $out) = convert('--server wss://new.example.com/tunnel/v1 '
                             . 'client.toml server.toml', %files);
    is($rc, 0, 'it is converted') or return diag($out);
    my %s = taken($out);

    is($s{agent}, "server = wss://new.example.com/tunnel/v1\n"
       . 'token_file = token', 'the agent');
    is($s{'service web'}, "local = 127.0.0.1:8080\nremote_port = 8081\n"
       . 'proxy_protocol = v1', 'a port of server.toml');
    is($s{'service game'}, "protocol = udp\nlocal = [::1]:27015\n"
       . 'remote_port = 27015', 'UDP');
    like($out, qr/^; .* services=web,game ports=8081,27015$/m, 'rights');
    unlike($out, qr/hunter/, 'no secret is printed');

    ($rc, $out) = convert('client.toml');
    is($rc, 0, 'without server.toml');
    %s = taken($out);
    is($s{'service web'}, 'local = 127.0.0.1:8080', 'a service has any port');
    like($out, qr/^; its port is in server\.toml: add remote_port$/m,
         'which is said');
}


sub neither {
    my ($rc, $out) = convert('x.toml', 'x.toml' => "[server]\na = 'x'\n");
    is($rc, 1, 'a server alone');
    is($out, "convert.py: x.toml is neither frpc.toml nor rathole's"
       . " client.toml\n", 'is said to be none');

    ($rc, $out) = convert('x.toml', 'x.toml' => "[common]\nserver_addr = x\n");
    is($rc, 1, 'the old INI of frp');
    like($out, qr/^convert\.py: x\.toml: .*line 2/, 'is no TOML, and where');

    ($rc, $out) = convert('none.toml');
    is($rc, 1, 'a file that is not there');
    like($out, qr/none\.toml/, 'is named');
}
