#!/usr/bin/perl

# Protects: the agent's metrics.  promtool finds nothing to say, the figures are
# those of its status and of what was done; an address that is wrong, or in use,
# is told at the start, and at a reload the former stays; requests that are
# none, are too many or too slow do the agent no harm.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);
use Test::More;
use ZLTunnel;
use ZLTunnel::Proc;
use ZLTunnel::UDP;

my $t = ZLTunnel->new(workers => 2, range => 8, udp => 1);
my $token = $t->token('alice');
$t->start;

my $echo = $t->service('greet');
my $udp = $t->free_port;
$t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp);

my $port = $t->free_port;
my $closed = $t->free_port;
my $quiet;

my $conf = "[agent]\nserver = " . $t->url('ws')
           . "\ntoken_file = %%%%token_file%%%%\nreconnect_interval = 100ms\n"
           . "metrics = %s\n[service web]\nlocal = $echo->{port}\n"
           . "[service gone]\nlocal = $closed\n"
           . "[service dns]\nlocal = $udp\nprotocol = udp\n";

my $agent = $t->agent(token => $token, conf => sprintf($conf, $port));
ok($agent->in_state('agent', 'connected'), 'the agent is there');

subtest 'figures' => \&figures;
subtest 'requests' => \&requests;
subtest 'reconnects' => \&reconnects;
subtest 'many clients' => \&many;
subtest 'addresses' => \&addresses;
subtest 'reload' => \&reload;

is($agent->stop, 0, 'the agent ends');
$t->finish;


