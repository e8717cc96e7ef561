#!/usr/bin/perl

# Protects: the agent from a server that says anything: messages in and out of
# turn, whole, mutilated and in pieces, on each kind of channel, answers that are
# none, and ends of each kind at any moment.  After all of it the agent answers
# at its control socket, and ends when it is told to; under the sanitizers
# nothing is touched that is not there.
#
# What a server says follows from its seed: some of them in each run, and with
# ZLT_LONG=1 as many as ten minutes have.  ZLT_SEED=N runs that one alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16 ext ws_frame %TYPE datagram lane lane_credit
                      lane_end);

# seeds that have found something stay here
my @kept = (1 .. 6, 1019);

my $actions = 1000;                     # of a server, at most
my $seconds = long_run() ? 600 : 0;

my $t = ZLTunnel->new;
my $token = $t->token('alice');
my $echo = $t->service('echo');

my @types = sort keys %TYPE;
my @names = qw(tcp pp down udp open);
my ($server, %clients);

my @seeds = defined $ENV{ZLT_SEED} ? $ENV{ZLT_SEED} : @kept;
my $end = time + $seconds;
my $next = 1000;
my $port = $t->{next_port};

while (@seeds || time < $end) {
    last if !one(@seeds ? shift @seeds : $next++);
}

$t->finish;


# One server; 0 if the agent has not stood it.

sub one {
    my ($seed) = @_;

    srand $seed;
    note "seed $seed";

    $t->{next_port} = $port;

    $server = ZLTunnel::Hostile->new($t, features => pick(63, 191, 191, 31, 7,
                                                          1, 0, rnd(256)));
    my $websocket = pick(0, 0, 1);
    my %local = map { $_ => $t->free_port } qw(udp tcp_access udp_access);
    my $udp = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1',
                                    LocalPort => $local{udp});

    my $agent = $t->agent(token => $token, wait => 0, conf => <<"EOT");
[agent]
server = @{[ $server->url ]}
token_file = %%token_file%%
transport = @{[ $websocket ? 'websocket' : 'raw' ]}
reconnect_interval = 100ms
max_reconnect_interval = 200ms
shutdown_timeout = 1s
connect_timeout = 2s

[service tcp]
local = 127.0.0.1:$echo->{port}

[service pp]
local = 127.0.0.1:$echo->{port}
proxy_protocol = v2

[service down]
local = 127.0.0.1:1

[service host]
local = 127.0.0.1:$echo->{port}
host = a, auto

[service udp]
protocol = udp
local = 127.0.0.1:$local{udp}

[service range]
local = 127.0.0.1:1-9
remote_ports = 3001-3009

[access]
name = open
allow = 127.0.0.0/8:*

[access a]
local = 127.0.0.1:$local{tcp_access}

[access b]
protocol = udp
local = 127.0.0.1:$local{udp_access}
EOT

    my $proc = $agent->{proc};
    my $until = time + 3;

    $server->wait(sub { $server->conns('control') }, 5);

    for my $n (1 .. $actions) {
        last if time > $until || !$proc->running;

        visit(\%local) if $n % 20 == 0;
        act();
        $server->turn($n % 5 ? 0 : 0.005);
    }

    my $there = $proc->running && defined $agent->status;
    ok($there, "seed $seed: it is there");

    $_->close for values %clients;
    %clients = ();

    $proc->kill('TERM');
    $server->wait(sub { !$proc->running }, 20);
    my $code = $agent->stop;
    is($code, 0, "seed $seed: it ends");

    $server->close_all;

    my $clean = $agent->log !~ /Sanitizer|runtime error|Assertion/;
    ok($clean, "seed $seed: and has not touched what is not there")
        or diag($agent->log);

    return $there && $code == 0 && $clean;
}


sub rnd { int rand $_[0] }
sub pick { $_[rnd(scalar @_)] }
sub bytes { join '', map { chr rnd(256) } 1 .. $_[0] }


# What the clients of access do: they come, say something, and go.

sub visit {
    my ($local) = @_;

    my $s = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
                                  PeerPort => $local->{udp_access});
    send $s, 'x' x pick(0, 1, 100, 1400), 0 if $s;

    for my $n (keys %clients) {
        next if rnd(3);
        my $c = delete $clients{$n};
        rnd(2) ? $c->reset : $c->close;
    }

    my $c = ZLTunnel::Wire::Socket->new($local->{tcp_access}) or return;
    $c->{s}->blocking(0);
    syswrite $c->{s}, 'x' x pick(1, 10, 20000);
    $clients{ $c + 0 } = $c;
}


