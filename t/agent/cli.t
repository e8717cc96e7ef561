#!/usr/bin/perl

# Protects: the agent as its user meets it: help, version and exit codes, new
# tokens, configuration errors with file and line, no secret in any output,
# SIGTERM that finishes what runs, SIGHUP that changes only what changed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire;

my $agent_bin = $ZLTunnel::AGENT;

subtest 'commands' => \&commands;
subtest 'tokens' => \&tokens;
subtest 'configuration files' => \&configuration;
subtest 'long names' => \&long_names;
subtest 'secrets' => \&secrets;
subtest 'SIGTERM' => \&terminate;
subtest 'SIGHUP' => \&reread;
subtest 'addresses' => \&addresses;

done_testing();


sub commands {
    my ($rc, $out) = run($agent_bin, '--version');
    is($rc, 0, '--version');
    like($out, qr/^zltunnel-agent[ \/]\d+\.\d+\.\d+/, "says $out");

    ($rc, $out) = run($agent_bin, '--help');
    is($rc, 0, '--help');
    like($out, qr/\b$_\b/, "names $_") for qw(connect run token check);

    for my $command (qw(connect run token check)) {
        ($rc, $out) = run($agent_bin, $command, '--help');
        is($rc, 0, "$command --help");
        like($out, qr/$command/, "says how to $command");
    }

    my @server = ('--server', 'ws://127.0.0.1:1/tunnel/v1');
    my @wrong = (
        [ 'no command', qr/usage|command/i ],
        [ 'an unknown command', qr/fly/, 'fly' ],
        [ 'an unknown option', qr/--fast/, 'connect', '--fast' ],
        [ 'a token on the command line', qr/--token/, 'connect', @server,
          '--token', 'secret', '--service', 'a:1' ],
        [ 'no server', qr/server/, 'connect', '--service', 'a:1' ],
        [ 'no service', qr/service/, 'connect', @server ],
        [ 'a URL of another scheme', qr/ws:|wss:/, 'connect', '--server',
          'http://127.0.0.1/', '--service', 'a:1' ],
        [ 'a service without a port', qr/port|NAME:/, 'connect', @server,
          '--service', 'a' ],
        [ 'a port too high', qr/65535/, 'connect', @server, '--service',
          'a:70000' ],
        [ 'a remote port too high', qr/65535/, 'connect', @server,
          '--service', 'a:1:70000' ],
        [ 'a bad name', qr/name/, 'connect', @server, '--service', 'a b:1' ],
        [ 'the same name twice', qr/\ba\b/, 'connect', @server, '--service',
          'a:1', '--service', 'a:2' ],
        [ 'no token file', qr/no-such-file/, 'connect', @server,
          '--token-file', '/no-such-file', '--service', 'a:1' ],
        [ 'no token', qr/token/i, 'connect', @server, '--service', 'a:1' ],
        [ 'no configuration file', qr/no-such-file/, 'run', '-c',
          '/no-such-file' ],
        [ 'check of no file', qr/no-such-file/, 'check', '-c',
          '/no-such-file' ],
    );

    for my $case (@wrong) {
        my ($name, $re, @args) = @$case;
        my ($rc, $out) = run({ timeout => 10 }, $agent_bin, @args);
        is($rc, 2, "$name: exit 2");
        like($out, $re, "$name: told") if $re;
        unlike($out, qr/\bsecret\b/, "$name: no secret") if $out;
    }
}


