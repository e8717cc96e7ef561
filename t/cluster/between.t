#!/usr/bin/perl

# Protects: connections to services of another node while nodes change.  A reload of
# either node, with idle channels between them, costs no connection, neither one that
# is open nor one that comes meanwhile; a worker that is killed there costs its own;
# a node that is killed is there again when it is back; and what is open at the end
# is nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep time);
use ZLTunnel;
use ZLTunnel::Engine;

plan(skip_all => ZLTunnel::Engine::missing()) if ZLTunnel::Engine::missing();

# A, where the clients are, and B, which has the service

my ($A, $B) = map { ZLTunnel->new(workers => 2, allow => [ qr/exited on signal 9/,
                        qr/was not reached/ ]) } 0, 1;
my $engine = ZLTunnel::Engine->start($A);
my $certs = $A->certs;
my $port = $A->free_port;
my @token;

for my $t ($A, $B) {
    my %node = $engine->node;
    $node{zltunnel} =~ s/cluster_trusted_certificate \S+/cluster_trusted_certificate $certs\/ca.pem;/;
    $node{zltunnel} .= 'reconnect_grace 2s; node_id n' . ($t == $A ? 'a' : 'b') . ';';
    $t->write_conf(%node,
        http => "server {
                     listen 127.0.0.1:$node{node_port} ssl;
                     ssl_certificate $certs/server.pem;
                     ssl_certificate_key $certs/server.key;
                     ssl_verify_client optional_no_ca;
                     location = /tunnel/v1 { zltunnel; }
                 }",
        stream => $t == $A
                  ? "server { listen 127.0.0.1:$port; zltunnel_pass echo; }" : '');
    push @token, $t->token('alice');
}

$_->start for $A, $B;

my $echo = $B->service('echo');
my $agent = $B->agent(token => $token[1], services => [ "echo:$echo->{port}" ]);

ok(wait_for(sub { at_once() eq 'all' }, 30), 'A reaches the service of B');

subtest 'reloads' => \&reloads;
subtest 'a worker is killed' => \&worker;
subtest 'B is killed' => \&node;

# with its last service the channels to it go

is($agent->stop, 0, 'the agent stops');
ok(wait_for(sub { !grep { $_->{remote_node} } @{ $A->status->{tunnels} } }, 20),
   'A has no service of B any more');
$A->finish($B);


# One connection, to its end.

sub at_once {
    my ($n) = @_;

    my $text = 'x' x ($n // 10);
    my $s = connect_to($port) or return 'none';
    return goes_on($s, $text, 1);
}


sub goes_on {
    my ($s, $text, $last) = @_;

    local $SIG{PIPE} = 'IGNORE';
    my $end = time + 20;
    my $back = '';

    print $s $text;
    $s->flush;

    while (length $back < length $text) {
        vec(my $in = '', fileno $s, 1) = 1;
        select($in, undef, undef, $end - time) > 0 or return 'late';
        sysread($s, $back, 65536, length $back) or return "ended: $!";
    }

    return 'else' if $back ne $text;
    return 'all' if !$last;

    shutdown $s, 1;
    my $n = sysread $s, my $more, 1;
    return defined $n && $n == 0 ? 'all' : 'reset';
}


sub all_of {
    my ($n, $what, @open) = @_;

    my %said;
    $said{ at_once($_ * 1000) }++ for 1 .. $n;
    $said{ goes_on($_, 'still') }++ for @open;
    is_deeply(\%said, { all => $n + @open }, $what);
}


sub reloads {
    my @open = map { connect_to($port) } 1 .. 6;
    all_of(4, 'open, and others', @open);

    for my $n (1 .. 2) {
        for my $t ($B, $A) {
            my @old = $t->workers;
            my $name = $t == $A ? 'A' : 'B';

            $t->{nginx}->kill('HUP');
            my $end = time + 20;
            my %said;

            # until the old workers are told to go

            while (time < $end) {
                $said{ at_once(100) }++;
                my %now = map { $_ => 1 } $t->workers;
                last if grep({ !$now{$_} } @old) == @old;
            }

            is(join(' ', sort keys %said), 'all', "$name is reloaded, $n")
                or diag(explain(\%said));
            all_of(4, '.. and all is as it was', @open);
        }
    }

    is(join(' ', map { goes_on($_, 'end', 1) } @open), join(' ', ('all') x @open),
       'those that were open, to their end');
}


sub worker {
    my @open = map { connect_to($port) } 1 .. 8;
    all_of(0, 'open', @open);

    my ($victim) = $B->workers;
    kill 'KILL', $victim;
    ok(wait_for(sub { !grep { $_ == $victim } $B->workers }), 'killed');

    my %said;
    $said{ goes_on($_, 'still') =~ /^(all|ended)/ ? $1 : 'else' }++ for @open;
    ok(!$said{else}, 'each goes on, or ends') or diag(explain(\%said));
    close $_ for @open;

    ok(wait_for(sub { 10 == grep { at_once() eq 'all' } 1 .. 10 }, 60),
       'the service is reached, each time');
}


sub node {
    my @open = map { connect_to($port) } 1 .. 2;
    all_of(0, 'open', @open);

    # the one in place of that killed before may not be there yet
    ok(wait_for(sub { $B->workers == 2 }), 'both workers are there');

    my @workers = $B->workers;
    $B->{nginx}->kill('KILL');
    kill 'KILL', @workers;
    $B->{nginx}->wait(20);

    my %said;
    $said{ goes_on($_, 'still') =~ /^ended/ ? 'ended' : 'else' }++ for @open;
    is_deeply(\%said, { ended => 2 }, 'what was open has ended');
    isnt(at_once(), 'all', 'nobody is there');

    $B->start;

    # until A has heard that the services of before are none any more

    ok(wait_for(sub { 10 == grep { at_once() eq 'all' } 1 .. 10 }, 60),
       'back: it is reached again');
    all_of(10, '.. each time');
}
