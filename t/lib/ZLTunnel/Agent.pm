package ZLTunnel::Agent;

# A real agent, and what it has printed.

use strict;
use warnings;

use JSON::PP ();
use ZLTunnel::Proc qw(wait_for slurp run);

my $count = 0;


# Options: token; services => ["name:port", ...]; tls => 1 for wss; server
# (a URL); args => [...] more arguments; conf => text of a configuration file,
# in place of --service; access => ["name:port", ...] with options of the
# command "access", in place of it; env => {}; control => the control socket's
# path, one of its own by default; control_in_conf: which is no option.

sub start {
    my ($class, $t, %o) = @_;

    my $n = ++$count;
    my $dir = $t->{dir};
    my $self = bless { t => $t, n => $n, out => "$dir/logs/agent-$n.out",
                       err => "$dir/logs/agent-$n.err" }, $class;

    my @cmd = ($o{program} // $ZLTunnel::AGENT);

    if (defined $o{token}) {
        $self->{token_file} = "$dir/agent-$n.token";
        ZLTunnel::write_file($self->{token_file}, "$o{token}\n", 0600);
    }

    if (defined $o{conf}) {
        $self->{conf} = "$dir/agent-$n.conf";
        $self->write_conf($o{conf});
        push @cmd, 'run', '-c', $self->{conf};

    } else {
        push @cmd, $o{access} ? 'access' : 'connect', '--server',
            $o{server} // $t->url($o{tls} ? 'wss' : 'ws');
        push @cmd, '--token-file', $self->{token_file} if $self->{token_file};
        push @cmd, map { ('--service', $_) } @{ $o{services} || [] };
        push @cmd, @{ $o{access} || [] };
    }

    $self->{control} = $o{control} // "$dir/agent-$n.sock";
    push @cmd, '--control', $self->{control} unless $o{control_in_conf};

    push @cmd, '--ca-file', ZLTunnel->certs . '/ca.pem'
        if $o{tls} && !$o{conf};
    push @cmd, @{ $o{args} || [] };

    $self->{cmd} = \@cmd;
    $self->{env} = $o{env};
    $self->launch;

    return $self;
}


# %%token_file%% in a configuration stands for the agent's token file.

sub write_conf {
    my ($self, $text) = @_;

    $text =~ s/%%token_file%%/$self->{token_file}/g;
    ZLTunnel::write_file($self->{conf}, $text, 0600);
}


# Starts the process, again too; what it prints is added to the same files.

sub launch {
    my ($self) = @_;

    $self->{skip} = -s $self->{out} // 0;
    $self->{proc} = ZLTunnel::Proc->start(
        name => "agent $self->{n}", cmd => $self->{cmd}, out => $self->{out},
        err => $self->{err}, env => $self->{env});
}


sub pid { $_[0]{proc}->pid }

sub stop { my ($self, @args) = @_; $self->{proc}->stop(@args) }

sub log { slurp($_[0]{err}) }


# The services it has printed since it was started, by name: { proto, local,
# public, port, lines }; the last line of a name counts.

sub services {
    my ($self) = @_;

    my %services;
    my $out = substr slurp($self->{out}), $self->{skip};

    while ($out =~ /^(\S+)\s+(tcp|udp)\s+(\S+)\s+->\s+(.+)$/mg) {
        my ($name, $proto, $local, $public) = ($1, $2, $3, $4);

        $services{$name} = {
            proto => $proto, local => $local, public => $public,
            port => $public =~ /:(\d+)$/ ? $1 : undef,
            lines => ($services{$name}{lines} // 0) + 1,
        };
    }

    return \%services;
}


# Waits for so many services; their hash, or undef.

sub registered {
    my ($self, $n, $timeout) = @_;

    return wait_for(sub {
        my $services = $self->services;
        return keys %$services >= $n && $services;
    }, $timeout // 20);
}


# The access sessions it has printed since it was started, by name: { local,
# port, until, span }; the last line of a name counts.

sub accesses {
    my ($self) = @_;

    my %accesses;
    my $out = substr slurp($self->{out}), $self->{skip};

    while ($out =~ /^Access (\S+) at (\S+)(?: until (.+) \((.+)\))?$/mg) {
        my ($name, $local, $until, $span) = ($1, $2, $3, $4);

        $accesses{$name} = { local => $local, until => $until, span => $span,
                             port => $local =~ /:(\d+)$/ ? $1 : undef };
    }

    return \%accesses;
}


# Waits for an access session: its local port, or its path.

sub granted {
    my ($self, $name, $timeout) = @_;

    my $x = wait_for(sub {
        return $self->accesses->{$name} || !$self->{proc}->running;
    }, $timeout // 20);

    return ref $x ? $x->{port} // $x->{local} =~ s/^unix://r : undef;
}


# Its sessions, as "sessions --json" tells them.

sub sessions {
    my ($self) = @_;

    my ($status, $out) = $self->ask('sessions', '--json');
    return $status == 0 ? JSON::PP::decode_json($out)->{sessions} : undef;
}


# One of them.

sub session {
    my ($self, $name) = @_;
    return (grep { $_->{name} eq $name } @{ $self->sessions || [] })[0];
}


sub port {
    my ($self, $name) = @_;

    return $self->services->{$name}{port};
}


# Asks it by its control socket: (exit code, output).

sub ask {
    my ($self, @words) = @_;

    return run({ timeout => 20 }, $ZLTunnel::AGENT, @words, '--control',
               $self->{control});
}


# What its status says, decoded; undef where it does not answer.

sub status {
    my ($self, @name) = @_;

    my ($rc, $out) = $self->ask('status', '--json', @name);

    return $rc == 0 ? JSON::PP::decode_json($out) : undef;
}


# The link of that name, the first one without a name, or undef.

sub link {
    my ($self, $name) = @_;

    my $status = $self->status or return undef;
    my ($link) = grep { !defined $name || $_->{name} eq $name }
                      @{ $status->{tunnels} };

    return $link;
}


# Waits until a link is in a state.

sub in_state {
    my ($self, $name, $state, $timeout) = @_;

    return wait_for(sub {
        my $link = $self->link($name) or return 0;
        return $link->{state} eq $state && $link;
    }, $timeout // 20);
}


# Waits for a line of its log.

sub logged {
    my ($self, $re, $timeout) = @_;

    return wait_for(sub { $self->log =~ $re }, $timeout // 20);
}


1;
