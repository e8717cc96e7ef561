#!/usr/bin/perl

# Protects: on-demand access as people use it: "zltunnel-agent access" beside
# a service that has no port, and what programs see at the local address is
# the service, to the byte.  psql and curl over ws and wss, four workers, two
# hundred connections at once, a UNIX socket, counters that say what was sent;
# and what goes wrong is said before it costs anybody's time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More;
use ZLTunnel;

subtest "programs over $_" => \&programs, $_ for qw(ws wss);
subtest 'many at once' => \&many;
subtest 'a UNIX socket' => \&unix;
subtest 'half-closes and resets' => \&ends;
subtest 'the command line' => \&command;
subtest 'in a configuration' => \&configured;

done_testing();


sub programs {
    my ($scheme) = @_;

    my $t = ZLTunnel->new(workers => 4);
    my ($web, $pg) = map { $t->free_port } 1 .. 2;
    my $tls = $scheme eq 'wss';

    $t->write_conf(http => qq{server { listen 127.0.0.1:$web;
                                       client_max_body_size 100m;
                                       root $t->{dir}/www; }});
    mkdir "$t->{dir}/www";
    write_file("$t->{dir}/www/big", join '', map { "line $_\n" } 1 .. 400_000);

    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=web,pg access_ttl=8h');
    my @as = postgres($t, $pg);
    $t->start;

    my $serving = $t->agent(token => $serve, tls => $tls, services =>
        [ "web:$web/private", "pg:$pg/private" ]);

    my $visitor = $t->agent(token => $visit, tls => $tls, wait => 0,
                            access => [ 'web', 'pg', '--ttl', '2h' ]);

    my $port = $visitor->granted('web');
    ok($port, 'granted') or diag($visitor->log);
    like($visitor->accesses->{web}{until}, qr/^(\S+ )?\d\d:\d\d:\d\d$/,
         'until when is told');
    is($visitor->accesses->{web}{span}, '2h 0m', 'and how long that is');
    is($visitor->accesses->{web}{local}, "127.0.0.1:$port", 'on loopback');

    is(sha256_hex(run_ok('curl', '-sS', '--max-time', 60,
                         "http://127.0.0.1:$port/big")),
       sha256_hex(slurp("$t->{dir}/www/big")), 'curl has the whole file');

    my $upload = run_ok('curl', '-sS', '--max-time', 60, '-o', '/dev/null',
                        '-w', '%{http_code}', '-X', 'POST', '--data-binary',
                        "\@$t->{dir}/www/big", "http://127.0.0.1:$port/big");
    is($upload, 405, 'an upload is answered');

    cmp_ok($t->status->{spliced}, '>', 2_000_000, 'between sockets')
        if !$tls;

    SKIP: {
        skip 'no PostgreSQL', 2 unless @as;

        my @psql = ('psql', '-h', '127.0.0.1', '-U', 'test', '-p',
                    $visitor->granted('pg'), '-At', 'postgres');

        is(run_ok(@psql, '-c', 'select 6 * 7'), "42\n", 'psql');
        is(length run_ok({ timeout => 60 }, @psql, '-c',
                         "select repeat('x', 1000) from "
                         . "generate_series(1, 5000)"),
           1001 * 5000, 'and a large answer');
    }

    my $s = $visitor->session('web');
    is($s->{connections}{total}, 2, 'connections are counted');
    ok(wait_for(sub { !$visitor->session('web')->{connections}{active} }),
       'and none is open in the end');
    cmp_ok($s->{bytes}{out}, '>=', -s "$t->{dir}/www/big", 'bytes are');

    run(@as, 'stop') if @as;
    $t->finish;
}


# A PostgreSQL at that port: the command to end it, or nothing.

