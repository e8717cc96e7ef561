#!/usr/bin/perl

# Protects: the sockets of UDP clients. Wildcard addresses answer from the
# address that was asked, IPv6 works as IPv4 does, and a wildcard port closes
# and opens like any other; nginx's access rules and limits hold; without a
# master process; and when the binary is upgraded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::UDP;
use ZLTunnel::Wire qw(msg);

my $ipv6 = eval { IO::Socket::IP->new(LocalHost => '::1', Proto => 'udp') };

subtest 'wildcard ports' => \&wildcard;
subtest 'IPv6' => \&ipv6;
subtest 'rules' => \&rules;
subtest 'without a master' => \&single;
subtest 'few connections' => \&few;
subtest 'channels of other workers' => \&elsewhere;
subtest 'an upgrade' => \&upgrade;

done_testing();


sub ask {
    my ($a, $port, $what, %o) = @_;

    my $c = ZLTunnel::UDP->client($port, %o);
    $c->send("hello $what");

    my $open = $a->session("hello $what");
    is($open->{client_addr}, $c->{addr}, "$what: the client's address");

    # The client is connected: from another address it would not be taken.

    $a->answer($open, $_) for "one $what", 'two', 'six';
    is($c->recv, $_, "$what: an answer") for "one $what", 'two', 'six';

    return ($c, $open);
}


sub wildcard {
    my $t = ZLTunnel->new(workers => 2, udp => 0);
    my $port = $t->{base};
    $t->write_conf(stream => '', conf => undef, ports => '');

    my $conf = slurp("$t->{dir}/nginx.conf");
    $conf =~ s/listen 127.0.0.1:\Q$port\E-(\d+);/listen $port-$1 udp;/;
    $t->write_conf(conf => $conf);

    my $token = $t->token('alice');
    $t->start;

    for my $round (1 .. 3) {
        ok(ZLTunnel::UDP::refuses($port, PeerHost => $_), "$_ is closed")
            for '127.0.0.1', '127.0.0.2';

        my $a = ZLTunnel::UDP->agent($t, $token, 'w');
        is($a->port('w'), $port, 'the port');

        for my $host ('127.0.0.1', '127.0.0.2', '127.1.2.3') {
            ask($a, $port, "$host, round $round", PeerHost => $host);
        }

        # one client, two of our addresses: two sessions

        my $c = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1')
            or die;
        for my $host ('127.0.0.1', '127.0.0.2') {
            send $c, $host, 0,
                 Socket::pack_sockaddr_in($port, Socket::inet_aton($host));
            my $open = $a->session($host);
            $a->answer($open, "from $host");
            vec(my $rin = '', fileno $c, 1) = 1;
            select $rin, undef, undef, 10;
            my $from = recv $c, my $data, 100, 0;
            is($data, "from $host", 'its answer');
            is(Socket::inet_ntoa((Socket::unpack_sockaddr_in($from))[1]),
               $host, 'from the address that was asked');
        }

        $a->{control}->send_msg(msg('Unregister', $a->id('w')));
        ok(wait_for(sub { ZLTunnel::UDP::refuses($port) }, 10), 'closed');
        $a->close;
    }

    $t->finish;
}


sub ipv6 {
    plan(skip_all => 'no IPv6 here') unless $ipv6;

    my $t = ZLTunnel->new(workers => 2, udp => 1);
    my $port = $t->{base};
    $t->write_conf(ports => "listen [::]:$port-$t->{base} udp;"
                            . "listen [::1]:" . ($port + 1) . " udp;");
    my $token = $t->token('alice');
    $t->start;

    ok(ZLTunnel::UDP::refuses($port, PeerHost => '::1'), 'closed');

    my $a = ZLTunnel::UDP->agent($t, $token, [ 'one', 'two' ], channels => 2);

    for my $n ('one', 'two') {
        ask($a, $a->port($n), "$n, IPv6", PeerHost => '::1');
        ask($a, $a->port($n), "$n, IPv4");
    }

    $a->{control}->send_msg(msg('Unregister', $a->id('one')));
    ok(wait_for(sub { ZLTunnel::UDP::refuses($port, PeerHost => '::1')
                      && ZLTunnel::UDP::refuses($port) }, 10),
       'both are closed');

    $a->close;
    $t->finish;
}


