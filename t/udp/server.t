#!/usr/bin/perl

# Protects: UDP services as the server carries them, to an agent by hand that
# sees every byte: datagrams are kept apart, whole and in order, of all sizes;
# each client has its session, and each session its end; a port without a
# service answers port unreachable.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::SHA qw(sha256);
use Test::More;
use ZLTunnel;
use ZLTunnel::UDP;
use ZLTunnel::Wire qw(msg datagram datagram_close register);

my $t = ZLTunnel->new(
    workers => 2, range => 10, udp => 1,
    stream => 'log_format udp "$zltunnel_service $zltunnel_tunnel $status'
              . ' $zltunnel_datagrams_in $zltunnel_datagrams_out'
              . ' $bytes_received $bytes_sent"; access_log logs/udp.log udp;');

my $token = $t->token('alice');
$t->start;

# New workers with the configuration, and the old ones gone.

sub reload {
    my %old = map { $_ => 1 } $t->workers;

    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { my @w = $t->workers;
                      @w == $t->{workers} && !grep { $old{$_} } @w }, 30),
       'reloaded');
}


# what the tests agree upon for the content of a datagram

sub content {
    my ($n, $size) = @_;
    return substr sha256("$n $size") x ($size / 32 + 1), 0, $size;
}


subtest 'a session' => sub {
    ok(ZLTunnel::UDP::refuses($t->{base}), 'no service, port unreachable');

    my $a = ZLTunnel::UDP->agent($t, $token, 'dns');
    is($a->{control}{ok}{features}, 7, 'datagram channels are granted');

    my $port = $a->port('dns');
    my $c = ZLTunnel::UDP->client($port);
    $c->send('hello');

    my $open = $a->session('hello');
    is($open->{client_addr}, $c->{addr}, 'the address of the client');
    is($open->{service_id}, $a->id('dns'), 'the service');
    is($open->{session}, 1, 'the first of the channel');

    $a->answer($open, 'world');
    is($c->recv, 'world', 'the answer');

    $c->send('');
    my $m = $a->expect('Datagram');
    is($m->{data}, '', 'an empty datagram');

    $a->answer($open, '');
    is($c->recv, '', 'and back');

    my $d = ZLTunnel::UDP->client($port);
    $d->send('second');
    my $second = $a->session('second');
    is($second->{session}, 2, 'another client, another session');
    is($second->{channel}, $open->{channel}, 'on the same channel');

    $a->answer($second, 'to the second');
    $a->answer($open, 'to the first');
    is($c->recv, 'to the first', 'the first client gets its answer');
    is($d->recv, 'to the second', 'and the second its own');

    my $s = $t->service_status('dns');
    is($s->{active}, 2, 'two sessions');
    is($s->{total}, 2, 'two in all');
    is($s->{datagrams_in}, 3, 'datagrams in');
    is($s->{datagrams_out}, 4, 'datagrams out');
    is($s->{bytes_in}, 11, 'bytes in');
    is($s->{bytes_out}, 30, 'bytes out');
    is_deeply([ grep { $_ } values %{ $s->{dropped} } ], [], 'none dropped');

    # the agent ends one

    $open->{channel}->send(datagram_close($open->{session}, 7));
    ok(wait_for(sub { $t->service_status('dns')->{active} == 1 }, 10),
       'a session that the agent ends');

    $a->answer($open, 'late');
    ok(wait_for(sub { $t->service_status('dns')->{dropped}{session} == 1 }, 5),
       'a datagram of it is dropped and counted');

    $c->send('again');
    is($a->session('again')->{session}, 3, 'its next datagram opens another');

    ok(wait_for(sub { slurp("$t->{dir}/logs/udp.log")
                      =~ /^dns alice 502 2 3 5 17$/m }, 5),
       'the log of the first') or diag(slurp("$t->{dir}/logs/udp.log"));

    # the service goes

    $a->{control}->send_msg(msg('Unregister', $a->id('dns')));
    ok(wait_for(sub { ZLTunnel::UDP::refuses($port) }, 10),
       'unregistered, port unreachable');
    is($second->{channel}->ending(10), 'eof', 'the channel is closed');

    $a->close;
};


subtest 'sizes' => sub {
    my $a = ZLTunnel::UDP->agent($t, $token, 'sizes');
    my $c = ZLTunnel::UDP->client($a->port('sizes'));
    my $open;

    for my $size (0, 1, 512, 1472, 1473, 9000, 65000, 65507) {
        my $up = content('up', $size);
        $c->send($up);
        $open //= $a->expect('DatagramOpen');

        my $m = $a->expect('Datagram');
        ok($m->{data} eq $up, "$size bytes");

        my $down = content('down', $size);
        $a->answer($open, $down);
        my $got = $c->recv;
        ok(defined $got && $got eq $down, 'and back')
            or diag(defined $got ? length $got : 'nothing');
    }

    # answers in one write: one size, then another, then small ones

    my @list = ((map { content($_, 1200) } 1 .. 100), content(1, 700),
                (map { content($_, $_) } 1 .. 300), '',
                (map { content($_, 30000) } 1 .. 8), ('x') x 200);
    $open->{channel}->send(join '', map { datagram($open->{session}, $_) }
                                    @list);

    my $wrong = 0;
    for my $want (@list) {
        my $got = $c->recv // last;
        $wrong++ if $got ne $want;
    }
    is($wrong, 0, scalar(@list) . ' in one write, in order, none merged');
    is($c->recv(0.1), undef, 'and no more');

    # as many to the agent

    $wrong = 0;
    while (my @some = splice @list, 0, 8) {
        $c->send($_) for @some;

        for my $want (@some) {
            my $m = $a->next(5) // { type => 'none' };
            $wrong++ if $m->{type} ne 'Datagram' || $m->{data} ne $want;
        }
    }
    is($wrong, 0, 'and the other way');

    # more than UDP has room for: that one is dropped

    $a->answer($open, content(1, 65508));
    $a->answer($open, 'next');
    is($c->recv, 'next', 'one of 65508 bytes is dropped');
    is($t->service_status('sizes')->{dropped}{send}, 1, 'and counted');

    $a->close;
};


