#!/usr/bin/perl

# Protects: in workers that exit and have none after them in their registry (a
# binary upgrade, another size of the zone), a request that wants a channel only
# then gets one of those that are there: of its worker or of another, which stays
# for that; many go on one.  Where there is none it is told at once, and not
# when connect_timeout is over.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use List::Util qw(min);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::App;

my %port;

my $t = ZLTunnel->new(workers => 3, daemon => 'on',
    main => 'env ASAN_OPTIONS;', zltunnel => 'connect_timeout 100s;');

$port{$_} = $t->free_port for qw(lanes off tls bare);

$t->write_conf(http => join '', map { <<"EOT" } sort keys %port);
upstream $_ {
    zltunnel_service $_@{[ $_ eq 'lanes' ? '' : ' lanes=off' ]};
}
server {
    listen 127.0.0.1:$port{$_};
    location / {
        proxy_connect_timeout 60s;
        proxy_pass http://$_;
    }
}
EOT

my %token = map { $_ => $t->token($_) } sort keys %port;
$t->start;

my $backend = backend($t, 'server { listen %PORT%; return 200 "served\n"; }');

my %agent = map {
    my $more = [ $_ eq 'bare' ? ('--max-idle', 0) : ('--min-idle', 12) ];
    $_ => $t->agent(token => $token{$_}, tls => $_ eq 'tls', args => $more,
                    services => ["$_:$backend->{port}"])
} sort keys %port;

for my $name (sort keys %port) {
    is(get($port{$name}, '/')->{status}, 200, "$name: is served") for 1 .. 2;
}

ok(wait_for(sub {
    12 <= min(map { $_->{idle_channels} } grep { $_->{name} ne 'bare' }
              @{ $t->status->{tunnels} });
}), 'channels are there');

subtest 'a binary upgrade' => sub {
    my $old = $t->{nginx}->pid;
    my $new;

    # in workers that exit already, and are then of the last ones

    my %former = begin(2, 'bare');
    $t->{nginx}->kill('HUP');
    moved(1);

    my %waiting = begin(8, sort keys %port);

    $t->{nginx}->kill('USR2');
    ok(wait_for(sub {
        ($new) = slurp("$t->{dir}/nginx.pid") =~ /^(\d+)/;
        return $new && $new != $old && -e "$t->{dir}/nginx.pid.oldbin"
               && children_of($new) >= 3;
    }, 30), 'a new binary') or die;

    kill QUIT => $old;
    moved(2);
    go_on(%former);
    go_on(%waiting);

    ok(wait_for(sub { !$t->{nginx}->running }, 30), 'the old one ends');
    $t->follow($new);
};

# of three workers two have no client, and one at least has the channels

subtest 'another zone' => sub {
    my @old = $t->workers;
    my %waiting = begin(1, 'off');

    my $text = slurp("$t->{dir}/nginx.conf");
    $text =~ s/zone 2m;/zone 4m;/ or die;
    write_file("$t->{dir}/nginx.conf", $text);

    $t->{nginx}->kill('HUP');
    moved(3);
    ok(wait_for(sub {
        3 == (() = $agent{off}->log =~ /earlier control channel has ended/g)
    }, 30), 'and have left the old ones');

    select undef, undef, undef, 2.5;
    # one without channels need not

    cmp_ok(grep({ kill 0, $_ } @old), '>', 1, 'which stay for the client of one');
    go_on(%waiting);

    ok(wait_for(sub { !grep { kill 0, $_ } @old }, 30), 'and then end');
};

$t->finish;


# Requests of which nginx has no more than a part.

sub begin {
    my ($n, @names) = @_;
    my %waiting;

    for my $name (@names) {
        for (1 .. $n) {
            my $s = connect_to($port{$name});
            syswrite $s, "POST / HTTP/1.1\r\nHost: localhost\r\n"
                         . "Connection: close\r\nExpect: 100-continue\r\n"
                         . "Content-Length: 10\r\n\r\n";
            push @{ $waiting{$name} }, $s;
        }
    }

    my $begun = 0;

    for my $s (map { @$_ } values %waiting) {
        my $answer = '';
        read_some($s, \$answer, 20);
        $begun++ if $answer =~ /^HTTP\S+ 100/;
    }

    is($begun, $n * @names, 'requests have begun');

    return %waiting;
}


# So many times the agents have moved on.

sub moved {
    my ($n) = @_;

    for my $name (sort keys %agent) {
        ok(wait_for(sub {
            my $up = () = $agent{$name}->log =~ /connected as/g;
            return $up > $n;
        }, 60), "the agent $name is with the new workers");
    }
}


# The rest of each request: whether it is served.

sub go_on {
    my (%waiting) = @_;

    for my $name (sort keys %waiting) {
        my (%status, $slowest);

        for my $s (@{ $waiting{$name} }) {
            my $start = time;
            my $answer = '';

            syswrite $s, '1234567890';
            1 while defined read_some($s, \$answer, 40);

            $status{ ($answer =~ /^HTTP\S+ (\d+)/)[0] // 'none' }++;
            $slowest = time - $start if time - $start > ($slowest // 0);
            last if $slowest > 30;
        }

        is_deeply(\%status, { ($name eq 'bare' ? 502 : 200)
                               => scalar @{ $waiting{$name} } },
                  $name eq 'bare' ? "$name: told that it cannot be had"
                                  : "$name: served") or diag explain \%status;
        cmp_ok($slowest, '<', 30, "$name: none waits for a timeout");
    }
}
