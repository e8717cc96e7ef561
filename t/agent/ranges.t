#!/usr/bin/perl

# Protects: a range of ports is one service to whoever runs the agent.  Bytes
# and datagrams go from each of its ports to its own; all ports are registered
# or none is, with one complaint that names the port; a reload touches the
# ports that have changed, and no connection of the others; an attempt costs the
# server few requests; and what is no range is told, to the letter.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::UDP;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(range => 32, udp => 1, zltunnel => 'max_services 40;');
my $token = $t->token('alice', 'sessions=3');
my $narrow = $t->token('bob');
my $private = $t->token('carol', 'services=in-*');

# Local ports, of TCP and UDP, on which the test itself listens.
my $local = $t->free_port(16);
my $pass = $t->free_port;

$t->write_conf(stream => "server { listen 127.0.0.1:$pass; "
                         . 'zltunnel_pass in-' . ($local + 1) . '; }');
$t->start;

my @tcp = map { listener($local + $_) } 0 .. 11;
my @udp = map { datagrams($local + $_) } 0 .. 11;
my $first = $t->{base};

my $agent;

subtest 'bytes of each port' => \&bytes;
subtest 'what is shown' => \&shown;
subtest 'a reload' => \&reload;
subtest 'all or none' => \&all_or_none;
subtest 'a port that another agent has taken' => \&taken;
subtest 'a range that is private' => \&private;
subtest 'a port is withdrawn' => \&withdrawn;
subtest 'more than there may be' => \&limit;
subtest 'what an attempt costs' => \&cost;
subtest 'a reload before the answer' => \&early;
subtest 'a server of version 1' => \&version1;
subtest 'no ranges' => \&bad;

$t->finish;


sub listener {
    my ($port) = @_;

    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
                                 Listen => 8, ReuseAddr => 1)
           // die "port $port: $!";
}


sub datagrams {
    my ($port) = @_;

    return IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1',
                                 LocalPort => $port) // die "port $port: $!";
}


sub range_of { "$_[0]-" . ($_[0] + $_[1] - 1) }

sub conf {
    my (@sections) = @_;

    return join "\n", '[agent]', 'server = ' . $t->url('ws'),
                      'token_file = %%token_file%%', @sections, '';
}


# [service NAME] with so many local ports from that one on, and remote ones.

sub service {
    my ($name, $n, $from, $to, @more) = @_;

    return ("[service $name]",
            'local = 127.0.0.1:' . range_of($local + $from, $n),
            defined $to ? 'remote_ports = ' . range_of($first + $to, $n) : (),
            @more);
}


# Whether a port leads to the local one of that number, both ways: a reference
# to both ends of the connection.

sub through {
    my ($port, $i) = @_;

    my $c = connect_to($port) or return 0;
    syswrite $c, "to $port";

    readable($tcp[$i]) or return 0;
    my $s = $tcp[$i]->accept;
    return 0 unless readable($s);
    sysread $s, my $got, 100;
    return 0 unless $got eq "to $port";

    syswrite $s, "from $i";
    return 0 unless readable($c);
    sysread $c, $got, 100;

    return $got eq "from $i" && [ $c, $s ];
}


