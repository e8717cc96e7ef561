#!/usr/bin/perl

# Protects: channels under TLS that one worker holds and another one uses, when
# a NAT forgets them: idle, amid an upload, amid a download.  Each is found dead
# as it would be in the worker of its client, and no socket is left of it in
# either.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wan;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(
    workers => 2,
    zltunnel => 'heartbeat_interval 2s; heartbeat_timeout 3s;
                 connect_timeout 30s; reconnect_grace 10m;');
my $wan = ZLTunnel::Wan->new($t) or plan(skip_all => $ZLTunnel::Wan::why);

my $near = $ZLTunnel::Wan::NEAR;
my $certs = $t->certs;
my %p = map { $_ => $t->free_port } qw(front near service);

# found within 10 s, where nothing else runs; nobody waits for a minute

my $limit = 40;

$t->write_conf(http => <<"EOT");
upstream web { zltunnel_service web lanes=off; }
server {
    listen $near:$p{near} ssl;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    location = /tunnel/v1 { zltunnel; }
}
server {
    listen 127.0.0.1:$p{front};
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_read_timeout 90s;
    proxy_buffering off;
    location / { proxy_pass http://web; }
}
EOT

$wan->path(50);
my $token = $t->token('alice');
$t->start;

# a download that does not end, or an upload that is not answered

my $service = $wan->start('service', $^X, '-e', <<'EOT', $p{service});
    use IO::Socket::INET;
    my $l = IO::Socket::INET->new(Listen => 9, LocalAddr => '127.0.0.1',
                                  LocalPort => $ARGV[0], ReuseAddr => 1)
        or die;
    $SIG{CHLD} = $SIG{PIPE} = 'IGNORE';
    $| = 1;
    while (my $c = $l->accept) {
        next if fork;
        my $have = sysread $c, my $in, 4096;
        if ($in !~ /^POST/) {
            syswrite $c, "HTTP/1.0 200 OK\r\n\r\n";
            select undef, undef, undef, 0.1
                while $in !~ /^HEAD/ && syswrite $c, 'x';
            exit;
        }
        while (my $n = sysread $c, $in, 65536) {
            print "more\n" if ($have += $n) > 100_000;
        }
        exit;
    }
EOT

my ($holder, $other) = $t->workers;
my $before = $t->worker_pairs;

halt($other);

my $program = "$t->{dir}/agent";
write_file($program, join(' ', "#!/bin/sh\nexec", $wan->far($ZLTunnel::AGENT),
                          '"$@"') . "\n", 0755);

my $agent = $t->agent(program => $program, token => $token, tls => 1,
                      server => "wss://$near:$p{near}/tunnel/v1",
                      services => [ "web:$p{service}" ],
                      args => [ '--min-idle', 4 ]);
my $port = $agent->port('web');
ok(wait_for(sub { idle() >= 4 }), 'all channels are in one worker');

# clients of the other one come while that worker sleeps: they have its channels
# before the agent can open others, which may be anywhere

my ($up, $down, $c) = $t->clients_of($other, @p{qw(front front)}, $port);

$up->send("POST / HTTP/1.0\r\nContent-Length: 10000000\r\n\r\n" . 'x' x 200_000);
$down->send("GET / HTTP/1.0\r\n\r\n");
$c->send("HEAD / HTTP/1.0\r\n\r\n");

ok(wait_for(sub { $service->output =~ /more/ }), 'an upload');
ok(wait_for(sub { $down->fill(0.1); $down->{in} =~ /\r\n\r\nx/ }), 'a download');
ok($c->take(19), 'one that is over');
$c->shut;
$c->ending;
ok(wait_for(sub { $t->worker_pairs == $before + 6 }), 'a bridge each')
    or diag($t->worker_pairs - $before);

$wan->forget;
my $start = time;
$up->send('x' x 65536);

isnt($up->ending($limit), 'open', 'the upload is over');
like($up->{in}, qr/^HTTP\/1\.\d 50[24]/, 'its client is told');
isnt($down->ending($limit), 'open', 'the download is over');
ok(wait_for(sub { $t->worker_pairs == $before }), 'none is left, idle or not')
    or diag($t->worker_pairs - $before);
cmp_ok(time - $start, '<', $limit, 'in time');

# its ends are where nothing comes from; it would wait for them

$agent->{proc}->stop('KILL');
$_->close for $up, $down;
$t->finish;


sub idle { (($t->status->{tunnels} || [])->[0] || {})->{idle_channels} // 0 }
