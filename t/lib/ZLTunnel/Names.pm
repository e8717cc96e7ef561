package ZLTunnel::Names;

# The names of an agent: a hosts file and a name server of the test's own, by a
# mount namespace around the agent, and the test's network namespace for port
# 53.
#
#     my $names = ZLTunnel::Names->new($t);       # skips where not allowed
#     $names->hosts('web.test' => '::1', 'web.test' => '127.0.0.1');
#     $names->answers('db.test' => '127.0.0.1', 'gone.test' => 'none',
#                     'many.test' => '127.0.0.2,127.0.0.3,::1');
#     my $agent = $t->agent(..., program => $names->program);
#
# The name server does not answer for names that it was not told of.  For other
# records than addresses there is dnsmasq, with lines of its configuration, which
# may be called again:
#
#     $names->dnsmasq('host-record=web.test,127.0.0.1', 'local=/test/');

use strict;
use warnings;

use IO::Socket::INET;
use Test::More;

use ZLTunnel::Net;
use ZLTunnel::Proc qw(run slurp wait_for);


# Options: resolv, lines for resolv.conf.

sub new {
    my ($class, $t, %o) = @_;

    my $self = bless { t => $t, dir => "$t->{dir}/names" }, $class;

    mkdir $self->{dir};
    $self->hosts;
    $self->answers;
    ZLTunnel::write_file("$self->{dir}/resolv.conf", "nameserver 127.0.0.1\n"
                         . ($o{resolv} // ''));
    ZLTunnel::write_file("$self->{dir}/nsswitch.conf", "hosts: files dns\n");

    my @files = grep { -e "/etc/$_" } qw(hosts resolv.conf nsswitch.conf);
    my $mounts = join ' && ',
                 map { "mount --bind $self->{dir}/$_ /etc/$_" } @files;

    $self->{program} = "$t->{dir}/with-names";
    ZLTunnel::write_file($self->{program}, "#!/bin/sh\n"
        . "exec unshare --mount -- sh -c '$mounts && "
        . "exec \"\$@\"' sh \"\${WITH_NAMES:-$ZLTunnel::AGENT}\" \"\$@\"\n",
        0755);

    return $self;
}


# Why this cannot be had here, or undef.

sub missing {
    return 'there is no network namespace' if !ZLTunnel::Net::own();
    return 'there is no /etc/resolv.conf' if !-e '/etc/resolv.conf';

    my ($rc) = run('unshare', '--mount', '--', 'mount', '--bind', '/etc/hosts',
                   '/etc/resolv.conf');
    return $rc == 0 ? undef : 'there is no mount namespace';
}


sub program { $_[0]{program} }


# In place, since it is mounted.

sub hosts {
    my ($self, @pairs) = @_;

    my $text = "127.0.0.1 localhost\n";

    while (my ($name, $address) = splice @pairs, 0, 2) {
        $text .= "$address $name\n";
    }

    ZLTunnel::write_file("$self->{dir}/hosts", $text, 0644);
}


# What the name server answers from now on; "none": there is no such name.

sub answers {
    my ($self, %answers) = @_;

    my $file = "$self->{dir}/answers";

    ZLTunnel::write_file("$file.new",
                         join '', map { "$_ $answers{$_}\n" } keys %answers);
    rename "$file.new", $file;
}


# Starts dnsmasq instead, or anew with other lines.

sub dnsmasq {
    my ($self, @lines) = @_;

    $self->{dnsmasq}->stop if $self->{dnsmasq};

    ZLTunnel::write_file("$self->{dir}/dnsmasq.conf",
                         join '', map { "$_\n" } @lines);

    $self->{dnsmasq} = ZLTunnel::Proc->start(
        name => 'dnsmasq', out => "$self->{dir}/dnsmasq.log",
        cmd => [ qw(dnsmasq --keep-in-foreground --log-facility=- --log-queries
                    --user=root --port=53 --bind-interfaces
                    --listen-address=127.0.0.1 --no-resolv --no-hosts
                    --pid-file=), "--conf-file=$self->{dir}/dnsmasq.conf" ]);
    push @{ $self->{t}{procs} }, $self->{dnsmasq};

    wait_for(sub { ZLTunnel::connect_to(53)
                   || !$self->{dnsmasq}->running }, 20)
        && $self->{dnsmasq}->running
        or die 'no dnsmasq: ' . slurp("$self->{dir}/dnsmasq.log");
}


# Starts it.

sub serve {
    my ($self) = @_;

    my $socket = IO::Socket::INET->new(Proto => 'udp', LocalPort => 53,
                                       LocalAddr => '127.0.0.1')
        or die "port 53: $!";

    my $proc = ZLTunnel::Proc->start(
        name => 'name server', out => "$self->{dir}/asked",
        code => sub { $self->serving($socket) });

    push @{ $self->{t}{procs} }, $proc;
}


sub serving {
    my ($self, $socket) = @_;

    $SIG{TERM} = 'DEFAULT';
    STDOUT->autoflush(1);

    while (my $from = $socket->recv(my $query, 512)) {
        my ($id) = unpack 'n', $query;
        my @labels = unpack 'x12 (C/a)*', $query;
        my ($empty) = grep { $labels[$_] eq '' } 0 .. $#labels;
        my $name = join '.', @labels[0 .. $empty - 1];
        my $end = 12 + length($name) + 2;
        my ($type) = unpack "x$end n", $query;
        my $question = substr $query, 12, $end + 4 - 12;

        print "$name ", $type == 1 ? 'A' : $type == 28 ? 'AAAA' : $type, "\n";

        my %answers = map { split } split /\n/, slurp("$self->{dir}/answers");
        my $answer = $answers{$name} // next;
        my $family = $type == 28 ? Socket::AF_INET6() : Socket::AF_INET();
        my @found = $answer eq 'none' || $type != 1 && $type != 28 ? ()
                    : grep { defined }
                      map { Socket::inet_pton($family, $_) }
                      split /,/, $answer;

        $socket->send(
            pack('n n n n n n', $id, $answer eq 'none' ? 0x8183 : 0x8180, 1,
                 scalar @found, 0, 0)
            . $question
            . join('', map { pack('n n n N n/a', 0xc00c, $type, 1, 1, $_) }
                       @found), 0, $from);
    }
}


# How often it has been asked for the address of a name.

sub asked {
    my ($self, $name) = @_;

    my @lines = slurp("$self->{dir}/asked") =~ /^\Q$name\E A$/mg;
    return scalar @lines;
}


1;
