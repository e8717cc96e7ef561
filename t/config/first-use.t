#!/usr/bin/perl

# Protects: what nginx says to somebody who sets zltunnel up for the first time,
# and errs.  For each mistake the exact message and the exit code of nginx -t; and
# what the log of a running nginx says, where only a client shows the mistake.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(range => 8);
my $token = $t->token('alice', 'services=web,db');
my $hash = sha256_hex($token);
my $dir = $t->{dir};
my $file = "$dir/tokens";
my $port = $t->free_port;
my $listen = "listen 127.0.0.1:$port;";
my $first = slurp($file);

# what a row may change; all else is as in the template
my %PARTS = map { $_ => '' } qw(main events zltunnel http location after ports
                                stream);
my %SIZES = (range => 8, connections => 4096, zone => '2m');


# name; what is changed; exit code; the message, in which FILE:N is a place in
# nginx.conf; and what of the configuration is replaced, by two more words

my @rows = (
    [ 'as it should be', {}, 0, undef ],

    # the block

    [ 'no block', { sub => [ qr/^zltunnel \{.*?^\}\n/ms, '' ] }, 1,
      'emerg: there is no "zltunnel" block for registry "default": write '
      . '"zltunnel { token_file FILE; }" beside "http" and "stream", or name a '
      . 'registry that exists, in PLACE' ],
    [ 'a block of another name',
      { location => 'location = /x { zltunnel home; }' }, 1,
      'emerg: there is no "zltunnel" block for registry "home": write '
      . '"zltunnel home { token_file FILE; }" beside "http" and "stream", or '
      . 'name a registry that exists, in PLACE' ],
    [ 'the block within http', { http => 'zltunnel { token_file x; }' }, 1,
      'emerg: "zltunnel" directive is not allowed here in PLACE' ],
    [ 'ports within http', { location => 'zltunnel_ports;' }, 1,
      'emerg: "zltunnel_ports" directive is not allowed here in PLACE' ],
    [ 'a zone too small', { zone => '32k' }, 0,
      qr/^warn:\ "zone"\ of\ zltunnel\ "default"\ is\ too\ small\ for
         \ "max_tunnels\ 1000",\ "max_services\ 50"\ and\ 1\ worker:\ it
         \ has\ 32k,\ 1[12]\d\dk\ are\ needed,\ in\ PLACE$/mx ],
    [ 'a zone that is none', { zone => 'big' }, 1,
      'emerg: invalid value "big" of "zone": it must be a size of at least 8 '
      . 'pages, 32k, such as 8m in PLACE' ],

    # ports

    [ 'a port in two servers',
      { stream => "server { $listen zltunnel_ports; } "
                  . "server { $listen zltunnel_ports; }" }, 1,
      "emerg: duplicate \"127.0.0.1:$port\" address and port pair in PLACE" ],
    [ 'very many ports',
      { stream => 'server { listen 127.0.0.2:1-5000; zltunnel_ports; }' }, 1,
      'emerg: 4096 worker_connections are not enough for 5010 listening '
      . 'sockets' ],
    [ 'few connections', { connections => 8 }, 1,
      'emerg: 8 worker_connections are not enough for 10 listening sockets' ],
    [ 'hardly more', { connections => 256 }, 0,
      'warn: 256 worker_connections are few: 10 listening sockets leave 246 to '
      . 'clients, each of which takes two, and to agents: at least 522 are '
      . 'needed' ],
    [ 'few descriptors', { main => 'worker_rlimit_nofile 64;' }, 1,
      qr/^emerg:\ 10\ listening\ sockets\ and\ 1\ worker\ need\ \d+
         \ descriptors\ in\ each\ process\ before\ there\ is\ a\ connection,\ the
         \ limit\ is\ 64:\ write\ "worker_rlimit_nofile\ \d+;"\ in
         \ nginx.conf$/x ],
    [ 'a range of UNIX sockets',
      { stream => "server { listen unix:$dir/s; zltunnel_ports; }" }, 1,
      "emerg: \"listen unix:$dir/s\" of a server with \"zltunnel_ports\" must "
      . 'be a port' ],
    [ 'ports with reuseport',
      { stream => "server { listen 127.0.0.1:$port reuseport; "
                  . 'zltunnel_ports; }' }, 1,
      "emerg: \"listen 127.0.0.1:$port\" of a server with \"zltunnel_ports\" "
      . 'must not have "reuseport"' ],
    [ 'another event method', { events => 'use poll;' }, 1,
      qr/^emerg:\ (?:"zltunnel_ports"\ needs\ "use\ epoll",\ not\ "poll"
                  |invalid\ event\ type\ "poll"\ in\ PLACE)$/x ],

    # what the proxy of nginx would do

    (map {
        my ($name, $value, $instead) = @$_;
        [ "$name with zltunnel_ports", { ports => "$name $value;" }, 1,
          "emerg: \"$name\" has no effect in a server with \"zltunnel_ports\", "
          . "use $instead, in PLACE" ],
        [ "$name with zltunnel_pass",
          { stream => "server { $listen zltunnel_pass web; $name $value; }" },
          1, "emerg: \"$name\" has no effect in a server with "
             . "\"zltunnel_pass\", use $instead, in PLACE" ]
     } [ 'proxy_download_rate', '1m', '"zltunnel_download_rate"' ],
       [ 'proxy_upload_rate', '$rate', '"zltunnel_upload_rate"' ],
       [ 'proxy_buffer_size', '8k',
         '"proxy_pass" with an upstream that has "zltunnel_service"' ],
       [ 'proxy_timeout', '1h', '"zltunnel_timeout"' ],
       [ 'proxy_responses', '1', '"zltunnel_responses"' ],
       [ 'proxy_half_close', 'on', '"zltunnel_half_timeout"' ],
       [ 'proxy_connect_timeout', '5s',
         '"connect_timeout" of the "zltunnel" block' ],
       [ 'proxy_protocol', 'on',
         '"proxy_protocol" of the service, in the agent\'s configuration' ]),
    [ 'what servers inherit',
      { stream => 'proxy_timeout 1h; proxy_download_rate 1m; proxy_protocol on;'
                  . "server { $listen zltunnel_pass web; }" }, 0, undef ],
    [ 'what a proxy of a service has',
      { stream => 'upstream web { zltunnel_service web; }'
                  . "server { $listen proxy_pass web; proxy_timeout 1h; "
                  . 'proxy_download_rate 1m; }' }, 0, undef ],

    # upstreams

    [ 'an upstream unknown',
      { location => 'location / { proxy_pass http://nosuch.invalid; }' }, 1,
      'emerg: host not found in upstream "nosuch.invalid" in PLACE' ],
    [ 'keepalive first',
      { http => 'upstream u { keepalive 8; zltunnel_service web; }' }, 1,
      'emerg: "zltunnel_service" directive must stand before "keepalive", and '
      . 'with no other load balancing method in PLACE' ],
    [ 'a server beside it',
      { http => 'upstream u { zltunnel_service web; server 127.0.0.1:1; }' },
      1, 'emerg: server "127.0.0.1:1" must be marked "backup" beside '
         . '"zltunnel_service" in upstream "u" in PLACE' ],
    [ 'another balancer',
      { http => 'upstream u { zltunnel_service web; least_conn; }' }, 1,
      'emerg: another load balancing method cannot be in upstream "u", which '
      . 'has "zltunnel_service": use its "balance=", in PLACE' ],

    # names

    [ 'a token that is not there',
      { stream => "server { $listen zltunnel_pass web token=bob; }" }, 0,
      'warn: no token has the name "bob" that "zltunnel_pass web" wants, in '
      . 'PLACE' ],
    [ 'two tokens that may', { tokens => $first . ('b' x 64) . " bob\n",
        stream => "server { $listen zltunnel_pass web; }" }, 0,
      'warn: more than one token may register the service of "zltunnel_pass '
      . 'web", bind it to one by "token=NAME", in PLACE' ],

    # the token file

    (map {
        my ($name, $text, $says) = @$_;
        [ $name, { tokens => $text }, 1,
          "emerg: zltunnel \"default\": $says in $file:1" ]
     } [ 'a token in place of its hash', "zlt_0123456789abcdef alice\n",
         'the first word must be the SHA-256 of a token, 64 hexadecimal '
         . 'digits' ],
       [ 'a byte order mark', "\xef\xbb\xbf$hash alice\n",
         'the first word must be the SHA-256 of a token, 64 hexadecimal '
         . 'digits' ],
       [ 'both lines of "token"', "$token\n$hash alice\n",
         'the first word must be the SHA-256 of a token, 64 hexadecimal '
         . 'digits' ],
       [ 'a hash without a name', "$hash\n",
         'the second word must be a name for the token, at most 64 bytes of '
         . 'letters, digits, "-", "_" and "."' ],
       [ 'ports with a colon', "$hash alice ports=30000:30010\n",
         'invalid value of "ports=": it must be ports from 1 to 65535 and '
         . 'ranges of them, as in 2222,30000-30100' ],
       [ 'a date alone', "$hash alice expires=2030-01-31\n",
         'invalid value of "expires=": it must be a time in UTC, as in '
         . '2027-01-31T00:00:00Z' ]),
    [ 'a time without a unit',
      { tokens => "$hash alice services=web access=db access_ttl=8\n" }, 0,
      'warn: "access_ttl=" of token "alice" is 8 seconds, for hours write '
      . "\"access_ttl=8h\", in $file" ],
    [ 'a time with one',
      { tokens => "$hash alice services=web access=db access_ttl=8h\n" }, 0,
      undef ],
    [ 'many tokens', { default_zone => 1, tokens => many(350, '') }, 0, undef ],
    [ 'more tokens', { default_zone => 1, tokens => many(400, '') }, 0,
      "warn: \"zone\" of zltunnel \"default\" is too small for all that the "
      . "tokens in $file allow: it has 32768k, 35849k are needed; \"sessions=\" "
      . 'and "max_services=" there say how much that is, in PLACE' ],
    [ 'very many tokens of two services',
      { default_zone => 1, tokens => many(900, 'services=web,db protocols=tcp') },
      0, undef ],
    [ 'no tokens yet', { tokens => "# none\n" }, 0,
      "warn: no token in $file, no agent can connect to zltunnel \"default\"" ],
    [ 'no token file', { tokens => undef }, 1,
      "emerg: zltunnel \"default\": token file \"$file\": open() failed (2: No "
      . 'such file or directory)' ],
);

