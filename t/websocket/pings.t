#!/usr/bin/perl

# Protects: whoever stands between nginx and an agent may ping the agent on its
# data channels, between any two frames.  Each Ping is answered, by its words
# or a later one's, also while the agent's own bytes wait to be sent, and all
# bytes are whole: of ports, lanes, datagrams and access.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Path ();
use IO::Select;
use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::Middle;
use ZLTunnel::Wire qw(ws_frame);

my $size = sizes('bytes of a transfer', 2_000_000, 200_000);

# where the agent can hardly send, its Pongs wait

my $lib = "$ZLTunnel::ROOT/objs/t/narrow-pings.so";

File::Path::make_path("$ZLTunnel::ROOT/objs/t");
run_ok($ENV{CC} || 'cc', '-shared', '-fPIC', '-O2', '-o', $lib,
       "$ZLTunnel::ROOT/t/lib/preload/narrow.c");

my $t = ZLTunnel->new(udp => 1);
my $udp = $t->free_port;
my ($serve, $visit) = ($t->token('site'), $t->token('alice', 'access=*'));
$t->start;

my $middle = proxy_by_hand($t, \&middle);
my $url = "ws://127.0.0.1:$middle->{port}/tunnel/v1";

my $sum = $t->service('sum');
my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp);
wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo service';

my @args = (server => $url, env => {
    LD_PRELOAD => $lib, ASAN_OPTIONS => 'verify_asan_link_order=0' });
my $agent = $t->agent(token => $serve, @args,
    args => [ '--transport', 'websocket' ],
    services => [ "sum:$sum->{port}", "echo:$udp/udp" ]);

ok(wait_for(sub { pongs() }), 'an idle channel answers');

my $visitor = $t->agent(token => $visit, wait => 0, @args,
                        access => [ 'sum', '--transport', 'websocket' ]);

for my $port ($agent->port('sum'), $visitor->granted('sum')) {
    my $before = pongs();
    my @run = map {
        $t->spawn("transfer-$port-$_", $t->nettool, 'transfer', $port, $size)
    } 1 .. 3;

    $_->wait(120) for @run;

    for my $r (map { ZLTunnel::Local::parse_transfer($_->output) } @run) {
        is($r->{tail}, "$r->{sent_sha} $size", 'all bytes between Pings')
            or diag($r->{output});
    }

    ok(wait_for(sub { pongs() > $before }), 'which are answered');
}

my $c = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
                              PeerPort => $agent->port('echo'));
my $got = 0;

for my $n (1 .. 20) {
    $got += wait_for(sub {
        send $c, "$n " . 'x' x 1200, 0;
        vec(my $rin = '', fileno $c, 1) = 1;
        select($rin, undef, undef, 1) or return 0;
        recv $c, my $data, 2000, 0;
        return $data =~ /^$n /;
    }, 20) // 0;
}

is($got, 20, 'datagrams');

note scalar(() = slurp($middle->{log}) =~ /^ping/mg), ' Pings, ', pongs(),
     ' Pongs';

like(slurp($middle->{log}), qr/^pong p\d+$/m, 'with what was asked');

$t->finish;


sub pongs { scalar(() = slurp($middle->{log}) =~ /^pong /mg) }


# Between an agent, whose request is there, and nginx.

sub middle {
    my ($s, $request) = @_;

    my $up = connect_to($t->{http_port}) or return;
    my $data = $request =~ /^Sec-WebSocket-Protocol: zltunnel-data/mi;
    my ($pings, %in) = (0, down => '', up => '', first => '');

    syswrite $up, $request;

    if ($data) {
        my $head = '';
        1 while $head !~ /\r\n\r\n/ && sysread $up, $head, 65536, length $head;
        ($head, $in{first}) = $head =~ /^(.*?\r\n\r\n)(.*)$/s;
        all_of($s, $head . ping(\$pings)) or return;
    }

    my $select = IO::Select->new($s, $up);

    while (1) {
        # what came with the answer first

        my @from = length($in{first} // '') ? $up : $select->can_read;

        for my $from (@from) {
            my ($to, $way) = $from == $s ? ($up, 'up') : ($s, 'down');
            my $in = delete $in{first} // '';

            length $in or sysread $from, $in, 65536 or return;
            $in{$way} .= $in;

            my $out = $data ? '' : delete $in{$way};

            while ($data && defined(my $frame = frame(\$in{$way}))) {
                printf "pong %s\n", unmasked($frame)
                    if $way eq 'up' && (ord($frame) & 15) == 10;
                $out .= $frame;
                $out .= ping(\$pings) if $way eq 'down';
            }

            all_of($to, $out) or return;
        }
    }
}


sub ping {
    my ($n) = @_;

    $$n++;
    print "ping\n";

    return ws_frame("p$$n", mask => 0, op => 9);
}


# A whole frame, taken off the bytes, or undef.

sub frame {
    my ($in) = @_;

    return undef if length $$in < 2;

    my ($at, $len) = (2, ord(substr $$in, 1, 1));
    my $mask = $len & 128 ? 4 : 0;

    $len &= 127;
    $at += $len == 126 ? 2 : $len == 127 ? 8 : 0;
    return undef if length $$in < $at;

    $len = unpack 'n', substr $$in, 2, 2 if $len == 126;
    $len = unpack 'Q>', substr $$in, 2, 8 if $len == 127;
    return undef if length $$in < $at + $mask + $len;

    return substr $$in, 0, $at + $mask + $len, '';
}


sub unmasked {
    my ($frame) = @_;

    my ($key, $text) = (substr($frame, 2, 4), substr $frame, 6);

    return $text ^ substr $key x 32, 0, length $text;
}


sub all_of {
    my ($to, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite $to, $bytes or return 0;
        substr $bytes, 0, $n, '';
    }

    return 1;
}
