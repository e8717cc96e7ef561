#!/usr/bin/perl

# Protects: agents can tell servers apart that are behind one name.  AuthOk says
# who the server is, over a reload too; who is there already is told so, and
# takes no session; a data channel that meets another server is sent back with
# that one's id, and the log says what the balancer should do.

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

my $t = ZLTunnel->new(workers => 2, range => 4,
                      zltunnel => 'nodes 3;',
                      allow => [ qr/data channel is for node/ ]);
my $token = $t->token('alice');
$t->start;

subtest 'a random one' => sub {
    my ($id, $count) = who();

    is(length $id, 16, 'AuthOk has an id');
    is($count, 3, 'and how many there are');
    is_deeply([ who() ], [ $id, 3 ], 'it is the same for another agent');
    is(unpack('H*', $id), $t->status->{node_id}, 'and in the status');

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

    is(ask(held => [ $OTHER ])->{code}, 3,
       'who is elsewhere is asked for a session');
    is(ask(held => [ map { chr($_) x 16 } 1 .. 15 ], bad => 1)->{type},
       'AuthFail', 'a token that is not known is not told');
    is(ask(held => [ $id . 'x' ])->{code}, 3, 'half an id is none');
    is(ask(held => [ ($OTHER) x 16, $id ])->{code}, 3, 'nor are seventeen');

    my $m = ask(check => 1);
    is($m->{node}, $id, 'a question is told the id, too');

    $agent->close;
};

subtest 'data channels' => sub {
    my $agent = ZLTunnel::Wire->agent($t, $token);
    my %ok = %{ $agent->{ok} };
    my $own = unpack 'H*', $ok{node};

    for my $kind (qw(channel framed)) {
        my $to = sub {
            ZLTunnel::Wire->$kind($t, @ok{qw(tunnel_id data_key)}, undef,
                                  headers => "$_[0]\r\n")
        };

        is($to->("Zltunnel-Node: $own")->{answer}{status}, 101,
           'for this node');
        is($to->("zltunnel-node: \U$own")->{answer}{status}, 101,
           'in capitals, too');

        my $c = $to->('Zltunnel-Node: ' . unpack 'H*', $OTHER);
        is($c->{answer}{status}, 421, 'for another one');
        like($c->{answer}{head}, qr/^Zltunnel-Node: $own\r$/m,
             'who it has met');
        like($c->{answer}{head}, qr/^Zltunnel-Worker: /m, 'in its own words');

        is($to->($_)->{answer}{status}, 400, "malformed: $_")
            for 'Zltunnel-Node: ', "Zltunnel-Node: ${own}0",
                "Zltunnel-Node: $own\r\nZltunnel-Node: $own";
    }

    my $stranger = ZLTunnel::Wire->channel($t, "\1" x 16, "\2" x 32, undef,
                                           headers => "Zltunnel-Node: $own\r\n");
    is($stranger->{answer}{status}, 403, 'the key counts as ever');

    my @said = $t->log =~ /data channel is for node \Q@{[
                   unpack 'H*', $OTHER ]}\E, and this is node $own: .*hash/g;
    ok(@said >= 1 && @said <= 3, 'the log says so, now and then');
    $agent->close;
};

subtest 'a given one' => sub {
    my $before = (who())[0];
    my $agent = ZLTunnel::Wire->agent($t, $token);
    my %ok = %{ $agent->{ok} };

    reload("node_id $UUID;");

    my $c = ZLTunnel::Wire->channel(
        $t, @ok{qw(tunnel_id data_key)}, undef,
        headers => 'Zltunnel-Node: ' . unpack('H*', $before) . "\r\n");
    isnt($c->{answer}{status}, 421, 'the former id is good after a reload');
    $agent->close;

    my ($id, $count) = who();
    is(unpack('H*', $id), $UUID =~ s/-//gr, 'a UUID');
    is($count, undef, 'how many there are is not told');

    reload('node_id node-1.example;');
    is((who())[0], substr(sha256('node-1.example'), 0, 16), 'a name');
};

$t->finish;


sub ask {
    my (%o) = @_;

    my $c = ZLTunnel::Wire->control($t);
    $c->auth($o{bad} ? 'x' x 43 : $token, features => 7, %o);
    my $m = $c->next;
    $c->close;

    return $m;
}


sub who {
    my $agent = ZLTunnel::Wire->agent($t, $token);
    $agent->close;

    return @{ $agent->{ok} }{qw(node nodes)};
}


sub reload {
    $t->write_conf(zltunnel => $_[0]);

    my %old = map { $_ => 1 } $t->workers;
    kill HUP => $t->{nginx}->pid;
    ok(wait_for(sub {
        my @now = $t->workers;
        return @now == 2 && !grep { $old{$_} } @now;
    }), 'reloaded');
}
