#!/usr/bin/perl

# Protects: what fails fails alone.  A local service that is down, hangs or
# never answers, a server that cannot be found or trusted, too few
# connections, a thief on an idle port, nginx -t beside running traffic: each
# is told to who can mend it, and disturbs nothing else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Socket;
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(register);

subtest 'local services' => \&services;
subtest 'the server not found or not trusted' => \&servers;
subtest 'a client that gives up' => \&gives_up;
subtest '16 connections' => \&few_connections;
subtest 'a thief' => \&thief;
subtest 'nginx -t' => \&test_runs;

done_testing();


sub serves {
    my ($port) = @_;

    my $c = ZLTunnel::Wire::Socket->new($port) or return 0;
    $c->send('hello');
    my $ok = ($c->take(5) // '') eq 'hello';
    $c->close;

    return $ok;
}


sub services {
    my $t = ZLTunnel->new(workers => 2, zltunnel => 'connect_timeout 3s;');
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $hold = $t->service('hold');
    my ($down, $full) = ($t->free_port, $t->free_port);

    # its queue is full, so that further connections hang
    my $stuck = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                      LocalPort => $full, ReuseAddr => 1)
        or die "listen: $!";
    my @queue = map {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full,
                              Blocking => 0)
    } 1 .. 4;

    my $agent = $t->agent(token => $token, services => [
        "good:$echo->{port}", "down:$down", "hold:$hold->{port}",
        "stuck:$full", 'nowhere:no-such-host.invalid:80' ]);
    my %port = map { $_ => $agent->port($_) } qw(good down hold stuck nowhere);

    my $start = time;
    is(ZLTunnel::Wire::Socket->new($port{down})->ending, 'reset',
       'a service that is down: the client is reset');
    cmp_ok(time - $start, '<', 2 * slowdown(), 'at once');
    ok($agent->logged(qr/down.*refused/i), 'the agent says why');

    is(ZLTunnel::Wire::Socket->new($port{nowhere})->ending, 'reset',
       'a service whose host is unknown: the client is reset');
    ok($agent->logged(qr/nowhere|no-such-host/), 'the agent says why');

    my $c = ZLTunnel::Wire::Socket->new($port{stuck});
    is($c->ending(30), 'reset', 'a service that hangs: reset in the end');

    my @held = map { ZLTunnel::Wire::Socket->new($port{hold}) } 1 .. 20;
    $_->send('anybody?') for @held;
    ok(wait_for(sub { $t->events($hold, 'accept') == 20 }),
       'a service that never answers has its connections');
    ok(serves($port{good}), 'another service of the agent works beside it');

    # longer than any timeout that is not theirs
    is($held[0]->ending(4), 'open', 'which stay for as long as they like');

    $_->close for @held;
    ok(wait_for(sub { $t->events($hold, 'eof') == 20 }),
       'the service sees clients leave');

    $hold->{proc}->stop;       # else the agent waits for it in the end

    # the failures one after another take nothing from the others
    for (1 .. 50) {
        my $c = ZLTunnel::Wire::Socket->new($port{down});
        is($c->ending, 'reset', 'reset') if $c->ending ne 'reset';
    }
    ok(serves($port{good}), 'nor do many failures');

    $t->finish;
}


