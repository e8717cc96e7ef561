#!/usr/bin/perl

# Protects: what goes wrong with UDP goes wrong for one session.  Malformed
# frames, a client that floods, an agent that does not read, channels that
# die, a reload: a session beside it goes on, and none of its datagrams is
# changed, repeated or given to somebody else.  A port that passes to another
# tenant takes no datagram along.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::UDP;
use ZLTunnel::Wire qw(msg datagram datagram_close);

subtest 'malformed frames' => \&malformed;
subtest 'frames that end the channel' => \&broken;
subtest 'an agent that does not read' => \&blocked;
subtest 'a channel that is dead' => \&dead;
subtest 'a client that floods' => \&flood;
subtest 'a reload' => \&reload;
subtest 'a worker that is killed' => \&killed;
subtest 'the next tenant' => \&tenant;
subtest 'zltunnel_pass' => \&named;
subtest 'rights' => \&rights;

done_testing();


# A datagram there and back in a session that exists.

sub works {
    my ($a, $c, $open, $what) = @_;

    my $text = "$what " . rand;
    $c->send($text);

    my $m = $a->expect('Datagram');
    is($m->{data}, $text, "$what: to the agent");

    $a->answer($open, "re $text");
    is($c->recv, "re $text", "$what: and back");
}


sub malformed {
    my $t = ZLTunnel->new(workers => 1, udp => 1);
    my $token = $t->token('alice');
    $t->start;

    my $a = ZLTunnel::UDP->agent($t, $token, 'm');
    my $port = $a->port('m');

    my $beside = ZLTunnel::UDP->client($port);
    $beside->send('hello');
    my $open = $a->session('hello');
    my $channel = $open->{channel};
    my $malformed = 0;

    my $none = 1_000_000;
    my @unknown = (
        'a datagram of no session' => datagram($none, 'x'),
        'one of session 0' => datagram(0, 'x'),
        'the largest of no session' => datagram($none, 'x' x 65527),
        'a close of no session' => datagram_close($none, 0),
        'a close with a cause of later times' => datagram_close($none, 99));

    while (my ($what, $bytes) = splice @unknown, 0, 2) {
        $channel->send($bytes);
        works($a, $beside, $open, $what);
    }

    # each of these ends the session that it names

    my %bad = (
        'closed twice' => sub { datagram_close($_[0]) x 2 },
        'opened by the agent' => sub {
            msg('DatagramOpen', pack('N a16 n/a', $_[0], $a->id('m'), '')) },
        'a length over the limit' => sub {
            pack('C N N', 0x51, 70_000, $_[0]) . 'y' x 69_996 },
        'a length of 65532' => sub {
            pack('C N N', 0x51, 65_532, $_[0]) . 'y' x 65_528 },
        'a close without a cause' => sub {
            msg('DatagramClose', pack 'N', $_[0]) },
        'an open that is cut' => sub { msg('DatagramOpen', pack 'N', $_[0]) },
    );

    for my $what (sort keys %bad) {
        my $c = ZLTunnel::UDP->client($port);
        $c->send('hello');
        my $s = $a->session('hello');

        $channel->send($bad{$what}->($s->{session}));

        if ($what ne 'closed twice') {
            my $m = $a->expect('DatagramClose');
            is($m->{session}, $s->{session}, "$what: its session is ended");
            is($m->{cause}, 6, "$what: and it says why");
            $malformed++;
        }

        works($a, $beside, $open, $what);

        $c->send('again');
        my $again = $a->session('again');
        cmp_ok($again->{session}, '>', $s->{session},
               "$what: a new session has a new number");

        $channel->send(datagram_close($again->{session}));
    }

    # without a session that could end

    for my $bytes (msg('Datagram', ''), msg('Datagram', 'abc'),
                   msg('DatagramClose', 'ab'), msg('Heartbeat', 'short'),
                   msg('HeartbeatAck', ''), msg('DatagramOpen', '')) {
        $channel->send($bytes);
        $malformed++;
        works($a, $beside, $open, 'too short: ' . unpack 'H*', $bytes);
    }

    my $s = $t->service_status('m');
    is($s->{dropped}{malformed}, $malformed, 'malformed frames are counted');
    is($s->{dropped}{session}, 3, 'and those of unknown sessions');
    is($s->{active}, 1, 'one session is left');
    is($channel->{end}, undef, 'on the same channel');

    $a->close;
    $t->finish;
}


# What nobody can read on after ends the channel.  The session goes on, on
# another.

