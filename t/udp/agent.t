#!/usr/bin/perl

# Protects: the agent's half of UDP services, at a server that says whatever
# it likes: every datagram whole, once, in order and in its own session;
# malformed frames, dead services, floods and slow readers cost their own
# session and no other; sessions end when they are idle, removed or too many.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16);

my $t = ZLTunnel->new;
my $token = $t->token('alice');
my ($server, $agent, $ch);

for my $part (qw(registers carries whole pieces sessions errors malformed
                 broken local_errors names blocked limit idle reread reconnects
                 fresh tls terminate)) {
    no strict 'refs';
    subtest $part => \&{"main::$part"};
}

$t->finish;


# A server, and an agent at it that has the services.

sub setup {
    my ($services, %o) = @_;

    $server = ZLTunnel::Server->new($t, %{ $o{listen} || {} });
    $agent = $t->agent(token => $token, server => $o{url} // $server->url,
                       wait => 0, services => $services, %o);
    my $n = $o{n} // @{ $services || [] };

    # an Open must not overtake the RegisterOk of its service
    $server->wait(sub { keys %{ $agent->services } >= $n })
        or die 'the agent did not register';
}


sub teardown {
    my (%o) = @_;
    my $end = $agent->{proc};

    $agent->{proc}->kill('TERM') if !$o{told};
    $server->wait(sub { !$end->running }, 30);
    is($agent->stop, 0, 'the agent ends with 0');
    $server->close_all;
}


sub udp_socket {
    my $s = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1',
                                  LocalPort => $_[0] // 0)
        or die "udp: $!";
    setsockopt $s, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), pack 'i', 4 << 20;
    return $s;
}


# A UDP service within the test: { s, port, got => [[peer, data], ...] }

sub service {
    my (%o) = @_;

    my $s = udp_socket($o{port});
    my $self = { s => $s, port => $s->sockport, got => [] };

    $self->{watch} = sub {
        $server->watch($s, sub {
            while (defined(my $peer = recv $s, my $data, 65536,
                                           Socket::MSG_DONTWAIT())) {
                push @{ $self->{got} }, [ $peer, $data ];
                send $s, $data, 0, $peer if $o{echo};
            }
        });
    };

    return $self;
}


