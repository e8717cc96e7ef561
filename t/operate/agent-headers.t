#!/usr/bin/perl

# Protects: "header" and "header_file" of the agent.  A front that wants them
# lets all handshakes pass, of control and data channels and of visitors; a file
# that has changed counts for the next one; what the handshake itself has is
# refused by name; values are nowhere to be read.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Middle;

my $t = ZLTunnel->new(workers => 2, range => 4);
my $token = $t->token('alice', 'services=* access=* sessions=4');
$t->start;

my $echo = $t->service('greet');
my $file = "$t->{dir}/headers";
my $front = ZLTunnel::Middle::front($t, location => <<'E');
set $wanted "$http_x_tenant-$http_authorization";
            if ($wanted != "home-Bearer s3cret") {
                return 403;
            }
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
E

write_file($file, "\nAuthorization:Bearer s3cret\r\n", 0600);

my $without = $t->agent(token => $token, server => $front->{url},
                        services => [ "no:$echo->{port}" ], wait => 0);
ok($without->in_state('agent', 'failed'), 'the front wants them');
like($without->link->{reason}, qr/403/, '.. and says so');
$without->stop;

my $agent = $t->agent(token => $token, conf => <<"E");
[agent]
server = $front->{url}
token_file = %%token_file%%
reconnect_interval = 100ms
max_reconnect_interval = 300ms
header = X-Tenant:   home
header_file = $file
[service web]
local = $echo->{port}
E
ok($agent->in_state('agent', 'connected'), 'with them it is connected');
my $c = connect_to($agent->port('web'));
is(scalar <$c>, "220 ready\r\n", 'data channels pass');

my $visitor = $t->agent(
    token => $token, server => $front->{url}, access => ['web'], wait => 0,
    args => [ '--header', 'X-Tenant: home', '--header-file', $file ]);
my $port = $visitor->granted('web');
ok($port, 'a visitor');
my $v = connect_to($port);
is(scalar <$v>, "220 ready\r\n", '.. and its channel');

# the secret rotates

write_file($file, "Authorization: Bearer other\n", 0600);
again();
ok($agent->in_state('agent', 'failed'), 'another secret is sent at once');

write_file($file, "Authorization: Bearer s3cret\n", 0600);
ok($agent->in_state('agent', 'connected'), 'and the former again');

write_file($file, "Host: s3cret\n", 0600);
again();
ok($agent->logged(qr/headers:1: the header "Host" is one of the handshake/),
   'a file with an error is told');
unlink $file;
ok($agent->logged(qr/header file "\S+headers": No such file/), '.. or without');
write_file($file, "Authorization: Bearer s3cret\n", 0600);
ok($agent->in_state('agent', 'connected'), 'and goes on');

my $said = $agent->log . $visitor->log . ($agent->ask('status', '--json'))[1];
unlike($said, qr/s3cret|Bearer/, 'no value is told');

refused($_->[0], $_->[1]) for
    (map { [ "$_: s3cret", qr/header "$_" is one of the handshake/ ] }
         qw(Host upgrade Connection Sec-WebSocket-Key Content-Length
            Transfer-Encoding User-Agent Zltunnel-Key)),
    [ 's3cret', qr/"Name: value"/ ], [ ': s3cret', qr/"Name: value"/ ],
    [ "a: s3cret\r\nHost: x", qr/header "a" has a control character/ ],
    [ 's3cret x: y', qr/header "" has a character/ ],
    [ 'X: ' . 'a' x 5000, qr/too long/ ];

chmod 0644, $file;
my ($rc, $out) = check('--header-file', $file);
is($rc, 2, 'a file that others read: 2');
like($out, qr/can be read by others/, '.. and why');

close $_ for $c, $v;
is($visitor->stop, 0, 'the visitor ends');
is($agent->stop, 0, 'the agent ends');
$t->finish;


sub again {
    $agent->ask('stop', 'agent');
    $agent->ask('start', 'agent');
}


sub check {
    return run({ timeout => 20 }, $ZLTunnel::AGENT, 'check', '-c',
               $agent->{conf}, @_);
}


sub refused {
    my ($header, $why) = @_;

    my ($rc, $out) = check('--header', $header);
    my $what = $header =~ s/[\r\n].*|a{9,}//sr;
    is($rc, 2, "$what: refused");
    like($out, $why, '.. by name');
    unlike($out, qr/s3cret/, '.. without its value');
}