sub postgres {
    my ($t, $port) = @_;

    my ($bin) = map { s{/initdb$}{}r } glob '/usr/lib/postgresql/*/bin/initdb';
    my $dir = "$t->{dir}/pg";
    my @as;

    return () unless $bin;
    mkdir $dir;

    if ($> == 0) {
        my ($uid, $gid) = (getpwnam 'postgres')[2, 3];
        return () unless defined $uid;
        chown $uid, $gid, $dir;
        @as = ('runuser', '-u', 'postgres', '--');
    }

    run_ok({ timeout => 120 }, @as, "$bin/initdb", '-D', "$dir/data", '-A',
           'trust', '-U', 'test', '--no-sync');

    push @{ $t->{procs} }, ZLTunnel::Proc->start(
        name => 'postgres', out => "$t->{dir}/pg.log",
        cmd => [ @as, "$bin/postgres", '-D', "$dir/data", '-p', $port, '-h',
                 '127.0.0.1', '-k', '', '-F' ]);

    wait_for(sub { !(run("$bin/pg_isready", '-h', '127.0.0.1', '-p',
                         $port))[0] }, 60) or die 'no PostgreSQL';

    return (@as, "$bin/pg_ctl", '-D', "$dir/data", '-m', 'fast');
}


# Records of each connection come back to that one and to no other.

sub many {
    my $t = ZLTunnel->new(workers => 4);
    my $echo = $t->service('echo');
    my $n = sizes('connections', 1000, 200);

    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=echo');
    $t->start;

    my $serving = $t->agent(token => $serve,
                            services => [ "echo:$echo->{port}/private" ]);
    my $visitor = $t->agent(token => $visit, wait => 0, access => [ 'echo' ]);
    my $port = $visitor->granted('echo') or die $visitor->log;

    my $load = $t->spawn('load', $t->nettool, 'records', $port, $n, 200, 5,
                         20);
    ok(wait_for(sub { $load->output =~ /^running/m || !$load->running }, 60)
       && $load->output =~ /^running $n$/m, "$n connections at once")
        or diag($load->output);

    my $s = $visitor->session('echo');
    cmp_ok($s->{connections}{active}, '>=', $n, 'all are open');

    my $before = $s->{bytes}{in};
    ok(wait_for(sub {
        $visitor->session('echo')->{bytes}{in} > $before
    }), 'and bytes are counted while they are');

    sleep 2;
    $load->say('end');
    is($load->wait(60), 0, 'nothing was lost, mixed up or late')
        or diag(($load->output =~ /^(lost .*)/mg)[0 .. 9]);

    ok(wait_for(sub { !$visitor->session('echo')->{connections}{active} }),
       'all have ended');

    $s = $visitor->session('echo');
    is($s->{bytes}{in}, $s->{bytes}{out}, 'an echo: as much out as in');

    ok(wait_for(sub {
        my ($st) = grep { $_->{service} eq 'echo' } @{ $t->status->{access} };
        return $st && $st->{bytes}{in} == $s->{bytes}{in}
               && $st->{bytes}{out} == $s->{bytes}{out}
               && $st->{connections}{total} == $s->{connections}{total};
    }), 'the server has counted the same');

    $t->finish;
}


sub unix {
    my $t = ZLTunnel->new;
    my $sum = $t->service('sum');

    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=sum');
    $t->start;
    $t->agent(token => $serve, services => [ "sum:$sum->{port}/private" ]);

    # one that was left behind
    my $path = "$t->{dir}/sum.sock";
    close IO::Socket::UNIX->new(Local => $path, Listen => 1);
    ok(-S $path, 'a stale socket is there');

    my $visitor = $t->agent(token => $visit, wait => 0, access =>
        [ 'sum', '--local', "unix:$path" ]);
    is($visitor->granted('sum'), $path, 'the socket is told')
        or diag($visitor->log);
    is((stat $path)[2] & 07777, 0600, 'nobody else may use it');

    my $s = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!";
    syswrite $s, 'x' x 100_000;
    shutdown $s, 1;
    my $answer = <$s>;
    is($answer, sha256_hex('x' x 100_000) . " 100000\n", 'bytes go both ways');

    my $session = $visitor->session('sum');
    is($session->{bytes}{in}, 100_000, 'counted: in');
    is($session->{bytes}{out}, length $answer, 'counted: out');
    is($session->{local}, "unix:$path", 'shown');

    # one that is in use is not replaced
    my $other = $t->agent(token => $visit, wait => 0, access =>
        [ 'sum', '--local', "unix:$path" ]);
    is($other->{proc}->wait(20), 1, 'a second one is refused');
    like($other->log, qr/\Q$path\E: .*in use.*choose another path/,
         'and told what to do');
    ok(-S $path, 'the first has its socket still');

    is($visitor->stop, 0, 'the agent ends');
    ok(!-e $path, 'and takes its socket away');

    write_file($path, 'precious');
    $other = $t->agent(token => $visit, wait => 0, access =>
        [ 'sum', '--local', "unix:$path" ]);
    is($other->{proc}->wait(20), 1, 'a file is no socket');
    like($other->log, qr/is not a socket/, 'which is said');
    is(slurp($path), 'precious', 'and is not touched');

    $t->finish;
}


