#!/usr/bin/perl

# Protects: which names of hosts an agent gets.  Only those that its token's
# hosts= allows, in one form, whatever it is written like; a name has one tenant,
# and is kept for it when its service has gone; "auto" is the same name again
# after a restart; rights that shrink take names away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my ($FEATURES, $HOSTS) = (0x83, 4);
my ($LIMIT, $FORBIDDEN, $TAKEN) = (4, 6, 11);

my $t = ZLTunnel->new(workers => 2, range => 4,
                      zltunnel => 'domain T.example.; max_services 200;'
                                  . ' max_hosts 8; reconnect_grace 1s;');
my $alice = $t->token('alice', 'hosts=*.alice.t.example,blog,shop.example.org,deli'
                               . ' sessions=2');
my $bob = $t->token('bob', 'hosts=*.t.example,auto,shop.example.org');
my $carol = $t->token('carol');
my $erin = $t->token('erin', 'hosts=2024');
my $dave = $t->token('dave', 'hosts=auto max_hosts=2');
$t->start;

my $url = "https://%s:$t->{tls_port}";

ok(ZLTunnel::Wire->agent($t, $alice, features => $FEATURES)->{ok}{features}
   & 0x80, 'the server knows of hosts');

rights();
forms();
taken();
automatic();
limits();
shrink();

$t->finish;


# Each: as it is asked for, and what it becomes, or the code.

sub rights {
    my $c = agent($alice);

    for my $row ([ 'x.alice.t.example', 'x.alice.t.example' ],
                 [ 'blog', 'blog.t.example' ],
                 [ 'a.b.alice.t.example', 'a.b.alice.t.example' ],
                 [ '*.alice.t.example', '*.alice.t.example' ],
                 [ '*.b.alice.t.example', '*.b.alice.t.example' ],
                 [ 'shop.example.org', 'shop.example.org' ],
                 [ 'alice.t.example', $FORBIDDEN ],
                 [ 'malice.t.example', $FORBIDDEN ],
                 [ '*.t.example', $FORBIDDEN ],
                 [ 'www.shop.example.org', $FORBIDDEN ],
                 [ 'auto', $FORBIDDEN ])
    {
        is(hosts($c, $row->[0]), $row->[1] =~ /\D/
           ? sprintf($url, $row->[1]) : $row->[1], "alice asks for $row->[0]");
    }

    my $none = agent($carol);
    is(hosts($none, 'blog'), $FORBIDDEN, 'without hosts= there is none');
    like($t->log, qr/"carol" refused: The token allows no names of hosts/,
         '.. and what would allow them is said');
    is(hosts(agent($erin), '2024'), sprintf($url, '2024.t.example'),
       'a label of digits');
    is(hosts($c, 'x.alice.t.example', udp => 1), $FORBIDDEN, 'nor for UDP');

    $c->close;
}


sub forms {
    my $c = agent($bob);
    my $label = 'x' x 63;
    my $long = join '.', ('y' x 60) x 4;            # 243 bytes

    for my $row ([ 'BLOG2', 'blog2.t.example' ],
                 [ 'Blog3.T.Example.', 'blog3.t.example' ],
                 [ 'xn--bcher-kva', 'xn--bcher-kva.t.example' ],
                 [ $label, "$label.t.example" ],
                 [ "${label}x", $FORBIDDEN ],
                 [ "$long.t.example", "$long.t.example" ],
                 [ "z.$long.t.example", $FORBIDDEN ],
                 [ 'a_b', $FORBIDDEN ], [ '-a', $FORBIDDEN ],
                 [ 'a-', $FORBIDDEN ], [ "a\0b", $FORBIDDEN ],
                 [ 'a..t.example', $FORBIDDEN ], [ '.t.example', $FORBIDDEN ],
                 [ 'b*.t.example', $FORBIDDEN ], [ '*', $FORBIDDEN ],
                 [ 'a b', $FORBIDDEN ], [ "b\xc3\xbccher", $FORBIDDEN ],
                 [ '', '' ], [ ',', $FORBIDDEN ], [ '10.0.0.1', $FORBIDDEN ],
                 [ '[::1]', $FORBIDDEN ], [ 'a:80', $FORBIDDEN ],
                 [ ' one , two ', 'one.t.example two.t.example' ],
                 [ 'one,ONE,one.t.example', 'one.t.example' ])
    {
        my ($name, $is) = @$row;
        my $shown = $name =~ s/[^ -~]/?/gr;

        $is = join ' ', map { sprintf $url, $_ } split / /, $is if $is =~ /\D/;
        is(hosts($c, $name), $is, 'asked for: ' . substr $shown, 0, 40);
    }

    $c->close;
}


