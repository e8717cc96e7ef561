#!/usr/bin/perl

# Protects: programs that people use work through the tunnel: ssh with a real
# sshd, redis-cli and redis-benchmark, iperf3 in both directions, curl.  Each
# is skipped with a note where it is not installed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP ();
use Test::More;
use ZLTunnel;
use ZLTunnel::Middle qw(installed);
use ZLTunnel::Proc;
use ZLTunnel::Sshd;

for my $scheme (qw(ws wss)) {
    subtest $scheme => sub { clients($scheme) };
}

done_testing();


sub clients {
    my ($scheme) = @_;

    my $t = ZLTunnel->new(workers => 2);
    my $token = $t->token('alice');
    $t->start;

    my %local = map { $_ => $t->free_port } qw(ssh redis iperf curl);
    my $agent = $t->agent(
        token => $token, tls => $scheme eq 'wss',
        services => [ map { "$_:$local{$_}" } sort keys %local ]);
    my %port = map { $_ => $agent->port($_) } keys %local;

    subtest 'ssh' => sub { ssh($t, $local{ssh}, $port{ssh}) };
    subtest 'redis' => sub { redis($t, $local{redis}, $port{redis}) };
    subtest 'iperf3' => sub { iperf($t, $local{iperf}, $port{iperf}) };
    subtest 'curl' => sub { curl($t, $local{curl}, $port{curl}) };

    $t->finish;
}


sub listening {
    my ($port) = @_;
    return wait_for(sub { connect_to($port) }, 20);
}


sub ssh {
    my ($t, $local, $port) = @_;

    my $sshd = ZLTunnel::Sshd->start($t, $local) or return;
    my @ssh = ('ssh', '-p', $port, $sshd->options,
               $sshd->user . '@127.0.0.1');

    my ($rc, $out) = run(@ssh, 'echo through the tunnel');
    is($out, "through the tunnel\n", 'a command');
    is($rc, 0, 'with its exit status');

    ($rc, $out) = run({ input => 'z' x 5_000_000 }, @ssh, 'sha256sum; exit 7');
    is($out, sha256_hex('z' x 5_000_000) . "  -\n", '5 MB by stdin');
    is($rc, 7, 'with its exit status');

    $sshd->stop;
}


sub redis {
    my ($t, $local, $port) = @_;

    plan(skip_all => 'no redis-server, redis-cli and redis-benchmark here')
        unless installed('redis-server') && installed('redis-cli')
               && installed('redis-benchmark');

    my $proc = $t->spawn('redis', 'redis-server', '--port', $local, '--bind',
                         '127.0.0.1', '--save', '', '--appendonly', 'no',
                         '--dir', $t->{dir});
    if (!listening($local)) {
        diag($t->tails);
        return fail('redis-server listens');
    }

    my @cli = ('redis-cli', '-p', $port);

    is(run_ok(@cli, 'SET', 'key', 'tunnelled'), "OK\n", 'SET');
    is(run_ok(@cli, 'GET', 'key'), "tunnelled\n", 'GET');

    # 50 connections, 20 of them to a pipeline
    my ($rc, $out) = run({ timeout => 120 }, 'redis-benchmark', '-p', $port,
                         '-t', 'set,get,incr', '-n', 10_000, '-c', 50, '-q');
    is($rc, 0, 'redis-benchmark');
    like($out, qr/GET: \d+.* requests per second/, 'all of it') or diag($out);

    ($rc, $out) = run({ timeout => 120 }, 'redis-benchmark', '-p', $port,
                      '-t', 'set,get', '-n', 50_000, '-c', 20, '-P', 50, '-d',
                      1000, '-q');
    is($rc, 0, 'redis-benchmark with a pipeline');
    like($out, qr/GET: \d+.* requests per second/, 'all of it') or diag($out);

    $proc->stop;
}


sub iperf {
    my ($t, $local, $port) = @_;

    plan(skip_all => 'no iperf3 here') unless installed('iperf3');

    # its word for it: a connection would be a test, and the next one be reset

    my $proc = $t->spawn('iperf3', 'iperf3', '-s', '-B', '127.0.0.1', '-p',
                         $local, '--forceflush');
    wait_for(sub { $proc->output =~ /^Server listening/m })
        or return fail('iperf3 listens');

    for my $way ([ 'to the service' ], [ 'from the service', '-R' ],
                 [ 'four streams', '-P', 4 ]) {
        my ($name, @args) = @$way;

        # the server may still be at the test before
        my ($rc, $out);
        wait_for(sub {
            ($rc, $out) = run({ timeout => 60 }, 'iperf3', '-c', '127.0.0.1',
                              '-p', $port, '-t', 1, '-J', @args);
            return $out !~ /busy/;
        });

        is($rc, 0, "$name: no error") or diag($out);
        my $r = eval { JSON::PP::decode_json($out) } || {};
        my $rate = $r->{end}{sum_received}{bits_per_second} // 0;
        cmp_ok($rate, '>', 1e6, sprintf '%s: %.1f Gbit/s', $name, $rate / 1e9);
    }

    $proc->stop;
}


# A web server in Perl: answers each request on its connection.

sub curl {
    my ($t, $local, $port) = @_;

    plan(skip_all => 'no curl here') unless installed('curl');

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
                                       LocalPort => $local, ReuseAddr => 1);
    my $proc = ZLTunnel::Proc->start(name => 'web', code => sub {
        while (my $s = $listen->accept) {
            my ($head, $body) = ('', '');

            while ($head !~ /\r\n\r\n/) {
                sysread $s, $head, 4096, length $head or last;
            }

            ($head, $body) = split /\r\n\r\n/, $head, 2;
            my ($len) = $head =~ /^Content-Length: (\d+)/mi;

            while (length $body < ($len // 0)) {
                sysread $s, $body, 65536, length $body or last;
            }

            my $answer = sha256_hex($body) . "\n";
            print $s "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
                     . length($answer) . "\r\n\r\n$answer";
        }
    });
    push @{ $t->{procs} }, $proc;
    close $listen;

    my $url = "http://127.0.0.1:$port/";
    is(run_ok('curl', '-sS', '--max-time', 30, $url), sha256_hex('') . "\n",
       'GET');

    write_file("$t->{dir}/upload", 'u' x 3_000_000);
    is(run_ok('curl', '-sS', '--max-time', 30, '-H', 'Expect:',
              '--data-binary', "\@$t->{dir}/upload", $url),
       sha256_hex('u' x 3_000_000) . "\n", 'POST of 3 MB');
}
