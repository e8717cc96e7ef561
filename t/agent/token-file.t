#!/usr/bin/perl

# Protects: the agent's token file: read by its owner, and by a group that the
# agent is in, as the volumes of Kubernetes have it, but by nobody else; and
# renewed on disk, behind a link that is swapped, without a signal.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Copy ();
use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my ($UID, $GID, $GROUP, $OTHER) = (65534, 65534, 23456, 23457);

subtest 'who may read it' => \&modes;
subtest 'renewed' => \&renewed;

done_testing();


# The agent as a user that has only $GROUP besides its own.

sub as_user {
    my ($t) = @_;

    my $agent = "$t->{dir}/agent";

    File::Copy::copy($ZLTunnel::AGENT, $agent) or die "$agent: $!";
    chmod 0755, $agent;

    write_file("$t->{dir}/as-user", "#!/bin/sh\nexec setpriv --reuid=$UID "
        . "--regid=$GID --groups=$GROUP $agent \"\$@\"\n", 0755);

    return "$t->{dir}/as-user";
}


sub modes {
    plan(skip_all => 'only root can give files to others') if $> != 0;

    my ($rc) = run('setpriv', "--reuid=$UID", "--regid=$GID",
                   "--groups=$GROUP", 'true');
    plan(skip_all => 'there is no setpriv') if $rc != 0;

    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my $file = "$t->{dir}/token";
    my $as_user = as_user($t);

    for my $case (
        # owner, group, mode, what is said
        [ 0, $GROUP, 0440, undef, 'of root, and its group, which is ours' ],
        [ $UID, $GID, 0640, undef, 'its own, and its group' ],
        [ $UID, $GID, 0400, undef, 'its own' ],
        [ $UID, $OTHER, 0440, qr/a group that the agent is not in/,
          'its own, and a group that is not' ],
        [ $UID, $GID, 0660, qr/can be written by its group/,
          'its own, and its group may write' ],
        [ 0, $GROUP, 0444, qr/can be read by others/, "everybody's" ],
        [ 0, $OTHER, 0440, qr/cannot be read: Permission/, 'of others' ],
    ) {
        my ($uid, $gid, $mode, $said, $what) = @$case;

        write_file($file, "$token\n");
        chown $uid, $gid, $file;
        chmod $mode, $file;

        my $agent = $t->agent(
            program => $as_user, wait => 0, control => 'none',
            services => [ "e:$echo->{port}" ],
            args => [ '--token-file', $file ]);

        if ($said) {
            is($agent->{proc}->wait(20), 2, "$what: refused");
            like($agent->log, $said, "$what: told");
            next;
        }

        ok($agent->registered(1), "$what: taken") or diag($agent->log);

        my $told = () = $agent->log =~ /can be read by the group $gid as well/g;
        is($told, $mode & 070 ? 1 : 0, $mode & 070 ? "$what: with a line"
                                                   : "$what: without a line");
        $agent->stop;
    }

    $t->finish;
}


# ..data leads to a folder, and then to another one.

sub renewed {
    my $t = ZLTunnel->new;
    my $former = $t->token('alice');
    $t->start;

    my $dir = "$t->{dir}/volume";
    my $swap = sub {
        my ($folder, $text) = @_;

        mkdir "$dir/$folder";
        write_file("$dir/$folder/token", $text, 0600);
        symlink $folder, "$dir/..data.new" or die $!;
        rename "$dir/..data.new", "$dir/..data" or die $!;
    };

    mkdir $dir;
    $swap->('..v1', "$former\n");
    symlink '..data/token', "$dir/token" or die $!;

    my $echo = $t->service('echo');
    my $agent = $t->agent(
        services => [ "e:$echo->{port}" ],
        args => [ '--token-file', "$dir/token", '--reconnect-interval',
                  '200ms', '--max-reconnect-interval', '400ms' ]);

    # what is there for a moment, and is no token, counts for nothing

    $swap->('..v2', '');
    $t->{nginx}->kill('HUP');
    ok($agent->logged(qr/what was read before is kept: there is no token/),
       'an empty file: the former token is kept');
    ok(wait_for(sub { 2 <= (() = $agent->log =~ /connected as/g) }),
       'and serves');

    # the server knows another one from now on

    $t->revoke('alice');
    my $token = $t->token('alice');

    ok($agent->logged(qr/refuses the token/, 30), 'another token is wanted');

    $swap->('..v3', "$token\n");

    ok($agent->logged(qr/token's file has changed, and was read again/),
       'it is read when it is there');
    ok(wait_for(sub {
        my $e = $t->service_status('e') or return 0;
        my $c = ZLTunnel::Wire::Socket->new($e->{port}) or return 0;
        $c->send('hello');
        return ($c->take(5, 5) // '') eq 'hello';
    }), 'and serves');

    $t->finish;
}
