#!/usr/bin/perl

# Protects: an agent with "mode = all" whose server's name has many addresses.
# It has a link at each of them, all of whose channels go there; an address that
# is new gets one, one that is gone loses its own without harm to what runs; and
# a name server that fails, or knows nothing, takes nothing away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Names;
use ZLTunnel::Wire;

my $why = ZLTunnel::Names::missing();
plan(skip_all => $why) if $why;

my $token = ZLTunnel::random_token();
my $PORT = 4433;                # of all of them, in the test's own network
my @t;                          # the nodes, at 127.0.0.2 and so on
my ($names, $echo, $agent);
my @clients;

nodes();

subtest 'a link at each address' => \&each_address;
subtest 'a node dies, and is back' => \&death;
subtest 'addresses that come and go' => \&changes;
subtest 'reload, stop and start' => \&commands;
subtest 'no more than "nodes"' => \&bounded;
subtest 'a token that all refuse' => \&refused;

$t[0]->finish(@t[1 .. 3]);


sub nodes {
    for my $n (2 .. 5) {
        push @t, ZLTunnel->new(
            workers => 2, range => 4, allow => [ qr/exited on signal 9/ ],
            http => <<"EOT");
server {
    listen 127.0.0.$n:$PORT;
    location = /tunnel/v1 { zltunnel; }
}
EOT
        $t[-1]->token('alice', 'sessions=4', $token);
        $t[-1]->start;
    }

    $echo = $t[0]->service('echo');
    $names = ZLTunnel::Names->new($t[0]);
    known(2, 3, 4);
    $names->serve;

    $agent = $t[0]->agent(wait => 0, token => $token, conf => conf(),
                          program => $names->program);
}


sub conf {
    my (@lines) = @_;

    return <<"EOT" . join('', map { "$_\n" } @lines) . <<"EOS";
[agent]
server = ws://nodes.test:$PORT
mode = all
token_file = %%token_file%%
reconnect_interval = 300ms
max_reconnect_interval = 500ms
EOT
[service e]
local = 127.0.0.1:$echo->{port}
EOS
}


sub known {
    $names->answers('nodes.test' => join ',', map { "127.0.0.$_" } @_);
}


sub reload {
    my (@lines) = @_;

    $agent->write_conf(conf(@lines));
    is(($agent->ask('reload'))[0], 0, "reload: @lines");
}


# The links that are connected, by the last number of their address.

sub up {
    my $s = $agent->status or return {};

    return { map { $_->{address} =~ /^127\.0\.0\.(\d+):$PORT$/ ? ($1 => $_)
                                                               : () }
             grep { $_->{state} eq 'connected' } @{ $s->{tunnels} } };
}


sub links { scalar @{ ($agent->status || { tunnels => [] })->{tunnels} } }


