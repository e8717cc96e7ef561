#!/usr/bin/perl

# Protects: tokens that are in the engine.  An agent waits for them, and has its
# rights by them; who is taken out is revoked within 5 s; a bad text, a missing key
# and an engine that is away leave them as they were, over a reload and the death of a
# worker, too.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep time);
use ZLTunnel;
use ZLTunnel::Engine;

plan(skip_all => ZLTunnel::Engine::missing()) if ZLTunnel::Engine::missing();

my $t = ZLTunnel->new(workers => 2, allow => [ qr/exited on signal 9/ ]);
my $engine = ZLTunnel::Engine->start($t);
my %node = $engine->node(more => 'refresh=1s token_key=zlt:tokens');
my %token = map { $_ => ZLTunnel::random_token() } qw(alice bob carol);

push @{ $t->{secrets} }, values %token;
$t->write_conf(%node);

my $conf = slurp("$t->{dir}/nginx.conf") =~ s/^ *token_file .*\n//mr;
write_file("$t->{dir}/nginx.conf", $conf);

my ($rc, $out) = run($ZLTunnel::NGINX, '-t', '-p', $t->{dir}, '-c',
                     "$t->{dir}/nginx.conf");
is($rc, 0, 'no token_file is needed') or diag($out);

sub put {
    my (@names) = @_;

    # without an end of the last line, as who sets a key may do
    $engine->ask('SET', 'zlt:tokens',
                 join "\n", map { sha256_hex($token{ $_->[0] }) . " @$_" }
                            map { ref $_ ? $_ : [$_] } @names);
}

my $echo = $t->service('echo');

sub agent {
    my ($name) = @_;
    return ZLTunnel::Agent->start($t, token => $token{$name},
                                  services => [ "$name:$echo->{port}" ]);
}

$t->start;

my $alice = agent('alice');
push @{ $t->{agents} }, $alice;
ok(wait_for(sub { $t->log =~ /verified at the moment/ }),
   'while none are known an agent is told to come again');

put('alice', 'bob');
ok(wait_for(sub { $alice->registered(1) }, 30), 'and is let in when they are')
    or diag($alice->log);

my $s = connect_to($alice->port('alice'));
print $s "a\n";
is(scalar <$s>, "a\n", 'it serves');

my $bob = $t->agent(token => $token{bob}, services => [ "bob:$echo->{port}" ]);
my $b = connect_to($bob->port('bob'));
print $b "b\n";
is(scalar <$b>, "b\n", 'another one, too');

my $begun = time;
put('alice', 'carol');
ok(wait_for(sub { $bob->log =~ /revoked|no longer|Invalid token/ }),
   'who is taken out is revoked') or diag($bob->log, $t->log);
cmp_ok(time - $begun, '<', 5 * slowdown(), 'within 5 s');
is(scalar <$b>, undef, 'its connections are cut');

sub stays {
    my ($what) = @_;

    sleep 2.5;
    print $s "c\n";
    is(scalar <$s>, "c\n", "$what: an open connection goes on");
    my $new = connect_to($alice->port('alice'));
    print $new "n\n";
    is(scalar <$new>, "n\n", "$what: new ones are served");
}

$engine->ask('SET', 'zlt:tokens', "this is no token\n" x 3);
stays('a bad text');
like($t->log, qr/\[error\].*zlt:tokens/, 'it is told');

$engine->ask('DEL', 'zlt:tokens');
stays('a missing key');
like($t->log, qr/has no key zlt:tokens/, 'it is told');

put('alice', 'carol');
sleep 2;
$engine->stop;
ok(wait_for(sub { !$t->status->{cluster}{connected} }), 'the engine is away');
$t->{nginx}->kill('HUP');
stays('away, a reload');

my $carol = $t->agent(token => $token{carol},
                      services => [ "carol:$echo->{port}" ]);
ok($carol->port('carol'), 'who was known is let in');

$_->stop for $alice, $carol, $bob;
$t->finish;
