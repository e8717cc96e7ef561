#!/usr/bin/perl

# Protects: rights.  A token that is wrong, expired or taken away gets nothing
# and keeps nothing; its limits on ports, services and protocols hold; each
# refusal has a code and a reason; a token file that is half written changes
# nothing.  Limits fail closed, for one client, never for the server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire qw(ext msg register);

subtest 'refused' => \&refused;
subtest 'registrations' => \&registrations;
subtest 'ports that rest' => \&rest;
subtest 'revoked while in use' => \&revoked;
subtest 'the file followed' => \&followed;
subtest 'limits of the block' => \&limits;
subtest 'zone full' => \&zone_full;

done_testing();


sub utc { strftime '%Y-%m-%dT%H:%M:%SZ', gmtime time + $_[0] }


# AuthFail, as it comes to a new control channel with that token.

sub auth_fail {
    my ($t, $token) = @_;

    my $c = ZLTunnel::Wire->control($t);
    $c->auth($token, features => 1);

    my $m = $c->next // { type => $c->{end} // 'none' };
    $c->reset;

    return $m;
}


sub refused {
    my $t = ZLTunnel->new;
    my $old = $t->token('old', 'expires=' . utc(-3600));
    $t->token('alice');
    $t->start;

    my $m = auth_fail($t, 'f' x 48);
    is($m->{type}, 'AuthFail', 'a wrong token: AuthFail');
    is($m->{code}, 1, 'code 1');

    my $reason = $m->{reason};
    is(auth_fail($t, '')->{reason}, $reason, 'an empty one: the same reason');

    $m = auth_fail($t, $old);
    is($m->{type}, 'AuthFail', 'an expired token: AuthFail');
    is($m->{code}, 2, 'code 2');
    like($m->{reason}, qr/expired/i, "reason: $m->{reason}");

    for my $case ([ 'f' x 48, 'wrong', qr/token/i ],
                  [ $old, 'expired', qr/expired/i ]) {
        my ($token, $name, $re) = @$case;

        my $url = $t->url('ws');
        my $agent = $t->agent(token => $token, wait => 0, conf => <<"EOT");
[agent]
server = $url
token_file = %%token_file%%

[service web]
local = 8080
EOT
        ok($agent->logged($re), "$name: the agent says so");
        sleep 2;
        ok($agent->{proc}->running, "$name: and goes on trying");

        my @tries = $agent->log =~ /$re/g;
        cmp_ok(scalar @tries, '<=', 3, "$name: slowly");
        $agent->stop;
    }

    unlike($t->log, qr/f{32}/, 'a wrong token is not logged either');

    $t->finish;
}


sub registrations {
    my $t = ZLTunnel->new(range => 10);
    my $base = $t->{base};
    my $reserved = $t->free_port;

    $t->write_conf(stream => "server { listen 127.0.0.1:$reserved;
                                       zltunnel_ports reserved; }");

    my $alice = $t->token('alice', "ports=$base-" . ($base + 3)
        . ',' . ($base + 6) . ' max_services=5 protocols=tcp');
    my $bob = $t->token('bob', 'services=web,db-*');
    $t->start;

    my $c = ZLTunnel::Wire->agent($t, $alice, features => 5);

    my $try = sub {
        my ($c, $name, @o) = @_;
        $c->send_msg(register($name, @o));
        my $m = $c->next;
        return $m->{type} eq 'RegisterOk' ? $m->{port}
                                          : "code $m->{code}: $m->{reason}";
    };

    like($try->($c, 'a', remote => $base + 5), qr/^code 6: .*port/,
         'a port that the token does not allow');
    like($try->($c, 'a', remote => $reserved), qr/^code 6: .*port/,
         'a reserved port that the token does not allow');
    like($try->($c, 'a', remote => 1), qr/^code 6: .*port/,
         'a port that the server does not have');
    like($try->($c, 'a', udp => 1), qr/^code 6: \w/,
         'a protocol that the token does not allow');
    like($try->($c, 'a b'), qr/^code \d+: \w/, 'a name that is none');

    is($try->($c, 'a', remote => $base + 6), $base + 6, 'an allowed port');
    is($try->($c, 'b'), $base, 'assigned among the allowed ones');
    is($try->($c, 'c'), $base + 1, 'the next');
    is($try->($c, 'd', ext => ext(2, pack 'n', $base + 5)), $base + 2,
       'a preferred port that is not allowed is no error');
    is($try->($c, 'e'), $base + 3, 'the last allowed one');
    like($try->($c, 'f'), qr/^code 4: .*service/,
         'one service more than the token allows');

    my $d = ZLTunnel::Wire->agent($t, $bob, features => 1);

    like($try->($d, 'x'), qr/^code 6: \w/, 'a name that is not allowed');
    like($try->($d, 'web2'), qr/^code 6: \w/, 'nor a longer one');
    is($try->($d, 'web'), $base + 4, 'an allowed name');
    is($try->($d, 'db-1'), $base + 5, 'an allowed pattern');
    like($try->($d, 'db-2', remote => $base), qr/^code 5: .*port/,
         'a port of another tunnel');

    $_->reset for $c, $d;
    $t->finish;
}


