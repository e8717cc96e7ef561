#!/usr/bin/perl

# Protects: an agent that speaks whatever comes to its mind, valid and invalid,
# in any order, on all kinds of channels, with clients of its own at the other
# end, and that comes and goes as it likes, does no harm: no worker dies or
# complains, another agent's clients are served all the time, and when it has
# gone nothing of it is left.
#
# What it does follows from a number, ZLT_SEED or those below; with ZLT_LONG=1
# it goes on for ten minutes, with a new one every ten seconds.  It is polite
# enough to get anywhere, most of the time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(msg str16 ext ws_frame register new_id datagram
                      datagram_open datagram_close access_open access_renew
                      access_close lane lane_credit lane_end %TYPE);

need_nofile(4_000);

my $long = ZLTunnel::long_run();
my $SLOW = slowdown();
my $seconds = $long ? 10 : 2;
my @seeds = $ENV{ZLT_SEED} ? split /,/, $ENV{ZLT_SEED}
            : $long ? map { time ^ $_ * 7919 } 1 .. 60
            : (1, 2, 3);

# of the hostile one: what it has open, has heard of and has done

my (@open, %known, %done);
my $noise = join '', map { chr($_ * 7 % 251) } 1 .. 250_000;

# what fits a channel, as far as it knows

my %fits = (
    control => [ qw(beat beat_ack ack fail unregister access_open access_renew
                    access_close auth) ],
    idle => [ qw(beat beat_ack beat_ack beat_ack retire) ],
    lanes => [ qw(beat beat_ack lane lane lane lane_credit lane_end retire) ],
    datagrams => [ qw(beat beat_ack datagram datagram datagram datagram_close
                      datagram_open) ],
    connection => [ qw(data data http http eof rst raw) ],
);

