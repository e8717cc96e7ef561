#!/usr/bin/perl

# Protects: agents can tell servers apart that are behind one name.  AuthOk says
# who the server is, over a reload too; who is there already is told so, and
# takes no session, also where zltunnel_auth lets in; a channel that meets another
# server, a visitor's too, is sent back with that one's id before anything else
# of it is looked at, and the log of both workers says once what the balancer
# should do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::SHA 'sha256';
use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $UUID = '00112233-4455-6677-8899-aabbccddeeff';
my $OTHER = "\xf0" x 16;

my $t = ZLTunnel->new(
    workers => 2, range => 4, zltunnel => 'nodes 3;',
    location => <<'EOT',
        location = /asked { zltunnel; zltunnel_auth /granted; }
        location = /granted {
            internal;
            add_header Zltunnel-Token "bob sessions=1";
            return 200;
        }
EOT
    allow => [ qr/data channel of the agent at/ ]);
my $token = $t->token('alice');
my $carol = $t->token('carol');
$t->start;

subtest 'a random one' => sub {
    my ($id, $count) = who();

    is(length $id, 16, 'AuthOk has an id');
    is($count, 3, 'and how many there are');
    is_deeply([ who() ], [ $id, 3 ], 'it is the same for another agent');
    is(unpack('H*', $id), $t->status->{node_id}, 'and in the status');
    is_deeply([ who(tls => 1) ], [ $id, 3 ], 'and under TLS');

    reload('nodes 3;');
    is((who())[0], $id, 'a reload keeps it');
};

subtest 'who is there already' => sub {
    my $agent = ZLTunnel::Wire->agent($t, $token);
    my $id = $agent->{ok}{node};
    my $again = ask(held => [ $OTHER, $id ]);

    is($again->{type}, 'AuthOk', 'the token is good');
    is($again->{tunnel_id}, "\0" x 16, 'there is no tunnel in the answer');
    is($again->{node}, $id, 'but the id');
    is($again->{nodes}, 3, 'and how many there are');
    is(@{ $t->status->{tunnels} }, 1, 'no session was taken');
    like($t->log, qr/"alice" was checked from 127\.0\.0\.1, which is at this /,
         'the log tells it from a question');

    is(ask(held => [ $OTHER ])->{code}, 3,
       'who is elsewhere is asked for a session');
    is(ask(held => [ map { chr($_) x 16 } 1 .. 15 ], bad => 1)->{type},
       'AuthFail', 'a token that is not known is not told');
    is(ask(held => [ $id . 'x' ])->{code}, 3, 'half an id is none');
    is(ask(held => [ ($OTHER) x 16, $id ])->{code}, 3, 'nor are seventeen');

    is(ask(held => [ $id ], features => 0)->{code}, undef,
       'an agent of version 1 cannot say it');

    my $m = ask(check => 1);
    is($m->{node}, $id, 'a question is told the id, too');

    $agent->close;
};

subtest 'who is let in by zltunnel_auth' => sub {
    my %at = (path => '/asked', token => 'y' x 43);

    my $agent = ZLTunnel::Wire->agent($t, $at{token}, %at);
    my $id = $agent->{ok}{node};

    is($id, (who())[0], 'is told the id');
    is(ask(%at)->{code}, 3, 'has one session');

    my $again = ask(%at, held => [ $id ]);
    is($again->{tunnel_id}, "\0" x 16, 'and no other where it is')
        or diag explain $again;
    is($again->{node}, $id, 'but the id');

    $agent->close;
};

subtest 'data channels' => sub {
    my $agent = ZLTunnel::Wire->agent($t, $token);
    my %ok = %{ $agent->{ok} };
    my $own = unpack 'H*', $ok{node};
    my $other = unpack 'H*', $OTHER;
    my $astray = metric('channels_astray_total');
    my $n = 0;

    for my $kind (qw(channel framed)) {
        my $to = sub {
            ZLTunnel::Wire->$kind($t, @ok{qw(tunnel_id data_key)}, undef,
                                  headers => "$_[0]\r\n")
        };

        is($to->("Zltunnel-Node: $own")->{answer}{status}, 101,
           'for this node');
        is($to->("zltunnel-node: \U$own")->{answer}{status}, 101,
           'in capitals, too');

        for my $more ('', 'Zltunnel-Access: ' . '0' x 32 . "\r\n",
                      'Zltunnel-Connection: ' . '0' x 32 . "\r\n",
                      "Zltunnel-Access: garbage\r\n") {
            my $c = $to->("${more}Zltunnel-Node: $other");
            is($c->{answer}{status}, 421, "for another one, $more") and $n++;
            like($c->{answer}{head}, qr/^Zltunnel-Node: $own\r?$/m,
                 'who it has met');
            like($c->{answer}{head}, qr/^Zltunnel-Worker: /m,
                 'in its own words');
        }

        is($to->($_)->{answer}{status}, 400, "malformed: $_")
            for 'Zltunnel-Node: ', "Zltunnel-Node: ${own}0",
                'Zltunnel-Node: ' . 'g' x 32,
                "Zltunnel-Node: $own\r\nZltunnel-Node: $own";
    }

    is(ZLTunnel::Wire->channel($t, @ok{qw(tunnel_id data_key)}, undef, tls => 1,
                               headers => "Zltunnel-Node: $other\r\n")
       ->{answer}{status}, 421, 'under TLS') and $n++;

    my $stranger = ZLTunnel::Wire->channel($t, "\1" x 16, "\2" x 32, undef,
                                           headers => "Zltunnel-Node: $own\r\n");
    is($stranger->{answer}{status}, 403, 'the key counts as ever');
    unlike($stranger->{answer}{head}, qr/^Zltunnel-Node/m,
           'a 403 does not say who it is');

    my @said = $t->log =~ /
        agent\ at\ 127\.0\.0\.1\ is\ for\ node\ $other,\ and\ this\ is\ node
        \ $own:\ .*hash.*;\ this\ is\ number\ (\d+)\ of\ such/gx;
    is_deeply(\@said, [ 3 ], 'the log says so once, of the third');
    is(metric('channels_astray_total') - $astray, $n, 'and metrics count all');
    is(metric(qr/node_info\{node_id="$own"\}/), 1, '.. and have the id');

    $agent->close;
};

