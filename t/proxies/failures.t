#!/usr/bin/perl

# Protects: a proxy that does not do what it should costs an error that names
# it and the cause, no byte for the server, and the usual wait before the next
# attempt; no proxy of the environment is taken but as curl would; no password
# is in a log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Middle;
use ZLTunnel::Paths;
use ZLTunnel::Wire;

my $agent_bin = $ZLTunnel::AGENT;

# what the machine of the test has is not what is tested
delete @ENV{grep { /^(https?|all|no)_proxy$/i } keys %ENV};

subtest 'by hand' => \&by_hand;
subtest 'real ones' => \&real;
subtest 'it comes back' => \&returns;
subtest 'data channels' => \&data_channels;
subtest 'another proxy' => \&another;
subtest 'two addresses' => \&two_addresses;
subtest 'which proxy' => \&which;
subtest 'options' => \&options;

done_testing();


sub by_hand {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    push @{ $t->{secrets} }, 'not-for-logs';
    $t->start;

    my $http = sub { my $text = shift; sub { syswrite $_[0], $text } };
    my $socks = sub {
        my ($method, $rest) = @_;
        return sub {
            my ($s) = @_;
            syswrite $s, $method;
            sysread $s, my $more, 65536 or return;
            printf "got %s\n", unpack 'H*', $more;
            syswrite $s, $rest if defined $rest;
        };
    };

    my $bad = "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n";

    my @cases = (
        [ '407' => 'http', $http->(sprintf $bad, '407 Proxy Authentication '
                                   . 'Required'),
          qr/does not accept the user and the password: 407/ ],
        [ '403' => 'http', $http->(sprintf $bad, '403 Forbidden'),
          qr/does not allow it: 403 Forbidden/ ],
        [ '503' => 'http', $http->(sprintf $bad, '503 Busy'),
          qr/does not get there: 503 Busy/ ],
        [ 'closes' => 'http', sub { }, qr/closed the connection/ ],
        [ 'garbage' => 'http', $http->("SSH-2.0-OpenSSH_9.2\r\n"),
          qr/does not answer in HTTP/ ],
        [ 'an endless header' => 'http', sub {
              my ($s) = @_;
              syswrite $s, "HTTP/1.1 200 OK\r\n";
              1 while syswrite $s, 'X-More: ' . 'x' x 1000 . "\r\n";
          }, qr/answers with a header without end/ ],
        [ 'more than it should' => 'http',
          $http->("HTTP/1.1 200 OK\r\n\r\nand more"),
          qr/said more than it should/ ],
        [ 'hangs' => 'http', sub { sleep 60 }, qr/did not answer in time/ ],
        [ 'half an answer' => 'http', sub {
              my ($s) = @_;
              syswrite $s, "HTTP/1.1 200 Connec";
              sleep 60;
          }, qr/did not answer in time/ ],
        [ 'not SOCKS' => 'socks5h', $http->("HTTP/1.1 400 Bad\r\n\r\n"),
          qr/does not answer in SOCKS 5/ ],
        [ 'no method' => 'socks5h', $socks->("\x05\xff"),
          qr/wants an authentication other than by password/ ],
        [ 'a method that nobody offered' => 'socks5h', $socks->("\x05\x01"),
          qr/an authentication that was not offered/ ],
        [ 'a wrong password' => 'socks5h', $socks->("\x05\x02", "\x01\x01"),
          qr/does not accept the user and the password/ ],
        [ 'not allowed' => 'socks5h',
          $socks->("\x05\x00", "\x05\x02\x00\x01" . "\0" x 6),
          qr/does not get there: it is not allowed \(2\)/ ],
        [ 'unreachable' => 'socks5h',
          $socks->("\x05\x00", "\x05\x04\x00\x01" . "\0" x 6),
          qr/does not get there: host unreachable \(4\)/ ],
        [ 'SOCKS that ends' => 'socks5h', $socks->("\x05\x00", "\x05\x00"),
          qr/closed the connection/ ],
        [ 'SOCKS that hangs' => 'socks5h', sub { sleep 60 },
          qr/did not answer in time/ ],
    );

    my @agents;

    for my $case (@cases) {
        my ($name, $scheme, $code, $re) = @$case;

        my $p = proxy_by_hand($t, $code);
        my $agent = $t->agent(token => $token, services => ['a:1'], wait => 0,
            env => { all_proxy =>
                     "$scheme://user:not-for-logs\@127.0.0.1:$p->{port}" },
            args => [ '--connect-timeout', '2s', '--reconnect-interval',
                      '200ms', '--max-reconnect-interval', '400ms' ]);
        push @agents, [ $name, $scheme, $p, $agent, $re ];
    }

    for my $a (@agents) {
        my ($name, $scheme, $p, $agent, $re) = @$a;

        my $proxy = "$scheme://127.0.0.1:$p->{port}";
        my $told = qr/WARN .*the proxy \Q$proxy\E .*$re/;

        ok($agent->logged($told, 10), "$name: told")
            or diag(substr $agent->log, 0, 1000);

        ok(wait_for(sub { my $n = () = $agent->log =~ /$told/g; $n >= 2 }, 10),
           "$name: tried again");

        my $got = join '', map { pack 'H*', $_ }
                  slurp($p->{log}) =~ /^got (\w+)$/mg;
        unlike($got, qr/\Q$token\E|\/tunnel\/v1|Upgrade/i,
               "$name: nothing for the server was sent");
        like($got, $scheme eq 'http'
                   ? qr/^CONNECT\ 127\.0\.0\.1:$t->{http_port}\ HTTP\/1\.1\r\n
                        Host:\ 127\.0\.0\.1:$t->{http_port}\r\n/x
                   : qr/^\x05\x02\x00\x02/, "$name: it was asked");

        $agent->stop;
        end_at_once($p);
    }

    # what was told to the proxies is in their log, in hex
    unlink glob "$t->{dir}/logs/by-hand-*";
    $t->finish;
}


