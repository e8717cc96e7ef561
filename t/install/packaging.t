#!/usr/bin/perl

# Protects: what others than Debian make packages and images of.  The spec builds
# packages that have what they should, each step of the images is done on a
# machine of its own and what comes out is what the last one says, recipes for
# pkg-oss and OpenWrt are makefiles that name what is there, and all have the
# version of the agent.  Compiling is for ZLT_LONG=1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;
use ZLTunnel::Root;

my $root = $ZLTunnel::ROOT;
my $packaging = "$root/packaging";
my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};

my ($version) = slurp("$root/agent/base/version.h") =~ /VERSION +"([\d.]+)"/;

subtest 'versions' => \&versions;
subtest 'rpm' => \&rpm;
subtest 'compose.yaml' => \&compose;
subtest 'pkg-oss' => \&pkg_oss;
subtest 'OpenWrt' => \&openwrt;

my $why = ZLTunnel::Root::missing()
          || (grep { defined $ENV{$_} } qw(TEST_ZLT_AGENT TEST_ZLT_MODULE))
          && 'another build is tested';

SKIP: {
    skip($why, 1) if $why;

    subtest 'the image of the agent' => \&agent_image;
    subtest 'the image of nginx' => \&nginx_image if long_run();
}

done_testing();


sub versions {
    my %said = (
        'debian/changelog' => qr/\Azltunnel \(([\d.]+)-/,
        'packaging/rpm/zltunnel.spec' => qr/^Version: +(\S+)/m,
        'packaging/openwrt/Makefile' => qr/^PKG_VERSION:=(\S+)/m,
        'packaging/pkg-oss/contrib/src/zltunnel/version' => qr/:= (\S+)/,
    );

    for my $file (sort keys %said) {
        is((slurp("$root/$file") =~ $said{$file})[0], $version, $file);
    }
}


sub there { return system("command -v $_[0] > /dev/null") == 0 }


sub rpm {
    my $spec = "$packaging/rpm/zltunnel.spec";

    plan(skip_all => 'there is no rpmbuild') if !there('rpmbuild');

    my ($rc, $out) = run('rpmspec', '-P', $spec);
    is($rc, 0, 'the spec is one') or diag $out;

    if (there('rpmlint')) {
        write_file("$dir/rpmlint.toml", qq{Filters = ["no-url-tag", }
                   . qq{"no-buildroot-tag", "no-%clean-section", "hardcoded-library-path",\n}
                   . qq{"invalid-url", "spelling-error"]\n});
        ($rc, $out) = run('rpmlint', '-c', "$dir/rpmlint.toml", $spec);
        is($rc, 0, 'rpmlint') or diag $out;
    }

    return if !long_run();

    ($rc, $out) = run({ timeout => 600 }, 'make', '-C', $root, 'rpm',
                      "RPM=$dir/rpm");
    is($rc, 0, 'make rpm') or diag $out;

    my $files = join '', map { scalar qx(rpm -qpl $_ 2> /dev/null) }
                glob "$dir/rpm/RPMS/*/*.rpm";

    for my $file (qw(/usr/bin/zltunnel-agent /etc/zltunnel/agent.conf
                     /usr/share/nginx/modules/mod-zltunnel.conf
                     /usr/share/doc/zltunnel-agent/docs/jobs/vps.md
                     /usr/share/doc/nginx-mod-zltunnel/docs/agent.md)) {
        like($files, qr/^\Q$file\E$/m, $file);
    }

    like($files, qr{/nginx/modules/ngx_zltunnel_module\.so$}m, 'the module');
}


# What is mounted is there, or token.sh makes it.

sub compose {
    my $docker = "$dir/docker";
    run_ok('cp', '-r', "$packaging/docker", $docker);

    SKIP: {
        skip('there is no openssl', 2) if !there('openssl');

        my ($rc, $out) = run("$docker/token.sh");
        is($rc, 0, 'token.sh') or diag $out;

        my ($token) = slurp("$docker/token.env") =~ /^ZLTUNNEL_TOKEN=(zlt_\S+)$/;
        is(slurp("$docker/zltunnel.tokens"), sha256_hex($token) . " compose\n",
           'both sides of a token');
        is((stat "$docker/token.env")[2] & 077, 0, '.. the secret one kept');
    }

    my $text = slurp("$docker/compose.yaml");
    my @mounted = $text =~ m{^ +- \./(\S+?):/}mg;

    cmp_ok(scalar @mounted, '>=', 5, 'files are mounted');
    ok(-e "$docker/$_", $_) for @mounted, $text =~ /env_file: (\S+)/;
    ok(-e "$root/$_", $_) for $text =~ /dockerfile: ([^\s,}]+)/g;

    my ($rc, $out) = run('docker', 'compose', '-f', "$docker/compose.yaml",
                         'config', '-q');
    if ($rc != 0 && $out =~ /not a docker command|exec docker|unknown/) {
        note('there is no docker compose');
    } else {
        is($rc, 0, 'docker compose config') or diag $out;
    }

    ($rc, $out) = run($ZLTunnel::AGENT, 'check', '-c', "$docker/agent.conf");
    is($rc, 0, 'the agent takes its file') or diag $out;
}