subtest 'another zone, and the same id' => sub {
    my $id = (who())[0];

    $t->{zone} = '16m';
    reload('nodes 3;');
    is($t->status->{zone}{size}, 16 * 1048576, 'of that size');
    is((who())[0], $id, 'the id has stayed');
};

subtest 'another id, with an agent that works' => sub {
    my $echo = $t->service('echo');
    my $astray = metric('channels_astray_total');
    my $agent = $t->agent(token => $carol, services => [ "e:$echo->{port}" ],
                          args => [ '--mode', 'all', '--max-idle', 0 ]);
    my $port = $t->service_status('e')->{port};
    my @long = map { connect_to($port) } 1 .. 4;
    my $echoes = sub {
        my ($c) = @_;
        return $c && syswrite($c, "x\n") && sysread($c, my $got, 2) == 2;
    };

    $echoes->($_) or fail('a connection') for @long;

    # each of them wants a channel of its own, at any moment of the reload

    reload("node_id $_;", sub {
        $echoes->(connect_to($port)) or fail('a new connection');
    }) for 'first', 'second';

    ok(wait_for(sub {
        my $m = $agent->link('carol') // $agent->link('agent') or return;
        return $m->{state} eq 'connected';
    }), 'the agent has come again');

    is((grep { $echoes->($_) } @long), 4, 'what ran goes on');
    ok($echoes->(connect_to($port)), 'new connections are served');
    is(metric('channels_astray_total'), $astray, 'no channel came astray');
    unlike($agent->log, qr/ (WARN|ERROR) .*(?:node|421|channel)/,
           'the agent has nothing to say');

    close $_ for @long;
    $agent->stop;
    reload('nodes 3;');
};

subtest 'a given one' => sub {
    my $before = (who())[0];
    my $agent = ZLTunnel::Wire->agent($t, $token);
    my %ok = %{ $agent->{ok} };

    reload("node_id $UUID;");

    my $to = sub {
        ZLTunnel::Wire->channel(
            $t, $ok{tunnel_id}, $_[0], undef,
            headers => 'Zltunnel-Node: ' . unpack('H*', $before) . "\r\n")
        ->{answer}{status}
    };

    is($to->($ok{data_key}), 101, 'the former id is good after a reload');
    is($to->("\2" x 32), 421, 'not for who is not known: it may be another\'s');
    $agent->close;

    my ($id, $count) = who();
    is(unpack('H*', $id), $UUID =~ s/-//gr, 'a UUID');
    is($count, undef, 'how many there are is not told');

    reload("node_id $UUID; max_tunnels 7;");
    is($to->("\2" x 32), 421, 'so it is after another reload');

    # an agent need not have come between two of them

    my $late = ZLTunnel::Wire->agent($t, $token);
    reload('node_id node-0;');

    reload('node_id node-1.example;');
    is(ZLTunnel::Wire->channel(
           $t, @{ $late->{ok} }{qw(tunnel_id data_key)}, undef,
           headers => 'Zltunnel-Node: ' . ($UUID =~ s/-//gr) . "\r\n")
       ->{answer}{status}, 101, 'the id before the former one is good');
    $late->close;
    is((who())[0], substr(sha256('node-1.example'), 0, 16), 'a name');

    reload('');
    is((who())[0], $before, 'without a name the id that was drawn');
};

$t->finish;


sub ask {
    my (%o) = @_;

    my $c = ZLTunnel::Wire->control($t, path => $o{path});
    $c->auth($o{token} // ($o{bad} ? 'x' x 43 : $token), features => 7, %o);
    my $m = $c->next;
    $c->close;

    return $m;
}


sub who {
    my $agent = ZLTunnel::Wire->agent($t, $token, @_);
    $agent->close;

    return @{ $agent->{ok} }{qw(node nodes)};
}


# With what is done meanwhile, again and again.

sub reload {
    my ($block, $meanwhile) = @_;

    $t->write_conf(zltunnel => $block);

    my %old = map { $_ => 1 } $t->workers;
    kill HUP => $t->{nginx}->pid;
    ok(wait_for(sub {
        $meanwhile->() if $meanwhile;
        my @now = $t->workers;
        return @now == 2 && !grep { $old{$_} } @now;
    }), 'reloaded');
}


# The value of a metric; its name may be a pattern.

sub metric {
    my ($name) = @_;

    my $text = http_get($t->{http_port},
                        '/tunnel/status?format=prometheus')->{body};

    return $text =~ /^zltunnel_$name (\S+)$/m ? $1 : undef;
}
