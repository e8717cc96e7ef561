#!/usr/bin/perl

# Protects: what docs/operations.md has for http and stream between nodes, as it
# is written there.  A request at the node without the agent is served by way of
# the other one, with all that it has; one for which there is no agent anywhere
# makes one hop, and none comes back; and nobody but a node comes in there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::App ();
use ZLTunnel::Fleet;
use ZLTunnel::Wire;

my $CLIENT = '127.0.0.77';

my $fleet = ZLTunnel::Fleet->new(3, rights => 'hosts=web.example.com',
                                 zltunnel => 'reconnect_grace 1s;');
my @t = @{ $fleet->{t} };
my @ip = @{ $fleet->{ip} };
my $certs = $t[0]->certs;
my %port = map { $_ => $fleet->port } qw(443 5432 7441 7442 7443 7444 7445);

# the third has no agent, and comes in at the end

configure(0, 1);
configure(1, 0);
configure(2, 0);
$fleet->start;

my $app = ZLTunnel::App::app($t[0], 'home');
my $echo = $t[0]->service('echo');

subtest 'no agent anywhere' => \&nowhere;

my $agent = $t[1]->agent(
    token => $fleet->{token}, wait => 0, conf => <<"EOT");
[agent]
server = ${\ $t[1]->url('ws') }
token_file = %%token_file%%
[service web]
local = 127.0.0.1:$app->{port}
host = web.example.com
[service db]
local = 127.0.0.1:$echo->{port}
private = yes
EOT
ok($agent->in_state('agent', 'connected'), 'an agent at the second node')
    or diag($agent->log);

subtest 'the agent is at the other node' => \&other;
subtest 'strangers' => \&strangers;
subtest 'the other node dies' => \&death;
subtest 'three nodes' => \&three;

$fleet->finish;


# The node at 10.0.0.1 is number $n, the other one $other.

sub configure {
    my ($n, $other, $change) = @_;

    my $dir = $t[$n]{dir};
    my $block = ZLTunnel::Fleet->block('Between nodes', 'tunnelled_here');

    $change->($block) if $change;
    $block =~ s/10\.0\.0\.1\b/$ip[$n]/g;
    $block =~ s/10\.0\.0\.2\b/$ip[$other]/g;
    $block =~ s/listen (\d+)\b(?!\.)/listen $ip[$n]:$1/g;
    $block =~ s/127\.0\.0\.1:/$ip[$n]:/g;
    $block =~ s/(listen \S+:443) ssl/$1/;     # the client here has none
    $block =~ s/\b(443|5432|744[1-5])\b/$port{$1}/g;
    $block =~ s/\b(?:tunnel|node)\.(pem|key);/$certs\/server.$1;/g;
    $block =~ s/nodes-ca\.pem/$certs\/ca.pem/g;
    $block =~ s/nodes\.example\.com/localhost/;

    my ($http, $db) = map { "access_log $dir/logs/asked.access$_;" } '', ' s';
    $block =~ s/(real_ip_header.*)/$1\n $http/;
    $block =~ s/(zltunnel_pass.*)/$1\n $db/;

    # all are one machine

    $block =~ s/(proxy_ssl_name)/proxy_bind $ip[$n]; $1/;
    $block =~ s/keepalive 64;/$& keepalive_timeout 1s;/g;

    my ($stream) = $block =~ /^stream \{\n(.*?)^\}/ms;
    $block =~ s/^stream .*//ms;

    $t[$n]->write_conf(http => $block, stream => "log_format s 'db';\n$stream");
}


# How often the other node has asked it.

sub asked { return scalar(() = slurp("$t[ $_[0] ]{dir}/logs/asked.access")
                            =~ /\n/g) }


sub get {
    my ($n, $line, %o) = @_;

    my $s = ZLTunnel::connect_to($port{443}, PeerAddr => $ip[$n],
                                 LocalAddr => $CLIENT)
        or return { status => 0 };
    return ZLTunnel::App::request($port{443}, $line, host => 'web.example.com',
                                  socket => $s, timeout => 30, %o);
}


sub db {
    my ($n) = @_;
    return ZLTunnel::Wire::Socket->new($port{5432}, PeerAddr => $ip[$n]);
}


# The log comes behind the answer.  What goes in circles is in it before that.

sub were_asked {
    my ($n, $what) = @_;

    wait_for(sub { asked(0) >= $n && asked(1) >= $n });
    is_deeply([ map { asked($_) } 0, 1 ], [ $n, $n ], $what);
}


