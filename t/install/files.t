#!/usr/bin/perl

# Protects what packagers and administrators meet first: "make install" puts
# each file where it belongs, below DESTDIR only, the unit names the program
# that was installed, systemd finds no fault with it, and a second "make" has
# nothing to do.  Links of documents lead somewhere where they are installed, too.
# What is installed is stripped, unless one asks for it whole; "make uninstall"
# leaves nothing, and the agent needs no nginx for any of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Cwd ();
use File::Find ();
use File::Path ();
use File::Spec ();
use File::Temp ();
use Test::More;
use ZLTunnel::Links;

my $root = Cwd::abs_path(__FILE__ =~ s{/[^/]*$}{/../..}r);
chdir $root or die;

# not those of the make that runs the tests
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};

my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);

my $out = `make all 2>&1`;
is($?, 0, 'make') or BAIL_OUT($out);

$out = `make all 2>&1`;
is($out, '', 'a second make is idle')
    or diag $out;

$out = `make install DESTDIR=$dir PREFIX=/opt/zlt MODULES_DIR=/m CONF_DIR=/c 2>&1`;
is($?, 0, 'make install') or diag $out;

my @files = split /\n/, files();
my %there = map { $_ => 1 } @files;

for my $file (qw(/m/ngx_zltunnel_module.so /opt/zlt/bin/zltunnel-agent
                 /c/zltunnel_proxy.conf /c/zltunnel_error.conf
                 /opt/zlt/share/zltunnel/dashboard.html
                 /opt/zlt/lib/systemd/system/zltunnel-agent.service
                 /opt/zlt/lib/sysusers.d/zltunnel-agent.conf
                 /opt/zlt/share/man/man1/zltunnel-agent.1
                 /opt/zlt/share/man/man5/agent.conf.5
                 /opt/zlt/share/man/man8/zltunnel.8
                 /opt/zlt/share/bash-completion/completions/zltunnel-agent
                 /opt/zlt/share/doc/zltunnel/README.md
                 /opt/zlt/share/doc/zltunnel/docs/agent.md
                 /opt/zlt/share/doc/zltunnel/docs/jobs/vps.md))
{
    ok($there{$file}, "installed: $file");
}

my $doc = "$dir/opt/zlt/share/doc/zltunnel";

is_deeply([ broken_links($doc, $_) ], [], "links of $_") for documents($doc);

ok(!(grep { !m{^/(m|c|opt/zlt)/} } @files), 'nothing elsewhere')
    or diag join "\n", @files;

like(`$dir/opt/zlt/bin/zltunnel-agent --version 2>&1`, qr/0\.1\.0/,
     'the installed agent runs');

sub symbols { return scalar grep { /\.symtab/ } qx(readelf -SW $_[0]) }

my @programs = ("$dir/m/ngx_zltunnel_module.so", "$dir/opt/zlt/bin/zltunnel-agent");

is(symbols($_), 0, 'stripped: ' . s{.*/}{}r) for @programs;

my $unit = "$dir/opt/zlt/lib/systemd/system/zltunnel-agent.service";
my $text = '';

if (open my $fh, '<', $unit) {
    $text = join '', <$fh>;
}

like($text, qr{^ExecStart=/opt/zlt/bin/zltunnel-agent }m,
     'the unit starts the agent that was installed');

SKIP: {
    my ($program) = grep { -x } map { "$_/systemd-analyze" }
                                split /:/, $ENV{PATH};
    skip 'there is no systemd-analyze', 1 if !$program;

    # it looks for the program on this machine
    $text =~ s{^(Exec\w+=)/opt/zlt/bin}{$1$dir/opt/zlt/bin}mg;
    open my $fh, '>', "$dir/zltunnel-agent.service" or die;
    print $fh $text;
    close $fh;

    $out = `systemd-analyze verify --man=no $dir/zltunnel-agent.service 2>&1`;

    # of other units of this machine it may complain as it likes
    my @ours = grep { /zltunnel/ } split /\n/, $out;
    ok($? == 0 && !@ours, 'systemd-analyze verify') or diag $out;
}


# Whole, over what is there, by a relative path.

my $to = 'DESTDIR=' . File::Spec->abs2rel($dir)
         . ' PREFIX=/opt/zlt MODULES_DIR=/m CONF_DIR=/c';

$out = `make install $to STRIP= 2>&1`;
is($?, 0, 'make install STRIP=') or diag $out;
is(symbols($_), 1, 'whole: ' . s{.*/}{}r) for @programs;

unlink "$dir/zltunnel-agent.service";
$out = `make uninstall $to 2>&1`;
is($?, 0, 'make uninstall') or diag $out;
is(files(), '', '.. leaves nothing');
ok(!-e $doc, '.. and no folder of documents');


# Without nginx.

my $no = 'NGINX=/nowhere/nginx';

$out = `make agent install-agent $no DESTDIR=$dir 2>&1`;
is($?, 0, 'make agent install-agent without nginx') or diag $out;
like(files(), qr{^/usr/local/bin/zltunnel-agent$}m, '.. installs the agent');

$out = `make install-module $no MODULES_DIR=/m CONF_DIR=/c OBJS=$dir/objs 2>&1`;
isnt($?, 0, 'the module wants it');
like($out, qr/apt-get install nginx/, '.. and says so');
File::Path::remove_tree("$dir/objs");

$out = `make uninstall-agent $no DESTDIR=$dir 2>&1`;
is($?, 0, 'make uninstall-agent without nginx') or diag $out;
is(files(), '', '.. leaves nothing');

done_testing();


sub files {
    my @found;

    File::Find::find(sub { push @found, $File::Find::name =~ s/^\Q$dir//r
                           if -f }, $dir);

    return join "\n", sort @found;
}
