#!/usr/bin/perl

# Protects: a client that ended its own side and reads what it asked for late.
# The agent is done with the channel by then: it has sent all, and neither idle
# silence nor the end of a channel that is not kept may cost the client a byte.
#
# Long: an agent that has gone, and a client that pauses for more than a minute,
# at another worker than the channel.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Socket qw(PF_INET SOCK_STREAM SOL_SOCKET SO_RCVBUF INADDR_LOOPBACK
              pack_sockaddr_in);
use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Wire qw(register);

my $SIZE = 5_000_000;         # more than one kernel takes, less than all

subtest "$_->[0], $_->[1]" => \&late, @$_
    for [ 'ws', 'kept' ], [ 'ws', 'not kept' ], [ 'wss', 'not kept' ];

subtest 'an agent that is gone' => \&gone;
subtest 'a minute' => \&minute
    if sizes('seconds of a pause', 70, 0);

done_testing();


sub late {
    my ($scheme, $idle) = @_;

    my $t = ZLTunnel->new(range => 2);
    my $token = $t->token('alice');
    $t->start;

    my $source = $t->service('source', $SIZE);
    my $agent = $t->agent(
        token => $token, tls => $scheme eq 'wss',
        conf => "[agent]\nserver = " . $t->url($scheme) . "\n"
                . "token_file = %%token_file%%\n"
                . ($scheme eq 'wss' ? 'ca_file = ' . $t->certs . "/ca.pem\n"
                                    : '')
                . ($idle eq 'not kept' ? "max_idle = 0\n" : '')
                . "[service source]\nlocal = $source->{port}\n");

    my $c = small($agent->port('source'));
    $c->shut;

    # longer than the agent waits for a server that does not close

    sleep 9;

    is($c->ending(60), 'eof', 'the client has an end, and no reset');
    is(length $c->{in}, $SIZE, 'behind every byte');

    $t->finish;
}


# An agent sends all, ends, and is gone: what nginx sends it is answered by a
# reset, while there are bytes of it that the client has not taken.

sub gone {
    my $size = 150_000;       # what is not taken is in the worker's kernel

    my $t = ZLTunnel->new(range => 2);
    my $token = $t->token('alice');
    my $pass = $t->free_port;
    $t->write_conf(stream => "server { listen 127.0.0.1:$pass sndbuf=16k;
                                       zltunnel_pass e token=alice; }");
    $t->start;

    my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
    $agent->send_msg(register('e'));
    $agent->expect('RegisterOk');
    my $ch = ZLTunnel::Wire->channel($t, @{ $agent->{ok} }{qw(tunnel_id
                                                              data_key)});

    my $c = small($pass);
    $c->shut;
    $ch->ack($ch->next);
    is($ch->ends, 'eof', 'the client ends');
    $ch->data('x' x 50_000) for 1 .. $size / 50_000;
    $ch->eof;
    CORE::shutdown $ch->{s}, 1;

    ok(wait_for(sub { run_ok('ss', '-tnH', 'state', 'close-wait', 'sport', '=',
                             ":$t->{http_port}") }), 'its end has come');
    $ch->reset;

    is($c->ending(20), 'eof', 'the client has an end, and no reset');
    is(length $c->{in}, $size, 'behind every byte');

    $agent->close;
    $t->finish;
}


# The channel is at one worker, the client at the other.

sub minute {
    my $t = ZLTunnel->new(workers => 2, range => 30);
    my $token = $t->token('alice');
    $t->start;

    # one of them ends where the kernel of the worker with the channel has the
    # rest, and the end behind it

    my %size = map { $_ => $_ * 100_000 } 25 .. 50;
    my %source = map { $_ => $t->service('source', $size{$_}) } keys %size;
    my ($holder, $other) = $t->workers;

    halt($other);
    my $agent = $t->agent(token => $token, tls => 1, services =>
        [ map { "source-$_:$source{$_}{port}" } sort keys %size ]);
    ok(wait_for(sub { $t->status->{tunnels}[0]{idle_channels} }), 'channels');

    my %c;

    for my $n (sort keys %size) {
        halt($holder);
        kill CONT => $other;
        my $c = $c{$n} = small($agent->port("source-$n"));
        wait_for(sub { has_connection($other, $c->{s}->peerport,
                                      $c->{s}->sockport) }) or die;
        kill CONT => $holder;
        wait_for(sub { $t->events($source{$n}, 'accept') }) or die;
    }

    cmp_ok($t->status->{acquired}{bridged}, '>', 0, 'over bridges');

    $c{$_}->shut for keys %c;
    ok(wait_for(sub { keys %c == grep { $t->events($source{$_}, 'close') }
                                      keys %c }, 30),
       'the services are done with them');
    $agent->stop;

    sleep 70;

    for my $n (sort keys %c) {
        is($c{$n}->ending(60), 'eof', 'a client has an end, and no reset');
        is(length $c{$n}{in}, $size{$n}, 'behind every byte');
    }

    $t->finish;
}


# A client whose kernel takes little for it.

sub small {
    my ($port) = @_;

    socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    setsockopt($s, SOL_SOCKET, SO_RCVBUF, 8192) or die "SO_RCVBUF: $!";
    connect($s, pack_sockaddr_in($port, INADDR_LOOPBACK)) or die "connect: $!";

    return bless { s => IO::Socket::INET->new_from_fd($s, '+<'), in => '' },
        'ZLTunnel::Wire::Socket';
}
