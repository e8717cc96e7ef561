#!/usr/bin/perl

# Protects: secrets that the server knows are said to nobody but the agent that
# they belong to.  The status and the logs have no token, no hash of one and no
# key, neither while the agent is there nor while it is waited for; and nginx -T,
# which shows the configuration, shows none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Proc qw(run);
use ZLTunnel::Wire qw(register);

my $t = ZLTunnel->new(range => 2);
my $token = $t->token('alice');
$t->start;

my $c = ZLTunnel::Wire->agent($t, $token, features => 7) or die;
$c->send_msg(register('web'));
is($c->expect('RegisterOk')->{type}, 'RegisterOk', 'an agent with a service');

my %secret = (
    token => $token,
    'its hash' => sha256_hex($token),
    'the data key' => unpack('H*', $c->{ok}{data_key}),
    'the resume key' => unpack('H*', $c->{ok}{resume_key}),
);
my @forms = map { my $s = $_; ($s, uc $s, pack 'H*', $s) } values %secret;

is(scalar(grep { length > 30 } values %secret), 4, 'all four are known here');

said_nowhere('while it is there');
$c->close;
ok(wait_for(sub { $t->status->{tunnels}[0]{state} eq 'disconnected' }),
   'it is gone');
said_nowhere('while it is waited for');

$t->finish;


sub said_nowhere {
    my ($when) = @_;

    my $status = http_get($t->{http_port}, '/tunnel/status');
    my (undef, $conf) = run($ZLTunnel::NGINX, '-T', '-p', $t->{dir}, '-c',
                            "$t->{dir}/nginx.conf", '-e', "$t->{dir}/T.log");

    like($status->{body}, qr/"alice"/, "$when: the status tells of it");
    like($conf, qr/token_file/, "$when: and nginx -T of the file");

    my $all = join "\n", $status->{head}, $status->{body}, $conf, $t->log,
                         slurp("$t->{dir}/logs/access.log");

    is(scalar(grep { index($all, $_) >= 0 } @forms), 0,
       "$when: nothing says a secret");
}
