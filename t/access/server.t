#!/usr/bin/perl

# Protects: on-demand access, as a visitor by hand sees it at a real server
# with real serving agents.  What its token does not allow it does not get,
# and what it gets is the service's connection to the byte: half-closes,
# resets, an answer to each refusal, and counters that say what was sent.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::Wire qw(msg ext access_open access_renew access_close register
                      new_id ws_frame);

subtest 'rights' => \&rights;
subtest "connections, $_ worker(s)" => \&connections, $_ for 1, 4;
subtest 'serving agents' => \&serving;
subtest 'within a WebSocket' => \&websocket;
subtest 'garbage' => \&garbage;

done_testing();


# A visit that has its ConnectAck.

sub joined {
    my ($c, $id, %o) = @_;

    my $v = ZLTunnel::Wire->visit($c, $id, %o) // return undef;
    return undef if $v->{answer}{status} != 101;

    my $m = $v->next // { type => $v->{end} // 'none' };
    is($m->{type}, 'ConnectAck', 'ConnectAck') if $m->{type} ne 'ConnectAck';

    return $v;
}


sub rights {
    my $t = ZLTunnel->new(range => 10);

    my $serve = $t->token('site');
    my %token = (
        alice => $t->token('alice', 'access=web,db-*,secret@other '
                                    . 'access_ttl=1h max_access=3'),
        free  => $t->token('free', 'access=* access_ttl=0 services=x'),
        none  => $t->token('none'),
    );
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $serve, services =>
        [ map { "$_:$echo->{port}" } qw(web secret) ]);

    my $c = visitor($t, $token{alice});
    is($c->{ok}{features}, 15, 'the server grants access');

    my $m = ask($c, 'web', ttl => 60);
    is($m->{type}, 'AccessOk', 'a name on the list');
    is($m->{ttl}, 60, 'for as long as asked');
    is($m->{ext}{1}, 'site', 'served by that token');
    is(length $m->{access_id}, 16, 'with an id');

    like(refused($c, 'mail'), qr/^code 6: .*does not allow/, 'another name');
    like(refused($c, 'webb'), qr/^code 6/, 'a longer one');
    like(refused($c, ''), qr/^code 6: .*name/, 'none');
    like(refused($c, 'web', ttl => 3601), qr/^code 6: .* 1h at most/,
         'longer than its token allows: the reason names the limit');
    like(refused($c, 'web', ttl => 3600, grace => 1), qr/^code 6: .* 1h at most/,
         'with the grace');
    like(refused($c, 'web', ttl => 0), qr/^code 6: .*without an end/,
         'without an end');
    like(refused($c, 'web', target => 'h:80'), qr/^code 6: .*target/,
         'a target where there is none');
    like(refused($c, 'web', target => 'h'), qr/^code 6: .*host/,
         'a target that is none');

    $m = ask($c, 'db-1', ttl => 3600);
    is($m->{type}, 'AccessOk', 'a name that nobody has registered yet');
    is($m->{ext}, undef, 'is not served');

    my $stolen = opened($c, 'secret');
    is($c->next(0.1), undef, 'one that another token has registered');
    my $v = ZLTunnel::Wire->visit($c, $stolen);
    is(($v->next // {})->{code}, 8, 'is not served by that one');

    like(refused($c, 'web'), qr/^code 4: .*limit/, 'one session too many');
    $c->send_msg(access_close($stolen));
    opened($c, 'web');

    # register nothing
    $c->send_msg(register('web2'));
    is($c->expect('RegisterFail')->{code}, 6,
       'a token of access alone registers nothing');

    my $f = visitor($t, $token{free});
    $m = ask($f, 'web', ttl => 0);
    is($m->{type}, 'AccessOk', 'no limit: a session without an end');
    is($m->{ttl}, 0, 'it is');
    $f->send_msg(register('x'));
    is($f->expect('RegisterOk')->{type}, 'RegisterOk',
       'services= beside access= registers');

    my $n = visitor($t, $token{none});
    like(refused($n, 'web'), qr/^code 6: .*does not allow access/,
         'a token without access=');
    $n->send_msg(register('y'));
    is($n->expect('RegisterOk')->{type}, 'RegisterOk', 'registers as ever');

    # without the feature it is as any message that does not belong there
    $n->reset;
    ok(wait_for(sub {
        $n = ZLTunnel::Wire->agent($t, $token{none}, features => 7);
        return ($n->{ok}{type} // '') eq 'AuthOk';
    }), 'an agent without the feature');
    $n->send_msg(access_open('web'));
    $n->send_msg(register('y'));
    like($n->next->{type}, qr/^Register/, 'AccessOpen is ignored');

    my $who = qr/agent "alice" opened access to tcp service "web"/;
    like($t->log, qr/\[notice\].*$who until 2\d{3}-\S+Z, session [0-9a-f]{32}/,
         'the log has who opened what, and until when');
    like($t->log, qr/\[warn\].*agent "alice" was refused access/,
         'and who was refused');

    $_->reset for $c, $f, $n, $v;
    $t->finish;
}


sub connections {
    my ($workers) = @_;

    my $t = ZLTunnel->new(workers => $workers, range => 10);
    my $serve = $t->token('site');
    my $alice = $t->token('alice', 'access=*');
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $serve, services =>
        [ "web:$echo->{port}", 'closed:' . $t->free_port ]);

    my $c = visitor($t, $alice);
    my $id = opened($c, 'web');
    my ($in, $out, $total) = (0, 0, 0);


    # Bytes, exactly, early ones and large ones

    for my $size (0, 1, 5000, 300_000) {
        my $data = join '', map { chr int rand 256 } 1 .. ($size > 5000 ? 5000
                                                                       : $size);
        $data = substr $data x 60, 0, $size if $size > 5000;

        my $early = substr $data, 0, 3000, '';
        my $v = joined($c, $id, early => $early);
        $v->send($data) if length $data;
        $v->shut;

        my $back = $v->take($size, 20) // '';
        ok($back eq $early . $data, "$size bytes come back as they went");
        is($v->ending, 'eof', 'and then the end');
        is(length $v->{in}, 0, 'with nothing behind');
        is($v->over, 'eof', 'and that of the channel');

        $_ += $size for $in, $out;
        $total++;
        $v->close;
    }

    # all of it before there is an answer, and the end
    my $large = join '', map { chr int rand 256 } 1 .. 1000;
    $large x= 1500;
    my $v = ZLTunnel::Wire->visit($c, $id);
    $v->send(substr $large, 0, 200_000);
    is($v->next->{type}, 'ConnectAck', 'ConnectAck behind much');
    $v->send(substr $large, 200_000, 100_000);
    $v->raw;
    $v->send(substr $large, 300_000);
    $v->shut;
    ok(($v->take(length $large, 30) // '') eq $large, 'all of it comes back');
    is($v->ending, 'eof', 'and the end');
    $v->close;
    $_ += length $large for $in, $out;
    $total++;
    cmp_ok($t->status->{spliced}, '>', 0, 'without being copied, in part');

    # many at once
    my @v = map { joined($c, $id) } 1 .. 20;
    my $n = 0;
    $_->send("hello $n" . $n++) for @v;
    $n = 0;
    is(scalar(grep { my $want = "hello $n" . $n++;
                     ($_->take(length $want) // '') eq $want } @v), 20,
       'twenty connections at once');
    $in += length "hello $_$_" for 0 .. 19;
    $out = $in;
    $total += 20;

    ok(wait_for(sub {
        my $a = session($t, $id) or return 0;
        return $a->{connections}{active} == 20 && $a->{bytes}{in} == $in
               && $a->{bytes}{out} == $out;
    }), 'counters move while they are open');

    # a reset passes, either way
    my $before = $t->events($echo, 'reset');
    $v[0]->reset;
    ok(wait_for(sub { $t->events($echo, 'reset') > $before }),
       'a reset of the visitor reaches the service');
    $_->close for @v[1 .. 19];

    # the end of the channel alone is one, and so is what is no message

    for my $what ('close', 'shutdown', 'garbage') {
        $before = $t->events($echo, 'reset');
        $v = joined($c, $id);
        $what eq 'close' ? $v->close
            : $what eq 'shutdown' ? shutdown($v->{s}, 1)
            : $v->send_msg('garbage');
        ok(wait_for(sub { $t->events($echo, 'reset') > $before }),
           "$what without an end marker is a reset");
        $v->close;
        $total++;
    }

    # a service that refuses
    my $shut = opened($c, 'closed');
    $v = ZLTunnel::Wire->visit($c, $shut);
    is($v->{answer}{status}, 101, 'a service that is down: 101');
    my $m = $v->next // { type => 'none' };
    is($m->{type}, 'ConnectFail', 'ConnectFail');
    is($m->{code}, 7, 'code 7');
    is($v->ending, 'eof', 'and the end, not a reset');

    ok(wait_for(sub {
        my $a = session($t, $id) or return 0;
        return $a->{connections}{active} == 0;
    }), 'all have ended');

    my $a = session($t, $id);
    is($a->{bytes}{in}, $in, 'bytes in are those sent');
    is($a->{bytes}{out}, $out, 'bytes out are those received');
    is($a->{connections}{total}, $total, 'and so are the connections');
    is($a->{service}, 'web', 'the service');
    is($a->{protocol}, 'tcp', 'the protocol');
    is($a->{tunnel}, unpack('H*', $c->{ok}{tunnel_id}), 'the tunnel');
    cmp_ok($a->{remaining}, '>', 3000, 'what remains');

    is($t->service_status('web')->{bytes_in}, $in,
       'the service has counted the same');

    # what the 101 is not for
    is(ZLTunnel::Wire->visit($c, new_id())->{answer}{status}, 410,
       'an unknown session: 410');
    is(ZLTunnel::Wire->channel($t, $c->{ok}{tunnel_id}, 'k' x 32, undef,
        headers => 'Zltunnel-Access: ' . unpack('H*', $id) . "\r\n")
       ->{answer}{status}, 403, 'a wrong key: 403');

    $c->send_msg(access_close($id));
    ok(wait_for(sub {
        ZLTunnel::Wire->visit($c, $id)->{answer}{status} == 410
    }), 'a session that was stopped: 410');

    $c->reset;
    $t->finish;
}


sub serving {
    my $t = ZLTunnel->new(range => 10, workers => 2);
    my $one = $t->token('one');
    my $two = $t->token('two');
    my $alice = $t->token('alice', 'access=web@one,any,priv,open');
    my $bob = $t->token('bob', 'access=*');
    $t->start;

    # serving agents by hand: what they are sent is seen
    my $s = ZLTunnel::Wire->agent($t, $one, features => 15);
    $s->send_msg(register('web', ext => ext(1, "\x01")));
    $s->send_msg(register('priv', ext => ext(1, "\x01", 3, 'carol,bob')));
    $s->send_msg(register('open', ext => ext(1, "\x04")));
    my %id;
    for my $name (qw(web priv open)) {
        my $m = $s->expect('RegisterOk');
        $id{$name} = $m->{service_id};
        is($m->{port}, 0, "$name has no port");
    }

    my $other = ZLTunnel::Wire->agent($t, $two, features => 15);
    $other->send_msg(register('web', ext => ext(1, "\x01")));
    $other->expect('RegisterOk');

    my $c = visitor($t, $alice);
    my $b = visitor($t, $bob);

    my $serve = sub {
        my ($what) = @_;
        my $m = $s->expect('Connect');
        my $ch = ZLTunnel::Wire->channel($t, $s->{ok}{tunnel_id},
                                         $s->{ok}{data_key},
                                         $m->{connection_id});
        is($ch->{answer}{status}, 101, "$what: the agent answers");
        $ch->ack($m);
        return ($m, $ch);
    };

    # @TOKEN: never the other one
    my $web = opened($c, 'web');

    for (1 .. 4) {
        my $v = ZLTunnel::Wire->visit($c, $web, early => 'early');
        my ($m, $ch) = $serve->('web');
        is($m->{service_id}, $id{web}, 'asked for the service');
        like($m->{client_addr}, qr/^127\.0\.0\.1:\d+$/, 'with an address');
        is($m->{ext}{1}, undef, 'without a target');
        is($ch->bytes(5), 'early', 'early bytes arrive');
        is($v->next->{type}, 'ConnectAck', 'the visitor hears of it');

        $ch->data('bye');
        $ch->eof;
        is($v->take(3), 'bye', 'bytes back');
        is($v->ending, 'eof', 'half-close');
        $v->send('more');
        is($ch->bytes(4), 'more', 'the other direction goes on');
        $v->shut;
        is($ch->ends, 'eof', 'to its own end');
        $_->close for $v, $ch;
    }

    is($other->next(0.2), undef, 'the other tenant was never asked');

    # of the service's own list
    like(refused($c, 'priv'), qr/^code 6: .*visitor/,
         'a visitor that the service does not name');
    my $priv = opened($b, 'priv');
    my $v = ZLTunnel::Wire->visit($b, $priv);
    my ($m, $ch) = $serve->('priv');
    is($v->next->{type}, 'ConnectAck', 'one that it names');

    # a reset of the service
    $ch->reset;
    is($v->ending, 'reset', 'a reset of the service reaches the visitor');

    # targets
    like(refused($c, 'open'), qr/^code 6: .*target/, 'open, without a target');
    my $open = opened($c, 'open', target => 'db.lan:5432');
    $v = ZLTunnel::Wire->visit($c, $open);
    ($m, $ch) = $serve->('open');
    is($m->{ext}{1}, 'db.lan:5432', 'the target goes along');
    is($v->next->{type}, 'ConnectAck', 'connected');
    $_->close for $v, $ch;

    # on an idle channel
    my $idle = ZLTunnel::Wire->channel($t, $s->{ok}{tunnel_id},
                                       $s->{ok}{data_key});
    ok(wait_for(sub { grep { $_->{idle_channels} }
                      @{ ($t->status // {})->{tunnels} // [] } }), 'idle');
    $v = ZLTunnel::Wire->visit($c, $open, early => 'x');
    $m = $idle->next // { type => 'none' };
    is($m->{type}, 'Connect', 'an idle channel is used');
    is($m->{ext}{1}, 'db.lan:5432', 'with the target');
    $idle->send(msg('ConnectFail', $m->{connection_id} . "\0\2no"
                                   . ext(1, "\x06")));
    $m = $v->next // { type => 'none' };
    is($m->{type}, 'ConnectFail', 'a target that the agent refuses');
    is($m->{code}, 6, 'code 6');
    $_->close for $v, $idle;

    # one that comes later
    my $any = opened($c, 'any');
    $v = ZLTunnel::Wire->visit($c, $any);
    is(($v->next // {})->{code}, 8, 'nobody has it: code 8');
    $s->send_msg(register('any', ext => ext(1, "\x01")));
    $s->expect('RegisterOk');
    $v = ZLTunnel::Wire->visit($c, $any);
    ($m, $ch) = $serve->('any');
    is($v->next->{type}, 'ConnectAck', 'later somebody has');
    $_->close for $v, $ch;

    $_->reset for $c, $b, $s, $other;
    $t->finish;
}


# The same where only WebSocket gets through: plain, and under TLS, to agents
# that are either.

sub websocket {
    my $t = ZLTunnel->new(workers => 2, range => 10);
    my $proxy = $t->free_port;
    $t->write_conf(stream => "server { listen 127.0.0.1:$proxy;
        proxy_pass 127.0.0.1:$t->{tls_port}; proxy_ssl on; }");
    my @tokens = map { $t->token($_) } qw(plain tls);
    my $alice = $t->token('alice', 'access=*');
    $t->start;

    my $echo = $t->service('echo');
    my $closed = $t->free_port;
    $t->agent(token => $tokens[$_], tls => $_,
              services => [ "web$_:$echo->{port}", "closed$_:$closed" ])
        for 0, 1;

    my $c = visitor($t, $alice);

    for my $port ($t->{http_port}, $proxy) {
        for my $n (0, 1) {
            my $what = ($port == $proxy ? 'TLS' : 'plain')
                       . ' to ' . ($n ? 'TLS' : 'plain');
            my $id = opened($c, "web$n");
            my $visit = sub {
                return ZLTunnel::Wire->visit($c, $id, ws => 1, port => $port,
                                             @_);
            };

            my $v = $visit->(early => ws_frame(msg('Data', 'early')));
            is($v->{answer}{status}, 101, "$what: 101");
            is($v->next->{type}, 'ConnectAck', 'ConnectAck');
            is($v->bytes(5), 'early', 'Data behind the request');

            my $data = join '', map { chr int rand 256 } 1 .. 1000;
            $data x= 300;
            $v->data($_) for $data =~ /(.{1,60000})/gs;
            ok($v->bytes(length $data) eq $data, 'bytes as they went');

            $v->eof;
            is($v->next->{type}, 'Eof', 'Eof is answered by Eof');
            is($v->next->{type}, 'Close', 'and Close');
            is($v->ending, 'eof', 'and the end');

            for my $how (qw(rst close)) {
                my $before = $t->events($echo, 'reset');
                $v = $visit->();
                is($v->next->{type}, 'ConnectAck', 'another');
                $v->data('x');
                $v->bytes(1);
                $v->$how;
                ok(wait_for(sub { $t->events($echo, 'reset') > $before }),
                   "$how without Eof: the service sees a reset");
                $v->close;
            }

            my $a = session($t, $id);
            is($a->{bytes}{in}, 7 + length $data, 'what it was is counted');

            $v = $visit->();
            $v->next;
            $c->send_msg(access_close($id));
            my $m = $v->next // { type => $v->{end} };
            like($m->{type}, qr/^(?:Reset|reset|eof)$/,
                 'stopped: a reset, or an end without Eof');

            $id = opened($c, "closed$n");
            $v = $visit->();
            $m = $v->next;
            is($m->{type}, 'ConnectFail', 'refused: ConnectFail');
            is($m->{code}, 7, 'code 7');
            is($v->next->{type}, 'Close', 'and Close');
            $v->close;
        }
    }

    $c->reset;
    $t->finish;
}


sub garbage {
    my $t = ZLTunnel->new(range => 4);
    my $alice = $t->token('alice', 'access=* sessions=1000');
    $t->start;

    my @bad = (
        msg('AccessOpen', ''), msg('AccessOpen', "\x05abc"),
        msg('AccessOpen', "\x01a\x02" . "\0" x 8),
        msg('AccessOpen', "\x01\xff\0" . "\0" x 8),
        msg('AccessRenew', 'x' x 19), msg('AccessClose', 'x' x 17),
        msg('AccessClose', 'x' x 16 . "\0\3ab"),
    );

    for my $bad (@bad) {
        my $c = visitor($t, $alice);
        $c->send_msg($bad);
        my $m = $c->next // { type => 'none' };
        is($m->{type}, 'Close', 'a message that does not decode: Close');
        is($m->{code}, 1002, 'with code 1002');
        $c->reset;
    }

    my $c = visitor($t, $alice);

    # in the wrong direction, unknown ids, odd blocks
    $c->send_msg(msg('AccessOk', "\0" x 20));
    $c->send_msg(msg('AccessFail', "\0\0"));
    $c->send_msg(access_close(new_id()));
    $c->send_msg(access_renew(new_id(), 10));
    my $m = $c->expect('AccessFail');
    is($m->{code}, 8, 'a renewal of nothing: code 8');
    ok(defined $m->{ext}{2}, 'with its id');

    is(ask($c, 'a', resume => new_id())->{type}, 'AccessOk',
       'an unknown id to resume: a new session');
    $c->send_msg(msg('AccessOpen', pack('C/a C N N', 'b', 0, 60, 0)
                                   . "\x01\0\x20xx"));
    is($c->expect('AccessOk')->{type}, 'AccessOk', 'a void block');

    # random bytes on a visit do no harm
    my $id = opened($c, 'c');

    for my $head ("Zltunnel-Access: xyz\r\n", "Zltunnel-Access:\r\n",
                  'Zltunnel-Access: ' . '0' x 31 . "\r\n") {
        is(ZLTunnel::Wire->channel($t, $c->{ok}{tunnel_id},
            $c->{ok}{data_key}, undef, headers => $head)->{answer}{status},
           400, 'a malformed id: 400');
    }

    is(ZLTunnel::Wire->channel($t, $c->{ok}{tunnel_id}, $c->{ok}{data_key},
        new_id(), headers => 'Zltunnel-Access: ' . unpack('H*', $id)
                             . "\r\n")->{answer}{status},
       400, 'both ids: 400');

    my $v = ZLTunnel::Wire->visit($c, $id, early => 'x' x 3000,
        headers => "Zltunnel-Client: \x01\xff\"evil\r\n");
    is(($v->next // {})->{code}, 8, 'bytes for nobody: ConnectFail');
    is($v->ending, 'eof', 'and the end');

    $c->beat;
    is(ask($c, 'd')->{type}, 'AccessOk', 'the tunnel lives');

    $c->reset;
    $t->finish;
}
