#!/usr/bin/perl

# Protects: the main job.  An agent connects, registers services and prints
# where they are; bytes flow; ports are assigned as documented, and a port
# without a service refuses.  With 1 worker, with 4, and without a master.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(ext register);

my @kinds = ([ workers => 1 ], [ workers => 4 ],
             [ workers => 1, master => 'off' ]);

for my $kind (@kinds) {
    my %o = @$kind;
    my $name = $o{master} ? 'no master' : "$o{workers} worker(s)";

    subtest $name => sub { basic($name, %o) };
}

done_testing();


sub basic {
    my ($name, %o) = @_;

    my $t = ZLTunnel->new(%o, range => 6,
                          zltunnel => 'reconnect_grace 2s;');
    my ($web, $fixed, $reserved) = map { $t->free_port } 1 .. 3;

    $t->write_conf(
        http => "log_format none ''; server {
                     listen 127.0.0.1:$web;
                     return 200 \"hello through the tunnel\\n\"; }",
        stream => "log_format tunnel '\$server_port \$zltunnel_service '
                       '\$zltunnel_tunnel \$zltunnel_connection_id '
                       '\$zltunnel_connect_time \$status';
                   access_log $t->{dir}/logs/stream.log tunnel;
                   server { listen 127.0.0.1:$fixed; zltunnel_pass greet; }
                   server { listen 127.0.0.1:$reserved;
                            zltunnel_ports reserved; }");

    my $token = $t->token('alice', 'sessions=3');
    $t->start;

    my $base = $t->{base};
    ok(refuses($_), "port $_ refuses without a service")
        for $base, $base + 5, $reserved;

    my $greet = $t->service('greet');
    my $sum = $t->service('sum');


    # what the agent prints

    my $agent = $t->agent(token => $token, services => [
        "web:$web", "greet:127.0.0.1:$greet->{port}",
        "asked:localhost:$sum->{port}:" . ($base + 3),
        "kept:$sum->{port}:$reserved" ]);

    my $s = $agent->services;
    is($s->{web}{proto}, 'tcp', 'printed: protocol');
    is($s->{web}{local}, "127.0.0.1:$web", 'printed: local address');
    is($s->{asked}{local}, "localhost:$sum->{port}", 'printed: local name');
    is($s->{web}{public}, "127.0.0.1:$base",
       'printed: public address, the lowest port');
    is($s->{greet}{port}, $base + 1, 'the second has the next port');
    is($s->{asked}{port}, $base + 3, 'the port asked for');
    is($s->{kept}{port}, $reserved, 'the reserved port, asked for');


    # bytes

    is(run_ok('curl', '-sS', '--max-time', 20, "http://127.0.0.1:$base/"),
       "hello through the tunnel\n", 'curl');

    for my $port ($base + 1, $fixed) {
        my $c = connect_to($port);
        is(read_line($c), "220 ready\r\n",
           'a service that speaks first to a silent client');
        syswrite $c, "and answers\n";
        is(read_line($c), "and answers\n", 'and goes on');
        shutdown $c, 1;
        is(read_line($c), undef, 'to a clean end');
    }

    my $r = $t->transfer($base + 3, 300_000);
    is($r->{tail}, "$r->{sent_sha} 300000", 'the service had all bytes');
    is($r->{end}, 'eof', 'and the client a clean end');


    # ports without a service

    ok(refuses($base + 2), 'a port between refuses');
    ok(refuses($base + 5), 'the last port refuses');


    # assignment, spoken by hand

    my $c = ZLTunnel::Wire->agent($t, $token, features => 1);

    $c->send_msg(register('p', ext => ext(2, pack 'n', $base + 5)));
    is($c->expect('RegisterOk')->{port}, $base + 5, 'the preferred port');

    $c->send_msg(register('q', ext => ext(2, pack 'n', $base + 5)));
    is($c->expect('RegisterOk')->{port}, $base + 2,
       'another one where it is taken');

    $c->send_msg(register('r', remote => $base + 3));
    my $m = $c->expect('RegisterFail');
    is($m->{code}, 5, 'a port asked for that is taken: code 5');
    like($m->{reason}, qr/port/i, "and a reason: $m->{reason}");

    $c->send_msg(register('r'));
    is($c->expect('RegisterOk')->{port}, $base + 4, 'the last free port');

    $c->send_msg(register('s'));
    $m = $c->expect('RegisterFail');
    is($m->{code}, 4, 'no port is left, reserved ones do not count: code 4');

    $c->send_msg(register('p'));
    is($c->expect('RegisterFail')->{code}, 9, 'the name again: code 9');


    # what the status says

    my $st = $t->status;
    is(scalar @{ $st->{tunnels} }, 2, 'status: two tunnels');
    is($st->{ports}{configured}, 7, 'status: ports configured');
    is($st->{ports}{open}, 7, 'status: ports open');

    my $ss = $t->service_status('asked');
    is($ss->{total}, 1, 'status: connections');
    is($ss->{port}, $base + 3, 'status: port');
    is($ss->{local_port}, $sum->{port}, 'status: local port');
    is($ss->{bytes_in}, 300_000, 'status: bytes in');
    is($ss->{bytes_out}, length("$r->{tail}\n"), 'status: bytes out');


    # what the log says

    my ($id, $time) = (qr/[0-9a-f]{32}/, qr/\d+\.\d{3}/);
    my $log = "$t->{dir}/logs/stream.log";

    ok(wait_for(sub { slurp($log) =~ /^\d+ asked /m }), 'a line is logged');
    like(slurp($log), qr/^@{[ $base + 3 ]} asked alice $id $time 200$/m,
         'stream variables at an assigned port');
    like(slurp($log), qr/^$fixed greet alice $id $time 200$/m,
         'stream variables at zltunnel_pass');


    # Unregister, and an agent that is gone for good

    $c->reset;
    is($agent->stop, 0, 'the agent ends');

    ok(wait_for(sub { refuses($base) && refuses($reserved) }, 20),
       'an agent that stays away loses its ports');

    $t->finish;
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
