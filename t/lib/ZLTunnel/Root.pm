package ZLTunnel::Root;

# A machine of the test's own, to install in: namespaces with systemd as their
# first process, a loopback of their own, and a tree that nothing else sees.
#
#     my $why = ZLTunnel::Root::missing();
#     my $root = ZLTunnel::Root->new(dir => $dir);
#     my ($rc, $out) = $root->run('apt-get install -y ./x.deb');
#     my $proc = $root->start(name => 'client', command => 'nc ...');
#     $root->copy($file, '/root/x.deb');
#     $root->stop;
#
# The tree is this machine's, with whatever is installed here; or with lower =>
# one that debian() has made, a new one of the smallest kind, for which the mirror
# of this machine is asked.  It takes a minute, and does for several roots.
#
# What is written goes to memory, and is gone with the root.

use strict;
use warnings;

use Time::HiRes qw(sleep);

use ZLTunnel::Proc qw(wait_for slurp);

my $ENTER = __FILE__ =~ s{/ZLTunnel/[^/]*$}{/root/enter.sh}r;
my @UNSHARE = qw(unshare --mount --pid --net --uts --ipc --cgroup --fork
                 --kill-child);


# Why this cannot be had here, or undef.

sub missing {
    return 'not root' if $> != 0;

    for my $program (qw(unshare nsenter dpkg)) {
        return "there is no $program" if system("command -v $program > /dev/null");
    }

    return 'there is no systemd' if !-x '/lib/systemd/systemd';

    my $try = 'd=$(mktemp -d) && mount -t tmpfs x $d && mkdir $d/u $d/w $d/r'
        . ' && mount -t overlay x -o lowerdir=/,upperdir=$d/u,workdir=$d/w $d/r'
        . ' && mount -t cgroup2 x $d/w; s=$?; umount $d/r; umount $d; rmdir $d;'
        . ' exit $s';
    my ($rc) = ZLTunnel::Proc::run(@UNSHARE, 'sh', '-c', $try);

    return $rc == 0 ? undef : 'there are no namespaces with mounts';
}


# Options: dir, an empty directory of the test; lower.

sub new {
    my ($class, %o) = @_;

    my $self = bless { dir => $o{dir}, work => $o{dir} }, $class;
    my $lower = $o{lower} // '/';

    mkdir "$o{dir}/root";

    $self->{proc} = ZLTunnel::Proc->start(
        name => 'root', cmd => [ @UNSHARE, $ENTER, "$o{dir}/root", $lower ],
        out => "$o{dir}/boot.log");

    my ($up) = wait_for(sub {
        ($self->{pid}) = split ' ', slurp(
            "/proc/$self->{proc}{pid}/task/$self->{proc}{pid}/children");
        return $self->{pid}
            && readlink("/proc/$self->{pid}/exe") =~ m{/systemd$}
            && ($self->run('systemctl is-active basic.target'))[0] == 0;
    }, 60);

    die "the root does not start:\n" . slurp("$o{dir}/boot.log") if !$up;

    return $self;
}


# A new Debian in a directory, which it returns, its lists of packages kept, and
# what is named fetched: its root has no network.  Nor have we (ZLTunnel::Net),
# but who has started us has.

sub debian {
    my ($dir, $packages) = @_;

    mkdir $dir;
    chmod 0755, $dir, $dir =~ s{/[^/]*$}{}r;     # apt has a user of its own

    my ($codename) = slurp('/etc/os-release') =~ /^VERSION_CODENAME=(\w+)/m;

    ZLTunnel::Proc::run_ok({ timeout => 600 },
        'nsenter', '--net=' . network(), '--', 'mmdebstrap', '--quiet',
        '--variant=minbase', '--mode=root', '--skip=cleanup/apt', '--include=systemd-sysv,dbus,iproute2,init',
        '--customize-hook=chroot "$1" apt-get install -qq -y --download-only'
        . ' -o APT::Install-Recommends=true ' . $packages, $codename, $dir);

    return $dir;
}


# The namespace of the first process above us whose network is another.

sub network {
    my $ours = readlink '/proc/self/ns/net';
    my $pid = $$;

    while ($pid > 1) {
        my $net = readlink "/proc/$pid/ns/net";
        return "/proc/$pid/ns/net" if $net && $net ne $ours;
        ($pid) = slurp("/proc/$pid/stat") =~ /\) \S (\d+)/ or last;
    }

    return '/proc/self/ns/net';
}


sub inside {
    my ($self, @cmd) = @_;

    return ('nsenter', '--target', $self->{pid}, '--mount', '--pid', '--net',
            '--uts', '--ipc', '--cgroup', '--root', '--wd', '--', 'env', '-i',
            'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
            'HOME=/root', 'LANG=C.UTF-8', 'DEBIAN_FRONTEND=noninteractive',
            @cmd);
}


# Runs a command, of a shell, by root in /root: (status, output with stderr).

sub run {
    my ($self, $command, %o) = @_;

    return ZLTunnel::Proc::run({ timeout => $o{timeout} // 120, %o },
                               $self->inside('sh', '-c', "cd /root\n$command"));
}


# Starts one: name, command, out.

sub start {
    my ($self, %o) = @_;

    return ZLTunnel::Proc->start(%o, cmd => [
        $self->inside('sh', '-c', "cd /root\n$o{command}") ]);
}


# A cable to another one: their addresses.

sub connect {
    my ($self, $other) = @_;

    my @ip = qw(10.78.0.1 10.78.0.2);

    ZLTunnel::Proc::run_ok('ip', 'link', 'add', 'eth0', 'netns', $self->{pid},
                           'type', 'veth', 'peer', 'name', 'eth0',
                           'netns', $other->{pid});

    for ([ $self, $ip[0] ], [ $other, $ip[1] ]) {
        my ($root, $ip) = @$_;
        my ($rc, $out) = $root->run("ip addr add $ip/24 dev eth0"
                                    . ' && ip link set eth0 up');
        die $out if $rc;
    }

    return @ip;
}


# Debian's packages of what was built, in this directory, by name.

sub packages {
    my ($dir, @how) = @_;

    my ($rc, $out) = ZLTunnel::Proc::run({ timeout => 600 },
        'make', '-C', $ZLTunnel::ROOT, 'deb', "DEB=$dir/deb", @how);
    die $out if $rc;

    return map { m{/([^/_]+)_[^/]*$} => $_ } glob "$dir/deb/*.deb";
}


# Where a file of it is for us.

sub path { my ($self, $file) = @_; return "/proc/$self->{pid}/root$file" }

sub slurp_file { my ($self, $file) = @_; return slurp($self->path($file)) }


sub write {
    my ($self, $file, $text, $mode) = @_;

    open my $fh, '>', $self->path($file) or die "$file: $!";
    print $fh $text;
    close $fh or die "$file: $!";
    chmod $mode // 0644, $self->path($file);
}


sub copy {
    my ($self, $from, $to) = @_;

    $self->write($to, slurp($from));
}


sub stop {
    my ($self) = @_;

    my $proc = delete $self->{proc} or return;

    kill 'KILL', $self->{pid} if $self->{pid};
    $proc->stop('KILL');
}


sub DESTROY { my ($self) = @_; $self->stop }


1;
