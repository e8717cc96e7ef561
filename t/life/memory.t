#!/usr/bin/perl

# Protects: where memory is short, an agent and the workers of nginx refuse
# work, say so, and go on.  Each place in the agent at which it takes memory
# fails once, from its first line to its last: it ends with the exit code 1, or
# does everything all the same; 2 would say that its configuration is wrong.  So
# does each of a worker's for a visitor, who is not counted for ever.  Then one
# allocation in ten fails beneath an agent and a worker that are busy: when there
# is memory again all is as before.
#
# It is t/lib/preload/memory.c that has allocations fail; t/lib/preload/lapse.c
# makes time pass quickly for the agents, which come again after 30 s.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Path ();
use File::Temp ();
use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::Access qw(visitor opened connected session);
use ZLTunnel::App;
use ZLTunnel::Wire;

plan(skip_all => 'Linux only') if $^O ne 'linux';

my ($memory, $lapse) = map { library($_) } qw(memory lapse);

my $beside = 10;             # agents at a time
my %seen;                    # places in the agent that have failed

subtest "each place of $_->[0]" => \&command, @$_ for commands();
subtest "each place of the agent, $_" => \&places, $_
    for 'raw', long_run() ? 'websocket' : ();
subtest 'each place of a worker, in a visit' => \&visits;
subtest 'a busy agent' => \&busy, 'agent';
subtest 'a busy worker' => \&busy, 'worker';

done_testing();


sub library {
    my ($name) = @_;

    my $dir = "$ZLTunnel::ROOT/objs/t";

    File::Path::make_path($dir);
    run_ok($ENV{CC} || 'cc', '-shared', '-fPIC', '-O2', '-fno-builtin',
           '-Wall', '-Wextra', '-o', "$dir/memory-$name.so",
           "$ZLTunnel::ROOT/t/lib/preload/$name.c");

    return "$dir/memory-$name.so";
}


# A server, and an agent with what others have access to.

sub scene {
    my (%o) = @_;

    my $t = ZLTunnel->new(udp => 1, range => 3 * $beside, %o);
    my %s = (t => $t, tcp => $t->service('echo'), udp => $t->free_port,
             odds => "$t->{dir}/odds");

    my @all = 0 .. $beside - 1;

    $s{front} = $t->free_port;

    my $web = backend($t, 'server { listen 127.0.0.1:%PORT%; root %DIR%; }');
    write_file("$web->{dir}/$_", 'x' x $_, 0644) for 10, 300_000;
    $s{web} = $web->{port};

    $t->write_conf(http => join "\n",
        (map { "upstream w$_ { zltunnel_service w$_ max_fails=0; }" } @all),
        "server { listen 127.0.0.1:$s{front}; proxy_buffering off;",
        (map { "location /$_/ { proxy_pass http://w$_/; }" } @all), '}');

    $s{token} = $t->token('site');
    $s{tokens} = [ map { $t->token("agent$_", 'services=* access=*') }
                   @all ];

    my $echo = $t->spawn('udp-echo', $t->nettool, 'udp-echo', $s{udp});
    wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo service';

    {
        local $ENV{LD_PRELOAD} = $memory;
        local $ENV{MEMORY_ODDS} = $s{odds};
        local $ENV{ASAN_OPTIONS} = join ':', 'verify_asan_link_order=0',
                                             $ENV{ASAN_OPTIONS} // ();
        $t->start;
    }

    $t->agent(token => $s{token},
              services => [ "far:$s{tcp}{port}/private",
                            "faru:$s{udp}/udp/private" ]);

    $s{local} = [ map { [ $t->free_port, $t->free_port ] } 1 .. $beside ];

    return \%s;
}


# An agent that has something of everything.

sub agent {
    my ($s, $n, $transport, %env) = @_;

    my $t = $s->{t};
    my ($tcp, $udp) = @{ $s->{local}[$n] };
    my $certs = $t->certs;

    more($s, $n, 'more');

    return $t->agent(token => $s->{tokens}[$n], wait => 0, conf => <<"EOT",
[agent]
server = @{[ $t->url('wss') ]}
token_file = %%token_file%%
ca_file = $certs/ca.pem
transport = $transport
reconnect_interval = 1s
max_reconnect_interval = 2s
connect_timeout = 120s
include = $t->{dir}/more$n.conf

[service t$n]
local = 127.0.0.1:$s->{tcp}{port}

[service w$n]
local = 127.0.0.1:$s->{web}
private = yes

[service u$n]
protocol = udp
local = 127.0.0.1:$s->{udp}

[access]
name = open$n
allow = localhost:*, 127.0.0.0/8:80

[access far]
local = 127.0.0.1:$tcp

[access faru]
protocol = udp
local = 127.0.0.1:$udp
EOT
        env => { LD_PRELOAD => "$memory:$lapse", LAPSE => 10,
                 MEMORY_ODDS => $s->{odds}, %env,
                 ASAN_OPTIONS => 'verify_asan_link_order=0' });
}


