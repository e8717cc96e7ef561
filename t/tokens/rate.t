#!/usr/bin/perl

# Protects: rate= of a token: so many bytes a second, of all its connections and
# datagrams together, in all workers, fairly shared, and never more.  Another
# token has its own, and a new rate holds for what runs.  zltunnel_download_rate
# and zltunnel_upload_rate: so many of each connection.  splice() goes on.
#
# That there is not less depends on the machine: it is tried up to ten times.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Select;
use List::Util qw(min max sum);
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::App;

use constant { M => 1 << 20, BURST => 0.15, PORTION => 256 << 10,
               TRIES => 10 };

my $t = ZLTunnel->new(workers => 4, range => 20, udp => 1,
                      zltunnel => 'max_connections 500;');
my $rights = 'rate=10m sessions=2';
my $alice = $t->token('alice', $rights);
my $bob = $t->token('bob', 'rate=2m');
my $carol = $t->token('carol');
my $erin = $t->token('erin', 'rate=2m access=free,freeudp sessions=2');

my ($down, $up, $var, $front) = map { $t->free_port } 1 .. 4;
$t->write_conf(http => "upstream app { zltunnel_service web token=alice; "
                       . 'keepalive 8; }',
               location => 'location /app/ { proxy_pass http://app/; '
                           . 'proxy_request_buffering off; '
                           . 'client_max_body_size 0; }',
               stream => <<"EOT");
map \$server_port \$rate { $var 3m; default bad; }
upstream front { zltunnel_service src token=alice; }
server { listen 127.0.0.1:$down; zltunnel_pass free token=carol;
         zltunnel_download_rate 2m; }
server { listen 127.0.0.1:$up; zltunnel_pass sink token=carol;
         zltunnel_upload_rate 2m; }
server { listen 127.0.0.1:$var; zltunnel_pass free token=carol;
         zltunnel_download_rate \$rate; }
server { listen 127.0.0.1:$front; proxy_pass front; }
EOT
$t->start;

my $source = $t->service('source', 1 << 40);
my $sum = $t->service('sum');
my $file = "$t->{dir}/file";
write_file($file, 'x' x (15 * M));
my $app = app($t, 'app', env => { %ENV, PAGE => $file });
my @udp = map { $t->free_port } 1 .. 4;
$t->spawn("udp-echo-$_", $t->nettool, 'udp-echo', $_) for @udp;

$t->agent(token => $alice, services => [
    "src:$source->{port}", "in:$sum->{port}", "web:$app->{port}/private",
    map { "udp$_:$udp[$_]/udp" } 0 .. 3 ]);
$t->agent(token => $alice, services => [ "more:$source->{port}" ]);
$t->agent(token => $bob, services => [ "bob:$source->{port}" ]);
$t->agent(token => $carol, services => [
    "free:$source->{port}", "sink:$sum->{port}", "freeudp:$udp[0]/udp" ]);

my %port = map { $_ => $t->service_status($_)->{port} }
           qw(src more in bob free sink freeudp udp0 udp1 udp2 udp3);


# Clients of these ports read for so many seconds, or write to those of
# "to": { bytes, of each; total; seconds }, once without what came at the
# beginning, and as a whole.