# Something to one of the connections.

sub act {
    my @conns = grep { $_->{kind} } values %{ $server->{conns} };
    return if !@conns;

    # the order in a hash is another one in each process

    my ($c) = pick(sort { $a->{number} <=> $b->{number} } @conns);

    my $what = rnd(100);

    if ($what < 3) {
        setsockopt $c->{s}, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
                   pack 'i i', 1, 0;
        $c->drop;

    } elsif ($what < 5) {
        $c->drop;

    } elsif ($what < 6) {
        shutdown $c->{s}, 1;

    } elsif ($what < 8) {
        $c->{deaf} = !$c->{deaf};

    } else {
        say_to($c, join '', map { something($c) }
                            1 .. pick(1, 1, 1, 2, 3, 10));
    }
}


# In pieces, as they come.

sub say_to {
    my ($c, $bytes) = @_;

    if (rnd(30) == 0 && length $bytes) {
        substr $bytes, rnd(length $bytes), 1, bytes(1);
    }

    if (rnd(40) == 0) {
        $bytes = substr $bytes, 0, rnd(length $bytes);
    }

    while (length $bytes) {
        my $n = pick(1, 5, 100, 100_000);
        $c->say(substr $bytes, 0, $n, '');
        $server->turn(0) if rnd(4) == 0;
        return if $c->{gone};
    }
}


sub something {
    my ($c) = @_;

    my $m = $c->{kind} eq 'control' ? control_message($c)
                                    : channel_message($c);

    return $m if !$c->{websocket} && $c->{kind} ne 'control';
    return ws_frame($m, mask => 0) if rnd(12);

    # a WebSocket has ways of its own

    $m .= 'x' x 4;

    return pick(
        ws_frame('', mask => 0, op => 9),
        ws_frame(bytes(rnd(126)), mask => 0, op => 9),
        ws_frame('', mask => 0, op => 10),
        ws_frame('text', mask => 0, op => 1),
        rnd(3) ? '' : ws_frame(pack('n', pick(1000, 1001, 1005, 4000, 0)),
                               mask => 0, op => 8),
        ws_frame('', mask => 0),
        rnd(3) ? '' : ws_frame($m, mask => 1),
        ws_frame($m, mask => 0, op => pick(1, 2, 9, 10, rnd(16))),
        ws_frame(substr($m, 0, 3), mask => 0, fin => 0)
        . ws_frame(substr($m, 3), mask => 0, op => 0),
        ws_frame(substr($m, 0, 3), mask => 0, fin => 0),
        rnd(3) ? '' : bytes(rnd(20)),
    );
}


sub service { pick((map { md5($_) } @names, @names), bytes(16), bytes(16)) }

sub connection {
    my $ids = $server->{ids} //= [];

    return pick(@$ids) if @$ids && rnd(4) == 0;

    push @$ids, bytes(16);
    shift @$ids if @$ids > 8;

    return $ids->[-1];
}

sub extension {
    my (%o) = @_;

    return bytes(rnd(20)) if rnd(30) == 0;
    return ext(map { rnd(6) ? ($_ => $o{$_}) : () } sort keys %o);
}

sub urls {
    return join ' ', map { pick('https://a.b', 'http://c:80/', "http://\e[2J",
                                '', 'x' x rnd(600), bytes(rnd(30))) }
                     0 .. rnd(rnd(10) ? 3 : 200);
}

sub connect_message {
    my %target = rnd(3) ? () : (1 => pick('127.0.0.1:1', '', 'x' x 300,
                                          "127.0.0.1:$echo->{port}"));

    return msg('Connect', service() . connection() . str16(pick('192.0.2.1:5',
                   '192.0.2.1:5', '[2001:db8::1]:5', '', 'x' x rnd(300)))
               . extension(%target));
}

sub reason { extension(1 => chr rnd(12), 2 => pack 'N', pick(0, 1, 100)) }

