#!/usr/bin/perl

# Protects: what people type when they begin, and what they are told.  One
# table: the input, the exact words, the exit code.  What is wrong is named,
# with what to write instead; what can be understood is taken.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;

my $SIDE_BY_SIDE = 8;

my $dir = File::Temp::tempdir(CLEANUP => 1);
my $hash = '0123456789abcdef' x 4;

delete $ENV{$_} for grep { /^ZLTUNNEL_/ } keys %ENV;

# A row: "what" it is; "conf", a file, or the lines of a section in an
# otherwise right one ("agent", "service"), which is checked; "connect",
# arguments of that command; "token", the text of its file; "args", all
# arguments; then "says", the exact words, without "zltunnel-agent: ", DIR for
# the directory and FILE for the file; and "rc", 2 if it is not given.

my $OK = 'FILE: OK, 1 service for ws://127.0.0.1:1/';
my $NAME = 'a service name is 1 to 255 bytes: letters of any script, digits, '
           . '"-", "_", "."';
my $EXPECTED = 'expected NAME:[HOST:]PORT[:REMOTE_PORT][/udp], for one '
               . 'web:3000, or a port';

# a service that is taken is one for which only the server is missing
my $TAKEN = '"server" is missing: --server wss://HOST, or ZLTUNNEL_SERVER, or '
            . '"server = wss://HOST" in the file';

