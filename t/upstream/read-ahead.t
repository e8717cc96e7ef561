#!/usr/bin/perl

# Protects: what an agent's TLS library has put into a record of its own, behind
# ConnectAck, is not left lying in nginx's.  An agent under TLS says both while
# nginx looks elsewhere, so that nginx reads both at once; nothing more comes then, and no event will tell of what was read ahead.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire qw(register);

my $t = ZLTunnel->new;
my $front = $t->free_port;

$t->write_conf(http => <<"EOT");
upstream web { zltunnel_service web lanes=off; }
server {
    listen 127.0.0.1:$front;
    location / { proxy_pass http://web; proxy_read_timeout 10s; }
}
EOT

my $token = $t->token('alice');
$t->start;

my ($worker) = $t->workers;
my $control = ZLTunnel::Wire->agent($t, $token, features => 1);

$control->send_msg(register('web'));
my $port = $control->expect('RegisterOk')->{port};

my $answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n"
             . "\r\nhello";

for my $where ([ 'a port', $port ], [ 'an upstream', $front ]) {
    my ($name, $to) = @$where;

    my $channel = ZLTunnel::Wire->channel($t,
        @{ $control->{ok} }{qw(tunnel_id data_key)}, undef, tls => 1);
    is($channel->{answer}{status}, 101, 'a channel under TLS');
    my $client = ZLTunnel::Wire::Socket->new($to);
    $client->send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");

    my $m = $channel->next;
    like($channel->bytes(10), qr/^GET/, "$name: Connect, and the client's bytes");

    halt($worker);

    $channel->ack($m);
    my $one = waiting(1);
    $channel->data($answer);
    ok(waiting($one + length $answer), '.. two records wait to be read');

    kill CONT => $worker;

    my $end = time + 5;
    $client->fill($end - time)
        while $client->{in} !~ /hello$/ && !$client->{end} && time < $end;

    like($client->{in}, qr/^HTTP.1.1 200 .*hello$/s, '.. and both are read');

    $client->close;
    $channel->close;
}

$control->close;
$t->finish;


# Waits until nginx has so many bytes unread on a connection of its TLS port;
# how many these are.

sub waiting {
    my ($least) = @_;

    my $local = sprintf '0100007F:%04X', $t->{tls_port};

    return wait_for(sub {
        for (split /\n/, slurp('/proc/net/tcp')) {
            my (undef, $from, undef, $state, $queues) = split ' ';
            next if $from ne $local || $state ne '01';

            my $unread = hex((split /:/, $queues)[1]);
            return $unread if $unread >= $least;
        }

        return 0;
    }, 10);
}