sub control_message {
    my ($c) = @_;

    return pick(
        sub { msg('Heartbeat', bytes(8)) },
        sub { msg('HeartbeatAck', bytes(8)) },
        sub { connect_message() }, sub { connect_message() },
        sub { connect_message() },
        sub { msg('RegisterOk', service() . extension(1 => bytes(2),
                                                      2 => bytes(rnd(20)),
                                                      3 => urls())) },
        sub { msg('RegisterFail', str16('no') . reason()) },
        sub { msg('Withdraw', service() . str16('x' x rnd(400))) },
        sub { msg('AccessOk', pick(md5('a'), md5('b'), bytes(16))
                              . pack 'N', pick(0, 1, 60)) },
        sub { msg('AccessFail', str16('no') . reason()) },
        sub { msg('AccessClose', pick(md5('a'), md5('b'), bytes(16))
                                 . str16('') . reason()) },
        sub { msg('AuthOk', bytes(16) . extension(1 => bytes(4),
                                                  2 => bytes(32))) },
        sub { rnd(4) ? '' : msg('AuthFail', str16('no') . reason()) },
        sub { rnd(4) ? '' : msg('Disconnect', str16('x')
                  . extension(1 => chr rnd(4), 2 => pack 'N', rnd(2000))) },
        sub { msg(pick(@types), bytes(rnd(60))) },
        sub { rnd(4) ? '' : msg(rnd(256), bytes(rnd(60))) },
        sub { rnd(4) ? '' : pack('C N', rnd(256), rnd(70000)) . bytes(10) },
    )->();
}


# On a channel what comes next follows from what was said before, mostly.

sub channel_message {
    my ($c) = @_;

    my $mode = $c->{mode} //= pick(qw(idle idle connection lanes lanes
                                      datagrams datagrams));
    $mode = $c->{mode} = pick(qw(idle connection lanes datagrams))
        if rnd(40) == 0;
    $mode = 'visit' if $c->{kind} eq 'visit';

    return msg(pick(@types), bytes(rnd(60))) if rnd(60) == 0;
    return pack('C N', rnd(256), pick(rnd(70000), 2 ** 32 - 1)) . bytes(10)
        if rnd(200) == 0;

    return {
        idle => sub {
            if (rnd(3) == 0) {
                $c->{mode} = 'connection';
                return connect_message();
            }

            pick(msg('Heartbeat', bytes(8)), msg('HeartbeatAck', bytes(8)),
                 msg('Move', pick(@{ $server->{moving} || [ bytes(16) ] })));
        },
        connection => sub { framed($c) },
        lanes => sub { lanes($c) },
        datagrams => sub { datagrams($c) },
        visit => sub {
            rnd(3) ? bytes(rnd(100))
                   : pick(msg('ConnectAck', bytes(16)),
                          msg('ConnectFail', bytes(16) . str16('no')
                                             . reason()),
                          framed($c), datagrams($c));
        },
    }->{$mode}->();
}


# A connection, message by message, and the next one behind it.

sub framed {
    my ($c) = @_;

    return pick(
        sub { msg('Data', bytes(pick(0, 1, 10, 1000))) },
        sub { msg('Data', 'x' x pick(16384, 65531)) },
        sub { msg('Eof') }, sub { msg('Reset') },
        sub { $c->{mode} = 'idle'; msg('Reset') },
        sub { msg('Reset') . connect_message() },
        sub { connect_message() . msg(pick('Eof', 'Reset')) },
        sub { connect_message() },
        sub { rnd(3) ? '' : msg('Moved') },
        sub { rnd(10) ? '' : msg('Raw') . bytes(rnd(1000)) },
        sub { msg('Heartbeat', bytes(8)) },
    )->();
}

# The connections of lanes are those that may move.

sub lane_connect {
    my $m = connect_message();

    push @{ $server->{moving} }, substr $m, 21, 16;
    shift @{ $server->{moving} } if @{ $server->{moving} } > 4;

    return $m;
}

sub lanes {
    my ($c) = @_;

    my $number = $c->{lanes} && rnd(3) ? 1 + rnd($c->{lanes})
                                       : ++$c->{lanes};

    return pick(
        sub { lane($number, lane_connect()) },
        sub { lane($number, lane_connect() . framed({})) },
        sub { lane($number, framed({})  || 'x') },
        sub { lane($number, bytes(1 + rnd(20))) },
        sub { my $b = framed({}) || 'x';
              join '', map { lane($number, $_) } unpack '(a3)*',
                                                        substr $b, 0, 100 },
        sub { lane_credit($number, pick(1, 1000, 65536, rnd(2 ** 31))) },
        sub { lane_credit($number, rnd(1000)) },
        sub { lane_end($number) },
        sub { lane_end($number + rnd(100)) },
        sub { msg('Heartbeat', bytes(8)) },
        sub { rnd(20) ? '' : lane(0, 'x') },
    )->();
}