sub ends {
    my $t = ZLTunnel->new(workers => 2);
    my ($sum, $greet, $reset) = map { $t->service($_) } qw(sum greet reset);

    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=*');
    $t->start;

    for my $path (qw(ws wss websocket)) {
        my $tls = $path eq 'wss';
        my @within = $path eq 'websocket' ? ('--transport', 'websocket') : ();
        my $serving = $t->agent(token => $serve, tls => $tls, services =>
            [ "sum:$sum->{port}/private", "greet:$greet->{port}/private",
              "reset:$reset->{port}/private", 'gone:1/private' ]);
        my $visitor = $t->agent(token => $visit, tls => $tls, wait => 0,
                                access => [ qw(sum greet reset gone),
                                            @within ]);
        my %port = map { $_ => $visitor->granted($_) }
                   qw(sum greet reset gone);
        my $what = $path;

        my $r = $t->transfer($port{sum}, 3_000_000);
        is($r->{tail}, "$r->{sent_sha} 3000000",
           "$what: a half-close reaches the service after every byte");
        is($r->{end}, 'eof', "$what: and its answer ends cleanly");

        my $c = connect_to($port{greet});
        is(read_line($c), "220 ready\r\n", "$what: a service that speaks first");
        syswrite $c, "hello\n";
        is(read_line($c), "hello\n", "$what: and answers");

        my $before = $t->events($greet, 'reset');
        setsockopt $c, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
                   pack 'i i', 1, 0;
        close $c;
        ok(wait_for(sub { $t->events($greet, 'reset') == $before + 1 }),
           "$what: a client's reset is one at the service");

        $c = connect_to($port{reset});
        syswrite $c, "x";
        is(read_line($c), 'reset', "$what: a service's reset is one here");

        $c = connect_to($port{gone});
        is(read_line($c), 'reset', "$what: nobody there: a reset");
        ok($visitor->logged(qr/connection to "gone" failed: .*could not connect/i),
           "$what: with the reason in the log");

        $visitor->stop;
        $serving->stop;
    }

    $t->finish;
}


sub command {
    my $t = ZLTunnel->new;
    my $echo = $t->service('echo');

    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=echo access_ttl=1h sessions=4');
    my $none = $t->token('nobody');
    $t->start;
    $t->agent(token => $serve, services => [ "echo:$echo->{port}/private",
                                             "other:$echo->{port}/private" ]);

    # ends with 1, or another code, and says this
    my $fails = sub {
        my ($token, $access, $re, $what, $code) = @_;
        $code //= 1;
        my $v = $t->agent(token => $token, wait => 0, access => $access);
        is($v->{proc}->wait(20), $code, "$what: exit code $code")
            or diag($v->log);
        like($v->log, $re, "$what: said why");
        is(slurp($v->{out}), '', "$what: nothing is promised");
    };

    $fails->($visit, [ 'other' ], qr/"other".*does not allow/,
             'a service that is not in the list');
    $fails->($visit, [ 'echo', 'other' ], qr/"other".*does not allow/,
             'one of two');
    $fails->($visit, [ 'echo', '--ttl', '2h' ], qr/"echo".*1h|3600/,
             'too long a time');
    $fails->($visit, [ 'echo', '--ttl', '50m', '--grace', '11m' ],
             qr/"echo".*refuse/, 'too long with the grace');
    $fails->($visit, [ 'echo', '--ttl', '0' ], qr/"echo".*refuse/,
             'without end');
    $fails->($none, [ 'echo' ], qr/"echo".*refuse/, 'a token without access');
    $fails->('f' x 48, [ 'echo' ], qr/refuses the token/, 'a wrong token',
             2);

    my $taken = connect_listen();
    my $port = $taken->sockport;
    $fails->($visit, [ "echo:$port" ],
             qr/"echo".*127\.0\.0\.1:$port: .*in use.*another local port/,
             'a port that is taken');

    # the command line itself
    for my $bad ([ [], qr/access to what/ ], [ [ 'a b' ], qr/service name/ ],
                 [ [ 'a', 'b', '--local', '0' ], qr/for one NAME/ ],
                 [ [ 'a', '--ttl', '1x' ], qr/expected a time/ ],
                 [ [ 'a', '--to', 'nowhere' ], qr/HOST:PORT/ ],
                 [ [ 'a', 'a' ], qr/twice/ ],
                 [ [ 'a', '--udp', '--local', 'unix:/tmp/x' ],
                   qr/UDP service cannot/ ]) {
        my ($rc, $out) = run($ZLTunnel::AGENT, 'access', '--server',
                             $t->url('ws'), @{ $bad->[0] });
        is($rc, 2, "usage: @{ $bad->[0] }");
        like($out, $bad->[1], 'and the reason');
    }

    like(run_ok($ZLTunnel::AGENT, 'access', '--help'), qr/--local-port/,
         'help');

    # an address that others can reach
    my $v = $t->agent(token => $visit, wait => 0, access =>
        [ 'echo', '--local', '0.0.0.0:0' ]);
    ok($v->granted('echo'), 'any address');
    like($v->log, qr/not loopback/, 'with a warning');

    # the port that was asked for
    my $free = $t->free_port;
    $v = $t->agent(token => $visit, wait => 0,
                   access => [ 'echo', '--local-port', $free ]);
    is($v->granted('echo'), $free, '--local-port');
    unlike($v->log, qr/WARN/, 'without one');

    $t->finish;
}


