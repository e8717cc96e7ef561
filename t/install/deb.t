#!/usr/bin/perl

# Protects: Debian's packages.  They are built without a trace in the tree, hold
# what they should and satisfy lintian; on a machine of their own they install,
# run under its systemd, are upgraded under traffic and lose no connection, and
# go without leaving anything.  ZLT_LONG=1 builds them from the source, and
# installs them on a new Debian.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;
use ZLTunnel::Links;
use ZLTunnel::Root;

my $CLUSTER_CONF = '71-mod-zltunnel-cluster.conf';

plan(skip_all => 'another build is tested')
    if grep { defined $ENV{$_} } qw(TEST_ZLT_AGENT TEST_ZLT_MODULE
                                    TEST_NGINX_BINARY);
plan(skip_all => 'this is not Debian') if !-e '/etc/debian_version';

for my $program (qw(dpkg-buildpackage dh_nginx)) {
    plan(skip_all => "there is no $program")
        if system "command -v $program > /dev/null";
}

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};

my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $before = tree();
my %debs = ZLTunnel::Root::packages($dir, long_run() ? () : 'BUILT=1');
is(tree(), $before, 'make deb leaves no trace in the tree');

my ($module, $agent) = @debs{qw(libnginx-mod-zltunnel zltunnel-agent)};

# which needs hiredis

my $cluster = $debs{'libnginx-mod-zltunnel-cluster'};
is(!!$cluster, !!-e '/usr/include/hiredis/hiredis.h',
   'a package for "cluster" where there is hiredis');

subtest 'what is in them' => \&contents;
subtest 'lintian' => \&lintian;

SKIP: {
    my $why = ZLTunnel::Root::missing();
    skip($why, 1) if $why;

    subtest 'on a machine' => \&machine;
}

done_testing();


sub tree {
    return join '', map { "$_\n" } sort grep { !m{/objs$} }
           glob "$ZLTunnel::ROOT/* $ZLTunnel::ROOT/debian/*";
}


sub contents {
    # for links to Debian's licenses
    run_ok('mkdir', '-p', "$dir/files/usr/share");
    symlink '/usr/share/common-licenses', "$dir/files/usr/share/common-licenses";

    my %has = ($module => [ qw(
        ./usr/lib/nginx/modules/ngx_zltunnel_module.so
        ./usr/share/nginx/modules-available/mod-zltunnel.conf
        ./etc/nginx/zltunnel_error.conf
        ./etc/nginx/zltunnel_proxy.conf
        ./usr/share/zltunnel/dashboard.html
        ./usr/share/man/man8/zltunnel.8.gz
        ./usr/share/doc/libnginx-mod-zltunnel/docs/directives.md) ],
    $agent => [ qw(
        ./usr/bin/zltunnel-agent
        ./etc/zltunnel/agent.conf
        ./lib/systemd/system/zltunnel-agent.service
        ./usr/lib/sysusers.d/zltunnel-agent.conf
        ./usr/share/man/man1/zltunnel-agent.1.gz
        ./usr/share/man/man5/agent.conf.5.gz
        ./usr/share/bash-completion/completions/zltunnel-agent
        ./usr/share/fish/vendor_completions.d/zltunnel-agent.fish
        ./usr/share/zsh/vendor-completions/_zltunnel-agent
        ./usr/share/doc/zltunnel-agent/docs/agent.md
        ./usr/share/doc/zltunnel-agent/examples/agent.conf.example) ]);

    for my $file ($module, $agent) {
        my %there = map { (split)[5] => 1 } qx(dpkg-deb -c $file) =~ /(.+)/g;
        ok($there{$_}, $_) for @{ $has{$file} };

        my ($package) = $file =~ m{([^/_]+)_[^/]*$};
        my $doc = "$dir/files/usr/share/doc/$package";

        run_ok('dpkg-deb', '-x', $file, "$dir/files");
        cmp_ok(scalar documents($doc), '>', 10, "documents in $package");
        is_deeply([ broken_links($doc, $_) ], [], "links of $_")
            for documents($doc);
    }

    like(qx(dpkg-deb -f $module Depends), qr/\bnginx-abi-\S+/,
         'the module is for one nginx');
    like(qx(dpkg-deb -f $module Depends), qr/libnginx-mod-stream/,
         '.. and its stream');
    is(qx(dpkg-deb --ctrl-tarfile $agent | tar -xO ./conffiles),
       "/etc/zltunnel/agent.conf\n", 'one conffile');
    is(qx(dpkg-deb --ctrl-tarfile $module | tar -xO ./conffiles),
       "/etc/nginx/zltunnel_error.conf\n/etc/nginx/zltunnel_proxy.conf\n",
       'what nginx includes may be changed');
    unlike(qx(dpkg-deb -f $agent Depends), qr/nginx/,
           'the agent needs no nginx');
    cluster_contents() if $cluster;
}


