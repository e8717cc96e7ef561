#!/usr/bin/perl

# Protects: a service that its agent has found down gets no connection where
# another agent has it up: from an upstream of http or stream, or a pass; across
# reloads of the agent and of nginx, while it flaps, under load.  Where all are
# down a client is answered at once, and the log says which, where, and why.
# With on_fail = refuse its port is closed while it is down, and is the same
# one afterwards.  An agent and a server of which only one knows of health get
# on as before.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Proc;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg ext register str16);

my $t = ZLTunnel->new(
    workers => 2, allow => [ qr/is down/ ],
    http => 'upstream web { zltunnel_service web balance=round_robin; '
            . 'keepalive 4; }',
    location => 'location /web/ { proxy_pass http://web/; '
                . 'proxy_http_version 1.1; proxy_set_header Connection ""; '
                . 'proxy_next_upstream off; }');
my $token = $t->token('alice', 'sessions=4 ports=' . $t->{base} . '-'
                               . ($t->{base} + 7));
my $hand = $t->token('hand');
my ($pass, $stream) = map { $t->free_port } 1 .. 2;
my %web = map { $_ => { port => $t->free_port, name => $_ } } qw(one two);

$t->write_conf(stream => "upstream s { zltunnel_service web token=alice; }
    server { listen 127.0.0.1:$stream; proxy_pass s; }
    server { listen 127.0.0.1:$pass; zltunnel_pass web token=alice; }");
$t->start;
web($_, 200) for keys %web;

$_->{agent} = $t->agent(token => $token, conf => conf($_), wait => 0)
    for @web{qw(one two)};
ok(wait_for(sub { grep({ $_ eq 'up' } states()) == 2 }), 'two agents are there');

subtest 'one is down' => \&one_down;
subtest 'reloads' => \&reloads;
subtest 'under load' => \&under_load;
subtest 'many that flap' => \&many_flap;
subtest 'all are down' => \&all_down;
subtest 'the port' => \&the_port;
subtest 'a server that does not know' => \&old_server;
subtest 'an agent that does not know' => \&old_agent;

$_->{agent}->stop, $_->{proc}->stop('KILL') for values %web;
$t->finish;


sub conf {
    my ($w, $more) = @_;

    $more //= '';

    return "[agent]\nserver = " . $t->url('ws') . "\n"
           . "token_file = %%token_file%%\n[service web]\n"
           . "local = 127.0.0.1:$w->{port}\ncheck = http:/healthz\n"
           . "check_interval = 100ms\ncheck_fails = 2\n"
           . "check_timeout = 5s\n$more";
}


sub web {
    my ($name, $status) = @_;

    my $w = $web{$name};

    ZLTunnel::write_file("$t->{dir}/$name.health", "$status\n");
    return if $w->{proc} && $w->{proc}->running;

    $w->{proc} = $t->spawn("web-$name", $^X,
                           "$ZLTunnel::ROOT/t/lib/health.pl", $w->{port},
                           $name, "$t->{dir}/$name.health");
    wait_for(sub {
        my $s = ZLTunnel::connect_to($w->{port}) or return 0;
        return 1;
    }) or die "no web server $name";
}


sub states {
    return map { $_->{state} } services();
}


sub services {
    my $st = $t->status or return;
    return grep { $_->{name} eq 'web' }
           map { @{ $_->{services} } } @{ $st->{tunnels} };
}


sub in_state {
    my (@want) = @_;

    return wait_for(sub { join(' ', sort(states())) eq join ' ', sort @want },
                    30);
}


sub bodies {
    my ($n, $port) = @_;

    my %seen;

    for (1 .. $n) {
        my $r = get($port // $t->{http_port}, '/web/x');
        $seen{ $r->{status} == 200 ? $r->{body} : $r->{status} }++;
    }

    return join ' ', sort keys %seen;
}


sub one_down {
    is(bodies(8, $_), 'one two', 'both are asked')
        for $t->{http_port}, $pass, $stream;

    for my $way ([ 'says so', sub { web('one', 503) } ],
                 [ 'is killed', sub { $web{one}{proc}->stop('KILL') } ])
    {
        my ($what, $do) = @$way;

        $do->();
        ok(in_state(qw(down up)), "one $what: it is down");
        my ($s) = grep { $_->{state} eq 'down' } services();
        like($s->{check}{error}, qr/^127\.0\.0\.1:$web{one}{port}: ./,
             "one $what: the status tells where and why");
        cmp_ok(abs($s->{check}{since} - time), '<', 60, '.. and since when');
        is(bodies(8), 'two', "one $what: only the other one is asked");
        is(bodies(4, $pass), 'two', '.. by a pass');
        is(bodies(4, $stream), 'two', '.. by an upstream of stream');

        web('one', 200);
        ok(in_state(qw(up up)), "one $what: up again");
        is(bodies(8), 'one two', "one $what: both are asked");
    }

    like($t->log, qr/\[warn\].* service "web" of agent "alice" is down: 127/,
         'the log says so');
    like($web{one}{agent}->log, qr/WARN the service "web" is down: 127/,
         '.. and that of the agent');
}


sub reloads {
    web('one', 503);
    ok(in_state(qw(down up)), 'one is down');

    my $old = join ' ', sort $t->workers;
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { join(' ', sort $t->workers) ne $old }), 'nginx reloads');
    my %seen;
    ok(wait_for(sub {
        $seen{ bodies(2) }++;
        return in_registry() && join(' ', sort(states())) eq 'down up';
    }, 40), 'the agents have moved');
    is(join(' ', sort keys %seen), 'two', 'only the other one was asked');

    $web{one}{agent}->write_conf(conf($web{one}, "allow_access = bob\n"));
    is(($web{one}{agent}->ask('reload'))[0], 0, 'the agent reloads');
    ok(in_state(qw(down up)), 'and it is down, registered anew');
    is(bodies(8), 'two', 'only the other one is asked');

    web('one', 200);
    ok(in_state(qw(up up)), 'up again');
}


