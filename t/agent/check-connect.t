#!/usr/bin/perl

# Protects: "check --connect": the way to each server, step by step, one line
# each, with what to do where a step fails; an agent that runs with the same
# token is left alone, and so is one that is away.  The answer to the token may
# come in any pieces, behind other things.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg ext);

my $t = ZLTunnel->new(workers => 2);
my $token = $t->token('home', 'services=web-* ports=30000-30009,30020 '
                      . 'expires=2037-01-31T00:00:00Z');
my $one = $t->token('one');
my $few = $t->token('few', 'services=web-* ports=30000-30009,30020 '
                    . 'protocols=tcp');
my $none = $t->token('none', 'access=*');
my $certs = $t->certs;
my $closed = $t->free_port;
my $front = $t->free_port;
my $late = $t->free_port;

# one that passes Upgrade: websocket alone, and one whose clock is wrong

$t->write_conf(http => <<"EOT", location => <<'EOT2');
    map \$http_upgrade \$upgrade { websocket websocket; default ""; }
    map \$http_upgrade \$conn { websocket upgrade; default close; }

    server {
        listen 127.0.0.1:$front;
        location / {
            proxy_pass http://127.0.0.1:$t->{http_port};
            proxy_http_version 1.1;
            proxy_set_header Host \$host;
            proxy_set_header Upgrade \$upgrade;
            proxy_set_header Connection \$conn;
        }
    }

    server {
        listen 127.0.0.1:$late;
        location / {
            proxy_pass http://127.0.0.1:$t->{http_port};
            proxy_http_version 1.1;
            proxy_set_header Host \$host;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection \$conn;
            proxy_hide_header Date;
            add_header Date "Sat, 01 Jan 2000 00:00:00 GMT" always;
        }
    }
EOT
        location = /plain { return 200 "hello"; }
EOT2

$t->start;

write_file("$t->{dir}/token", "$token\n", 0600);
write_file("$t->{dir}/few", "$few\n", 0600);
write_file("$t->{dir}/none", "$none\n", 0600);
write_file("$t->{dir}/wrong", ZLTunnel::random_token() . "\n", 0600);

my $fine = qr/^    token      OK      "home": services=web-\* ports=30000-30009,30020 expires=2037-01-31T00:00:00Z; 0 of 1 session in use$/m;

subtest 'all is well' => \&well;
subtest 'what is not' => \&ill;
subtest 'what is not allowed' => \&forbidden;
subtest 'beside an agent' => \&beside;
subtest 'pieces of an answer' => \&pieces;

$t->finish;


sub check { return run(command(@_)) }


