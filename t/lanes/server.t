#!/usr/bin/perl

# Protects: lanes byte by byte at the server, with an agent by hand: who opens
# a lane and how it ends, the window of each direction, a connection that
# leaves its lane, and that an agent that breaks the rules loses its channel,
# and nobody else anything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Many;
use ZLTunnel::Wire qw(msg register ext str16 lane lane_credit lane_end);

use constant WINDOW => 65536;

my ($t, $front, $agent, @ok);

subtest 'an agent by hand' => \&by_hand;
subtest 'the first of a worker' => \&first;
subtest 'its windows' => \&windows;
subtest 'windows that grow' => \&grows;
subtest 'its end' => \&ends;
subtest 'its garbage' => \&garbage;
subtest 'moved' => \&moved, 0;
subtest 'moved, its bytes seen early' => \&moved, 1;
subtest 'not moved' => \&not_moved;

subtest 'an agent by hand: Moved waits' => \&moved_waits;
subtest 'cancelled within a message, and moved later' => \&cancelled;
subtest 'revoked on the move' => \&revoked;
subtest 'an agent by hand: Moved for one that is kept' => \&moved_kept;
subtest 'an agent by hand: Moved after an end' => \&moved_ended;

done_testing();


# nginx, and an agent by hand that has the service "e".

