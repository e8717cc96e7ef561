#!/usr/bin/perl

# Protects: what an engine does that it should not.  Gone, stopped, full, talking
# nonsense, loading, a replica, without the password, behind another address:
# connections and local services do not mind, what others have stays, each is told
# by its own text and not more than once a minute, and all is well again once the
# engine is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);
use ZLTunnel;
use ZLTunnel::Engine;

plan(skip_all => ZLTunnel::Engine::missing()) if ZLTunnel::Engine::missing();

my $t = ZLTunnel->new(workers => 2);
my $engine = ZLTunnel::Engine->start($t);
my $ghost = 'ab' x 16;
my %node = $engine->node;
my $token = $t->token('alice');

write_file("$t->{dir}/password", "open sesame\nnot this line\n", 0600);
$t->write_conf(%node);
$t->start;

my $echo = $t->service('echo');
my $agent = $t->agent(token => $token, services => [ "web:$echo->{port}" ]);
my $s = connect_to($agent->port('web'));

sub at { $t->status->{cluster} }

ok(wait_for(sub { at()->{published} == 1 }), 'the engine is told of a service');
other();

subtest 'killed' => \&killed;
subtest 'stopped' => \&stopped;
subtest 'emptied' => \&emptied;
subtest 'full' => \&full;
subtest 'nonsense' => \&nonsense;
subtest 'refusals' => \&refusals;
subtest 'a password' => \&password;

$agent->stop;
$t->finish;


# Another node has a service, and lives for long.

sub other {
    $engine->tell([ 'HSET', "zlt:node:$ghost", node => '127.0.0.9:1', 'cd' x 16,
                    'tcp ghost token=alice' ],
                  [ 'EXPIRE', "zlt:node:$ghost", 1000 ],
                  [ 'SADD', 'zlt:nodes', $ghost ],
                  [ 'PUBLISH', 'zlt:changes',
                    "$ghost\n+" . 'cd' x 16 . " tcp ghost token=alice\n" ]);

    # figures are as old as a quarter of a second
    sleep 0.6;
    ok(wait_for(sub { at()->{services} == 1 }), 'another node is known');
}


# what has to go on whatever the engine does

sub goes_on {
    my ($what) = @_;

    print $s "still\n";
    is(scalar <$s>, "still\n", "$what: an open connection goes on");

    my $new = connect_to($agent->port('web'));
    print $new "new\n";
    is(scalar <$new>, "new\n", "$what: a new one is served");
    is(at()->{services}, 1, "$what: what others have stays");
}


sub comes_back {
    ok(wait_for(sub { at()->{connected} && at()->{published} == 1
                      && keys %{ $engine->nodes } }, 30), 'all is well again');
}


# the lines of the log with a text since the last call for it

my %seen;

