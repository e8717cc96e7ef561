#!/usr/bin/perl

# Protects: the agent's checks of services.  A service is down after so many
# checks in a row that failed, by a refused connection, a bad status, or no
# answer in time, and up again with the first good one; each is one line of the
# log, with the address and the error, and is in the status.  A reload starts,
# stops and changes checks, and no connection notices.  What is wrong with a
# key is said with its name and value.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

my $t = ZLTunnel->new;
my $echo = $t->service('echo');
my $health = "$t->{dir}/health";
my $port = $t->free_port;
my $metrics = $t->free_port;
my $web;

my $head = "[agent]\nserver = " . $t->url('ws') . "\ntoken_file = "
           . "%%token_file%%\nmetrics = $metrics\n";
my $quick = "check_interval = 100ms\ncheck_fails = 2\n";

$t->start;
web(204);

my $agent = $t->agent(token => $t->token('alice'), wait => 0, conf => <<"EOT");
$head
[service web]
local = 127.0.0.1:$port
check = http:/healthz
check_timeout = 2s
$quick
[service echo]
local = $echo->{port}
check = tcp
$quick
[service plain]
local = $echo->{port}
EOT

ok($agent->registered(3), 'the agent is there');

subtest 'up and down' => \&states;
subtest 'metrics' => \&metrics;
subtest 'reload' => \&reload;
subtest 'what is wrong' => \&wrong;
subtest 'the command line' => \&command_line;

is($agent->stop, 0, 'the agent ends with 0');
$web->stop('KILL');
$t->finish;


# The web server, which says this of its health.

sub web {
    my ($status) = @_;

    ZLTunnel::write_file($health, "$status\n");
    return if $web && $web->running;

    $web = $t->spawn('web', $^X, "$ZLTunnel::ROOT/t/lib/health.pl", $port,
                     'web', $health);
    wait_for(sub { $web->output =~ /^ready/m }) or die 'no web server';
}


sub metrics {
    for ([ 503, 'down', 0 ], [ 204, 'up', 1 ]) {
        my ($status, $state, $value) = @$_;

        web($status);
        my $c = in_state('web', $state);
        ok($c, $state);

        my $m = http_get($metrics, '/metrics')->{body};
        my $l = 'link="agent",service';

        like($m, qr/^zltunnel_agent_service_up\{$l="web"\} $value$/m,
             '.. in the metrics');
        ok($m =~ /^zltunnel_agent_service_changed_seconds\{$l="web"\} (\d+)$/m
           && abs(time - $1) < 600, '.. since when');
        like($m, qr/^zltunnel_agent_service_up\{$l="echo"\} 1$/m,
             '.. and another');
        unlike($m, qr/service_\w+\{$l="plain"\}/, '.. one without a check');

        write_file("$t->{dir}/metrics", $m);
        my ($rc, $out) = run('sh', '-c',
                             "promtool check metrics < $t->{dir}/metrics");
        is("$rc $out", '0 ', 'promtool');
    }
}


sub check_of {
    my ($name) = @_;

    my ($s) = grep { $_->{name} eq $name } @{ $agent->link->{services} };
    return $s->{check};
}


sub in_state {
    my ($name, $state) = @_;

    return wait_for(sub {
        my $c = check_of($name);
        return $c && $c->{state} eq $state && $c;
    }, 30);
}


sub lines { my ($re) = @_; my @l = $agent->log =~ /$re/mg; return scalar @l }


sub states {
    my $c = in_state('web', 'up');
    ok($c, 'a status of 204 is up');
    is($c->{type}, 'http:/healthz', 'the check is told');
    is($c->{error}, undef, 'there is no error');
    like($c->{since}, qr/^\d{4}-\d\d-\d\dT/, 'but since when');
    ok(in_state('echo', 'up'), 'a connection is up');
    is(check_of('plain'), undef, 'one without a check has none');

    my $at = "127.0.0.1:$port";
    my $downs = 0;

    for ([ 'a status of 500', sub { web(500) }, 'status 500 for /healthz' ],
         [ 'a status of 404', sub { web(404) }, 'status 404 for /healthz' ],
         [ 'no answer', sub { web('hang') }, 'no answer within 2000 ms' ],
         [ 'nobody listens', sub { $web->stop('KILL') },
           'Connection refused' ])
    {
        my ($what, $do, $error) = @$_;

        $do->();
        $c = in_state('web', 'down');
        ok($c, "$what: down");
        is($c->{error}, "$at: $error", "$what: the address and the error");

        my (undef, $text) = $agent->ask('status');
        like($text, qr/"web": the check fails for \d+s: \Q$at: $error\E/,
             "$what: the status for people");
        (undef, $text) = $agent->ask('status', 'web');
        like($text, qr/up; the check fails for \d+s: \Q$at: $error\E/,
             "$what: and of the service");
        is(lines(qr/ WARN the service "web" is down: \Q$at: $error\E$/m), 1,
           "$what: one line of the log");
        is(lines(qr/ is down/), ++$downs, "$what: and no other");

        web(302);
        ok(in_state('web', 'up'), "$what: up again");
        is(lines(qr/ INFO the service "web" is up again, after \d+s$/m),
           $downs, "$what: one line of the log");
    }

    ok(in_state('echo', 'up'), 'another service has stayed up');
}


