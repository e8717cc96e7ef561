#!/usr/bin/perl

# Protects: zltunnel_auth.  A location decides which tokens are let in, with
# which rights, in the words of the token file; its answer is kept for its
# max-age, asked for again for live tunnels, and holds for "stale" when nobody
# can say.  Whatever is wrong with it refuses an agent for now, never for good,
# and keeps no worker from its work.

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

my $many = sizes('agents that come back at once', 10000, 300);

need_nofile($many + 9000) if long_run();

my $t = ZLTunnel->new(
    workers => 2, range => 12, zone => '64m', connections => $many + 8192,
    zltunnel => "max_tunnels 20000; max_unauthenticated $many;
                 heartbeat_interval 1s; heartbeat_timeout 30s;");

my $dir = "$t->{dir}/auth";
mkdir $dir;
my $port = $t->free_port;

my $locations = <<"EOT";
    location = /strict {
        zltunnel;
        zltunnel_auth /auth timeout=1s stale=0;
        zltunnel_auth_interval 1s;
    }
    location = /stale {
        zltunnel;
        zltunnel_auth /auth timeout=1s stale=1h;
        zltunnel_auth_interval 1s;
    }
    location = /slow { zltunnel; zltunnel_auth /auth timeout=20s; }
    location = /yes { zltunnel; zltunnel_auth /all; }
    location = /no { zltunnel; zltunnel_auth /none; }
    location = /nowhere { zltunnel; zltunnel_auth /missing; }

    location = /auth {
        internal;
        proxy_pass http://127.0.0.1:$port;
        proxy_set_header X-Real-IP \$remote_addr;
        proxy_connect_timeout 2s;
    }
    location = /all { return 200; }
    location = /none { return 403; }
    location = /stub { stub_status; }
    location /api/ { zltunnel_api; allow 127.0.0.1; deny all; }
EOT

$t->write_conf(location => $locations);

my $alice = $t->token('alice');
my %answers = ('*' => '401 0');
my $turn = 0;
my @held;                      # control channels that wait to the end
answers();
my $backend = backend();
$t->start;

my $echo = $t->service('echo');

sub backend {
    my $proc = $t->spawn('auth', $^X, "$FindBin::Bin/../lib/auth.pl", $port,
                         $dir);

    wait_for(sub { connect_to($port) }) or die 'no backend';
    return $proc;
}

# What is answered from now on: token => "STATUS DELAY HEADERS".

sub answers {
    %answers = (%answers, @_);
    write_file("$dir/answers.new",
               join '', $turn++ . "\n", map { "$_ $answers{$_}\n" } keys %answers);
    rename "$dir/answers.new", "$dir/answers";
}

# A token with its answer.

sub granted {
    my ($rights, %o) = @_;

    my $token = ZLTunnel::random_token();
    push @{ $t->{secrets} }, $token;
    answers($token => '200 ' . ($o{delay} // 0) . ' '
                      . join '|', length $rights ? "Zltunnel-Token: $rights"
                                                 : (),
                                  @{ $o{headers} || [] });
    return $token;
}

# How often a token was asked for.

sub asked { my ($token) = @_;
            return scalar grep { / \Q$token\E / } split /\n/,
                                 slurp("$dir/asked") }

# What a token is told at a path: the AuthOk, or AuthFail.

sub told {
    my ($path, $token, %o) = @_;

    my $c = ZLTunnel::Wire->control($t, path => $path);
    $c->auth($token, features => 7, %o);
    my $m = $c->next(20) // { type => "none: $c->{end}" };
    $c->reset if !$o{keep};

    return $o{keep} ? ($m, $c) : $m;
}

sub agent {
    my ($path, $token, %o) = @_;
    return $t->agent(server => "ws://127.0.0.1:$t->{http_port}$path",
                     token => $token, services => [ "web:$echo->{port}" ],
                     %o);
}

sub greeted {
    my $c = connect_to($_[0]) or return;
    syswrite $c, "hello\n";
    my $line = <$c>;
    return ($line // '') eq "hello\n" && $c;
}


subtest 'who is let in' => sub {
    my $good = granted('good sessions=2 services=web,db ports=1-65535');

    is(told('/strict', $good)->{type}, 'AuthOk', 'the right token');

    my ($line) = grep { /$good/ } split /\n/, slurp("$dir/asked");
    like($line, qr/Zltunnel-Address: 127\.0\.0\.1/, '.. asked with an address');
    like($line, qr/X-Real-IP: 127\.0\.0\.1/, '.. which is $remote_addr');

    my $m = told('/strict', 'wrong');
    is($m->{type}, 'AuthFail', 'another token is refused');
    is($m->{code}, 6, '.. for good');

    answers(told => '403 0 Zltunnel-Reason: bill <unpaid>');
    is(told('/strict', 'told')->{reason}, 'bill <unpaid>', '.. with a reason');

    my $asked = asked($alice);
    is(told('/strict', $alice)->{type}, 'AuthOk', 'a token of the file');
    is(asked($alice), $asked, '.. is not asked for');

    is(told('/tunnel/v1', $good)->{type}, 'AuthFail',
       'where no zltunnel_auth is, the file alone counts');

    is(told('/yes', 'anybody')->{type}, 'AuthOk', 'return 200');
    is(told('/yes', 'somebody')->{type}, 'AuthOk', '.. and another one');
    is(told('/no', 'nobody')->{code}, 6, 'return 403');

    is(told('/yes', "a b\r\nZltunnel-Agent: x")->{code}, 1,
       'a token that is no header is not asked for');
};


subtest 'who cannot be verified comes again' => sub {
    my $many = granted('many services=web unheard=of');
    my $none = granted('no/name services=web');
    my $slow = granted('slow', delay => 3);

    answers(broken => '500 0', garbage => 'garbage 0', moved => '302 0',
            two => '200 0 Zltunnel-Token: a services=web|Zltunnel-Token: b',
            empty => '200 0 Zltunnel-Token: ');

    for ([ two => 'two of them' ], [ empty => 'an empty one' ],
         [ broken => '500' ], [ garbage => 'garbage' ], [ moved => '302' ],
         [ $many => 'an unknown word' ], [ $none => 'a bad name' ],
         [ $slow => 'too slow' ])
    {
        my ($token, $what) = @$_;
        my $m = told('/strict', $token);

        is($m->{type}, 'AuthFail', $what);
        is($m->{code}, 10, '.. is busy');
        ok($m->{ext}{4} || $m->{ext}{5} || keys %{ $m->{ext} } > 1,
           '.. and says when to come again');
    }

    is(told('/nowhere', 'x')->{code}, 10, 'a location that is missing');

    like($t->log, qr/its Zltunnel-Token is wrong: unknown parameter/,
         'the log says what is wrong');
    like($t->log, qr/is wrong: \Q$_\E/, ".. that $_")
        for 'there is more than one', 'it is empty';
    unlike($t->log, qr/unheard/, '.. and no value');

    my $agent = agent('/strict', 'broken', wait => 0);
    ok(wait_for(sub { $agent->log =~ /cannot be verified/ }), 'an agent');
    answers(broken => '200 0 Zltunnel-Token: mended');
    ok($agent->registered(1), '.. goes on, and is let in then');
    $agent->stop;
};


subtest 'an answer is kept for its max-age' => sub {
    my $kept = granted('kept sessions=9',
                       headers => [ 'Cache-Control: private, max-age=600' ]);
    my $fresh = granted('fresh sessions=9');

    for (1 .. 6) {
        is(told('/slow', $_)->{type}, 'AuthOk', 'let in') for $kept, $fresh;
    }

    is(asked($kept), 1, 'asked once, in all workers');
    is(asked($fresh), 6, 'without max-age each time');
};


subtest 'what the operator sees' => sub {
    my $list = JSON::PP::decode_json(http_get($t->{http_port},
                                              '/api/1/tokens')->{body});
    my %tokens = map { $_->{name} => $_ } @{ $list->{tokens} };

    is($tokens{kept}{sessions}, 9, 'the API has the token');
    ok($tokens{alice}, '.. and those of the file');

    my $metrics = http_get($t->{http_port},
                           '/tunnel/status?format=prometheus')->{body};
    my %n = $metrics
            =~ /^zltunnel_auth_requests_total\{result="(\w+)"\} (\d+)/mg;
    cmp_ok($n{$_}, '>', 0, "questions: $_") for qw(allowed refused failed);
};


subtest 'rights of a live tunnel' => sub {
    my $token = granted('live services=web,api max_connections=2');
    my $agent = agent('/strict', $token,
                      services => [ map { "$_:$echo->{port}" } qw(web api) ]);
    my $port = $agent->registered(2)->{web}{port};
    my $api = $agent->port('api');

    ok(my @c = map { greeted($port) } 1 .. 2, 'two connections');
    ok(!greeted($port), 'no third one');
    close $_ for @c;

    answers($token => '200 0 Zltunnel-Token: live services=web');
    ok(wait_for(sub { $agent->log =~ /api.*not allow/ }),
       'a right that is taken back takes its service');
    ok(wait_for(sub { refuses($api) }), '.. its port is closed');
    ok($c[0] = greeted($port), 'the other one stays');
    ok(wait_for(sub { my @more = map { greeted($port) } 1 .. 4;
                      4 == grep { $_ } @more }), 'a limit that is lifted');

    # an answer that would be kept for long, for whoever comes

    answers($token => '200 0 Zltunnel-Token: live services=web'
                      . '|Cache-Control: max-age=600');
    my $asked = asked($token);
    ok(wait_for(sub { asked($token) > $asked + 1 }), 'asked again all the time');
    is(told('/strict', $token)->{code}, 3, 'nobody else comes');

    answers($token => '403 0 Cache-Control: max-age=600');
    $asked = asked($token);
    ok(wait_for(sub { $agent->log =~ /The token was revoked/ }),
       'a token that is revoked');
    cmp_ok(asked($token), '<=', $asked + 3, '.. by the next answer');
    ok(wait_for(sub { refuses($port) }), '.. ends its tunnel');
    is(scalar readline($c[0]) // '', '', '.. and its connections');
};


subtest 'a visitor' => sub {
    my $token = granted('guest access=shop');
    my $shop = agent('/slow', granted('shop services=shop'),
                     services => [ "shop:$echo->{port}/private" ]);
    $shop->registered(1);

    my $c = visitor($t, $token, path => '/strict');
    my $id = opened($c, 'shop');

    for (1 .. 8) {
        my $v = connected($c, $id);
        ok($v, 'a connection, in either worker');
        $v->reset if $v;
    }

    answers($token => '200 0 Zltunnel-Token: guest access=other');
    ok(wait_for(sub { gone($c, $id) }), 'the right is taken back');

    $c->reset;
    $shop->stop;
};


# Its grant is over from one answer to the next, but for who uses it.

subtest 'a name of any letters, and what is behind it' => sub {
    for my $name ("apart\t", "m\xc3\xbcller ", 'note#') {
        my $token = granted($name . 'services=web');
        my ($m, $c) = told('/strict', $token, keep => 1);

        is($m->{type}, 'AuthOk', 'let in');
        ok(wait_for(sub { asked($token) > 4 }, 15), '.. and stays');
        $c->reset;
    }
};


subtest 'the backend is down' => sub {
    my $token = granted('stays sessions=2');
    my $strict = granted('goes');
    my $agent = agent('/stale', $token);
    my $other = agent('/strict', $strict, services => [ "e:$echo->{port}" ]);
    my $port = $agent->registered(1)->{web}{port};
    $other->registered(1);

    $backend->stop;

    ok(wait_for(sub { $other->log =~ /cannot be verified any more/ }),
       'stale=0: the tunnel ends');
    like($t->log, qr/agent "goes" cannot be verified any more, since/,
         '.. the log says why');
    ok($other->{proc}->running, '.. its agent goes on');
    ok(greeted($port), 'stale=1h: it stays');
    is(told('/stale', $token)->{type}, 'AuthOk', '.. and may come again');
    is(told('/stale', granted('new'))->{code}, 10, 'a new one does not come');

    $backend = backend();
    ok(wait_for(sub { $t->service_status('e') }, 30), 'all come back');
    $_->stop for $agent, $other;
};


subtest 'all come back at once' => sub {
    my @tokens = map { ZLTunnel::random_token() } 1 .. $many;
    my $n = 0;
    answers(map { $_ => '200 0.05 Zltunnel-Token: agent-' . $n++ } @tokens);
    write_file("$dir/asked", '');

    my @controls;
    my $opened = 0;
    my $longest = 0;
    my $from = Time::HiRes::time();

    for my $token (@tokens) {
        my $c = ZLTunnel::Wire->control($t, path => '/slow');
        $c->auth($token, features => 7);
        push @controls, $c;
    }

    for my $c (@controls) {
        my $at = Time::HiRes::time();
        http_get($t->{http_port}, '/all') if $opened % 20 == 0;
        my $gap = Time::HiRes::time() - $at;
        $longest = $gap if $gap > $longest;

        my $m = $c->next(60);
        $opened++ if $m && $m->{type} eq 'AuthOk';
    }

    note sprintf 'all in %.1f s, the longest request %.0f ms',
        Time::HiRes::time() - $from, 1000 * $longest;

    is($opened, $many, 'all are let in');
    my ($r, $w) = http_get($t->{http_port}, '/stub')->{body}
                  =~ /Reading: (\d+) Writing: (\d+)/;
    is("$r $w", '0 1', 'what nginx counts of requests adds up');

    cmp_ok($longest, '<', 2 * slowdown(), 'no worker was blocked');

    my ($most) = sort { $b <=> $a } slurp("$dir/asked") =~ /^(\d+) /mg;
    cmp_ok($most, '<=', 64, 'so many questions at once, of both workers');

    my %mine = map { $_ => 1 } @tokens;
    is(scalar(grep { $mine{$_} } slurp("$dir/asked") =~ /^\d+ (\S+)/mg), $many,
       'each asked once');

    $_->reset for @controls;
};


subtest 'what nginx -t says' => sub {
    for ([ 'zltunnel_auth /a;', qr/must be in the location where "zltunnel" is/ ],
         [ 'zltunnel; zltunnel_auth /a; zltunnel_auth /b;', qr/is duplicate/ ],
         [ 'zltunnel; zltunnel_auth auth;', 
           qr/"zltunnel_auth" has "auth", which is no URI of a location/ ],
         [ 'zltunnel; zltunnel_auth /a?b;', 
           qr/"zltunnel_auth" has "\/a\?b": arguments and variables belong/ ],
         [ 'zltunnel; zltunnel_auth /a stale=x;', qr/from 0 to 7d/ ],
         [ 'zltunnel; zltunnel_auth /a timeout=0;', qr/from 1ms to 1m/ ],
         [ 'zltunnel; zltunnel_auth /a max=1;', qr/allowed are stale= and/ ],
         [ 'zltunnel; zltunnel_auth /a; zltunnel_auth_interval 0;',
           qr/from 1s to 1d/ ],
         [ 'zltunnel; zltunnel_auth_interval 10s;',
           qr/without "zltunnel_auth"/ ])
    {
        my ($conf, $re) = @$_;
        my ($rc, $out) = $t->test_conf(location => "location /x { $conf }");

        isnt($rc, 0, $conf);
        like($out, $re, '.. is told');
    }

    $t->write_conf(location => $locations);
};

# the end of the test finds what is left: sockets, processes, alerts

subtest 'reload and exit while it is asked' => sub {
    my @tokens = map { granted("late-$_", delay => 2) } 1 .. 100;
    my @controls = waiting('/slow', @tokens);

    ok(wait_for(sub { asked($tokens[0]) }), 'asked');
    $controls[$_]->reset for 0 .. 29;
    kill HUP => $t->{nginx}->pid;

    my %came;
    $came{ ($_->next(30) // { type => $_->{end} // 'silence' })->{type} }++
        for @controls[30 .. 99];

    ok($came{AuthOk}, 'some are let in by the worker that goes');
    ok(!$came{silence}, '.. and nobody waits for ever') or diag explain \%came;
    $_->reset for @controls[30 .. 99];

    @tokens = map { granted("later-$_", delay => 30) } 1 .. 20;
    @held = waiting('/strict', @tokens);
    ok(wait_for(sub { asked($tokens[0]) }), 'asked by the workers that came');
};


# Control channels that have sent their tokens.

sub waiting {
    my ($path, @tokens) = @_;

    return map {
        my $c = ZLTunnel::Wire->control($t, path => $path);
        $c->auth($_, features => 7);
        $c;
    } @tokens;
}


$t->finish;
