#!/usr/bin/perl

# Protects: an agent that comes back has its ports again at once, whether it
# kept its resume key or lost it; what runs through its data channels runs on;
# and nobody else gets them: a second live holder of the token is refused,
# unless the token allows more sessions.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(msg register);

subtest 'killed and restarted' => \&restarted;
subtest 'the control channel cut' => \&cut;
subtest 'with the resume key' => \&resume;
subtest 'waiting clients' => \&waiting;
subtest 'a second holder' => \&second;
subtest 'a second agent' => \&second_agent;
subtest 'the end of the grace' => \&grace;
subtest 'since when' => \&since;

done_testing();


sub restarted {
    my $t = ZLTunnel->new(workers => 4, range => 6);
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my @services = map { "$_:$echo->{port}" } qw(one two three);
    my $agent = $t->agent(token => $token, services => \@services);
    my %port = map { $_ => $agent->port($_) } qw(one two three);

    for my $round (1 .. 3) {
        $agent->{proc}->kill('KILL');
        $agent->{proc}->wait(10);

        # in another order, which would give other ports
        my ($first, @rest) = splice @services;
        @services = (@rest, $first);

        my $start = time;
        $agent = $t->agent(token => $token, services => \@services);
        cmp_ok(time - $start, '<', 5 * slowdown(),
               "round $round: registered at once");

        is_deeply({ map { $_ => $agent->port($_) } keys %port }, \%port,
                  "round $round: with the same ports");

        my $r = $t->transfer($port{two}, 1000);
        is($r->{received_sha}, $r->{sent_sha}, "round $round: and serves");
    }

    is(scalar @{ $t->status->{tunnels} }, 1, 'one tunnel is left');

    $t->finish;
}


# The agent loses its control channel alone, and resumes.

sub cut {
    my $t = ZLTunnel->new(workers => 2);
    my $token = $t->token('alice');
    $t->start;

    my $relay = $t->relay;
    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, server => $relay->{url},
                          services => ["e:$echo->{port}"]);
    my $port = $agent->port('e');

    my $c = ZLTunnel::Wire::Socket->new($port);
    $c->send('before');
    is($c->take(6), 'before', 'a connection');

    my $before = $t->status->{tunnels}[0];
    my $lines = $agent->services->{e}{lines};

    $t->tell($relay, 'reset 1');
    ok(wait_for(sub {
        my $now = $relay->{proc}->output;
        my $st = $t->status->{tunnels}[0];
        return $now =~ /^closed 1\n(.*\n)*open/m
               && $st && $st->{state} eq 'connected';
    }), 'the agent is back');

    my $after = $t->status->{tunnels};
    is(scalar @$after, 1, 'one tunnel');
    is($after->[0]{id}, $before->{id}, 'the same');
    is($after->[0]{services}[0]{id}, $before->{services}[0]{id},
       'with the same service');
    is($after->[0]{services}[0]{port}, $port, 'and port');

    $c->send('and after');
    is($c->take(9), 'and after', 'the connection goes on');
    $c->shut;
    is($c->ending, 'eof', 'to its end');
    is($t->events($echo, 'accept'), 1, 'the service noticed nothing');

    my $r = $t->transfer($port, 100_000);
    is($r->{received_sha}, $r->{sent_sha}, 'new connections are served');

    $t->finish;
}