sub real {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my %user = (user => 'agent', password => 'open-sesame');
    push @{ $t->{secrets} }, $user{password};
    $t->start;

    my $closed = $t->free_port;
    my @fast = ('--reconnect-interval', '200ms');

    my @cases = (
        [ 'tinyproxy', \&tinyproxy, 'agent:wrong@',
          qr/does not accept the user and the password: 40[17]/ ],
        [ 'tinyproxy without a password', \&tinyproxy, '',
          qr/wants a user and a password: 407/ ],
        [ 'squid', \&squid, 'agent:wrong@',
          qr/does not accept the user and the password: 407/ ],
        [ 'microsocks', \&microsocks, 'agent:wrong@',
          qr/does not accept the user and the password/ ],
        [ 'microsocks without a password', \&microsocks, '',
          qr/wants a user and a password/ ],
    );

    for my $case (@cases) {
        my ($name, $start, $user, $re) = @$case;

        SKIP: {
            my $p = $start->($t, %user) or skip("no $name", 1);
            my $url = $p->{url} =~ s/agent:open-sesame\@/$user/r;
            my $agent = $t->agent(token => $token, services => ['a:1'],
                                  env => { all_proxy => $url }, args => \@fast,
                                  wait => 0);

            ok($agent->logged($re, 10), "$name: told") or diag($agent->log);
            is($agent->stop, 0, "$name: the agent ends");
            $p->{proc}->stop;
        }
    }

    # a server that is not there

    for my $case ([ 'tinyproxy', \&tinyproxy, qr/does not get there: 50\d/ ],
                  [ 'squid', \&squid, qr/does not get there: 503/ ],
                  [ 'microsocks', \&microsocks, qr/connection refused \(5\)/ ])
    {
        my ($name, $start, $re) = @$case;

        SKIP: {
            my $p = $start->($t) or skip("no $name", 1);
            my $agent = $t->agent(token => $token, services => ['a:1'],
                                  server => "ws://127.0.0.1:$closed/",
                                  env => { all_proxy => $p->{url} },
                                  args => \@fast, wait => 0);

            my $asked = "was asked for 127.0.0.1 port $closed and ";
            ok($agent->logged(qr/\Q$asked\E.*$re/, 10),
               "$name: a server that is not there") or diag($agent->log);
            $agent->stop;
            $p->{proc}->stop;
        }
    }

    my $agent = $t->agent(token => $token, services => ['a:1'], wait => 0,
                          args => [ @fast, '--proxy',
                                    "http://127.0.0.1:$closed" ]);
    my $proxy = "the proxy http://127.0.0.1:$closed";
    ok($agent->logged(qr/\Q$proxy\E cannot be reached: .*refused/, 10),
       'a proxy that is not there');
    $agent->stop;

    $t->finish;
}


