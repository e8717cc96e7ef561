#!/usr/bin/perl

# Protects: a node that is reloaded, or has two binaries for a while, costs nobody
# anything, neither its own clients nor those that come to its services by way of
# another node.  Long connections, new ones, requests and datagrams go on at each
# step; the others never miss a service of it, and nothing in the engine says that
# one went.
#
# Long: 120 long connections and some seconds between the steps; short: 30.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep time);
use ZLTunnel;
use ZLTunnel::App ();
use ZLTunnel::Engine;
use ZLTunnel::Hosts;
use ZLTunnel::Scene;
use ZLTunnel::UDP;

plan(skip_all => ZLTunnel::Engine::missing()) if ZLTunnel::Engine::missing();

my $long = sizes('long connections', 120, 30);
my $pause = sizes('seconds between the steps', 8, 1);

# A, which clients come to; B, which has the service that they want; and C, to
# which A's own service is another node's

my %t = map { $_ => ZLTunnel->new(workers => 2, daemon => 'on',
                                  main => '', allow => [ qr/exited on signal 9/ ]) }
            qw(A B C);
my @t = @t{qw(A B C)};
my $engine = ZLTunnel::Engine->start($t{A});
my %port = map { $_ => $t{A}->free_port } qw(far here near back up web);
my (%agent, %token, %service);

set_up();

my $load = ZLTunnel::Scene->load_on($t{A}, long => $long,
                                    ports => [ @port{qw(far here near back)} ]);
my $hosts = ZLTunnel::Hosts->start($t{A}, port => $port{web},
    owner => { 'web.example' => 'all' }, paths => [ '/' ],
    serves => { $service{web}{port} => 'all' });
my @udp = map { { s => ZLTunnel::UDP->client($port{up}), n => 0, lost => 0 } } 1 .. 4;

my $watch = $engine->watch;
my (%id, %has) = ();
look();

for my $name (qw(B A)) {
    subtest "$name, a reload" => sub { reloaded($name) };
}

subtest "$_, two binaries" => sub { taken_back($_) } for qw(B A);

$load->end_load;
finish();


sub set_up {
    my $certs = $t{A}->certs;

    for my $name (qw(A B C)) {
        my $t = $t{$name};
        my %node = $engine->node(more => 'refresh=2s');
        my %pass = $name eq 'A' ? (far => 'echo', here => 'near')
                   : $name eq 'B' ? (back => 'echo') : (near => 'near');

        $node{main} .= 'env ASAN_OPTIONS;';
        $node{zltunnel} =~ s/server\.pem;$/ca.pem;/;
        $node{zltunnel} .= "node_id $name; reconnect_grace 2s;";
        $t->write_conf(%node,
            http => "upstream web { zltunnel_service web; keepalive 4;
                               keepalive_timeout 2s; }
                server {
                    listen 127.0.0.1:$node{node_port} ssl;
                    ssl_certificate $certs/server.pem;
                    ssl_certificate_key $certs/server.key;
                    ssl_verify_client optional_no_ca;
                    location = /tunnel/v1 { zltunnel; }
                }" . ($name eq 'A' ? "
                server {
                    listen 127.0.0.1:$port{web};
                    keepalive_requests 100000;
                    location / {
                        proxy_http_version 1.1;
                        proxy_set_header Connection '';
                        proxy_set_header Host \$host;
                        proxy_pass http://web;
                    }
                }" : ''),
            stream => join('', map { "server { listen 127.0.0.1:$port{$_};
                                               zltunnel_pass $pass{$_}; }" }
                           keys %pass)
                      . ($name eq 'A' ? "server { listen 127.0.0.1:$port{up} udp;
                                                  zltunnel_pass dns; }" : ''));
        $token{$name} = $t->token('alice', 'sessions=3');
    }

    $_->start for @t;

    $service{echo} = $t{A}->service('echo');
    $service{web} = ZLTunnel::App::backend($t{A},
        'server { listen %PORT%; keepalive_requests 100000;
                  return 200 "$server_port $http_host $request_uri\n"; }');
    my $datagrams = $t{A}->free_port;
    $t{A}->spawn('udp-echo', $t{A}->nettool, 'udp-echo', $datagrams);

    $agent{B} = $t{B}->agent(token => $token{B}, services => [
        "echo:$service{echo}{port}", "web:$service{web}{port}",
        "dns:$datagrams/udp" ]);
    $agent{A} = $t{A}->agent(token => $token{A},
                             services => [ "near:$service{echo}{port}" ]);

    ok(wait_for(sub { remote('A') eq 'dns echo web' && remote('B') eq 'near'
                      && remote('C') eq 'dns echo near web' }, 30),
       'each node knows what the others have')
        or BAIL_OUT('no directory');
}


# The services of other nodes that this one has.

