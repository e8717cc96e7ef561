#!/usr/bin/perl

# Protects: lanes byte by byte at the agent, with a server by hand: how a lane
# is opened and ends, the window of each direction, a connection that leaves
# its lane, and that a server that breaks the rules loses its channel, and what
# is on others goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Many;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg announce lane lane_credit lane_end);

my ($t, $agent, $server, %service);
my $ids = 0;

subtest 'lanes' => \&server;
subtest 'moved' => \&moved;
subtest 'the end of the agent, on the move' => \&moving_end;
subtest 'moved, and goes on at once' => \&moved_at_once;
subtest 'windows that grow' => \&grows;
subtest 'garbage' => \&server_garbage;

done_testing();


sub data { join '', map { msg('Data', $_) } unpack '(a16000)*', $_[0] }

sub start_server {
    my @args = @_;

    $t = ZLTunnel->new;
    $server = ZLTunnel::Server->new($t);
    %service = map { $_ => $t->service($_) } qw(echo sum hold reset);

    $agent = $t->agent(
        token => $t->token('alice'), server => $server->url, wait => 0,
        args => [ '--log-level', 'debug', @args ],
        services => [ (map { "$_:$service{$_}{port}" } sort keys %service),
                      'down:1' ]);

    $server->wait(sub { keys %{ $server->{services} } == 5 })
        or die 'not registered';
}

sub done_server {
    $agent->{proc}->kill('TERM');
    $server->wait(sub { !$agent->{proc}->running }, 10);
    is($agent->{proc}->wait, 0, 'the agent ends');
    unlike($agent->log, qr/Bad file descriptor|Invalid argument|not a socket
                           |Assertion/xi, 'and its log has no surprise');

    $server->close_all;
    $t->finish;
}

sub new_id { pack 'a4 N N N', 'test', $$, 0, ++$ids }

sub connect_msg {
    my ($service, $id) = @_;

    return announce($server->{services}{$service}{id}, id => $id);
}

# What has come on the lanes of a channel since the last time.

sub came {
    my ($ch) = @_;

    my $l = $ch->{l} //= { credit => {}, in => {}, end => {}, other => [] };

    while (my $f = shift @{ $ch->{frames} }) {
        my ($type, $payload) = @$f;
        my $lane = length $payload >= 4 ? unpack 'N', $payload : 0;

        if ($type eq 'Lane') {
            $l->{in}{$lane} .= substr $payload, 4;

        } elsif ($type eq 'LaneCredit') {
            $l->{credit}{$lane} += unpack 'x4 N', $payload;

        } elsif ($type eq 'LaneEnd') {
            $l->{end}{$lane}++;

        } else {
            push @{ $l->{other} }, $type;
        }
    }

    return $l;
}

# The bytes of Data.

sub bytes_of {
    my ($in) = @_;

    my ($text, $pos) = ('', 0);

    while ($pos + 5 <= length $in) {
        my ($type, $len) = unpack "x$pos C N", $in;
        $text .= substr $in, $pos + 5, $len if $type == 0x55;
        $pos += 5 + $len;
    }

    return $text;
}

# Waits for bytes on a lane.

