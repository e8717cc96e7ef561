#!/usr/bin/perl

# Protects: workers from each other.  Whatever a worker is sent by another one,
# messages of any type and length with fields that make no sense among them, it
# lives, what it relays goes on, and it serves.  They are sent by the ways that
# workers have, which the master hands out (pidfd_getfd).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Compress::Raw::Zlib ();
use Socket qw(MSG_DONTWAIT);
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire;

use constant { SYS_PIDFD_OPEN => 434, SYS_PIDFD_GETFD => 438,
               SEQPACKET => 5, HEAD => 376 };

my $rounds = sizes('messages', 20_000, 4_000);
my $seed = $ENV{ZLT_SEED} // int rand 1e9;
srand $seed;
note "ZLT_SEED=$seed";

my $t = ZLTunnel->new(workers => 2, udp => 1,
                      allow => [ qr/zltunnel worker message of/ ]);
my $token = $t->token('alice');
$t->start;

my $echo = $t->service('echo');
my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
my $port = $agent->port('e');

my @ways = ways($t->{nginx}->pid);
plan(skip_all => 'no descriptor of the master can be had here') if !@ways;
cmp_ok(scalar(@ways), '>=', 2, 'ways to the workers');

my @pids = $t->workers;
my $long = ZLTunnel::Wire::Socket->new($port);
ok(echoes($long), 'a connection');

my ($tunnel) = @{ $t->status->{tunnels} };
my @ids = (pack('H*', $tunnel->{id}), pack('H*', $tunnel->{services}[0]{id}),
           "\0" x 16, "\xff" x 16);

for my $n (1 .. $rounds) {
    my $bytes = message();
    send $_, $bytes, MSG_DONTWAIT for @ways;

    # they have time to read, and something to do beside it
    if ($n % 200 == 0) {
        ok(wait_for(sub { $t->status }), "$n messages: a worker answers") or last;
    }
}

like($t->log, qr/zltunnel worker message of/, 'what has no sense is told');
is_deeply([ sort $t->workers ], [ sort @pids ], 'the same workers live');
ok(echoes($long), 'the connection goes on');
ok(wait_for(sub { $agent->port('e') == $port && echoes($port) }),
   'and new ones are served');

$long->close;
$t->finish;


# The sockets by which the workers of that master are reached.

sub ways {
    my ($pid) = @_;

    my %type = map { (split)[6, 4] }
               grep { !/^Num/ } split /\n/, slurp("/proc/$pid/net/unix");
    my $pidfd = syscall SYS_PIDFD_OPEN, $pid + 0, 0;
    my @ways;

    return () if $pidfd < 0;

    for my $path (glob "/proc/$pid/fd/*") {
        my ($inode) = (readlink $path // '') =~ /^socket:\[(\d+)\]$/ or next;
        next if hex($type{$inode} // 0) != SEQPACKET;

        my ($n) = $path =~ m{(\d+)$};
        my $fd = syscall SYS_PIDFD_GETFD, $pidfd, $n + 0, 0;
        return () if $fd < 0;

        open my $way, '+<&=', $fd or die "descriptor $fd: $!";
        push @ways, $way;
    }

    return @ways;
}


# As zlt_ipc_t is, with some fields right, so that the others count.

sub message {
    my $any = sub { $_[int rand @_] };
    my $length = sub { $any->(0, 1, 31, 255, 256, 257, 4096, 65535,
                              int rand 65536) };

    my $data = "\0" x $any->(0, 0, 1, 5, 100, 4101, 5000);
    my $head = pack 'L5 l2 L2 x4 Q a16 a16 a16 a16 S4 a256',
        int rand 20,                                       # type
        Compress::Raw::Zlib::crc32($any->('default', 'default', 'none')),
        $any->(0, 1, 2, 63, 64, 1023, 0xffffffff),         # slot
        $any->(1, 1, 0, 2, 0xffffffff),                    # generation
        $any->(0, 1, 2, 0xffffffff),                       # worker
        $any->(@pids, 1, 0), $any->(@pids, @pids, @pids, 1, 0, -1),
        $any->(0, 499, 500, 0xffffffff),                   # hops
        int rand 2 ** 32, $any->(0, 1, 2, 2 ** 63),        # code, epoch
        (map { $any->(@ids) } 1 .. 4),
        $any->($port, 0, 65535), $length->(),
        $any->(length $data, length $data, $length->()), $any->(0, 1, 2),
        'x' x 256;

    die 'the layout has changed' if length $head != HEAD;

    return rand() < 0.9 ? $head . $data
                        : substr $head . $data, 0, int rand(HEAD + 10);
}


sub echoes {
    my ($c) = @_;

    local $SIG{PIPE} = 'IGNORE';

    my $own = ref $c ? undef : ZLTunnel::Wire::Socket->new($c);
    $c = $own if $own;
    return 0 if !ref $c;

    $c->send('hello');
    my $back = $c->take(5) // '';
    $own->close if $own;

    return $back eq 'hello';
}
