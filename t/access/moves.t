#!/usr/bin/perl

# Protects: access sessions live through what happens to the tunnel: a reload
# of nginx, its restart (which loses the registry), a visitor that is killed
# and comes back, agents on different workers, descriptors that run out.  And
# the walk-through of docs/access.md is true, command by command.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;

my $SLOW = slowdown();

subtest "reload, over $_" => \&reload, $_ for qw(ws wss);
subtest 'restart of nginx' => \&restart;
subtest 'the visitor is killed' => \&killed;
subtest 'all workers' => \&workers;
subtest 'no descriptors' => \&exhausted;
subtest 'the walk-through' => \&walk_through;

done_testing();


sub scene {
    my ($tls, $workers, @args) = @_;

    my $t = ZLTunnel->new(workers => $workers);
    my $echo = $t->service('echo');

    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=echo sessions=2');
    $t->start;

    my $serving = $t->agent(token => $serve, tls => $tls, services =>
        [ "echo:$echo->{port}/private" ]);
    my $port = $t->free_port;
    my $visitor = $t->agent(token => $visit, tls => $tls, wait => 0,
                            access => [ "echo:$port", @args ]);
    $visitor->granted('echo') or die $visitor->log;

    return { t => $t, echo => $echo, serving => $serving, port => $port,
             visitor => $visitor, visit => $visit };
}


