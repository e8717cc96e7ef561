#!/usr/bin/perl

# Protects: zltunnel_status in the format of Prometheus.  promtool finds nothing
# to say, each sample is there once, the figures are those of the JSON, and
# several agents of a token are one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Proc;
use ZLTunnel::UDP;
use ZLTunnel::Wire qw(register msg);

my $t = ZLTunnel->new(
    workers => 2, range => 8, udp => 1,
    location => 'location = /metrics { zltunnel_status format=prometheus; }
        location = /total { zltunnel_status format=prometheus metrics=total; }
        location = /service { zltunnel_status metrics=service
                                              format=prometheus; }
        location /ctl/ { zltunnel_api write=on; allow 127.0.0.1; deny all; }');

my ($alice, $bob) = ($t->token('alice', 'sessions=2'), $t->token('b.b'));
$t->start;

my $echo = $t->service('greet');
my $udp = $t->free_port;
$t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp);

$t->agent(token => $alice, services => [ "web:$echo->{port}",
                                         "dns:$udp/udp" ]);
$t->agent(token => $alice, services => [ "web:$echo->{port}" ]);

my $odd = ZLTunnel::Wire->agent($t, $bob, features => 0x101);
$odd->send_msg(register('a-b_c.d'));
my $service = $odd->expect('RegisterOk')->{service_id};

my $port = $t->service_status('web')->{port};
my $c = connect_to($port);
is(scalar <$c>, "220 ready\r\n", 'a connection');

my $u = ZLTunnel::UDP->client($t->service_status('dns')->{port});
ok(wait_for(sub { $u->send('x' x 100); defined $u->recv(1) }), 'a datagram');


subtest 'by token' => sub {
    my %m = metrics('/metrics');

    is($m{'zltunnel_tunnels{token="alice",state="connected"}'}, 2,
       'two agents of one token');
    is($m{'zltunnel_tunnels{token="b.b",state="disconnected"}'}, 0,
       'none of another');
    is($m{'zltunnel_services{token="alice",protocol="tcp"}'}, 2, 'services');
    is($m{'zltunnel_services{token="alice",protocol="udp"}'}, 1, '.. of UDP');
    is($m{'zltunnel_connections{token="alice",protocol="tcp"}'}, 1,
       'a connection');
    is($m{'zltunnel_bytes_total{token="alice",protocol="tcp",direction="out"}'},
       11, 'bytes to it');
    cmp_ok($m{'zltunnel_datagrams_total{token="alice",protocol="udp",'
              . 'direction="in"}'}, '>', 0, 'datagrams');
    is($m{'zltunnel_datagrams_dropped_total{token="alice",cause="kernel"}'}, 0,
       'and none dropped');
    is($m{'zltunnel_ports{state="open"}'}, $t->status->{ports}{open},
       'ports, as in JSON');
    is($m{'zltunnel_tokens'}, 2, 'tokens');
    is($m{'zltunnel_token_file_ok'}, 1, 'their file is in order');
    ok(!(grep { /service=/ } keys %m), 'no name of a service');

    is($m{'zltunnel_dials_total{result="ok"}'}, 2, 'dials: one, and one of UDP');
    is($m{'zltunnel_connect_seconds_count'}, 2, 'the times of both');
    is($m{'zltunnel_connect_seconds_bucket{le="+Inf"}'}, 2, '.. in the last');
    cmp_ok($m{'zltunnel_connect_seconds_bucket{le="30.000"}'}, '==', 2,
           '.. and in time');
    cmp_ok($m{zltunnel_heartbeat_seconds_count}, '>', 0, 'heartbeats');
    is($m{zltunnel_registry_resets_total}, 0, 'the registry is whole');
    is($m{'zltunnel_zone_bytes{state="used"}'}
       + $m{'zltunnel_zone_bytes{state="free"}'},
       $t->status->{zone}{size}, 'the zone');
};

subtest 'by service' => sub {
    my %m = metrics('/service');

    is($m{'zltunnel_services{token="alice",service="web",protocol="tcp"}'}, 2,
       'one service of two agents is one');
    is($m{'zltunnel_services{token="b.b",service="a-b_c.d",protocol="tcp"}'},
       1, 'a name with all that a name may have');
};

subtest 'the manual' => sub {
    my $manual = slurp("$ZLTunnel::ROOT/docs/operations.md");
    my @families = http_get($t->{http_port}, '/service')->{body}
                   =~ /^# TYPE (\w+)/mg;

    cmp_ok(scalar @families, '>', 20, 'families');
    is_deeply([ grep { index($manual, "`$_`") < 0 } @families ], [],
              'has each of them');
};

