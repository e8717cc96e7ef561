#!/usr/bin/perl

# Protects: connections that share a data channel.  Each has its own bytes,
# exact, in both directions and of any size; the agent has no more connections
# to nginx however many there are, but for those of bulk; and one that is not
# read, at either end, holds up no other, takes no more memory than a window's,
# and goes on where it stood.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Many;

need_nofile(1024);

my $file = 4_000_000;            # bytes
my $long = 32_000_000;           # more than what is held on the way

pattern($file);

for my $tls (0, 1) {
    for my $workers ($tls && !long_run() ? 4 : (1, 4)) {
        subtest(($tls ? 'wss' : 'ws') . ", $workers worker(s)",
                sub { bodies($tls, $workers) });
    }

    subtest(($tls ? 'wss' : 'ws') . ', not read', sub { stalled($tls) });
}

subtest 'not wanted' => \&without;

done_testing();


# An nginx whose upstreams are a service that has files, and one that takes
# uploads.

sub setup {
    my ($tls, $workers, %o) = @_;

    my $server = 'max_fails=0 ' . ($o{server} // '');

    my $t = ZLTunnel->new(workers => $workers);
    my $front = $t->free_port;

    my $files = backend($t, <<'EOT');
server {
    listen 127.0.0.1:%PORT%;
    root %DIR%;
    location / { max_ranges 1; }
}
EOT

    ZLTunnel::write_file("$files->{dir}/file", pattern($file), 0644);
    ZLTunnel::write_file("$files->{dir}/long", pattern($file) x 8, 0644);
    ZLTunnel::write_file("$files->{dir}/empty", '', 0644);

    $t->write_conf(http => <<"EOT");
upstream files { zltunnel_service files $server; }
upstream kept { zltunnel_service files $server; keepalive 16; }
upstream app { zltunnel_service app $server; }
upstream app_kept { zltunnel_service app $server; keepalive 16; }
server {
    listen 127.0.0.1:$front sndbuf=128k rcvbuf=128k;
    access_log off;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_max_temp_file_size 0;
    location /files/ { proxy_pass http://files/; }
    location /kept/ { proxy_pass http://kept/; }
    location /raw/ { proxy_pass http://files/; proxy_buffering off; }
    location /app/ { proxy_pass http://app/; }
    location /app_kept/ { proxy_pass http://app_kept/; }
    location /app_raw/ {
        proxy_pass http://app/;
        proxy_request_buffering off;
    }
}
EOT

    my $token = $t->token('alice');
    $t->start;

    my $app = app($t, 'app');
    my $agent = $t->agent(token => $token, tls => $tls, services => [
        "files:$files->{port}/private", "app:$app->{port}/private" ],
        args => $o{args});

    ok(wait_for(sub {
        my $st = $t->status->{tunnels}[0] or return 0;
        return $st->{idle_channels} >= $workers && !$st->{pending};
    }), 'channels are idle');

    is(get($front, '/files/empty')->{status}, 200, 'it works');

    return { t => $t, front => $front, app => $app, agent => $agent,
             port => $t->{$tls ? 'tls_port' : 'http_port'} };
}


# TCP connections to a port, the clients' ends.

sub connections {
    my ($port) = @_;

    my @lines = slurp('/proc/net/tcp')
                =~ /^\s*\d+: \w+:\w+ \w+:(\w+) 01 /mg;
    return scalar grep { hex == $port } @lines;
}

sub memory {
    my ($pid) = @_;
    my ($kb) = slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
    return $kb // 0;
}


# A download of a part of the file, or an upload of one.

sub download {
    my ($where, $at, $len) = @_;

    return { line => "GET $where/empty", expect => '' } if !$len;

    return { line => "GET $where/file", expect => part($at, $len),
             headers => { Range => "bytes=$at-" . ($at + $len - 1) } };
}

sub upload {
    my ($where, $at, $len) = @_;

    my $body = part($at, $len);

    return { line => "POST $where/upload", body => $body,
             expect => "$len " . sha256_hex($body) . "\n" };
}


# What is not as it should be.

sub wrong {
    return grep {
        !$_->{whole} || $_->{status} !~ /^20[06]$/
        || ($_->{answer} // '') ne $_->{expect}
    } @_;
}

sub is_right {
    my ($r, $name) = @_;

    my @wrong = wrong(@$r);
    is(scalar @wrong, 0, $name);

    for my $w (splice @wrong, 0, 5) {
        diag "$w->{line}: $w->{status}, whole: ", $w->{whole} // 'no',
             ', ', length($w->{answer} // ''), ' of ', length $w->{expect};
    }
}


sub bodies {
    my ($tls, $workers) = @_;

    my $x = setup($tls, $workers);
    my ($t, $front, $agent) = @$x{qw(t front agent)};

    # until each worker has its shared one

    my $small = sizes('requests', 20_000, 1_500);
    my @r = map {
        { line => 'GET ' . ($_ % 2 ? '/kept' : '/files') . '/file',
          expect => part($_ * 7, 40),
          headers => { Range => 'bytes=' . $_ * 7 . '-' . ($_ * 7 + 39) } }
    } 1 .. $small;

    many($front, 100, \@r);
    is_right(\@r, "$small small ones, 100 at a time");

    # few, where nginx keeps all connections alive, as 1.29.7 and later do

    cmp_ok($t->status->{acquired}{lane}, '>', 50, 'they had lanes');

    # they last, and so do others beside them

    my $before = connections($x->{port});
    cmp_ok($before, '>', 1, "the agent has connections: $before");

    my @held = map {
        start_request($front, { line => 'GET /app/hold' })
    } 1 .. 200;
    feed($_) for @held;

    ok(wait_for(sub { $t->events($x->{app}, 'hold') == 200 }),
       '200 are held by the service');

    my $now = connections($x->{port});
    cmp_ok($now, '<=', $before + $workers, "and need none of their own: $now");

    abort($_->{s}) for @held;
    ok(wait_for(sub { $t->events($x->{app}, 'gone') == 200 }),
       'which sees their clients go');

    my $n = sizes('transfers', 5_000, 250);
    my @sizes = (0, 1, 2, 100, 4096, 16_383, 16_384, 32_767, 32_768, 32_769,
                 65_535, 65_536, 65_537, 70_000, 200_000, 1_000_000,
                 2_500_000);

    @r = map {
        my $len = $sizes[ $_ % 3 ? rand @sizes - 3 : rand @sizes ];
        my $at = int rand $file - $len;

        $_ % 5 < 2 ? upload((qw(/app /app_kept /app_raw))[$_ % 3], $at, $len)
                   : download((qw(/files /kept /raw))[$_ % 3], $at, $len);
    } 1 .. $n;

    my $start = time;
    many($front, 50, \@r);
    is_right(\@r, "$n bodies, 50 at a time");
    note sprintf '%.1f s, over %d connections', time - $start,
        connections($x->{port});

    # which of them left their lanes is up to the moment: one does in the end

    my @long;
    ok(wait_for(sub {
        return 1 if $t->status->{left_lane} || wrong(@long);
        @long = { line => 'GET /raw/long', expect => pattern($file) x 8 };
        many($front, 1, \@long);
        return 0;
    }, 60), 'some left their lane for one');

    is_right(\@long, 'as exact as the others');

    $t->finish;
}


# One that is not read, and one whose service does not read.

sub stalled {
    my ($tls) = @_;

    my $x = setup($tls, 1);
    my ($t, $front, $agent, $app) = @$x{qw(t front agent app)};

    my @pids = ($agent->pid, $t->workers);
    my %before = map { $_ => memory($_) } @pids;

    my $body = pattern($file) x 8;

    my @readers = map {
        start_request($front, { line => 'GET /raw/long', expect => $body })
    } 1 .. 2;

    my @writers = map {
        start_request($front, {
            line => 'POST /app_raw/upload', body => $body,
            expect => "$long " . sha256_hex($body) . "\n"
        })
    } 1 .. 2;

    syswrite $_->{s}, $_->{out} for @readers;
    $_->{out} = '' for @readers;

    feed($_) for @writers;
    ok(wait_for(sub { $t->events($app, 'first') == 2 }),
       'the service has the first bytes of uploads');
    kill STOP => -$app->{proc}->pid;

    my $end = time + 1;
    while (time < $end) {
        feed($_) for @writers;
        sleep 0.01;
    }

    ok(!(grep { !length $_->{out} } @writers), 'uploads are held up');

    my %most = map { $_ => memory($_) - $before{$_} } @pids;

    my @r = map { download($_ % 2 ? '/files' : '/kept', $_, 100_000) }
            1 .. 100;
    many($front, 10, \@r);
    is_right(\@r, 'others are not');

    my ($slowest) = sort { $b <=> $a } map { $_->{time} } @r;
    cmp_ok($slowest, '<', 1 * slowdown(), "the slowest of them");

    for my $pid (@pids) {
        last if $ENV{ZLT_SLOW};        # a sanitizer's allocator never gives
        cmp_ok($most{$pid}, '<', 6000,
               "memory of $pid grew by $most{$pid} kB only");
    }

    kill CONT => -$app->{proc}->pid;

    my @all = (@readers, @writers);
    $end = time + 30 * slowdown();

    while (@all && time < $end) {
        @all = grep { !feed($_) } @all;
        sleep 0.002;
    }

    is_right(\@readers, 'who was not read is exact, to the end');
    is_right(\@writers, 'and so is who was not taken');

    $t->finish;
}


# Switched off: each has a channel of its own.

sub without {
    my $x = setup(0, 2, server => 'lanes=off');
    my ($rc, $out) = $x->{t}->test_conf(http =>
        'upstream u { zltunnel_service u lanes=maybe; }');
    isnt($rc, 0, 'lanes=maybe is refused');
    like($out, qr/lanes=maybe.*"lanes=off"/, 'with the remedy');

    my @r = map { download($_ % 2 ? '/kept' : '/files', $_, 50_000) } 1 .. 60;
    many($x->{front}, 20, \@r);
    is_right(\@r, 'served all the same');
    is($x->{t}->status->{acquired}{lane}, 0, 'without lanes');

    $x->{t}->finish;
}