# Clients come back to a port where they found a service, so whoever asks for
# it by its number does not get it at once.

sub rest {
    my $t = ZLTunnel->new(range => 4, zltunnel => 'reconnect_grace 1s;');
    my ($tcp, $udp) = map { $t->{base} + $_ } 0, 1;
    my %token = map { $_ => $t->token($_) } qw(alice bob);
    my $again = $t->token('alice');

    $t->write_conf(udp => 1);
    $t->start;

    my $try = sub {
        my ($c, @o) = @_;
        $c->send_msg(register(@o));
        my $m = $c->next // { type => 'none' };
        return $m->{type} eq 'RegisterOk' ? $m->{port}
               : ($m->{code} // $m->{type});
    };

    my ($alice, $bob) = map { ZLTunnel::Wire->agent($t, $token{$_}) }
                        qw(alice bob);

    is($try->($alice, 'a', remote => $tcp), $tcp, 'a port that is asked for');
    is($try->($alice, 'u', remote => $udp, udp => 1), $udp, 'and one of UDP');

    my ($tunnel) = grep { $_->{name} eq 'alice' } @{ $t->status->{tunnels} };
    $alice->send_msg(msg('Unregister', pack 'H*', $_->{id}))
        for @{ $tunnel->{services} };
    ok(wait_for(sub { refuses($tcp) }), 'they are freed');

    is($try->($bob, 'a', remote => $tcp), 5, 'another token is refused');
    is($try->($bob, 'u', remote => $udp, udp => 1), 5, 'that of UDP, too');
    is($try->($bob, 'tcp', remote => $udp), $udp,
       'one that only UDP had is another port');
    isnt($try->($bob, 'any'), $tcp, 'nor is it assigned');
    is($try->($alice, 'a', remote => $tcp), $tcp, 'the former has it again');
    is($try->($alice, 'b', remote => $udp, udp => 1), $udp,
       'also under another name');

    $alice->reset;
    ok(wait_for(sub { refuses($tcp) }), 'it is freed by the end of the grace');
    is($try->($bob, 'a', remote => $tcp), 5, 'another token is refused');

    $alice = ZLTunnel::Wire->agent($t, $again);
    is($try->($alice, 'a', remote => $tcp), $tcp,
       'another token of the same name is no other');

    $_->reset for $alice, $bob;
    $t->finish;
}


sub revoked {
    my $t = ZLTunnel->new(workers => 2, range => 4);

    # several lines may bear one name: one identity
    my $one = $t->token('alice');
    my $two = $t->token('alice');
    my $bob = $t->token('bob');
    my $soon = $t->token('carol', 'expires=' . utc(8));
    $t->start;

    my $echo = $t->service('echo');
    my %agent = map { my ($name, $token) = @$_;
                      $name => $t->agent(token => $token,
                                         services => ["$name:$echo->{port}"]) }
                [ alice => $one ], [ bob => $bob ], [ carol => $soon ];

    is(auth_fail($t, $two)->{code}, 3,
       'another token of the same name: in use');

    my %client;

    for my $name (keys %agent) {
        my $c = ZLTunnel::Wire::Socket->new($agent{$name}->port($name));
        $c->send('hello');
        is($c->take(5), 'hello', "$name is served");
        $client{$name} = $c;
    }

    my $start = time;
    $t->revoke('alice');

    is($client{alice}->ending(20), 'reset', 'revoked: its client is reset');
    cmp_ok(time - $start, '<', 7 * slowdown(), 'within seconds');
    ok(wait_for(sub { refuses($agent{alice}->port('alice')) }, 10),
       'its port refuses');

    # which each worker finds by itself

    ok(wait_for(sub {
        !grep { (auth_fail($t, $one)->{code} // 0) != 1 } 1 .. 10
    }, 5), 'the token is as wrong as any');
    ok($agent{alice}->logged(qr/token/i), 'the agent is told');

    is($client{carol}->ending(30), 'reset', 'expired: its client is reset');
    ok(wait_for(sub { refuses($agent{carol}->port('carol')) }, 10),
       'its port refuses');
    is(auth_fail($t, $soon)->{code}, 2, 'the token is expired');

    $client{bob}->send('still');
    is($client{bob}->take(5), 'still', 'the other one is not disturbed');
    ok(wait_for(sub { $t->events($echo, 'reset') == 2 }),
       'the service sees both ends');

    $client{bob}->close;
    $t->finish;
}


sub followed {
    my $t = ZLTunnel->new(range => 6);
    my $base = $t->{base};
    my $alice = $t->token('alice', 'services=a,b');
    $t->start;

    my $file = "$t->{dir}/tokens";
    my $good = slurp($file);

    my $c = ZLTunnel::Wire->agent($t, $alice, features => 1);
    $c->send_msg(register($_)) for qw(a b);
    my %id = map { $_ => $c->expect('RegisterOk')->{service_id} } qw(a b);


    # What is no token file keeps the old set

    my $errors = 0;

    for my $case ([ 'half written', substr($good, 0, -30) ],
                  [ 'empty', '' ],
                  [ 'garbage', "\x7fELF\0\0\1\n" ],
                  [ 'gone', undef ]) {
        my ($name, $text) = @$case;

        if (defined $text) {
            # in place, as an editor might
            write_file($file, $text);

        } else {
            unlink $file;
        }

        # longer than it takes to be followed
        my $m = $c->next(3);
        is($m, undef, "$name: the tunnel goes on") or diag(explain($m));

        $c->beat;
        my $m2 = auth_fail($t, $alice);
        is($m2->{code}, 3, "$name: the old set counts");
    }

    like($t->log, qr/\[error\].*\Q$file\E/, 'an error is logged');
    my @lines = $t->log =~ /\[error\].*\Q$file\E/g;
    cmp_ok(scalar @lines, '<=', 5, 'not over and over') or diag("@lines");


    # A file that is being written counts when it is whole

    my $bob = 'b' x 40;
    open my $fh, '>', $file or die;
    $fh->autoflush(1);

    for my $part ($good =~ /(.{1,40})/gs) {
        print $fh $part;
        wait_for(sub { 0 }, 0.3);
    }

    print $fh sha256_hex($bob) . " bob\n";
    close $fh;

    my $b;
    ok(wait_for(sub {
        $b = ZLTunnel::Wire->control($t);
        $b->auth($bob, features => 1);
        return ($b->next // { type => '' })->{type} eq 'AuthOk';
    }, 15), 'a new token is taken over');
    $b->reset;
    is($c->next(0.1), undef, 'the tunnel goes on all the while');


    # Rights that shrink withdraw services

    $t->{tokens}[0]{rights} = 'services=a';
    $t->write_tokens;

    my $m = $c->next(15) // { type => 'none' };
    is($m->{type}, 'Withdraw', 'a service that is not allowed any more');
    is($m->{service_id}, $id{b}, 'is withdrawn');
    like($m->{reason}, qr/\w/, "with a reason: $m->{reason}");
    ok(wait_for(sub { refuses($base + 1) }), 'its port refuses');
    ok(!refuses($base), 'the other goes on');

    $t->{tokens}[0]{rights} = "ports=" . ($base + 3);
    $t->write_tokens;
    $m = $c->next(15) // { type => 'none' };
    $m = $c->next(15) // { type => 'none' } if $m->{type} eq 'Connect';
    is($m->{type}, 'Withdraw', 'a port that is not allowed any more');

    $c->reset;
    $t->finish;
}


sub limits {
    my $t = ZLTunnel->new(
        range => 10,
        zltunnel => 'max_tunnels 3; max_services 2; max_connections 3;
                     connect_timeout 3s;');
    my $token = $t->token('alice', 'sessions=10 max_services=9');
    $t->start;

    my @c = map { ZLTunnel::Wire->agent($t, $token, features => 1) } 1 .. 3;
    is($_->{ok}{type}, 'AuthOk', 'as many tunnels as allowed') for @c;

    my $m = auth_fail($t, $token);
    is($m->{type}, 'AuthFail', 'one tunnel more: AuthFail');
    is($m->{code}, 4, 'code 4');
    like($m->{reason}, qr/tunnels/, "reason: $m->{reason}");

    $c[0]->send_msg(register("s$_")) for 1 .. 3;
    $c[0]->expect('RegisterOk') for 1 .. 2;
    $m = $c[0]->expect('RegisterFail');
    is($m->{code}, 4, 'the block limits services below the token');
    like($m->{reason}, qr/service/, "reason: $m->{reason}");

    $_->reset for @c;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    my @clients = map { ZLTunnel::Wire::Socket->new($agent->port('e')) }
                  1 .. 3;

    for my $c (@clients) {
        $c->send('hello');
        is($c->take(5), 'hello', 'a connection within max_connections');
    }

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    is($c->ending(10), 'reset', 'one more is reset');

    $clients[0]->close;
    ok(wait_for(sub {
        my $c = ZLTunnel::Wire::Socket->new($agent->port('e')) or return 0;
        $c->send('hello');
        return ($c->take(5) // '') eq 'hello';
    }), 'and there is room again when one has ended');

    $_->close for @clients;
    $t->finish;
}


sub zone_full {
    my $t = ZLTunnel->new(range => 60);
    my $token = $t->token('alice', 'sessions=65535');

    $t->write_conf(zltunnel => 'max_tunnels 10000; max_services 100;
                                max_unauthenticated 10000;');
    my $conf = slurp("$t->{dir}/nginx.conf");
    $conf =~ s/^    zone 2m;/    zone 64k;/m;
    write_file("$t->{dir}/nginx.conf", $conf);
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);

    my (@c, $m);

    for (1 .. 400) {
        my $c = ZLTunnel::Wire->control($t);
        $c->auth($token, features => 1);
        push @c, $c;

        $m = $c->next // last;
        last if $m->{type} ne 'AuthOk';
    }

    is($m->{type}, 'AuthFail', scalar(@c) . ' tunnels fill the zone: AuthFail');
    ok($m->{code} == 10 || $m->{code} == 4, "code $m->{code}");
    like($m->{reason}, qr/zone|memory|full/i, "reason: $m->{reason}");

    # one that is there already
    my $name = 'n' x 200;
    my $fails = 0;

    for my $i (1 .. 50) {
        $c[0]->send_msg(register("$name$i"));
        my $m = $c[0]->next // last;
        $fails++ if $m->{type} eq 'RegisterFail';
    }

    cmp_ok($fails, '>', 0, 'RegisterFail, too');

    my $st = $t->status;
    ok($st, 'the status works');
    note "zone: used $st->{zone}{used}, free $st->{zone}{free}";

    $_->reset for @c;

    my $c;
    ok(wait_for(sub {
        $c = ZLTunnel::Wire::Socket->new($agent->port('e')) or return 0;
        $c->send('hello');
        return ($c->take(5, 5) // '') eq 'hello';
    }), 'the tunnel that was there serves');

    $c->close;
    $t->finish;
}
