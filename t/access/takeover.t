#!/usr/bin/perl

# Protects: access sessions while everything moves.  An agent that comes again
# finds its sessions as it left them, a reload and its old workers keep and end
# them like any other, and what nobody comes back for goes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::Wire qw(ext access_open register);

my $SLOW = slowdown();

subtest 'takeover' => \&takeover;
subtest 'a shared token' => \&shared;
subtest 'reload' => \&reload;

done_testing();


sub takeover {
    my $t = ZLTunnel->new(workers => 2, zltunnel => 'reconnect_grace 2s;');
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=*');
    my $bob = $t->token('bob', 'access=*');
    my $serving = $t->token('echo');
    $t->start;

    my $s = ZLTunnel::Wire->agent($t, $site, features => 15);
    $s->send_msg(register('list', ext => ext(1, "\1", 3, 'x,alice')));
    $s->expect('RegisterOk');

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $serving,
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
    ok(wait_for(sub { !grep { $_->{name} eq 'bob' } sessions($t) }, 10),
       'and its sessions');

    # what was not resumed ends as services do
    is($v{drop}->ending(20), 'reset', 'a session that was not resumed ends');
    cmp_ok(time - $start, '>=', 9, 'after some time');
    ok(echoes($v{keep}), 'the resumed one goes on');

    $_->reset for $v{keep}, $d, $s2;
    $t->finish;
}


# Two visitors have one token, and come back to each other's tunnels: one has
# lost its key.

sub shared {
    my $t = ZLTunnel->new(workers => 2);
    my $alice = $t->token('alice', 'sessions=2 access=*');
    my $serving = $t->token('echo');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $serving,
                          services => ["web:$echo->{port}"]);
    ok(wait_for(sub { $t->service_status('web') }), 'served');

    my ($one, $two) = map { visitor($t, $alice) } 1, 2;
    my ($first, $second) = map { opened($_, 'web', ttl => 100) } $one, $two;
    my $v = connected($one, $first);

    # of somebody who is there it is not to be had
    $two->send_msg(access_open('web', ttl => 100, resume => $first));
    my $m = $two->expect('AccessOk');
    isnt($m->{access_id}, $first, 'a session that does not wait stays');

    # the restarted one takes the tunnel of the other, whichever that is
    $_->reset for $one, $two;
    ok(wait_for(sub {
        !grep { $_->{name} eq 'alice' && $_->{state} ne 'disconnected' }
              @{ $t->status->{tunnels} };
    }), 'both are away');

    my ($id) = map { $_->{tunnel} } grep { $_->{id} eq unpack 'H*', $first }
               @{ $t->status->{access} };
    my @new = map { visitor($t, $alice) } 1, 2;
    my ($c) = grep { unpack('H*', $_->{ok}{tunnel_id}) ne $id } @new;
    ok($c, 'another tunnel than that of the session');

    $c->send_msg(access_open('web', ttl => 50, resume => $first));
    $m = $c->expect('AccessOk');
    is($m->{access_id}, $first, 'it is resumed there');

    ok(echoes($v), 'its connection goes on');
    my $w = connected($c, $first);
    ok(echoes($w), 'and there are new ones');

    my ($access) = grep { $_->{id} eq unpack 'H*', $first }
                   @{ $t->status->{access} };
    is($access->{tunnel}, unpack('H*', $c->{ok}{tunnel_id}), 'it has moved');
    is($access->{connections}{active}, 2, 'with its connection');

    $_->close for $v, $w;
    ok(wait_for(sub {
        ($access) = grep { $_->{id} eq unpack 'H*', $first }
                    @{ $t->status->{access} };
        return $access->{connections}{active} == 0;
    }), 'which is counted to its end');

    $_->reset for @new;
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
    my $id = opened($c, 'web', ttl => 6);
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
    cmp_ok($took, '>=', 5.5, 'not before');
    cmp_ok($took, '<', 9 * $SLOW, 'nor long after');
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