sub servers {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my ($port, $common) = ($t->free_port, $t->free_port);

    # of the same authority, for a name that is in no alternative name

    run_ok('openssl', 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout',
           "$t->{dir}/cn.key", '-out', "$t->{dir}/cn.csr", '-subj',
           '/CN=localhost');
    run_ok('openssl', 'x509', '-req', '-in', "$t->{dir}/cn.csr", '-CA',
           $t->certs . '/ca.pem', '-CAkey', $t->certs . '/ca.key',
           '-set_serial', 17, '-days', 3, '-out', "$t->{dir}/cn.pem");

    $t->write_conf(http => <<"EOT");
        server {
            listen 127.0.0.1:$common ssl;
            ssl_certificate $t->{dir}/cn.pem;
            ssl_certificate_key $t->{dir}/cn.key;
            location = /tunnel/v1 { zltunnel; }
        }
        server {
            listen 127.0.0.1:$port ssl;
            ssl_certificate ${\ $t->certs }/other.pem;
            ssl_certificate_key ${\ $t->certs }/other.key;
            location = /tunnel/v1 { zltunnel; }
        }
EOT
    $t->start;

    my $echo = $t->service('echo');
    my @ca = ('--ca-file', $t->certs . '/ca.pem');

    my @cases = (
        [ 'a name that does not resolve', qr/no-such-host\.invalid/,
          'ws://no-such-host.invalid/tunnel/v1' ],
        [ 'nobody there', qr/refused/i,
          'ws://127.0.0.1:' . $t->free_port . '/tunnel/v1' ],
        [ 'a certificate for another name',
          qr/certificate is for another name/,
          "wss://127.0.0.1:$port/tunnel/v1", @ca ],
        [ 'a certificate with a common name alone',
          qr/certificate is for another name/, "wss://localhost:$common/tunnel/v1", @ca ],
        [ 'an unknown CA', qr/certificate.*unknown authority/i, $t->url('wss') ],
        [ 'another CA', qr/certificate is not signed by what is in/,
          $t->url('wss'), '--ca-file',
          $t->certs . '/unknown.pem' ],
        [ 'no TLS where it is asked for', qr/does not speak TLS/,
          "wss://127.0.0.1:$t->{http_port}/tunnel/v1", @ca ],
        [ 'a path that is no tunnel', qr/404/,
          "ws://127.0.0.1:$t->{http_port}/elsewhere" ],
    );

    for my $case (@cases) {
        my ($name, $re, $url, @args) = @$case;

        my $agent = $t->agent(token => $token, server => $url, wait => 0,
                              args => \@args, services => ["e:$echo->{port}"]);
        ok($agent->logged($re), "$name: told") or diag($agent->log);
        ok($agent->{proc}->running, "$name: tries again");
        is(keys %{ $agent->services }, 0, "$name: nothing registered");
        is($agent->stop, 0, "$name: ends when told to");
    }

    my $agent = $t->agent(token => $token, args => ['--insecure'],
                          server => "wss://127.0.0.1:$port/tunnel/v1",
                          services => ["e:$echo->{port}"]);
    ok(serves($agent->port('e')), '--insecure connects all the same');
    ok($agent->logged(qr/insecure|not verified/i), 'with a warning');

    # by name
    $agent->stop;
    $agent = $t->agent(token => $token, args => \@ca,
                       server => $t->url('wss', 'localhost'),
                       services => ["e:$echo->{port}"]);
    ok(serves($agent->port('e')), 'localhost is in the certificate');

    $t->finish;
}


# A client that leaves while its connection waits for a channel must not keep
# its place: max_pending of them would lock everyone out while an agent is away.

sub gives_up {
    my $t = ZLTunnel->new(zltunnel => 'max_pending 3;');
    my $token = $t->token('alice');
    $t->start;

    my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
    $agent->send_msg(register('e'));
    my $port = $agent->expect('RegisterOk')->{port};
    my $pending = sub { $t->status->{tunnels}[0]{pending} };

    # while it is there, it is asked for as many as are wanted

    my @c = map { ZLTunnel::Wire::Socket->new($port) } 1 .. 5;
    $agent->expect('Connect') for @c;
    is($pending->(), 5, 'five wait');

    $_->reset for @c;
    ok(wait_for(sub { $pending->() == 0 }, 5), 'none waits when they left');

    # what is left of them must not answer for the next

    my $c = ZLTunnel::Wire::Socket->new($port);
    my $m = $agent->expect('Connect');
    $c->send('hello');
    my $d = ZLTunnel::Wire->channel($t, @{ $agent->{ok} }{qw(tunnel_id
                                    data_key)}, $m->{connection_id});
    $d->ack($m);
    is($d->bytes(5), 'hello', 'and the next one is served');
    $_->close for $c, $d;

    $agent->reset;
    ok(wait_for(sub { $t->status->{tunnels}[0]{state} eq 'disconnected' }),
       'the agent is away');

    @c = map { ZLTunnel::Wire::Socket->new($port) } 1 .. 3;
    ok(wait_for(sub { $pending->() == 3 }), 'three wait');

    my $more = ZLTunnel::Wire::Socket->new($port);
    is($more->ending(5), 'reset', 'a fourth is reset');

    $_->reset for @c;
    ok(wait_for(sub { $pending->() == 0 }, 5), 'none waits when they left');

    $more = ZLTunnel::Wire::Socket->new($port);
    is($more->ending(0.5), 'open', 'and there is room for another');
    $more->reset;

    $t->finish;
}


