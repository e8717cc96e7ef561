#!/usr/bin/perl

# Protects: on-demand access to services of UDP.  Datagrams are neither merged
# nor split, frames that make no sense cost their own session, what is counted
# is what was sent, and a channel on either side that ends, is silent, or does
# not read takes nothing with it but its own visitor.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::Wire qw(msg ext access_open access_close register datagram
                      datagram_open datagram_close ws_frame);

my $SLOW = slowdown();

subtest 'a real agent, 1 worker' => \&real, 1;
subtest 'a real agent, 4 workers' => \&real, 4;
subtest 'a real agent, 4 workers, TLS' => \&real, 4, 1;
subtest 'a real agent, within a WebSocket' => \&real, 2, 0, 1;
subtest 'frames' => \&frames;
subtest 'ends' => \&ends;
subtest 'a side that does not read' => \&slow;

done_testing();


sub real {
    my ($workers, $tls, $ws) = @_;

    my $t = ZLTunnel->new(workers => $workers);
    my $proxy = $t->free_port;
    $t->write_conf(stream => "server { listen 127.0.0.1:$proxy;
        proxy_pass 127.0.0.1:$t->{tls_port}; proxy_ssl on; }");
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=*');
    $t->start;

    my $p = $t->free_port;
    my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $p);
    my $agent = $t->agent(token => $site, tls => $tls,
                          services => ["dns:$p/udp"]);
    my $c = visitor($t, $alice);
    my $id = opened($c, 'dns', udp => 1);

    my ($bytes, $count) = (0, 0);

    for my $round (1 .. 2) {
        my $early = join '', map { $ws ? ws_frame($_) : $_ }
                    datagram_open(1), datagram(1, 'early');
        my $v = ZLTunnel::Wire->visit($c, $id, udp => 1,
            port => $tls ? $proxy : $t->{http_port}, ws => $ws,
            early => $round == 1 ? $early : '');
        is($v->{answer}{status}, 101, 'a channel');

        if ($round == 1) {
            my $m = $v->next // { type => $v->{end} // 'none' };
            is($m->{data}, 'early', 'a datagram behind the request');
            $bytes += 5; $count++;
        }

        my $from = $round == 1 ? 2 : 1;
        $v->send_msg(datagram_open($_, addr => "10.0.0.$_:5")) for $from .. 5;

        for my $size (0, 1, 512, 1472, 9000, 60000) {
            $v->send_msg(datagram($_, "$_" x $size)) for $from .. 5;

            my %got;
            for ($from .. 5) {
                my $m = $v->next // { type => $v->{end} // 'none' };
                $got{ $m->{session} // $m->{type} } = $m->{data};
            }

            is_deeply(\%got, { map { $_ => "$_" x $size } $from .. 5 },
                      "datagrams of $size bytes");
            $bytes += $size * (6 - $from);
            $count += 6 - $from;
        }

        $v->send_msg(datagram_close($_)) for 1 .. 5;
        $v->send_msg(datagram(1, 'late'));
        is($v->next(0.3), undef, 'a closed session is silent');
        $v->close;
    }

    ok(wait_for(sub {
        my $a = session($t, $id) or return 0;
        return $a->{connections}{active} == 0;
    }), 'the channels have ended');

    my $a = session($t, $id);
    my $s = $t->service_status('dns');
    is($a->{protocol}, 'udp', 'the protocol');
    is($a->{connections}{total}, 2, 'two channels');
    is($a->{datagrams}{in}, $count, "$count datagrams went");
    is($a->{datagrams}{out}, $count, 'and came');
    is($a->{bytes}{in}, $bytes, "$bytes bytes went");
    is($a->{bytes}{out}, $bytes, 'and came');
    is($s->{datagrams_in}, $count, 'the service has counted the same');
    is($s->{bytes_out}, $bytes, 'in bytes');
    is($s->{active}, 0, 'no session is left');
    is($s->{total}, 10, 'of ten');

    $c->reset;
    $t->finish;
}


# A visitor and a serving agent, both by hand: ($v, $ch, ...).

sub pair {
    my ($t, $rights, %o) = @_;

    my $s = ZLTunnel::Wire->agent($t, $t->{tok}{site}, features => 15);
    $s->send_msg(register('dns', udp => 1, ext => ext(1, "\1")));
    my $service = $s->expect('RegisterOk')->{service_id};
    $s->send_msg(register('open', ext => ext(1, "\4")));
    my $open = $s->expect('RegisterOk')->{service_id};

    my $c = visitor($t, $t->{tok}{alice});

    return ($s, $c, $service, $open);
}


sub joined {
    my ($t, $s, $c, $id) = @_;

    my $v = ZLTunnel::Wire->visit($c, $id, udp => 1);
    my $m = $s->expect('Connect');
    my $ch = ZLTunnel::Wire->channel($t, $s->{ok}{tunnel_id},
        $s->{ok}{data_key}, $m->{connection_id});
    is($ch->{answer}{status}, 101, 'a channel of the serving agent');

    return ($v, $ch, $m);
}


