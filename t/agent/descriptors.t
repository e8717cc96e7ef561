#!/usr/bin/perl

# Protects: an agent that is started with some of the descriptors 0 to 2
# closed, as supervisors do.  It serves, and no connection of its gets one of
# these numbers, where lines of the log would be written into it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new;
my $token = $t->token('alice');
$t->start;

my $echo = $t->service('echo');

for my $closed ('<&-', '>&-', '2>&-', '<&- >&- 2>&-') {
    my $program = "$t->{dir}/closed";
    write_file($program, "#!/bin/sh\nexec $ZLTunnel::AGENT \"\$@\" $closed\n",
               0755);

    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                          program => $program, wait => 0);

    my $link = $agent->in_state(undef, 'connected');
    ok($link, "$closed: connected");

    my $c = ZLTunnel::Wire::Socket->new($t->service_status('e')->{port});
    $c->send('hello');
    is($c->take(5, 10), 'hello', "$closed: serves");

    my @sockets = grep { (readlink "/proc/${\ $agent->pid }/fd/$_" // '')
                         =~ /^socket:/ } 0 .. 2;
    is("@sockets", '', "$closed: none of them is a socket");

    $c->close;
    is($agent->stop, 0, "$closed: ends with 0");
}

$t->finish;
