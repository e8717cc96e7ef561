package ZLTunnel::Paths;

# What a relay must keep, whatever lies between agent and nginx: the same
# scenes for every path, a proxy, another server in front, another framing.
#
#     my $p = ZLTunnel::Paths->new($t, name => 'squid',
#                 agent => { tls => 1, args => [ '--proxy', $url ] });
#     $p->all;
#     $p->end;
#
# or one by one: bytes, half_close, resets, truncation, slow_reader, many,
# datagrams, idle.  Each is a subtest of its own, named after the path.
#
# Options: name; token (the paths of one harness share one, and so their ports,
# nine of them, if there is none); agent, the options of ZLTunnel's agent(), but
# for token and services; keeps, a hash that says what
# such a path can keep and what not, everything by default:
#
#     half_close    an end in one direction alone
#     resets        a reset arrives as one
#     truncation    what is cut off does not look like an end (never over ws)
#
# What a path does not keep is not asked for: then connections are ended by
# whoever has had all that it expected, as most protocols do.
#
# cut: a sub that cuts the path in the middle of a transfer, as a killed proxy
# does; size (bytes of a big transfer), connections, watch (seconds of the
# slow reader).  UDP ports are used if the harness was made with udp => 1.

use strict;
use warnings;

use Digest::SHA ();
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);

use ZLTunnel;
use ZLTunnel::UDP;
use ZLTunnel::Wire;

use constant HUGE => 1_000_000_000;

# for hundreds of connections at once, in the zltunnel block

use constant LIMITS => 'max_pending 4000; max_channel_share 90%; '
                       . 'connect_timeout 60s;';

my $block = join '', map { chr int rand 256 } 1 .. 65521;


sub new {
    my ($class, $t, %o) = @_;

    my $self = bless { size => 16 << 20, connections => 100, watch => 3,
                       keeps => {}, agent => {}, %o, t => $t }, $class;

    $self->{name} //= 'path';
    $self->{token} //= $t->{path_token} //= $t->token('path');

    $self->{s}{$_} = $t->service($_) for qw(echo sum hold reset);
    $self->{s}{source} = $t->service('source', $self->{size});
    $self->{s}{small} = $t->service('source', 100_000);
    $self->{s}{huge} = $t->service('source', HUGE);

    if ($t->{udp}) {
        my $port = $t->free_port;
        my $proc = $t->spawn("udp-echo-$port", $t->nettool, 'udp-echo', $port);
        wait_for(sub { $proc->output =~ /ready/ }) or die 'no UDP service';
        $self->{s}{datagrams} = { port => $port, udp => 1, proc => $proc };
    }

    $self->start_agent;
    return $self;
}


# Starts the agent, again too.

sub start_agent {
    my ($self) = @_;

    my $s = $self->{s};

    $self->{real} = $self->{t}->agent(
        %{ $self->{agent} }, token => $self->{token},
        services => [ map {
            "$_:$s->{$_}{port}" . ($s->{$_}{udp} ? '/udp' : '')
        } sort keys %$s ]);

    $self->{port} = { map { $_ => $self->{real}->port($_) } keys %$s };
    return $self->{real};
}


sub keeps {
    my ($self, $what) = @_;
    return $self->{keeps}{$what} // 1;
}


# Ends what new() has started; the harness goes on.

sub end {
    my ($self) = @_;

    is($self->{real}->stop, 0, "$self->{name}: the agent ends with 0")
        if $self->{real}{proc}->running;
    $_->{proc}->stop for values %{ $self->{s} };
}


sub all {
    my ($self) = @_;

    $self->bytes;
    $self->half_close if $self->keeps('half_close');
    $self->resets if $self->keeps('resets');
    $self->slow_reader;
    $self->many;
    $self->datagrams if $self->{t}{udp};
    $self->truncation if $self->keeps('truncation');
}


sub scene {
    my ($self, $what, $code) = @_;
    subtest "$self->{name}: $what" => $code;
}


# Exact bytes: to the client, to the service, both ways at once.

sub bytes {
    my ($self) = @_;

    my ($t, $port, $size) = @$self{qw(t port size)};

    $self->scene('bytes', sub {
        my $direct = $t->transfer($self->{s}{source}{port}, '-');
        is($direct->{received}, $size, "$size bytes from the service");

        my $r = $t->transfer($port->{source}, '-');
        is($r->{received_sha}, $direct->{received_sha}, 'the same by the path');
        is($r->{end}, 'eof', 'to a clean end');

        $r = exchange($port->{echo}, $size);
        is("$r->{received} $r->{received_sha}", "$size $r->{sent_sha}",
           "$size bytes both ways at once");

        $r = exchange($port->{echo}, 1) for 1 .. 20;
        is($r->{received_sha}, $r->{sent_sha}, 'and single ones');
    });
}


# Sends so many bytes to an echo and reads them back; nobody ends before all
# have come.