sub cluster_contents {
    my %there = map { (split)[5] => 1 } qx(dpkg-deb -c $cluster) =~ /(.+)/g;

    is_deeply([ grep { m{\.(so|conf)$} } sort keys %there ],
              [ './usr/lib/nginx/modules/ngx_zltunnel_cluster_module.so',
                './usr/share/nginx/modules-available/mod-zltunnel-cluster.conf' ],
              'the module for "cluster"');

    my ($version) = qx(dpkg-deb -f $module Version) =~ /(.+)/;
    my $depends = qx(dpkg-deb -f $cluster Depends);

    like($depends, qr/libnginx-mod-zltunnel \(= \Q$version\E\)/,
         '.. beside the other one of the same version');
    like($depends, qr/libhiredis/, '.. and hiredis');
    like($depends, qr/\bnginx-abi-\S+/, '.. for one nginx');
    unlike(qx(dpkg-deb -f $module Depends), qr/hiredis/,
           'the other one needs no hiredis');
}


sub lintian {
    plan(skip_all => 'there is no lintian')
        if system 'command -v lintian > /dev/null';

    my ($rc, $out) = run({ timeout => 300 }, 'lintian', '--fail-on',
                         'error,warning', '--allow-root', $module, $agent,
                         $cluster // ());
    is($rc, 0, 'no complaint') or diag $out;
}


# The same package under a later version.

sub later {
    my ($file) = @_;

    my $tree = "$dir/tree";
    my $new = "$dir/" . ($file =~ s{.*/}{}r) =~ s/_/_later_/r;

    run_ok('sh', '-c', "dpkg-deb -R $file $tree"
           . " && sed -i 's/^Version: .*/&+later/;"
           . " s/mod-zltunnel (= [^)]*/&+later/' $tree/DEBIAN/control"
           . " && dpkg-deb -Zgzip -z1 -b $tree $new && rm -rf $tree");

    return $new;
}


my $root;


# Runs a command in the root; its output.  It must succeed.

sub ok_run {
    my ($command, $name) = @_;

    my ($rc, $out) = $root->run($command);
    is($rc, 0, $name // $command) or diag $out;

    return $out;
}


sub machine {
    $root = ZLTunnel::Root->new(
        dir => $dir, lower => long_run()
            ? ZLTunnel::Root::debian("$dir/lower", 'nginx libnginx-mod-stream'
                                     . ' libuv1 libhiredis0.14'
                                     . ' ca-certificates'
                                     . ' systemd-standalone-sysusers')
            : '/');

    $root->copy($module, '/root/module.deb');
    $root->copy($agent, '/root/agent.deb');
    $root->copy(later($module), '/root/module-later.deb');
    $root->copy(later($agent), '/root/agent-later.deb');

    if ($cluster) {
        $root->copy($cluster, '/root/cluster.deb');
        $root->copy(later($cluster), '/root/cluster-later.deb');
    }

    subtest 'installed' => \&installed;
    subtest 'with "cluster"' => \&clustered if $cluster;
    subtest 'in use' => \&in_use;
    subtest 'upgraded under traffic' => \&upgraded;
    subtest 'removed and purged' => \&removed;

    $root->stop;
}


sub installed {
    ok_run('apt-get install -y nginx', 'nginx') if long_run();
    ok_run(long_run() ? 'apt-get install -y ./module.deb ./agent.deb'
                      : 'dpkg -i module.deb agent.deb', 'installed');

    is(readlink $root->path('/etc/nginx/modules-enabled/70-mod-zltunnel.conf'),
       '/usr/share/nginx/modules-available/mod-zltunnel.conf',
       'the module is enabled, behind stream');
    ok_run('nginx -t', 'nginx loads it');

    like(ok_run('getent passwd zltunnel'), qr/nologin$/, 'a user for the agent');
    isnt(($root->run('systemctl is-active zltunnel-agent'))[0], 0,
         'the agent does not run before it has a server');
    isnt(($root->run('systemctl is-enabled zltunnel-agent'))[0], 0,
         '.. and is not enabled');
}


# The directive, by what is installed: without its package, and with it.

sub clustered {
    $root->write('/etc/nginx/cluster.conf', <<'EOT');
include /etc/nginx/modules-enabled/*.conf;
events {}
zltunnel { cluster redis://127.0.0.1 token_key=zlt:tokens; }
EOT

    my ($rc, $out) = $root->run('nginx -t -c /etc/nginx/cluster.conf');
    isnt($rc, 0, '"cluster" without its package is an error');
    like($out, qr/libnginx-mod-zltunnel-cluster/, '.. that names the package');

    ok_run(long_run() ? 'apt-get install -y ./cluster.deb'
                      : 'dpkg -i cluster.deb', 'installed');
    is(readlink $root->path("/etc/nginx/modules-enabled/$CLUSTER_CONF"),
       '/usr/share/nginx/modules-available/mod-zltunnel-cluster.conf',
       'its module is enabled, behind the other one');
    ok_run('nginx -t -c /etc/nginx/cluster.conf', 'nginx takes "cluster"');
    ok(-e $root->path('/usr/share/doc/libnginx-mod-zltunnel/docs/cluster.md'),
       '.. of which the documents of the other one tell');
}


# A port whose service says what it is told.

sub in_use {
    my ($token, $line) = split /\n/, ok_run('zltunnel-agent token --name home',
                                            'a token');

    $root->write('/etc/nginx/zltunnel.tokens', "$line\n");
    $root->write('/etc/zltunnel/token', "$token\n", 0600);
    ok_run('chown zltunnel: /etc/zltunnel/token', 'the token is the agent\'s');
    $root->write('/etc/nginx/nginx.conf', <<'EOT');
user www-data;
worker_processes 2;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log info;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 1024; }
zltunnel { token_file zltunnel.tokens; }
http {
    server { listen 8000; location = /tunnel/v1 { zltunnel; } }
}
stream {
    server { listen 30000-30009; zltunnel_ports; }
}
EOT
    $root->write('/etc/zltunnel/agent.conf', <<'EOT');
[agent]
server = ws://127.0.0.1:8000
token_file = token
[service echo]
local = 127.0.0.1:7007
remote_port = 30001
EOT

    # only what perl-base has, on both sides

    $root->write('/root/echo.pl', <<'EOT');
use IO::Socket::INET;
$SIG{CHLD} = 'IGNORE';
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1:7007', Listen => 64,
                              ReuseAddr => 1) or die;
while (my $c = $l->accept) {
    next if fork;
    syswrite $c, $_ while sysread $c, $_, 4096;
    exit;
}
EOT
    $root->write('/root/client.pl', <<'EOT');
use IO::Socket::INET;
$| = 1;
my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1:30001') or die "$!\n";
for (my $i = 0; $i == 0 || !-e "/root/enough-$ARGV[0]"; $i++) {
    syswrite $c, "line $i\n";
    my $answer = '';
    sysread $c, $answer, 4096, length $answer or die "cut after $i: $!\n"
        until $answer =~ /\n/;
    die "got $answer" if $answer ne "line $i\n";
    print "$i\n";
    select undef, undef, undef, 0.02;
}
shutdown $c, 1;
my $n = sysread $c, my $rest, 1;
defined $n && $n == 0 or die "no end: $!\n";
print "done\n";
EOT

    $root->start(name => 'echo', command => 'perl echo.pl', out => "$dir/echo");
    ok_run('systemctl restart nginx');
    ok_run('zltunnel-agent check -c /etc/zltunnel/agent.conf');
    ok_run('systemctl enable --now zltunnel-agent');

    ok(connected(), 'it connects');
    # a token of another name, as docs/nodes.md has them

    ok_run('cd /etc/zltunnel && mv token home.token'
           . ' && sed -i "s/= token/= home.token/" agent.conf'
           . ' && systemctl restart zltunnel-agent', 'the token has another name');
    ok(connected(), '.. and it connects');
    ok_run('cd /etc/zltunnel && mv home.token token'
           . ' && sed -i "s/= home.token/= token/" agent.conf'
           . ' && systemctl restart zltunnel-agent', 'and back');
    ok(connected(), '.. and it connects again');

    like(ok_run('grep ^Uid /proc/$(systemctl show -P MainPID zltunnel-agent)/status',
                'its process'), qr/Uid:\s+[1-9]/, 'it is not root');

    one_connection(0);
}


sub connected {
    return wait_for(sub {
        ($root->run('zltunnel-agent status'))[1] =~ /connected/
    });
}


sub one_connection {
    my ($n) = @_;

    $root->write("/root/enough-$n", '');
    is(ok_run("timeout 60 perl client.pl $n"), "0\ndone\n", 'a new connection');
}


sub traffic {
    my ($n) = @_;

    my $client = $root->start(name => "client $n", out => "$dir/client-$n",
                              command => "exec perl client.pl $n");
    ok(goes_on($n), 'traffic') or diag slurp("$dir/client-$n");

    return $client;
}


# Lines come that were not there when it was asked.

sub goes_on {
    my ($n) = @_;

    my $size = -s "$dir/client-$n" // 0;
    return wait_for(sub { (-s "$dir/client-$n" // 0) > $size + 20 });
}


sub enough {
    my ($n, $client) = @_;

    $root->write("/root/enough-$n", '');
    is($client->wait(20), 0, 'its end is the client\'s');
    like(slurp("$dir/client-$n"), qr/done$/, '.. and nothing was lost');
}


sub nginx_pid { return $root->slurp_file('/run/nginx.pid') =~ s/\s//gr }


sub upgraded {
    my $client = traffic(1);
    my $former = nginx_pid();

    ok_run('dpkg -i module-later.deb' . ($cluster ? ' cluster-later.deb' : ''),
           'the module is upgraded');
    ok(goes_on(1), 'the connection goes on');
    isnt(nginx_pid(), $former, 'a new nginx is there');

    my $maps = ok_run('cat /proc/' . nginx_pid() . '/maps');
    like($maps, qr/ngx_zltunnel_module\.so$/m, '.. with the new module');
    like($maps, qr/ngx_zltunnel_cluster_module\.so$/m, '.. and that for "cluster"')
        if $cluster;

    one_connection(2);
    enough(1, $client);

    # what runs is finished by the former agent, for shutdown_timeout

    $client = traffic(3);
    my $pid = ok_run('systemctl show -P MainPID zltunnel-agent');

    my $upgrade = $root->start(name => 'dpkg', command => 'dpkg -i agent-later.deb',
                               out => "$dir/dpkg");
    ok(wait_for(sub {
        ($root->run('journalctl -u zltunnel-agent'))[1] =~ /SIGTERM|told to end|stopping/
    }, 30), 'the agent is upgraded: the former one is told to end')
        or diag slurp("$dir/dpkg");
    ok(goes_on(3), 'the connection goes on');
    enough(3, $client);

    is($upgrade->wait(60), 0, 'the upgrade is over') or diag slurp("$dir/dpkg");
    my $now = ok_run('systemctl show -P MainPID zltunnel-agent');
    ok($now > 0 && $now != $pid, 'another agent runs');
    one_connection(4);

    my $log = $root->slurp_file('/var/log/nginx/error.log');
    unlike($log, qr/\[alert\]|\[emerg\]|open socket/, 'no fault in the log')
        or diag join "\n", $log =~ /(.*(?:alert|emerg|open socket).*)/g;
}


sub removed {
    like(ok_run('cat /etc/zltunnel/agent.conf'), qr/7007/,
         'upgrades have kept the configuration');

    is(ok_run('systemctl is-active zltunnel-agent', 'the agent runs'), "active\n",
       '.. as a service');
    ok_run('dpkg -r zltunnel-agent', 'it is removed');
    isnt(($root->run('grep -l zltunnel-agent /proc/[0-9]*/comm'))[0], 0,
         '.. and runs no longer');
    ok(-e $root->path('/etc/zltunnel/agent.conf'), '.. its file stays');

    if ($cluster) {
        isnt(($root->run('dpkg -r libnginx-mod-zltunnel'))[0], 0,
             'the module for "cluster" needs the other one');
        ok_run('dpkg -P libnginx-mod-zltunnel-cluster', 'it is purged');
        ok(!-l $root->path("/etc/nginx/modules-enabled/$CLUSTER_CONF"),
           '.. and not enabled');
        ok_run('nginx -t', '.. and nginx does without it');
    }

    ok_run('dpkg -r libnginx-mod-zltunnel', 'the module is removed');
    ok(!-l $root->path('/etc/nginx/modules-enabled/70-mod-zltunnel.conf'),
       '.. and is not enabled');

    ok_run('dpkg -P libnginx-mod-zltunnel zltunnel-agent', 'purged');

    for my $file (qw(/etc/zltunnel /usr/bin/zltunnel-agent
                     /etc/nginx/modules-enabled/70-mod-zltunnel.conf
                     /etc/nginx/modules-enabled/70-mod-zltunnel.conf.removed
                     /usr/lib/nginx/modules/ngx_zltunnel_module.so))
    {
        ok(!-e $root->path($file) && !-l $root->path($file), "gone: $file");
    }
}