sub remote {
    my ($name) = @_;

    my $st = $t{$name}->status or return 'no answer';
    my %names = map { $_->{name} => 1 } map { @{ $_->{services} } }
                grep { $_->{remote_node} } @{ $st->{tunnels} };

    return join ' ', sort keys %names;
}


# What the others have of a node must not change; looked at all the time.

my (%missing, %looked);

sub look {
    for my $other (grep { defined $t{$_}{http_port} } qw(A B C)) {
        my $had = remote($other);
        my $want = { A => 'dns echo web', B => 'near',
                     C => 'dns echo near web' }->{$other};
        $looked{$other}++;
        $missing{"$other: $had"}++ if $had ne $want && $had ne 'no answer';
    }

    datagrams();
}


# Each client has one under way, which is lost when it has not come back within a
# second; what comes is the one that was sent.

my %wrong;

sub datagrams {
    for my $c (@udp) {
        while (defined(my $data = $c->{s}->recv(0))) {
            $wrong{$data}++ if $data ne "$c->{n}" || !delete $c->{sent};
            $c->{came}++;
        }

        if ($c->{sent} && time - $c->{sent} > 1) {
            delete $c->{sent};
            $c->{lost}++;
        }

        if (!$c->{sent}) {
            $c->{sent} = time;
            $c->{s}->send(++$c->{n});
        }
    }
}


sub pass_time {
    my ($seconds) = @_;

    my $end = time + $seconds;

    while (time < $end) {
        look();
        sleep 0.05;
    }
}


# Nothing has been lost up to now.

sub all_is_well {
    my ($what) = @_;

    $load->goes_on($what);
    $load->nothing_lost($what);
    ok($hosts->goes_on(50), "$what: requests go on");

    my $r = $hosts->report;
    my %not = map { $_ => $r->{$_} } grep { /^\d+$/ } keys %$r;
    is_deeply([ $r->{wrong}, \%not ], [ [], {} ], "$what: .. all of them");
    my @came = map { $_->{came} // 0 } @udp;
    ok(wait_for(sub { datagrams();
                      !grep { $udp[$_]{came} <= $came[$_] + 2 } 0 .. $#udp }, 30),
       "$what: datagrams go on, of each client");
    is_deeply(\%wrong, {}, '.. once, and to nobody else');
    is_deeply(\%missing, {}, "$what: no service is missed at another node");
    is(join("\n", ends()), '', "$what: nothing in the engine says that it went");
}


# What is said in the engine of an end.

sub ends {
    return grep { /"(?:DEL|HDEL|SREM)"/i
                  || /"PUBLISH"/i && /\\n(?:-|!)/ } $watch->();
}


sub workers_of {
    my ($pid) = @_;

    return grep { slurp("/proc/$_/cmdline") =~ /^nginx: worker process(?! is)/ }
           children_of($pid);
}


sub reloaded {
    my ($name) = @_;

    my $t = $t{$name};
    my %old = map { $_ => 1 } $t->workers;

    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { look(); my @now = $t->workers;
                      @now == 2 && !grep { $old{$_} } @now }, 30), 'new workers');
    pass_time($pause + 1);
    all_is_well("$name is reloaded");
}


# USR2: the new master.

sub two_binaries {
    my ($name) = @_;

    my $t = $t{$name};
    my $old = $t->{nginx}->pid;
    my $new;

    $t->{nginx}->kill('USR2');
    ok(wait_for(sub {
        look();
        ($new) = slurp("$t->{dir}/nginx.pid") =~ /^(\d+)/;
        return $new && $new != $old && -e "$t->{dir}/nginx.pid.oldbin"
               && workers_of($new) == 2;
    }, 30), 'USR2: a new master') or BAIL_OUT('no new master');

    pass_time($pause);
    all_is_well("$name, two binaries");

    return ($old, $new);
}


sub taken_back {
    my ($name) = @_;

    my ($old, $new) = two_binaries($name);
    my @new = ($new, workers_of($new));

    kill QUIT => $new;
    ok(wait_for(sub { look(); !grep { ZLTunnel::Proc::exists_pid($_) } @new }, 30),
       'QUIT to the new, which ends');
    pass_time($pause);
    all_is_well("$name, the old binary");
}


sub finish {
    my $r = $hosts->stop;
    note explain($r);
    note join ', ', map { "$_->{n} datagrams, $_->{lost} lost" } @udp;

    for my $name (qw(A B C)) {
        my $text = join ' ', $t{$name}->log =~ /(node \w+ (?:has stopped|has not)[^\n]*)/g;
        is($text, '', "$name has missed no node");
    }

    # with the last service of a node the channels to it go

    is($_->stop, 0, 'an agent ends') for values %agent;
    ok(wait_for(sub { !grep { remote($_) } qw(A B C) }, 20), '.. and its services');
    $t{A}->finish(@t{qw(B C)});
}
