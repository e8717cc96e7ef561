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
client_header_timeout 5s;        # of what was just being opened
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
my $left = $t->worker_pairs;
my @more;

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

my $up = bridged($p{front}, sub {
    my ($c) = @_;

    my $more = () = $service->output =~ /^more/mg;
    $c->send("POST / HTTP/1.0\r\nContent-Length: 10000000\r\n\r\n"
             . 'x' x 200_000);
    return wait_for(sub {
        return $more < (() = $service->output =~ /^more/mg);
    });
});

my $down = bridged($p{front}, sub {
    my ($c) = @_;

    $c->send("GET / HTTP/1.0\r\n\r\n");
    return wait_for(sub { $c->fill(0.1); $c->{in} =~ /\r\n\r\nx/ });
});

my $c = bridged($port, sub {
    my ($c) = @_;

    $c->send("HEAD / HTTP/1.0\r\n\r\n");
    return $c->take(19, 30);
});

$c->shut;
is($c->ending(30), 'eof', 'one that is over');

$wan->forget;
my $start = time;
$up->send('x' x 65536);

isnt($up->ending($limit), 'open', 'the upload is over');
isnt($down->ending($limit), 'open', 'the download is over');
ok(wait_for(sub { $t->worker_pairs <= $left }), 'none is left, idle or not')
    or diag($t->worker_pairs - $left);
cmp_ok(time - $start, '<', $limit, 'in time');

# its ends are where nothing comes from; it would wait for them

$agent->{proc}->stop('KILL');
$_->close for $up, $down, @more;
$t->finish;


sub idle { (($t->status->{tunnels} || [])->[0] || {})->{idle_channels} // 0 }


# One of the worker without the channels that the agent has opened first.  It
# opens others where chance says, and a busy machine may be late to give one: so
# there may have to be more clients.

sub bridged {
    my ($to, $begin) = @_;

    for my $try (1 .. 30) {
        my $n = $t->worker_pairs;
        my $c = $t->clients_of($other, $to);

        $begin->($c) or die 'not served';

        return $c if $t->worker_pairs == $n + 2;

        # its own channel is not given back

        push @more, $c;
    }

    die 'none by way of the other worker';
}
