#!/usr/bin/perl

# Protects: a client's end reaches the service as an end also where the channel
# is closed with it, since it is one too many, or the agent has said with its
# own end that it will not use it again.  The client's end may be held back for
# a moment, to go with the next connection, and none comes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(msg register);

my $t = ZLTunnel->new(range => 2, zltunnel => 'max_idle_channels 1;');
my $token = $t->token('alice');
$t->start;

my $tls = $t->tls_to($t->{tls_port});
my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
$agent->send_msg(register('web'));
my $port = $agent->expect('RegisterOk')->{port};

for my $to ($t->{http_port}, $tls->{port}) {
    my $scheme = $to == $tls->{port} ? 'wss' : 'ws';

    my $ch = channel($to);
    my $c = served($ch);
    my $other = channel($to);
    $ch->eof;
    ends($c, $ch, "$scheme, one too many");
    is(idle(), 1, 'the other one is idle');

    $c = served($other);
    $other->send_msg(msg('Eof') . msg('Retire'));
    ends($c, $other, "$scheme, retired with its end");
    is(idle(), 0, 'and none after that');
}

is($t->status->{reused}, 0, 'none was used again');

$agent->close;
$t->finish;


sub idle { $t->status->{tunnels}[0]{idle_channels} }

sub channel {
    my ($to) = @_;

    my $ch = ZLTunnel::Wire->channel($t, @{ $agent->{ok} }{qw(tunnel_id
        data_key)}, undef, port => $to);
    ok(wait_for(sub { idle() == 1 }), 'an idle channel');
    return $ch;
}


# A client's connection on it.

sub served {
    my ($ch) = @_;

    my $c = ZLTunnel::Wire::Socket->new($port);
    $c->send('hello');
    $ch->ack($ch->next);
    is($ch->bytes(5), 'hello', 'a connection');
    return $c;
}


# The service has ended, and now the client does.

sub ends {
    my ($c, $ch, $name) = @_;

    is($c->ending, 'eof', "$name: the service's end");
    $c->send('and');
    is($ch->bytes(3), 'and', 'more bytes');
    $c->shut;
    is($ch->ends, 'eof', "the client's end");
    is($ch->ending, 'eof', 'then the channel is closed');
    $ch->close;
}
