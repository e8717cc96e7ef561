#!/usr/bin/perl

# Protects: nginx and the agent agree on what is bulk, and with docs/protocol.md:
# a direction turns raw when it was read three times with 16 KiB or more, one
# after the other, and not by less; nothing does under TLS, where splice() cannot
# follow.  Each is tried with a peer by hand.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg register announce);

my ($read, $times) = (16384, 3);

my $doc = slurp("$ZLTunnel::ROOT/docs/protocol.md");
like($doc, qr/\(three reads of at least 16 KiB,/,
     'what is written');

subtest 'nginx' => \&nginx;
subtest 'nginx, under TLS' => \&under_tls;
subtest 'the agent' => \&agent;

done_testing();


# What a sender makes of pieces of so many bytes: how many of them went as
# messages before Raw, or "all".  piece() sends one, next_of() gives a message.

sub messages {
    my ($size, $piece, $next_of, $pieces) = @_;
    my $whole = 0;

    for (1 .. $pieces // 3 * $times) {
        $piece->('x' x $size);

        for (my $got = 0; $got < $size; ) {
            my $m = $next_of->() or return 'nothing';
            return $whole if $m->[0] eq 'Raw';
            return $m->[0] if $m->[0] ne 'Data';
            $got += length $m->[1];
        }

        $whole++;
    }

    return 'all';
}


sub judge {
    my ($try) = @_;

    is($try->($read), $times, "$read bytes: Raw behind $times messages");
    is($try->($read - 1), 'all', 'a byte less: messages to the end');

    # no more, since the kernel takes 32 KiB at once, and the reader may be
    # awake in between: two reads of 16 KiB would count as two

    is($try->(2 * $read - 1), $times, 'much more: the same');
}


sub nginx {
    my $t = ZLTunnel->new(workers => 1);
    my $token = $t->token('alice');
    $t->start;

    my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
    $agent->send_msg(register('e'));
    my $port = $agent->expect('RegisterOk')->{port};
    my @ok = @{ $agent->{ok} }{qw(tunnel_id data_key)};

    judge(sub {
        my ($size) = @_;
        my $d = ZLTunnel::Wire->channel($t, @ok);
        wait_for(sub { $t->status->{tunnels}[0]{idle_channels} })
            or die 'no idle channel';

        my $c = ZLTunnel::Wire::Socket->new($port);
        my $m = $d->next;
        $d->ack($m);
        sleep 0.1;

        my $n = messages($size, sub { $c->send($_[0]) }, sub {
            my $m = $d->next(5) or return undef;
            return [ $m->{type}, $m->{payload} ];
        });

        $_->reset for $c, $d;
        return $n;
    });

    $agent->close;
    $t->finish;
}


sub under_tls {
    my $t = ZLTunnel->new(workers => 1);
    my $token = $t->token('alice');
    $t->start;

    my $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
    $agent->send_msg(register('e'));
    my $port = $agent->expect('RegisterOk')->{port};
    my $d = ZLTunnel::Wire->channel($t,
        @{ $agent->{ok} }{qw(tunnel_id data_key)}, undef, tls => 1);
    wait_for(sub { $t->status->{tunnels}[0]{idle_channels} })
        or die 'no idle channel';

    my $c = ZLTunnel::Wire::Socket->new($port);
    $d->ack($d->next);

    is(messages($read, sub { $c->send($_[0]) }, sub {
        my $m = $d->next(5) or return undef;
        return [ $m->{type}, $m->{payload} ];
    }, 100), 'all', 'messages to the end');

    # a server in front may end the TLS of a sender that does not know

    $d->send(msg('Raw') . 'raw bytes');
    is($c->take(9), 'raw bytes', 'but Raw is understood');

    $_->reset for $c, $d;
    $agent->close;
    $t->finish;
}


sub agent {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $service = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8)
        or die "listen: $!";
    my $server = ZLTunnel::Server->new($t, features => 7);
    my @s;

    $server->watch($service, sub { push @s, scalar $service->accept });

    my $agent = $t->agent(token => $token, server => $server->url, wait => 0,
                          services => [ 'e:' . $service->sockport ]);
    $server->wait(sub { $agent->port('e') }) or die 'no service';

    judge(sub {
        my ($size) = @_;
        my $ch = $server->idle;
        @s = ();
        $ch->{frames} = [];
        $ch->say(announce(md5('e')));
        $server->wait(sub { @s && @{ $ch->{frames} } }) or die 'no ConnectAck';
        shift @{ $ch->{frames} };

        my $n = messages($size, sub { syswrite $s[0], $_[0] }, sub {
            return $server->wait(sub { shift @{ $ch->{frames} } }, 5);
        });

        $ch->drop;
        close $s[0];
        return $n;
    });

    $agent->{proc}->kill('KILL');
    $agent->{proc}->wait(10);
    $server->close_all;
    $t->finish;
}
