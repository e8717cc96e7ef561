#!/usr/bin/perl

# Protects: a browser and two hosts.  Chromium opens both over HTTPS with one
# wildcard's server, a WebSocket in one, an upload in the other, of a size that
# takes many reads; each sees its own service.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

my ($no, $chromium) = run('sh', '-c', 'command -v chromium');
plan(skip_all => 'there is no chromium') if $no;
chomp $chromium;

my $SIZE = 5_000_000;

my $t = ZLTunnel->new(workers => 2, zltunnel => 'domain t.example.com;');
my $certs = $t->certs;
my $port = $t->free_port;
my ($h2, $h2_on) = since(1, 25, 1) ? ('', 'http2 on;') : (' http2', '');

$t->write_conf(http => <<"EOC");
log_format seen '\$host \$server_protocol \$request_method \$uri \$status';
upstream tunnelled { zltunnel_host \$host; keepalive 8; }
server {
    listen 127.0.0.1:$port ssl$h2;
    $h2_on
    server_name *.t.example.com;
    access_log $t->{dir}/logs/seen.log seen;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    location / { include zltunnel_proxy.conf; proxy_pass http://tunnelled; }
}
EOC

my $token = $t->token('alice', 'hosts=*.t.example.com');
$t->start;

# Each page tells its own service how it went; it is of one origin with it alone.

write_file("$t->{dir}/blog.html", page(<<"EOP") . <<"EOI", 0644);
const ws = new WebSocket(`wss://\${location.host}/ws`);
ws.onopen = () => ws.send('hello '.repeat(1000));
ws.onmessage = event => tell('WebSocket ' + event.data.length);
ws.onerror = () => tell('WebSocket failed');
EOP
<iframe src="https://shop.t.example.com:$port/page"></iframe>
EOI

write_file("$t->{dir}/shop.html", page(<<"EOP"), 0644);
fetch('/upload', { method: 'POST', body: new Uint8Array($SIZE).fill(122) })
    .then(answer => answer.text()).then(text => tell('upload ' + text.trim()),
                                        () => tell('upload failed'));
EOP

my %app = map { $_ => app($t, $_, env => { PAGE => "$t->{dir}/$_.html" }) }
          qw(blog shop);
$t->agent(token => $token, services => [ "blog:$app{blog}{port}" ],
          args => [ '--host', 'blog', '--service', "shop:$app{shop}{port}",
                    '--host', 'shop' ]);

mkdir "$t->{dir}/home";
my $browser = ZLTunnel::Proc->start(
    name => 'chromium', out => "$t->{dir}/chromium.out",
    err => "$t->{dir}/chromium.err", env => { HOME => "$t->{dir}/home" },
    cmd => [ $chromium, '--headless', '--no-sandbox', '--disable-gpu',
             '--disable-dev-shm-usage', '--ignore-certificate-errors',
             '--no-first-run', "--user-data-dir=$t->{dir}/home/profile",
             '--host-resolver-rules=MAP *.t.example.com 127.0.0.1',
             '--remote-debugging-port=0', "https://blog.t.example.com:$port/page" ]);

my %want = (blog => 'WebSocket 6000',
            shop => "upload $SIZE " . sha256_hex('z' x $SIZE));

for my $name (sort keys %want) {
    ok(wait_for(sub { slurp($app{$name}{log}) =~ /^number /m }, 60),
       "$name has said how it went");
    like(slurp($app{$name}{log}), qr/^number \Q$want{$name}\E$/m, '.. well')
        or diag slurp("$t->{dir}/chromium.err");
}

my $seen = slurp("$t->{dir}/logs/seen.log");
like($seen, qr{^shop\.t\.example\.com HTTP/2\.0 POST /upload 200$}m,
     'the upload was over HTTP/2');
is(scalar(() = $seen =~ /^(?:blog|shop)\S+ \S+ GET \/page 200$/mg), 2,
   'two names were opened');

$browser->stop('TERM');
$t->finish;


# A page that does this, and has tell(), by which its service hears of it.

sub page {
    my ($script) = @_;

    return <<"EOP";
<!DOCTYPE html>
<title>page</title>
<script>
const tell = text => fetch('/number', { headers: { 'X-Number': text } });
$script
</script>
EOP
}
