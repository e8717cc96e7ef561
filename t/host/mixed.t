#!/usr/bin/perl

# Protects: two hundred names of two tenants, asked for all mixed up over kept
# connections of HTTP/1.1, HTTP/2 and, where nginx has it, HTTP/3: each is answered by the right agent, and
# no request gets another one's answer.  So it is with keepalive to the agents,
# with lanes and without, with a cache, and while nginx reloads, agents end, die
# and come back, another agent takes over, a worker is killed, and nginx is
# upgraded.  Nobody is told that there is no such host.
#
# Long: 100,000 requests of each protocol before anything is done; short: 1,500.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Hosts;

my $requests = sizes('requests', 100_000, 1_500);
my $between = sizes('requests between events', 5_000, 300);

my $quics = 0;
my $python = http3_client();          # one that has aioquic, and nginx HTTP/3
my ($t, $front, $h3, %token, %agent, %owner, %serves, @clients);

set_up();
goes_on('two hundred names', $requests);

quic('HTTP/3');

$t->{nginx}->kill('HUP');
goes_on('a reload');

$agent{alice2}->stop('TERM');
goes_on('an agent of two has ended');
start_agent('alice2');
goes_on('and is back');

is(told(), '', 'nobody is turned away by what ends in order');

kill_agent('bob1');
start_agent('bob1');
goes_on('an agent is killed, and is back');

kill_agent('alice1');
start_agent('alice3', 'alice1');
goes_on('another one has come in its place');

kill KILL => ($t->workers)[0];
goes_on('a worker is killed');

my $absent = told(502);

$agent{bob2}->stop('TERM');
$agent{bob2}->launch;
goes_on('the only agent with its names ends, and is back');
quic('HTTP/3, after all that');

upgrade();