row(@$_) for @rows;
unreadable() if $> == 0;
taken();
without_stream();
running();

$t->finish;


sub row {
    my ($name, $change, $code, $message) = @_;

    my %o = (%PARTS, %SIZES, %$change);
    my $sub = delete $o{sub};
    my $default = delete $o{default_zone};
    my $tokens = exists $o{tokens} ? delete $o{tokens} : $first;

    defined $tokens ? write_file($file, $tokens) : unlink $file;

    $t->write_conf(%o);

    $sub = [ qr/^    zone 2m;\n/m, '' ] if $default;

    if ($sub) {
        my $conf = slurp("$dir/nginx.conf");
        $conf =~ s/$sub->[0]/$sub->[1]/ or die "$name: nothing to change";
        write_file("$dir/nginx.conf", $conf);
    }

    my ($rc, $out) = $t->test_conf;
    my @said = said($out);

    is($rc, $code, "$name: exit code $code") or diag($out);

    # nginx itself may have a warning in front

    if (ref $message) {
        like(join("\n", @said), $message, "$name: what it says");

    } else {
        is($said[-1], $message, "$name: what it says");
    }

    write_file($file, $first);
}


# A file of so many.

sub many {
    my ($n, $rights) = @_;

    return join '', map { sha256_hex("n$_") . " n$_ $rights\n" } 1 .. $n;
}