sub datagrams {
    my ($c) = @_;

    my $n = $c->{sessions} && rnd(3) ? 1 + rnd($c->{sessions})
                                     : ++$c->{sessions};

    return pick(
        sub { msg('DatagramOpen', pack('N', $n) . md5('udp')
                                  . str16('192.0.2.1:1')) },
        sub { msg('DatagramOpen', pack('N', $n) . service()
                  . str16(bytes(rnd(10))) . extension(1 => '127.0.0.1:9')) },
        sub { datagram($n, bytes(pick(0, 1, 100, 1400))) },
        sub { datagram($n, 'x' x pick(9000, 65507)) },
        sub { msg('DatagramClose', pack 'N C', $n, rnd(12)) },
        sub { msg('Heartbeat', bytes(8)) },
        sub { msg(pick('Datagram', 'DatagramOpen', 'DatagramClose'),
                  bytes(rnd(30))) },
        sub { rnd(30) ? '' : msg('Datagram', 'x' x pick(65531, 70000)) },
    )->();
}


# Its answers to what the agent asks follow from the seed, too.

package ZLTunnel::Hostile;

use parent -norequire, 'ZLTunnel::Server';

sub turn {
    my ($self, @args) = @_;

    $self->SUPER::turn(@args);

    for my $c (values %{ $self->{conns} }) {
        next if ref $c eq 'ZLTunnel::Hostile::Conn';
        bless $c, 'ZLTunnel::Hostile::Conn';
        $c->{number} = ++$self->{number};
    }
}


package ZLTunnel::Hostile::Conn;

use Digest::MD5 qw(md5);
use Digest::SHA qw(sha1_base64);

use ZLTunnel::Wire qw(msg str16 ext);

use parent -norequire, 'ZLTunnel::Server::Conn';

sub upgrade {
    my ($self) = @_;

    return if $self->{in} !~ /\r\n\r\n/;

    # sometimes it is no upgrade

    if (main::rnd(25) == 0) {
        $self->say(main::pick(
            "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n\r\n",
            "HTTP/1.1 421 Astray\r\nZltunnel-Worker: 0/1\r\n\r\n",
            "HTTP/1.1 410 Gone\r\nZltunnel-Worker: 0/1\r\n\r\n",
            "HTTP/1.1 403 No\r\nZltunnel-Worker: 0/1\r\n\r\n",
            "HTTP/1.1 101 Yes\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 101 Yes\r\nUpgrade: zltunnel\r\nConnection: Upgrade\r\n"
            . "Zltunnel-Worker: 300/70000\r\n\r\n",
            'nonsense', "\0" x 9000, main::bytes(100)));
        return $self->drop;
    }

    my ($key) = $self->{in} =~ /^Sec-WebSocket-Key: *(\S+)/mi;

    if ($key && $self->{in} =~ /^Zltunnel-Key:/mi) {
        my $head = $self->{in};
        $self->{in} = '';
        my $accept = sha1_base64("$key" . '258EAFA5-E914-47DA-95CA-C5AB0DC85B'
                                 . '11');

        $self->{websocket} = 1;
        $self->{kind} = $head =~ /^Zltunnel-Access/mi ? 'visit' : 'idle';

        return $self->say("HTTP/1.1 101 Switching Protocols\r\n"
            . "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            . "Sec-WebSocket-Protocol: zltunnel-data\r\n"
            . "Sec-WebSocket-Accept: $accept=\r\n"
            . "Zltunnel-Worker: 0/1\r\n\r\n");
    }

    return $self->SUPER::upgrade;
}


# What comes on channels is not looked at.

sub framed { $_[0]{in} = '' }

sub answer {
    my ($self, $m) = @_;

    return if main::rnd(30) == 0;

    if ($m->{type} eq 'Auth' && main::rnd(4) == 0) {
        return $self->tell(msg('AuthOk', $self->{server}{tunnel} . main::extension(
            1 => pack('N', 63), 2 => 'K' x 32, 3 => main::bytes(32),
            4 => main::bytes(8), 5 => pack('n n', main::rnd(8),
                                           main::rnd(32)))));
    }

    if ($m->{type} eq 'AccessOpen') {
        return $self->tell(main::rnd(3)
            ? msg('AccessOk', md5($m->{name}) . pack 'N', main::pick(0, 60))
            : msg('AccessFail', str16('no') . main::reason()));
    }

    if ($m->{type} eq 'Register' && main::rnd(8) == 0) {
        return $self->tell(msg('RegisterFail', str16('no') . main::reason()));
    }

    return $self->SUPER::answer($m);
}
