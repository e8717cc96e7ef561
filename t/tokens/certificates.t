#!/usr/bin/perl

# Protects: agents with client certificates.  nginx's ssl_verify_client keeps
# out who has none, and the agent says why; a token that is bound to a
# certificate is of no use without it, and nobody is told; wrong files are
# found at the start, and at SIGHUP they change nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Middle;
use ZLTunnel::Wire;

my $dir = File::Temp::tempdir(CLEANUP => 1);
my $ca = ZLTunnel->certs;
my $n = 0;


# Makes $dir/$name.pem and .key, signed by the CA, or by itself.

sub certificate {
    my ($name, $subject, %o) = @_;

    run_ok('openssl', 'req', '-newkey', 'rsa:2048', '-nodes', '-utf8',
           '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr", '-subj',
           $subject);
    run_ok('openssl', 'x509', '-req', '-in', "$dir/$name.csr",
           $o{self} ? ('-signkey', "$dir/$name.key")
                    : ('-CA', "$ca/$o{ca}.pem", '-CAkey', "$ca/$o{ca}.key",
                       '-set_serial', 1000 + $n++),
           '-days', $o{days} // 10, '-out', "$dir/$name.pem");
    chmod 0600, "$dir/$name.key";

    my $out = run_ok('openssl', 'x509', '-in', "$dir/$name.pem", '-noout',
                     '-fingerprint', '-sha256');
    return $out =~ /=(\S+)/ ? $1 : die $out;
}

my %print = (
    alice => certificate('alice', '/O=Some Example/CN=alice', ca => 'ca'),
    bob => certificate('bob', '/CN=bob the #1', ca => 'ca'),
    mallory => certificate('mallory', '/CN=alice', ca => 'unknown'),
    self => certificate('self', '/CN=alice', self => 1),
);

subtest 'verified by nginx' => \&verified;
subtest 'bound tokens' => \&bound;
subtest 'the file changes' => \&changed;
subtest 'files' => \&files;
subtest 'SIGHUP' => \&reread;
subtest 'HAProxy' => \&alert;

done_testing();


sub with {
    my ($name) = @_;
    return ('--cert', "$dir/$name.pem", '--key', "$dir/$name.key");
}


# A server whose ssl_verify_client is that, beside the others: its URL.

sub server {
    my ($t, $verify, $protocols) = @_;

    my $port = $t->free_port;
    $protocols = $protocols ? "ssl_protocols $protocols;" : '';

    $t->{http} = ($t->{http} // '') . <<"EOT";
server {
    listen 127.0.0.1:$port ssl;
    ssl_certificate $ca/server.pem;
    ssl_certificate_key $ca/server.key;
    ssl_client_certificate $ca/ca.pem;
    ssl_verify_client $verify;
    $protocols
    location = /tunnel/v1 { zltunnel; }
}
EOT

    $t->write_conf;
    return "wss://127.0.0.1:$port/tunnel/v1";
}


sub verified {
    my $t = ZLTunnel->new(range => 4);
    my $token = $t->token('alice');
    my $url = server($t, 'on');
    my $old = server($t, 'on', 'TLSv1.2');
    $t->start;

    my $echo = $t->service('echo');

    for my $case ([ 'TLS 1.3', $url ], [ 'TLS 1.2', $old ]) {
        my ($name, $server) = @$case;

        my $agent = $t->agent(token => $token, tls => 1, server => $server,
                              services => ["e:$echo->{port}"],
                              args => [ with('alice') ]);
        my $r = $t->transfer($agent->port('e'), 100_000);
        is($r->{received_sha}, $r->{sent_sha},
           "$name: control and data channels with a certificate");
        $agent->stop;

        $agent = $t->agent(token => $token, tls => 1, server => $server,
                           services => ['a:1'], wait => 0);
        ok($agent->logged(qr/asked for a certificate, and there is none/, 10),
           "$name: without one, the agent says so") or diag($agent->log);
        $agent->stop;

        $agent = $t->agent(token => $token, tls => 1, server => $server,
                           services => ['a:1'], wait => 0,
                           args => [ with('mallory') ]);
        ok($agent->logged(qr/it may not accept the certificate/, 10),
           "$name: with one of another authority") or diag($agent->log);
        $agent->stop;
    }

    $t->finish;
}


sub bound {
    my $t = ZLTunnel->new(range => 8);
    my $hex = lc($print{alice} =~ s/://gr);

    my %token = (
        sha256 => $t->token('sha256', "cert=sha256:$print{alice}"),
        hex => $t->token('hex', "cert=sha256:$hex sessions=2"),
        cn => $t->token('cn', 'cert=cn:bob%20the%20%231'),
        dn => $t->token('dn', 'cert=dn:CN=alice,O=Some%20Example'),
        several => $t->token('several', "cert=cn:nobody|sha256:$hex"),
        self => $t->token('self', "cert=sha256:$print{self}"),
    );

    my $url = server($t, 'optional');
    my $loose = server($t, 'optional_no_ca');
    $t->start;

    my $echo = $t->service('echo');

    my $try = sub {
        my ($token, $server, @args) = @_;
        return $t->agent(token => $token{$token}, tls => 1, server => $server,
                         services => ["e:$echo->{port}"], args => \@args,
                         wait => 0);
    };

    for my $case (['sha256', 'alice', $url], ['hex', 'alice', $url],
                  ['cn', 'bob', $url], ['dn', 'alice', $url],
                  ['several', 'alice', $url], ['self', 'self', $loose])
    {
        my ($token, $cert, $server) = @$case;
        my $agent = $try->($token, $server, with($cert));

        ok($agent->registered(1, 10), "$token: with its certificate")
            or diag($agent->log);

        if ($token eq 'sha256') {
            my $r = $t->transfer($agent->port('e'), 100_000);
            is($r->{received_sha}, $r->{sent_sha}, 'bytes pass');
        }

        $agent->stop;
    }

    # what is not told apart by the agent, and is in nginx's log

    my @wrong = (
        [ 'sha256', 'none', $url, qr/there was none/ ],
        [ 'sha256', 'bob', $url, qr/there was another$/m ],
        [ 'cn', 'alice', $url, qr/there was another$/m ],
        [ 'dn', 'bob', $url, qr/there was another$/m ],
        [ 'several', 'bob', $url, qr/there was another$/m ],
        [ 'dn', 'self', $loose, qr/not verified/ ],
    );

    for my $case (@wrong) {
        my ($token, $cert, $server, $why) = @$case;
        my $before = length $t->log;

        my $agent = $try->($token, $server, $cert eq 'none' ? ()
                                                            : with($cert));
        ok($agent->logged(qr/refuses the token: Invalid token \(/, 10),
           "$token: certificate $cert is refused") or diag($agent->log);
        like(substr($t->log, $before),
             qr/agent "$token" is bound to a certificate: .*$why/,
             "$token: and why, in the log");
        $agent->stop;
    }

    # an unknown token is told the same, and over ws there is no certificate

    my $c = ZLTunnel::Wire->control($t);
    $c->auth('unknown', features => 7);
    my $unknown = $c->expect('AuthFail');
    $c = ZLTunnel::Wire->control($t);
    $c->auth($token{sha256}, features => 7);
    is_deeply($c->expect('AuthFail'), $unknown,
              'over ws: as any token that is wrong');

    $t->finish;
}


# A token that is bound to another certificate from now on.

sub changed {
    my $t = ZLTunnel->new(range => 4);
    my $token = $t->token('alice', 'cert=cn:alice');
    my $url = server($t, 'on');
    $t->start;

    my $agent = $t->agent(token => $token, tls => 1, server => $url,
                          services => ['a:1'], args => [ with('alice') ]);

    $t->{tokens}[0]{rights} = 'cert=cn:somebody-else';
    $t->write_tokens;
    ok($agent->logged(qr/refuses the token: Invalid token/, 10),
       'the tunnel ends');

    for my $bad ('cert=', 'cert=alice', 'cert=cn:', 'cert=sha256:12',
                 'cert=sha256:' . 'x' x 64, 'cert=cn:a%2', 'cert=cn:a|',
                 'cert=sha256:' . '1' x 65, 'cert=cn:a%00b')
    {
        $t->{tokens}[0]{rights} = $bad;
        $t->write_tokens;
        my ($rc, $out) = $t->test_conf;
        is($rc, 1, "$bad: nginx -t fails");
        like($out, qr/invalid value of "cert=": it must be sha256:/,
             "$bad: told");
    }

    $t->finish;
}


sub files {
    write_file("$dir/token", "secret\n", 0600);
    write_file("$dir/empty", '', 0600);
    write_file("$dir/both.pem", slurp("$dir/alice.pem")
               . slurp("$dir/alice.key"), 0600);
    write_file("$dir/open.key", slurp("$dir/alice.key"), 0644);
    run_ok('openssl', 'pkey', '-in', "$dir/alice.key", '-aes128', '-passout',
           'pass:hidden', '-out', "$dir/locked.key");
    chmod 0600, "$dir/locked.key";

    my $check = sub {
        my ($server, @keys) = @_;
        write_file("$dir/agent.conf", "[agent]\nserver = $server\n"
                   . "token_file = token\n" . join('', map { "$_\n" } @keys)
                   . "[service a]\nlocal = 1\n");
        return run($ZLTunnel::AGENT, 'check', '-c', "$dir/agent.conf");
    };

    my $wss = 'wss://localhost/';
    my @right = (
        [ 'a certificate and its key', 'cert = alice.pem', 'key = alice.key' ],
        [ 'both in one file', 'cert = both.pem' ],
    );

    for my $case (@right) {
        my ($name, @keys) = @$case;
        my ($rc, $out) = $check->($wss, @keys);
        is($rc, 0, "$name: right") or diag($out);
    }

    my @wrong = (
        [ 'no such certificate', qr/certificate .*none.pem": No such file/,
          $wss, 'cert = none.pem', 'key = alice.key' ],
        [ 'no such key', qr/key .*none.key" cannot be read: No such file/,
          $wss, 'cert = alice.pem', 'key = none.key' ],
        [ 'no key', qr/no private key .*alice.pem": there is none/, $wss,
          'cert = public.pem' ],
        [ 'nothing in the file', qr/no certificate .*there is none/, $wss,
          'cert = empty', 'key = alice.key' ],
        [ 'a key of another', qr/bob.key" is not that of the certificate/,
          $wss, 'cert = alice.pem', 'key = bob.key' ],
        [ 'a key with a passphrase', qr/passphrase/, $wss,
          'cert = alice.pem', 'key = locked.key' ],
        [ 'a key for all to read', qr/open.key" can be read by others/, $wss,
          'cert = alice.pem', 'key = open.key' ],
        [ 'a key alone', qr/"key" has no effect without "cert"/, $wss,
          'key = alice.key' ],
        [ 'without TLS', qr/"cert".*for wss/, 'ws://localhost/',
          'cert = both.pem' ],
    );

    write_file("$dir/public.pem", slurp("$dir/alice.pem"), 0600);
    $wrong[2][1] = qr/no private key .*public.pem": there is none/;

    for my $case (@wrong) {
        my ($name, $re, $server, @keys) = @$case;
        my ($rc, $out) = $check->($server, @keys);
        is($rc, 2, "$name: exit 2");
        like($out, $re, "$name: told");
    }
}


sub reread {
    my $t = ZLTunnel->new(range => 4);
    my $token = $t->token('alice', 'cert=cn:bob%20the%20%231');
    my $url = server($t, 'optional');
    $t->start;

    my $echo = $t->service('echo');
    my $pair = sub {
        my ($name) = @_;
        write_file("$dir/mine.new", slurp("$dir/$name.pem")
                   . slurp("$dir/$name.key"), 0600);
        rename "$dir/mine.new", "$dir/mine.pem";
    };

    $pair->('alice');
    my $agent = $t->agent(token => $token, tls => 1, wait => 0,
                          conf => <<"EOT");
[agent]
server = $url
token_file = %%token_file%%
ca_file = $ca/ca.pem
cert = $dir/mine.pem
[service e]
local = $echo->{port}
EOT
    ok($agent->logged(qr/Invalid token/, 10), 'not the right certificate');

    write_file("$dir/mine.pem", "nonsense\n", 0600);
    $agent->{proc}->kill('HUP');
    ok($agent->logged(qr/configuration is not changed: no certificate/, 10),
       'SIGHUP with a broken file: told, and nothing changes');

    $pair->('bob');
    $agent->{proc}->kill('HUP');
    ok($agent->registered(1, 10), 'SIGHUP with the right one: connected');

    $t->finish;
}


# Refused by an alert, which in TLS 1.3 comes behind the handshake.

sub alert {
    installed('haproxy') or plan(skip_all => 'no haproxy');

    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $p = haproxy($t, tls => 1, bind => "verify required ca-file $ca/ca.pem");
    my $agent = $t->agent(token => $token, tls => 1, server => $p->{url},
                          services => ['a:1'], args => [ with('alice') ]);
    ok($agent->port('a'), 'a certificate that HAProxy verifies');
    $agent->stop;

    for my $case ([ qr/it asked for a certificate, and there is none/ ],
                  [ qr/it does not accept the certificate/, 'mallory' ])
    {
        my ($re, $cert) = @$case;
        $agent = $t->agent(token => $token, tls => 1, server => $p->{url},
                           services => ['a:1'], wait => 0,
                           args => [ $cert ? with($cert) : () ]);
        ok($agent->logged($re, 10), $cert ? 'another' : 'none')
            or diag($agent->log);
        $agent->stop;
    }

    $t->finish;
}