sub open_session {
    my ($n, $name, $addr) = @_;
    return msg('DatagramOpen', pack('N', $n) . md5($name)
                               . str16($addr // "192.0.2.1:$n"));
}

sub datagram { msg('Datagram', pack('N', $_[0]) . $_[1]) }
sub close_session { msg('DatagramClose', pack 'N C', $_[0], $_[1] // 0) }

sub got {
    my ($c, $type) = @_;
    return grep { $_->[0] eq $type } @{ $c->{frames} };
}

# the datagrams that came for a session
sub data_of {
    my ($c, $n) = @_;
    return map { substr $_->[1], 4 }
           grep { unpack('N', $_->[1]) == $n } got($c, 'Datagram');
}

# the cause with which a session was closed, or undef
sub closed {
    my ($c, $n) = @_;
    my ($f) = grep { unpack('N', $_->[1]) == $n } got($c, 'DatagramClose');
    return $f && unpack 'x4 C', $f->[1];
}

# { n bytes that depend on i }
sub bytes {
    my ($len, $i) = @_;
    my $unit = md5("$len $i");
    return substr $unit x ($len / 16 + 1), 0, $len;
}


# That a session works: a datagram there and back.

my $probes = 0;

sub works {
    my ($n, $what, $channel) = @_;

    $channel //= $ch;
    my $probe = 'probe ' . ++$probes;

    $channel->say(datagram($n, $probe));
    ok($server->wait(sub { grep { $_ eq $probe } data_of($channel, $n) }),
       $what // "session $n works");
}


sub registers {
    my $svc = service(echo => 1);
    setup([ "dns:$svc->{port}:5353/udp", "web:80" ]);
    $svc->{watch}->();

    my $s = $server->{services};
    is($s->{dns}{protocol}, 1, 'as a UDP service');
    is($s->{dns}{local_port}, $svc->{port}, 'with its port');
    is($s->{dns}{remote_port}, 5353, 'and the port it asks for');
    is($s->{web}{protocol}, 0, 'beside one of TCP');
    ok($server->{features} & 4, 'and offers datagram channels');
    ok($agent->registered(2), 'announces both');
    is($agent->services->{dns}{proto}, 'udp', 'the UDP service as such');

    teardown();
}


sub carries {
    my $svc = service(echo => 1);
    setup([ "e:$svc->{port}/udp" ]);
    $svc->{watch}->();
    $ch = $server->idle;

    # the first ones right behind Open, without waiting
    $ch->say(open_session(1, 'e') . datagram(1, 'one') . datagram(1, 'two'));
    ok($server->wait(sub { data_of($ch, 1) == 2 }), 'answers come');
    is_deeply([ data_of($ch, 1) ], [ 'one', 'two' ], 'whole and in order');
    is(scalar got($ch, 'ConnectAck'), 0, 'without an ack');

    ok($server->wait(sub { $server->conns('idle') >= 2 }),
       'the channel is replaced in the pool');

    $ch->say(msg('Heartbeat', pack 'Q>', 4711));
    ok($server->wait(sub { got($ch, 'HeartbeatAck') }), 'heartbeats go on');
    is(unpack('Q>', (got($ch, 'HeartbeatAck'))[0][1]), 4711, 'with the time');

    # many frames in a write, runs of one size and breaks in them
    my @list = map { bytes($_ % 7 == 0 ? 900 : $_ % 50 == 0 ? 100 : 1200, $_) }
               1 .. 150;
    @{ $ch->{frames} } = ();
    $ch->say(join '', map { datagram(1, $_) } @list);
    $server->wait(sub { data_of($ch, 1) >= @list });
    is_deeply([ data_of($ch, 1) ], \@list, 'a burst: each whole, in order');

    # the other way alone
    @{ $ch->{frames} } = ();
    send $svc->{s}, $_, 0, $svc->{got}[0][0] for @list[0 .. 99];
    $server->wait(sub { data_of($ch, 1) >= 100 });
    is_deeply([ data_of($ch, 1) ], [ @list[0 .. 99] ], 'from the service too');

    # cut by the kernel (UDP_SEGMENT), which hands it on as one (UDP_GRO)
    if (setsockopt $svc->{s}, 17, 103, pack 'i', 100) {
        @{ $ch->{frames} } = ();
        my @cut = map { bytes($_ < 20 ? 100 : 30, $_) } 0 .. 20;
        send $svc->{s}, join('', @cut), 0, $svc->{got}[0][0];
        $server->wait(sub { data_of($ch, 1) >= @cut });
        is_deeply([ data_of($ch, 1) ], \@cut, 'what the kernel cut');
        setsockopt $svc->{s}, 17, 103, pack 'i', 0;
    }

    $ch->say(close_session(1));
    $ch->say(datagram(1, 'late'));
    $ch->say(msg('Heartbeat', pack 'Q>', 2));
    $server->wait(sub { got($ch, 'HeartbeatAck') });
    is(scalar(grep { $_->[1] eq 'late' } @{ $svc->{got} }), 0,
       'nothing after the close');
    is(closed($ch, 1), undef, 'which has no answer');

    teardown();
    like($agent->log, qr/"e": 0 sessions open, 1 in all.*to the service 152/,
         'the counters are logged');
}


sub whole {
    my $svc = service(echo => 1);
    setup([ "e:$svc->{port}/udp" ]);
    $svc->{watch}->();
    $ch = $server->idle;
    $ch->say(open_session(7, 'e'));

    for my $len (0, 1, 2, 512, 1472, 1473, 9000, 32768, 65507) {
        @{ $ch->{frames} } = ();
        @{ $svc->{got} } = ();

        my $data = bytes($len, 1);
        $ch->say(datagram(7, $data));
        $server->wait(sub { data_of($ch, 7) });

        my ($back) = data_of($ch, 7);
        ok(defined $back && $back eq $data, "$len bytes there and back");
        is(scalar @{ $svc->{got} }, 1, 'once');
    }

    # empty ones among others, with nothing merged
    @{ $svc->{got} } = ();
    my @list = map { $_ % 3 ? 'x' x $_ : '' } 1 .. 60;
    $ch->say(join '', map { datagram(7, $_) } @list);
    $server->wait(sub { @{ $svc->{got} } >= @list });
    is_deeply([ map { $_->[1] } @{ $svc->{got} } ], \@list,
              'empty ones among others');

    teardown();
}


# Frames cut wherever TCP likes.

sub pieces {
    my $svc = service();
    setup([ "e:$svc->{port}/udp" ]);
    $svc->{watch}->();
    $ch = $server->idle;

    my @list = map { bytes(17 * $_, $_) } 0 .. 9;
    my $stream = open_session(1, 'e') . join '', map { datagram(1, $_) } @list;

    for (my $pos = 0; $pos < length $stream; $pos += 3) {
        $ch->say(substr $stream, $pos, 3);
        $server->turn(0);
    }

    $server->wait(sub { @{ $svc->{got} } >= @list });
    is_deeply([ map { $_->[1] } @{ $svc->{got} } ], \@list, 'put together');

    # large ones, whose pieces outlive many reads
    @{ $svc->{got} } = ();
    my @large = map { bytes(65507, $_) } 1 .. 20;
    for my $data (@large) {
        my $frame = datagram(1, $data);
        my $n = @{ $svc->{got} };
        $ch->say(substr $frame, 0, 40000, '');
        $server->turn(0.002);
        $ch->say($frame);
        $server->wait(sub { @{ $svc->{got} } > $n });
    }
    ok(eq_array([ map { $_->[1] } @{ $svc->{got} } ], \@large), 'large ones');

    teardown();
}


sub sessions {
    my $svc = service(echo => 1);
    setup([ "e:$svc->{port}/udp" ]);
    $svc->{watch}->();
    $ch = $server->idle;

    my $n = 300;
    my $out = join '', map { open_session($_, 'e') } 1 .. $n;

    for my $round (1 .. 3) {
        $out .= join '', map { datagram($_, "s$_ r$round") } 1 .. $n;
        $ch->say($out);
        $out = '';
        $server->wait(sub { got($ch, 'Datagram') >= $n * $round });
    }

    my $wrong = grep {
        my $s = $_;
        "@{[ data_of($ch, $s) ]}" ne join ' ', map { "s$s r$_" } 1 .. 3;
    } 1 .. $n;
    is($wrong, 0, "$n sessions, each has its own answers, in order");

    my %peers = map { $_->[0] => 1 } @{ $svc->{got} };
    is(scalar keys %peers, $n, 'a socket each');

    # interleaved, so that no two in a row are of one session
    @{ $ch->{frames} } = ();
    $ch->say(join '', map { my $r = $_; map { datagram($_, "$r") } 1 .. 20 }
                      1 .. 20);
    $server->wait(sub { got($ch, 'Datagram') >= 400 });
    is(scalar(grep { "@{[ data_of($ch, $_) ]}" ne "@{[ 1 .. 20 ]}" } 1 .. 20),
       0, 'interleaved: in order in each session');

    # two channels at a time, with the same numbers
    my $other = $server->idle;
    $other->say(open_session(1, 'e') . datagram(1, 'other'));
    $server->wait(sub { data_of($other, 1) });
    is_deeply([ data_of($other, 1) ], [ 'other' ], 'another channel');
    is(scalar(grep { $_ eq 'other' } data_of($ch, 1)), 0, 'and only there');

    my $before = fds($agent->pid)->{socket};
    $ch->say(join '', map { close_session($_) } 1 .. $n);

  SKIP: {
        skip 'only root sees the descriptors of the agent', 1 if $> != 0;
        ok($server->wait(sub { fds($agent->pid)->{socket} <= $before - $n }),
           'their sockets are closed');
    }

    $other->drop;
    works_on_new_channel('e', 'a channel that is closed is no loss');

    teardown();
}


sub works_on_new_channel {
    my ($name, $what) = @_;

    my $c = $server->idle;
    $c->say(open_session(1, $name));
    works(1, $what, $c);
    return $c;
}


# Frames that are wrong, but cost one session at the most.

sub errors {
    my $svc = service(echo => 1);
    setup([ "e:$svc->{port}/udp", "tcp:80" ]);
    $svc->{watch}->();
    $ch = $server->idle;
    $ch->say(join '', map { open_session($_, 'e') } 10 .. 19);
    works(10);

    $ch->say(datagram(9, 'nobody') . datagram(4711, 'nobody')
             . close_session(4711));
    works(10, 'datagrams and closes of unknown sessions');

    $ch->say(close_session(11) . close_session(11) . datagram(11, 'x'));
    works(10, 'closed twice');
    is(closed($ch, 11), undef, 'without a word');

    $ch->say(open_session(12, 'e'));
    ok($server->wait(sub { defined closed($ch, 12) }), 'opened twice');
    is(closed($ch, 12), 6, 'which ends it, cause 6');
    works(10, 'and no other');

    $ch->say(open_session(5, 'e') . datagram(5, 'back'));
    works(10, 'a number below the others opens nothing');
    is(scalar data_of($ch, 5), 0, 'no answer');

    $ch->say(open_session(20, 'no such service') . datagram(20, 'x'));
    ok($server->wait(sub { defined closed($ch, 20) }), 'an unknown service');
    is(closed($ch, 20), 8, 'cause 8');

    $ch->say(open_session(21, 'tcp'));
    ok($server->wait(sub { defined closed($ch, 21) }), 'a service of TCP');

    works(10);
    is(scalar(grep { $_->[1] =~ /nobody|back|^x$/ } @{ $svc->{got} }), 0,
       'none of it reached the service');

    teardown();
}


sub malformed {
    my $svc = service(echo => 1);
    setup([ "e:$svc->{port}/udp" ]);
    $svc->{watch}->();
    $ch = $server->idle;
    $ch->say(join '', map { open_session($_, 'e') } 1 .. 9);
    works(1);

    my $n = 1;

    for my $case (
        [ 'a close without a cause', sub { msg('DatagramClose',
                                               pack 'N', $_[0]) } ],
        [ 'an oversized datagram', sub { msg('Datagram', pack('N', $_[0])
                                                         . 'x' x 65528) } ],
        [ 'half a megabyte', sub { msg('Datagram', pack('N', $_[0])
                                                   . 'x' x 500000) } ],
    ) {
        my ($what, $make) = @$case;
        my $s = ++$n;

        $ch->say(datagram($s, 'before') . $make->($s));
        ok($server->wait(sub { defined closed($ch, $s) }), "$what: closed");
        is(closed($ch, $s), 6, 'cause 6');
        ok((grep { $_ eq 'before' } data_of($ch, $s))
           || $server->wait(sub { grep { $_->[1] eq 'before' }
                                  @{ $svc->{got} } }),
           'what came before it was delivered');
        works(1, 'the others go on');
    }

    $ch->say(msg('Datagram', "\0\0"));
    $ch->say(msg('Heartbeat', "\0"));
    $ch->say(msg('DatagramOpen', pack('N', 100) . 'short'));
    ok($server->wait(sub { defined closed($ch, 100) }), 'a short Open');
    is(closed($ch, 100), 6, 'cause 6');
    $ch->say(msg('DatagramOpen', pack('N', 101) . md5('e')
                                 . str16("\xff\xfe:1")));
    ok($server->wait(sub { defined closed($ch, 101) }), 'a bad address');
    works(1, 'the others go on');

    ok(!$ch->{gone}, 'on the same channel');

    teardown();
}


# Frames after which nobody knows where the next one begins.

sub broken {
    my $svc = service(echo => 1);
    setup([ "e:$svc->{port}/udp" ], args => [ '--log-level', 'debug' ]);
    $svc->{watch}->();

    for my $case ([ 'an unknown type', "\x7f\0\0\0\0" ],
                  [ 'a type of other channels', msg('Connect', 'x' x 40) ],
                  [ 'a length above all limits',
                    pack 'C N N', 0x51, 0x7fffffff, 1 ],
                  [ 'a Retire', msg('Retire') ]) {

        my ($what, $bytes) = @$case;

        $ch = $server->idle;
        my $lines = () = $agent->log =~ /datagram channel is closed/g;

        $ch->say(join '', map { open_session($_, 'e') } 1 .. 5);
        works(3, "$what: the channel is there");
        $ch->say($bytes . datagram(1, 'after'));

        ok($server->wait(sub { $ch->{gone} }), 'it is closed');
        my $now = () = $agent->log =~ /datagram channel is closed/g;
        is($now, $lines + 1, 'with a line in the log');
        works_on_new_channel('e', 'another one works')->drop;
    }

    is(scalar(grep { $_->[1] eq 'after' } @{ $svc->{got} }), 0,
       'nothing behind it was delivered');

    # one is the control socket

    ok($server->wait(sub {
        fds($agent->pid)->{socket} - 1 <= keys %{ $server->{conns} };
    }), 'no descriptor is left') or diag(fds($agent->pid)->{socket});

    teardown();
}


sub local_errors {
    my $svc = service(echo => 1);
    my $dead = $t->free_port;
    setup([ "e:$svc->{port}/udp", "dead:$dead/udp" ]);
    $svc->{watch}->();
    $ch = $server->idle;

    $ch->say(open_session(1, 'e') . open_session(2, 'dead'));
    works(1);

    $ch->say(datagram(2, 'hello'));
    $ch->say(datagram(2, 'hello')) for 1 .. 5;
    ok($server->wait(sub { defined closed($ch, 2) }), 'nobody listens: closed');
    is(closed($ch, 2), 7, 'cause 7');
    works(1, 'the other service goes on');

    # over IPv4 the largest is 65507, which a client of IPv6 need not know
    $ch->say(datagram(1, 'x' x 65520) . datagram(1, 'after'));
    ok($server->wait(sub { grep { $_ eq 'after' } data_of($ch, 1) }),
       'a datagram too large for the socket is dropped alone');
    is(closed($ch, 1), undef, 'the session goes on');
    like($agent->log, qr/"e".*could not be delivered/, 'and it is logged');

    # in the middle of a burst as well
    @{ $svc->{got} } = ();
    $ch->say(join '', map { datagram(1, $_ == 5 ? 'x' x 65520 : "b$_") }
                      1 .. 9);
    $server->wait(sub { @{ $svc->{got} } >= 8 });
    is_deeply([ map { $_->[1] } @{ $svc->{got} } ],
              [ map { "b$_" } 1 .. 4, 6 .. 9 ], 'in a burst, the rest goes');

    # a service that comes up later
    my $late = service(echo => 1, port => $dead);
    $late->{watch}->();
    $ch->say(open_session(3, 'dead'));
    works(3, 'a service that is there again');

    teardown();
}


sub names {
    my $svc = service(echo => 1);
    setup([ "e:localhost:$svc->{port}/udp", "n:no-such-host.invalid:53/udp" ]);
    $svc->{watch}->();
    $ch = $server->idle;

    # what "localhost" is first may not be where the service is
    $ch->say(open_session(1, 'e'));
    ok($server->wait(sub {
        $ch->say(datagram(1, 'hi'));
        $server->pass(0.05);
        return data_of($ch, 1);
    }), 'a name, of whichever family');

    $ch->say(open_session(2, 'n') . datagram(2, 'hi'));
    ok($server->wait(sub { defined closed($ch, 2) }, 40), 'an unknown name');
    is(closed($ch, 2), 8, 'cause 8');
    works(1);

    teardown();
}


# A server that does not read: the oldest are dropped, nothing else stops.

sub blocked {
    my $svc = service();
    setup([ "e:$svc->{port}/udp" ], listen => { rcvbuf => 65536 });
    $svc->{watch}->();
    $ch = $server->idle;

    $ch->say(open_session(1, 'e') . open_session(2, 'e')
             . datagram(1, 'hi') . datagram(2, 'hi'));
    $server->wait(sub { @{ $svc->{got} } >= 2 });
    my @peers = map { $_->[0] } @{ $svc->{got} };

    $ch->{deaf} = 1;

    # till nothing more goes, and then much more
    my $i = 0;
    for my $round (1 .. 60) {
        send $svc->{s}, pack('N', ++$i) . 'x' x 1200, 0, $peers[0]
            for 1 .. 100;
        $server->turn(0.01);
    }
    my $sent = $i;

    # the other way is not disturbed
    @{ $svc->{got} } = ();
    $ch->say(join '', map { datagram(2, "to $_") } 1 .. 100);
    $server->wait(sub { @{ $svc->{got} } >= 100 });
    is(scalar @{ $svc->{got} }, 100, 'the other direction goes on');

    my $other = works_other($svc);

    # what is queued now is too old when the server reads again
    $server->pass(0.3);
    $ch->{deaf} = 0;
    ok($server->wait(sub {
        send $svc->{s}, 'fresh', 0, $peers[1];
        $server->turn(0.02);
        return data_of($ch, 2);
    }), 'fresh ones arrive once it reads');

    my @numbers = map { unpack 'N', $_ } data_of($ch, 1);
    my @sorted = sort { $a <=> $b } @numbers;
    is_deeply(\@numbers, \@sorted, 'order is kept');
    cmp_ok(scalar @numbers, '<', $sent, 'not all arrive: '
           . scalar(@numbers) . " of $sent");
    is(scalar(grep { length != 1204 } data_of($ch, 1)), 0, 'each whole');

    teardown();

    my ($full, $late) = $agent->log
        =~ /to the server \d+ datagrams, \d+ bytes, dropped (\d+) full, (\d+)/;
    cmp_ok($full, '>', 0, "$full dropped by a full queue");
    cmp_ok($late, '>', 0, "$late by age");
    cmp_ok($full + $late, '<=', $sent, 'no more than there were');
}


sub works_other {
    my ($svc) = @_;

    my $other = $server->idle;
    @{ $svc->{got} } = ();
    $other->say(open_session(1, 'e') . datagram(1, 'ping'));
    $server->wait(sub { @{ $svc->{got} } });
    send $svc->{s}, 'pong', 0, $svc->{got}[0][0];
    ok($server->wait(sub { data_of($other, 1) }), 'another channel goes on');
    return $other;
}


sub limit {
    my $svc = service(echo => 1);
    setup([ "a:$svc->{port}/udp", "b:$svc->{port}/udp" ],
          args => [ '--max-udp-sessions', 3 ]);
    $svc->{watch}->();
    $ch = $server->idle;

    $ch->say(join '', map { open_session($_, 'a') } 1 .. 4);
    ok($server->wait(sub { defined closed($ch, 4) }), 'one too many');
    is(closed($ch, 4), 4, 'cause 4');

    $ch->say(open_session(5, 'b'));
    works(5, 'another service has its own limit');
    works($_) for 1 .. 3;

    $ch->say(close_session(2) . open_session(6, 'a'));
    works(6, 'there is room again');

    teardown();
    like($agent->log, qr/1 refused/, 'it is counted');
}


sub idle {
    my $svc = service(echo => 1);
    setup([ "e:$svc->{port}/udp" ], args => [ '--udp-timeout', '2s' ]);
    $svc->{watch}->();
    $ch = $server->idle;

    $ch->say(open_session(1, 'e') . open_session(2, 'e'));
    works(1);
    works(2);

    my $begin = time;
    $server->wait(sub {
        $ch->say(datagram(2, 'tick'));
        $server->pass(0.2);
        return defined closed($ch, 1);
    });
    my $took = time - $begin;

    is(closed($ch, 1), 0, 'a quiet one ends, cause 0');
    cmp_ok($took, '>=', 2, sprintf 'not before its time (%.1f s)', $took);
    is(closed($ch, 2), undef, 'one that is used does not');

    ok($server->wait(sub { defined closed($ch, 2) }), 'but does in the end');

    teardown();
}


sub reread {
    my @svc = map { service(echo => 1) } 0 .. 2;
    my $conf = sub {
        my ($a, $b) = @_;
        my $text = "[agent]\nserver = " . $server->url
            . "\ntoken_file = %%token_file%%\nudp_timeout = 30s\n";
        $text .= "[service a]\nprotocol = udp\nlocal = 127.0.0.1:$a\n" if $a;
        $text .= "[service b]\nprotocol = udp\nlocal = 127.0.0.1:$b\n" if $b;
        return $text;
    };

    $server = ZLTunnel::Server->new($t);
    $agent = $t->agent(token => $token, wait => 0,
                       conf => $conf->(map { $_->{port} } @svc[0, 1]));
    $server->wait(sub { keys %{ $agent->services } == 2 }) or die;
    $_->{watch}->() for @svc;

    $ch = $server->idle;
    $ch->say(open_session(1, 'a') . open_session(2, 'b'));
    works($_) for 1, 2;

    $agent->write_conf($conf->(map { $_->{port} } @svc[0, 2]));
    $agent->{proc}->kill('HUP');
    ok($server->wait(sub { defined closed($ch, 2) }),
       'a service that moves: its sessions end');
    is(closed($ch, 2), 0, 'cause 0');

    my $n = @{ $svc[2]{got} };
    $ch->say(open_session(3, 'b'));
    works(3, 'new ones work');
    cmp_ok(scalar @{ $svc[2]{got} }, '>', $n, 'at the new address');
    works(1, 'the other service is not touched');

    $agent->write_conf($conf->($svc[0]{port}));
    $agent->{proc}->kill('HUP');
    ok($server->wait(sub { defined closed($ch, 3) }),
       'a service that is removed: its sessions end');
    ok($server->wait(sub { !$server->{services}{b} }), 'it is unregistered');
    works(1, 'the other service is not touched');

    teardown();
}


sub reconnects {
    my $svc = service(echo => 1);
    setup([ "e:$svc->{port}/udp" ], args => [ '--reconnect-interval', '100ms' ]);
    $svc->{watch}->();
    $ch = $server->idle;
    $ch->say(open_session(1, 'e'));
    works(1);

    my ($auths, $peer) = ($server->{auths}, $svc->{got}[0][0]);
    $server->control->drop;
    ok($server->wait(sub { $server->{auths} > $auths }, 30), 'it comes back');
    works(1, 'the session has not noticed');
    is(scalar(grep { $_->[0] ne $peer } @{ $svc->{got} }), 0,
       'and has its socket still');

    # told to go elsewhere, as at a reload
    $auths = $server->{auths};
    my $control = $server->control;
    $control->tell(msg('Disconnect', str16('reload')
                                     . ZLTunnel::Wire::ext(1, "\1")));
    ok($server->wait(sub { $server->{auths} > $auths }, 30), 'moves on');
    works(1, 'the old channel lasts');
    $control->drop;
    works(1, 'without its control channel too');
    works_on_new_channel('e', 'a new channel works beside it');

    teardown();
}


# The server had no idle channel, and asked for one.

sub fresh {
    my $svc = service(echo => 1);
    my $dead = $t->free_port;
    setup([ "e:$svc->{port}/udp" ], args => [ '--max-idle', 0 ]);
    $svc->{watch}->();

    my $id = ZLTunnel::Wire::new_id();
    $server->control->tell(msg('Connect', md5('e') . $id
                                          . str16('192.0.2.1:9')));
    my $c = $server->wait(sub { ($server->conns('fresh'))[0] });
    ok($c, 'a channel comes');
    is($c->{head}{'zltunnel-connection'}, unpack('H*', $id), 'with the id');

    $c->say(open_session(1, 'e'));
    works(1, 'and is for datagrams', $c);
    is($c->{frames}[0][0], 'Datagram', 'no ConnectAck');

    $server->control->tell(msg('Connect', md5('x') . 'y' x 16
                                          . str16('192.0.2.1:9')));
    my $f = $server->wait(sub { $server->control->{frames}[0] });
    is($f->[0], 'ConnectFail', 'not for an unknown service');

    teardown();
}


# Behind a TLS server: the frames are the same.

sub tls {
    my $svc = service(echo => 1);
    my $certs = $t->certs;

    $server = ZLTunnel::Server->new($t);
    my $port = $t->free_port;
    my $front = ZLTunnel->new(stream => <<"EOT");
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $certs/server.pem;
        ssl_certificate_key $certs/server.key;
        proxy_pass 127.0.0.1:$server->{port};
    }
EOT
    $front->start;

    $agent = $t->agent(token => $token, wait => 0, tls => 1,
                       server => "wss://127.0.0.1:$port/tunnel/v1",
                       services => [ "e:$svc->{port}/udp" ]);
    $server->wait(sub { $agent->services->{e} }) or die 'not registered';
    $svc->{watch}->();
    $ch = $server->idle;
    $ch->say(open_session(1, 'e'));

    for my $len (0, 1, 1472, 16384, 65507) {
        @{ $ch->{frames} } = ();
        $ch->say(datagram(1, bytes($len, 1)));
        $server->wait(sub { data_of($ch, 1) });
        ok(((data_of($ch, 1))[0] // '-') eq bytes($len, 1), "$len bytes");
    }

    @{ $ch->{frames} } = ();
    my @list = map { bytes(1200, $_) } 1 .. 150;
    $ch->say(join '', map { datagram(1, $_) } @list);
    $server->wait(sub { data_of($ch, 1) >= @list });
    is_deeply([ data_of($ch, 1) ], \@list, 'a burst');

    teardown();
    $front->{nginx}->stop('QUIT', 20);
    $front->check_logs;
    $front->{done} = 1;
}


# What the service answers within a second still arrives.

sub terminate {
    my $svc = service();
    setup([ "e:$svc->{port}/udp" ]);
    $svc->{watch}->();
    $ch = $server->idle;

    $ch->say(open_session(1, 'e') . datagram(1, 'question'));
    $server->wait(sub { @{ $svc->{got} } });
    $agent->{proc}->kill('TERM');
    ok($agent->logged(qr/stopping \(SIGTERM\)/), 'told to end');
    send $svc->{s}, 'answer', 0, $svc->{got}[0][0];
    ok($server->wait(sub { data_of($ch, 1) }), 'an answer still arrives');

    $ch->say(open_session(2, 'e'));
    ok($server->wait(sub { defined closed($ch, 2) }), 'no new session');

    my $begin = time;
    ok($server->wait(sub { $ch->{gone} }), 'the channel is closed');
    is($ch->{gone}, 'eof', 'in order');

    teardown(told => 1);
    cmp_ok(time - $begin, '<', 15, 'soon');
}