# Data channels are opened anew, and the control channel, when a proxy that
# was away is back; what the pool meets meanwhile is told.

sub returns {
    installed('tinyproxy') or plan(skip_all => 'no tinyproxy');

    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $port = $t->free_port;
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                          args => [ '--proxy', "http://127.0.0.1:$port",
                                    '--reconnect-interval', '300ms' ],
                          wait => 0);
    ok($agent->logged(qr/cannot be reached/), 'the proxy is not there yet');

    my $p = tinyproxy($t, port => $port);
    ok($agent->registered(1), 'it comes');

    for my $round (1, 2) {
        my $r = ZLTunnel::Paths::exchange($agent->port('e'), 100_000);
        is($r->{received_sha}, $r->{sent_sha}, 'bytes through it');
        last if $round == 2;

        $p->{proc}->stop('KILL');
        ok($agent->logged(qr/control channel was closed/),
           'it goes, and the control channel with it');
        $p = tinyproxy($t, port => $port);
        ok(wait_for(sub { grep { $_->{state} eq 'connected' }
                          @{ $t->status->{tunnels} } }), 'and is back');
    }

    $t->finish;
}


# A proxy that lets the control channel pass and refuses all others.

sub data_channels {
    my $t = ZLTunnel->new(zltunnel => 'connect_timeout 2s;');
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $p = proxy_by_hand($t, sub {
        my ($s) = @_;

        if (!mkdir "$t->{dir}/the-first") {
            syswrite $s, "HTTP/1.1 503 No more\r\nContent-Length: 0\r\n\r\n";
            return;
        }

        my $to = connect_to($t->{http_port});
        syswrite $s, "HTTP/1.1 200 OK\r\n\r\n";

        while (1) {
            my $rin = '';
            vec($rin, fileno $_, 1) = 1 for $s, $to;
            select $rin, undef, undef, undef;

            for my $pair ([ $s, $to ], [ $to, $s ]) {
                next unless vec $rin, fileno $pair->[0], 1;
                sysread $pair->[0], my $data, 65536 or return;
                syswrite $pair->[1], $data;
            }
        }
    });

    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                          args => [ '--proxy', $p->{url} ]);

    ok($agent->logged(
           qr/WARN no data channel can be opened: the proxy \S+ was .*503/, 15),
       'an idle channel: told') or diag($agent->log);

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    is($c->ending(10), 'reset', 'a connection is reset');
    ok($agent->logged(qr/WARN a data channel could not be opened: the proxy /),
       'a fresh channel: told');
    is(ZLTunnel::Paths::tunnel($t)->{state}, 'connected',
       'the control channel stays');

    $agent->stop;
    end_at_once($p);
    unlink glob "$t->{dir}/logs/by-hand-*";
    $t->finish;
}


# SIGHUP, with another proxy, another password in its file, and none.