sub in_registry {
    my $st = $t->status or return 0;
    return $st->{generation} == 2;
}


# Requests without an end: from the moment on at which one is known as down
# none fails.

sub under_load {
    for my $round (1 .. 3) {
        $web{one}{proc}->stop('KILL');
        ok(in_state(qw(down up)), "round $round: killed, and known as down");

        my ($n, %bad) = (0);
        my $up = 0;
        my $end = time + 20;

        # it comes back amid them

        while (time < $end && $up < 20) {
            my $r = get($t->{http_port}, '/web/x');

            $bad{ $r->{status} }++ if $r->{status} != 200;
            web('one', 200) if ++$n == 40;
            $up++ if $r->{status} == 200 && $r->{body} eq 'one';
        }

        is_deeply(\%bad, {}, "round $round: no request of $n has failed");
        is($up, 20, "round $round: it is asked again");
    }

    for (1 .. 6) {
        web('one', $_ & 1 ? 503 : 200);
        ok(in_state($_ & 1 ? 'down' : 'up', 'up'), "flaps: $_");
        is((bodies(4) =~ /\d/) ? 1 : 0, 0, "flaps: $_: no request fails");
    }

    unlike($t->log, qr/asks for too much/, 'that is not too much');
}


# They change more often than the server may be told of: it learns of another
# all the same, and does not take that for too much.

sub many_flap {
    my $at = $t->free_port;
    my $listen = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$at",
                                       Listen => 128, ReuseAddr => 1);
    my $flaps = ZLTunnel::Proc->start(name => 'flaps', code => sub {
        while (my $c = $listen->accept) {
            sysread $c, my $in, 4096;
            syswrite $c, 'HTTP/1.1 ' . (int(time * 5) & 1 ? 200 : 500)
                         . " X\r\nContent-Length: 0\r\n\r\n";
            close $c;
        }
    });
    push @{ $t->{procs} }, $flaps;

    my $every = "check = http:/healthz\ncheck_interval = 100ms\n"
                . "check_fails = 1\ncheck_timeout = 5s\nprivate = yes\n";
    my $agent = $t->agent(token => $t->token('eve'), wait => 0, conf =>
        "[agent]\nserver = " . $t->url('ws') . "\ntoken_file = "
        . "%%token_file%%\n"
        . join('', map { "[service flaps$_]\nlocal = $at\n$every" } 1 .. 6)
        . "[service steady]\nlocal = $web{one}{port}\n$every");

    my $state = sub { ($t->service_status('steady') || {})->{state} // '' };
    ok(wait_for(sub { $state->() eq 'up' }), 'an agent is there');
    ok(wait_for(sub {
        return 150 < (() = $agent->log =~ /the service "flaps/g);
    }, 60), 'it has had much to tell');

    for my $s ([ down => 503 ], [ up => 200 ]) {
        web('one', $s->[1]);
        ok(wait_for(sub { $state->() eq $s->[0] }, 30), "another is $s->[0]");
    }

    unlike($t->log, qr/asks for too much/, 'that is not too much');
    $agent->stop;
    $flaps->stop('KILL');
    close $listen;
    ok(in_state(qw(up up)), 'all others are up');
}


sub all_down {
    web($_, 503) for keys %web;
    ok(in_state(qw(down down)), 'both are down');

    my $from = length $t->log;
    my $r = get($t->{http_port}, '/web/x');

    is($r->{status}, 502, 'a client gets what it gets');
    cmp_ok($r->{time}, '<', 5, 'at once');
    my $why = 'service "web" of agent "alice" is down, its check fails: ';
    like(substr($t->log, $from), qr/\[error\].* ${why}127\.0\.0\.1:\d+: status 503/,
         'and the log says why');

    web($_, 200) for keys %web;
    ok(in_state(qw(up up)), 'up again');
    is(bodies(8), 'one two', 'both are asked');
}


sub the_port {
    my ($w, $other) = @web{qw(one two)};

    my ($was) = map { $_->{port} } grep { $_->{local_port} == $w->{port} }
                                   services();
    ok(!refuses($was), 'the port is open');

    web('one', 503);
    ok(in_state(qw(down up)), 'down');
    ok(!refuses($was), 'on_fail = keep: it stays open');

    $w->{agent}->write_conf(conf($w, "on_fail = refuse\n"));
    is(($w->{agent}->ask('reload'))[0], 0, 'on_fail = refuse');
    ok(wait_for(sub { refuses($was) }), 'it refuses connections');

    my %old = map { $_ => 1 } $t->workers;
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub {
        return grep { !$old{$_} } $t->workers;
    }, 30), 'nginx reloads, and former workers may be there yet');
    ok(in_state(qw(down up)), 'and the agents are back');
    ok(refuses($was), 'it still does');

    for (1 .. 3) {
        web('one', 200);
        ok(in_state(qw(up up)), 'up again');
        ok(wait_for(sub { !refuses($was) }), 'the port is open');
        my $r = get($was, '/x');
        is($r->{body}, 'one', 'and is the same one');
        last if $_ == 3;

        web('one', 503);
        ok(in_state(qw(down up)), 'down');
        ok(wait_for(sub { refuses($was) }), 'the port is closed');
    }

    # one that is closed twice is no worse for the next service that has it

    web('one', 503);
    ok(wait_for(sub { refuses($was) }), 'closed');
    my $plain = conf($w) =~ s/^check.*\n//mgr;
    $w->{agent}->write_conf("${plain}allow_access = bob\n");
    is(($w->{agent}->ask('reload'))[0], 0, 'another service at the port');
    ok(wait_for(sub { !refuses($was) }), 'it is open');
    is(get($was, '/x')->{body}, 'one', 'and serves');
    $w->{agent}->write_conf(conf($w, "on_fail = refuse\n"));
    is(($w->{agent}->ask('reload'))[0], 0, 'the former one again');

    ok(wait_for(sub { refuses($was) }), 'closed');
    $w->{agent}->write_conf(conf($w));
    is(($w->{agent}->ask('reload'))[0], 0, 'on_fail = keep again');
    ok(wait_for(sub { !refuses($was) }), 'it is open');
    web('one', 200);
    ok(in_state(qw(up up)), 'up again');
}


