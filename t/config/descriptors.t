#!/usr/bin/perl

# Protects: a range of a thousand ports works under the limit of descriptors
# that service managers set, 1024, with any number of workers, since the soft
# limit is raised to the hard one; and where that is not enough nginx -t and
# nginx itself say so, with the number and the line to write, which works.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

my $PORTS = 1000;
my $CONNECTIONS = 2048;

need_nofile(8000);

my $t = ZLTunnel->new(range => $PORTS, connections => $CONNECTIONS,
                      zone => '8m');
my $token = $t->token('alice');
my $echo = $t->service('echo');
my $nginx = $ZLTunnel::NGINX;
my $limited = "$t->{dir}/nginx";

my $SOCKETS = $PORTS + 2;       # those of http, too


for my $workers (1, 2, 8, 64) {
    limits(1024, 8000);
    served("soft limit, workers $workers", $workers);

    limits(1024, 1024);
    hard($workers);
}

few();
own_limit();

$t->finish;


# From now on nginx is started with these limits.

sub limits {
    my ($soft, $hard) = @_;

    write_file($limited, "#!/bin/sh\nulimit -S -n $soft\nulimit -H -n $hard\n"
                         . "exec $nginx \"\$@\"\n", 0755);
    $ZLTunnel::NGINX = $limited;
}


sub served {
    my ($what, $workers) = @_;

    my ($rc, $out) = $t->test_conf(workers => $workers);
    is($rc, 0, "$what: nginx -t");
    unlike($out, qr/\[(?:warn|error|crit|alert|emerg)\]/, "$what: is content")
        or diag($out);

    $t->start;
    my @pids = $t->workers;

    my %answers;
    $answers{ status() }++ for 1 .. 20;
    is_deeply(\%answers, { 200 => 20 }, "$what: requests are answered");

    # so many workers are a matter of starting

    clients($what) if $workers < 64;

    is_deeply([ sort $t->workers ], [ sort @pids ], "$what: no worker has died");
    is($t->{nginx}->stop('QUIT', 60), 0, "$what: nginx quits");
}


sub status {
    my $r = http_get($t->{http_port}, '/tunnel/status');
    return $r ? $r->{status} : 'none';
}


sub clients {
    my ($what) = @_;

    my $agent = $t->agent(token => $token, services => [ "e:$echo->{port}" ]);
    my $n = grep { echoes($agent->port('e')) } 1 .. 20;

    is($n, 20, "$what: clients are served");
    is($agent->stop, 0, "$what: the agent ends");
}


sub echoes {
    my ($port) = @_;

    my $s = connect_to($port, Timeout => 20) or return 0;
    syswrite $s, "hello\n";
    return (readline($s) // '') eq "hello\n";
}


# Whatever may be raised by whom, one of these two is what to write.

sub remedy {
    my ($n) = @_;

    return qr/^(?: write\ "LimitNOFILE=$n"\ in\ the\ unit\ of\ nginx,\ or
                  \ where\ there\ is\ none\ "ulimit\ -n\ $n"\ before\ it\ is
                  \ started | write\ "worker_rlimit_nofile\ $n;"\ in
                  \ nginx.conf )$/mx;
}


sub hard {
    my ($workers) = @_;

    my $what = "hard limit, workers $workers";
    my $says = qr/\[emerg\].*\b$SOCKETS\ listening\ sockets\ and\ $workers
                  \ workers?\ need\ (\d+)\ descriptors\ in\ each\ process\ before
                  \ there\ is\ a\ connection,\ the\ limit\ is\ 1024:
                  \ (.*)$/mx;

    my ($rc, $out) = $t->test_conf(workers => $workers);
    is($rc, 1, "$what: nginx -t fails");

    my ($n, $remedy) = $out =~ $says;
    ok($n, "$what: nginx -t says why") or diag($out);
    cmp_ok($n, '>', $SOCKETS + 6 * $workers, "$what: all of it is counted");
    cmp_ok($n, '<', $SOCKETS + 8 * $workers + 100, "$what: and no more");

    my ($all) = $remedy =~ /(\d+)/;
    like($remedy, remedy($all), "$what: with what to write");

    ($rc) = run($limited, '-p', $t->{dir}, '-c', "$t->{dir}/nginx.conf",
                '-e', "$t->{dir}/start.log");
    is($rc, 1, "$what: nginx does not start");
    like(slurp("$t->{dir}/start.log"), qr/$says/, "$what: and says the same");
    unlink "$t->{dir}/start.log";

    limits(1024, $all);
    ($rc, $out) = $t->test_conf;
    is($rc, 0, "$what: with that it would start");
    unlike($out, qr/\[(?:warn|emerg)\]/, "$what: and nothing is told")
        or diag($out);
}


# Enough to start, not for all connections.

sub few {
    limits(1024, 1500);

    my ($rc, $out) = $t->test_conf(workers => 2);
    is($rc, 0, 'few: nginx -t');

    my ($all, $remedy) = $out =~
        /\[warn\].*\b$CONNECTIONS\ worker_connections,\ $SOCKETS\ listening
         \ sockets\ and\ 2\ workers\ may\ need\ (\d+)\ descriptors\ in\ a
         \ worker,\ the\ limit\ is\ 1500:\ (.*)$/mx;
    ok($all, 'few: warns') or diag($out);
    cmp_ok($all, '>', $SOCKETS + $CONNECTIONS, 'few: with the number');
    like($remedy, remedy($all), 'few: and with what to write');

    $t->start;
    is(status(), 200, 'few: requests are answered');
    clients('few');
    is($t->{nginx}->stop('QUIT', 60), 0, 'few: nginx quits');
}


# The limit that nginx itself gives its workers.

sub own_limit {
    limits(1024, 8000);

    my ($rc, $out) = $t->test_conf(main => 'worker_rlimit_nofile 1024;');
    is($rc, 1, 'worker_rlimit_nofile: too low');

    my ($line) = $out =~ /\[emerg\].* the limit is 1024: write "([^"]*)" in /;
    like($line, qr/^worker_rlimit_nofile \d+;$/, 'worker_rlimit_nofile: told')
        or diag($out);

    ($rc, $out) = $t->test_conf(main => $line);
    is($rc, 0, 'worker_rlimit_nofile: as told');
    unlike($out, qr/\[(?:warn|emerg)\]/, 'worker_rlimit_nofile: is enough');
}
