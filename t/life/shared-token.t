#!/usr/bin/perl

# Protects: agents that share a token ("sessions=2") may come back in any
# order, and to whichever of their tunnels was left: each service keeps its id
# and its port, and the clients who waited for it are served.  So it is for
# agents of version 1, which take up to a minute, and at a reload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(datagram register);

# so that a slow machine has the time that its steps take
my $SLOWLY = 'reconnect_grace 120s; connect_timeout 60s;';

subtest 'in another order' => \&swapped;
subtest 'clients who wait' => \&waiting;
subtest 'datagrams' => \&datagrams;
subtest 'one comes late' => \&late;
subtest 'version 1, reload' => \&reload;
subtest 'what is not moved' => \&kept;
subtest 'real agents killed' => \&killed;

done_testing();


# Registers a service: the answer, { service_id, port }.

sub registers {
    my ($c, $name, @o) = @_;

    $c->send_msg(register($name, @o));
    return $c->expect('RegisterOk');
}


sub all_away {
    my ($t) = @_;

    return wait_for(sub {
        !grep { $_->{state} ne 'disconnected' } @{ $t->status->{tunnels} };
    });
}


sub same {
    my ($now, $before, $what) = @_;

    is($now->{type}, 'RegisterOk', "$what is registered");
    is($now->{service_id}, $before->{service_id}, "$what: the same service");
    is($now->{port}, $before->{port}, "$what: the same port")
        if defined $before->{port};
}


sub swapped {
    my $t = ZLTunnel->new(workers => 2, range => 8,
                          zltunnel => $SLOWLY);
    my $token = $t->token('pair', 'sessions=2');
    my ($a_port, $b_port) = ($t->{base} + 5, $t->{base} + 6);
    $t->start;

    my ($a, $b) = map { ZLTunnel::Wire->agent($t, $token) } 1, 2;

    my %before = (
        a => registers($a, 'a', remote => $a_port),
        b => registers($b, 'b', remote => $b_port),
        'a-any' => registers($a, 'a-any'),
        'b-any' => registers($b, 'b-any'),
    );

    # of the four orders two are swapped, whichever tunnel is taken first

    for my $round (1 .. 4) {
        $_->reset for $a, $b;
        ok(all_away($t), "round $round: both are away");

        my %agent;

        for my $name ($round % 2 ? qw(b a) : qw(a b)) {
            $agent{$name} = ZLTunnel::Wire->agent($t, $token);

            my $port = $name eq 'a' ? $a_port : $b_port;
            my $now = registers($agent{$name}, $name, remote => $port);
            same($now, $before{$name}, "round $round: $name");
            same(registers($agent{$name}, "$name-any"), $before{"$name-any"},
                 "round $round: $name-any");
        }

        ($a, $b) = @agent{qw(a b)};
    }

    my @tunnels = @{ $t->status->{tunnels} };
    is(scalar @tunnels, 2, 'there are two tunnels');

    is_deeply([ sort map { join ' ', sort map { $_->{name} }
                                     @{ $_->{services} } } @tunnels ],
              [ 'a a-any', 'b b-any' ], 'each with its own services');

    $_->reset for $a, $b;
    $t->finish;
}


# Clients of both services wait while the agents are away.