sub exchange {
    my ($port, $size) = @_;

    my $c = ZLTunnel::connect_to($port) or return { received => 'refused' };
    my ($out, $in) = map { Digest::SHA->new(256) } 1 .. 2;
    my ($made, $got, $buf) = (0, 0, '');
    my $end = time + 120 * slowdown();

    $c->blocking(0);

    while ($got < $size && time < $end) {
        if ($buf eq '' && $made < $size) {
            $buf = substr pack('Q>', $made) . $block, 0, $size - $made;
            $made += length $buf;
            $out->add($buf);
        }

        my ($rin, $win) = ('', '');
        vec($rin, fileno $c, 1) = 1;
        vec($win, fileno $c, 1) = 1 if $buf ne '';
        select($rin, $win, undef, 10) > 0 or last;

        if (vec $win, fileno $c, 1) {
            my $n = syswrite $c, $buf;
            last if !defined $n && !$!{EAGAIN};
            substr $buf, 0, $n // 0, '';
        }

        if (vec $rin, fileno $c, 1) {
            my $n = sysread $c, my $data, 262144;
            last if defined $n ? !$n : !$!{EAGAIN};
            $got += $n // 0;
            $in->add($data) if $n;
        }
    }

    return { received => $got, sent_sha => $out->hexdigest,
             received_sha => $in->hexdigest };
}


# Each direction ends by itself.

