#!/usr/bin/perl

# Protects: the end of on-demand access.  When its time is over, when it is
# stopped, renewed, revoked or resumed, in whichever worker a connection is,
# through reloads and lost workers: a session lasts as long as was promised
# and not longer, and the visitor hears why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(msg ext access_open access_renew access_close register
                      new_id);

my $SLOW = $ENV{ZLT_SLOW} || 1;

subtest 'deadline, 1 worker' => \&deadline, 1;
subtest 'deadline, 4 workers' => \&deadline, 4;
subtest 'rights that go' => \&revoked;
subtest 'takeover' => \&takeover;
subtest 'reload' => \&reload;
subtest 'many, and a worker that dies' => \&many;
subtest 'limits' => \&limits;
subtest 'TLS' => \&tls;

done_testing();


sub visitor {
    my ($t, $token, %o) = @_;
    return ZLTunnel::Wire->agent($t, $token, features => 15, %o);
}


sub opened {
    my ($c, $name, @o) = @_;

    $c->send_msg(access_open($name, @o));
    my $m = $c->expect('AccessOk');
    is($m->{type}, 'AccessOk', "access to $name");

    return $m->{access_id};
}


# A visit of an echo service that has answered.

sub connected {
    my ($c, $id, %o) = @_;

    my $v = ZLTunnel::Wire->visit($c, $id, %o) // return undef;
    return undef if $v->{answer}{status} != 101;
    my $m = $v->next // { type => $v->{end} // 'none' };
    return undef if $m->{type} ne 'ConnectAck';

    return echoes($v) && $v;
}