sub pkg_oss {
    for my $recipe (qw(debian/Makefile.module-zltunnel
                       rpm/SPECS/Makefile.module-zltunnel)) {
        write_file("$dir/try.mk", <<"EOT");
CONTRIB = $packaging/pkg-oss/contrib
MODSRC_PREFIX = debian/extra/
MODULE_SUMMARY_PREFIX = nginx
include $packaging/pkg-oss/$recipe
all:
	\@echo '\$(MODULES) \$(MODULE_VERSION_zltunnel) \$(MODULE_CONFARGS_zltunnel)'
	\@echo "\$\$MODULE_POST_zltunnel" | sh
EOT
        my ($rc, $out) = run('make', '-sf', "$dir/try.mk", 'all');
        is($rc, 0, $recipe) or diag $out;
        my $source = "zltunnel-$version";
        like($out, qr{^zltunnel \S+ --add-dynamic-module=\S*\Q$source\E$}m,
             '.. what configure is told');
        like($out, qr{load_module modules/ngx_zltunnel_module\.so;},
             '.. and who installs it');
    }

    ok(-f "$root/config", 'the file that configure reads');
}


# Its rules, with the tools of this machine for those of OpenWrt.

sub openwrt {
    my $recipe = "$packaging/openwrt/Makefile";

    write_file("$dir/rules.mk", "CP = cp -a\nINSTALL_DIR = install -d\n"
               . "INSTALL_BIN = install -m 755\nINSTALL_CONF = install -m 600\n"
               . "TARGET_CC = cc\nTARGET_CFLAGS = -O1\n");
    write_file("$dir/package.mk", <<"EOT");
PKG_BUILD_DIR = $dir/openwrt
define BuildPackage
prepare:
	\$(Build/Prepare)
compile:
	\$(Build/Compile)
package:
	\$(call Package/\$(1)/install,$dir/image)
endef
EOT

    my @make = ('make', '-s', '-C', "$packaging/openwrt", "TOPDIR=$dir",
                "INCLUDE_DIR=$dir", "ZLTUNNEL_SOURCE=$root");

    my ($rc, $out) = run(@make, 'prepare');
    is($rc, 0, 'prepared') or diag $out;

    if (long_run()) {
        ($rc, $out) = run({ timeout => 600 }, @make, 'compile');
        is($rc, 0, 'compiled') or diag $out;

    } else {
        mkdir "$dir/openwrt/objs";
        run_ok('cp', $ZLTunnel::AGENT, "$dir/openwrt/objs/zltunnel-agent");
    }

    ($rc, $out) = run(@make, 'package');
    is($rc, 0, 'packaged') or diag $out;
    like((run("$dir/image/usr/bin/zltunnel-agent", '--version'))[1],
         qr/\Q$version\E/, 'the agent');
    ok(-x "$dir/image/etc/init.d/zltunnel-agent", 'its script');

    ($rc, $out) = run('sh', '-n', "$packaging/openwrt/zltunnel-agent.init");
    is($rc, 0, '.. is one') or diag $out;
}


# The stages of a Dockerfile: [ { from, steps => [ [ KEYWORD, rest ] ] } ].

sub stages {
    my ($file) = @_;

    my @stages;

    for (slurp($file) =~ s/\\\n//gr =~ /^([A-Z]+ .*)$/mg) {
        my ($keyword, $rest) = split ' ', $_, 2;

        if ($keyword eq 'FROM') {
            push @stages, { from => $rest, steps => [] };
        } else {
            push @{ $stages[-1]{steps} }, [ $keyword, $rest ];
        }
    }

    return @stages;
}


# Does the steps of a stage on a machine; a stage from scratch is the folder
# "at" there.  What is copied from the other stage is where that was done.