# So few that the range, the channels and the clients do not fit.

sub few_connections {
    my $t = ZLTunnel->new(
        range => 4, connections => 16,
        allow => [ qr/worker_connections are not enough/ ]);
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    my $port = $agent->port('e');

    ok(wait_for(sub { serves($port) }), 'one connection is served');

    my @c = grep { $_ } map { ZLTunnel::Wire::Socket->new($port) } 1 .. 30;
    my $served = 0;

    for my $c (@c) {
        $c->send('hello');
        $served++ if ($c->take(5, 0.5) // '') eq 'hello';
    }

    note "$served of 30 served at once";
    $_->close for @c;

    ok(wait_for(sub { serves($port) }, 60), 'when they have left, it serves');
    ok(wait_for(sub { $t->status }), 'and answers');

    $t->finish;
}


# Another process with SO_REUSEADDR must not get a port that is idle.

sub thief {
    my $t = ZLTunnel->new(range => 3, workers => 2,
                          zltunnel => 'reconnect_grace 1s;');
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $base = $t->{base};

    my $steal = sub {
        my ($port, $addr) = @_;

        socket(my $s, PF_INET, SOCK_STREAM, 0) or die;
        setsockopt $s, SOL_SOCKET, SO_REUSEADDR, 1;

        return bind($s, pack_sockaddr_in($port, inet_aton($addr)))
               && listen($s, 10);
    };

    for my $addr ('127.0.0.1', '0.0.0.0') {
        ok(!$steal->($_, $addr), "port $_ cannot be stolen at $addr")
            for $base .. $base + 2;
    }

    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    ok(serves($base), 'a service has the port');
    ok(!$steal->($base, '127.0.0.1'), 'nor can one in use be stolen');
    $agent->stop;

    ok(wait_for(sub { refuses($base) }), 'the port is idle again');
    ok(!$steal->($base, $_), "and cannot be stolen at $_")
        for '127.0.0.1', '0.0.0.0';

    $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    is($agent->port('e'), $base, 'the next service has it');
    ok(serves($base), 'and is served');

    $t->finish;
}


sub test_runs {
    my $t = ZLTunnel->new(range => 10, workers => 2);
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    my $port = $agent->port('e');

    my $held = $t->spawn('held', $t->nettool, 'held', $port, 20, 2);
    wait_for(sub { $held->output =~ /^held/m });

    my ($failed, $open) = (0, 0);

    for (1 .. 20) {
        my $load = $t->spawn("short-$_", $t->nettool, 'short', $port, 200, 10);

        my ($rc, $out) = $t->test_conf;
        $failed++ if $rc;
        diag($out) if $rc;

        $open += grep { !refuses($t->{base} + $_) } 1 .. 9;
        is($load->wait(60), 0, "run $_: no connection failed")
            or diag($load->output);
    }

    is($failed, 0, 'nginx -t succeeds 20 times');
    is($open, 0, 'and opens no port');

    $held->say('on');
    is($held->wait(30), 0, 'connections that were there go on')
        or diag($held->output);
    is($agent->services->{e}{lines}, 1, 'the agent noticed nothing');

    $t->finish;
}
