#!/usr/bin/perl

# Protects: one server does not keep the agent for itself.  Whatever message it
# sends without end, on whatever channel, before Auth or after it, clients of
# another link of the same agent are served beside it, and the agent's log does
# not grow with the flood.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16 ext ws_frame datagram lane lane_credit
                      lane_end announce);

my $limit = 2 * slowdown();  # s, that a good client waits at most
my $rounds = 15;                        # of good clients, in each flood

my $id = 0;
my $nowhere = md5('nowhere');

sub ws { ws_frame($_[0], mask => 0, @_[1 .. $#_]) }
sub connect_msg { announce($_[0], id => pack 'a12 N', 'connection', ++$id) }
sub beat { msg('Heartbeat', "\0" x 8) }

# What goes on a control channel.  A sub makes a piece of it, which is sent
# over and over, or, where it is a pair, a new one each time.

my %control = (
    Ping => sub { ws('', op => 9) },
    Pong => sub { ws('', op => 10) },
    Text => sub { ws('x', op => 1) },
    'empty fragments' => sub { ws('', fin => 0) . ws('', op => 0, fin => 0) x 9
                               . ws(beat(), op => 0) },
    Heartbeat => sub { ws(beat()) },
    HeartbeatAck => sub { ws(msg('HeartbeatAck', "\0" x 8)) },
    AuthOk => sub { ws(msg('AuthOk', 'T' x 16)) },
    RegisterOk => sub { ws(msg('RegisterOk', 'x' x 16)) },
    RegisterFail => sub { ws(msg('RegisterFail', str16('no'))) },
    Connect => [ sub { ws(connect_msg($nowhere)) } ],
    'Connect to UDP' => [ sub { ws(connect_msg(md5('u'))) } ],
    Withdraw => sub { ws(msg('Withdraw', 'x' x 16 . str16('no'))) },
    AccessOk => sub { ws(msg('AccessOk', 'x' x 20)) },
    AccessClose => sub { ws(msg('AccessClose', 'x' x 16 . str16('no'))) },
    Retire => sub { ws(msg('Retire')) },
    Reconnect => sub { ws(msg('Disconnect', str16('go') . ext(1, "\1"))) },
    AuthFail => sub { ws(msg('AuthFail', str16('no') . ext(1, "\3", 2,
                                                           pack 'N', 1))) },
);

# .. on an idle channel, behind the first message

my %channel = (
    Heartbeat => [ '', sub { beat() } ],
    HeartbeatAck => [ '', sub { msg('HeartbeatAck', "\0" x 8) } ],
    'Connect and Reset' => [ '', [ sub { connect_msg($nowhere) . msg('Reset') } ] ],
    'a dead service' => [ '', [ sub { connect_msg(md5('down')) . msg('Reset') } ] ],
    'empty Data' => [ sub { connect_msg(md5('e')) },
                      sub { msg('Data') } ],
    'Data of a byte' => [ sub { connect_msg(md5('e')) },
                          sub { msg('Data', 'x') } ],
    Move => [ '', sub { msg('Move', 'x' x 16) } ],
    nonsense => [ '', sub { msg('Auth', 'x' x 20) } ],

    'lanes: Heartbeat' => [ sub { lane_end(1) }, sub { beat() } ],
    'lanes: no lane' => [ sub { lane_end(9) }, sub { lane(5, 'x')
                                                     . lane_credit(6, 1) } ],
    'lanes: Connect' => [ '', [ sub { lane(++$id, connect_msg($nowhere)) } ] ],
    'lanes: LaneEnd' => [ '', [ sub { lane(++$id, 'x') . lane_end($id) } ] ],

    'datagrams: Open' => [ '', [ sub { msg('DatagramOpen', pack('N', ++$id)
                                         . $nowhere . str16('x:1')) } ] ],
    'datagrams: sessions' => [ '', [ sub {
        msg('DatagramOpen', pack('N', ++$id) . md5('u') . str16('x:1'))
        . datagram($id, 'x') . msg('DatagramClose', pack 'N C', $id, 0) } ] ],
    'datagrams: one session' => [
        sub { msg('DatagramOpen', pack('N', 1) . md5('u') . str16('x:1')) },
        sub { datagram(1, '') } ],
    'datagrams: unknown' => [ sub { msg('DatagramOpen', pack('N', 1)
                                        . $nowhere . str16('x:1')) },
                              sub { datagram(7, '') } ],
    'datagrams: malformed' => [ sub { msg('DatagramOpen', pack('N', 1)
                                          . md5('u') . str16('x:1')) },
                                sub { msg('Datagram', 'x') } ],
    'datagrams: Heartbeat' => [ sub { msg('DatagramOpen', pack('N', 1)
                                          . $nowhere . str16('x:1')) },
                                sub { beat() } ],
);

# .. and on a visitor's

my %visit = (
    bytes => [ sub { msg('ConnectAck', 'x' x 16) }, sub { 'x' x 1000 } ],
    Heartbeat => [ '', sub { beat() } ],
);

my $t = ZLTunnel->new;
my $good = $t->free_port;
my %port = (ws => $t->free_port, wss => $t->free_port);
my $certs = $t->certs;

$t->write_conf(stream => <<"EOT");
server { listen 127.0.0.1:$good; zltunnel_pass e; }
EOT

# TLS in front of the server that floods; another nginx, since stock nginx stays
# with a stream that flows without a pause

my $front = ZLTunnel->new;

$front->write_conf(stream => <<"EOT");
server {
    listen 127.0.0.1:$port{wss} ssl;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    proxy_pass 127.0.0.1:$port{ws};
    proxy_connect_timeout 1s;
}
EOT

my $token = $t->token('alice');
$t->start;
$front->start;

my $echo = $t->service('echo');
my $udp = $t->free_port;

for my $scheme (qw(ws wss)) {
    flood($scheme, 'control', "before Auth: $_", $control{$_}, early => 1)
        for short($scheme, sort keys %control);
    flood($scheme, 'control', $_, $control{$_})
        for short($scheme, sort keys %control);
    flood($scheme, 'idle', $_, $channel{$_}[1], first => $channel{$_}[0])
        for short($scheme, sort keys %channel);
    flood($scheme, 'visit', $_, $visit{$_}[1], first => $visit{$_}[0])
        for $scheme eq 'ws' ? sort keys %visit : 'bytes';
}

$t->finish($front);


# Without ZLT_LONG, one of three over wss, where each is the same one more time.

sub short {
    my ($scheme, @names) = @_;

    return @names if long_run() || $scheme eq 'ws';
    return map { $names[$_ * 3] } 0 .. $#names / 3;
}


# One flood.  The server of it is a process of its own, which tells in a file
# how much it has sent.

sub flood {
    my ($scheme, $kind, $name, $make, %o) = @_;

    my $file = "$t->{dir}/flood";
    write_file($file, '0');

    my $access = $t->free_port;
    $t->{next_port}--;

    my $proc = ZLTunnel::Proc->start(name => "flood $name",
                                     err => "$t->{dir}/logs/flood",
                                     code => sub {
        serve($kind, $make, $file, %o);
    });

    my $agent = $t->agent(token => $token, wait => 0,
                          env => { SSL_CERT_FILE => "$certs/ca.pem" },
                          conf => <<"EOT");
[agent]
server = $scheme://127.0.0.1:$port{$scheme}/
server = @{[ $t->url('ws') ]}
mode = all
token_file = %%token_file%%
reconnect_interval = 100ms
max_reconnect_interval = 200ms

[service e]
local = 127.0.0.1:$echo->{port}

[service down]
local = 127.0.0.1:1

[service u]
protocol = udp
local = 127.0.0.1:$udp
@{[ $kind eq 'visit' ? "[access x]\nlocal = 127.0.0.1:$access\n" : '' ]}
EOT

    my $reader = $kind eq 'visit'
        && ZLTunnel::Proc->start(name => 'reader', code => sub {
            reader($access) while 1;
        });

    my $begun = wait_for(sub { slurp($file) > 100_000 }, 20)
                && wait_for(sub { good($limit * 2) < $limit * 2 }, 20);

    my $worst = 0;
    my $from = slurp($file);

    for (1 .. ($begun ? $rounds : 0)) {
        my $spent = good($limit * 2);
        $worst = $spent if $spent > $worst;
        last if $worst > $limit;
    }

    my $sent = slurp($file) - $from;

    $proc->stop('KILL');
    $reader->stop('KILL') if $reader;

    my $said = () = $agent->log =~ /\n/g;

    cmp_ok($worst, '<', $limit, sprintf '%s, %s: others wait %.0f ms', $scheme,
           "$kind $name", $worst * 1000)
        or diag($begun ? "$sent bytes meanwhile" : 'it has not begun');
    ok($begun, '.. beside a flood') or diag($agent->log);
    cmp_ok($said, '<=', 100, '.. and the log stays short');

    is($agent->stop, 0, '.. and the agent ends');
}


# A client of the good link: s, from its connection to its echo.

sub good {
    my ($timeout) = @_;

    my $start = time;
    my $c = ZLTunnel::Wire::Socket->new($good);

    $c->send('x');
    my $got = $c->take(1, $timeout);
    $c->close;

    return defined $got ? time - $start : $timeout;
}


# A client of the access session.

sub reader {
    my ($port) = @_;

    local $SIG{PIPE} = 'IGNORE';

    my $c = ZLTunnel::Wire::Socket->new($port)
        or return select undef, undef, undef, 0.05;
    $c->send('x');

    $c->{s}->blocking(1);

    while (sysread $c->{s}, my $in, 262144) { }
}


sub serve {
    my ($kind, $make, $file, %o) = @_;

    local $SIG{PIPE} = 'IGNORE';

    my $server = ZLTunnel::Server->new($t, port => $port{ws},
                                       features => 63);
    $server->{hold}{Auth} = 1 if $o{early};
    $server->{grant} = 1;

    my $total = 0;
    my $told = 0;

    while (1) {
        my ($c) = $kind eq 'control' && !$o{early} && !$server->{services}{u}
                  ? () : $server->conns($kind);

        if (!$c) {
            $server->turn(0.05);
            next;
        }

        delete $server->{conns}{ fileno $c->{s} };
        delete $server->{services}{u} if $kind eq 'control';

        # all that was said before has gone, the 101 among it

        $c->flush while length $c->{out} && !$c->{gone};

        my $s = $c->{s};
        my $out = ref $o{first} ? $o{first}->() : '';

        while (1) {
            if (length $out < 65536) {
                $out .= ref $make eq 'ARRAY'
                        ? join '', map { $make->[0]->() } 1 .. 500
                        : $make->() x (1 + 65536 / length $make->());
            }

            vec(my $rin = '', fileno $s, 1) = 1;
            my $win = $rin;
            select $rin, $win, undef, 0.05;

            if (vec $rin, fileno $s, 1) {
                my $n = sysread $s, my $in, 262144;
                last if !$n && (defined $n || !$!{EAGAIN});
            }

            if (vec $win, fileno $s, 1) {
                my $n = syswrite $s, $out;
                last if !defined $n && !$!{EAGAIN};
                substr $out, 0, $n // 0, '';
                $total += $n // 0;
            }

            if (time - $told > 0.02) {
                $told = time;
                ZLTunnel::write_file("$file.new", $total);
                rename "$file.new", $file;
                $server->turn(0);
            }
        }

        CORE::close($s);
    }
}
