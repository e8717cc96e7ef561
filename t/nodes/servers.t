#!/usr/bin/perl

# Protects: one agent at many servers.  A server that dies takes its own tunnel
# and no other; a stand-by takes over, and keeps what it has when the first is
# back; with "mode = all" the services are at each server; a reload that adds
# or takes away a server touches no connection that need not be.  And no tunnel
# waits for another one's name server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Wire;

my $token = ZLTunnel::random_token();
my @t;                          # two servers
my $echo;
my @clients;

subtest 'a tunnel at each' => \&each_one;
subtest 'stand-by' => sub { standby('ws') };
subtest 'stand-by, TLS' => sub { standby('wss') };
subtest 'a token refused at the first' => \&refused;
subtest 'at all of them' => \&all;
subtest 'reload' => \&reload;
subtest 'silent name servers' => \&names;

done_testing();


sub servers {
    @t = map { ZLTunnel->new(workers => 2, range => 6,
                             allow => [ qr/exited on signal 9/ ]) } 1 .. 2;

    for my $t (@t) {
        $t->token('alice', 'sessions=4', $token);
        $t->start;
    }

    $echo = $t[0]->service('echo');
}


# An agent waits for connections that are open.

sub over {
    $_->close for grep { defined } @clients;
    @clients = ();

    $t[0]->finish($t[1]);
}


# A whole nginx, as if its machine was gone.

sub crash {
    my ($t) = @_;

    kill 'KILL', $t->{nginx}->pid, $t->workers;
    $t->{nginx}->wait(10);

    ok(wait_for(sub { !connect_to($t->{http_port}) }, 10), 'a server is gone');
}


# Whether a connection through that port carries bytes.

