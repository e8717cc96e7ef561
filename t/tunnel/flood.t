#!/usr/bin/perl

# Protects: a peer that sends messages without an end, of whatever type, on
# whatever channel, before its token and after it, costs the clients of others
# next to nothing: they have their turn all the time, and the log does not grow.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use List::Util qw(max);
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::UDP;
use ZLTunnel::Wire qw(msg str16 ext ws_frame register new_id datagram
                      datagram_open datagram_close access_open access_renew
                      access_close lane lane_credit lane_end);

my $SLOW = slowdown();
my $long = ZLTunnel::long_run();
my $seconds = $long ? 8 : 1;
my $most = 0.6;                      # s, for another client's request
my $lines = 100;                     # of the log

my $id = 'i' x 16;
my %private = (ext => ext(1, "\1"));

my ($t, $clock, $to, $mallory, $walter, $tls);

for my $scheme (qw(ws wss)) {
    subtest $scheme => sub {
        setup($scheme);

        subtest 'control channel, before Auth' => \&before_auth;
        subtest 'control channel' => \&control;
        subtest 'idle channel' => \&idle;
        subtest 'channel of a connection' => \&connection;
        subtest 'lanes' => \&lanes;
        subtest 'datagram channel' => \&datagrams;
        subtest 'access channels' => \&access;

        $tls->{proc}->stop if $tls;
        $t->finish;
    };
}

done_testing();


