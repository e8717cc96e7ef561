#!/usr/bin/perl

# Protects: a service that wants the PROXY protocol gets its header in front
# of every connection, also of one whose Connect was faster than RegisterOk, or
# whose channel had to be opened twice.
# Without it the client's own bytes would be taken for a header, and it could
# be whoever it likes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg announce);

my $t = ZLTunnel->new;
my $token = $t->token('alice');
my $service = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8)
    or die "listen: $!";
my $server = ZLTunnel::Server->new($t);
my $slow_port = $t->free_port;
my @got;

$server->watch($service, sub {
    my $s = $service->accept;
    my $got = { bytes => '' };

    push @got, $got;
    $s->blocking(0);
    $server->watch($s, sub {
        sysread($s, $got->{bytes}, 4096, length $got->{bytes})
            or $server->unwatch($s);
    });
    $got->{s} = $s;
});

# two more Registers than there will be answers, so that "unknown" is not yet
# "refused"

$server->{hold}{Register} = 1;

my $at = '127.0.0.1:' . $service->sockport;
my $agent = $t->agent(token => $token, server => $server->url, wait => 0,
                      services => [ "v1:$at/proxy-v1", "v2:$at/proxy-v2",
                                    "none:$at",
                                    "slow:127.0.0.1:$slow_port/proxy-v1" ]);

ok($server->wait(sub { @{ $server->{held} || [] } == 4 }), 'four Registers');

my $forged = "PROXY TCP4 203.0.113.9 203.0.113.9 1 1\r\n";
my %v2 = (v2 => "\r\n\r\n\0\r\nQUIT\n\x21\x11");

# before RegisterOk: with the client's first bytes, without, and in two messages

my %early = map { $_ => connection($_, $forged) } qw(v1 v2 none);
my $late = connection('v1');
my $two = connection('v1', unpack 'a9 a*', $forged);

$server->pass(0.5);
is(scalar @got, 0, 'nobody is dialled before RegisterOk');
$server->release('Register');

ok($server->wait(sub { @got == 5 }), 'then all are');
$late->say(msg('Data', $forged));
ok($server->wait(sub { 5 == grep { $_->{bytes} =~ /\Q$forged\E\z/ } @got }),
   'the bytes have come');
judge('before RegisterOk', v1 => 3, v2 => 1, none => 1);

# as ever

@got = ();
connection($_, $forged) for qw(v1 v2 none);
ok($server->wait(sub { 3 == grep { $_->{bytes} =~ /\Q$forged\E\z/ } @got }),
   'after RegisterOk');
judge('after RegisterOk', v1 => 1, v2 => 1, none => 1);

# on a fresh channel, which the server refuses once while the service, whose
# queue is full, has not answered yet

my $slow = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                 LocalPort => $slow_port, ReuseAddr => 1)
    or die "listen: $!";
my @queue = map { IO::Socket::INET->new(
    PeerAddr => "127.0.0.1:$slow_port", Blocking => 0) } 1 .. 4;
my $asked = 0;

$server->{meet} = sub {
    return undef if shift !~ /^Zltunnel-Connection: /mi || $asked++;
    return "HTTP/1.1 503 Busy\r\nZltunnel-Worker: 0/1\r\n\r\n";
};
$server->control->tell(announce(md5('slow')));

ok($server->wait(sub { $server->conns('fresh') }), 'a fresh channel, refused');
is($asked, 2, 'once');

my ($fresh) = $server->conns('fresh');
my $bytes = '';

$fresh->say(msg('Data', $forged));
$server->watch($slow, sub {
    my $s = $slow->accept;
    $server->watch($s, sub {
        sysread($s, $bytes, 4096, length $bytes) or $server->unwatch($s);
    });
});
ok($server->wait(sub { $bytes =~ /\Q$forged\E\z/ }), 'the bytes have come');
like($bytes, qr/^PROXY TCP4 192\.0\.2\.7 127\.0\.0\.1 7 \d+\r\n\Q$forged\E\z/,
     'behind the header');

$agent->{proc}->kill('KILL');
$agent->{proc}->wait(10);
$server->close_all;
$t->finish;


sub connection {
    my ($name, @bytes) = @_;

    my $ch = $server->idle;
    $ch->say(join '', announce(md5($name)), map { msg('Data', $_) } @bytes);
    return $ch;
}


sub judge {
    my ($when, %want) = @_;
    my %have = (v1 => 0, v2 => 0, none => 0);

    for my $g (@got) {
        my $head = $g->{bytes} =~ s/\Q$forged\E\z//r;

        $have{ $head eq '' ? 'none'
               : $head =~ /^PROXY TCP4 192\.0\.2\.7 127\.0\.0\.1 7 \d+\r\n\z/
               ? 'v1' : $head =~ /^\Q$v2{v2}\E/ ? 'v2' : 'wrong' }++;
    }

    is_deeply(\%have, \%want, "$when: the header that each service wants")
        or diag(explain(\@got));
}
