#!/usr/bin/perl

# Protects: what zltunnel_api changes.  Without write=on nothing; with it a
# tunnel is ended in all workers and no other is touched, its agents are kept
# out for a while, across a reload, and told so; a tunnel is drained and used
# again; an access session ends.  nginx -t warns where anybody could do so.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP ();
use Test::More;
use Time::HiRes ();
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::Proc;
use ZLTunnel::Wire;

my $past = qr/^(?:gone|kept_out)$/;
my $each = 24;                 # connections of each tunnel
my $many = 100;                # tunnels, more than the zone has room for later

my $t = ZLTunnel->new(
    workers => 4, range => 12,
    zltunnel => 'heartbeat_interval 1s;',
    http => 'upstream shop { zltunnel_service shop token=bob; }',
    location => 'location /shop { proxy_pass http://shop; }
        location /api/ { zltunnel_api; }
        location /ctl/ { zltunnel_api write=on; allow 127.0.0.1; deny all; }');

my $pass = $t->free_port;
$t->write_conf(stream => "server { listen 127.0.0.1:$pass;
                                   zltunnel_pass shop token=bob; }");

my $alice = $t->token('alice');
my $bob = $t->token('bob');
my $carol = $t->token('carol', 'sessions=2');
my $dan = $t->token('dan', 'access=both');
my $eve = $t->token('eve', 'sessions=200');
$t->start;

my $echo = $t->service('echo');
my $kicked = $t->agent(token => $alice, services => [ "web:$echo->{port}" ]);
my $spared = $t->agent(token => $bob, services => [ "shop:$echo->{port}" ]);


subtest 'write=off' => sub {
    my $id = tunnel('alice')->{id};

    for ([ 'DELETE', "tunnels/$id", 'GET, HEAD' ],
         [ 'POST', "tunnels/$id/drain", '' ],
         [ 'DELETE', "access/$id", '' ])
    {
        my ($method, $path, $allow) = @$_;
        my $r = request($method, "/api/1/$path");

        is($r->{status}, 405, "$method $path");
        is(code($r), 'MethodDisabled', '.. is off');
        is(($r->{head} =~ /^Allow: ?([^\r\n]*)/m)[0], $allow, '.. and allowed');
    }

    is(tunnel('alice')->{id}, $id, 'the tunnel is there');
    ok(api('/ctl/1/')->{write}, 'write=on is told');
};

subtest 'a tunnel is ended' => sub {
    my $id = tunnel('alice')->{id};
    my @gone = map { connect_to($kicked->port('web')) } 1 .. $each;
    my @there = map { connect_to($spared->port('shop')) } 1 .. $each;

    is(scalar(grep { echo_of($_) } @gone), $each, 'its connections');
    is(scalar(grep { echo_of($_) } @there), $each, '.. and those of another');

    my $since = Time::HiRes::time();
    my $r = request('DELETE', "/ctl/1/tunnels/$id");
    is($r->{status}, 204, 'ended');

    is(scalar(grep { ended($_) } @gone), $each, 'its connections are reset');
    note sprintf 'in %.3f s', Time::HiRes::time() - $since;

    is(scalar(grep { echo_of($_) } @there), $each, 'those of another go on');

    ok($kicked->logged(qr/ended by the administrator/), 'its agent knows why');
    ok(wait_for(sub {
           my $tunnel = tunnel('alice');
           return ($tunnel->{state} // '') eq 'connected'
                  && $tunnel->{id} ne $id && $tunnel->{services};
       }), 'and comes again, as another tunnel');
    ok(wait_for(sub {
           my $c = connect_to($kicked->port('web')) or return 0;
           return echo_of($c);
       }), '.. that works');

    is(code(request('DELETE', "/ctl/1/tunnels/$id")), 'TunnelNotFound',
       'only once');
};

subtest 'kept out' => sub {
    my $id = tunnel('alice')->{id};

    for (qw(0 x -1 9999d), '') {
        my $r = request('DELETE', "/ctl/1/tunnels/$id?for=$_");
        is("$r->{status} " . code($r), '400 ParameterInvalid', "for=$_");
    }

    for ([ "tunnels/$id?fro=10m", 'DELETE', 'fro' ],
         [ "tunnels/$id?pretty&for", 'DELETE', 'for' ],
         [ "tunnels/$id/drain?for=10m", 'POST', 'for' ],
         [ 'access/' . '0' x 32 . '?for=1', 'DELETE', 'for' ])
    {
        my ($path, $method, $name) = @$_;
        my $r = request($method, "/ctl/1/$path");
        is("$r->{status} " . code($r), '400 ParameterInvalid',
           "$method $path");
        like($r->{body}, qr/there is no argument \\"$name\\"/,
             '.. which the error names');
    }

    is(tunnel('alice')->{id}, $id, 'nothing was done');
    is(tunnel('alice')->{state}, 'connected', '.. at all');

    is(request('DELETE', "/ctl/1/tunnels/$id?for=10m")->{status}, 204,
       'for=10m');
    ok($kicked->logged(qr/kept out by the administrator until 20\d\d-/),
       'its agent knows until when');
    ok($kicked->logged(qr/kept out.*\n.*connecting again in/), 'it asks again');
    my @in = $kicked->log =~ /connecting again in ([\d.]+) s/g;
    cmp_ok($in[-1], '<=', 30, '.. within 30 s, as it is said');

    my $until = token('alice')->{kept_out};
    like($until, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'so does the API');
    is(token('bob')->{kept_out}, undef, 'others are not');

    my $again = $t->agent(token => $alice, wait => 0,
                          services => [ "web:$echo->{port}" ]);
    ok($again->logged(qr/refuses the tunnel: kept out by the administrator/),
       'one that starts is refused, and goes on');

    my %before = map { $_ => 1 } $t->workers;
    kill HUP => $t->{nginx}->pid;
    ok(wait_for(sub {
           my @now = $t->workers;
           return @now == 4 && !grep { $before{$_} } @now;
       }), 'a reload');

    is(token('alice')->{kept_out}, $until, 'still kept out');

    my $third = $t->agent(token => $alice, wait => 0,
                          services => [ "web:$echo->{port}" ]);
    ok($third->logged(qr/refuses the tunnel: kept out by the administrator/),
       'it is refused by new workers');

    my ($gone) = past('alice');
    is("$gone->{id} $gone->{state}", "$id kept_out", 'its tunnel is shown');
    like($gone->{last_error}{text}, qr/^kept out by the administrator until /,
         '.. with the reason');
    like($gone->{$_}, qr/^20\d\d-/, ".. $_")
        for qw(connected last_seen disconnected);
    is($gone->{address}, '127.0.0.1', '.. and the address');
    is(api("/ctl/1/tunnels/$id")->{state}, 'kept_out', 'alone, too');
    is_deeply(tunnel('alice'), {}, 'there is no other');
    ok(wait_for(sub { (tunnel('bob')->{state} // '') eq 'connected' }),
       'the other agent is there');

    $_->stop for $again, $third;

    is(request('POST', "/ctl/1/tunnels/$id/resume")->{status}, 204,
       'they are let in again');
    is(token('alice')->{kept_out}, undef, 'kept out no longer');
    is((past('alice'))[0]{state}, 'gone', 'the tunnel has gone');
    is(request('POST', "/ctl/1/tunnels/$id/resume")->{status}, 404,
       'only once');

    my $fourth = $t->agent(token => $alice, services => [ "web:$echo->{port}" ]);
    my $now = tunnel('alice');
    ok($now->{id} && $now->{id} ne $id, 'one comes');
    $_->stop for $fourth, $kicked;

    is(request('DELETE', "/ctl/1/tunnels/$id")->{status}, 404,
       'one that has gone cannot be ended');
    is(request('DELETE', "/ctl/1/tunnels/$id?for=1s")->{status}, 204,
       '.. but kept out');
};

subtest 'for a while' => sub {
    my $agent = $t->agent(token => $carol, services => [ "c:$echo->{port}" ]);
    my $id = tunnel('carol')->{id};

    is(request('DELETE', "/ctl/1/tunnels/$id?for=2s")->{status}, 204,
       'for=2s');
    ok(wait_for(sub { (tunnel('carol')->{state} // '') eq 'connected'
                      && tunnel('carol')->{id} ne $id }), 'it is back');
    is(token('carol')->{kept_out}, undef, 'and kept out no longer');
    $agent->stop;
};

subtest 'kept out, and many others go' => sub {
    my $x = ZLTunnel::Wire->agent($t, $carol);
    my $id = unpack 'H*', $x->{ok}{tunnel_id};

    is(request('DELETE', "/ctl/1/tunnels/$id?for=10m")->{status}, 204,
       'kept out');

    my @many = map { ZLTunnel::Wire->agent($t, $eve) } 1 .. $many;
    my @ids = map { unpack 'H*', $_->{ok}{tunnel_id} } @many;
    my ($asked, $twice) = (0, 0);
    is(scalar(grep {
           my $status = request('DELETE', "/ctl/1/tunnels/$_")->{status};
           $twice += twice() if !(++$asked % 10);
           $status == 204;
       } @ids), $many, 'more than are known afterwards');
    is($twice, 0, '.. each was there once');
    ok(!(grep { $_->{id} eq $ids[0] } past('eve')), 'the first is not');

    is(((past('carol'))[0] // {})->{state}, 'kept_out', 'who is kept out is');
    is(request('POST', "/ctl/1/tunnels/$id/resume")->{status}, 204,
       'and can be let in');
    ok(ZLTunnel::Wire->agent($t, $carol), 'comes');
};

subtest 'a page of another origin' => sub {
    my $id = tunnel('bob')->{id};

    for (qw(http://evil.example https://localhost.evil.example null
            http://localhost:1))
    {
        my $r = request('POST', "/ctl/1/tunnels/$id/resume", "Origin: $_\r\n");
        is("$r->{status} " . code($r), '403 CrossSite', $_);
    }

    is(request('POST', "/ctl/1/tunnels/$id/resume",
               "Origin: http://localhost\r\n")->{status}, 204, 'one of its own');
};

subtest 'drained' => sub {
    my $id = tunnel('bob')->{id};
    my $port = $spared->port('shop');
    my $c;

    ok(wait_for(sub { $c = connect_to($port) and echo_of($c) }), 'a connection');

    is(request('POST', "/ctl/1/tunnels/$id/drain")->{status}, 204, 'drained');
    is(tunnel('bob')->{state}, 'draining', 'so it says');
    ok(echo_of($c), 'the connection goes on');
    ok(ended(connect_to($port)), 'there are no new ones');

    my $from = length $t->log;
    my $drained = qr/service[ ]"shop"[ ]of[ ][^\n]*[ ]takes[ ]nobody:[ ]the[ ]
                     administrator[ ]has[ ]drained/x;

    ok(ended(connect_to($pass)), '.. nor by zltunnel_pass');
    ok(wait_for(sub { substr($t->log, $from) =~ $drained }),
       '.. the log has why');
    is(request('GET', '/shop')->{status}, 502, '.. nor by an upstream');
    ok(wait_for(sub { 2 <= (() = substr($t->log, $from) =~ /$drained/g) }),
       '.. the log has why');
    unlike(substr($t->log, $from), qr/no agent.* has registered service/,
           '.. and not that nobody has the service');

    is(request('POST', "/ctl/1/tunnels/$id/resume")->{status}, 204, 'resumed');
    is(tunnel('bob')->{state}, 'connected', 'so it says');
    ok(echo_of(connect_to($port)), 'there are new ones');
    ok(echo_of($c), 'the old one goes on');
};

subtest 'balanced' => sub {
    my @agents = map { $t->agent(token => $carol,
                                 services => [ "both:$echo->{port}" ]) } 1, 2;
    my @ids = map { $_->{id} } grep { $_->{state} eq 'connected' && $_->{token} eq 'carol' }
              @{ api('/ctl/1/tunnels')->{tunnels} };
    is(scalar @ids, 2, 'two tunnels');

    my $v = visitor($t, $dan);
    my $access = opened($v, 'both', ttl => 60);

    is(request('POST', "/ctl/1/tunnels/$ids[0]/drain")->{status}, 204,
       'one is drained');

    my $before = total($ids[1]);
    my @v = map { connected($v, $access) } 1 .. 4;

    is(scalar(grep { $_ } @v), 4, 'connections');
    is(total($ids[0]), 0, '.. none of them there');
    is(total($ids[1]) - $before, 4, '.. all at the other');

    my $r = request('DELETE', '/ctl/1/access/' . unpack 'H*', $access);
    is($r->{status}, 204, 'the access session is ended');

    my $m = $v->expect('AccessClose');
    is($m->{reason}, 'ended by the administrator', 'the visitor is told');
    ok(gone($v, $access), 'it takes no connection any more');
    is(scalar(grep { defined $_->take(1) } @v), 0, 'those it had are closed');

    $r = request('DELETE', '/ctl/1/access/' . unpack 'H*', $access);
    is("$r->{status} " . code($r), '404 AccessNotFound', 'only once');
    $v->close;
};

subtest 'errors of a tunnel' => sub {
    my $id = tunnel('bob')->{id};

    is(tunnel('bob')->{last_error}, undef, 'there was none');

    kill KILL => $spared->pid;

    ok(wait_for(sub { tunnel('bob')->{state} eq 'disconnected' }),
       'its agent is killed');
    is(tunnel('bob')->{last_error}{text}, 'the connection was lost',
       'so it says');

    $spared = $t->agent(token => $bob, services => [ "shop:$echo->{port}" ]);
    is(tunnel('bob')->{id}, $id, 'another takes the tunnel');
    is(scalar(grep { $_->{id} eq $id } @{ api('/ctl/1/tunnels')->{tunnels} }),
       1, '.. which is there once');
    is(tunnel('bob')->{disconnected}, undef, 'it is there');
    is(tunnel('bob')->{last_error}{text}, 'the connection was lost',
       'the error is its last');
};

subtest 'what is refused' => sub {
    my $id = tunnel('bob')->{id};
    my $none = '0' x 32;

    for ([ 'DELETE', "tunnels/$none", 404, 'TunnelNotFound' ],
         [ 'POST', "tunnels/$none/resume", 404, 'TunnelNotFound' ],
         [ 'POST', "tunnels/$id/stop", 404, 'PathNotFound' ],
         [ 'DELETE', "services/$id", 404, 'PathNotFound' ],
         [ 'PUT', "tunnels/$id", 405, 'MethodNotAllowed',
           'GET, HEAD, DELETE' ],
         [ 'GET', "tunnels/$id/drain", 405, 'MethodNotAllowed', 'POST' ],
         [ 'DELETE', 'tunnels', 405, 'MethodNotAllowed', 'GET, HEAD' ],
         [ 'GET', "access/$id", 405, 'MethodNotAllowed', 'DELETE' ])
    {
        my ($method, $path, $status, $code, $allow) = @$_;
        my $r = request($method, "/ctl/1/$path");

        is("$r->{status} " . code($r), "$status $code", "$method $path");
        is(($r->{head} =~ /^Allow: ([^\r\n]*)/m)[0], $allow, '.. allowed');
    }

    for my $site (qw(cross-site same-site)) {
        my $r = request('DELETE', "/ctl/1/tunnels/$id",
                        "Sec-Fetch-Site: $site\r\n");
        is("$r->{status} " . code($r), '403 CrossSite', $site);
    }

    is(tunnel('bob')->{id}, $id, 'nothing was done');
};

subtest 'a warning' => sub {
    my $warns = qr/\[warn\] .*"zltunnel_api" with "write=on" is in a location that/;

    for ([ 'location /w { zltunnel_api write=on; }', 1 ],
         [ 'location /w { zltunnel_api; }', 0 ],
         [ 'location /w { zltunnel_api write=on; deny all; }', 0 ],
         [ 'location /w { allow ::1; zltunnel_api write=on; }', 0 ],
         [ 'location /w { zltunnel_api write=on; satisfy any;
                          auth_basic x; auth_basic_user_file u; }', 0 ],
         [ 'location /w { zltunnel_api write=on; auth_basic off; }', 1 ],
         [ 'location /w { zltunnel_api write=on; auth_request /a; }', 0 ],
         [ 'location /w { zltunnel_api write=on; internal; }', 0 ],
         [ 'location /w { zltunnel_api write=on;
                          limit_except GET { deny all; } }', 0 ],
         [ 'allow 127.0.0.1; deny all; location /w { zltunnel_api write=on; }',
           0 ])
    {
        my ($conf, $expected) = @$_;
        my ($rc, $out) = $t->test_conf(location => $conf);

        is($rc, 0, $conf) or diag $out;
        is($out =~ $warns ? 1 : 0, $expected,
           $expected ? '.. warns' : '.. does not warn');
    }

    $t->write_conf;
};

$t->finish;


sub request {
    my ($method, $path, $headers) = @_;

    return http_request($t->{http_port}, "$method $path HTTP/1.1\r\n"
        . "Host: localhost\r\n" . ($headers // '')
        . "Connection: close\r\n\r\n");
}

sub api { JSON::PP::decode_json(request('GET', @_)->{body}) }
sub code { JSON::PP::decode_json($_[0]{body})->{error}{code} }

sub tunnel {
    my ($token) = @_;
    return (grep { $_->{token} eq $token && $_->{state} !~ $past }
            @{ api('/ctl/1/tunnels')->{tunnels} })[0] // {};
}

# those that have gone, the latest first

sub past {
    my ($token) = @_;
    return grep { $_->{token} eq $token && $_->{state} =~ $past }
           @{ api('/ctl/1/tunnels')->{tunnels} };
}

# how many tunnels are in the list again

sub twice {
    my %n;
    $n{ $_->{id} }++ for @{ api('/ctl/1/tunnels')->{tunnels} };
    return scalar grep { $_ > 1 } values %n;
}

sub total {
    my ($id) = @_;
    return api("/ctl/1/tunnels/$id")->{total};
}

sub token {
    my ($name) = @_;
    return (grep { $_->{name} eq $name }
            @{ api('/ctl/1/tokens')->{tokens} })[0];
}

sub echo_of {
    my ($c) = @_;

    return 0 unless $c && syswrite $c, 'ping';

    vec(my $in = '', fileno $c, 1) = 1;
    return 0 unless select $in, undef, undef, 10 * slowdown();

    my $got = '';
    sysread $c, $got, 4;
    return $got eq 'ping';
}

# whether it is reset, or at its end, or never was

sub ended {
    my ($c) = @_;

    return 1 unless $c;

    vec(my $in = '', fileno $c, 1) = 1;
    return 0 unless select $in, undef, undef, 10 * slowdown();

    return !sysread $c, my $got, 4;
}
