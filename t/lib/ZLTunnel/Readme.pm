package ZLTunnel::Readme;

# A server and a machine at home, as README.md supposes them, on which documents
# are done as they say (ZLTunnel::Doc): both have Debian's packages in /root, the
# server has nginx running with what Debian's nginx.conf says, a wildcard in DNS, and
# a certificate that both trust; at home a web application listens on port 8080.

use strict;
use warnings;

use ZLTunnel;
use ZLTunnel::Doc;
use ZLTunnel::Nodes;
use ZLTunnel::Root;

our @ISA = 'ZLTunnel::Doc';

my $APP = <<'EOT';
use IO::Socket::INET;
$SIG{CHLD} = 'IGNORE';
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1:8080', Listen => 64,
                              ReuseAddr => 1) or die;
while (my $c = $l->accept) {
    next if fork;
    my $head = '';
    sysread $c, $head, 4096, length $head or exit until $head =~ /\r\n\r\n/;
    my $body = $head =~ m{^GET /headers} ? $head : "Hello from home\n";
    syswrite $c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
                 . length($body) . "\r\n\r\n$body";
    exit;
}
EOT


sub missing {
    return 'another build is tested'
        if grep { defined $ENV{$_} } qw(TEST_ZLT_AGENT TEST_ZLT_MODULE
                                        TEST_NGINX_BINARY);
    return 'this is not Debian' if !-e '/etc/debian_version';

    for my $program (qw(dpkg-buildpackage dh_nginx openssl curl)) {
        return "there is no $program"
            if system "command -v $program > /dev/null";
    }

    return ZLTunnel::Root::missing();
}


# The two, in this directory of the test.

sub machines {
    my ($dir) = @_;

    delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};

    my %debs = ZLTunnel::Root::packages($dir, 'BUILT=1');
    my $fresh = $ENV{ZLT_LONG} && ZLTunnel::Root::debian("$dir/lower",
        'nginx libnginx-mod-stream libuv1 curl ca-certificates'
        . ' systemd-standalone-sysusers');
    my @roots;

    for my $name (qw(server home)) {
        mkdir "$dir/$name";
        push @roots, ZLTunnel::Root->new(dir => "$dir/$name",
                                         lower => $fresh || '/');
    }

    my ($ip) = $roots[0]->connect($roots[1]);
    my $ca = ZLTunnel->certs . '/ca.pem';

    ZLTunnel::Nodes::certificate("$dir/tunnel", $ca =~ s/\.pem$//r,
                                 'tunnel.example.com', '*.t.example.com');

    for my $root (@roots) {
        step($root, 'apt-get install -y curl ca-certificates') if $fresh;
        step($root, "echo $ip tunnel.example.com blog.t.example.com"
                    . " www.t.example.com >> /etc/hosts");
        $root->copy($ca, '/root/ca.pem');
        step($root, 'cat ca.pem >> /etc/ssl/certs/ca-certificates.crt; rm ca.pem;'
                    . ' rm -f /etc/zltunnel/* /etc/nginx/zltunnel.tokens');
        $root->copy($_, '/root/' . s{.*/}{}r) for values %debs;
    }

    my ($server, $home) = @roots;

    step($server, 'apt-get install -y nginx libnginx-mod-stream') if $fresh;
    $server->copy("$dir/tunnel.$_", "/etc/nginx/tunnel.$_") for qw(pem key);
    step($server, 'systemctl restart nginx');

    $home->write('/opt/app.pl', $APP);
    $home->start(name => 'application', command => 'perl /opt/app.pl',
                 out => "$dir/app");

    return @roots;
}


sub step {
    my ($root, $command) = @_;

    my ($rc, $out) = $root->run($command);
    die "$command: $out" if $rc;
}


1;
