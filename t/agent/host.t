#!/usr/bin/perl

# Protects: the hosts of a service, from the agent's side.  What is written on the
# command line or in the file is registered, and nothing that is no name; a
# service has hosts, a port, or both; the URLs that the server tells are printed
# and are in the status, and what is no URL is not, whatever a hostile server
# says; a server that knows of no hosts is told nothing; a host that is taken is
# tried again, and a reload touches the service that has changed alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16 ext);

my $t = ZLTunnel->new(range => 8, zltunnel => <<'EOT');
    domain t.example.com;
    public_url https://*:8443;
EOT

my $token = $t->token('alice', 'hosts=auto,*.t.example.com,shop.example.org '
                               . 'sessions=4');
my $few = $t->token('few', 'hosts=few max_hosts=1');
my $none = $t->token('none');

$t->start;

subtest 'options' => \&options;
subtest 'the file' => \&file;
subtest 'hosts, a port, both' => \&both;
subtest 'a port that is asked for, or not' => \&wishes;
subtest 'an old server' => \&old;
subtest 'taken' => \&taken;
subtest 'reload' => \&reload;
subtest 'what the server says' => \&hostile;
subtest 'check --connect' => \&rights;

$t->finish;


# What is told of mistakes.

sub options {
    my @rows = (
        [ [qw(--host blog --service web:1)],
          'zltunnel-agent: --host "blog" stands behind the --service that it '
          . 'is for' ],
        [ [qw(--service web:1 --host a_b)],
          q{zltunnel-agent: --host "a_b": a host's name has no "_", as no }
          . 'certificate has one' ],
        [ [qw(--service web:1 --host), 'a,https://b/'],
          'zltunnel-agent: --host "https://b/": it is a name alone, not a URL: '
          . 'blog.example.com' ],
        [ [qw(--service web:1 --host a:80)],
          'zltunnel-agent: --host "a:80": it is a name alone, without a port: '
          . 'blog.example.com' ],
        [ [qw(--service web:1 --host 192.0.2.1)],
          'zltunnel-agent: --host "192.0.2.1": it is a name, not an address' ],
        [ [qw(--service web:1 --host), "b\xc3\xbccher.example"],
          "zltunnel-agent: --host \"b\xc3\xbccher.example\": names in other "
          . 'scripts are written as "xn--..."' ],
        [ [qw(--service web:1 --host a.*)],
          'zltunnel-agent: --host "a.*": "*" stands at the beginning only, for '
          . 'all names below: *.example.com' ],
        [ [qw(--service web:1 --host), 'a' x 64 ],
          'zltunnel-agent: --host "' . 'a' x 64 . q{": a host's name has }
          . 'labels of 1 to 63 letters, digits and "-", and 253 bytes in all' ],
        [ [qw(--service web:1 --host), 'a,,b'],
          'zltunnel-agent: --host expected names of hosts with commas between '
          . 'them' ],
        [ [qw(--service web:1 --host blog --host Blog.)],
          'zltunnel-agent: --host "Blog.": it is there twice' ],
        [ [qw(--service web:1 --host), join ',', map { "h$_" } 1 .. 65],
          'zltunnel-agent: --host a service has at most 64 names of hosts, of '
          . '1023 bytes in all: more of them need a service of their own' ],
        [ [qw(--service dns:53/udp --host dns)],
          'zltunnel-agent: --host "dns" of "dns": a UDP service has no host: '
          . 'what asks for a host is HTTP or TLS, over TCP' ],
        [ [qw(--service ftp:1-2/private --host ftp)],
          'zltunnel-agent: --host "ftp" of "ftp": a range of ports has no host: '
          . 'a service for each name' ],
        [ [qw(--service a:1 --host x --service b:2 --host), 'y,X'],
          'zltunnel-agent: --host "y,X": the services "a" and "b" have the same '
          . 'host "x"' ],
    );

    for my $row (@rows) {
        my ($args, $told) = @$row;
        my ($rc, $out) = run($ZLTunnel::AGENT, 'connect', '--server',
                             'ws://127.0.0.1:1', @$args);

        is($rc, 2, "@$args: 2");
        is((split /\n/, $out)[0], $told, 'told so');
    }
}


sub check {
    my ($text) = @_;

    write_file("$t->{dir}/check.conf",
               "[agent]\nserver = ws://127.0.0.1:1\n$text");
    return run($ZLTunnel::AGENT, 'check', '-c', "$t->{dir}/check.conf");
}


sub file {
    for my $ok ('host = blog, Shop.example.org., *.x', "host = a\nhost = b",
                "host = a,\n   b", 'host = auto', "host = a\nremote_port = 80",
                "host = a\nprivate = yes", "host = a\npreferred_port = 80",
                "host = a\ninternal = yes") {
        my ($rc, $out) = check("[service web]\nlocal = 1\n$ok\n"
                               =~ s/a,\n/a\n/r);
        is($rc, 0, $ok =~ s/\n/; /gr) or diag($out);
    }

    my @rows = (
        [ "local = 1\nhost = a_b",
          qq{5: "host": "a_b": a host's name has no "_", as no certificate }
          . 'has one' ],
        [ "local = 1\nhost = a\nhost = b, A",
          '6: "host": "A": it is there twice' ],
        [ "local = 1\nhost = a\nprotocol = udp",
          '3: a UDP service has no host: what asks for a host is HTTP or TLS, '
          . 'over TCP' ],
        [ "local = 1-2\nprivate = yes\nhost = a",
          '3: a range of ports has no host: a service for each name' ],
        [ "local = 1\nhost = a\n[service b]\nlocal = 2\nhost = a",
          '6: the services "web" and "b" have the same host "a"' ],
    );

    for my $row (@rows) {
        my ($rc, $out) = check("[service web]\n$row->[0]\n");
        is($rc, 2, ($row->[0] =~ s/\n/; /gr) . ': 2');
        is($out, "zltunnel-agent: $t->{dir}/check.conf:$row->[1]\n", 'told so');
    }

    # each service has its own

    my ($rc) = check("[service a]\nlocal = 1\nhost = auto\n"
                     . "[service b]\nlocal = 1\nhost = auto\n");
    is($rc, 0, 'auto twice');
}


# What the agent has printed, as places by service.

sub places {
    my ($agent) = @_;

    my %places;
    my $out = slurp($agent->{out});
    push @{ $places{$1} }, $2 while $out =~ /^(\S+)  tcp  \S+  ->  (.*)$/mg;

    return \%places;
}


sub both {
    my $agent = $t->agent(token => $token, services => ['web:1'], args => [
        qw(--host blog --host Shop.example.org --host auto
           --service port:2 --service both:3:0 --host both
           --service private:4/private) ]);
    ok($agent->registered(4), 'registered');

    my $places = places($agent);
    my $host = qr/127\.0\.0\.1:\d+/;

    is_deeply([ @{ $places->{web} }[0, 1] ],
              [ 'https://blog.t.example.com:8443',
                'https://shop.example.org:8443' ], 'hosts alone: the URLs');
    like($places->{web}[2], qr{^https://[a-z][a-z2-7]{7}\.t\.example\.com:8443\z},
         'auto, too');
    is(scalar @{ $places->{web} }, 3, 'and nothing else');
    is(scalar @{ $places->{port} }, 1, 'a port alone: a line');
    like($places->{port}[0], qr/^$host\z/, 'with the port');
    like($places->{both}[0], qr/^$host\z/, 'both: the port');
    is($places->{both}[1], 'https://both.t.example.com:8443', 'and the URL');
    is_deeply($places->{private}, [ '(no port)' ], 'neither: as before');

    my %s = map { $_->{name} => $_ } @{ $agent->link->{services} };
    is_deeply($s{web}{urls}, $places->{web}, 'JSON: the URLs');
    is($s{web}{public}, undef, 'no port');
    is_deeply($s{port}{urls}, [], 'no URL');
    is($s{port}{public}, $places->{port}[0], 'but a port');
    is_deeply([ $s{both}{public}, @{ $s{both}{urls} } ], $places->{both},
              'both');
    is($s{private}{public}, '(no port)', 'private as before');

    my ($rc, $out) = $agent->ask('status', 'web');
    like($out, qr/^    web  tcp  127\.0\.0\.1:1  ->  \Q$places->{web}[0], $places->{web}[1], $places->{web}[2]\E  up$/m,
         'the table');
    ($rc, $out) = $agent->ask('status', 'both');
    like($out, qr/^    both  tcp  127\.0\.0\.1:3  ->  \Q$places->{both}[0], $places->{both}[1]\E  up$/m,
         'with the port');
    unlike($agent->log, qr/has no port/, 'nobody misses a port');

    is($agent->stop, 0, 'the agent ends');

    # the same name again

    my $again = $t->agent(token => $token, services => ['web:1'],
                          args => [ '--host', 'auto' ]);
    is(places($again)->{web}[0], $places->{web}[2], 'auto is the same again');
    is($again->stop, 0, 'the agent ends');
}


# A server by hand that knows of hosts, and its service of that name.

sub server { ZLTunnel::Server->new($t, features => 0x8f) }

sub at {
    my ($server, $args, %o) = @_;

    return $t->agent(token => $token, server => $server->url, wait => 0,
                     args => [ @$args, '--reconnect-interval', '100ms' ], %o);
}

sub flags { unpack 'C', $_[0]{ext}{1} // "\0" }


sub wishes {
    my $server = server();
    my $agent = at($server, [
        '--service', 'bare:1',             '--host', 'Bare.Example.org.',
        '--service', 'any:1:0',            '--host', 'any',
        '--service', 'port:1:99',          '--host', 'port',
        '--service', 'private:1/private',  '--host', 'private, *.X.y',
        '--service', 'internal:1/internal', '--host', 'internal',
        '--service', 'none:1' ]);

    ok($server->wait(sub { keys %{ $server->{services} } == 6 }), 'registered');

    my $s = $server->{services};
    my %want = (bare => 1, any => 0, port => 0, private => 1, internal => 2,
                none => 0);
    is(flags($s->{$_}), $want{$_}, "$_: flags") for sort keys %want;
    is($s->{port}{remote_port}, 99, 'the port');
    is($s->{bare}{ext}{4}, 'bare.example.org', 'the name, as it is compared');
    is($s->{private}{ext}{4}, 'private,*.x.y', 'two of them');
    ok(!exists $s->{none}{ext}{4}, 'none');
    ok($server->{features} & 0x80, 'the feature is asked for');

    $agent->{proc}->kill('TERM');
    ok($server->wait(sub { !$agent->{proc}->running }), 'the agent ends');
    is($agent->stop, 0, 'with 0');
    $server->close_all;

    # in the file preferred_port is such a wish

    $server = server();
    my $url = $server->url;
    $agent = $t->agent(token => $token, wait => 0, conf => <<"EOT");
[agent]
server = $url
token_file = %%token_file%%
[service web]
local = 1
host = web
preferred_port = 8000
EOT
    ok($server->wait(sub { $server->{services}{web} }), 'registered');
    is(flags($server->{services}{web}), 0, 'preferred_port: a port');
    is(unpack('n', $server->{services}{web}{ext}{2} // ''), 8000, 'that one');

    $agent->{proc}->kill('TERM');
    $server->wait(sub { !$agent->{proc}->running });
    is($agent->stop, 0, 'the agent ends');
    $server->close_all;
}


# What knows of no hosts is not told of the service, the others are there.

sub old {
    my $server = ZLTunnel::Server->new($t, features => 0x7f);
    my $agent = at($server, [ qw(--service web:1 --host blog
                                 --service both:2:3 --host both
                                 --service plain:4) ]);

    ok($server->wait(sub { $server->{services}{plain} }), 'one is registered');
    ok($server->wait(sub { (($agent->link || {})->{state} // '') eq 'connected' }),
       'connected');
    is_deeply([ keys %{ $server->{services} } ], [ 'plain' ], 'one alone');

    for my $name (qw(web both)) {
        like($agent->log, qr/^\S+ ERROR the server is not told of the service "$name": it has a host, and the server, an older one, knows only ports$/m,
             "$name: told why");
    }

    $agent->{proc}->kill('TERM');
    $server->wait(sub { !$agent->{proc}->running });
    is($agent->stop, 0, 'the agent ends');
    $server->close_all;
}


sub taken {
    my $first = $t->agent(token => $token, services => ['web:1'],
                          args => [ '--host', 'few' ]);
    my $agent = $t->agent(token => $few, wait => 0, services => ['web:1'],
                          args => [ '--host', 'few' ]);

    ok($agent->logged(qr/^\S+ ERROR the server refuses the service "web": The host "few\.t\.example\.com" is another token's, .*; it is tried again every 30 s$/m),
       'another has it: told, and tried again') or diag($agent->log);

    my ($s) = @{ ($agent->in_state('agent', 'failed') || {})->{services} };
    is($s->{state}, 'refused', 'refused');
    like($s->{reason}, qr/"few\.t\.example\.com"/, 'in the status, too');
    is_deeply($s->{urls}, [], 'without URLs');
    is($agent->stop, 0, 'the agent ends');

    $agent = $t->agent(token => $none, wait => 0, services => ['web:1'],
                       args => [ '--host', 'few' ]);
    ok($agent->logged(qr/^\S+ ERROR the server refuses the service "web": The token allows no names of hosts: its line in the server's token file has no "hosts=", as in hosts=\*\.t\.example\.com$/m),
       'not allowed: told') or diag($agent->log);

    is($_->stop, 0, 'the agent ends') for $agent, $first;

    # by code 11, whatever the reason, and a code that nobody knows is final; by
    # code 10 the server is only busy, as while it reloads

    for my $code (10, 11, 12) {
        my $told = $code == 10 ? 'WARN the server puts off'
                               : 'ERROR the server refuses';
        my $server = server();
        $server->{refuse}{web} = 'no';
        $server->{code}{web} = $code;
        $agent = at($server, [ qw(--service web:1 --host blog) ]);

        ok($server->wait(sub { $agent->log =~ /the service "web": no/ }),
           "code $code: told");
        like($agent->log, qr/^\S+ $told the service "web": no/m, '.. as such');
        is($agent->log =~ /tried again/ ? 1 : 0, $code < 12 ? 1 : 0,
           'tried again, or not');
        unlike($agent->log, qr/ERROR/, 'no fright') if $code == 10;

        $agent->{proc}->kill('TERM');
        $server->wait(sub { !$agent->{proc}->running });
        is($agent->stop, 0, 'the agent ends');
        $server->close_all;
    }
}


sub reload {
    my $url = $t->url('ws');
    my $conf = sub {
        my ($host) = @_;
        return <<"EOT";
[agent]
server = $url
token_file = %%token_file%%

[service stays]
local = 1
host = stays

[service web]
local = 2
$host
EOT
    };

    my $agent = $t->agent(token => $token, conf => $conf->('host = one'));
    ok($agent->registered(2), 'registered');

    my $lines = sub { my $p = places($agent); $p->{ $_[0] } };
    is_deeply($lines->('web'), [ 'https://one.t.example.com:8443' ], 'one');

    $agent->write_conf($conf->('host = two, three'));
    is(($agent->ask('reload'))[0], 0, 'reload');
    ok(wait_for(sub { @{ $lines->('web') } == 3 }), 'registered anew');
    is_deeply([ @{ $lines->('web') }[1, 2] ],
              [ map { "https://$_.t.example.com:8443" } qw(two three) ],
              'with the new names');

    # the same, written in another way, is no change

    my $log = length $agent->log;
    $agent->write_conf($conf->("host = Two.\nhost = THREE"));
    is(($agent->ask('reload'))[0], 0, 'reload');
    unlike(substr($agent->log, $log), qr/removed or changed/, 'no change');

    $agent->write_conf($conf->('remote_port = ' . ($t->{base} + 1)));
    is(($agent->ask('reload'))[0], 0, 'reload');
    ok(wait_for(sub { @{ $lines->('web') } == 4 }), 'a port in its place');
    like($lines->('web')[3], qr/:@{[ $t->{base} + 1 ]}\z/, 'that one');
    is_deeply((grep { $_->{name} eq 'web' } @{ $agent->link->{services} })[0]{urls},
              [], 'no URL is left');

    $agent->write_conf($conf->('host = a..b'));
    my ($rc, $out) = $agent->ask('reload');
    is($rc, 1, 'a name that is none');
    like($out, qr/"host": "a\.\.b": a host's name/, 'told so');
    ok($agent->in_state('agent', 'connected'), 'and changes nothing');

    is(scalar @{ $lines->('stays') }, 1, 'the other one was not touched');
    is($agent->stop, 0, 'the agent ends');
}


# What it says for URLs; what of that is shown.

sub hostile {
    my $good = 'https://blog.t.example.com';
    my @rows = (
        [ 'a URL', $good, [ $good ] ],
        [ 'an escape sequence', "http://a\e[2J\e]0;owned\a", [] ],
        [ 'a line of its own', "http://a\nweb  tcp  1  ->  evil", [] ],
        [ 'right to left', "http://a\xe2\x80\xaeb", [] ],
        [ 'a NUL', "http://a\0b", [] ],
        [ 'a user', 'http://bank.example@evil', [] ],
        [ 'a command', 'http://a/$(reboot)', [] ],
        [ 'another scheme', 'javascript:alert(1)', [] ],
        [ 'one of two', "$good http://\x7f", [ $good ] ],
        [ 'nothing', '', [] ],
        [ 'a long one', 'http://' . 'a' x 60000, [] ],
        [ 'many', join(' ', map { "http://h$_" } 1 .. 5000),
          [ map { "http://h$_" } 1 .. 64 ] ],
    );

    for my $row (@rows) {
        my ($what, $text, $want) = @$row;
        my $server = server();
        $server->{hold}{Register} = 1;

        my $agent = at($server, [ qw(--service web:1 --host blog) ]);
        ok($server->wait(sub { @{ $server->{held} || [] } }), $what);

        my ($c) = @{ $server->{held}[0] };
        $c->tell(msg('RegisterOk', 'S' x 16 . ext(1 => pack('n', 0),
                                                   3 => $text)));

        my $link;
        ok($server->wait(sub {
            $link = $agent->link or return 0;
            return $link->{services}[0]{state} eq 'up';
        }), '.. is up');

        is_deeply($link->{services}[0]{urls}, $want, '.. its URLs');
        is_deeply(places($agent)->{web}, @$want ? $want : [ '(no URL)' ],
                  '.. printed');

        my $shown = slurp($agent->{out}) . $agent->log
                    . ($agent->ask('status', 'web'))[1];
        unlike($shown, qr/[^\n -~]/, '.. nothing that is not to be shown');
        is($agent->log =~ /WARN the server does not tell where the service "web" is$/m ? 1 : 0,
           @$want ? 0 : 1, '.. that there is none, too');
        is($agent->log =~ /WARN the server tells of the service "web" what is no URL: / ? 1 : 0,
           $text eq '' || $what =~ /^(?:a URL|many)$/ ? 0 : 1, '.. told');

        $agent->{proc}->kill('TERM');
        $server->wait(sub { !$agent->{proc}->running });
        is($agent->stop, 0, '.. the agent ends');
        $server->close_all;
    }
}


# The services and the token's rights are compared.

sub rights {
    my $try = sub {
        my ($token, $hosts) = @_;

        write_file("$t->{dir}/check.token", "$token\n", 0600);
        write_file("$t->{dir}/check.conf", "[agent]\nserver = "
                   . $t->url('ws') . "\ntoken_file = $t->{dir}/check.token\n"
                   . "[service web]\nlocal = 1\nhost = $hosts\n");
        return run($ZLTunnel::AGENT, 'check', '--connect', '-c',
                   "$t->{dir}/check.conf");
    };

    for my $hosts ('blog, auto', 'blog.t.example.com, shop.example.org') {
        my ($rc, $out) = $try->($token, $hosts);
        is($rc, 0, "$hosts: 0") or diag($out);
        like($out, qr/hosts=auto,\*\.t\.example\.com,shop\.example\.org/,
             'its rights are told');
    }

    my @rows = (
        [ $token, 'www.example.net', 'not the host "www.example.net" (hosts=)' ],
        [ $token, 't.example.com', 'not the host "t.example.com" (hosts=)' ],
        [ $few, 'many', 'not the host "many" (hosts=)' ],
        [ $few, 'auto', 'not the host "auto" (hosts=)' ],
        [ $few, 'few, few.t.example.com', 'not 2 hosts (max_hosts=)' ],
        [ $none, 'blog', 'no hosts (hosts=)' ],
    );

    for my $row (@rows) {
        my ($of, $hosts, $told) = @$row;
        my ($rc, $out) = $try->($of, $hosts);
        is($rc, 1, "$hosts: 1");
        like($out, qr/^ +service +FAILED +the token does not allow "web": \Q$told\E$/m,
             'told so') or diag($out);
    }

    my ($rc) = $try->($few, 'few');
    is($rc, 0, 'few: 0');
}