my @rows = (

    # the token's file

    { what => 'a token', token => "zlt_secret\n", rc => 0, says => $OK },
    { what => 'a byte order mark', token => "\xef\xbb\xbfzlt_secret\r\n",
      rc => 0, says => $OK },
    { what => 'blanks around', token => " \t\n zlt_secret \n\n", rc => 0,
      says => $OK },
    { what => 'both lines of "token"', token => "zlt_secret\n$hash alice\n",
      says => 'FILE: DIR/token must hold the token alone, the first line of '
              . '"zltunnel-agent token"; the second one is for the server' },
    { what => 'two words', token => "zlt_secret alice\n",
      says => 'FILE: DIR/token has more in it than a token' },
    { what => 'UTF-16', token => "\xff\xfez\0l\0t\0",
      says => 'FILE: DIR/token is in UTF-16: save it as UTF-8' },
    { what => 'UTF-16, the other way', token => "\xfe\xff\0z\0l\0t",
      says => 'FILE: DIR/token is in UTF-16: save it as UTF-8' },
    { what => 'the server\'s line', token => "$hash alice\n",
      says => 'FILE: DIR/token has the line for the server, with the hash of '
              . 'a token; the token of "zltunnel-agent token" begins with '
              . 'zlt_' },
    { what => 'the hash alone', token => "$hash\n", rc => 0,
      says => 'FILE: warning: the 64 digits in DIR/token look like the hash '
              . "of a token, which is for the server\n$OK" },
    { what => 'nothing', token => "\n",
      says => 'FILE: there is no token in DIR/token' },
    { what => 'an option for it', connect => [ '--token', 'x' ],
      says => 'there is no --token, since every user of this machine could '
              . 'see it: use --token-file, or ZLTUNNEL_TOKEN' },

    # the server's URL

    { what => 'https', agent => 'server = https://t.example.com/x', rc => 0,
      says => 'FILE: OK, 1 service for https://t.example.com/x' },
    { what => 'http', agent => 'server = http://t.example.com/',
      says => 'FILE:2: "server" must begin with wss://, ws://, srv+wss://, srv+ws:// or ws+unix:' },
    { what => 'no scheme', agent => 'server = t.example.com',
      says => 'FILE:2: "server" must begin with wss://, ws://, srv+wss://, srv+ws:// or ws+unix:, '
              . 'as in wss://tunnel.example.com' },
    { what => 'no path', agent => 'server = wss://t.example.com', rc => 0,
      says => 'FILE: OK, 1 service for wss://t.example.com' },
    { what => 'a URL in quotes', agent => 'server = "wss://t.example.com"',
      says => 'FILE:2: "server" is in quotes: values are written without '
              . 'them' },
    { what => 'two in a line',
      agent => 'server = wss://a.example.com wss://b.example.com',
      says => 'FILE:2: "server" has two URLs: each server has a line, or an '
              . 'option, of its own' },
    { what => 'two with a comma',
      agent => 'server = wss://a.example.com,wss://b.example.com',
      says => 'FILE:2: "server" has two URLs: each server has a line, or an '
              . 'option, of its own' },

    # --service

    service('a port', '3000'),
    service('a name', 'web', $EXPECTED),
    service('a remote port too high', 'web:8080:99999',
            'the remote port is not a number from 1 to 65535'),
    service('a host', 'web:localhost:8080'),
    service('IPv6', 'web:[::1]:8080'),
    service('a socket', 'web:unix:/run/x.sock'),
    service('IPv6 without brackets', 'web:::1:8080',
            'an IPv6 address needs brackets: web:[::1]:80'),
    service('a longer one', 'web:2001:db8::1:8080',
            'an IPv6 address needs brackets: web:[::1]:80'),
    service('a URL', 'web:http://localhost:8080',
            'a service is at HOST:PORT, not at a URL: web:localhost:80'),
    service('a URL alone', 'http://localhost:8080',
            'a service is at HOST:PORT, not at a URL: web:localhost:80'),
    service('UDP in capitals', 'web:8080/UDP', 'after "/" only udp, tcp, '
            . 'private, internal, proxy-v1 and proxy-v2 are known'),
    service('localhost in place of a name', 'localhost:3000',
            'this is an address, and a name comes before it: '
            . 'web:localhost:3000'),
    service('an address', '127.0.0.1:3000', 'this is an address, and a name '
            . 'comes before it: web:localhost:3000'),
    service('an IPv6 address', '[::1]:3000', 'this is an address, and a name '
            . 'comes before it: web:localhost:3000'),
    service('a letter with an accent', "w\xc3\xa9b:8080"),
    service('a blank in the name', 'my web:8080', $NAME),
    { what => 'one dash', connect => [ '-service', 'web:8080' ],
      says => '"-service" is written with two dashes: "--service"' },
    { what => 'one dash of status', args => [ 'status', '-json' ],
      says => '"-json" is written with two dashes: "--json"' },
    { what => 'a value of an option that has none', args => [ 'status',
      '--json=1' ], says => '"--json" takes no value' },
    { what => 'one dash of init', args => [ 'init', '-server', 'wss://x' ],
      says => '"-server" is written with two dashes: "--server"' },
    { what => 'one dash and "="', connect => [ '-token-file=x' ],
      says => '"-token-file" is written with two dashes: "--token-file"' },
    { what => 'a name twice', connect => [ '--service', 'a:1', '--service',
                                           'a:2' ],
      says => '--service "a:2": the service "a" is there twice' },
    { what => 'a variable', args => ['connect'],
      env => { ZLTUNNEL_SERVICE => 'web:8080 ssh' },
      says => "ZLTUNNEL_SERVICE \"ssh\": $EXPECTED" },

    # access

    { what => 'UDP behind the port', args => [ 'access', 'web:21110/udp' ],
      says => '"web:21110/udp": the protocol comes before the port: '
              . 'NAME/udp:LOCAL_PORT' },
    { what => 'a time without a unit',
      args => [ 'access', 'web', '--ttl', '8', '--grace', '7200' ],
      says => "--ttl 8 is taken for 8 s; a time has a unit: 90s, 30m, 8h, 1d\n"
              . '--grace 7200 is taken for 7200 s; a time has a unit: 90s, '
              . "30m, 8h, 1d\n$TAKEN" },
    { what => 'without end', args => [ 'access', 'web', '--ttl', '0' ],
      says => $TAKEN },
    { what => 'a time without a unit, of renew', rc => 1,
      args => [ 'renew', '01234567', '--ttl', '8', '--control', "$dir/none" ],
      says => "--ttl 8 is taken for 8 s; a time has a unit: 90s, 30m, 8h, 1d\n"
              . 'no agent answers at DIR/none: No such file or directory' },

    # agent.conf

    { what => 'keys with tabs before them',
      conf => "[agent]\n\tserver = ws://127.0.0.1:1/\n\ttoken_file = token\n"
              . "[service web]\n\tprotocol = tcp\n\tlocal = 80\n", rc => 0,
      says => $OK },
    { what => 'a line that goes on', service => "local = 80\n  443",
      says => 'FILE:6: a line that begins with a blank continues the one '
              . 'before, but "local" has one value in one line' },
    { what => 'a path in quotes', agent => 'ca_file = \'ca.pem\'',
      says => 'FILE:4: "ca_file" is in quotes: values are written without '
              . 'them' },
    { what => 'a section\'s name in quotes',
      conf => "[agent]\nserver = ws://127.0.0.1:1/\n[service \"web\"]\n",
      says => 'FILE:3: names are written without quotes' },
    { what => 'a key with a typo', service => "local = 80\nremoteport = 80",
      says => 'FILE:6: unknown key "remoteport" in [service NAME]; did you '
              . 'mean "remote_port"?' },
    { what => 'a key with dashes', agent => 'log-level = debug',
      says => 'FILE:4: unknown key "log-level" in [agent]; did you mean '
              . '"log_level"?' },
    { what => 'a key of nowhere', agent => 'colour = red',
      says => 'FILE:4: unknown key "colour" in [agent]' },
    { what => 'a key of another section', service => 'ca_file = x',
      says => 'FILE:5: unknown key "ca_file" in [service NAME]; it belongs '
              . 'into [agent]' },
    { what => 'local_port in a service', service => 'local_port = 80',
      says => 'FILE:5: unknown key "local_port" in [service NAME]; here it is '
              . '"local = HOST:PORT"' },
    { what => 'port in a service', service => 'port = 80',
      says => 'FILE:5: unknown key "port" in [service NAME]; here it is '
              . '"local = HOST:PORT"' },
    { what => 'local in a tunnel',
      conf => "[tunnel t]\nlocal = 80\n",
      says => 'FILE:2: unknown key "local" in [tunnel NAME]; here it is '
              . '"local_host" and "local_port"' },
    { what => 'the token itself', agent => 'token = zlt_secret',
      says => 'FILE:4: unknown key "token" in [agent]; the token is in a file '
              . 'of its own: "token_file = FILE"' },
    { what => 'a key twice', agent => "log_level = info\nlog_level = info",
      says => 'FILE:5: "log_level" is there twice' },
    { what => 'a section twice', service => "local = 80\n[agent]",
      says => 'FILE:6: [agent] is there twice' },
    { what => 'Agent', conf => "[Agent]\n",
      says => 'FILE:1: unknown section [Agent]; did you mean [agent]?' },
    { what => 'a service\'s name alone', service => "local = 80\n[ssh]",
      says => 'FILE:6: unknown section [ssh]; did you mean [service ssh]?' },
    { what => 'a service without its name', conf => "[service]\n",
      says => 'FILE:1: [service] needs a name: [service NAME], as in '
              . '[service web]' },
    { what => 'a tunnel without its name', conf => "[tunnel]\n",
      says => 'FILE:1: [tunnel] needs a name: [tunnel NAME]' },
    { what => 'a section with a typo', conf => "[servce web]\n",
      says => 'FILE:1: unknown section [servce web]; did you mean '
              . '[service web]?' },
    { what => 'two names', conf => "[agent home]\n",
      says => 'FILE:1: [agent] has no name behind it' },
    { what => 'a section that is none', conf => "[what is this]\n",
      says => 'FILE:1: unknown section: there are [agent], [service NAME], '
              . '[node], [nodes], [tunnel NAME], [access NAME] and [access]' },
    { what => 'YAML', conf => "agent:\n  server: wss://t.example.com\n",
      says => 'FILE:1: a key before the first section' },
    { what => 'no service', conf => "[agent]\nserver = ws://127.0.0.1:1/\n",
      says => 'FILE: no service is given: --service web:8080, or a '
              . '[service NAME] section' },
    { what => 'no local', service => 'protocol = tcp',
      says => 'FILE:4: the service has no "local"' },
    { what => 'a URL in local', service => 'local = http://localhost:80',
      says => 'FILE:5: "local" is "http://localhost:80": a service is at '
              . 'HOST:PORT, not at a URL: localhost:80' },
    { what => 'the remote port in local', service => 'local = localhost:80:90',
      says => 'FILE:5: "local" is "localhost:80:90": there is more in it than '
              . 'HOST:PORT' },
    { what => 'IPv6 without brackets in local', service => 'local = ::1:80',
      says => 'FILE:5: "local" is "::1:80": an IPv6 address needs brackets: '
              . '[::1]:80' },
    { what => 'a range for remote_port',
      service => "local = 80-90\nremote_port = 80-90",
      says => 'FILE:6: "remote_port" is "80-90", but must be a number from 1 '
              . 'to 65535; a range is "remote_ports"' },
    { what => 'a remote port twice', service => "local = 1\nremote_port = 80\n"
              . "[service b]\nlocal = 2\nremote_port = 80",
      says => 'FILE:7: the services "web" and "b" have the same remote port '
              . '80' },
    { what => 'a remote port of a range', service => "local = 1\n"
              . "remote_port = 82\n[service b]\nlocal = 80-90\n"
              . "remote_ports = 80-90",
      says => 'FILE:7: the services "web" and "b" have the same remote port '
              . '82' },
    { what => 'a remote port of TCP and of UDP',
      service => "local = 1\nremote_port = 80\n[service b]\nlocal = 2\n"
                 . "protocol = udp\nremote_port = 80", rc => 0,
      says => 'FILE: OK, 2 services for ws://127.0.0.1:1/' },
    { what => 'a long line', service => 'local = 80 ; ' . 'x' x 2000, rc => 0,
      says => $OK },
    { what => 'BOM, CRLF, ":" and comments',
      conf => "\xef\xbb\xbf[agent]\r\nserver: ws://127.0.0.1:1/ ; here\r\n"
              . "# h\xc3\xb6he\r\ntoken_file: token\r\n[service web]\r\n"
              . "local: 80\r\n", rc => 0, says => $OK },
    { what => 'UTF-16', conf => "\xff\xfe[\0a\0",
      says => 'FILE: the file is in UTF-16: save it as UTF-8' },
    { what => 'a folder', args => [ 'check', '-c', $dir ],
      says => 'DIR: Is a directory' },
);


