#!/usr/bin/perl

# Protects: the agent from what a server, or who stands before it, may say.  No
# answer keeps it busy, none keeps it away for longer than some minutes, and a
# Close is answered as it should be.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16 ext ws_frame);

my $t = ZLTunnel->new;
my $token = $t->token('alice');

# s, the wait that a server can ask for, with the quarter that is random
my $most = 300 * 1.25;

subtest 'a NUL in a header' => \&nul;
subtest 'Retry-After' => \&retry_after;
subtest 'retry after, in messages' => \&messages;
subtest 'Close' => \&closes;

$t->finish;


# A server that gives one answer to every request, and an agent at it.

sub answering {
    my ($answer, $check) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8)
        or die "listen: $!";
    my $server = ZLTunnel::Proc->start(name => 'server', code => sub {
        while (my $s = $listen->accept) {
            my $request = '';
            while ($request !~ /\r\n\r\n/) {
                sysread($s, $request, 4096, length $request) or last;
            }
            syswrite $s, $answer;
            sleep 0.2;
        }
    });

    my $agent = $t->agent(token => $token, wait => 0, services => [ 'x:1' ],
                          server => 'ws://127.0.0.1:' . $listen->sockport . '/',
                          args => [ '--reconnect-interval', '100ms',
                                    '--max-reconnect-interval', '200ms' ]);
    close $listen;
    $check->($agent);

    is($agent->stop, 0, 'the agent ends when it is told to');
    $server->stop('KILL');
}


sub nul {
    for my $header ("Connection: a\0b", "Connection: \0", "Upgr\0ade: x") {
        answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  . "$header\r\n\r\n", sub {
            my ($agent) = @_;
            ok($agent->logged(qr/does not answer in HTTP/, 5), 'told');
            ok($agent->in_state('agent', 'failed', 5), 'and it goes on');
        });
    }
}


sub retry_after {
    for my $seconds (86400, 999999, 4294968, '9' x 30) {
        answering("HTTP/1.1 503 Busy\r\nRetry-After: $seconds\r\n\r\n", sub {
            my ($agent) = @_;
            my $in = wait_for(sub { ($agent->link || {})->{retry_in} }, 5);
            ok($in, "$seconds: a wait");
            cmp_ok($in // 0, '>', 200, '.. of minutes');
            cmp_ok($in // 1e9, '<=', $most, '.. and no more');
        });
    }
}


# AuthFail and Disconnect: what the link's status says of the next attempt.

sub messages {
    my %say = (
        'Disconnect, later' => msg('Disconnect', str16('x')
                                   . ext(1 => "\2", 2 => "\xff" x 4)),
        'Disconnect, at once' => msg('Disconnect', str16('x')
                                     . ext(1 => "\1", 2 => "\xff" x 4)),
        'Disconnect, an end' => msg('Disconnect', str16('x')
                                    . ext(1 => "\0", 2 => "\xff" x 4)),
        (map { my $code = $_;
               ("AuthFail, code $code" => msg('AuthFail', str16('x')
                    . ext(1 => pack('C', $code), 2 => "\xff" x 4))) }
             1, 3, 4),
    );

    for my $name (sort keys %say) {
        my $server = ZLTunnel::Server->new($t);
        $server->{hold}{Auth} = 1 if $name =~ /Auth/;

        my $url = $server->url;
        my $agent = $t->agent(token => $token, wait => 0, conf => <<"EOT");
[agent]
server = $url
token_file = %%token_file%%

[service x]
local = 1
EOT

        $server->wait(sub { $name =~ /Auth/ ? @{ $server->{held} || [] }
                                            : $server->{services}{x} })
            or die 'no agent';
        $server->pass(0.2);
        $server->control->tell($say{$name});

        my $in = $server->wait(sub { ($agent->link || {})->{retry_in} }, 10);
        cmp_ok($in // 0, '>', 200, "$name: a wait of minutes");
        cmp_ok($in // 1e9, '<=', $most, '.. and no more');

        $agent->{proc}->kill('KILL');
        $agent->{proc}->wait(10);
        $server->close_all;
    }
}


# What comes back for the payload of a Close.

sub closes {
    my %want = (
        '' => '',
        pack('n', 1000) => pack('n', 1000),
        pack('n', 1001) . 'bye' => pack('n', 1001),
        pack('n', 4999) => pack('n', 4999),
        map { pack('n', $_) => pack 'n', 1002 } 0, 999, 1005, 1006, 1015, 5000,
        65535,
    );

    $want{ pack('n', 1000) . "\xff" } = pack 'n', 1007;

    my $server = ZLTunnel::Server->new($t);
    my $agent = $t->agent(token => $token, server => $server->url, wait => 0,
                          services => [ 'x:1' ],
                          args => [ '--reconnect-interval', '100ms',
                                    '--max-reconnect-interval', '100ms' ]);

    for my $payload (sort keys %want) {
        my $c = $server->wait(sub {
            my $c = $server->control;
            return $server->{services}{x} && $c;
        }) or die 'no agent';

        $server->{services} = {};
        $c->say(ws_frame($payload, op => 8, mask => 0));
        $server->wait(sub { $c->{gone} });

        is(unpack('H*', $c->{close} // 'none'), unpack('H*', $want{$payload}),
           'Close ' . unpack('H*', $payload));
    }

    $agent->{proc}->kill('KILL');
    $agent->{proc}->wait(10);
    $server->close_all;
}
