#!/usr/bin/perl

# Protects: a server that SRV records lead to (srv+wss://NAME).  Its machines are
# tried by their priority, each at its port, and the next one when one dies; the
# certificate is that of the name, whatever the name server says; records of the
# name itself, and those that are written out, are found as well; what is wrong
# with them is told with the name that was asked for.  A proxy that resolves
# names is asked for those of the records.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::Middle;
use ZLTunnel::Names;
use ZLTunnel::Wire;

my $token = ZLTunnel::random_token();

subtest 'URLs' => \&urls;

my $why = ZLTunnel::Names::missing();
$why //= 'there is no dnsmasq' if !ZLTunnel::Middle::installed('dnsmasq');

if ($why) {
    note($why);
    done_testing();
    exit;
}

# two servers, of one name

my @t = map { ZLTunnel->new(workers => 1, range => 4,
                            allow => [ qr/exited on signal 9/ ]) } 1 .. 2;

for my $t (@t) {
    $t->token('alice', 'sessions=4', $token);
    $t->start;
}

my $echo = $t[0]->service('echo');
my $names = ZLTunnel::Names->new($t[0], resolv => "options timeout:2 attempts:1\n");

# port 53 of 127.0.0.9 is taken, and nobody answers there

my $silent = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.9',
                                   LocalPort => 53) or die "port 53: $!";

$names->dnsmasq(
    'local=/test/', 'local=/localhost/', 'server=/silent.test/127.0.0.9',
    'host-record=one.test,127.0.0.1', 'host-record=two.test,127.0.0.1',
    "srv-host=_zltunnel._tcp.both.test,two.test,$t[1]{http_port},20",
    "srv-host=_zltunnel._tcp.both.test,one.test,$t[0]{http_port},10",
    "srv-host=_zltunnel._tcp.localhost,one.test,$t[0]{tls_port},10",
    "srv-host=_zltunnel._tcp.secure.test,one.test,$t[0]{tls_port},10",
    "srv-host=itself.test,two.test,$t[1]{http_port}",
    "srv-host=_other._tcp.written.test,two.test,$t[1]{http_port}",
    'srv-host=_zltunnel._tcp.off.test',
    'srv-host=_zltunnel._tcp.lost.test,gone.test,443',
    "srv-host=_zltunnel._tcp.proxied.test,gone.test,443,1",
    "srv-host=_zltunnel._tcp.proxied.test,two.test,$t[1]{http_port},2",
);

subtest 'what is wrong' => \&wrong;
subtest 'TLS' => \&tls;
subtest 'other names' => \&other_names;
subtest 'proxies' => \&proxies;
subtest 'at all of them' => \&all;
subtest 'priorities' => \&priorities;

$t[0]->finish($t[1]);


# What is a URL and what is not.

