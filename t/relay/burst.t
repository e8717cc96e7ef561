#!/usr/bin/perl

# Protects: many clients in the same moment.  A thousand connect at once, at a
# port, by zltunnel_pass, as requests and connections of upstreams, and through
# a visitor, with all limits as they are by default: none is reset while the
# agent is there, each gets its own bytes, whether all stay open or each ends at
# once.  Where there are not connections for all they wait in the queue of the
# socket, or if their channels find none, with one worker or several, whatever
# "multi_accept" says; and where other agents' idle channels have all that
# channels may have.  max_pending holds for an agent that is away, and for that
# only.
#
# Long: 5,000 of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Wire qw(register);

my $n = sizes('clients at once', 5_000, 1_000);

# the agent has a socket for each channel and one for each connection to the
# service; 5,000 with two ends each in a visitor

need_nofile(2 * $n + 1_000);

for my $scheme (qw(ws wss)) {
    subtest "$_ worker(s), $scheme", \&ports, $scheme, $_ for 1, 4;
}

subtest 'upstreams' => \&upstreams;
subtest 'visitors' => \&visitors;
subtest 'an agent that is away' => \&away;
subtest 'a turn that comes late' => \&late;
subtest 'few connections, ws, all accepted at once' =>
    \&few, 'ws', 1, 600, 250, events => 'multi_accept on;';
subtest 'few connections, wss' => \&few, 'wss', 1, 600, 250;
subtest 'few connections, wss, 4 workers' => \&few, 'wss', 4, 2_000, 600;
subtest 'a small share' => \&share;
subtest 'few connections, upstreams' => \&few_upstreams;

done_testing();


# Hundreds are asked for at once, and none has more than connect_timeout: too
# short by default where a sanitizer makes their handshakes.

sub server {
    my (%o) = @_;

    my $limit = int(10 * slowdown());
    $limit = 600 if $limit > 600;

    $ENV{ZLTUNNEL_CONNECT_TIMEOUT} = "${limit}s";    # of agents

    return ZLTunnel->new(
        range => 2, zone => '8m', connections => 16384,
        zltunnel => "connect_timeout ${limit}s;",
        main => 'worker_rlimit_nofile 20000;', %o);
}


# All of them, at once: those that stay until all have had an answer, and those
# that end as soon as they have one.

sub burst {
    my ($t, $port, $what) = @_;

    my $load = $t->spawn("held-$port", $t->nettool, 'held', $port, $n, 2, $n);
    ok(wait_for(sub { $load->output =~ /^held/m || !$load->running }, 180),
       "$what: all are answered");
    is(($load->output =~ /^held (\d+)/m)[0], $n, "$what: $n are held")
        or diag($load->output);
    $load->say('go on');
    is($load->wait(180), 0, "$what: all exchange and end")
        or diag($load->output);
    note $load->output;

    my ($rc, $out) = run({ timeout => 180 }, $t->nettool, 'short', $port, $n,
                         $n);
    is($rc, 0, "$what: $n short ones") or diag($out);
    note $out;
}


sub ports {
    my ($scheme, $workers) = @_;

    my $pass = 0;
    my $t = server(workers => $workers);
    $pass = $t->free_port;
    $t->write_conf(stream => "server { listen 127.0.0.1:$pass;
                                       zltunnel_pass e token=alice; }");
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, tls => $scheme eq 'wss',
                          services => ["e:$echo->{port}"]);

    burst($t, $agent->port('e'), 'a port');
    burst($t, $pass, 'zltunnel_pass') if $workers == 1;

    my $s;
    ok(wait_for(sub { ($s = $t->service_status('e'))->{active} == 0 }),
       'none is active in the end');
    is($s->{total}, $t->events($echo, 'accept'),
       'and each was dialled once');
    is($t->status->{tunnels}[0]{pending}, 0, 'nothing is pending');

    $t->finish;
}


# All connections are there before the first request is sent.

