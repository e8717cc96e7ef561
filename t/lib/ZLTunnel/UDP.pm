package ZLTunnel::UDP;

# UDP for the tests: clients, and an agent by hand, which says whatever it is
# told to on its datagram channels.
#
#     my $a = ZLTunnel::UDP->agent($t, $token, 'dns', channels => 2);
#     my $c = ZLTunnel::UDP->client($a->port('dns'));
#     $c->send('hello');
#     my $m = $a->expect('DatagramOpen');        # then Datagram
#     $a->answer($m, 'world');
#     is($c->recv, 'world');

use strict;
use warnings;

use IO::Socket::IP;
use Test::More;
use Time::HiRes qw(time);

use ZLTunnel::Wire qw(msg register datagram);

use constant { SO_RCVBUFFORCE => 33 };


# A client with a socket of its own, connected, so that it sees refusals.  Its
# port was no former client's: whoever comes from the same address is the same
# client to nginx, and goes on in its session.

my %had;

sub client {
    my ($class, $port, %o) = @_;

    my ($s, @again);

    while (1) {
        $s = IO::Socket::IP->new(Proto => 'udp', PeerHost => '127.0.0.1',
                                 PeerPort => $port, %o)
            or die "no UDP socket: $@";

        last if !$had{ $s->sockhost . ' ' . $s->sockport . " $port" }++
                || $o{LocalPort};
        push @again, $s;
    }

    setsockopt $s, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4_000_000;
    setsockopt $s, Socket::SOL_SOCKET(), SO_RCVBUFFORCE, 4_000_000;

    my $host = $s->sockhost =~ /:/ ? '[' . $s->sockhost . ']' : $s->sockhost;

    return bless { s => $s, port => $port, addr => "$host:" . $s->sockport },
                 'ZLTunnel::UDP::Client';
}


# Services are registered for UDP, all of them; channels: idle ones.

sub agent {
    my ($class, $t, $token, $services, %o) = @_;

    my $c = ZLTunnel::Wire->agent($t, $token, %o) or die 'no control channel';
    my $self = bless { t => $t, control => $c, channels => [], got => [] },
        'ZLTunnel::UDP::Agent';

    for my $name (ref $services ? @$services : $services) {
        $c->send_msg(register($name, udp => 1, %o));
        my $m = $c->expect('RegisterOk');
        $self->{services}{$name} = { id => $m->{service_id},
                                     port => $m->{port} };
    }

    $self->channel for 1 .. $o{channels} // 1;

    return $self;
}


# Whether a UDP port answers port unreachable.

sub refuses {
    my ($port, %o) = @_;

    my $c = ZLTunnel::UDP->client($port, %o);
    my $r = ZLTunnel::wait_for(sub {
        $c->send('?');
        defined $c->recv(0.2) ? 'answered' : $c->{refused} ? 'refused' : 0;
    }, 3) // 'silent';

    return $r eq 'refused';
}


package ZLTunnel::UDP::Client;

sub send {
    my ($self, $data) = @_;
    return defined CORE::send($self->{s}, $data, 0);
}


# The next datagram, or undef: when time is over, or refused, see {refused}.

sub recv {
    my ($self, $timeout) = @_;

    vec(my $rin = '', fileno $self->{s}, 1) = 1;
    select($rin, undef, undef, $timeout // 10) or return undef;

    $self->{refused} = 0;
    defined CORE::recv($self->{s}, my $data, 70000, Socket::MSG_DONTWAIT())
        or do { $self->{refused} = $!{ECONNREFUSED}; return undef };

    return $data;
}


package ZLTunnel::UDP::Agent;

use Test::More;
use Time::HiRes qw(time);

sub port { $_[0]{services}{ $_[1] }{port} }
sub id { $_[0]{services}{ $_[1] }{id} }


# One more idle channel, or one that answers a Connect.

sub channel {
    my ($self, $connection) = @_;

    my $ok = $self->{control}{ok};
    my $c = ZLTunnel::Wire->channel($self->{t}, $ok->{tunnel_id},
                                    $ok->{data_key}, $connection)
        or die "no data channel: $!\n";

    die "data channel: $c->{answer}{status}\n" if $c->{answer}{status} != 101;

    push @{ $self->{channels} }, $c;
    $self->frames($c);                 # what came right behind the answer

    return $c;
}


# The next frame on any channel, with its {channel}; heartbeats are answered.
# Connects on the control channel are answered by a fresh channel, unless
# {deaf}.  undef when time is over.

sub next {
    my ($self, $timeout) = @_;

    my $end = time + ($timeout // 10);

    while (1) {
        return shift @{ $self->{got} } if @{ $self->{got} };

        my $left = $end - time;
        return undef if $left <= 0;

        my @c = grep { !$_->{end} } @{ $self->{channels} }, $self->{control};
        my $rin = '';
        vec($rin, fileno $_->{s}, 1) = 1 for @c;
        select(my $r = $rin, undef, undef, $left) > 0 or return undef;

        for my $c (@c) {
            next unless vec($r, fileno $c->{s}, 1);
            $c->fill(0);

            if ($c == $self->{control}) {
                $self->control;
            } else {
                $self->frames($c);
            }
        }
    }
}


sub control {
    my ($self) = @_;

    my $c = $self->{control};

    while (length $c->{in} >= 2) {
        my ($len) = unpack 'x C', $c->{in};
        my $need = $len < 126 ? 2 + $len : 4 + unpack 'x2 n', "$c->{in}\0\0";
        last if length $c->{in} < $need;

        my $m = $c->next(1) // last;
        $self->{connects}++ if $m->{type} eq 'Connect';
        push @{ $self->{said} }, $m;

        $self->channel($m->{connection_id})
            if $m->{type} eq 'Connect' && !$self->{deaf};
    }
}


sub frames {
    my ($self, $c) = @_;

    while (length $c->{in} >= 5) {
        my ($len) = unpack 'x N', $c->{in};
        last if length $c->{in} < 5 + $len;

        my $m = ZLTunnel::Wire::parse(substr $c->{in}, 0, 5 + $len, '');
        $m->{channel} = $c;

        if ($m->{type} eq 'Heartbeat') {
            $c->{beats}++;
            $c->send(ZLTunnel::Wire::msg('HeartbeatAck', $m->{payload}))
                unless $self->{mute};
            next;
        }

        push @{ $self->{got} }, $m;
    }
}


sub expect {
    my ($self, $type, $timeout) = @_;

    my $m = $self->next($timeout) // { type => 'none' };

    Test::More::diag("expected $type, got $m->{type}") if $m->{type} ne $type;
    return $m;
}


# The open and the first datagram of a session.

sub session {
    my ($self, $data) = @_;

    my $open = $self->expect('DatagramOpen');
    my $m = $self->expect('Datagram');

    Test::More::is($m->{data}, $data, 'its first datagram') if defined $data;
    Test::More::is($m->{session}, $open->{session}, 'of the session opened');

    return $open;
}


sub answer {
    my ($self, $m, $data) = @_;
    return $m->{channel}->send(ZLTunnel::Wire::datagram($m->{session}, $data));
}


sub close {
    my ($self) = @_;
    $_->close for @{ $self->{channels} }, $self->{control};
}


1;