sub clients {
    my ($seconds, @ports) = @_;

    my $start = time;
    my @c = map { connect_to($_) or die "no connection to $_" } @ports;
    my %n = map { $c[$_] => $_ } 0 .. $#c;
    my $select = IO::Select->new(@c);
    my (@all, @from);
    my $since;

    $all[$_] = 0 for 0 .. $#c;

    while ((my $now = time) < $start + $seconds + 0.4) {
        if (!$since && $now > $start + 0.4) {
            $since = $now;
            @from = @all;
        }

        for my $c ($select->can_read(0.05)) {
            my $n = sysread $c, my $buf, 65536;
            die "the connection ended" if !$n;
            $all[ $n{$c} ] += $n;
        }
    }

    my $end = time;
    close $_ for @c;

    return { all => sum(@all), elapsed => $end - $start,
             seconds => $end - $since, each => \@all,
             bytes => [ map { $all[$_] - $from[$_] } 0 .. $#c ] };
}


# A request of so many bytes, there and back.

sub request_of {
    my ($bytes, @curl) = @_;
    my $start = time;

    run_ok({ timeout => 60 }, 'curl', '-sS', '--max-time', 50, '-o',
           '/dev/null', @curl);

    my $elapsed = time - $start;

    # it may have all of the burst

    return { all => $bytes, elapsed => $elapsed, seconds => $elapsed,
             bytes => [ $bytes ] };
}


# What went through services within that time, both ways, by the status, as
# clients() says it, while others do something.

sub counted {
    my ($seconds, @names) = @_;

    my $read = sub {
        my $st = $t->status;
        my %want = map { $_ => 1 } @names;

        return sum(map { $_->{bytes_in} + $_->{bytes_out} }
                   grep { $want{ $_->{name} } }
                   map { @{ $_->{services} } } @{ $st->{tunnels} });
    };

    my ($before, $start) = ($read->(), time);
    sleep $seconds;
    my $n = $read->() - $before;
    my $elapsed = time - $start;

    return { all => $n, elapsed => $elapsed, seconds => $elapsed,
             bytes => [ $n ] };
}


# So many clients that write to the port of a service, as counted() says.  What
# they have written is relayed to its end.

sub uploads {
    my ($seconds, $n, $name, $to) = @_;

    my @up = map { $t->spawn("up-$_-" . time, $t->nettool, 'transfer', $to,
                             1 << 40) } 1 .. $n;

    wait_for(sub { $t->service_status($name)->{bytes_in} > 0
                   && $t->service_status($name)->{active} == $n })
        or die 'no uploads';

    my $r = counted($seconds, $name);
    $_->stop('KILL') for @up;
    wait_for(sub { $t->service_status($name)->{active} == 0 })
        or die 'uploads do not end';

    return $r;
}


# Datagrams to services, more than the rate: as counted() says, once some of each
# are dropped.

sub flooded {
    my ($seconds, %to) = @_;
    my $dropped = sub { $t->service_status($_[0])->{dropped}{rate} };
    my %had = map { $_ => $dropped->($_) } keys %to;

    my @flood = map { $t->spawn('udp-' . $_ . '-' . time, $t->nettool, 'udp',
                                $to{$_}, 'clients=2', 'size=1200', 'rate=4000',
                                'verify=0', 'seconds=60', 'count=1000000') }
                keys %to;

    wait_for(sub { !grep { $dropped->($_) == $had{$_} } keys %to })
        or die 'no datagram is dropped';

    my $r = counted($seconds, keys %to);
    $_->stop('KILL') for @flood;

    return $r;
}


# Tries until there is not less than the rate; and never may there be more.

sub holds {
    my ($rate, $what, $try) = @_;
    my ($r, $part);

    for (1 .. TRIES) {
        $r = $try->();
        my $most = $rate * $r->{elapsed} * 1.01 + BURST * $rate + PORTION;

        $part = sum(@{ $r->{bytes} }) / ($rate * $r->{seconds});
        return fail("$what: $r->{all} bytes, at most $most")
            if $r->{all} > $most;

        note sprintf '%s: %.3f of the rate', $what, $part;
        last if $part > 0.95;
    }

    cmp_ok($part, '>', 0.95, $what);

    return $r;
}


sub spliced { $t->status->{spliced} }


# TCP, whichever way

for my $n (1, 8, 64) {
    my $before = spliced();

    my $r = holds(10 * M, "$n connections", sub {
        return clients(1.5, map { $_ % 2 ? $port{src} : $port{more} } 1 .. $n) })
        or next;

    # three portions of each are copied before

    cmp_ok(spliced() - $before, '>', $r->{all} / ($n > 8 ? 10 : 2),
           'splice goes on');
    cmp_ok(max(@{ $r->{bytes} }) / min(@{ $r->{bytes} }), '<', 1.5,
           'fairly shared') if $n == 8;
}

holds(10 * M, 'a stream upstream', sub { clients(1, ($front) x 3) });

{
    holds(10 * M, 'http', sub {
        request_of(15 * M, "http://127.0.0.1:$t->{http_port}/app/page") });

    holds(10 * M, 'uploads by http', sub {
        request_of(15 * M, '--data-binary', "\@$file",
                   "http://127.0.0.1:$t->{http_port}/app/upload") });

    holds(10 * M, 'uploads to a port', sub {
        return uploads(1.5, 4, 'in', $port{in}) });
}


# datagrams

holds(10 * M, 'datagrams of four workers', sub {
    return flooded(1.5, map { ("udp$_" => $port{"udp$_"}) } 0 .. 3) });


# two tokens, and one without; and a rate of each connection

{
    my %rate = (8 => [ 2, 'another token has its own rate' ],
                9 => [ 2, 'zltunnel_download_rate' ],
                10 => [ 2, 'for each' ], 11 => [ 3, 'by a variable' ]);
    my (@part, $r);

    for (1 .. TRIES) {
        $r = clients(2, ($port{src}) x 8, $port{bob}, $down, $down, $var,
                     $port{free});
        @part = map { $r->{bytes}[$_] / M / $rate{$_}[0] / $r->{seconds} }
                8 .. 11;
        last if min(@part) > 0.95;
    }

    for my $i (8 .. 11) {
        my ($rate, $what) = @{ $rate{$i} };
        cmp_ok($part[$i - 8], '>', 0.95, $what);
        cmp_ok($r->{each}[$i], '<',
               $rate * M * ($r->{elapsed} * 1.01 + BURST) + PORTION,
               '.. and no more');
    }

    cmp_ok($r->{each}[12], '>', $r->{each}[11],
           'one without a rate has none');
}

holds(4 * M, 'zltunnel_upload_rate', sub {
    return uploads(1, 2, 'sink', $up) });


# visitors: their own rate, and that of the service; a new rate of what runs

{
    my ($tcp, $udp) = map {
        my $agent = $t->agent(token => $erin, wait => 0, access => $_);
        $agent->granted($_->[0]);
    } [ 'free' ], [ 'freeudp', '--udp' ];

    holds(2 * M, 'a visitor', sub { clients(1, ($tcp) x 3) });

    holds(2 * M, 'datagrams of a visitor', sub {
        return flooded(1, freeudp => $udp) });
}

{
    my $c = connect_to($port{bob});

    my $read = sub {
        my $end = time + $_[0];
        my ($n, $buf) = 0;

        while (time < $end) {
            next unless IO::Select->new($c)->can_read(0.05);
            $n += sysread $c, $buf, 65536;
        }

        return $n / M;
    };

    my $rate = sub {
        my $from = length $t->log;

        $t->{tokens}[1]{rights} = $_[0];
        $t->write_tokens;
        wait_for(sub {
            $read->(0.1);
            4 == (() = substr($t->log, $from) =~ /has changed/g);
        }) or die 'the workers did not read it';
    };

    # what waits for its time at one that is slow does not at one that is not:
    # there it may be a minute

    $rate->('rate=1k');

    my @slow = map { connect_to($port{bob}) or die } 1 .. 40;
    my %got = map { $_ => 0 } @slow;
    my $took = sub {
        my $s = IO::Select->new(@slow);

        for my $c ($s->can_read(0.1)) {
            $got{$c} += sysread $c, my $buf, 65536;
        }
        return sum(values %got);
    };

    ok(wait_for(sub { $took->() > 2048 }, 90), 'a slow one');
    $took->() for 1 .. 10;
    %got = map { $_ => 0 } @slow;
    $rate->('rate=100m');

    ok(wait_for(sub { $took->(); 40 == grep { $_ > 10_000 } values %got }, 20),
       'a new rate wakes who waits for the old one')
        or diag(join ' ', sort { $a <=> $b } values %got);
    close $_ for @slow;

    $rate->('');
    ok(wait_for(sub { $read->(0.3) > 0.9 }), 'none holds for what runs');

    $rate->('rate=400k');
    ok(wait_for(sub { $read->(0.5) < 0.3 }), 'and so does a lower one');
    close $c;
}


# what may stand there

for my $bad ('0', '1', '10x', '-1', '2048g') {
    $t->{tokens}[1]{rights} = "rate=$bad";
    $t->write_tokens;

    my ($rc, $out) = $t->test_conf;
    isnt($rc, 0, "rate=$bad");
    like($out, qr/rate.*bytes a second from 1k to 1024g.*leave it out/,
         '.. the text says what');
}

$t->{tokens}[1]{rights} = '';
$t->write_tokens;

$t->finish;