sub build {
    my ($machine, $stage, %o) = @_;

    for my $step (@{ $stage->{steps} }) {
        my ($keyword, $rest) = @$step;
        my ($rc, $out) = (0, '');

        if ($keyword eq 'RUN') {
            # packages are there, as on this machine, which has no network
            $rest =~ s/^apt-get update && apt-get install (?:-\S+ )*/: /;
            ($rc, $out) = $machine->run($rest, timeout => 600);

        } elsif ($keyword eq 'COPY' && $rest eq '. /src') {
            # a context has no objs; without it everything is compiled
            my $not = long_run() ? '--exclude=./objs' : '--exclude=./objs/deb';
            my $src = $machine->path('/src');

            ($rc, $out) = run('sh', '-c', "mkdir $src && tar -C $root $not"
                              . " -cf - . | tar -C $src -xf -");

        } elsif ($keyword eq 'COPY') {
            my ($owner) = $rest =~ /--chown=(\S+)/;
            my ($from, $to) = grep { !/^--/ } split ' ', $rest;

            ($rc, $out) = $machine->run(
                "mkdir -p \$(dirname $o{at}$to) && cp -a $from $o{at}$to"
                . ($owner ? " && chown $owner $o{at}$to" : ''));

        } elsif ($keyword !~ /^(?:USER|HEALTHCHECK|ENTRYPOINT|CMD|STOPSIGNAL)$/)
        {
            fail("what is $keyword?");
        }

        is($rc, 0, "$keyword " . substr($rest, 0, 60)) or diag $out;
    }

    return map { $_->[0] => $_->[1] } @{ $stage->{steps} };
}


# ["a", "b"]

sub words { return $_[0] =~ /"([^"]*)"/g }


sub agent_image {
    my ($build, $image) = stages("$packaging/docker/agent.Dockerfile");
    my $machine = ZLTunnel::Root->new(dir => $dir);

    build($machine, $build, at => '');
    is($image->{from}, 'scratch', 'from scratch');
    my %last = build($machine, $image, at => '/image');

    my ($uid, $gid) = $last{USER} =~ /^(\d+):(\d+)$/;
    ok($uid, 'not root');

    my $in = "chroot --userspec=$uid:$gid /image";
    my ($program) = words($last{ENTRYPOINT});
    my $run = join ' ', $in, $program, words($last{CMD});
    my $health = join ' ', $in, words($last{HEALTHCHECK});

    # what who runs a container brings

    $machine->run('mkdir -p /image/etc/zltunnel /image/dev'
                  . ' && mount --rbind /dev /image/dev');

    like(($machine->run("$in $program --version"))[1], qr/\Q$version\E/,
         'it runs without a library');
    isnt(($machine->run($health))[0], 0, 'without an agent it is not healthy');

    $machine->write('/image/etc/zltunnel/agent.conf', <<'EOT');
[agent]
server = ws://127.0.0.1:8000
[service app]
local = 8080
EOT
    $machine->start(name => 'agent', out => "$dir/agent",
                    command => "ZLTUNNEL_TOKEN=zlt_0 exec $run");
    ok(wait_for(sub { ($machine->run($health))[0] == 0 }),
       'with one it is') or diag slurp("$dir/agent");

    $machine->stop;
}


sub nginx_image {
    my ($build, $image) = stages("$packaging/docker/nginx.Dockerfile");

    mkdir "$dir/nginx";
    my $machine = ZLTunnel::Root->new(dir => "$dir/nginx");

    build($machine, $build, at => '');
    my %last = build($machine, $image, at => '');

    $machine->copy("$packaging/docker/main.conf",
                   '/etc/nginx/modules-enabled/80-zltunnel.conf');
    $machine->copy("$packaging/docker/http.conf",
                   '/etc/nginx/conf.d/zltunnel.conf');
    $machine->write('/etc/nginx/zltunnel.tokens', '0' x 64 . " compose\n");

    my $health = join ' ', words($last{HEALTHCHECK});
    my ($rc, $out) = $machine->run($health);
    is($rc, 0, 'nginx takes the files of compose.yaml') or diag $out;

    my @cmd = words($last{CMD});
    $machine->start(name => 'nginx', out => "$dir/nginx.out", command =>
                    join ' ', 'exec', map { / / ? "'$_'" : $_ } @cmd);
    ok(wait_for(sub {
        ($machine->run('curl -s http://127.0.0.1:8000/tunnel/v1'))[0] == 0
    }), 'it runs') or diag slurp("$dir/nginx.out");

    $machine->stop;
}
