#!/usr/bin/perl

# Protects: "log_format = json" of the agent: each line is an object with time,
# level and message, whatever a name has in it, however long it is; another
# format is an error.  "log = syslog" sends each line to a socket as syslog(3)
# does, and to stderr while there is none; nobody waits for it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::UNIX;
use JSON::PP ();
use Test::More;
use Time::HiRes ();
use ZLTunnel;

my $t = ZLTunnel->new(workers => 1);
my $token = $t->token('alice');
$t->start;

my $echo = $t->service('echo');
my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                      args => [ '--log-format', 'json' ]);
ok($agent->in_state('agent', 'connected'), 'connected');

my @lines = split /\n/, $agent->log;
my @objects = map { eval { JSON::PP::decode_json($_) } || () } @lines;
is(scalar @objects, scalar @lines, 'each line is an object');
is((grep { $_->{time} =~ /^\d{4}-\d\d-\d\dT[\d:]{8}Z$/
           && $_->{level} =~ /^(?:info|warn)$/ && $_->{message} } @objects),
   scalar @lines, '.. with time, level and message');
ok((grep { $_->{message} =~ /^connected as "alice"/ } @objects),
   'quotes are escaped');

my ($rc, $out) = run($ZLTunnel::AGENT, 'connect', '--server', $t->url('ws'),
                     '--service', '1', '--log-format', 'xml');
is($rc, 2, 'another format: 2');
like($out, qr/"log_format" is "xml", but must be text or json/, '.. and why');

is($agent->stop, 0, 'the agent ends');

subtest 'syslog' => sub {
    my $path = "$t->{dir}/temp/log.sock";
    my $log = listen_at($path);

    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                          args => [ '--log', "syslog:$path" ]);
    ok($agent->in_state('agent', 'connected'), 'connected');

    my @lines = lines($log);
    my ($line) = grep { /connected as/ } @lines;
    my $pid = $agent->pid;

    like($line, qr/^<30>[A-Z][a-z]{2}\ [ \d]\d\ [\d:]{8}\ zltunnel-agent\[$pid\]
                   :\ connected\ as\ "alice"[^\n]*\z/x, 'a line');
    unlike($agent->log, qr/connected as/, '.. which is not in stderr');

    # the daemon goes, and is there again

    close $log;
    unlink $path;
    kill HUP => $pid;
    ok($agent->logged(qr/read again|not changed/), 'nobody is there: stderr has it');

    $log = listen_at($path);
    kill HUP => $pid;
    ok(wait_for(sub { grep { /read again|not changed/ } lines($log) }),
       'it has it when it is there again');

    # one that takes nothing

    for (1 .. 100) {
        kill HUP => $pid;
        Time::HiRes::sleep(0.01);
    }

    ok($agent->in_state('agent', 'connected'), 'the agent waits for nobody');
    is($agent->stop, 0, '.. and ends');
};

($rc, $out) = run($ZLTunnel::AGENT, 'connect', '--server', $t->url('ws'),
                  '--service', '1', '--log', 'syslog:here');
is($rc, 2, 'no path: 2');
like($out, qr/"log" is "syslog:here": it must be stderr, syslog, or syslog:\/PATH/,
     '.. and why');

$t->finish;


sub listen_at {
    my ($path) = @_;

    my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $path)
        or die "$path: $!";
    chmod 0666, $path;
    return $s;
}

sub lines {
    my ($s) = @_;

    my @lines;

    while (1) {
        vec(my $in = '', fileno $s, 1) = 1;
        select($in, undef, undef, 0.5) or return @lines;
        recv $s, my $line, 8192, 0;
        push @lines, $line;
    }
}
