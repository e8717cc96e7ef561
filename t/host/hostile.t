#!/usr/bin/perl

# Protects: agents that mean harm to names of hosts.  Whatever they ask for, and
# how often, names of others stay theirs, in the moment of a takeover, too; a text
# of any length is refused or understood; an automatic name that somebody else has
# is another one; and who asks without end is cut while others are served.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::SHA qw(sha256);
use Test::More;
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Wire;

my ($FEATURES, $HOSTS) = (0x83, 4);
my ($LIMIT, $FORBIDDEN, $TAKEN) = (4, 6, 11);

my $t = ZLTunnel->new(workers => 2, zltunnel => 'domain t.example;'
    . ' public_url http://*; reconnect_grace 30s; max_hosts 500;');
my $front = $t->free_port;

$t->write_conf(http => <<"EOT");
upstream hosts { zltunnel_host \$host; keepalive 8; }
server { listen 127.0.0.1:$front; location / { proxy_pass http://hosts; } }
EOT

my %token = map { $_ => $t->token($_, 'hosts=*.t.example,auto') }
                qw(alice bob carol);
$t->start;

my $app = app($t, 'carol');
$t->agent(token => $token{carol}, services => [ "web:$app->{port}" ],
          args => [ '--host', 'carol' ]);

texts();
automatic();
takeover();
flood();

$t->finish;


sub agent { return ZLTunnel::Wire->agent($t, $token{ $_[0] },
                                         features => $FEATURES) }

sub hosts {
    my ($c, $service, $names) = @_;

    $c->send_msg(ZLTunnel::Wire::register($service,
        ext => ZLTunnel::Wire::ext(1, "\1", $HOSTS, $names)));

    my $m = $c->next // { type => 'none' };
    return $m->{type} eq 'RegisterFail' ? $m->{code}
           : $m->{type} eq 'RegisterOk' ? $m->{ext}{3} // '' : $m->{type};
}


sub texts {
    my $c = agent('alice');
    my $long = join '.', ('y' x 60) x 4;

    is(hosts($c, 'commas', ',' x 60_000), $FORBIDDEN, 'nothing but commas');
    is(hosts($c, 'blanks', ' ' x 60_000), $FORBIDDEN, 'nothing but blanks');
    is(hosts($c, 'same', join ',', ('same') x 12_000), 'http://same.t.example',
       'one name, twelve thousand times');
    is(hosts($c, 'many', join ',', map { "n$_" } 1 .. 9_000), $LIMIT,
       'nine thousand names');
    is(hosts($c, 'bytes', join '', map { chr int rand 128 } 1 .. 60_000),
       $FORBIDDEN, 'any bytes');
    is(hosts($c, 'odd', "a\xff" x 30_000), '', 'what is no text asks for none');

    my @names = map { substr(sprintf('%02d', $_) . $long, 0, 243) . '.t.example' }
                    1 .. 64;
    my $urls = hosts($c, 'long', join ',', @names);
    is($urls, join(' ', map { "http://$_" } @names), '64 names of 253 bytes');

    $c->close;
}


# The label that the server makes up, which bob has seen somewhere.

sub automatic {
    my @label = map { my $n = $_;
        my @d = unpack 'C*', sha256(sha256($token{alice}) . chr($n) . 'web');
        join '', map { ('a' .. 'z', 2 .. 7)[ $d[$_] % ($_ ? 32 : 26) ] } 0 .. 7;
    } 0, 1;

    my ($b, $a) = map { agent($_) } 'bob', 'alice';

    is(hosts($b, 'x', $label[0]), "http://$label[0].t.example", 'bob was first');
    is(hosts($a, 'web', 'auto'), "http://$label[1].t.example",
       'the next automatic name');
    is(hosts($a, 'other', "auto,$label[0]"), $TAKEN, 'and not that one');
    $_->close for $a, $b;
}


sub takeover {
    my $b = agent('bob');
    my @got;

    for my $round (1 .. 15) {
        my $a = agent('alice');
        my $mine = hosts($a, 'web', 'shop');
        push @got, "$round: alice $mine" if $mine ne 'http://shop.t.example';

        $a->reset;
        my $next = ZLTunnel::Wire->control($t);
        $next->auth($token{alice}, features => $FEATURES);

        for (1 .. 5) {
            my $his = hosts($b, "r$round-$_", 'shop');
            push @got, "$round: bob $his" if $his ne $TAKEN;
        }

        $next->reset;
    }

    is("@got", '', "the name is nobody else's at any moment");
    $b->close;
}


sub flood {
    my $c = agent('bob');
    my ($n, $bad) = (0, 0);

    while ($n < 3000) {
        my $to = hosts($c, "f$n", join ',', map { "f$n-$_" } 1 .. 64);
        last if $to !~ /^(http|\d)/;
        $n++;

        $bad++ if $n % 50 == 0
                  && get($front, '/', host => 'carol.t.example')->{status} != 200;
    }

    cmp_ok($n, '<', 3000, "who asks without end is cut, after $n");
    is($bad, 0, 'and others were served');
    is(get($front, '/', host => 'carol.t.example')->{status}, 200, 'and are');
    $c->close;
}