sub setup {
    my ($scheme) = @_;

    $t = ZLTunnel->new(workers => 1, udp => 1, range => 20,
                       zltunnel => 'reconnect_grace 1s;');
    my $front = $t->{front} = $t->free_port;

    $t->write_conf(http => <<"EOT");
upstream e { zltunnel_service e max_fails=0; }
server {
    listen 127.0.0.1:$front;
    location / { proxy_pass http://e; proxy_read_timeout 60s; }
}
EOT

    my $alice = $t->token('alice');
    $mallory = $t->token('mallory',
                         'services=e,ok*,u,p sessions=1000 access=a'
                         . ' max_access=10');
    $walter = $t->token('walter', 'services=a sessions=1000');
    $t->start;

    $tls = $scheme eq 'wss' ? $t->tls_to($t->{tls_port}) : undef;
    $to = $tls ? $tls->{port} : $t->{http_port};

    my $echo = $t->service('echo');
    $clock = $t->agent(token => $alice, services => ["e2:$echo->{port}"])
             ->port('e2');
}


# An agent by hand, of a tunnel of its own.

sub agent {
    my ($token, %o) = @_;

    return ZLTunnel::Wire->agent($t, $token, features => 0x3f, port => $to,
                                 %o);
}

sub channel {
    my ($agent, @more) = @_;

    my $ch = ZLTunnel::Wire->channel($t, @{ $agent->{ok} }{qw(tunnel_id
                                     data_key)}, $more[0], port => $to);
    $ch->{answer}{status} == 101 or die "no channel: $ch->{answer}{status}";
    return $ch;
}


# All kinds of messages, and in a short run a few under TLS, which is beneath.

sub some_of {
    my @what = sort @_;

    splice @what, 2 if $tls && !$long;
    return @what;
}


# Sends the bytes, again and again, as fast as they are taken, and reads
# whatever comes, in a process of its own; others have the clock beside it.

sub flood {
    my ($name, $c, @messages) = @_;

    my $once = join '', @messages;
    my $bytes = $once x (1 + 200_000 / length $once);
    my $before = () = $t->log =~ /\n/g;
    my $out = "$t->{dir}/logs/flood";
    unlink $out;

    my $proc = ZLTunnel::Proc->start(name => 'flood', out => $out, code => sub {
        pour($c->{s}, $bytes);
    });

    my ($slowest, $n) = (0, 0);

    do {
        $slowest = max($slowest, request());
        $n++;
        sleep 0.01;
    } while ($proc->running);

    $proc->wait(10);

    my $said = ZLTunnel::slurp($out);
    my $more = (() = $t->log =~ /\n/g) - $before - $n;  # one of each request

    note sprintf '%s: %s, the slowest of %d requests took %.3f s, %d lines',
                 $name, $said =~ s/\n//r, $n, $slowest, $more;

    cmp_ok($slowest, '<', $most * slowdown(), "$name: others have their turn");
    cmp_ok($more, '<=', $lines, "$name: $lines lines in the log at most");

    return $said =~ /ended/ ? 'ended' : 'open';
}

sub pour {
    my ($s, $bytes) = @_;

    my $end = time + $seconds;
    my ($pos, $sent, $how) = (0, 0, 'open');

    $SIG{PIPE} = 'IGNORE';
    $s->blocking(0);

    while (time < $end) {
        vec(my $rin = '', fileno $s, 1) = 1;
        vec(my $win = '', fileno $s, 1) = 1;
        select($rin, $win, undef, 0.1);

        if (vec $rin, fileno $s, 1) {
            my $n = sysread $s, my $buf, 1_000_000;

            if (defined $n ? $n == 0 : !$!{EAGAIN}) {
                $how = 'ended';
                last;
            }
        }

        if (vec $win, fileno $s, 1) {
            my $n = syswrite $s, $bytes, length($bytes) - $pos, $pos;

            if (!defined $n && !$!{EAGAIN}) {
                $how = 'ended';
                last;
            }

            $pos += $n // 0;
            $sent += $n // 0;
            $pos = 0 if $pos == length $bytes;
        }
    }

    syswrite STDOUT, "$sent bytes, $how\n";
}


# One request of another client: seconds.

sub request {
    my $start = time;

    my $c = ZLTunnel::Wire::Socket->new($clock) or die "connect: $!";
    $c->send('tick!');
    ($c->take(5, 60 * $SLOW) // '') eq 'tick!' or die 'the clock stands';
    $c->close;

    return time - $start;
}


sub before_auth {
    my %says = (
        'Ping' => ws_frame('ping', op => 9),
        'empty Ping' => ws_frame('', op => 9),
        'Pong' => ws_frame('pong', op => 10),
        'text' => ws_frame('some text', op => 1),
        'fragments' => ws_frame('', op => 0, fin => 0),
    );

    for my $what (some_of(keys %says)) {
        my $c = ZLTunnel::Wire->control($t, port => $to);
        $c->send(ws_frame('', op => 1, fin => 0)) if $what eq 'fragments';
        is(flood($what, $c, $says{$what}), 'ended', "$what: to an end");
        $c->close;
    }
}


sub control {
    my %says = (
        'Register of a name that is forbidden' => register('forbidden'),
        'Register of a name that is there' => register('ok', %private),
        'Register of a name that is none' => register('a b'),
        'Unregister of nothing' => msg('Unregister', $id),
        'Heartbeat' => msg('Heartbeat', pack 'Q>', 1),
        'HeartbeatAck' => msg('HeartbeatAck', pack 'Q>', 1),
        'ConnectAck' => msg('ConnectAck', $id),
        'ConnectFail' => msg('ConnectFail', $id . str16('no')),
        'Auth, again' => msg('Auth', str16('t' x 20) . $id),
        'AuthOk' => msg('AuthOk', $id),
        'Disconnect' => msg('Disconnect', str16('no')),
        'AccessOpen, forbidden' => access_open('forbidden'),
        'AccessOpen and AccessClose' => access_open('a'),
        'AccessRenew of nothing' => access_renew($id, 60),
        'AccessClose of nothing' => access_close($id),
    );

    for my $what (some_of(keys %says)) {
        my $c = agent($mallory);
        $c->send_msg(register('ok', %private)) if $what =~ /there/;

        my $how = flood($what, $c, ws_frame($says{$what}));

        # what is asked for in vain has an end, what is idle chatter need not

        is($how, 'ended', "$what: to an end")
            if $what =~ /^(Register|Unregister|Access|Auth|Disconnect)/;
        $c->reset;
    }

    my $c = agent($mallory);
    flood('Ping', $c, ws_frame('', op => 9));
    $c->reset;

    $c = agent($mallory);
    flood('text', $c, ws_frame('t', op => 1));
    $c->reset;

    $c = agent($mallory);
    is(flood('Register and another', $c,
             map { ws_frame(register("ok$_", %private)) } 1 .. 2000),
       'ended', 'Register and another: to an end');
    $c->reset;
}


sub idle {
    my %says = (
        'Heartbeat' => msg('Heartbeat', pack 'Q>', 1),
        'HeartbeatAck' => msg('HeartbeatAck', pack 'Q>', 1),
    );

    for my $what (some_of(keys %says)) {
        my $agent = agent($mallory);
        my $ch = channel($agent);
        flood($what, $ch, $says{$what});
        $_->reset for $ch, $agent;
    }

    my $agent = agent($mallory);
    my @ok = @{ $agent->{ok} }{qw(tunnel_id data_key)};

    %says = (
        'Heartbeat' => ws_frame(msg('Heartbeat', pack 'Q>', 1)),
        'HeartbeatAck' => ws_frame(msg('HeartbeatAck', pack 'Q>', 1)),
        'Ping' => ws_frame('', op => 9),
        'Pong' => ws_frame('', op => 10),
    );

    for my $what (some_of(keys %says)) {
        my $ch = ZLTunnel::Wire->framed($t, @ok, undef, port => $to);
        flood("within a WebSocket: $what", $ch, $says{$what});
        $ch->reset;
    }

    $agent->reset;
}


# A connection whose bytes are messages: without any bytes; and what comes
# before its answer.

sub connection {
    my $agent = agent($mallory);
    $agent->send_msg(register('p'));
    my $port = $agent->expect('RegisterOk')->{port} or die 'no port';

    for my $what ('Heartbeat for ConnectAck', 'empty Data', 'small Data') {
        my $ch = channel($agent);
        my $c = ZLTunnel::Wire::Socket->new($port);
        $c->send('hello');

        my $m = $ch->next // { type => $ch->{end} // 'none' };
        is($m->{type}, 'Connect', "$what: Connect");

        my $says = $what eq 'empty Data' ? msg('Data')
                   : $what eq 'small Data' ? msg('Data', '.')
                   : msg('Heartbeat', pack 'Q>', 1);
        $ch->send(msg('ConnectAck', $m->{connection_id})) if $what =~ /Data/;

        # nobody reads the small ones

        flood($what, $ch, $says);
        $_->reset for $ch, $c;
    }

    # what is drained, since its client has gone

    my $ch = channel($agent);
    my $c = ZLTunnel::Wire::Socket->new($port);
    $c->send('hello');
    my $m = $ch->next;
    $ch->send(msg('ConnectAck', $m->{connection_id}));
    $c->reset;
    flood('behind the end', $ch, msg('Data'));
    $_->reset for $ch, $agent;
}


sub lanes {
    my %says = (
        'Heartbeat' => msg('Heartbeat', pack 'Q>', 1),
        'HeartbeatAck' => msg('HeartbeatAck', pack 'Q>', 1),
        'LaneEnd of one that is over' => lane_end(1),
        'LaneCredit of one that is over' => lane_credit(1, 1),
        'Lane of one that is over' => lane(1, 'x'),
        'LaneCredit of nothing' => lane_credit(2, 0),
        'Lane, empty Data' => lane(2, msg('Data')),
    );

    for my $what (some_of(keys %says)) {
        my $agent = agent($mallory);
        $agent->send_msg(register('e', %private));
        $agent->expect('RegisterOk');
        my $ch = channel($agent);

        my @c;
        for my $n (1, 2) {
            $c[$n] = ZLTunnel::Wire::Socket->new($t->{front});
            $c[$n]->send("GET /$n HTTP/1.1\r\nHost: h\r\n"
                         . "Connection: close\r\n\r\n");
            my $m = $ch->next_of_lanes || { type => $ch->{end} // 'none' };
            is($m->{type}, 'Connect', "$what: lane $n") or last;
            $ch->next_of_lanes;                      # the request

            $ch->send(lane($n, msg('ConnectAck', $m->{connection_id})));
            next if $n == 2;

            $ch->send(lane(1, msg('Data', "HTTP/1.1 200 OK\r\n"
                                          . "Content-Length: 0\r\n\r\n")
                              . msg('Eof')));
            $c[1]->ending;
            $ch->next_of_lanes;                      # Eof
        }

        flood($what, $ch, $says{$what});
        $_->reset for $ch, $agent, grep { $_ } @c;
    }
}


sub datagrams {
    my %says = (
        'Heartbeat' => msg('Heartbeat', pack 'Q>', 1),
        'HeartbeatAck' => msg('HeartbeatAck', pack 'Q>', 1),
        'Datagram' => datagram(1, 'x'),
        'Datagram of nobody' => datagram(1000, ''),
        'DatagramClose of nobody' => datagram_close(1000),
        'DatagramOpen' => datagram_open(1000),
        'malformed' => msg('Datagram', 'x'),
    );

    for my $what (some_of(keys %says)) {
        my $agent = ZLTunnel::UDP->agent($t, $mallory, 'u', channels => 0,
                                         features => 0x3f, port => $to);
        push @{ $agent->{channels} }, my $ch = channel($agent->{control});

        # the session is there as soon as the former agent is known to be gone

        my $c = ZLTunnel::UDP->client($agent->port('u'));
        my $open = wait_for(sub {
            $c->send('hello');
            return $agent->next(1);
        });
        is($open->{type}, 'DatagramOpen', "$what: a session");

        flood($what, $ch, $says{$what});
        $agent->close;
    }
}


sub access {
    my $server = ZLTunnel::UDP->agent($t, $walter, 'a', channels => 0,
                                      features => 0x3f, port => $to, %private);
    my $visitor = agent($mallory);
    my $session = opened($visitor, 'a', udp => 1);

    my %says = (
        'Heartbeat' => msg('Heartbeat', pack 'Q>', 1),
        'HeartbeatAck' => msg('HeartbeatAck', pack 'Q>', 1),
        'Datagram' => datagram(1, 'x'),
        'Datagram of nobody' => datagram(1000, ''),
        'DatagramClose of nobody' => datagram_close(1000),
        'DatagramOpen of one that is there' => datagram_open(1),
        'malformed' => msg('Datagram', 'x'),
    );

    for my $what (some_of(keys %says)) {
        my $ch = channel($server->{control});
        push @{ $server->{channels} }, $ch;

        my $v = ZLTunnel::Wire->visit($visitor, $session, udp => 1,
                                      port => $to);
        is($v->{answer}{status}, 101, "$what: a visit");
        $v->send(datagram_open(1) . datagram(1, 'hello'));
        $server->session('hello');

        flood("visitor: $what", $v, $says{$what});
        $_->reset for $v, $ch;
        $server->{channels} = [];
    }

    $_->reset for $visitor, $server->{control};
}
