#!/usr/bin/perl

# Protects: an agent that is killed, or told to end, and started again, has
# its ports; clients that come meanwhile wait and are served, not refused; what
# runs at SIGTERM is finished, within a limit; and the port of one that stays
# away refuses after the grace, and goes to nobody else.  Other agents and
# their connections do not notice.  A token is rotated without losing anything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Scene;
use ZLTunnel::Wire;

my $long = sizes('long connections', 200, 80);
my $rounds = sizes('restarts', 10, 2);
my $waiting = sizes('clients that wait', 100, 20);

subtest 'killed, and back' => sub { back('KILL') };
subtest 'told to end, and back' => sub { back('TERM') };
subtest 'what runs is finished' => \&finishes;
subtest 'the limit of that' => \&limit;
subtest 'one that stays away' => \&away;
subtest 'another token' => \&rotation;

done_testing();


# Under load of the other agent.

sub back {
    my ($signal) = @_;

    my $s = ZLTunnel::Scene->new(long => $long, load => 0);
    my $t = $s->{t};

    $s->start_load('bob');

    for my $round (1 .. $rounds) {
        my $agent = $s->{agent}{alice};

        $agent->{proc}->kill($signal);
        ok(defined $agent->{proc}->wait(20), "round $round: the agent ends");

        # on both kinds of port

        my @c = map { ZLTunnel::Wire::Socket->new($_) }
                ($s->ports('alice')) x ($waiting / 2);
        is(scalar(grep { defined } @c), $waiting,
           "round $round: clients are accepted meanwhile");
        $c[$_] && $c[$_]->send("client $_ here ") for 0 .. $#c;
        is($c[$_]->ending(0.05), 'open', "round $round: and held")
            for 0, $#c;

        $s->start_agent('alice');
        ok($s->settled('alice'), "round $round: back, with its ports");

        my $served = grep {
            my $text = "client $_ here ";
            ($c[$_]->take(length $text, 10) // '') eq $text;
        } 0 .. $#c;
        is($served, $waiting, "round $round: those clients are served");

        $_->shut for @c;
        is(scalar(grep { $_->ending(10) eq 'eof' } @c), $waiting,
           "round $round: to their end");
        $_->close for @c;

        $s->nothing_lost("round $round, the other agent");
    }

    $s->finish;
}


# At SIGTERM new connections go elsewhere or wait, running ones go on.

sub finishes {
    my $s = ZLTunnel::Scene->new(long => $long, load => 0);
    my $t = $s->{t};

    $s->{short} = 0;
    $s->start_load('alice');
    my $load = $s->{load};

    my $agent = $s->{agent}{alice};
    my $proc = $agent->{proc};
    $proc->kill('TERM');
    ok($agent->logged(qr/stopping \(SIGTERM\)/), 'SIGTERM');

    # the next one takes its place while it finishes

    $s->start_agent('alice');
    ok($s->settled('alice'), 'the next agent has the ports');

    my $c = ZLTunnel::Wire::Socket->new($s->{port}{alice});
    $c->send('new');
    is($c->take(3), 'new', 'and serves new connections');
    $c->close;

    $s->pass_time(2);
    $s->goes_on('the connections of the former agent');
    ok($proc->running, 'which is still there');

    $s->end_load;
    is($proc->wait(20), 0, 'and ends with 0 when they have ended');

    $s->finish;
}


sub limit {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => [1],
        conf => "[agent]\nserver = " . $t->url('ws') . "\n"
                . "token_file = %%token_file%%\nshutdown_timeout = 2s\n"
                . "[service e]\nlocal = $echo->{port}\n");

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('x');
    is($c->take(1), 'x', 'a connection');

    my $start = time;
    $agent->{proc}->kill('TERM');
    is($agent->{proc}->wait(20), 0, 'the agent ends');
    cmp_ok(time - $start, '>', 1.5, 'not before shutdown_timeout');
    like($agent->log, qr/cut short/, 'and says so');
    is($c->ending, 'reset', 'the connection is reset');

    $t->finish;
}


# After the grace the port refuses.  Others may have more services than there
# are unused ports before they get it.

sub away {
    my $t = ZLTunnel->new(range => 4, zltunnel => 'reconnect_grace 2s;');
    my %token = map { $_ => $t->token($_) } qw(alice bob);
    $t->start;

    my $echo = $t->service('echo');
    my $alice = $t->agent(token => $token{alice},
                          services => ["a:$echo->{port}"]);
    my $port = $alice->port('a');

    $alice->{proc}->kill('KILL');
    $alice->{proc}->wait(10);
    my $start = time;
    ok(wait_for(sub { refuses($port) }), 'the port refuses');
    cmp_ok(time - $start, '>', 1.5, 'not before the grace is over');

    my $bob = $t->agent(token => $token{bob},
                        services => [ map { "b$_:$echo->{port}" } 1 .. 3 ]);
    is(scalar(grep { $bob->port("b$_") == $port } 1 .. 3), 0,
       'another token gets the ports that were never used');

    $alice = $t->agent(token => $token{alice},
                       services => ["a:$echo->{port}"]);
    is($alice->port('a'), $port, 'and the former one its own, later too');

    $t->finish;
}


# Two lines of one name, the agent changes over, the former line goes.

sub rotation {
    my $new;
    my $s = ZLTunnel::Scene->new(
        long => $long, first => sub { $new = $_[0]->token('alice'); () },
        agents => { alice => sub {
            my $t = $_[0]{t};
            return (conf => "[agent]\nserver = " . $t->url('ws') . "\n"
                . "token_file = %%token_file%%\n"
                . join '', map { "[service $_]\nlocal = $_[0]{echo}{port}\n" }
                           qw(alice alice-pass));
        } });
    my $t = $s->{t};
    my $agent = $s->{agent}{alice};
    my %id = map { $_->{name} => $_->{id} } @{ $t->status->{tunnels} };

    write_file($agent->{token_file}, "$new\n", 0600);
    $agent->{proc}->kill('HUP');
    ok($agent->logged(qr/configuration was read again/), 'SIGHUP');
    ok(wait_for(sub { $t->log =~ /agent "alice" is back/ }),
       'the agent has taken its tunnel over');
    ok($s->settled, 'with its ports');

    my ($now) = grep { $_->{name} eq 'alice' } @{ $t->status->{tunnels} };
    is($now->{id}, $id{alice}, 'the same tunnel');

    # without the former token

    $t->{tokens} = [ grep { $_->{name} ne 'alice' || $_->{token} eq $new }
                     @{ $t->{tokens} } ];
    $t->write_tokens;
    $s->pass_time(6);

    $s->goes_on;
    ok($s->settled, 'it needs the new token only');
    unlike($t->log, qr/does not hold any more|was revoked or has expired/, 'and nothing is revoked');
    $s->nothing_lost('the change');

    # and without that one

    $t->revoke('alice');
    ok(wait_for(sub { $s->report->{lost} >= $long / 2 }, 10),
       'without any its connections are reset');
    $s->allow_lost;
    $s->{load}->say('short 0');
    ok($s->settled('bob'), 'and those of others are not');

    $agent->stop;
    $s->allow_lost;
    $s->finish;
}
