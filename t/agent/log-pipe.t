#!/usr/bin/perl

# Protects: what runs through an agent whose log nobody reads.  Its stderr or
# stdout is a pipe or a socket that is full, because whoever should read it has
# stopped: connections go on and new ones are served, lines are dropped, and
# when there is room again the log says how many.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Fcntl qw(O_RDWR O_NONBLOCK);
use IO::Socket::UNIX;
use POSIX ();
use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $F_SETPIPE_SZ = 1031;

subtest 'stderr is a pipe' => sub { stderr_of('pipe') };
subtest 'stderr is a socket' => sub { stderr_of('socket') };
subtest 'stdout is a pipe' => \&stdout_pipe;

done_testing();


# A pipe with a name, small, and open for both sides.

sub fifo {
    my ($t, $name) = @_;

    my $path = "$t->{dir}/$name";

    POSIX::mkfifo($path, 0600) or die "$path: $!";
    sysopen my $fh, $path, O_RDWR | O_NONBLOCK or die "$path: $!";
    fcntl $fh, $F_SETPIPE_SZ, 4096 or die "F_SETPIPE_SZ: $!";

    return ($fh, $path);
}


# The agent's stderr, or stdout, as $kind: the program to be started, and what
# gives the handle that it is read from.

sub piped {
    my ($t, $kind, $fd) = @_;

    my $program = "$t->{dir}/piped";

    if ($kind eq 'pipe') {
        my ($fh, $path) = fifo($t, 'pipe');

        write_file($program, "#!/bin/sh\nexec $ZLTunnel::AGENT \"\$@\" "
                             . "$fd> $path\n", 0755);
        return ($program, sub { $fh });
    }

    my $path = "$t->{dir}/socket";
    my $listen = IO::Socket::UNIX->new(Local => $path, Listen => 1)
        or die "$path: $!";

    write_file($program, "#!$^X\nuse POSIX ();\nuse IO::Socket::UNIX;\n"
        . "my \$s = IO::Socket::UNIX->new(Peer => '$path') or die;\n"
        . "setsockopt \$s, 1, 7, pack 'i', 4096;\n"
        . "POSIX::dup2(fileno \$s, $fd);\n"
        . "exec '$ZLTunnel::AGENT', \@ARGV;\n", 0755);

    return ($program, sub {
        my $s = $listen->accept;
        $s->blocking(0);
        return $s;
    });
}


sub serves {
    my ($c) = @_;

    $c->send('x');
    return ($c->take(1, 10) // '') eq 'x';
}


sub stderr_of {
    my ($kind) = @_;

    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my ($program, $handle) = piped($t, $kind, 2);
    my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"],
                          program => $program,
                          args => [ '--log-level', 'debug' ]);
    my $port = $agent->port('e');
    my $log = $handle->();

    my $kept = ZLTunnel::Wire::Socket->new($port);
    ok(serves($kept), 'a connection is there');

    # a line each, far more than there is room for

    my $served = 0;

    for (1 .. 300) {
        my $c = ZLTunnel::Wire::Socket->new($port);
        last if !serves($c);
        $c->close;
        $served++;
    }

    is($served, 300, 'with a full log clients are served');
    ok(serves($kept), 'and the connection goes on');

    my $text = '';

    ok(wait_for(sub {
        1 while sysread $log, $text, 65536, length $text;
        return $text =~ /WARN ([1-9]\d*) lines? of the log dropped/;
    }), 'when there is room, the log says how many lines were dropped')
        or diag($text);

    is(scalar(grep { !/^\d{4}-\d\d-\d\dT[\d:]+Z [A-Z]+ / } split /\n/, $text),
       0, 'and all lines are whole');

    $kept->close;
    $t->finish;
}


sub stdout_pipe {
    my $t = ZLTunnel->new(zltunnel => 'max_services 200;');
    my $token = $t->token('alice');
    $t->start;

    my $echo = $t->service('echo');
    my ($program, $handle) = piped($t, 'pipe', 1);    # stays open
    my @services = map {
        "[service s$_-" . 'x' x 36 . "]\nlocal = 127.0.0.1:$echo->{port}\n"
        . "private = yes\n"
    } 1 .. 90;

    my $agent = $t->agent(
        token => $token, program => $program, wait => 0,
        conf => "[agent]\nserver = ${\ $t->url('ws') }\n"
                . "token_file = %%token_file%%\n\n" . join "\n", @services);

    ok($agent->in_state(undef, 'connected'), 'the agent registers and answers');
    ok($agent->logged(qr/lines? on stdout dropped/),
       'the log says what was not printed');

    $t->finish;
}
