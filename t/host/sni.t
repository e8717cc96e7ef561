#!/usr/bin/perl

# Protects: the configuration of docs/security.md by which a connection is for one
# host: a request for another one than TLS was set up for gets a 421, whichever
# version of HTTP it has, and one without SNI, too.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

my $t = ZLTunnel->new(workers => 1, zltunnel => 'domain t.example.com;');
my $certs = $t->certs;
my ($port, $h2) = map { $t->free_port } 1 .. 2;

my ($block) = slurp("$ZLTunnel::ROOT/docs/security.md")
              =~ /^```nginx\n([^`]*\$misdirected.*?)^```/ms;
ok(defined $block, 'docs/security.md has it') or BAIL_OUT('no block');

my $listen = "listen 127.0.0.1:$port ssl; listen 127.0.0.1:$h2 ssl"
             . (since(1, 25, 1) ? '; http2 on;' : ' http2;');

$block =~ s/listen 443 ssl;/$listen/;
$block =~ s/wildcard\.(pem|key)/$certs\/server.$1/g;
$t->write_conf(http => $block);

my $token = $t->token('alice', 'hosts=*.t.example.com');
$t->start;

my ($blog, $shop) = map { app($t, $_) } qw(blog shop);
$t->agent(token => $token, services => [ "blog:$blog->{port}" ],
          args => [ '--host', 'blog', '--service', "shop:$shop->{port}",
                    '--host', 'shop' ]);

for my $version ('--http1.1', '--http2') {
  SKIP: {
        skip('this curl has no HTTP/2', 1)
            if $version eq '--http2' && `curl -V` !~ /HTTP2/;

        like(ask('blog', 'blog', $version), qr/^blog .*\n200$/, "$version: its own");
        like(ask('shop', 'shop', $version), qr/^shop .*\n200$/, '.. and another');
        like(ask('blog', 'shop', $version), qr/^421$/m, 'the other one there');
        unlike(ask('blog', 'shop', $version), qr/^shop/m, '.. and no answer of it');
        like(ask('blog', 'none', $version), qr/^421$/m, 'one that is nobody\'s');
    }
}

like(tls('-servername', 'BLOG.t.example.com'), qr{^HTTP/1\.1 200 }, 'case');
like(tls('-noservername'), qr{^HTTP/1\.1 421 }, 'without SNI');

$t->finish;


# What curl gets from the host, over TLS for the name.

sub ask {
    my ($name, $host, $version) = @_;

    my $at = "$name.t.example.com";

    return (run('curl', '-sSk', $version, '--connect-to', "::127.0.0.1:$h2",
                '-H', "Host: $host.t.example.com", '-w', '%{http_code}',
                "https://$at/"))[1];
}


sub tls {
    my (@args) = @_;

    return (run({ input => "GET / HTTP/1.1\r\nHost: blog.t.example.com\r\n"
                           . "Connection: close\r\n\r\n" },
                'openssl', 's_client', '-quiet', '-ign_eof', '-connect',
                "127.0.0.1:$port", @args))[1] =~ s/\A.*?(?=HTTP)//sr;
}
