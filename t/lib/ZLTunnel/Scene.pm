package ZLTunnel::Scene;

# What the tests of nginx's and the agent's life cycle share: a server under
# load, things that are done to it, and what the load has to say of them.
#
#     my $s = ZLTunnel::Scene->new(long => 200);
#     $s->reload;
#     my $r = $s->report;            # { long, lost, short, short_lost, ... }
#     $s->nothing_lost;
#     $s->finish;
#
# The scene: 4 workers; two agents, "alice" over ws and "bob" over wss; each
# has a service on an assigned port and one by zltunnel_pass; on these four
# ports numbered records go back and forth on long connections, and short ones
# are opened all the time (t/lib/nt_records.c).

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;


# Options: long (connections), interval (ms between records), short (at a
# time), pause (ms); schemes => { alice => 'ws', bob => 'wss' }; agents (name
# => { more options }, or a sub that gives them); tokens => { name => rights };
# first (a sub that gives the configuration to start with); load => 0; any other
# goes to ZLTunnel->new.

sub new {
    my ($class, %o) = @_;

    my $self = bless {
        long => delete $o{long} // 200, interval => delete $o{interval} // 200,
        short => delete $o{short} // 4, pause => delete $o{pause} // 20,
        schemes => delete $o{schemes} // { alice => 'ws', bob => 'wss' },
        rights => delete $o{tokens} // {},
        more => delete $o{agents} // {}, expected => 0,
    }, $class;

    my $load = delete $o{load} // 1;
    my $first = delete $o{first} // sub { () };
    my $stream = delete $o{stream} // '';

    my $t = $self->{t} = ZLTunnel->new(
        workers => 4, connections => 8192, range => 8, %o);

    $self->{names} = [ sort keys %{ $self->{schemes} } ];

    for my $name (@{ $self->{names} }) {
        $self->{token}{$name} = $t->token($name, $self->{rights}{$name});
        $self->{pass}{$name} = $t->free_port;
        $stream .= "server { listen 127.0.0.1:$self->{pass}{$name}; "
                   . "zltunnel_pass $name-pass token=$name; }\n";
    }

    $t->write_conf(stream => $stream, $first->($t));
    $t->start;

    $self->{echo} = $t->service('echo');
    $self->start_agent($_) for @{ $self->{names} };
    $self->start_load if $load;

    return $self;
}


sub start_agent {
    my ($self, $name) = @_;

    my $port = $self->{echo}{port};
    my $tls = $self->{schemes}{$name} eq 'wss';
    my $more = $self->{more}{$name} || {};

    my $agent = $self->{agent}{$name} = $self->{t}->agent(
        token => $self->{token}{$name},
        $tls ? (tls => 1) : (), services => ["$name:$port",
                                             "$name-pass:$port"],
        ref $more eq 'CODE' ? $more->($self) : %$more);

    $self->{port}{$name} //= $agent->port($name);

    return $agent;
}


# The load alone, on ports of the test's own.  Options: ports => [], and long,
# interval, short, pause.

sub load_on {
    my ($class, $t, %o) = @_;

    my $self = bless { t => $t, long => 40, interval => 200, short => 4,
                       pause => 20, expected => 0, %o }, $class;
    $self->start_load;

    return $self;
}


sub ports {
    my ($self, @names) = @_;

    return @{ $self->{ports} } if $self->{ports};

    @names = @{ $self->{names} } unless @names;
    return map { ($self->{port}{$_}, $self->{pass}{$_}) } @names;
}


# Starts the load and waits until each long connection has had an answer.

sub start_load {
    my ($self, @names) = @_;

    my $t = $self->{t};
    my $load = $self->{load} = $t->spawn(
        'load-' . ++$self->{nloads}, $t->nettool, 'records',
        join(',', $self->ports(@names)), @$self{qw(long interval short
                                                   pause)});

    wait_for(sub { $load->output =~ /^running/m || !$load->running }, 60);

    ok($load->output =~ /^running $self->{long}$/m,
       "$self->{long} long connections exchange records")
        or diag((split /^/, $load->output)[0 .. 9]);
}


# What has come of the load so far.

sub report {
    my ($self) = @_;

    my $load = $self->{load};
    my $n = () = $load->output =~ /^report /mg;
    my $r;

    $load->say('report');
    wait_for(sub {
        my @lines = $load->output =~ /^report (.*)\n/mg;
        return @lines > $n && ($r = $lines[-1]);
    }) or die 'the load does not report';

    my @keys = qw(long lost eof reset short short_lost records slowest
                  slowest_short);
    my %r;
    @r{@keys} = $r =~ /(\d+)/g;

    return \%r;
}


