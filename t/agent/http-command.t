#!/usr/bin/perl

# Protects: "zltunnel-agent http 3000".  A web server of this machine is there for
# browsers, by one command; its URL alone is on stdout, for people and for shells;
# server and token come from the configuration file, and a token goes to no other
# server than the one it was written down for; who may not is told so, with 2.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg ext);

# of Linux
use constant { TIOCGPTN => 0x80045430, TIOCSPTLCK => 0x40045431 };

my $t = ZLTunnel->new;
my $web = $t->free_port;

$t->write_conf(zltunnel => "domain t.example.com;", http => <<"EOT");
    upstream tunnelled { zltunnel_host \$host; }

    server {
        listen 127.0.0.1:$web;
        server_name *.t.example.com;
        location / { proxy_pass http://tunnelled; }
    }
EOT
$t->write_conf(location => 'location = /hello { return 200 "hello"; }');

my $token = $t->token('alice', 'hosts=auto,*.t.example.com sessions=4');
my $none = $t->token('none', 'hosts=other.example.org');
my $held = $t->token('held', 'hosts=taken');

$t->start;

my $dir = $t->{dir};
my $url = $t->url('ws');
my $count = 0;
my $auto = qr{http://[a-z][a-z2-7]{7}\.t\.example\.com:$web};

delete $ENV{$_} for grep { /^ZLTUNNEL_|^XDG_/ } keys %ENV;
$ENV{HOME} = "$dir/home";

for my $name (qw(alice none held)) {
    my %of = (alice => $token, none => $none, held => $held);
    write_file("$dir/$name.token", "$of{$name}\n", 0600);
}

my @with = ('--server', $url, '--token-file', "$dir/alice.token");

subtest 'a request' => \&request;
subtest 'where it is' => \&places;
subtest 'hosts' => \&hosts;
subtest 'server and token' => \&found;
subtest 'no other server gets the token of the file' => \&elsewhere;
subtest 'refused' => \&refused;
subtest 'what is wrong' => \&mistakes;
subtest 'a QR code' => \&qr;

$t->finish;


# The command, in the background; with out: where stdout goes.

sub http {
    my ($args, %o) = @_;

    my $n = ++$count;
    my $out = $o{out} // "$dir/logs/http-$n.out";
    my $err = "$dir/logs/http-$n.err";

    return { out => $out, err => $err, proc => ZLTunnel::Proc->start(
        name => "http $n", cmd => [ $ZLTunnel::AGENT, 'http', @$args ],
        out => $out, err => $err, env => $o{env}) };
}

sub printed {
    my ($h) = @_;

    wait_for(sub { slurp($h->{out}) =~ /\n/ || !$h->{proc}->running });
    return slurp($h->{out});
}

sub ends {
    my ($h) = @_;
    is($h->{proc}->stop, 0, 'it ends with 0');
}

sub get {
    my ($host) = @_;

    my $answer = http_request($web, "GET /hello HTTP/1.1\r\nHost: $host\r\n"
                                    . "Connection: close\r\n\r\n");
    return $answer ? "$answer->{status} $answer->{body}" : 'nothing';
}


sub request {
    my $h = http([ $t->{http_port}, @with ]);
    my $text = printed($h);

    like($text, qr/\A$auto\n\z/, 'the URL, and nothing else')
        or diag(slurp($h->{err}));
    is(slurp($h->{err}), '', 'nothing on stderr');

    my ($host) = $text =~ m{//(.*):};
    is(get($host), '200 hello', 'which leads there');
    ends($h);

    $h = http([ $t->{http_port}, @with ]);
    is(printed($h), $text, 'the same URL the next time');
    ends($h);
}


# PORT, HOST:PORT, and what a browser shows.

sub places {
    my $port = $t->{http_port};

    for my $place ("localhost:$port", "127.0.0.1:$port", "http://localhost:$port",
                   "HTTP://127.0.0.1:$port/") {
        my $h = http([ @with, '--host', 'place', $place ]);
        is(printed($h), "http://place.t.example.com:$web\n", $place);
        is(get('place.t.example.com'), '200 hello', '.. leads there');
        ends($h);
    }
}


# What it registers, at a server by hand.

sub hosts {
    my @rows = (
        [ [ '3000' ], '3000', 'auto', 3000 ],
        [ [ '[::1]:81', '--host', 'Blog.,x.y' ], '81', 'blog,x.y', 81 ],
        [ [ 'http://web.lan', '--name', 'web-1' ], 'web-1', 'auto', 80 ],
        [ [ 'http://[::1]/' ], '80', 'auto', 80 ],
        [ [ '--host', 'a', '--host', 'b', 'unix:/x' ], 'web', 'a,b', 0 ],
    );

    my $server = ZLTunnel::Server->new($t, features => 0x8f);

    for my $row (@rows) {
        my ($args, $name, $hosts, $port) = @$row;

        $server->{services} = {};
        my $h = http([ '--server', $server->url, '--token-file',
                       "$dir/alice.token", @$args ]);

        ok($server->wait(sub { keys %{ $server->{services} } }), "http @$args")
            or diag(slurp($h->{err}));
        my ($s) = values %{ $server->{services} };
        is($s->{name}, $name, '.. its name');
        is($s->{ext}{4}, $hosts, '.. its hosts');
        is($s->{local_port}, $port, '.. its port');
        is(unpack('C', $s->{ext}{1}), 1, '.. without a remote one');

        $h->{proc}->kill('TERM');
        $server->wait(sub { !$h->{proc}->running });
        ends($h);
    }

    $server->close_all;
}


sub conf {
    my ($file, $more) = @_;

    write_file($file, "[agent]\nserver = $url\ntoken_file = $dir/alice.token\n"
               . "control = $dir/the.sock\nlog_level = debug\n$more", 0600);
}


# The file's [agent], not its services; or the environment.

sub found {
    conf("$dir/some.conf", "[service other]\nlocal = 1\nhost = other\n");
    mkdir $_ for "$dir/home", "$dir/home/.config", "$dir/home/.config/zltunnel";
    conf("$dir/home/.config/zltunnel/agent.conf",
         "[service else]\nlocal = 1\n");

    my @ways = (
        [ '-c', [ '-c', "$dir/some.conf" ] ],
        [ '--config', [ "--config=$dir/some.conf" ] ],
        [ 'the file of "run"', [] ],
        [ 'variables', [], { HOME => "$dir/nobody", ZLTUNNEL_SERVER => $url,
                             ZLTUNNEL_TOKEN => $token } ],
        [ 'a variable and an option', [ '--token-file', "$dir/alice.token" ],
          { HOME => "$dir/nobody", ZLTUNNEL_SERVER => $url } ],
    );

    for my $way (@ways) {
        my ($what, $args, $env) = @$way;
        my $h = http([ '--host', 'found', $t->{http_port}, @$args ],
                     env => $env);

        is(printed($h), "http://found.t.example.com:$web\n", $what)
            or diag(slurp($h->{err}));
        is(slurp($h->{err}), '', '.. nothing else');
        ok(!-e "$dir/the.sock", '.. the control socket is not its own');
        ends($h);
    }

    # the log, if it is asked for

    my $h = http([ '--host', 'found', $t->{http_port}, '--log-level', 'info' ]);
    is(printed($h), "http://found.t.example.com:$web\n", 'with a log');
    like(slurp($h->{err}), qr/INFO connected as "alice" \(1 service\)$/m,
         'which is on stderr');
    ends($h);
}


sub elsewhere {
    my @args = ('3000', '--server', 'ws://127.0.0.1:1');
    my ($rc, $out) = run($ZLTunnel::AGENT, 'http', @args);

    is($rc, 2, 'without a token of its own: 2');
    like($out, qr/ZLTUNNEL_TOKEN/, 'told where one may be');

    ($rc, $out) = run({ env => { ZLTUNNEL_SERVER => 'ws://127.0.0.1:1' } },
                      $ZLTunnel::AGENT, 'http', '3000');
    is($rc, 2, 'by the variable: 2');
}


# Exit code 2, with what is wrong, and what to do.

sub refused {
    my $first = http([ '--host', 'taken', $t->{http_port}, @with ]);
    is(printed($first), "http://taken.t.example.com:$web\n", 'one has it');

    my $old = ZLTunnel::Server->new($t, features => 0x7f);
    my $token_file = sub { ('--token-file', "$dir/$_[0].token") };
    my @rows = (
        [ 'auto, not allowed', [ '--server', $url, $token_file->('none') ],
          'ERROR the server refuses the service "3000": The token does not '
          . 'allow a name that the server makes up: "hosts=" in its token file '
          . 'has neither "auto" nor the domain' ],
        [ 'a host that is not allowed',
          [ '--server', $url, $token_file->('none'), '--host', 'blog' ],
          'ERROR the server refuses the service "3000": The token does not '
          . 'allow the host "blog.t.example.com": "hosts=" in the server\'s '
          . 'token file says which' ],
        [ 'a host that is taken',
          [ '--server', $url, $token_file->('held'), '--host', 'taken' ],
          'ERROR the server refuses the service "3000": The host '
          . '"taken.t.example.com" is another token\'s' ],
        [ 'an older server',
          [ '--server', $old->url, $token_file->('none') ],
          'ERROR the server is not told of the service "3000": it has a host, '
          . 'and the server, an older one, knows only ports' ],
    );

    write_file("$dir/wrong.token", "wrong\n", 0600);
    push @rows, [ 'a wrong token', [ '--server', $url, $token_file->('wrong') ],
                  'ERROR the server refuses the token: Invalid token' ];

    for my $row (@rows) {
        my ($what, $args, $told) = @$row;
        my $h = http([ '3000', @$args ]);

        $old->wait(sub { !$h->{proc}->running });
        is($h->{proc}->wait(20), 2, "$what: 2");
        like(slurp($h->{err}), qr/^\S+ \Q$told\E/m, 'told why');
        is(slurp($h->{out}), '', 'nothing on stdout');
    }

    ends($first);
    $old->close_all;
}


sub mistakes {
    my @rows = (
        [ [], 'which web server?  Its port: zltunnel-agent http 3000' ],
        [ [ '3000', '3001' ], '"3001" is one too many: each web server needs a '
          . 'command of its own, or a --service of "connect"' ],
        [ [ 'https://localhost:3000' ], '"https://localhost:3000": nginx speaks '
          . 'HTTP to the web server, without TLS: http://HOST:PORT' ],
        [ [ 'http://localhost:3000/x' ], '"http://localhost:3000/x" has a path, '
          . 'and the web server is published as a whole: http://HOST:PORT' ],
        [ [ 'ftp://x' ], '"ftp://x": a service is at HOST:PORT, not at a URL: '
          . 'localhost:80' ],
        [ [ '99999' ], '"99999": the local port is not a number from 1 to '
          . '65535' ],
        [ [ '3000-3001' ], 'a range of ports has no host: a service for each '
          . 'name' ],
        [ [ '3000', '--host', 'a_b' ], q{--host "a_b": a host's name has no }
          . '"_", as no certificate has one' ],
        [ [ '3000', '--name', 'a b' ], '--name "a b": a service name is 1 to 255 '
          . 'bytes: letters of any script, digits, "-", "_", "."' ],
        [ [ '3000', '--hots', 'a' ],
          '"--hots" is not an option; did you mean "--host"?' ],
        [ [ '3000', '-c', "$dir/missing.conf" ],
          "$dir/missing.conf: No such file or directory" ],
    );

    for my $row (@rows) {
        my ($args, $told) = @$row;
        my ($rc, $out) = run($ZLTunnel::AGENT, 'http', @$args);

        is($rc, 2, "http @$args: 2");
        is((split /\n/, $out)[0], "zltunnel-agent: $told", 'told so');
    }

    my ($rc, $out) = run({ env => { HOME => "$dir/nobody" } }, $ZLTunnel::AGENT,
                         'http', '3000');
    is($rc, 2, 'without a server: 2');
    like($out, qr/^zltunnel-agent: "server" is missing: /, 'told so');

    ($rc, $out) = run($ZLTunnel::AGENT, 'help', 'http');
    is($rc, 0, 'help http');
    like($out, qr/^Usage: zltunnel-agent http \[HOST:\]PORT .*^Examples:/ms,
         'tells how');
}


# On a terminal, and only where the library was there.

sub qr {
    my ($rc, $out) = run($ZLTunnel::AGENT, 'http', '--qr', '-c',
                         "$dir/missing.conf", '3000');

    if ($out =~ /libqrencode/) {
        is($rc, 2, 'without the library: 2');
        like($out, qr/^zltunnel-agent: --qr: this agent was built without libqrencode, and prints no QR codes$/m,
             'told so');
        return;
    }

    my $h = http([ '--qr', '--host', 'qr', $t->{http_port}, @with ]);
    is(printed($h), "http://qr.t.example.com:$web\n", 'no terminal: no QR code');
    like(slurp($h->{err}), qr/WARN no QR code is printed: stdout is no terminal$/m,
         'told so');
    ends($h);

    open my $master, '+<', '/dev/ptmx' or die "ptmx: $!";
    my $n = pack 'i', 0;
    ioctl $master, TIOCSPTLCK, $n or die "unlock: $!";
    ioctl $master, TIOCGPTN, $n or die "number: $!";
    my $tty = '/dev/pts/' . unpack 'i', $n;
    open my $keep, '+<', $tty or die "$tty: $!";

    $h = http([ '--qr', '--host', 'qr', $t->{http_port}, @with ], out => $tty);
    my $text = '';

    ok(wait_for(sub {
        vec(my $rin = '', fileno $master, 1) = 1;
        sysread($master, $text, 65536, length $text)
            if select($rin, undef, undef, 0.1);

        # a line is two rows of squares, and the URL is above them

        my ($first) = $text =~ /\n\e\[[\d;]*m([^\e]*)\e/ or return 0;
        my $squares = length $first =~ s/[\x80-\xbf]//gr;
        return int(($squares + 1) / 2) < (() = $text =~ /\n/g);
    }), 'a terminal');

    my ($url, @code) = split /\r?\n/, $text;
    is($url, "http://qr.t.example.com:$web", 'the URL alone in its line');

    my $block = qr/(?: |\xe2\x96[\x80\x84\x88])/;
    is((grep { !/\A\e\[30;107m$block+\e\[0m\z/ } @code), 0,
       'and blocks, dark on light');
    my %width = map { length(s/\e\[[\d;]*m|[\x80-\xbf]//gr) => 1 } @code;
    is(keys %width, 1, 'of one width');
    is(@code, int(((keys %width)[0] + 1) / 2), 'and as high');
    ends($h);
}