subtest 'frames in pieces' => sub {
    my $a = ZLTunnel::UDP->agent($t, $token, 'pieces');
    my $c = ZLTunnel::UDP->client($a->port('pieces'));

    $c->send('hello');
    my $open = $a->session;

    my $bytes = datagram($open->{session}, 'one')
                . msg('HeartbeatAck', "\0" x 8)
                . datagram($open->{session}, '')
                . datagram($open->{session}, 'three');

    for my $piece (split //, $bytes) {
        $open->{channel}->send($piece);
        select undef, undef, undef, 0.002;
    }

    is($c->recv, $_, "\"$_\"") for 'one', '', 'three';

    $open->{channel}->send(msg('Heartbeat', pack 'Q>', 4711));
    my $m = $a->expect('HeartbeatAck');
    is($m->{timestamp}, 4711, 'a heartbeat is answered');
    ok($open->{channel}{beats}, 'and one was sent');

    $a->close;
};


subtest 'no idle channel' => sub {
    my $a = ZLTunnel::UDP->agent($t, $token, 'fresh', channels => 0);
    my $c = ZLTunnel::UDP->client($a->port('fresh'));

    $c->send($_) for 'first', 'second';
    my $open = $a->session('first');
    is($a->expect('Datagram')->{data}, 'second', 'and those behind it');
    is($a->{connects}, 1, 'one Connect');

    $a->answer($open, 'right');
    is($c->recv, 'right', 'the answer');

    # the channel ends, the session does not

    $open->{channel}->close;
    ok(wait_for(sub { $c->send('third'); $a->next(0.5) }, 10),
       'another channel');
    $a->next(0.2) for 1 .. 3;
    is($t->service_status('fresh')->{total}, 1, 'for the same session');

    # an agent that does not answer

    $a->{channels}[-1]->close;
    $a->{deaf} = 1;
    $c->send('lost');
    ok(wait_for(sub { $a->next(0.1); $a->{connects} >= 3 }, 10), 'is asked');

    $a->close;
};


subtest 'limits' => sub {
    $t->write_conf(zltunnel => 'max_udp_sessions 20;',
                   ports => "zltunnel_timeout 2s;");
    reload();

    my $a = ZLTunnel::UDP->agent($t, $token, [ 'flood', 'beside' ],
                                 channels => 4);
    my $b = ZLTunnel::UDP->client($a->port('beside'));
    my @c = map { ZLTunnel::UDP->client($a->port('flood')) } 1 .. 50;
    $_->send('x') for @c;
    $b->send('beside');

    my ($open, $beside) = (0);
    while (my $m = $a->next($open < 20 || !$beside ? 5 : 0.2)) {
        $open++ if $m->{type} eq 'DatagramOpen'
                   && $m->{service_id} eq $a->id('flood');
        $beside = $m if $m->{type} eq 'DatagramOpen'
                        && $m->{service_id} eq $a->id('beside');
    }
    is($open, 20, 'as many sessions as may be');

    my $s = $t->service_status('flood');
    is($s->{active}, 20, 'and no more');
    is($s->{dropped}{limit}, 30, 'the other datagrams are dropped');

    ok($beside, 'another service has its own');
    $a->answer($beside, 'right');
    is($b->recv, 'right', 'and answers');

    # idle sessions end, and the agent is told

    my $closed = 0;
    while ($closed < 21 && (my $m = $a->next(10))) {
        $closed++ if $m->{type} eq 'DatagramClose' && $m->{cause} == 0;
    }
    is($closed, 21, 'idle sessions end');
    is($t->service_status('flood')->{active}, 0, 'none is open');

    $c[0]->send('y');
    ok($a->session('y'), 'and there is room again');

    $a->close;
};


subtest 'responses' => sub {
    $t->write_conf(zltunnel => '', ports => 'zltunnel_responses 1;');
    reload();

    my $a = ZLTunnel::UDP->agent($t, $token, 'one');
    my $c = ZLTunnel::UDP->client($a->port('one'));

    $c->send('a');
    my $open = $a->session('a');
    $c->send('b');
    is($a->expect('Datagram')->{data}, 'b', 'a second before the answer');

    $a->answer($open, 'A');
    is($c->recv, 'A', 'one answer');
    is($t->service_status('one')->{active}, 1, 'is not enough for two');

    $a->answer($open, 'B');
    is($c->recv, 'B', 'the second');

    my $m = $a->expect('DatagramClose');
    is($m->{session}, $open->{session}, 'ends the session');
    is($t->service_status('one')->{active}, 0, 'here, too');

    $a->close;
};


$t->finish;