sub gets {
    my ($ch, $lane, $bytes, $name) = @_;

    my $ok = $server->wait(sub {
        return length(came($ch)->{in}{$lane} // '') >= length $bytes;
    }, 20);

    my $in = delete came($ch)->{in}{$lane};
    is(unpack('H*', $in // ''), unpack('H*', $bytes), $name);
}

sub ended {
    my ($ch, $lane, $name) = @_;

    ok($server->wait(sub { came($ch)->{end}{$lane} || $ch->{gone} }, 20)
       && !$ch->{gone} && came($ch)->{end}{$lane} == 1, $name);
}

sub gone {
    my ($ch, $name) = @_;
    ok($server->wait(sub { $ch->{gone} }, 20), $name);
}


sub server {
    start_server();

    my $ch = $server->idle;
    my @id = map { new_id() } 0 .. 40;

    $ch->say(lane(1, connect_msg('echo', $id[1]) . data('hello')));
    gets($ch, 1, msg('ConnectAck', $id[1]) . data('hello'), 'there and back');
    $ch->say(lane(1, msg('Eof')));
    gets($ch, 1, msg('Eof'), 'to its end');

    # byte by byte, two at once

    my @bytes = map { [ unpack '(a1)*', connect_msg('echo', $id[$_])
                                        . data("hello $_") . msg('Eof') ] }
                2, 3;
    while (@{ $bytes[0] }) {
        $ch->say(lane(2, shift @{ $bytes[0] }) . lane(3, shift @{ $bytes[1] }));
    }
    for (2, 3) {
        my $lane = $_;

        # the service may see it in any pieces

        $server->wait(sub {
            (came($ch)->{in}{$lane} // '') =~ /\x56\0{4}$/
        }, 5);
        my $in = delete came($ch)->{in}{$lane} // '';
        is(substr($in, 0, 21, ''), msg('ConnectAck', $id[$lane]),
           "byte by byte, lane $lane");
        is(bytes_of($in), "hello $lane", '.. its bytes');
    }

    # heartbeats in between

    $ch->say(msg('Heartbeat', 'abcdefgh'));
    ok($server->wait(sub { grep { $_ eq 'HeartbeatAck' }
                           @{ came($ch)->{other} } }, 5),
       'a heartbeat is answered');

    # not opened again

    my $accepts = $t->events($service{echo}, 'accept');
    $ch->say(lane(2, connect_msg('echo', new_id())) . lane(1, 'x')
             . lane_credit(3, 100_000) . lane_end(2));
    $ch->say(lane(9, connect_msg('down', $id[9])));
    $server->wait(sub { length(came($ch)->{in}{9} // '') }, 5);
    my $m = ZLTunnel::Wire::parse(came($ch)->{in}{9} // '');
    is($m->{type}, 'ConnectFail', 'a service that is down');
    is($m->{code}, 7, 'with its code');
    $ch->say(lane(9, msg('Reset')));
    is($t->events($service{echo}, 'accept'), $accepts,
       'a number that was used opens nothing');
    ok(!came($ch)->{end}{2}, 'nor is it answered');

    # LaneEnd, and what comes behind it

    $ch->say(lane(10, connect_msg('echo', $id[10]) . data('x')));
    gets($ch, 10, msg('ConnectAck', $id[10]) . data('x'), 'another');
    my $resets = $t->events($service{echo}, 'reset');
    $ch->say(lane_end(10) . lane(10, data('behind')) . lane_credit(10, 1));
    ok($server->wait(sub { $t->events($service{echo}, 'reset') > $resets }, 5),
       'LaneEnd resets the connection to the service');
    ok(!came($ch)->{end}{10}, 'and is not answered');

    # the service resets

    $ch->say(lane(11, connect_msg('reset', $id[11]) . data('x')));
    $server->wait(sub { came($ch)->{end}{11}
                        || (came($ch)->{in}{11} // '') =~ /\x57\0\0\0\0$/ }, 5);
    ok(came($ch)->{end}{11}
       || (came($ch)->{in}{11} // '') =~ /\x57\0\0\0\0$/,
       'a reset of the service is passed on');
    $ch->say(lane(11, msg('Reset')));

    # windows, both

    $ch->say(lane(12, connect_msg('echo', $id[12])));
    gets($ch, 12, msg('ConnectAck', $id[12]), 'a long one');
    my $l = came($ch);
    my $body = pattern(500_000);
    my $out = join '', map { msg('Data', $_) } unpack '(a20000)*', $body;
    $out .= msg('Eof');
    my ($sent, $read) = (0, '');
    my $head = length connect_msg('echo', $id[12]);
    my $most = 0;

    my $feed = sub {
        my $may = 65536 - $head - $sent + ($l->{credit}{12} // 0);
        my $part = substr $out, $sent, $may > 0 ? $may : 0;
        $ch->say(lane(12, $part)) if length $part;
        $sent += length $part;
        came($ch);
    };

    # reads nothing, for the first: the agent must stop

    $server->wait(sub {
        $feed->();
        return length($l->{in}{12} // '') >= 65536 - 21;
    }, 10);
    $server->pass(0.3);
    came($ch);
    is(length $l->{in}{12}, 65536 - 21, 'the agent sends so much');

    my $given = 0;
    my $taken = 21;
    $server->wait(sub {
        $feed->();
        my $in = delete $l->{in}{12} // '';
        $taken += length $in;
        $read .= $in;
        if ($taken - $given >= 32768) {
            $ch->say(lane_credit(12, $taken - $given));
            $given = $taken;
        }

        return 0 if length $read < length $body;
        my $text = bytes_of($read);
        $most = $text;
        return length $text >= length $body && $read =~ /\x56\0{4}$/;
    }, 20);
    ok($most eq $body, 'half a megabyte there and back, exact');

    # one whose service does not read: no more credit, others go on

    $ch->say(lane(13, connect_msg('hold', $id[13])));
    gets($ch, 13, msg('ConnectAck', $id[13]), 'a service that does not read');
    $head = length connect_msg('hold', $id[13]);
    $sent = 0;
    my $last = time;
    $server->wait(sub {
        my $may = 65536 - $head - $sent + (came($ch)->{credit}{13} // 0);
        my $part = msg('Data', 'x' x ($may - 5)) if $may > 5;
        $last = time if $part;
        $ch->say(lane(13, $part)) if $part;
        $sent += length $part if $part;
        return time > $last + 1;
    }, 20);
    ok($sent > 65536 && $sent < 50_000_000, "takes $sent bytes");

    $ch->say(lane(14, connect_msg('echo', $id[14]) . data('x')));
    gets($ch, 14, msg('ConnectAck', $id[14]) . data('x'),
         'another one goes on');

    # LaneEnd behind an end, while the service says nothing

    $ch->say(lane(15, connect_msg('hold', $id[15]) . data('x') . msg('Eof')));
    gets($ch, 15, msg('ConnectAck', $id[15]), 'one that has ended');
    ok($server->wait(sub { $t->events($service{hold}, 'eof') }, 20),
       '.. for the service, too');
    $resets = $t->events($service{hold}, 'reset');
    $ch->say(lane_end(15));
    ok($server->wait(sub { $t->events($service{hold}, 'reset') > $resets },
                     20),
       'LaneEnd behind the end resets it');

    # what is no Connect

    my %inside = (
        'Connect, and no message behind it' => connect_msg('echo', new_id())
                                               . 'no message',
        'an unknown type' => pack('C N', 0x7f, 0),
        'ConnectAck' => msg('ConnectAck', $id[20]),
        'Lane in a lane' => lane(1, 'x'),
        'DatagramOpen' => msg('DatagramOpen', 'x' x 30),
        'Move' => msg('Move', $id[14]),
        'too long' => pack('C N', 0x20, 0xffffffff),
        'Retire' => msg('Retire'),
    );
    my $n = 20;
    for my $name (sort keys %inside) {
        $ch->say(lane(++$n, $inside{$name}));
        ended($ch, $n, "$name in a lane ends it");
        is(unpack('H*', came($ch)->{in}{$n} // ''), '', '.. without an answer');
    }

    # a second Connect of the same id

    $ch->say(lane(++$n, connect_msg('echo', $id[1])));
    $server->wait(sub { length(came($ch)->{in}{$n} // '') }, 5);
    is(ZLTunnel::Wire::parse(came($ch)->{in}{$n} // '')->{code}, 9,
       'an id that was seen: duplicate');
    $ch->say(lane($n, msg('Reset')));

    # told to end: nothing new, and what there is goes on

    $ch->say(lane(++$n, connect_msg('echo', $id[30]) . data('x')));
    gets($ch, $n, msg('ConnectAck', $id[30]) . data('x'), 'before the end');
    $ch->say(lane_end(13) . lane_end(14));
    $agent->{proc}->kill('TERM');
    ok($server->wait(sub { grep { $_ eq 'Retire' } @{ came($ch)->{other} } },
                     5), 'Retire');
    $accepts = $t->events($service{echo}, 'accept');
    $ch->say(lane($n + 1, connect_msg('echo', $id[31]) . data('x')));
    ended($ch, $n + 1, 'a lane that is opened behind it is ended');
    is($t->events($service{echo}, 'accept'), $accepts, 'and does nothing');
    $ch->say(lane($n, data('y')));
    gets($ch, $n, data('y'), 'the one before goes on');
    $ch->say(lane($n, msg('Eof')));
    gets($ch, $n, msg('Eof'), 'to its end');
    $ch->drop;

    done_server();
}


sub server_garbage {
    start_server();

    my @garbage = (
        'lane 0' => lane(0, 'x'),
        'LaneEnd of lane 0' => lane_end(0),
        'an unknown type' => pack('C N', 0x7f, 0),
        'Connect beside lanes' => msg('Connect', 'x' x 40),
        'Move beside lanes' => msg('Move', 'x' x 16),
        'an empty Lane' => msg('Lane', pack 'N', 1),
        'a Lane too long' => pack('C N N', 0x60, 4 + 32769, 1),
        'LaneCredit too short' => msg('LaneCredit', pack 'N n', 1, 1),
        'Retire' => msg('Retire'),
        'credit that was not due' => lane_credit(1, 16 * 1024 * 1024),
        'more than the window' => lane(2, pack('C N', 0x55, 100_000))
                                  . lane(1, data('x')) . lane(3, 'x'),
    );

    # another channel, which goes on

    my $other = $server->idle;
    my $id = new_id();
    $other->say(lane(1, connect_msg('echo', $id) . data('x')));
    gets($other, 1, msg('ConnectAck', $id) . data('x'), 'one that goes on');

    while (my ($name, $bytes) = splice @garbage, 0, 2) {
        my $ch = $server->idle;
        $id = new_id();
        my $resets = $t->events($service{echo}, 'reset');

        $ch->say(lane(1, connect_msg('echo', $id) . data('hello')));
        gets($ch, 1, msg('ConnectAck', $id) . data('hello'), 'so far');

        if ($name =~ /window/) {
            my $hold = new_id();
            $ch->say(lane(2, connect_msg('hold', $hold)));
            gets($ch, 2, msg('ConnectAck', $hold), 'not read');
            for (1 .. 3000) {
                last if $ch->{gone};
                $ch->say(lane(2, msg('Data', 'x' x 32000)));
                $server->turn(0) if length $ch->{out};
                $server->wait(sub { length $ch->{out} < 100_000
                                    || $ch->{gone} }, 5);
            }

        } else {
            $ch->say($bytes);
        }

        gone($ch, "$name: the channel is closed");
        ok($server->wait(sub {
            $t->events($service{echo}, 'reset') == $resets + 1
        }, 5), '.. and the connection reset');
    }

    $other->say(lane(1, data('on') . msg('Eof')));
    gets($other, 1, data('on') . msg('Eof'), 'the other goes on');
    $other->drop;

    # the end of a channel is that of its lanes

    my $resets = $t->events($service{echo}, 'reset');
    my $ch = $server->idle;
    $ch->say(join '', map { lane($_, connect_msg('echo', new_id())
                                     . data('x')) } 1 .. 5);
    ok($server->wait(sub { keys %{ came($ch)->{in} } == 5 }, 5), 'five');
    $ch->drop;
    ok($server->wait(sub {
        $t->events($service{echo}, 'reset') == $resets + 5
    }, 5), 'end with their channel');

    done_server();
}


# A connection leaves its lane.

# A connection that is between two channels when the agent's time is over:
# the end of one is the end of the other.

sub moving_end {
    start_server('--shutdown-timeout', '1s');

    my $ch = $server->idle;
    my $id = new_id();

    $ch->say(lane(1, connect_msg('hold', $id)));
    gets($ch, 1, msg('ConnectAck', $id), 'on a lane');

    my $e = $server->idle;
    $e->say(msg('Move', $id));
    ok($server->wait(sub { @{ $e->{frames} } }, 5), 'Move is acknowledged');

    done_server();
}


sub moved {
    start_server();

    my $ch = $server->idle;
    my $id = new_id();

    $ch->say(lane(1, connect_msg('echo', $id) . data('one')));
    gets($ch, 1, msg('ConnectAck', $id) . data('one'), 'on a lane');

    my $e = $server->idle;
    $e->say(msg('Move', $id));
    ok($server->wait(sub { @{ $e->{frames} } }, 5), 'Move');
    is_deeply($e->{frames}, [ [ 'ConnectAck', $id ] ], 'is acknowledged');
    $e->{frames} = [];

    $ch->say(lane(1, data('two')));
    gets($ch, 1, data('two'), 'the lane goes on meanwhile');

    $ch->say(lane(1, data('three') . msg('Moved')));
    $server->wait(sub { (came($ch)->{in}{1} // '') =~ /\x64\0{4}$/ }, 5);

    # the service's bytes behind Moved come there

    my $in = delete came($ch)->{in}{1} // '';
    like($in, qr/\x64\0{4}$/, 'Moved is answered');
    my $text = bytes_of($in);
    $server->wait(sub {
        $text .= join '', map { $_->[1] } splice @{ $e->{frames} };
        return length $text >= 5;
    }, 5);
    is($text, 'three', 'what was sent before it is echoed, here or there');

    $e->say(data('four'));
    ok($server->wait(sub { @{ $e->{frames} } }, 5), 'then it goes on there');
    is_deeply(shift @{ $e->{frames} }, [ 'Data', 'four' ], 'with its bytes');
    $e->say(msg('Eof'));
    ok($server->wait(sub { @{ $e->{frames} } }, 5), 'to its end');
    is_deeply(shift @{ $e->{frames} }, [ 'Eof', '' ], 'with Eof');
    is($t->events($service{echo}, 'accept'), 1, 'the service was dialled once');

    # and is idle, for the next

    my $next = new_id();
    $e->say(connect_msg('echo', $next) . data('next'));
    ok($server->wait(sub { @{ $e->{frames} } >= 2 }, 5), 'used again');
    is_deeply([ map { $_->[0] } @{ $e->{frames} } ], [qw(ConnectAck Data)],
              'for another connection');
    $e->drop;

    # the lane's channel goes on

    $id = new_id();
    $ch->say(lane(2, connect_msg('echo', $id) . data('x')));
    gets($ch, 2, msg('ConnectAck', $id) . data('x'), 'other lanes go on');

    # what cannot be moved

    my $gone = new_id();
    my %never = (
        'an unknown id' => msg('Move', $gone),
        'with bytes behind it' => msg('Move', $id) . 'x',
        'too short' => msg('Move', 'x'),
    );
    for my $name (sort keys %never) {
        $e = $server->idle;
        $e->say($never{$name});
        gone($e, "Move, $name: the channel is closed");
    }

    $ch->say(lane(2, data('y')));
    gets($ch, 2, data('y'), 'the connection stays on its lane');

    # twice; the second is refused, and the first one stands

    $e = $server->idle;
    my $f = $server->idle;
    $e->say(msg('Move', $id));
    $server->wait(sub { @{ $e->{frames} } }, 5);
    $f->say(msg('Move', $id));
    gone($f, 'a second Move of it: the channel is closed');

    # the server gives up: it stays

    $e->drop;
    $server->pass(0.2);
    $ch->say(lane(2, data('z')));
    gets($ch, 2, data('z'), 'a channel that ends before Moved changes nothing');

    # one that has ended in a direction

    $ch->say(lane(2, msg('Eof')));
    gets($ch, 2, msg('Eof'), 'to its end');
    $e = $server->idle;
    $e->say(msg('Move', $id));
    gone($e, 'one that has ended cannot be moved');

    # Moved without Move, and behind a channel that is gone

    $id = new_id();
    $ch->say(lane(3, connect_msg('echo', $id) . data('x')));
    gets($ch, 3, msg('ConnectAck', $id) . data('x'), 'another');
    $ch->say(lane(3, msg('Moved')));
    ended($ch, 3, 'Moved without Move ends the lane');

    # while the service sends as fast as it can

    $id = new_id();
    $ch->say(lane(4, connect_msg('echo', $id)));
    gets($ch, 4, msg('ConnectAck', $id), 'one of bulk');
    my $body = pattern(2_000_000);
    $ch->say(lane(4, data(substr $body, 0, 60_000)));
    $e = $server->idle;
    $e->say(msg('Move', $id));
    $server->wait(sub { @{ $e->{frames} } }, 5);
    $e->{frames} = [];
    $ch->say(lane(4, msg('Moved')));

    my $all = '';
    $server->wait(sub {
        return came($ch)->{in}{4} && $ch->{l}{in}{4} =~ /\x64\0{4}$/;
    }, 5);
    $all = bytes_of(came($ch)->{in}{4} // '');
    $e->say(data(substr $body, 60_000) . msg('Eof'));
    $all .= rest($server, $e);
    ok($all eq $body, 'goes on there, exact');
    is($e->{gone} // 'open', defined $e->{raw} ? 'eof' : 'open',
       'to its end');

    $_->drop for $e, $ch;
    done_server();
}


# What comes on a channel to its end; it may have turned raw, and then ends with
# the channel.

sub rest {
    my ($server, $e) = @_;
    my ($all, $eof) = ('');

    $server->wait(sub {
        for my $f (splice @{ $e->{frames} }) {
            $all .= $f->[1] if $f->[0] eq 'Data';
            $eof = 1 if $f->[0] eq 'Eof';
        }
        return $eof || $e->{gone};
    }, 10);

    return $all . ($e->{raw} // '');
}


# What the server sends on the other channel behind its Moved may be there before
# the agent has left the lane.

sub moved_at_once {
    start_server();

    my $ch = $server->idle;
    my $id = new_id();
    my $body = pattern(300_000);

    $ch->say(lane(1, connect_msg('echo', $id) . data(substr $body, 0, 20_000)));
    $server->wait(sub { length(came($ch)->{in}{1} // '') > 20_000 }, 5);

    my $e = $server->idle;
    $e->say(msg('Move', $id));
    $server->wait(sub { @{ $e->{frames} } }, 5);
    is($e->{frames}[0][0], 'ConnectAck', 'Move is acknowledged');
    $e->{frames} = [];

    # the rest is on the channel before Moved is on the lane

    $e->say(data(substr $body, 30_000) . msg('Eof'));
    $server->pass(0.2);
    is(scalar @{ $e->{frames} }, 0, 'nothing is read there before Moved');
    $ch->say(lane(1, data(substr $body, 20_000, 10_000) . msg('Moved')));

    $server->wait(sub { (came($ch)->{in}{1} // '') =~ /\x64\0{4}$/ }, 5);
    my $all = bytes_of(came($ch)->{in}{1} // '');
    $all .= rest($server, $e);
    ok($all eq $body, 'all of it, in order');

    $_->drop for $e, $ch;
    done_server();
}


# A server that gives more credit than was used, and one that is given more.

sub grows {
    start_server();

    my $ch = $server->idle;
    my $id = new_id();
    my $body = pattern(2_000_000);
    my $out = data($body) . msg('Eof');

    $ch->say(lane(1, connect_msg('sum', $id)));
    gets($ch, 1, msg('ConnectAck', $id), 'a service that reads');

    my $l = came($ch);
    my ($sent, $most) = (length connect_msg('sum', $id), 0);
    my $total = $sent + length $out;

    $server->wait(sub {
        my $may = 65536 + (came($ch)->{credit}{1} // 0) - $sent;
        $most = $may if $most < $may;

        for (1 .. 4) {
            my $part = substr $out, 0, $may > 30_000 ? 30_000 : $may, '';
            last if !length $part;
            $ch->say(lane(1, $part));
            $sent += length $part;
            $may -= length $part;
        }

        return $sent == $total || $ch->{gone};
    }, 20);

    is($sent, $total, 'all of it was let in');
    cmp_ok($most, '>=', 4 * 65536, "the window has grown, to $most");
    cmp_ok($most, '<=', 4 * 1024 * 1024, 'to no more than it may');

    $ch->say(lane(2, connect_msg('echo', new_id()))
             . lane_credit(2, 1_000_000));
    $server->wait(sub { length(came($ch)->{in}{2} // '') }, 5);
    ok(!$ch->{gone}, 'more credit than was used');
    $ch->say(lane_credit(2, 16 * 1024 * 1024));
    gone($ch, 'more than may be: the channel is closed');

    done_server();
}