sub told {
    my ($re) = @_;

    my $n = () = $t->log =~ /\[error\].*the engine.*$re/g;
    my $new = $n - ($seen{$re} // 0);
    $seen{$re} = $n;

    return $new;
}


sub killed {
    $engine->stop;
    ok(wait_for(sub { !at()->{connected} }), 'it is known to be away');
    goes_on('killed');
    sleep 1;
    is(told(qr/is away/), 1, 'told once');
    like(at()->{last_error}, qr/connect|closed/, 'the status says why');

    $engine->again;
    comes_back();
    like($t->log, qr/the engine \S+ of "cluster" is back after \d+ s/,
         'which is told');
    other();
}


sub stopped {
    $engine->kill('STOP');
    ok(wait_for(sub { !at()->{connected} }, 30), 'it is known to be away');
    like(at()->{last_error}, qr/in time/, 'it does not answer');
    goes_on('stopped');
    $engine->kill('CONT');
    comes_back();
}


sub emptied {
    my $id = (grep { $_ ne $ghost } keys %{ $engine->nodes })[0];

    $engine->tell([ 'FLUSHALL' ]);
    ok(wait_for(sub { $engine->nodes->{$id}
                      && 2 == keys %{ $engine->nodes->{$id} } }),
       'all is told again');
    ok(wait_for(sub { $t->log =~ /has lost what this node had told it/ }),
       'it is told');
    is(at()->{services}, 1, 'what others have had stays for the time of a life');
    ok(wait_for(sub { at()->{services} == 0 }), 'and goes, since nobody tells it');
    other();
}


sub full {
    $engine->tell([ qw(CONFIG SET maxmemory 1) ]);

    my $more = $t->agent(token => $t->token('bob'),
                         services => [ "more:$echo->{port}" ]);

    ok(wait_for(sub { told(qr/OOM command not allowed/) }), 'it is full');
    goes_on('full');
    is(at()->{connected}, JSON::PP::true, 'it is there');

    $engine->tell([ qw(CONFIG SET maxmemory 0) ]);
    ok(wait_for(sub { grep { / more / }
                      map { values %$_ } values %{ $engine->nodes } }),
       'what it did not take is told again');
    $more->stop;
}


# Whoever connects gets what ->() writes.

sub nonsense {
    $engine->stop;

    my @nonsense = ("HTTP/1.1 400 Bad Request\r\n\r\n", "*100000000\r\n",
                    "*1000000000000\r\n", '$' . "2000000000\r\n" . 'x' x 100_000,
                    "*2\r\n" x 50, "\0" x 10_000, "+OK\r\n" x 100, '');
    my $listen = IO::Socket::INET->new(Listen => 20, ReuseAddr => 1,
                                       LocalAddr => '127.0.0.1',
                                       LocalPort => $engine->{port});
    my $pid = fork() // die;

    if (!$pid) {
        local $SIG{PIPE} = 'IGNORE';
        while (my $c = $listen->accept) {
            my $say = shift @nonsense;
            push @nonsense, $say;
            syswrite $c, $say;
            sleep 0.2;
        }
        POSIX::_exit(0);
    }

    close $listen;

    ok(wait_for(sub { told(qr/is not what an engine does|has not? asked/) }, 30),
       'nonsense is told');
    sleep 1;
    goes_on('nonsense');

    kill 'KILL', $pid;
    waitpid $pid, 0;
    $engine->again;
    comes_back();
    other();
}


# What an engine may answer to whatever it is asked.

sub refusals {
    $engine->stop;

    # the last two are not followed
    for my $text ('LOADING Redis is loading the dataset in memory',
                  "READONLY You can't write against a read only replica.",
                  'MOVED', 'ASK x') {

        my $listen = IO::Socket::INET->new(Listen => 20, ReuseAddr => 1,
                                           LocalAddr => '127.0.0.1',
                                           LocalPort => $engine->{port});
        my $pid = fork() // die;

        if (!$pid) {
            while (my $c = $listen->accept) {
                sysread $c, my $asked, 1000;
                syswrite $c, "-$text\r\n" x 10;
                sleep 0.1;
            }
            POSIX::_exit(0);
        }

        close $listen;

        my ($word) = $text =~ /^(?:MOVED|ASK)/ ? 'keys are at|MOVED'
                     : quotemeta $text;
        ok(wait_for(sub { at()->{last_error} =~ /$word/ }, 30), $text)
            or diag(at()->{last_error});
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }

    goes_on('refusals');
    $engine->again;
    comes_back();
    other();
}


sub password {
    $engine->stop;
    $engine->again(requirepass => 'open sesame');

    ok(wait_for(sub { told(qr/NOAUTH.*password_file=/) }, 30),
       'that there is a password is told');

    %node = $engine->node(
        more => "refresh=1s password_file=$t->{dir}/password");
    $t->write_conf(%node);
    $t->{nginx}->kill('HUP');

    ok(wait_for(sub { at()->{connected} }, 30), 'with it the engine is there');
    unlike($t->log, qr/sesame/, 'it is not in the log');
}
