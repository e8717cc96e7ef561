#!/usr/bin/perl

# Protects: who may reach what.  An open service leads where its agent's list
# says, by the address that is dialled and not by the name it was asked for;
# a service may say which tokens may visit it; and none of that is reached by
# any other way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use ZLTunnel;

subtest "targets over $_" => \&targets, $_ for qw(ws wss);
subtest 'UDP' => \&udp;
subtest 'allow_access' => \&allow_access;
subtest 'the list, in the file' => \&file;

done_testing();


sub conf {
    my ($t, $scheme, $text) = @_;

    my $ca = $scheme eq 'wss' ? 'ca_file = ' . $t->certs . '/ca.pem' : '';

    return <<"EOT";
[agent]
server = @{[ $t->url($scheme) ]}
token_file = %%token_file%%
log_level = debug
$ca

$text
EOT
}


sub targets {
    my ($scheme) = @_;

    my $t = ZLTunnel->new(workers => 2);
    my ($one, $two, $pass) = (map({ $t->service('greet')->{port} } 1 .. 2),
                              $t->free_port);
    my $tls = $scheme eq 'wss';

    $t->write_conf(stream => "server { listen 127.0.0.1:$pass;
                                       zltunnel_pass office; }");
    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=office,plain sessions=9');
    $t->start;

    my $serving = $t->agent(token => $serve, services => [ 1, 2 ], conf =>
        conf($t, $scheme, <<"EOT"));
[access]
name = office
allow = 127.0.0.1:$one, localhost:$two,
  10.0.0.0/8:*
allow = 192.0.2.0/24:80-90

[service plain]
local = 127.0.0.1:$one
private = yes
EOT

    # what a visitor gets there: the greeting, or "reset" and the reasons
    my $at = sub {
        my ($to) = @_;

        my $v = $t->agent(token => $visit, tls => $tls, wait => 0,
                          access => [ 'office', '--to', $to ]);
        my $port = $v->granted('office') or return 'refused';
        my $s = $v->session('office');
        my $got = read_line(connect_to($port)) // 'eof';
        my $log = $v->log;

        is($s->{target}, $to, "$to: shown by sessions");
        $v->stop;

        return ($got, $log);
    };

    is(($at->("127.0.0.1:$one"))[0], "220 ready\r\n", 'an allowed target');
    is(($at->("localhost:$one"))[0], "220 ready\r\n",
       'a name that leads to an allowed address');

    # neither an address nor a port beside it; no disguise; no name alone
    for my $to ("127.0.0.1:$two", "127.0.0.2:$one", "localhost:$two",
                "2130706433:$two", "0x7f000001:$two", "127.1:$two",
                "0.0.0.0:$one", "0:$one", "[::1]:$one",
                "[::ffff:127.0.0.1]:$one", "[::127.0.0.1]:$one",
                '169.254.169.254:80', '192.0.2.1:91') {
        my $before = () = $serving->log =~ /is not allowed/g;
        my ($got, $log) = $at->($to);

        is($got, 'reset', "$to is not reached");
        ok(wait_for(sub {
            my $now = () = $serving->log =~ /\Q"$to" is not allowed\E/g;
            return $now >= 1;
        }, 5) || $serving->log =~ /\Q$to\E|Network is unreachable|resolved/,
           "$to: the serving agent has said so");
    }

    # with a target where there must be none, and without
    for my $bad ([ [ 'plain', '--to', "127.0.0.1:$one" ], qr/target/ ],
                 [ [ 'office' ], qr/target/ ]) {
        my $v = $t->agent(token => $visit, tls => $tls, wait => 0,
                          access => $bad->[0]);
        is($v->{proc}->wait(20), 1, "@{ $bad->[0] }: refused");
        like($v->log, $bad->[1], 'and why');
    }

    # it has no other entrance
    is(read_line(connect_to($pass)), 'reset', 'zltunnel_pass does not lead in');

    # the list is read again
    $serving->write_conf(conf($t, $scheme, <<"EOT"));
[access]
name = office
allow = 127.0.0.1:$two

[service plain]
local = 127.0.0.1:$one
private = yes
EOT
    $serving->{proc}->kill('HUP');
    ok($serving->logged(qr/read again/), 'another list');
    is(($at->("127.0.0.1:$two"))[0], "220 ready\r\n", 'what it allows now');
    is(($at->("127.0.0.1:$one"))[0], 'reset', 'and what it does not any more');

    $t->finish;
}


