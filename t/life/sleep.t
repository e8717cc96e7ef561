#!/usr/bin/perl

# Protects: an agent on a machine that has slept checks its server at once. A
# control channel that a NAT has dropped meanwhile is found dead in seconds, not
# at the next heartbeat, and one that waits for its next attempt makes it.
#
# The sleep is one of the clocks alone (t/lib/preload/clock.c).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Path ();
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire;

plan(skip_all => 'Linux only') if $^O ne 'linux';

my $lib = "$ZLTunnel::ROOT/objs/t/clock.so";

File::Path::make_path("$ZLTunnel::ROOT/objs/t");
run_ok($ENV{CC} || 'cc', '-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-o',
       $lib, "$ZLTunnel::ROOT/t/lib/preload/clock.c");

subtest 'a dead control channel' => \&dead;
subtest 'one that lives' => \&alive;
subtest 'waiting for the next attempt' => \&waiting;

done_testing();


sub agent {
    my ($t, %o) = @_;

    write_file("$t->{dir}/slept", '0');

    return $t->agent(%o, env => {
        LD_PRELOAD => $lib, CLOCK_SLEPT => "$t->{dir}/slept",
        ASAN_OPTIONS => 'verify_asan_link_order=0',
    });
}


sub sleep_for { write_file("$_[0]{dir}/slept", $_[1]) }


sub dead {
    my $t = ZLTunnel->new(zltunnel => 'heartbeat_interval 10m;
                                       heartbeat_timeout 20m;');
    my $token = $t->token('alice');
    $t->start;

    my $relay = $t->relay;
    my $echo = $t->service('echo');
    my $agent = agent($t, token => $token, server => $relay->{url},
                      services => ["e:$echo->{port}"],
                      args => ['--reconnect-interval', '1s']);
    my $port = $agent->port('e');

    my $c = ZLTunnel::Wire::Socket->new($port);
    $c->send('x');
    is($c->take(1), 'x', 'a connection');

    $t->tell($relay, 'stall 1');
    sleep_for($t, 3600);

    ok($agent->logged(qr/has slept for 3[56]\d\d s/, 10), 'the sleep is seen');
    ok($agent->logged(qr/nothing was heard from the server/, 15),
       'the control channel is found dead');
    ok(wait_for(sub {
        2 == (() = $agent->log =~ /connected as/g);
    }, 30), 'the agent is back');

    $c->send('y');
    is($c->take(1), 'y', 'the connection goes on');
    $c->close;

    my $r = $t->transfer($port, 1000);
    is($r->{received_sha}, $r->{sent_sha}, 'new ones are served');

    $relay->{proc}->stop;
    $t->finish;
}


sub alive {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $agent = agent($t, token => $token, services => ['e:1']);
    sleep_for($t, 600);

    ok($agent->logged(qr/has slept/, 10), 'the sleep is seen');
    ok(!$agent->logged(qr/nothing was heard/, 7 / slowdown()),
       'the server answers');
    is(scalar(() = $agent->log =~ /connected as/g), 1,
       'and nothing is begun anew');

    $t->finish;
}


sub waiting {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $relay = $t->relay;
    my $agent = agent($t, token => $token, server => $relay->{url},
                      services => ['e:1'],
                      args => ['--reconnect-interval', '1h',
                               '--max-reconnect-interval', '1h']);

    $t->tell($relay, 'refuse');
    $t->tell($relay, 'reset 1-');
    ok($agent->logged(qr/connecting again in \d+/), 'the agent waits');
    $t->tell($relay, 'pass');

    # chance may have it that it does not wait for long

    sleep_for($t, 3600);
    ok(wait_for(sub {
        2 == (() = $agent->log =~ /connected as/g);
    }, 10), 'it wakes up and is back at once');

    $relay->{proc}->stop;
    $t->finish;
}
