#!/usr/bin/perl

# Protects: the bounds of on-demand access: sessions by the hundred, a worker
# that dies with some of them, limits and a full zone, which cost one visitor
# an answer and nobody else anything; all of it under TLS; and an hour that is
# an hour though the machine sleeps.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::Wire qw(ext access_open access_close register);

subtest 'many, and a worker that dies' => \&many;
subtest 'limits' => \&limits;
subtest 'TLS' => \&tls;
subtest 'a server that sleeps' => \&asleep;

done_testing();


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
    is(scalar(sessions($t)), $n, 'all are listed');

    my @ids = keys %ids;
    my @v = map { connected($c, $_) } @ids[0 .. 49];
    is(scalar(grep { defined } @v), 50, 'fifty of them connect');

    # a worker dies: what it had counted stays
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
        my @l = sessions($t);
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
        $active += $_->{connections}{active} for sessions($t);
        return $active == $alive;
    }, 10), "$alive connections are left, and counted");
    ok(wait_for(sub { connected($d, $ids[100]) }, 20), 'and new ones come');

    $d->send_msg(access_close($_)) for @ids;
    ok(wait_for(sub { sessions($t) == 0 }, 10), 'all are stopped');
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
    my $lazy = $t->token('lazy');
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

    # those that wait, while the agent is away
    my $s = ZLTunnel::Wire->agent($t, $lazy, features => 15);
    $s->send_msg(register('slow', ext => ext(1, "\1")));
    $s->expect('RegisterOk');
    my $slow = opened($c, 'slow');

    ok(wait_for(sub { ($t->status->{access}[0]{connections}{active} // 1)
                      == 0 }), 'room again');
    $s->reset;
    ok(wait_for(sub {
        return grep { $_->{state} eq 'disconnected' }
               @{ $t->status->{tunnels} };
    }), 'its agent is away');
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

    $c->reset;
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
    my $other = $t->token('other');
    my $alice = $t->token('alice', 'access=*');
    $t->start;

    my $echo = $t->service('echo');
    my %agent = (plain => [ 0, $site ], tls => [ 1, $other ]);
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


# The sleep is one of nginx's clock alone (t/lib/preload/clock.c).

sub asleep {
    my $t = ZLTunnel->new(workers => 2, main => 'env CLOCK_SLEPT;');
    my $site = $t->token('site');
    my $alice = $t->token('alice', 'access=*');
    my $lib = "$t->{dir}/clock.so";
    my $slept = "$t->{dir}/slept";

    run_ok($ENV{CC} || 'cc', '-shared', '-fPIC', '-O2', '-Wall', '-Wextra',
           '-o', $lib, "$ZLTunnel::ROOT/t/lib/preload/clock.c");
    write_file($slept, '0', 0644);

    {
        local $ENV{LD_PRELOAD} = $lib;
        local $ENV{CLOCK_SLEPT} = $slept;
        local $ENV{ASAN_OPTIONS} = join ':', 'verify_asan_link_order=0',
                                             $ENV{ASAN_OPTIONS} // ();
        $t->start;
    }

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $site, services => ["web:$echo->{port}"]);
    my $c = visitor($t, $alice);
    my $id = opened($c, 'web', ttl => 3600);
    my $end = opened($c, 'web', ttl => 7200);
    my @v = map { connected($c, $id) } 1 .. 4;

    write_file($slept, '3000', 0644);
    ok(wait_for(sub { session($t, $id)->{remaining} <= 600 }),
       'fifty minutes are fifty minutes');
    is(scalar(grep { echoes($_) } @v), 4, 'connections go on');

    write_file($slept, '3700', 0644);
    my $m = $c->expect('AccessClose');
    is($m->{access_id}, $id, 'over an hour: it is over');
    is($m->{code}, 2, 'code 2');
    is($_->ending(10), 'reset', 'and so are its connections') for @v;
    ok(connected($c, $end), 'one of two hours is not');

    $c->reset;
    $t->finish;
}
