#!/usr/bin/perl

# Protects: what the agent reads at once is taken for what it is, whatever
# comes behind it in the same read.  A client's bytes are never the server's
# messages, a channel that fails at once is idle again once and not twice, and
# a thousand connections in one read do not nest.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16 ext ws_frame announce);

my $t = ZLTunnel->new;
my $token = $t->token('alice');
my ($server, $agent);
my $ids = 0;

subtest 'a client that has spoken before RegisterOk' => \&spoken;
subtest 'Reset behind a Connect that fails' => \&refused;
subtest 'many in one read' => \&many;

$t->finish;


# A server with idle channels that are used again, and an agent at it.

sub setup {
    my ($services, %o) = @_;

    $server = ZLTunnel::Server->new($t, features => 7);
    $server->{hold}{Register} = 1 if $o{hold};

    $agent = $t->agent(token => $token, server => $server->url, wait => 0,
                       services => $services);

    $server->wait(sub {
        return $o{hold} ? @{ $server->{held} || [] } == @$services
                        : keys %{ $server->{services} } == @$services;
    }) or die 'no Register';
}

sub teardown {
    my $proc = $agent->{proc};

    is($server->{auths}, 1, 'one control channel all the time');
    unlike($agent->log, qr/WebSocket protocol|has ended|invalid message/,
           'and nothing that was not sent');

    $proc->kill('TERM');
    $server->wait(sub { !$proc->running }, 30);
    is($agent->stop, 0, 'the agent ends with 0');
    $server->close_all;
}


sub connect_to_service {
    my ($name) = @_;

    return announce(md5($name), id => pack 'a12 N', 'connection', ++$ids);
}

sub bytes_of {
    my ($ch) = @_;
    return join('', map { $_->[0] eq 'Data' ? $_->[1] : () }
                    @{ $ch->{frames} }) . ($ch->{raw} // '');
}

# Whether it has answered a Heartbeat with that time on its control channel.

sub beats {
    my ($time) = @_;

    return $server->wait(sub {
        my $control = $server->control or return 0;

        return grep { $_->[0] eq 'HeartbeatAck'
                      && $_->[1] eq pack 'Q>', $time }
                    @{ $control->{frames} };
    }, 10);
}


# The client of an idle channel has sent more than the agent takes with its
# Connect, when the RegisterOk comes that it waits for, and more behind that in
# one read.  The rest of its bytes is what a server would say, so that one that
# is taken for the server's does harm.

sub spoken {
    my $echo = $t->service('echo');

    setup([ map { "$_:$echo->{port}" } qw(one two) ], hold => 1);

    my $evil = ws_frame(msg('Disconnect', str16('client') . ext(1, "\0")),
                        mask => 0);
    my $bytes = substr $evil x 10000, 0, 200000;
    my $ch = $server->idle;
    my $idle = $server->conns('idle');

    $ch->say(connect_to_service('one')
             . join '', map { msg('Data', $_) } unpack '(a40000)*', $bytes);

    # it opens another one in its place when it has taken this one

    ok($server->wait(sub { $server->conns('idle') > $idle }), 'it is taken');

    my $control = $server->control;

    $control->say(join '', map { ws_frame($_, mask => 0) }
        msg('RegisterOk', md5('one') . ext(1, pack 'n', 30000)),
        msg('RegisterOk', md5('two') . ext(1, pack 'n', 30001)),
        map { msg('Heartbeat', pack 'Q>', $_) } 1 .. 20);

    ok(beats(20), 'what came behind RegisterOk has been read');
    ok($server->wait(sub { length bytes_of($ch) >= length $bytes }),
       'the service has had the client');
    ok(bytes_of($ch) eq $bytes, '.. byte by byte');
    is(join(' ', sort keys %{ $agent->services }), 'one two',
       'both services are registered');

    teardown();
}


# The service is not there, or not to be had, and the server has changed its
# mind in the same write.

sub refused {
    setup([ 'down:1' ]);

    for my $how (qw(nowhere down)) {
        for my $ending (qw(stays reset)) {
            for (1 .. 5) {
                my $ch = $server->idle;

                $ch->say(connect_to_service($how) . msg('Reset'));
                ok($server->wait(sub {
                    grep { $_->[0] eq 'ConnectFail' } @{ $ch->{frames} };
                }, 5), "$how, $ending: refused");

                if ($ending eq 'reset') {
                    setsockopt $ch->{s}, Socket::SOL_SOCKET(),
                               Socket::SO_LINGER(), pack 'i i', 1, 0;
                    $ch->drop;
                    next;
                }

                # it is idle again, and answers

                $ch->say(msg('Heartbeat', pack 'Q>', 77));
                ok($server->wait(sub {
                    $ch->{gone} || grep { $_->[0] eq 'HeartbeatAck' }
                                        @{ $ch->{frames} };
                }, 5) && !$ch->{gone}, '.. and idle again');

                $ch->{frames} = [];
                $ch->{kind} = 'idle';
            }
        }
    }

    teardown();
}


# Thousands of connections that fail at once, one behind the other.

sub many {
    setup([ 'down:1' ]);

    my $n = 5000;
    my $ch = $server->idle;

    $ch->say(join '', map { connect_to_service('nowhere') . msg('Reset') }
                      1 .. $n);

    is($server->wait(sub {
        my $fails = grep { $_->[0] eq 'ConnectFail' } @{ $ch->{frames} };
        return $ch->{gone} || $fails == $n && $fails;
    }, 30), $n, 'each is answered');

    $server->control->tell(msg('Heartbeat', pack 'Q>', 99));
    ok(beats(99), 'and the agent is there');

    teardown();
}