sub echoes {
    my ($v) = @_;
    $v->send('ping') or return 0;
    return ($v->take(4) // '') eq 'ping';
}


sub gone { my ($c, $id) = @_;
           return ZLTunnel::Wire->visit($c, $id)->{answer}{status} == 410 }


sub list {
    my ($t) = @_;
    return @{ ($t->status // {})->{access} // [] };
}


sub deadline {
    my ($workers) = @_;

    my $t = ZLTunnel->new(workers => $workers);
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=* access_ttl=1m');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $site, services => ["web:$echo->{port}"]);
    my $c = visitor($t, $alice);

    my $start = time;
    my $short = opened($c, 'web', ttl => 2);
    my $grace = opened($c, 'web', ttl => 2, grace => 3);
    my $renew = opened($c, 'web', ttl => 2);
    my $stop = opened($c, 'web', ttl => 60);

    # several each, so that most workers have one
    my %v = map { my ($name, $id) = @$_;
                  $name => [ map { connected($c, $id) } 1 .. 6 ] }
            [ short => $short ], [ grace => $grace ], [ renew => $renew ],
            [ stop => $stop ];
    is(scalar(grep { defined } map { @$_ } values %v), 24, 'all connect');

    $c->send_msg(access_renew($renew, 50));
    my $m = $c->expect('AccessOk');
    is($m->{access_id}, $renew, 'renewed');
    is($m->{ttl}, 50, 'for so long');
    is($m->{ext}{1}, 'site', 'served by');

    $c->send_msg(access_renew($renew, 61));
    $m = $c->expect('AccessFail');
    is($m->{code}, 6, 'not for longer than the token allows');
    like($m->{reason}, qr/60 s/, "reason: $m->{reason}");
    is($m->{ext}{2}, $renew, 'it names the session');
    $c->send_msg(access_renew($grace, 58));
    is($c->expect('AccessFail')->{code}, 6, 'the grace counts');

    # stopped: at once
    $c->send_msg(access_close($stop));
    is($_->ending(10), 'reset', 'a stopped session: reset') for @{ $v{stop} };
    cmp_ok(time - $start, '<', 1.9 * $SLOW, 'at once');
    ok(gone($c, $stop), 'and gone');

    # the deadline
    my %close;
    for (1 .. 2) {
        $m = $c->expect('AccessClose');
        $close{ $m->{access_id} } = $m;
    }
    my $took = time - $start;
    cmp_ok($took, '>=', 1.9, 'not before the deadline');
    cmp_ok($took, '<', 4 * $SLOW, 'soon after it');
    is($close{$_}{code}, 2, 'AccessClose, code 2') for $short, $grace;
    like($close{$short}{reason}, qr/expired/, 'expired');

    is($_->ending(10), 'reset', 'without a grace: reset') for @{ $v{short} };
    ok(gone($c, $_), 'no connection any more') for $short, $grace;
    is(scalar(grep { echoes($_) } @{ $v{grace} }), 6, 'the grace lets go on');

    is($_->ending(10), 'reset', 'the grace is over: reset')
        for @{ $v{grace} };
    $took = time - $start;
    cmp_ok($took, '>=', 4.9, 'not before');
    cmp_ok($took, '<', 7 * $SLOW, 'not much later');
    ok(gone($c, $grace), 'gone');

    is(scalar(grep { echoes($_) } @{ $v{renew} }), 6,
       'the renewed one goes on');
    ok(wait_for(sub { list($t) == 1 }, 15), 'it alone is listed');
    $c->send_msg(access_renew($short, 5));
    is($c->expect('AccessFail')->{code}, 8, 'what is over is not renewed');

    my $over = qr/access session \S+ of agent "alice" to service "web" ended/;
    like($t->log, qr/$over, expired: 6 connections/, 'the log has the end');
    like($t->log, qr/connections of visitors were cut/, 'and the cuts');
    like($t->log, qr/agent "alice" stopped access session/, 'and the stop');

    $_->reset for @{ $v{renew} }, $c;
    $t->finish;
}


sub revoked {
    my $t = ZLTunnel->new(workers => 2);
    my $site = $t->token('site');
    my $serve = $t->token('serve');
    my %token = map { $_ => $t->token($_, 'access=* access_ttl=2h') }
                qw(alice bob carol dave);
    $t->start;

    my $echo = $t->service('echo');
    my @agents = map { $t->agent(token => $_->[0],
                                 services => ["$_->[1]:$echo->{port}"]) }
                 [ $site, 'web' ], [ $serve, 'other' ];

    my (%c, %id, %v);
    for my $name (sort keys %token) {
        $c{$name} = visitor($t, $token{$name});
        $id{$name} = opened($c{$name}, 'web', ttl => 3600);
        $v{$name} = [ map { connected($c{$name}, $id{$name}) } 1 .. 4 ];
    }
    my $other = opened($c{dave}, 'other');
    my @other = map { connected($c{dave}, $other) } 1 .. 4;

    # an agent that is away loses its rights as well
    my $away = visitor($t, $t->token('erin', 'access=*')) for 1;

    for my $token (@{ $t->{tokens} }) {
        $token->{rights} = 'access=mail,other' if $token->{name} eq 'bob';
        $token->{rights} = 'access=* access_ttl=30m'
            if $token->{name} eq 'carol';
    }
    $t->{tokens} = [ grep { $_->{name} !~ /^(alice|serve)$/ }
                     @{ $t->{tokens} } ];
    my $start = time;
    $t->write_tokens;

    for my $name (qw(alice bob carol)) {
        is($_->ending(15), 'reset', "$name: reset") for @{ $v{$name} };
    }
    is($_->ending(15), 'reset', 'the serving token: reset') for @other;
    cmp_ok(time - $start, '<', 8 * $SLOW, 'within seconds');

    is($c{alice}->expect('Disconnect')->{type}, 'Disconnect',
       'revoked: Disconnect');

    for my $name (qw(bob carol)) {
        my $m = $c{$name}->expect('AccessClose');
        is($m->{access_id}, $id{$name}, "$name: AccessClose");
        is($m->{code}, 6, 'code 6');
        ok(gone($c{$name}, $id{$name}), 'gone');
    }

    is(scalar(grep { echoes($_) } @{ $v{dave} }), 4,
       'the others are not disturbed');
    is(ZLTunnel::Wire->visit($c{dave}, $other)->next->{code}, 8,
       'a service of a revoked token: code 8');

    $_->reset for @{ $v{dave} }, values %c;
    $t->finish;
}


sub takeover {
    my $t = ZLTunnel->new(workers => 2, zltunnel => 'reconnect_grace 2s;');
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=*');
    my $bob = $t->token('bob', 'access=*');
    $t->start;

    my $s = ZLTunnel::Wire->agent($t, $site, features => 15);
    $s->send_msg(register('list', ext => ext(1, "\1", 3, 'x,alice')));
    $s->expect('RegisterOk');

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $t->token('echo'),
                          services => ["web:$echo->{port}"]);
    ok(wait_for(sub { $t->service_status('web') }), 'served');

    my $c = visitor($t, $alice);
    my %id = (keep => opened($c, 'web', ttl => 100),
              drop => opened($c, 'web', ttl => 200));
    my %v = map { $_ => connected($c, $id{$_}) } keys %id;

    # the same agent comes again, before the server knows that it has gone
    my $d = visitor($t, $alice, resume_key => $c->{ok}{resume_key});
    my $start = time;
    is($d->{ok}{tunnel_id}, $c->{ok}{tunnel_id}, 'taken over');
    ok(echoes($_), 'connections live through it') for values %v;

    my $again = sub {
        $d->send_msg(access_open(@_));
        return $d->expect('AccessOk');
    };

    my $m = $again->('web', ttl => 50, resume => $id{keep});
    is($m->{access_id}, $id{keep}, 'a session is resumed');
    is($m->{ttl}, 50, 'with the earlier end: the new one');
    $m = $again->('web', ttl => 5000, resume => $id{keep});
    is($m->{access_id}, $id{keep}, 'again');
    cmp_ok($m->{ttl}, '<=', 50, 'with the earlier end: the old one');
    isnt($again->('web2', resume => $id{keep})->{access_id}, $id{keep},
         'for another service it is another session');
    isnt($again->('web', resume => $id{keep}, udp => 1)->{access_id},
         $id{keep}, 'for another protocol');

    # the list of the serving agent changes under a connection
    my $list = opened($d, 'list');
    my $v = ZLTunnel::Wire->visit($d, $list);
    $m = $s->expect('Connect');
    my $ch = ZLTunnel::Wire->channel($t, $s->{ok}{tunnel_id},
        $s->{ok}{data_key}, $m->{connection_id});
    $ch->ack($m);
    is($v->next->{type}, 'ConnectAck', 'a visitor on the list');

    my $s2 = ZLTunnel::Wire->agent($t, $site, features => 15,
                                   resume_key => $s->{ok}{resume_key});
    $s2->send_msg(register('list', ext => ext(1, "\1", 3, 'x')));
    $s2->expect('RegisterOk');
    is($v->ending(10), 'reset', 'is cut when it is no longer on it');

    # an agent that does not come again
    my $b = visitor($t, $bob);
    my $bid = opened($b, 'web');
    my $bv = connected($b, $bid);
    $b->reset;
    is($bv->ending(15), 'reset', 'its grace over: its connections end');
    ok(wait_for(sub { !grep { $_->{name} eq 'bob' } list($t) }, 10),
       'and its sessions');

    # what was not resumed ends as services do
    is($v{drop}->ending(20), 'reset', 'a session that was not resumed ends');
    cmp_ok(time - $start, '>=', 9, 'after some time');
    ok(echoes($v{keep}), 'the resumed one goes on');

    $_->reset for $v{keep}, $d, $s2;
    $t->finish;
}


sub reload {
    my $t = ZLTunnel->new(workers => 2);
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=*');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $site, services => ["web:$echo->{port}"]);

    my $c = visitor($t, $alice);
    my $start = time;
    my $id = opened($c, 'web', ttl => 8);
    my $long = opened($c, 'web', ttl => 3600);
    my @v = map { connected($c, $id) } 1 .. 4;
    my @l = map { connected($c, $long) } 1 .. 4;

    my %old = map { $_ => 1 } $t->workers;
    $t->{nginx}->kill('HUP');

    my $m;
    do { $m = $c->next(20) // { type => 'none' } }
        until $m->{type} =~ /Disconnect|none/;
    is($m->{type}, 'Disconnect', 'reload: the agent is to come again');

    my $d;
    ok(wait_for(sub {
        $d = visitor($t, $alice, resume_key => $c->{ok}{resume_key});
        return ($d->{ok}{type} // '') eq 'AuthOk';
    }), 'it does');
    $d->send_msg(access_open('web', ttl => 3600, resume => $_)) for $id, $long;
    is($d->expect('AccessOk')->{access_id}, $_, 'the session is there')
        for $id, $long;

    is(scalar(grep { echoes($_) } @v, @l), 8, 'old connections go on');
    ok(wait_for(sub { ($t->service_status('web') // {})->{active} }, 10),
       'served');
    my $new = connected($d, $long);
    ok($new, 'a new connection');

    is($_->ending(20), 'reset', 'the deadline holds in old workers')
        for @v;
    my $took = time - $start;
    cmp_ok($took, '>=', 7.5, 'not before');
    cmp_ok($took, '<', 11 * $SLOW, 'nor long after');
    is(scalar(grep { echoes($_) } @l, $new), 5, 'the other session goes on');

    # revocation reaches them, too
    $t->revoke('alice');
    is($_->ending(15), 'reset', 'revoked: reset, in old workers too')
        for @l, $new;

    ok(wait_for(sub { !grep { ZLTunnel::Proc::exists_pid($_) } keys %old },
                20), 'the old workers end');
    $_->reset for $c, $d;
    $t->finish;
}


sub many {
    my $n = sizes('sessions', 2000, 200);
    my $t = ZLTunnel->new(workers => 2, zone => '8m',
                          allow => [ qr/exited on signal 9/ ]);
    my $site = $t->token('site');
    my $alice = $t->token('alice', "access=* max_access=$n");
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $site, services => ["web:$echo->{port}"]);
    my $c = visitor($t, $alice);

    $c->send_msg(access_open('web')) for 1 .. $n + 1;
    my %ids = map { ($c->next // {})->{access_id} => 1 } 1 .. $n;
    is(scalar(keys %ids), $n, "$n sessions at once, each its own id");
    is($c->next->{code}, 4, 'one more: code 4');
    is(scalar(list($t)), $n, 'all are listed');

    my @ids = keys %ids;
    my @v = map { connected($c, $_) } @ids[0 .. 49];
    is(scalar(grep { defined } @v), 50, 'fifty of them connect');

    # a worker dies: what it had counted stays
    my ($a) = grep { $_->{connections}{active} } list($t);
    my @pids = $t->workers;
    kill KILL => $pids[0];
    ok(wait_for(sub { my @now = $t->workers;
                      @now == 2 && !grep { $_ == $pids[0] } @now }, 20),
       'a worker is replaced');

    my $d;
    ok(wait_for(sub {
        $d = visitor($t, $alice, resume_key => $c->{ok}{resume_key});
        return ($d->{ok}{type} // '') eq 'AuthOk';
    }, 20), 'the agent comes again');

    ok(wait_for(sub {
        my @l = list($t);
        my $total = 0;
        $total += $_->{connections}{total} for @l;
        return @l == $n && $total == 50;
    }, 10), 'the sessions and their counts are there');

    $d->send_msg(access_open('web', resume => $_)) for @ids;
    my %again = map { ($d->next // {})->{access_id} => 1 } @ids;
    is_deeply(\%again, \%ids, 'all are resumed');

    my $alive = grep { echoes($_) } @v;
    ok(wait_for(sub {
        my $active = 0;
        $active += $_->{connections}{active} for list($t);
        return $active == $alive;
    }, 10), "$alive connections are left, and counted");
    ok(wait_for(sub { connected($d, $ids[100]) }, 20), 'and new ones come');

    $d->send_msg(access_close($_)) for @ids;
    ok(wait_for(sub { list($t) == 0 }, 10), 'all are stopped');
    ok(wait_for(sub {
        !grep { $_->ending(0.1) eq 'open' } @v
    }, 10), 'and their connections end');

    $_->reset for $c, $d;
    $t->finish;
}


sub limits {
    my $t = ZLTunnel->new(zone => '128k', zltunnel =>
        'max_tunnels 10; max_services 10; max_connections 3; max_pending 2;
         connect_timeout 2s;');
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=* max_access=60000');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $site, services => ["web:$echo->{port}"]);
    my $c = visitor($t, $alice);
    my $id = opened($c, 'web');

    # of one visitor, and of the service
    my @v = map { connected($c, $id) } 1 .. 3;
    my $v = ZLTunnel::Wire->visit($c, $id);
    is($v->{answer}{status}, 503, 'max_connections of a visitor: 503');
    $_->close for @v;

    # those that wait
    my $s = ZLTunnel::Wire->agent($t, $t->token('slow'), features => 15)
        if wait_for(sub { 1 });
    ok(wait_for(sub {
        $s = ZLTunnel::Wire->agent($t, $t->{tokens}[-1]{token},
                                   features => 15);
        return ($s->{ok}{type} // '') eq 'AuthOk';
    }, 15), 'an agent that does not answer');
    $s->send_msg(register('slow', ext => ext(1, "\1")));
    $s->expect('RegisterOk');
    my $slow = opened($c, 'slow');

    ok(wait_for(sub { ($t->status->{access}[0]{connections}{active} // 1)
                      == 0 }), 'room again');
    @v = map { ZLTunnel::Wire->visit($c, $slow) } 1 .. 3;
    my @code = sort { $a <=> $b } map { ($_->next(10) // {})->{code} // 0 } @v;
    is_deeply(\@code, [ 4, 8, 8 ], 'max_pending, and connect_timeout');
    $_->close for @v;

    # the zone
    my $m;
    my $n = 0;
    do {
        $c->send_msg(access_open('x' x 200, ttl => 5));
        $m = $c->next // { type => 'none' };
        $n++;
    } while ($m->{type} eq 'AccessOk' && $n < 1000);
    is($m->{type}, 'AccessFail', "$n sessions fill the zone: AccessFail");
    is($m->{code}, 10, 'code 10');
    like($m->{reason}, qr/zone/, "reason: $m->{reason}");

    is((grep { $_->{type} eq 'AccessClose' }
        map { $c->next(15) // { type => 'none' } } 1 .. $n - 1), $n - 1,
       'they end');
    ok(wait_for(sub { connected($c, $id) }, 10), 'and what was there works');

    $_->reset for $c, $s;
    $t->finish;
}


# The visitor speaks through a proxy that adds TLS; the serving agent has it
# itself.

sub tls {
    my $t = ZLTunnel->new(workers => 2);
    my $proxy = $t->free_port;
    $t->write_conf(stream => "server {
        listen 127.0.0.1:$proxy;
        proxy_pass 127.0.0.1:$t->{tls_port};
        proxy_ssl on;
    }");
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=*');
    $t->start;

    my $echo = $t->service('echo');
    my %agent = (plain => [ 0, $site ], tls => [ 1, $t->token('tls') ]);
    ok(wait_for(sub { $t->status }), 'up');
    sleep 3;    # the new token counts after some seconds
    $t->agent(token => $agent{$_}[1], tls => $agent{$_}[0],
              services => ["$_:$echo->{port}"]) for sort keys %agent;

    my $c = visitor($t, $alice, port => $proxy);

    for my $name (sort keys %agent) {
        my $id = opened($c, $name);

        for my $port ($proxy, $t->{http_port}) {
            my $what = ($port == $proxy ? 'TLS' : 'plain') . " to $name";
            my @v = map { connected($c, $id, port => $port) } 1 .. 6;
            is(scalar(grep { defined } @v), 6, "$what: connections");

            my $data = join '', map { chr int rand 256 } 1 .. 4096;
            $data x= 100;
            $v[0]->send($data);
            ok(($v[0]->take(length $data, 20) // '') eq $data,
               "$what: bytes as they went");

            $v[1]->shut if $port != $proxy;
            is($v[1]->ending, 'eof', "$what: half-close") if $port != $proxy;

            # the proxy makes a reset an end, and a half-close, too
            my $before = $t->events($echo, 'reset');
            $v[2]->reset;
            ok($port == $proxy
               || wait_for(sub { $t->events($echo, 'reset') > $before }),
               "$what: a reset");
            $_->close for @v[3 .. 5], $v[0];
        }

        # cut while it is in use
        my @v = map { connected($c, $id, port => $proxy) } 1 .. 4;
        $c->send_msg(access_close($id));
        ok(wait_for(sub {
            !grep { ($_->ending(0.1)) eq 'open' } @v
        }, 10), "$name: stopped");
    }

    $c->reset;
    $t->finish;
}
