#!/usr/bin/perl

# Protects: a reload loses nothing.  Records on long connections go on, new
# connections are served and none is refused, old workers exit when their
# connections have ended, and nothing piles up, however often it is done; nor
# if the reload changes ports, tokens, the zone or a backlog, or fails.
#
# Long: 50 reloads a second apart, 200 long connections.  Short: 8, 80.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use List::Util qw(max min sum);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Scene;
use ZLTunnel::Wire;

my $reloads = sizes('reloads', 50, 8);
my $long = sizes('long connections', 200, 80);
my $upload = sizes('uploaded bytes', 100_000_000, 20_000_000);

subtest 'again and again' => \&again;
subtest 'another range of ports' => \&range;
subtest 'another zone' => \&zone;
subtest 'tokens, backlog, a broken configuration' => \&changes;
subtest 'a channel that is needed only afterwards' => \&late;

done_testing();


sub again {
    my $s = ZLTunnel::Scene->new(long => $long);
    my $t = $s->{t};
    my $early = $reloads > 10 ? 10 : 3;
    my %use;

    my @first = $t->workers;

    for my $n (1 .. $reloads) {
        my $start = time;
        $s->reload;

        my $left = $start + 1 - time;
        $s->pass_time($left) if $left > 0;

        $use{$n} = measure($s, @first) if $n == $early || $n == $reloads;
    }

    $s->nothing_lost("$reloads reloads");

    my ($then, $now) = @use{$early, $reloads};
    note explain(\%use);

    # one under TLS that is idle in another worker has two in its own

    my $bridged = 2 * $now->{idle};

    cmp_ok($now->{$_}, '<=', $then->{$_} + 4 + (/^workers/ ? $bridged : 0),
           "$_: $then->{$_} after $early reloads, now $now->{$_}")
        for grep { /descriptors|sockets/ } sort keys %$now;

    cmp_ok($now->{$_}, '<=', $then->{$_} * 1.1 + 1024,
           "$_: $then->{$_} after $early reloads, now $now->{$_}")
        for grep { /kB/ && !$ENV{ZLT_SLOW} } sort keys %$now;

    # the zone is counted in pages; what old workers have in it comes and goes
    # with them, and is of two sizes

    my $pages = 2 * 4096;

    cmp_ok($now->{zone}, '<=', $then->{zone} * 1.1 + $pages,
           "zone: $then->{zone} after $early reloads, now $now->{zone}");

    $s->end_load;
    ok($s->gone(30, @first), 'the first workers exit when their connections '
       . 'have ended');

    $s->finish;
}


# What is in use, once the old workers are gone that need not stay.

sub measure {
    my ($s, @first) = @_;

    my $t = $s->{t};

    ok(wait_for(sub { $s->all_workers <= @first + 4 }, 30),
       'old workers without connections exit')
        or diag(scalar($s->all_workers), ' workers');
    ok($s->settled, 'the agents are there');

    # the ways to workers that are gone are closed by the next tick
    $s->pass_time(2);

    # what short connections need comes and goes
    $s->{load}->say('short 0');
    wait_for(sub { $s->report->{long} == $s->{long}
                   && sum(map { $_->{active} } map { @{ $_->{services} } }
                          @{ $t->status->{tunnels} }) == $s->{long} });

    my %use;
    my $all = sub { sum(values %{ fds($_[0]) }) };

    $use{'master, descriptors'} = $all->($t->{nginx}->pid);
    $use{'master, kB'} = $s->memory($t->{nginx}->pid);
    $use{'workers, descriptors but for idle channels'} =
        max(map { $all->($_->{pid}) - $_->{idle_channels} }
            grep { !$_->{exiting} } @{ $t->status->{workers} });
    $use{idle} = sum(map { $_->{idle_channels} } grep { $_->{name} eq 'bob' }
                     @{ $t->status->{tunnels} });
    $use{'first workers, sockets'} = sum(map { fds($_)->{socket} } @first);
    $use{'first workers, kB'} = sum(map { $s->memory($_) } @first);

    for my $name (sort keys %{ $s->{agent} }) {
        my $pid = $s->{agent}{$name}->pid;

        # its idle pool follows the traffic: what opens and closes is not seen
        # in both places at the same moment; nor are they by others than root

        $use{"$name, descriptors but for idle channels"} = min(map {
            $s->pass_time(0.25);
            my ($tunnel) = grep { $_->{name} eq $name }
                           @{ $t->status->{tunnels} };
            $all->($pid) - $tunnel->{idle_channels};
        } 1 .. 8) if $> == 0;
        $use{"$name, kB"} = $s->memory($pid);
    }

    $use{'zone'} = $t->status->{zone}{used};
    $s->{load}->say("short $s->{short}");

    return \%use;
}