# What is more than a notice, without what differs from run to run.

sub said {
    my ($out) = @_;

    return map { s/^.*?\[(warn|error|crit|alert|emerg)\] /$1: /r
                 =~ s/ in \K\Q$dir\E\/nginx\.conf:\d+$/PLACE/r }
           grep { /\[(?:warn|error|crit|alert|emerg)\]/ } split /\n/, $out;
}


sub unreadable {
    chmod 0600, $file;
    row_now('a token file of root alone', 1,
            'emerg: the workers\' user "www-data" cannot read the token file '
            . "\"$file\": it needs permission, as with owner root, its own "
            . 'group, and mode 0640');
    chmod 0644, $file;

    chmod 0700, $dir;
    row_now('a directory of root alone', 1,
            'emerg: the workers\' user "www-data" cannot read the token file '
            . "within directory \"$dir\": it needs permission to search there");
    chmod 0755, $dir;
}


sub row_now {
    my ($name, $code, $message) = @_;

    $t->write_conf(%PARTS, %SIZES);

    my ($rc, $out) = $t->test_conf;
    is($rc, $code, "$name: exit code $code");
    is_deeply([ said($out) ], [ $message // () ], "$name: what it says")
        or diag($out);
}


# A port of the range is another program's: nginx -t says so, where no nginx of
# this configuration runs.

sub taken {
    my $n = $t->{base} + 3;
    my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $n,
                                  Listen => 1) or die "listen: $!";

    row_now('a port that is taken', 0,
            "warn: another program has TCP port 127.0.0.1:$n of "
            . '"zltunnel_ports", so nginx will not start: end it, or leave the '
            . 'port out by two ranges, to ' . ($n - 1) . ' and from ' . ($n + 1)
            . '; net.ipv4.ip_local_reserved_ports keeps a range from outgoing '
            . 'connections (98: Address already in use)');

    my ($rc, $out) = ZLTunnel::Proc::run(
        $ZLTunnel::NGINX, '-s', 'reopen', '-p', $dir, '-c', "$dir/nginx.conf",
        '-e', "$dir/test.log");
    like($out, qr/nginx\.pid/, 'a signal is for a process that is missing');
    unlike($out, qr/another program/, 'a signal is sent: nothing starts');

    write_file("$dir/nginx.pid", "$$\n");
    row_now('a port that may be that of the nginx which runs', 0, undef);
    unlink "$dir/nginx.pid";

    close $s;
    row_now('no port that is taken', 0, undef);
}


# A module that is missing is found by the name of what it has.

sub without_stream {
    my $conf = slurp("$dir/nginx.conf");
    my $n = $conf =~ s/^load_module \S*ngx_stream_module\.so;\n//m;

    return if !$n;

    write_file("$dir/nginx.conf", $conf);

    my ($rc, $out) = $t->test_conf;
    is($rc, 1, 'stream is not loaded: exit code 1');
    like($out, qr/\[emerg\] dlopen\(\) .* undefined symbol: ngx_stream_\w+\)/,
         'stream is not loaded: what it says');
}


