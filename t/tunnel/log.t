#!/usr/bin/perl

# Protects: what an agent refuses or does not answer is said in nginx's log some 32
# times a minute, and then counted: an agent that does so to every client, or a
# visitor that asks for what is not there, does not fill the disk.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Access qw(visitor ask);
use ZLTunnel::Wire qw(msg str16 ext register);

my $many = 60;                       # of each kind, above what is said of one
my $most = 32;

my $t = ZLTunnel->new(workers => 1, zltunnel => 'connect_timeout 2s;');
my $mallory = $t->token('mallory', 'sessions=10');
my $carol = $t->token('carol', 'access=*');
$t->start;

refused();
silent();
ended();
visitors();

$t->finish;


sub said {
    my ($re, $what) = @_;

    my $n = () = $t->log =~ /$re/g;
    cmp_ok($n, '>', 0, "$what: the log says so");
    cmp_ok($n, '<=', $most, "$what: but not each time");
}


# An agent by hand, its port, and as many clients as there are to be.

sub agent {
    my ($name) = @_;

    my $c = ZLTunnel::Wire->agent($t, $mallory);
    $c->send_msg(register($name));
    my $port = $c->expect('RegisterOk')->{port};

    return ($c, map { ZLTunnel::Wire::Socket->new($port) } 1 .. $many);
}


sub all_reset {
    my ($what, @clients) = @_;

    is(scalar(grep { ($_->ending // '') eq 'reset' } @clients), $many,
       "$what: each client is reset");
}


sub refused {
    my ($c, @clients) = agent('refused');

    for (1 .. $many) {
        my $m = $c->expect('Connect') or last;
        $c->send_msg(msg('ConnectFail', $m->{connection_id} . str16('no')));
    }

    all_reset('refused', @clients);
    said(qr/could not connect to service "refused"/, 'refused');
    $c->close;
}


sub silent {
    my ($c, @clients) = agent('silent');

    all_reset('silent', @clients);
    said(qr/service "silent" of agent "mallory" was not reached in time/,
         'silent');
    $c->close;
}


# Each is asked for again, some times.

sub ended {
    my ($c, @clients) = agent('ended');

    for (1 .. 4 * $many) {
        my $m = $c->expect('Connect') or last;
        my $ch = ZLTunnel::Wire->channel(
            $t, @{ $c->{ok} }{qw(tunnel_id data_key)}, $m->{connection_id});
        $ch->close;
    }

    all_reset('ended', @clients);
    said(qr/data channels to service "ended" end without an answer/, 'ended');
    $c->close;
}


sub visitors {
    my $c = ZLTunnel::Wire->agent($t, $mallory);
    $c->send_msg(register('gone', ext => ext(1, "\1")));
    my $id = $c->expect('RegisterOk')->{service_id};
    my $visitor = visitor($t, $carol);
    my $access = ask($visitor, 'gone')->{access_id};

    $c->send_msg(msg('Unregister', $id));
    ok(wait_for(sub { !$t->service_status('gone') }), 'a service goes');

    my @got = grep { $_ && $_->{answer}{status} == 101 && $_->next } map {
        ZLTunnel::Wire->visit($visitor, $access)
    } 1 .. $many;

    is(scalar(@got), $many, 'a visitor is refused each time');
    said(qr/visitor "carol" is refused service "gone"/, 'a visitor');
    $_->close for $c, $visitor;
}
