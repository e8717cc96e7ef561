#!/usr/bin/perl

# Protects: an agent without libraries (STATIC=1) is one, hardened as the other,
# speaks TLS, and resolves names by the hosts file and name servers, whatever
# nsswitch.conf says: what that names are libraries of the machine, for another
# libc.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Names;
use ZLTunnel::Wire;

plan(skip_all => 'another build is tested')
    if grep { defined $ENV{$_} } qw(TEST_ZLT_AGENT TEST_ZLT_MODULE);

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};

my $agent = 'objs/static/zltunnel-agent';
my $root = $ZLTunnel::ROOT;

my ($rc, $out) = run('make', '-s', '-C', $root, 'STATIC=1', 'agent');
is($rc, 0, 'make agent STATIC=1') or BAIL_OUT($out);
unlike($out, qr/warning/, '.. without a warning');

subtest 'what it is' => \&static;
subtest 'names' => \&names;

done_testing();


sub static {
    my $elf = qx(readelf -hldW $root/$agent);

    unlike($elf, qr/\bINTERP\b|\bNEEDED\b/, 'no library');
    like($elf, qr/^\s*Type:\s+DYN/m, 'it is somewhere else each time');
    like($elf, qr/^\s*GNU_RELRO\b/m, 'relocations are read-only');
    like($elf, qr/\bNOW\b/, '.. all of them');
}


sub names {
    my $why = ZLTunnel::Names::missing();
    plan(skip_all => $why) if $why;

    my $t = ZLTunnel->new(workers => 1, range => 4);
    my $token = $t->token('alice');
    my $names = ZLTunnel::Names->new($t);

    ZLTunnel::write_file("$t->{dir}/names/nsswitch.conf",
                         "hosts: mymachines resolve mdns4_minimal\n");
    $names->hosts('hosts.test' => '127.0.0.1', 'localhost' => '127.0.0.1');
    $names->answers('dns.test' => '127.0.0.1', 'gone.test' => 'none');
    $names->serve;
    $t->start;

    my $echo = $t->service('echo');
    my $a = $t->agent(
        token => $token, tls => 1, program => $names->program,
        services => [ map { "$_:$_.test:$echo->{port}" } qw(hosts dns gone) ],
        env => { WITH_NAMES => "$root/$agent" });

    for my $name (qw(hosts dns)) {
        my $c = ZLTunnel::Wire::Socket->new($a->port($name));
        $c->send('hello');
        is($c->take(5, 20), 'hello', "a name of $name is resolved");
        $c->close;
    }

    my $c = ZLTunnel::Wire::Socket->new($a->port('gone'));
    ok(wait_for(sub { $a->log =~ /WARN .*"gone"/ }), 'what is none is said so')
        or diag $a->log;
    $c->close;

    my $exe = readlink "/proc/" . $a->pid . "/exe";
    is($exe, "$root/$agent", 'it was that program');

    $t->finish;
}
