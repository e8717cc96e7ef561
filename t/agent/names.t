#!/usr/bin/perl

# Protects: an agent whose name server does not answer, for which a lookup takes
# ten seconds and more.  Services whose addresses were known are reached at
# those, other services and the server do not wait, a name is looked up once
# for all who want it, and what was not found is not looked up again at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Names;
use ZLTunnel::Wire;

my $why = ZLTunnel::Names::missing();
plan(skip_all => $why) if $why;

my $SLOW = slowdown();

subtest 'what was known' => \&known;
subtest 'what nobody knows' => \&unknown;
subtest 'ten silent names and a reload' => \&silent;

done_testing();


sub serves {
    my ($port, $timeout) = @_;

    my $c = ZLTunnel::Wire::Socket->new($port) or return 0;
    $c->send('hello');
    my $ok = ($c->take(5, $timeout) // '') eq 'hello';
    $c->close;

    return $ok;
}


sub scene {
    my ($services, %o) = @_;

    my $t = ZLTunnel->new(workers => 2, range => 16);
    my $token = $t->token('alice');
    my $names = ZLTunnel::Names->new($t, resolv => $o{resolv});
    $names->hosts(%{ $o{hosts} || {} });
    $names->answers(%{ $o{answers} || {} });
    $names->serve;
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(
        token => $token, program => $names->program,
        server => $t->url('ws', $o{server}),
        services => [ map { "$_:$services->{$_}:$echo->{port}" }
                      sort keys %$services ],
        args => [ '--connect-timeout', '60s', '--shutdown-timeout', '1s' ]);

    return ($t, $names, $agent);
}


# The name server falls silent; what it said last holds, and when it is back it
# is asked again.

sub known {
    my ($t, $names, $agent) = scene({ web => 'web.test' },
                                    answers => { 'web.test' => '127.0.0.1' });
    my $port = $agent->port('web');

    ok(serves($port, 10), 'while it answers the service is served');

    my $asked = $names->asked('web.test');
    $names->answers;

    # what it said holds for some seconds without that

    my ($served, $waited) = (0, 0);
    my $end = time + 30 * $SLOW;

    while (time < $end && $served < 10) {
        my $start = time;
        my $anew = $names->asked('web.test') > $asked;

        serves($port, 30) or last;

        $waited = time - $start if time - $start > $waited;
        $served++ if $anew;
        select undef, undef, undef, 0.1;
    }

    is($served, 10, 'while it does not, it is served as well');
    cmp_ok($waited, '<', 8 * $SLOW, 'and nobody waits for it');

    # the lookup that runs has to end before the next one

    $names->answers('web.test' => '127.0.0.9');
    ok(wait_for(sub { !serves($port, 10) }, 60),
       'what it says when it is back counts');

    $t->finish;
}


# "There is no such name", asked by many, one after the other.

sub unknown {
    my ($t, $names, $agent) = scene({ gone => 'gone.test' },
                                    answers => { 'gone.test' => 'none' });
    my $port = $agent->port('gone');
    my ($start, $reset) = (time, 0);

    for (1 .. 50) {
        my $c = ZLTunnel::Wire::Socket->new($port) or next;
        $reset++ if $c->ending(10) eq 'reset';
    }

    is($reset, 50, 'a name that there is not: its clients are reset');

    # it was asked once more for each time that an answer holds

    cmp_ok($names->asked('gone.test'), '<=', 1 + (time - $start) / 4,
           'the name server was not asked by each of them');
    cmp_ok($names->asked('gone.test'), '>=', 1, 'but once');

    $names->answers('gone.test' => '127.0.0.1');
    ok(wait_for(sub { serves($port, 10) }), 'it is there now, and served');

    $t->finish;
}


sub silent {
    my %silent = map { ("s$_" => "s$_.test") } 0 .. 9;
    my ($t, $names, $agent) = scene(
        { %silent, hosts => 'hosts.test', number => '127.0.0.1' },
        server => 'server.test', resolv => "options timeout:20\n",
        hosts => { 'hosts.test' => '127.0.0.1',
                   'server.test' => '127.0.0.1' });

    my @waiting = map {
        my $port = $agent->port($_);
        map { ZLTunnel::Wire::Socket->new($port) } 1 .. 3;
    } sort keys %silent;

    ok(wait_for(sub {
        !grep { !$names->asked($_) } values %silent;
    }), 'all ten are being looked up');

    is(scalar(grep { $names->asked($_) > 1 } values %silent), 0,
       'once for all three clients');

    ok(serves($agent->port('hosts'), 30), 'a name in the hosts file is served');
    ok(serves($agent->port('number'), 30), 'and a numeric address');

    my $before = () = $agent->log =~ /connected as/g;

    $t->{nginx}->kill('HUP');
    ok(wait_for(sub {
        $before < (() = $agent->log =~ /connected as/g);
    }), 'after a reload the agent is back');

    ok(serves($agent->port('hosts'), 30), 'serves the one');
    ok(serves($agent->port('number'), 30), 'and the other');

    # all of that before the first of the lookups has ended, for which the end
    # of the agent does not wait, either

    unlike($agent->log, qr/to "s\d" failed/, 'while those are looked up');

    is(scalar(grep { $_->ending(30) eq 'open' } @waiting), 0,
       'nginx does not wait for ever');

    $t->finish;
}
