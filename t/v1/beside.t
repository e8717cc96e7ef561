#!/usr/bin/perl

# Protects: an agent of version 1, which carries nothing, beside one that does.
# Clients of a name go to the one that can carry them; where none can they are
# told at once.  Its UDP sessions are announced, once each, and bounded; its
# port is the same after a restart, however late it comes; and it is sent no
# byte that it has not asked for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(access_open msg register str16);

my $OLD = 0;                          # features
my $NEW = 15;

subtest 'by name, it was there first' => sub { names($OLD, $NEW) };
subtest 'by name, it came later' => sub { names($NEW, $OLD) };
subtest 'on-demand access' => \&access;
subtest 'UDP by name' => \&datagrams;
subtest 'its own UDP port' => \&announced;
subtest 'its port after a restart' => \&restart;
subtest 'AuthFail' => \&auth_fail;

done_testing();


sub agent {
    my ($t, $token, $features, $name, @o) = @_;

    my $c = ZLTunnel::Wire->agent($t, $token, features => $features);
    $c->send_msg(register($name, @o));
    is($c->expect('RegisterOk')->{type}, 'RegisterOk', "$name is registered");

    return $c;
}


# What comes on a control channel that has no reason to say anything.

sub quiet {
    my ($c, $what) = @_;

    my $m = $c->next(0.3);
    is($m && $m->{type}, undef, $what);
}