sub urls {
    my @wrong = (
        [ 'srv+wss://tunnel.test:443', qr/has a port, and that is in the SRV/ ],
        [ 'srv+wss://192.0.2.1', qr/has an address, and an SRV record is of/ ],
        [ 'srv+wss://[2001:db8::1]/a', qr/has an address/ ],
        [ 'srv+wss://', qr/has no name/ ],
        [ 'srv+ws://./a', qr/has no name/ ],
        [ 'srv+ws://_zltunnel._tcp', qr/has no name behind/ ],
        [ 'srv+ws://me@tunnel.test', qr/user name/ ],
        [ 'srv+https://tunnel.test', qr/must begin with .*srv\+wss:\/\// ],
    );

    for my $case (@wrong) {
        my ($url, $re) = @$case;
        my ($rc, $out) = run({ timeout => 10 }, $ZLTunnel::AGENT, 'connect',
                             '--server', $url, '--service', 'a:1');
        is($rc, 2, "$url: exit 2");
        like($out, qr/"server" .*$re/, "$url: told");
    }
}


sub agent {
    my ($server, %o) = @_;

    return $t[0]->agent(token => $token, server => $server,
                        program => $names->program,
                        services => [ "echo:$echo->{port}" ], %o);
}


sub check {
    my ($server, @more) = @_;

    my $file = "$t[0]{dir}/check.conf";

    write_file("$t[0]{dir}/check.token", "$token\n", 0600);
    write_file($file, <<"EOT", 0600);
[agent]
server = $server
token_file = $t[0]{dir}/check.token
connect_timeout = 5s
@{[ join "\n", @more ]}

[service web]
local = 1
EOT

    return run({ timeout => 30 }, $names->program, 'check', '--connect', '-c',
               $file);
}


sub carries {
    my ($agent) = @_;

    my $port = $agent->port('echo') or return 0;
    my $c = ZLTunnel::Wire::Socket->new($port) or return 0;
    $c->send('hello');
    my $ok = ($c->take(5, 10) // '') eq 'hello';
    $c->close;

    return $ok;
}


sub wrong {
    for my $case (
        [ 'none.test', qr/there is no SRV record of "_zltunnel\._tcp\.none\.test", nor of "none\.test" itself$/ ],
        [ '_a._b.none.test', qr/there is no SRV record of "_a\._b\.none\.test"$/ ],
        [ 'off.test', qr/the SRV record of "_zltunnel\._tcp\.off\.test" says that there is no such service/ ],
        [ 'lost.test', qr/"gone\.test", of the SRV record of "_zltunnel\._tcp\.lost\.test": Name or service not known$/ ],
        [ 'refused.example', qr/the SRV record of "_zltunnel\._tcp\.refused\.example": the name server fails, or cannot be reached$/ ],
        [ 'x.silent.test', qr/the SRV record of "_zltunnel\._tcp\.x\.silent\.test": no name server answers$/ ],
    ) {
        my ($name, $re) = @$case;
        my ($rc, $out) = check("srv+ws://$name");

        is($rc, 1, "$name: exit 1");
        like($out, qr/^    name       FAILED  the name "\Q$name\E" cannot be resolved: $re/m,
             "$name: told") or diag($out);
    }
}


# The name server may say what it likes.

sub tls {
    my $ca = ZLTunnel->certs . '/ca.pem';
    my ($rc, $out) = check('srv+wss://localhost', "ca_file = $ca");

    is($rc, 0, 'the name is in the certificate') or diag($out);
    like($out, qr/^    name       OK      SRV _zltunnel\._tcp\.localhost is 127\.0\.0\.1:$t[0]{tls_port}$/m,
         'what the record says is shown');
    like($out, qr/^    TLS        OK      /m, 'and the rest');

    ($rc, $out) = check('srv+wss://secure.test', "ca_file = $ca");
    is($rc, 1, 'it is not');
    like($out, qr/^    TLS        FAILED  .*"?secure\.test/m, 'the name counts')
        or diag($out);
    unlike($out, qr/^    token /m, 'and the token is not sent');
}


sub other_names {
    for my $name ('itself.test', '_other._tcp.written.test') {
        my $agent = agent("srv+ws://$name");

        ok(carries($agent), "$name: serves");
        like($agent->log, qr/connecting to SRV of \Q$name\E$/m, 'the log');
        like($agent->log, qr/SRV \Q$name\E is 127\.0\.0\.1:$t[1]{http_port}$/m,
             'what was found');
        $agent->stop;
    }
}


sub proxies {
    SKIP: {
        my $p = tinyproxy($t[0], names => $names) or skip('no tinyproxy', 1);
        my $agent = agent('srv+ws://proxied.test',
                          args => [ '--proxy', $p->{url} ]);

        ok(carries($agent), 'HTTP: serves');
        like(slurp($p->{log}), qr/CONNECT two\.test:$t[1]{http_port} /,
             'the proxy was asked for the name of the record');
        $agent->stop;
    }

    SKIP: {
        my $p = microsocks($t[0], names => $names)
            or skip('no microsocks', 1);

        for my $scheme ('socks5', 'socks5h') {
            my $agent = agent('srv+ws://proxied.test', args => [
                '--proxy', "$scheme://127.0.0.1:$p->{port}" ]);

            ok(carries($agent), "$scheme: serves");
            $agent->stop;
        }
    }
}


# A link for each.

sub all {
    my $agent = $t[0]->agent(
        token => $token, wait => 0, program => $names->program,
        conf => <<"EOT");
[agent]
server = srv+ws://both.test
mode = all
token_file = %%token_file%%

[service echo]
local = $echo->{port}
EOT

    ok(wait_for(sub {
        my @up = grep { $_->{state} eq 'connected' }
                 @{ ($agent->status || {})->{tunnels} || [] };
        return @up == 2;
    }, 30), 'two links') or diag($agent->log);

    for my $t (@t) {
        like($t->log, qr/agent "alice" (?:connected|is back)/, 'one at each');
        like($agent->log, qr/at both\.test \(127\.0\.0\.1:$t->{http_port}\): /,
             'told apart by the port');
    }

    $agent->stop;
}


# By their order, and on to the next.

sub priorities {
    my $agent = agent('srv+ws://both.test', args => [
        '--reconnect-interval', '100ms', '--max-reconnect-interval', '1s' ]);

    ok(carries($agent), 'serves');
    like($agent->log, qr/SRV _zltunnel\._tcp\.both\.test is 127\.0\.0\.1:$t[0]{http_port}, 127\.0\.0\.1:$t[1]{http_port}$/m,
         'the order');
    like($t[0]->log, qr/agent "alice" connected/, 'at the first');
    is($agent->link->{server}, 'srv+ws://both.test', 'the status');

    kill 'KILL', $t[0]{nginx}->pid, $t[0]->workers;
    $t[0]{nginx}->wait(10);

    ok(wait_for(sub { carries($agent) }, 30), 'the first dies: it serves');
    like($t[1]->log, qr/agent "alice" connected/, 'at the other one');
}
