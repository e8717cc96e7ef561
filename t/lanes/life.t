#!/usr/bin/perl

# Protects: connections on lanes when something ends: clients that give up in
# any phase, a service that resets, an agent that is killed, told to end, or
# comes again, a reload, a worker that is killed, a token that is revoked, a
# channel that is dropped on the way.  Nothing that was cut off looks whole,
# nothing is lost that need not be, and nothing is left over.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Many;
use ZLTunnel::Proc;

need_nofile(1024);

my $file = 4_000_000;
my ($t, $front, $app, $files, $token);

subtest "clients that give up, $_", \&cancels, $_ for qw(ws wss);
subtest 'ends' => \&ends;
subtest 'agents' => \&agents;
subtest 'reload' => \&reload;
subtest "dropped on the way, $_", \&dropped, $_ for qw(ws wss);

done_testing();


sub setup {
    my ($workers) = @_;

    $t = ZLTunnel->new(workers => $workers,
                       zltunnel => 'reconnect_grace 3s; max_pending 1000;');
    $front = $t->free_port;

    # slow enough to be caught, and too little to leave its lane at once

    $files = backend($t, <<'EOT');
server {
    listen 127.0.0.1:%PORT%;
    root %DIR%;
    location / { limit_rate 1m; limit_rate_after 10k; }
    location /text { return 200 "text\n"; }
}
EOT

    ZLTunnel::write_file("$files->{dir}/file", pattern($file), 0644);

    $t->write_conf(http => <<"EOT");
upstream files { zltunnel_service files max_fails=0; }
upstream kept { zltunnel_service files max_fails=0; keepalive 8; }
upstream app { zltunnel_service app max_fails=0; }
upstream app_kept { zltunnel_service app max_fails=0; keepalive 8; }
server {
    listen 127.0.0.1:$front;
    access_log off;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_connect_timeout 4s;
    location /files/ { proxy_pass http://files/; }
    location /kept/ { proxy_pass http://kept/; }
    location /raw/ { proxy_pass http://files/; proxy_buffering off; }
    location /app/ { proxy_pass http://app/; }
    location /app_raw/ { proxy_pass http://app/; proxy_buffering off;
                         proxy_request_buffering off; }
    location /app_kept/ { proxy_pass http://app_kept/; }
}
EOT

    $token = $t->token('alice', 'sessions=3');
    $t->start;
    $app = app($t, 'app');
}

sub agent {
    my (%o) = @_;

    my $agent = $t->agent(token => $token, services => [
        "files:$files->{port}/private", "app:$app->{port}/private" ],
        args => [ '--log-level', 'debug', @{ delete $o{args} || [] } ], %o);

    ok(wait_for(sub {
        my $st = $t->status->{tunnels}[0] or return 0;
        return $st->{idle_channels} >= $t->{workers} && !$st->{pending};
    }), 'an agent');

    return $agent;
}

sub done {
    for my $agent (@{ $t->{agents} }) {
        unlike($agent->log, qr/Bad file descriptor|Invalid argument
                               |not a socket/xi, 'no surprise in its log');
    }

    unlike($t->log, qr/\[(crit|emerg)\]/, 'nor anything grave in the other');

    $t->finish;
}

sub text { { line => 'GET ' . ($_[0] % 2 ? '/kept' : '/files') . '/text' } }

sub wrong { grep { !$_->{whole} || $_->{answer} ne "text\n" } @_ }

sub is_served {
    my ($n, $name) = @_;

    my @r = many($front, 20, [ map { text($_) } 1 .. $n ]);
    is(scalar(wrong(@r)), 0, $name);
    return @r;
}

# Downloads that are under way.

sub running {
    my ($where, $n) = @_;

    my @r = map { start_request($front, { line => "GET $where/file" }) }
            1 .. $n;

    wait_for(sub {
        feed($_) for @r;
        return !grep { length $_->{in} < 20_000 } @r;
    }, 10) or die 'no downloads';

    return @r;
}

sub finished {
    my ($timeout, @r) = @_;

    my $end = time + $timeout * slowdown();
    while (time < $end && @r) {
        @r = grep { !feed($_) } @r;
        sleep 0.01;
    }

    return !@r;
}


sub cancels {
    my ($scheme) = @_;

    setup(2);
    my $agent = agent(tls => $scheme eq 'wss');

    is_served(50, 'it works');
    sleep 0.1;

    my $fds = fds($agent->pid)->{socket};
    my $n = sizes('clients', 4_000, 1_000);

    my @kinds = (
        # name, how many in 5, agent stopped, request, bytes of the answer
        [ 'waiting for the channel', 2, 1, "GET /app/x HTTP/1.1\r\n" ],
        [ 'waiting for the answer', 1, 0, "GET /app/hold HTTP/1.1\r\n" ],
        [ 'sending', 1, 0, "POST /app_raw/upload HTTP/1.1\r\n"
                           . "Content-Length: 3000000\r\n" ],
        [ 'reading', 1, 0, "GET /raw/file HTTP/1.1\r\n" ],
    );

    for my $kind (@kinds) {
        my ($what, $share, $stopped, $request) = @$kind;

        kill STOP => $agent->pid if $stopped;

        my $count = give_up($front, $request . "Host: l\r\n\r\n"
                                    . ($what eq 'sending' ? 'x' x 50_000 : ''),
                            $n * $share / 5, reading => $what eq 'reading',
                            most => 60);

        kill CONT => $agent->pid if $stopped;
        is_served(20, "$count gave up while $what");
    }

    ok(wait_for(sub {
        return $t->events($app, 'gone') == $t->events($app, 'hold');
    }), 'the service has seen all of them go')
        or diag 'hold: ', $t->events($app, 'hold'), ', gone: ',
                $t->events($app, 'gone');

    # since 1.29.7 all upstreams keep some, 32 in each worker

    my $kept = since(1, 29, 7) ? 2 * 32 : 0;

    ok(wait_for(sub {
        my $st = $t->status;
        return $t->service_status('app')->{active} <= $kept
               && $t->service_status('files')->{active} <= 2 * 8 + $kept
               && $st->{tunnels}[0]{pending} == 0;
    }), 'none is counted any more')
        or diag explain $t->status->{tunnels};

    # what is kept is channels, up to max_idle_channels, and the connections
    # of keepalive

    ok(wait_for(sub {
        my $idle = $t->status->{tunnels}[0]{idle_channels};
        return fds($agent->pid)->{socket} <= $fds + $idle + 2 * 8;
    }), 'the agent has closed its sockets')
        or diag "before $fds, now ", fds($agent->pid)->{socket}, ', idle ',
                $t->status->{tunnels}[0]{idle_channels};

    done();
}


# Of the service, the agent, the worker, the token.

sub ends {
    setup(1);
    my $agent = agent();

    for my $path ('/app/reset', '/app_kept/reset', '/app_raw/reset') {
        my @r = many($front, 5, [ map { { line => "GET $path" } } 1 .. 5 ]);
        is(scalar(grep { $_->{whole} } @r), 0, "$path: no answer is whole");
    }

    is_served(20, 'others are');

    # a service that ends its connections, while they are kept

    my @r = many($front, 10, [ map { { line => 'GET /app_kept/x' } }
                               1 .. 10 ]);
    is((grep { $_->{whole} } @r), 10, 'kept alive');
    my @gone = ZLTunnel::Proc::children_of($app->{proc}->pid);
    kill KILL => @gone;
    sleep 0.1;
    @r = many($front, 5, [ map { { line => 'POST /app_kept/upload',
                                   body => 'x' } } 1 .. 10 ]);
    is((grep { $_->{whole} && $_->{status} == 200 } @r), 10,
       'those that the service has ended are not used');

    # the agent is killed

    my @running = (running('/raw', 3), running('/files', 3));
    my $start = time;
    $agent->stop('KILL');
    ok(finished(5, @running), 'agent killed: downloads end');
    is(scalar(grep { $_->{whole} } @running), 0, 'none looks whole');
    cmp_ok(time - $start, '<', 3 * slowdown(), 'at once');

    $agent->launch;
    ok($agent->registered(2), 'it returns');
    ok(wait_for(sub { get($front, '/files/text')->{status} == 200 }),
       'and serves');
    is_served(50, 'everything');

    # the worker is killed

    @running = running('/raw', 3);
    my ($worker) = $t->workers;
    kill KILL => $worker;
    ok(finished(5, @running), 'worker killed: downloads end');
    is(scalar(grep { $_->{whole} } @running), 0, 'none looks whole');
    ok(wait_for(sub { (get($front, '/files/text')->{status} // 0) == 200 },
                20), 'its successor serves');
    is_served(50, 'everything');
    push @{ $t->{allow} }, qr/worker process \d+ exited on signal 9/;

    # the token is revoked

    @running = (running('/raw', 2), running('/files', 2));
    my @held = map { start_request($front, { line => 'GET /app/hold' }) } 1, 2;
    feed($_) for @held;
    sleep 0.1;
    $start = time;
    $t->revoke('alice');
    ok(finished(10, @running, @held), 'token revoked: all end');
    is(scalar(grep { $_->{whole} && $_->{status} == 200 } @running, @held), 0,
       'none looks whole');
    cmp_ok(time - $start, '<', 3 * slowdown(), 'soon');
    ok(wait_for(sub { get($front, '/files/text')->{status} == 502 }),
       'and no more are served');

    $agent->stop;
    done();
}


# Two of them under load, of which one is told to end, and comes again.

sub agents {
    setup(2);
    my @agents = map { agent() } 1, 2;
    my $stop = "$t->{dir}/stop";

    my @load = load(2, $stop);
    is_served(100, 'it works');

    my @slow = map {
        start_request($front, { line => 'GET /app/slow?1500' })
    } 1 .. 10;
    feed($_) for @slow;
    my @running = running('/raw', 6);

    ok(wait_for(sub { $t->events($app, 'slow') == 10 }), 'some are slow');

    $agents[0]{proc}->kill('TERM');
    sleep 0.3;
    is_served(100, 'while one ends the other serves');
    ok(finished(15, @slow, @running), 'what was under way');
    is((grep { $_->{whole} && $_->{status} == 200 } @slow, @running), 16,
       '.. is whole');
    ok(wait_for(sub { !$agents[0]{proc}->running }, 20), 'it has ended');

    $agents[0]->launch;
    ok($agents[0]->registered(2), 'comes again');
    is_served(100, 'and they serve');

    # both: nobody is left

    $_->{proc}->kill('TERM') for @agents;
    ok(wait_for(sub { get($front, '/files/text')->{status} =~ /^50[24]/ }),
       'with both ended there is nobody');
    ok(wait_for(sub { !grep { $_->{proc}->running } @agents }), 'they end');

    ZLTunnel::write_file($stop, '');
    $_->wait(20) for @load;
    done();
}


# Clients that go on until told to end; "bad ..." for what fails.

sub load {
    my ($n, $stop) = @_;

    return map {
        my $i = $_;
        ZLTunnel::Proc->start(
            name => "client $i", out => "$t->{dir}/client-$i",
            code => sub {
                my $count = 0;

                until (-e $stop) {
                    my $r = get($front, (text($count++))->{line} =~ s/GET //r);
                    syswrite STDOUT, "bad $r->{status}\n"
                        if $r->{status} != 200 || $r->{body} ne "text\n";
                    sleep 0.002;
                }

                syswrite STDOUT, "count $count\n";
            })
    } 1 .. $n;
}


sub reload {
    setup(2);
    my $agent = agent();
    my $stop = "$t->{dir}/stop";

    my @load = load(2, $stop);
    my @slow = map { start_request($front, { line => 'GET /app/slow?2000' }) }
               1 .. 10;
    feed($_) for @slow;
    my @running = (running('/raw', 3), running('/files', 3));

    for (1 .. sizes('reloads', 10, 2)) {
        my @old = $t->workers;
        kill HUP => $t->{nginx}->pid;

        ok(wait_for(sub {
            my %now = map { $_ => 1 } $t->workers;
            return 2 == grep { my $w = $_; !grep { $_ == $w } @old } keys %now;
        }, 20), 'reloaded');
        sleep 0.5;
    }

    ok(finished(20, @slow, @running), 'what was under way');
    is((grep { $_->{whole} && $_->{status} == 200 } @slow, @running), 16,
       '.. is whole');

    ZLTunnel::write_file($stop, '');
    my ($count, @bad) = (0);

    for my $p (@load) {
        $p->wait(20);
        $count += $1 if $p->output =~ /^count (\d+)/m;
        push @bad, $p->output =~ /^(bad .*)/mg;
    }

    is_deeply(\@bad, [], "$count requests, none is lost");
    ok(wait_for(sub { 2 == ZLTunnel::Proc::children_of($t->{nginx}->pid) },
                20), 'the old workers have exited');

    done();
}


# By a middlebox that tells nobody.

sub dropped {
    my ($scheme) = @_;

    setup(1);

    my $tls = $scheme eq 'wss';
    my $relay = $t->relay($tls);
    my $agent = agent(server => $relay->{url}, args => [
        $tls ? ('--ca-file', $t->certs . '/ca.pem') : () ]);

    is_served(50, 'it works');
    $t->tell($relay, 'stall 2-');

    # connections that were kept are found dead later, by a heartbeat

    my $n = sizes('requests on kept connections', 3, 0);
    my @kept = map { start_request($front, text(1)) } 1 .. $n;
    feed($_) for @kept;

    for my $which ('requests are', 'so are the next') {
        my @r = many($front, 10, [ map { text(0) } 1 .. 10 ]);
        is(scalar(wrong(@r)), 0, "$which served all the same");

        my ($slowest) = sort { $b <=> $a } map { $_->{time} } @r;

        # one that was kept is found dead by a heartbeat

        cmp_ok($slowest, '<', (since(1, 29, 7) ? 20 : 2.5)
                         * slowdown(),
               'within a second');
        note sprintf 'after %.1f s', $slowest;
    }

    ok(finished(15, @kept), 'those on connections that were kept');
    is(scalar(wrong(@kept)), 0, '.. are asked again');

    $relay->{proc}->stop;      # else the agent waits for its dead channels
    done();
}
