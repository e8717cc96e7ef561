#!/usr/bin/perl

# Protects: zltunnel_api answers what docs/api.yaml says, whatever it is asked.
# schemathesis makes the requests of that file, right ones and wrong ones.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Proc;

my ($there) = run('sh', '-c', 'command -v schemathesis');

plan(skip_all => 'schemathesis is not there (pip install schemathesis)')
    if $there;

my $t = ZLTunnel->new(
    workers => 2, range => 4,
    location => 'location /api/ { zltunnel_api write=on;
                                  allow 127.0.0.1; deny all; }');

my $alice = $t->token('alice');
$t->start;

my $echo = $t->service('echo');
my $agent = $t->agent(token => $alice, services => [ "web:$echo->{port}" ]);

# TRACE is refused by nginx itself

write_file("$t->{dir}/schemathesis.toml", <<'EOT');
[phases.coverage]
unexpected-methods = ["get", "put", "post", "delete", "options", "patch"]
EOT

my ($rc, $out) = run('schemathesis', '--config-file',
                     "$t->{dir}/schemathesis.toml", 'run', "$ZLTunnel::ROOT/docs/api.yaml",
                     '--url', "http://127.0.0.1:$t->{http_port}/api",
                     '--max-examples', sizes('examples', 100, 10),
                     '--seed', 1, '--no-color');

is($rc, 0, 'all answers are as the file says') or diag $out;
like($out, qr/\b(\d+) selected \/ \1 total/, 'of all operations');

# the agent may be kept out by now

ok($t->status, 'nginx goes on');
$agent->stop;
$t->finish;