sub connected {
    my ($port) = @_;

    my $c = connect_to($port) or return undef;
    syswrite $c, "hello\n";
    return (read_line($c) // '') eq "hello\n" ? $c : undef;
}


sub new_workers {
    my ($t) = @_;

    my %old = map { $_ => 1 } $t->workers;
    $t->{nginx}->kill('HUP');

    return wait_for(sub {
        my @now = $t->workers;
        return @now == $t->{workers} && !grep { $old{$_} } @now;
    }, 30);
}


sub reload {
    my ($scheme) = @_;

    my $s = scene($scheme eq 'wss', 2);
    my $t = $s->{t};
    my $id = $s->{visitor}->session('echo')->{id};
    my $n = sizes('reloads', 10, 2);

    my $load = $t->spawn('load', $t->nettool, 'records', $s->{port}, 20, 50,
                         3, 20);
    ok(wait_for(sub { $load->output =~ /^running 20$/m }, 30),
       'connections exchange records') or diag($load->output);

    for (1 .. $n) {
        ok(new_workers($t), 'reloaded');
        sleep 1.5;
    }

    $load->say('end');
    is($load->wait(60), 0, 'no connection was lost, old or new')
        or diag(($load->output =~ /^(lost .*)/mg)[0 .. 9]);

    is($s->{visitor}->session('echo')->{id}, $id, 'the session is the same');
    $t->finish;
}


# The server comes back without its registry.

sub restart {
    my $s = scene(0, 2, '--ttl', '5m');
    my $t = $s->{t};
    my $before = $s->{visitor}->session('echo');

    my $c = connected($s->{port});
    ok($c, 'a connection');

    is($t->{nginx}->stop('TERM'), 0, 'nginx ends');
    is(read_line($c), 'reset', 'and what it relayed');

    # it waits for the server
    my $waiting = connect_to($s->{port});
    ok($waiting, 'the local address stays');
    syswrite $waiting, "patient\n";
    sleep 1;

    # the serving agent is to be the first that is back
    $s->{visitor}{proc}->kill('STOP');
    $t->start;
    ok(wait_for(sub { $t->service_status('echo') }, 30), 'the service is back');
    $s->{visitor}{proc}->kill('CONT');

    is(read_line($waiting), "patient\n", 'who waits is served when it is back')
        or diag($s->{visitor}->log);

    my $after = $s->{visitor}->session('echo');
    isnt($after->{id}, $before->{id}, 'in another session');
    cmp_ok($after->{remaining}, '<', $before->{remaining},
           'with what is left of the time');
    cmp_ok($after->{remaining}, '>', 200, 'all of it');
    is($after->{created}, $before->{created}, 'that began when it began');

    ok(connected($s->{port}), 'and new connections are');

    # for longer than a connection may wait
    $t->{nginx}->stop('TERM');
    $s->{visitor}->stop;

    my $v = $t->agent(token => $s->{visit}, wait => 0, access => [
        "echo:$s->{port}", '--connect-timeout', '2s' ]);
    ok($v->logged(qr/cannot be reached/), 'a server that is not there');
    ok(refuses($s->{port}), 'nothing is promised before it was asked');
    $t->start;
    is($v->granted('echo', 30), $s->{port}, 'it is asked once it is there');

    $t->{nginx}->stop('TERM');
    my $start = time;
    $waiting = connect_to($s->{port});
    is(read_line($waiting), 'reset', 'a client waits no longer than it may');
    cmp_ok(time - $start, '<', 2 + 4 * $SLOW, 'which is connect_timeout');

    $t->start;
    $t->finish;
}


sub killed {
    my $s = scene(0, 2);
    my $t = $s->{t};

    my $c = connected($s->{port});
    my $id = $s->{visitor}->session('echo')->{id};

    $s->{visitor}{proc}->kill('KILL');
    $s->{visitor}{proc}->wait(10);
    isnt(read_line($c), "hello\n", 'its connections end with it');

    $s->{visitor}->launch;
    is($s->{visitor}->granted('echo'), $s->{port}, 'it is back')
        or diag($s->{visitor}->log);
    ok(connected($s->{port}), 'and works');

    ok(wait_for(sub {
        my @all = @{ $t->status->{access} };
        return @all == 1 && $all[0]{id} ne $id;
    }, 60), 'the session that nobody returned for is gone, after the grace');

    ok(wait_for(sub { $t->events($s->{echo}, 'eof')
                      + $t->events($s->{echo}, 'reset')
                      + $t->events($s->{echo}, 'close') >= 1 }),
       'the service has seen the end');

    $t->finish;
}


# Four workers and many connections: visitor and serving agent meet wherever
# they are.

sub workers {
    my $s = scene(0, 4);
    my $t = $s->{t};
    my $n = sizes('connections', 2000, 200);
    my $bad = 0;

    for (1 .. $n / 20) {
        my @c = map { connect_to($s->{port}) } 1 .. 20;

        syswrite $c[$_], "I am $_\n" for 0 .. 19;
        $bad++ for grep { (read_line($c[$_]) // '') ne "I am $_\n" } 0 .. 19;
    }

    is($bad, 0, 'each has its own answer');

    my %pids = map { $_ => 1 } $t->log =~ /(\d+)#\d+: \*\d+ visitor "alice"/g;
    cmp_ok(scalar keys %pids, '>=', 1, 'workers: ' . keys %pids);

    $t->finish;
}


# Clients wait in the kernel's queue; nobody is dropped.

sub exhausted {
    my $t = ZLTunnel->new;
    my $echo = $t->service('echo');
    my $serve = $t->token('site');
    my $visit = $t->token('alice', 'access=echo');
    $t->start;
    $t->agent(token => $serve, services => [ "echo:$echo->{port}/private" ]);

    my $script = "$t->{dir}/limited";
    write_file($script, "#!/bin/sh\nulimit -n 100\nexec $ZLTunnel::AGENT "
                        . "\"\$@\"\n", 0755);
    my $v = $t->agent(token => $visit, wait => 0, program => $script,
                      access => [ 'echo', '--connect-timeout', '20s' ]);
    my $port = $v->granted('echo') or die $v->log;

    my @c = map { connect_to($port) } 1 .. 60;
    syswrite $_, "hello\n" for @c;

    ok($v->logged(qr/accepts no connections for now/), 'it pauses');

    # as those that have been served go, the others come
    my $served = 0;
    my $end = time + 30 * $SLOW;

    while (@c && time < $end) {
        my $rin = '';
        vec($rin, fileno $_, 1) = 1 for @c;
        select(my $rout = $rin, undef, undef, 5) or last;

        my @rest;
        for my $c (@c) {
            if (!vec $rout, fileno $c, 1) {
                push @rest, $c;
                next;
            }
            $served++ if (read_line($c) // '') eq "hello\n";
            close $c;
        }
        @c = @rest;
    }

    is($served, 60, 'all are served, one after the other');
    my @said = $v->log =~ /accepts no connections/g;
    is(scalar @said, 1, 'and it was said once');

    $t->finish;
}


# What the document says is done, with other names and places.

sub walk_through {
    my $t = ZLTunnel->new;
    my ($tls, $local) = map { $t->free_port } 1 .. 2;
    my $dir = $t->{dir};
    my $doc = slurp("$ZLTunnel::ROOT/docs/access.md");
    my %block;

    my ($text) = $doc =~ /^## A walk-through\n(.*?)^## /ms;
    push @{ $block{$1} }, $2 while $text =~ /^```(\w+)\n(.*?)^```$/msg;

    is(scalar @{ $block{nginx} }, 1, 'the document: a server');
    is(scalar @{ $block{ini} }, 1, 'an agent');
    is(scalar @{ $block{sh} }, 5, 'and commands');

    mkdir "$dir/$_" for qw(nginx office www);
    my $web = $t->free_port;
    write_file("$dir/www/index.html", "the internal api\n");

    my $place = sub {
        my ($s) = @_;
        $s =~ s{/etc/nginx}{$dir/nginx}g;
        $s =~ s{/etc/zltunnel}{$dir/office}g;
        $s =~ s{listen 443 ssl}{listen 127.0.0.1:$tls ssl};
        $s =~ s{wss://tunnel\.example\.com}{wss://localhost:$tls}g;
        $s =~ s{127\.0\.0\.1:8080}{127.0.0.1:$web}g;
        $s =~ s{\b18080\b}{$local}g;
        $s =~ s{\balice\.token}{$dir/alice.token}g;
        return $s;
    };

    my $run = sub {
        my ($command) = @_;
        $command =~ s/^zltunnel-agent/$ZLTunnel::AGENT/;
        return run_ok('sh', '-c', $command);
    };

    # the server; a local nginx serves as the service, too
    my $certs = $t->certs;
    write_file("$dir/nginx/tunnel.pem", slurp("$certs/server.pem"));
    write_file("$dir/nginx/tunnel.key", slurp("$certs/server.key"));

    my $conf = $place->($block{nginx}[0]);
    $conf =~ s/^http \{\n/$& . <<"EOT"/me;
    access_log off;
    server { listen 127.0.0.1:$web; root $dir/www; }
    server { listen 127.0.0.1:$t->{http_port}; return 204; }
EOT

    # tokens, as they are printed
    my %hash;
    for my $line (split /\n/, $block{sh}[0]) {
        my ($name) = $line =~ /--name (\w+)/ or die $line;
        my ($token, $entry) = split /\n/, $run->($line);
        ($hash{$name}) = $entry =~ /^(\w+) $name$/ or die $entry;
        push @{ $t->{secrets} }, $token;
        write_file($name eq 'office' ? "$dir/office/token"
                                     : "$dir/alice.token", "$token\n", 0600);
    }

    my $tokens = $block{tokens}[0];
    $tokens =~ s/^HASH (\w+)/$hash{$1} $1/mg;
    write_file("$dir/nginx/zltunnel.tokens", $tokens);

    my $user = $> == 0 ? 'user www-data;' : '';
    $t->write_conf(conf => ZLTunnel::load_modules() . <<"EOT" . $conf);
$user
worker_processes 1;
daemon off;
pid $dir/nginx.pid;
error_log $dir/logs/error.log info;
events { worker_connections 512; }
EOT
    $t->start;

    # the office
    write_file("$dir/office/agent.conf", $place->($block{ini}[0]), 0600);
    local $ENV{SSL_CERT_FILE} = "$certs/ca.pem";

    my $start = sub {
        my ($name, $command, @more) = @_;
        my ($program, @args) = split ' ', $place->($command);
        is($program, 'zltunnel-agent', "$name: @args");
        return $t->spawn($name, $ZLTunnel::AGENT, @args, @more);
    };

    my $office = $start->('office-agent', $block{sh}[1], '--control',
                          "$dir/office.sock");
    ok(wait_for(sub { $office->output =~ /^internal-api  tcp  /m }),
       'the office is there') or diag(slurp("$dir/logs/office-agent.err"));

    # Alice; on one machine the two have control sockets of their own
    my $alice = $start->('alice', $block{sh}[2], '--control',
                         "$dir/alice.sock");
    ok(wait_for(sub { $alice->output =~ /^Access/m }), 'Alice has access')
        or diag(slurp("$dir/logs/alice.err"));

    my $time = qr/(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d/;
    like($alice->output,
         qr/^Access internal-api at 127.0.0.1:$local until $time \(2h 0m\)\n$/,
         'as the document has it');

    my ($curl, $sessions) = split /\n/, $block{sh}[3];
    is($run->($place->($curl)), "the internal api\n", $curl);

    my $table = $run->("$sessions --control $dir/alice.sock");
    like($table, qr{^NAME +LOCAL +ID +STATE +REMAINING +OPEN/ALL +IN +OUT +SERVICE$}m,
         "$sessions: the head of the document's table");
    my ($head) = $text =~ /^    (NAME .*)$/m;
    is(join(' ', split ' ', (split /\n/, $table)[0]),
       join(' ', split ' ', $head), 'is that of the program');
    my ($id) = $table =~ /^internal-api +127.0.0.1:$local +(\w{32}) +open /m;
    ok($id, 'and its line') or diag($table);

    my ($renew, $stop) = split /\n/, $block{sh}[4];
    my $short = substr $id // '', 0, 8;

    s/3ede9521/$short/ for $renew, $stop;
    like($run->("$renew --control $dir/alice.sock"),
         qr/until $time \((4h 0m|3h 59m)\)/, $renew);
    $run->("$stop --control $dir/alice.sock");
    is($alice->wait(20), 0, "$stop ends it");
    ok(refuses($local), 'and the local address');

    is($office->stop, 0, 'the office ends');
    $t->finish;
}


sub read_line {
    my ($s) = @_;

    my $line = '';

    while ($line !~ /\n/) {
        vec(my $rin = '', fileno $s, 1) = 1;
        select($rin, undef, undef, 20 * $SLOW) or return 'timed out';
        my $n = sysread $s, $line, 1, length $line;
        return 'reset' if !defined $n;
        return undef if !$n;
    }

    return $line;
}