sub are_up {
    my ($what, $timeout, @n) = @_;

    my $links = wait_for(sub {
        my $up = up();
        return join(' ', sort keys %$up) eq join(' ', @n)
               && links() == @n && $up;
    }, $timeout);
    ok($links, $what)
        or diag("up: @{[ sort keys %{ up() } ]}\n",
                $agent->log =~ s/(.*\n)*?(?=(.*\n){1,25}$)//r);

    return $links || {};
}


sub carries {
    my ($c, $text) = @_;

    return 0 if !$c;
    $c->send($text);

    return ($c->take(length $text, 10) // '') eq $text;
}


sub client {
    my ($link) = @_;

    my ($port) = ($link->{services}[0]{public} // '') =~ /:(\d+)$/;
    push @clients, ZLTunnel::Wire::Socket->new($port // 1);

    return $clients[-1];
}


sub agents {
    my ($t) = @_;
    return scalar(() = $t->log =~ /agent "alice" (?:connected|is back)/g);
}


sub each_address {
    my $up = are_up('a link is connected to each', 20, 2, 3, 4);

    is_deeply([ map { agents($_) } @t ], [ 1, 1, 1, 0 ],
              'each server has one agent, once');
    is($up->{$_}{server}, "ws://nodes.test:$PORT", "$_: at the same server")
        for sort keys %$up;

    # the address is the only one to which the connection can come

    ok(carries(client($up->{$_}), "at $_"), "bytes through 127.0.0.$_")
        for 2 .. 4;

    like($agent->log, qr/agent at nodes\.test:$PORT \(127\.0\.0\.$_\): /,
         "the log says which of them 127.0.0.$_ is") for 2 .. 4;

    my ($rc, $out) = $agent->ask('status');
    like($out, qr/^agent\s+connected\s.*\s127\.0\.0\.$_\s/m,
         "and so does the status of 127.0.0.$_") for 2 .. 4;
}


sub death {
    my $up = are_up('all are up', 5, 2, 3, 4);
    my @c = map { client($up->{$_}) } 2 .. 4;

    ok(carries($c[$_], 'x'), "connection $_") for 0 .. 2;

    # at the same time the name is not known

    my $asked = $names->asked('nodes.test');
    $names->answers('nodes.test' => 'none');

    my $t = $t[1];
    kill 'KILL', $t->{nginx}->pid, $t->workers;
    $t->{nginx}->wait(10);

    my $down = wait_for(sub {
        my ($l) = grep { $_->{address} =~ /^127\.0\.0\.3:/ }
                       @{ $agent->status->{tunnels} };
        return $l && $l->{state} =~ /^(disconnected|failed)$/ && $l;
    }, 10);
    ok($down, 'the link of the node that has died shows it');
    is(links(), 3, 'and is still there');
    ok(wait_for(sub { $names->asked('nodes.test') > $asked }, 20),
       'the name is looked up');
    ok(carries($c[$_], 'on'), "connection $_ goes on") for 0, 2;

    $t->start;
    are_up('it is back with its node, whatever the name server says', 20,
           2, 3, 4);
    ok(carries($c[$_], 'and on'), "connection $_ to this day") for 0, 2;
    is_deeply([ map { agents($_) } @t ], [ 1, 2, 1, 0 ],
              'nobody else has connected anew');
}


sub changes {
    my $up = are_up('all are up', 5, 2, 3, 4);
    my ($c, $d) = map { client($up->{$_}) } 2, 3;

    ok(carries($c, 'x') && carries($d, 'x'), 'connections at 2 and 3');

    known(3, 4, 5);
    $agent->ask('reload');

    are_up('the new one has a link, the one that is gone has none', 30,
           3, 4, 5);
    like($agent->log, qr/127\.0\.0\.2 is no address of nodes\.test any more/,
         'the log says so');
    ok(carries($c, 'still'), 'what runs through it goes on');
    ok(carries($d, 'still'), 'and what runs through others');
    is_deeply([ map { agents($_) } @t[1 .. 3] ], [ 2, 1, 1 ],
              'the others have not been disturbed');

    $c->close;
}


sub services {
    return join ' ', sort map { join ',', map { $_->{name} }
                                          @{ $_->{services} } }
                          values %{ up() };
}


sub commands {
    my $up = are_up('all are up', 5, 3, 4, 5);
    my $total = total();

    ok($total > 2, "$total connections were made");

    $agent->write_conf(conf() . "[service f]\nlocal = 127.0.0.1:1\n");
    is(($agent->ask('reload'))[0], 0, 'a service more');
    ok(wait_for(sub { services() eq 'e,f e,f e,f' }, 20), 'at each node')
        or diag(services());
    is_deeply([ map { $_->{since} } @{ up() }{3 .. 5} ],
              [ map { $_->{since} } @{$up}{3 .. 5} ], 'no link has moved');

    is(($agent->ask('stop', 'agent'))[0], 0, 'stop');
    is(keys %{ up() }, 0, 'no link is left');
    my ($rc, $out) = $agent->ask('status', '--ready');
    like($out, qr/the tunnel "agent" at 127\.0\.0\.$_ is disconnected/m,
         "127.0.0.$_ is not ready") for 3 .. 5;
    sleep 1.2;
    is(keys %{ up() }, 0, 'nor is one tried');

    is(($agent->ask('start', 'agent'))[0], 0, 'start');
    are_up('all are there again', 20, 3, 4, 5);
    is(total(), $total, 'figures count on');
}


# All connections, also of links that have gone.

sub total {
    my $n = 0;

    $n += $_->{connections}{total} for @{ $agent->status->{tunnels} };
    return $n;
}


# Who has typed it learns that it will not do, but not before all have said so.

sub refused {
    my $other = $t[0]->agent(
        wait => 0, token => ZLTunnel::random_token(), services => ['e:9'],
        server => "ws://nodes.test:$PORT", args => ['--mode', 'all'],
        program => $names->program);

    is($other->{proc}->wait(20), 2, 'the exit code');
    like($other->log, qr/\(127\.0\.0\.$_\): the server refuses the token/,
         "127.0.0.$_ has refused the token") for 3 .. 5;
}


sub bounded {
    reload('nodes = 2');

    my $two = wait_for(sub { my $up = up();
                             keys %$up == 2 && links() == 2 && $up }, 20);
    ok($two, 'no more than two are left');

    my @n = sort keys %{ $two || {} };
    reload('nodes = 2');
    sleep 1;
    are_up('and those stay', 5, @n);

    # another address is used where one of them fails

    my $t = $t[$n[0] - 2];
    kill 'KILL', $t->{nginx}->pid, $t->workers;
    $t->{nginx}->wait(10);

    my ($third) = grep { my $n = $_; !grep { $_ == $n } @n } 3 .. 5;
    are_up('one that fails gives way', 20, sort $n[1], $third);

    $t->start;
    reload();
    are_up('without a bound there are all again', 20, 3, 4, 5);

    $_->close for grep { defined } @clients;
    is($agent->stop, 0, 'the agent ends');
}