sub resume {
    my $t = ZLTunnel->new(range => 4);
    my $token = $t->token('alice');
    my $bob = $t->token('bob');
    $t->start;

    my $c = ZLTunnel::Wire->agent($t, $token, features => 1);
    my $ok = $c->{ok};
    is(length $ok->{resume_key}, 32, 'AuthOk has a resume key');

    $c->send_msg(register($_)) for qw(a b);
    my ($ra, $rb) = map { $c->expect('RegisterOk') } 1 .. 2;


    # a data channel with a client

    my $client = ZLTunnel::Wire::Socket->new($ra->{port});
    my $m = $c->expect('Connect');
    my $d = ZLTunnel::Wire->channel($t, @$ok{qw(tunnel_id data_key)},
                                    $m->{connection_id});
    $d->ack($m);


    # taken over while it lives

    my $n = ZLTunnel::Wire->agent($t, $token, features => 1,
                                  resume_key => $ok->{resume_key});
    is($n->{ok}{type}, 'AuthOk', 'the resume key replaces a live channel');
    is($n->{ok}{$_}, $ok->{$_}, "with the same $_")
        for qw(tunnel_id data_key resume_key);
    isnt($c->ending(10), 'open', 'the old one is closed');

    $client->send('early');
    is($d->bytes(5), 'early', 'the data channel goes on');
    $d->data('late');
    is($client->take(4), 'late', 'both ways');

    $n->send_msg(register('a'));
    my $again = $n->expect('RegisterOk');
    is($again->{service_id}, $ra->{service_id}, 'the same service id');
    is($again->{port}, $ra->{port}, 'the same port');

    ok(!refuses($rb->{port}), 'the service not registered again is kept');
    ok(wait_for(sub { refuses($rb->{port}) }, 20), 'for 10 s');

    $d->eof;
    is($client->ending, 'eof', 'the client has its end');
    $_->close for $client, $d;


    # a key alone is nothing

    $n->beat;
    my $x = ZLTunnel::Wire->agent($t, $bob, features => 1,
                                  resume_key => $ok->{resume_key});
    isnt($x->{ok}{tunnel_id}, $ok->{tunnel_id},
         'the key with the token of another name is ignored');

    $n->beat;
    $x = ZLTunnel::Wire->control($t);
    $x->auth($token, features => 1, resume_key => 'k' x 32);
    is(($x->next // {})->{code}, 3, 'an unknown key is ignored: in use');

    $x = ZLTunnel::Wire->control($t);
    $x->auth('f' x 48, features => 1, resume_key => $ok->{resume_key});
    is(($x->next // {})->{code}, 1, 'the key without its token: wrong');

    $n->reset;
    $t->finish;
}


# A client that comes while the agent is away is held, and announced to it
# when it is back.

sub waiting {
    my $t = ZLTunnel->new(range => 2, workers => 2);
    my $token = $t->token('alice');
    $t->start;

    for my $key (1, 0) {
        my $name = $key ? 'resumed' : 'without the key';
        my $c = ZLTunnel::Wire->agent($t, $token, features => 1);
        $c->send_msg(register('a'));
        my $port = $c->expect('RegisterOk')->{port};
        $c->reset;

        ok(wait_for(sub {
            $t->status->{tunnels}[0]{state} eq 'disconnected';
        }), "$name: the agent is away");

        my $client = ZLTunnel::Wire::Socket->new($port);
        ok($client, "$name: the port stays open") or next;
        $client->send('hello?');
        is($client->ending(0.3), 'open', "$name: a client is held");

        my $n = ZLTunnel::Wire->agent($t, $token, features => 1,
            $key ? (resume_key => $c->{ok}{resume_key}) : ());
        $n->send_msg(register('a'));
        is($n->expect('RegisterOk')->{port}, $port, "$name: the same port");

        my $m = $n->expect('Connect');
        my $d = ZLTunnel::Wire->channel($t, @{ $n->{ok} }{qw(tunnel_id
                                        data_key)}, $m->{connection_id} // '');
        is($d->{answer}{status}, 101, "$name: the client is announced");
        $d->ack($m);
        is($d->bytes(6), 'hello?', "$name: and served");

        $_->close for $d, $client;
        $n->reset;
    }

    $t->finish;
}


sub second {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $pair = $t->token('pair', 'sessions=2');
    $t->start;

    my $c = ZLTunnel::Wire->agent($t, $token, features => 1);

    my $try = sub {
        my ($token) = @_;
        my $x = ZLTunnel::Wire->control($t);
        $x->auth($token, features => 1);
        return ($x, $x->next(15) // { type => $x->{end} });
    };

    my ($x, $m) = $try->($token);
    is($m->{type}, 'AuthFail', 'a second holder');
    is($m->{code}, 3, 'code 3');
    is($m->{reason}, 'Token already in use by an agent at 127.0.0.1; '
       . 'sessions=2 in its line, or a token for each', 'and who it is');

    my $v1 = ZLTunnel::Wire->control($t);
    $v1->auth($token);
    is($v1->expect('AuthFail')->{reason}, 'Token already in use',
       'which one of version 1 is not told');

    # one that has not been heard from for 5 s is asked, and replaced when it
    # does not answer within 3

    wait_for(sub { 0 }, 5.5 / slowdown());
    my $start = time;
    ($x, $m) = $try->($token);
    is($m->{type}, 'AuthOk', 'a dead holder is replaced');
    cmp_ok(time - $start, '>', 2, 'after it was asked and waited for');
    isnt($c->ending, 'open', 'its channel is closed');
    $x->reset;


    # sessions

    my @s = map { ($try->($pair))[0] } 1, 2;
    is(scalar(grep { $_->{name} eq 'pair' } @{ $t->status->{tunnels} }), 2,
       'sessions=2: two of them');
    $_->beat for @s;
    ($x, $m) = $try->($pair);
    is($m->{code}, 3, 'a third is refused');

    $_->reset for @s;
    $t->finish;
}


sub second_agent {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my @services = ("e:$echo->{port}");
    my $one = $t->agent(token => $token, services => \@services);
    my $two = $t->agent(token => $token, services => \@services, wait => 0);

    ok($two->logged(qr/in use/i), 'the second agent says: in use');
    ok(!keys %{ $two->services }, 'and has nothing');

    my $r = $t->transfer($one->port('e'), 1000);
    is($r->{received_sha}, $r->{sent_sha}, 'the first one serves');

    $one->stop;
    ok($two->registered(1, 30), 'the second one follows when the first ended');

    $t->finish;
}


# An agent that stays away loses its ports after reconnect_grace.

sub grace {
    my $t = ZLTunnel->new(zltunnel => 'reconnect_grace 2s;');
    my $token = $t->token('alice');
    $t->start;

    my $c = ZLTunnel::Wire->agent($t, $token, features => 1);
    $c->send_msg(register('a'));
    my $port = $c->expect('RegisterOk')->{port};

    my $start = time;
    $c->reset;

    # who waits for it need not wait longer, though connect_timeout is 10 s

    my $waits = ZLTunnel::Wire::Socket->new($port);
    is($waits->ending(8), 'reset', 'a client that waits is given up');

    ok(wait_for(sub { refuses($port) }, 20), 'the port closes');
    cmp_ok(time - $start, '>', 1.5, 'not before reconnect_grace');
    ok(wait_for(sub { !@{ $t->status->{tunnels} } }), 'the tunnel is gone');

    $t->finish;
}


# The status tells since when an agent is there, and when it was last heard.

sub since {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $pause = sub {
        my $end = time + 2.1;
        wait_for(sub { time > $end });
    };

    my $begin = int time;
    my $c = ZLTunnel::Wire->agent($t, $token, features => 1);
    my $st = $t->status->{tunnels}[0];

    cmp_ok($st->{connected_since}, '>=', $begin, 'it has just connected');
    cmp_ok($st->{connected_since}, '<=', time, 'now');
    cmp_ok($st->{last_activity}, '>=', $begin, 'and was heard');

    $pause->();
    $c->beat;
    my $later = wait_for(sub {
        my $now = $t->status->{tunnels}[0];
        return $now->{last_activity} >= $begin + 2 && $now;
    }) // {};
    is($later->{connected_since}, $st->{connected_since},
       'heard later, connected since then');

    $c->reset;
    $pause->();
    my $away = $t->status->{tunnels}[0];
    is($away->{state}, 'disconnected', 'it is away');
    is($away->{connected_since}, $st->{connected_since}, 'and was there since');
    cmp_ok($away->{last_activity}, '<', time - 1, 'and is heard no more');

    $c = ZLTunnel::Wire->agent($t, $token, features => 1);
    cmp_ok($t->status->{tunnels}[0]{connected_since}, '>=', $begin + 4,
           'back, and so since now');

    $c->reset;
    $t->finish;
}
