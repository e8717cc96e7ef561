package ZLTunnel::Server;

# A server by hand, for one agent: control channels, data channels, and what
# no real server would say.  It runs inside the test, whenever the test waits
# for something:
#
#     my $server = ZLTunnel::Server->new($t);
#     ... start an agent at $server->url ...
#     $server->wait(sub { $server->{services}{dns} });
#     my $ch = $server->idle;                     # an idle data channel
#     $ch->say(msg('DatagramOpen', ...));
#     $server->wait(sub { @{ $ch->{frames} } });
#
# Other sockets can be watched beside: $server->watch($socket, sub { ... }).

use strict;
use warnings;

use Digest::MD5 qw(md5);
use Digest::SHA qw(sha1_base64);
use IO::Socket::INET;
use Time::HiRes qw(time);

use ZLTunnel::Proc qw(slowdown);
use ZLTunnel::Wire qw(msg str16 ext %TYPE parse);

my %NAME = reverse %TYPE;


# Options: address; port; rcvbuf, of the connections it accepts; features, which it
# grants; interval (ms), of the agent's heartbeats.  $server->{hold}{Auth} = 1
# keeps messages of a type unanswered, until $server->release('Auth').  With
# $server->{grant} it grants access to whatever is asked for, and with
# $server->{busy} refuses it for a while.  $server->{meet} gets each request's
# head before it is answered, and may return an answer in place of an upgrade.
# With $server->{deal} it is a balancer: that gets each Auth, and returns the id
# of the node that the control channel has led to, and how many there are.

sub new {
    my ($class, $t, %o) = @_;

    my $port = $o{port} // $t->free_port;
    my $listen = IO::Socket::INET->new(LocalAddr => $o{address} // '127.0.0.1',
                                       Listen => 64,
                                       LocalPort => $port, ReuseAddr => 1)
        or die "listen: $!";

    setsockopt $listen, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(),
               pack 'i', $o{rcvbuf} if $o{rcvbuf};

    $listen->blocking(0);

    return bless { listen => $listen, port => $port, conns => {},
                   watched => {}, services => {}, auths => 0, hold => {},
                   interval => $o{interval} // 30000, refuse => {},
                   granted => $o{features} // 7,
                   tunnel => 'T' x 16, key => 'K' x 32 }, $class;
}


sub url { "ws://127.0.0.1:$_[0]{port}/tunnel/v1" }

sub close_all {
    my ($self) = @_;

    $_->drop for values %{ $self->{conns} };
    CORE::close($self->{listen});
}


sub watch {
    my ($self, $socket, $handler) = @_;
    $self->{watched}{ fileno $socket } = [ $socket, $handler ];
}

sub unwatch { delete $_[0]{watched}{ fileno $_[1] } }


# Serves until the condition holds and returns its value; undef when the time
# is over.

