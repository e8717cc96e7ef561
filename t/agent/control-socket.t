#!/usr/bin/perl

# Protects: the control socket.  It belongs to the agent's user from its first
# moment; nobody else gets an answer; one that was left behind is replaced, one
# that is served is not stolen; and whatever is said to it, by however many and
# however slowly, the tunnels go on and the next one who asks is answered.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Fcntl ':mode';
use File::Temp ();
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Wire;

my $bin = $ZLTunnel::AGENT;
my $dir = File::Temp::tempdir(CLEANUP => 1);
chmod 0755, $dir;

my $t = ZLTunnel->new(workers => 1, range => 4);
my $token = $t->token('alice', 'sessions=8');
$t->start;

my $echo = $t->service('echo');
my $sock = "$dir/agent.sock";
my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                      control => $sock);

subtest 'permissions' => \&permissions;
subtest 'other users' => \&others;
subtest 'garbage' => \&garbage;
subtest 'slow clients' => \&slow;
subtest 'many clients' => \&many;
subtest 'who has it' => \&owners;
subtest 'default places' => \&places;

$t->finish;


sub ask {
    my ($text, %o) = @_;

    my $s = IO::Socket::UNIX->new(Peer => $o{path} // $sock,
                                  Type => SOCK_STREAM) or return undef;
    syswrite $s, $text;
    shutdown $s, 1 if $o{shut};

    return answer($s);
}


sub answer {
    my ($s) = @_;

    my $answer = '';
    my $end = time + 20 * slowdown();

    while (time < $end) {
        vec(my $rin = '', fileno $s, 1) = 1;
        select($rin, undef, undef, 1) or next;
        my $n = sysread $s, $answer, 65536, length $answer;
        return 'reset' if !defined $n;
        return $answer if !$n;
    }

    return 'nothing';
}


