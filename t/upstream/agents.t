#!/usr/bin/perl

# Protects: several agents behind one upstream.  Each balancing method, the
# next agent after a failure, agents set aside, agents that leave and are
# killed, servers marked "backup"; and what the configuration refuses.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

subtest 'balance' => \&balance;
subtest 'failures' => \&failures;
subtest 'backup' => \&backup;
subtest "a revoked token, $_", \&revoked, $_ eq 'wss' for qw(ws wss);
subtest 'configuration' => \&configuration;

done_testing();


# how many of n requests went where, by the application's name

sub spread {
    my ($port, $path, $n, %o) = @_;

    my %count;

    for my $i (1 .. $n) {
        my $p = ref $path ? $path->($i) : $path;
        my $r = get($port, $p, %o);
        my ($name) = ($r->{body} // '') =~ /^(\w+) \d+ \d+$/;
        $count{ $r->{status} == 200 ? $name // '?' : $r->{status} }++;
    }

    return \%count;
}


sub balance {
    my $t = ZLTunnel->new(workers => 2, zltunnel => 'reconnect_grace 3s;');
    my $front = $t->free_port;
    my @methods = qw(round_robin least_conn random hash:$arg_key);

    $t->write_conf(http => join('', map { my $n = s/:.*//r;
        "upstream $n { zltunnel_service web balance=$_; keepalive 4; }\n"
        } @methods) . <<"EOT");
server {
    listen 127.0.0.1:$front;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    location ~ ^/(?<name>round_robin|least_conn|random|hash)(?<rest>/.*)\$ {
        proxy_pass http://\$name\$rest\$is_args\$args;
    }
}
EOT

    my $token = $t->token('alice', 'sessions=3');
    $t->start;

    my @apps = map { app($t, "app$_") } 1 .. 3;
    my @agents = map { $t->agent(token => $token,
                                 services => ["web:$_->{port}/private"]) }
                 @apps;

    ok(wait_for(sub { @{ $t->status->{tunnels} } == 3 }), 'three agents');

    is_deeply(spread($front, '/round_robin/', 30),
              { app1 => 10, app2 => 10, app3 => 10 }, 'round_robin: in turn');

    my $c = spread($front, '/random/', 60);
    is(scalar keys %$c, 3, 'random: everywhere');

    # one request runs at each of two agents, all others go to the third

    my @slow = map {
        my $s = connect_to($front);
        syswrite $s, "GET /least_conn/hold HTTP/1.1\r\n"
                     . "Host: localhost\r\n\r\n";
        my $n = $_;
        wait_for(sub { held(@apps) == $n });
        $s;
    } 1 .. 2;

    ok(wait_for(sub { held(@apps) == 2 }), 'two requests run');
    my ($free) = grep { slurp($_->{log}) !~ /^hold/m } @apps;
    is_deeply(spread($front, '/least_conn/', 20), { $free->{name} => 20 },
              'least_conn: to the idle one');
    abort($_) for @slow;
    ok(wait_for(sub {
        2 == grep { slurp($_->{log}) =~ /^gone/m } @apps
    }), 'they end');
    cmp_ok(scalar keys %{ spread($front, '/least_conn/', 30) }, '==', 3,
           'and all take part again');

    # the same key, the same agent

    my %where;
    for my $key (1 .. 40) {
        my $c = spread($front, "/hash/?key=k$key", 2);
        is(scalar keys %$c, 1, "hash: key $key goes to one") if keys %$c != 1;
        ($where{$key}) = keys %$c;
    }

    my %used = map { $_ => 1 } values %where;
    is(scalar keys %used, 3, 'hash: the keys are spread');

    # an agent leaves, with a request under way

    my $s = connect_to($front);
    my ($key) = grep { $where{$_} eq 'app2' } sort keys %where;
    syswrite $s, "GET /hash/slow?1500&key=k$key HTTP/1.1\r\n"
                 . "Host: localhost\r\nConnection: close\r\n\r\n";
    ok(wait_for(sub { slurp($apps[1]{log}) =~ /^slow/m }),
       'a request runs at the agent');

    kill TERM => $agents[1]->pid;
    ok(wait_for(sub { live($t) == 2 }), 'which is told to end');

    $c = spread($front, '/round_robin/', 20);
    is($c->{app2}, undef, 'and gets no further requests');
    is($c->{app1}, 10, 'the others have them');

    my $answer = '';
    1 while defined read_some($s, \$answer, 10);
    like($answer, qr/^HTTP\/1\.1 200 .*app2 /s, 'its request is answered');
    is($agents[1]->{proc}->wait(15), 0, 'then it is gone');

    my @moved = grep {
        my ($now) = keys %{ spread($front, "/hash/?key=k$_", 1) };
        $now ne $where{$_} && $where{$_} ne 'app2'
    } sort keys %where;
    is_deeply(\@moved, [], 'hash: only the keys of the one that left move');

    $t->finish;
}

sub held { scalar grep { slurp($_->{log}) =~ /^hold/m } @_ }

sub live {
    my ($t) = @_;

    return scalar grep { $_->{state} eq 'connected' } @{ $t->status->{tunnels} };
}


sub failures {
    my $t = ZLTunnel->new(workers => 2, zltunnel => 'reconnect_grace 30s;');
    my $front = $t->free_port;
    my $log = "$t->{dir}/logs/front.log";

    $t->write_conf(http => <<"EOT");
log_format front '\$uri \$status \$upstream_addr';
upstream web { zltunnel_service web fail_timeout=1h; keepalive 4; }
upstream errors { zltunnel_service errors max_fails=2 fail_timeout=1s; }
server {
    listen 127.0.0.1:$front;
    access_log $log front;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    location / { proxy_pass http://web; }
    location /status { proxy_pass http://errors;
                       proxy_next_upstream error http_503; }
}
EOT

    my $token = $t->token('alice');
    my $other = $t->token('bob');
    $t->start;

    my $app = app($t, 'app');
    my $closed = $t->free_port;

    my $bad = $t->agent(token => $token, services => ["web:$closed/private"]);
    my $good = $t->agent(token => $other,
                         services => ["web:$app->{port}/private"]);

    is_deeply(spread($front, '/', 20), { app => 20 },
              'a service that cannot be reached costs no request');

    ok(wait_for(sub { 20 == (() = slurp($log) =~ m{^/ 200 }mg) }),
       'all are logged');
    my @tried = slurp($log) =~ m{^/ 200 (.*alice/web.*)$}mg;
    is_deeply(\@tried, ['alice/web, bob/web'],
              'and it is tried once, then set aside, in all workers');

    my $r = request($front, 'POST /number', headers => { 'X-Number' => 7 },
                    body => 'x');
    is($r->{status}, 200, 'a POST goes to the other');


    # killed: reset, or refused, and in its grace

    my $second = app($t, 'second');
    $bad->stop;
    $bad = $t->agent(token => $token,
                     services => ["web:$second->{port}/private"]);
    ok(wait_for(sub { (spread($front, '/', 4)->{second} // 0) == 2 }),
       'the agent comes back with a service that works');

    kill KILL => $bad->pid;
    $bad->{proc}->wait(5);

    is_deeply(spread($front, '/', 30), { app => 30 },
              'an agent that is killed costs no request');


    # an answer that counts as a failure

    $bad = $t->agent(token => $token,
                     services => ["errors:$second->{port}/private"]);
    $good->stop;
    $good = $t->agent(token => $other,
                      services => ["errors:$app->{port}/private"]);

    $r = get($front, '/status?503');
    is($r->{status}, 503, 'an error of all agents is passed on');
    $r = get($front, '/status?200');
    is($r->{status}, 200, 'and the next request is served');

    $t->finish;
}


sub backup {
    my $t = ZLTunnel->new(workers => 2, zltunnel => 'reconnect_grace 30s;');
    my ($front, $local) = map { $t->free_port } 1 .. 2;

    my $spare = app($t, 'spare');

    $t->write_conf(http => <<"EOT");
upstream web {
    zltunnel_service web;
    server 127.0.0.1:$spare->{port} backup;
    keepalive 4;
    keepalive_timeout 1s;
}
server {
    listen 127.0.0.1:$front;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    location / { proxy_pass http://web; }
}
EOT

    my $token = $t->token('alice');
    $t->start;

    is_deeply(spread($front, '/', 10), { spare => 10 },
              'no agent: the backup server');

    my $app = app($t, 'app');
    my $agent = $t->agent(token => $token, services => ["web:$app->{port}"]);

    is_deeply(spread($front, '/', 10), { app => 10 }, 'an agent: its service');

    kill KILL => $agent->pid;
    $agent->{proc}->wait(5);

    is_deeply(spread($front, '/', 10), { spare => 10 },
              'an agent that was killed: the backup server, at once');

    $agent->launch;
    ok(wait_for(sub { (spread($front, '/', 4)->{app} // 0) == 4 }),
       'it is back: its service');

    kill KILL => -$app->{proc}->pid;       # with those that it has forked
    $app->{proc}->wait(5);

    is_deeply(spread($front, '/', 10), { spare => 10 },
              'its service is gone: the backup server');

    $t->finish;
}


sub revoked {
    my ($tls) = @_;

    my $t = ZLTunnel->new(workers => 2);
    my ($front, $stream) = map { $t->free_port } 1 .. 2;

    $t->write_conf(http => <<"EOT", stream => <<"EOT2");
upstream web { zltunnel_service web; keepalive 4; }
server {
    listen 127.0.0.1:$front;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    location / { proxy_pass http://web; }
}
EOT
upstream web { zltunnel_service web; }
server { listen 127.0.0.1:$stream; proxy_pass web; }
EOT2

    my $token = $t->token('alice');
    $t->start;

    my $app = app($t, 'app');
    my $agent = $t->agent(token => $token, tls => $tls,
                          services => ["web:$app->{port}/private"]);

    is(get($front, '/')->{status}, 200, 'a connection is kept alive');

    my @held = map {
        my $s = connect_to($_);
        syswrite $s, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
        $s
    } $front, $stream;

    ok(wait_for(sub { $t->events($app, 'hold') == 2 }), 'requests run');

    $t->revoke('alice');

    my ($http, $raw) = ('', '');
    read_some($held[0], \$http, 15);
    read_some($held[1], \$raw, 15);
    like($http, qr/^HTTP\/1\.1 502 /, 'over http they fail');
    is($raw, '', 'in stream they end');
    ok(wait_for(sub { $t->events($app, 'gone') == 2 }),
       'and the service sees it');
    ok(wait_for(sub { get($front, '/')->{status} == 502 }),
       'what was kept alive is not used');

    close $_ for @held;
    kill KILL => $agent->pid;
    $agent->{proc}->wait(5);
    $t->finish;
}


sub configuration {
    my $t = ZLTunnel->new;
    $t->token('alice');

    my $check = sub {
        my ($what, $re, $text) = @_;

        my ($rc, $out) = $t->test_conf(http => '', stream => '', %$text);

        if ($re) {
            isnt($rc, 0, "refused: $what");
            like($out, $re, '.. with a reason');

        } else {
            is($rc, 0, "accepted: $what") or diag($out);
        }
    };

    my $up = sub { { http => "upstream u { $_[0] }" } };
    my $sup = sub { { stream => "upstream u { $_[0] }" } };

    for my $u ($up, $sup) {
        $check->('all parameters', undef, $u->('zltunnel_service web token=a '
            . 'registry=default balance=random max_fails=0 fail_timeout=5s; '
            . 'server 127.0.0.1:1 backup;'));
        $check->('zone', qr/"zone" cannot be in upstream "u"/,
                 $u->('zone z 64k; zltunnel_service web;'));
        $check->('a server that is no backup', qr/must be marked "backup"/,
                 $u->('zltunnel_service web; server 127.0.0.1:1;'));
        $check->('another method behind', qr/another load balancing method/,
                 $u->('zltunnel_service web; least_conn;'));
        $check->('another method before', qr/load balancing method/,
                 $u->('least_conn; zltunnel_service web;'));
        $check->('twice', qr/duplicate/,
                 $u->('zltunnel_service web; zltunnel_service web;'));
        $check->('a bad name', qr/invalid service "a b"/,
                 $u->('zltunnel_service "a b";'));
        $check->('an unknown parameter', qr/invalid parameter "weight=1"/,
                 $u->('zltunnel_service web weight=1;'));
        $check->('an unknown method', qr/invalid parameter "balance=best"/,
                 $u->('zltunnel_service web balance=best;'));
        $check->('a registry that is not there',
                 qr/no "zltunnel" block for registry "other"/,
                 $u->('zltunnel_service web registry=other;'));
    }

    $check->('keepalive behind', undef,
             $up->('zltunnel_service web; keepalive 4;'));
}
