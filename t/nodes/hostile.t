#!/usr/bin/perl

# Protects: an agent with "mode = all" from a server that says of nodes what cannot
# be.  One that says that another link is at it, where there is none, does not take
# the last link; and one that says that there are ever so many nodes is not dialled
# twice a second for hours.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg ext);

my $NODE = "\xaa" x 16;

my $t = ZLTunnel->new;

subtest 'another link, which there is not' => \&double;
subtest 'more nodes than there can be' => \&many;

$t->finish;


sub agent {
    my ($server, @more) = @_;

    return $t->agent(token => 'x' x 43, wait => 0, conf => <<"EOT");
[agent]
server = @{[ $server->url ]}
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