sub broken {
    my $t = ZLTunnel->new(workers => 2, udp => 1);
    my $token = $t->token('alice');
    $t->start;

    my $a = ZLTunnel::UDP->agent($t, $token, 'b');
    my $c = ZLTunnel::UDP->client($a->port('b'));
    $c->send('hello');
    my $open = $a->session('hello');
    my $id = 'x' x 16;

    for my $bytes ("\xff\0\0\0\0", pack('C N', 0x51, 0xffffffff) . 'abcd',
                   pack('C N', 0x51, 1024 * 1024 + 1),
                   msg('Connect', 'a' x 40), msg('ConnectAck', $id),
                   msg('Auth', ''), msg('Retire', '')) {
        my $what = unpack 'H10', $bytes;

        $open->{channel}->send($bytes);
        like($open->{channel}->ending(10), qr/eof|reset/,
             "$what: the channel is closed");

        $c->send('next');
        $open = $a->session('next');
        is($open->{session}, 1, "$what: another channel, and its first");
        works($a, $c, $open, $what);
    }

    # a frame that does not end, and a channel that does

    $open->{channel}->send(substr datagram(1, 'x' x 100), 0, 50);
    $open->{channel}->close;
    is($c->recv(0.2), undef, 'half a datagram is none');

    my $again;
    ok(wait_for(sub { $c->send('next'); $again = $a->next(0.3) }, 10),
       'and the session goes on');

    is($t->service_status('b')->{total}, 1, 'one session all the time');

    $a->close;
    $t->finish;
}


# The queue is bounded in bytes and in age, and nothing else suffers.

sub blocked {
    my $t = ZLTunnel->new(workers => 1, udp => 1);
    my $token = $t->token('alice');
    $t->start;

    my $a = ZLTunnel::UDP->agent($t, $token, [ 'stuck', 'beside' ],
                                 channels => 2);
    my @c = map { ZLTunnel::UDP->client($a->port('stuck')) } 1 .. 3;
    $_->send('hello') for @c;

    my @open = map { $a->session('hello') } @c;
    my ($channel) = $open[0]{channel};

    # Another service has its own channel.

    my $b = ZLTunnel::UDP->client($a->port('beside'));
    $b->send('hello');
    my $beside = $a->session('hello');
    isnt($beside->{channel}, $channel, 'a service, a channel');

    @{ $a->{channels} } = grep { $_ != $channel } @{ $a->{channels} };

    # What the kernel's buffers do not take is dropped.

    my ($sent, $dropped) = (0, 0);
    my $start = time;

    while (time - $start < 60) {
        for (1 .. 20) {
            $c[0]->send(pack('N', $sent++) . 'f' x 30_000);
        }
        $dropped = $t->service_status('stuck')->{dropped}{queue};
        last if $dropped > 50;
    }
    cmp_ok($dropped, '>', 50, "a full queue drops ($dropped of $sent)");

    works($a, $b, $beside, 'another service');

    # The others have their share of the queue; what has waited for too long
    # is not sent, so wait until all of it has, and send something new.

    select undef, undef, undef, 0.3;
    push @{ $a->{channels} }, $channel;

    my (%n, $last);
    while (my $m = $a->next(1)) {
        next unless $m->{type} eq 'Datagram';
        $n{$m->{session}}++;

        if ($m->{session} == $open[0]{session}) {
            my ($i) = unpack 'N', $m->{data};
            is(length $m->{data}, 30_004, 'whole') if !defined $last;
            cmp_ok($i, '>', $last, 'in order')
                if defined $last && $i <= $last;
            $last = $i;
        }
    }

    my $s = $t->service_status('stuck');
    cmp_ok($s->{dropped}{age}, '>', 0, "late ones are dropped, "
                                       . $s->{dropped}{age});
    my $lost = 0;
    $lost += $_ for values %{ $s->{dropped} };
    is($n{ $open[0]{session} }, $sent - $lost, 'and every one is counted');

    works($a, $c[$_], $open[$_], "session $_") for 0 .. 2;

    $a->close;
    $t->finish;
}


# Nothing answers on the channel: it is given up, the session goes on.

