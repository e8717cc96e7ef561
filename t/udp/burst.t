#!/usr/bin/perl

# Protects: UDP clients that come in the same moment.  Hundreds of them, while
# the worker is busy: none is lost for want of room in the socket, at a port
# and by zltunnel_pass, and what each sends comes in order.  Where "rcvbuf" of
# the listen directive gives less room it is less, and what the kernel dropped
# is in the status.  A flood of clients at one service leaves room for new ones
# of another, also with few connections.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::UDP;

my $n = sizes('clients at once', 2_000, 500);

need_nofile(2 * $n + 500);

subtest "$n new clients at a $_" => \&burst, $_ for 'port', 'pass';
subtest 'what the kernel drops' => \&dropped;
subtest 'a flood with few connections' => \&flood;
subtest 'nginx -t' => \&warned;

done_testing();


# A server, an agent with an echo service each for "a" and "b"; $o{listen} are
# the parameters of the ports.

sub server {
    my (%o) = @_;

    my $listen = delete $o{listen} // '';
    my $t = ZLTunnel->new(connections => 8192, range => 2,
                          zltunnel => 'max_udp_sessions 4096;', %o);
    my $pass = $t->free_port;
    my $last = $t->{base} + 1;

    $t->write_conf(
        ports => "listen 127.0.0.1:$t->{base}-$last udp $listen;",
        stream => "server { listen 127.0.0.1:$pass udp;
                            zltunnel_pass a token=alice; }");
    my $token = $t->token('alice');
    $t->start;

    my $local = $t->free_port;
    my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $local);
    wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo';

    my $agent = $t->agent(token => $token, services => [
                              map { "$_:$local/udp" } qw(a b) ]);

    return ($t, { pass => $pass, map { $_ => $agent->port($_) } qw(a b) });
}


# While the worker does something else, as it may be for milliseconds.

sub asleep {
    my ($t, $do) = @_;

    my ($worker) = $t->workers;

    halt($worker);
    $do->();
    kill CONT => $worker;
}


sub answered {
    my (@clients) = @_;

    my %left = map { $_ => $_ } @clients;

    wait_for(sub {
        defined $left{$_}->recv(0) and delete $left{$_} for keys %left;
        return !%left;
    }, 10);

    return @clients - keys %left;
}


sub burst {
    my ($where) = @_;

    plan(skip_all => 'needs root: SO_RCVBUFFORCE') if $> != 0;

    my ($t, $port) = server();
    my $at = $port->{ $where eq 'port' ? 'a' : 'pass' };
    my @c = map { ZLTunnel::UDP->client($at) } 1 .. $n;

    asleep($t, sub { $_->send('hello') for @c });
    is(answered(@c), $n, 'all are answered');

    # each with several, between those of the others

    @c = map { ZLTunnel::UDP->client($at) } 1 .. 100;
    asleep($t, sub {
        for my $i (1 .. 5) { $_->send("number $i") for @c }
    });

    my $wrong = 0;
    for my $c (@c) {
        for my $i (1 .. 5) {
            last if $wrong;
            $wrong++ if ($c->recv // '') ne "number $i";
        }
    }
    is($wrong, 0, 'several datagrams of each, in order');

    is($t->service_status('a')->{dropped}{kernel}, 0,
       'the kernel has dropped none');

    $t->finish;
}


sub dropped {
    my ($t, $port) = server(listen => 'rcvbuf=32k');
    my @c = map { ZLTunnel::UDP->client($port->{a}) } 1 .. 300;

    asleep($t, sub { $_->send('hello') for @c });

    my $served = 0;
    ok(wait_for(sub {
        my $s = $t->service_status('a');
        my $was = $served;
        $served = $s->{active};
        return $served && $served == $was;
    }), 'some are served');
    cmp_ok($served, '<', 300, "$served, as rcvbuf says, not all");

    # it is told with the next one that comes

    my $c = ZLTunnel::UDP->client($port->{a});
    $c->send('hello');
    is($c->recv, 'hello', 'another one');

    my $s = $t->service_status('a');
    is($s->{dropped}{kernel}, 300 - $served,
       'what the kernel dropped is in the status');
    is($t->service_status('b')->{dropped}{kernel}, 0, 'of that service');

    $t->finish;
}


# As many connections as Debian's nginx.conf gives.

sub flood {
    my ($t, $port) = server(connections => 768, zltunnel => '');

    my @flood = map { ZLTunnel::UDP->client($port->{a}) } 1 .. 700;
    my $old = ZLTunnel::UDP->client($port->{b});

    $old->send('before');
    is($old->recv, 'before', 'a client of another service');

    for my $round (1 .. 3) {
        $_->send('x') for @flood;
        wait_for(sub {
            my $s = $t->service_status('a');
            $s->{active} && $s->{active} + $s->{dropped}{limit}
                            >= 700 + ($round - 1) * 100;
        }, 10);
    }

    my $active = $t->service_status('a')->{active};
    cmp_ok($active, '>', 100, "the flood has $active sessions");
    cmp_ok($active, '<', 384, 'not all that there may be');

    for my $i (1 .. 20) {
        my $c = ZLTunnel::UDP->client($port->{b});
        $c->send("new $i");
        is($c->recv, "new $i", 'a new client of the other service is served');
    }

    $old->send('after');
    is($old->recv, 'after', 'and the one that was there');

    $t->finish;
}


sub warned {
    my $t = ZLTunnel->new(connections => 768, udp => 1);
    $t->token('alice');

    my (undef, $out) = $t->test_conf;
    like($out, qr/max_udp_sessions 1024.*worker_connections/,
         '768 connections: a warning');

    (undef, $out) = $t->test_conf(zltunnel => 'max_udp_sessions 200;');
    unlike($out, qr/max_udp_sessions/, 'not for 200 sessions');

    (undef, $out) = $t->test_conf(zltunnel => '', udp => 0);
    unlike($out, qr/max_udp_sessions/, 'nor without UDP');

    $t->finish;
}
