#!/usr/bin/perl

# Protects: tunnelled services as the server of a stream upstream, and a
# service of zltunnel_pass that a variable names: bytes, half-close, resets,
# the next agent, backup servers; and PostgreSQL with pgbench through it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

for my $tls (0, 1) {
    subtest(($tls ? 'wss' : 'ws') . ", $_ worker(s)", \&stream, $tls, $_)
        for 1, 4;
}

subtest 'pgbench', \&postgres;

done_testing();


sub stream {
    my ($tls, $workers) = @_;

    my $t = ZLTunnel->new(workers => $workers,
                          zltunnel => 'reconnect_grace 30s;');
    my %p = map { $_ => $t->free_port }
                qw(sum half nobody two spare one other);
    my $log = "$t->{dir}/logs/front.log";

    my $sum = $t->service('sum');
    my $spare = $t->service('sum');
    my ($one, $other) = map { app($t, $_) } qw(one other);

    $t->write_conf(stream => <<"EOT");
log_format front '\$server_port \$status \$upstream_addr \$zltunnel_service '
                 '\$zltunnel_tunnel \$zltunnel_connection_id '
                 '\$zltunnel_connect_time \$bytes_received \$bytes_sent';
access_log $log front;
upstream sum { zltunnel_service sum; }
upstream nobody { zltunnel_service nobody; }
upstream two { zltunnel_service two fail_timeout=1h; }
upstream spare { zltunnel_service nobody;
                 server 127.0.0.1:$spare->{port} backup; }
map \$server_port \$service { $p{one} one; default other; }
server { listen 127.0.0.1:$p{sum}; proxy_pass sum; }
server { listen 127.0.0.1:$p{half}; proxy_pass sum; proxy_half_close on; }
server { listen 127.0.0.1:$p{nobody}; proxy_pass nobody; }
server { listen 127.0.0.1:$p{two}; proxy_pass two; }
server { listen 127.0.0.1:$p{spare}; proxy_pass spare; proxy_half_close on; }
server { listen 127.0.0.1:$p{one}; zltunnel_pass \$service; }
server { listen 127.0.0.1:$p{other}; zltunnel_pass \$service; }
EOT

    my $token = $t->token('alice', 'sessions=2');
    my $bob = $t->token('bob');
    $t->start;
    my $agent = $t->agent(token => $token, tls => $tls, services => [
        "sum:$sum->{port}/private", "one:$one->{port}/private",
        "other:$other->{port}/private",
        'two:' . $t->free_port . '/private' ]);
    my $second = $t->agent(token => $bob, tls => $tls,
                           services => ["two:$one->{port}/private"]);


    # bytes, and the end of one direction

    for my $size (0, 1, 3_000_000) {
        my $r = $t->transfer($p{half}, $size);
        is($r->{tail}, "$r->{sent_sha} $size", "$size bytes, half-closed");
        is($r->{end}, 'eof', 'a clean end');
    }

    ok(wait_for(sub { slurp($log) =~ /^$p{half} 200 .*3000000/m }), 'logged');
    like(slurp($log), qr{^$p{half}\ 200\ alice/sum\ sum\ alice
                         \ [0-9a-f]{32}\ \d+\.\d{3}\ 3000000\ \d+$}mx,
         'with the variables');

    my $st = $t->service_status('sum');
    is($st->{bytes_in}, 3_000_001, 'status: bytes in');
    is($st->{total}, 3, 'status: connections');
    is($st->{active}, 0, 'status: none is open');


    # without proxy_half_close an end of the client is the end: what was sent
    # before it arrives

    my $before = $t->events($sum, 'accept');
    my $s = connect_to($p{sum});
    syswrite $s, 'x' x 100_000;
    close $s;
    ok(wait_for(sub {
        $t->events($sum, 'accept') == $before + 1
        && $t->service_status('sum')->{active} == 0
        && $t->service_status('sum')->{bytes_in} == 3_100_001
    }), 'bytes that were sent before the client left arrive');


    # nobody, and one that cannot be reached

    my $start = time;
    $s = connect_to($p{nobody});
    is(sysread($s, my $buf, 1) || 0, 0, 'nobody has registered the service');
    cmp_ok(time - $start, '<', 3 * slowdown(), 'known at once');

    my @got = map { get($p{two}, '/')->{body} // '' } 1 .. 10;
    is(scalar(grep { /^one / } @got), 10,
       'a service that cannot be reached costs no client');
    ok(wait_for(sub { 10 == (() = slurp($log) =~ /^$p{two} /mg) }), 'logged');
    is(scalar(() = slurp($log) =~ m{^$p{two} 200 alice/two, bob/two}mg), 1,
       'it is set aside');

    my $r = $t->transfer($p{spare}, 10_000);
    is($r->{tail}, "$r->{sent_sha} 10000", 'a backup server');


    # a variable in zltunnel_pass

    like(get($p{one}, '/')->{body}, qr/^one /, 'zltunnel_pass $variable');
    like(get($p{other}, '/')->{body}, qr/^other /, 'of another value');


    # an agent that is killed: a connection is not taken for whole

    $s = connect_to($p{two});
    syswrite $s, "GET /slow?30000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    ok(wait_for(sub { slurp($one->{log}) =~ /^slow/m }), 'one runs');
    kill KILL => $second->pid;
    is(sysread($s, $buf, 1) || 0, 0, 'it ends with its agent');

    $t->finish;
}


sub postgres {
    my ($bin) = map { s{/initdb$}{}r } glob '/usr/lib/postgresql/*/bin/initdb';
    plan skip_all => 'no PostgreSQL' unless $bin;

    my $t = ZLTunnel->new(workers => 4);
    my ($front, $port) = map { $t->free_port } 1 .. 2;
    my $dir = "$t->{dir}/pg";
    my @as = ();

    mkdir $dir;

    if ($> == 0) {
        my ($uid, $gid) = (getpwnam 'postgres')[2, 3];
        plan skip_all => 'no user postgres' unless defined $uid;
        chown $uid, $gid, $dir;
        @as = ('runuser', '-u', 'postgres', '--');
    }

    run_ok({ timeout => 120 }, @as, "$bin/initdb", '-D', "$dir/data", '-A',
           'trust', '-U', 'test', '--no-sync');

    my $pg = ZLTunnel::Proc->start(
        name => 'postgres', out => "$t->{dir}/pg.log",
        cmd => [ @as, "$bin/postgres", '-D', "$dir/data", '-p', $port, '-h',
                 '127.0.0.1', '-k', '', '-F', '-c', 'max_connections=100' ]);
    push @{ $t->{procs} }, $pg;

    my @to = ('-h', '127.0.0.1', '-U', 'test');

    ok(wait_for(sub {
        !(run("$bin/pg_isready", @to, '-p', $port))[0]
    }, 60), 'PostgreSQL is ready');

    $t->write_conf(stream => <<"EOT");
upstream pg { zltunnel_service pg; }
server { listen 127.0.0.1:$front; proxy_pass pg; }
EOT

    my $token = $t->token('alice');
    $t->start;

    for my $tls (0, 1) {
        my $agent = $t->agent(token => $token, tls => $tls,
                              services => ["pg:$port/private"]);

        run_ok({ timeout => 120 }, "$bin/pgbench", @to, '-p', $front, '-i',
               '-s', 2, '-q', 'postgres');

        my $n = sizes('transactions a client', 500, 100);

        for my $each ([], ['-C']) {
            my @n = @$each ? ('-t', int $n / 5) : ('-t', $n);
            my ($rc, $out) = run({ timeout => 300 }, "$bin/pgbench", @to,
                                 '-p', $front, '-c', 10, @n, @$each,
                                 'postgres');
            my $what = ($tls ? 'wss' : 'ws')
                       . (@$each ? ', a connection each' : '');
            is($rc, 0, "pgbench: $what") or diag($out);
            like($out, qr/number of failed transactions: 0 /, 'none failed');
        }

        $agent->stop;
    }

    # its processes are another user's: ask it, do not kill it
    run(@as, "$bin/pg_ctl", '-D', "$dir/data", '-m', 'fast', 'stop');

    $t->finish;
}