sub another {
    installed('tinyproxy') or plan(skip_all => 'no tinyproxy');

    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my %user = (user => 'agent', password => 'open-sesame');
    push @{ $t->{secrets} }, $user{password};
    $t->start;

    my $echo = $t->service('echo');
    my ($p, $q) = (tinyproxy($t), tinyproxy($t, %user));
    my $conf = sub { "[agent]\nserver = " . $t->url('ws') . "\n"
                     . "token_file = %%token_file%%\nreconnect_interval = 1s\n"
                     . "$_[0]\n[service e]\nlocal = $echo->{port}\n" };

    my $agent = $t->agent(token => $token, conf => $conf->("proxy = $p->{url}"),
                          services => [1]);

    write_file("$t->{dir}/proxy", $q->{url} =~ s/sesame/wrong/r, 0600);
    $agent->write_conf($conf->("proxy_file = $t->{dir}/proxy"));
    $agent->{proc}->kill('HUP');
    ok($agent->logged(qr/does not accept the user/, 10), 'another proxy');

    write_file("$t->{dir}/proxy", $q->{url}, 0600);
    $agent->{proc}->kill('HUP');
    ok($agent->logged(qr/through the proxy \S+:$q->{port} \(from/, 10),
       'its password is right now');

    $agent->write_conf($conf->('proxy = https://nonsense'));
    $agent->{proc}->kill('HUP');
    ok($agent->logged(qr/not changed: "proxy" must begin/, 10),
       'one that is wrong changes nothing');

    $agent->write_conf($conf->('proxy = none'));
    $agent->{proc}->kill('HUP');
    ok($agent->logged(qr/connected as "[^"]+" \(\d+ services?\)$/m, 10), 'and without one');

    my $r = $t->transfer($agent->port('e'), 10_000);
    is($r->{received_sha}, $r->{sent_sha}, 'bytes pass');

    $t->finish;
}


# A proxy by a name of two addresses, of which one leads nowhere.

sub two_addresses {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    SKIP: {
        my $p = tinyproxy($t) or skip('no tinyproxy', 1);
        my $agent = $t->agent(token => $token, services => ['a:1'], args => [
            '--proxy', "http://localhost:$p->{port}" ]);
        ok($agent->port('a'), 'the second address of the proxy');
    }

    $t->finish;
}


# What "check" says of it; see curl(1), ENVIRONMENT.

sub which {
    my $dir = File::Temp::tempdir(CLEANUP => 1);
    write_file("$dir/token", "secret\n", 0600);
    write_file("$dir/proxy", "http://u:p\@file.test:3128\n", 0600);

    my $through = sub {
        my ($server, $env, $more) = @_;

        write_file("$dir/agent.conf", "[agent]\nserver = $server\n"
                   . "token_file = token\n" . ($more // '')
                   . "[service a]\nlocal = 1\n");

        my ($rc, $out) = run({ env => $env }, $agent_bin, 'check', '-c',
                             "$dir/agent.conf");
        return $rc == 0 ? $out =~ / through (\S+)/ ? $1 : 'none' : $out;
    };

    my ($ws, $wss) = ('ws://a.example.com/', 'wss://a.example.com/');
    my %both = (http_proxy => 'http://h.test:1', https_proxy => 's.test:2');

    my @cases = (
        [ 'nothing', $wss, {}, 'none' ],
        [ 'wss://', $wss, { %both }, 'http://s.test:2' ],
        [ 'ws://', $ws, { %both }, 'http://h.test:1' ],
        [ 'HTTPS_PROXY', $wss, { HTTPS_PROXY => 's.test:2' },
          'http://s.test:2' ],
        [ 'lower case first', $wss, { %both, HTTPS_PROXY => 'x:1' },
          'http://s.test:2' ],
        [ 'HTTP_PROXY is not looked at', $ws, { HTTP_PROXY => 'x:1' },
          'none' ],
        [ 'all_proxy', $wss, { all_proxy => 'socks5h://p.test' },
          'socks5h://p.test:1080' ],
        [ 'ALL_PROXY', $ws, { ALL_PROXY => 'socks5://[::1]:9' },
          'socks5://[::1]:9' ],
        [ 'all_proxy after the special one', $ws, { %both, all_proxy => 'x' },
          'http://h.test:1' ],
        [ 'an empty one', $wss, { https_proxy => '', all_proxy => 'x.test' },
          'http://x.test:1080' ],
        [ 'no user in it', $wss, { https_proxy => 'http://u:p@s.test:2/' },
          'http://s.test:2' ],
        [ 'the configuration first', $wss, { %both }, 'socks5h://c.test:5',
          "proxy = socks5h://c.test:5\n" ],
        [ 'none in the configuration', $wss, { %both }, 'none',
          "proxy = none\n" ],
        [ 'a file', $wss, { %both }, 'http://file.test:3128',
          "proxy_file = proxy\n" ],
        [ 'a socket', 'ws+unix:/run/nginx.sock:/tunnel', { %both }, 'none' ],
    );

    for my $case (@cases) {
        my ($name, $server, $env, $expected, $more) = @$case;
        is($through->($server, $env, $more), $expected, $name);
    }

    my @except = (
        [ '*', $wss, 1 ], [ 'example.com', $wss, 1 ],
        [ '.example.com', $wss, 1 ], [ 'a.example.com', $wss, 1 ],
        [ 'A.Example.COM.', $wss, 1 ], [ 'b.test, example.com', $wss, 1 ],
        [ 'b.test example.com', $wss, 1 ], [ 'ample.com', $wss, 0 ],
        [ 'b.a.example.com', $wss, 0 ], [ '*.example.com', $wss, 0 ],
        [ 'com', $wss, 1 ],
        [ '192.0.2.7', 'wss://192.0.2.7/', 1 ],
        [ '192.0.2.0/24', 'wss://192.0.2.7/', 1 ],
        [ '192.0.2.8/29', 'wss://192.0.2.7/', 0 ],
        [ '192.0.2.0/29', 'wss://192.0.2.7:99/', 1 ],
        [ '192.0.2.0/33', 'wss://192.0.2.7/', 0 ],
        [ '2.7', 'wss://192.0.2.7/', 0 ],
        [ '0.0.0.0/0', 'wss://192.0.2.7/', 1 ],
        [ '::1', 'wss://[::1]/', 1 ], [ '[::1]', 'wss://[::1]/', 1 ],
        [ '2001:db8::/32', 'wss://[2001:db8:1::7]/', 1 ],
        [ '2001:db8::/48', 'wss://[2001:db8:1::7]/', 0 ],
    );

    for my $case (@except) {
        my ($list, $server, $expected) = @$case;
        my $got = $through->($server, { %both, no_proxy => $list });

        is($got, $expected ? 'none' : 'http://s.test:2',
           "no_proxy=$list, $server");
    }

    is($through->($wss, { %both, NO_PROXY => 'example.com' }), 'none',
       'NO_PROXY');
    is($through->($wss, { no_proxy => '*' }, "proxy = http://c.test:5\n"),
       'none', 'no_proxy counts for a configured one');
}


sub options {
    my $dir = File::Temp::tempdir(CLEANUP => 1);
    write_file("$dir/token", "secret\n", 0600);
    write_file("$dir/open", "http://u:hidden\@p.test:1\n", 0644);
    write_file("$dir/empty", "\n", 0600);
    write_file("$dir/plain", "http://p.test:1\n", 0644);

    my @start = ($agent_bin, 'connect', '--server', 'wss://127.0.0.1:1/',
                 '--token-file', "$dir/token", '--service', 'a:1');

    my @wrong = (
        [ 'another scheme', qr/"proxy" must begin with/, '--proxy',
          'https://u:hidden@p.test:1' ],
        [ 'no host', qr/"proxy" has no host/, '--proxy', 'http://' ],
        [ 'a bad port', qr/"proxy" has an invalid port/, '--proxy',
          'http://u:hidden@p.test:port' ],
        [ 'a bad escape', qr/"proxy" has a password/, '--proxy',
          'http://u:hidden%zz@p.test:1' ],
        [ 'a zero byte', qr/"proxy" has a password/, '--proxy',
          'http://u:hidden%00@p.test:1' ],
        [ 'too long a user', qr/"proxy" has a user/, '--proxy',
          'socks5://' . 'u' x 256 . '@p.test:1' ],
        [ 'both', qr/proxy_file/, '--proxy', 'http://p.test:1',
          '--proxy-file', "$dir/plain" ],
        [ 'no such file', qr/none.*No such file/, '--proxy-file',
          "$dir/none" ],
        [ 'an empty file', qr/one line/, '--proxy-file', "$dir/empty" ],
        [ 'a file for all to read', qr/chmod 600/, '--proxy-file',
          "$dir/open" ],
    );

    for my $case (@wrong) {
        my ($name, $re, @args) = @$case;
        my ($rc, $out) = run({ timeout => 10 }, @start, @args);
        is($rc, 2, "$name: exit 2");
        like($out, $re, "$name: told");
        unlike($out, qr/hidden/, "$name: no password");
    }

    # a second --server would be a stand-by

    $start[3] = 'ws+unix:/tmp/x';
    my ($rc, $out) = run({ timeout => 10 }, @start, '--proxy',
                         'http://p.test:1');
    is($rc, 2, 'a proxy for a socket: exit 2');
    like($out, qr/ws\+unix/, 'a proxy for a socket: told');

    # a password on the command line

    my $t = ZLTunnel->new;
    push @{ $t->{secrets} }, 'not-for-logs';
    my $agent = $t->agent(token => 'x', services => ['a:1'], wait => 0,
        args => [ '--proxy', "http://me:not-for-logs\@127.0.0.1:1" ]);
    ok($agent->logged(qr/WARN .*password is on the command line.*--proxy-file/),
       'a password on the command line: a warning');
    is($agent->stop, 0, 'ends');
    $t->finish;
}