sub udp {
    my $t = ZLTunnel->new(workers => 2);
    my ($good, $bad) = map { $t->free_port } 1 .. 2;

    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=office sessions=3');
    $t->start;

    for my $port ($good, $bad) {
        my $echo = $t->spawn("echo-$port", $t->nettool, 'udp-echo', $port);
        wait_for(sub { $echo->output =~ /ready/ }) or die 'no echo';
    }

    my $serving = $t->agent(token => $serve, services => [ 1 ], conf =>
        conf($t, 'ws', <<"EOT"));
[access]
name = office
protocol = udp
allow = 127.0.0.1:$good
EOT

    my %got;

    for my $port ($good, $bad) {
        my $v = $t->agent(token => $visit, wait => 0, access =>
            [ 'office', '--udp', '--to', "127.0.0.1:$port" ]);
        my $local = $v->granted('office') or die $v->log;
        my $c = IO::Socket::INET->new(Proto => 'udp', PeerPort => $local,
                                      PeerAddr => '127.0.0.1');

        for my $try (1 .. ($port == $good ? 10 : 3)) {
            send $c, "try $try", 0;
            vec(my $rin = '', fileno $c, 1) = 1;
            select($rin, undef, undef, 0.5) or next;
            recv $c, $got{$port}, 100, 0;
            last;
        }

        $v->stop;
    }

    like($got{$good}, qr/^try \d$/, 'an allowed target answers');
    is($got{$bad}, undef, 'another does not');
    ok($serving->logged(qr/the target is not allowed/), 'which is logged');

    $t->finish;
}


sub allow_access {
    my $t = ZLTunnel->new;
    my $greet = $t->service('greet');

    my $serve = $t->token('site');
    my %visit = map { $_ => $t->token($_, 'access=*') } qw(alice bob carol);
    $t->start;

    $t->agent(token => $serve, services => [ 1 ], conf =>
        conf($t, 'ws', <<"EOT"));
[service mine]
local = 127.0.0.1:$greet->{port}
private = yes
allow_access = alice, carol
EOT

    for my $who (qw(alice carol)) {
        my $v = $t->agent(token => $visit{$who}, wait => 0,
                          access => [ 'mine' ]);
        my $port = $v->granted('mine');
        ok($port, "$who is on the service's list") or next;
        is(read_line(connect_to($port)), "220 ready\r\n", 'and gets in');
    }

    my $v = $t->agent(token => $visit{bob}, wait => 0, access => [ 'mine' ]);
    my $port = $v->granted('mine');
    is($port ? read_line(connect_to($port)) : 'refused',
       $port ? 'reset' : 'refused', 'bob is not');

    $t->finish;
}


sub file {
    my $t = ZLTunnel->new;
    my $file = "$t->{dir}/check.conf";
    my $head = conf($t, 'ws', '') =~ s/^token_file.*\n//mr;

    my %bad = (
        "[access]\nname = x\n" => qr/:\d+: \[access\] has no "allow"/,
        "[access]\nallow = 10.0.0.1\n" => qr/"allow" is "10.0.0.1": expected/,
        "[access]\nallow = 10.0.0.1:80, 10.0.0.1/8:80\n"
            => qr/"allow" is "10.0.0.1\/8:80": .*bits/,
        "[access]\nallow = a:1\nwhat = b\n" => qr/unknown key "what"/,
        "[access]\nallow = a:1\n[access]\nallow = b:1\n" => qr/twice/,
        "[access x]\nttl = soon\n" => qr/"ttl" is "soon", but must be a time/,
        "[access x]\nto = x\n" => qr/"to" is "x": expected HOST:PORT/,
        "[access x]\nlocal = somewhere\n" => qr/"local" is "somewhere"/,
        "[access x]\nwhat = b\n" => qr/unknown key "what"/,
        "[access x]\n[access x]\n" => qr/twice/,
        "[access x]\nprotocol = udp\nlocal = unix:/x\n" => qr/UDP service/,
        "[service x]\nlocal = 1\nallow_access = a b\n" => qr/comma/,
    );

    for my $text (sort keys %bad) {
        write_file($file, $head . $text);
        my ($rc, $out) = run($ZLTunnel::AGENT, 'check', '-c', $file);
        is($rc, 2, 'refused: ' . $text =~ s/\n/ /gr);
        like($out, $bad{$text}, 'with the reason');
    }

    write_file($file, $head . <<'EOT');
[access]
name = office
allow = 10.0.0.0/8:8080, db.lan:5432,
  127.0.0.1:22
allow = [2001:db8::/32]:*, [::1]:80-90

[access db]
local = unix:/run/db.sock
ttl = 8h
grace = 5m

[access office-web]
service = office
to = 10.0.0.5:8080
EOT
    like(run_ok($ZLTunnel::AGENT, 'check', '-c', $file), qr/OK/, 'a good one');

    done_testing();
}


sub read_line {
    my ($s) = @_;

    return 'refused' unless $s;
    my $line = '';

    while ($line !~ /\n/) {
        vec(my $rin = '', fileno $s, 1) = 1;
        select($rin, undef, undef, 20) or return 'timed out';
        my $n = sysread $s, $line, 1, length $line;
        return 'reset' if !defined $n;
        return undef if !$n;
    }

    return $line;
}
