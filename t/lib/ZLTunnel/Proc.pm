package ZLTunnel::Proc;

# Child processes of the tests: started with their output in files, waited for
# with a time limit, and none left behind, however the test ends.

use strict;
use warnings;

use Exporter 'import';
use POSIX ();
use Time::HiRes qw(time sleep);

our @EXPORT_OK = qw(slowdown wait_for slurp run run_ok fds sockets has_connection
                    children_of halt);

my %alive;                    # pid => name
my $owner = $$;


# How many times as long as on a machine of its own something may take here:
# what ZLT_SLOW says, for sanitizers, times what else wants the processors.

sub slowdown {
    my ($load) = slurp('/proc/loadavg') =~ /^([\d.]+)/;
    my $processors = () = slurp('/proc/cpuinfo') =~ /^processor\s*:/mg;
    my $share = ($load // 0) / (2 * ($processors || 1));

    return ($ENV{ZLT_SLOW} || 1) * ($share > 1 ? $share : 1);
}


# Polls until the condition gives a true value and returns it; undef when the
# time, in seconds, is over, which slowdown() multiplies.

sub wait_for {
    my ($cond, $timeout) = @_;

    my $end = time + ($timeout // 20) * slowdown();
    my $nap = 0.005;

    while (1) {
        my $value = $cond->();
        return $value if $value;
        return undef if time > $end;

        sleep($nap);
        $nap *= 1.5 if $nap < 0.1;
    }
}


sub slurp {
    my ($file) = @_;

    open my $fh, '<:raw', $file or return '';
    local $/;
    my $content = <$fh>;
    close $fh;

    return $content // '';
}


# Starts a command: name, cmd => [], and optionally out, err (files), env
# => {}, stdin => 1 for a pipe in $proc->{stdin}.

sub start {
    my ($class, %o) = @_;

    my $self = bless { name => $o{name}, out => $o{out}, err => $o{err},
                       cmd => $o{cmd} }, $class;

    my ($rd, $wr);
    pipe $rd, $wr or die "pipe: $!" if $o{stdin};

    my $pid = fork() // die "fork: $!";

    if (!$pid) {
        setpgrp(0, 0);
        $SIG{PIPE} = 'DEFAULT';

        close $wr if $wr;
        open STDIN, $rd ? '<&' : '<', $rd ? $rd : '/dev/null' or die "$!";
        open STDOUT, '>>', $o{out} // '/dev/null' or die "$o{out}: $!";
        open STDERR, '>>', $o{err} // $o{out} // '/dev/null' or die "$!";

        if ($o{env}) {
            $ENV{$_} = $o{env}{$_} for keys %{ $o{env} };
        }

        if ($o{code}) {
            $o{code}->();
            POSIX::_exit(0);
        }

        { no warnings; exec { $o{cmd}[0] } @{ $o{cmd} }; }
        print STDERR "exec $o{cmd}[0]: $!\n";
        POSIX::_exit(127);
    }

    close $rd if $rd;
    if ($wr) {
        $wr->autoflush(1);
        $self->{stdin} = $wr;
    }

    $self->{pid} = $pid;
    $alive{$pid} = $o{name};

    return $self;
}


# A process that is no child of ours, or no longer; its status is not known.

sub adopt {
    my ($class, %o) = @_;

    $alive{ $o{pid} } = $o{name};
    return bless { %o, foreign => 1 }, $class;
}


# Whether there is such a process, other than a zombie.

sub exists_pid {
    my ($pid) = @_;

    return CORE::kill(0, $pid) && slurp("/proc/$pid/stat") !~ /\) Z/;
}


sub pid { $_[0]{pid} }

sub kill { my ($self, $sig) = @_; CORE::kill($sig, $self->{pid}) if $self->running }

sub say { my ($self, $line) = @_; print { $self->{stdin} } "$line\n" }

sub output { slurp($_[0]{out}) }


sub running {
    my ($self) = @_;

    return 0 if defined $self->{status};

    if ($self->{foreign}) {
        return 1 if exists_pid($self->{pid});

        $self->{status} = 0;
        delete $alive{ $self->{pid} };
        return 0;
    }

    if (waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid}) {
        $self->{status} = $?;
        delete $alive{ $self->{pid} };
        return 0;
    }

    return 1;
}


# The exit status as the shell shows it, or undef if it still runs.

sub wait {
    my ($self, $timeout) = @_;

    wait_for(sub { !$self->running }, $timeout);
    return undef unless defined $self->{status};

    my $status = $self->{status};
    return $status & 127 ? 128 + ($status & 127) : $status >> 8;
}


# Ends it: the signal first, SIGKILL if that does not do.  Returns as wait().