sub taken {
    my $b = agent($bob);
    my $a = agent($alice);

    like(hosts($b, 'deli.t.example', keep => 1), qr/deli/, 'bob has a deli');
    is(hosts($a, 'deli.t.example'), $TAKEN, 'alice does not get it');
    is(hosts($a, 'blog,deli.t.example'), $TAKEN, 'nor others with it');
    is(status_hosts(), 'deli.t.example', 'which she does not have then');

    my $b2 = agent($bob, 1);
    is($b2, undef, 'bob has one session');

    $b->reset;
    ok(wait_for(sub { !grep { $_->{name} eq 'bob' }
                      @{ $t->status->{tunnels} } }, 20), 'bob goes');
    is(hosts($a, 'deli.t.example'), $TAKEN, 'his name is kept for him');

    $b = agent($bob);
    like(hosts($b, 'deli.t.example'), qr/deli/, 'who gets it again');

    # several agents of one token share a name

    my $a2 = agent($alice);
    like(hosts($a, 'blog', keep => 1), qr/blog/, 'one of alice');
    like(hosts($a2, 'blog', keep => 1), qr/blog/, 'and the other have a blog');

    $_->close for $a, $a2, $b;
}


sub automatic {
    my $d = agent($dave);
    my $first = hosts($d, 'auto', name => 'web', keep => 1);

    like($first, qr{^https://[a-z][a-z2-7]{7}\.t\.example:\d+$}, 'a name');
    isnt(hosts($d, 'auto', name => 'other'), $first, 'another for another');
    is(hosts($d, 'x'), $FORBIDDEN, 'none that he asks for');

    $d->close;
    $d = agent($dave);
    is(hosts($d, 'auto', name => 'web'), $first, 'the same one again');
    $d->close;

    my $b = agent($bob);
    isnt(hosts($b, 'auto', name => 'web'), $first, "it is the token's");
    $b->close;
}


sub limits {
    my $d = agent($dave);

    for my $n (1, 2) {
        like(hosts($d, 'auto', name => "n$n", keep => 1), qr/http/, "name $n");
    }

    is(hosts($d, 'auto', name => 'n3'), $LIMIT, 'no more than max_hosts=');
    $d->close;

    my $b = agent($bob);

    like(hosts($b, join(',', map { "m$_" } 1 .. 8), keep => 1), qr/m8/, 'eight of them');
    is(hosts($b, 'm9'), $LIMIT, 'no more than max_hosts');
    is(hosts($b, join(',', map { "k$_" } 1 .. 65)), $LIMIT, 'nor 65 of one');
    $b->close;

    # ever new names

    $b = agent($bob);
    my @bad = grep { hosts($b, "r$_") !~ /http/ } 1 .. 100;
    is("@bad", '', 'a hundred one after another');
    $b->close;
}


sub shrink {
    my $b = agent($bob);

    my $web = hosts($b, 'web', name => 'web', keep => 1);
    hosts($b, 'other', name => 'other', keep => 1);

    my ($entry) = grep { $_->{name} eq 'bob' } @{ $t->{tokens} };
    $entry->{rights} = 'hosts=other';
    $t->write_tokens;

    my $m = $b->expect('Withdraw', 10);
    is(status_hosts(), 'other.t.example', 'the name that is not allowed is gone');
    $b->close;
}


sub agent {
    my ($token, $may_fail) = @_;

    if ($may_fail) {
        my $c = ZLTunnel::Wire->control($t);
        $c->auth($token, features => $FEATURES);
        return $c->next->{type} eq 'AuthOk' ? $c : undef;
    }

    return ZLTunnel::Wire->agent($t, $token, features => $FEATURES);
}


my $n;

# Registers one, and again unregisters it, unless it is to be kept: its URLs, or
# the code.

sub hosts {
    my ($c, $names, %o) = @_;

    $c->send_msg(ZLTunnel::Wire::register($o{name} // 's' . ++$n,
        udp => $o{udp},
        ext => ZLTunnel::Wire::ext(1, "\1", $HOSTS, $names)));

    my $m = $c->next // { type => 'none' };

    return $m->{code} // 'no code' if $m->{type} eq 'RegisterFail';
    return $m->{type} if $m->{type} ne 'RegisterOk';

    $c->send_msg(ZLTunnel::Wire::msg('Unregister', $m->{service_id}))
        if !$o{keep};

    return $m->{ext}{3} // '';
}


sub status_hosts {
    return join ' ', sort map { @{ $_->{hosts} } }
                     map { @{ $_->{services} } } @{ $t->status->{tunnels} };
}
