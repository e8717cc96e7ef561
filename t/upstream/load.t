#!/usr/bin/perl

# Protects: upstreams under load.  100,000 requests by wrk without an error
# over connections that are reused; the same while agents are killed and nginx
# reloads, where no GET may fail and no POST may be executed twice; two
# tenants with the same service name; clients that give up at every stage.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Proc;

need_nofile(1024);

subtest "requests, $_->[1] worker(s), " . ($_->[0] ? 'wss' : 'ws'),
        \&requests, @$_ for [0, 1], [0, 4], [1, 4];
subtest 'agents killed, nginx reloaded' => \&turmoil;
subtest 'two tenants' => \&tenants;
subtest "clients that give up, $_->[1] worker(s), "
        . ($_->[0] ? 'wss' : 'ws'), \&cancels, @$_ for [0, 2], [1, 1];

done_testing();


sub requests {
    my ($tls, $workers) = @_;

    my $n = sizes('requests', 100_000, 10_000);
    my $t = ZLTunnel->new(workers => $workers);
    my ($front, $counted) = map { $t->free_port } 1 .. 2;

    my $backend = backend($t, <<"EOT");
server {
    listen 127.0.0.1:%PORT%;
    location / { return 200 "some text of a service\\n"; }
}
server { listen 127.0.0.1:$counted; stub_status; }
EOT

    $t->write_conf(http => <<"EOT");
upstream web { zltunnel_service web; keepalive 32; }
server {
    listen 127.0.0.1:$front;
    access_log off;
    keepalive_requests 1000000;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    location / { proxy_pass http://web; }
}
EOT

    my $token = $t->token('alice');
    $t->start;
    my $agent = $t->agent(token => $token, tls => $tls,
                          services => ["web:$backend->{port}/private"]);

    my ($done, $rounds, $errors, $before) = (0, 0, '', accepts($counted));

    while ($done < $n) {
        my $out = run_ok({ timeout => 60 }, 'wrk', '-t', 1, '-c', 32, '-d',
                         '1s', "http://127.0.0.1:$front/");
        $out =~ /^\s*(\d+) requests in/m or last;
        $done += $1;
        $rounds++;
        $errors .= $1 if $out =~ /((Non-2xx|Socket errors).*)/;
    }

    cmp_ok($done, '>=', $n, "$done requests");
    is($errors, '', 'no error');

    my $made = accepts($counted) - $before;
    my $per = 1000;           # requests a connection, keepalive_requests

    # wrk leaves 32 requests without an answer each time

    cmp_ok($made, '<=', 32 * ($workers + $rounds) + 64 + 2 * $done / $per,
           "over $made connections to the service");

    $t->finish;
}


# connections that the backend has accepted, with those that ask

sub accepts {
    my ($port) = @_;

    return get($port, '/')->{body} =~ /^\s*(\d+)\s+\d+\s+\d+/m ? $1 : undef;
}


# Processes that go on until told to end, each with code->() that returns what
# is wrong, or nothing.

sub load {
    my ($t, $n, $code) = @_;

    my $stop = "$t->{dir}/stop";
    my @procs;

    for my $i (1 .. $n) {
        push @procs, ZLTunnel::Proc->start(
            name => "client $i", out => "$t->{dir}/client-$i",
            code => sub {
                my $count = 0;

                until (-e $stop) {
                    my $bad = $code->($i, $count++);
                    syswrite STDOUT, "bad $bad\n" if $bad;
                }

                syswrite STDOUT, "count $count\n";
            });
    }

    return @procs;
}


sub turmoil {
    my $t = ZLTunnel->new(workers => 4, zltunnel => 'reconnect_grace 10s;');
    my $front = $t->free_port;
    my $rounds = sizes('rounds', 20, 3);
    my $posts = sizes('POSTs', 10_000, 600);

    my $backend = backend($t, <<'EOT');
log_format number '$http_x_number';
server {
    listen 127.0.0.1:%PORT%;
    location / { return 200 "text\n"; }
    location /number {
        access_log %DIR%/numbers number;
        return 200 "$http_x_number\n";
    }
}
EOT

    $t->write_conf(http => <<"EOT");
upstream web { zltunnel_service web max_fails=0; keepalive 8; }
server {
    listen 127.0.0.1:$front;
    access_log off;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    location / { proxy_pass http://web; }
}
EOT

    my $token = $t->token('alice', 'sessions=3');
    $t->start;

    my @agents = map {
        $t->agent(token => $token, tls => $_ == 3,
                  services => ["web:$backend->{port}/private"])
    } 1 .. 3;

    my @gets = load($t, 2, sub {
        my $r = get($front, '/');
        return $r->{status} == 200 && $r->{body} eq "text\n"
               ? '' : "GET $r->{status}";
    });

    my @posts = map {
        my $i = $_;

        ZLTunnel::Proc->start(
            name => "posts $i", out => "$t->{dir}/posts-$i",
            code => sub {
                for my $k (1 .. $posts / 2) {
                    my $n = "$i-$k";
                    my $r = request($front, 'POST /number', body => 'x' x 100,
                                    headers => { 'X-Number' => $n });
                    syswrite STDOUT, "$n $r->{status}\n";
                }
            });
    } 1 .. 2;

    my $round = 0;

    while ($round++ < $rounds || grep { $_->running } @posts) {
        last if $round > 50 * $rounds;

        my $agent = $agents[$round % 3];

        if ($agent->{proc}->running) {
            $agent->stop($round % 2 ? 'KILL' : 'TERM');
            $agent->launch;
            $agent->registered(1, 30) or last;
        }

        if ($round % 3 == 0 && $round <= $rounds) {
            my @old = $t->workers;
            kill HUP => $t->{nginx}->pid;
            wait_for(sub {
                my %now = map { $_ => 1 } $t->workers;
                return !grep { $now{$_} } @old;
            }, 30);
        }
    }

    note "$round rounds";
    $_->wait(60) for @posts;
    ZLTunnel::write_file("$t->{dir}/stop", '');

    my ($count, @bad) = (0);
    for my $p (@gets) {
        is($p->wait(30), 0, 'a client ends');
        my $out = $p->output;
        $count += $1 if $out =~ /^count (\d+)/m;
        push @bad, $out =~ /^(bad .*)/mg;
    }

    is_deeply(\@bad, [], "$count GETs, none is lost");

    my (%answered, %executed);
    for my $p (@posts) {
        my $out = $p->output;
        $answered{$1} = $2 while $out =~ /^(\S+) (\d+)$/mg;
    }
    $executed{$_}++ for split /\n/, slurp("$backend->{dir}/numbers");

    my @twice = grep { $executed{$_} > 1 } sort keys %executed;
    my @lost = grep { $answered{$_} == 200 && !$executed{$_} }
               sort keys %answered;
    my $failed = grep { $_ != 200 } values %answered;

    is(scalar keys %answered, $posts, "$posts POSTs, $failed of them failed");
    is_deeply(\@twice, [], 'none is executed twice');
    is_deeply(\@lost, [], 'none is answered that was not executed');
    cmp_ok($failed, '<', $posts / 4, 'most succeed');

    $t->finish;
}


sub tenants {
    my $n = sizes('requests', 10_000, 2_000);
    my $t = ZLTunnel->new(
        workers => 2, location => 'location = /other/v1 { zltunnel other; }',
        zltunnel => '');
    my $front = $t->free_port;
    my @b = map {
        backend($t, "server { listen 127.0.0.1:%PORT%; "
                    . "return 200 \"tenant $_\\n\"; }")
    } 0, 1;

    my @tokens = map { ZLTunnel::random_token() } 0, 1;
    $t->token('same', '', $tokens[0]);
    ZLTunnel::write_file("$t->{dir}/other",
                         sha256_hex($tokens[1]) . " same\n", 0644);

    $t->write_conf(main => "zltunnel other { zone 1m; token_file "
                           . "$t->{dir}/other; }", http => <<"EOT");
upstream t0 { zltunnel_service web; keepalive 8; }
upstream t1 { zltunnel_service web registry=other; keepalive 8; }
server {
    listen 127.0.0.1:$front;
    access_log off;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    location ~ ^/(?<tenant>t\\d)/ { proxy_pass http://\$tenant; }
}
EOT

    $t->start;

    my @agents = map {
        $t->agent(token => $tokens[$_],
                  server => $t->url('ws') =~ s{/tunnel/}{/other/}r
                            =~ s{/other/}{$_ ? '/other/' : '/tunnel/'}er,
                  services => ["web:$b[$_]{port}/private"])
    } 0, 1;

    my @procs = map {
        my $i = $_;

        ZLTunnel::Proc->start(
            name => "tenant client $i", out => "$t->{dir}/tenant-$i",
            code => sub {
                my $s = connect_to($front);
                my ($good, $bad) = (0, 0);

                for my $k (1 .. $n / 4) {
                    my $tenant = int rand 2;
                    my $r = request($front, "GET /t$tenant/", socket => $s);
                    ($r->{body} // '') eq "tenant $tenant\n" ? $good++ : $bad++;
                    $s = connect_to($front) if $r->{head} =~ /close/i;
                }

                syswrite STDOUT, "$good $bad\n";
            });
    } 1 .. 4;

    $_->wait(120) for @procs;
    my ($good, $bad) = (0, 0);
    for (@procs) {
        my ($g, $b) = $_->output =~ /^(\d+) (\d+)/;
        $good += $g // 0;
        $bad += $b // 1;
    }

    is($bad, 0, 'no answer of the other tenant');
    is($good, $n, "$n requests");

    $agents[0]->stop;
    is(get($front, '/t0/')->{status} == 200 ? 'served' : 'not served',
       'not served', 'without its agent a tenant is not served');
    is(get($front, '/t1/')->{body}, "tenant 1\n", 'the other is');

    $t->finish;
}


sub cancels {
    my ($tls, $workers) = @_;

    my $n = sizes('clients', 10_000, 900);
    my $t = ZLTunnel->new(workers => $workers,
                          zltunnel => 'max_pending 1000;');
    my $front = $t->free_port;

    my $backend = backend($t, <<'EOT');
server {
    listen 127.0.0.1:%PORT%;
    client_max_body_size 0;
    location / { return 200 "text\n"; }
    location /slow { limit_rate 1k; root %DIR%; }
    location /eat { proxy_pass http://127.0.0.1:%PORT%/ok; }
    location /ok { return 200 "text\n"; }
}
EOT

    ZLTunnel::write_file("$backend->{dir}/slow", 'x' x 200_000, 0644);

    $t->write_conf(http => <<"EOT");
upstream web { zltunnel_service web; keepalive 8; }
server {
    listen 127.0.0.1:$front;
    access_log off;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_request_buffering off;
    location / { proxy_pass http://web; }
}
EOT

    my $token = $t->token('alice');
    $t->start;
    my $agent = $t->agent(token => $token, tls => $tls,
                          services => ["web:$backend->{port}/private"]);

    is(get($front, '/')->{status}, 200, 'it works');
    ok(wait_for(sub {
        my $st = $t->status->{tunnels}[0];
        return $st->{idle_channels} > 0 && !$st->{pending};
    }), 'channels are idle');
    my $fds = fds($agent->pid)->{socket};

    my @kinds = (
        [ 'sending', 0, "POST /eat HTTP/1.1\r\nHost: l\r\n"
                        . "Content-Length: 100000\r\n\r\n" . 'x' x 30_000 ],
        [ 'reading', 0, "GET /slow HTTP/1.1\r\nHost: l\r\n\r\n" ],
        [ 'waiting', 1, "GET /nothing HTTP/1.1\r\nHost: l\r\n\r\n" ],
    );

    for my $kind (@kinds) {
        my ($what, $stopped, $request) = @$kind;

        kill STOP => $agent->pid if $stopped;

        my $count = give_up($front, $request, $n / 3,
                            reading => $what eq 'reading', most => 20);

        kill CONT => $agent->pid if $stopped;
        is(get($front, '/')->{status}, 200, "$count gave up while $what");
    }

    ok(wait_for(sub {
        my $s = $t->service_status('web');
        return $s->{active} <= 8 * $workers
               && $t->status->{tunnels}[0]{pending} == 0;
    }, 30), 'no connection is counted any more')
        or diag explain $t->status->{tunnels};
    ok(wait_for(sub { fds($agent->pid)->{socket} <= $fds + 80 }, 30),
       'the agent has closed its sockets')
        or diag "before $fds, now ", fds($agent->pid)->{socket};

    $t->finish;
}