sub get {
    my ($path, $at) = @_;
    return http_request($at // $port, "GET $path HTTP/1.1\r\nHost: a\r\n\r\n");
}


# All samples, each of which is there once.

sub metrics {
    my ($at) = @_;

    my $r = get('/metrics', $at) or return;
    my %m;

    for (split /\n/, $r->{body}) {
        next if /^#/;
        /^(zltunnel_agent_\w+(?:\{.*\})?) (\S+)$/ or fail("no sample: $_");
        fail("$1 is there twice") if exists $m{$1};
        $m{$1} = $2;
    }

    return %m;
}


sub figures {
    my $c = connect_to($agent->port('web'));
    is(scalar <$c>, "220 ready\r\n", 'a connection');
    ok(refused($agent->port('gone')), 'one that its service refuses');

    my $u = ZLTunnel::UDP->client($agent->port('dns'));
    ok(wait_for(sub { $u->send('x' x 100); defined $u->recv(1) }),
       'a datagram');

    my %m = metrics();
    my ($link, $l) = ($agent->link, 'link="agent"');

    is($m{"zltunnel_agent_links{$l,state=\"connected\"}"}, 1, 'connected');
    is($m{"zltunnel_agent_links{$l,state=\"failed\"}"}, 0, '.. not failed');
    is($m{"zltunnel_agent_services{$l,state=\"up\"}"}, 3, 'services');
    is($m{"zltunnel_agent_connections{$l}"}, 1, 'open');
    is($m{"zltunnel_agent_connections_total{$l}"}, 1, 'in all');
    is($m{"zltunnel_agent_udp_sessions{$l}"}, 1, 'UDP sessions');
    is($m{"zltunnel_agent_bytes_total{$l,direction=\"out\"}"},
       $link->{bytes}{out}, 'bytes, as in the status');
    cmp_ok($m{"zltunnel_agent_bytes_total{$l,direction=\"out\"}"}, '>=', 111,
           '.. of both');
    cmp_ok($m{"zltunnel_agent_datagrams_total{$l,direction=\"in\"}"}, '>', 0,
           'datagrams');
    is($m{"zltunnel_agent_datagrams_dropped_total{$l,cause=\"$_\"}"}, 0,
       "none dropped: $_") for qw(queue age send kernel session);
    is($m{"zltunnel_agent_connects_total{$l,service=\"web\",result=\"ok\"}"},
       1, 'connects');
    is($m{"zltunnel_agent_connects_total{$l,service=\"gone\","
          . 'result="refused"}'}, 1, '.. refused');
    ok(!(grep { /^zltunnel_agent_connects_total.*"dns"/ } keys %m),
       '.. none of UDP');
    is($m{"zltunnel_agent_connect_seconds_count{$l}"}, 1, 'the time of one');
    is($m{"zltunnel_agent_connect_seconds_bucket{$l,le=\"+Inf\"}"}, 1,
       '.. in the last bucket');
    ok($m{"zltunnel_agent_connect_seconds_sum{$l}"} > 0, '.. more than none');
    is($m{"zltunnel_agent_channels{$l,kind=\"datagrams\"}"}, 1,
       'a channel for datagrams');
    is($m{"zltunnel_agent_reconnects_total{$l}"}, 0, 'no reconnect');
    cmp_ok(abs(time - $m{"zltunnel_agent_connected_since_seconds{$l}"}), '<',
           600, 'since when');
    is((grep { /^zltunnel_agent_info\{version="[\d.]+/ } keys %m), 1, 'info');

    my $r = get('/metrics');
    like($r->{head}, qr{^Content-Type: text/plain; version=0\.0\.4;}mi,
         'its type');

    SKIP: {
        skip 'promtool is not there', 1
            if run_ok('sh', '-c', 'command -v promtool') eq '';
        write_file("$t->{dir}/metrics", $r->{body});
        my ($rc, $out) = run('sh', '-c',
                             "promtool check metrics < $t->{dir}/metrics");
        is("$rc $out", '0 ', 'promtool has nothing to say');
    }
}


# A client of a port sees what became of the connection to the service.

sub refused {
    my ($at) = @_;

    my $s = connect_to($at) or return 1;
    return !defined(my $line = <$s>);
}


sub status_of {
    my ($request) = @_;
    return (http_request($port, $request) || {})->{status} // 'none';
}


sub requests {
    is(status_of("GET / HTTP/1.0\r\n\r\n"), 200, 'GET /');
    like(get('/')->{body}, qr{/metrics}, '.. says where they are');
    is(status_of("GET /metrics?x=y HTTP/1.1\r\n\r\n"), 200, 'a query');
    is(status_of("GET /metric HTTP/1.1\r\n\r\n"), 404, 'another path');
    is(status_of("GET /metrics/ HTTP/1.1\r\n\r\n"), 404, '.. longer');
    is(status_of("POST /metrics HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"),
       405, 'POST');

    my $head = http_request($port, "HEAD /metrics HTTP/1.1\r\n\r\n");
    is("$head->{status} " . length $head->{body}, '200 0', 'HEAD');

    for (["\x16\x03\x01\x02\x00\x01", 'TLS'], ["\r\n\r\n", 'no line'],
         ["GET /metrics\r\n\r\n", 'no version'],
         ["GET /metrics HTTP/2.0\r\n\r\n", 'another version'],
         ["GET http://a/metrics HTTP/1.1\r\n\r\n", 'for a proxy'],
         ["GET /me\0trics HTTP/1.1\r\n\r\n", 'a NUL'],
         ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 'HTTP/2'])
    {
        is(status_of($_->[0]), 400, "400: $_->[1]");
    }

    is(status_of('GET /' . 'a' x 20000), 431, 'too long');
    is(status_of("GET / HTTP/1.1\r\n" . "a: b\r\n" x 2000 . "\r\n"), 431,
       'too many fields');

    # a byte at a time, and a client that goes before it has an answer

    my $s = connect_to($port);
    syswrite $s, $_ for split //, "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    like(scalar <$s>, qr{^HTTP/1.1 200 }, 'byte by byte');

    close connect_to($port);
    $s = connect_to($port);
    syswrite $s, "GET /metrics HTTP/1.1\r\n\r\n";
    close $s;
    is(get('/metrics')->{status}, 200, 'and goes on');
}


sub reconnects {
    $agent->ask('stop', 'agent');
    ok($agent->in_state('agent', 'disconnected'), 'stopped');
    $quiet = held();

    my %m = metrics();
    is($m{'zltunnel_agent_links{link="agent",state="disconnected"}'}, 1,
       '.. is seen');
    ok(!exists $m{'zltunnel_agent_connected_since_seconds{link="agent"}'},
       'connected since: not at all');
    is($m{'zltunnel_agent_services{link="agent",state="down"}'}, 3,
       'the services are down');

    $agent->ask('start', 'agent');
    ok($agent->in_state('agent', 'connected'), 'again');
    %m = metrics();
    is($m{'zltunnel_agent_reconnects_total{link="agent"}'}, 1, 'one reconnect');
}


sub held { return fds($agent->pid)->{socket} }


# More than there is room for, who say nothing: the others wait until these
# have had their time.

sub many {
    $agent->ask('stop', 'agent');
    ok(wait_for(sub { held() == $quiet }), 'nothing else is open');

    my $fds = held();
    my @idle = map { connect_to($port) } 1 .. 40;
    my $s = connect_to($port);
    syswrite $s, "GET /metrics HTTP/1.1\r\n\r\n";

    ok(wait_for(sub { held() >= $fds + 16 }), 'sixteen at once');
    cmp_ok(held(), '<=', $fds + 20, '.. and no more');
    ok($agent->link, 'the agent is asked meanwhile');

    like(scalar readline($idle[0]) // '', qr{^HTTP/1.1 408 },
         'one that says nothing is told so');
    close $_ for @idle;
    like(scalar <$s>, qr{^HTTP/1.1 200 }, 'the last one is served');
    close $s;
    ok(wait_for(sub { held() <= $fds + 1 }), 'all have gone');
    $agent->ask('start', 'agent');
}


sub started {
    my ($at) = @_;

    write_file("$t->{dir}/bad.conf",
               sprintf($conf, $at) =~ s/%%token_file%%/$agent->{token_file}/r,
               0600);

    return run({ timeout => 20 }, $ZLTunnel::AGENT, 'run', '-c',
               "$t->{dir}/bad.conf", '--control', "$t->{dir}/bad.sock");
}


sub addresses {
    for (['none', qr/"metrics" is "none": /], ['0', qr/port is 0/],
         ['example.com:9114', qr/address is not/], ['::1:9114', qr/address/],
         ['127.0.0.1:65536', qr/port is not/], ['unix:rel', qr/absolute/])
    {
        my ($rc, $out) = started($_->[0]);
        is($rc, 2, "$_->[0]: exit 2");
        like($out, $_->[1], '.. with the reason');
    }

    my ($rc, $out) = started('localhost');
    like($out, qr/it must be \[ADDRESS:\]PORT\|unix:/, '.. and the remedy');

    ($rc, $out) = started($port);
    is($rc, 1, 'in use: exit 1');
    like($out, qr/metrics cannot be at 127\.0\.0\.1:$port: Address already/,
         '.. with the reason');

    ($rc, $out) = started('192.0.2.1:9114');
    is($rc, 1, 'not of this machine: exit 1');
    like($out, qr/192\.0\.2\.1:9114: Cannot assign/, '.. with the reason');
}


sub reload {
    my $other = $t->free_port;
    my $used = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);

    $agent->write_conf(sprintf $conf, $used->sockport);
    my ($rc, $out) = $agent->ask('reload');
    is($rc, 1, 'to a port in use: refused');
    like($out, qr/Address already in use/, '.. with the reason');
    is(get('/metrics')->{status}, 200, '.. and the former stays');
    ok($agent->link, '.. with the tunnel');

    $agent->write_conf(sprintf $conf, "127.0.0.1:$port");
    is(($agent->ask('reload'))[0], 0, 'the same address, written otherwise');
    is(get('/metrics')->{status}, 200, '.. is the same');

    $agent->write_conf(sprintf $conf, "127.0.0.1:$other");
    is(($agent->ask('reload'))[0], 0, 'to a free one');
    is((get('/metrics', $other) || {})->{status}, 200, '.. they are there');
    ok(refuses($port), '.. and not here');

    $agent->write_conf(sprintf $conf, "unix:$t->{dir}/m.sock");
    is(($agent->ask('reload'))[0], 0, 'to a UNIX socket');
    my $s = IO::Socket::UNIX->new(Peer => "$t->{dir}/m.sock",
                                  Type => SOCK_STREAM);
    ok($s, '.. they are there');
    syswrite $s, "GET /metrics HTTP/1.1\r\n\r\n";
    like(scalar <$s>, qr{^HTTP/1.1 200 }, '.. answered');
    ok(refuses($other), '.. and not here');

    $agent->write_conf(sprintf($conf, 0) =~ s/^metrics.*\n//mr);
    is(($agent->ask('reload'))[0], 0, 'nowhere');
    ok(!-e "$t->{dir}/m.sock", '.. the socket is gone');
}