for my $c (@clients) {
    my $r = $c->stop;
    my $http = $c->{http2} ? 'HTTP/2' : 'HTTP/1.1';

    is_deeply($r->{wrong}, [], "$http: no wrong answer");
    cmp_ok($r->{502} // 0, '<', 70, "$http: few requests go with an agent");
    cmp_ok($r->{half} // 0, '<', 40, "$http: .. and few half with a worker");
    is($r->{404} // 0, 0, "$http: nobody is told that there is no such host");
    note "$http: ", JSON::PP->new->canonical->encode({ %$r, by => undef });
}

is($absent, '', 'nobody is turned away where others or a wait can help');

$t->finish;


sub set_up {
    $t = ZLTunnel->new(workers => 3, daemon => 'on', connections => 2048,
        allow => [ qr/exited on signal 9/ ],
        main => 'env ASAN_OPTIONS;', zltunnel => 'domain t.example;'
            . ' max_hosts 256; public_url http://*;');
    $front = $t->free_port;

    my $h2 = $t->free_port;
    my $cache = "$t->{dir}/temp/cache";
    my $certs = $t->certs;
    my $quic = '';

    if ($python) {
        $h3 = $t->free_port;
        $quic = "listen 127.0.0.1:$h3 quic reuseport;"
                . " ssl_certificate $certs/server.pem;"
                . " ssl_certificate_key $certs/server.key;";
    }

    my $http2 = since(1, 25, 1) ? 'http2 on; listen' : 'listen';
    my $param = since(1, 25, 1) ? '' : ' http2';

    $t->write_conf(http => <<"EOT");
upstream hosts { zltunnel_host \$host; keepalive 16; }
upstream plain { zltunnel_host \$host lanes=off; keepalive 16; }
upstream once { zltunnel_host \$host; }
proxy_cache_path $cache keys_zone=cache:1m;
server {
    listen 127.0.0.1:$front;
    $http2 127.0.0.1:$h2$param;
    $quic
    keepalive_requests 100000;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_set_header Host \$host;
    location / { proxy_pass http://hosts; }
    location /plain/ { proxy_pass http://plain; }
    location /once/ { proxy_pass http://once; }
    location /cached/ {
        proxy_cache cache;
        proxy_cache_key \$host\$request_uri;
        proxy_cache_valid 200 1s;
        proxy_cache_use_stale updating;
        proxy_cache_background_update on;
        proxy_pass http://hosts;
    }
}
EOT

    $token{$_} = $t->token($_, "hosts=*.t.example sessions=2") for 'alice', 'bob';
    $t->start;

    # alice's agents have the same names, bob's have each their own

    my @ports = map { $t->free_port } 1 .. 20;
    my $listen = join ' ', map { "listen 127.0.0.1:$_;" } '%PORT%', @ports;
    backend($t, "server { $listen keepalive_requests 100000; "
              . 'return 200 "$server_port $http_host $request_uri\n"; }');

    for my $name ('alice1', 'alice2', 'bob1', 'bob2') {
        start_agent($name, undef, splice @ports, 0, 5);
    }

    @clients = map {
        ZLTunnel::Hosts->start($t, owner => \%owner, serves => \%serves,
            paths => [ '/', '/plain/', '/once/', '/cached/' ], %$_)
    } { port => $front }, { port => $h2, http2 => 1 };
}


# Five services with some names each; again, or in another's place, with its.

sub start_agent {
    my ($name, $as, @ports) = @_;

    $as //= $name;
    my ($tenant) = $name =~ /^([a-z]+)/;
    my $part = $as =~ /2/ && $tenant eq 'bob' ? 2 : 1;
    state_of($as)->{ports} = [ @ports ] if @ports;

    my @args;
    my $n = 0;

    for my $port (@{ state_of($as)->{ports} }) {
        my $service = 's' . ++$n;
        my @names = map { "$tenant-$part-$n-$_" } 1 .. ($tenant eq 'bob' ? 10 : 20);

        $serves{$port} = $tenant;
        $owner{"$_.t.example"} = $tenant for @names;
        push @args, '--service', "$service:$port",
             map { ('--host', $_) } @names;
    }

    my $first = splice @args, 1, 1;
    shift @args;

    $agent{$name} = $t->agent(token => $token{$tenant}, services => [ $first ],
                              args => \@args);
    ok(wait_for(sub { $agent{$name}->log =~ /connected as .*\(5 services\)/
                      || keys %{ $agent{$name}->services } >= 5 }),
       "$name has its services") or diag $t->tails;
}


my %state;

sub state_of { return $state{ $_[0] } //= {} }


sub kill_agent {
    my ($name) = @_;

    $agent{$name}{proc}->kill('KILL');
    $agent{$name}{proc}->wait(5);
}


sub goes_on {
    my ($what, $n) = @_;

    for my $c (@clients) {
        ok($c->goes_on($n // $between, $requests / 50 + 60),
           "$what: " . ($c->{http2} ? 'HTTP/2' : 'HTTP/1.1') . ' is answered')
            or diag explain $c->report;
    }
}


sub http3_client {
    my (undef, $v) = run($ZLTunnel::NGINX, '-V');

    return if $v !~ /--with-http_v3_module/;
    return (grep { !(run($_, '-c', 'import aioquic'))[0] }
            $ENV{TEST_PYTHON} || ('/usr/bin/python3', 'python3'))[0];
}


# All names at once, on one connection, a few times.

sub quic {
    my ($what) = @_;

  SKIP: {
        skip 'no HTTP/3, in nginx or as a client', 2 if !$python;

        my $client = $t->spawn('h3-' . ++$quics, $python, "$FindBin::Bin/../lib/h3_client.py",
                               $h3, $t->certs . '/ca.pem', 60);
        my ($good, @bad) = (0);

        for my $n (1 .. 5) {
            my @names = sort keys %owner;
            $client->say("hosts /$n @names");
            wait_for(sub { $n == (() = $client->output =~ /^done hosts/mg)
                     }, 15) or last;
        }

        for my $line (split /\n/, $client->output) {
            my ($host, $status, $port, $name) = split ' ', $line;
            next if $line !~ /t\.example/;

            $status eq 200 && $name eq $host
                && ($serves{$port} // '') eq $owner{$host} ? $good++
                                                           : push @bad, $line;
        }

        # an old worker waits for a connection that has not been closed

        close $client->{stdin};
        $client->wait(10) // $client->stop('KILL');
        is(join('; ', splice @bad, 0, 5), '', "$what: none is mixed up");
        is($good, 5 * keys %owner, "$what: all are answered");
    }
}


# What clients were told but 200; and but that, what they had with an agent that
# was killed, and no other one has the name.

sub told {
    my ($but) = @_;
    my @told;

    for my $c (@clients) {
        my $r = $c->report;
        push @told, map { "$r->{$_} times $_, as for $r->{last}{$_}" }
                    grep { /^\d+$/ && $_ != ($but // 0) } keys %$r;
    }

    return join '; ', @told;
}


sub upgrade {
    my $old = $t->{nginx}->pid;
    my $new;

    $t->{nginx}->kill('USR2');
    ok(wait_for(sub {
        ($new) = slurp("$t->{dir}/nginx.pid") =~ /^(\d+)/;
        return $new && $new != $old && -e "$t->{dir}/nginx.pid.oldbin"
               && children_of($new) >= 3;
    }, 30), 'a new binary') or return;

    goes_on('both binaries', 50);
    kill QUIT => $old;
    ok(wait_for(sub { !$t->{nginx}->running }, 60), 'the old one has ended');
    $t->follow($new);
    goes_on('the new binary');
}
