#!/usr/bin/perl

# Protects: "access --stdio NAME": stdin and stdout are a connection to a
# service, to its last byte, as ssh's ProxyCommand wants it.  What the agent
# says goes to stderr, and its exit code tells a connection that has ended from
# one that was cut or could not be made.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Select;
use POSIX qw(WNOHANG);
use Test::More;
use ZLTunnel;
use ZLTunnel::Sshd;

my $size = sizes('bytes of bulk', 64 << 20, 8 << 20);

my $t = ZLTunnel->new(workers => 2);
my $serve = $t->token('site');
my $visit = $t->token('alice', 'access=* sessions=8');
$t->start;

my $echo = $t->service('echo');
my $sum = $t->service('sum');
my $reset = $t->service('reset');
my $source = $t->service('source', $size);
my $sshd = $t->free_port;
my $agent = $t->agent(token => $serve, services => [
    "echo:$echo->{port}/private", "sum:$sum->{port}/private",
    "source:$source->{port}/private", "reset:$reset->{port}/private",
    "down:@{[ $t->free_port ]}/private", "ssh:$sshd/private",
    "dns:53/udp/private" ]);

write_file("$t->{dir}/token", "$visit\n", 0600);

my @command = ($ZLTunnel::AGENT, 'access', '--stdio', '--token-file',
               "$t->{dir}/token", '--control', 'none');
my @server = ('--server', $t->url('ws'));

write_file("$t->{dir}/wrong", ZLTunnel::random_token() . "\n", 0600);

subtest 'bytes' => \&bytes;
subtest 'the service ends first' => \&ends;
subtest 'what fails' => \&fails;
subtest 'no threads' => \&threads;
subtest 'ssh' => \&ssh;

$t->finish;


# Apart from what goes to stderr: (exit code, stdout, stderr).

sub stdio {
    my ($input, @args) = @_;

    write_file("$t->{dir}/in", $input);

    my ($rc) = run('sh', '-c', '"$@" < in > out 2> err'
                   =~ s/\b(in|out|err)\b/$t->{dir}\/$1/gr, 'sh', @command,
                   @args);

    return ($rc, slurp("$t->{dir}/out"), slurp("$t->{dir}/err"));
}


sub bytes {
    my ($rc, $out, $err) = stdio('hello', @server, 'echo');
    is($rc, 0, 'a connection: 0');
    is($out, 'hello', 'its bytes');
    is($err, '', 'and not a word');

    ($rc, $out) = stdio('z' x $size, @server, 'sum');
    is($rc, 0, 'bulk to the service: 0');
    like($out, qr/@{[ sha256_hex('z' x $size) ]}/, 'all of it') or diag($out);

    ($rc, $out) = stdio('', @server, 'source');
    is($rc, 0, 'bulk from the service: 0');
    is(length $out, $size, 'all of it, though stdin has ended');

    ($rc, $out, $err) = stdio('hello', '--server', $t->url('wss'), '--ca-file',
                              $t->certs . '/ca.pem', '--log-level', 'info',
                              'echo');
    is($rc, 0, 'over wss: 0');
    is($out, 'hello', 'its bytes, and nothing else on stdout');
    like($err, qr/^\S+ INFO connected as "alice"/m, 'the log is on stderr');
}


# What cannot begin leaves stdin to whoever comes next.

sub threads {
    my $lib = "$ZLTunnel::ROOT/objs/t/threads.so";

    run_ok($ENV{CC} || 'cc', '-shared', '-fPIC', '-O2', '-Wall', '-Wextra',
           '-o', $lib, "$ZLTunnel::ROOT/t/lib/preload/threads.c", '-ldl');
    write_file("$t->{dir}/in", "one\ntwo\n");

    for my $n (1, 2) {
        my ($rc, $out) = run({ env => {
            IN => "$t->{dir}/in", PRELOAD => $lib, THREADS_FAIL => $n,
            ASAN_OPTIONS => 'verify_asan_link_order=0' } },
            'sh', '-c', '{ LD_PRELOAD=$PRELOAD "$@"; echo "code $?"; cat; } < $IN',
            'sh', @command, @server, 'echo');
        like($out, qr/^code 1$/m, "without thread $n: 1");
        like($out, qr/Operation not permitted/, 'the reason');
        like($out, qr/^one\ntwo\n\z/m, 'stdin is as it was') or diag($out);
    }
}


# Whoever has started us ends stdin only when he has seen the end of stdout.

sub ends {
    pipe my $stdin, my $in or die "pipe: $!";
    pipe my $out, my $stdout or die "pipe: $!";

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<&', $stdin;
        open STDOUT, '>&', $stdout;
        open STDERR, '>', "$t->{dir}/err";
        exec @command, @server, 'source' or POSIX::_exit(127);
    }

    close $_ for $stdin, $stdout;

    my $got = 0;
    my $ready = IO::Select->new($out);
    my $n;

    while ($ready->can_read(30) && ($n = sysread $out, my $buf, 1 << 20)) {
        $got += $n;
    }

    is($got, $size, 'all that the service has sent');
    is($n, 0, '.. and the end of stdout, while stdin is open');

    close $in;

    ok(wait_for(sub { waitpid($pid, WNOHANG) == $pid }),
       'the process ends with stdin') or kill KILL => $pid;
    is($?, 0, '.. as a connection that was whole');
    is(slurp("$t->{dir}/err"), '', '.. without a word');
}


sub fails {
    for my $case (
        # what, arguments, exit code, what is told
        [ 'a service that is down', [ @server, 'down' ], 1,
          qr/WARN a connection to "down" failed: the agent could not connect/ ],
        [ 'one that nobody serves', [ @server, 'none' ], 1,
          qr/WARN access to "none": nobody serves "none" yet/ ],
        [ 'one that resets', [ @server, 'reset' ], 1,
          qr/ERROR access to "reset": the connection was cut/ ],
        [ 'no server', [ '--server', 'ws://127.0.0.1:' . $t->free_port,
                         'echo' ], 1,
          qr/WARN the server cannot be reached: .*Connection refused/ ],
        [ 'a wrong token', [ @server, '--token-file', "$t->{dir}/wrong",
                             'echo' ], 2,
          qr/ERROR the server refuses the token: Invalid token/ ],
        [ 'two names', [ @server, 'echo', 'sum' ], 2, qr/--stdio is for one/ ],
        [ 'a local port', [ @server, 'echo:1' ], 2, qr/takes no local port/ ],
        [ '--local', [ @server, '--local', '1', 'echo' ], 2,
          qr/takes the place of --local/ ],
        [ 'UDP', [ @server, 'dns/udp' ], 2, qr/--stdio is for a TCP service/ ],
    ) {
        my ($what, $args, $code, $told) = @$case;
        my ($rc, $out, $err) = stdio('hello', @$args);

        is($rc, $code, "$what: $code");
        is($out, '', "$what: nothing on stdout");
        like($err, $told, "$what: told");
    }
}


sub ssh {
    my $server = ZLTunnel::Sshd->start($t, $sshd) or return;
    my @ssh = ('ssh', $server->options, '-o',
               "ProxyCommand=@command @server %h", $server->user . '@ssh');

    my ($rc, $out) = run(@ssh, 'echo through the tunnel; exit 3');
    is($out, "through the tunnel\n", 'a command, and not a word beside it');
    is($rc, 3, 'with its exit status');

    ($rc, $out) = run({ input => 'z' x 5_000_000 }, @ssh, 'sha256sum');
    is($out, sha256_hex('z' x 5_000_000) . "  -\n", '5 MB by stdin');

    $server->stop;
}
