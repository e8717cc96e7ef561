#!/usr/bin/perl

# Protects: an agent gets its data channels through what passes nothing but
# "Upgrade: websocket", by itself, and says so; it does not take an answer of
# its server, or a reload, for a reason to.  Behind a real nginx and HAProxy
# everything is kept that a relay keeps.  --transport chooses.
#
# Long: transfers of 64 MiB; short: 4 MiB.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Paths;
use ZLTunnel::Wire;

my $size = sizes('bytes of a big transfer', 64 << 20, 4 << 20);

my $FELL_BACK = qr/data channels go over WebSocket: something on the way/;

my $t = ZLTunnel->new(workers => 2, range => 14, udp => 1);
my $token = $t->token('alice');
$t->{path_token} = $t->token('path');
my $visit = $t->token('visitor', 'access=e,u access_ttl=8h');
$t->start;

my $echo = $t->service('echo');

subtest 'behind nginx' => \&nginx;
subtest 'behind HAProxy' => \&haproxy;
subtest 'answers' => \&answers;
subtest 'answers of the server' => \&server;
subtest 'visitors' => \&visitors;
subtest 'chosen' => \&chosen;

$t->finish;


# Another nginx, in front; by default what passes only Upgrade: websocket, as
# many configurations do.  "other" is what it does with other upgrades.

sub front {
    my ($other, $tls) = @_;

    my $port = $t->free_port;
    my $dir = "$t->{dir}/front-$port";
    my $certs = $t->certs;
    my $ssl = $tls ? "ssl; ssl_certificate $certs/server.pem; "
                     . "ssl_certificate_key $certs/server.key" : '';

    mkdir $_ for $dir, "$dir/temp";
    chmod 0777, "$dir/temp";

    write_file("$dir/nginx.conf", <<"EOT");
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log $dir/error.log info;
events { }
http {
    access_log $dir/access.log;
    client_body_temp_path $dir/temp/body;
    proxy_temp_path $dir/temp/proxy;
    fastcgi_temp_path $dir/temp/fastcgi;
    uwsgi_temp_path $dir/temp/uwsgi;
    scgi_temp_path $dir/temp/scgi;

    map \$http_upgrade \$upgrade { websocket websocket; default ""; }
    map \$http_upgrade \$conn { websocket upgrade; default close; }
    map \$http_upgrade \$other { "" 0; websocket 0; default 1; }

    server {
        listen 127.0.0.1:$port $ssl;

        location / {
            $other
            proxy_pass http://127.0.0.1:$t->{http_port};
            proxy_http_version 1.1;
            proxy_set_header Host \$host;
            proxy_set_header Upgrade \$upgrade;
            proxy_set_header Connection \$conn;
            proxy_read_timeout 1h;
        }
    }
}
EOT

    my $proc = $t->spawn("front-$port", $ZLTunnel::NGINX, '-p', $dir, '-c',
                         "$dir/nginx.conf", '-e', "$dir/error.log");
    wait_for(sub { connect_to($port) }) or die 'no front';

    return { port => $port, proc => $proc, dir => $dir,
             url => ($tls ? 'wss' : 'ws') . "://127.0.0.1:$port/tunnel/v1" };
}


sub nginx {
    for my $tls (0, 1) {
        my $f = front('', $tls);

        my $p = ZLTunnel::Paths->new($t,
            name => $tls ? 'wss at nginx' : 'ws at nginx', size => $size,
            connections => 50, watch => 1,
            cut => sub { $f->{proc}->stop('KILL') },
            agent => { tls => $tls, server => $f->{url} });

        $p->all;
        like($p->{real}->log, $FELL_BACK, 'the agent says what it does');
        is($p->{real}->link->{transport}, 'websocket', 'and its status');

        $p->end;
    }
}


sub haproxy {
    plan skip_all => 'there is no haproxy'
        if !grep { -x "$_/haproxy" } split(/:/, $ENV{PATH}), '/usr/sbin';

    my $port = $t->free_port;
    my $file = "$t->{dir}/haproxy.cfg";

    write_file($file, <<"EOT");
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    option http-server-close
frontend front
    bind 127.0.0.1:$port
    acl upgrade req.hdr(upgrade) -m found
    acl websocket req.hdr(upgrade) -i websocket
    http-request deny deny_status 400 if upgrade !websocket
    default_backend back
backend back
    server nginx 127.0.0.1:$t->{http_port}
EOT

    local $ENV{PATH} = "$ENV{PATH}:/usr/sbin";
    my $proc = $t->spawn('haproxy', 'haproxy', '-db', '-f', $file);
    wait_for(sub { connect_to($port) }) or die 'no haproxy';

    my $p = ZLTunnel::Paths->new($t,
        name => 'haproxy', size => $size, connections => 50, watch => 1,
        cut => sub { $proc->stop('KILL') },
        agent => { server => "ws://127.0.0.1:$port/tunnel/v1" });

    $p->all;
    like($p->{real}->log, $FELL_BACK, 'the agent says what it does');
    $p->end;
}


# An agent at that server, and whether it carries a connection.

sub carries {
    my ($url, $what, %o) = @_;

    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                          server => $url, %o);
    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));

    $c->send('hello');
    is($c->take(5, 15) // '', 'hello', "$what: connections are carried");
    $c->close;

    return $agent;
}


