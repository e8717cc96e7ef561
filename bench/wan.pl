#!/usr/bin/perl

# The benchmark's rows over a long path: http through the tunnel beside http
# through two nginxes, over the same link between two network namespaces.
# bench.pl runs it for the row "wan"; bench/README.md says how to read it.
#
#     bench/wan.pl [--quick] [--delays=1,20,100,300] [--sizes=1000,...]
#                  [--rates=50,0] [--at-once=1,16] [--runs=5] [--tls]
#
# Exit 1 if a target is missed, 2 if a run failed, 0 also if there can be no
# namespaces.

use strict;
use warnings;

use FindBin;

BEGIN {
    # a network of its own, in which the near side is

    if (($ENV{ZLT_NETNS} // '') ne 'own') {
        $ENV{ZLT_NETNS} = 'own';
        exec qw(unshare --net -- sh -c),
             'ip link set lo up 2> /dev/null && exec "$@"', 'sh', $^X, $0,
             @ARGV;
    }
}

use lib "$FindBin::Bin/../t/lib";

use Getopt::Long;
use IO::Socket::INET;
use List::Util qw(max min);
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Wan;

use constant MOST => 1.1;              # times the chain

my %opt = (delays => '1,20,100,300', sizes => '1000,100000,1000000,10000000',
           rates => '50,0', 'at-once' => '1,16', runs => 5);

GetOptions(\%opt, 'quick', 'tls', 'delays=s', 'sizes=s', 'rates=s',
           'at-once=s', 'runs=i') or exit 2;

if ($opt{quick}) {
    $opt{runs} = 3;
    $opt{sizes} = '1000,1000000';
    $opt{delays} = '20,100';
}

$| = 1;
$SIG{INT} = $SIG{TERM} = sub { ZLTunnel::Proc::kill_all(); exit 2 };

my $t = ZLTunnel->new;
my $wan = ZLTunnel::Wan->new($t);

if (!$wan) {
    print "\nNo rows over a long path: $ZLTunnel::Wan::why\n";
    ZLTunnel::Proc::kill_all();
    $t->{done} = 1;
    exit 0;
}

my %port = map { $_ => $t->free_port } qw(front near service sink far);
my @sizes = split /,/, $opt{sizes};
my ($agent, @missed);

eval { setup(); table(); 1 } or do { warn $@; finish(2) };

if (@missed) {
    print "\nTargets missed:\n", map { "    $_\n" } @missed;
    finish(1);
}

print "\nAll targets over a long path met.\n";
finish(0);


sub finish {
    my ($status) = @_;

    ZLTunnel::Proc::kill_all();
    $t->{done} = 1;
    exit $status;
}


# Near, an nginx with both upstreams; far, the other nginx of the chain, the
# agent, and the service, an nginx with files and one that takes uploads.

sub setup {
    my $certs = $t->certs;
    my ($ssl, $cert) = ('', '');
    my $scheme = $opt{tls} ? 'https' : 'http';

    if ($opt{tls}) {
        $ssl = 'ssl';
        $cert = "ssl_certificate $certs/server.pem; "
                . "ssl_certificate_key $certs/server.key;";
    }

    $t->write_conf(http => <<"EOT");
upstream tunnel { zltunnel_service web max_fails=0; keepalive 64; }
upstream chain {
    server $ZLTunnel::Wan::FAR:$port{far} max_fails=0;
    keepalive 64;
}
server {
    listen $ZLTunnel::Wan::NEAR:$port{near} $ssl;
    $cert
    location = /tunnel/v1 { zltunnel; }
}
server {
    listen 127.0.0.1:$port{front};
    access_log off;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_max_temp_file_size 0;
    proxy_request_buffering off;
    location /tunnel/ { proxy_pass http://tunnel/; }
    location /chain/ { proxy_pass $scheme://chain/; }
}
EOT

    my $token = $t->token('bench');
    ZLTunnel::write_file("$t->{dir}/token", "$token\n", 0600);

    $wan->path(0);
    $t->start;

    my $dir = $wan->nginx(http => <<"EOT", stream => <<"EOT2");
    client_body_buffer_size 1m;
    server {
        listen 127.0.0.1:$port{service};
        root %DIR%;
        location / { }
        location /up { proxy_pass http://127.0.0.1:$port{sink}; }
    }
    server {
        listen 127.0.0.1:$port{sink};
        location / { return 200 "ok\\n"; }
    }
EOT
    server {
        listen $ZLTunnel::Wan::FAR:$port{far} $ssl;
        $cert
        proxy_pass 127.0.0.1:$port{service};
    }
EOT2

    ZLTunnel::write_file("$dir/$_", 'x' x $_, 0644) for @sizes;
}


# Another path, of that round trip, and an agent that has known no other.

sub path {
    my ($trip, $rate) = @_;

    $agent->stop if $agent;
    $wan->path($trip / 2, rate => $rate * 1000,
               queue => $rate * 1e6 / 8 * max(0.05, $trip / 1000));

    $agent = $wan->start('agent', $ZLTunnel::AGENT, 'connect', '--server',
                 ($opt{tls} ? 'wss' : 'ws')
                 . "://$ZLTunnel::Wan::NEAR:$port{near}/tunnel/v1",
                 ($opt{tls} ? '--insecure' : ()),
                 '--token-file', "$t->{dir}/token",
                 '--control', "$t->{dir}/agent.sock",
                 '--service', "web:127.0.0.1:$port{service}/private");

    wait_for(sub {
        my $st = $t->status->{tunnels}[0] or return 0;
        return $st->{state} eq 'connected' && $st->{idle_channels} >= 1;
    }, 30) or die 'no agent: ' . slurp("$t->{dir}/logs/agent");
}


# So many requests of that size at once: seconds until the last is answered.

sub requests {
    my ($way, $up, $size, $n) = @_;

    my (%open, $last);
    my $start = time;

    for (1 .. $n) {
        my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                      PeerPort => $port{front})
            or die "connect: $!\n";
        $s->blocking(0);

        my $head = "Host: localhost\r\nConnection: close\r\n";
        my $out = $up ? "POST /$way/up HTTP/1.1\r\n${head}Content-Length: "
                        . "$size\r\n\r\n"
                      : "GET /$way/$size HTTP/1.1\r\n$head\r\n";
        $open{ fileno $s } = { s => $s, out => $out, in => '', got => 0,
                               left => $up ? $size : 0 };
    }

    while (%open) {
        my ($rin, $win) = ('', '');

        for my $fd (keys %open) {
            vec($rin, $fd, 1) = 1;
            vec($win, $fd, 1) = 1
                if length $open{$fd}{out} || $open{$fd}{left};
        }

        die "$way: nothing came for 60 s\n"
            if select($rin, $win, undef, 60) <= 0;

        for my $fd (keys %open) {
            send_some($open{$fd}) if vec($win, $fd, 1);
            next if !vec($rin, $fd, 1) || receive_some($open{$fd});

            my $got = delete($open{$fd})->{got};
            my $all = $up ? 3 : $size;
            die "$way: $got bytes of $all\n" if $got != $all;
        }
    }

    return time - $start;
}


sub send_some {
    my ($r) = @_;

    if (!length $r->{out}) {
        my $n = min($r->{left}, 262_144);
        $r->{out} = 'y' x $n;
        $r->{left} -= $n;
    }

    my $n = syswrite $r->{s}, $r->{out};
    substr $r->{out}, 0, $n, '' if $n;
}


# 0 at the end of the answer.

sub receive_some {
    my ($r) = @_;

    my $n = sysread $r->{s}, my $data, 1_048_576;
    return 1 if !defined $n;
    return 0 if !$n;

    if (defined $r->{in}) {
        $r->{in} .= $data;

        if ((my $head = index $r->{in}, "\r\n\r\n") != -1) {
            die "no answer: $r->{in}\n" if $r->{in} !~ m{^HTTP/1\.1 200 };
            $r->{got} = length($r->{in}) - $head - 4;
            undef $r->{in};
        }

    } else {
        $r->{got} += $n;
    }

    return 1;
}


sub median { (sort { $a <=> $b } @_)[ $#_ / 2 ] }


# The first run of each way warms it up, and does not count.  What one way takes
# changes with what the machine does, so they take turns in two parts.

sub compare {
    my ($up, $size, $n) = @_;

    my %times;

    for my $part (1 .. 2) {
        for my $way (qw(chain tunnel)) {
            requests($way, $up, $size, $n);
            push @{ $times{$way} }, map { requests($way, $up, $size, $n) }
                                        1 .. ($opt{runs} + 1) / 2;
        }
    }

    return map { median(@{ $times{$_} }) } qw(chain tunnel);
}


sub table {
    printf "\nHTTP over a long path, %s, seconds, medians; target <= %.1f\n\n",
           $opt{tls} ? 'TLS' : 'no TLS', MOST;
    printf "%-34s  %8s  %8s  %s\n", '', 'chain', 'tunnel', 'ratio';

    for my $trip (split /,/, $opt{delays}) {
        for my $rate (split /,/, $opt{rates}) {
            path($trip, $rate);
            row($trip, $rate, @$_) for cells($rate);
        }
    }
}


# [ up, size, at once ], without those that would take minutes.

sub cells {
    my ($rate) = @_;

    my @cells;

    for my $up (0, 1) {
        for my $size (@sizes) {
            for my $n (split /,/, $opt{'at-once'}) {
                push @cells, [ $up, $size, $n ] if $size * $n <= 16_000_000;
            }
        }
    }

    return @cells;
}


sub row {
    my ($trip, $rate, $up, $size, $n) = @_;

    my $name = sprintf '%d ms, %s, %s %s kB, %d at once', $trip,
        $rate ? "$rate Mbit/s" : 'no limit', $up ? 'up' : 'down',
        $size / 1000, $n;

    my ($chain, $tunnel) = compare($up, $size, $n);
    my $ratio = $tunnel / $chain;
    my $bad = $ratio > MOST && $tunnel - $chain > 0.003;

    printf "%-40s  %8.4f  %8.4f  %5.2f%s\n", $name, $chain, $tunnel, $ratio,
           $bad ? '  MISSED' : '';

    push @missed, sprintf '%s: %.2f, not <= %.1f', $name, $ratio, MOST if $bad;
}