sub waiting {
    my $t = ZLTunnel->new(workers => 2, range => 4,
                          zltunnel => $SLOWLY);
    my $pass = $t->free_port;
    my $token = $t->token('pair', 'sessions=2');

    $t->write_conf(stream => "server { listen 127.0.0.1:$pass;
                                       zltunnel_pass b; }");
    $t->start;

    for my $order ([qw(a b)], [qw(b a)]) {
        my ($a, $b) = map { ZLTunnel::Wire->agent($t, $token) } 1, 2;
        my %port = (a => registers($a, 'a')->{port},
                    b => registers($b, 'b')->{port}, pass => $pass);

        $_->reset for $a, $b;
        all_away($t);

        my %client = map { $_ => ZLTunnel::Wire::Socket->new($port{$_}) }
                     sort keys %port;
        $client{$_}->send("for $_") for keys %client;

        is($client{$_}->ending(0.2), 'open', "@$order: the client of $_ waits")
            for sort keys %client;

        my %agent;

        for my $name (@$order) {
            my $c = $agent{$name} = ZLTunnel::Wire->agent($t, $token);
            is(registers($c, $name)->{port}, $port{$name},
               "@$order: $name is back");

            for my $n ($name eq 'a' ? 1 : 1 .. 2) {
                my $m = $c->expect('Connect');
                my $d = ZLTunnel::Wire->channel($t,
                    @{ $c->{ok} }{qw(tunnel_id data_key)},
                    $m->{connection_id} // '');
                is($d->{answer}{status}, 101, "@$order: $name is told of one");
                $d->ack($m);

                my $text = $d->bytes(5);
                is($text, 'for ' . substr($text, 4), 'its bytes come');
                $d->data('served');
                $agent{"$name $n"} = $d;
            }
        }

        is($client{$_}->take(6), 'served',
           "@$order: the client of $_ is served")
            for sort keys %client;

        $_->close for values %agent, values %client;
        all_away($t);
    }

    $t->finish;
}


# A UDP session goes on, though the service is in another tunnel.

sub datagrams {
    my $t = ZLTunnel->new(workers => 2, range => 4, udp => 1,
                          zltunnel => $SLOWLY);
    my $token = $t->token('pair', 'sessions=2');
    $t->start;

    my ($a, $b) = map { ZLTunnel::Wire->agent($t, $token) } 1, 2;
    my %before = (a => registers($a, 'a', udp => 1),
                  b => registers($b, 'b', udp => 1));

    my $client = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $before{a}{port}, Proto => 'udp');

    # as an agent takes a datagram of that service, and answers it

    my $serves = sub {
        my ($c, $text) = @_;

        $client->send($text);

        my $m = $c->expect('Connect');
        my $d = ZLTunnel::Wire->channel($t,
            @{ $c->{ok} }{qw(tunnel_id data_key)}, $m->{connection_id} // '');
        my $open = $d->next;
        $m = $d->next;
        is($m->{data}, $text, "\"$text\" comes to the agent");
        $d->send(datagram($m->{session}, "and $text"));

        my $answer = '';
        vec(my $rin = '', fileno $client, 1) = 1;
        select($rin, undef, undef, 10) > 0
            and $client->recv($answer, 100);
        is($answer, "and $text", 'the answer to the client');

        return $d;
    };

    my $d = $serves->($a, 'first');

    $_->reset for $d, $a, $b;
    all_away($t);

    # the first one to come back takes the tunnel of the other

    for my $name (qw(b a)) {
        my $c = $name eq 'a' ? \$a : \$b;
        $$c = ZLTunnel::Wire->agent($t, $token);
        same(registers($$c, $name, udp => 1), $before{$name}, $name);
    }

    $d = $serves->($a, 'second');

    is($t->service_status('a')->{total}, 1, 'all in one session');

    $_->reset for $d, $a, $b;
    $t->finish;
}


# One of them is back after more than the ten seconds for which a tunnel that
# was taken over keeps what is not registered again.

sub late {
    my $t = ZLTunnel->new(range => 8,
                          zltunnel => $SLOWLY);
    my $token = $t->token('pair', 'sessions=2');
    my $old = $t->token('old', 'sessions=2');
    $t->start;

    my (@agent, %before);

    for my $name (qw(a b)) {
        for my $case ([ $token, 7 ], [ $old, 0 ]) {
            my ($token, $features) = @$case;
            my $c = ZLTunnel::Wire->agent($t, $token, features => $features);
            push @agent, $c;
            $before{"$name $features"} = registers($c, $name);
            $before{"$name $features"}{port} //= (grep {
                $_->{id} eq unpack 'H*', $before{"$name $features"}{service_id}
            } map { @{ $_->{services} } } @{ $t->status->{tunnels} })[0]{port};
        }
    }

    $_->reset for splice @agent;
    all_away($t);

    # both take the tunnel of the other

    my %agent = map {
        $_ => ZLTunnel::Wire->agent($t, $_ ? $token : $old, features => $_)
    } 0, 7;

    for my $features (0, 7) {
        same({ %{ registers($agent{$features}, 'b') },
               port => $before{"b $features"}{port} },
             $before{"b $features"}, "features $features: b");
    }

    my $end = time + 12;
    wait_for(sub {
        $_->next(0.1) for values %agent;        # their heartbeats
        return time > $end;
    });

    for my $features (7, 0) {
        ok(!refuses($before{"a $features"}{port}),
           "features $features: the port of a is open");

        my $c = ZLTunnel::Wire->agent($t, $features ? $token : $old,
                                      features => $features);
        same({ %{ registers($c, 'a') },
               port => $before{"a $features"}{port} },
             $before{"a $features"}, "features $features: a, after 12 s");
        push @agent, $c;
    }

    $_->reset for @agent, values %agent;
    $t->finish;
}


# The port of a service, by the status: an agent of version 1 is not told.

