#!/usr/bin/perl

# Protects: where the agent's configuration comes from.  Each key of [agent] is
# an option and a variable; an option stands above the variable, that above the
# file, the file above the default, and after a reload it is still so.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use JSON::PP ();
use IO::Socket::UNIX;
use Test::More;
use ZLTunnel;
use ZLTunnel::Known;

my $dir = File::Temp::tempdir(CLEANUP => 1);
my $file = "$dir/agent.conf";
my $rest = "token_file = $dir/token\n[service web]\nlocal = 1\n";

delete $ENV{$_} for grep { /^ZLTUNNEL_/ } keys %ENV;
write_file("$dir/token", "secret\n", 0600);
write_file($file, "[agent]\nserver = ws://127.0.0.1:1/file\n$rest");


# What a command says with variables.

sub with {
    my ($env, @command) = @_;

    local %ENV = (%ENV, %$env);
    return run({ timeout => 10 }, $ZLTunnel::AGENT, @command);
}


sub checked {
    my ($what, $env, $options, $rc, $re) = @_;

    my ($got, $out) = with($env, 'check', '-c', $file, @$options);
    is($got, $rc, "$what: exit code");
    like($out, $re, $what);
}


my @option = ('--server', 'ws://127.0.0.1:1/option');
my %env = (ZLTUNNEL_SERVER => 'ws://127.0.0.1:1/env');

checked('the file', {}, [], 0, qr{ for ws://127.0.0.1:1/file$});
checked('a variable', \%env, [], 0, qr{ for ws://127.0.0.1:1/env$});
checked('an option', \%env, \@option, 0, qr{ for ws://127.0.0.1:1/option$});
checked('several in one', { ZLTUNNEL_SERVER => "ws://127.0.0.1:1/env\t"
                            . 'ws://127.0.0.1:1/other' }, [], 0,
        qr{/env, others in reserve$});
checked('an empty one', { ZLTUNNEL_SERVER => '' }, [], 0, qr{/file$});
checked('a wrong one', { ZLTUNNEL_LOG_LEVEL => 'loud' }, [], 2,
        qr/: ZLTUNNEL_LOG_LEVEL: "log_level" is "loud", but must be error,/);
checked('a wrong one that counts no more', { ZLTUNNEL_LOG_LEVEL => 'loud' },
        ['--log-level', 'info'], 2, qr/ZLTUNNEL_LOG_LEVEL/);


# Each key is an option and a variable, whose value is looked at.

for my $row (grep { $_->{section} eq 'agent' } key_table()) {
    my $key = $row->{key};
    my $option = '--' . $key =~ tr/_/-/r;

    my ($rc, $out) = with({}, 'check', '-c', $file, $option,
                          $row->{form} eq 'bool' ? () : '*');
    unlike($out, qr/not an option|needs a value/, "$option is an option");

    # any text is a path, until it is read
    next if $row->{form} =~ /path|string/;

    ($rc, $out) = with({ $row->{env} => '*' }, 'check', '-c', $file);
    is($rc, 2, "$row->{env} is a variable");
    like($out, qr/: \Q$row->{env}\E: "$key" /, 'its name is told');
}


# connect, with nothing but variables; its services too

my %all = (%env, ZLTUNNEL_TOKEN_FILE => "$dir/token",
           ZLTUNNEL_SERVICE => 'web:1 ssh:22:2222',
           ZLTUNNEL_RECONNECT_INTERVAL => '1h',
           ZLTUNNEL_MAX_RECONNECT_INTERVAL => '1h',
           ZLTUNNEL_CONTROL => "$dir/sock");

sub agent {
    my ($env, @command) = @_;

    local %ENV = (%ENV, %$env);
    my $agent = ZLTunnel::Proc->start(name => 'agent', out => "$dir/log",
                                      cmd => [ $ZLTunnel::AGENT, @command ]);
    ok(wait_for(sub { IO::Socket::UNIX->new(Peer => "$dir/sock") }),
       "$command[0]: its control socket");
    return $agent;
}

sub link_of {
    my ($rc, $out) = with({ ZLTUNNEL_CONTROL => "$dir/sock" }, 'status',
                          'agent', '--json');
    my $status = eval { JSON::PP::decode_json($out) };

    diag("status: $rc, $out") if !$status;
    return $status ? $status->{tunnels}[0] : { server => '', services => [] };
}

my $agent = agent(\%all, 'connect');
is(link_of()->{server}, 'ws://127.0.0.1:1/env', 'a server from a variable');
is(join(' ', map { $_->{name} } @{ link_of()->{services} }), 'web ssh',
   'and services');
is($agent->stop, 0, 'it ends');

$agent = agent(\%all, 'connect', @option, '--service', 'own:1');
is(link_of()->{server}, 'ws://127.0.0.1:1/option', 'an option above them');
is(join(' ', map { $_->{name} } @{ link_of()->{services} }), 'own',
   'also of a service');
is($agent->stop, 0, 'it ends');

my ($rc, $out) = with({ %env, ZLTUNNEL_SERVICE => 'web:x' }, 'connect');
is($rc, 2, 'a wrong service in the variable');
like($out, qr/: ZLTUNNEL_SERVICE "web:x": ./, 'is told with its name');


# what stands above the file does so after a reload

$agent = agent({ ZLTUNNEL_CONTROL => "$dir/sock" }, 'run', '-c', $file,
               @option);
is(link_of()->{server}, 'ws://127.0.0.1:1/option', 'run: an option');
write_file($file, "[agent]\nserver = ws://127.0.0.1:1/new\n$rest"
                  . "[service more]\nlocal = 2\n");
($rc, $out) = with({ ZLTUNNEL_CONTROL => "$dir/sock" }, 'reload');
is($rc, 0, 'reload') or diag($out);
is(scalar @{ link_of()->{services} }, 2, 'the file was read');
is(link_of()->{server}, 'ws://127.0.0.1:1/option', 'the option stays above');
is($agent->stop, 0, 'it ends');
unlike(slurp("$dir/log"), qr/another "control"/, 'control is as it was');

done_testing();
