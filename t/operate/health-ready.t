#!/usr/bin/perl

# Protects: "zltunnel-agent status --ready", by which a script, a container or a
# unit knows that services are served: 0 if they are registered and not down,
# 1 if not, with what is not; 2 for what makes no sense.  --wait waits as long
# as it says and no longer, also for an agent that is not there yet.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;

my $t = ZLTunnel->new;
my $token = $t->token('alice', 'services=web,echo');
my $echo = $t->service('echo');
my $port = $t->free_port;
my ($web, $agent);

$t->start;

subtest 'what makes no sense' => \&usage;
subtest 'an agent that is not there' => \&no_agent;
subtest 'services' => \&services;
subtest 'no server' => \&no_server;

$web->stop('KILL') if $web;
$t->finish;


sub agent {
    return $t->agent(token => $token, wait => 0, @_, conf => <<"EOT");
[agent]
server = ${\ $t->url('ws') }
token_file = %%token_file%%
reconnect_interval = 100ms
max_reconnect_interval = 200ms
[service web]
local = 127.0.0.1:$port
check = tcp
check_interval = 100ms
check_fails = 2
[service echo]
local = $echo->{port}
EOT
}


sub web_is_up {
    $web = $t->spawn('web', $^X, "$ZLTunnel::ROOT/t/lib/health.pl", $port,
                     'web', "$t->{dir}/none");
    wait_for(sub { $web->output =~ /^ready/m }) or die 'no web server';
}


# Asks, and returns the exit code, what was said, and how long it took.

sub ready {
    my (@words) = @_;

    my $start = time;
    my ($rc, $out) = run({ timeout => 90 }, $ZLTunnel::AGENT, 'status',
                         '--ready', @words, '--control',
                         "$t->{dir}/the.sock");
    return ($rc, $out, time - $start);
}


sub usage {
    for ([ [ '--wait', 'soon' ], qr/--wait "soon" is not a time like 30s/ ],
         [ [ '--wait', '0' ], qr/--wait "0" is not a time/ ],
         [ [ '--json' ], qr/--ready prints nothing that --json could be of/ ],
         [ [ 'a', 'b' ], qr/^zltunnel-agent: usage: / ])
    {
        my ($words, $error) = @$_;
        my ($rc, $out) = ready(@$words);
        is($rc, 2, "@$words: 2");
        like($out, $error, "@$words: $out");
    }

    my ($rc, $out) = run($ZLTunnel::AGENT, 'status', '--wait', '3s');
    is($rc, 2, '--wait alone: 2');
    like($out, qr/--wait needs --ready/, $out);
}


sub no_agent {
    my ($rc, $out, $time) = ready();
    is($rc, 1, 'no agent: 1');
    like($out, qr/no agent answers at \Q$t->{dir}\E\/the\.sock/, $out);

    ($rc, $out, $time) = ready('--wait', '1s');
    is($rc, 1, 'with --wait, too');
    cmp_ok($time, '>', 0.8, 'after that time');
    is(() = $out =~ /no agent/g, 1, 'said once');
}


sub services {
    web_is_up();

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        # what waits is not ours to judge but by its code
        open STDOUT, '>', '/dev/null';
        exec $ZLTunnel::AGENT, 'status', '--ready', '--wait', '60s',
             '--control', "$t->{dir}/the.sock" or die;
    }

    $agent = agent(control => "$t->{dir}/the.sock");
    waitpid $pid, 0;
    is($?, 0, '--wait was there before the agent, and ends with 0');

    my ($rc, $out) = ready();
    is($rc, 0, 'all is ready');
    is($out, '', 'and nothing is said');

    $web->stop('KILL');
    ok($agent->logged(qr/"web" is down/), 'one is down');

    for my $words ([], [ 'web' ], [ 'agent' ]) {
        ($rc, $out) = ready(@$words);
        is($rc, 1, "@$words: not ready");
        like($out, qr/^zltunnel-agent: the service "web" is down: /, $out);
        like($out, qr/ fails for \d+s: 127\.0\.0\.1:$port: Connection ref/,
             '.. and where, and why');
    }

    is((ready('echo'))[0], 0, 'the other one is ready');

    my $start = time;
    ($rc) = ready('web', '--wait', '300ms');
    is($rc, 1, 'that is not long enough');
    ($rc, $out) = ready('nothing');
    is($rc, 1, 'nobody knows that name');
    like($out, qr/no tunnel and no service "nothing"/, $out);

    web_is_up();
    is((ready('web', '--wait', '60s'))[0], 0, 'up again');
}


sub no_server {
    $t->{nginx}->stop;
    ok($agent->in_state('agent', 'failed'), 'the server goes');

    my ($rc, $out) = ready('echo');
    is($rc, 1, 'no service is ready');
    like($out, qr/the tunnel "agent" is \w+: the server cannot be reached/,
         $out);

    is($agent->stop, 0, 'the agent ends');
}