# What only a client shows.

sub running {
    $t->write_conf(%PARTS, %SIZES,
        http => 'upstream web { zltunnel_service web; } upstream db { '
                . 'zltunnel_service db token=alice; }',
        location => 'location = /web { proxy_pass http://web; } '
                    . 'location = /db { proxy_pass http://db; }',
        stream => "map \$remote_addr \$name { default 'n\\'o'; } server { "
                  . "$listen zltunnel_pass web token=alice; }");
    $t->start;

    is(http_get($t->{http_port}, '/web')->{status}, 502,
       'an upstream without an agent: 502');
    is(http_get($t->{http_port}, '/db')->{status}, 502,
       'an upstream of a token without an agent: 502');
    like($t->log, qr/\[error\].*\ no\ agent\ has\ registered\ service\ "web"
                     \ in\ registry\ "default",\ client:\ .*GET\ \/web/x,
         'an upstream without an agent: the log says which');
    like($t->log, qr/\[error\].*\ no\ agent\ of\ token\ "alice"\ has
                     \ registered\ service\ "db"\ in\ registry\ "default"/x,
         'an upstream of a token without an agent: the log says which');

    my $s = connect_to($port);
    my $n = sysread $s, my $x, 1;
    ok(!$n, 'a server without an agent: its client is sent away');
    like($t->log, qr/\[notice\].*\ no\ agent\ of\ token\ "alice"\ has
                     \ registered\ service\ "web"\ in\ registry\ "default"
                     \ while\ connecting\ to\ a\ tunnelled\ service,/x,
         'a server without an agent: the log says which');

    http_get($t->{http_port}, '/web') for 1 .. 50;
    my $lines = () = $t->log =~ /no agent has registered/g;
    cmp_ok($lines, '>', 5, 'each is told');
    cmp_ok($lines, '<', 40, 'as long as there are few');

    my $status = http_get($t->{http_port}, '/tunnel/status')->{body};
    like($status, qr/^\{\n\ \ "version":\ "[\d.]+",\n.*^\ \ "workers":\ \[\n
                     \ \ \ \ \{\ "slot":\ 0,\ .*\ \}\n\ \ \],\n.*^\}\n\z/xms,
         'the status is for people, too');
    ok($t->status->{workers}, 'and JSON');

    # an agent is there, its service is not

    my $dead = $t->free_port;
    $t->agent(token => $token, services => [ "web:$dead", "db:$dead" ]);

    is(http_get($t->{http_port}, '/web')->{status}, 502,
       'a service that is down: 502');

    my $failure = $t->service_status('web')->{last_failure};
    is($failure->{cause}, 'refused', 'a service that is down: why');
    cmp_ok(abs($failure->{time} - time), '<=', 60,
           'a service that is down: when');
    is($t->service_status('db')->{last_failure}, undef, 'the other: never');
}
