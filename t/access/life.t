#!/usr/bin/perl

# Protects: the end of on-demand access.  When its time is over, when it is
# stopped, renewed or revoked, in whichever worker a connection is: a session
# lasts as long as was promised and not longer, and the visitor hears why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::Wire qw(ext access_renew access_close register);

my $SLOW = slowdown();

subtest 'deadline, 1 worker' => \&deadline, 1;
subtest 'deadline, 4 workers' => \&deadline, 4;
subtest 'rights that go' => \&revoked;
subtest 'while it is being connected' => \&waiting;
subtest '.. to an agent that is revoked' => \&waiting_revoked;

done_testing();


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
    like($m->{reason}, qr/1m at most/, "reason: $m->{reason}");
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
    ok(wait_for(sub { sessions($t) == 1 }, 15), 'it alone is listed');
    $c->send_msg(access_renew($short, 5));
    is($c->expect('AccessFail')->{code}, 8, 'what is over is not renewed');

    my $over = qr/access session \S+ of agent "alice" to service "web" ended/;
    like($t->log, qr/$over, expired: 6 connections/, 'the log has the end');
    like($t->log, qr/connections? of visitors cut/, 'and the cuts');
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


# A serving agent that takes its time: whatever ends meanwhile, ends at once.

sub waiting {
    my $t = ZLTunnel->new(workers => 2);
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=*');
    $t->start;

    my $s = ZLTunnel::Wire->agent($t, $site, features => 15);
    $s->send_msg(register('slow', ext => ext(1, "\1")));
    $s->expect('RegisterOk');

    my $c = visitor($t, $alice);
    my $id = opened($c, 'slow');
    my $ask = sub {
        my $v = ZLTunnel::Wire->visit($c, $id, early => 'x');
        $s->expect('Connect');
        return $v;
    };

    my $v = $ask->();
    $v->reset;
    ok(wait_for(sub { session($t, $id)->{connections}{active} == 0 }),
       'a visitor that goes is forgotten');

    $v = $ask->();
    $c->send_msg(access_close($id));
    is($v->ending, 'reset', 'a session that is stopped');
    ok(wait_for(sub {
        !grep { $_->{pending} } @{ $t->status->{tunnels} }
    }), 'nobody waits any more');

    $_->reset for $c, $s;
    $t->finish;
}


# In one worker: with several, the one with the dial may see that the tunnel is
# gone (code 8) before it has read the token file itself, and cuts it.

sub waiting_revoked {
    my $t = ZLTunnel->new(workers => 1);
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=*');
    $t->start;

    my $s = ZLTunnel::Wire->agent($t, $site, features => 15);
    $s->send_msg(register('slow', ext => ext(1, "\1")));
    $s->expect('RegisterOk');

    my $c = visitor($t, $alice);
    my $v = ZLTunnel::Wire->visit($c, opened($c, 'slow'), early => 'x');
    $s->expect('Connect');

    $t->revoke('site');
    my $m = $v->next(15) // { type => $v->{end} // 'none' };
    is($m->{type}, 'ConnectFail', 'a serving agent that is revoked');
    is($m->{code}, 10, 'code 10');

    $_->reset for $c, $s;
    $t->finish;
}