sub setup {
    my (%o) = @_;

    my $t = ZLTunnel->new(%o);
    $t->{tok} = { site => $t->token('site'),
                  alice => $t->token('alice', 'access=*') };
    $t->start;

    return ($t, pair($t));
}


sub frames {
    my ($t, $s, $c, $service, $open) = setup(workers => 2,
        zltunnel => 'max_udp_sessions 3;');

    my $id = opened($c, 'dns', udp => 1);
    my ($v, $ch, $m) = joined($t, $s, $c, $id);
    is($m->{service_id}, $service, 'asked for by its id');

    # rewritten
    $v->send(datagram_open(7, addr => '192.0.2.1:9', service => 'x' x 16));
    $m = $ch->next;
    is($m->{type}, 'DatagramOpen', 'DatagramOpen');
    is($m->{session}, 7, 'keeps its number');
    is($m->{service_id}, $service, 'gets the service');
    like($m->{client_addr}, qr/^127\.0\.0\.1:\d+$/, "the visitor's address");
    is($m->{ext}, undef, 'no target');

    # cut anywhere
    my $frames = datagram(7, 'one') . datagram(7, '') . datagram(7, 'x' x 3000);
    $v->send($_) for $frames =~ /(.{1,7})/gs;
    is($ch->next->{data}, $_, 'a datagram in pieces')
        for 'one', '', 'x' x 3000;
    $ch->send($_) for datagram(7, 'back') =~ /(.)/gs;
    is($v->next->{data}, 'back', 'and back');

    # heartbeats are each side's own
    $v->send(msg('Heartbeat', pack 'Q>', 42));
    $m = $v->next(10, heartbeats => 1);
    is($m->{type}, 'HeartbeatAck', 'answered by the server');
    is($m->{timestamp}, 42, 'as it was');
    $ch->send(msg('Heartbeat', pack 'Q>', 43));
    $m = $ch->next;
    is($m->{timestamp}, 43, 'on the other side, too');

    # numbers
    $v->send(datagram_open(5) . datagram(5, 'no') . datagram(7, 'yes'));
    is($ch->next->{data}, 'yes', 'a number that does not rise opens nothing');
    $ch->send(datagram(8, 'no') . datagram(7, 'yes'));
    is($v->next->{data}, 'yes', 'nor is one that is not open passed back');
    $v->send(datagram_open(7));
    $m = $ch->next;
    is($m->{type}, 'DatagramClose', 'one that is opened twice ends');
    is($m->{cause}, 6, 'cause 6');
    is($v->next->{cause}, 6, 'on both sides');

    # malformed frames
    $v->send(datagram_open(9) . datagram_open(10));
    $ch->next for 1 .. 2;
    $v->send(msg('DatagramClose', pack 'N', 9));
    is($ch->next->{session}, 9, 'a malformed frame ends its session');
    is($v->next->{session}, 9, 'on both sides');
    $v->send(msg('DatagramOpen', 'xx') . msg('Datagram', 'x')
             . datagram(10, 'still'));
    is($ch->next->{data}, 'still', 'the next one is read whole');
    $ch->send(msg('Datagram', 'abc') . datagram(10, 'here'));
    is($v->next->{data}, 'here', 'from the other side, too');

    # limits
    $v->send(datagram_open($_)) for 11 .. 13;
    is($ch->next->{session}, $_, "session $_") for 11, 12;
    $m = $v->next;
    is($m->{session}, 13, 'one too many');
    is($m->{cause}, 4, 'cause 4');
    $ch->send(datagram_close(11, 7));
    is($v->next->{cause}, 7, 'a close of the service passes');
    $v->send(datagram_open(14));
    is($ch->next->{session}, 14, 'and makes room');

    # what does not belong
    $v->send(msg('Connect', 'x' x 34));
    ok($v->ending =~ /eof|reset/, 'another type ends it');
    ok($ch->ending =~ /eof|reset/, 'and the other side');

    # targets, on an open service of either protocol
    my $oid = opened($c, 'open', udp => 1, target => '[2001:db8::5]:53');
    ($v, $ch, $m) = joined($t, $s, $c, $oid);
    is($m->{service_id}, $open, 'an open service');
    is($m->{ext}, undef, 'Connect without a target asks for datagrams');
    $v->send(datagram_open(1));
    $m = $ch->next;
    is($m->{ext}{1}, '[2001:db8::5]:53', 'DatagramOpen has it');
    $_->close for $v, $ch;

    my $a = session($t, $id);
    is($a->{datagrams}{in}, 5, 'counted: those that were passed');
    is($a->{datagrams}{out}, 3, 'and those that came back');

    $_->reset for $c, $s;
    $t->finish;
}


