#!/usr/bin/perl

# Protects: the clients of one tenant do not take all of a worker's connections.
# However many come to the ports of one token, and stay, clients of another are
# served at once; those that are too many wait, are not reset, and are served
# when others have left.  Who is alone has all.  Idle channels keep nobody out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire;

my $CONNECTIONS = 256;
my $MANY = 150;                # more than there could ever be

my %most;

share(2);
share(1);
a_pass();
idle('ws', 2);
idle('wss', 1);

cmp_ok($most{1}, '>', $most{2} + 10, 'who is alone has more');

done_testing();


sub share {
    my ($tenants) = @_;

    my $t = ZLTunnel->new(connections => $CONNECTIONS, range => 4,
                          zltunnel => 'connect_timeout 60s;');
    my @names = qw(alice bob);
    my %token = map { $_ => $t->token($_) } @names[0 .. $tenants - 1];
    $t->start;

    my $echo = $t->service('echo');
    my %port = map {
        my $agent = $t->agent(token => $token{$_},
                              services => [ "$_:$echo->{port}" ]);
        $_ => $agent->port($_);
    } keys %token;

    my @alice = map { ZLTunnel::Wire::Socket->new($port{alice}) } 1 .. $MANY;
    $_->send('x') for @alice;

    # as many as it may have: there come no more

    my %served;
    my $last = time;

    while (time < $last + 3) {
        for my $i (grep { !$served{$_} } 0 .. $#alice) {
            my $x = answer($alice[$i]) // next;
            $served{$i} = $x;
            $last = time;
        }
    }

    my $n = keys %served;
    my $what = "of $tenants tokens";
    $most{$tenants} = $n;

    note "$what: $n clients of one are served";
    is(scalar(grep { $_ ne 'x' } values %served), 0, "$what: none was reset");
    cmp_ok($n, '>', $CONNECTIONS / 8, "$what: one has much");
    cmp_ok($n, '<', $MANY, "$what: but not all that it wants");

    like($t->log, $tenants == 1
         ? qr/\[warn\].* clients wait to be accepted: limit of worker_conn/
         : qr/\[warn\].*\ clients\ of\ token\ "alice"\ wait\ to\ be
              \ accepted:\ limit\ of\ its\ share\ of\ worker_connections/x,
         "$what: the log says so");

    others($port{bob}) if $tenants > 1;

    # those that have waited come when others go

    $alice[$_]->close for keys %served;
    my @waited = grep { !$served{$_} } 0 .. $#alice;
    my %late;

    ok(wait_for(sub {
        for my $i (grep { !defined $late{$_} } @waited) {
            my $x = answer($alice[$i]) // next;
            $late{$i} = $x;
            $alice[$i]->close;
        }
        return keys %late == @waited;
    }, 60), "$what: those that waited are served");
    is(scalar(grep { $_ ne 'x' } values %late), 0, "$what: and not reset");

    $t->end;
    $t->check_logs;
    $t->{done} = 1;
}


# One socket for two tenants, chosen by the client's address: what the one has
# there does not keep the other out.

sub a_pass {
    my $t = ZLTunnel->new(connections => $CONNECTIONS,
                          zltunnel => 'connect_timeout 60s;');
    my $port = $t->free_port;

    $t->write_conf(stream => <<"EOT");
        map \$remote_addr \$whose { 127.0.0.2 bob; default alice; }
        server { listen 127.0.0.1:$port; zltunnel_pass \$whose; }
EOT

    my %token = map { $_ => $t->token($_) } qw(alice bob);
    $t->start;

    my $echo = $t->service('echo');
    $t->agent(token => $token{$_},
              services => [ "$_:$echo->{port}/private" ]) for sort keys %token;

    my @alice = map { ZLTunnel::Wire::Socket->new($port) } 1 .. 80;
    $_->send('x') for @alice;
    is(scalar(grep { ($_->take(1, 20) // '') eq 'x' } @alice), 80,
       'at a pass: one has more than its share at a port');

    others($port, PeerHost => '127.0.0.1', LocalHost => '127.0.0.2');

    $_->close for @alice;
    $t->end;
    $t->check_logs;
    $t->{done} = 1;
}


# Idle channels, most of those that there may be, give way to clients of another
# agent: they count as left for its token, or are closed where it may have all.

sub idle {
    my ($scheme, $tenants) = @_;

    my ($least, $clients) = $tenants == 1 ? (100, 90) : (75, 60);
    my $t = ZLTunnel->new(connections => $CONNECTIONS, range => 4,
                          zltunnel => 'connect_timeout 60s;'
                                      . ' max_idle_channels 200;');
    my ($alice, $bob) = map { $t->token($_, 'sessions=2') }
                        qw(alice bob)[0 .. $tenants - 1];
    $t->start;

    my $echo = $t->service('echo');
    $t->agent(token => $alice, tls => $scheme eq 'wss',
              services => [ "alice:$echo->{port}" ],
              args => [ '--min-idle', 110, '--max-idle', 110 ]);
    my $other = $t->agent(token => $bob // $alice, tls => $scheme eq 'wss',
                          services => [ "bob:$echo->{port}" ]);

    ok(wait_for(sub { idle_channels($t) >= $least }, 20),
       "one agent has many idle channels, $scheme");

    my @bob = map { ZLTunnel::Wire::Socket->new($other->port('bob')) }
              1 .. $clients;
    $_->send('y') for @bob;
    is(scalar(grep { ($_->take(1, 10) // '') eq 'y' } @bob), $clients,
       'clients of another are served in spite of them');
    $_->close for @bob;

    $t->end;
    $t->check_logs;
    $t->{done} = 1;
}


sub idle_channels {
    my ($t) = @_;
    my $n = 0;

    $n += $_->{idle_channels} for @{ $t->status->{tunnels} };
    return $n;
}


# One byte; "gone" if the connection has ended, undef while there is nothing.

sub answer {
    my ($s) = @_;
    return $s->take(1, 0.001) // ($s->{end} ? 'gone' : undef);
}


# Clients of another token, beside those that stay.

sub others {
    my ($port, %from) = @_;

    my @bob = map { ZLTunnel::Wire::Socket->new($port, %from) } 1 .. 10;
    $_->send('y') for @bob;

    my $n = grep { ($_->take(1, 10) // '') eq 'y' } @bob;
    is($n, 10, 'clients of another token are served beside them');

    $_->close for @bob;
}
