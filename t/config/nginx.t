#!/usr/bin/perl

# Protects: a configuration that cannot work is refused by nginx -t with an
# error that names the directive, the line and what is allowed; one that works
# is not; and an nginx that loads the module and uses nothing of it is left as
# it was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

my $t = ZLTunnel->new;
$t->token('alice');

my ($rc, $out) = $t->test_conf;
is($rc, 0, 'the configuration of the tests is valid') or diag($out);
unlike($out, qr/\[(warn|error|crit)\]/, 'and gives no warning') or diag($out);

my $port = $t->free_port;
my $listen = "listen 127.0.0.1:$port;";


# name, which part, its text, what the error must say

my @bad = (
    [ 'zone too small', zltunnel => 'zone 4k;', qr/zone.*(at least|pages)/i ],
    [ 'zone not a size', zltunnel => 'zone big;', qr/zone/ ],

    [ 'interval zero', zltunnel => 'heartbeat_interval 0;',
      qr/heartbeat_interval/ ],
    [ 'interval not a time', zltunnel => 'heartbeat_interval often;',
      qr/heartbeat_interval/ ],
    [ 'timeout within the interval',
      zltunnel => 'heartbeat_interval 30s; heartbeat_timeout 30s;',
      qr/heartbeat_timeout.*heartbeat_interval/ ],
    [ 'timeout within the default interval',
      zltunnel => 'heartbeat_timeout 20s;',
      qr/heartbeat_timeout.*heartbeat_interval/ ],
    [ 'connect_timeout zero', zltunnel => 'connect_timeout 0;',
      qr/connect_timeout/ ],
    [ 'grace not a time', zltunnel => 'reconnect_grace x;',
      qr/reconnect_grace/ ],

    (map { [ "$_ zero", zltunnel => "$_ 0;", qr/$_.*(1|above|least|zero)/ ] }
     qw(max_tunnels max_services max_unauthenticated max_pending)),
    (map { [ "$_ negative", zltunnel => "$_ -1;", qr/$_/ ],
           [ "$_ not a number", zltunnel => "$_ many;", qr/$_/ ] }
     qw(max_tunnels max_services max_unauthenticated max_idle_channels
        max_pending max_connections max_udp_sessions)),

    [ 'share above the whole', zltunnel => 'max_channel_share 101%;',
      qr/max_channel_share.*100/ ],
    [ 'share of nothing', zltunnel => 'max_channel_share 0%;',
      qr/max_channel_share.*1/ ],
    [ 'share not a share', zltunnel => 'max_channel_share half;',
      qr/max_channel_share/ ],

    (map { [ "$_ twice", zltunnel => "$_ 100; $_ 100;",
             qr/"$_" directive is duplicate/ ] }
     qw(max_tunnels max_services max_pending)),
    (map { [ "node_id $_", zltunnel => qq{node_id "$_";},
             qr/"\Q$_\E" of "node_id": it must be 32 hexadecimal digits, or a/ ] }
     '', 'a b', "n\xc3\xb6", 'x' x 64,
     '00112233-4455-6677-8899_aabbccddeeff' . 'x' x 30),
    [ 'node_id twice', zltunnel => 'node_id a; node_id b;',
      qr/"node_id" directive is duplicate/ ],
    (map { [ "nodes $_", zltunnel => "nodes $_;",
             qr/"$_" of "nodes": it must be a number from 1 to 1000/ ] }
     0, 1001, 'two'),
    [ 'cluster without its module', zltunnel => 'cluster redis://127.0.0.1;',
      qr/"cluster".*load_module.*libnginx-mod-zltunnel-cluster.*
         make\ CLUSTER=1.*install\ CLUSTER=1/x ],
    (map { [ "cluster $$_[0]", zltunnel => "cluster $$_[0];", $$_[1] ] }
     [ 'http://127.0.0.1', qr{"http://127.0.0.1".*redis://HOST:PORT} ],
     [ 'redis://', qr/no host.*HOST:PORT/ ],
     [ 'redis://127.0.0.1,', qr/no host.*HOST:PORT/ ],
     [ 'redis://127.0.0.1/x', qr/database.*number/ ],
     [ 'redis://127.0.0.1:99999', qr/port.*"127.0.0.1:99999"/ ],
     [ 'redis://no.such.invalid', qr/"no.such.invalid".*resolve/ ],
     [ 'redis://:secret@127.0.0.1', qr/(?!.*secret)password_file=/ ],
     [ 'redis://127.0.0.1 nodes=1', qr/"nodes=1".*node=/ ],
     (map { [ "redis://127.0.0.1 node=$_", qr/"node=\Q$_\E".*HOST:PORT/ ] }
      '', '10.0.0.1', '*:443', 'unix:/x'),
     [ 'redis://127.0.0.1 node=10.0.0.1:7443',
       qr/no "cluster_certificate" in/ ],
     [ 'redis://127.0.0.1 prefix=', qr/"prefix=".*zlt:/ ],
     [ 'redis://127.0.0.1 refresh=0', qr/"refresh=0".*1s to 5m/ ],
     [ 'redis://127.0.0.1 keep=2d', qr/"keep=2d".*1s to 1d/ ],
     [ 'redis://127.0.0.1 user=me', qr/"user=me".*password_file=/ ],
     [ 'redis://127.0.0.1 ca=x', qr{"ca=".*rediss://} ],
     [ 'redis://127.0.0.1 password_file=none',
       qr/password_file=\S*none" of "cluster" cannot be read/ ],
     [ 'redis://127.0.0.1 password_file=/dev/null',
       qr/password_file=.*first line/ ],
     [ 'redis://127.0.0.1 token_key=zlt:tokens',
       qr/both "token_file" and "token_key=zlt:tokens"/ ],
     [ 'redis://127.0.0.1; cluster redis://127.0.0.1', qr/duplicate/ ],
     [ 'redis://127.0.0.1; cluster_certificate x',
       qr/no "cluster_certificate_key" in/ ]),
    [ 'certificates without cluster', zltunnel => 'cluster_certificate x;',
      qr{"cluster redis://} ],
    [ 'unknown directive in the block', zltunnel => 'max_fun 1;',
      qr/unknown directive "max_fun"/ ],
    [ 'two default registries', main => "zltunnel { token_file none; }\n",
      qr/duplicate "zltunnel"/ ],

    [ 'location of no registry',
      location => 'location = /x { zltunnel nosuch; }', qr/nosuch/ ],
    [ 'status of no registry',
      location => 'location = /x { zltunnel_status registry=nosuch; }',
      qr/nosuch/ ],
    [ 'ports of no registry',
      stream => "server { $listen zltunnel_ports registry=nosuch; }",
      qr/nosuch/ ],
    [ 'ports with an argument unknown',
      stream => "server { $listen zltunnel_ports sometimes; }",
      qr/sometimes.*zltunnel_ports|zltunnel_ports.*sometimes/ ],
    [ 'ports with reuseport',
      stream => "server { listen 127.0.0.1:$port reuseport; "
                . 'zltunnel_ports; }', qr/reuseport/ ],
    [ 'ports shared with another server', range => 1,
      stream => "server { $listen zltunnel_ports; }"
                . "server { listen $port; return x; }",
      qr/$port/ ],
    [ 'ports and a proxy in one server',
      stream => "server { $listen zltunnel_ports; proxy_pass 127.0.0.1:1; }",
      qr/duplicate|zltunnel_ports|proxy_pass/ ],
    [ 'pass without a name',
      stream => "server { $listen zltunnel_pass; }",
      qr/number of arguments in "zltunnel_pass"/ ],
    [ 'pass of a name that is none',
      stream => "server { $listen zltunnel_pass 'a b'; }", qr/a b/ ],
    [ 'pass with an argument unknown',
      stream => "server { $listen zltunnel_pass a never; }", qr/never/ ],
    [ 'zltunnel_timeout not a time',
      stream => "server { $listen zltunnel_pass a; zltunnel_timeout x; }",
      qr/zltunnel_timeout/ ],
    [ 'event method other than epoll', events => 'use poll;',
      qr/epoll|invalid event type/ ],
);

for my $case (@bad) {
    my $re = pop @$case;
    my ($name, %o) = @$case;

    # a whole block of its own, where the template's would be a duplicate
    my %parts = map { $_ => '' } qw(zltunnel main location stream events);
    my ($rc, $out) = with_block($t, %parts, %o);

    isnt($rc, 0, "$name: refused");
    like($out, $re, "$name: told");
    like($out, qr/\[emerg\]/, "$name: as a configuration error");
}


# The template sets zone itself: a second one would only be a duplicate.

sub with_block {
    my ($t, %o) = @_;

    $t->write_conf(range => 8, %o);

    if ($o{zltunnel} =~ /\bzone /) {
        my $conf = slurp("$t->{dir}/nginx.conf");
        $conf =~ s/^    zone 2m;\n//m;
        write_file("$t->{dir}/nginx.conf", $conf);
    }

    return $t->test_conf;
}


# The token file

my @tokens = (
    [ 'a hash too short', "abcd alice\n", 1 ],
    [ 'no name', ('0' x 64) . "\n", 1 ],
    [ 'a hash with other letters', ('g' x 64) . " alice\n", 1 ],
    [ 'an unknown right', "# one\n\n" . ('0' x 64) . " alice colour=red\n", 3 ],
    [ 'a port above 65535', ('0' x 64) . " alice ports=70000\n", 1 ],
    [ 'a range upside down', ('0' x 64) . " alice ports=20-10\n", 1 ],
    [ 'a protocol unknown', "\n" . ('0' x 64) . " alice protocols=icmp\n", 2 ],
    [ 'max_services of nothing', ('0' x 64) . " alice max_services=x\n", 1 ],
    [ 'an expiry that is no time', ('0' x 64) . " alice expires=soon\n", 1 ],
    [ 'the same hash twice',
      ('0' x 64) . " alice\n" . ('0' x 64) . " bob\n", 2 ],
);

$t->write_conf(map { $_ => '' } qw(zltunnel main location stream events));

for my $case (@tokens) {
    my ($name, $text, $line) = @$case;

    write_file("$t->{dir}/tokens", $text);
    my ($rc, $out) = $t->test_conf;

    isnt($rc, 0, "tokens: $name: refused");
    like($out, qr/\Q$t->{dir}\E\/tokens:$line\b/,
         "tokens: $name: file and line told");
}

write_file("$t->{dir}/tokens", '# nobody else' . "\n" . ('0' x 64) . ' alice');
($rc, $out) = $t->test_conf;
is($rc, 0, 'a last line without its end is allowed here') or diag($out);

unlink "$t->{dir}/tokens";
($rc, $out) = $t->test_conf;
isnt($rc, 0, 'no token file: refused');
like($out, qr/\Q$t->{dir}\E\/tokens.*No such file/, 'no token file: told');

SKIP: {
    skip 'root alone can have workers of another user', 2 if $>;

    write_file("$t->{dir}/tokens", '', 0600);
    ($rc, $out) = $t->test_conf;
    isnt($rc, 0, 'a token file that workers cannot read: refused');
    like($out, qr/tokens.*(read|permission)/i,
         'a token file that workers cannot read: told');
}

unlink "$t->{dir}/tokens";
$t->write_tokens;


# Warnings

($rc, $out) = $t->test_conf(zltunnel => 'max_tunnels 100000;');
is($rc, 0, 'a zone that is small for the limits is allowed');
like($out, qr/\[warn\].*zone/, 'but gives a warning');

$t->token('bob');
($rc, $out) = $t->test_conf(
    zltunnel => '', stream => "server { $listen zltunnel_pass db; }");
is($rc, 0, 'a name that two tokens may register is allowed') or diag($out);
like($out, qr/\[warn\].*db/, 'but gives a warning');

($rc, $out) = $t->test_conf(
    stream => "server { $listen zltunnel_pass db token=bob; }");
is($rc, 0, 'a name bound to a token is allowed') or diag($out);
unlike($out, qr/\[warn\]/, 'without a warning');


# More than one registry, and the block after http{}

($rc, $out) = $t->test_conf(
    stream => "server { $listen zltunnel_ports registry=two reserved; }",
    location => 'location = /two { zltunnel two; }
                 location = /two/status { zltunnel_status registry=two; }',
    after => "zltunnel two { zone 1m; token_file $t->{dir}/tokens; }");
is($rc, 0, 'a second registry, defined after http{}') or diag($out);


# Loaded and not used

my $plain = $t->free_port;
$t->write_conf(conf => <<'EOT', workers => 2, plain => $plain);
%%modules%%
%%user%%
worker_processes 2;
daemon off;
pid %%dir%%/nginx.pid;
error_log %%dir%%/logs/error.log info;
events { }
http {
    access_log off;
    server { listen 127.0.0.1:%%http_port%%; return 404; }
}
stream {
    server { listen 127.0.0.1:%%plain%%; return "unaffected\n"; }
}
EOT

($rc, $out) = $t->test_conf;
is($rc, 0, 'loaded and not used: valid') or diag($out);
unlike($out, qr/\[(warn|error)\]/, 'loaded and not used: no warning');

$t->start;
my $s = connect_to($plain);
is(join('', <$s>), "unaffected\n", 'loaded and not used: nginx works');
is($t->{nginx}->stop('QUIT'), 0, 'loaded and not used: quits');

$t->write_conf(conf => <<'EOT');
%%modules%%
%%user%%
daemon off;
pid %%dir%%/nginx.pid;
error_log %%dir%%/logs/error.log info;
events { }
http { access_log off; server { listen 127.0.0.1:%%http_port%%; return 404; } }
EOT

($rc, $out) = $t->test_conf;
is($rc, 0, 'loaded without a stream block: valid') or diag($out);

$t->finish;