sub nowhere {
    my $start = time;

    like(get($_, 'GET /')->{status}, qr/^(404|503)$/, "node $_ says so")
        for 0, 1;
    were_asked(1, 'each has asked the other one, once, and nobody in turn');

    like(db($_)->ending(10), qr/^(eof|reset)$/, "node $_: a connection ends")
        for 0, 1;
    were_asked(2, 'one hop as well');

    note(sprintf 'after %.1f s', time - $start);
}


sub other {
    my @before = map { asked($_) } 0, 1;

    my $r = get(0, 'GET /headers');
    is($r->{status}, 200, 'the first node serves');
    like($r->{body}, qr/^Host: web\.example\.com\r?$/m, 'Host is what was said');
    like($r->{body}, qr/^X-Forwarded-For: \Q$CLIENT\E\r?$/m,
         'the client is known by its address');
    like($r->{body}, qr/^X-Forwarded-Proto: https\r?$/m, 'and its scheme');

    $r = get(0, 'POST /upload', body => 'x' x 300_000);
    like($r->{body}, qr/^300000 [0-9a-f]{64}$/, 'POST with a body');

    $r = get(0, 'GET /ws', upgrade => 1, headers => {
        Upgrade => 'websocket', Connection => 'Upgrade',
        'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version' => 13 });
    is($r->{status}, 101, 'a WebSocket');

    ok(wait_for(sub { asked(1) == $before[1] + 3 }),
       'the other one was asked for each');
    is(asked(0), $before[0], 'and has asked nobody');

    my $c = db(0);
    $c->send('hello');
    is($c->take(5, 10), 'hello', 'stream: bytes there and back');
    $c->close;

    is(get(1, 'GET /')->{status}, 200, 'the second node serves by itself');
    is(asked(0), $before[0], 'without the first');
}


sub strangers {
    for my $port (7442, 7444) {
        for my $cert (undef, 'unknown') {
            my ($rc, $out) = run({ timeout => 20, input => "GET / HTTP/1.0\r\n"
                                   . "Host: web.example.com\r\n\r\n" },
                'openssl', 's_client', '-quiet', '-connect',
                "$ip[1]:$port{$port}", $cert
                ? ('-cert', "$certs/$cert.pem", '-key', "$certs/$cert.key") : ());
            unlike($out, qr/^home |HTTP\/1\.\d 200/m,
                   "$port: " . ($cert ? 'another certificate' : 'no certificate')
                   . ' gets nothing');
        }
    }
}


sub death {
    $fleet->crash(1);

    my $start = time;
    my $status = get(0, 'GET /')->{status};

    like($status, qr/^50[234]$/, "the client is told ($status)");
    note(sprintf 'after %.1f s', time - $start);
    like(db(0)->ending(10), qr/^(eof|reset)$/, 'stream: the connection ends');

    $t[1]->start;
    ok($agent->in_state('agent', 'connected', 30), 'it is back');
    ok(wait_for(sub { get(0, 'GET /')->{status} == 200 }), 'and serves');
}


# Whichever is asked first, and it stays in use though it has no agent.

sub three {
    configure(0, 1, sub {
        my ($wrapper) = $_[0] =~ /^( *server \{ listen \S+:7441;.*\n)/m;
        my $third = $wrapper =~ s/7441/7445/r =~ s/10\.0\.0\.2/$ip[2]/r;
        my $on = 'proxy_next_upstream error timeout http_404 http_502 http_503;';

        for ([ 'server 127.0.0.1:7441 backup;', join ' ', map {
                   "server 127.0.0.1:$_ backup max_fails=0;" } 7441, 7445 ],
             [ "location / {\n        include    zltunnel_proxy.conf;",
               "include zltunnel_proxy.conf;\nlocation / { $on" ],
             [ $wrapper, "$wrapper$third" ])
        {
            my ($from, $to) = @$_;
            $_[0] =~ s/\Q$from\E/$to/ or die "there is no $from";
        }
    });
    $t[0]->{nginx}->kill('HUP');

    ok(wait_for(sub { get(0, 'GET /'); asked(2) }),
       'both others are asked');

    my ($self, $before) = map { asked($_) } 0, 2;
    my @other;

    # an old worker, which knows of two, may still be there

    ok(wait_for(sub {
        push @other, grep { $_ != 200 } map { get(0, 'GET /')->{status} } 1 .. 4;
        return asked(2) > $before + 2;
    }), 'one that has no agent is asked again and again');
    is_deeply(\@other, [], 'and the one that has it answers');
    is(asked(0), $self, 'and asks nobody in turn');
}