# Beside services, with SIGHUP.

sub configured {
    my $t = ZLTunnel->new(workers => 2);
    my ($echo, $sum) = map { $t->service($_) } qw(echo sum);

    my $token = $t->token('node', 'services=mine access=theirs,sum');
    my $other = $t->token('other');
    $t->start;
    $t->agent(token => $other, services => [ "theirs:$echo->{port}/private",
                                             "sum:$sum->{port}/private" ]);

    my $conf = <<"EOT";
[agent]
server = @{[ $t->url('ws') ]}
token_file = %%token_file%%

[service mine]
local = 127.0.0.1:$echo->{port}

EOT
    my ($one, $two) = map { $t->free_port } 1 .. 2;

    my $agent = $t->agent(token => $token, services => [ 'mine' ], conf =>
        $conf . "[access theirs]\nlocal = 127.0.0.1:$one\nttl = 30m\n");

    is($agent->granted('theirs'), $one, 'beside a service');
    ok(!refuses($agent->port('mine')), 'which is served');

    my $c = connect_to($one);
    syswrite $c, "before\n";
    is(read_line($c), "before\n", 'a connection');

    $agent->write_conf($conf . <<"EOT");
[access theirs]
local = 127.0.0.1:$one
ttl = 30m

[access check]
service = sum
local = 127.0.0.1:$two
ttl = 0
EOT
    $agent->{proc}->kill('HUP');
    ok($agent->logged(qr/read again/), 'read again');
    ok($agent->logged(qr/refuses access to "sum".*1d at most/),
       'a session that is not allowed is refused, and logged')
        or diag($agent->log);

    $agent->write_conf($conf . <<"EOT");
[access theirs]
local = 127.0.0.1:$one
ttl = 30m

[access check]
service = sum
local = 127.0.0.1:$two
EOT
    $agent->{proc}->kill('HUP');
    is($agent->granted('check'), $two, 'another, under a name of its own');

    syswrite $c, "after\n";
    is(read_line($c), "after\n", 'what has not changed is not touched');

    my $r = $t->transfer($two, 10_000);
    is($r->{tail}, "$r->{sent_sha} 10000", 'the new one works');

    $agent->write_conf($conf);
    $agent->{proc}->kill('HUP');
    ok(wait_for(sub { refuses($one) && refuses($two) }),
       'those that are gone are closed');
    is(read_line($c), 'reset', 'with what ran');

    $t->finish;
}


sub connect_listen {
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
           || die "listen: $@";
}


sub read_line {
    my ($s) = @_;

    my $line = '';

    while ($line !~ /\n/) {
        vec(my $rin = '', fileno $s, 1) = 1;
        select($rin, undef, undef, 20) or return 'timed out';
        my $n = sysread $s, $line, 1, length $line;
        return 'reset' if !defined $n;
        return undef if !$n;
    }

    return $line;
}