sub setup {
    $t = ZLTunnel->new(workers => 1, zltunnel => 'reconnect_grace 2s;');
    $front = $t->free_port;

    my $backend = backend($t, <<'EOT');
server {
    listen 127.0.0.1:%PORT%;
    root %DIR%;
    location / { limit_rate 2m; limit_rate_after 100k; }
}
EOT
    ZLTunnel::write_file("$backend->{dir}/other", pattern(4_000_000), 0644);

    $t->write_conf(http => <<"EOT");
upstream e { zltunnel_service e max_fails=0; }
upstream kept { zltunnel_service e max_fails=0; keepalive 4; }
upstream other { zltunnel_service other; }
server {
    listen 127.0.0.1:$front sndbuf=64k rcvbuf=64k;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_max_temp_file_size 0;
    location / { proxy_pass http://e; }
    location /kept { proxy_pass http://kept; }
    location /raw { proxy_pass http://e; proxy_buffering off; }
    location /up { proxy_pass http://e; proxy_request_buffering off; }
    location /other { proxy_pass http://other; }
}
EOT

    my $token = $t->token('alice');
    my $bob = $t->token('bob');
    $t->start;

    # one that goes on, whatever becomes of the other

    $t->{other} = $t->agent(token => $bob,
                            services => ["other:$backend->{port}/private"]);

    $agent = ZLTunnel::Wire->agent($t, $token, features => 1);
    $agent->send_msg(register('e', ext => ext(1, pack 'C', 1)));
    $agent->expect('RegisterOk');
    @ok = @{ $agent->{ok} }{qw(tunnel_id data_key)};
}

sub done {
    $agent->close;
    unlike($t->log, qr/\[(crit|alert|emerg)\]/, 'nothing grave in the log');
    $t->finish;
}

sub mine { (grep { $_->{name} eq 'alice' } @{ $t->status->{tunnels} })[0] }

sub channel {
    my $d = ZLTunnel::Wire->channel($t, @ok);

    wait_for(sub { (mine() || {})->{idle_channels} == 1 })
        or die 'no idle channel';
    return $d;
}


# A client that asks for something.

sub ask {
    my ($line, $rest) = @_;

    my $c = ZLTunnel::Wire::Socket->new($front);
    $c->send("$line HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             . ($rest // "\r\n"));
    return $c;
}

# The Connect and the request that come on a new lane.

sub is_asked {
    my ($d, $lane, $line, $later) = @_;

    my $m = $d->next_of_lanes || { type => $d->{end} // 'nothing' };
    is($m->{type}, 'Connect', "$line: Connect");
    is($m->{lane}, $lane, "on lane $lane");
    return $m if $later;             # the request goes behind the answer

    my $data = $d->next_of_lanes || { type => $d->{end} // 'nothing' };
    is($data->{type}, 'Data', 'and Data');
    like($data->{payload} // '', qr/^\Q$line\E /, 'with the request');

    return $m;
}

sub is_next {
    my ($d, $lane, $type, $name) = @_;

    my $m = $d->next_of_lanes || { type => $d->{end} // 'nothing' };
    is("$m->{type} " . ($m->{lane} // ''), "$type $lane", $name // $type);
    return $m;
}

sub ack { msg('ConnectAck', $_[0]{connection_id}) }

sub data { join '', map { msg('Data', $_) } unpack '(a16000)*', $_[0] }

sub answer {
    my ($body) = @_;
    return data("HTTP/1.1 200 OK\r\nContent-Length: " . length($body)
                . "\r\n\r\n$body");
}

# nginx has read all that was sent on the channel, and done what follows from
# it.  An answer to a heartbeat says that it was read; lanes act upon it in a
# turn of their own, which comes before the next connection is accepted.

sub all_done {
    my ($d) = @_;

    $d->send(msg('Heartbeat', 'all done'));
    my $m = $d->next_of_lanes || { type => $d->{end} // 'nothing' };
    is("$m->{type} " . ($m->{payload} // ''), 'HeartbeatAck all done',
       'all of it is read');
    mine();
}

# What a client has got, to the end of its connection: (whole, body).

sub got {
    my ($c) = @_;

    $c->ending;
    my ($head, $body) = split /\r\n\r\n/, $c->{in}, 2;

    return (complete($c->{in}) && $c->{end} eq 'eof' ? 1 : 0, $body // '',
            $head =~ /^HTTP\/1.1 (\d+)/ ? $1 : 0);
}

sub complete { ZLTunnel::App::complete($_[0]) }

sub is_got {
    my ($c, $body, $name) = @_;

    my ($whole, $got) = got($c);
    ok($whole && $got eq $body, $name);
}


sub by_hand {
    setup();

    my $d = channel();
    my $c = ask('GET /one');
    my $m = is_asked($d, 1, 'GET /one');

    $d->send(lane(1, ack($m) . answer('hello') . msg('Eof')));
    is_got($c, 'hello', 'the answer');
    is_next($d, 1, 'Eof', 'and the end of our direction');

    # byte by byte, each in a message of its own; the second in between

    my $c2 = ask('GET /two');
    my $m2 = is_asked($d, 2, 'GET /two');
    my $c3 = ask('GET /three');
    my $m3 = is_asked($d, 3, 'GET /three');

    my @two = unpack '(a1)*', ack($m2) . answer('number two') . msg('Eof');
    my @three = unpack '(a3)*', ack($m3) . answer('number three')
                                . msg('Eof');

    while (@two || @three) {
        $d->send((@two ? lane(2, shift @two) : '')
                 . (@three ? lane(3, shift @three) : ''));
    }

    is_got($c2, 'number two', 'an answer byte by byte');
    is_got($c3, 'number three', 'another in between');

    # the ends, in any order
    my %ends = map { $_->{lane} => $_->{type} }
               map { $d->next_of_lanes || {} } 1, 2;
    is(join(' ', sort keys %ends), '2 3', 'both lanes are over');

    # an nginx that keeps connections by default closes one that has ended

    is(scalar(grep { !/^(?:Eof|LaneEnd)\z/ } values %ends), 0, '.. so');

    # a lane that is over

    all_done($d);
    $d->send(lane(1, 'again') . lane_credit(2, 100) . lane_end(3)
             . lane(1, 'x' x 32768) x 4);
    $c = ask('GET /four');
    $m = is_asked($d, 4, 'GET /four');
    $d->send(lane_end(1) . lane(4, ack($m) . answer('four') . msg('Eof')));
    is_got($c, 'four', 'messages of lanes that are over are ignored');
    is_next($d, 4, 'Eof');

    # heartbeats

    $d->send(msg('Heartbeat', '12345678'));
    $m = $d->next_of_lanes || {};
    is("$m->{type} $m->{payload}", 'HeartbeatAck 12345678',
       'a heartbeat is answered');

    # kept alive: one lane for several requests

    for my $n (1 .. 3) {
        $c = ask("GET /kept/$n");
        $m = is_asked($d, 5, "GET /kept/$n") if $n == 1;
        is_next($d, 5, 'Data') if $n > 1;
        $d->send(lane(5, ($n == 1 ? ack($m) : '') . answer("kept $n")));
        is_got($c, "kept $n", "request $n on it");
    }

    # which the service ends

    $d->send(lane(5, msg('Eof')));
    my $end = $d->next_of_lanes || {};
    like($end->{type}, qr/^(Eof|LaneEnd)$/, 'its end is answered');

    $c = ask('GET /kept/4');
    $m = is_asked($d, 6, 'GET /kept/4');
    $d->send(lane(6, ack($m) . answer('kept 4')));
    is_got($c, 'kept 4', 'the next has a lane of its own');
    is(mine()->{idle_channels}, 0, 'the channel stays a shared one');

    # refused

    $c = ask('GET /refused');
    $m = is_asked($d, 7, 'GET /refused');
    $d->send(lane(7, msg('ConnectFail', $m->{connection_id} . str16('no')
                                        . ext(1, pack 'C', 7))));
    is((got($c))[2], 502, 'ConnectFail is 502');
    is_next($d, 7, 'Reset', 'and is answered');

    $d->close;
    done();
}


# Each direction has 65536 bytes that may be under way.

sub windows {
    setup();

    my $d = channel();

    # what nginx sends

    my $body = pattern(400_000);
    my $c = ask('POST /up', 'Content-Length: ' . length($body) . "\r\n\r\n");
    my $m = is_asked($d, 1, 'POST /up', 1);
    $d->send(lane(1, ack($m)));
    $c->send($body);

    my $got = '';                    # the request and its body
    my $take = sub {
        my ($until) = @_;

        my $end = time + 5;

        while (($d->{came}{1} // 0) < $until && time < $end) {
            my $n = $d->next_of_lanes(0.05) or next;
            $got .= $n->{payload} if $n->{type} eq 'Data';
        }

        # no more than that
        while (my $n = $d->next_of_lanes(0.1)) {
            $got .= $n->{payload} if $n->{type} eq 'Data';
        }

        return $d->{came}{1};
    };

    is($take->(WINDOW), WINDOW, 'nginx sends so much');

    for my $credit (1, 32768, 10, WINDOW) {
        my $until = $d->{came}{1} + $credit;
        $d->send(lane_credit(1, $credit));
        is($take->($until), $until, "$credit more for that");
    }

    my $credited = $d->{came}{1} - WINDOW;

    while (index($got, "\r\n\r\n") + 4 + length $body > length $got) {
        $d->send(lane_credit(1, $d->{came}{1} - $credited))
            if $d->{came}{1} > $credited;
        $credited = $d->{came}{1};

        my $n = $d->next_of_lanes(5) or last;
        $got .= $n->{payload};
    }

    ok($got =~ s/^POST .*?\r\n\r\n//s && $got eq $body,
       'all of it comes, exact');
    $d->send(lane(1, answer('thanks') . msg('Eof')));
    is_got($c, 'thanks', 'and is answered');
    is_next($d, 1, 'Eof');

    # what it takes: from a client that reads, everything, credit in time

    $body = pattern(3_000_000);
    $c = ask('GET /down');
    $m = is_asked($d, 2, 'GET /down');
    my $out = ack($m) . answer($body) . msg('Eof');
    my $sent = 0;

    $c->{s}->blocking(0);

    while ($sent < length $out) {
        my $may = WINDOW - $sent + ($d->{credit}{2} // 0);
        my $part = substr $out, $sent, $may > 32768 ? 32768 : $may;

        $d->send(lane(2, $part)) if length $part;
        $sent += length $part;
        $d->next_of_lanes(0.01) if $may < 32768 && $sent < length $out;
        $c->fill(0);
    }

    is_got($c, $body, 'a body within the window, exact');
    cmp_ok($d->{credit}{2}, '<=', $sent + 4 * 1024 * 1024,
           'with no more credit than bytes, and a window');
    is_next($d, 2, 'Eof');

    # of a client that does not, so much and no more; others go on

    $c = ask('GET /raw');
    $m = is_asked($d, 3, 'GET /raw');
    $body = pattern(3_900_000) x 3;
    $out = ack($m) . answer($body) . msg('Eof');
    $sent = 0;
    my $last = time;

    while (time < $last + 1) {
        my $part = substr $out, $sent,
                          WINDOW - $sent + ($d->{credit}{3} // 0);
        $last = time if length $part;
        $d->send(lane(3, $part)) if length $part;
        $sent += length $part;
        $d->next_of_lanes(0.05);
    }

    cmp_ok($sent, '<', length $out, "a client that does not read: $sent");
    is($sent - $d->{credit}{3}, WINDOW, 'the window is used up');

    my $other = ask('GET /four');
    my $n = is_asked($d, 4, 'GET /four');
    $d->send(lane(4, ack($n) . answer('four') . msg('Eof')));
    is_got($other, 'four', 'another one is served');
    is_next($d, 4, 'Eof');

    $c->{s}->blocking(0);

    while ($sent < length $out && !$d->{end}) {
        my $may = WINDOW - $sent + ($d->{credit}{3} // 0);
        my $part = substr $out, $sent, $may;
        $d->send(lane(3, $part)) if length $part;
        $sent += length $part;
        $c->fill(0.01);
        $d->next_of_lanes(0.0005) if !length $part;
    }

    is_got($c, $body, 'when it reads on it gets everything');

    $d->close;
    done();
}


# How lanes end, and channels with lanes.

sub ends {
    setup();

    my $d = channel();

    # LaneEnd is a reset, at any time

    my $c = ask('GET /one');
    my $m = is_asked($d, 1, 'GET /one');
    $d->send(lane(1, ack($m) . data("HTTP/1.1 200 OK\r\n\r\nsome"))
             . lane_end(1));
    my ($whole, undef, $status) = got($c);
    ok(!$whole, 'LaneEnd in an answer: it is not whole');

    $c = ask('GET /two');
    $m = is_asked($d, 2, 'GET /two');
    $d->send(lane(2, ack($m)) . lane_end(2));
    isnt((got($c))[2], 200, 'LaneEnd before an answer');

    # which nginx may have asked again, on a lane of its own; done with it

    while (my $n = $d->next_of_lanes(0.5)) {
        $d->send(lane($n->{lane}, ack($n)) . lane_end($n->{lane}))
            if $n->{type} eq 'Connect';
    }

    # a client that goes

    $c = ask('GET /five');
    $m = $d->next_of_lanes;
    my $lane = $m->{lane};
    $c->reset;
    my $end;
    do { $end = $d->next_of_lanes(5) || { type => 'nothing' } }
        while $end->{type} eq 'Data';
    is("$end->{type} $end->{lane}", "LaneEnd $lane",
       'a client that goes before the answer: LaneEnd');
    $d->send(lane($lane, ack($m) . answer('too late') . msg('Eof')));

    $c = ask('GET /raw/six');
    $m = is_asked($d, ++$lane, 'GET /raw/six');
    $d->send(lane($lane, ack($m) . data("HTTP/1.1 200 OK\r\n\r\npart")));
    $c->take(10);
    $c->reset;
    $end = $d->next_of_lanes || { type => 'nothing' };
    like($end->{type}, qr/^(Reset|LaneEnd)$/, 'one that goes within it');
    is($end->{lane}, $lane, '.. ends the lane');
    $d->send(lane($lane, data('more') . msg('Reset')));

    # one that cannot be had is tried elsewhere

    $c = ask('GET /seven');
    $m = is_asked($d, ++$lane, 'GET /seven');
    $d->send(lane_end($lane));

    my $again;
    my $on = wait_for(sub {
        return 'lane' if ($again = $d->next_of_lanes(0.05));
        return 'control' if ($again = $agent->next(0.05));
    }, 5);
    is($again->{type}, 'Connect', 'a lane that the agent cannot have');
    is($again->{connection_id}, $m->{connection_id}, '.. is asked for again');

    my $e;
    if ($on eq 'control') {
        $e = ZLTunnel::Wire->channel($t, @ok, $again->{connection_id});
        $e->send(ack($again) . answer('seven') . msg('Eof'));

    } else {
        $lane = $again->{lane};
        $d->send(lane($lane, ack($again) . answer('seven') . msg('Eof')));
    }
    is_got($c, 'seven', '.. and served');
    $e->close if $e;
    1 while $d->next_of_lanes(0.3);

    # retired: what there is goes on, nothing new comes

    $c = ask('GET /eight');
    $m = is_asked($d, ++$lane, 'GET /eight');
    $d->send(lane($lane, ack($m)) . msg('Retire'));
    sleep 0.1;

    my $c9 = ask('GET /nine');
    my $n = $agent->next(5) || {};
    is($n->{type}, 'Connect', 'after Retire another channel is used');
    $e = ZLTunnel::Wire->channel($t, @ok, $n->{connection_id});
    $e->send(ack($n) . answer('nine') . msg('Eof'));
    is_got($c9, 'nine', 'and serves');
    $e->close;

    $d->send(lane($lane, answer('eight') . msg('Eof')));
    is_got($c, 'eight', 'the one before it is served to its end');
    $d->next_of_lanes(0.3);
    is($d->ending(5), 'eof', 'then the channel is closed');
    $d->close;

    # without lanes at once

    $d = channel();
    $c = ask('GET /one');
    $m = is_asked($d, 1, 'GET /one');
    $d->send(lane(1, ack($m) . answer('one') . msg('Eof')));
    is_got($c, 'one', 'a new one');
    is_next($d, 1, 'Eof');
    $d->send(msg('Retire'));
    is($d->ending(5), 'eof', 'retired, it is closed at once');
    $d->close;

    # the end of the channel is that of all lanes

    for my $how (qw(shut reset)) {
        $d = channel();
        my @c = map { ask("GET /raw/$_") } 1 .. 3;
        my @m;
        while (@m < 3) {
            my $n = $d->next_of_lanes or last;
            push @m, $n if $n->{type} eq 'Connect';
        }
        $d->send(join '', map {
            lane($_->{lane}, ack($_) . data("HTTP/1.1 200 OK\r\n\r\npart"))
        } @m);
        $_->take(15) for @c;
        $d->$how;
        is((grep { !(got($_))[0] } @c), 3, "$how: no answer is whole");
        $d->close;
    }

    done();
}


# What breaks the rules costs the channel, and nobody else anything.

sub garbage {
    setup();

    my @garbage = (
        'lane 0' => lane(0, 'x'),
        'LaneEnd of lane 0' => lane_end(0),
        'a lane that was not opened' => lane(2, 'x'),
        'LaneEnd of one' => lane_end(7),
        'LaneCredit for one' => lane_credit(7, 1),
        'the highest number' => lane(0xffffffff, 'x'),
        'an unknown type' => pack('C N', 0x7f, 0),
        'Connect beside lanes' => msg('Connect', 'x' x 40),
        'ConnectAck beside lanes' => msg('ConnectAck', 'x' x 16),
        'Move' => msg('Move', 'x' x 16),
        'Data beside lanes' => msg('Data', 'x'),
        'an empty Lane' => msg('Lane', pack 'N', 1),
        'a Lane too long' => pack('C N N', 0x60, 4 + 32769, 1),
        'a Lane of 4294967295' => pack('C N', 0x60, 0xffffffff),
        'LaneCredit too short' => msg('LaneCredit', pack 'N n', 1, 1),
        'LaneEnd too long' => msg('LaneEnd', 'x' x 5),
        'Retire with a payload' => msg('Retire', 'x'),
        'credit that was not due' => lane_credit(1, 16 * 1024 * 1024),
        'credit of 4294967295' => lane_credit(1, 0xffffffff),
    );

    my $running = start_request($front, { line => 'GET /other' });
    feed($running) for 1 .. 3;

    while (my ($name, $bytes) = splice @garbage, 0, 2) {
        my $d = channel();
        my $c = ask('GET /raw/one');
        my $m = $d->next_of_lanes;
        $d->next_of_lanes;

        $d->send(lane(1, ack($m) . data("HTTP/1.1 200 OK\r\n\r\nso far")));
        $c->take(25);
        $d->send($bytes);

        isnt($d->ending(5), 'open', "$name: the channel is closed");
        ok(!(got($c))[0], '.. and the answer cut off');
        $d->close;
        feed($running);
    }

    # within a lane it costs that lane alone

    my $d = channel();

    my @inside = (
        'an unknown type' => pack('C N', 0x7f, 0),
        'Lane in a lane' => lane(1, 'x'),
        'Data too long' => pack('C N', 0x55, 0xffffffff),
        'Raw' => msg('Raw') . 'x' x 100,
        'Moved' => msg('Moved'),
        'Connect' => msg('Connect', 'x' x 40),
    );
    my $lane = 0;

    my $held = ask('GET /held');
    my $first = is_asked($d, ++$lane, 'GET /held');
    $d->send(lane(1, ack($first)));

    while (my ($name, $bytes) = splice @inside, 0, 2) {
        my $c = ask('GET /raw/in');
        my $m;
        do { $m = $d->next_of_lanes || die "no Connect" }
            until $m->{type} eq 'Connect';
        $lane = $m->{lane};
        $d->next_of_lanes;
        $d->send(lane($lane, ack($m) . data("HTTP/1.1 200 OK\r\n\r\nso far")));
        $c->take(25);
        $d->send(lane($lane, $bytes));

        if ($name eq 'Raw') {
            # it is not used, and has no end of its own
            my $n = $d->next_of_lanes(1);
            $c->reset;
            next;
        }

        ok(!(got($c))[0], "$name in a lane: the answer is cut off");
        my $end = $d->next_of_lanes || { type => $d->{end} // 'nothing' };
        is("$end->{type} $end->{lane}", "LaneEnd $lane", '.. by LaneEnd');
    }

    $d->send(lane(1, answer('held') . msg('Eof')));
    is_got($held, 'held', 'the channel goes on');

    # more than the window, whoever reads or not: at the latest

    my $c = ask('GET /raw');
    my $m;
    do { $m = $d->next_of_lanes || die 'no Connect' }
        until $m->{type} eq 'Connect';
    $d->send(lane($m->{lane}, ack($m) . data("HTTP/1.1 200 OK\r\n\r\n")));

    for (1 .. 2000) {
        $d->send(lane($m->{lane}, data('x' x 32000))) or last;
        last if $d->{end};
        $d->fill(0.0001);
    }

    isnt($d->ending(5), 'open', 'more than the window: the channel is closed');
    $d->close;
    $c->close;

    my $end = time + 20;
    while (time < $end && !feed($running)) { sleep 0.001 }
    ok(($running->{answer} // '') eq pattern(4_000_000),
       'a transfer of another agent went on, exact');

    done();
}


# Two channels, and an upload that is bulk: the Connect of it, the lane's
# channel, and the one on which Move has come.

sub bulk {
    my ($body) = @_;

    my $d = channel();
    my $c = ask('POST /up', 'Content-Length: ' . length($body) . "\r\n\r\n");
    my $m = is_asked($d, 1, 'POST /up', 1);

    my $e = ZLTunnel::Wire->channel($t, @ok);
    wait_for(sub { mine()->{idle_channels} == 1 }) or die 'no idle channel';

    $d->send(lane(1, ack($m)));
    $c->send($body);

    # what comes on the lane meanwhile

    my $x = { d => $d, c => $c, e => $e, m => $m, got => '', credited => 0 };
    my $move;
    wait_for(sub {
        take_lane($x, 0.01);
        return $e->fill(0.001) && ($move = $e->next(1));
    }, 5);

    is($move->{type}, 'Move', 'bulk: Move');
    is($move->{connection_id}, $m->{connection_id}, 'of that connection');

    return $x;
}

# Takes what there is on the lane, and gives credit; what is not Data.

sub take_lane {
    my ($x, $timeout) = @_;

    my $d = $x->{d};

    while (my $n = $d->next_of_lanes($timeout)) {
        return $n if $n->{type} ne 'Data';
        $x->{got} .= $n->{payload};

        my $came = $d->{came}{1};
        next if $came - $x->{credited} < 32768;
        $d->send(lane_credit(1, $came - $x->{credited}));
        $x->{credited} = $came;

        # it has to last

        sleep 0.02;
        return undef;
    }

    return undef;
}

sub is_whole {
    my ($x, $body, $name) = @_;

    $x->{got} =~ s/^POST .*?\r\n\r\n//s;
    ok($x->{got} eq $body, $name);
}


# Twenty clients, and no channel: the agent is not asked for twenty, since the
# first that is idle carries the lanes of all.  Where none comes, each has one.

sub first {
    setup();

    my $n = 20;
    my $asked;

    # a machine that is busy may have let the second pass that they wait

    for (1 .. 5) {
        $asked = burst($n, 1);
        last if $asked < $n / 2;
    }

    cmp_ok($asked, '<', $n / 2, "the agent is asked for $asked channels");

    is(burst($n, 0), $n, 'with an agent that has none that are idle, for all');

    done();
}

# How often the agent is asked for a channel, and the idle one that it opens when
# it is asked first, if it does.

sub burst {
    my ($n, $opens) = @_;

    my @c = map { ask("GET /$_") } 1 .. $n;
    my $d;
    my (@fresh, $served);

    wait_for(sub {
        while (my $m = $agent->next(0.02)) {
            next if $m->{type} ne 'Connect';
            $d //= ZLTunnel::Wire->channel($t, @ok) if $opens;
            push @fresh, [ $m, ZLTunnel::Wire->channel($t, @ok,
                                                       $m->{connection_id}) ];
        }

        while ($d && (my $m = $d->next_of_lanes(0.02))) {
            next if $m->{type} ne 'Connect';
            $d->send(lane($m->{lane}, ack($m) . answer('x') . msg('Eof')));
            $served++;
        }

        return @fresh + ($served // 0) >= $n;
    });

    $_->[1]->send(ack($_->[0]) . answer('x') . msg('Eof')) for @fresh;

    is(scalar(grep { my @got = got($_); $got[0] && $got[1] eq 'x' } @c), $n,
       'all are served');

    # none of them is idle for what comes next
    $_->close for @c, grep { $_ } $d, map { $_->[1] } @fresh;
    wait_for(sub { mine()->{idle_channels} == 0 });

    return scalar @fresh;
}


# What nginx reads fast it gives more credit for,
# and takes more credit itself, but not without bounds.

sub grows {
    setup();

    my $d = channel();
    my $body = pattern(3_900_000);
    my $c = ask('GET /down');
    my $m = is_asked($d, 1, 'GET /down');
    my $out = ack($m) . answer($body) . msg('Eof');
    my ($sent, $most) = (0, 0);

    $c->{s}->blocking(0);

    while ($sent < length $out && !$d->{end}) {
        my $may = WINDOW - $sent + ($d->{credit}{1} // 0);
        my $part = substr $out, $sent, $may > 32768 ? 32768 : $may;

        $most = $may if $most < $may;
        $d->send(lane(1, $part)) if length $part;
        $sent += length $part;
        $d->next_of_lanes(0.01) if $sent < length $out;
        $c->fill(0);
    }

    is_got($c, $body, 'a body, exact');
    cmp_ok($most, '>=', 4 * WINDOW, "the window has grown, to $most");
    cmp_ok($most, '<=', 4 * 1024 * 1024, 'to no more than it may');
    is_next($d, 1, 'Eof');

    # nobody reads: no more than has been promised

    $c = ask('GET /raw');
    $m = is_asked($d, 2, 'GET /raw');
    $out = ack($m) . answer(pattern(3_900_000) x 3) . msg('Eof');
    $sent = 0;
    my $last = time;

    while (time < $last + 1) {
        my $part = substr $out, $sent,
                          WINDOW - $sent + ($d->{credit}{2} // 0);
        $last = time if length $part;
        $d->send(lane(2, $part)) if length $part;
        $sent += length $part;
        $d->next_of_lanes(0.05);
    }

    cmp_ok($sent, '<', length $out, "a client that does not read: $sent");
    $d->send(lane(2, 'x' x 32768)) for 1;
    isnt($d->ending(5), 'open', 'more than that: the channel is closed');
    $_->close for $d, $c;
    wait_for(sub { !mine()->{idle_channels} });

    # an upload: nginx sends as much as there is credit for

    $d = channel();
    my $size = 1_000_000;
    $c = ask('POST /up', "Content-Length: $size\r\n\r\n");
    $m = is_asked($d, 1, 'POST /up', 1);
    $d->send(lane(1, ack($m)) . lane_credit(1, 2 * $size));
    $c->send(pattern($size));

    my $got = 0;
    while ($got < $size) {
        my $n = $d->next_of_lanes(5) or last;
        $got += length $n->{payload} // '';
    }

    cmp_ok($got, '>=', $size, 'all of it, without more credit');
    $d->send(lane(1, answer('thanks') . msg('Eof')));
    is_got($c, 'thanks', 'and is answered');
    is_next($d, 1, 'Eof');

    # more than may be promised

    $c = ask('GET /more');
    $m = is_asked($d, 2, 'GET /more');
    $d->send(lane(2, ack($m)) . lane_credit(2, 16 * 1024 * 1024));
    isnt($d->ending(5), 'open', 'too much credit: the channel is closed');
    $_->close for $d, $c;

    done();
}


# A connection that leaves its lane for the other channel.

sub moved {
    my ($early) = @_;

    my $body = pattern(3_000_000);

    setup();

    my $x = bulk($body);
    my ($d, $c, $e) = @$x{qw(d c e)};

    $e->send(ack($x->{m}));

    my $n;
    wait_for(sub { $n = take_lane($x, 0.05) }, 5);
    is($n->{type}, 'Moved', 'acknowledged: Moved on the lane');

    $n = $e->next(5) || {};
    is($n->{type}, 'Data', 'what follows is on the channel already');
    $x->{got} .= $n->{payload} // '';

    # what is on the way there may be seen before our Moved is

    if ($early) {
        $e->send(data("HTTP/1.1 200 OK\r\n"));
        sleep 0.2;
    }

    $d->send(lane(1, msg('Moved')));

    while (length($x->{got}) < length $body) {
        my $n = $e->next(5) or last;
        last if $n->{type} ne 'Data';
        $x->{got} .= $n->{payload};
    }

    # behind the head of the request
    my $head = index $x->{got}, "\r\n\r\n";
    while (length($x->{got}) < $head + 4 + length $body) {
        my $n = $e->next(5) or last;
        $x->{got} .= $n->{payload};
    }

    is_whole($x, $body, 'the rest comes there, exact');
    is($d->next_of_lanes(0.2), undef, 'and nothing on the lane');

    my $answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks";
    $answer =~ s/^.*?\n// if $early;
    $e->send(data($answer) . msg('Eof'));
    is_got($c, 'thanks', 'the answer from there');
    is(($e->next(5) || {})->{type}, 'Eof', 'and its end');
    ok(wait_for(sub { mine()->{idle_channels} == 1 }),
       'it is idle afterwards');

    # the shared one goes on

    $c = ask('GET /two');
    my $m = is_asked($d, 2, 'GET /two');
    $d->send(lane(2, ack($m) . answer('two') . msg('Eof')));
    is_got($c, 'two', 'there are lanes as before');

    $_->close for $d, $e, $x->{c};
    done();
}


# Where the agent does not go along the connection stays on its lane, or is
# lost, but never cut off without a word.

sub not_moved {
    my $body = pattern(600_000);

    my %stays = (
        'no answer' => sub { },
        'another id' => sub { $_[0]->send(msg('ConnectAck', 'x' x 16)) },
        'closed' => sub { $_[0]->close },
        'reset' => sub { $_[0]->reset },
        'ConnectFail' => sub {
            $_[0]->send(msg('ConnectFail', $_[1]{connection_id} . str16('')));
        },
        'garbage' => sub { $_[0]->send(pack 'C N', 0x7f, 0) },
    );

    setup();

    for my $name (sort keys %stays) {
        my $x = bulk($body);
        my ($d, $c, $e) = @$x{qw(d c e)};

        $stays{$name}->($e, $x->{m});

        my $end = time + 10;
        while ($x->{got} !~ /\r\n\r\n/ || length $x->{got}
               < index($x->{got}, "\r\n\r\n") + 4 + length $body)
        {
            last if time > $end;
            my $n = take_lane($x, 0.2) or next;
            is($n->{type}, 'Data', 'on the lane');
            last;
        }

        is_whole($x, $body, "$name: the connection stays on its lane");
        isnt($e->ending(3), 'open', '.. and the other channel is closed');
        $d->send(lane(1, answer('thanks') . msg('Eof')));
        is_got($c, 'thanks', '.. which serves to the end');
        $_->close for $d, $e, $c;
        wait_for(sub { !mine()->{idle_channels} });
    }

    # Moved that nobody has asked for; the end in place of ours; and none

    my $left = sub {
        my ($x) = @_;
        $x->{e}->send(ack($x->{m}));
        wait_for(sub { take_lane($x, 0.05) }, 5);
    };

    my %lost = (
        'Moved at once' => sub { $_[0]{d}->send(lane(1, msg('Moved'))) },
        'LaneEnd' => sub { $_[0]{d}->send(lane_end(1)) },
        'Reset' => sub { $_[0]{d}->send(lane(1, msg('Reset'))) },
        'Moved, then the channel is closed' => sub {
            my ($x) = @_;
            $left->($x);
            $x->{e}->close;
            $x->{d}->send(lane(1, msg('Moved')));
        },
        'the channel is closed, and no Moved' => sub {
            my ($x) = @_;
            $left->($x);
            $x->{e}->reset;
            $x->{d}->send(lane_end(1));
        },
        'more on the lane behind Moved' => sub {
            my ($x) = @_;
            $left->($x);
            $x->{d}->send(lane(1, msg('Moved')) . lane(1, answer('x')));
        },
    );

    for my $name (sort keys %lost) {
        my $x = bulk($body);

        $lost{$name}->($x);

        if ($name =~ /behind/) {
            # the lane is over then, and it is the other channel that counts
            sleep 0.1;
            $x->{e}->send(answer('fine') . msg('Eof'));
            is_got($x->{c}, 'fine', "$name: is ignored");

        } else {
            my ($whole, undef, $status) = got($x->{c});
            ok($x->{c}{end} && (!$whole || $status != 200),
               "$name: the client is told");
        }

        my $c = ask('GET /next');
        my $m;
        do { $m = $x->{d}->next_of_lanes(5) || { type => 'Connect' } }
            until $m->{type} eq 'Connect';
        $x->{d}->send(lane($m->{lane}, ack($m) . answer('ok') . msg('Eof')))
            if $m->{lane};
        is_got($c, 'ok', '.. and the next is served');

        $_->close for @$x{qw(d e c)};
        wait_for(sub { !mine()->{idle_channels} });
    }

    done();
}


# A connection leaves its lane at the moment its window is used up, after a
# whole message: nginx's Moved has to wait for credit, and goes then.

sub moved_waits {
    setup();

    my $body = pattern(3_000_000);
    my $x = bulk($body);
    my ($d, $c, $e) = @$x{qw(d c e)};

    # the window is used up within a message

    $d->send(lane_credit(1, 100));
    while (my $n = $d->next_of_lanes(0.1)) { $x->{got} .= $n->{payload} }

    $e->send(ack($x->{m}));
    sleep 0.5;

    # it has room for the rest of that, and for nothing else

    my $left = 5 + unpack('x N', $d->{lanes}{1}) - length $d->{lanes}{1};
    $d->send(lane_credit(1, $left));

    my $n = $d->next_of_lanes(5) || {};
    is($n->{type}, 'Data', 'the window is used up');
    $x->{got} .= $n->{payload};
    is($d->next_of_lanes(0.5), undef, 'no window for Moved');

    $d->send(lane_credit(1, 32768));
    is_next($d, 1, 'Moved', 'with credit it comes');

    $d->send(lane(1, msg('Moved')));
    my $head = 4 + index $x->{got}, "\r\n\r\n";
    $x->{got} .= $e->bytes($head + length($body) - length $x->{got});
    is_whole($x, $body, 'the rest comes there, exact');

    $e->send(data(answer('there')) . msg('Eof'));
    is_got($c, 'there', 'the answer on the other channel');
    is(($e->next(5) || {})->{type}, 'Eof', 'and the end of it');

    $_->close for $d, $e;
    done();
}


# The agent has agreed, but nginx is within a message, for which there is no
# window.  The other channel fails: the connection is as before on its lane, and
# may leave it for a third one.

sub cancelled {
    setup();

    my $body = pattern(3_000_000);
    my $x = bulk($body);
    my ($d, $c, $d2, $m) = @$x{qw(d c e m)};

    # the window is used up within a message

    $d->send(lane_credit(1, 100));
    while (my $n = $d->next_of_lanes(0.1)) { $x->{got} .= $n->{payload} }

    $d2->send(ack($m));
    is($d->next_of_lanes(0.3), undef, 'it leaves behind this message');

    shutdown $d2->{s}, 1;
    isnt($d2->ending(5), 'open', 'the other channel ends: nginx gives it up');

    $d->send(lane_credit(1, $d->{came}{1} - $x->{credited}));
    $x->{credited} = $d->{came}{1};
    wait_for(sub { !defined take_lane($x, 0.05)
                   && $x->{got} =~ /\r\n\r\n/
                   && length($x->{got}) - $+[0] == length $body });
    is_whole($x, $body, 'the connection goes on there, exact');

    my $d3 = channel();
    my $answer = pattern(200_000);
    my $rest = moves($d, $d3, $m, answer($answer));

    # to the end of the fifth message
    $d->send(lane(1, substr($rest, 0, 5 * 16_005 - 75_000, '')
                     . msg('Moved')));
    $d3->send($rest . msg('Eof'));
    is_got($c, $answer, 'moved now, the answer is exact');
    is(($d3->next(5) || {})->{type}, 'Eof', 'and the end of it');

    $_->close for $d, $d2, $d3;
    done();
}


# Behind its Moved there is no way back for a connection: it ends with an error.

sub revoked {
    setup();

    my $d = channel();
    my $c = ask('GET /raw');
    my $m = is_asked($d, 1, 'GET /raw');
    my $d2 = channel();

    moves($d, $d2, $m, ack($m) . answer(pattern(100_000)));
    $t->revoke('alice');
    isnt($d2->ending(5), 'open', 'the token is revoked: the channel is closed');

    my ($whole) = got($c);
    ok($c->{end} && !$whole, 'and the client finds an error');
    $d->close;
    done();
}


# A response that ends while its connection is about to leave the lane, and
# what becomes of that in the keepalive cache.

sub moved_kept {
    setup();

    for my $later (0, 1) {
        my $d = channel();
        my $body = pattern(100_000);

        my $c = ask('GET /kept');
        my $m = is_asked($d, 1, 'GET /kept');
        my $d2 = channel();
        my $rest = ack($m) . answer($body);

        $rest = moves($d, $d2, $m, $rest);

        # with the last bytes, or behind them

        $d->send(lane(1, $rest . ($later ? '' : msg('Moved'))));
        is_got($c, $body, 'the response');

        if ($later) {
            sleep 0.1;
            $d->send(lane(1, msg('Moved')));
        }

        sleep 0.1;
        is($t->status->{left_lane}, 1 + $later, 'has left its lane');

        $c = ask('GET /kept/2');
        is(($d2->next(5) || {})->{type}, 'Data', 'the next, on the channel');
        $d2->send(data(answer('two')) . msg('Eof'));
        is_got($c, 'two', 'and its answer');
        is(($d->next_of_lanes(0.2) || {})->{type}, undef,
           'nothing on the lane');

        $d->close;
        $d2->close;
        wait_for(sub { mine()->{idle_channels} == 0 });
    }

    done();
}


# The first 75000 bytes of the answer on lane 1, by which nginx finds that it is
# bulk and leaves it for the other channel; the rest is returned.

sub moves {
    my ($d, $d2, $m, $rest) = @_;

    $d->send(join '', map { lane(1, $_) }
                      unpack '(a20000)*', substr $rest, 0, 65000, '');
    $d->next_of_lanes(0.2);
    $d->send(lane(1, substr $rest, 0, 10000, ''));

    is(($d2->next(5) || {})->{type}, 'Move', 'bulk: Move');
    $d2->send(ack($m));
    is_next($d, 1, 'Moved');

    return $rest;
}


# The agent's direction has ended when it is told to leave the lane: the other
# channel carries nginx's end, and the next connection.

sub moved_ended {
    setup();

    my $d = channel();
    my $body = pattern(100_000);

    my $c = ask('GET /one');
    my $m = is_asked($d, 1, 'GET /one');
    my $d2 = channel();
    my $rest = ack($m) . answer($body) . msg('Eof');

    $rest = moves($d, $d2, $m, $rest);

    $d->send(lane(1, $rest));
    is_got($c, $body, 'the response');

    is(($d2->next(5) || {})->{type}, 'Eof', 'the end of it');
    ok(wait_for(sub { mine()->{idle_channels} == 1 }), 'idle after that');
    is(($d->next_of_lanes(0.2) || {})->{type}, undef, 'nothing on the lane');

    $c = ask('GET /two');
    $m = is_asked($d, 2, 'GET /two');
    $d->send(lane(2, ack($m) . answer('two') . msg('Eof')));
    is_got($c, 'two', 'the channel with lanes goes on');

    $d->close;
    done();
}
