#!/usr/bin/perl

# Protects: an agent with "mode = all" from a server that says of nodes what cannot
# be.  One that says that another link is at it, where there is none, does not take
# the last link; and one that says that there are ever so many nodes is not dialled
# twice a second for hours.  Where all of many addresses change at once the links
# follow, and with a node of another name at each dial there are no more of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Names;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg ext);

my $NODE = "\xaa" x 16;

my $t = ZLTunnel->new;

subtest 'another link, which there is not' => \&double;
subtest 'more nodes than there can be' => \&many;
subtest 'all addresses change' => \&renumbered;

$t->finish;


sub agent {
    my ($server, @more) = @_;

    my $names = ref $more[0] ? shift @more : undef;
    my $url = $server->url;
    $url =~ s/127\.0\.0\.1/nodes.test/ if $names;

    return $t->agent(token => 'x' x 43, wait => 0,
                     $names ? (program => $names->program) : (),
                     conf => <<"EOT");
[agent]
server = $url
mode = all
token_file = %%token_file%%
log_level = debug
reconnect_interval = 200ms
max_reconnect_interval = 500ms
@{[ join "\n", @more ]}
[service e]
local = 127.0.0.1:9
EOT
}


sub end {
    my ($server, $agent) = @_;

    kill TERM => $agent->pid;
    ok($server->wait(sub { !$agent->{proc}->running }, 20), 'the agent ends');
    $agent->stop;
    $server->close_all;
}


# The first two are told so, the third is taken.

sub double {
    my $server = ZLTunnel::Server->new($t);
    my $n = 0;

    $server->{hear} = sub { $n++ if $_[0]{type} eq 'Auth' };
    $server->{deal} = sub {
        my ($m) = @_;

        # as if it had been told that a link is there
        $m->{ext}{5} = $NODE if $n < 3;
        return ($NODE);
    };

    my $agent = agent($server);

    ok($server->wait(sub { $n >= 3 }, 20), 'it comes again');
    ok($server->wait(sub { $server->{services}{e} }, 20), 'and is connected');
    unlike($agent->log, qr/this one ends/, 'its link has not ended');

    end($server, $agent);
}


sub many {
    my $server = ZLTunnel::Server->new($t);
    my @at;

    $server->{hear} = sub { push @at, time if $_[0]{type} eq 'Auth' };
    $server->{deal} = sub { return ($NODE, 65535) };

    my $agent = agent($server, 'nodes = 2');

    # three at once, and then ever more slowly: with no end to what is missing
    # all of them come within 800 ms

    ok($server->wait(sub { @at > 1 && $at[-1] - $at[-2] > 1.3 }, 20),
       'between two dials there is ever more time');

    end($server, $agent);
}


sub renumbered {
    my $why = ZLTunnel::Names::missing();
    plan(skip_all => $why) if $why;

    my $names = ZLTunnel::Names->new($t);
    my $known = sub {
        $names->answers('nodes.test' => join ',', map { "127.0.0.$_" } @_);
    };

    $known->(11 .. 26);
    $names->serve;

    my $server = ZLTunnel::Server->new($t, address => '0.0.0.0');
    my ($id, $most) = (0, 0);
    my %at;

    $server->{deal} = sub {
        my ($m, $conn) = @_;

        my $n = () = $server->conns('control');
        $most = $n if $n > $most;
        $at{ $conn->{s}->sockhost } = 1;

        return (pack('N4', ++$id, 1, 2, 3), 65535);
    };

    my $agent = agent($server, $names);

    ok($server->wait(sub { keys %at == 16 }, 20), 'a link at each address');

    # they are gone with the second answer without them

    $known->(31 .. 46);
    kill HUP => $agent->pid;

    ok($server->wait(sub { 16 == grep { exists $at{"127.0.0.$_"} } 31 .. 46 },
                     40),
       'and at each of those that follow');
    ok($server->wait(sub { 16 == $server->conns('control') }, 20),
       'those before end');
    cmp_ok($most, '<=', 33, 'there were no more of them');

    end($server, $agent);
}
