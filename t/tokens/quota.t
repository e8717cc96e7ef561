#!/usr/bin/perl

# Protects: max_connections= and max_udp_sessions= of a token.  They count over
# all of its tunnels, services and workers, leave other tokens alone, and hold
# as the token file says at the time, also while the agent is away; what is open
# stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Proc;
use ZLTunnel::UDP;
use ZLTunnel::Wire qw(register);

my $t = ZLTunnel->new(workers => 2, range => 10, udp => 1,
                      zltunnel => 'connect_timeout 60s; reconnect_grace 60s;');
my $alice = $t->token('alice',
                      'sessions=2 max_connections=3 max_udp_sessions=2');
my $bob = $t->token('bob', 'sessions=2');
$t->start;

my $greet = $t->service('greet');
my $udp = $t->free_port;
$t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp);

my @agents = (
    $t->agent(token => $alice, services => [ "web:$greet->{port}",
                                             "api:$greet->{port}",
                                             "dns:$udp/udp" ]),
    $t->agent(token => $alice, services => [ "more:$greet->{port}" ]),
    $t->agent(token => $bob, services => [ "other:$greet->{port}" ]));

my %port = map { $_ => $t->service_status($_)->{port} }
           qw(web api dns more other);


# The greeting, or what came in its place.

sub greeted {
    my $c = connect_to($port{ $_[0] }) or return;
    my $line = <$c>;

    return defined $line && $line eq "220 ready\r\n" ? $c : undef;
}


# Gives the first token other rights, and waits until each worker knows.

sub rights {
    my $from = length $t->log;

    $t->{tokens}[0]{rights} = $_[0];
    $t->write_tokens;

    wait_for(sub { my @read = substr($t->log, $from) =~ /has changed/g;
                   @read == 2 }) or die 'the workers did not read it';
}


subtest 'connections' => sub {
    my @open = map { greeted($_) } qw(web api more);
    is(scalar(grep { $_ } @open), 3, 'as many as the token may have');

    for my $name (qw(web api more)) {
        ok(!greeted($name), "one more of \"$name\" is refused");
    }

    like($t->log, qr/client refused: limit of max_connections= of the token/,
         'the log says why');
    ok(greeted('other'), 'another token has its own');

    close $open[1];
    ok(wait_for(sub { $open[1] = greeted('more') }),
       'when one has ended, another may begin');

    # a limit that is raised, and one that is lowered

    rights('sessions=2 max_connections=4 max_udp_sessions=2');
    ok($open[3] = greeted('web'), 'raised');

    rights('sessions=2 max_connections=1 max_udp_sessions=2');
    ok(!greeted('api'), 'lowered');

    for my $c (@open) {
        syswrite $c, "still\n";
        is(scalar <$c>, "still\n", 'what is open stays');
    }
};

subtest 'UDP sessions' => sub {
    my @c = map { ZLTunnel::UDP->client($port{dns}) } 1 .. 3;

    for my $i (0, 1) {
        ok(wait_for(sub { $c[$i]->send("x$i"); defined $c[$i]->recv(1) }),
           'a session');
    }

    $c[2]->send('one too many') for 1 .. 3;
    ok(!defined $c[2]->recv(1), 'one more has no answer');

    ok(wait_for(sub { $t->service_status('dns')->{dropped}{limit} > 0 }),
       'its datagrams are counted as dropped');

    $c[0]->send('again');
    is($c[0]->recv(5), 'again', 'the others go on');
};

subtest 'the agent is away' => sub {
    rights('sessions=2 max_connections=1 max_udp_sessions=2');

    my $away = ZLTunnel::Wire->agent($t, $bob, features => 1);
    $away->send_msg(register('late'));
    $away->expect('RegisterOk');
    $away->close;

    ok(wait_for(sub { grep { $_->{name} eq 'bob'
                             && $_->{state} eq 'disconnected' }
                      @{ $t->status->{tunnels} } }), 'an agent is away');

    my $port = $t->service_status('late')->{port};
    my @held = map { ZLTunnel::Wire::Socket->new($port) } 1, 2;
    ok(wait_for(sub { $t->service_status('late')->{active} == 2 }),
       'connections wait for it');

    my $from = length $t->log;
    $t->{tokens}[1]{rights} = 'sessions=2 max_connections=2';
    $t->write_tokens;
    ok(wait_for(sub { my @read = substr($t->log, $from) =~ /has changed/g;
                      @read == 2 }), 'its token gets a limit');
    ok(wait_for(sub {
           my $c = connect_to($port) or return 0;
           vec(my $in = '', fileno $c, 1) = 1;
           return select($in, undef, undef, 0.2) && !sysread $c, my $got, 1;
       }), 'which holds at once');
    $_->reset for @held;
};

subtest 'what may stand there' => sub {
    for my $bad ('max_connections=0', 'max_connections=many',
                 'max_udp_sessions=65536')
    {
        $t->{tokens}[1]{rights} = $bad;
        $t->write_tokens;

        my ($key) = $bad =~ /^(\w+)=/;
        my ($rc, $out) = $t->test_conf;

        isnt($rc, 0, $bad);
        like($out, qr/$key.*a number from 1 to 65535/, '.. the text says what');
    }

    $t->{tokens}[1]{rights} = 'max_connection=3';
    $t->write_tokens;

    my ($rc, $out) = $t->test_conf;
    my ($table) = slurp("$FindBin::Bin/../../docs/directives.md")
                  =~ /^\| parameter \| meaning \|.*?\n(\|.*?)\n\n/ms;

    like($out, qr/unknown parameter/, 'a name that is misspelt');
    like($out, qr/\b\Q$_\E=/, ".. $_= is among those that there are")
        for $table =~ /^\| `(\w+)=/mg;

    $t->{tokens}[1]{rights} = 'sessions=2';
    $t->write_tokens;
};

$t->finish;