sub dead {
    my $t = ZLTunnel->new(workers => 1, udp => 1);
    my $token = $t->token('alice');
    $t->start;

    my $a = ZLTunnel::UDP->agent($t, $token, 'd', channels => 1);
    my ($silent) = @{ $a->{channels} };
    @{ $a->{channels} } = ();

    my $c = ZLTunnel::UDP->client($a->port('d'));
    my $m;
    $c->send('hello');
    ok(wait_for(sub { $c->send('hello'); $m = $a->next(0.3) }, 20),
       'another channel');
    isnt($m->{channel}, $silent, 'which is a new one');
    is($silent->ending(5), 'eof', 'the silent one was closed');

    $a->answer($m, 'at last');
    is($c->recv, 'at last', 'and the client is answered');

    $a->close;
    $t->finish;
}


# One client sends as fast as it can; the others lose little for it.  What the
# kernel drops, since the socket's buffer is full while the machine is busy
# with other things, it drops of everybody: so it is the best of some runs.

sub flood {
    my $t = ZLTunnel->new(workers => 1, udp => 1);
    my $token = $t->token('alice');
    $t->start;

    my $p = $t->free_port;
    my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $p);
    wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo';

    my $agent = $t->agent(token => $token, services => ["e:$p/udp"]);
    my $port = $agent->port('e');

    my $best = 0;

    for my $run (1 .. 6) {
        my $flood = ZLTunnel::Proc->start(
            name => "flood $run", out => "$t->{dir}/flood$run",
            cmd => [ $t->nettool, 'udp', $port, 'clients=1', 'count=300000',
                     'size=1200', 'window=100000', 'rate=150000',
                     'quiet=2000' ]);

        my ($rc, $out) = run({ timeout => 100 }, $t->nettool, 'udp', $port,
                             'clients=10', 'count=100', 'size=100-1000',
                             'rate=1000', 'quiet=2000');
        is($rc, 0, "run $run: a load beside a flood");

        my %r = ($out =~ /(\w+) (\d+(?:\.\d+)?)/g);
        is($r{$_}, 0, "none $_") for qw(again foreign corrupt refused);

        $best = $r{received} if $r{received} > $best;

        is($flood->wait(60), 0, 'the flood ends');
        %r = ($flood->output =~ /(\w+) (\d+(?:\.\d+)?)/g);
        is($r{$_}, 0, "the flood: none $_")
            for qw(again foreign corrupt refused);
        note $flood->output;

        last if $best >= 800;
    }

    cmp_ok($best, '>=', 800, "$best of 1000 are answered");

    $t->finish;
}


# Sessions end with their worker; the client's next datagrams open one in the
# new worker.  Nothing comes twice or to another.

sub reload {
    my $t = ZLTunnel->new(workers => 2, udp => 1);
    my $token = $t->token('alice');
    $t->start;

    my $p = $t->free_port;
    my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $p);
    wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo';

    my $agent = $t->agent(token => $token, services => [ "e:$p/udp",
                                                          "f:$p/udp" ]);

    for my $round (1 .. 3) {
        for my $name ('e', 'f') {
            my $c = ZLTunnel::UDP->client($agent->port($name));
            my %old = map { $_ => 1 } $t->workers;
            my ($sent, $lost) = (0, 0);

            my $ask = sub {
                my $text = "$round $name " . ++$sent;
                $c->send($text);
                my $got = $c->recv(2);
                is($got, $text, 'no other answer') if defined $got
                                                      && $got ne $text;
                $lost++ if !defined $got;
            };

            $ask->() for 1 .. 50;
            is($lost, 0, 'all are answered before');

            $t->{nginx}->kill('HUP');
            my $end = time + 20;
            my $done = 0;

            while ($done < 50 && time < $end) {
                $ask->();
                my @w = $t->workers;
                $done++ if @w == 2 && !grep { $old{$_} } @w;
            }

            is($done, 50, "round $round $name: reloaded while $sent went by");
            cmp_ok($lost, '<=', 1, "round $round $name: $lost lost");
        }
    }

    $t->finish;
}


sub killed {
    my $t = ZLTunnel->new(workers => 2, udp => 1);
    my $token = $t->token('alice');
    $t->start;

    my $p = $t->free_port;
    my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $p);
    wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo';

    my $agent = $t->agent(token => $token, services => [ "e:$p/udp" ]);
    my $c = ZLTunnel::UDP->client($agent->port('e'));

    for my $round (1 .. 2) {
        for my $pid ($t->workers) {
            $c->send('before');
            is($c->recv, 'before', 'it works');

            kill 'KILL', $pid;
            wait_for(sub { my @w = $t->workers;
                           @w == 2 && !grep { $_ == $pid } @w }, 10);

            ok(wait_for(sub { $c->send('after');
                              my $got = $c->recv(0.5);
                              defined $got && $got eq 'after' }, 30),
               "and again after worker $pid was killed");
            1 while defined $c->recv(0.2);
        }
    }

    is($t->service_status('e')->{active}, 1, 'sessions of the dead are gone');

    push @{ $t->{allow} }, qr/exited on signal 9/;
    $t->finish;
}


