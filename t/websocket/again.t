#!/usr/bin/perl

# Protects: within a WebSocket a data channel is what it is without one.  It
# carries one connection after another, whose ends are messages; it is lent to
# http, with no relay between; and many requests share one by lanes, also such
# that leave theirs for a channel of their own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Many;
use ZLTunnel::Wire;

my $file = 4_000_000;            # bytes
my $connections = 100;
my $requests = 300;

pattern($file);

for my $scheme (qw(ws wss)) {
    for my $workers (1, 2) {
        subtest "$scheme, $workers worker(s)" => sub {
            again($scheme, $workers);
        };
    }
}

done_testing();


sub opened {
    my ($t) = @_;
    return scalar(() = slurp("$t->{dir}/logs/access.log") =~ / 101 /g);
}


sub again {
    my ($scheme, $workers) = @_;

    my $t = ZLTunnel->new(workers => $workers, range => 4);
    my $front = $t->free_port;

    my $files = backend($t, <<'EOT');
server {
    listen 127.0.0.1:%PORT%;
    root %DIR%;
    location / { max_ranges 1; }
}
EOT

    write_file("$files->{dir}/file", pattern($file), 0644);

    $t->write_conf(http => <<"EOT");
upstream lanes { zltunnel_service files; keepalive 4; }
upstream lent { zltunnel_service files lanes=off; }
server {
    listen 127.0.0.1:$front;
    access_log off;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    location /lanes/ { proxy_pass http://lanes/; }
    location /lent/ { proxy_pass http://lent/; }
}
EOT

    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, tls => $scheme eq 'wss',
        args => [ '--transport', 'websocket' ],
        services => [ "files:$files->{port}/private", "e:$echo->{port}" ]);

    ok(wait_for(sub {
        ($t->status->{tunnels}[0]{idle_channels} // 0) >= $workers
    }), 'channels are idle');

    # one after another, however the one before has ended

    my $good = 0;

    for my $n (1 .. $connections) {
        my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
        my $bytes = "$n " x (1 + $n * 11);

        $c->send($bytes);
        my $ok = ($c->take(length $bytes) // '') eq $bytes;

        if ($n % 5 == 0) {
            $c->reset;

        } else {
            $c->shut;
            $ok &&= $c->ending eq 'eof' && $c->{in} eq '';
        }

        $good += $ok;
    }

    is($good, $connections, "$connections connections, each with its bytes");

    my $status = $t->status;
    cmp_ok($status->{reused}, '>', $connections / ($workers == 1 ? 2 : 4),
           "channels are used again: $status->{reused}");
    cmp_ok(opened($t), '<', $connections / 2,
           'few were opened for them: ' . opened($t))
        if $workers == 1 || $scheme eq 'ws';

    my $before;

    for my $where (qw(lent lanes)) {
        $before = $t->status->{acquired};

        my @r = map {
            my ($at, $len) = ($_ * 7, $_ % 50 ? 40 : 1_500_000);

            +{ line => "GET /$where/file", expect => part($at, $len),
               headers => { Range => "bytes=$at-" . ($at + $len - 1) } };
        } 1 .. $requests;

        many($front, 20, \@r);

        my @wrong = grep { !$_->{whole}
                           || ($_->{answer} // '') ne $_->{expect} } @r;
        is(scalar @wrong, 0, "$where: $requests requests, 20 at a time");
    }

    # how many do depends on how many are kept alive when one comes

    $status = $t->status;
    my %by = map { $_ => $status->{acquired}{$_} - $before->{$_} }
             keys %$before;
    my $lanes = delete $by{lane};
    my $others = 0;
    $others += $_ for values %by;

    cmp_ok($lanes, '>', $others, "requests have lanes: $lanes, and $others not");
    is($status->{spliced}, 0, 'nothing is spliced');

    is($agent->stop, 0, 'the agent ends with 0');
    $t->finish;
}