sub wait {
    my ($self, $cond, $timeout) = @_;

    my $end = time + ($timeout // 20) * slowdown();

    while (1) {
        my $value = $cond->();
        return $value if $value;
        return undef if time > $end;

        $self->turn(0.05);
    }
}


# Serves for so many seconds.

sub pass {
    my ($self, $seconds) = @_;

    my $end = time + $seconds;
    $self->turn($end - time) while time < $end;
}


sub turn {
    my ($self, $timeout) = @_;

    my ($rin, $win) = ('', '');

    vec($rin, fileno $self->{listen}, 1) = 1;
    vec($rin, $_, 1) = 1 for keys %{ $self->{watched} };

    for my $fd (keys %{ $self->{conns} }) {
        vec($rin, $fd, 1) = 1 unless $self->{conns}{$fd}{deaf};
        vec($win, $fd, 1) = 1 if length $self->{conns}{$fd}{out};
    }

    $timeout = 0 if $timeout < 0;
    select($rin, $win, undef, $timeout) > 0 or return;

    for my $fd (keys %{ $self->{conns} }) {
        my $c = $self->{conns}{$fd} or next;
        $c->flush if vec $win, $fd, 1;
        $c->input if vec($rin, $fd, 1) && $self->{conns}{$fd};
    }

    for my $fd (keys %{ $self->{watched} }) {
        my $w = $self->{watched}{$fd} or next;
        $w->[1]->($w->[0]) if vec $rin, $fd, 1;
    }

    if (vec $rin, fileno $self->{listen}, 1) {
        while (my $s = $self->{listen}->accept) {
            setsockopt $s, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
            $s->blocking(0);
            $self->{conns}{ fileno $s } = bless {
                server => $self, s => $s, in => '', out => '', frames => []
            }, 'ZLTunnel::Server::Conn';
        }
    }
}


sub conns {
    my ($self, $kind) = @_;

    return grep { ($_->{kind} // '') eq $kind } values %{ $self->{conns} };
}

sub control { ($_[0]->conns('control'))[0] }


# Answers so many of the messages that were held, or all of them.

sub release {
    my ($self, $type, $n) = @_;

    my @held = grep { $_->[1]{type} eq $type } @{ $self->{held} };
    splice @held, $n if defined $n;

    delete $self->{hold}{$type} if !defined $n;

    for my $held (@held) {
        $self->{held} = [ grep { $_ != $held } @{ $self->{held} } ];
        $held->[0]->answer($held->[1]) if !$held->[0]{gone};
    }

    return scalar @held;
}


# An idle channel that is used from now on; waits for one.

sub idle {
    my ($self) = @_;

    my $ch = $self->wait(sub { ($self->conns('idle'))[0] })
        or die 'no idle channel';

    $ch->{kind} = 'used';
    return $ch;
}


package ZLTunnel::Server::Conn;

use Digest::MD5 qw(md5);
use Digest::SHA qw(sha1_base64);

use ZLTunnel::Wire qw(msg str16 ext %TYPE parse);


sub say {
    my ($self, $bytes) = @_;

    return if $self->{gone};
    $self->{out} .= $bytes;
    $self->flush;
}


sub flush {
    my ($self) = @_;

    my $n = syswrite $self->{s}, $self->{out};

    if (defined $n) {
        substr $self->{out}, 0, $n, '';

    } elsif (!$!{EAGAIN}) {
        $self->drop('reset');
    }
}


sub drop {
    my ($self, $how) = @_;

    return if $self->{gone};
    $self->{gone} = $how // 'dropped';
    delete $self->{server}{conns}{ fileno $self->{s} };
    CORE::close($self->{s});
}


sub input {
    my ($self) = @_;

    my $n = sysread $self->{s}, $self->{in}, 262144, length $self->{in};

    if (!$n) {
        return if !defined $n && $!{EAGAIN};
        return $self->drop(defined $n ? 'eof' : 'reset');
    }

    $self->upgrade if !$self->{kind};
    return if !$self->{kind} || $self->{gone};

    $self->{kind} eq 'control' ? $self->websocket : $self->framed;
}


sub upgrade {
    my ($self) = @_;

    $self->{in} =~ s/^(.*?)\r\n\r\n//s or return;
    my $head = $1;
    my %h = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () }
            split /\r\n/, $head;

    $self->{head} = \%h;

    my $answer = $self->{server}{meet} && $self->{server}{meet}->($head);

    if (defined $answer) {
        $self->{kind} = 'answered';
        $self->say($answer);
        return;
    }

    if (lc $h{upgrade} eq 'zltunnel') {
        $self->{kind} = defined $h{'zltunnel-connection'} ? 'fresh'
                        : defined $h{'zltunnel-access'} ? 'visit' : 'idle';
        $self->say("HTTP/1.1 101 Switching Protocols\r\n"
                   . "Upgrade: zltunnel\r\nConnection: Upgrade\r\n"
                   . "Zltunnel-Worker: 0/1\r\n\r\n");
        return;
    }

    my $accept = sha1_base64($h{'sec-websocket-key'}
                             . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11');
    $self->{kind} = 'control';
    $self->say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
               . "Connection: Upgrade\r\nSec-WebSocket-Accept: $accept=\r\n"
               . "\r\n");
}


sub framed {
    my ($self) = @_;

    my $pos = 0;

    while (!defined $self->{raw} && length($self->{in}) - $pos >= 5) {
        my ($type, $len) = unpack "x$pos C N", $self->{in};
        last if length($self->{in}) - $pos < 5 + $len;

        push @{ $self->{frames} }, [ $NAME{$type} // $type,
                                     substr $self->{in}, $pos + 5, $len ];
        $pos += 5 + $len;
        $self->{raw} = '' if $type == $TYPE{Raw};
    }

    substr $self->{in}, 0, $pos, '';

    # behind Raw there are no more frames

    if (defined $self->{raw}) {
        $self->{raw} .= $self->{in};
        $self->{in} = '';
    }
}


sub websocket {
    my ($self) = @_;

    while (length $self->{in} >= 6) {
        my ($op, $len) = unpack 'C C', $self->{in};
        my $head = 2;

        $len &= 0x7f;
        ($len, $head) = (unpack('x2 n', $self->{in}), 4) if $len == 126;
        $head += 4;
        return if length $self->{in} < $head + $len;

        my $mask = substr $self->{in}, $head - 4, 4;
        my $payload = substr($self->{in}, $head, $len)
                      ^ substr $mask x ($len / 4 + 1), 0, $len;
        substr $self->{in}, 0, $head + $len, '';

        if (($op & 15) == 8) {
            $self->{close} = $payload;
            return $self->drop('eof');
        }

        push @{ $self->{pongs} }, $payload if ($op & 15) == 10;
        $self->message(parse($payload)) if ($op & 15) == 2;
        return if $self->{gone};
    }
}


sub tell {
    my ($self, $bytes) = @_;
    $self->say(ZLTunnel::Wire::ws_frame($bytes, mask => 0));
}


sub message {
    my ($self, $m) = @_;

    $self->{server}{hear}->($m) if $self->{server}{hear};

    if ($self->{server}{hold}{ $m->{type} }) {
        push @{ $self->{server}{held} }, [ $self, $m ];

    } else {
        $self->answer($m);
    }
}


sub answer {
    my ($self, $m) = @_;

    my $server = $self->{server};

    if ($m->{type} eq 'Auth') {
        $server->{auths}++;
        $server->{auth} = $m;
        $server->{features} = unpack 'N', $m->{ext}{1};

        my ($tunnel, @nodes) = ($server->{tunnel});

        if ($server->{deal}) {
            my ($node, $n) = $server->{deal}->($m, $self);

            @nodes = (8 => $node, defined $n ? (9 => pack 'n', $n) : ());
            $self->{node} = $node;

            if (grep { $_ eq $node } unpack '(a16)*', $m->{ext}{5} // '') {
                $self->{double} = 1;
                $self->tell(msg('AuthOk', "\0" x 16 . ext(@nodes)));
                $self->say("\x88\x02\x03\xe8");
                return;
            }

            $tunnel ^= $node;
        }

        $self->tell(msg('AuthOk', $tunnel . ext(
            1 => pack('N', $server->{granted}), 2 => $server->{key},
            3 => 'R' x 32, 4 => pack('N N', $server->{interval}, 40000),
            5 => pack('n n', 2, 16), @nodes)));

    } elsif ($m->{type} eq 'Register' && $server->{refuse}{ $m->{name} }) {
        my $code = $server->{code}{ $m->{name} };
        $self->tell(msg('RegisterFail', str16($server->{refuse}{ $m->{name} })
                        . (defined $code ? ext(1 => pack 'C', $code) : '')));

    } elsif ($m->{type} eq 'Register') {
        my $id = md5($m->{name});
        $server->{services}{ $m->{name} } = { %$m, id => $id };
        $self->tell(msg('RegisterOk', $id . ext(1 => pack('n', 30000))));

    } elsif ($m->{type} eq 'Unregister') {
        for my $name (keys %{ $server->{services} }) {
            delete $server->{services}{$name}
                if $server->{services}{$name}{id} eq $m->{service_id};
        }

    } elsif ($m->{type} eq 'AccessOpen' && $server->{busy}) {
        $self->tell(msg('AccessFail', str16('busy') . ext(1 => pack 'C', 10)));

    } elsif ($m->{type} eq 'AccessOpen' && $server->{grant}) {
        $server->{sessions}{ $m->{name} }++;
        $self->tell(msg('AccessOk', md5($m->{name}) . pack 'N', 0));

    } elsif ($m->{type} eq 'Heartbeat') {
        $self->tell(msg('HeartbeatAck', $m->{payload}));

    } else {
        push @{ $self->{frames} }, [ $m->{type}, $m->{payload} ];
    }
}


1;