# Ports are added, and taken away, while others are in use.

sub range {
    my $s = ZLTunnel::Scene->new(long => 40, range => 10,
                                 first => sub { (range => 6) });
    my $t = $s->{t};
    my $echo = $s->{echo}{port};
    my $more = $t->token('more');
    my $base = $t->{base};

    my @services = map { "s$_:$echo" } 1 .. 6;
    my $agent = $t->agent(token => $more, services => \@services, wait => 0);
    ok($agent->logged(qr/refuses the service.*tried again/),
       'more services than there are ports');
    ok($agent->registered(2), 'two have one');

    $t->write_conf(range => 10);
    $s->reload;
    ok($agent->registered(6, 60), 'after a reload with more ports all have');
    is(grep({ defined $_->{port} && $_->{port} >= $base
              && $_->{port} < $base + 10 } values %{ $agent->services }), 6,
       'from that range');
    ok($s->settled, 'the others kept theirs');
    $s->nothing_lost('ports added');

    $agent->stop;

    $t->write_conf(range => 6);
    $s->reload;
    ok($s->settled, 'after a reload with fewer ports the others have theirs');
    ok(refuses($base + 9), 'a port that is gone refuses');
    $s->goes_on;
    $s->nothing_lost('ports taken away');

    $s->finish;
}


# Another size: the registry is empty, all agents register again, and have
# their former ports.

sub zone {
    my $s = ZLTunnel::Scene->new(long => 40);
    my $t = $s->{t};

    my $text = slurp("$t->{dir}/nginx.conf");
    my %id = map { $_->{name} => $_->{id} } @{ $t->status->{tunnels} };

    $text =~ s/zone 2m;/zone 4m;/ or die;
    write_file("$t->{dir}/nginx.conf", $text);
    $s->reload;

    ok($s->settled, 'another zone: the agents are back, with their ports');
    is($t->status->{zone}{size}, 4 << 20, 'in it');
    isnt($_->{id}, $id{ $_->{name} }, "the tunnel of $_->{name} is another")
        for @{ $t->status->{tunnels} };

    $s->goes_on;
    $s->nothing_lost('another zone');

    my @old = grep { my $pid = $_; !grep { $_ == $pid } $t->workers }
              $s->all_workers;
    $s->end_load;
    ok($s->gone(30, @old), 'the old workers exit');

    $s->finish;
}