sub upstreams {
    my $t = server(workers => 2);
    my ($front, $passed) = map { $t->free_port } 1 .. 2;

    $t->write_conf(
        http => <<"EOT",
upstream web { zltunnel_service e; }
server {
    listen 127.0.0.1:$front backlog=4096;
    location / { proxy_pass http://web; }
}
EOT
        stream => <<"EOT");
upstream raw { zltunnel_service e; }
server { listen 127.0.0.1:$passed backlog=4096; proxy_pass raw; }
EOT

    my $token = $t->token('alice');
    $t->start;

    my $backend = backend($t, <<'EOT');
server {
    listen 127.0.0.1:%PORT% backlog=4096;
    location / { return 200 "here\n"; }
}
EOT
    my $agent = $t->agent(token => $token,
                          services => ["e:$backend->{port}/private"]);

    is_deeply(requests($front, $n), { 200 => $n },
              'requests of an http upstream');
    is_deeply(requests($passed, $n), { 200 => $n },
              'connections of a stream upstream');

    $t->finish;
}


sub requests {
    my ($port, $n) = @_;

    my %status;
    my @c = map { connect_to($port) // die "connect: $!" } 1 .. $n;

    syswrite $_, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        for @c;

    for my $c (@c) {
        my $answer = '';
        vec(my $rin = '', fileno $c, 1) = 1;

        while (select my $r = $rin, undef, undef, 60) {
            sysread($c, $answer, 4096, length $answer) or last;
        }

        close $c;
        $status{ ($answer =~ m{^HTTP/1.1 (\d+)})[0] // 'reset' }++;
    }

    return \%status;
}


sub visitors {
    my $t = server(workers => 2);
    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=e');
    $t->start;

    my $echo = $t->service('echo');
    my $serving = $t->agent(token => $serve,
                            services => ["e:$echo->{port}/private"]);
    my $visitor = $t->agent(token => $visit, wait => 0, access => ['e']);

    burst($t, $visitor->granted('e'), 'a visitor');

    $t->finish;
}


# It has been there, and has its grace.

sub away {
    my $t = server(zltunnel => 'max_pending 20; connect_timeout 60s;
                                reconnect_grace 60s;');
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    my $port = $agent->port('e');

    kill KILL => $agent->pid;
    ok(wait_for(sub {
        $t->status->{tunnels}[0]{state} eq 'disconnected';
    }), 'the agent is gone');

    my @c = map { ZLTunnel::Wire::Socket->new($port) } 1 .. 50;
    ok(wait_for(sub { $t->status->{tunnels}[0]{pending} == 20 }),
       'as many wait as max_pending allows');

    my %ending;
    $ending{ $_->ending(0.2) }++ for @c;
    is_deeply(\%ending, { open => 20, reset => 30 }, 'the others are reset');

    $_->send('hello') for @c;
    my $again = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    my $served = grep { ($_->take(5) // '') eq 'hello' } @c;
    is($served, 20, 'those that waited are served when it is back');

    $_->close for @c;
    $t->finish;
}


# An agent by hand, which opens a channel now and then: whose turn it is not yet
# is not reset for that, as long as others are served.

sub late {
    my $t = server(zltunnel => 'connect_timeout 6s;');
    my $token = $t->token('alice');
    $t->start;

    my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
    $agent->send_msg(register('e'));
    my $port = $agent->expect('RegisterOk')->{port};

    my @c = map { ZLTunnel::Wire::Socket->new($port) } 1 .. 400;
    my %seen;                          # each is asked for again after a second
    my $connects = sub {
        my ($n) = @_;
        my @new;

        while (@new < $n) {
            my $m = $agent->next(20) // last;
            push @new, $m if $m->{type} eq 'Connect'
                             && !$seen{ $m->{connection_id} }++;
        }

        return @new;
    };

    my @first = $connects->(384);
    is(scalar(@first), 384, 'it is asked for 384 channels at once');

    sleep 2;
    my $one = answer($t, $agent, $first[0]);
    my @more = $connects->(1);
    is(scalar(@more), 1, 'when one is there, for another');

    # the time of the others is over

    push @more, $connects->(15);
    is(scalar(@more), 16, 'then it is the turn of the last ones');

    my @served = map { answer($t, $agent, $_) } @more;
    my %ending;
    wait_for(sub {
        %ending = ();
        $ending{ $_->ending(0.01) }++ for @c;
        return ($ending{reset} // 0) >= 383;
    });
    is_deeply(\%ending, { open => 17, reset => 383 },
              'who was asked for and not answered is reset, nobody else');

    $_->close for @c, $one, @served;
    $agent->reset;
    $t->finish;
}


# Many more clients than the workers have connections for: n that end at once,
# and some that stay.  Each takes two of the 256 of a worker, at least.

sub few {
    my ($scheme, $workers, $n, $stay, %o) = @_;

    # the agent's channels in advance may meet the limit

    my $t = server(connections => 256, workers => $workers, %o,
                   allow => [ qr/worker_connections are not enough/ ]);
    my $pass = $t->free_port;
    $t->write_conf(stream => "server { listen 127.0.0.1:$pass;
                                       zltunnel_pass e token=alice; }");
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, tls => $scheme eq 'wss',
                          services => ["e:$echo->{port}"]);

    for my $port ($agent->port('e'), $pass) {
        my ($rc, $out) = run({ timeout => 180 }, $t->nettool, 'short', $port,
                             $n, $n);
        is($rc, 0, "$n short ones, none is reset") or diag($out);
        note $out;
    }

    # those that are served stay

    my @c = map { ZLTunnel::Wire::Socket->new($agent->port('e')) } 1 .. $stay;
    $_->send('hello') for @c;

    my $rounds = 0;

    while (@c && $rounds < 20) {
        my @served = served(\@c, 1);

        cmp_ok(scalar(@served), '<', $stay, 'not all have room')
            if $rounds == 0;
        is(scalar(grep { $_->{end} } @c), 0, 'and none is reset');

        my %served = map { $_ => 1 } @served;
        $_->close for @served;
        @c = grep { !$served{$_} } @c;
        $rounds++;
    }

    is(scalar(@c), 0, "all are served, $rounds times some");

    $t->finish;
}


# The sockets of other servers of stream, and of the visitor: clients wait there.

sub few_upstreams {
    my $t = server(connections => 256, workers => 4,
                   allow => [ qr/worker_connections are not enough/ ]);
    my $passed = $t->free_port;
    $t->write_conf(stream => <<"EOT");
upstream raw { zltunnel_service e; }
server { listen 127.0.0.1:$passed backlog=4096; proxy_pass raw; }
EOT
    my $token = $t->token('site');
    my $visit = $t->token('alice', 'access=e');
    $t->start;

    my $backend = backend($t, <<'EOT');
server {
    listen 127.0.0.1:%PORT% backlog=4096;
    location / { return 200 "here\n"; }
}
EOT
    my $agent = $t->agent(token => $token, tls => 1,
                          services => ["e:$backend->{port}/private"]);
    my $visitor = $t->agent(token => $visit, tls => 1, wait => 0,
                            access => ['e']);

    is_deeply(requests($passed, 600), { 200 => 600 },
              'connections of a stream upstream');
    is_deeply(requests($visitor->granted('e'), 300), { 200 => 300 },
              'those of a visitor');

    $t->finish;
}


# Of 256 connections channels may have 25, and another agent has all that one
# token may have of these in advance.  Who waits longer than connect_timeout is not
# reset either.

sub share {
    my $t = server(connections => 256,
                   zltunnel => 'max_channel_share 10%; connect_timeout 2s;');
    my ($token, $other) = map { $t->token($_) } qw(alice bob);
    $t->start;

    my $echo = $t->service('echo');
    my $greedy = $t->agent(token => $other, services => ["o:$echo->{port}"],
                           args => [ '--min-idle=25', '--max-idle=25' ]);
    ok(wait_for(sub {
        ($t->status->{tunnels}[0]{idle_channels} // 0) >= 16;
    }), 'the share is taken') or diag(explain($t->status->{tunnels}));

    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    my @c = map { ZLTunnel::Wire::Socket->new($agent->port('e')) } 1 .. 40;
    $_->send('hello') for @c;

    my @first = served(\@c, 10);
    cmp_ok(scalar(@first), '>=', 10, 'the idle ones give way');
    cmp_ok(scalar(@first), '<=', 25, 'to as many as the share allows');

    sleep 3;
    is(scalar(grep { $_->{end} } @c), 0, 'the others wait');

    my $n = @first;
    $_->close for @first;
    my %first = map { $_ => 1 } @first;
    @c = grep { !$first{$_} } @c;

    while (my @served = served(\@c, 1)) {
        $n += @served;
        $_->close for @served;
        my %served = map { $_ => 1 } @served;
        @c = grep { !$served{$_} } @c;
    }

    is($n, 40, 'and are served when there is room');

    $t->finish;
}


# Those of the connections that have been answered, at least so many of them if
# there are, when no more come.

sub served {
    my ($c, $least) = @_;
    my @served;

    wait_for(sub {
        my $was = @served;
        @served = grep { length($_->{in}) == 5 || $_->fill(0.002) } @$c;
        return @$c == 0 || @served >= $least && @served == $was;
    });

    return @served;
}


sub answer {
    my ($t, $agent, $m) = @_;

    my $d = ZLTunnel::Wire->channel($t, @{ $agent->{ok} }{qw(tunnel_id
                                    data_key)}, $m->{connection_id});
    $d->ack($m);

    return $d;
}
