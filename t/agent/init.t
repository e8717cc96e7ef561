#!/usr/bin/perl

# Protects: "zltunnel-agent init".  What it writes is taken by "check" and by
# nginx, is its owner's alone where it is secret, and works together; it asks
# for nothing where nobody can answer; and what is there already is lost neither
# by a second run nor by one that fails.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;

my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $etc = "$dir/nginx";
my $conf = "$dir/agent";

mkdir $_ for $etc, "$etc/modules-enabled", "$etc/conf.d";
write_file("$dir/$_.pem", "$_\n") for qw(cert key);

my $TOKEN = 'zlt_' . 'a1' x 32;

delete $ENV{ZLTUNNEL_TOKEN};

subtest 'the server\'s side' => \&nginx;
subtest 'a name and files as people have them' => \&given;
subtest 'hosts' => \&hosts;
subtest 'the agent\'s side' => \&agent;
subtest 'a token that is none' => \&doubt;
subtest 'what is asked for' => \&asked;
subtest 'what is wrong' => \&wrong;

done_testing();


sub init {
    my ($input, @args) = @_;

    return run({ input => $input }, $ZLTunnel::AGENT, 'init', @args);
}


sub mode { return sprintf '%o', (stat $_[0])[2] & 07777 }


sub nginx {
    my @server = ('--nginx', '--dir', $etc, '--host', 'tunnel.example.com',
                  '--cert', "$dir/cert.pem", '--key', "$dir/key.pem");

    my ($rc, $out) = init('', @server, '--name', 'home');
    is($rc, 0, 'init --nginx') or diag $out;
    like($out, qr{^    zltunnel-agent init --server wss://tunnel\.example\.com }m,
         'it tells what to do on the other side');

    my ($token) = $out =~ /^    (zlt_[0-9a-f]{64})$/m;
    is(slurp("$etc/zltunnel.tokens"), sha256_hex($token) . " home\n",
       'the hash of the token that it prints');
    is(mode("$etc/zltunnel.tokens"), '640', '.. for the workers');

    my $main = slurp("$etc/modules-enabled/80-zltunnel.conf");
    my $http = slurp("$etc/conf.d/zltunnel.conf");

    like($main, qr/token_file zltunnel\.tokens;/, 'what is beside http');
    like($main, qr/listen 30000-30099 udp; zltunnel_ports;/, '.. its ports');
    like($http, qr/server_name tunnel\.example\.com;/, 'what is in http');
    like($http, qr{ssl_certificate +$dir/cert\.pem;}, '.. its certificate');

    unlike($main . $http . slurp("$etc/zltunnel.tokens"), qr/domain|hosts/,
           'no hosts that nobody has asked for');

    # another agent, with what has been edited

    write_file("$etc/conf.d/zltunnel.conf", "# mine\n");
    chmod 0600, "$etc/zltunnel.tokens";
    ($rc, $out) = init('', '--nginx', '--dir', $etc, '--name', 'office');
    is($rc, 0, 'another agent, without --host') or diag $out;
    like(slurp("$etc/zltunnel.tokens"), qr/\A\S+ home\n\S+ office\n\z/,
         '.. is added');
    is(mode("$etc/zltunnel.tokens"), '600', '.. with the mode that there is');
    is(slurp("$etc/conf.d/zltunnel.conf"), "# mine\n", '.. and nothing else');
    like($out, qr{zltunnel\.conf" is there and stays as it is\n\(--force writes},
         '.. as it is told');
    like($out, qr/another agent/, '.. with what the token is for');
    like($out, qr{ --server wss://NAME }, '.. which asks for the server');

    write_file("$etc/conf.d/zltunnel.conf",
               "server {\n  server_name  a.example.com b.example.com;\n}\n");
    ($rc, $out) = init('', '--nginx', '--dir', $etc, '--name', 'third');
    is($rc, 0, 'and another') or diag $out;
    like($out, qr{ --server wss://a\.example\.com }, '.. with its name known');

    write_file("$etc/conf.d/zltunnel.conf", "server {\n  server_name _;\n}\n");
    ($rc, $out) = init('', '--nginx', '--dir', $etc, '--name', 'fourth');
    like($out, qr{ --server wss://NAME }, '.. or with none');

    # what would be left out, or come twice

    my $former = slurp("$etc/zltunnel.tokens");

    for ([ [ '--host', 'x.example.com' ], qr/--host, .*is there: edit it/ ],
         [ [ '--ports', '40000-40009' ], qr/80-zltunnel\.conf" is there: edit it, or --force/ ],
         [ [ '--cert', "$dir/cert.pem", '--key', "$dir/key.pem" ],
           qr/--cert, --key/ ],
         [ [ '--name', 'office' ],
           qr{tokens" has a token named "office" already: --name NAME} ])
    {
        my ($args, $message) = @$_;

        ($rc, $out) = init('', '--nginx', '--dir', $etc, '--name', 'new',
                           @$args);
        is($rc, 2, "@$args") or diag $out;
        like($out, $message, '.. the message');
        unlike($out, qr/zlt_|Written/, '.. without a token');
        is(slurp("$etc/zltunnel.tokens"), $former, '.. nor a line for one');
    }

    # a last line without its end

    write_file("$etc/zltunnel.tokens", 'f' x 64 . ' hand');
    ($rc, $out) = init('', '--nginx', '--dir', $etc, '--name', 'next');
    is($rc, 0, 'an unfinished line') or diag $out;
    like(slurp("$etc/zltunnel.tokens"), qr/\Af{64} hand\n\S+ next\n\z/,
         '.. is not joined to the new one');

    ($rc, $out) = init('', @server, '--force', '--ports', '40000-40009');
    is($rc, 0, '--force') or diag $out;
    like(slurp("$etc/modules-enabled/80-zltunnel.conf"),
         qr/listen 40000-40009;/, '.. writes it anew');
}


# What goes into the files is the name alone, and where the files are.

sub given {
    my $other = "$dir/other";

    mkdir $_ for $other, "$other/modules-enabled", "$other/conf.d";
    write_file("$other/there.pem", "key\n");

    for my $host ('https://localhost', 'wss://localhost/tunnel/v1',
                  'wss://localhost:443', 'localhost/')
    {
        my ($rc, $out) = run('sh', '-c', 'cd "$1" && shift && exec "$@"', 'sh',
            $dir, $ZLTunnel::AGENT, 'init', '--nginx', '--force', '--dir',
            'other', '--host', $host, '--cert', 'cert.pem', '--key',
            'there.pem');

        is($rc, 0, $host) or diag $out;
        like($out, qr{ --server wss://localhost --service}, '.. as it is told');

        my $http = slurp("$other/conf.d/zltunnel.conf");
        like($http, qr/server_name localhost;/, '.. the name alone');
        like($http, qr{ssl_certificate +$dir/cert\.pem;},
             '.. the certificate, from where it is given');
        like($http, qr{ssl_certificate_key +$other/there\.pem;},
             '.. the key, from where nginx looks for it');
    }
}


# With --domain any agent brings names, and nginx takes what is written.

sub hosts {
    my $etc = "$dir/hosts";
    my $t = ZLTunnel->new;

    mkdir $_ for $etc, "$etc/modules-enabled", "$etc/conf.d";
    symlink "$t->{dir}/zltunnel_$_.conf", "$etc/zltunnel_$_.conf"
        for qw(proxy error);

    my ($rc, $out) = init('', '--nginx', '--dir', $etc, '--host',
        'tunnel.example.com', '--domain', '*.T.example.com', '--name', 'home',
        '--cert', $t->certs . '/server.pem', '--key', $t->certs . '/server.key');
    is($rc, 0, 'init --nginx --domain') or diag $out;
    like($out, qr/ --service web:8080 --host blog$/m, 'it tells of a host');

    like(slurp("$etc/zltunnel.tokens"), qr/^\S+ home hosts=\*\.t\.example\.com$/,
         'the token may have its names');
    like(slurp("$etc/modules-enabled/80-zltunnel.conf"),
         qr/^    domain t\.example\.com;/m, 'a domain');
    like(slurp("$etc/conf.d/zltunnel.conf"),
         qr/server_name \*\.t\.example\.com;/, 'a server for its names');

    ($rc, $out) = $t->test_conf(conf => ZLTunnel::load_modules()
        . "pid $etc/pid;\ninclude $etc/modules-enabled/*.conf;\nevents { }\n"
        . "http { include $etc/conf.d/*.conf; }\n");
    like($out, qr/syntax is ok/, 'nginx takes it') or diag $out;

    ($rc, $out) = init('', '--nginx', '--dir', $etc, '--name', 'office',
                       '--domain', 'u.example.com');
    is($rc, 2, 'with the files there they are edited');
    like($out, qr/--domain, .* are for a new file/, '.. it says');

    ($rc, $out) = init('', '--nginx', '--dir', $etc, '--name', 'office');
    is($rc, 0, 'a token for another agent') or diag $out;
    like(slurp("$etc/zltunnel.tokens"),
         qr/^\S+ office hosts=\*\.t\.example\.com$/m, '.. may have them, too');

    for my $bad ('*', 'a_b', '10.0.0.1', 'https://t.example.com') {
        ($rc, $out) = init('', '--nginx', '--dir', $etc, '--force', '--host',
                           'tunnel.example.com', '--domain', $bad);
        is($rc, 2, "--domain $bad");
        like($out, qr/--domain "\Q$bad\E" is no domain's name/, '.. it says');
    }

    # the other side

    my @to = ('--dir', "$dir/named", '--server', 'wss://tunnel.example.com');

    ($rc, $out) = init("$TOKEN\n", @to, '--service', 'web:8080', '--host',
                       'Blog,shop.example.org', '--service', 'ssh:22:2222');
    is($rc, 0, 'init with a host') or diag $out;
    like(slurp("$dir/named/agent.conf"),
         qr/^\[service web\]\nlocal = 8080\nhost = blog,shop\.example\.org\n\n/m,
         'it is the service\'s');

    for my $row ([ [ '--host', 'blog', '--service', 'web:8080' ],
                   qr/--host of a service stands behind its --service/ ],
                 [ [ '--service', 'web:8080', '--host', 'a', '--host', 'b' ],
                   qr/--host "b" is the second one of --service "web:8080"/ ],
                 [ [ '--service', 'web:8080', '--host', 'a_b' ],
                   qr/--host "a_b": a host's name has no "_"/ ],
                 [ [ '--service', 'dns:53/udp', '--host', 'a' ],
                   qr/--host "a" of "dns": / ],
                 [ [ '--service', 'web:8080:0', '--host', 'a' ],
                   qr/--service "web:8080:0": beside a host the file has no 0/ ],
                 [ [ '--service', 'web:8080', '--domain', 'a.example' ],
                   qr/--domain.* are of the server's side/ ])
    {
        my ($args, $says) = @$row;
        ($rc, $out) = init("$TOKEN\n", '--dir', "$dir/none", @to[2 .. 3], @$args);
        is($rc, 2, "@$args");
        like($out, $says, '.. it says');
    }

    ok(!-e "$dir/none/agent.conf", 'and nothing is written');
    $t->tidy;
}


sub agent {
    my @options = ('--dir', $conf, '--server', 'wss://tunnel.example.com');

    my ($rc, $out) = init(" $TOKEN \r\n", @options,
        '--service', 'web:8080', '--service', 'ssh:[::1]:22:2222',
        '--service', 'game:lan:27015:30015/udp', '--service',
        'rtp:5000-5003:6000-6003/udp', '--service', 'db:unix:/run/db.sock/private/proxy-v2');
    is($rc, 0, 'init') or diag $out;
    like($out, qr{\AWritten: $conf/agent\.conf\n +$conf/token\n},
         'it tells what it has written');
    is(slurp("$conf/token"), "$TOKEN\n", 'the token');
    is(mode("$conf/token"), '600', '.. is its owner\'s alone');

    is(slurp("$conf/agent.conf") =~ s/^;.*\n//gmr, <<'EOT', 'the file');

[agent]
server = wss://tunnel.example.com
token_file = token

[service web]
local = 8080

[service ssh]
local = [::1]:22
remote_port = 2222

[service game]
local = lan:27015
protocol = udp
remote_port = 30015

[service rtp]
local = 127.0.0.1:5000-5003
protocol = udp
remote_ports = 6000-6003

[service db]
local = unix:/run/db.sock
private = yes
proxy_protocol = v2
EOT

    ($rc, $out) = run($ZLTunnel::AGENT, 'check', '-c', "$conf/agent.conf");
    is($rc, 0, 'check takes it') or diag $out;

    # once more

    my @again = (@options, '--service', 'new:1');
    ($rc, $out) = init("zlt_new\n", @again);
    is($rc, 2, 'not over what is there');
    like($out, qr{"$conf/agent\.conf" is there already: .*--force}, '.. is said');
    like(slurp("$conf/agent.conf"), qr/27015/, '.. and it is kept');
    is(slurp("$conf/token"), "$TOKEN\n", '.. the token, too');

    ($rc, $out) = init("zlt_new\n", @again, '--force');
    is($rc, 0, '--force') or diag $out;
    like(slurp("$conf/agent.conf"), qr/\[service new\]/, '.. writes it anew');

    # one that is nothing but comments, as the package has it

    write_file("$conf/agent.conf", "; a comment\n\n  # another\n");
    ($rc, $out) = init("zlt_lost\n", @again);
    is($rc, 2, 'not over a token that is there');
    like($out, qr{"$conf/token" is there already: .*--force}, '.. is said');
    is(slurp("$conf/token"), "zlt_new\n", '.. and it is kept');

    ($rc, $out) = init('', @again, '--token-file', "$conf/../agent/token");
    is($rc, 0, '.. unless it is the one to use') or diag $out;
    is(slurp("$conf/token"), "zlt_new\n", '.. as it is');

    write_file("$conf/agent.conf", "; a comment\n\n  # another\n");
    unlink "$conf/token";
    ($rc, $out) = run({ env => { ZLTUNNEL_TOKEN => 'zlt_env' } },
                      $ZLTunnel::AGENT, 'init', @again);
    is($rc, 0, 'over comments, with the token of the environment') or diag $out;
    is(slurp("$conf/token"), "zlt_env\n", '.. which is written');

    # for a user who has no /etc/zltunnel

    ($rc, $out) = init("zlt_abc\n", '--dir', "$dir/a/b/c", @again[2 .. $#again]);
    is($rc, 0, 'directories are made') or diag $out;
    ok(-s "$dir/a/b/c/agent.conf", '.. for the file');
}


sub doubt {
    my @to = ('--dir', "$dir/doubt", '--server', 'wss://x.example.com',
              '--service', 'web:1', '--force');
    my $hash = sha256_hex($TOKEN);

    for ([ $TOKEN, 0, undef ],
         [ 'correct-horse', 0, undef ],
         [ 'zlt_short', 0, qr/warning: .* 9 characters, .* has 68: is it whole/ ],
         [ $hash, 0, qr/warning: the token has the form of a hash/ ],
         [ "$hash home", 2, qr/has the line for the server/ ])
    {
        my ($token, $code, $message) = @$_;
        my $what = substr $token, 0, 13;

        my ($rc, $out) = init("$token\n", @to);
        is($rc, $code, $what) or diag $out;
        unlike($out, qr/\Q$token\E/, '.. which is not shown');

        if ($message) {
            like($out, $message, '.. with a word on it');
        } else {
            unlike($out, qr/warning/, '.. without a word');
        }

        is(slurp("$dir/doubt/token"), "$token\n", '.. and written')
            if $code == 0;
    }
}


# A wrong answer is told at once, and the question comes again.

sub asked {
    my $to = "$dir/asked";
    my ($rc, $out) = run({ input => "localhost:1\nwss://x.example.com\nweb\n"
                                    . "web:8080\n",
                           env => { ZLTUNNEL_TOKEN => $TOKEN } },
                         'script', '-qec',
                         "$ZLTunnel::AGENT init --dir $to", '/dev/null');

    is($rc, 0, 'init at a terminal') or diag $out;
    like($out, qr/The server.*"localhost:1" must begin.*The server/s,
         'the server is asked for again');
    like($out, qr/A service.*--service "web": .*A service/s,
         '.. and the service');
    like(slurp("$to/agent.conf"), qr{^server = wss://x\.example\.com$}m,
         'what was right is written');
}


sub ports {
    my ($ports, $message) = @_;

    return [ [ '--nginx', '--dir', $etc, '--host', 'x', '--force', '--cert',
               "$dir/cert.pem", '--key', "$dir/key.pem", '--ports', $ports ],
             $message ];
}


sub wrong {
    my $fresh = "$dir/fresh";
    my @ok = ('--dir', $fresh, '--server', 'wss://x.example.com');
    my @nginx = ('--nginx', '--dir', $etc, '--force', '--host');

    for ([ [ '--dir', $fresh ], qr/which server\? --server wss/ ],
         [ [ @ok ], qr/which service\? --service NAME:PORT/ ],
         [ [ @ok, '--service', 'web:8080' ], qr/which token\?/ ],
         [ [ @ok, '--service', 'web' ], qr/--service "web": / ],
         [ [ @ok, '--service', 'web:1', '--service', 'web:2' ], qr/\Azltunnel-agent: (?!.*draft).*twice/,
           "zlt_abc\n" ],
         [ [ '--dir', $fresh, '--server', 'ftp://x', '--service', 'web:1' ],
           qr{--server "ftp://x" must begin with}, "zlt_abc\n" ],
         [ [ '--dir', $fresh, '--server', 'localhost:1', '--service', 'web:1' ],
           qr{--server "localhost:1" must begin with wss://}, "zlt_abc\n" ],
         [ [ '--dir', $fresh, '--server', 'wss://a:s3cret@x', '--service',
             'web:1' ], qr/"\.\.\." must not contain a user/, "zlt_abc\n" ],
         [ [ @ok, '--service', 'web:1' ], qr/has more in it than a token/,
           "zlt_abc home\n" ],
         [ [ @ok, '--service', 'web:1' ], qr/the answer is too long/,
           'zlt_' . 'a' x 65536 . "\n" ],
         [ [ @ok, '--token-file', "$dir/none", '--service', 'web:1' ],
           qr/none/ ],
         [ [ @ok, '--token', 'zlt_abc' ], qr/there is no --token/ ],
         [ [ @ok, '--host', 'x' ], qr/with --nginx/ ],
         [ [ '--nginx', '--dir', $etc, '--force' ], qr/--host NAME/ ],
         [ [ @nginx, 'a;b' ], qr/--host "a;b" is no host name/ ],
         [ [ @nginx, '*.example.com' ], qr/is a pattern/ ],
         [ [ @nginx, 'localhost:21443' ], qr/21443" has a port/ ],
         [ [ @nginx, 'https://x.example.com:8443/' ], qr/has a port/ ],
         [ [ @nginx, '-x.example.com' ], qr/is no host name/ ],
         [ [ @nginx, 'x..example.com' ], qr/is no host name/ ],
         [ [ @nginx, 'https://' ], qr{--host "https://" has no host} ],
         ports('0-9', qr/is no range of ports/),
         ports('10-70000', qr/from 1 to 65535/),
         ports('a-b', qr/is no range of ports/),
         ports('30000-30001-30002', qr/is no range of ports/),
         ports('25009-25000', qr/begins after its end: is 25000-25009 meant/),
         ports('25000-35000', qr/are 10001 ports: at most 10000/),
         ports('400-500', qr/has port 443 in it/),
         [ [ @nginx, 'x', '--cert', "$dir/cert.pem", '--key',
             '/none' ], qr{no file "/none", for its key} ],
         [ [ @nginx, 'x', '--cert', 'none.pem', '--key',
             "$dir/key.pem" ], qr{no file "none\.pem" here, nor in "$etc"} ],
         [ [ @nginx, 'x', '--cert', $dir, '--key',
             "$dir/key.pem" ], qr{no file "$dir", for the certificate} ],
         [ [ @nginx, 'x', '--name', 'a b' ], qr/a token's name is/ ],
         [ [ @nginx, 'x', '--cert', "$dir/cert.pem" ],
           qr/belong together/ ],
         [ [ @nginx, 'x.example.com' ], qr/certbot/ ],
         [ [ '--nginx', '--dir', $dir, '--host', 'x' ], qr/modules-enabled/ ],
         [ [ @nginx, 'x', '--service', 'web:1' ], qr/without --nginx/ ])
    {
        my ($args, $message, $input) = @$_;
        my $former = slurp("$etc/zltunnel.tokens");
        my ($rc, $out) = init($input // '', @$args);

        is($rc, 2, "@$args") or diag $out;
        like($out, $message, '.. the message');
        unlike($out, qr/zlt_/, '.. without the token');
        ok(!-e "$fresh/agent.conf" && !-e "$fresh/token",
           '.. nothing is written');
        is(slurp("$etc/zltunnel.tokens"), $former, '.. here, too');
    }

    is_deeply([ glob "$fresh/*" ], [], 'no draft is left');
}
