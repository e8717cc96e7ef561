#!/usr/bin/perl

# Protects: when nginx was away for a while and is started again, its agents
# come back without a stampede, their attempts spread over the time that they
# may take, and each has its former port.
#
# Long: 300 agents, away for 30 s, the default intervals.  Short: 40 agents,
# away for 4 s, intervals of 500 ms to 5 s.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;

my $n = sizes('agents', 300, 40);
my $away = sizes('seconds away', 30, 4);
my $cap = sizes('seconds between attempts at most', 60, 5);

need_nofile(4000);

# who has not ended a second after SIGTERM is killed by the master; sanitizers look
# for leaks meanwhile

my $t = ZLTunnel->new(
    allow => $ENV{ZLT_SLOW} ? [ qr/exited on signal 9/ ] : [],
    workers => 4, range => $n, zltunnel => 'max_tunnels 1000;',
    http => 'log_format times "$msec $status $http_upgrade";',
    location => 'access_log logs/times.log times;');

# relative names are relative to the prefix, which is the test's directory

my %token = map { $_ => ZLTunnel::random_token() } map { "agent$_" } 1 .. $n;
$t->token($_, undef, $token{$_}) for sort keys %token;

$t->start;

my @quick = long_run() ? ()
    : ('--reconnect-interval', '500ms', '--max-reconnect-interval', '5s');
my $echo = $t->service('echo');
my %agent = map {
    $_ => $t->agent(token => $token{$_}, wait => 0, args => [ @quick ],
                    services => ["$_:$echo->{port}"])
} sort keys %token;

ok(wait_for(sub { connected() == $n }, 60), "$n agents are there");

my %port = ports();
is(scalar(keys %port), $n, 'each has a port');


# stopped, and started again

$t->{nginx}->stop('TERM');
wait_for(sub { 0 }, $away / slowdown());
rename "$t->{dir}/logs/times.log", "$t->{dir}/logs/times.log.1";
my $start = time;
$t->start;

ok(wait_for(sub { connected() == $n }, $cap + 30), 'all are back')
    or diag(connected());

note sprintf 'after %.1f s', time - $start;

my %now = ports();
is_deeply(\%now, \%port, 'each with its former port');


# their attempts

my @times = sort { $a <=> $b }
            map { $_ - $start }
            slurp("$t->{dir}/logs/times.log") =~ /^(\S+) 101 websocket$/mg;

cmp_ok(scalar @times, '>=', $n, 'the attempts were logged');
cmp_ok(scalar @times, '<=', $n * 1.1, 'one of each agent was enough');

my $window = $cap / 20;
my $most = max(map { my $from = $_;
                     scalar grep { $_ >= $from && $_ < $from + $window } @times
               } @times);

note sprintf 'at %s s; at most %d within %.2f s',
    join(' ', map { sprintf '%.1f', $times[$#times * $_ / 10] } 0 .. 10),
    $most, $window;

cmp_ok($most, '<', $n / 3, 'no third of them within a twentieth of the time');
cmp_ok($times[$#times * 3 / 4] - $times[$#times / 4], '>', $cap / 20,
       'the middle half is spread');

$t->finish;


sub connected {
    my $st = $t->status or return 0;
    return scalar grep { $_->{state} eq 'connected' && @{ $_->{services} } }
                  @{ $st->{tunnels} };
}


sub ports {
    my $st = $t->status or return ();
    return map { $_->{name} => $_->{port} } map { @{ $_->{services} } }
           @{ $st->{tunnels} };
}
