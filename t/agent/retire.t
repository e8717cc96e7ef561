#!/usr/bin/perl

# Protects: an agent that will not use a channel again says so with its end of
# the connection, in one write: Retire is behind Eof or Reset, also
# where the server's end has yet to come, so that no dial meets the channel.
# It is so where it keeps no idle channels, after a reload that says so, and
# while it ends.  One that is used again has no Retire.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg announce);

my $t = ZLTunnel->new;
my $token = $t->token('alice');
my $port = $t->free_port;
my $bye = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 9,
                                LocalPort => $port, ReuseAddr => 1)
    or die "listen: $@";
my ($server, $agent, $ids);

subtest 'no idle channels' => sub {
    begin(0);
    ends(fresh(), 'shut', 'Eof Retire', 'the end of a service');
    ends(fresh(), 'reset', 'Reset Retire', 'a reset of one');
    stop();
};

subtest 'used again' => sub {
    begin(2);
    ends($_, 'shut', 'Eof', 'the end of a service') for idle(), fresh();
    ends(idle(), 'reset', 'Reset', 'a reset of one');
    stop();
};

subtest 'a reload that keeps none' => sub {
    begin(2);
    my $ch = idle();
    $agent->write_conf(conf(0));
    $agent->{proc}->kill('HUP');
    ok($server->wait(sub { !$server->conns('idle') }), 'no channel is idle');
    ends($ch, 'shut', 'Eof Retire', 'the end of a service');
    stop();
};

subtest 'an agent that ends' => sub {
    begin(2);
    my $ch = idle();
    $agent->{proc}->kill('TERM');
    ok($server->wait(sub { !$server->conns('idle') }), 'no channel is idle');
    ends($ch, 'shut', 'Eof Retire', 'the end of a service');
    stop();
};

$t->finish;


sub conf {
    my ($idle) = @_;

    return "[agent]\nserver = " . $server->url
           . "\ntoken_file = %%token_file%%\nmax_idle = $idle\n"
           . "[service bye]\nlocal = $port\n";
}


sub begin {
    my ($idle) = @_;

    $server = ZLTunnel::Server->new($t);
    $agent = $t->agent(token => $token, wait => 0, conf => conf($idle));
    $server->wait(sub { $server->{services}{bye} }) or die 'no Register';
}


sub stop {
    $agent->{proc}->kill('TERM');
    $server->wait(sub { !$agent->{proc}->running }, 30);
    is($agent->stop, 0, 'the agent ends with 0');
    $server->close_all;
}


sub to_bye { announce(md5('bye'), id => pack 'a12 N', 'connection', ++$ids) }


# A channel with a connection to the service, whose side is {service}.

sub served {
    my ($ch) = @_;

    ok($server->wait(sub {
        grep { $_->[0] eq 'ConnectAck' } @{ $ch->{frames} };
    }), 'connected');
    $ch->{service} = $bye->accept;
    $ch->{frames} = [];

    return $ch;
}

sub fresh {
    $server->control->tell(to_bye());
    my $ch = $server->wait(sub { ($server->conns('fresh'))[0] })
        or die 'no channel';
    $ch->{kind} = 'used';
    return served($ch);
}

sub idle {
    my $ch = $server->idle;
    $ch->say(to_bye());
    return served($ch);
}


# The service ends, and nothing is said about it for a moment; the server's own
# end follows.

sub ends {
    my ($ch, $how, $frames, $name) = @_;

    setsockopt $ch->{service}, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
               pack 'i i', 1, 0 if $how eq 'reset';
    close $ch->{service};

    my $came = sub { join ' ', map { $_->[0] } @{ $ch->{frames} } };

    $server->wait(sub { @{ $ch->{frames} } });
    is($came->(), $frames, "$name, with one write");

    $ch->say(msg($how eq 'reset' ? 'Reset' : 'Eof'));

    if ($frames =~ /Retire/) {
        ok($server->wait(sub { $ch->{gone} }), 'the channel is over');

    } else {
        $ch->say(msg('Heartbeat', 'x' x 8));
        ok($server->wait(sub { $came->() =~ /Ack/ }), 'the channel is idle');
    }

    is($came->() =~ s/ HeartbeatAck//r, $frames, 'nothing else was said');
}
