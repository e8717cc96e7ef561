#!/usr/bin/perl

# Protects: under TLS many records go by one system call, and what of them
# cannot be sent waits in nginx: it goes on when there is room, in its order and
# before anything that comes behind it - a message, an end, an answer that
# OpenSSL gives by itself - and a connection that is cut with it harms no other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::SHA ();
use IPC::Open3;
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Wire;

my $size = sizes('bytes of an upload', 100_000_000, 12_000_000);

subtest 'uploads, TLS 1.3' => sub { uploads('TLSv1.3', 1) };
subtest 'uploads, TLS 1.2, two workers' => sub { uploads('TLSv1.2', 2) };

subtest 'key updates' => \&key_updates;

done_testing();


sub uploads {
    my ($protocol, $workers) = @_;

    my $t = ZLTunnel->new(workers => $workers);
    my ($port, $certs) = ($t->free_port, $t->certs);

    # less fits into the socket than goes at once

    $t->write_conf(http => <<EOT);
    server {
        listen 127.0.0.1:$port ssl sndbuf=32k;
        ssl_certificate $certs/server.pem;
        ssl_certificate_key $certs/server.key;
        ssl_protocols $protocol;
        location = /tunnel/v1 { zltunnel; }
    }
EOT

    my $token = $t->token('alice');
    $t->start;

    my %s = map { $_ => $t->service($_) } qw(echo sum hold reset);

    local $t->{tls_port} = $port;
    my $relay = $t->relay(1);

    my $agent = $t->agent(token => $token, server => $relay->{url},
        args => ['--ca-file', $t->certs . '/ca.pem'],
        services => [ map { "$_:$s{$_}{port}" } sort keys %s ]);
    my %port = map { $_ => $agent->port($_) } keys %s;


    # An end right behind the bytes; channels of the short ones are used again

    for my $n (16384, 16385, 65530 .. 65537, 131_072, 300_000, 2_500_000) {
        my $r = $t->transfer($port{sum}, $n);
        is("$r->{tail} $r->{end}", "$r->{sent_sha} $n eof", "$n bytes");
    }


    # The service resets while bytes wait for it: nothing of them is left for
    # the next connection, which may be carried by the same channel

    my $good = 0;

    for my $n (1 .. 20) {
        my $c = ZLTunnel::Wire::Socket->new($port{reset});
        $c->send('x' x 400_000);
        isnt($c->ending, 'open', 'reset by the service') if $n == 1;
        $c->close;

        $c = ZLTunnel::Wire::Socket->new($port{echo});
        $c->send("this is $n");
        $good++ if ($c->take(length "this is $n") // '') eq "this is $n";
        $c->close;
    }

    is($good, 20, 'and the next one has its own bytes');


    # The path is slower than everything, and stops: all go on behind it

    my @up = map { $t->spawn("up-$_", $t->nettool, 'transfer', $port{sum},
                             $size + $_) } 1 .. 4;

    for my $i (1 .. 4) {
        sleep 0.1;
        $t->tell($relay, 'stall 1-');
        sleep 0.2;
        $t->tell($relay, 'resume 1-');
    }

    for my $i (1 .. 4) {
        my $rc = $up[$i - 1]->wait(120);
        my $r = ZLTunnel::Local::parse_transfer($up[$i - 1]->output);
        is("$r->{tail} $r->{end}", "$r->{sent_sha} " . ($size + $i) . ' eof',
           "upload $i of 4, over a path that stops");
    }


    # Cut while much waits: the service never sees it as an end

    my $eofs = $t->events($s{sum}, 'eof');
    my $resets = $t->events($s{sum}, 'reset');
    my @c = map { ZLTunnel::Wire::Socket->new($port{sum}) } 1 .. 4;

    $_->send('x' x 3_000_000) for @c;
    $t->tell($relay, 'stall 1-');
    fill(@c);

    $c[$_]->reset for 0, 1;
    sleep 0.2;
    $t->tell($relay, 'resume 1-');

    ok(wait_for(sub { $t->events($s{sum}, 'reset') == $resets + 2 }),
       'clients reset: so are the connections of the service');

    $c[$_]->shut for 2, 3;
    is($c[$_]->ending(60), 'eof', 'the others end well') for 2, 3;
    is($t->events($s{sum}, 'eof'), $eofs + 2, 'and only they');

    my $c = ZLTunnel::Wire::Socket->new($port{echo});
    $c->send('still');
    is($c->take(5), 'still', 'the tunnel serves others');
    $c->close;


    # The service reads nothing: memory is bounded

    my @hold = map { ZLTunnel::Wire::Socket->new($port{hold}) } 1 .. 8;
    my %before = map { $_ => memory($_) } $t->workers;

    fill(@hold);

    for my $pid (sort keys %before) {
        next if $ENV{ZLT_SLOW};        # a sanitizer's allocator never gives
        my $grown = memory($pid) - $before{$pid};
        cmp_ok($grown, '<', 8 * 160, "memory of $pid grew by $grown kB");
    }

    $agent->{proc}->kill('KILL');
    is($_->ending(20), 'reset', 'agent killed: the client is reset') for @hold;
    $s{hold}{proc}->stop;

    $t->finish;
}


# Sends on all of them until nothing more is taken.

sub fill {
    my (@c) = @_;

    my $bytes = 'x' x 65536;
    my $end = time + 0.5;

    $_->{s}->blocking(0) for @c;

    while (time < $end) {
        if (grep { syswrite $_->{s}, $bytes } @c) {
            $end = time + 0.5;
        } else {
            sleep 0.01;
        }
    }

    $_->{s}->blocking(1) for @c;
}


sub memory {
    my ($pid) = @_;
    my ($kb) = slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
    return $kb // 0;
}


# A client under TLS asks for new keys while bytes wait for it.  The answer goes
# behind them, and what follows is under the new keys.

sub key_updates {
    my $t = ZLTunnel->new;
    my ($port, $certs) = ($t->free_port, $t->certs);

    $t->write_conf(stream => <<EOT);
    server {
        listen 127.0.0.1:$port ssl sndbuf=32k;
        ssl_certificate $certs/server.pem;
        ssl_certificate_key $certs/server.key;
        ssl_protocols TLSv1.3;
        zltunnel_pass source;
    }
EOT

    my $token = $t->token('alice');
    $t->start;

    my $source = $t->service('source', $size);
    my $agent = $t->agent(token => $token,
                          services => ["source:$source->{port}"]);
    $agent->port('source');

    my $direct = $t->transfer($source->{port}, '-');

    open my $err, '>', "$t->{dir}/logs/s_client";
    my $pid = open3(my $in, my $out, '>&' . fileno $err, 'openssl',
                    's_client', '-brief', '-connect', "127.0.0.1:$port");

    my $sha = Digest::SHA->new(256);
    my ($bytes, $asked) = (0, 0);

    while (sysread $out, my $buf, 65536) {
        $sha->add($buf);
        $bytes += length $buf;

        # it reads slowly at times, and asks just before it goes on

        if ($bytes > 1_000_000 * $asked && $asked < 8) {
            sleep 0.15;
            syswrite $in, "K\n";
            $asked++;
        }
    }

    waitpid $pid, 0;

    my @keys = slurp("$t->{dir}/logs/s_client") =~ /KEYUPDATE/g;
    is(@keys, 8, 'new keys were asked for');
    is($bytes, $size, 'all bytes came');
    is($sha->hexdigest, $direct->{received_sha}, 'as they are');

    $t->finish;
}
