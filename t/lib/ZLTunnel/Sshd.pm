package ZLTunnel::Sshd;

# A real sshd on loopback, and what ssh needs to be let in there without a
# question.
#
#     my $sshd = ZLTunnel::Sshd->start($t, $port) or return;
#     run('ssh', $sshd->options, '-p', $public, $sshd->user . '@127.0.0.1',
#         'true');
#     $sshd->stop;

use strict;
use warnings;

use Test::More;
use ZLTunnel;
use ZLTunnel::Middle;


# Skips the test where there is no sshd, or nobody who could log in; undef,
# and a test that failed, if it does not listen.

sub start {
    my ($class, $t, $port) = @_;

    my $program = ZLTunnel::Middle::installed('sshd');
    plan(skip_all => 'no sshd and ssh here')
        if !$program || grep { !ZLTunnel::Middle::installed($_) }
                        qw(ssh ssh-keygen);
    plan(skip_all => 'a user without a shell')
        if (getpwuid $>)[8] =~ /nologin|false/;

    my $dir = "$t->{dir}/ssh";
    mkdir $dir, 0700;

    run_ok('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', "$dir/$_")
        for qw(host user);
    run_ok('cp', "$dir/user.pub", "$dir/authorized");

    # privilege separation wants its directory, which a container may lack
    mkdir '/run/sshd', 0755 if $> == 0 && !-d '/run/sshd';

    write_file("$dir/sshd.conf", <<"EOT");
Port $port
ListenAddress 127.0.0.1
HostKey $dir/host
AuthorizedKeysFile $dir/authorized
PidFile $dir/pid
StrictModes no
UsePAM no
PasswordAuthentication no
EOT

    my $proc = $t->spawn('sshd', $program, '-D', '-e', '-f', "$dir/sshd.conf");

    if (!ok(wait_for(sub { connect_to($port) }), 'sshd listens')) {
        diag($t->tails);
        return undef;
    }

    return bless { dir => $dir, proc => $proc }, $class;
}


sub options {
    my ($self) = @_;

    return ('-i', "$self->{dir}/user", '-o', 'BatchMode=yes', '-o',
            'StrictHostKeyChecking=no', '-o', 'LogLevel=ERROR', '-o',
            "UserKnownHostsFile=$self->{dir}/known");
}


sub user { scalar getpwuid $> }

sub stop { $_[0]{proc}->stop }


1;
