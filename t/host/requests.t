#!/usr/bin/perl

# Protects: which agent a request's host leads to, whatever it is written like.
# One form for case, the dot at the end and the port; nothing that is no host's
# name, and never a service by its own name; where a request names two hosts,
# the one that counts or neither; exact names before wildcards, of these the
# longest, and a name of one tenant below another one's wildcard.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;

my $LONG = join('.', ('y' x 60) x 4) . '.t.example';        # 253 bytes

my ($t, %p, %app, $alice, $bob);

set_up();
forms();
two_hosts();
wildcards();
authority();
indication();

$t->finish;


sub set_up {
    $t = ZLTunnel->new(workers => 2, zltunnel => 'domain t.example;'
                       . ' public_url http://*; reconnect_grace 1s;');
    %p = map { $_ => $t->free_port } qw(host raw http2 tls);

    my $certs = $t->certs;
    my $http2 = since(1, 25, 1) ? "http2 on; listen 127.0.0.1:$p{http2};"
                                : "listen 127.0.0.1:$p{http2} http2;";

    # raw: the header as it came, with a port perhaps

    $t->write_conf(http => <<"EOT");
upstream hosts { zltunnel_host \$host; keepalive 4; }
upstream raw { zltunnel_host \$http_host; keepalive 4; }
proxy_http_version 1.1;
proxy_set_header Connection '';
proxy_set_header Host \$host;
server {
    listen 127.0.0.1:$p{host};
    $http2
    location / { proxy_pass http://hosts; }
}
server {
    listen 127.0.0.1:$p{raw};
    location / { proxy_pass http://raw; }
}
server {
    listen 127.0.0.1:$p{tls} ssl;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    if (\$ssl_server_name != \$host) { return 421; }
    location / { proxy_pass http://hosts; }
}
EOT

    $alice = $t->token('alice', 'hosts=*.t.example sessions=2');
    my $token = $t->token('bob', 'hosts=bob.wild.t.example,shop.example');
    $t->start;

    $app{$_} = app($t, $_) for qw(web wild deep exact bob hidden);

    $t->agent(token => $alice, services => [ "web:$app{web}{port}" ], args => [
        '--host', 'web', '--host', $LONG,
        '--service', "wild:$app{wild}{port}", '--host', '*.wild.t.example',
        '--service', "deep:$app{deep}{port}", '--host', '*.deep.wild.t.example',
        '--service', "exact:$app{exact}{port}", '--host',
        'exact.wild.t.example',
        '--service', "hidden.t.example:$app{hidden}{port}", '--host', 'seen',
        '--service', "hidden:$app{hidden}{port}" ]);
    $bob = $t->agent(token => $token, services => [ "web:$app{bob}{port}" ],
                     args => [ '--host', 'bob.wild.t.example',
                               '--host', 'shop.example' ]);

    ok(wait_for(sub { get($p{host}, '/', host => 'seen.t.example')->{status}
                      == 200 }), 'the agents are there');
    sleep 1;                          # after it nobody is expected any more
}


# The answer to a request whose header has that host: an agent's, or the status.

sub who {
    my ($port, $head) = @_;

    my $s = connect_to($port);
    syswrite $s, $head;
    my $text = '';
    1 while !ZLTunnel::App::complete($text) && defined read_some($s, \$text, 20);

    my ($status, $body) = $text =~ m{^HTTP/1\.1 (\d+).*?\r\n\r\n(.*)}s or return '';
    return $status == 200 ? ($body =~ /^(\w+) \d+ \d+$/ ? $1 : $body) : $status;
}

sub host {
    my ($kind, $host, $is, $what) = @_;

    # which of them nginx itself refuses depends on its version

    my $who = who($p{$kind}, "GET / HTTP/1.1\r\nHost: $host\r\n"
                             . "Connection: close\r\n\r\n");
    $who = 404 if $who eq 400 && $is eq 404;

    is($who, $is, ($what // 'Host: ' . substr $host =~ s/[^ -~]/?/gr, 0, 40)
            . " ($kind)");
}


# A 400 is nginx's own.

sub forms {
    for my $kind ('host', 'raw') {
        host($kind, @$_) for
            [ 'web.t.example', 'web' ], [ 'WEB.T.eXample', 'web' ],
            [ 'web.t.example.', 'web' ], [ 'web.t.example:80', 'web' ],
            [ 'Web.t.example.:65535', 'web' ], [ 'shop.example', 'bob' ],
            [ $LONG, 'web', '253 bytes' ], [ "$LONG.", 'web', '.. and a dot' ],
            [ "z$LONG", 404, '254 bytes' ], [ "z.$LONG", 404, '255 bytes' ],
            [ 'x' x 64 . '.wild.t.example', 404, 'a label of 64 bytes' ],
            [ 'x' x 63 . '.wild.t.example', 'wild', 'of 63' ],
            [ 'a.' x 119 . 'wild.t.example', 'wild', '122 labels' ],
            [ "web.t.example\0", 400 ], [ "web\0.t.example", 400 ],
            [ "w\xe9b.wild.t.example", 404 ], [ 'a_b.wild.t.example', 404 ],
            [ '*.wild.t.example', 404 ], [ '*', 404 ], [ '.', 400 ],
            [ '.t.example', 404 ], [ '-a.wild.t.example', 404 ],
            [ 'a..wild.t.example', 400 ], [ '..', 400 ],
            [ '127.0.0.1', 404 ], [ '[::1]', 404 ], [ '[::1]:80', 404 ],
            [ '1.wild.t.example', 'wild' ], [ '', 400, 'an empty Host' ],
            [ 'hidden', 404 ], [ 'hidden.t.example', 404 ], [ 'web', 404 ],
            [ 'alice/web', 400 ], [ 'web.t.example,shop.example', 404 ],
            [ 'x@web.t.example', 404 ], [ 'web.t.example', 'web' ];
    }

    host('raw', 'web.t.example:http', 404);
    host('raw', 'web.t.example:80:80', 404);

    is(who($p{$_}, "GET / HTTP/1.0\r\n\r\n"), 404, "no Host in HTTP/1.0 ($_)")
        for 'host', 'raw';
}


sub two_hosts {
    my @hosts = map { "Host: $_\r\n" } 'web.t.example', 'shop.example';

    is(who($p{host}, 'GET / HTTP/1.1' . "\r\n@hosts\r\n" =~ s/\n /\n/gr), 400,
       'two Host');
    is(who($p{host}, "GET http://shop.example/ HTTP/1.1\r\n$hosts[0]"
                     . "Connection: close\r\n\r\n"), 'bob',
       'the request line counts where it has a host');
    is(who($p{host}, "GET http://nobody.t.example/ HTTP/1.1\r\n$hosts[0]"
                     . "Connection: close\r\n\r\n"), 404, '.. and nobody has it');
}


sub wildcards {
    host('host', "$_->[0].t.example", $_->[1]) for
        [ 'wild', 404 ], [ 'xwild', 404 ], [ 'a.wild', 'wild' ],
        [ 'a.b.wild', 'wild' ], [ 'exact.wild', 'exact' ],
        [ 'x.exact.wild', 'wild' ], [ 'deep.wild', 'wild' ],
        [ 'x.deep.wild', 'deep' ], [ 'x.y.deep.wild', 'deep' ],
        [ 'xdeep.wild', 'wild' ], [ 'bob.wild', 'bob' ],
        [ 'x.bob.wild', 'wild' ];

    # a name of alice's own that has gone is below her wildcard again

    my $more = $t->agent(token => $alice, services => [ "x:$app{exact}{port}" ],
                         args => [ '--host', 'own.wild.t.example' ]);
    host('host', 'own.wild.t.example', 'exact');
    $more->stop('TERM');
    ok(wait_for(sub { @{ $t->status->{tunnels} } == 2 }, 20), 'its agent goes');
    host('host', 'own.wild.t.example', 'wild');

    # what was bob's is not alice's when he has gone

    $bob->stop('TERM');
    ok(wait_for(sub { @{ $t->status->{tunnels} } == 1 }, 20), 'bob goes');
    host('host', 'bob.wild.t.example', 503, 'his name is kept for him');
    $bob->launch;
    ok(wait_for(sub { @{ $t->status->{tunnels} } == 2 }, 20), 'he is back');
    ok(wait_for(sub { get($p{host}, '/', host => 'bob.wild.t.example')->{body}
                      =~ /^bob / }), 'and has it again');
}


# By hand: each header as it is, without compression.

sub authority {
    for my $row ([ 'web.t.example', undef, qr/^web $/ ],
                 [ 'web.t.example', 'web.t.example', qr/^(web |400)$/ ],
                 [ 'web.t.example', 'shop.example', qr/^(web |400)$/ ],
                 [ 'shop.example', 'web.t.example', qr/^(bob |400)$/ ],
                 [ 'nobody.t.example', 'web.t.example', qr/^(404|400)$/ ],
                 [ undef, 'web.t.example', qr/^(web |400)$/ ],
                 [ '*.wild.t.example', undef, qr/^404$/ ],
                 [ 'a_b.wild.t.example', undef, qr/^404$/ ],
                 [ 'WEB.t.example:443', undef, qr/^web $/ ],
                 [ "we\0b.t.example", undef, qr/^(400|ended)$/ ])
    {
        my ($authority, $host, $is) = @$row;
        like(http2($authority, $host), $is, ':authority ' . ($authority // 'none')
             =~ s/\0/?/r . ', Host ' . ($host // 'none'));
    }
}


sub http2 {
    my ($authority, $host) = @_;

    my $frame = sub { substr(pack('N', length $_[3]), 1)
                      . pack('C C N', @_[0 .. 2]) . $_[3] };
    my $headers = join '', map { "\0" . pack 'C/a C/a', @$_ }
        [ ':method', 'GET' ], [ ':scheme', 'http' ], [ ':path', '/' ],
        (defined $authority ? [ ':authority', $authority ] : ()),
        (defined $host ? [ 'host', $host ] : ());

    my $s = connect_to($p{http2});
    syswrite $s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . $frame->(4, 0, 0, '')
                 . $frame->(1, 5, 1, $headers);

    my ($in, $status, $body) = ('', '', '');

    while (1) {
        while (length $in >= 9) {
            my ($len, $type, $flags, $id) = unpack 'N C C N', "\0$in";
            last if length $in < 9 + $len;
            my $payload = substr $in, 9, $len;
            substr $in, 0, 9 + $len, '';

            $status = $payload =~ /^[\x20-\x3f]*\x8d/ ? 404
                    : $payload =~ /^[\x20-\x3f]*\x8c/ ? 400 : $status
                if $type == 1;
            $body .= $payload if $type == 0;

            return 'ended' if $type == 3 || $type == 7;
            return $status || $body =~ s/\d.*//sr if $id == 1 && $flags & 1;
        }

        defined read_some($s, \$in, 20) or return 'ended';
    }
}


# A client's certificate check is for the name in its handshake.

sub indication {
    my $ask = sub {
        my ($sni, $host) = @_;
        my (undef, $out) = run('curl', '-sk', '-o', '/dev/null', '-w',
            '%{http_code}', '--resolve', "$sni:$p{tls}:127.0.0.1", '-H',
            "Host: $host", "https://$sni:$p{tls}/");
        return $out;
    };

    is($ask->('web.t.example', 'web.t.example'), 200, 'TLS and Host agree');
    is($ask->('web.t.example', 'WEB.t.example:443'), 200, '.. in other forms');
    is($ask->('web.t.example', 'shop.example'), 421,
       "TLS for one tenant's host, and a request for another's: 421");
}
