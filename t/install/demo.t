#!/usr/bin/perl

# Protects: "make demo" shows what it shows where a zltunnel runs already, which
# has the ports that the demo would take, assigned or not; and Ctrl-C ends it and
# leaves nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;
use ZLTunnel::Net;

plan(skip_all => 'there is no network namespace') if !ZLTunnel::Net::own();
plan(skip_all => 'another build is tested')
    if grep { defined $ENV{$_} } qw(TEST_ZLT_AGENT TEST_ZLT_MODULE);

my $t = ZLTunnel->new(workers => 1, stream => <<'EOT', http => <<'EOT2');
server { listen 30000-30004; zltunnel_ports; }
server { listen 30010-30019; zltunnel_ports; }
EOT
server { listen 8000; return 200 "another\n"; }
server { listen 8080; return 200 "another\n"; }
EOT2
$t->start;

my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;                       # the workers are another user

my $demo = ZLTunnel::Proc->start(
    name => 'demo', cmd => [ "$ZLTunnel::ROOT/t/demo.sh" ],
    out => "$dir/out", env => { TMPDIR => $dir });

ok(wait_for(sub { !$demo->running || slurp("$dir/out") =~ /Ctrl-C ends/ }, 60),
   'it comes to its end');
is(scalar(() = slurp("$dir/out") =~ /^Hello from behind the tunnel\.$/mg), 2,
   'the service, by its port and by its host') or diag slurp("$dir/out");

my ($port) = slurp("$dir/out") =~ m{http://nobody\.demo\.localhost:(\d+)/};
my $page;

# right after a start its agent may be about to come
ok(wait_for(sub {
    $page = http_request($port // 0, "GET / HTTP/1.1\r\n"
        . "Host: nobody.demo.localhost\r\nConnection: close\r\n\r\n", 20);
    return $page && $page->{status} == 404;
}, 30), 'a host of nobody');
like($page->{body}, qr/<h1>There is nothing at this address/, '.. has a page');

my ($tunnel) = slurp("$dir/out") =~ m{http://127\.0\.0\.1:(\d+)/dashboard/};

like(http_get($tunnel // 0, '/dashboard/')->{body}, qr/<title>zltunnel</,
     'the page for browsers');
like(http_get($tunnel // 0, '/dashboard/api/1/services')->{body},
     qr/"name":"web"/, '.. and what it asks for');
like(slurp("$dir/out"), qr/ports 30020-30029/, 'at ports that nobody has');

is($demo->stop('INT'), 0, 'Ctrl-C ends it');
is_deeply([ glob "$dir/zltunnel-demo-*" ], [], '.. and leaves nothing');

$t->finish;