sub service {
    my ($what, $spec, $says) = @_;

    return { what => "--service: $what", connect => [ '--service', $spec ],
             says => defined $says ? "--service \"$spec\": $says" : $TAKEN };
}


# Directory and arguments of a row, whose files are written.

sub prepare {
    my ($row, $n) = @_;

    my $in = "$dir/$n";
    mkdir $in;
    return ($in, 'connect', @{ $row->{connect} }) if $row->{connect};
    return ($in, @{ $row->{args} }) if $row->{args};

    my $server = ($row->{agent} // '') =~ /^server/ ? ''
                 : "server = ws://127.0.0.1:1/\n";
    my $service = $row->{service} // 'local = 80';
    my $agent = $row->{agent} // '';

    # keys of [agent] that are not the server stand in line 4
    my $conf = $row->{conf}
               // "[agent]\n" . ($server eq '' ? "$agent\n" : $server)
                  . "token_file = token\n"
                  . ($server ne '' && $agent ne '' ? "$agent\n" : '')
                  . "[service web]\n$service\n";

    write_file("$in/token", $row->{token} // "zlt_secret\n", 0600);
    write_file("$in/agent.conf", $conf);
    return ($in, 'check', '-c', "$in/agent.conf");
}


sub judge {
    my ($row, $in, $rc, $said) = @_;

    $said =~ s/^zltunnel-agent: //mg;
    $said =~ s/^"zltunnel-agent \w+ --help" tells the options\n//m;
    $said =~ s/\Q$in\E\/agent\.conf/FILE/g;
    $said =~ s/\Q$in\E|\Q$dir\E/DIR/g;

    is($said, "$row->{says}\n", $row->{what});
    is($rc, $row->{rc} // 2, "$row->{what}: exit code");
}


for (my $n = 0; $n < @rows; $n += $SIDE_BY_SIDE) {
    my @running;

    for my $i ($n .. ($n + $SIDE_BY_SIDE < @rows ? $n + $SIDE_BY_SIDE
                                                 : @rows) - 1) {
        my ($in, @args) = prepare($rows[$i], $i);
        local %ENV = (%ENV, %{ $rows[$i]{env} // {} });
        push @running, [ $rows[$i], $in, ZLTunnel::Proc->start(
            name => 'agent', out => "$in/said",
            cmd => [ $ZLTunnel::AGENT, @args ]) ];
    }

    for my $one (@running) {
        my ($row, $in, $proc) = @$one;
        my $rc = $proc->wait(20);
        judge($row, $in, $rc // 'it runs on', slurp("$in/said"));
        $proc->stop if !defined $rc;
    }
}

done_testing();
