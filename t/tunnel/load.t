#!/usr/bin/perl

# Protects: many connections at once and many in a row, with 4 workers: none
# fails, every one gets its own bytes, no descriptor is left and the counters
# come back to zero; and every way of getting a channel (local, moved,
# bridged, fresh) was taken while it was so.
#
# Long: 2,000 held and 20,000 short connections over ws, 500 and 2,000 over
# wss; short: 500 and 3,000, 200 and 600.  Each once with the idle pool warm
# and once with it set to 0.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

# agent: a socket for each channel and one for each service connection
need_nofile(10_000);

my %n = (
    ws => [ sizes('held over ws', 2_000, 500),
            sizes('short over ws', 20_000, 3_000) ],
    wss => [ sizes('held over wss', 500, 200),
             sizes('short over wss', 2_000, 600) ],
);

for my $scheme (qw(ws wss)) {
    for my $idle ('warm', 'none') {
        subtest "$scheme, idle pool: $idle" => sub {
            load($scheme, $idle, @{ $n{$scheme} });
        };
    }
}

done_testing();


sub load {
    my ($scheme, $idle, $held, $short) = @_;

    my $t = ZLTunnel->new(
        workers => 4, connections => 8192, range => 2,
        main => 'worker_rlimit_nofile 10000;',
        zltunnel => 'max_pending 4000; max_channel_share 90%;
                     connect_timeout 60s;');
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $source = $t->service('source', 20_000_000);
    my $agent = $t->agent(
        token => $token, services => [1, 2], tls => $scheme eq 'wss',
        conf => "[agent]\nserver = " . $t->url($scheme) . "\n"
                . "token_file = %%token_file%%\n"
                . ($scheme eq 'wss' ? 'ca_file = ' . $t->certs . "/ca.pem\n"
                                    : '')
                . ($idle eq 'none' ? "max_idle = 0\n" : '')
                . "[service echo]\nlocal = $echo->{port}\n"
                . "[service bulk]\nlocal = $source->{port}\n");
    my $port = $agent->port('echo');

    if ($idle eq 'warm') {
        ok(wait_for(sub { $t->status->{tunnels}[0]{idle_channels} >= 1 }),
           'there are idle channels');
    }

    my $fds = fds($agent->pid);


    # Held, all at once, each with bytes of its own

    my $load = $t->spawn('held', $t->nettool, 'held', $port, $held, 3);
    ok(wait_for(sub { $load->output =~ /^held/m || !$load->running }, 180),
       'all are open');
    is(($load->output =~ /^held (\d+)/m)[0], $held, "$held are held")
        or diag($load->output);

    is($t->service_status('echo')->{active}, $held, 'the status has them');
    note $load->output;

    $load->say('go on');
    is($load->wait(180), 0, 'all exchange and end') or diag($load->output);


    # Short, 50 at a time

    my ($rc, $out) = run({ timeout => 300 }, $t->nettool, 'short', $port,
                         $short, 50);
    is($rc, 0, "$short short ones, none failed") or diag($out);
    note $out;

    my $s;
    ok(wait_for(sub {
        $s = $t->service_status('echo');
        return $s->{active} == 0 && $s->{total} == $held + $short;
    }), 'none is active, all were counted')
        or diag("active $s->{active}, total $s->{total}");
    is($t->events($echo, 'accept'), $held + $short, 'and each dialled once');
    is($s->{bytes_in}, $s->{bytes_out}, 'an echo: as many bytes in as out');


    # Each way was taken

    acquire_all($t, $port) if $idle eq 'warm';

    my $st = $t->status;
    note join ', ', map { "$_: $st->{acquired}{$_}" }
                    sort keys %{ $st->{acquired} };

    if ($idle eq 'warm') {
        cmp_ok($st->{acquired}{local}, '>', 0, 'local channels');
        cmp_ok($st->{acquired}{ $scheme eq 'ws' ? 'moved' : 'bridged' }, '>',
               0, 'channels of other workers');

    } else {
        cmp_ok($st->{acquired}{fresh}, '>=', $held + $short,
               'all channels were fresh');
        is($st->{acquired}{local}, 0, 'none was idle');
    }

    is($st->{acquired}{ $scheme eq 'ws' ? 'bridged' : 'moved' }, 0,
       $scheme eq 'ws' ? 'plain ones move, no bridge' : 'TLS does not move');

    if ($scheme eq 'ws') {
        my $r = $t->transfer($agent->port('bulk'), '-');
        is($r->{received}, 20_000_000, 'bulk');
        cmp_ok($t->status->{spliced}, '>', 10_000_000, 'splice was used');
    }


    # Nothing is left in the agent; the workers are looked at in the end

    is($t->status->{tunnels}[0]{pending}, 0, 'nothing is pending');
    ok(wait_for(sub {
        my $now = fds($agent->pid);
        return $now->{socket} <= $fds->{socket} + 64
               && $now->{pipe} <= 256;
    }, 30), 'the agent keeps at most an idle pool')
        or diag(explain($fds), explain(fds($agent->pid)));

    $t->finish;
}


# Has one worker accept clients while the channels are at another: what chance
# did not bring about is made to happen.

sub acquire_all {
    my ($t, $port) = @_;

    for my $try (1 .. 10) {
        my $a = $t->status->{acquired};
        last if $a->{local} && ($a->{moved} || $a->{bridged});

        # those that hold no channel or few get the clients
        my $st = $t->status;
        my ($first, @rest) = sort { $a->{idle_channels} <=>
                                    $b->{idle_channels} }
                             @{ $st->{workers} };

        kill STOP => map { $_->{pid} } @rest;
        my @clients = map { connect_to($port) } 1 .. 20;
        wait_for(sub { 0 }, 0.2);
        kill CONT => map { $_->{pid} } @rest;

        for my $c (@clients) {
            syswrite $c, "x";
            sysread $c, my $buf, 1;
        }
    }
}
