#!/usr/bin/perl

# Protects: "include" in the agent's configuration.  Which files are read, in
# which order, with which paths; that an error names its file and line; that no
# circle of files and no pattern of nothing hurts; that a reload sees new ones.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use Test::More;
use ZLTunnel;

my $dir = File::Temp::tempdir(CLEANUP => 1);
mkdir "$dir/$_" for qw(etc etc/services.d etc/[odd]);

my $agent = "[agent]\nserver = ws://127.0.0.1:1/\ntoken_file = token\n";
write_file("$dir/etc/token", "secret\n", 0600);
write_file("$dir/etc/services.d/own.token", "secret\n", 0600);


# Files by name below etc/, and what "check" is to say: the exit code and a
# pattern.

sub checked {
    my ($what, $files, $rc, $re) = @_;

    write_file("$dir/etc/$_", $files->{$_}) for keys %$files;
    my ($got, $out) = run({ timeout => 10 }, $ZLTunnel::AGENT, 'check', '-c',
                          "$dir/etc/agent.conf");
    is($got, $rc, "$what: exit code") or diag($out);
    like($out, $re, "$what: what it says");
    unlink map { "$dir/etc/$_" } keys %$files;
}

my $etc = "\Q$dir/etc";
my $web = "[service web]\nlocal = 1\n";

checked('a pattern', {
    'agent.conf' => "include = services.d/*.conf\n$agent",
    'services.d/b.conf' => $web, 'services.d/a.conf' => "[service a]\nlocal=2",
    'services.d/a.conf~' => 'no' }, 0, qr/OK, 2 services/);
checked('in the midst of a section, and again', {
    'agent.conf' => "[agent]\ninclude = services.d/a.*\n"
                    . "server = ws://127.0.0.1:1/\ninclude=services.d/b.*\n"
                    . "  services.d/c.*\ntoken_file = token\n",
    'services.d/b.conf' => $web, 'services.d/c.conf' => "[service c]\nlocal=2",
    'services.d/a.conf' => "[service a]\nlocal=2" }, 0, qr/OK, 3 services/);
checked('nothing there', {
    'agent.conf' => "include = none.d/*.conf\ninclude = no*\n$agent$web" },
    0, qr/OK, 1 service/);
checked('a file that is missing', {
    'agent.conf' => "$agent\ninclude = none.conf\n$web" }, 2,
    qr/$etc\/agent.conf:5: "include": there is no file "none.conf"/);
checked('an error in one', {
    'agent.conf' => "$agent\ninclude = services.d/*.conf\n$web",
    'services.d/a.conf' => "\n[service x]\nlocal = zero\n" }, 2,
    qr/$etc\/services.d\/a.conf:3: "local" is "zero"/);
checked('a section that goes on in none', {
    'agent.conf' => "$agent\ninclude = services.d/*.conf\n$web",
    'services.d/a.conf' => "protocol = udp\n" }, 2,
    qr/$etc\/services.d\/a.conf:1: a key before the first section/);
checked('a service of both', {
    'agent.conf' => "$agent\ninclude = services.d/*.conf\n$web",
    'services.d/a.conf' => "\n$web" }, 2,
    qr/$etc\/services.d\/a.conf:2: the service "web" is there twice/);
checked('paths within', {
    'agent.conf' => "include = services.d/*.conf\n",
    'services.d/a.conf' => "[tunnel t]\nserver = ws://127.0.0.1:1/\n"
                           . "token_file = own.token\nlocal_port = 1\n" },
    0, qr/OK, 1 tunnel/);
checked('an absolute path', {
    'agent.conf' => "include = $dir/etc/s*.d/*.conf\n$agent",
    'services.d/a.conf' => $web }, 0, qr/OK, 1 service/);
checked('one that includes', {
    'agent.conf' => "include = services.d/a.conf\n$agent",
    'services.d/a.conf' => "include = b.conf\n", 'services.d/b.conf' => $web },
    0, qr/OK, 1 service/);
checked('itself', { 'agent.conf' => "include = *.conf\n$agent$web" }, 2,
    qr/$etc\/agent.conf:1: "include": "\S+agent.conf" is part of the conf/);
checked('a circle', {
    'agent.conf' => "include = services.d/a.conf\n$agent$web",
    'services.d/a.conf' => "\ninclude = ../agent.conf\n" }, 2,
    qr/$etc\/services.d\/a.conf:2: "include": "\S+" is part of the conf/);
checked('too deep', {
    'agent.conf' => "include = services.d/1\n$agent$web",
    map { ("services.d/$_" => 'include = ' . ($_ + 1) . "\n") } 1 .. 9 }, 2,
    qr/$etc\/services.d\/8:1: .*more than 8 deep/);
checked('a folder', {
    'agent.conf' => "include = services.d\n$agent$web" }, 2,
    qr/agent.conf:1: "include": "\S+services.d" is not a file/);
checked('no name', { 'agent.conf' => "include =\n$agent$web" }, 2,
    qr/agent.conf:1: "include" is empty/);

# the folder's name is no pattern

write_file("$dir/etc/[odd]/agent.conf", "include = *.inc\n$agent");
write_file("$dir/etc/[odd]/a.inc", $web);
write_file("$dir/etc/[odd]/token", "secret\n", 0600);
my ($rc, $out) = run($ZLTunnel::AGENT, 'check', '-c',
                     "$dir/etc/[odd]/agent.conf");
like($out, qr/OK, 1 service/, 'a folder with brackets in its name');

done_testing();
