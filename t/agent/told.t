#!/usr/bin/perl

# Protects: what the agent tells whoever runs it, of the mistakes that people
# make: each message to the letter, with the name and the value that are wrong
# and what to do, and the exit code where it ends.  A row of the table is an
# agent; they run beside each other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use IO::Socket::IP;
use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(range => 40);
my $token = $t->token('home');
my $certs = $t->certs;
my %port = map { $_ => $t->free_port } qw(other down full closed upgrades);

$t->write_conf(location => <<"EOT", http => <<"EOT2");
        location = /plain { return 200 "hello"; }
        location = /gone { return 504; }
        location = /busy { return 429; }
        location = /moved { return 301 /tunnel/v1; }
        location = /denied { deny all; }
        location = /bare { proxy_pass http://127.0.0.1:$t->{http_port}/tunnel/v1; }
EOT
        server {
            listen 127.0.0.1:$port{other} ssl;
            ssl_certificate $certs/other.pem;
            ssl_certificate_key $certs/other.key;
        }
EOT2

my $few = $t->token('few', "ports=$t->{base}-" . ($t->{base} + 1));
my $held = $t->token('held');
my $former = $t->token('former');
my $visitor = $t->token('visitor', 'access=* sessions=4');
my $other = $t->token('other');
my $last = $t->{base} + $t->{range} - 1;

$t->start;

my $holder = $t->agent(token => $held, services => ['h:1']);
my @full = full($port{full});
my $url = sub { "ws://127.0.0.1:$t->{http_port}$_[0]" };
my $wss = $t->url('wss');
my @down = "down:$port{down}";

subtest 'the way to the server' => sub { rows(\&row,
    # what, server, more arguments, what is told

    [ 'a closed port', "ws://127.0.0.1:$port{closed}", [],
      "WARN the server cannot be reached: 127.0.0.1:$port{closed}: "
      . 'Connection refused' ],

    [ 'a socket that is missing', "ws+unix:$t->{dir}/missing", [],
      "WARN the server cannot be reached: unix:$t->{dir}/missing: "
      . 'No such file or directory' ],

    [ 'a filtered port', "ws://127.0.0.1:$port{full}",
      [ '--connect-timeout', '1s' ],
      "WARN the server cannot be reached: 127.0.0.1:$port{full} did not "
      . 'answer within 1 s: a firewall?' ],

    [ 'ws:// to a TLS port', "ws://127.0.0.1:$t->{tls_port}", [],
      'WARN the server answered 400 Bad Request: is it a TLS port? then '
      . 'wss://' ],

    [ 'wss:// to a port without TLS', "wss://127.0.0.1:$t->{http_port}", [],
      qq{WARN TLS with "127.0.0.1" failed: the server does not speak TLS on }
      . 'this port' ],

    [ 'another location', $url->('/plain'), [],
      'WARN the server answered 200 OK: is the path "/plain" the one where '
      . 'zltunnel is served?' ],

    [ 'a path that is none', $url->('/typo'), [],
      'WARN the server answered 404 Not Found: is the path "/typo" the one '
      . 'where zltunnel is served?' ],

    [ 'a path that leads through the tunnel itself', $url->('/gone'), [],
      'WARN the server answered 504 Gateway Time-out: is the path "/gone" the '
      . 'one where zltunnel is served?' ],

    [ 'too many requests', $url->('/busy'), [],
      'WARN the server answered 429 Too Many Requests: something in front of '
      . 'the tunnel limits us' ],

    [ 'a redirect', $url->('/moved'), [],
      'WARN the server answered 301 Moved Permanently: redirects are not '
      . 'followed' ],

    [ 'what is denied', $url->('/denied'), [],
      'WARN the server answered 403 Forbidden: something in front of the '
      . 'tunnel refuses us' ],

    [ 'a front without Upgrade', $url->('/bare'), [],
      'WARN the server answered 426 Upgrade Required: does a proxy on the way '
      . 'pass on the upgrade?' ],

    [ 'an authority that the system does not have', $t->url('wss'), [],
      'WARN TLS with "127.0.0.1" failed: the certificate is from an unknown '
      . 'authority (unable to get local issuer certificate); ca_file '
      . '(--ca-file) names one to trust' ],

    [ 'a certificate that is not of ca_file', $t->url('wss'),
      [ '--ca-file', "$certs/unknown.pem" ],
      'WARN TLS with "127.0.0.1" failed: the certificate is not signed by '
      . qq{what is in "$certs/unknown.pem" (unable to get local issuer }
      . 'certificate)' ],

    [ 'a certificate for another name', "wss://localhost:$port{other}",
      [ '--ca-file', "$certs/ca.pem" ],
      'WARN TLS with "localhost" failed: the certificate is for another name '
      . 'than "localhost": it is for other.example' ],
) };

subtest 'the token' => sub { rows(\&of_token,
    [ 'a wrong token', undef, [],
      q{ERROR the server refuses the token: Invalid token (not in the server's }
      . 'token file, or added less than 3 s ago)', 2 ],

    [ 'its hash in place of the token', '0123456789abcdef' x 4, [],
      'ERROR the server refuses the token: Invalid token (its 64 digits look '
      . 'like the hash of a token, which is for the server; not in the '
      . "server's token file, or added less than 3 s ago)", 2 ],

    [ 'a wrong token at two servers', undef,
      [ '--server', $wss, '--ca-file', "$certs/ca.pem" ],
      "INFO the next server is $wss", 2 ],

    [ 'a token that another agent uses', $held, [],
      'WARN the server refuses the token for now: Token already in use by an '
      . 'agent at 127.0.0.1; sessions=2 in its line, or a token for each' ],
) };

subtest 'services' => sub { rows(\&of_service,
    # what, token, the service, what is told

    [ 'one', $token, 'web:1', 'INFO connected as "home" (1 service)' ],

    [ 'a port that there is not', $token, 'web:1:99',
      'ERROR the server refuses the service "web": this server does not offer '
      . "port 99 for TCP; there are $t->{base}-$last" ],

    [ 'one for UDP, of which there are none', $token, 'dns:1:99/udp',
      'ERROR the server refuses the service "dns": this server does not offer '
      . 'port 99 for UDP; there are none for UDP' ],

    [ 'a port that the token may not have', $few, "web:1:$last",
      'ERROR the server refuses the service "web": the token does not allow '
      . "port $last for TCP; there are $t->{base}-" . ($t->{base} + 1) ],

    [ 'no port to assign', $token, 'dns:1/udp',
      'WARN the service "dns" has no port: the server has no udp port to '
      . 'assign; only its nginx reaches it' ],
) };

subtest 'a wrong token in a file' => \&goes_on;
subtest 'a token that is revoked' => \&revoked;
subtest 'Ctrl-C' => \&stops;
subtest 'an attempt' => \&attempt;
subtest 'clients' => \&clients;
subtest 'localhost' => \&localhost;
subtest 'status' => \&status;
subtest 'access' => \&access;

is($holder->stop, 0, 'who has the token ends');
$t->finish;


# An address at which connections hang, its queue being full.

sub full {
    my ($port) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                       LocalPort => $port, ReuseAddr => 1)
        or die "listen: $!";

    return ($listen, map {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
                              Blocking => 0)
    } 1 .. 4);
}


# All of them are started before the first is looked at.

sub rows {
    my ($start, @rows) = @_;

    my @agents = map { $start->(@$_) } @rows;

    for my $row (@rows) {
        told(shift @agents, $row->[0], @$row[3 .. $#$row]);
    }
}


sub row {
    my (undef, $server, $args) = @_;

    return $t->agent(token => $token, server => $server, wait => 0,
                     services => [ "e:$port{down}" ], args => $args);
}


sub of_token {
    my (undef, $other, $args) = @_;

    return $t->agent(token => $other // ZLTunnel::random_token(), wait => 0,
                     services => [ "e:$port{down}" ], args => $args);
}


# One after the other: the tokens are for one agent each.

sub of_service {
    my (undef, $of, $service) = @_;

    return sub {
        $t->agent(token => $of, wait => 0, services => [$service])
    };
}


# The line that the log must have, behind the time; and the exit code, where it
# ends by itself.

sub told {
    my ($agent, $what, $line, $code) = @_;

    $agent = $agent->() if ref $agent eq 'CODE';

    ok($agent->logged(qr/^\S+ \Q$line\E$/m), $what)
        or diag("wanted: $line\n" . $agent->log);

    if (defined $code) {
        is($agent->{proc}->wait(20), $code, "$what: ends with $code");
        return;
    }

    ok($agent->{proc}->running, "$what: goes on");
    is($agent->stop, 0, "$what: ends when told to");
}


# Nobody waits for "run", and the token may be there the next time.

sub goes_on {
    my $agent = $t->agent(token => ZLTunnel::random_token(), wait => 0,
                          conf => <<"EOT");
[agent]
server = @{[ $t->url('ws') ]}
token_file = %%token_file%%
reconnect_interval = 100ms
max_reconnect_interval = 200ms
[service web]
local = 1
EOT

    ok(wait_for(sub { 3 <= (() = $agent->log =~ /refuses the token/g) }),
       'it is refused again and again');
    is($agent->stop, 0, 'it ends when told to');
}


# "connect" whose token was good goes on.

sub revoked {
    my $agent = $t->agent(token => $former, services => ['e:1'],
                          args => [ '--reconnect-interval', '100ms',
                                    '--max-reconnect-interval', '200ms' ]);

    $t->revoke('former');

    ok($agent->logged(qr/^\S+ ERROR the server has ended the tunnel: /m, 30),
       'it is told') or diag($agent->log);
    ok(wait_for(sub { 2 <= (() = $agent->log =~ /refuses the token/g) }),
       'and tries again');
    is($agent->stop, 0, 'it ends when told to');
}


sub stops {
    my $hold = $t->service('hold');
    my $agent = $t->agent(token => $token, services => ["hold:$hold->{port}"]);
    my $idle = $t->agent(token => $other, services => ['e:1']);

    $idle->{proc}->kill('INT');
    is($idle->{proc}->wait(20), 0, 'with nothing open it ends at once');
    like($idle->log, qr/^\S+ INFO stopping \(SIGINT\)\n\S+ INFO stopped\n\z/m,
         'and says so');

    my $c = ZLTunnel::Wire::Socket->new($agent->port('hold'));
    $c->send('hello');
    ok(wait_for(sub { $t->events($hold, 'accept') == 1 }), 'one is open');

    $agent->{proc}->kill('INT');
    ok($agent->logged(qr/^\S+ INFO stopping \(SIGINT\)\n\S+ INFO 1 connection is open: up to 30 s, press Ctrl-C again to end at once$/m),
       'what it waits for is told') or diag($agent->log);
    is($c->ending(0.2), 'open', 'the connection is');

    $agent->{proc}->kill('INT');
    is($agent->{proc}->wait(20), 0, 'a second one ends it');
    like($agent->log, qr/INFO stopping at once \(SIGINT\)\n\S+ INFO stopped\n\z/,
         'and that is told');
    $c->close;
}


# Where it goes, at the first attempt; the others tell it at debug.

sub attempt {
    my $agent = $t->agent(token => $token, wait => 0,
                          server => "ws://localhost:$port{closed}",
                          services => [@down],
                          args => [ '--reconnect-interval', '100ms',
                                    '--max-reconnect-interval', '200ms' ]);

    ok(wait_for(sub { 3 <= (() = $agent->log =~ /cannot be reached/g) }),
       'it is tried several times');

    my $log = $agent->log;

    is(scalar(() = $log =~ /^\S+ INFO connecting to localhost:$port{closed}$/mg),
       1, 'the name is told once');
    is(scalar(() = $log =~ /^\S+ INFO localhost is (?:127\.0\.0\.1|::1)/mg), 1,
       'and its addresses');
    is($agent->stop, 0, 'the agent ends');

    my $debug = $t->agent(token => $token, wait => 0,
                          server => "ws://127.0.0.1:$port{closed}",
                          services => [@down],
                          args => [ '--log-level', 'debug',
                                    '--reconnect-interval', '100ms' ]);

    ok($debug->logged(qr/DEBUG connecting to 127\.0\.0\.1:$port{closed}$/m),
       'at debug each attempt is');
}


# One comes, and meets nobody.

sub clients {
    my $agent = $t->agent(token => $token,
                          services => [ @down, "missing:unix:$t->{dir}/no",
                                        "stuck:127.0.0.1:$port{full}" ],
                          args => [ '--log-level', 'debug',
                                    '--connect-timeout', '1s' ]);

    my $c = ZLTunnel::Wire::Socket->new($agent->port('down'));
    my $from = '127.0.0.1:' . $c->{s}->sockport;
    my $and_six = six(0) ? " and [::1]:$port{down}" : '';

    is($c->ending(20), 'reset', 'a service that is down');
    ok($agent->logged(qr/^\S+ DEBUG a client of "down" from \Q$from\E$/m),
       'the client is told at debug') or diag($agent->log);
    ok($agent->logged(qr/^\S+ WARN a connection to "down" failed: \Q127.0.0.1:$port{down}$and_six: Connection refused\E$/m),
       'and which address was tried') or diag($agent->log);

    is(ZLTunnel::Wire::Socket->new($agent->port('missing'))->ending(20),
       'reset', 'a socket that is missing');
    ok($agent->logged(qr/^\S+ WARN a connection to "missing" failed: \Qunix:$t->{dir}\E\/no: No such file or directory$/m),
       'told by its path');

    is(ZLTunnel::Wire::Socket->new($agent->port('stuck'))->ending(20),
       'reset', 'a service that does not answer');
    ok($agent->logged(qr/^\S+ WARN a connection to "stuck" failed: 127\.0\.0\.1:$port{full} did not answer within 1 s$/m),
       'told with the time') or diag($agent->log);

    is($agent->stop, 0, 'the agent ends');
}


# A listener at ::1, where there is one.

sub six {
    my ($port) = @_;

    return IO::Socket::IP->new(LocalHost => '::1', LocalPort => $port,
                               Listen => 8, V6Only => 1);
}


# It is ::1 and 127.0.0.1, and a port alone is 127.0.0.1 and ::1: of many
# servers of developers only one of them is there.

sub localhost {
    plan(skip_all => 'no IPv6 here') if !six(0);

    my ($v6, $v4) = map { $t->free_port } 1, 2;
    my @at = (six($v6) || die("listen: $!"),
              IO::Socket::IP->new(LocalHost => '127.0.0.1', Listen => 8,
                                  LocalPort => $v4) || die "listen: $!");

    my $agent = $t->agent(token => $token, services => [
        "bare6:$v6", "name6:localhost:$v6", "bare4:$v4",
        "name4:LocalHost:$v4", "four:127.0.0.1:$v6", "dns:$port{down}/udp" ]);

    # the second time it is the first that is tried

    for my $name (qw(bare6 name6 bare4 name4), qw(bare6 name6)) {
        my $c = ZLTunnel::Wire::Socket->new($agent->port($name));
        my $at = $at[$name =~ /6/ ? 0 : 1];

        $at->timeout(20);
        my $s = $at->accept;
        ok($s, "$name: it is found") or diag($agent->log);

        $_->close for grep { $_ } $s, $c;
    }

    is(ZLTunnel::Wire::Socket->new($agent->port('four'))->ending(20), 'reset',
       '127.0.0.1 is that one');
    ok($agent->logged(qr/^\S+ WARN a connection to "four" failed: \Q127.0.0.1:$v6: Connection refused\E$/m),
       'told so');

    $_->close for @at;

    is(ZLTunnel::Wire::Socket->new($agent->port('name6'))->ending(20), 'reset',
       'neither of them');
    ok($agent->logged(qr/^\S+ WARN a connection to "name6" failed: \Q[::1]:$v6 and 127.0.0.1:$v6: Connection refused\E$/m),
       'told with both');

    is($agent->stop, 0, 'the agent ends');
}


# It finds services, and tells which of them are not well.

sub status {
    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => [
        "web:127.0.0.1:$echo->{port}", "down:127.0.0.1:$port{down}" ]);
    my $refused = "dns:$port{down}:99/udp";
    my $other = $t->agent(token => $other, wait => 0, services => [
        "web:127.0.0.1:$echo->{port}", $refused ]);

    my $failure = sub { (grep { $_->{name} eq 'down' }
                         @{ $agent->link->{services} })[0]{failure} };
    my $text = sub { ($agent->ask('status', @_))[1] };

    is($failure->(), undef, 'nothing has failed yet');
    unlike($text->(), qr/failure/, 'nor is anything told');

    ZLTunnel::Wire::Socket->new($agent->port('down'))->ending(20);
    ok(wait_for(sub { $failure->() }), 'a failure is told to machines');
    is($failure->()->{reason}, "127.0.0.1:$port{down}: Connection refused",
       'with the address');
    like($failure->()->{seconds}, qr/^\d+\z/, 'and the time');
    like($text->(), qr/^    the service "down": last failure \d+s ago: \Q127.0.0.1:$port{down}: Connection refused\E$/m,
         'the summary has it');
    like($text->('agent'), qr/^    down  tcp  \S+  ->  \S+  up; last failure /m,
         'the tunnel, too');

    my ($rc, $out) = $agent->ask('status', 'web');
    is($rc, 0, 'a service is found');
    like($out, qr/^agent .*\n    web  tcp  127\.0\.0\.1:$echo->{port}  ->  \S+  up\n\z/m,
         'alone');
    is_deeply([ map { $_->{name} } @{ $agent->status('web')->{tunnels}[0]{services} } ],
              [ 'web' ], 'for machines, too');

    ($rc, $out) = $agent->ask('status', 'wep');
    is($rc, 1, 'a service that there is not');
    is($out, qq{zltunnel-agent: there is no tunnel and no service "wep"\n},
       'told so');

    for my $does (qw(start stop)) {
        ($rc, $out) = $agent->ask($does, 'web');
        is($rc, 1, "$does: a service is no tunnel");
        is($out, 'zltunnel-agent: "web" is a service of the tunnel "agent", which '
           . 'starts and stops as a whole; to end one service take it out of '
           . qq{the file, and "reload"\n}, 'told what to do');
    }

    # it is well again when one has been served

    my $back = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5,
                                     LocalPort => $port{down}, ReuseAddr => 1)
        or die "listen: $!";
    my $c = ZLTunnel::Wire::Socket->new($agent->port('down'));
    ok(wait_for(sub { !$failure->() }), 'served again: no failure');
    $_->close for $c, $back;

    ok($other->in_state('agent', 'connected'), 'one of two is refused');
    like(($other->ask('status'))[1], qr/^    the service "dns" is refused: this server does not offer port 99 for UDP/m,
         'which the summary tells');

    is($_->stop, 0, 'the agent ends') for $agent, $other;
}


sub access {
    my $agent = $t->agent(token => $token, services => ['db:1/private']);
    my $visit = sub {
        $t->agent(token => $visitor, wait => 0, access => [@_]);
    };

    my $v = $visit->('later');
    ok($v->granted('later'), 'a service that nobody has');
    ok($v->logged(qr/^\S+ WARN access to "later": nobody serves "later" yet$/m),
       'told so') or diag($v->log);
    is($v->stop, 0, 'it ends');

    $v = $visit->('db');
    ok($v->granted('db'), 'one that somebody has');
    my ($failed, $said) = $v->ask('stop', 'db');
    is($failed, 1, 'stop: a session is stopped by its ID');
    like($said, qr/^zltunnel-agent: "db" is access to a service: "stop [0-9a-f]{8}" ends that session\n\z/,
         'which is told');
    ($failed) = $v->ask('stop', $said =~ /stop (\w+)/);
    is($failed, 0, 'and does it');
    is($v->{proc}->wait(20), 0, 'it ends');
    unlike($v->log, qr/nobody/, 'nothing is said');

    # all of them, or none

    my ($twice, @one) = map { $t->free_port } 1 .. 3;
    $v = $visit->("db:$twice", "later:$twice");
    is($v->{proc}->wait(20), 1, 'one port for two: 1');
    is(slurp($v->{out}), '', 'none is opened');
    like($v->log, qr/^zltunnel-agent: access to "later" cannot be at 127\.0\.0\.1:$twice: Address already in use; /m,
         'told why');

    # a port that another one takes when it is ours already; neither listens
    # before the server has answered

    kill 'STOP', $t->workers;
    my @v = map { $visit->("db:$twice", "later:$_") } @one;
    $_->logged(qr/connecting to/) for @v;
    kill 'CONT', $t->workers;

    ok(wait_for(sub { grep { !$_->{proc}->running } @v }), 'one of two ends');
    my ($lost) = grep { !$_->{proc}->running } @v;
    my ($won) = grep { $_ != $lost } @v;
    is($lost->{proc}->wait(1), 1, 'with 1');
    is(slurp($lost->{out}), '', 'none of its own is opened');
    like($lost->log, qr/^\S+ ERROR access to "db": 127\.0\.0\.1:$twice: Address already in use$/m,
         'told why');
    ok($won->granted('db'), 'the other one has it');
    is($_->stop, 0, 'it ends') for $won, $agent;

    my ($rc, $out) = run($ZLTunnel::AGENT, 'access', 'db');
    is($rc, 2, 'without a server: 2');
    like($out, qr/^zltunnel-agent: "server" is missing: --server wss:\/\/HOST, or ZLTUNNEL_SERVER, or "server = wss:\/\/HOST" in the file$/m,
         'told what to do');
}
