package ZLTunnel::Nodes;

# Machines for a test: processes in network and mount namespaces of their own,
# on one Ethernet.  Nothing of them has a name outside, so nothing is left
# behind, however the test ends.
#
#     my @nodes = ZLTunnel::Nodes->create('a', 'b') or skip ...;
#     $nodes[0]->run('ip', 'addr');              # (status, output)
#     $nodes[0]->spawn('nginx', 'nginx', ...);   # a ZLTunnel::Proc
#     $nodes[0]{ip}
#
#     $nodes[0]->cut($nodes[1]);                 # nothing passes any more
#     $nodes[0]->mend($nodes[1]);
#     $nodes[0]->cable("down");                # .. to or from anybody
#
# furnish() makes of one a machine on which a document can be done as it says:
# with /etc, /run and the like of its own, nginx and the agent as packages have
# them, host names, and certificates that it trusts.

use strict;
use warnings;

use ZLTunnel::Proc qw(wait_for slurp run_ok);

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

        $node->plug($hub, $n) or return;
    }

    return @nodes;
}


sub plug {
    my ($self, $hub, $n) = @_;

    $self->{hub} = $hub;
    $self->{ip} = "10.77.0.$n";
    $self->{port} = "v$n";

    return $hub->all([ qw(ip link add), "v$n", qw(type veth peer name eth0 netns),
                       $self->{proc}->pid ],
                     [ qw(ip link set), "v$n", qw(master br0 up) ])
           && $self->all([ qw(ip link set lo up) ],
                         [ qw(ip addr add), "$self->{ip}/24", qw(dev eth0) ],
                         [ qw(ip link set eth0 up) ]);
}


# The test itself, on the same Ethernet, as the machine with that number.

sub self {
    my ($class, $hub, $n) = @_;

    my $self = bless { name => 'test', hub => $hub,
                       proc => bless({ pid => $$ }, 'ZLTunnel::Proc') }, $class;

    return $self->plug($hub, $n) && $self;
}


# Nobody is told: what one sends the other goes to a machine that is not there.

sub cut {
    my ($self, $other) = @_;

    my $nobody = '02:00:00:00:77:01';

    return $self->all([ qw(ip neigh replace), $other->{ip}, 'lladdr', $nobody,
                        qw(dev eth0 nud permanent) ])
           && $other->all([ qw(ip neigh replace), $self->{ip}, 'lladdr', $nobody,
                            qw(dev eth0 nud permanent) ]);
}


sub mend {
    my ($self, $other) = @_;

    return $self->all([ qw(ip neigh del), $other->{ip}, qw(dev eth0) ])
           && $other->all([ qw(ip neigh del), $self->{ip}, qw(dev eth0) ]);
}


# Its cable: "down", as if it had lost its power, or "up".

sub cable {
    my ($self, $how) = @_;
    return $self->{hub}->all([ qw(ip link set), $self->{port}, $how ]);
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


# Whether this nginx is where a package has it; what is not is in $why.

sub packaged {
    my $v = (ZLTunnel::Proc::run($ZLTunnel::NGINX, '-V'))[1];

    return 1 if $v =~ m{--conf-path=/etc/nginx/nginx\.conf}
                && $v =~ m{--modules-path=/usr/lib/nginx/modules};

    $why = 'this nginx has not the paths of a package';
    return 0;
}


# Options: dir, where its output goes; hosts => { name => address }; names, of
# a certificate in /etc/nginx/tunnel.pem; files => [ more of them, for /mnt ];
# nodes => [ those to which "scp" copies ].
# Nothing of it is seen outside.

sub furnish {
    my ($self, %o) = @_;

    my $dir = $self->{work} = "$o{dir}/$self->{name}";
    my %hosts = %{ $o{hosts} || {} };
    my $n = 50;

    mkdir $_ for $dir, map { "$dir/$_" } qw(bin modules modules-enabled);

    run_ok('cp', $ZLTunnel::AGENT, "$dir/bin/zltunnel-agent");
    run_ok('cp', "$ZLTunnel::ROOT/t/lib/$_", "$dir/bin") for qw(systemctl scp);
    symlink $ZLTunnel::NGINX, "$dir/bin/nginx";

    for my $file (ZLTunnel::load_modules() =~ /^load_module (\S+);/mg) {
        my ($name) = $file =~ m{([^/]+)$};

        run_ok('cp', $file, "$dir/modules");
        ZLTunnel::write_file("$dir/modules-enabled/$n-$name.conf",
                             "load_module modules/$name;\n");
        $n += 20;
    }

    run_ok('cp', $_, $dir)
        for glob "$ZLTunnel::ROOT/ngx_zltunnel_module/*.conf";
    ZLTunnel::write_file("$dir/hosts", join('', "127.0.0.1 localhost\n",
        map { "$hosts{$_} $_\n" } sort keys %hosts), 0644);

    # by each of their names
    my %keeper = map { ($_->{name} => $_->{proc}->pid,
                        $_->{ip}   => $_->{proc}->pid) } @{ $o{nodes} || [] };
    $keeper{$_} = $keeper{ $hosts{$_} } // 0 for keys %hosts;
    ZLTunnel::write_file("$dir/keepers", join '',
        map { "$_ $keeper{$_}\n" } sort keys %keeper);

    my $ca = ZLTunnel->certs . '/ca';
    my $files = join ' ', @{ $o{files} || [] };

    certificate("$dir/tunnel", $ca, @{ $o{names} || [] });

    my ($rc, $out) = $self->run('sh', '-c', <<"EOT");
set -e
mount -t tmpfs none /mnt
chmod 755 /mnt
cp -r $dir/bin $dir/modules $dir/keepers $files /mnt
cp -a /etc /mnt/etc
mount --bind /mnt/etc /etc
mount --bind /mnt/modules /usr/lib/nginx/modules
rm -rf /etc/nginx/modules-enabled /etc/nginx/sites-enabled /etc/zltunnel
cp -r $dir/modules-enabled $dir/zltunnel_*.conf /etc/nginx
mkdir -p /etc/zltunnel
cp $dir/hosts /etc/hosts
id zltunnel > /dev/null 2>&1 \\
    || useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin zltunnel
cat $ca.pem >> /etc/ssl/certs/ca-certificates.crt
cp $ca.pem /etc/ssl/certs/\$(openssl x509 -hash -noout -in $ca.pem).0
cp $dir/tunnel.* /etc/nginx
for d in /root /run /var/log /var/cache /tmp; do mount -t tmpfs none \$d; done
chmod 1777 /tmp
mkdir -p /var/log/nginx
EOT

    $why = "$self->{name}: $out" if $rc;
    return $rc == 0;
}


sub certificate {
    my ($file, $ca, @names) = @_;

    ZLTunnel::write_file("$file.ext", 'subjectAltName='
                         . join(',', map { "DNS:$_" } 'localhost', @names));
    run_ok(qw(openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes),
           '-keyout', "$file.key", '-out', "$file.csr", '-subj', '/CN=test');
    run_ok(qw(openssl x509 -req -days 30), '-in', "$file.csr", '-CA', "$ca.pem",
           '-CAkey', "$ca.key", '-set_serial', 1 + int rand 1e9, '-extfile',
           "$file.ext", '-out', "$file.pem");
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
