#!/usr/bin/perl

# Protects: names with several addresses of which the first leads nowhere: what
# is sent there is never answered.  The next one is tried a quarter of a second
# later, for services and servers alike, and the one that has answered comes
# first from then on.  A server or proxy at "localhost" is looked for at both
# addresses of it, whatever is known of that name.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::IP;
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Names;
use ZLTunnel::Wire;

my $why = ZLTunnel::Names::missing();
plan(skip_all => $why) if $why;
plan(skip_all => 'there is no IPv6')
    if !IO::Socket::IP->new(LocalHost => '::1', Listen => 1);

my $SLOW = slowdown();

subtest 'a service' => \&a_service;
subtest 'a service that is not there at all' => \&nowhere;
subtest 'a server' => \&a_server;
subtest 'a server and a proxy at localhost' => \&localhost;

done_testing();


# A port of an address at which connections hang, its queue being full.

sub black_hole {
    my ($address, $port) = @_;

    my $listen = IO::Socket::IP->new(LocalHost => $address, Listen => 1,
                                     LocalPort => $port, ReuseAddr => 1,
                                     V6Only => 1)
        or die "listen: $!";

    return ($listen, map {
        IO::Socket::IP->new(PeerHost => $address, PeerPort => $port,
                            Blocking => 0)
    } 1 .. 4);
}


# IPv6 comes first (RFC 6724), and hangs.

sub a_service {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $names = ZLTunnel::Names->new($t);
    $t->start;

    my $echo = $t->service('echo');
    my @hole = black_hole('::1', $echo->{port});

    $names->hosts(map { ('two.test' => $_) } '::1', '127.0.0.1');

    my $agent = $t->agent(token => $token, program => $names->program,
                          services => [ "e:two.test:$echo->{port}" ],
                          args => [ '--log-level', 'debug' ]);
    my $port = $agent->port('e');

    # a client that speaks first, and one that does not: by events alone, since
    # a time limit would tell little on a machine that is busy

    for my $first ('spoken first', 'silent first') {
        my $start = time;
        my $c = ZLTunnel::Wire::Socket->new($port);

        select undef, undef, undef, 0.5 if $first =~ /silent/;
        $c->send('hello');
        is($c->take(5, 8), 'hello', "$first: served");
        cmp_ok(time - $start, '<', 5 * $SLOW, "$first: in time");
        $c->close;
    }

    # it is the first now: those that hang are no more

    for (1 .. 20) {
        my $c = ZLTunnel::Wire::Socket->new($port);
        $c->send('x');
        last if ($c->take(1, 8) // '') ne 'x';
        is(hanging($agent, $echo->{port}), 0, 'none hangs')
            if $_ == 20;
        $c->close;
    }

    is($t->events($echo, 'accept'), 22, 'all have been served');

    $t->finish;
}


# Connections of the agent to that port which are on their way.

sub hanging {
    my ($agent, $port) = @_;

    my $proc = '/proc/' . $agent->pid;
    my $to = sprintf ':%04X', $port;
    my %own = map { (readlink // '') =~ /^socket:\[(\d+)\]/ ? ($1 => 1) : () }
              glob "$proc/fd/*";

    my @fields = map { [ split ] } map { split /\n/, slurp("$proc/net/$_") }
                 qw(tcp tcp6);

    return scalar grep { $_->[2] =~ /\Q$to\E$/ && $_->[3] eq '02'
                         && $own{ $_->[9] } } @fields;
}


# Both hang: the client waits no longer than with one.

sub nowhere {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $names = ZLTunnel::Names->new($t);
    $t->start;

    my ($hangs, $refuses) = ($t->free_port, $t->free_port);
    my @hole = map { black_hole($_, $hangs) } '::1', '127.0.0.1';

    $names->hosts(map { ('two.test' => $_) } '::1', '127.0.0.1');

    my $agent = $t->agent(token => $token, program => $names->program,
                          services => [ "hangs:two.test:$hangs",
                                        "refuses:two.test:$refuses" ],
                          args => [ '--connect-timeout', '3s' ]);

    is(ZLTunnel::Wire::Socket->new($agent->port('refuses'))->ending(10),
       'reset', 'refused by all of them: reset');
    ok($agent->logged(qr/"refuses" failed: \Q[::1]:$refuses and 127.0.0.1:$refuses: Connection refused/),
       'told so, with both');

    my $c = ZLTunnel::Wire::Socket->new($agent->port('hangs'));
    ok(wait_for(sub { hanging($agent, $hangs) == 2 }), 'both are tried');
    is($c->ending(20), 'reset', 'and answered by none of them: reset');

    ok(wait_for(sub { !hanging($agent, $hangs) }), 'nothing of it is left');

    $t->finish;
}


sub a_server {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $names = ZLTunnel::Names->new($t);
    $t->start;

    my $echo = $t->service('echo');
    my @hole = black_hole('::1', $t->{http_port});

    $names->hosts(map { ('two.test' => $_) } '::1', '127.0.0.1');

    my $agent = $t->agent(token => $token, program => $names->program,
                          server => $t->url('ws', 'two.test'),
                          services => [ "e:$echo->{port}" ]);

    ok($agent->registered(1), 'the agent is there');

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('hello');
    is($c->take(5, 8), 'hello', 'and serves');
    $c->close;

    $t->finish;
}


# The hosts file has but one of them, and it is the wrong one.

sub localhost {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $names = ZLTunnel::Names->new($t);
    my $six = $t->free_port;

    $t->write_conf(http => <<"EOT");
        server {
            listen [::1]:$six;
            location / {
                proxy_pass http://127.0.0.1:$t->{http_port};
                proxy_http_version 1.1;
                proxy_set_header Host \$host;
                proxy_set_header Upgrade \$http_upgrade;
                proxy_set_header Connection upgrade;
            }
        }
EOT
    $t->start;

    my $check = sub {
        my ($known, $server, @args) = @_;

        $names->hosts(@$known);
        write_file("$t->{dir}/token", "$token\n", 0600);
        write_file("$t->{dir}/check.conf", <<"EOT", 0600);
[agent]
server = $server
token_file = $t->{dir}/token
[service e]
local = 1
EOT
        return run($names->program, 'check', '--connect', '-c',
                   "$t->{dir}/check.conf", @args);
    };

    my ($rc, $out) = $check->([], "ws://localhost:$six");
    is($rc, 0, 'a server at ::1 alone: reached') or diag($out);
    like($out, qr/^    name       OK      localhost is ::1, 127\.0\.0\.1$/m,
         'both are known');

    ($rc, $out) = $check->([], $t->url('ws', 'LocalHost'));
    is($rc, 0, 'one at 127.0.0.1 alone: reached') or diag($out);

    ($rc, $out) = $check->([], 'ws://127.0.0.1:1', '--proxy',
                           "http://localhost:$six");
    like($out, qr/^    proxy      FAILED  .*the proxy http:\/\/localhost:$six was asked /m,
         'a proxy at ::1 alone: reached');

    $t->finish;
}