sub alive { ($agent->link->{state} // '') eq 'connected' }


sub permissions {
    my @st = stat $sock;
    ok(S_ISSOCK($st[2]), 'it is there');
    is($st[2] & 07777, 0600, 'mode 0600');
    is($st[4], $>, 'of the agent\'s user');

    # a mask that lets everything pass does not show, and not in between

    my $second = "$dir/second.sock";
    my @trace = (run('strace', '-V'))[0] == 0
                ? ('strace', '-f', '-o', "$dir/trace", '-e',
                   'trace=umask,bind,chmod,fchmod') : ();
    my @cmd = (@trace, $bin, 'connect', '--server', $t->url('ws'),
               '--token-file', $agent->{token_file}, '--service', 'x:1',
               '--control', $second);

    my $a = ZLTunnel::Proc->start(name => 'second', cmd => [ 'sh', '-c',
                                  'umask 0; exec "$@"', 'sh', @cmd ],
                                  out => "$dir/second.log");
    ok(wait_for(sub { -S $second }, 20), 'another socket');
    is((stat $second)[2] & 07777, 0600, 'mode 0600 with a mask of 0');

    kill 'TERM', @trace ? children_of($a->pid) : $a->pid;
    $a->wait(20);

    SKIP: {
        skip('there is no strace', 1) if !@trace;
        skip('only root sees what the agent says to the kernel', 1) if $> != 0;
        like(slurp("$dir/trace"),
             qr/umask\(0?177\).*\n.*bind\(\d+, \{sa_family=AF_UNIX/,
             'bound under a mask, not mended afterwards');
    }
}


sub others {
    if ($> != 0) {
        plan(skip_all => 'only root can be somebody else');
    }

    my @nobody = ('setpriv', '--reuid=65534', '--regid=65534',
                  '--clear-groups');

    if ((run(@nobody, 'true'))[0] != 0) {
        plan(skip_all => 'setpriv cannot change the user here');
    }

    # the program must be where nobody may read it

    my $copy = "$dir/zltunnel-agent";
    run_ok('cp', $bin, $copy);
    chmod 0755, $copy;

    my ($rc, $out) = run(@nobody, $copy, 'status', '--control', $sock);
    is($rc, 1, 'another user: exit 1');
    like($out, qr/[Pp]ermission denied/, 'kept out by the mode');

    chmod 0666, $sock;
    ($rc, $out) = run(@nobody, $copy, 'status', '--control', $sock);
    is($rc, 1, 'with the mode opened: exit 1');
    like($out, qr/only the agent's user and root/, 'by who it is');
    unlike($out, qr/connected/, 'and told nothing');

    ($rc, $out) = run(@nobody, $copy, 'stop', 'agent', '--control', $sock);
    is($rc, 1, 'and may not stop anything');
    ok(alive(), 'the tunnel is there');
    ok($agent->logged(qr/another user is refused/), 'which is logged');
    chmod 0600, $sock;

    # root may ask the agent of another user

    my $home = "$dir/nobody";
    mkdir $home;
    chown 65534, 65534, $home;
    write_file("$home/token", "$token\n", 0600);
    chown 65534, 65534, "$home/token";

    my $theirs = ZLTunnel::Proc->start(
        name => 'theirs', out => "$dir/theirs.log",
        env => { ASAN_OPTIONS => 'detect_leaks=0' },
        cmd => [ @nobody, $copy, 'connect', '--server', $t->url('ws'),
                 '--token-file', "$home/token", '--service', "n:$echo->{port}",
                 '--control', "$home/sock" ]);
    ok(wait_for(sub {
        my ($rc, $out) = run($bin, 'status', '--control', "$home/sock");
        return $rc == 0 && $out =~ /connected/;
    }, 20), 'root may ask') or diag(slurp("$dir/theirs.log"));
    is($theirs->stop, 0, 'theirs ends');
}


sub garbage {
    like(ask("status json\n"), qr/^OK \d+\n\{.*\}\n\z/s, 'the protocol');

    my ($len, $body) = ask("status text\n") =~ /^OK (\d+)\n(.*)\z/s;
    is($len, length $body, 'the length is that of the body');

    my $noise = join '', map { chr int rand 256 } 1 .. 5000;
    my %cases = (
        'an empty line' => [ "\n", qr/^FAIL \d+\n.*empty/ ],
        'blanks' => [ "   \n", qr/^FAIL \d+\n.*empty/ ],
        'an unknown request' => [ "fly away\n", qr/^FAIL \d+\n.*"fly"/ ],
        'too few words' => [ "stop\n", qr/^FAIL \d+\n.*few/ ],
        'too many words' => [ "reload now\n", qr/^FAIL \d+\n.*many/ ],
        'far too many' => [ 'a ' x 50 . "\n", qr/^FAIL \d+\n.*many/ ],
        'no such tunnel' => [ "stop x\n", qr/^FAIL \d+\n.*"x"/ ],
        'a format unknown' => [ "status xml\n", qr/^FAIL \d+\n.*json/ ],
        'NUL' => [ "status\0 json\n", qr/^FAIL \d+\n.*text/ ],
        'escapes' => [ "\e[2Jstatus\n", qr/^FAIL \d+\n.*text/ ],
        'a line without an end' => [ 'x' x 5000, qr/^FAIL \d+\n.*1024/ ],
        'HTTP' => [ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", qr/^FAIL/ ],
        'noise' => [ $noise =~ s/\n//gr . "\n", qr/^FAIL/ ],
        'more behind the line' => [ "status text\n" . $noise x 20,
                                    qr/^OK \d+\nNAME/ ],
    );

    for my $name (sort keys %cases) {
        my ($text, $re) = @{ $cases{$name} };
        like(ask($text), $re, $name);
    }

    is(ask('status', shut => 1), '', 'an end without a line: closed');
    like(ask("status text\n", shut => 1), qr/^OK/,
         'one that says no more is answered');

    # each byte for itself

    my $s = IO::Socket::UNIX->new(Peer => $sock, Type => SOCK_STREAM);
    for my $byte (split //, "status json\n") {
        syswrite $s, $byte;
        sleep 0.005;
    }
    like(answer($s), qr/^OK/, 'a byte at a time');

    # gone before the answer

    for (1 .. 50) {
        my $s = IO::Socket::UNIX->new(Peer => $sock, Type => SOCK_STREAM);
        syswrite $s, "status json\n";
        close $s;
    }

    ok(alive(), 'the tunnel is there');
}


# Who says nothing, or does not take its answer, is sent away after a while.

sub slow {
    my @s = map { IO::Socket::UNIX->new(Peer => $sock, Type => SOCK_STREAM) }
            1 .. 3;
    syswrite $s[1], 'stat';

    my $start = time;
    ok(alive(), 'others are served meanwhile');
    cmp_ok(time - $start, '<', 3, 'at once');

    like(answer($s[$_]), qr/^FAIL \d+\n.*within/, "silent client $_ is told")
        for 0 .. 2;
    cmp_ok(time - $start, '<', 15 * slowdown(), 'in time');
}


sub many {
    my $fds = fds($agent->pid)->{socket};
    my $start = time;

    my @s = map {
        my $s = IO::Socket::UNIX->new(Peer => $sock, Type => SOCK_STREAM);
        syswrite $s, "status json\n" if $s;
        $s;
    } 1 .. 50;
    is(scalar(grep { defined && answer($_) =~ /^OK/ } @s), 50,
       '50 clients at once');
    cmp_ok(time - $start, '<', 10 * slowdown(), 'soon');

    # more than it takes at a time, all silent: one who asks has to wait for
    # them, and is answered

    my @silent = map {
        IO::Socket::UNIX->new(Peer => $sock, Type => SOCK_STREAM)
    } 1 .. 100;
    is(scalar(grep { defined } @silent), 100, '100 silent ones');
    cmp_ok(fds($agent->pid)->{socket}, '<=', $fds + 70,
           'do not take more of its descriptors than it gives');

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('tunnel');
    is($c->take(6, 10), 'tunnel', 'the tunnel does not wait');
    $c->close;

    ok(alive(), 'who asks is answered');
    @silent = ();

    ok(wait_for(sub { fds($agent->pid)->{socket} <= $fds }, 20),
       'no descriptor is left');
}


sub connect_with {
    my ($path) = @_;

    unlink "$dir/another.log";

    return ZLTunnel::Proc->start(
        name => 'another', out => "$dir/another.log",
        cmd => [ $bin, 'connect', '--server', $t->url('ws'), '--token-file',
                 $agent->{token_file}, '--service', "o:$echo->{port}",
                 '--control', $path ]);
}


sub owners {
    my $inode = (stat $sock)[1];
    my $a = connect_with($sock);
    is($a->wait(10), 1, 'a socket that is served is not stolen: exit 1');
    like(slurp("$dir/another.log"), qr/\Q$sock\E.*another agent has it/,
         'and told');
    is((stat $sock)[1], $inode, 'it is the same one');
    ok(alive(), 'and served');

    # of somebody else, who knows no lock

    my $foreign = "$dir/foreign.sock";
    my $listen = IO::Socket::UNIX->new(Local => $foreign, Listen => 1,
                                       Type => SOCK_STREAM);
    $a = connect_with($foreign);
    is($a->wait(10), 1, 'nor one of another program');
    like(slurp("$dir/another.log"), qr/another process has it/, 'told');
    close $listen;
    ok(-S $foreign, 'it is still there');

    # left behind

    $a = connect_with($foreign);
    ok(wait_for(sub { (ask("status text\n", path => $foreign) // '')
                      =~ /^OK.*connected/s }, 20),
       'one that nobody serves is replaced');
    $a->kill('KILL');
    $a->wait(10);
    ok(-S $foreign, 'a killed agent leaves its socket');
    $a = connect_with($foreign);
    ok(wait_for(sub { (ask("status text\n", path => $foreign) // '')
                      =~ /^OK.*connected/s }, 20), 'the next one takes it');
    is($a->stop, 0, 'and ends');
    ok(!-e $foreign, 'without leaving one');

    # two at once

    my @two = map { connect_with($foreign) } 1 .. 2;
    ok(wait_for(sub { grep { !$_->running } @two }, 20), 'of two at once');
    is(scalar(grep { $_->running } @two), 1, 'one has it');
    $_->stop for @two;

    # no socket

    write_file("$dir/file", "precious\n");
    $a = connect_with("$dir/file");
    is($a->wait(10), 1, 'a file is not replaced');
    is(slurp("$dir/file"), "precious\n", 'nor touched');

    $a = connect_with("$dir/no/such/dir.sock");
    is($a->wait(10), 1, 'no directory: exit 1');

    $a = connect_with('x' x 200);
    is($a->wait(10), 1, 'a path too long: exit 1');

    # while an agent finishes what runs, the next one has its socket

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('x');
    $c->take(1);
    $agent->{proc}->kill('TERM');
    ok(wait_for(sub { !-e $sock }, 10), 'an agent that ends gives it up');
    my $old = $agent->{proc};
    $agent->launch;
    ok($agent->in_state('agent', 'connected'), 'for the next one');
    $c->close;
    is($old->wait(20), 0, 'the former one ends');
    ok(alive(), 'and does not take it along');

    my ($rc, $out) = run($bin, 'status', '--control', "$dir/nobody.sock");
    is($rc, 1, 'no agent: exit 1');
    like($out, qr/no agent answers at \Q$dir\E/, 'told');
}


sub places {
    my %env = (XDG_RUNTIME_DIR => "$dir/xdg", RUNTIME_DIRECTORY => "$dir/run");
    mkdir $_ for values %env;

    my $start = sub {
        my ($env) = @_;
        unlink "$dir/another.log";
        return ZLTunnel::Proc->start(
            name => 'another', out => "$dir/another.log", env => $env,
            cmd => [ $bin, 'connect', '--server', $t->url('ws'),
                     '--token-file', $agent->{token_file}, '--service',
                     "o:$echo->{port}" ]);
    };

    my $a = $start->({ %env });
    ok(wait_for(sub { -S "$dir/run/agent.sock" }, 10),
       'where systemd has made a directory for it');
    is($a->stop, 0, 'ends');

    $a = $start->({ RUNTIME_DIRECTORY => "$dir/none" });
    ok(wait_for(sub { slurp("$dir/another.log") =~ /is registered|->/ }, 10),
       'without a place it runs all the same');
    like(slurp("$dir/another.log"), qr/no control socket/, 'and says so');
    is($a->stop, 0, 'ends');

    $a = connect_with('none');
    ok(wait_for(sub { slurp("$dir/another.log") =~ /->/ }, 10),
       'none: it runs');
    is($a->stop, 0, 'ends');
}