sub serves {
    my ($t, $c) = @_;

    my $m = $c->expect('Connect');
    my $d = ZLTunnel::Wire->channel($t, @{ $c->{ok} }{qw(tunnel_id data_key)},
                                    $m->{connection_id} // '');
    $d->ack($m);
    $d->data('served');

    return $d;
}


# Both orders, since the one that came first may be the one that is asked first.

sub names {
    my @order = @_;

    my $t = ZLTunnel->new(zltunnel => 'reconnect_grace 120s;
                                       connect_timeout 120s;');
    my $pass = $t->free_port;
    my $token = $t->token('pair', 'sessions=2');

    $t->write_conf(stream => "server { listen 127.0.0.1:$pass;
                                       zltunnel_pass web; }");
    $t->start;

    my %c = map { $_ => agent($t, $token, $_, 'web') } @order;

    for my $n (1 .. 4) {
        my $client = ZLTunnel::Wire::Socket->new($pass);
        my $d = serves($t, $c{$NEW});
        is($client->take(6), 'served', "client $n is served");
        $_->close for $client, $d;
    }

    quiet($c{$OLD}, 'and the other one is not asked');


    # who can carry is worth waiting for

    $c{$NEW}->reset;
    ok(wait_for(sub {
        grep { $_->{state} eq 'disconnected' } @{ $t->status->{tunnels} };
    }), 'it goes away');

    my $client = ZLTunnel::Wire::Socket->new($pass);
    is($client->ending(0.5), 'open', 'its client waits');

    $c{$NEW} = agent($t, $token, $NEW, 'web');
    my $d = serves($t, $c{$NEW});
    is($client->take(6), 'served', 'and is served on its return');
    $_->close for $client, $d;


    # now nobody can

    my ($s) = map { $_->{services}[0] }
              grep { $_->{features} } @{ $t->status->{tunnels} };
    $c{$NEW}->send_msg(msg('Unregister', pack 'H*', $s->{id}));
    ok(wait_for(sub {
        !grep { $_->{features} && @{ $_->{services} } }
              @{ $t->status->{tunnels} };
    }), 'it gives the service up');

    # long before connect_timeout

    $client = ZLTunnel::Wire::Socket->new($pass);
    is($client->ending(30), 'reset', 'the client is reset');
    like($t->log, qr/version 1/, 'the log says why');

    $_->reset for values %c;
    $t->finish;
}


sub access {
    my $t = ZLTunnel->new;
    my $token = $t->token('pair', 'sessions=2');
    my $visitor = $t->token('eve', 'access=web');
    $t->start;

    my $old = agent($t, $token, $OLD, 'web');
    my $eve = ZLTunnel::Wire->agent($t, $visitor, features => $NEW);

    $eve->send_msg(access_open('web'));
    my $m = $eve->expect('AccessFail');
    is($m->{code}, 6, 'only an agent that cannot carry: refused');
    like($m->{reason}, qr/does not carry/, "reason: $m->{reason}");

    my $new = agent($t, $token, $NEW, 'web');
    $eve->send_msg(access_open('web'));
    $m = $eve->expect('AccessOk');

    for my $n (1 .. 4) {
        my $v = ZLTunnel::Wire->visit($eve, $m->{access_id});
        my $d = serves($t, $new);
        is(($v->next // {})->{type}, 'ConnectAck', "visit $n is served");
        is($v->take(6), 'served', "visit $n has its bytes");
        $_->close for $v, $d;
    }

    quiet($old, 'the other one is not asked');

    $_->reset for $old, $new, $eve;
    $t->finish;
}


sub udp_client {
    my ($port) = @_;
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
                                 Proto => 'udp');
}


sub datagrams {
    my $t = ZLTunnel->new;
    my $pass = $t->free_port;
    my $token = $t->token('pair', 'sessions=2');

    $t->write_conf(stream => "server { listen 127.0.0.1:$pass udp;
                                       zltunnel_pass dns; }");
    $t->start;

    my $old = agent($t, $token, $OLD, 'dns', udp => 1);

    udp_client($pass)->send('for nobody');
    ok(wait_for(sub { $t->log =~ /\[warn\].*datagrams .* are dropped/ }),
       'nobody can carry it: the log says so');
    quiet($old, 'and the agent is not asked');

    my $new = agent($t, $token, $NEW, 'dns', udp => 1);
    my $d;

    for my $n (1 .. 4) {
        my $client = udp_client($pass);
        $client->send("client $n");

        if (!$d) {
            my $m = $new->expect('Connect');
            $d = ZLTunnel::Wire->channel($t,
                @{ $new->{ok} }{qw(tunnel_id data_key)}, $m->{connection_id});
        }

        is($d->next->{type}, 'DatagramOpen', "client $n has a session");
        is($d->next->{data}, "client $n", "client $n: its datagram");
    }

    quiet($old, 'the other one is not asked');

    $_->reset for $d, $old, $new;
    $t->finish;
}


sub announced {
    my $t = ZLTunnel->new(range => 4, udp => 1,
                          zltunnel => 'max_pending 4; connect_timeout 60s;');
    my $token = $t->token('alice');
    $t->start;

    my $c = agent($t, $token, $OLD, 'dns', udp => 1);
    my $port = $t->service_status('dns')->{port};

    my $client = udp_client($port);
    $client->send("datagram $_") for 1 .. 5;

    my $m = $c->expect('Connect');
    is(unpack('H*', $m->{service_id}), $t->service_status('dns')->{id},
       'a session is announced: service');
    is($m->{client_addr}, '127.0.0.1:' . $client->sockport, 'client');
    quiet($c, 'once, not for each datagram');

    ok(wait_for(sub { $t->service_status('dns')->{dropped}{channel} == 5 }),
       'the datagrams are counted as dropped');

    my @lines = $t->log =~ /\[warn\].*datagrams .* are dropped/g;
    is(scalar @lines, 1, 'one line says so');


    # as many as may wait for an answer

    my @clients = map { udp_client($port) } 1 .. 8;
    $_->send('x') for @clients;

    my @connects = ($m, map { $c->expect('Connect') } 1 .. 3);
    quiet($c, 'no more than max_pending at a time');

    $c->send_msg(msg('ConnectFail', $connects[0]{connection_id}
                                    . str16('no')));
    $c->send_msg(msg('ConnectAck', $connects[1]{connection_id}));
    ok(wait_for(sub { $t->status->{tunnels}[0]{pending} == 2 }),
       'an answer makes room, whichever it is');

    my @more = map { udp_client($port) } 1 .. 3;
    $_->send('x') for @more;
    $c->expect('Connect') for 1 .. 2;
    quiet($c, 'for as many');

    $c->reset;
    $t->finish;
}


# It cannot say which port it had, and comes back when it likes.

sub restart {
    my $t = ZLTunnel->new(range => 60, zltunnel => 'reconnect_grace 1s;');
    my $base = $t->{base};
    my $token = $t->token('alice', 'ports=' . ($base + 10) . '-'
                                   . ($base + 49));
    my $other = $t->token('bob');
    $t->start;

    my %port;

    for my $round (1, 2) {
        my $new = ZLTunnel::Wire->agent($t, $other, features => $NEW);
        my $c = ZLTunnel::Wire->agent($t, $token, features => $OLD);

        if ($round == 2) {
            my $end = time + 1.5;
            wait_for(sub { time > $end });
        }

        $new->send_msg(register("new-$_")), $new->expect('RegisterOk')
            for 1 .. 12;

        for my $name ($round == 1 ? qw(web shop) : qw(shop web)) {
            $c->send_msg(register($name));
            $c->expect('RegisterOk');
            my $port = $t->service_status($name)->{port};

            if ($round == 1) {
                cmp_ok($port, '>=', $base + 10, "$name: a port of its token");
                cmp_ok($port, '<=', $base + 49, "$name: a port of its token");
                $port{$name} = $port;

            } else {
                is($port, $port{$name},
                   "$name: the same port, late and in another order");
            }
        }

        $_->reset for $c, $new;

        if ($round == 1) {
            is($t->{nginx}->stop('QUIT', 20), 0, 'nginx ends');
            $t->start;
        }
    }

    $t->finish;
}


sub auth_fail {
    my $t = ZLTunnel->new;
    $t->token('alice');
    $t->start;

    for my $case ([ $OLD, 'version 1: the reason', 0 ],
                  [ $NEW, 'an extended one: a code behind it', 4 ]) {
        my ($features, $what, $more) = @$case;

        my $c = ZLTunnel::Wire->control($t);
        $c->auth('f' x 48, features => $features);
        my $m = $c->expect('AuthFail');
        is(length $m->{payload}, 2 + length($m->{reason}) + $more, $what);
        $c->reset;
    }

    $t->finish;
}
