#!/usr/bin/perl

# Protects: what the agent takes for a safe way to its server, and what it says
# of one that is not.  It warns at each start of a way that others can read,
# offers no TLS below 1.2, whatever OpenSSL's own configuration allows, and asks
# for the server by its name.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use ZLTunnel;

my $t = ZLTunnel->new;
my $token = $t->token('alice');

subtest 'warnings' => \&warnings_told;
subtest 'versions of TLS' => \&versions;

$t->finish;


# Nothing answers at the addresses: what is said is said before that.

sub warnings_told {
    my %says = (
        'ws://192.0.2.1' => qr/WARN.*not encrypted/,
        'ws://127.0.0.1:1' => undef,
        'ws://[::1]:1' => undef,
        'wss://192.0.2.1' => undef,
    );

    for my $url (sort keys %says) {
        my $agent = $t->agent(token => $token, services => ['e:1'], wait => 0,
                              server => $url);

        for my $start (1, 2) {
            ok($agent->logged(qr/INFO zltunnel-agent \S+ for \Q$url\E/),
               "$url, start $start");

            # warnings come right behind that line, before any attempt
            ok($agent->logged($says{$url} // qr/cannot be reached/),
               "$url: " . ($says{$url} ? 'a warning' : 'an attempt'));
            unlike($agent->log, qr/not encrypted/, "$url: no warning")
                if !$says{$url};

            is($agent->stop, 0, 'the agent ends');
            write_file($agent->{err}, '');
            $agent->launch if $start == 1;
        }
    }
}


# The first message of the agent, to a server that says nothing.

sub versions {
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5)
        or die "listen: $!";

    # what an administrator may have allowed for other programs
    write_file("$t->{dir}/openssl.cnf", <<'EOT', 0644);
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = low
[low]
MinProtocol = TLSv1
CipherString = DEFAULT:@SECLEVEL=0
EOT

    my $agent = $t->agent(token => $token, services => ['e:1'], wait => 0,
                          env => { OPENSSL_CONF => "$t->{dir}/openssl.cnf" },
                          server => 'wss://localhost:' . $listener->sockport);

    my $c = $listener->accept;
    my ($hello, $len) = ('', 5);

    while (length $hello < $len) {
        sysread($c, $hello, 65536, length $hello) or last;
        $len = 5 + unpack 'x3 n', $hello if length $hello >= 5;
    }

    # a record of handshake, ClientHello: version, random, session, ciphers,
    # compression, extensions

    my ($type, $kind, $session, $ciphers, $compression, $extensions)
        = unpack 'C x4 C x3 x2 x32 C/a n/a C/a n/a', $hello;
    my %ext;

    while (length $extensions) {
        (my $n, my $data, $extensions) = unpack 'n n/a a*', $extensions;
        $ext{$n} = $data;
    }

    is("$type $kind", '22 1', 'a ClientHello');
    is_deeply([ map { sprintf '%04x', $_ } unpack 'x n*', $ext{43} // '' ],
              [ '0304', '0303' ], 'TLS 1.3 and 1.2 are offered, no other');
    is(unpack('x2 x n/a', $ext{0} // ''), 'localhost',
       'for the name that the configuration has');

    $agent->stop;
}
