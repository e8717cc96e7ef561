package ZLTunnel::Wire;

# The wire protocol by hand, for the tests that must say what no real agent
# would say: messages, extension blocks, WebSocket frames, and a client of
# each kind of channel.  Written from docs/protocol.md, not from the C code.
#
#     my $c = ZLTunnel::Wire->control($t);         # upgraded
#     $c->auth($token, features => 1);
#     my $m = $c->expect('AuthOk');
#     my $d = ZLTunnel::Wire->channel($t, $m->{tunnel_id}, $m->{data_key});

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use IO::Socket::IP;
use MIME::Base64 qw(encode_base64);
use POSIX ();
use Socket ();
use Time::HiRes qw(time);

our @EXPORT_OK = qw(msg str16 ext ws_frame %TYPE parse new_id register
                    datagram datagram_open datagram_close access_open
                    access_renew access_close lane lane_credit lane_end
                    announce);

our %TYPE = (
    Auth => 0x01, AuthOk => 0x02, AuthFail => 0x03, Register => 0x10,
    RegisterOk => 0x11, RegisterFail => 0x12, Connect => 0x20,
    ConnectAck => 0x21, ConnectFail => 0x22, Heartbeat => 0x30,
    HeartbeatAck => 0x31, Unregister => 0x40, Disconnect => 0x41,
    DatagramOpen => 0x50, Datagram => 0x51, DatagramClose => 0x52,
    Retire => 0x53, Raw => 0x54, Data => 0x55, Eof => 0x56, Reset => 0x57,
    Withdraw => 0x58, Health => 0x5e, AccessOpen => 0x59, AccessOk => 0x5a,
    AccessFail => 0x5b, AccessRenew => 0x5c, AccessClose => 0x5d,
    Lane => 0x60, LaneCredit => 0x61, LaneEnd => 0x62, Move => 0x63,
    Moved => 0x64,
);

my %NAME = reverse %TYPE;


# Messages