sub changes {
    my $s = ZLTunnel::Scene->new(long => 40);
    my $t = $s->{t};
    my $eve = $t->token('eve');
    my $agent = $t->agent(token => $eve, services => ["e:$s->{echo}{port}"]);

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('x');
    is($c->take(1), 'x', 'a connection of another agent');


    # a token is gone

    $t->revoke('eve');
    $s->reload;
    is($c->ending(15), 'reset', 'revoked: it is reset');
    ok($agent->logged(qr/revoked|no longer valid|refuses the token/),
       'revoked: the agent is told');
    ok(wait_for(sub { refuses($agent->port('e')) }),
       'revoked: its port refuses');
    $agent->stop;
    ok($s->settled, 'revoked: the others do not notice');
    $s->nothing_lost('a token revoked');


    # another backlog: nginx calls listen() on each port anew

    my $text = slurp("$t->{dir}/nginx.conf");
    $text =~ s/(listen 127\.0\.0\.1:\d+-\d+);/$1 backlog=333;/ or die;
    write_file("$t->{dir}/nginx.conf", $text);

    my %used = map { $_->{port} => 1 } map { @{ $_->{services} } }
               @{ $t->status->{tunnels} };
    my @free = grep { !$used{$_} } $t->{base} .. $t->{base} + $t->{range} - 1;

    $s->reload;
    ok($s->settled, 'another backlog: the agents have their ports');
    is(scalar(grep { refuses($_) } @free), scalar(@free),
       'another backlog: ports without service refuse');
    $s->goes_on;
    $s->nothing_lost('another backlog');


    # a broken one

    my @workers = sort $t->workers;
    write_file("$t->{dir}/nginx.conf", $text . "\nnonsense;\n");
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { $t->log =~ /unknown directive "nonsense"/ }),
       'a broken configuration is refused');
    push @{ $t->{allow} }, qr/unknown directive "nonsense"/;

    # one that fails late, after the zones: a port that is taken

    my $taken = $t->free_port;
    my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                       LocalPort => $taken, ReuseAddr => 1)
        or die "listen: $!";
    (my $clash = $text) =~ s/(stream \{)/$1\nserver { listen
        127.0.0.1:$taken; proxy_pass 127.0.0.1:1; }/ or die;
    write_file("$t->{dir}/nginx.conf", $clash);
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { $t->log =~ /still could not bind/ }),
       'one that fails late');
    push @{ $t->{allow} }, qr/bind\(\) to \S+ failed|still could not bind/;
    close $holder;

    is_deeply([ sort $t->workers ], \@workers, 'the same workers go on');
    ok($s->settled, 'with the same agents');
    $s->goes_on;
    $s->nothing_lost('broken configurations');

    write_file("$t->{dir}/nginx.conf", $text);
    $s->reload;
    ok($s->settled, 'and the next reload works');
    $s->nothing_lost('a reload after broken ones');

    $s->finish;
}


# A client that the old worker has accepted says only after the reload what it
# wants: its channel comes through the old control channel, or from a new
# worker.

sub late {
    my $t = ZLTunnel->new(workers => 4);
    my %token = map { $_ => $t->token($_) } qw(alice bob);
    my %port = map { $_ => $t->free_port } qw(alice bob);

    $t->write_conf(stream => join '', map { <<EOT } qw(alice bob));
    server {
        listen 127.0.0.1:$port{$_};
        ssl_preread on;
        preread_timeout 300s;
        zltunnel_pass $_-sum token=$_;
    }
EOT
    $t->start;

    my $sum = $t->service('sum');
    my %agent = map {
        $_ => $t->agent(token => $token{$_}, tls => $_ eq 'bob',
                        services => ["$_-sum:$sum->{port}"])
    } qw(alice bob);

    my @old = $t->workers;
    my %clients = map {
        my $port = $port{$_};
        $_ => [ map { ZLTunnel::Wire::Socket->new($port) } 1 .. 3 ];
    } qw(alice bob);

    ok(wait_for(sub { () = $t->log =~ /connected to 127/g; $t->log =~
                      /(?:client \S+ connected to(?s:.*)){6}/ }),
       'clients are connected, and have said nothing');

    for my $n (1, 2) {
        $t->{nginx}->kill('HUP');
        ok(wait_for(sub {
            my %now = map { $_ => 1 } $t->workers;
            return keys %now == 4 && !grep { $now{$_} } @old;
        }), "reload $n");
        ok(wait_for(sub {
            2 == grep { $_->log =~ /(?:connected as(?s:.*)){@{[
                        $n + 1]}}/ } values %agent;
        }), "reload $n: the agents have moved on");
        push @old, $t->workers if $n == 1;
    }

    my $bytes = 'bytes of an upload, ' x ($upload / 20);
    my $sha = sha256_hex($bytes);

    for my $name (qw(alice bob)) {
        my ($first, @more) = @{ $clients{$name} };

        ok($first->send($bytes), "$name: an upload");
        $first->shut;
        is($first->take(66 + length($upload), 60), "$sha $upload\n",
           "$name: arrives whole, on a channel of its time");

        for my $c (@more) {
            $c->send('a few bytes');
            $c->shut;
            is($c->take(67, 20), sha256_hex('a few bytes') . ' 11',
               "$name: another one");
        }

        $_->close for $first, @more;
    }

    $t->finish;
}