sub half_close {
    my ($self) = @_;

    my ($t, $port, $s) = @$self{qw(t port s)};

    $self->scene('half-close', sub {
        my $r = $t->transfer($port->{sum}, $self->{size});
        is($r->{tail}, "$r->{sent_sha} $self->{size}",
           'the client ends first: the answer is of everything it sent');
        is($r->{end}, 'eof', 'and it ends cleanly');

        $r = $t->transfer($port->{sum}, 0);
        is($r->{tail}, sha256_hex('') . ' 0', 'the client ends at once');

        my $c = ZLTunnel::Wire::Socket->new($port->{small});
        is(length($c->take(100_000) // ''), 100_000,
           'the service ends first: all of its bytes come');
        is($c->ending, 'eof', 'then EOF');

        $c->send('x' x 300_000);
        $c->shut;
        ok(wait_for(sub { slurp($s->{small}{log}) =~ /^close \d+ 300000$/m }),
           'and it still gets everything from the client');
    });
}


sub resets {
    my ($self) = @_;

    my ($t, $port, $echo) = ($self->{t}, $self->{port}, $self->{s}{echo});

    $self->scene('resets', sub {
        my $before = $t->events($echo, 'reset');

        my $c = ZLTunnel::Wire::Socket->new($port->{echo});
        $c->send('hello');
        is($c->take(5), 'hello', 'echo');
        $c->reset;
        ok(wait_for(sub { $t->events($echo, 'reset') == $before + 1 }),
           'the service sees the reset of a client');

        $c = ZLTunnel::Wire::Socket->new($port->{reset});
        $c->send('hello');
        is($c->ending, 'reset', 'the client sees the reset of a service');

        $c = ZLTunnel::Wire::Socket->new($port->{echo});
        $c->send('y' x 100_000);
        $c->reset;
        ok(wait_for(sub { $t->events($echo, 'reset') == $before + 2 }),
           'a reset behind bytes is no EOF either');
    });
}


# What is cut off in the middle is reset at the client: by the agent's death,
# and by the path's.

sub truncation {
    my ($self) = @_;

    $self->scene('truncation', sub {
        is($self->cut_off(sub { $self->{real}{proc}->kill('KILL') }), 'reset',
           'the agent is killed: the client is reset');

        $self->{real}{proc}->wait(10);
        $self->start_agent;

        if ($self->{cut}) {
            is($self->cut_off($self->{cut}), 'reset',
               'the path is cut: the client is reset');
        }
    });
}


# Starts a download, does something to it when it is well under way, and tells
# how it ends at the client.

sub cut_off {
    my ($self, $how) = @_;

    my $c = ZLTunnel::Wire::Socket->new($self->{port}{huge});

    if (length($c->take(1_000_000, 20) // '') != 1_000_000) {
        return 'no download: ' . ($c->{end} // 'open');
    }

    $how->();

    my $end = time + 30;
    while (!$c->{end} && time < $end) {
        $c->{in} = '';
        $c->fill(1);
    }

    return $c->{end} // 'open';
}


# Memory at both ends is bounded while somebody reads slowly.

sub slow_reader {
    my ($self) = @_;

    my ($t, $port) = @$self{qw(t port)};

    $self->scene('slow reader', sub {
        my @pids = ($self->{real}->pid, $t->workers);
        my %before = map { $_ => memory($_) } @pids;

        my @slow = map {
            $t->spawn("slow-$_-$$self{name}", $t->nettool, 'transfer',
                      $port->{$_}, $_ eq 'hold' ? (HUGE, 100_000)
                                                : ('-', 100_000))
        } qw(huge hold);

        my (%most, $end);
        $end = time + $self->{watch};

        while (time < $end) {
            for my $pid (@pids) {
                my $grown = memory($pid) - $before{$pid};
                $most{$pid} = $grown if $grown > ($most{$pid} // -1e9);
            }
            sleep 0.1;
        }

        ok($_->running, 'the slow reader still reads') for @slow;

        for my $pid (@pids) {
            next if $ENV{ZLT_SLOW};        # a sanitizer's allocator
            cmp_ok($most{$pid}, '<', 2048,
                   "memory of $pid grew by $most{$pid} kB only");
        }

        $_->stop for @slow;
    });

    # the one that never reads would be waited for at the end

    $self->{s}{hold}{proc}->stop;
}


# kB that are its own, not shared

sub memory {
    my ($pid) = @_;
    my ($kb) = slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
    return $kb // 0;
}


# Many at once, each with bytes of its own, and many in a row.

sub many {
    my ($self) = @_;

    my ($t, $port, $n) = ($self->{t}, $self->{port}{echo},
                          $self->{connections});

    $self->scene("$n connections", sub {
        my $load = $t->spawn("held-$self->{name}", $t->nettool, 'held', $port,
                             $n, 3);
        ok(wait_for(sub { $load->output =~ /^held/m || !$load->running }, 120),
           'all are open');
        is(($load->output =~ /^held (\d+)/m)[0], $n, "$n are held")
            or diag($load->output);

        $load->say('go on');
        is($load->wait(120), 0, 'all exchange and end') or diag($load->output);

        my ($rc, $out) = run({ timeout => 240 }, $t->nettool, 'short', $port,
                             $n, 20);
        is($rc, 0, "$n short ones, none failed") or diag($out);

        ok(wait_for(sub { $t->service_status('echo')->{active} == 0 }),
           'none is left');
    });
}


# Datagrams of all sizes, whole, once, in order.

sub datagrams {
    my ($self) = @_;

    my ($t, $port) = ($self->{t}, $self->{port}{datagrams});

    $self->scene('datagrams', sub {
        my $c = ZLTunnel::UDP->client($port);

        for my $size (0, 1, 1200, 1472, 9000, 32768, 65506, 65507) {
            my $data = join '', map { chr int rand 256 } 1 .. $size;
            my ($ok, $try);

            # the first may be lost to nobody's fault: it is UDP
            for $try (1 .. 3) {
                $c->send($data);
                $ok = $c->recv(3);
                last if defined $ok;
            }

            ok(defined $ok && $ok eq $data, "a datagram of $size bytes");
        }

        my ($rc, $out, %r);

        # those that wait for 100 ms are dropped: a sanitized agent may have to
        # wait for the processor that long

        for (1 .. ($ENV{ZLT_SLOW} ? 3 : 1)) {
            ($rc, $out) = run({ timeout => 120 }, $t->nettool, 'udp', $port,
                              'clients=20', 'count=50', 'size=16-8000',
                              'window=2', 'quiet=3000');
            %r = ($out =~ /(\w+) (\d+(?:\.\d+)?)/g);
            last if $rc || grep { $_ } 1000 == $r{received},
                                       @r{qw(again foreign corrupt)};
        }

        is($rc, 0, '20 clients') or diag($out);
        is($r{received}, 1000, 'all of their datagrams come back');
        is("@r{qw(again foreign corrupt)}", '0 0 0',
           'in order, each to its own, exact');
    });
}


# Nothing happens for so many seconds: the control channel, the idle channels
# and a session of datagrams are there afterwards.

sub idle {
    my ($self, $seconds) = @_;

    my ($t, $port) = @$self{qw(t port)};

    $self->scene("idle for $seconds s", sub {
        my $repeated = $t->status->{repeated};
        my $id = tunnel($t)->{id};
        my ($c, $sessions);

        if ($t->{udp}) {
            $c = ZLTunnel::UDP->client($port->{datagrams});
            $c->send('before');
            is($c->recv, 'before', 'a session of datagrams');
            $sessions = $t->service_status('datagrams')->{total};
        }

        my $opened = settled($t);
        sleep $seconds;
        is(channels($t), $opened, 'no channel was opened meanwhile');

        my $tunnel = tunnel($t);

        is($tunnel && $tunnel->{id}, $id, 'the tunnel is there');
        unlike($self->{real}->log, qr/control channel was (lost|closed)|asked/,
               'and its control channel was not lost meanwhile');
        cmp_ok($tunnel->{idle_channels}, '>=', 1, 'there are idle channels');

        my $r = exchange($port->{echo}, 1000);
        is($r->{received_sha}, $r->{sent_sha}, 'which carry connections');
        is($t->status->{repeated}, $repeated, 'without a second attempt');

        if ($c) {
            $c->send('after');
            is($c->recv, 'after', 'the session of datagrams goes on');
            is($t->service_status('datagrams')->{total}, $sessions,
               'and is the same one');
        }
    });
}


# How many channels were opened so far, and that once no more are.

sub channels {
    my ($t) = @_;

    my @lines = slurp("$t->{dir}/logs/access.log") =~ / 101 /g;
    return scalar @lines;
}

sub settled {
    my ($t) = @_;

    my ($n, $since) = (0, time);

    wait_for(sub {
        my $now = channels($t);
        ($n, $since) = ($now, time) if $now != $n;
        return time - $since > 1;
    });

    return $n;
}


sub tunnel {
    my ($t) = @_;
    return (grep { $_->{state} eq 'connected' } @{ $t->status->{tunnels} })[0];
}


1;