my $t = ZLTunnel->new(
    workers => 2, range => 30, udp => 1, zone => '4m',
    zltunnel => 'reconnect_grace 1s; connect_timeout 3s;
                 heartbeat_interval 1s; heartbeat_timeout 3s;');
my $front = $t->free_port;

$t->write_conf(http => <<"EOT");
upstream web { zltunnel_service web token=mallory max_fails=0; keepalive 4; }
upstream once { zltunnel_service web token=mallory max_fails=0 lanes=off; }
server {
    listen 127.0.0.1:$front;
    client_header_timeout 3s;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_read_timeout 3s;
    location / { proxy_pass http://web; }
    location /once { proxy_pass http://once; }
    location /raw { proxy_pass http://web; proxy_buffering off; }
}
EOT

my $alice = $t->token('alice');
my $token = $t->token('mallory', 'services=* sessions=3 access=* max_access=20');
$t->start;

my $tls = $t->tls_to($t->{tls_port});
my $echo = $t->service('echo');
my $agent = $t->agent(token => $alice, services => ["e:$echo->{port}"]);
my $port = $agent->port('e');
my @workers = sort $t->workers;

for my $seed (@seeds) {
    my $did = "$t->{dir}/logs/hostile-$seed";
    my $proc = ZLTunnel::Proc->start(name => "hostile $seed", out => $did,
                                     code => sub { hostile($seed) });
    push @{ $t->{procs} }, $proc;

    my ($asked, $wrong) = (0, 0);

    while ($proc->running) {
        my $c = ZLTunnel::Wire::Socket->new($port);
        my $text = "request $asked";
        $wrong++ if !$c || !$c->send($text)
                    || ($c->take(length $text, 20 * $SLOW) // '') ne $text;
        $c->close if $c;
        $asked++;
        select undef, undef, undef, 0.05;
    }

    is($proc->wait(30), 0, "seed $seed: it has had its time")
        or diag(slurp($did));
    is($wrong, 0, "seed $seed: $asked requests of another are answered");
    is_deeply([ sort $t->workers ], \@workers, "seed $seed: the workers live");
    note(slurp($did));
}

# what it does goes deep enough

my $st = $t->status;
note explain({ map { $_ => $st->{$_} } qw(acquired left_lane reused) });
cmp_ok($st->{acquired}{$_}, '>', 0, "connections went $_")
    for qw(local fresh lane);
cmp_ok($st->{reused}, '>', 0, 'channels were used again');

is($agent->services->{e}{lines}, 1, 'the other agent has noticed nothing');

$tls->{proc}->stop;
ok(wait_for(sub { @{ $t->status->{tunnels} } == 1 }, 90),
   'its tunnels are gone');              # after the grace, which is 30 s

# what it had asked others for ends by their timeouts

$t->finish;


# The agent: a table of what it may do next, and what it knows.

sub hostile {
    my ($seed) = @_;

    srand $seed;
    $SIG{PIPE} = 'IGNORE';
    %known = (tunnels => [], ids => [], ports => [], services => [],
              access => [], lanes => []);

    # as often as that: it must be polite for some time to get anywhere

    my @acts = (
        [ 3, 'control' => \&control ], [ 20, 'channel' => \&channel ],
        [ 8, 'register' => \&registers ], [ 30, 'client' => \&client ],
        [ 40, 'message' => \&message ], [ 60, 'answer' => \&answers ],
        [ 1, 'garbage' => \&garbage ], [ 1, 'mangled' => \&mangled ],
        [ 4, 'end' => \&ends ], [ 4, 'visit' => \&visit ],
    );
    my @table = map { ($_) x $_->[0] } @acts;
    my $end = time + $seconds;

    control();

    while (time < $end) {
        my $act = $table[rand @table];
        $done{ $act->[1] }++;
        $act->[2]->();
        turn();
    }

    print join(', ', map { "$_ $done{$_}" } sort keys %done), "\n";
}

sub some { @_ ? $_[rand @_] : undef }
sub chance { rand() < $_[0] }
sub bytes { substr $noise, rand 50_000, $_[0] }
sub size { some(0, 1, 2, 5, 255, 1000, 4096, 16384, 65531) }


sub opened {
    my ($kind, $port) = @_;

    my $s = ZLTunnel::connect_to($port) or return undef;
    setsockopt $s, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
    $s->blocking(0);

    my $c = { s => $s, kind => $kind, in => '', out => '' };
    return held($c);
}

# With too many it lets go of one, of a client first.

sub held {
    my ($c) = @_;

    my @clients = grep { $_->{kind} =~ /client|udp/ } @open;

    shut(some(@clients > 30 ? @clients : @open)) if @open > 100;
    push @open, $c;

    return $c;
}

sub shut {
    my ($c, $reset) = @_;

    setsockopt $c->{s}, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
               pack 'i i', 1, 0 if $reset;
    close $c->{s};
    $c->{gone} = 1;
    @open = grep { $_ != $c } @open;
}

sub say_on {
    my ($c, $bytes) = @_;

    $c->{out} .= $bytes if length $c->{out} < 500_000;
}

sub to { chance(0.5) ? $t->{http_port} : $tls->{port} }


# A control channel, with a token that is right most of the time.

sub control {
    my $c = opened('control', to()) or return;
    my $auth = msg('Auth', str16(chance(0.9) ? $token : bytes(48)) . new_id()
                   . (chance(0.1) ? bytes(rand 40)
                      : ext(1, pack('N', some(0, 1, 7, 15, 0x3f, 0x3f, 0x3f)),
                            2, 'hostile')));

    say_on($c, "GET /tunnel/v1 HTTP/1.1\r\nHost: localhost\r\n"
        . "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        . "Sec-WebSocket-Version: 13\r\n"
        . "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
    say_on($c, ws_frame($auth)) if chance(0.95);
}


# A data channel of a tunnel: idle, or for a connection that was announced, or
# within a WebSocket.

sub channel {
    my ($connection, $m) = @_;

    my $tunnel = some(@{ $known{tunnels} }) or return;
    my $ws = chance(0.2);
    my $c = opened($ws ? 'ws' : 'channel', to()) or return;

    $connection //= some(@{ $known{ids} }) if chance(0.05);

    if ($m) {
        $c->{state} = 'connection';
        $c->{asked} = [ [ $m ] ];
    }

    say_on($c, "GET /tunnel/v1 HTTP/1.1\r\nHost: localhost\r\n"
        . "Connection: Upgrade\r\n"
        . ($ws ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 . "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                 . "Sec-WebSocket-Protocol: zltunnel-data\r\n"
               : "Upgrade: zltunnel\r\n")
        . 'Zltunnel-Tunnel: ' . unpack('H*', $tunnel->[0]) . "\r\n"
        . 'Zltunnel-Key: ' . unpack('H*', $tunnel->[1]) . "\r\n"
        . (defined $connection
           ? 'Zltunnel-Connection: ' . unpack('H*', $connection) . "\r\n" : '')
        . "\r\n");
}

sub visit {
    my $tunnel = some(@{ $known{tunnels} }) or return;
    my $access = some(@{ $known{access} }) or return;
    my $ws = chance(0.3);
    my $c = opened($ws ? 'ws' : 'channel', to()) or return;

    $c->{visit} = 1;

    say_on($c, "GET /tunnel/v1 HTTP/1.1\r\nHost: localhost\r\n"
        . "Connection: Upgrade\r\n"
        . ($ws ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 . "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                 . "Sec-WebSocket-Protocol: zltunnel-data\r\n"
               : "Upgrade: zltunnel\r\n")
        . 'Zltunnel-Tunnel: ' . unpack('H*', $tunnel->[0]) . "\r\n"
        . 'Zltunnel-Key: ' . unpack('H*', $tunnel->[1]) . "\r\n"
        . 'Zltunnel-Access: ' . unpack('H*', $access) . "\r\n\r\n");
}

sub registers {
    my $c = some(grep { $_->{kind} eq 'control' } @open) or return;

    my $m = register(chance(0.02) ? bytes(rand 255) : some('web', 'a' .. 'e'),
                     udp => chance(0.3), remote => chance(0.1) ? int rand 65536 : 0,
                     ext => chance(0.5) ? ext(1, chr some(0, 1, 2, 4)) : '');
    say_on($c, ws_frame($m));
}


# Whoever is at the other end: a client of a port, of http, of UDP.

sub client {
    my $kind = rand;

    if ($kind < 0.5) {
        my $c = opened('client', $front) or return;
        my $method = some(qw(GET GET HEAD POST));
        my $body = $method eq 'POST' ? bytes(size()) : '';

        say_on($c, "$method " . some('/', '/once', '/raw') . " HTTP/1.1\r\n"
               . "Host: h\r\nContent-Length: " . length($body)
               . "\r\n\r\n$body");
        return;
    }

    my $port = some(@{ $known{ports} }) or return;

    if ($kind < 0.8) {
        my $c = opened('client', $port) or return;
        say_on($c, bytes(size()));
        return;
    }

    my $s = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
                                  PeerPort => $port) or return;
    $s->blocking(0);
    send $s, bytes(some(0, 1, 100, 1400)), 0 for 1 .. 1 + rand 5;
    held({ s => $s, kind => 'udp', in => '', out => '' });
}


# A message of whatever type with fields that could be right.

sub any_id { some(@{ $known{ids} }, @{ $known{services} },
                  @{ $known{access} }, new_id()) }

sub any_lane { chance(0.03) ? some(0, 0xffffffff)
               : some(@{ $known{lanes} }, 1, 2) }

sub any_message {
    my %makes = (
        beat => sub { msg('Heartbeat', pack 'Q>', rand 1e9) },
        beat_ack => sub { msg('HeartbeatAck', pack 'Q>', rand 1e9) },
        ack => sub { msg('ConnectAck', any_id()) },
        fail => sub { msg('ConnectFail', any_id() . str16('x' x rand 50)
                          . ext(1, chr int rand 12)) },
        unregister => sub { msg('Unregister', any_id()) },
        data => sub { msg('Data', bytes(size())) },
        http => sub { msg('Data', "HTTP/1.1 200 OK\r\nContent-Length: "
                                  . some(0, 5, 10) . "\r\n\r\n"
                                  . bytes(some(0, 5, 10, 5000))) },
        eof => sub { msg('Eof') }, rst => sub { msg('Reset') },
        raw => sub { msg('Raw') }, retire => sub { msg('Retire') },
        moved => sub { msg('Moved') },
        move => sub { msg('Move', any_id()) },
        lane_credit => sub { lane_credit(any_lane(), chance(0.05) ? 0xffffffff
                                                     : some(0, 1, 100)) },
        lane_end => sub { lane_end(any_lane()) },
        lane => sub { lane(any_lane(), some(msg('Data', bytes(size())),
                                            msg('Eof'), msg('Reset'),
                                            msg('Moved'),
                                            msg('ConnectAck', any_id()),
                                            msg('ConnectFail', any_id()
                                                . str16('no')),
                                            bytes(1 + rand 100))) },
        datagram => sub { datagram(any_lane(), bytes(some(0, 1, 1400,
                                                          65000))) },
        datagram_open => sub { datagram_open(any_lane(), addr => '1.2.3.4:5',
                                             service => any_id()) },
        datagram_close => sub { datagram_close(any_lane(), int rand 12) },
        access_open => sub { access_open(some('web', 'a' .. 'e'),
                                         udp => chance(0.5),
                                         ttl => some(0, 1, 60, 0xffffffff),
                                         chance(0.2) ? (target => 'h:1') : ()) },
        access_renew => sub { access_renew(any_id(), some(0, 1, 60)) },
        access_close => sub { access_close(any_id()) },
        auth => sub { msg('Auth', str16($token) . new_id()) },
    );

    my @names = chance(0.01) ? sort keys %makes : @_;
    my $name = some(@names);

    $done{"  $name"}++;
    return $makes{$name}->();
}

sub message {
    my $c = some(grep { $_->{kind} =~ /control|channel|ws/ && $_->{up} } @open)
        or return;
    my $state = $c->{kind} eq 'control' ? 'control' : $c->{state} // 'idle';

    wire($c, any_message(@{ $fits{$state} })) for 1 .. 1 + rand 3;
}

sub wire {
    my ($c, $m) = @_;

    say_on($c, $c->{kind} eq 'channel' ? $m
               : ws_frame($m, chance(0.005) ? (op => some(0 .. 15)) : (),
                          chance(0.005) ? (fin => 0) : (),
                          chance(0.005) ? (mask => 0) : ()));
}


# What is expected of it, as far as it was asked.

sub answers {
    my $c = some(grep { $_->{asked} } @open) or return;
    my $asked = shift @{ $c->{asked} } or return;
    my ($m, $lane) = @$asked;

    return if $m->{gone}++;

    my $ack = chance(0.9)
              ? msg('ConnectAck', $m->{connection_id})
              : msg('ConnectFail', $m->{connection_id} . str16('no'));
    my $text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    $text .= bytes(some(1, 100, 20_000)) if chance(0.1);
    $text = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" . bytes(200_000)
        if chance(0.1);

    my $all = $ack
        . join('', map { msg('Data', $_) } unpack '(a16000)*', $text)
        . some('', '', msg('Eof'), msg('Eof'), msg('Reset'), msg('Raw'),
               msg('Moved'));

    if ($m->{type} eq 'Move') {
        $all = msg('ConnectAck', $m->{connection_id});
    }

    # in one piece or in some

    my $n = some(length $all, length $all, 1 + rand 100);
    my @parts = unpack "(a$n)*", $all;

    if (defined $lane) {
        say_on($c, lane($lane, $_)) for @parts;
        say_on($c, lane_credit($lane, some(0, 100, 32768))) if chance(0.3);

    } else {
        say_on($c, $c->{kind} eq 'ws' ? ws_frame($_) : $_) for @parts;
    }
}

sub garbage {
    my $c = some(@open) or return;
    say_on($c, bytes(some(1, 5, 100, 5000))) if $c->{kind} ne 'udp';
}

sub mangled {
    my $c = some(grep { length $_->{out} } @open) or return;
    substr $c->{out}, rand length $c->{out}, 1, chr rand 256;
}

sub ends {
    my $c = some(@open) or return;

    my $how = rand;
    $how < 0.3 ? shutdown($c->{s}, 1) : shut($c, $how > 0.6);
}


# Writes and reads what there is.

sub turn {
    my ($rin, $win) = ('', '');

    for my $c (@open) {
        vec($rin, fileno $c->{s}, 1) = 1;
        vec($win, fileno $c->{s}, 1) = 1 if length $c->{out};
    }

    select($rin, $win, undef, 0.001) > 0 or return;

    for my $c (my @all = @open) {
        next if $c->{gone};

        if (length $c->{out} && vec $win, fileno $c->{s}, 1) {
            my $n = syswrite $c->{s}, $c->{out}, 1 + rand 20_000;
            substr $c->{out}, 0, $n, '' if $n;
            $c->{failed} = 1 if !defined $n && !$!{EAGAIN};
        }

        next if !vec $rin, fileno $c->{s}, 1;
        next if chance(0.05);                    # it is slow, too

        my $n = sysread $c->{s}, $c->{in}, 65536, length $c->{in};
        $c->{failed} = 1 if defined $n ? !$n && $c->{kind} ne 'udp'
                                       : !$!{EAGAIN};
        taken($c) if $n;
    }

    shut($_) for my @failed = grep { $_->{failed} } @open;
}

sub taken {
    my ($c) = @_;

    if ($c->{kind} eq 'client' || $c->{kind} eq 'udp') {
        $c->{in} = '';
        return;
    }

    if (!$c->{up}) {
        $c->{in} =~ s/^(.*?)\r\n\r\n//s or return;
        $c->{up} = 1;
        $c->{failed} = 1 if $1 !~ /^HTTP\/1\.1 101/;
    }

    while (defined(my $m = next_of($c))) {
        seen($c, $m);
    }

    $c->{in} = '' if length $c->{in} > 200_000;
}

sub next_of {
    my ($c) = @_;

    return message_of(\$c->{in}) if $c->{kind} eq 'channel';
    return websocket_of($c) if $c->{kind} ne 'ws';

    # a channel within a WebSocket

    while (1) {
        my $m = message_of(\$c->{stream});
        return $m if defined $m;
        $c->{stream} .= websocket_of($c) // return undef;
    }
}

sub message_of {
    my ($in) = @_;

    return undef if length($$in // '') < 5;
    my $len = 5 + unpack 'x N', $$in;
    return undef if length $$in < $len;
    return substr $$in, 0, $len, '';
}

sub websocket_of {
    my ($c) = @_;

    return undef if length $c->{in} < 2;

    my ($op, $len) = unpack 'C C', $c->{in};
    my $head = 2;

    ($len, $head) = (unpack('x2 n', "$c->{in}\0\0"), 4) if $len == 126;
    return undef if $len == 127 || length $c->{in} < $head + $len;

    substr $c->{in}, 0, $head, '';
    return substr $c->{in}, 0, $len, '';
}

sub seen {
    my ($c, $bytes, $lane) = @_;

    return if length $bytes < 5;

    my $m = ZLTunnel::Wire::parse($bytes);
    my $type = $m->{type};

    if ($type eq 'AuthOk' && defined $m->{data_key}) {
        keep('tunnels', [ $m->{tunnel_id}, $m->{data_key} ]);
        say_on($c, ws_frame(register('web', ext => chance(0.5) ? ext(1, "\1")
                                                               : '')));
        say_on($c, ws_frame(access_open('web', udp => chance(0.5), ttl => 9)));
        channel() for 1 .. 4;

    } elsif ($type eq 'RegisterOk') {
        keep('services', $m->{service_id});
        keep('ports', $m->{port}) if $m->{port};

    } elsif ($type eq 'AccessOk') {
        keep('access', $m->{access_id});

    } elsif ($type eq 'Connect' || $type eq 'Move') {
        return if length($m->{connection_id} // '') != 16;
        keep('ids', $m->{connection_id});

        if ($c->{kind} eq 'control') {
            channel($m->{connection_id}, $m) if chance(0.8);

        } else {
            $c->{state} = 'connection' if !defined $lane;
            push @{ $c->{asked} }, [ $m, $lane ];
        }

    } elsif ($type eq 'Heartbeat' && chance(0.9)) {
        wire($c, msg('HeartbeatAck', $m->{payload}));

    } elsif ($type eq 'Lane' && !defined $lane) {
        $c->{state} = 'lanes';
        keep('lanes', $m->{lane});
        seen($c, $m->{data}, $m->{lane});

    } elsif ($type eq 'DatagramOpen') {
        $c->{state} = 'datagrams';
        keep('lanes', $m->{session});

    } elsif ($type eq 'Eof' || $type eq 'Reset') {
        $c->{state} = 'idle' if !defined $lane;
    }
}

sub keep {
    my ($what, $value) = @_;

    push @{ $known{$what} }, $value;
    shift @{ $known{$what} } if @{ $known{$what} } > 20;
}