sub rules {
    my $t = ZLTunnel->new(workers => 1, udp => 1,
                          stream => 'limit_conn_zone $binary_remote_addr'
                                    . ' zone=clients:1m;');
    $t->write_conf(ports => 'allow 127.0.0.1; allow 127.0.0.2; deny all;'
                            . ' limit_conn clients 2;',
                   stream => '');
    my $conf = slurp("$t->{dir}/nginx.conf");
    $conf =~ s/^stream \{/stream {
                           limit_conn_zone \$binary_remote_addr
                                           zone=clients:1m;/m;
    $t->write_conf(conf => $conf);

    my $token = $t->token('alice');
    $t->start;

    my $a = ZLTunnel::UDP->agent($t, $token, 'r');
    my $port = $a->port('r');

    ZLTunnel::UDP->client($port, LocalHost => '127.0.0.3')->send('denied');
    my @first = map { (ask($a, $port, "client $_"))[0] } 1, 2;

    my $third = ZLTunnel::UDP->client($port);
    $third->send('one too many');
    ask($a, $port, 'another address', LocalHost => '127.0.0.2');

    is($a->next(0.2), undef, 'nothing of the others');
    is($t->service_status('r')->{total}, 3, 'three sessions');
    like($t->log, qr/access forbidden by rule.*client: 127\.0\.0\.3/,
         'the rule is logged');
    like($t->log, qr/limiting connections by zone "clients"/,
         'and the limit');

    $a->close;
    $t->finish;
}


sub single {
    my $t = ZLTunnel->new(workers => 1, master => 'off', udp => 1);
    my $token = $t->token('alice');
    $t->start;

    my $a = ZLTunnel::UDP->agent($t, $token, 's', channels => 2);
    my ($c, $open) = ask($a, $a->port('s'), 'one');
    ask($a, $a->port('s'), 'two');

    $a->close;
    $t->finish;
}


# Forged addresses leave connections for others.

sub few {
    my $t = ZLTunnel->new(workers => 1, udp => 1, connections => 128);
    my $token = $t->token('alice');
    $t->start;

    my $a = ZLTunnel::UDP->agent($t, $token, 'f', channels => 2);
    my @c = map { ZLTunnel::UDP->client($a->port('f')) } 1 .. 200;
    $_->send('x') for @c;

    # until no more come
    my $n = 0;
    my $end = time + 20;
    while (time < $end) {
        my $m = $a->next(0.5);
        last if !$m && $n;
        $n++ if $m && $m->{type} eq 'DatagramOpen';
    }

    cmp_ok($n, '>', 30, "$n sessions");
    cmp_ok($n, '<', 100, 'and not one for everybody');

    my $s = $t->service_status('f');
    ok($s, 'there are connections left');
    is($s->{active} + $s->{dropped}{limit}, 200, 'all are counted');

    $a->close;
    $t->finish;
}


# The worker that has the port need not be the one that has the channel: a plain
# one moves, one under TLS is reached by a bridge.

sub elsewhere {
    my $t = ZLTunnel->new(workers => 4, udp => 1);
    my $token = $t->token('alice');
    $t->start;

    my $p = $t->free_port;
    my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $p);
    wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo';

    for my $scheme ('ws', 'wss') {
        my $url = $t->url($scheme);
        my $ca = ZLTunnel->certs . '/ca.pem';
        my $conf = "[agent]\nserver = $url\ntoken_file = %%token_file%%\n"
                   . "max_idle = 0\n"
                   . ($scheme eq 'wss' ? "ca_file = $ca\n" : '')
                   . join '', map { "[service $scheme$_]\nprotocol = udp\n"
                                    . "local = 127.0.0.1:$p\n" } 1 .. 4;

        my $agent = $t->agent(token => $token, conf => $conf, wait => 0);
        ok($agent->registered(4), "$scheme: registered");

        for my $n (1 .. 4) {
            my ($rc, $out) = run({ timeout => 60 }, $t->nettool, 'udp',
                                 $agent->port("$scheme$n"), 'clients=5',
                                 'count=100', 'size=16-9000', 'window=2');
            my %r = ($out =~ /(\w+) (\d+(?:\.\d+)?)/g);
            is($rc, 0, "$scheme, service $n: a load");
            is($r{$_}, 0, "none $_") for qw(again foreign corrupt refused);
            cmp_ok($r{received}, '>', 450, "$r{received} of 500");
        }

        is($agent->stop, 0, 'the agent ends');
    }

    note explain $t->status->{acquired};
    $t->finish;
}


# It executes itself, by its whole path.

sub nginx_path {
    my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
    return $nginx if $nginx =~ m{/};

    my ($path) = grep { -x } map { "$_/$nginx" } split /:/, $ENV{PATH};
    return $path;
}


sub upgrade {
    my $t = ZLTunnel->new(workers => 2, udp => 1,
                          zltunnel => 'reconnect_grace 5s;');
    my $token = $t->token('alice');

    # A daemon, since nginx takes USR2 only when whoever has started it is
    # gone.

    my $conf = slurp("$t->{dir}/nginx.conf");
    $conf =~ s/^daemon off;/env ASAN_OPTIONS;/m;      # of the new binary, too
    $t->write_conf(conf => $conf);

    my $pid = "$t->{dir}/nginx.pid";
    run_ok(nginx_path(), '-p', $t->{dir}, '-c',
           "$t->{dir}/nginx.conf", '-e', "$t->{dir}/logs/error.log");
    ok(wait_for(sub { slurp($pid) =~ /^\d+$/m }, 20), 'started');
    my $old = slurp($pid) + 0;

    my $p = $t->free_port;
    my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $p);
    wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo';

    my $agent = $t->agent(token => $token, services => [ "e:$p/udp" ]);
    my $port = $agent->port('e');
    my $c = ZLTunnel::UDP->client($port);
    my $n = 0;

    my $works = sub {
        my $text = 'n' . ++$n;
        $c->send($text);
        while (defined(my $got = $c->recv(0.5))) {
            return 1 if $got eq $text;
        }
        return 0;
    };

    ok($works->(), 'it works');

    kill 'USR2', $old;
    ok(wait_for(sub { -e "$pid.oldbin" && slurp($pid) =~ /^\d+$/m
                      && slurp($pid) != $old }, 20), 'a new binary');
    my $new = slurp($pid) + 0;
    ok(wait_for(sub { children_of($new) >= 2 }, 20), 'has workers');

    ok(wait_for($works, 10), 'the old one still serves');
    my $served = grep { $works->() } 1 .. 50;
    cmp_ok($served, '>=', 45, "$served of 50 while both run");

    kill 'QUIT', $old;
    ok(wait_for(sub { !-e "/proc/$old/exe" }, 30), 'the old one has gone');
    ok(wait_for(sub { $works->() && $works->() }, 30), 'the new one serves');
    $served = grep { $works->() } 1 .. 50;
    is($served, 50, 'all of it');

    is($agent->stop, 0, 'the agent ends');
    kill 'QUIT', $new;
    ok(wait_for(sub { !-e "/proc/$new/exe" }, 20), 'and so does the new one');
    $t->finish;
}