# Datagrams in the socket's queue belong to the tenant to whom they were sent.

sub tenant {
    my $t = ZLTunnel->new(workers => 1, range => 1, udp => 1);
    my %token = map { $_ => $t->token($_) } qw(alice bob);
    $t->start;

    my $port = $t->{base};

    for my $round (1 .. 5) {
        my $a = ZLTunnel::UDP->agent($t, $token{alice}, 'a');
        my $c = ZLTunnel::UDP->client($port);
        $c->send('hello');
        my $open = $a->session('hello');

        # The worker is stopped, so these are in its socket's queue when the
        # service goes.

        my ($worker) = $t->workers;
        kill 'STOP', $worker;
        $a->{control}->send_msg(msg('Unregister', $a->id('a')));
        select undef, undef, undef, 0.05;
        $c->send("for alice $_") for 1 .. 20;
        kill 'CONT', $worker;

        my $b;
        ok(wait_for(sub {
            $b = eval { ZLTunnel::UDP->agent($t, $token{bob}, 'b') };
            $b && $b->port('b');
        }, 10), "round $round: bob has the port") or last;

        # Of alice's nothing comes to bob, also not by the old session.

        $c->send('for bob');
        my $s = $b->expect('DatagramOpen');
        my $m = $b->expect('Datagram');
        is($m->{data}, 'for bob', 'bob gets what is his');
        is($b->next(0.2), undef, 'and no more');

        while (my $m = $a->next(0.1)) {
            unlike($m->{data} // '', qr/bob/, 'alice gets nothing of it');
        }

        $b->answer($s, 'from bob');
        is($c->recv, 'from bob', 'and answers');

        $b->{control}->send_msg(msg('Unregister', $b->id('b')));
        ok(wait_for(sub { ZLTunnel::UDP::refuses($port) }, 10), 'bob goes');
        $_->close for $a, $b;
    }

    $t->finish;
}


# A fixed port for a named service, for whose name nobody need have a port.

sub named {
    my $t = ZLTunnel->new(workers => 3);
    my $port = $t->free_port;
    my $shared = $t->free_port;
    $t->write_conf(stream => <<"EOT");
    server { listen 127.0.0.1:$port udp; zltunnel_pass named token=alice; }
    server { listen 127.0.0.1:$shared udp reuseport;
             zltunnel_pass \$remote_addr; }
EOT
    my $token = $t->token('alice');
    $t->start;

    my $a = ZLTunnel::UDP->agent($t, $token, [ 'named', '127.0.0.1' ],
                                 channels => 8);
    is($a->port('named'), 0, 'no port of its own');

    for my $to ($port, $shared) {
        for (1 .. 20) {
            my $c = ZLTunnel::UDP->client($to);
            $c->send('hello');
            my $open = $a->session('hello');
            works($a, $c, $open, "port $to");
        }
    }

    is($t->service_status('named')->{total}, 20, 'a session for each client');
    is($t->service_status('127.0.0.1')->{total}, 20, 'with reuseport, too');

    # and without the service

    $a->{control}->send_msg(msg('Unregister', $a->id('named')));
    ok(wait_for(sub { !$t->service_status('named') }), 'unregistered');
    my $c = ZLTunnel::UDP->client($port);
    $c->send('anybody?');
    is($c->recv(0.3), undef, 'no answer');

    $a->close;
    $t->finish;
}


# A token that is gone ends its sessions.

sub rights {
    my $t = ZLTunnel->new(workers => 2, udp => 1);
    my $token = $t->token('alice');
    $t->token('bob');
    $t->start;

    my $a = ZLTunnel::UDP->agent($t, $token, 'r', channels => 2);
    my $c = ZLTunnel::UDP->client($a->port('r'));
    $c->send('hello');
    my $open = $a->session('hello');

    $t->revoke('alice');
    like($open->{channel}->ending(10), qr/eof|reset/, 'the channel ends');
    ok(wait_for(sub { ZLTunnel::UDP::refuses($a->port('r')) }, 10),
       'and the port is unreachable');

    $a->close;
    $t->finish;
}