sub reload {
    my $s = ZLTunnel::connect_to($agent->services->{echo}{port});
    my $asked = () = $web->output =~ /asked/g;

    my $conf = ZLTunnel::slurp($agent->{conf});
    my $without = $conf =~ s/^check.*\n//mgr;
    my $other = $conf =~ s/http:\/healthz/tcp/r;

    web(500);
    ok(in_state('web', 'down'), 'a service is down');

    $agent->write_conf($other);
    is(($agent->ask('reload'))[0], 0, 'another check');
    ok(in_state('web', 'up'), 'finds it up');

    $agent->write_conf($conf);
    is(($agent->ask('reload'))[0], 0, 'the former one');
    ok(in_state('web', 'down'), 'finds it down');

    $agent->write_conf($without);
    is(($agent->ask('reload'))[0], 0, 'no check');
    is(check_of('web'), undef, 'is none');
    is(lines(qr/"web" is checked no more, and counts as up/), 1,
       'and it counts as up');
    $asked = () = $web->output =~ /asked/g;

    $agent->write_conf($conf);
    is(($agent->ask('reload'))[0], 0, 'a check again');
    web(200);
    ok(in_state('web', 'up'), 'which begins anew');
    ok(wait_for(sub { (() = $web->output =~ /asked/g) > $asked }),
       'and asks');

    syswrite $s, 'hello';
    sysread $s, my $got, 5;
    is($got, 'hello', 'a connection of before goes on');
    is(lines(qr/INFO connected/), 1, 'on the same control channel');
    is(lines(qr/is removed/), 0, 'and no service was registered anew');
}


sub wrong {
    my $local = "[service web]\nlocal = 127.0.0.1:80\n";

    for ([ 'check = udp', qr/"check" is "udp": it must be tcp, or http:/ ],
         [ 'check = http://localhost/',
           qr/"check" is "http:\/\/localhost\/": after "http:" comes a path/ ],
         [ 'check = http:x', qr/"http:x": after "http:" comes a path/ ],
         [ 'check = http:/a b', qr/"http:\/a b": the path has a character/ ],
         [ 'check = http:/' . 'a' x 255, qr/the path is too long/ ],
         [ "check = tcp\ncheck_interval = 1ms",
           qr/"check_interval" is "1ms", but must be a time from 100ms to 1d/ ],
         [ "check = tcp\ncheck_fails = 0",
           qr/"check_fails" is "0", but must be a number from 1 to 1000/ ],
         [ "check = tcp\non_fail = close",
           qr/"on_fail" is "close", but must be keep or refuse/ ],
         [ 'on_fail = refuse', qr/"on_fail" needs a "check"/ ],
         [ "check = tcp\nprotocol = udp", qr/a UDP service cannot be check/ ])
    {
        my ($keys, $error) = @$_;
        my $file = "$t->{dir}/wrong.conf";

        ZLTunnel::write_file($file, "[agent]\nserver = ws://127.0.0.1/\n"
                             . "token_file = $agent->{token_file}\n$local$keys\n",
                             0600);
        my ($rc, $out) = run($ZLTunnel::AGENT, 'check', '-c', $file);
        is($rc, 2, (split /\n/, $keys)[-1] . ': is refused');
        like($out, qr/^\S*\Q$file\E:\d+: .*$error|$error/, 'and why');
    }
}


sub command_line {
    my @connect = ('connect', '--server', 'ws://127.0.0.1:1/', '--token-file',
                   $agent->{token_file});

    for ([ [ '--check', 'tcp' ], qr/stands behind the --service/ ],
         [ [ '--service', '80', '--check', 'icmp' ],
           qr/--check: "check" is "icmp": it must be tcp/ ],
         [ [ '--service', '80', '--check-interval', 'soon' ],
           qr/--check-interval: "check_interval" is "soon"/ ],
         [ [ '--service', '80', '--on-fail', 'refuse' ],
           qr/--service "80": "on_fail" needs a "check"/ ])
    {
        my ($args, $error) = @$_;
        my ($rc, $out) = run($ZLTunnel::AGENT, @connect, @$args);
        is($rc, 2, "@$args: is refused");
        like($out, $error, 'and why');
    }

    my $other = $t->agent(
        token => $t->token('bob'), services => [ "a:$echo->{port}" ],
        args => [ '--on-fail', 'refuse', '--check', 'tcp',
                  '--check-interval', '100ms', '--service', "b:$port" ]);

    my @checks = map { $_->{check} && $_->{check}{type} }
                 @{ $other->in_state('agent', 'connected')->{services} };
    is_deeply(\@checks, [ 'tcp', undef ],
              'options are of the --service before them');
    is($other->stop, 0, 'ends');
}
