#!/usr/bin/perl

# Protects: bytes pass exactly, in both directions, each direction ends by
# itself, resets are passed on, and nothing that was cut off looks like an
# end.  Over ws and over wss.  Memory is bounded whatever the peer does.
#
# Long: files of 1 GiB, a slow reader watched for 20 s.  Short: 64 MiB, 5 s.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Wire;

my $size = sizes('bytes of a big file', 1 << 30, 64 << 20);
my $watch = sizes('seconds of a slow reader', 20, 5);
my $huge = 1_000_000_000;

for my $scheme (qw(ws wss)) {
    subtest $scheme => sub { relay($scheme) };
}

subtest 'timeouts' => \&timeouts;

done_testing();


sub relay {
    my ($scheme) = @_;

    my $t = ZLTunnel->new(workers => 2, range => 10);
    my $token = $t->token('alice');
    $t->start;

    my %s = map { $_ => $t->service($_) } qw(echo sum hold reset);
    $s{source} = $t->service('source', $size);
    $s{small} = $t->service('source', 100_000);
    $s{huge} = $t->service('source', $huge);

    my $agent = $t->agent(token => $token, tls => $scheme eq 'wss',
        services => [ map { "$_:$s{$_}{port}" } sort keys %s ]);
    my %port = map { $_ => $agent->port($_) } keys %s;


    # Half-close: the client first, then the service first

    my $r = $t->transfer($port{sum}, 1_000_000);
    is($r->{tail}, "$r->{sent_sha} 1000000",
       'client half-closes: the answer is of everything it sent');
    is($r->{end}, 'eof', 'and it ends cleanly');

    $r = $t->transfer($port{sum}, 0);
    is($r->{tail}, sha256_hex('') . ' 0', 'client half-closes at once');

    my $c = ZLTunnel::Wire::Socket->new($port{small});
    is(length($c->take(100_000) // ''), 100_000,
       'service half-closes: all of its bytes come');
    is($c->ending, 'eof', 'then EOF');
    $c->send('x' x 300_000);
    $c->shut;
    ok(wait_for(sub { slurp($s{small}{log}) =~ /^close 1 300000$/m }),
       'and it still gets everything from the client')
        or diag(slurp($s{small}{log}));


    # Resets

    $c = ZLTunnel::Wire::Socket->new($port{echo});
    $c->send('hello');
    is($c->take(5), 'hello', 'echo');
    $c->reset;
    ok(wait_for(sub { $t->events($s{echo}, 'reset') == 1 }),
       'the service sees the reset of a client');

    $c = ZLTunnel::Wire::Socket->new($port{reset});
    $c->send('hello');
    is($c->ending, 'reset', 'the client sees the reset of a service');

    $c = ZLTunnel::Wire::Socket->new($port{echo});
    $c->send('y' x 100_000);
    $c->reset;
    ok(wait_for(sub { $t->events($s{echo}, 'reset') == 2 }),
       'a reset behind bytes is no EOF either');

    # .. nor does it wait for a service that takes nothing

    $c = ZLTunnel::Wire::Socket->new($port{hold});
    $c->send_to_full;
    $c->reset;
    ok(wait_for(sub { $t->events($s{hold}, 'reset') == 1 }, 15),
       'a service that does not read sees it, too');


    # Big files

    my $direct = $t->transfer($s{source}{port}, '-');
    is($direct->{received}, $size, "$size bytes from the service");

    my $start = time;
    $r = $t->transfer($port{source}, '-');
    is($r->{received_sha}, $direct->{received_sha}, 'the same by the tunnel');
    is($r->{end}, 'eof', 'to a clean end');
    note sprintf 'download: %.0f MB/s', $size / 1e6 / (time - $start);

    $start = time;
    $r = $t->transfer($port{sum}, $size);
    is($r->{tail}, "$r->{sent_sha} $size", 'and to the service');
    note sprintf 'upload: %.0f MB/s', $size / 1e6 / (time - $start);

    $r = $t->transfer($port{echo}, $size);
    is("$r->{received} $r->{received_sha}", "$size $r->{sent_sha}",
       'both ways at once');
    is($r->{end}, 'eof', 'to a clean end');

    cmp_ok($t->status->{spliced}, '>', $size, 'splice was used')
        if $scheme eq 'ws';


    # Memory

    my @pids = ($agent->pid, $t->{nginx}->pid, $t->workers);
    my %before = map { $_ => memory($_) } @pids;

    my @slow = map { $t->spawn("slow-$_", $t->nettool, 'transfer', $port{$_},
                               $_ eq 'hold' ? ($huge, 100_000)
                                            : ('-', 100_000)) }
               qw(huge hold);

    my (%most, $end);
    $end = time + $watch;

    while (time < $end) {
        for my $pid (@pids) {
            my $grown = memory($pid) - $before{$pid};
            $most{$pid} = $grown if $grown > ($most{$pid} // -1e9);
        }
        sleep 0.1;
    }

    ok($_->running, 'the slow reader still reads') for @slow;

    for my $pid (@pids) {
        next if $ENV{ZLT_SLOW};        # a sanitizer's allocator never gives
        cmp_ok($most{$pid}, '<', 2048,
               "memory of $pid grew by $most{$pid} kB only");
    }

    $_->stop for @slow;
    $s{hold}{proc}->stop;      # else it is waited for, until it reads


    # Truncation.  Without TLS a killed process looks like a clean end: the
    # kernel sends its FIN, and nothing tells it from another.

    truncation($t, $token, $s{huge}) if $scheme eq 'wss';

    $t->{allow} = [ qr/exited on signal 9/ ] if $scheme eq 'wss';
    $t->finish;
}


# kB that are its own, not shared

sub memory {
    my ($pid) = @_;
    my ($kb) = slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
    return $kb // 0;
}


# Starts a download, waits until it is well under way, does something to it,
# and tells how it ends at the client.

sub cut {
    my ($port, $how) = @_;

    my $c = ZLTunnel::Wire::Socket->new($port);

    if (length($c->take(1_000_000) // '') != 1_000_000) {
        return 'no download: ' . ($c->{end} // 'open');
    }

    $how->($c);

    my $end = time + 30;
    while (!$c->{end} && time < $end) {
        $c->{in} = '';
        $c->fill(1);
    }

    return $c->{end} // 'open';
}


sub truncation {
    my ($t, $token, $huge) = @_;

    my $agent = $t->{agents}[-1];
    is(cut($agent->port('huge'), sub { $agent->{proc}->kill('KILL') }),
       'reset', 'agent killed: the client is reset');
    $agent->{proc}->wait(10);

    my $relay = $t->relay(1);
    $agent = $t->agent(token => $token, services => ["huge:$huge->{port}"],
                       server => $relay->{url},
                       args => ['--ca-file', $t->certs . '/ca.pem']);
    is(cut($agent->port('huge'), sub { $t->tell($relay, 'fin 1-') }),
       'reset', 'FIN from the path: the client is reset');
    $agent->stop;

    # The worker that holds a bridged channel

    my ($holder, $other) = $t->workers;
    my $c = bridged($t, $token, $huge, $holder, $other);
    ok($c, 'a channel at one worker, its client at the other') or return;

    kill KILL => $holder;

    my $end = time + 30;
    while (!$c->{end} && time < $end) {
        $c->{in} = '';
        $c->fill(1);
    }

    is($c->{end} // 'open', 'reset',
       'the worker with the channel killed: reset');
    wait_for(sub { ($t->workers) == 2 });
}


# A download whose client is at one worker, its channel at the other.  Channels
# go to one worker while the other is stopped, the client to the other.  A
# channel that does not answer for a second is replaced, and a machine may be
# as slow as that: so it is looked at where the bytes went, and done again
# where they did not cross.

sub bridged {
    my ($t, $token, $huge, $holder, $other) = @_;

    for my $try (1 .. 5) {
        halt($other);
        my $agent = $t->agent(token => $token, tls => 1,
                              services => ["huge:$huge->{port}"]);
        my $ready = wait_for(sub { idle($t, $holder) });
        halt($holder);
        kill CONT => $other;

        my $c = $ready && accepted($other, $agent->port('huge'));
        kill CONT => $holder;

        if ($c && length($c->take(20_000_000) // '') == 20_000_000) {
            my ($carrier) = grep { $_->{received} > 19_000_000 }
                            channels($t->{tls_port});

            return $c if $carrier
                         && has_connection($holder, $t->{tls_port},
                                           $carrier->{peer});
        }

        note "try $try: not bridged";
        $c->reset if $c;
        $agent->stop;
    }

    return undef;
}


sub idle {
    my ($t, $pid) = @_;

    my $st = $t->status or return 0;
    my ($w) = grep { $_->{pid} == $pid } @{ $st->{workers} };

    return $w && $w->{idle_channels};
}


# A client that this worker has accepted, while the one beside it is stopped.

sub accepted {
    my ($pid, $port) = @_;

    # The kernel may wake the one that is stopped, and only that one
    # (EPOLLEXCLUSIVE); the next client wakes the other.

    my ($c, @more);

    for my $try (1 .. 20) {
        push @more, ZLTunnel::Wire::Socket->new($port);

        wait_for(sub {
            ($c) = grep { has_connection($pid, $port, $_->{s}->sockport) } @more;
            return $c;
        }, 0.5) and last;
    }

    $_->reset for grep { !$c || $_ != $c } @more;
    return $c;
}


# The connections of a port, by its side: { peer (a port), received (bytes) }

sub channels {
    my ($port) = @_;

    return map {
        /:$port\s+\S+:(\d+)\s.*bytes_received:(\d+)/
        ? { peer => $1, received => $2 } : ()
    } split /\n/, run_ok('ss', '-OtinH', "sport = :$port");
}


# What ends by time: an idle connection where zltunnel_timeout says so, and a
# half-closed one.

sub timeouts {
    my $t = ZLTunnel->new(ports => 'zltunnel_timeout 1s;', range => 2);
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));

    for (1 .. 5) {
        $c->send('still here');
        is($c->take(10), 'still here', 'a connection in use goes on');
        sleep 0.4;
    }

    is($c->ending(10), 'reset', 'an idle one is reset at zltunnel_timeout');
    ok(wait_for(sub { $t->events($echo, 'reset') == 1 }),
       'and the service sees it');

    $t->finish;
}
