#!/usr/bin/perl

# Protects: the floors of the source.  Nothing calls what is above it, no
# folders go round in a circle, each is entered by its door; and the script
# that says so is seen to find each of these where it is planted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;
use ZLTunnel;

my $root = $ZLTunnel::ROOT;

is_deeply([ layers($root) ], [ 0, '' ], 'the tree has nothing to tell');


# A tree of its own, with the folders of the agent.

my $tree = tempdir(CLEANUP => 1);

plant('net/wire.c', 'int zlt_wire(void) { return 1; }');
plant('net/net.h', 'int zlt_wire(void);');
plant('link/link.c', <<'END');
#include "net.h"
int zlt_link(void) { return zlt_wire(); }
END
plant('link/link.h', "int zlt_link(void);\n");
plant('access/access.c', <<'END');
#include "net.h"
int zlt_access(void) { return zlt_wire(); }
END

is_deeply([ layers($tree, 'agent') ], [ 0, '' ], 'arrows run down');

plant('net/up.c', 'int zlt_link(void); int zlt_up(void) { return zlt_link(); }');
finds(qr{net/up uses link/link, which is above it: zlt_link$}m, 'an arrow up');
finds(qr{a circle: (?:link > net > link|net > link > net)$}m, 'a circle of folders');
uproot('net/up.c');

plant('net/data.c', 'extern int zlt_level; int zlt_data(void) { return zlt_level; }');
plant('cmd/level.c', 'int zlt_level;');
finds(qr{net/data uses cmd/level, .*: zlt_level$}m, 'a variable is an arrow, too');
uproot('net/data.c');

plant('net/init.c', 'int ngx_zltunnel_link_init_module(void);'
      . ' int zlt_init(void) { return ngx_zltunnel_link_init_module(); }');
plant('link/init_module.c', 'int ngx_zltunnel_link_init_module(void) { return 0; }');
finds(qr{net/init uses link/init_module, .*: ngx_zltunnel_link_init_module$}m,
      'a function is one, whatever its name ends in');
uproot('net/init.c');
uproot('link/init_module.c');

plant('net/sees.c', qq{#include "link.h"\nint zlt_sees(void) { return 0; }\n});
finds(qr{net/sees\.c includes link/link\.h, which is above it$}m,
      'a header of above');
uproot('net/sees.c');

plant('net/private.h', '');
plant('link/peeps.c', qq{#include "private.h"\nint zlt_peeps(void) { return 0; }\n});
finds(qr{link/peeps\.c includes net/private\.h, which is no door: net/net\.h is$}m,
      'a header that is no door');
plant('net/net.h', qq{#include "private.h"\nint zlt_wire(void);\n});
is_deeply([ layers($tree, 'agent') ], [ 0, '' ], '.. and one that the door opens');

plant('attic/a.c', 'int zlt_a(void) { return 0; }');
finds(qr{attic/ is on no floor}, 'a folder without a floor');

done_testing();


sub layers {
    my ($dir, @programs) = @_;

    my ($rc, $out) = run("$root/auto/layers", '-C', $dir, @programs);

    return ($rc, $out);
}


sub finds {
    my ($what, $name) = @_;

    my ($rc, $out) = layers($tree, 'agent');

    isnt($rc, 0, "$name: fails");
    like($out, $what, '.. and says which');
}


sub plant {
    my ($file, $text) = @_;

    my ($dir) = $file =~ m{(.*)/};

    make_path("$tree/agent/$dir", "$tree/objs/agent/agent/$dir");
    write_file("$tree/agent/$file", $text);

    return if $file !~ /\.c$/;

    run_ok('cc', '-c', map({ ('-iquote', $_) } glob "$tree/agent/*"),
           '-o', object($file), "$tree/agent/$file");
}


sub uproot {
    my ($file) = @_;

    unlink "$tree/agent/$file", object($file);
}


sub object { return "$tree/objs/agent/agent/" . $_[0] =~ s/c$/o/r }
