#!/usr/bin/perl

# Protects: one upstream serves locations of several protocols, grpc_pass and
# proxy_pass and fastcgi_pass, with TLS to the service and without, beside each
# other, by turns, and a connection that is kept serves the protocol that was
# spoken on it and no other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Select;
use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::App;

for my $lanes (qw(on off)) {
    for my $scheme (qw(ws wss)) {
        subtest "$scheme, lanes=$lanes" => \&by_turns, $scheme, $lanes;
    }
}

subtest 'TLS to the service, of two kinds' => \&tls;

done_testing();


sub by_turns {
    my ($scheme, $lanes) = @_;

    my $t = ZLTunnel->new;
    my $front = $t->free_port;
    my $service = $t->free_port;
    my $log = "$t->{dir}/logs/polyglot";

    my $proc = ZLTunnel::Proc->start(name => 'polyglot', out => $log,
                                     code => sub { polyglot($service) });
    push @{ $t->{services} }, { kind => 'polyglot', port => $service,
                                proc => $proc, log => $log };
    wait_for(sub { slurp($log) =~ /^ready/ }, 10) or die 'no service';

    $t->write_conf(http => <<"EOT");
upstream e { zltunnel_service e max_fails=0 lanes=$lanes; keepalive 8; }
server {
    listen 127.0.0.1:$front;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_read_timeout 3s;
    grpc_read_timeout 3s;
    fastcgi_read_timeout 3s;
    location /http { proxy_pass http://e; }
    location /grpc { grpc_pass grpc://e; }
    location /fastcgi {
        fastcgi_pass e;
        fastcgi_keep_conn on;
        fastcgi_param REQUEST_METHOD GET;
    }
}
EOT

    my $token = $t->token('alice');
    $t->start;
    $t->agent(token => $token, tls => $scheme eq 'wss',
              services => ["e:$service/private"]);

    my %got;

    for my $n (1 .. 4) {
        for my $what (qw(http grpc fastcgi)) {
            my $r = get($front, "/$what");
            $got{$what}{"$r->{status} $r->{body}"}++;
        }
    }

    for my $what (qw(http grpc fastcgi)) {
        is_deeply($got{$what}, { "200 $what" => 4 }, "$what, each time")
            or diag(explain($got{$what}));
    }

    # each has its own, kept

    my $accepted = () = slurp($log) =~ /^accept/mg;
    is($accepted, 3, 'on one connection each');

    $t->finish;
}


# A service that answers in the protocol in which it is spoken to first, and
# says nothing at all when another one comes.

sub polyglot {
    my ($port) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
                                       LocalPort => $port, ReuseAddr => 1)
        or die "listen: $!";
    my $all = IO::Select->new($listen);
    my %c;

    syswrite STDOUT, "ready\n";

    while (my @ready = $all->can_read) {
        for my $s (@ready) {
            if ($s == $listen) {
                my $new = $listen->accept or next;
                $all->add($new);
                $c{$new} = { in => '' };
                next;
            }

            if (!sysread $s, $c{$s}{in}, 65536, length $c{$s}{in}) {
                $all->remove($s);
                delete $c{$s};
                close $s;
                next;
            }

            # said with the first bytes: a connection that was only tried has
            # none

            if (!$c{$s}{seen}++) {
                syswrite STDOUT, "accept\n";
            }

            my $out = spoken($c{$s});
            syswrite $s, $out if length $out;
        }
    }
}

sub spoken {
    my ($c) = @_;

    $c->{speaks} //= $c->{in} =~ /^PRI \* HTTP/ ? \&grpc
                     : $c->{in} =~ /^\x01/ ? \&fastcgi : \&http;

    return $c->{speaks}($c);
}

sub http {
    my ($c) = @_;

    my $out = '';

    while ($c->{in} =~ s/^GET .*?\r\n\r\n//s) {
        $out .= "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhttp";
    }

    return $out;
}

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    return substr(pack('N', length $payload), 1)
           . pack('C C N', $type, $flags, $stream) . $payload;
}

sub grpc {
    my ($c) = @_;

    my $out = '';

    if ($c->{in} =~ s/^PRI \* HTTP\/2\.0\r\n\r\nSM\r\n\r\n//) {
        $out = frame(4, 0, 0, '');
    }

    while (length $c->{in} >= 9) {
        my $len = unpack 'N', "\0" . substr $c->{in}, 0, 3;
        last if length $c->{in} < 9 + $len;

        my ($type, $flags, $stream) = unpack 'x3 C C N', $c->{in};
        substr $c->{in}, 0, 9 + $len, '';

        $out .= frame(4, 1, 0, '') if $type == 4 && !($flags & 1);

        # ":status: 200", and a body

        $out .= frame(1, 4, $stream, "\x88") . frame(0, 1, $stream, 'grpc')
            if $type <= 1 && $flags & 1;
    }

    return $out;
}

sub fastcgi {
    my ($c) = @_;

    my $out = '';

    while (length $c->{in} >= 8) {
        my ($type, $id, $len, $pad) = unpack 'x C n n C', $c->{in};
        last if length $c->{in} < 8 + $len + $pad;
        substr $c->{in}, 0, 8 + $len + $pad, '';

        next if $type != 5 || $len;

        my $text = "Content-Type: text/plain\r\n\r\nfastcgi";
        $out .= pack('C C n n C C', 1, 6, $id, length $text, 0, 0) . $text
                . pack('C C n n C C x8', 1, 3, $id, 8, 0, 0);
    }

    return $out;
}


# A location with a client's certificate and one without, to one service: each
# is what it says, though connections are kept.

sub tls {
    my $t = ZLTunnel->new;
    my $front = $t->free_port;
    my $certs = $t->certs;

    my $backend = backend($t, <<"EOT");
server {
    listen 127.0.0.1:%PORT% ssl;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    ssl_client_certificate $certs/ca.pem;
    ssl_verify_client optional;
    location / { return 200 "\$ssl_client_verify \$connection"; }
}
EOT

    $t->write_conf(http => <<"EOT");
upstream e { zltunnel_service e max_fails=0; keepalive 8; }
server {
    listen 127.0.0.1:$front;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_read_timeout 3s;
    location /with {
        proxy_pass https://e;
        proxy_ssl_certificate $certs/other.pem;
        proxy_ssl_certificate_key $certs/other.key;
    }
    location /without { proxy_pass https://e; }
}
EOT

    my $token = $t->token('alice');
    $t->start;
    $t->agent(token => $token, services => ["e:$backend->{port}/private"]);

    my (%got, %connection);

    for my $n (1 .. 4) {
        for my $what (qw(with without)) {
            my $r = get($front, "/$what");
            my ($verify, $c) = split ' ', $r->{body};
            $got{$what}{$verify}++;
            $connection{$what}{$c}++;
        }
    }

    is_deeply($got{with}, { SUCCESS => 4 }, 'with a certificate');
    is_deeply($got{without}, { NONE => 4 }, 'without one');
    is(scalar keys %{ $connection{$_} }, 1, "$_: one connection, kept")
        for qw(with without);

    $t->finish;
}
