#!/usr/bin/perl

# Protects: what "status" says is so, at every moment: "connected" only when
# all services are answered, and then a client is served; why a tunnel is not;
# latency, bytes and connections as they are.  stop and start do that to one
# tunnel and to no other, and a reload changes what has changed, or nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16);

my $rounds = sizes('times that the server goes and comes', 20, 4);

subtest 'states' => \&states;
subtest 'refusals' => \&refusals;
subtest 'latency' => \&latency;
subtest 'what a client sees' => \&clients;
subtest 'figures' => \&figures;
subtest 'stop and start' => \&stop_start;
subtest 'reload' => \&reload;

done_testing();


sub socket_to { ZLTunnel::Wire::Socket->new($_[0]) }

sub public_port {
    my ($link) = @_;

    return ($link->{services}[0]{public} // '') =~ /:(\d+)$/ ? $1 : 0;
}


# One step at a time, with a server by hand.

sub states {
    my $t = ZLTunnel->new;
    my $echo = $t->service('echo');
    my $closed = $t->free_port;

    my $agent = $t->agent(
        wait => 0, token => 'secret', server => "ws://127.0.0.1:$closed/",
        services => ["a:$echo->{port}"],
        args => [ '--reconnect-interval', '1h', '--max-reconnect-interval',
                  '2h' ]);

    my $link = $agent->in_state('agent', 'failed');
    ok($link, 'a server that is not there: failed');
    like($link->{reason}, qr/cannot be reached/, "because: $link->{reason}");
    ok($link->{retry_in} > 0, 'and when it is tried again');
    is($link->{latency}, undef, 'no latency');
    is($link->{services}[0]{state}, 'down', 'the service is down');
    is($link->{services}[0]{public}, undef, 'and nowhere');
    is($agent->stop, 0, 'ends');

    my $server = ZLTunnel::Server->new($t);
    $server->{hold} = { Auth => 1, Register => 1 };
    $agent = $t->agent(
        wait => 0, token => 'secret', server => $server->url,
        services => [ "a:$echo->{port}", "b:$echo->{port}" ],
        args => [ '--reconnect-interval', '100ms' ]);

    my $state = sub { ($agent->link || {})->{state} // '' };

    ok(wait_for(sub { $state->() eq 'connecting' }), 'TCP alone: connecting');
    ok($server->wait(sub { $server->{held} }), 'Auth has come');
    is($state->(), 'connecting', 'Auth without an answer: connecting');
    unlike($agent->log, qr/INFO connected/, 'nor does the log say more');

    $server->release('Auth');
    ok($server->wait(sub { @{ $server->{held} } == 2 }), 'two Registers');
    is($state->(), 'connecting', 'none is answered: connecting');

    $server->release('Register', 1);
    $server->pass(0.2);
    $link = $agent->link;
    is($link->{state}, 'connecting', 'one is answered: connecting');
    is(join(' ', map { $_->{state} } @{ $link->{services} }), 'up pending',
       'one service is up, one is waited for');

    $server->release('Register');
    $link = $server->wait(sub {
        my $l = $agent->link;
        return $l->{state} eq 'connected' && $l;
    });
    ok($link, 'all are answered: connected');
    is($link->{reason}, undef, 'and no reason');
    is(join(' ', map { $_->{state} } @{ $link->{services} }), 'up up',
       'both services are up');
    like($link->{since}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'since then');

    $server->{hold}{Auth} = 1;
    $server->{held} = [];
    $server->control->drop;
    ok($server->wait(sub { @{ $server->{held} } }), 'lost, and it returns');
    $link = $agent->link;
    is($link->{state}, 'connecting', 'connecting again');
    like($link->{reason}, qr/closed/, 'and why it has to');

    $server->close_all;
    $link = wait_for(sub {
        my $l = $agent->link;
        return $l->{state} =~ /^(failed|disconnected)$/ && $l;
    });
    ok($link, 'the server is gone: not connecting all the time');
    is($agent->stop, 0, 'ends');

    $t->finish;
}


sub refusals {
    my $t = ZLTunnel->new;
    my $echo = $t->service('echo');
    my $server = ZLTunnel::Server->new($t);

    $server->{refuse} = { a => "not\x1b you", b => 'nor you' };

    my $agent = $t->agent(
        wait => 0, token => 'secret', server => $server->url,
        services => [ "a:$echo->{port}", "b:$echo->{port}" ]);

    my $until = sub {
        my ($state) = @_;
        return $server->wait(sub {
            my $l = $agent->link or return 0;
            return $l->{state} eq $state && $l;
        });
    };

    my $link = $until->('failed');
    ok($link, 'all services are refused: failed');
    like($link->{reason}, qr/refuses.*not\\x1b you|refuses.*nor you/i,
         "because: $link->{reason}");
    unlike(($agent->ask('status', 'agent'))[1], qr/\e/,
           'nothing of it reaches the terminal');

    $server->{refuse} = { a => 'not you' };
    $server->control->drop;
    $link = $until->('connected');
    ok($link, 'one is not: connected');
    is(join(' ', map { $_->{state} } @{ $link->{services} }), 'refused up',
       'the services tell which');
    is($link->{services}[0]{reason}, 'not you', 'and why');

    $server->control->tell(msg('Withdraw', $server->{services}{b}{id}
                                           . str16('enough')));
    $link = $until->('failed');
    ok($link, 'that one is withdrawn: failed');
    is($link->{services}[1]{reason}, 'enough', 'for that reason');

    $server->close_all;
    is($agent->stop, 0, 'ends');
    $t->finish;
}


# Heartbeats are answered late, by known times; RFC 6298 says what comes out.

sub latency {
    my $t = ZLTunnel->new;
    my $echo = $t->service('echo');
    my $server = ZLTunnel::Server->new($t, interval => 1000);
    my $agent = $t->agent(wait => 0, token => 'secret',
                          server => $server->url,
                          services => ["a:$echo->{port}"]);

    my ($last, $smoothed, $n) = (0, undef, 0);

    $server->{hold}{Heartbeat} = 1;
    $server->{held} = [];

    my $before = time;                # a moment before it was sent

    for my $delay (0.15, 0.02, 0.3) {
        my $turns = 0;

        ok($server->wait(sub {
            return 1 if @{ $server->{held} };
            $before = time if $turns++;
            return 0;
        }), 'a heartbeat');

        $server->pass($delay);
        $server->{hold}{Heartbeat} = 1;
        my $answered = time;
        $server->release('Heartbeat', 1);

        my $l = wait_for(sub {
            my $l = $agent->link;
            return $l->{latency} && $l->{latency}{last} != $last && $l;
        });
        my $most = time - $before;
        $before = $answered;
        $last = $l->{latency}{last};
        $smoothed = defined $smoothed ? $smoothed * 7 / 8 + $last / 8 : $last;

        cmp_ok($last, '>=', $delay * 1000, "at least $delay s: $last ms");
        cmp_ok($last, '<', 1000 * $most + 25, 'and little more');
        cmp_ok(abs($l->{latency}{smoothed} - $smoothed), '<', 0.1,
               "smoothed: $l->{latency}{smoothed} ms");
        $n++;
    }

    is($n, 3, 'three of them');
    like(($agent->ask('status'))[1], qr/\d\.\d ms$/m, 'in the table, too');

    $server->close_all;
    is($agent->stop, 0, 'ends');
    $t->finish;
}


# The moment that it says "connected", a client is served.

sub clients {
    my $t = ZLTunnel->new(workers => 2, range => 4, allow => [ qr/signal 9/ ]);
    my $token = $t->token('alice');
    $t->start;
    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                          args => [ '--reconnect-interval', '200ms',
                                    '--max-reconnect-interval', '200ms' ]);
    my $port = $agent->port('e');
    my ($served, $refused) = (0, 0);

    for (1 .. $rounds) {
        kill 'KILL', $t->{nginx}->pid, $t->workers;
        $t->{nginx}->wait(10);

        $refused++ if wait_for(sub {
            return $agent->link->{state} ne 'connected' && refuses($port);
        }, 10);

        $t->start;
        my $end = time + 20;
        while (time < $end) {
            last if $agent->link->{state} eq 'connected';
        }

        my $c = socket_to($port);
        $c->send('at once') if $c;
        $served++ if $c && ($c->take(7, 2) // '') eq 'at once';
        $c->close if $c;
    }

    is($refused, $rounds, 'without a server it does not say "connected"');
    is($served, $rounds, 'and when it does, a client is served');

    $t->finish;
}


sub figures {
    my $t = ZLTunnel->new(workers => 2, range => 4, udp => 1);
    my $token = $t->token('alice');
    $t->start;
    my $echo = $t->service('echo');
    my $sum = $t->service('sum');
    my $udp = { port => $t->free_port };
    $t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp->{port});
    my $agent = $t->agent(token => $token, services => [
        "e:$echo->{port}", "s:$sum->{port}", "u:$udp->{port}/udp" ]);

    my $l = $agent->link;
    is_deeply([ @{ $l->{connections} }{qw(open total)},
                @{ $l->{bytes} }{qw(in out)}, $l->{idle} ],
              [ 0, 0, 0, 0, undef ], 'nothing yet');

    my $c = socket_to($agent->port('e'));
    $c->send('x' x 1000);
    $c->take(1000);
    my $d = socket_to($agent->port('e'));
    $d->send('y' x 500);
    $d->take(500);

    $l = $agent->link;
    is($l->{connections}{open}, 2, 'two open');
    is($l->{connections}{total}, 2, 'two in all');
    is($l->{bytes}{in}, 1500, 'bytes to the service, while they are open');
    is($l->{bytes}{out}, 1500, 'and from it');

    $_->shut for $c, $d;
    $_->ending(5) for $c, $d;
    $_->close for $c, $d;
    ok(wait_for(sub { $agent->link->{connections}{open} == 0 }), 'none open');
    $l = $agent->link;
    is($l->{connections}{total}, 2, 'two in all, still');
    is($l->{bytes}{in}, 1500, 'their bytes are not forgotten');

    my $r = $t->transfer($agent->port('s'), 3_000_000);
    my $answer = length "$r->{tail}\n";
    ok(wait_for(sub { $agent->link->{connections}{open} == 0 }), 'bulk');
    $l = $agent->link;
    is($l->{bytes}{in}, 3_001_500, 'exact, spliced or not');
    is($l->{bytes}{out}, 1500 + $answer, 'both ways');

    my $u = IO::Socket::INET->new(PeerAddr => '127.0.0.1', Proto => 'udp',
                                  PeerPort => $agent->port('u'));
    ok(wait_for(sub {
        $u->send('z' x 300);
        vec(my $rin = '', fileno $u, 1) = 1;
        return select($rin, undef, undef, 1);
    }, 10), 'a datagram comes back');
    $l = $agent->link;
    is($l->{connections}{open}, 1, 'a UDP session counts');
    is($l->{connections}{total}, 4, 'in all');
    is($l->{bytes}{in}, 3_001_800, 'and its bytes');

    sleep 2.5;
    $l = $agent->link;
    ok($l->{idle} >= 1 && $l->{idle} <= 4, "idle for $l->{idle} s");

    my ($rc, $out) = $agent->ask('status');
    is($rc, 0, 'the table');
    like($out, qr/^agent +connected +ws:\S+ +\S+ +[1-4]s +1\/4 +2\.9M /m,
         'says the same') or diag($out);

    $t->finish;
}


sub stop_start {
    my $t = ZLTunnel->new(workers => 2, range => 4);
    my $token = $t->token('alice', 'sessions=4');
    $t->start;
    my $echo = $t->service('echo');
    my $conf = "[agent]\ntoken_file = %%token_file%%\nshutdown_timeout = 3s\n"
               . join '', map { "[tunnel $_]\nserver = ${\ $t->url('ws') }\n"
                                . "local_port = $echo->{port}\n"
                                . "expose = public\n" } qw(one two);
    my $agent = $t->agent(token => $token, conf => $conf, wait => 0);
    my ($one, $two) = map { public_port($agent->in_state($_, 'connected')) }
                      qw(one two);

    my @c = map { socket_to($_) } $one, $two;
    for (@c) {
        $_->send('a');
        $_->take(1);
    }

    my ($rc, $out) = $agent->ask('stop', 'one');
    is($rc, 0, 'stop');
    my $link = $agent->link('one');
    is($link->{state}, 'disconnected', 'it says so');
    is($link->{reason}, 'stopped', 'and why');
    is($link->{retry_in}, undef, 'and will not try again');
    ok(wait_for(sub { refuses($one) }, 5), 'its port refuses');
    ok(!refuses($two), 'the other does not');

    $c[0]->send('b');
    is($c[0]->take(1, 5), 'b', 'what runs goes on');
    is(($agent->ask('stop', 'one'))[0], 0, 'once more is no error');

    like($c[0]->ending(10), qr/^(eof|reset)$/, 'to the limit of that');
    $c[1]->send('c');
    is($c[1]->take(1, 5), 'c', 'the other goes on');
    is($agent->link('one')->{state}, 'disconnected', 'stopped still');

    is(($agent->ask('reload'))[0], 0, 'a reload');
    sleep 0.5;
    is($agent->link('one')->{state}, 'disconnected', 'does not start it');

    is(($agent->ask('start', 'one'))[0], 0, 'start');
    $link = $agent->in_state('one', 'connected');
    ok($link, 'connected');
    my $c = socket_to(public_port($link));
    $c->send('d');
    is($c->take(1, 5), 'd', 'and serves');
    is(($agent->ask('start', 'one'))[0], 0, 'once more is no error');

    # start while the stop is still at work

    is(($agent->ask('stop', 'one'))[0], 0, 'stop');
    is(($agent->ask('start', 'one'))[0], 0, 'and start in the same moment');
    ok($agent->in_state('one', 'connected'), 'connected');
    sleep 3.5;
    $c->send('e');
    is($c->take(1, 5), 'e', 'what ran was not cut');

    ($rc, $out) = $agent->ask('stop', 'three');
    is($rc, 1, 'a tunnel that is not there: exit 1');
    like($out, qr/"three"/, 'told');
    is(($agent->ask('status', 'three'))[0], 1, 'nor has it a status');

    $_->close for @c, $c;
    $t->finish;
}


sub reload {
    my $t = ZLTunnel->new(workers => 2, range => 6);
    my $token = $t->token('alice', 'sessions=4');
    $t->start;
    my @echo = map { $t->service('echo') } 1 .. 2;

    my $head = "[agent]\ntoken_file = %%token_file%%\nshutdown_timeout = 2s\n";
    my $tunnel = sub {
        my ($name, $port) = @_;
        return "[tunnel $name]\nserver = ${\ $t->url('ws') }\n"
               . "expose = public\nlocal_port = $port\n";
    };
    my $first = $head . join '', map { $tunnel->($_, $echo[0]{port}) }
                                     qw(stays goes changes);

    my $agent = $t->agent(token => $token, conf => $first, wait => 0);
    my %port = map { $_ => public_port($agent->in_state($_, 'connected')) }
               qw(stays goes changes);
    my %c = map { $_ => socket_to($port{$_}) } keys %port;
    for (values %c) {
        $_->send('a');
        $_->take(1);
    }

    # broken: told, and nothing changes

    $agent->write_conf($first . "colour = red\n");
    my ($rc, $out) = $agent->ask('reload');
    my $line = 1 + ($first =~ tr/\n//);
    is($rc, 1, 'a broken file: exit 1');
    like($out, qr/agent-\d+\.conf:$line: .*colour/, 'with file and line');

    $agent->write_conf($first =~ s/%%token_file%%/\/no\/such/r);
    ($rc, $out) = $agent->ask('reload');
    is($rc, 1, 'a token file that is not there: exit 1');
    like($out, qr{/no/such}, 'told');
    is(join(' ', map { $agent->link($_)->{state} } sort keys %port),
       'connected connected connected', 'all is as before');

    # one goes, one comes, one changes

    $agent->write_conf($head . $tunnel->('comes', $echo[0]{port})
                       . "remote_port = ${\ ($t->{base} + 5) }\n"
                       . $tunnel->('stays', $echo[0]{port})
                       . $tunnel->('changes', $echo[1]{port}));
    ($rc, $out) = $agent->ask('reload');
    is($rc, 0, 'reload') or diag($out);
    ok($agent->in_state('comes', 'connected'), 'the new one is connected');
    is(join(' ', map { $_->{name} } @{ $agent->status->{tunnels} }),
       'comes stays changes', 'as in the file');
    ok(wait_for(sub { refuses($port{goes}) }, 5),
       'the port of the one that is gone refuses');

    for my $name (sort keys %c) {
        $c{$name}->send('b');
        is($c{$name}->take(1, 5), 'b', "$name: what runs goes on");
    }

    my $c = socket_to($port{changes});
    $c->send('c');
    is($c->take(1, 5), 'c', 'the changed one serves at its port');
    is($t->events($echo[1], 'accept'), 1, 'from its new place');
    $c->close;

    like($c{goes}->ending(10), qr/^(eof|reset)$/,
         'what ran in the one that is gone is cut after shutdown_timeout');
    is(scalar(grep { $_->{state} eq 'connected' }
              @{ $agent->status->{tunnels} }), 3, 'the others are connected');
    my $connected = () = $t->log =~ /agent "alice" (?:connected|is back)/g;
    is($connected, 4, 'no one has connected twice');

    # the signal does the same

    $agent->write_conf($head . $tunnel->('stays', $echo[0]{port}));
    $agent->{proc}->kill('HUP');
    ok(wait_for(sub { @{ $agent->status->{tunnels} } == 1 }, 10), 'SIGHUP');
    $c{stays}->send('d');
    is($c{stays}->take(1, 5), 'd', 'one stays all the time');

    $_->close for values %c;

    # what came from the command line

    my $cli = $t->agent(token => 'x', wait => 0, services => ['e:1'],
                        server => 'ws://127.0.0.1:1/');
    ok(wait_for(sub { $cli->status }), 'an agent without a file');
    ($rc, $out) = $cli->ask('reload');
    is($rc, 1, 'has nothing to read again: exit 1');
    like($out, qr/no configuration file/, 'told');

    $t->finish;
}
