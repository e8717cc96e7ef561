#!/usr/bin/perl

# Protects: the terminal of whoever is asked for a token.  It shows nothing of
# what is typed then, and shows everything again after each signal that ends
# "zltunnel-agent init" there, which dies of that signal; and while it is
# stopped.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use POSIX qw(:termios_h :sys_wait_h);
use Test::More;
use ZLTunnel;

# of Linux
use constant { TIOCSCTTY => 0x540E, TIOCGPTN => 0x80045430,
               TIOCSPTLCK => 0x40045431 };

my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $token = 'zlt_' . 'a1' x 32;
my %NUMBER = (INT => POSIX::SIGINT, QUIT => POSIX::SIGQUIT,
              TERM => POSIX::SIGTERM, HUP => POSIX::SIGHUP);

delete $ENV{ZLTUNNEL_TOKEN};

subtest 'an answer' => \&answered;
for my $signal (qw(INT QUIT TERM HUP)) {
    subtest "SIG$signal" => \&ended, $signal;
}

subtest 'SIGTSTP' => \&stopped;
subtest 'one that is ignored' => \&ignored;

done_testing();


# The agent at a terminal of its own, as a shell has it there: its process
# group in front, and somebody who waits for it.

sub ask {
    my (%ignore) = map { $_ => 'IGNORE' } @_;

    open my $master, '+<', '/dev/ptmx' or die "ptmx: $!";
    my $n = pack 'i', 0;
    ioctl $master, TIOCSPTLCK, $n or die "unlock: $!";
    ioctl $master, TIOCGPTN, $n or die "number: $!";
    my $name = '/dev/pts/' . unpack 'i', $n;

    pipe my $rd, my $wr or die "pipe: $!";
    my $shell = fork() // die "fork: $!";

    if (!$shell) {
        close $_ for $rd, $master;
        POSIX::setsid();
        open my $tty, '+<', $name or POSIX::_exit(1);
        ioctl $tty, TIOCSCTTY, my $zero = 0;
        shell($tty, $wr, \%ignore);
        POSIX::_exit(0);
    }

    close $wr;
    my $proc = ZLTunnel::Proc->adopt(pid => $shell, name => 'shell');
    my $tty = { master => $master, rd => $rd, proc => $proc, seen => '' };

    $tty->{pid} = told($tty);
    ok(wait_for(sub { seen($tty) =~ /The token: / }), 'the token is asked for')
        or diag($tty->{seen});
    ok(!echoes($tty), 'the terminal does not show it');

    return $tty;
}


sub shell {
    my ($tty, $wr, $ignore) = @_;

    my $pid = fork() // POSIX::_exit(1);

    if (!$pid) {
        $SIG{TTOU} = 'IGNORE';
        setpgrp 0, 0;
        POSIX::tcsetpgrp(fileno $tty, $$);
        $SIG{$_} = $ignore->{$_} // 'DEFAULT' for keys %NUMBER, qw(TSTP TTOU);
        POSIX::dup2(fileno $tty, $_) for 0 .. 2;
        exec $ZLTunnel::AGENT, 'init', '--server', 'ws://127.0.0.1',
             '--service', 'web:80', '--dir', $dir, '--force'
            or POSIX::_exit(1);
    }

    syswrite $wr, pack 'i', $pid;

    while (waitpid($pid, WUNTRACED) == $pid) {
        syswrite $wr, pack 'i', ${^CHILD_ERROR_NATIVE};
        last if !WIFSTOPPED(${^CHILD_ERROR_NATIVE});
    }
}


# The next number from the shell: the agent's process, then its states.

sub told {
    my ($tty) = @_;

    vec(my $rin = '', fileno $tty->{rd}, 1) = 1;
    select $rin, undef, undef, 20 * ZLTunnel::Proc::slowdown() or return -1;

    my $n = sysread $tty->{rd}, my $buf, 4;
    return $n ? unpack 'i', $buf : -1;
}


sub seen {
    my ($tty) = @_;

    vec(my $rin = '', fileno $tty->{master}, 1) = 1;

    if (select $rin, undef, undef, 0) {
        sysread $tty->{master}, $tty->{seen}, 4096, length $tty->{seen};
    }

    return $tty->{seen};
}


sub echoes {
    my ($tty) = @_;

    my $termios = POSIX::Termios->new;
    $termios->getattr(fileno $tty->{master});

    return $termios->getlflag & ECHO;
}


sub answered {
    my $tty = ask();

    syswrite $tty->{master}, "$token\n";
    my $status = told($tty);
    ok(WIFEXITED($status) && WEXITSTATUS($status) == 0, 'exit code 0');
    ok(echoes($tty), 'the terminal shows what is typed again');
    is(slurp("$dir/token"), "$token\n", 'the token is written');
    unlike(seen($tty), qr/$token/, 'and was not shown');
}


# From the keyboard where there is a key for it.

sub ended {
    my ($signal) = @_;

    my $tty = ask();
    my $key = { INT => "\003", QUIT => "\034" }->{$signal};

    if ($key) {
        syswrite $tty->{master}, $key;

    } else {
        kill $signal, $tty->{pid};
    }

    my $status = told($tty);
    ok(WIFSIGNALED($status) && WTERMSIG($status) == $NUMBER{$signal},
       'it dies of that') or diag($status);
    ok(echoes($tty), 'the terminal shows what is typed again');
}


sub stopped {
    my $tty = ask();

    for my $time (1, 2) {
        syswrite $tty->{master}, "\032";
        ok(WIFSTOPPED(told($tty)), "it stops ($time)");
        ok(echoes($tty), 'the terminal shows what is typed again');

        $tty->{seen} = '';
        kill 'CONT', $tty->{pid};
        ok(wait_for(sub { seen($tty) =~ /The token: / }), 'it asks again');
        ok(!echoes($tty), 'the terminal does not show it');
    }

    syswrite $tty->{master}, "$token\n";
    my $status = told($tty);
    ok(WIFEXITED($status) && WEXITSTATUS($status) == 0, 'exit code 0')
        or diag(seen($tty));
    ok(echoes($tty), 'the terminal shows what is typed again');
}


# "nohup" goes on.

sub ignored {
    my $tty = ask('HUP');

    kill 'HUP', $tty->{pid};
    syswrite $tty->{master}, "$token\n";
    my $status = told($tty);
    ok(WIFEXITED($status) && WEXITSTATUS($status) == 0, 'exit code 0');
    ok(echoes($tty), 'the terminal shows what is typed again');
}
