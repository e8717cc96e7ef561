#!/usr/bin/perl

# Protects: a client that ended its own side and reads what it asked for late.
# The agent is done with the channel by then: it has sent all, and neither idle
# silence nor the end of a channel that is not kept may cost the client a byte.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Handle;
use Socket qw(PF_INET SOCK_STREAM SOL_SOCKET SO_RCVBUF INADDR_LOOPBACK
              pack_sockaddr_in);
use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Wire;

my $SIZE = 5_000_000;         # more than one kernel takes, less than all

subtest "$_->[0], $_->[1]" => \&late, @$_
    for [ 'ws', 'kept' ], [ 'ws', 'not kept' ], [ 'wss', 'not kept' ];

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


# A client whose kernel takes little for it.

sub small {
    my ($port) = @_;

    socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    setsockopt($s, SOL_SOCKET, SO_RCVBUF, 8192) or die "SO_RCVBUF: $!";
    connect($s, pack_sockaddr_in($port, INADDR_LOOPBACK)) or die "connect: $!";

    return bless { s => IO::Handle->new_from_fd($s, '+<'), in => '' },
        'ZLTunnel::Wire::Socket';
}