sub stop {
    my ($self, $sig, $timeout) = @_;

    close delete $self->{stdin} if $self->{stdin};

    $self->kill($sig // 'TERM');
    my $rc = $self->wait($timeout // 15);

    if (!defined $rc) {
        CORE::kill('KILL', -$self->{pid});
        $self->wait(10);
    }

    return $rc;
}


# Runs a command to its end: (status, output with stderr).  The first argument
# may be a hash: timeout, env, input (bytes for stdin).

sub run {
    my %o = ref $_[0] eq 'HASH' ? %{ shift() } : ();
    my @cmd = @_;

    my ($rd, $wr, $in_rd, $in_wr);
    pipe $rd, $wr or die "pipe: $!";
    pipe $in_rd, $in_wr or die "pipe: $!";

    my $pid = fork() // die "fork: $!";

    if (!$pid) {
        setpgrp(0, 0);
        close $rd;
        close $in_wr;
        open STDIN, '<&', $in_rd or die;
        open STDOUT, '>&', $wr or die;
        open STDERR, '>&', $wr or die;
        $ENV{$_} = $o{env}{$_} for keys %{ $o{env} || {} };

        { no warnings; exec { $cmd[0] } @cmd; }
        print STDERR "exec $cmd[0]: $!\n";
        POSIX::_exit(127);
    }

    $alive{$pid} = $cmd[0];
    close $wr;
    close $in_rd;

    if (defined $o{input}) {
        local $SIG{PIPE} = 'IGNORE';
        print $in_wr $o{input};
    }
    close $in_wr;

    my $out = '';
    my $end = time + ($o{timeout} // 60) * slowdown();

    while (1) {
        my $rin = '';
        vec($rin, fileno $rd, 1) = 1;

        my $left = $end - time;
        my $n = $left > 0 ? select($rin, undef, undef, $left) : 0;

        if ($n <= 0) {
            $out .= "\n(timed out)\n";
            CORE::kill('KILL', -$pid);
            last;
        }

        sysread($rd, $out, 65536, length $out) or last;
    }

    waitpid $pid, 0;
    my $status = $?;
    delete $alive{$pid};

    return ($status & 127 ? 128 + ($status & 127) : $status >> 8, $out);
}


# As run(), but dies unless it ends with 0; returns the output.

sub run_ok {
    my ($rc, $out) = run(@_);
    my @cmd = grep { !ref } @_;

    die "@cmd: exit $rc\n$out" if $rc;
    return $out;
}


# Open descriptors of a process by kind: { socket => N, pipe => N, ... }.

sub fds {
    my ($pid) = @_;

    my %count = (socket => 0, pipe => 0, file => 0, anon_inode => 0);

    opendir my $dh, "/proc/$pid/fd" or return \%count;

    for my $fd (readdir $dh) {
        my $to = readlink "/proc/$pid/fd/$fd" // next;
        $count{ $to =~ /^(socket|pipe|anon_inode):/ ? $1 : 'file' }++;
    }

    return \%count;
}


# Its sockets, as { "socket:[inode]" => 1 }.

sub sockets {
    my ($pid) = @_;

    return { map { $_ => 1 } grep { /^socket:/ }
             map { readlink // () } glob "/proc/$pid/fd/*" };
}


# Whether it has the end at that port of a connection over IPv4's loopback,
# whose other end has the port "peer".

sub has_connection {
    my ($pid, $port, $peer) = @_;

    my $line = sprintf '0100007F:%04X 0100007F:%04X', $port, $peer;
    my ($inode) = map { (split)[9] } grep { /\Q$line\E/ }
                  split /\n/, slurp('/proc/net/tcp');

    return $inode && sockets($pid)->{"socket:[$inode]"};
}


# Stops a process that has done what it was woken for: one that has accepted a
# connection may not have looked at it yet.  One that is asleep in epoll_wait()
# still may be woken for a connection, until it has really stopped.

sub halt {
    my ($pid) = @_;

    wait_for(sub { slurp("/proc/$pid/stat") =~ /\) [ST] / })
        or die 'not asleep';
    CORE::kill('STOP', $pid);
    wait_for(sub { slurp("/proc/$pid/stat") =~ /\) T / }) or die 'not stopped';
}


sub children_of {
    my ($pid) = @_;

    return split ' ', slurp("/proc/$pid/task/$pid/children");
}


# What still runs, by name.

sub left { map { "$alive{$_} ($_)" } sort keys %alive }

sub kill_all {
    return if $$ != $owner;

    for my $pid (keys %alive) {
        CORE::kill('KILL', -$pid) or CORE::kill('KILL', $pid);
        waitpid $pid, 0;
    }

    %alive = ();
}


# An exit status that the test has must survive the clean-up.

END {
    my $status = $?;
    kill_all();
    $? = $status;
}

$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);
$SIG{PIPE} = 'IGNORE';

1;