# The services in the file that is included.

sub more {
    my ($s, $n, @names) = @_;

    my $text = join '', map { <<"EOT" } @names;
[service $_$n]
local = 127.0.0.1:$s->{tcp}{port}
private = yes
EOT

    write_file("$s->{t}{dir}/more$n.conf", $text, 0600);
}


sub has {
    my ($agent, $name) = @_;

    my $link = $agent->link or return 0;
    return scalar grep { $_->{name} eq $name && $_->{state} eq 'up' }
                       @{ $link->{services} };
}


sub echoes {
    my ($port) = @_;

    my $c = ZLTunnel::Wire::Socket->new($port) or return 0;
    $c->send('hello');
    my $ok = ($c->take(5, 2) // '') eq 'hello';
    $c->close;

    return $ok;
}


# At once on a lane, and so much that it leaves it.

sub serves {
    my ($s, $n, $bytes, $timeout) = @_;

    my $r = http_request($s->{front}, "GET /$n/$bytes HTTP/1.1\r\n"
                         . "Host: x\r\nConnection: close\r\n\r\n", $timeout);

    return $r && $r->{status} == 200 && length $r->{body} == $bytes;
}


sub echoes_udp {
    my ($port) = @_;

    my $c = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
                                  PeerPort => $port) or return 0;
    send $c, 'hello', 0;
    vec(my $rin = '', fileno $c, 1) = 1;
    select($rin, undef, undef, 0.5) or return 0;
    recv $c, my $got, 100, 0;

    return ($got // '') eq 'hello';
}


# Whether an agent has ended, or does all that it is there for.

sub works {
    my ($s, $n, $agent) = @_;

    my ($tcp, $udp) = @{ $s->{local}[$n] };
    my $proc = $agent->{proc};
    my ($t_port, $u_port);

    my @steps = (
        sub { ($t_port, $u_port) = map { $agent->port("$_$n") } qw(t u);
              $t_port && $u_port },
        sub { echoes($t_port) }, sub { echoes_udp($u_port) },
        sub { serves($s, $n, 10, 2) }, sub { serves($s, $n, 300_000, 5) },
        sub { echoes($tcp) }, sub { echoes_udp($udp) },
        sub { $agent->status },
        sub { more($s, $n, qw(more other));
              my ($rc) = $agent->ask('reload');
              $rc == 0 && has($agent, "other$n") },
        sub { echoes($t_port) },
    );

    for my $i (0 .. $#steps) {
        wait_for(sub { !$proc->running || $steps[$i]->() }, 30)
            or return "step $i is not made";
        return 'ended' if !$proc->running;
    }

    return 'works';
}


# Commands that end by themselves.  Those that would go on have no token.

sub commands {
    my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);

    write_file("$dir/token", "zlt_a\n", 0600);
    write_file("$dir/more.conf", "[service more]\nlocal = 1\n");
    write_file("$dir/agent.conf", <<"EOT");
include = $dir/more.conf
[agent]
server = wss://127.0.0.1:1
server = wss://127.0.0.1:2
token_file = $dir/token
proxy = http://user:password\@127.0.0.1:3
allow_access = a, b
[service s]
local = 80-81
[access]
allow = localhost:*, 127.0.0.0/8:80
[access far]
local = 1
EOT

    return ([ 'check', [ '-c', "$dir/agent.conf" ] ],
            [ 'connect', [ '--token-file', "$dir/none", '--service', 'a:1' ],
              ZLTUNNEL_SERVER => 'ws://127.0.0.1:1 ws://127.0.0.1:2' ],
            [ 'run', [ '--token-file', "$dir/none", '--log-level', 'info' ],
              ZLTUNNEL_SERVER => 'ws://127.0.0.1:1', HOME => $dir,
              ZLTUNNEL_SERVICE => 'a:1 b:2' ],
            [ 'access', [ 'a', '--token-file', "$dir/none", '--server',
                          'ws://127.0.0.1:1' ],
              ZLTUNNEL_LOG_LEVEL => 'warn' ],
            [ 'init', [ '--dir', "$dir/new", '--server', 'ws://127.0.0.1:1',
                        '--service', 'a:1', '--token-file', "$dir/token",
                        '--force' ] ]);
}


sub command {
    my ($command, $args, %env) = @_;

    my ($n, $failed) = (0, 0);
    my ($rc, $usual) = run({ env => \%env }, $ZLTunnel::AGENT, $command, @$args);

    while (1) {
        my ($is, $out) = run({ env => {
            %env, LD_PRELOAD => $memory, MEMORY_CALLER => ++$n,
            ASAN_OPTIONS => 'verify_asan_link_order=0' } },
            $ZLTunnel::AGENT, $command, @$args);
        my $there = $out =~ s/^memory: (.*)\n//m or last;
        my $place = "place $n $1";

        if ($out =~ /memory/) {
            is($is, 1, "$place: no memory, and exit code 1") or diag($out);
            $failed++;

        } else {
            is("$out$is", "$usual$rc", "$place: it does without");
        }
    }

    cmp_ok($failed, '>', 3, 'some of them were needed');
}