sub tokens {
    my ($rc, $out) = run($agent_bin, 'token', '--name', 'dave');
    is($rc, 0, 'token --name');

    my ($line) = $out =~ /^([0-9a-f]{64} dave)$/m;
    ok($line, 'prints the line for the token file') or diag($out);

    my ($hash) = split ' ', $line // '';
    my ($token) = grep { sha256_hex($_) eq $hash } split /\s+/, $out;
    ok($token, 'and the token of that hash');
    cmp_ok(length($token // ''), '>=', 32, 'which is long');

    my (undef, $again) = run($agent_bin, 'token', '--name', 'dave');
    isnt($again, $out, 'and another each time');

    my ($rc2, $out2) = run($agent_bin, 'token');
    is($rc2, 0, 'token without a name');
    like($out2, qr/^[0-9a-f]{64} \S+$/m, 'has one all the same');

    my ($rc3, $out3) = run($agent_bin, 'token', '--name', 'n' x 65);
    is($rc3, 2, 'a name that the server would refuse is refused');
    unlike($out3, qr/^[0-9a-f]{64} /m, 'without a line');

    (undef, my $long) = run($agent_bin, 'token', '--name', 'n' x 64);
    ($long) = $long =~ /^([0-9a-f]{64} n+)$/m;
    ok($long, 'the longest that it takes');

    # the server takes them
    my $t = ZLTunnel->new;
    write_file("$t->{dir}/tokens", "$line\n$long\n", 0644);
    $t->start;
    push @{ $t->{secrets} }, $token;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    ok($agent->port('e'), 'they work');
    $t->finish;
}


sub configuration {
    my $dir = File::Temp::tempdir(CLEANUP => 1);
    my $file = "$dir/agent.conf";
    write_file("$dir/token", "secret-in-a-file\n", 0600);

    my $head = "[agent]\nserver = ws://127.0.0.1:1/tunnel/v1\n"
               . "token_file = $dir/token\n";
    my $service = "[service web]\nlocal = 127.0.0.1:8080\n";

    write_file($file, $head . $service);
    my ($rc, $out) = run($agent_bin, 'check', '-c', $file);
    is($rc, 0, 'check of a right file') or diag($out);
    unlike($out, qr/secret-in-a-file/, 'does not show the token');

    write_file($file, <<"EOT");
# all there is
[agent]
server = wss://tunnel.example.com/tunnel/v1   ; with a comment
token_file = $dir/token
ca_file = ${\ ZLTunnel->certs }/ca.pem
reconnect_interval = 5s
max_reconnect_interval = 60s

[service web]
local = 127.0.0.1:8080
private = yes
proxy_protocol = v2

[service dns]
protocol = udp
local = 127.0.0.1:53
remote_port = 5353
EOT
    ($rc, $out) = run($agent_bin, 'check', '-c', $file);
    is($rc, 0, 'check of a file with everything') or diag($out);

    my @bad = (
        [ 'an unknown section', "$head$service\[extra]\na = 1\n", 6 ],
        [ 'an unknown key', "${head}colour = red\n$service", 4 ],
        [ 'an unknown key of a service', "$head${service}colour = red\n", 6 ],
        [ 'a port too high',
          "$head\[service web]\nlocal = 127.0.0.1:99999\n", 5 ],
        [ 'a remote port that is none', "$head${service}remote_port = x\n",
          6 ],
        [ 'a protocol unknown', "$head${service}protocol = icmp\n", 6 ],
        [ 'a PROXY protocol unknown', "$head${service}proxy_protocol = v3\n",
          6 ],
        [ 'a time that is none', "${head}reconnect_interval = soon\n$service",
          4 ],
        [ 'a URL that is none', "[agent]\nserver = nowhere\n$service", 2 ],
        [ 'a line without a value', "${head}what is this\n$service", 4 ],
        [ 'a key outside of sections', "local = 1\n$head$service", 1 ],
        [ 'the same service twice', "$head$service$service", 6 ],
        [ 'a service without a name', "$head\[service]\nlocal = 1\n", 4 ],
    );

    for my $case (@bad) {
        my ($name, $text, $line) = @$case;

        write_file($file, $text);

        for my $command (qw(check run)) {
            my ($rc, $out) = run({ timeout => 10 }, $agent_bin, $command, '-c',
                                 $file);
            is($rc, 2, "$name: $command exits with 2");
            like($out, qr/\Q$file\E:$line\b.*\w/,
                 "$name: $command names file, line and what is wrong");
        }
    }

    for my $case ([ 'no server', "[agent]\ntoken_file = $dir/token\n$service",
                    qr/server/ ],
                  [ 'a service without an address',
                    "$head\[service web]\nprotocol = tcp\n", qr/local/ ],
                  [ 'a token file that is missing',
                    "[agent]\nserver = ws://127.0.0.1:1/x\n"
                    . "token_file = $dir/none\n$service", qr/none/ ]) {
        my ($name, $text, $re) = @$case;

        write_file($file, $text);
        my ($rc, $out) = run($agent_bin, 'check', '-c', $file);
        is($rc, 2, "$name: exit 2");
        like($out, $re, "$name: told");
    }
}


# A name in the file is whole, up to the 255 bytes that it may have; as for a
# key, what is too long is told, not cut.

sub long_names {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $head = '[agent]' . "\nserver = " . $t->url('ws')
               . "\ntoken_file = %%token_file%%\n";
    my @names = map { join '-', 'x' x 20, 'y' x ($_ - 21) } 41, 42, 43, 100,
                190, 200, 255;

    my $agent = $t->agent(token => $token, services => \@names, conf => $head
        . join '', map { "[service $_]\nlocal = $echo->{port}\n" } @names);

    is_deeply([ sort keys %{ $agent->services } ], [ sort @names ],
              'names up to 255 bytes are registered whole');

    my $file = "$t->{dir}/agent.conf";
    my $text = "[agent]\nserver = ws://127.0.0.1:1/x\n"
               . "token_file = $agent->{token_file}\n";

    for my $case ([ 'a name of 256 bytes', '[service ' . 'x' x 256 . ']', 4 ],
                  [ 'a section of 2000', '[service ' . 'x' x 2000 . ']', 4 ],
                  [ 'a section without end', '[service ' . 'x' x 100, 4 ],
                  [ 'a long value', "[service x]\nlocal = " . 'x' x 300, 5 ]) {
        my ($name, $section, $line) = @$case;

        write_file($file, "$text$section\nlocal = 1\n");
        my ($rc, $out) = run($agent_bin, 'check', '-c', $file);
        is($rc, 2, "$name: exit 2");
        like($out, qr/\Q$file\E:$line: ./, '.. with the line');
    }

    write_file($file, "$text\[service " . 'x' x 255 . "]   # "
                      . 'y' x 500 . "\nlocal = 1\n");
    my ($rc, $out) = run($agent_bin, 'check', '-c', $file);
    is($rc, 0, 'a comment behind the longest name') or diag($out);

    $t->finish;
}


sub secrets {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');


    # from the environment

    my $agent = $t->agent(env => { ZLTUNNEL_TOKEN => $token },
                          services => ["e:$echo->{port}"],
                          args => ['--log-level', 'debug']);
    ok($agent->port('e'), 'the token from the environment');

    unlike(slurp('/proc/' . $agent->pid . '/cmdline'), qr/\Q$token\E/,
           'is not in ps');

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e'));
    $c->send('x');
    $c->take(1);
    $c->close;

    my $key = $t->status->{tunnels}[0]{id};
    unlike($t->log . $agent->log . slurp($agent->{out}),
           qr/Zltunnel-Key|data key *[:=] *\S/i, 'no key is logged');
    is($agent->stop, 0, 'ends');


    # from a file that others may read

    $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
    unlike($agent->log, qr/permission|readable/i,
           'a token file of its own: no warning');
    $agent->stop;

    $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                       wait => 0);
    $agent->stop;
    chmod 0644, $agent->{token_file};
    $agent->launch;
    ok($agent->logged(qr/readable|permission|0644|others|mode/i),
       'a token file that others may read: told');
    is($agent->{proc}->wait(20), 2, 'and not used');

    $t->finish;             # looks for the token in all logs
}


sub terminate {
    my $t = ZLTunnel->new(workers => 2, zltunnel => 'reconnect_grace 1s;');
    my $token = $t->token('alice');
    $t->start;

    my $source = $t->service('source', 20_000_000);
    my $agent = $t->agent(token => $token, services => ["s:$source->{port}"]);
    my $port = $agent->port('s');

    my $load = $t->spawn('download', $t->nettool, 'transfer', $port, '-',
                         8_000_000);
    ok(wait_for(sub { $t->events($source, 'accept') }), 'a download runs');

    $agent->{proc}->kill('TERM');
    ok(wait_for(sub { refuses($port) }), 'SIGTERM: the port refuses');
    ok($agent->{proc}->running, 'the agent still runs');

    is($load->wait(60), 0, 'the download comes to its end');
    is(ZLTunnel::Local::parse_transfer($load->output)->{received}, 20_000_000,
       'with all of its bytes');
    is($agent->{proc}->wait(10), 0, 'then the agent ends with 0');


    # at once where nothing runs, and at the second signal

    $agent = $t->agent(token => $token, services => ["s:$source->{port}"]);
    my $start = time;
    is($agent->stop, 0, 'without connections');
    cmp_ok(time - $start, '<', 3 * slowdown(), 'at once');

    my $hold = $t->service('hold');
    $agent = $t->agent(token => $token, services => ["h:$hold->{port}"]);
    my $c = ZLTunnel::Wire::Socket->new($agent->port('h'));
    ok(wait_for(sub { $t->events($hold, 'accept') }), 'a connection');
    $agent->{proc}->kill('TERM');
    is($c->ending(1), 'open', 'SIGTERM waits for it');
    $agent->{proc}->kill('TERM');
    is($c->ending(10), 'reset', 'a second SIGTERM does not');
    ok(defined $agent->{proc}->wait(10), 'and the agent ends');

    $t->finish;
}


sub reread {
    my $t = ZLTunnel->new(workers => 2, range => 8);
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $sum = $t->service('sum');

    my $head = 'server = ' . $t->url('ws') . "\ntoken_file = %%token_file%%\n";
    my $conf = sub {
        my %s = @_;
        return "[agent]\n$head" . join '', map {
            "[service $_]\nlocal = 127.0.0.1:$s{$_}\n" } sort keys %s;
    };

    my $agent = $t->agent(token => $token, services => [1, 2, 3],
        conf => $conf->(kept => $echo->{port}, changed => $echo->{port},
                        gone => $echo->{port}));
    my %port = map { $_ => $agent->port($_) } qw(kept changed gone);

    my %c = map { $_ => ZLTunnel::Wire::Socket->new($port{$_}) } keys %port;
    $c{$_}->send('hello') for keys %c;
    is($c{$_}->take(5), 'hello', "$_: a connection") for sort keys %c;

    my $tunnel = $t->status->{tunnels}[0]{id};

    $agent->write_conf($conf->(kept => $echo->{port},
                               changed => $sum->{port},
                               new => $echo->{port}));
    $agent->{proc}->kill('HUP');

    ok(wait_for(sub { $agent->port('new') }), 'SIGHUP: the new service');
    ok(wait_for(sub { !$t->service_status('gone') }),
       'the one gone is not registered any more');

    is($agent->port('kept'), $port{kept}, 'the one kept has its port');
    $c{kept}->send('still');
    is($c{kept}->take(5), 'still', 'and its connection');
    is($t->status->{tunnels}[0]{id}, $tunnel, 'it is the same tunnel');

    ok(wait_for(sub {
        my $r = $t->transfer($agent->port('changed'), 1000);
        return ($r->{tail} // '') eq "$r->{sent_sha} 1000";
    }), 'the one changed goes to its new address');

    $c{gone}->send('still');
    is($c{gone}->take(5), 'still',
       'connections of a service that is gone are not cut');


    # a broken file changes nothing

    $agent->write_conf("[agent]\n$head" . "[service kept]\nlocal = nonsense\n");
    $agent->{proc}->kill('HUP');
    ok($agent->logged(qr/\Q$agent->{conf}\E:5\b/), 'a broken file: told');
    $c{kept}->send('again');
    is($c{kept}->take(5), 'again', 'a broken file: nothing changes');
    ok(!refuses($agent->port('new')), 'a broken file: ports stay');

    $_->close for values %c;
    $t->finish;
}


sub addresses {
    my $six = IO::Socket::INET->can('new')
              && eval { require IO::Socket::IP;
                        IO::Socket::IP->new(LocalHost => '::1', Listen => 1) };
    plan(skip_all => 'no IPv6 here') unless $six;
    close $six;

    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $port = $t->free_port;

    $t->write_conf(http => "server { listen [::1]:$port;
                            location = /tunnel/v1 { zltunnel; } }");
    $t->start;

    my $echo = $t->service('echo');
    my $agent = $t->agent(token => $token,
                          server => "ws://[::1]:$port/tunnel/v1",
                          services => ["e:localhost:$echo->{port}"]);
    my $r = $t->transfer($agent->port('e'), 10_000);
    is($r->{received_sha}, $r->{sent_sha},
       'a server at ::1, a service by name that is at 127.0.0.1 alone');

    $t->finish;
}
