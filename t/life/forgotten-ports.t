#!/usr/bin/perl

# Protects: connections of ports, zltunnel_pass, stream upstreams and access
# that a NAT forgets, at whatever moment: idle, with nothing under way but an
# end, with bytes, amid a download, or just about to begin.  Both sides find out
# in the time that docs/operations.md tells, and leave nothing behind.
#
# That time passes quickly for nginx and agents (t/lib/preload/lapse.c).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wan;
use ZLTunnel::Wire;

my $lapse = 20;

# keepalive is the longest: after 30 s, 60 s and five times 10

my $limit = (200 / $lapse + 5) * slowdown();

my $t = ZLTunnel->new(
    workers => 2, main => 'env LAPSE;',
    zltunnel => 'heartbeat_interval 2m; heartbeat_timeout 5m;
                 connect_timeout 100s; reconnect_grace 10m;');
my $wan = ZLTunnel::Wan->new($t) or plan(skip_all => $ZLTunnel::Wan::why);

my $near = $ZLTunnel::Wan::NEAR;
my $certs = $t->certs;
my @schemes = qw(ws wss);
my %p = map { $_ => $t->free_port }
            @schemes, qw(greet source drip),
            map { ("pass $_", "stream $_") } @schemes;

$t->write_conf(http => <<"EOT", stream => join '', map { <<"EOT2" } @schemes);
server {
    listen $near:$p{ws};
    listen $near:$p{wss} ssl;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    location = /tunnel/v1 { zltunnel; }
}
EOT
upstream $_ { zltunnel_service greet token=$_; }
server { listen 127.0.0.1:$p{"pass $_"}; zltunnel_pass greet token=$_; }
server { listen 127.0.0.1:$p{"stream $_"}; proxy_pass $_; proxy_timeout 1d; }
EOT2

my %token = map { $_ => $t->token($_) } @schemes;
my $visitor = $t->token('visitor', 'access=hidden-ws,hidden-wss');

my $lib = ZLTunnel->nettool =~ s{[^/]*$}{lapse.so}r;
run_ok({ timeout => 60 }, $ENV{CC} || 'cc', '-shared', '-fPIC', '-O2',
       '-o', $lib, "$ZLTunnel::ROOT/t/lib/preload/lapse.c");

my %quick = (LD_PRELOAD => $lib, LAPSE => $lapse,
             ASAN_OPTIONS => join ':', 'verify_asan_link_order=0',
                                       $ENV{ASAN_OPTIONS} // ());
my (%agent, $access);

$wan->path(5);
$wan->start($_, $t->nettool, 'serve', $_, $p{$_},
            $_ eq 'source' ? 100_000_000 : ()) for qw(greet source);
$wan->start('drip', $^X, '-e', <<'EOT', $p{drip});
    use IO::Socket::INET;
    my $l = IO::Socket::INET->new(Listen => 9, LocalAddr => '127.0.0.1',
                                  LocalPort => $ARGV[0], ReuseAddr => 1)
        or die;
    $SIG{CHLD} = $SIG{PIPE} = 'IGNORE';
    while (my $c = $l->accept) {
        next if fork;
        select undef, undef, undef, 0.3 while syswrite $c, 'x';
        exit;
    }
EOT

my $program = "$t->{dir}/agent";
write_file($program, join(' ', "#!/bin/sh\nexec", $wan->far($ZLTunnel::AGENT),
                          '"$@"') . "\n", 0755);

{
    local @ENV{keys %quick} = values %quick;

    $t->start;

    for my $scheme (@schemes) {
        $agent{$scheme} = $t->agent(
            program => $program, token => $token{$scheme},
            tls => $scheme eq 'wss', wait => 0,
            server => "$scheme://$near:$p{$scheme}/tunnel/v1",
            services => [ "greet:$p{greet}", "source:$p{source}",
                          "drip:$p{drip}", "hidden-$scheme:$p{greet}/private" ]);
    }

    $access = $t->agent(token => $visitor, wait => 0,
                        access => [ map { "hidden-$_" } @schemes ]);
}

my %way;

for my $scheme (@schemes) {
    $agent{$scheme}->registered(4) or BAIL_OUT($t->tails);
    $way{"port of $scheme"} = $agent{$scheme}->port('greet');
    $way{"pass of $scheme"} = $p{"pass $scheme"};
    $way{"stream of $scheme"} = $p{"stream $scheme"};
    $way{"access of $scheme"} = $access->granted("hidden-$scheme");
}

my (%c, %what);

# what each is to be when the path is forgotten

for my $way (sort keys %way) {
    for my $kind ('idle', 'end', 'bytes', 'bytes and end') {
        my $c = $c{"$way, $kind"} = ZLTunnel::Wire::Socket->new($way{$way});
        ok($c->take(11, 20), "$way, $kind: greeted");
    }
}

for my $scheme (@schemes) {
    for (qw(source drip)) {
        my $c = $c{"port of $scheme, $_"} =
            ZLTunnel::Wire::Socket->new($agent{$scheme}->port($_));
        ok($c->take(1, 20), "$scheme, $_: a download");
    }
}

$wan->forget;

$c{"$_, late"} = ZLTunnel::Wire::Socket->new($way{$_}) for keys %way;

for my $name (keys %c) {
    $c{$name}->send('bytes') if $name =~ /bytes|late/;
    $c{$name}->shut if $name =~ /end$/;
}

my $start = time;
my $end = $start + $limit;
my @open = keys %c;

while (@open && time < $end) {
    for my $name (@open) {
        my $c = $c{$name};
        $c->fill(0.01);
        $c->{in} = '';
        $c->{time} = time - $start if $c->{end};
    }

    @open = grep { !$c{$_}{end} } @open;
}

for my $name (sort keys %c) {
    note sprintf '%s: %s after %.1f s', $name, $c{$name}{end} // 'open',
                 $c{$name}{time} // $limit;

    # nginx's own proxy in stream makes an end of a reset; and one who came late
    # may have been served, on a new channel

    my $how = $name =~ /^stream/ ? qr/^(?:eof|reset)$/
              : $name =~ /late/ ? qr/^(?:open|reset)$/ : qr/^reset$/;

    like($c{$name}{end} // 'open', $how, $name);
    $c{$name}->reset;
}

for my $scheme (@schemes) {
    my $n;
    ok(wait_for(sub {
        $n = ($agent{$scheme}->link // return 0)->{connections}{open};
        return defined $n && $n == 0;
    }, $limit), "the agent of $scheme has none left") or diag("$n open");
}

$t->finish;