sub places {
    my ($transport) = @_;

    my $s = scene();
    my $t = $s->{t};
    my $last = 0;

    for (my $first = 1; !$last && $first < 1000; $first += $beside) {
        my @agents = map {
            agent($s, $_, $transport, MEMORY_CALLER => $first + $_)
        } 0 .. $beside - 1;

        for my $n (0 .. $beside - 1) {
            my $what = 'place ' . ($first + $n);
            my $agent = $agents[$n];

            my $how = works($s, $n, $agent);
            my $rc = $agent->stop;

            my ($where) = $agent->log =~ /^memory: .*(\+0x\w+)$/m;
            $last = 1 if !$where;
            $seen{ $where // '' }++;

            $what .= ' ' . ($where // 'is not there');

            my $ok = $how eq 'works' ? $rc == 0
                                     : $how eq 'ended' && $rc == 1
                                       && $agent->log =~ /memory/;
            ok($ok, "$what: $how, exit code " . ($rc // 'none'))
                or diag($agent->log);
            last if !$ok;                # the next ones would take as long
        }

        $last = 1 if !Test::More->builder->is_passing;
        splice @{ $t->{agents} }, 1;
    }

    ok($last, 'all of them');
    cmp_ok(keys %seen, '>', 40, 'which are not few');

    $t->finish;
}


# A visitor comes again and again, and each time the next allocation fails that
# the worker makes for it, until there is none.

sub visits {
    my $s = scene(allow => [ qr/Cannot allocate memory|no memory/ ]);
    my $t = $s->{t};
    my ($pid) = $t->workers;
    my $visitor = visitor($t, $s->{tokens}[0]);
    my $id = opened($visitor, 'far');
    my $failures = sub { scalar(() = $t->log =~ /Cannot allocate memory/g) };
    my $served = sub { my $v = connected($visitor, $id); $v && $v->close };
    my ($n, $dropped) = (0, 0);

    ok(wait_for($served), 'a visitor is served');

    while ($n < 500) {
        my $before = $failures->();
        my $total = session($t, $id)->{connections}{total};

        write_file("$s->{odds}.$pid", "+$n");
        my $v = ZLTunnel::Wire->visit($visitor, $id);
        my $answer = $v && $v->{answer}{status};
        $v->next if $v && ($answer // 0) == 101;
        $v->close if $v;
        unlink "$s->{odds}.$pid";

        last if $failures->() == $before;

        # it was let in, and nobody told it

        $dropped += !$answer && session($t, $id)->{connections}{total} > $total;

        ok(wait_for(sub {
            my $now = session($t, $id);
            return $now && $now->{connections}{active} == 0;
        }), "allocation $n fails: it is counted no more") or last;
        ok(wait_for($served), '.. and the next visitor is served') or last;
        $n++;
    }

    cmp_ok($n, '>', 5, "$n allocations");
    cmp_ok($dropped, '>', 0, 'one where the visitor was let in already');
    is(($t->workers)[0], $pid, 'the worker is the same');

    $visitor->close;
    $t->finish;
}


# One in ten fails, for a while.

sub busy {
    my ($who) = @_;

    my $s = scene(allow => [ qr/Cannot allocate memory|no memory/ ]);
    my $t = $s->{t};
    my $agent = agent($s, 0, 'auto');
    my ($tcp, $udp) = @{ $s->{local}[0] };

    is(works($s, 0, $agent), 'works', 'all works at first');

    my ($pid) = $who eq 'agent' ? $agent->pid : $t->workers;
    my @ports = map { $agent->port($_) } qw(t0 u0);
    my ($there, $did) = (1, 0);

    write_file("$s->{odds}.$pid", 10);

    for my $round (1 .. 40) {
        my @c = map { ZLTunnel::Wire::Socket->new($_) // () }
                    ($ports[0], $tcp) x 2;

        $_->send("round $round") for @c;
        echoes_udp($_) for $ports[1], $udp;
        serves($s, 0, 300_000, 0.1);
        $agent->status if $round % 8 == 0;
        more($s, 0, $round % 2 ? 'more' : qw(more other));
        $agent->ask('reload') if $round % 8 == 0;
        $did += ($_->take(8, 0.1) // '') eq "round $round" for @c;
        $_->close for @c;

        $there &&= ZLTunnel::Proc::exists_pid($pid);
    }

    unlink "$s->{odds}.$pid";
    note "$did of 160 echoes";

    ok($there, 'it runs, though memory is short');
    is(works($s, 0, $agent), 'works', 'with memory all works again');
    is_deeply([ grep { $_ == $pid } $agent->pid, $t->workers ], [ $pid ],
              'by the same process');

    $t->finish;
}