subtest 'in all' => sub {
    my %m = metrics('/total');

    is($m{'zltunnel_tunnels{state="connected"}'}, 3, 'tunnels');
    is($m{'zltunnel_services{protocol="tcp"}'}, 3, 'services');
    ok(!(grep { /token=/ } keys %m), 'no name of a token');
};

subtest 'asked for' => sub {
    my $http = $t->{http_port};

    like(http_get($http, '/tunnel/status?format=prometheus')->{body},
         qr/^# HELP zltunnel_/, '?format=prometheus');
    like(http_get($http, '/metrics?format=json')->{body}, qr/^\{/,
         '?format=json');

    my $r = http_get($http, '/metrics?format=xml');
    is($r->{status}, 400, 'another one');
    is($r->{body}, "format must be json or prometheus\n", '.. is told what is');

    my ($rc, $out) = $t->test_conf(
        location => 'location = /m { zltunnel_status format=xml; }');
    isnt($rc, 0, 'in the configuration');
    like($out, qr/invalid parameter "format=xml" of "zltunnel_status"/,
         '.. is an error');
    $t->write_conf;
};

subtest 'the token file' => sub {
    rename "$t->{dir}/tokens", "$t->{dir}/tokens.away" or die;

    ok(wait_for(sub { file_ok() eq '0' }), 'away');

    rename "$t->{dir}/tokens.away", "$t->{dir}/tokens" or die;

    ok(wait_for(sub { file_ok() eq '1' }), 'there again');
};

subtest 'what is not up' => sub {
    my $l = 'token="b.b",service="a-b_c.d",protocol="tcp"';
    my $id = unpack 'H*', $odd->{ok}{tunnel_id};
    my %m = metrics('/service');

    is($m{"zltunnel_services_up{$l}"}, 1, 'a service is up');
    is($m{"zltunnel_services_changed_seconds{$l}"}, 0, '.. since ever');

    $odd->send_msg(msg('Health', $service . pack 'C n/a', 1, 'it is ill'));
    ok(wait_for(sub { %m = metrics('/service', 1);
                      !$m{"zltunnel_services_up{$l}"} }), 'it is down');
    cmp_ok(abs(time - $m{"zltunnel_services_changed_seconds{$l}"}), '<', 600,
           '.. since when');
    is($m{"zltunnel_services{$l}"}, 1, '.. and is there');

    act("POST /ctl/1/tunnels/$id/drain");
    is(states(), 'draining 1', 'drained');
    ok((grep { $_->{draining} } @{ $t->status->{tunnels} }) == 1,
       '.. in the status');

    act("POST /ctl/1/tunnels/$id/resume");
    is(states(), 'connected 1', 'used again');

    act("DELETE /ctl/1/tunnels/$id?for=10m");
    is(states(), 'kept_out 1', 'kept out');

    my @kept = @{ $t->status->{kept_out} };
    is("@{[ map { $_->{name} } @kept ]}", 'b.b', '.. in the status');
    cmp_ok($kept[0]{until}, '>', time, '.. until when');
};

close $c;
$odd->close;
$t->finish;


sub act {
    my ($line) = @_;

    is(http_request($t->{http_port}, "$line HTTP/1.1\r\nHost: localhost\r\n"
                    . "Connection: close\r\n\r\n")->{status}, 204, $line);
}


# The states of the tunnels of one token, and how many are in it.

sub states {
    my %m = metrics('/metrics');

    return join ', ', map { /"b\.b",state="(\w+)"/ && $m{$_} ? "$1 $m{$_}" : () }
                      sort keys %m;
}


sub file_ok {
    my %m = metrics('/metrics', 1);
    return $m{zltunnel_token_file_ok};
}


# The samples by their names with labels; that they are each there once, and
# that promtool takes them.

sub metrics {
    my ($path, $quiet) = @_;

    my $r = http_get($t->{http_port}, $path);
    my (%m, @twice);

    while ($r->{body} =~ /^(zltunnel\S*(?:\{.*\})?) (\S+)$/mg) {
        push @twice, $1 if exists $m{$1};
        $m{$1} = $2;
    }

    return %m if $quiet;

    is_deeply(\@twice, [], 'each sample is there once');
    like($r->{head} // '', qr{^Content-Type: text/plain; version=0\.0\.4}mi,
         'its type');

    write_file("$t->{dir}/metrics", $r->{body});
    my ($rc, $out) = run('sh', '-c', "promtool check metrics < $t->{dir}/metrics");
    is("$rc $out", '0 ', 'promtool');

    return %m;
}
