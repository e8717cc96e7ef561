package ZLTunnel::Nodes;

# Machines for a test: processes in network and mount namespaces of their own,
# on one Ethernet.  Nothing of them has a name outside, so nothing is left
# behind, however the test ends.
#
#     my @nodes = ZLTunnel::Nodes->create('a', 'b') or skip ...;
#     $nodes[0]->run('ip', 'addr');              # (status, output)
#     $nodes[0]->spawn('nginx', 'nginx', ...);   # a ZLTunnel::Proc
#     $nodes[0]{ip}

use strict;
use warnings;

use ZLTunnel::Proc qw(wait_for slurp);

our $why = '';                 # create() gave none


# A keeper sleeps in each of the namespaces.  The first is the Ethernet.

sub create {
    my ($class, @names) = @_;

    if ($> != 0) {
        $why = 'network namespaces need root';
        return;
    }

    my $hub = $class->keeper('hub') or return;
    my @nodes;

    if (!$hub->all([ qw(ip link add br0 type bridge) ],
                   [ qw(ip link set br0 up) ])) {
        $why = "no bridge: $why";
        return;
    }

    for my $name (@names) {
        my $node = $class->keeper($name) or return;
        my $n = push @nodes, $node;

        $node->{hub} = $hub;
        $node->{ip} = "10.77.0.$n";

        $hub->all([ qw(ip link add), "v$n", qw(type veth peer name eth0 netns),
                    $node->{proc}->pid ],
                  [ qw(ip link set), "v$n", qw(master br0 up) ]) or return;
        $node->all([ qw(ip link set lo up) ],
                   [ qw(ip addr add), "$node->{ip}/24", qw(dev eth0) ],
                   [ qw(ip link set eth0 up) ]) or return;
    }

    return @nodes;
}


sub keeper {
    my ($class, $name) = @_;

    my $proc = ZLTunnel::Proc->start(
        name => "namespace $name", out => '/dev/null',
        cmd => [ qw(unshare --net --mount --propagation private sleep 1000) ]);

    my $ok = wait_for(sub {
        return 'exited' unless $proc->running;
        my $exe = readlink('/proc/' . $proc->pid . '/exe') // '';
        return $exe !~ m{/unshare$} && $exe =~ /sleep|coreutils|busybox/;
    }, 10);

    if (!$ok || $ok eq 'exited') {
        $why = 'unshare --net --mount is not allowed';
        return;
    }

    return bless { name => $name, proc => $proc }, $class;
}


sub inside {
    my ($self, @cmd) = @_;

    return ('nsenter', '-t', $self->{proc}->pid, '-n', '-m', '--', @cmd);
}

sub run { my ($self, @cmd) = @_; ZLTunnel::Proc::run($self->inside(@cmd)) }


# All of these commands: whether they have succeeded.

sub all {
    my ($self, @cmds) = @_;

    for my $cmd (@cmds) {
        my ($rc, $out) = $self->run(@$cmd);

        if ($rc != 0) {
            $why = "@$cmd: $out";
            return 0;
        }
    }

    return 1;
}


sub spawn {
    my ($self, $name, $out, @cmd) = @_;

    return ZLTunnel::Proc->start(name => "$name at $self->{name}", out => $out,
                                 cmd => [ $self->inside(@cmd) ]);
}


# As if it lost its power: all that runs in it.

sub kill_all {
    my ($self) = @_;

    my $keeper = $self->{proc}->pid;
    my $net = readlink "/proc/$keeper/ns/net";

    for my $pid (map { m{/proc/(\d+)$} } glob '/proc/[0-9]*') {
        next if $pid == $keeper;
        kill 'KILL', $pid if (readlink("/proc/$pid/ns/net") // '') eq $net;
    }
}


sub stop {
    my ($self) = @_;

    $self->kill_all;
    $self->{proc}->stop('KILL');
    $self->{hub}{proc}->stop('KILL') if $self->{hub}
                                        && $self->{hub}{proc}->running;
}


1;