sub ends {
    my ($t, $s, $c) = setup(workers => 2);

    my $id = opened($c, 'dns', udp => 1, ttl => 600);

    # the serving agent's channel
    my ($v, $ch) = joined($t, $s, $c, $id);
    $ch->close;
    ok($v->ending =~ /eof|reset/, 'the serving channel ends: so does this');

    # it does not answer
    ($v, $ch) = joined($t, $s, $c, $id);
    my $start = time;
    ok($v->ending(15) =~ /eof|reset/, 'it is silent: so does this');
    cmp_ok(time - $start, '<', 8 * $SLOW, 'soon');
    $ch->close;

    # an idle one that retires
    my $idle = ZLTunnel::Wire->channel($t, $s->{ok}{tunnel_id},
                                       $s->{ok}{data_key});
    ok(wait_for(sub { grep { $_->{idle_channels} }
                      @{ ($t->status // {})->{tunnels} // [] } }), 'idle');
    $v = ZLTunnel::Wire->visit($c, $id, udp => 1, early => datagram_open(1));
    my $m = $idle->next;
    is($m->{type}, 'DatagramOpen', 'an idle channel is used');
    $idle->send(msg('Retire'));
    ok($v->ending =~ /eof|reset/, 'it retires: so does this');
    $idle->close;

    # the session is stopped, its time is over, the service goes
    ($v, $ch) = joined($t, $s, $c, $id);
    $ch->next(0.2);
    $c->send_msg(access_close($id));
    ok($v->ending =~ /eof|reset/, 'stopped');
    ok($ch->ending =~ /eof|reset/, 'on both sides');

    $id = opened($c, 'dns', udp => 1, ttl => 2);
    ($v, $ch) = joined($t, $s, $c, $id);
    $ch->next(0.2);
    is($c->expect('AccessClose')->{code}, 2, 'expired');
    ok($v->ending =~ /eof|reset/, 'its end');
    ok($ch->ending =~ /eof|reset/, 'on both sides');

    # too many channels of one session
    $id = opened($c, 'dns', udp => 1);
    my @v = map { ZLTunnel::Wire->visit($c, $id, udp => 1) } 1 .. 5;
    is_deeply([ map { $_->{answer}{status} } @v ], [ (101) x 4, 503 ],
              'a few channels of one session, not more');
    $_->close for @v;

    # garbage
    my $oid = opened($c, 'nobody', udp => 1);
    $v = ZLTunnel::Wire->visit($c, $oid, udp => 1, early => datagram_open(1));
    ok($v->ending =~ /eof|reset/, 'nobody serves it: closed');
    for (1 .. 20) {
        my $junk = join '', map { chr int rand 256 } 1 .. 1 + int rand 200;
        my $g = ZLTunnel::Wire->visit($c, $id, udp => 1, early => $junk)
            or next;
        $g->close;
    }

    # reload: they are to go to a new worker
    while (my $m = $s->next(0.2)) { }
    ($v, $ch) = joined($t, $s, $c, $id);
    $ch->next(0.2);
    $t->{nginx}->kill('HUP');
    ok($v->ending(20) =~ /eof|reset/, 'reload: the channel ends');

    $_->reset for $c, $s;
    $t->finish;
}


# 256 KiB, and what the kernel holds: then nothing more is read.

sub slow {
    my ($t, $s, $c) = setup();

    my $id = opened($c, 'dns', udp => 1);
    my ($v, $ch) = joined($t, $s, $c, $id);
    $v->send(datagram_open(1));
    is($ch->next->{session}, 1, 'open');

    my ($pid) = $t->workers;
    my $memory = sub { (slurp("/proc/$pid/status")
                        =~ /^VmRSS:\s+(\d+)/m)[0] };
    my $before = $memory->();

    # as much as is taken at once
    my $frame = datagram(1, 'd' x 30000);
    my ($sent, $left) = (0, '');
    my $end = time + 3;
    $v->{s}->blocking(0);

    while (time < $end) {
        $left = $frame if $left eq '';
        my $n = syswrite $v->{s}, $left;
        if (!defined $n) { select undef, undef, undef, 0.02; next }
        substr $left, 0, $n, '';
        $sent += $n;
        last if $sent > 100_000_000;
    }

    cmp_ok($sent, '<', 50_000_000, "not without a bound ($sent bytes)");
    cmp_ok($memory->() - $before, '<', 8192, 'nor in memory');

    my $got = 0;
    while (my $m = $ch->next(2 * slowdown())) {
        last if $m->{type} ne 'Datagram' || length $m->{data} != 30000;
        $got++;
    }
    is($got, int($sent / length $frame), 'all of it comes, in order');

    $_->close for $v, $ch;
    $_->reset for $c, $s;
    $t->finish;
}
