#!/usr/bin/perl

# Protects: a tunnel that is ended under load.  Its connections with bulk in both
# directions, in each of 4 workers, its requests on lanes, visitors, and UDP
# sessions end within a second, and no other tunnel's: those lose no byte and no
# request.  for= holds across a reload, while the others go on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::App;
use ZLTunnel::Many;
use ZLTunnel::Proc;
use ZLTunnel::UDP;
use ZLTunnel::Wire;

my $each = 3;                  # connections of a tunnel in a worker
my $window = 200_000;          # bytes of one that are on their way
my $requests = sizes('requests', 10_000, 1_200);

my $t = ZLTunnel->new(
    workers => 4, range => 8, udp => 1,
    location => 'location /ctl/ { zltunnel_api write=on; allow 127.0.0.1;
                                  deny all; }');
my %token = map { $_ => $t->token($_) } qw(alice bob);
my $visits = $t->token('visits', 'access=tcp-alice,tcp-bob');
my $front = $t->free_port;

$t->write_conf(http => <<"EOT");
upstream alice { zltunnel_service web-alice max_fails=0; }
upstream bob { zltunnel_service web-bob max_fails=0; }
server {
    listen 127.0.0.1:$front;
    access_log off;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_next_upstream off;
    location /alice/ { proxy_pass http://alice/; }
    location /bob/ { proxy_pass http://bob/; }
}
EOT

my $bytes = pattern(1 << 20);
my $files = backend($t, <<'EOT');
server { listen 127.0.0.1:%PORT%; root %DIR%; location / { max_ranges 1; } }
EOT
write_file("$files->{dir}/file", $bytes, 0644);

$t->start;

my $echo = $t->service('echo');
my $udp = $t->free_port;
$t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp);

my %side = map { $_ => { name => $_ } } qw(alice bob);

for my $s (values %side) {
    my $name = $s->{name};

    $s->{agent} = $t->agent(token => $token{$name}, services => [
        "tcp-$name:$echo->{port}", "udp-$name:$udp/udp",
        "web-$name:$files->{port}/private" ]);
}

my $visitor = visitor($t, $visits);

for my $s (@side{qw(alice bob)}) {
    my $name = $s->{name};
    my $port = $s->{agent}->port("tcp-$name");

    $s->{tcp} = [ map { { s => $_->{s}, sent => 0, got => 0 } }
                  map { $t->clients_of($_, ($port) x $each) } $t->workers ];
    $_->{s}->blocking(0) for @{ $s->{tcp} };

    my $access = opened($visitor, "tcp-$name", ttl => 600);
    $s->{visits} = [ map { connected($visitor, $access) } 1 .. 4 ];
    is(scalar(grep { $_ } @{ $s->{visits} }), 4, "visitors of $name");

    $s->{port} = $s->{agent}->port("udp-$name");
    $s->{udp} = [ map { ZLTunnel::UDP->client($s->{port}) } 1 .. 8 ];
    is(answered($s), 8, "UDP sessions of $name");
}

my ($alice, $bob) = @side{qw(alice bob)};
my ($id) = map { $_->{id} } grep { $_->{name} eq 'alice' }
           @{ $t->status->{tunnels} };

my @r = map {
    my $at = ($_ * 37 % 900_000);
    my $name = $_ % 3 ? 'bob' : 'alice';
    { line => "GET /$name/file", name => $name, expect => part($at, 20_000),
      headers => { Range => "bytes=$at-" . ($at + 19_999) } }
} 1 .. $requests;

my $kicked;
many($front, 60, \@r, turn => \&turn, timeout => 200);
wait_for(sub { turn(); !grep { !$_->{end} } @{ $alice->{tcp} } });

ok($kicked, 'ended, while much was under way');
cmp_ok($t->status->{acquired}{lane}, '>', 50, 'there were lanes');

my $limit = $kicked + slowdown();

subtest 'those of the tunnel' => sub {
    my @ends = map { $_->{end} // 9e9 } @{ $alice->{tcp} };
    cmp_ok(max(@ends), '<', $limit, sprintf 'connections end in %.3f s',
           max(@ends) - $kicked);
    is((grep { $_->{wrong} || !$_->{got} } @{ $alice->{tcp} }), 0,
       'what they had was theirs');

    my @late = grep { $_->{start} < $kicked && $_->{start} + $_->{time} > $limit }
               grep { $_->{name} eq 'alice' && $_->{time} } @r;
    is(scalar @late, 0, 'requests, too');

    is((grep { $_->ending(10) eq 'open' } @{ $alice->{visits} }), 0,
       'and visitors');
    is(answered($alice), 0, 'and UDP sessions');
};

subtest 'those of another' => \&others;

subtest 'across a reload' => sub {
    my $past = sub {
        return http_get($t->{http_port}, "/ctl/1/tunnels/$id")->{body}
               =~ /"state":"(\w+)"/ ? $1 : '';
    };

    is($past->(), 'kept_out', 'it is kept out');

    my %before = map { $_ => 1 } $t->workers;
    kill HUP => $t->{nginx}->pid;
    ok(wait_for(sub {
           turn();
           return 4 == grep { !$before{$_} } $t->workers;
       }), 'a reload');

    is($past->(), 'kept_out', 'and still is');
    ok(!(grep { $_->{name} eq 'alice' } @{ $t->status->{tunnels} }),
       'its agent has no tunnel');
    others();
};

close $_->{s} for @{ $bob->{tcp} };
$_->close for @{ $bob->{visits} };
$t->finish;


sub others {
    my @c = @{ $bob->{tcp} };
    my @had = map { $_->{got} } @c;

    ok(wait_for(sub {
           turn();
           return !grep { $c[$_]{got} < $had[$_] + 2 * $window
                          && !$c[$_]{end} } 0 .. $#c;
       }), 'connections go on');
    is((grep { $_->{end} || $_->{wrong} } @c), 0, '.. each byte as it was');

    my @wrong = grep { $_->{status} != 206 || ($_->{answer} // '') ne $_->{expect} }
                grep { $_->{name} eq 'bob' } @r;
    is(scalar @wrong, 0, 'requests have their answers')
        or diag("$wrong[0]{status} $wrong[0]{head}");

    is((grep { echoes($_) } @{ $bob->{visits} }), 4, 'visitors go on');
    is(answered($bob), 8, 'UDP sessions go on');
}


# All connections send and receive what they can; and when a third of the
# requests has been answered, the tunnel is ended.

sub turn {
    pump($_) for grep { !$_->{end} } @{ $alice->{tcp} }, @{ $bob->{tcp} };

    return if $kicked || $requests > 3 * grep { $_->{time} } @r;

    $kicked = time;
    my $r = http_request($t->{http_port}, "DELETE /ctl/1/tunnels/$id?for=10m "
                         . "HTTP/1.1\r\nHost: localhost\r\n"
                         . "Connection: close\r\n\r\n");
    is($r->{status}, 204, 'the tunnel is ended');
}


# The service sends back what it gets.

sub pump {
    my ($c) = @_;

    my $room = $window - ($c->{sent} - $c->{got});

    if ($room > 0) {
        my $at = $c->{sent} % length $bytes;
        my $n = syswrite $c->{s}, substr($bytes, $at, $room);
        $c->{sent} += $n if $n;
    }

    my $n = sysread $c->{s}, my ($in), $window;

    if (!$n) {
        $c->{end} = time if defined $n || !$!{EAGAIN};
        return;
    }

    my $at = $c->{got} % length $bytes;
    my $is = substr($bytes, $at) . substr $bytes, 0, $at;
    $c->{wrong} = 1 if $in ne substr $is, 0, $n;
    $c->{got} += $n;
}


# How many of the UDP sessions have an answer.

sub answered {
    my ($s) = @_;

    my $n = 0;

    for my $c (@{ $s->{udp} }) {
        for (1 .. 5) {
            $c->send("for $s->{name}");
            if (defined $c->recv(0.2)) { $n++; last }
        }
    }

    return $n;
}