sub carries {
    my ($c, $text) = @_;

    return 0 if !$c;
    $c->send($text);

    return ($c->take(length $text, 10) // '') eq $text;
}


sub client {
    my ($port) = @_;

    push @clients, ZLTunnel::Wire::Socket->new($port);
    return $clients[-1];
}


sub public_port {
    my ($link) = @_;

    return ($link->{services}[0]{public} // '') =~ /:(\d+)$/ ? $1 : 0;
}


sub logged_times { my ($t, $re) = @_; return scalar(() = $t->log =~ /$re/g) }


sub each_one {
    servers();

    my $agent = $t[0]->agent(wait => 0, token => $token, conf => <<"EOT");
[agent]
token_file = %%token_file%%
reconnect_interval = 500ms
max_reconnect_interval = 500ms

[tunnel one]
server = ${\ $t[0]->url('ws') }
local_port = $echo->{port}
expose = public

[tunnel two]
server = ${\ $t[1]->url('ws') }
local_port = $echo->{port}
expose = public
EOT

    my ($one, $two) = map { $agent->in_state($_, 'connected') } qw(one two);
    ok($one && $two, 'both are connected') or diag($agent->log);

    my ($port1, $port2) = map { public_port($_) } $one, $two;
    my $c = client($port2);

    ok(carries(client($port1), 'at one'), 'one carries bytes');
    ok(carries($c, 'at two'), 'two carries bytes');

    crash($t[0]);

    my $down = wait_for(sub {
        my $link = $agent->link('one');
        return $link && $link->{state} =~ /^(disconnected|failed)$/ && $link;
    }, 10);
    ok($down, 'the one knows');
    ok($down->{reason}, "and says why: " . ($down->{reason} // ''));

    ok(carries($c, 'still at two'), 'an open connection of the other goes on');
    ok(carries(client($port2), 'and new'), 'new ones are served');

    my $link = $agent->link('two');
    is($link->{state}, 'connected', 'the other has not left its state');
    is($link->{since}, $two->{since}, 'ever');
    is(logged_times($t[1], qr/agent "alice" (?:connected|is back)/), 1,
       'nor connected again');

    $t[0]->start;
    $link = $agent->in_state('one', 'connected', 20);
    ok($link, 'the one is back with its server');
    is(public_port($link), $port1, 'with its port');
    ok(carries(client($port1), 'at one again'), 'and carries bytes');
    ok(carries($c, 'all the time'), 'the other does to this day');

    over();
}


sub standby {
    my ($scheme) = @_;

    servers();

    my @url = map { $_->url($scheme, 'localhost') } @t;
    my $agent = $t[0]->agent(
        token => $token, server => $url[0], services => ["e:$echo->{port}"],
        args => [ '--server', $url[1], '--reconnect-interval', '300ms',
                  $scheme eq 'wss' ? ('--ca-file', ZLTunnel->certs . '/ca.pem')
                                   : () ]);

    my $link = $agent->in_state('agent', 'connected');
    is($link->{server}, $url[0], 'the first is used');
    is_deeply($link->{servers}, \@url, 'the other is known');
    is(logged_times($t[1], qr/agent "alice"/), 0, 'and left alone');

    my $c = client(public_port($link));
    ok(carries($c, 'first'), 'bytes go through the first');

    crash($t[0]);
    my $start = time;

    $link = wait_for(sub {
        my $l = $agent->link('agent');
        return $l && $l->{state} eq 'connected' && $l->{server} eq $url[1]
               && $l;
    }, 10);
    ok($link, sprintf 'the stand-by has it after %.2f s', time - $start)
        or diag($agent->log);
    like($c->ending(5), qr/^(eof|reset)$/, 'what ran through the first ends');
    ok(carries(client(public_port($link)), 'second'),
       'bytes go through the second');

    my $d = client(public_port($link));
    ok(carries($d, 'long'), 'a connection there');

    $t[0]->start;
    sleep 2;
    $link = $agent->link('agent');
    is($link->{server}, $url[1], 'it stays there when the first is back');
    is($link->{state}, 'connected', 'connected all the time');
    ok(carries($d, 'still'), 'and so does the connection');

    crash($t[1]);
    ok(wait_for(sub {
        my $l = $agent->link('agent');
        return $l && $l->{state} eq 'connected' && $l->{server} eq $url[0];
    }, 20), 'and returns to the first when the stand-by is gone');

    # stop and start begin at the first

    $t[1]->start;
    is(($agent->ask('stop', 'agent'))[0], 0, 'stop');
    is(($agent->ask('start', 'agent'))[0], 0, 'start');
    $link = $agent->in_state('agent', 'connected');
    is($link->{server}, $url[0], 'begins at the first');

    over();
}


sub refused {
    servers();

    my $agent = $t[0]->agent(token => $token, services => ["e:$echo->{port}"],
                             args => [ '--server', $t[1]->url('ws') ]);

    $t[0]->token('other');
    $t[0]->revoke('alice');

    my $link = wait_for(sub {
        my $l = $agent->link('agent');
        return $l && $l->{state} eq 'connected'
               && $l->{server} eq $t[1]->url('ws') && $l;
    }, 20);
    ok($link, 'a token that is refused at the first goes to the second');
    ok($link && carries(client(public_port($link)), 'x'), 'and serves there');

    over();
}


sub all {
    servers();

    my $agent = $t[0]->agent(token => $token, services => ["e:$echo->{port}"],
                             args => [ '--server', $t[1]->url('ws'),
                                       '--mode', 'all' ]);

    my $status = wait_for(sub {
        my $s = $agent->status or return 0;
        return @{ $s->{tunnels} } == 2
               && !(grep { $_->{state} ne 'connected' } @{ $s->{tunnels} })
               && $s;
    }, 20);
    ok($status, 'connected to both at once') or diag($agent->log);

    my @links = @{ $status->{tunnels} };
    is_deeply([ map { $_->{server} } @links ], [ map { $_->url('ws') } @t ],
              'a link at each');

    my @c = map { client(public_port($_)) } @links;
    ok(carries($c[$_], "at $_"), "bytes through server $_") for 0, 1;

    crash($t[0]);
    ok(carries($c[1], 'on'), 'the death of one does not touch the other');
    ok(carries(client(public_port($links[1])), 'new'), 'which serves on');

    my ($rc, $out) = $agent->ask('stop', 'agent');
    is($rc, 0, 'stop means both');
    $status = $agent->status;
    is(scalar(grep { $_->{state} eq 'disconnected' } @{ $status->{tunnels} }),
       2, 'and both are');

    over();
}


sub reload {
    servers();

    my @url = map { $_->url('ws') } @t;
    my $conf = sub {
        return "[agent]\ntoken_file = %%token_file%%\n"
               . "reconnect_interval = 300ms\n" . join('', map {
                   "server = $_\n" } @_)
               . "[service e]\nlocal = 127.0.0.1:$echo->{port}\n";
    };

    my $agent = $t[0]->agent(token => $token, conf => $conf->($url[0]));
    my $port = public_port($agent->in_state('agent', 'connected'));
    my $c = client($port);
    ok(carries($c, 'before'), 'a connection');

    $agent->write_conf($conf->(@url));
    is(($agent->ask('reload'))[0], 0, 'a stand-by is added');
    is_deeply($agent->link->{servers}, \@url, 'and known');
    $agent->write_conf($conf->(reverse @url));
    is(($agent->ask('reload'))[0], 0, 'the order changes');
    is($agent->link->{server}, $url[0], 'the tunnel stays where it is');
    is($agent->link->{state}, 'connected', 'connected');
    ok(carries($c, 'after'), 'the connection does not notice');
    is(logged_times($t[0], qr/agent "alice" (?:connected|is back)/), 1,
       'nor does the server');

    $agent->write_conf($conf->($url[1]));
    is(($agent->ask('reload'))[0], 0, 'the server in use is taken away');
    ok(wait_for(sub {
        my $l = $agent->link or return 0;
        return $l->{state} eq 'connected' && $l->{server} eq $url[1];
    }, 10), 'the tunnel goes to the one that is left');
    ok(carries(client(public_port($agent->link)), 'there'), 'and serves');

    over();
}


# Names are resolved by threads, and a thread waits for a name server that does
# not answer.  Others' names must not wait with it.

sub names {
    my @private = qw(unshare --mount --propagation private);

    plan(skip_all => 'only root can have a name server of its own')
        if $> != 0 || (run(@private, 'true'))[0] != 0;

    my $dns = IO::Socket::INET->new(LocalAddr => '127.0.0.53', Proto => 'udp',
                                    LocalPort => 53)
           || IO::Socket::INET->new(LocalAddr => '127.0.0.54', Proto => 'udp',
                                    LocalPort => 53)
        or plan(skip_all => "no port for a name server: $!");

    servers();

    my $dir = $t[0]{dir};
    my $program = "$dir/with-resolver";
    write_file("$dir/resolv.conf",
               'nameserver ' . $dns->sockhost . "\noptions timeout:20\n", 0644);
    write_file($program, "#!/bin/sh\nexec @private sh -c 'mount --bind "
               . "$dir/resolv.conf /etc/resolv.conf && exec \"\$\@\"' sh "
               . "$ZLTunnel::AGENT \"\$\@\"\n", 0755);

    my $conf = "[agent]\ntoken_file = %%token_file%%\n" . join '', map {
        "[tunnel silent$_]\nserver = ws://name$_.example.com/\n"
        . "local_port = 1\n" } 1 .. 5;
    $conf .= "[tunnel works]\nserver = " . $t[0]->url('ws', 'localhost')
             . "\nlocal_port = $echo->{port}\n";

    my $agent = $t[0]->agent(wait => 0, token => $token, conf => $conf,
                             program => $program);

    ok($agent->in_state('works', 'connected', 5),
       'a tunnel does not wait for the names of others')
        or diag($agent->log);
    is(scalar(grep { $_->{state} eq 'connecting' }
              @{ $agent->status->{tunnels} }), 5, 'which still wait');

    my $start = time;
    is($agent->stop, 0, 'nor does the end');
    cmp_ok(time - $start, '<', 3 * slowdown(), 'of the agent');

    over();
}
