#!/usr/bin/perl

# Protects: an access session ends when it should, by whichever side is left
# to see to it.  At its deadline nothing new gets through and what runs is
# cut, or after the grace; also while the visitor's process is stopped, when a
# token is revoked, or the session stopped; and a renewed one goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;

my $SLOW = slowdown();

subtest 'the deadline' => \&deadline;
subtest 'grace' => \&grace;
subtest 'a visitor that is stopped' => \&stopped;
subtest 'renewal' => \&renewal;
subtest 'stop' => \&stop;
subtest 'revocation' => \&revocation;

done_testing();


# nginx, an echo service, and a visitor's token: ($t, $token, $echo)

sub scene {
    my ($rights, %o) = @_;

    my $t = ZLTunnel->new(workers => 2, %o);
    my $echo = $t->service('echo');

    my $serve = $t->token('site');
    my $token = $t->token('alice', "access=echo sessions=3 $rights");
    $t->token('bob', 'access=echo');
    $t->start;
    $t->agent(token => $serve, services => [ "echo:$echo->{port}/private" ]);

    return ($t, $token, $echo);
}


sub access {
    my ($t, $token, @args) = @_;

    my $v = $t->agent(token => $token, wait => 0, access => [ 'echo', @args ]);
    my $port = $v->granted('echo') or die $v->log;

    return ($v, $port);
}


# A connection that has had an answer.

sub connected {
    my ($port) = @_;

    my $c = connect_to($port) or return undef;
    syswrite $c, "hello\n";
    return read_line($c) eq "hello\n" ? $c : undef;
}


sub server_has {
    my ($t, $n) = @_;
    return wait_for(sub {
        my $st = $t->status or return 0;
        return @{ $st->{access} } == $n;
    });
}