sub port_of {
    my ($t, $m) = @_;

    my ($s) = grep { $_->{id} eq unpack 'H*', $m->{service_id} }
              map { @{ $_->{services} } } @{ $t->status->{tunnels} };
    return $s->{port};
}


sub reload {
    my $t = ZLTunnel->new(range => 30);
    my $token = $t->token('pair', 'sessions=2');
    $t->start;

    my %c = map { $_ => ZLTunnel::Wire->agent($t, $token, features => 0) }
            qw(a b);
    my %before = map { $_ => registers($c{$_}, $_) } qw(a b);
    $before{$_}{port} = port_of($t, $before{$_}) for qw(a b);

    for my $order ([qw(b a)], [qw(a b)]) {
        my ($worker) = $t->workers;
        $t->{nginx}->kill('HUP');

        for my $name (qw(a b)) {
            my $m = $c{$name}->next(20) // { type => 'none' };
            is($m->{type}, 'Disconnect', "$name is told to come again");
            $c{$name}->close;
        }

        ok(wait_for(sub { !grep { $_ == $worker } $t->workers }, 30),
           'another worker');
        all_away($t);

        for my $name (@$order) {
            $c{$name} = ZLTunnel::Wire->agent($t, $token, features => 0);
            my $now = registers($c{$name}, $name);
            $now->{port} = port_of($t, $now);
            same($now, $before{$name}, "@$order: $name");
        }
    }

    $_->reset for values %c;
    $t->finish;
}


# Another token's, another protocol's, one that is in use, and one that does
# not fit, stay where they are.

sub kept {
    my $t = ZLTunnel->new(range => 8, udp => 1,
                          zltunnel => $SLOWLY);
    my $token = $t->token('pair', 'sessions=4');
    my $other = $t->token('other');
    $t->start;

    my $a = ZLTunnel::Wire->agent($t, $token);
    my $web = registers($a, 'web');

    my $b = ZLTunnel::Wire->agent($t, $token);
    my $second = registers($b, 'web');
    isnt($second->{service_id}, $web->{service_id},
         'one that is in use is not taken: both serve');
    isnt($second->{port}, $web->{port}, 'each at its own port');

    my $dns = registers($a, 'dns', udp => 1);
    $a->reset;

    ok(wait_for(sub {
        grep { $_->{state} eq 'disconnected' } @{ $t->status->{tunnels} };
    }), 'one is away');

    my $x = ZLTunnel::Wire->agent($t, $other);
    isnt(registers($x, 'web')->{service_id}, $web->{service_id},
         'nor is it by another token');

    isnt(registers($b, 'dns')->{service_id}, $dns->{service_id},
         'nor as another protocol');

    my $c = ZLTunnel::Wire->agent($t, $token);
    my $port = $t->{base} + 7;
    isnt(registers($c, 'web', remote => $port)->{service_id},
         $web->{service_id}, 'nor for another port');
    ok(!refuses($web->{port}), 'which it keeps meanwhile');

    my $d = ZLTunnel::Wire->agent($t, $token);
    same(registers($d, 'web'), $web, 'its agent finds it');



    $_->reset for $b, $c, $d, $x;
    $t->finish;
}


sub killed {
    my $t = ZLTunnel->new(workers => 2, range => 8);
    my $token = $t->token('pair', 'sessions=2');
    $t->start;

    my $echo = $t->service('echo');
    my %port = (a => $t->{base} + 3, b => $t->{base} + 4);
    my (%agent, %any);

    my $start = sub {
        my ($name) = @_;
        $agent{$name} = $t->agent(token => $token, tls => 1, services => [
            "$name:$echo->{port}:$port{$name}", "$name-any:$echo->{port}" ]);
    };

    $start->($_) for qw(a b);
    $any{$_} = $agent{$_}->port("$_-any") for qw(a b);

    for my $order ([qw(b a)], [qw(a b)]) {
        $_->{proc}->kill('KILL'), $_->{proc}->wait(10) for values %agent;
        all_away($t);

        my $begin = time;
        $start->($_) for @$order;
        cmp_ok(time - $begin, '<', 15 * slowdown(),
               "@$order: both are back at once");

        for my $name (qw(a b)) {
            unlike($agent{$name}->log, qr/refuses the service/,
                   "@$order: nothing of $name is refused");
            is($agent{$name}->port("$name-any"), $any{$name},
               "@$order: $name has the port that was assigned to it");

            my $r = $t->transfer($port{$name}, 1000);
            is($r->{received_sha}, $r->{sent_sha}, "@$order: $name serves");
        }
    }

    $t->finish;
}
