#!/usr/bin/perl

# Protects: on-demand access over UDP.  Many clients at one local socket, each
# has its own answers and nobody else's, whole and once: dig and a real name
# server, a thousand clients, the largest datagrams; clients that are
# forgotten, a service that is down, a channel that is lost, and the end.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Middle qw(installed);

need_nofile(4096);

subtest "clients over $_" => \&clients, $_ for qw(ws wss websocket);
subtest 'failures' => \&failures;
subtest 'the end' => \&the_end;

done_testing();


sub scene {
    my ($tls, $rights, @args) = @_;

    my $t = ZLTunnel->new(workers => 4);
    my ($dns, $port) = map { $t->free_port } 1 .. 2;

    my $serve = $t->token('site');
    my $token = $t->token('alice', "access=* $rights");
    $t->start;

    my $serving = $t->agent(token => $serve, tls => $tls, services =>
        [ "echo:$port/udp/private", "dns:$dns/udp/private" ]);
    my $visitor = $t->agent(token => $token, tls => $tls, wait => 0, access =>
        [ 'echo/udp', 'dns/udp', @args ]);

    my $local = $visitor->granted('echo') or die $visitor->log;

    return { t => $t, port => $port, dns => $dns, serving => $serving,
             visitor => $visitor, local => $local };
}


sub echo {
    my ($s) = @_;

    my $echo = $s->{t}->spawn('udp-echo', $s->{t}->nettool, 'udp-echo',
                              $s->{port});
    wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo service';
    return $echo;
}


sub client {
    my ($port) = @_;
    return IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
                                 PeerPort => $port) || die "client: $@";
}


# Sends, and again each second, until that comes back.

sub exchange {
    my ($c, $data, $tries) = @_;

    for (1 .. $tries // 10) {
        send $c, $data, 0;
        my $end = time + 1;

        while (time < $end) {
            vec(my $rin = '', fileno $c, 1) = 1;
            select($rin, undef, undef, $end - time) or last;
            recv $c, my $got, 70000, 0;
            return 1 if defined $got && $got eq $data;
        }
    }

    return 0;
}


sub clients {
    my ($scheme) = @_;

    my $s = scene($scheme eq 'wss', '', $scheme eq 'websocket'
                                        ? ('--transport', 'websocket') : ());
    my $t = $s->{t};

    echo($s);
    dig($s);

    my $c = client($s->{local});
    ok(exchange($c, $_ ? join('', map { chr(rand 256) } 1 .. $_) : ''),
       "a datagram of $_ bytes") for 1, 1200, 65507, 0;

    # each client its own, in order, once
    my $n = sizes('clients', 500, 100);
    my ($rc, $out) = run({ timeout => 120 }, $t->nettool, 'udp', $s->{local},
                         "clients=$n", 'count=50', 'window=1',
                         'size=40-1200');
    my %r = ($out =~ /(\w+) (\d+(?:\.\d+)?)/g);

    is($rc, 0, 'a load ends') or diag($out);
    is($r{$_}, 0, "none $_") for qw(again foreign corrupt refused);
    cmp_ok($r{received}, '>=', 0.98 * $r{sent}, 'and few are lost')
        or diag($out);

    my $x = $s->{visitor}->session('echo');
    is($x->{protocol}, 'udp', 'sessions: the protocol');
    cmp_ok($x->{connections}{active}, '>=', 100, 'clients');
    cmp_ok($x->{bytes}{in}, '>', 65507, 'bytes in');
    cmp_ok($x->{bytes}{out}, '>', 65507, 'and out');

    ok(wait_for(sub {
        my ($st) = grep { $_->{service} eq 'echo' } @{ $t->status->{access} };
        return $st && $st->{protocol} eq 'udp' && $st->{bytes}{in} > 65507;
    }), 'the server counts as well');

    $t->finish;
}


sub dig {
    my ($s) = @_;

    my $t = $s->{t};
    my $dnsmasq = installed('dnsmasq');

    SKIP: {
        skip 'no dnsmasq and dig here', 3 unless $dnsmasq && installed('dig');

        my $hosts = join '', map { "host-record=h$_.test.example,192.0.2.$_\n" }
                             1 .. 100;
        write_file("$t->{dir}/dnsmasq.conf", <<"EOT");
port=$s->{dns}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
$hosts
EOT
        $t->spawn('dnsmasq', $dnsmasq, '-k', '-d', '-u', scalar getpwuid $>,
                  '-C', "$t->{dir}/dnsmasq.conf");
        wait_for(sub { connect_to($s->{dns}) }) or die 'no dnsmasq';

        my @dig = ('dig', '@127.0.0.1', '-p', $s->{visitor}->granted('dns'),
                   '+time=3', '+tries=5', '+nocookie');

        is(run_ok(@dig, '+short', 'h7.test.example', 'A'), "192.0.2.7\n",
           'dig has an address');
        like(run_ok(@dig, 'nothing.test.example', 'A'), qr/REFUSED|NXDOMAIN/,
             'and a name that is not there has none');

        write_file("$t->{dir}/names", join '', map { "h$_.test.example A\n" }
                                               1 .. 100);
        is(run_ok({ timeout => 60 }, @dig, '+short', '-f', "$t->{dir}/names"),
           join('', map { "192.0.2.$_\n" } 1 .. 100), 'a hundred of them');
    }
}


sub failures {
    my $s = scene(0, '', '--udp-timeout', '2s');
    my $t = $s->{t};
    my $visitor = $s->{visitor};

    # nobody at the service: datagrams are lost, nothing else
    my $c = client($s->{local});
    send $c, 'anybody?', 0;
    ok($visitor->logged(qr/"echo" failed: the other end has closed a session/),
       'a service that is down ends the session') or diag($visitor->log);

    my $echo = echo($s);
    ok(exchange($c, 'now'), 'the same client has an answer once it is up');

    ok(wait_for(sub {
        $visitor->session('echo')->{connections}{active} == 0
    }), 'a quiet client is forgotten');
    ok(exchange($c, 'again'), 'and welcome again');

    # the serving agent comes back: another channel, new sessions
    my $d = client($s->{local});
    ok(exchange($d, 'one more'), 'another client');
    $s->{serving}{proc}->kill('KILL');
    $s->{serving}{proc}->wait(10);
    $s->{serving}->launch;
    ok($s->{serving}->registered(2), 'the serving agent is killed and back');

    ok(exchange($_, 'after that', 20), 'a client goes on') for $c, $d;

    # the visitor's way to the server breaks
    my $pid = ($t->workers)[0];
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { !grep { $_ == $pid } $t->workers }), 'nginx reloads');
    ok(exchange($_, 'and after that', 20), 'a client goes on') for $c, $d;

    $t->finish;
}


sub the_end {
    my $s = scene(0, 'access_ttl=1h', '--ttl', '4s');
    my $t = $s->{t};
    my $visitor = $s->{visitor};

    echo($s);

    my $c = client($s->{local});
    ok(exchange($c, 'before'), 'before the deadline');

    is($visitor->{proc}->wait(20), 0, 'at the deadline the command ends');
    like($visitor->log, qr/"echo" has ended: its time is over; 1 connection in all/,
         'with its line');

    send $c, 'after', 0;
    sleep 0.2;
    ok(!defined(send $c, 'after', 0) && $!{ECONNREFUSED},
       'nobody is at the socket any more');

    $t->finish;
}