# Whatever is said to the upgrade that is not known.

sub answers {
    my %others = (
        'closed without an answer' => 'return 444;',
        map { $_ => "return $_;" } qw(200 400 403 404 426 501 502 503) );

    for my $what (sort keys %others) {
        my $f = front('if ($other) { ' . $others{$what} . ' }');
        my $agent = carries($f->{url}, $what);

        like($agent->log, $FELL_BACK, 'over WebSocket');

        is($agent->stop, 0, 'the agent ends with 0');
        $f->{proc}->stop;
    }
}


# The server's own refusals are no reason, nor is a reload.

sub server {
    my $agent = carries($t->url('ws'), 'directly');

    $t->write_conf(zltunnel => 'max_channel_share 1%;');
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { $t->status->{generation} == 2 }), 'reload');
    ok(wait_for(sub { my $n = () = $agent->log =~ /connected as/g;
                      $n >= 2 }), 'the agent is there again');

    # more than 41 channels for each of two workers

    my @c = map { ZLTunnel::Wire::Socket->new($agent->port('e')) } 1 .. 120;
    $_->send('hello') for @c;
    ok(wait_for(sub { slurp("$t->{dir}/logs/access.log") =~ /" 503 /; }),
       'channels are refused with 503');
    $_->reset for @c;

    my $c;
    ok(wait_for(sub {
        $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
        $c->send('hello');
        return ($c->take(5, 2) // '') eq 'hello';
    }), 'then connections are carried again');
    $c->close;

    unlike($agent->log, $FELL_BACK, 'the agent goes on as before');
    is($agent->stop, 0, 'the agent ends with 0');

    $t->write_conf(zltunnel => '');
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { $t->status->{generation} == 3 }), 'reload');
}


# One that reaches services of others, and has no channel but those of its
# clients: so these are to find out.

sub visitors {
    my %others = ('passed on as no upgrade' => '',
                  map { $_ => "if (\$other) { return $_; }" } 400, 426, 502);
    my $udp = $t->free_port;

    $t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp);

    my $serving = $t->agent(token => $token, services =>
        [ "e:$echo->{port}/private", "u:$udp/udp/private" ]);

    for my $what (sort keys %others) {
        my $f = front($others{$what});

        for my $protocol (qw(tcp udp)) {
            my $agent = $t->agent(token => $visit, wait => 0, conf =>
                "[agent]\nserver = $f->{url}\ntoken_file = %%token_file%%\n"
                . "max_idle = 0\n[access $protocol]\nservice = "
                . ($protocol eq 'udp' ? "u\nprotocol = udp\n" : "e\n"));

            my $port = $agent->granted($protocol) or diag $agent->log;
            is($protocol eq 'udp' ? asks_udp($port) : asks($port), 'hello',
               "$what, $protocol: is carried");
            like($agent->log, $FELL_BACK, 'over WebSocket');

            is($agent->stop, 0, 'the agent ends with 0');
        }

        $f->{proc}->stop;
    }

    $serving->stop;
}


sub asks {
    my $c = ZLTunnel::Wire::Socket->new($_[0]);

    $c->send('hello');
    my $answer = $c->take(5, 20);
    $c->close;

    return $answer;
}


# Some datagrams are lost, as on any path.

sub asks_udp {
    my $s = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
                                  PeerPort => $_[0]);
    my $answer;

    wait_for(sub {
        $s->send('hello');
        vec(my $rin = '', fileno $s, 1) = 1;
        return select($rin, undef, undef, 0.5) && $s->recv($answer, 100);
    }, 20);

    return $answer;
}


sub chosen {
    my $agent = carries($t->url('ws'), 'websocket',
                        args => [ '--transport', 'websocket' ]);
    unlike($agent->log, $FELL_BACK, 'nothing is said where it was asked for');
    is($agent->stop, 0, 'the agent ends with 0');

    my $f = front('');
    $agent = $t->agent(token => $token, server => $f->{url},
        conf => "[agent]\nserver = $f->{url}\ntoken_file = %%token_file%%\n"
                . "transport = raw\n[service e]\nlocal = $echo->{port}\n");

    my $none = qr/no data channel can be opened: the server answered 426/;

    ok(wait_for(sub { $agent->log =~ $none }), 'raw: none can be opened there');
    unlike($agent->log, $FELL_BACK, 'and no other way is taken');

    $agent->write_conf("[agent]\nserver = $f->{url}\n"
        . "token_file = %%token_file%%\ntransport = auto\n"
        . "[service e]\nlocal = $echo->{port}\n");
    $agent->{proc}->kill('HUP');
    ok(wait_for(sub { $agent->log =~ $FELL_BACK }, 40),
       'until the configuration says auto');

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('hello');
    is($c->take(5, 15) // '', 'hello', 'then connections are carried');
    $c->close;
    is($agent->stop, 0, 'the agent ends with 0');

    my ($rc, $out) = run($ZLTunnel::AGENT, 'connect', '--server',
                         $t->url('ws'), '--service', 'e:1', '--transport',
                         'pigeon');
    is($rc, 2, 'another transport is an error');
    like($out, qr/"transport" is "pigeon", but must be auto, raw or websocket/,
         'which names what there is');
}