sub deadline {
    my ($t, $token, $echo) = scene('access_ttl=1h');
    my $start = time;
    my ($v, $port) = access($t, $token, '--ttl', '4s');

    my $s = $v->session('echo');
    cmp_ok($s->{remaining}, '<=', 4, 'what is left is told');
    cmp_ok($s->{remaining}, '>=', 1, 'in seconds');

    # one that is idle, one that talks
    my $idle = connected($port);
    my $busy = connected($port);
    my $n = 0;

    while (time < $start + 3) {
        syswrite $busy, "x\n";
        $n++ if read_line($busy) eq "x\n";
        sleep 0.1;
    }

    cmp_ok($n, '>=', 2, 'it works up to then');

    is(read_line($idle), 'reset', 'at the deadline the idle one is reset');
    is(read_line($busy), 'reset', 'and the other');

    my $took = time - $start;
    cmp_ok($took, '>=', 3.5, 'not before its time');
    cmp_ok($took, '<=', 4 + 3 * $SLOW, 'and not much later');

    is($v->{proc}->wait(20), 0, 'the command ends with 0');
    ok(refuses($port), 'nobody listens any more');

    my @lines = $v->log =~ /^.*has ended.*$/mg;
    is(scalar @lines, 1, 'one line says so');
    like($lines[0] // '', qr/"echo" has ended: its time is over; /, 'why');
    like($lines[0] // '', qr/; 2 connections in all, 2 of them cut$/,
         'and how many were cut');

    ok(wait_for(sub { $t->events($echo, 'reset') == 2 }),
       'the service has seen resets');
    ok(server_has($t, 0), 'the server has forgotten it');

    # with nothing open
    ($v, $port) = access($t, $token, '--ttl', '2s');
    is($v->{proc}->wait(20), 0, 'one that is not used ends, too');
    like($v->log, qr/0 connections in all, 0 of them cut/, 'and says that');

    $t->finish;
}


sub grace {
    my ($t, $token) = scene('access_ttl=1h');
    my ($v, $port) = access($t, $token, '--ttl', '2s', '--grace', '3s');
    my $start = time;

    my ($short, $long) = map { connected($port) } 1 .. 2;

    ok($v->logged(qr/is over; 2 connections may go on for 3s$/m),
       'at the deadline');
    ok(refuses($port), 'no new connection');

    for my $c ($short, $long) {
        syswrite $c, "still\n";
        is(read_line($c), "still\n", 'what runs goes on');
    }

    shutdown $short, 1;
    is(read_line($short), undef, 'and may end cleanly');

    is(read_line($long), 'reset', 'until the grace is over');
    cmp_ok(time - $start, '>=', 4, 'and not before');

    is($v->{proc}->wait(20), 0, 'then the command ends');
    like($v->log, qr/2 connections in all, 1 of them cut/, 'in one line');

    # it need not wait for nothing
    ($v, $port) = access($t, $token, '--ttl', '2s', '--grace', '1m');
    my $c = connected($port);
    ok($v->logged(qr/may go on for 1m/), 'a long grace');
    close $c;
    is($v->{proc}->wait(20), 0, 'ends with the last connection');

    $t->finish;
}


# The server keeps the time, whatever the visitor does.

sub stopped {
    my ($t, $token, $echo) = scene('access_ttl=1h');
    my ($v, $port) = access($t, $token, '--ttl', '3s');
    my $c = connected($port);

    $v->{proc}->kill('STOP');

    ok(wait_for(sub { $t->events($echo, 'reset') == 1 }),
       'the service has its reset while the visitor sleeps');
    ok(server_has($t, 0), 'and the server has no session');

    # the kernel still accepts for it, but nothing gets further
    my $late = connect_to($port);
    syswrite $late, "late\n" if $late;
    my $before = $t->events($echo, 'accept');
    sleep 1;

    $v->{proc}->kill('CONT');

    is(read_line($c), 'reset', 'once awake, its client has its reset');
    is(read_line($late), 'reset', 'and the one that came late') if $late;
    is($v->{proc}->wait(20), 0, 'and it ends');
    is($t->events($echo, 'accept'), $before, 'nothing reached the service');

    $t->finish;
}


sub renewal {
    my ($t, $token) = scene('access_ttl=1m');
    my ($v, $port) = access($t, $token, '--ttl', '4s');
    my $c = connected($port);
    my $id = $v->session('echo')->{id};

    my ($rc, $out) = $v->ask('renew', $id, '--ttl', '40s');
    is($rc, 0, 'renewed') or diag($out);
    like($out, qr/^Access echo at 127.0.0.1:$port until .* \((40|39)s\)$/m,
         'until when is told');

    sleep 5;
    syswrite $c, "still\n";
    is(read_line($c), "still\n", 'it goes on beyond its first deadline');
    ok(connected($port), 'and takes new connections');

    my $s = $v->session('echo');
    is($s->{id}, $id, 'the same session');
    cmp_ok($s->{remaining}, '>', 20, 'with its new time');

    my ($st) = @{ $t->status->{access} };
    cmp_ok($st->{remaining}, '>', 20, 'at the server, too');

    ($rc, $out) = $v->ask('renew', substr($id, 0, 8), '--ttl', '2m');
    is($rc, 1, 'beyond the limit it is refused');
    like($out, qr/refuses it.*1m|60/, 'with the limit');
    cmp_ok($v->session('echo')->{remaining}, '<=', 37, 'and nothing changes');

    ($rc, $out) = $v->ask('renew', substr($id, 0, 8));
    is($rc, 0, 'without a time: the one it was opened for');
    cmp_ok($v->session('echo')->{remaining}, '<=', 4, 'which may be shorter');

    ($rc, $out) = $v->ask('renew', 'f' x 32);
    is($rc, 1, 'an unknown one');
    like($out, qr/no access session "f{32}"/, 'is named');

    ($rc, $out) = $v->ask('renew', $id, '--ttl', 'soon');
    is($rc, 1, 'no time');
    like($out, qr/"soon" is not a time/, 'is named');

    is(read_line($c), 'reset', 'and it ends');
    is($v->{proc}->wait(20), 0, 'as it should');

    $t->finish;
}


sub stop {
    my ($t, $token, $echo) = scene('access_ttl=0');
    my ($v, $port) = access($t, $token, '--ttl', '0');

    like(slurp($v->{out}), qr/^Access echo at 127.0.0.1:$port$/m,
         'one without end');

    my $s = $v->session('echo');
    is($s->{remaining}, undef, 'has nothing left to count');
    like($s->{created}, qr/^20\d\d-\d\d-\d\dT/, 'when it began');

    my (undef, $table) = $v->ask('sessions');
    like($table, qr/^NAME +LOCAL +ID /m, 'a table');
    like($table, qr/^echo +127\.0\.0\.1:$port +$s->{id} +open +- +0\/0 /m,
         'with its line');

    my $c = connected($port);
    my ($rc, $out) = $v->ask('stop', $s->{id});
    is($rc, 0, 'stop') or diag($out);

    is(read_line($c), 'reset', 'what ran is reset');
    ok(wait_for(sub { $t->events($echo, 'reset') == 1 }), 'at both ends');
    is($v->{proc}->wait(20), 0, 'the command ends');
    ok(refuses($port), 'and nobody listens');
    ok(server_has($t, 0), 'the server knows');

    # by a signal
    for my $signal (qw(INT TERM)) {
        ($v, $port) = access($t, $token, '--ttl', '1h');
        $c = connected($port);
        is($v->stop($signal), 0, "SIG$signal ends it");
        is(read_line($c), 'reset', 'with what ran');
        ok(server_has($t, 0), 'and the server is told');
    }

    $t->finish;
}


sub revocation {
    my ($t, $token, $echo) = scene('access_ttl=1h');
    my ($bob) = map { $_->{token} } grep { $_->{name} eq 'bob' }
                @{ $t->{tokens} };
    my ($v, $port) = access($t, $token);
    my $c = connected($port);

    my ($w, $other) = access($t, $bob);
    my $d = connected($other);

    # the right goes, the token stays
    ($_->{rights} = 'access=nothing') for grep { $_->{name} eq 'alice' }
                                          @{ $t->{tokens} };
    $t->write_tokens;

    is(read_line($c), 'reset', 'what ran is reset');
    isnt($v->{proc}->wait(20), undef, 'the command ends');
    like($v->log, qr/access to "echo" has ended: the server has ended it: /,
         'and says why');
    ok(refuses($port), 'nobody listens');

    syswrite $d, "mine\n";
    is(read_line($d), "mine\n", 'others are left alone');

    # the token goes
    $t->revoke('bob');
    is(read_line($d), 'reset', 'a revoked token, too');
    ok(wait_for(sub { refuses($other) }), 'ends the session');
    isnt($w->{proc}->wait(20), undef, 'and the command');

    $t->finish;
}


sub read_line {
    my ($s) = @_;

    my $line = '';

    while ($line !~ /\n/) {
        vec(my $rin = '', fileno $s, 1) = 1;
        select($rin, undef, undef, 20 * $SLOW) or return 'timed out';
        my $n = sysread $s, $line, 1, length $line;
        return 'reset' if !defined $n;
        return undef if !$n;
    }

    return $line;
}
