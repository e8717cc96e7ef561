#!/usr/bin/perl

# Protects: zltunnel_notify.  Each event arrives once, with its fields, those of
# one tunnel in their order; who is told may be slow, dead or full, and no agent
# and no client waits for it; what is too much is dropped and counted; a worker
# that exits sends what is left, one that is killed takes nobody with it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP ();
use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $stamp = qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
my $hex = qr/^[0-9a-f]{32}$/;

my $t = ZLTunnel->new(
    workers => 2, range => 20, main => 'worker_shutdown_timeout 5s;',
    zltunnel => 'reconnect_grace 3s; max_services 1000; max_tunnels 500;
                 domain t.example;',
    allow => [ qr/exited on signal 9/ ]);

my $hook = { port => $t->free_port, file => "$t->{dir}/hook" };
my $location = <<'EOT';
        location = /agents {
            zltunnel;
            zltunnel_notify /notify;
        }
        location = /notify {
            internal;
            proxy_pass http://hook;
            if ($http_zltunnel_event = access.renewed) { return 204; }
            proxy_read_timeout 3s;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        location = /metrics { zltunnel_status format=prometheus; }
        location /api/ { zltunnel_api write=on; allow 127.0.0.1; deny all; }
EOT

my $alice = $t->token('alice', 'services=web,x* access=db hosts=*.t.example');
my $bob = $t->token('bob', 'access=db');
my $old = $t->token('carol', 'expires=2001-01-01T00:00:00Z');
my $many = $t->token('many', 'sessions=400');
my $db = $t->token('db');

my ($read, @told) = (0);

configurations();

$t->write_conf(
    http => "upstream hook { server 127.0.0.1:$hook->{port}; keepalive 4; }",
    location => $location);

answers(200, 0);
hook();
$t->start;


subtest 'what happens to an agent' => sub {
    my $agent = wire($alice, agent => qq(a "<b>\x01\\ 1), features => 0x87);
    my $id = unpack 'H*', $agent->{ok}{tunnel_id};

    my $e = event('agent.connected', tunnel => $id) or return;

    like($e->{id}, $hex, 'an id');
    like($e->{time}, $stamp, 'a time');
    is($e->{token}, 'alice', 'token');
    is($e->{address}, '127.0.0.1', 'address');
    is($e->{registry}, 'default', 'registry');
    ok(length $e->{node}, 'node');
    is($e->{service}, undef, 'no service');
    is($e->{access}, undef, 'no access');
    is($e->{reason}, undef, 'no reason');
    is($e->{text}, qq(agent "alice" connected from 127.0.0.1, tunnel $id),
       'text, as in the log');

    my ($tunnel) = grep { $_->{id} eq $id } @{ api('tunnels')->{tunnels} };
    is($e->{agent}, $tunnel->{agent}, 'its own words, as the API has them');
    like($e->{agent}, qr/^a "<b>/, '.. which is what it said');

    $agent->send_msg(ZLTunnel::Wire::register('web',
        ext => ZLTunnel::Wire::ext(4, 'one,two.t.example')));
    my $m = $agent->expect('RegisterOk') or return;

    $e = event('service.registered', tunnel => $id) or return;
    is_deeply($e->{service},
              { id => unpack('H*', $m->{service_id}), name => 'web',
                protocol => 'tcp', port => $m->{port},
                hosts => [ 'one.t.example', 'two.t.example' ] },
              'a service');

    $agent->send_msg(ZLTunnel::Wire::register(qq(x"\x02</script>\xe2\x80\xae)));
    $agent->expect('RegisterFail');

    $e = event('service.refused', tunnel => $id) or return;
    is($e->{code}, 'forbidden', 'one that is refused: code');
    like($e->{reason}, qr/^A service name has 1 to 255/, '.. reason');
    is($e->{service}{name}, 'x"\x02</script>\xe2\x80\xae',
       '.. its name, as in the log');

    $agent->send_msg(ZLTunnel::Wire::msg('Unregister', $m->{service_id}));
    $e = event('service.gone', tunnel => $id) or return;
    is($e->{reason}, 'unregistered', 'one that is gone');

    is(request('POST', "tunnels/$id/drain"), 204, 'drain');
    ok(event('agent.drained', tunnel => $id), 'drained');
    is(request('POST', "tunnels/$id/resume"), 204, 'resume');
    ok(event('agent.resumed', tunnel => $id), 'resumed');

    $agent->reset;
    $e = event('agent.disconnected', tunnel => $id) or return;
    is($e->{reason}, 'the connection was lost', 'disconnected');

    $agent = wire($alice);
    is(unpack('H*', $agent->{ok}{tunnel_id}), $id, 'it takes its tunnel');
    ok(event('agent.back', tunnel => $id), 'back');

    is(request('DELETE', "tunnels/$id"), 204, 'kick');
    $e = event('agent.kicked', tunnel => $id) or return;
    is($e->{reason}, 'ended by the administrator', 'kicked');

    is_deeply([ map { $_->{type} } sort { $a->{sequence} <=> $b->{sequence} }
                of($id) ],
              [ qw(agent.connected service.registered service.refused
                   service.gone agent.drained agent.resumed agent.disconnected
                   agent.back agent.kicked) ], 'no other, none twice, in order');
    is_deeply([ sort { $a <=> $b } map { $_->{sequence} } told() ],
              [ 1 .. told() ], 'numbers without a gap');
};

subtest 'what is refused, goes, or is revoked' => sub {
    my $x = control();
    $x->auth('of-nobody');
    is($x->next->{type}, 'AuthFail', 'a token that is none');
    my $e = event('agent.refused', code => 'bad_token') or return;
    is("$e->{address} $e->{reason}", '127.0.0.1 Invalid token', 'address, why');
    is($e->{$_}, undef, "no $_") for qw(token tunnel);

    $x = control();
    $x->auth($old);
    is($x->next->{type}, 'AuthFail', 'one that has expired');
    $e = event('agent.refused', code => 'expired') or return;
    is($e->{token}, 'carol', 'its name');

    $x = wire($db);
    my $id = unpack 'H*', $x->{ok}{tunnel_id};
    $x->reset;
    ok(event('agent.gone', tunnel => $id), 'gone');

    $x = wire($db);
    $id = unpack 'H*', $x->{ok}{tunnel_id};
    $t->revoke('db');
    $e = event('agent.revoked', tunnel => $id) or return;
    is($e->{token}, 'db', 'revoked');
};

subtest 'access' => sub {
    my $x = wire($bob, features => 0x0f);

    $x->send_msg(ZLTunnel::Wire::access_open('db', ttl => 600));
    my $m = $x->expect('AccessOk') or return;
    my $id = unpack 'H*', $m->{access_id};

    my $e = event('access.opened') or return;
    is($e->{access}{id}, $id, 'its id');
    like($e->{access}{until}, qr/^20\d\d-.*Z$/, 'until when');
    is($e->{access}{served_by}, undef, 'by nobody yet');
    is("$e->{service}{name} $e->{service}{protocol}", 'db tcp', 'of what');
    is($e->{token}, 'bob', 'by whom');

    $x->send_msg(ZLTunnel::Wire::access_open('web', ttl => 600));
    $x->expect('AccessFail');
    $e = event('access.refused') or return;
    is("$e->{service}{name} $e->{code}", 'web forbidden', 'refused');

    $x->send_msg(ZLTunnel::Wire::access_renew($m->{access_id}, 60));
    $x->expect('AccessOk');

    $x->send_msg(ZLTunnel::Wire::access_close($m->{access_id}));
    $e = event('access.closed') or return;
    is($e->{access}{id}, $id, 'closed');
    is($e->{reason}, 'stopped by the visitor', 'why');
    is($e->{access}{connections}, 0, 'connections');
    is(scalar(grep { $_->{type} eq 'access.renewed' } told()), 0,
       'what the location answers itself goes no further');

    ended($x);
};

subtest 'a hundred at once' => sub {
    my @x = map { control() } 1 .. 100;
    $_->auth($many, features => 7) for @x;
    my %ids = map { my $m = $_->next;
                    $m->{type} eq 'AuthOk'
                    ? (unpack('H*', $m->{tunnel_id}) => 1) : () } @x;
    is(scalar(keys %ids), 100, 'are let in');

    my $n = sub {
        my ($type) = @_;
        return scalar grep { $_->{type} eq $type && $ids{ $_->{tunnel} // '' } }
                      told();
    };

    ok(wait_for(sub { $n->('agent.connected') >= 100 }), 'and are told');

    $_->close for @x;
    ok(wait_for(sub { $n->('agent.disconnected') >= 100 }), 'so is their end');

    my %seen;
    $seen{"$_->{type} $_->{tunnel}"}++ for grep { $ids{ $_->{tunnel} // '' } }
                                           told();
    is(scalar(grep { $_ != 1 } values %seen), 0, 'each once');
    ok(wait_for(sub { $n->('agent.gone') >= 100 }), 'they are gone');
};

ok(wait_for(sub {
       my %n = counts();
       my ($last) = sort { $b <=> $a } map { $_->{sequence} } told();
       return $n{sent} == $last;
   }), 'all are counted');
is({ counts() }->{failed}, 0, 'none has failed');

subtest 'silent' => sub {
    answers(0, 0, 200);

    my @x = map { my $x = wire($many);
                  $x->send_msg(ZLTunnel::Wire::register("s$_"));
                  $x->expect('RegisterOk');
                  $x } 1 .. 4;
    is(scalar(@x), 4, 'agents do not wait');

    my $of = sub {
        my %seen;
        return grep { !$seen{ $_->{id} }++ }
               map { of(unpack 'H*', $_->{ok}{tunnel_id}) } @_;
    };

    ok(wait_for(sub { $of->(@x) >= 4 }), 'the first are told');
    answers(200, 0);
    $_->close for @x;
    ok(wait_for(sub { $of->(@x) >= 16 }, 30), 'and then all');

    for my $x (@x) {
        my @of = $of->($x);

        # that it is gone may be told by another worker

        is(join(' ', map { $_->{type} } grep { $_->{type} ne 'agent.gone' } @of),
           'agent.connected service.registered agent.disconnected', 'in order');
        is((sort { $b->{sequence} <=> $a->{sequence} } @of)[0]{type},
           'agent.gone', '.. by number');
    }
};

subtest 'a reload' => sub {
    answers(200, 20);

    my $x = wire($alice);
    my $id = unpack 'H*', $x->{ok}{tunnel_id};
    $x->send_msg(ZLTunnel::Wire::register("no $_")) for 1 .. 60;
    $x->expect('RegisterFail') for 1 .. 60;

    my @before = $t->workers;
    kill HUP => $t->{nginx}->pid;

    ok($x->expect('Disconnect'), 'the agent is told to come again');
    $x->close;

    my @names;
    ok(wait_for(sub {
           @names = map { $_->{service}{name} }
                    grep { $_->{type} eq 'service.refused' } of($id);
           return @names >= 60;
       }), 'the old worker sends what is left');
    is_deeply(\@names, [ map { "no $_" } 1 .. 60 ], 'all, once, in order');
    ok(wait_for(sub { !kill 0, @before }), 'and ends');
    answers(200, 0);
    ok(event('agent.gone', tunnel => $id), 'the new ones go on');
};

subtest 'one that answers with an error' => sub {
    my %n = counts();

    answers(404, 0);
    my $x = wire($alice);
    my $id = unpack 'H*', $x->{ok}{tunnel_id};
    ok(wait_for(sub { ({ counts() }->{failed} // 0) == $n{failed} + 1 }),
       '404: it has failed');
    is(scalar(of($id)), 1, '.. at once');

    answers(503, 0);
    my $named = sub {
        my ($name) = @_;
        return grep { ($_->{service}{name} // '') eq $name } of($id);
    };

    $x->send_msg(ZLTunnel::Wire::register('no such'));
    $x->expect('RegisterFail');
    ok(wait_for(sub { ({ counts() }->{failed} // 0) == $n{failed} + 2 }),
       '503: it has failed');

    my @twice = map { $_->{id} } $named->('no such');
    is(scalar(@twice), 2, '.. the second time');
    is($twice[0], $twice[1], '.. with its id');

    like($t->log, qr{\[warn\].* an event was not taken: "/notify" answered 404},
         'which is logged');
    unlike($t->log, qr{an event was not taken: "/notify" answered 503},
           '.. once a minute');

    answers(503, 0, 200);
    $x->send_msg(ZLTunnel::Wire::register('not yet'));
    $x->expect('RegisterFail');
    ok(wait_for(sub { 2 == $named->('not yet') }), 'one more is tried again');
    answers(200, 0);
    ended($x);
    is({ counts() }->{failed}, $n{failed} + 2, 'and was taken');
};

subtest 'too many' => sub {
    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $alice, services => [ "web:$echo->{port}" ]);
    my $x = wire($bob);
    my $id = unpack 'H*', $x->{ok}{tunnel_id};

    ok(event('agent.connected', tunnel => $id), 'an agent');
    ok(event('service.registered', token => 'alice'), '.. and another');

    my %n = counts();
    answers(0, 0);

    my $refused = sub {
        my ($m) = @_;
        $x->send_msg(ZLTunnel::Wire::register("not $_")) for 1 .. $m;
        $x->expect('RegisterFail') for 1 .. $m;
        return;
    };

    $refused->(600);

    # of this worker's, since another one has a queue of its own

    my ($pid) = $t->log =~ / (\d+)#\d+: [^\n]*agent "bob" connected from [^\n]* tunnel $id/;
    my $before = length $t->log;

    for (1 .. 12) {
        my $stranger = control();
        $stranger->auth("of-nobody-$_");
        $stranger->next;
    }

    my $strangers = () = substr($t->log, $before)
                         =~ / $pid#\d+: [^\n]*agent from \S+ refused: /g;

    is({ counts() }->{dropped} - $n{dropped}, $strangers,
       "$strangers strangers have half of the queue");

    $refused->(500);

    my $dropped = { counts() }->{dropped} - $n{dropped} - $strangers;

    # one is under way, or another one by now

    ok($dropped <= 99 && $dropped > 90, 'as many as may wait do, the rest is dropped')
        or note $dropped;
    like($t->log, qr/\[warn\].* events are dropped: as many wait/, 'logged');

    my $c = connect_to($agent->port('web'));
    syswrite $c, 'hello';
    is(sysread($c, my $got, 5), 5, 'clients are served');
    close $c;

    like(http_get($t->{http_port}, '/metrics')->{body},
         qr/^zltunnel_notifications_total\{result="dropped"\} \d\d+$/m, 'metrics');

    # the one that was under way is tried again when its time is over

    answers(200, 0);
    ok(wait_for(sub { of($id) >= 1002 }, 60), 'what was kept arrives')
        or note scalar of($id);
    $agent->stop;
    ended($x);
};

subtest 'a worker is killed' => sub {
    my $x = wire($bob);
    my $id = unpack 'H*', $x->{ok}{tunnel_id};
    ok(event('agent.connected', tunnel => $id), 'an agent');

    my ($pid) = $t->log =~ / (\d+)#\d+: [^\n]*agent "bob" connected from [^\n]* tunnel $id/;
    answers(0, 0);
    $x->send_msg(ZLTunnel::Wire::register("never $_")) for 1 .. 20;
    $x->expect('RegisterFail') for 1 .. 20;
    answers(200, 0);
    kill KILL => $pid;

    my $e = event('agent.disconnected', tunnel => $id) or return;
    is($e->{reason}, 'a worker of the server died', 'another worker tells');

    $x = wire($bob);
    is(unpack('H*', $x->{ok}{tunnel_id}), $id, 'the same again');
    ok(event('agent.back', tunnel => $id), 'is back');
    ended($x);
};

subtest 'a worker exits, and nobody answers' => sub {
    my %n = counts();
    my $x = wire($bob);
    my $id = unpack 'H*', $x->{ok}{tunnel_id};
    ok(event('agent.connected', tunnel => $id), 'an agent');

    answers(0, 0);
    $x->send_msg(ZLTunnel::Wire::register("none $_")) for 1 .. 20;
    $x->expect('RegisterFail') for 1 .. 20;

    my @before = $t->workers;
    kill HUP => $t->{nginx}->pid;
    $x->expect('Disconnect');
    $x->close;

    ok(wait_for(sub { !kill 0, @before }, 30), 'it ends');
    ok(scalar($t->log =~ /\[warn\].* \d\d events dropped: the worker exits/),
         'and says what is lost');
    ok(wait_for(sub { ({ counts() }->{dropped} // 0) >= $n{dropped} + 15 }),
       '.. which is counted');
    answers(200, 0);
    ok(event('agent.gone', tunnel => $id), 'the others go on');
};

subtest 'dead' => sub {
    my %n = counts();

    $hook->{proc}->stop;

    my $x = wire($alice);
    ok(wait_for(sub { ({ counts() }->{failed} // 0) > $n{failed} }),
       'it has failed');

    hook();
    ended($x);
};

$t->finish;


# nginx -t says what is wrong

sub configurations {
    my $with = sub {
        my ($location) = @_;
        my (undef, $out) = $t->test_conf(http => '', location => $location);
        return $out;
    };

    my $error = sub {
        my ($location, $re, $what) = @_;
        like($with->($location), $re, "nginx -t: $what");
    };

    $error->('location = /a { zltunnel; zltunnel_notify notify; }',
             qr/"zltunnel_notify" has "notify", which is no URI of a location: it must begin with "\/" in /,
             'no URI');
    $error->('location = /a { zltunnel; zltunnel_notify /n?x=1; }',
             qr/"\/n\?x=1": arguments and variables belong into the "proxy_pass"/,
             'arguments');
    $error->('location = /a { zltunnel; zltunnel_notify /n; zltunnel_notify /m; }',
             qr/"zltunnel_notify" directive is duplicate/, 'twice');
    $error->('location = /a { zltunnel_notify /n; }',
             qr/"zltunnel_notify" belongs into the location that has "zltunnel" in \S+:\d+/,
             'elsewhere');
    $error->('location = /a { zltunnel; zltunnel_notify /a; }',
             qr/"zltunnel_notify" has "\/a", where agents connect: it must be another location, in \S+:\d+/,
             'to itself');
    $error->('location = /a { zltunnel; zltunnel_notify /n; }
              location = /b { zltunnel; zltunnel_notify /n; }',
             qr/"zltunnel_notify" of registry "default" is in \S+:\d+ and again in \S+:\d+/,
             'in two locations of a registry');

    unlike($with->('location = /a { zltunnel_notify /n; zltunnel; }'),
           qr/emerg/, 'in either order');
}


sub hook {
    my $out = "$t->{dir}/logs/hook";
    my $ready = () = -e $out ? ZLTunnel::slurp($out) =~ /^ready/mg : ();

    $hook->{proc} = ZLTunnel::Proc->start(
        name => 'the web hook', out => $out, err => "$out.err",
        cmd => [ $^X, "$FindBin::Bin/../lib/webhook.pl", $hook->{port},
                 $hook->{file} ]);
    push @{ $t->{procs} }, $hook->{proc};

    wait_for(sub { ($ready + 1) == (() = ZLTunnel::slurp($out) =~ /^ready/mg) })
        or die 'no web hook';
}


sub answers {
    ZLTunnel::write_file("$hook->{file}.new", "@_\n");
    rename "$hook->{file}.new", $hook->{file};
}


# all that it was told, in order

sub told {
    open my $fh, '<', "$t->{dir}/logs/hook" or die "hook: $!";
    seek $fh, $read, 0;

    while (defined(my $line = <$fh>)) {
        last if $line !~ /\n\z/;
        $read += length $line;

        my ($type, $id, $json, $body) = split / /, $line, 4;
        next if ($json // '') ne 'application/json';

        my $e = JSON::PP::decode_json($body);

        is("$e->{type} $e->{id}", "$type $id", 'headers')
            if "$e->{type} $e->{id}" ne "$type $id";
        push @told, $e;
    }

    return @told;
}

sub of {
    my ($id) = @_;
    return grep { ($_->{tunnel} // '') eq $id } told();
}


# the last one of a type, with those fields

sub event {
    my ($type, %fields) = @_;

    my $found;

    wait_for(sub {
        ($found) = grep {
            my $e = $_;
            $e->{type} eq $type
            && !grep { ($e->{$_} // '') ne $fields{$_} } keys %fields;
        } reverse told();
    });

    ok($found, "$type is told")
        or diag(ZLTunnel::slurp("$t->{dir}/logs/hook") =~ s/.*(?=.{4000}\z)//sr);

    return $found;
}


# the tunnel is ended, and that is told: of it comes no more

sub ended {
    my ($x) = @_;

    my $id = unpack 'H*', $x->{ok}{tunnel_id};

    is(request('DELETE', "tunnels/$id"), 204, 'ended');
    ok(event('agent.kicked', tunnel => $id), '.. as is told');
    $x->close;
}


sub counts { %{ $t->status->{notifications} } }

sub control { ZLTunnel::Wire->control($t) }

sub wire { ZLTunnel::Wire->agent($t, @_) }

sub api {
    my ($path) = @_;
    return JSON::PP::decode_json(http_get($t->{http_port},
                                          "/api/1/$path")->{body});
}


sub request {
    my ($method, $path) = @_;

    return http_request($t->{http_port},
                        "$method /api/1/$path HTTP/1.1\r\nHost: localhost\r\n"
                        . "Connection: close\r\n\r\n")->{status};
}