sub msg { my ($type, $payload) = @_;
          return pack 'C N/a', $TYPE{$type} // $type, $payload // '' }

sub str16 { pack 'n/a', $_[0] }

# ext(tag => value, ...): values are bytes already
sub ext {
    my $block = '';

    while (my ($tag, $value) = splice @_, 0, 2) {
        $block .= pack 'C n/a', $tag, $value;
    }

    return $block;
}

sub new_id { join '', map { chr int rand 256 } 1 .. 16 }


sub register {
    my ($name, %o) = @_;

    return msg('Register', pack('C/a C n n', $name, $o{udp} ? 1 : 0,
                                $o{local} // 8080, $o{remote} // 0)
                           . ($o{ext} // ''));
}


# announce(service, id => connection's, addr => client's, ext => "...")

sub announce {
    my ($service, %o) = @_;

    return msg('Connect', $service . ($o{id} // new_id())
                          . str16($o{addr} // '192.0.2.7:7')
                          . ($o{ext} // ''));
}


sub datagram { msg('Datagram', pack('N', $_[0]) . $_[1]) }

sub datagram_open {
    my ($session, %o) = @_;

    return msg('DatagramOpen', pack('N a16', $session, $o{service} // "\0" x 16)
                               . str16($o{addr} // '') . ($o{ext} // ''));
}

sub datagram_close { msg('DatagramClose', pack 'N C', $_[0], $_[1] // 0) }


# access_open(name, udp => 1, ttl => 60, grace => 0, resume => id,
# target => "host:port")

sub access_open {
    my ($name, %o) = @_;

    return msg('AccessOpen',
               pack('C/a C N N', $name, $o{udp} ? 1 : 0, $o{ttl} // 3600,
                    $o{grace} // 0)
               . (defined $o{resume} ? ext(1, $o{resume}) : '')
               . (defined $o{target} ? ext(2, $o{target}) : ''));
}

sub access_renew { msg('AccessRenew', pack 'a16 N', @_) }

sub access_close { msg('AccessClose', $_[0] . str16($_[1] // '')) }


# Bytes of a lane, in as many messages as they need, or as "size" asks for.

sub lane {
    my ($number, $bytes, $size) = @_;

    return join '', map { msg('Lane', pack('N', $number) . $_) }
                    unpack '(a' . ($size // 32768) . ')*', $bytes;
}

sub lane_credit { msg('LaneCredit', pack 'N N', @_) }

sub lane_end { msg('LaneEnd', pack 'N', $_[0]) }


# One message into a hash; extension values by tag in {ext}.

sub parse {
    my ($bytes) = @_;

    my ($type, $len) = unpack 'C N', $bytes;
    my $p = substr $bytes, 5, $len;
    my $m = { type => $NAME{$type} // $type, payload => $p };

    my %fields = (
        AuthOk       => [ tunnel_id => 'a16' ],
        AuthFail     => [ reason => 'n/a' ],
        RegisterOk   => [ service_id => 'a16' ],
        RegisterFail => [ reason => 'n/a' ],
        Connect      => [ service_id => 'a16', connection_id => 'a16',
                          client_addr => 'n/a' ],
        ConnectAck   => [ connection_id => 'a16' ],
        ConnectFail  => [ connection_id => 'a16', reason => 'n/a' ],
        Heartbeat    => [ timestamp => 'Q>' ],
        HeartbeatAck => [ timestamp => 'Q>' ],
        Disconnect   => [ reason => 'n/a' ],
        Withdraw     => [ service_id => 'a16', reason => 'n/a' ],
        Health       => [ service_id => 'a16', health => 'C', reason => 'n/a' ],
        Auth         => [ token => 'n/a', client_id => 'a16' ],
        Register     => [ name => 'C/a', protocol => 'C', local_port => 'n',
                          remote_port => 'n' ],
        Unregister   => [ service_id => 'a16' ],
        DatagramOpen => [ session => 'N', service_id => 'a16',
                          client_addr => 'n/a' ],
        Datagram     => [ session => 'N', data => 'a*' ],
        DatagramClose => [ session => 'N', cause => 'C' ],
        AccessOpen   => [ name => 'C/a', protocol => 'C', ttl => 'N',
                          grace => 'N' ],
        AccessOk     => [ access_id => 'a16', ttl => 'N' ],
        AccessFail   => [ reason => 'n/a' ],
        AccessRenew  => [ access_id => 'a16', ttl => 'N' ],
        AccessClose  => [ access_id => 'a16', reason => 'n/a' ],
        Lane         => [ lane => 'N', data => 'a*' ],
        LaneCredit   => [ lane => 'N', credit => 'N' ],
        LaneEnd      => [ lane => 'N' ],
        Move         => [ connection_id => 'a16' ],
    );

    my @f = @{ $fields{ $m->{type} } || [] };
    my $rest = $p;

    while (my ($field, $format) = splice @f, 0, 2) {
        ($m->{$field}, $rest) = unpack "$format a*", $rest;
    }

    while (length $rest >= 3) {
        my ($tag, $value) = unpack 'C n/a', $rest;
        $m->{ext}{$tag} //= $value;
        $rest = substr $rest, 3 + length $value;
    }

    my $e = $m->{ext} || {};
    $m->{code} = unpack 'C', $e->{1}
        if $m->{type} =~ /Fail$|^AccessClose$/ && defined $e->{1};

    if ($m->{type} eq 'AuthOk') {
        $m->{features} = unpack 'N', $e->{1} if defined $e->{1};
        @$m{qw(data_key resume_key)} = @$e{2, 3};
        $m->{heartbeat} = [ unpack 'N N', $e->{4} ] if defined $e->{4};
        $m->{idle} = [ unpack 'n n', $e->{5} ] if defined $e->{5};
        $m->{node} = $e->{8};
        $m->{nodes} = unpack 'n', $e->{9} if defined $e->{9};
    }

    if ($m->{type} eq 'RegisterOk') {
        $m->{port} = unpack 'n', $e->{1} if defined $e->{1};
        $m->{public} = $e->{2};
    }

    return $m;
}


# WebSocket

# ws_frame(payload, op => 2, fin => 1, mask => 1)
sub ws_frame {
    my ($payload, %o) = @_;

    my $len = length $payload;
    my $masked = $o{mask} // 1;

    my $head = pack 'C', ($o{fin} // 1) << 7 | ($o{op} // 2);
    my $bit = $masked ? 0x80 : 0;

    $head .= $len < 126 ? pack 'C', $bit | $len
           : $len < 65536 ? pack 'C n', $bit | 126, $len
           : pack 'C Q>', $bit | 127, $len;

    return $head . $payload unless $masked;

    my $mask = pack 'N', int rand 2 ** 32;
    my $pad = $mask x ($len / 4 + 1);

    return $head . $mask . ($payload ^ substr $pad, 0, $len);
}


# A connection with a buffer and time limits.

package ZLTunnel::Wire::Socket;

use Time::HiRes qw(time);

sub new {
    my ($class, $port, %o) = @_;

    my $s = $o{PeerHost} ? IO::Socket::IP->new(PeerPort => $port, %o)
                         : ZLTunnel::connect_to($port, %o);
    return undef unless $s;

    setsockopt $s, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;

    return bless { s => $s, in => '' }, $class;
}


# All of it, or 0; the peer's reading is waited for up to 20 s.

sub send {
    my ($self, $bytes) = @_;

    my $end = time + 20;
    $self->{s}->blocking(0);

    while (length $bytes) {
        vec(my $win = '', fileno $self->{s}, 1) = 1;
        select(undef, $win, undef, $end - time) > 0 or return 0;

        my $n = syswrite $self->{s}, $bytes;
        next if !defined $n && $!{EAGAIN};
        return 0 unless $n;
        substr $bytes, 0, $n, '';
    }

    return 1;
}


# Reads some more into {in}: 1; 0 at the end of time.  An EOF or an error is
# kept in {end}, "eof" or "reset", and gives 0.

sub fill {
    my ($self, $timeout) = @_;

    return 0 if $self->{end};

    vec(my $rin = '', fileno $self->{s}, 1) = 1;
    $timeout = 0 if $timeout < 0;
    select($rin, undef, undef, $timeout) > 0 or return 0;

    my $n = sysread $self->{s}, $self->{in}, 65536, length $self->{in};
    return 1 if $n;
    return 1 if !defined $n && $!{EAGAIN};

    $self->{end} = defined $n ? 'eof' : 'reset';
    return 0;
}


# Sends until nothing has been taken for a second.

sub send_to_full {
    my ($self) = @_;

    my $bytes = 'z' x 65536;
    $self->{s}->blocking(0);

    while (1) {
        vec(my $win = '', fileno $self->{s}, 1) = 1;
        select(undef, $win, undef, 1) > 0 or last;
        syswrite $self->{s}, $bytes;
    }
}


# Exactly n bytes, or undef.

sub take {
    my ($self, $n, $timeout) = @_;

    my $end = time + ($timeout // 10);

    while (length $self->{in} < $n) {
        return undef if !$self->fill($end - time);
    }

    return substr $self->{in}, 0, $n, '';
}


# How it ends: "eof" or "reset"; "open" if it does not within the time.

sub ending {
    my ($self, $timeout) = @_;

    my $end = time + ($timeout // 10);

    while (!$self->{end} && time < $end) {
        $self->fill($end - time);
    }

    return $self->{end} // 'open';
}


sub shut { shutdown $_[0]{s}, 1 }

sub close { CORE::close($_[0]{s}); $_[0]{end} = 'eof' }

sub reset {
    my ($self) = @_;

    setsockopt $self->{s}, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
               pack 'i i', 1, 0;
    $self->close;
}


# Sends a request, reads the head of the answer: { status, head }.

sub upgrade {
    my ($self, $request) = @_;

    $self->send($request) or return undef;

    while ($self->{in} !~ /\r\n\r\n/) {
        $self->fill(10) or return undef;
    }

    $self->{in} =~ s/^(.*?)\r\n\r\n//s;
    my $head = $1;
    my ($status) = $head =~ /^HTTP\/1\.1 (\d+)/ or return undef;

    return $self->{answer} = { status => $status, head => $head };
}


# A control channel.

package ZLTunnel::Wire::Control;

use Time::HiRes qw(time);

our @ISA = 'ZLTunnel::Wire::Socket';

sub send_msg {
    my ($self, $bytes) = @_;
    return $self->send(ZLTunnel::Wire::ws_frame($bytes));
}


sub auth {
    my ($self, $token, %o) = @_;

    my $ext = '';
    $ext .= ZLTunnel::Wire::ext(1, pack 'N', $o{features}) if $o{features};
    $ext .= ZLTunnel::Wire::ext(2, $o{agent}) if defined $o{agent};
    $ext .= ZLTunnel::Wire::ext(3, $o{resume_key}) if $o{resume_key};
    $ext .= ZLTunnel::Wire::ext(4, "\1") if $o{check};
    $ext .= ZLTunnel::Wire::ext(5, join '', @{ $o{held} }) if $o{held};

    return $self->send_msg(ZLTunnel::Wire::msg('Auth',
        ZLTunnel::Wire::str16($token)
        . ($o{client_id} // ZLTunnel::Wire::new_id()) . $ext));
}


# One WebSocket frame: { op, payload }, or undef.

sub frame {
    my ($self, $timeout) = @_;

    my $head = $self->take(2, $timeout) // return undef;
    my ($op, $len) = unpack 'C C', $head;

    die "the server sent a masked frame\n" if $len & 0x80;

    # one after the other, 127 bytes would be taken for a longer form
    my $more = $len == 126 ? 2 : $len == 127 ? 8 : 0;
    $len = unpack $more == 2 ? 'n' : 'Q>', $self->take($more) // return undef
        if $more;

    my $payload = $len ? $self->take($len) // return undef : '';

    return { op => $op & 0xf, payload => $payload };
}


# The next message; heartbeats are acknowledged and left out, unless asked
# for.  At a Close { type => "Close", code, reason }; undef when time is over
# or the connection ended without it.

sub next {
    my ($self, $timeout, %o) = @_;

    my $end = time + ($timeout // 10);

    while (time < $end) {
        my $f = $self->frame($end - time) // return undef;

        if ($f->{op} == 8) {
            my ($code, $reason) = unpack 'n a*', $f->{payload};
            return { type => 'Close', code => $code, reason => $reason };
        }

        return { type => 'Pong', payload => $f->{payload} } if $f->{op} == 10;
        next if $f->{op} != 2;

        my $m = ZLTunnel::Wire::parse($f->{payload});

        if ($m->{type} eq 'Heartbeat' && !$o{heartbeats}) {
            $self->send_msg(ZLTunnel::Wire::msg('HeartbeatAck',
                                                $m->{payload}))
                unless $self->{deaf};
            next;
        }

        next if $m->{type} eq 'HeartbeatAck' && !$o{heartbeats};

        return $m;
    }

    return undef;
}


# Shows that it is alive.

sub beat {
    my ($self) = @_;
    return $self->send_msg(ZLTunnel::Wire::msg('Heartbeat', pack 'Q>', 1));
}


# The next message, which must be of that type; otherwise a hash with type
# "none" or the other's type, so that tests can look into it.

sub expect {
    my ($self, $type, $timeout) = @_;

    my $m = $self->next($timeout) // { type => $self->{end} // 'none' };

    Test::More::diag("expected $type, got $m->{type} ",
                     $m->{reason} // '') if $m->{type} ne $type;
    return $m;
}


# A connection on a data channel: its bytes are messages, behind Connect and
# ConnectAck.  Of a channel of any kind, which has send_msg() and next().

package ZLTunnel::Wire::Connection;

use Time::HiRes qw(time);

sub ack {
    my ($self, $m) = @_;
    return $self->send_msg(ZLTunnel::Wire::msg('ConnectAck',
                                               $m->{connection_id}));
}


# data("bytes"), in as many messages as they need; eof(), rst().

sub data {
    my ($self, $bytes) = @_;

    for my $part (length $bytes ? unpack '(a65531)*', $bytes : '') {
        $self->send_msg(ZLTunnel::Wire::msg('Data', $part)) or return 0;
    }

    return 1;
}

sub eof { $_[0]->send_msg(ZLTunnel::Wire::msg('Eof')) }

sub rst { $_[0]->send_msg(ZLTunnel::Wire::msg('Reset')) }


# So many of its bytes; or those that there are, and what came instead.

sub bytes {
    my ($self, $n, $timeout) = @_;

    $self->{data} //= '';

    while (length $self->{data} < $n && !$self->{raw}) {
        my $m = $self->next($timeout) // { type => $self->{end} // 'none' };

        if ($m->{type} eq 'Raw') {
            $self->{raw} = 1;

        } elsif ($m->{type} ne 'Data') {
            return delete($self->{data}) . " $m->{type}";
        }

        $self->{data} .= $m->{payload} // '';
    }

    my $left = $n - length $self->{data};
    $self->{data} .= $self->take($left, $timeout) // '' if $left > 0;

    return substr $self->{data}, 0, $n, '';
}


# How it ends: "eof" or "reset"; "open" if it does not within the time, or what
# comes in place of that.

sub ends {
    my ($self, $timeout) = @_;

    return $self->ending($timeout) if $self->{raw};
    return 'Data' if length($self->{data} // '');

    my $m = $self->next($timeout)
            // { type => $self->{end} ? 'Reset' : 'open' };

    return { Eof => 'eof', Reset => 'reset' }->{ $m->{type} } // $m->{type};
}


# A data channel.

package ZLTunnel::Wire::Channel;

use Time::HiRes qw(time);

our @ISA = qw(ZLTunnel::Wire::Socket ZLTunnel::Wire::Connection);

sub send_msg { my ($self, $bytes) = @_; return $self->send($bytes) }


sub next {
    my ($self, $timeout, %o) = @_;

    while (1) {
        my $head = $self->take(5, $timeout) // return undef;
        my ($type, $len) = unpack 'C N', $head;
        my $payload = $len ? $self->take($len) // return undef : '';
        my $m = ZLTunnel::Wire::parse($head . $payload);

        if ($m->{type} eq 'Heartbeat' && !$o{heartbeats}) {
            $self->send(ZLTunnel::Wire::msg('HeartbeatAck', $payload));
            next;
        }

        return $m;
    }
}


# What comes next on its lanes: a message of a lane, with {lane} beside it;
# LaneEnd; or another message.  Credit is added up in {credit}{lane}, what has
# come for a lane in {came}{lane}.

sub next_of_lanes {
    my ($self, $timeout) = @_;

    my $end = time + ($timeout // 10);

    while (1) {
        for my $lane (sort keys %{ $self->{lanes} || {} }) {
            my $in = \$self->{lanes}{$lane};

            next if length $$in < 5;
            my $len = 5 + unpack 'x N', $$in;
            next if length $$in < $len;

            my $m = ZLTunnel::Wire::parse(substr $$in, 0, $len, '');
            return { %$m, lane => $lane };
        }

        my $left = $end - time;
        my $m = $left > 0 && $self->next($left) or return undef;

        if ($m->{type} eq 'Lane') {
            $self->{lanes}{ $m->{lane} } .= $m->{data};
            $self->{came}{ $m->{lane} } += length $m->{data};

        } elsif ($m->{type} eq 'LaneCredit') {
            $self->{credit}{ $m->{lane} } += $m->{credit};

        } else {
            return $m;
        }
    }
}


# That of a visitor, whose bytes are messages behind ConnectAck: send(), take(),
# shut() and ending() are those of the connection.  With raw() its own
# direction turns so.  over() is how the channel itself ends.

package ZLTunnel::Wire::Visit;

our @ISA = 'ZLTunnel::Wire::Channel';

sub framed {
    my ($bytes) = @_;
    return join '', map { ZLTunnel::Wire::msg('Data', $_) }
                    unpack '(a30000)*', $bytes;
}

sub send {
    my ($self, $bytes) = @_;
    return $self->SUPER::send($self->{raw} || !$self->{answer}
                              ? $bytes : framed($bytes));
}

sub send_msg { my ($self, $bytes) = @_; return $self->SUPER::send($bytes) }

sub raw {
    my ($self) = @_;
    $self->send_msg(ZLTunnel::Wire::msg('Raw'));
    $self->{raw} = 1;
}

sub shut {
    my ($self) = @_;
    return $self->SUPER::shut if $self->{raw};
    return $self->send_msg(ZLTunnel::Wire::msg('Eof'));
}

sub next {
    my ($self, @o) = @_;

    my $m = $self->SUPER::next(@o) // return undef;

    if ($m->{type} eq 'ConnectAck') {
        @$self{qw(joined wire in)} = (1, $self->{in}, '');
        $self->unframe;
    }

    return $m;
}

sub fill {
    my ($self, $timeout) = @_;

    return $self->SUPER::fill($timeout) if !$self->{joined} || $self->{end};

    (my $in, $self->{in}) = @$self{qw(in wire)};
    my $rc = $self->SUPER::fill($timeout);
    @$self{qw(in wire)} = ($in, $self->{in});

    # no end of the connection
    $self->{end} = 'reset' if $self->{end} && !$self->{came_raw};

    $self->unframe;
    return $rc;
}

sub unframe {
    my ($self) = @_;

    my $wire = \$self->{wire};

    while (length $$wire && !$self->{ended}) {
        my $n = $self->{came_raw} ? length $$wire : $self->{left};

        if ($n) {
            $n = length $$wire if $n > length $$wire;
            $self->{in} .= substr $$wire, 0, $n, '';
            $self->{left} -= $n if !$self->{came_raw};
            next;
        }

        return if length $$wire < 5;
        my ($type, $len) = unpack 'C N', substr $$wire, 0, 5, '';

        if ($type == $ZLTunnel::Wire::TYPE{Data}) {
            $self->{left} = $len;

        } elsif ($type == $ZLTunnel::Wire::TYPE{Raw}) {
            $self->{came_raw} = 1;

        } else {
            $self->{ended} = 1;
            $self->{end} = $type == $ZLTunnel::Wire::TYPE{Eof} ? 'eof'
                         : $type == $ZLTunnel::Wire::TYPE{Reset} ? 'reset'
                         : "type $type";
        }
    }
}

sub over {
    my ($self) = @_;

    local $self->{end};
    local $self->{joined};
    return $self->SUPER::ending . (length $self->{wire} ? ', bytes' : '');
}


# One within a WebSocket, which carries its bytes: in and take() are of the
# stream, send() is beneath it, and send_msg() makes one message of what it is
# given.  next() tells of Pong first, and of Close when no message is left.

package ZLTunnel::Wire::Framed;

use Time::HiRes qw(time);

our @ISA = 'ZLTunnel::Wire::Channel';

*expect = \&ZLTunnel::Wire::Control::expect;

sub send_msg {
    my ($self, $bytes) = @_;
    return $self->send(ZLTunnel::Wire::ws_frame($bytes));
}

sub upgrade {
    my ($self, $request) = @_;

    my $answer = $self->SUPER::upgrade($request) // return undef;

    if ($answer->{status} == 101) {
        @$self{qw(ws in)} = ($self->{in}, '');
        $self->unframe;
    }

    return $answer;
}

sub fill {
    my ($self, $timeout) = @_;

    return $self->SUPER::fill($timeout) if !defined $self->{ws};

    (my $in, $self->{in}) = @$self{qw(in ws)};
    my $rc = $self->SUPER::fill($timeout);
    @$self{qw(in ws)} = ($in, $self->{in});

    $self->unframe;
    return $rc;
}

sub unframe {
    my ($self) = @_;

    my $ws = \$self->{ws};

    while (length $$ws >= 2) {
        my ($op, $len) = unpack 'C C', $$ws;
        my $head = $len == 126 ? 4 : $len == 127 ? 10 : 2;

        die "the server sent a masked frame\n" if $len & 0x80;

        return if length $$ws < $head;
        $len = unpack $head == 4 ? 'x2 n' : 'x2 Q>', $$ws if $head > 2;
        return if length $$ws < $head + $len;

        my $payload = substr $$ws, $head, $len;
        substr $$ws, 0, $head + $len, '';

        if ($op == 0x82) {
            $self->{in} .= $payload;

        } elsif ($op == 0x8a) {
            push @{ $self->{said} }, { type => 'Pong', payload => $payload };

        } elsif ($op == 0x88) {
            push @{ $self->{said} },
                 { type => 'Close', code => unpack 'n', $payload };

        } else {
            die "the server sent a frame of opcode $op\n";
        }
    }
}

sub next {
    my ($self, $timeout, %o) = @_;

    my $end = time + ($timeout // 10);

    while (1) {
        my $said = $self->{said} //= [];
        return shift @$said if @$said && $said->[0]{type} eq 'Pong';

        my $len = length $self->{in} < 5 ? 0 : unpack 'x N', $self->{in};

        if (length $self->{in} >= 5 + $len) {
            my $m = $self->SUPER::next(1, heartbeats => 1);

            return $m if $m->{type} ne 'Heartbeat' || $o{heartbeats};
            $self->send_msg(ZLTunnel::Wire::msg('HeartbeatAck',
                                                $m->{payload}));
            next;
        }

        return shift @$said if @$said;
        $self->fill($end - time) or return undef;
    }
}


package ZLTunnel::Wire;

# control(t, path => "/...", headers => "...", port => N, host => to,
# from => address, tls => 1): the answer to the upgrade is in
# {answer}; undef where there was none.

sub control {
    my ($class, $t, %o) = @_;

    my $self = $o{tls} ? under_tls($t, 'ZLTunnel::Wire::Control')
        : ZLTunnel::Wire::Control->new($o{port} // $t->{http_port},
              $o{host} ? (PeerHost => $o{host}) : (),
              $o{from} ? (LocalAddr => $o{from}) : ()) // return undef;
    my $key = encode_base64(new_id(), '');

    $self->upgrade('GET ' . ($o{path} // '/tunnel/v1')
        . " HTTP/1.1\r\nHost: localhost\r\n"
        . "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        . "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: $key\r\n"
        . ($o{headers} // '') . "\r\n") // return undef;

    return $self;
}


# Whether a holder of the token is let in.

sub admitted {
    my ($class, $t, $token) = @_;

    my $x = $class->control($t);
    $x->auth($token, features => 1);
    my $m = $x->next // { type => 'none' };
    $x->reset;

    # in use is known, too
    return $m->{type} eq 'AuthOk' || ($m->{code} // 0) == 3;
}


# A control channel that is authenticated: the AuthOk in {ok}.

sub agent {
    my ($class, $t, $token, %o) = @_;

    # one that has just been closed may still be in use for the server

    my $end = time + 5;

    while (1) {
        my $self = $class->control($t, %o) // return undef;
        $self->auth($token, features => $o{features} // 7, %o);

        my $m = $self->next || { type => $self->{end} // 'none' };

        if ($m->{type} eq 'AuthFail' && ($m->{code} // 0) == 3
            && time < $end)
        {
            $self->close;
            select undef, undef, undef, 0.1;
            next;
        }

        Test::More::diag("expected AuthOk, got $m->{type} ",
                         $m->{reason} // '') if $m->{type} ne 'AuthOk';

        $self->{ok} = $m;
        $self->{t} = $t;

        return $self;
    }
}


# channel(t, tunnel id, key, connection id or undef); tls => 1: under TLS.

sub channel {
    my ($class, $t, $tunnel, $key, $connection, %o) = @_;

    my $self = $o{tls} ? under_tls($t)
               : ($o{class} // 'ZLTunnel::Wire::Channel')
                 ->new($o{port} // $t->{http_port}) // return undef;

    $self->upgrade('GET ' . ($o{path} // '/tunnel/v1')
        . " HTTP/1.1\r\nHost: localhost\r\n"
        . "Connection: Upgrade\r\nUpgrade: zltunnel\r\n"
        . 'Zltunnel-Tunnel: ' . unpack('H*', $tunnel) . "\r\n"
        . 'Zltunnel-Key: ' . unpack('H*', $key) . "\r\n"
        . (defined $connection
           ? 'Zltunnel-Connection: ' . unpack('H*', $connection) . "\r\n" : '')
        . ($o{headers} // '') . "\r\n" . ($o{early} // '')) // return undef;

    return $self;
}


# By way of a process that speaks TLS: each piece that is sent is a record.  args
# are that one's, as in -cert => file.

sub under_tls {
    my ($t, $class, @args) = @_;

    socketpair(my $near, my $far, Socket::AF_UNIX(), Socket::SOCK_STREAM(),
               Socket::PF_UNSPEC()) or die "socketpair: $!";

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<&', $far;
        open STDOUT, '>&', $far;
        open STDERR, '>', "$t->{dir}/logs/s_client";
        CORE::close($near);
        exec { 'openssl' } 'openssl', 's_client', '-quiet', '-connect',
             "127.0.0.1:$t->{tls_port}", @args
            or POSIX::_exit(1);
    }

    return bless { s => $near, in => '' },
                 $class // 'ZLTunnel::Wire::Channel';
}


# The channel of a visitor: visit(control channel, access id); what it
# answers is in {answer}.  Options: early => bytes behind the request; udp => 1:
# of datagrams; ws => 1: within a WebSocket.

sub visit {
    my ($class, $c, $id, %o) = @_;

    my $make = $o{ws} ? 'framed' : 'channel';

    if (!$o{ws} && !$o{udp}) {
        $o{class} = 'ZLTunnel::Wire::Visit';
        $o{early} = ZLTunnel::Wire::Visit::framed($o{early})
            if defined $o{early};
    }

    return $class->$make($c->{t}, $c->{ok}{tunnel_id}, $c->{ok}{data_key},
        undef, %o, headers => 'Zltunnel-Access: ' . unpack('H*', $id) . "\r\n"
                              . ($o{headers} // ''));
}


# The same within a WebSocket; ws_headers replaces what asks for one.

sub framed {
    my ($class, $t, $tunnel, $key, $connection, %o) = @_;

    my $self = ZLTunnel::Wire::Framed->new($o{port} // $t->{http_port})
        // return undef;

    $self->{key} = encode_base64(new_id(), '');

    $self->upgrade('GET ' . ($o{path} // '/tunnel/v1')
        . " HTTP/1.1\r\nHost: localhost\r\n"
        . ($o{ws_headers} // "Connection: Upgrade\r\nUpgrade: websocket\r\n"
           . "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: $self->{key}\r\n"
           . "Sec-WebSocket-Protocol: zltunnel-data\r\n")
        . (defined $tunnel
           ? 'Zltunnel-Tunnel: ' . unpack('H*', $tunnel) . "\r\n" : '')
        . 'Zltunnel-Key: ' . unpack('H*', $key) . "\r\n"
        . (defined $connection
           ? 'Zltunnel-Connection: ' . unpack('H*', $connection) . "\r\n" : '')
        . ($o{headers} // '') . "\r\n" . ($o{early} // '')) // return undef;

    return $self;
}


1;