# Asserts that nothing was lost since the start, or since allow_lost().

sub nothing_lost {
    my ($self, $what) = @_;

    $what = defined $what ? "$what: " : '';

    my $r = $self->report;
    my $lost = $r->{lost} + $r->{short_lost};

    is($lost - $self->{expected}, 0,
       "${what}nothing lost of $r->{long} long and $r->{short} short "
       . 'connections')
        or diag(join "\n", grep { defined }
                ($self->{load}->output =~ /^(lost .*)/mg)
                [$self->{expected} .. $self->{expected} + 9]);

    note sprintf '%sslowest record %d ms, slowest short connection %d ms',
                 $what, @$r{qw(slowest slowest_short)};

    $self->{expected} = $lost;
    return $r;
}


# What was lost up to now is accounted for.

sub allow_lost {
    my ($self) = @_;

    my $r = $self->report;
    $self->{expected} = $r->{lost} + $r->{short_lost};
    return $r;
}


# The lines of what was lost, as { class, id, seconds, how, port }.

sub lost {
    my ($self) = @_;

    my $out = $self->{load}->output;
    my @lost;

    while ($out =~
           /^lost (\S+) (\d+) (\S+) (.*) \(port (\d+), .*\)$/mg)
    {
        push @lost, { class => $1, id => $2, seconds => $3, how => $4,
                      port => $5 };
    }

    return @lost;
}


# Records go on: some come on every long connection that lives.

sub goes_on {
    my ($self, $what) = @_;

    my $before = $self->report;
    my $ok = wait_for(sub {
        $self->report->{records} > $before->{records} + 2 * $before->{long};
    });

    ok($ok, ($what // 'records') . ' go on');
}


sub end_load {
    my ($self) = @_;

    my $load = delete $self->{load} or return;

    $load->say('end');
    my $rc = $load->wait(60);
    my ($ok, $lost) = $load->output =~ /^ended (\d+) (\d+)$/m;

    ok(defined $rc, 'the load ends');
    is(($lost // -1) - $self->{expected}, 0, 'and all of it cleanly')
        or diag(join "\n", grep { defined }
                ($load->output =~ /^(lost .*)/mg)[0 .. 9]);
    $self->{expected} = 0;
}


# Has nginx read its configuration again, and waits until a full set of new
# workers serves.

sub reload {
    my ($self) = @_;

    my $t = $self->{t};
    my %old = map { $_ => 1 } $t->workers;

    $t->{nginx}->kill('HUP');

    my $ok = wait_for(sub {
        my @now = $t->workers;
        return @now == $t->{workers} && !grep { $old{$_} } @now;
    }, 30);

    ok(0, 'new workers') if !$ok;
    return keys %old;
}


# The agents are connected, to workers that do not exit, and have their ports.

sub settled {
    my ($self, @names) = @_;

    my $t = $self->{t};
    @names = @{ $self->{names} } unless @names;

    return wait_for(sub {
        my $st = $t->status or return 0;

        for my $name (@names) {
            my ($tunnel) = grep { $_->{name} eq $name
                                  && $_->{state} eq 'connected' }
                                @{ $st->{tunnels} };
            return 0 unless $tunnel;

            my ($s) = grep { $_->{name} eq $name } @{ $tunnel->{services} };
            return 0 unless $s && $s->{port} == $self->{port}{$name};
        }

        return 1;
    }, 30);
}


# Waits for processes that are no children of ours to be gone.

sub gone {
    my ($self, $timeout, @pids) = @_;

    return wait_for(sub {
        !grep { ZLTunnel::Proc::exists_pid($_) } @pids
    }, $timeout);
}


# Every worker of the master, exiting ones too.

sub all_workers {
    my ($self) = @_;

    return grep { ZLTunnel::slurp("/proc/$_/cmdline") =~ /worker process/ }
           ZLTunnel::children_of($self->{t}{nginx}->pid);
}


# In kB.

sub memory {
    my ($self, $pid) = @_;

    return (ZLTunnel::slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m)[0]
           // 0;
}


# Runs a command under the eyes of the test: sleeps while the load goes on,
# in real seconds, which are what "a second apart" means.

sub pass_time {
    my ($self, $seconds) = @_;

    my $end = time + $seconds;

    while (time < $end) {
        select undef, undef, undef, 0.05;
    }
}


sub finish {
    my ($self) = @_;

    $self->end_load;
    $self->{t}->finish;
}


1;