# By hand: it would end the tunnel at a message that it does not know.

sub old_server {
    for my $features (0x8f, 0x18f) {
        my $server = ZLTunnel::Server->new($t, features => $features);
        my $knows = $features & 0x100;
        my @health;

        $server->{hear} = sub {
            push @health, $_[0] if $_[0]{type} eq 'Health'
        };
        web('one', 503);

        my $conf = conf($web{one}) =~ s/^server = .*$/"server = " . $server->url/mer;
        my $agent = $t->agent(token => $t->token("old-$features"), wait => 0,
                              conf => $conf);

        ok($server->wait(sub { $server->{services}{web} }), 'registers');
        ok($server->wait(sub {
            my ($s) = @{ ($agent->link || {})->{services} || [] };
            return $s && $s->{check}{state} eq 'down';
        }), 'and is down');
        $server->pass(0.5);

        my $told = $server->{services}{web}{ext}{5};
        @health = { health => unpack('C', $told), reason => substr $told, 1 }
            if defined $told;
        my @got = @health;
        is(scalar @got, $knows ? 1 : 0, $knows ? 'is told' : 'is not told');
        is($got[0]{health}, 1, 'what') if $knows;
        like($got[0]{reason}, qr/status 503/, 'and why') if $knows;

        $agent->{proc}->kill('TERM');
        $server->wait(sub { !$agent->{proc}->running }, 30);
        $agent->stop;
        $server->close_all;
        web('one', 200);
    }
}


# By hand as well, and one that says strange things.

sub old_agent {
    for my $features (0x0f, 0x10f) {
        my $x = ZLTunnel::Wire->agent($t, $hand, features => $features);
        $x->send_msg(register('hand'));
        my $s = $x->expect('RegisterOk');
        $s->{id} = $s->{service_id};

        my $port = $s->{port};
        ok(!refuses($port), 'the port is open');

        $x->send_msg(msg('Health', $s->{id} . pack('C n/a', 7, "a\0b")));
        $x->send_msg(msg('Health', "\x01" x 16 . pack('C n/a', 1, 'x')));

        if ($features & 0x100) {
            ok(wait_for(sub {
                $t->service_status('hand')->{state} eq 'down'
            }), 'it is down');
            ok(refuses($port), 'what is above 2 is taken for 2');
            is($t->service_status('hand')->{check}{error}, 'a\x00b',
               'the text is made fit to be shown');

            $x->send_msg(msg('Health', $s->{id} . pack('C n/a', 0, '')));
            ok(wait_for(sub { !refuses($port) }), 'up');
        }

        is($t->service_status('hand')->{state}, 'up', 'it is up');
        $x->close;
        ok(wait_for(sub {
            my $h = $t->service_status('hand');
            return !$h || $h->{state} eq 'down';
        }), 'the agent goes');
    }
}