sub command {
    my ($server, $more, @args) = @_;

    write_file("$t->{dir}/agent.conf", <<"EOT", 0600);
[agent]
server = $server
token_file = $t->{dir}/@{[ $more->{token} // 'token' ]}
connect_timeout = 5s
@{[ $more->{conf} // '' ]}
[service web-a]
local = 1
EOT

    return ($ZLTunnel::AGENT, 'check', '--connect', '-c',
            "$t->{dir}/agent.conf", @args);
}


sub well {
    my ($rc, $out) = check($t->url('ws'));

    is($rc, 0, 'ws: 0');
    is($out =~ s/^.*: OK, .*\n//r =~ s/"home": .*/"home"/r, <<"EOT", 'each step');
@{[ $t->url('ws') ]}:
    address    OK      127.0.0.1:$t->{http_port} is connected
    path       OK      zltunnel is at /tunnel/v1
    clock      OK      as the server's
    raw        OK      "Upgrade: zltunnel" passes
    websocket  OK      data channels within a WebSocket pass
    upgrade    OK      the control channel's WebSocket passes
    token      OK      "home"
EOT
    like($out, $fine, 'with what the token may');

    ($rc, $out) = check($t->url('wss', 'localhost'),
                        { conf => "ca_file = $certs/ca.pem" });
    is($rc, 0, 'wss: 0') or diag($out);
    like($out, qr/^    name       OK      localhost is \S+/m, 'its name');
    like($out, qr/^    TLS        OK      TLSv1\.[23], for localhost, 127\.0\.0\.1, ::1, 10\.9\.0\.1, signed by "zltunnel test ca", until \d{4}-\d\d-\d\d \(\d+ days\)$/m,
         'its certificate') or diag($out);
    like($out, $fine, 'and all the rest');

    ($rc, $out) = check("ws://127.0.0.1:$front/tunnel/v1");
    is($rc, 0, 'a front that passes WebSockets alone: 0') or diag($out);
    like($out, qr/^    raw        no      "Upgrade: zltunnel" does not pass \(the server answered 426 Upgrade Required\): data channels go within a WebSocket$/m,
         'told so');

    ($rc, $out) = check("ws://127.0.0.1:$front/tunnel/v1", {},
                        '--transport', 'raw');
    is($rc, 1, 'the same where that must not be: 1');
    like($out, qr/^    raw        FAILED  the server answered 426 Upgrade Required: does a proxy on the way pass on "Upgrade: zltunnel"\?$/m,
         'told so');
}


# What the token does not allow is told for each service.

sub forbidden {
    my ($rc, $out) = check($t->url('ws'), { token => 'few', conf => <<"EOT" });
[service web-ok]
local = 2
remote_port = 30020
[service ssh]
local = 3
[service web-range]
local = 30008-30010
remote_ports = 30008-30010
[service web-port]
local = 4
remote_port = 30021
[service web-udp]
local = 5
protocol = udp
EOT
    is($rc, 1, 'services that the token does not allow: 1');
    is(join('', $out =~ /^    service .*\n/mg), <<"EOT", 'each is told')
    service    FAILED  the token does not allow "ssh": no service of that name (services=)
    service    FAILED  the token does not allow "web-range-30010": not the port 30010 (ports=)
    service    FAILED  the token does not allow "web-port": not the port 30021 (ports=)
    service    FAILED  the token does not allow "web-udp": not UDP (protocols=)
EOT
        or diag($out);

    ($rc, $out) = check($t->url('ws'), { token => 'none' });
    is($rc, 1, 'a token for access alone: 1');
    like($out, qr/^    service    FAILED  the token does not allow "web-a": /m,
         'is told');
}


sub ill {
    for my $case (
        [ 'a closed port', "ws://127.0.0.1:$closed", {},
          "address    FAILED  127.0.0.1:$closed: Connection refused" ],
        [ 'a name that is none', 'ws://no-such-host.invalid', {},
          qr/name       FAILED  the name "no-such-host\.invalid" / ],
        [ 'another location', "ws://127.0.0.1:$t->{http_port}/plain", {},
          'path       FAILED  the server answered 200 OK: is the path "/plain" the '
          . 'one where zltunnel is served?' ],
        [ 'ws:// to a TLS port', "ws://127.0.0.1:$t->{tls_port}", {},
          'path       FAILED  the server answered 400 Bad Request: is it a '
          . 'TLS port? then wss://' ],
        [ 'an unknown authority', $t->url('wss'), {},
          'TLS        FAILED  the certificate is from an unknown authority '
          . '(unable to get local issuer certificate); ca_file (--ca-file) '
          . 'names one to trust' ],
        [ 'a wrong token', $t->url('ws'), { token => 'wrong' },
          q{token      FAILED  Invalid token (not in the server's token file, }
          . 'or added less than 3 s ago)' ],
        [ 'clocks that differ', "ws://127.0.0.1:$late", {},
          qr/clock      FAILED  this machine's is \d+ s ahead of the server's: set the one that is wrong/ ],
    ) {
        my ($what, $server, $more, $line) = @$case;
        my ($rc, $out) = check($server, $more);

        $line = quotemeta $line if !ref $line;
        is($rc, 1, "$what: 1");
        like($out, qr/^    $line/m, "$what: told") or diag($out);
    }

    my ($rc, $out) = check('http://127.0.0.1', {});
    is($rc, 2, 'a file that is wrong: 2, and no step');
}


# The token is for one agent, which serves on.

sub beside {
    my $echo = $t->service('echo');
    write_file("$t->{dir}/one", "$one\n", 0600);

    my $agent = $t->agent(token => $one, wait => 0, conf => <<"EOT");
[agent]
server = @{[ $t->url('ws') ]}
token_file = %%token_file%%
reconnect_interval = 200ms
[service e]
local = $echo->{port}
EOT
    ok($agent->registered(1, 30), 'an agent');

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('one');
    is($c->take(3), 'one', 'with a client');

    my ($rc, $out) = check($t->url('ws'), { token => 'one' });
    is($rc, 0, 'beside it: 0');
    like($out, qr/^    token      OK      "one": any services; 1 of 1 session in use, by an agent at 127\.0\.0\.1$/m,
         'told so');

    # away, it has its place still

    $agent->{proc}->kill('STOP');
    ($rc) = check($t->url('ws'), { token => 'one' });
    is($rc, 0, 'beside one that hangs: 0');
    $agent->{proc}->kill('CONT');

    $c->send('two');
    is($c->take(3), 'two', 'the client has the same connection');
    $c->close;

    is(scalar(grep { $_->{name} eq 'one' } @{ $t->status->{tunnels} }), 1,
       'there is one tunnel');
    is(scalar(grep { $_->{name} eq 'home' } @{ $t->status->{tunnels} }), 0,
       'and none of those that were only asked about');
    is($agent->stop, 0, 'the agent ends');
    is(scalar(() = $agent->log =~ /INFO connected/g), 1,
       'it has connected once');
}


# What a server says to the question of the token, in the pieces in which it is
# sent.

sub pieces {
    my $server = ZLTunnel::Server->new($t);
    my $head = "Zltunnel-Worker: 0/1\r\nContent-Length: 0\r\n\r\n";

    $server->{meet} = sub {
        return $_[0] !~ /^Upgrade:/m ? "HTTP/1.1 426 Upgrade Required\r\n$head"
               : $_[0] =~ /^Zltunnel-Key:/m ? "HTTP/1.1 403 Forbidden\r\n$head"
               : undef;
    };
    $server->{hold}{Auth} = 1;

    my $ok = msg('AuthOk', "\0" x 16
                 . ext(1 => pack('N', 1), 6 => 'home',
                       7 => 'any services; 0 of 1 session in use'));
    my $frame = sub { ZLTunnel::Wire::ws_frame($_[0], mask => 0, @_[1 .. $#_]) };
    my $right = qr/^    token      OK      "home": any services; 0 of 1 /m;

    for my $case (
        [ 'a frame in two', [ $frame->($ok) =~ /^(.{9})(.*)/s ], $right ],
        [ 'a message in two frames',
          [ $frame->(substr($ok, 0, 9), fin => 0) . $frame->('', op => 0, fin => 0),
            $frame->(substr($ok, 9), op => 0) ], $right ],
        [ 'Ping in front of it, and within it',
          [ $frame->('one', op => 9) . $frame->(substr($ok, 0, 9), fin => 0)
            . $frame->('two', op => 9), $frame->(substr($ok, 9), op => 0) ],
          $right ],
        [ 'more in front of it than is read at once',
          [ $frame->(msg('Heartbeat', 'T' x 8)) x 3000 . $frame->($ok) ], $right ],
        [ 'no message',
          [ $frame->('what') ],
          qr/^    token      FAILED  the server's answer is not valid$/m ],
        [ 'Close in place of it', [ $frame->(pack('n', 1008) . 'no', op => 8) ],
          qr/^    token      FAILED  the server closed the control channel without an answer: 1008 no$/m ],
    ) {
        my ($what, $says, $told) = @$case;
        my $out = "$t->{dir}/pieces";
        unlink $out;

        my $proc = ZLTunnel::Proc->start(name => 'check', out => $out, cmd => [
            command($server->url, {}) ]);
        my $control = $server->wait(sub {
            return @{ $server->{held} || [] } && $server->control;
        });

        for my $piece ($control ? @$says : ()) {
            $control->say($piece);
            $server->pass(0.1);
        }

        ok($server->wait(sub { !$proc->running }), "$what: it ends");
        like(slurp($out), $told, "$what: told");
        is_deeply($control->{pongs}, [ 'one', 'two' ], 'each Ping has its Pong')
            if $what =~ /Ping/;
        $server->{held} = [];
    }

    $server->close_all;
}
