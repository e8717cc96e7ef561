#!/usr/bin/perl

# Protects: a binary upgrade loses nothing, and neither does the way back.
# Connections that the old binary serves go on, new ones are refused by nobody
# at any step, agents move by themselves, and ports are the same.
#
# Long: 200 long connections and some seconds between the steps; short: 80.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Scene;

my $long = sizes('long connections', 200, 80);
my $pause = sizes('seconds between the steps', 35, 3);

subtest 'there' => \&there;
subtest 'and back' => \&back;

done_testing();


# USR2, and the new master with its workers.

sub upgrade {
    my ($s) = @_;

    my $t = $s->{t};
    my $dir = $t->{dir};
    my $old = $t->{nginx}->pid;

    $t->{nginx}->kill('USR2');

    my $new;
    ok(wait_for(sub {
        return 0 unless -e "$dir/nginx.pid.oldbin";
        ($new) = slurp("$dir/nginx.pid") =~ /^(\d+)/;
        return $new && $new != $old && workers_of($new) == 4;
    }, 30), 'USR2: a new master with four workers')
        or die "no new binary\n";

    return $new;
}


sub workers_of {
    my ($pid) = @_;

    return grep { slurp("/proc/$_/cmdline") =~ /^nginx: worker process(?! is)/ }
           children_of($pid);
}


# Tells a process something and lets time pass, under load.

sub step {
    my ($s, $signal, $pid, $what) = @_;

    kill $signal, $pid if $signal;
    $s->pass_time($pause);

    $s->goes_on($what);
    $s->nothing_lost($what);
}


# New connections are served in the end, and were not refused before.

sub served {
    my ($s, $what) = @_;

    my $before = $s->report->{short};
    ok(wait_for(sub { $s->report->{short} > $before + 20 }, 30),
       "$what: new connections are served");
}


sub there {
    my $s = ZLTunnel::Scene->new(long => $long, daemon => 'on',
                                 main => 'env ASAN_OPTIONS;');
    my $t = $s->{t};
    my $old = $t->{nginx}->pid;
    my $new = upgrade($s);

    step($s, undef, undef, 'both binaries');
    served($s, 'both binaries');

    my @old = workers_of($old);
    step($s, 'WINCH', $old, 'WINCH to the old');
    ok($s->settled, 'the agents are with the new one, with their ports');
    served($s, 'the new binary');
    $s->nothing_lost('the new binary');

    # the old master goes when its workers have, whose relays still run

    step($s, 'QUIT', $old, 'QUIT to the old');
    ok(kill(0, $old), 'the old one waits for its connections');

    $s->end_load;
    ok(wait_for(sub { !$t->{nginx}->running }, 30),
       'and ends when they have ended');
    $t->follow($new);

    unlike($_->log, qr/come to another node/, 'which is no other node')
        for @{ $t->{agents} };

    # what has no service is shut when there is one binary again

    my $free = $t->{base} + $t->{range} - 1;
    ok(wait_for(sub { refuses($free) }), 'a port without service refuses');

    $s->start_load;
    $s->nothing_lost('afterwards');
    $s->end_load;

    $s->finish;
}


sub back {
    my $s = ZLTunnel::Scene->new(long => $long, daemon => 'on',
                                 main => 'env ASAN_OPTIONS;');
    my $t = $s->{t};
    my $old = $t->{nginx}->pid;
    my $new = upgrade($s);

    step($s, 'WINCH', $old, 'WINCH to the old');
    ok($s->settled, 'the agents are with the new one');
    served($s, 'the new binary');

    step($s, 'HUP', $old, 'HUP to the old');
    ok(wait_for(sub { workers_of($old) == 4 }), 'the old one has workers');
    served($s, 'both binaries');

    my @second = workers_of($new);
    step($s, 'QUIT', $new, 'QUIT to the new');
    ok($s->settled, 'the agents are with the old one, with their ports');
    served($s, 'the old binary');
    $s->nothing_lost('the way back');

    $s->end_load;
    ok($s->gone(30, $new, @second), 'the new one ends, with its workers');
    ok(wait_for(sub { !-e "$t->{dir}/nginx.pid.oldbin" }),
       'the old one has its pid file again');

    # and all is as ever: a reload

    $s->start_load;
    $s->reload;
    ok($s->settled, 'a reload afterwards');
    $s->nothing_lost('a reload afterwards');

    $s->finish;
}
