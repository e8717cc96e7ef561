#!/usr/bin/perl

# Protects: many names.  Ten thousand of a hundred agents are registered, found,
# shown and forgotten; a request costs no more among them than alone; and the
# table of names is right after any order of registering and giving back, by many
# at once, with the zone full in between, and when a worker dies in a change.
#
# Long: 10,000 names of 100 agents, and instructions are counted; short: 1,000 of
# 10.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Many;
use ZLTunnel::Wire;

my ($FEATURES, $HOSTS) = (0x83, 4);
my ($BUSY) = (10);

my $agents = sizes('agents', 100, 10);

subtest 'many names' => \&many_names;
subtest 'any order' => \&any_order;
subtest 'a worker dies' => \&dies;
subtest 'the cost of a request' => \&cost;

done_testing();


sub server {
    my (%o) = @_;

    my $t = ZLTunnel->new(workers => 2, zone => '8m', zltunnel => '', %o,
        zltunnel => 'domain t.example; public_url http://*; max_tunnels 200;'
                    . " connect_timeout 200ms; $o{zltunnel}");
    $t->{front} = $t->free_port;
    $t->write_conf(http => <<"EOT");
upstream hosts { zltunnel_host \$host; keepalive 8; }
server {
    listen 127.0.0.1:$t->{front};
    access_log off;
    keepalive_requests 1000000;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_set_header Host \$host;
    add_header Zltunnel-Error \$zltunnel_error always;
    location / { proxy_pass http://hosts; }
}
EOT

    return $t;
}


sub many_names {
    my $t = server(zltunnel => 'reconnect_grace 1s;');
    my $token = $t->token('alice', 'hosts=*.t.example sessions=200'
                          . ' max_hosts=20000');
    $t->start;

    my $used = sub { $t->status->{zone}{used} };
    my @c = map { ZLTunnel::Wire->agent($t, $token, features => $FEATURES) }
                1 .. $agents;
    my $empty = $used->();
    my $start = time;
    my @bad;

    for my $n (0 .. $#c) {
        for my $part (0, 1) {
            $c[$n]->send_msg(register("s$part", map { "n-$n-$_" }
                                      50 * $part .. 50 * $part + 49));
        }
    }

    for my $c (@c) {
        for my $part (0, 1) {
            my $m = $c->next // {};
            push @bad, $m->{type} // 'none' if ($m->{type} // '') ne 'RegisterOk';
        }
    }

    my $took = time - $start;
    my $all = 100 * $agents;

    is("@bad", '', "$all names of $agents agents");
    is(scalar(map { @{ $_->{hosts} } } map { @{ $_->{services} } }
              @{ $t->status->{tunnels} }), $all, 'all of them are shown');

    my $bytes = ($used->() - $empty) / $all;
    cmp_ok($bytes, '<', 400, 'bytes of the zone a name');
    note sprintf '%d names: %.2f s, %.0f bytes each', $all, $took, $bytes;

    my @asked = map { sprintf 'n-%d-%d', rand $agents, rand 100 } 1 .. 100;
    found($t, 'each is found', { map { $_ => 1 } @asked });
    found($t, 'and no other', { map { 0 + sprintf('%d', rand 1e6) . "-x" => 0 }
                                1 .. 20 });

    my @old = $t->workers;
    $start = time;
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub {
        my %now = map { $_ => 1 } $t->workers;
        return keys %now == 2 && !grep { $now{$_} } @old;
    }, 30), 'a reload');
    note sprintf 'reload: %.2f s', time - $start;

    $_->reset for @c;
    ok(wait_for(sub { !@{ $t->status->{tunnels} } }, 60), 'the agents go');

    # what rests is bounded, and gives way

    my $c = ZLTunnel::Wire->agent($t, $token, features => $FEATURES);
    $c->send_msg(register('again', map { "n-0-$_" } 0 .. 49));
    is(($c->next // {})->{type}, 'RegisterOk', 'their names are had again');
    $c->close;

    $t->finish;
}


sub register {
    my ($service, @names) = @_;

    return ZLTunnel::Wire::register($service, ext => ZLTunnel::Wire::ext(
        1, "\1", $HOSTS, join ',', @names));
}


# Nobody serves these: what is found is silent.

sub found {
    my ($t, $what, $names) = @_;

    my @r = map { { line => 'GET /', name => $_,
                    headers => { Host => "$_.t.example" } } } sort keys %$names;

    many($t->{front}, 50, \@r, timeout => 60);

    my @wrong = grep {
        ($_->{head} =~ /^Zltunnel-Error: silent/m ? 1 : 0) != $names->{ $_->{name} }
    } @r;

    is(join(' ', map { "$_->{name}:$_->{status}" } @wrong), '', $what);
}


# Agents register and give back what comes to their minds, and say it before
# they hear; what they are told is what is there in the end.

sub any_order {
    my $t = server(zone => '192k', zltunnel => 'max_hosts 512;'
                   . ' max_services 5000;');
    my @tokens = map { $t->token($_, "hosts=*.$_.t.example sessions=4") }
                     qw(alice bob carol);
    $t->start;

    my @c = map { { c => ZLTunnel::Wire->agent($t, $tokens[$_ % 3],
                        features => $FEATURES),
                    tenant => (qw(alice bob carol))[$_ % 3], has => {} } } 0 .. 5;
    my ($ok, $full, %odd) = (0, 0);

    srand 7;

    for my $round (1 .. sizes('rounds', 400, 60)) {
        for my $a (@c) {
            $a->{sent} = [];

            for (1 .. 4) {
                my $service = 's' . int rand 6;

                if (my $gone = delete $a->{has}{$service}) {
                    $a->{c}->send_msg(ZLTunnel::Wire::msg('Unregister',
                                                          $gone->{id}));
                    next;
                }

                next if grep { $_->{service} eq $service } @{ $a->{sent} };

                my %names = map { 'n' . int(rand 700) . ".$a->{tenant}" => 1 }
                                1 .. 1 + rand 30;
                my @names = map { "$_.t.example" } sort keys %names;
                $a->{c}->send_msg(register($service, @names));
                push @{ $a->{sent} }, { service => $service, names => \@names };
            }
        }

        for my $a (@c) {
            for my $sent (@{ $a->{sent} }) {
                my $m = $a->{c}->next // { type => 'none' };

                if ($m->{type} eq 'RegisterOk') {
                    $ok++;
                    $a->{has}{ $sent->{service} } = {
                        id => $m->{service_id}, names => $sent->{names} };

                } elsif ($m->{type} eq 'RegisterFail' && $m->{code} == $BUSY) {
                    $full++;

                } else {
                    $odd{ "$m->{type} " . ($m->{code} // '') }++;
                }
            }
        }
    }

    cmp_ok($ok, '>', 20, "$ok registrations");
    cmp_ok($full, '>', 0, "$full found the zone full");
    is_deeply(\%odd, {}, 'and nothing else happened');

    my $st = $t->status;
    my $shown = join ' ', sort map { "@{[ sort @{ $_->{hosts} } ]}" }
                          map { @{ $_->{services} } } @{ $st->{tunnels} };
    my $is = join ' ', sort map { "@{ $_->{names} }" }
                       map { values %{ $_->{has} } } @c;
    is($shown, $is, 'the names are those that the agents were told of');

    my %has = map { s/\.t\.example$//r => 1 } map { @{ $_->{names} } }
              map { values %{ $_->{has} } } @c;
    my %asked = map { $_ => $has{$_} // 0 } map {
        my $name = 'n' . int(rand 700) . '.' . (qw(alice bob carol))[rand 3];
    } 1 .. 100;
    found($t, 'and those that requests find', \%asked);

    $_->{c}->reset for @c;
    $t->finish;
}


# A worker dies while it holds the lock: the registry is emptied, and the agent
# comes again.  Requests wait.

sub dies {
    my (undef, $v) = run($ZLTunnel::NGINX, '-V');

    plan(skip_all => 'nginx was built without --with-debug')
        if $v !~ /--with-debug/;

    my $t = server(allow => [ qr/exited on signal 9|was locked by \d+/ ],
                   zltunnel => 'reconnect_grace 30s;');
    $t->write_conf(zltunnel => "$t->{zltunnel} debug_stop $t->{dir}/temp/stop;"
                               =~ s/connect_timeout 200ms/connect_timeout 20s/r);
    my $token = $t->token('alice', 'hosts=*.t.example');
    $t->start;

    my $app = app($t, 'web');
    my @names = map { "n$_" } 1 .. 60;
    $t->agent(token => $token, services => [ "web:$app->{port}" ],
              args => [ map { ('--host', $_) } @names ]);

    for my $round (1 .. 2) {
        write_file("$t->{dir}/temp/stop.change", '');
        my ($pid, @s);
        ok(wait_for(sub {
            push @s, connect_to($t->{front});
            syswrite $s[-1], "GET / HTTP/1.1\r\nHost: n1.t.example\r\n\r\n";
            ($pid) = grep { slurp("/proc/$_/stat") =~ /\) T/ } $t->workers;
            return $pid;
        }), "$round: a worker has stopped in a change") or last;
        kill KILL => $pid;

        my %got;
        for my $name (@names) {
            my $r = get($t->{front}, '/', host => "$name.t.example");
            $got{"$r->{status} " . (($r->{body} // '') =~ /^(\w+)/)[0]}++;
        }
        is_deeply(\%got, { '200 web' => 60 }, "$round: all names are there again")
            or diag explain \%got;
    }

    $t->finish;
}


# In instructions, which nothing disturbs.

sub cost {
    plan(skip_all => 'long runs only') if !long_run();
    plan(skip_all => 'there is no valgrind')
        if (run('valgrind', '--version'))[0];

    my $program = ZLTunnel::path_of($ZLTunnel::NGINX);
    my $t = server(workers => 1, master => 'off',
                   zltunnel => 'reconnect_grace 5s; heartbeat_interval 60s;'
                               . ' heartbeat_timeout 180s;');
    my $out = "$t->{dir}/temp/callgrind";

    write_file("$t->{dir}/nginx-counted", <<"EOT", 0755);
#!/bin/sh
exec valgrind -q --tool=callgrind --callgrind-out-file=$out $program "\$\@"
EOT

    my $one = $t->token('web', 'hosts=*.t.example');
    my $token = $t->token('alice', 'hosts=*.t.example sessions=200'
                          . ' max_hosts=20000');
    {
        local $ZLTunnel::NGINX = "$t->{dir}/nginx-counted";
        $t->start;
    }

    my $app = app($t, 'web');
    $t->agent(token => $one, services => [ "web:$app->{port}" ],
              args => [ '--host', 'web' ]);

    my $count = sub {
        my $s = connect_to($t->{front});
        my $ask = sub {
            get(0, '/', socket => $s, host => 'web.t.example', timeout => 60)
                ->{status} == 200 or die 'no answer';
        };

        $ask->() for 1 .. 20;
        run_ok('callgrind_control', '--zero', $t->{nginx}->pid);
        $ask->() for 1 .. 1000;
        run_ok('callgrind_control', '--dump', $t->{nginx}->pid);

        my ($last) = sort { -M $a <=> -M $b } glob "$out.*";
        return slurp($last) =~ /^(?:summary|totals): (\d+)/m ? $1 / 1000 : 0;
    };

    my $alone = $count->();
    my @c = map { ZLTunnel::Wire->agent($t, $token, features => $FEATURES) }
                1 .. 100;

    for my $n (0 .. $#c) {
        for my $part (0, 1) {
            $c[$n]->send_msg(register("s$part", map { "n-$n-$_" }
                                      50 * $part .. 50 * $part + 49));
            is(($c[$n]->next // {})->{type}, 'RegisterOk', "$n/$part")
                if !$part && $n % 25 == 0;
        }
    }

    sleep 2;
    my $among = $count->();

    note sprintf 'instructions a request: %d, among 10,000 names %d', $alone,
                 $among;
    cmp_ok($alone / $among, '>=', 0.98, 'a request costs no more among 10,000');

    $_->reset for @c;
    $t->finish;
}