sub datagram_through {
    my ($port, $i, $c) = @_;

    $c //= ZLTunnel::UDP->client($port);
    $c->send("to $port");

    readable($udp[$i]) or return 0;
    my $from = recv $udp[$i], my $got, 100, 0;
    return 0 unless $got eq "to $port";

    send $udp[$i], "from $i", 0, $from;
    return ($c->recv // '') eq "from $i" && [ $c, $from ];
}


sub readable {
    my ($s) = @_;

    vec(my $rin = '', fileno $s, 1) = 1;
    return select $rin, undef, undef, 10 * slowdown();
}


sub of {
    my ($a, $name) = @_;

    my $link = $a->link or return {};
    return (grep { $_->{name} eq $name } @{ $link->{services} })[0] // {};
}


sub names {
    my ($re) = @_;

    return join ' ', map { $_->{name} =~ /-(\d+)$/ ? $1 - $first : '?' }
                     sort { $a->{port} <=> $b->{port} }
                     grep { $_->{name} =~ $re }
                     map { @{ $_->{services} } } @{ $t->status->{tunnels} };
}


# The whole of its lines at these levels that say something of a service.

sub lines {
    my ($a, $name) = @_;
    return [ map { s/^\S+ //r } grep { /service "\Q$name\E"/ }
             split /\n/, $a->log ];
}


# It takes its services back, which would wait for its return else.

sub ends {
    my ($a, $what) = @_;

    $a->ask('stop', 'agent');
    is($a->stop, 0, ($what // 'the agent') . ' ends');
}


sub bytes {
    $agent = $t->agent(token => $token, conf => conf(
        service('ftp', 8, 0, 0), service('game', 8, 0, 0, 'protocol = udp')),
        wait => 0);

    ok($agent->registered(2), 'two ranges are registered');

    for my $i (0, 3, 7) {
        ok(through($first + $i, $i), "bytes through port number $i");
        ok(datagram_through($first + $i, $i), 'and datagrams');
    }

    is(names(qr/^ftp-/), '0 1 2 3 4 5 6 7', 'the server knows each port');
    is(names(qr/^game-/), '0 1 2 3 4 5 6 7', 'of both');
}


sub shown {
    my $l = '127.0.0.1:' . range_of($local, 8);
    my $r = '127.0.0.1:' . range_of($first, 8);

    is(slurp($agent->{out}), "ftp  tcp  $l  ->  $r\ngame  udp  $l  ->  $r\n",
       'a line each is printed');
    is_deeply(lines($agent, 'game'), [], 'nothing but that is logged');

    my ($rc, $out) = $agent->ask('status', 'agent');
    like($out, qr/^    game  udp  \Q$l\E  ->  \Q$r\E  up$/m, 'so is one shown');
    is(() = $out =~ /game/g, 1, 'by status');

    is_deeply(of($agent, 'game'), { name => 'game', protocol => 'udp',
                                    local => $l, state => 'up', public => $r,
                                    urls => [],
                                    reason => undef, failure => undef,
                                    check => undef },
              'and one by --json');

    for my $name ('game', 'game-' . ($first + 3)) {
        ($rc, $out) = $agent->ask('status', $name);
        is(join('', $out =~ /^ {4}\w.*\n/mg), "    game  udp  $l  ->  $r  up\n",
           "and one by the name of the service, or of one port, $name");
    }

    ($rc, $out) = run($ZLTunnel::AGENT, 'check', '-c', $agent->{conf});
    like($out, qr/OK, 2 services for/, 'a range is one service');
}


# Ports 2 to 7 stay, and lead where they did.

sub reload {
    my ($c, $s) = @{ through($first + 3, 3) };
    my ($u, $from) = @{ datagram_through($first + 3, 3) };

    $agent->write_conf(conf(service('ftp', 8, 2, 2),
                            service('game', 8, 2, 2, 'protocol = udp')));
    my ($rc, $out) = $agent->ask('reload');
    is($rc, 0, 'ranges that have moved by two') or diag($out);

    ok(wait_for(sub { of($agent, 'game')->{state} eq 'up'
                      && of($agent, 'ftp')->{state} eq 'up' }), 'are up');
    is(names(qr/^ftp-/), '2 3 4 5 6 7 8 9', 'with the new ports');
    is(names(qr/^game-/), '2 3 4 5 6 7 8 9', 'both of them');
    is(of($agent, 'game')->{public}, '127.0.0.1:' . range_of($first + 2, 8),
       'which is shown');

    ok(refuses($first + 1), 'a port that is gone refuses');
    ok(through($first + 9, 9), 'a new one serves');
    ok(datagram_through($first + 9, 9), 'datagrams as well');

    syswrite $s, 'still here';
    ok(readable($c) && sysread($c, my $got, 100),
       'a connection of a port that stays');
    is($got, 'still here', 'goes on');
    is(datagram_through($first + 3, 3, $u)->[1], $from,
       'and a UDP session, from where it was');

    # the same ports lead elsewhere

    $agent->write_conf(conf(service('ftp', 8, 3, 2),
                            service('game', 8, 2, 2, 'protocol = udp')));
    ($rc) = $agent->ask('reload');
    is($rc, 0, 'other local ports');
    ok(through($first + 2, 3), 'are led to');
    is_deeply([ grep { /leads/ } @{ lines($agent, 'ftp') } ],
              [ 'INFO the service "ftp" leads to 127.0.0.1:'
                . range_of($local + 2, 8) . ' now',
                'INFO the service "ftp" leads to 127.0.0.1:'
                . range_of($local + 3, 8) . ' now' ], 'a line for each reload');

    $agent->write_conf(conf(service('game', 8, 2, 2, 'protocol = udp')));
    $agent->ask('reload');
    ok(wait_for(sub { names(qr/^ftp-/) eq '' }), 'one is removed as a whole');
    ok(refuses($first + 5), 'its ports refuse');
    is_deeply([ grep { /removed/ } @{ lines($agent, 'ftp') } ],
              [ 'INFO the service "ftp" is removed or changed' ],
              'in a line of the log');

    syswrite $s, 'to the end';
    ok(readable($c) && sysread($c, $got, 100), 'the connection');
    is($got, 'to the end', 'goes on still');
    close $_ for $c, $s;

    ends($agent);
}


# Of one port among them there is another service.

sub all_or_none {
    my $holder = $t->agent(token => $token, services => [
        'holder:' . ($local + 11) . ':' . ($first + 12) ]);
    my $a = $agent = $t->agent(token => $token, wait => 0, conf => conf(
        service('ftp', 8, 0, 8), '[service other]', "local = $local"));
    my $taken = $first + 12;
    my $why = qq{port $taken: };

    ok(wait_for(sub { (of($a, 'ftp')->{state} // '') eq 'refused' }),
       'a range with a port that is taken is refused');
    like(of($a, 'ftp')->{reason}, qr/^\Q$why\E/, 'for that port');
    is($a->link->{state}, 'connected', 'other services are not');

    my $lines = lines($a, 'ftp');
    is(@$lines, 1, 'there is one complaint');
    is($lines->[0], 'ERROR the server refuses the service "ftp": '
                    . of($a, 'ftp')->{reason}
                    . '; it is tried again every 30 s', 'with the port');

    ok(wait_for(sub { names(qr/^ftp-/) eq '' }), 'none of it is registered');
    is(join(' ', grep { !refuses($first + $_) } 8 .. 11, 13 .. 15), '',
       'and all of its ports refuse');
    ok(through($taken, 11), 'the other service has its port');

    # a configuration that fits is tried at once, as one

    $a->write_conf(conf(service('ftp', 4, 0, 8)));
    $a->ask('reload');
    ok(wait_for(sub { of($a, 'ftp')->{state} eq 'up' }), 'a range that fits');
    is(names(qr/^ftp-/), '8 9 10 11', 'is registered');
    ok(through($first + 11, 3), 'and serves');

    # one that does not is none, though some of it was up

    $a->write_conf(conf(service('ftp', 8, 0, 8)));
    $a->ask('reload');
    ok(wait_for(sub { of($a, 'ftp')->{state} eq 'refused' }),
       'one that grows too far');
    ok(wait_for(sub { names(qr/^ftp-/) eq '' }), 'is given back as a whole');

    ends($holder, 'the holder');
    $a->write_conf(conf(service('ftp', 7, 0, 8)));
    $a->ask('reload');
    ok(wait_for(sub { of($a, 'ftp')->{state} eq 'up' }), 'the port is free');
    ok(through($taken, 4), 'and the range has it');
}


# While it was away; agents that share a token take over what waits.

sub taken {
    my $a = $agent;

    $a->stop('KILL');
    my $thief = $t->agent(token => $token, services => [
        'ftp-' . ($first + 9) . ':' . ($local + 11) . ':' . ($first + 9) ]);
    ok(through($first + 9, 11), 'another agent takes one of the ports');

    $a->launch;
    ok(wait_for(sub { (of($a, 'ftp')->{state} // '') eq 'refused' }),
       'the range is refused');
    like(of($a, 'ftp')->{reason}, qr/^port @{[ $first + 9 ]}: /,
         'for the sake of that port');
    ok(wait_for(sub { refuses($first + 8) }), 'the port before is given back');
    ok(through($first + 9, 11), 'and the other agent serves its own');

    ends($thief, 'it');
    ends($a, 'the first');
}


sub private {
    my $a = $t->agent(token => $private, services => [
        'in:' . range_of($local, 3) . '/private' ], wait => 0);

    ok(wait_for(sub { $a->services->{in} }), 'a private range');
    is($a->services->{in}{public}, '(no port)', 'has no port');
    is(join(' ', map { $_->{name} } grep { $_->{name} =~ /^in-/ }
                 map { @{ $_->{services} } } @{ $t->status->{tunnels} }),
       join(' ', map { 'in-' . ($local + $_) } 0 .. 2),
       'and the names of its local ports');
    ok(through($pass, 1), 'by which zltunnel_pass finds one of them');
    ends($a);
}


sub withdrawn {
    my $a = $t->agent(token => $narrow, services => [
        'web:' . range_of($local, 4) . ':' . range_of($first + 16, 4) ]);

    my ($bob) = grep { $_->{name} eq 'bob' } @{ $t->{tokens} };
    $bob->{rights} = 'ports=' . range_of($first + 16, 3);
    $t->write_tokens;

    ok(wait_for(sub { (of($a, 'web')->{state} // '') eq 'refused' }),
       'a port is not allowed any more');
    my $lines = lines($a, 'web');
    is(@$lines, 1, 'one complaint');
    my $why = 'ERROR the server has withdrawn the service "web": port '
              . ($first + 19) . ': ';
    like($lines->[0], qr/^\Q$why\E/, 'names it');
    ok(wait_for(sub { names(qr/^web-/) eq '' }), 'the others are given back');
    ends($a);
}


sub limit {
    my $a = $t->agent(token => $token, wait => 0, services => [
        "b:$local:" . ($first + 30), 'a:20001-20100/private' ]);

    ok(wait_for(sub { (of($a, 'a')->{state} // '') eq 'refused' }),
       'a range of more than the tunnel may have');
    is(of($a, 'a')->{reason}, 'port 20040: The tunnel has as many services as '
       . qq{"max_services" in the server's configuration allows: 40},
       'is told the number and the directive');
    ok(wait_for(sub { names(qr/^a-/) eq '' }), 'nothing of it is left');
    is(of($a, 'b')->{state}, 'up', 'another service is there');
    like(lines($a, 'a')->[0], qr/; it is tried again in \d+ s$/,
         'it waits for as many seconds as it has made requests');
    ends($a);
}


# Time passes quickly for that agent (t/lib/preload/lapse.c).

sub cost {
    my $lib = ZLTunnel->nettool =~ s{[^/]*$}{lapse-agent.so}r;
    run_ok($ENV{CC} || 'cc', '-shared', '-fPIC', '-O2', '-Wall', '-Wextra',
           '-o', $lib, "$ZLTunnel::ROOT/t/lib/preload/lapse.c");

    my $server = ZLTunnel::Server->new($t, interval => 3600_000);
    my @said;
    my $registered = sub { scalar keys %{ $server->{services} } };

    $server->{hold}{Register} = 1;
    $server->{refuse}{'a-109'} = 'taken';
    $server->{code}{'a-109'} = 5;
    $server->{hear} = sub { push @said, $_[0] if $_[0]{type} =~ /egister$/ };

    my $a = $t->agent(token => $token, wait => 0, server => $server->url,
        services => ['a:1-12:100-111'],
        env => { LD_PRELOAD => $lib, LAPSE => 10,
                 ASAN_OPTIONS => 'verify_asan_link_order=0' });

    for my $n (1, 2, 4) {
        ok($server->wait(sub { @{ $server->{held} || [] } == $n }),
           "$n at a time");
        $server->release('Register', $n);
    }

    ok($server->wait(sub { @{ $server->{held} } == 5 }), 'up to all of them');
    is($registered->(), 7, 'seven are registered');
    $server->release('Register');

    ok($server->wait(sub { $a->log =~ /port 109: taken/ }), 'one is refused');
    ok($server->wait(sub { $registered->() == 0 }), 'all are given back');
    is(scalar @said, 12 + 11, 'as many requests as there must be');

    ok($server->wait(sub { @said > 23 }, 60), 'it is tried again');
    $server->pass(1);
    my %again = map { ($_->{name} // 'none') => 1 } @said[23 .. $#said];
    is(join(' ', keys %again), 'a-109',
       'with the port that was refused, and no other');

    delete $server->{refuse}{'a-109'};
    ok($server->wait(sub { $registered->() == 12 }, 60), 'it is free: all are');
    is(() = $a->log =~ /refuses/g, 1, 'and the complaint was made once');
    ok($server->wait(sub { $a->services->{a} }), 'it is shown');

    # a lost control channel: all anew

    $server->{services} = {};
    $server->control->drop;
    ok($server->wait(sub { $registered->() == 12 }, 60), 'after a reconnect');

    $a->{proc}->kill('TERM');
    $server->wait(sub { !$a->{proc}->running }, 30);
    is($a->stop, 0, 'the agent ends');
    $server->close_all;
}


# The server still has what the agent has removed, and cannot give back before
# it knows its id.

sub early {
    my $server = ZLTunnel::Server->new($t);
    my $conf = join "\n", '[agent]', 'server = ' . $server->url,
                          'token_file = %%token_file%%', '[service a]',
                          'local = 1-3', 'remote_ports = 11-13',
                          'allow_access = ';

    $server->{hold}{Register} = 1;
    my $a = $t->agent(token => $token, wait => 0, conf => $conf . "bob\n");
    ok($server->wait(sub { @{ $server->{held} || [] } == 1 }), 'a Register');

    $a->write_conf($conf . "carol\n");
    $a->ask('reload');
    ok($server->wait(sub { @{ $server->{held} } == 2 }), 'and another');

    $server->release('Register', 1);
    @$server{qw(refuse code)} = ({ 'a-11' => 'twice' }, { 'a-11' => 9 });
    $server->release('Register', 1);
    $server->{refuse} = {};
    $server->release('Register');

    ok($server->wait(sub { $a->services->{a} }), 'it is registered at once');
    is(join(' ', map { $server->{services}{$_}{ext}{3} }
                 sort keys %{ $server->{services} }), 'carol carol carol',
       'as it is configured now');
    unlike($a->log, qr/refuses/, 'and nobody is told of it');

    $a->{proc}->kill('TERM');
    $server->wait(sub { !$a->{proc}->running }, 30);
    is($a->stop, 0, 'the agent ends');
    $server->close_all;
}


sub version1 {
    my $server = ZLTunnel::Server->new($t, features => 0);
    my $a = $t->agent(token => $token, wait => 0, server => $server->url,
        services => [ 'a:1-5:11-15', 'p:1-5/private' ]);

    ok($server->wait(sub { 5 == keys %{ $server->{services} } }),
       'a Register for each port');
    is(join(' ', map { $server->{services}{$_}{remote_port} }
                 sort keys %{ $server->{services} }), '11 12 13 14 15',
       'with its number');
    ok($server->wait(sub { $a->services->{a} }), 'it is shown');
    ok($server->wait(sub { $a->log =~ /not told of the service "p": it is/ }),
       'one that is private is none of its business');

    $a->{proc}->kill('TERM');
    $server->wait(sub { !$a->{proc}->running }, 30);
    is($a->stop, 0, 'the agent ends');
    $server->close_all;
}


sub bad {
    my $lengths = 'the local range and the remote one must be of the same '
                  . 'length, but have';
    my $numbers = 'the ports of a range are numbers from 1 to 65535';
    my $order = 'the last port of a range must be greater than the first';
    my $remote = 'a range needs a range of remote ports, as ports are assigned '
                 . 'to single services only, or must be private';

    my @specs = (
        [ 'g:1-3:5-6/udp', "$lengths 3 and 2 ports" ],
        [ 'g:1-3:5', "$lengths 3 and 1 ports" ],
        [ 'g:h:1:5-6', "$lengths 1 and 2 ports" ],
        [ 'g:1-3', $remote ],
        [ 'g:1-3:0', $remote ],
        [ 'g:3-1:1-3', $order ],
        [ 'g:3-3:5-5', $order ],
        [ 'g:0-3:1-4', $numbers ],
        [ 'g:1-4:65533-65536', $numbers ],
        [ 'g:1-99999999999:1-4', $numbers ],
        [ 'g:1-1001:1-1001', 'a range has at most 1000 ports' ],
        [ 'g:1-3:7-9/private', 'a private service has no remote port' ],
        [ 'g:h:1-x:5', 'the local port is not a number from 1 to 65535' ],
        [ 'g' x 250 . ':1-2:1-2', 'the name of a range is 1 to 249 letters, '
                                  . 'digits, "-", "_", "."' ],
    );

    for my $row (@specs) {
        my ($spec, $want) = @$row;
        my ($rc, $out) = run($ZLTunnel::AGENT, 'connect', '--server',
                             'ws://127.0.0.1:1/', '--service', $spec);
        is((split /\n/, $out)[0],
           qq{zltunnel-agent: --service "$spec": $want}, substr $spec, 0, 30);
        is($rc, 2, 'exit code 2');
    }

    my @two = ("[service g]\nlocal = 1-3\nremote_ports = 5-7\n",
               "[service g-6]\nlocal = 9\n");
    my @files = (
        [ "[service g]\nlocal = 1-3\nremote_ports = 5-x",
          3, '"remote_ports" is "5-x": it is not a range like 8000-8010' ],
        [ "[service g]\nlocal = 1-3\nremote_ports = 7-5",
          3, qq{"remote_ports" is "7-5": $order} ],
        [ "[service g]\nlocal = 3-1\nremote_ports = 5-7",
          2, qq{"local" is "3-1": $order} ],
        [ "[service g]\nlocal = 1-3\nremote_ports = 5-8",
          1, "$lengths 3 and 4 ports" ],
        [ "[service g]\nlocal = 1-3\nremote_port = 5",
          1, "$lengths 3 and 1 ports" ],
        [ "[service g]\nlocal = 1-3\nremote_ports = 5-7\nremote_port = 5",
          1, 'the service has both "remote_port" and "remote_ports"' ],
        [ "[service g]\nlocal = 1-3", 1, $remote ],
        [ "[service g]\nlocal = 1-3\nremote_ports = 5-7\npreferred_port = 5",
          1, 'a range has no preferred port' ],
        [ $two[0] . $two[1], 4, 'the services "g" and "g-6" are at odds: the '
          . "range of the one has a port of the other's name" ],
        [ $two[1] . $two[0], 3, 'the services "g-6" and "g" are at odds: the '
          . "range of the one has a port of the other's name" ],
        [ join('', map { "[service g$_]\nlocal = 1-1000\n"
                         . "remote_ports = 1-1000\n" } 1, 2),
          4, 'more than 1024 services, each port of a range being one' ],
    );

    my $file = "$t->{dir}/bad.conf";
    my @head = ('[agent]', 'server = ws://127.0.0.1:1/');

    for my $row (@files) {
        my ($text, $line, $want) = @$row;
        write_file($file, join("\n", @head, $text) . "\n", 0600);
        my ($rc, $out) = run($ZLTunnel::AGENT, 'check', '-c', $file);
        is((split /\n/, $out)[0], "zltunnel-agent: $file:"
                                  . (@head + $line) . ": $want", $want);
        is($rc, 2, 'exit code 2');
    }
}
