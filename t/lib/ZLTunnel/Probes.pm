package ZLTunnel::Probes;

# Clients that come to several echo services all the time, and how long each has
# to wait.
#
#     my $p = ZLTunnel::Probes->new(a => '10.0.0.1:7001', b => ...);
#     $p->run(5, sub { ... });       # so many seconds, or until it is true
#     $p->end;                       # until all have an answer
#     $p->{a}                        # { n, failed => [ ... ], slowest, until }
#
# A client connects, sends some bytes, and has them back: in so many seconds
# at most, "slowest".  "until" is when the last one came that had to wait for
# longer than half a second, in seconds since the beginning; "failed" says how the
# others have ended.

use strict;
use warnings;

use Errno qw(EINPROGRESS);
use Socket;
use Time::HiRes qw(time);

use constant { EACH => 0.1, LIMIT => 20, SLOW => 0.5 };


sub new {
    my ($class, %to) = @_;

    my $self = bless { to => \%to, open => {}, due => 0, started => time },
                     $class;
    $self->{$_} = { n => 0, failed => [], slowest => 0, until => 0 }
        for keys %to;

    return $self;
}


# Returns whether the condition has come true.

sub run {
    my ($self, $seconds, $cond) = @_;

    my $end = time + $seconds;

    while (time < $end) {
        if (time >= $self->{due}) {
            $self->{due} = time + EACH;
            $self->begin($_) for keys %{ $self->{to} };
            return 1 if $cond && $cond->();
        }

        $self->turn;
    }

    return 0;
}


sub end {
    my ($self) = @_;

    $self->turn while %{ $self->{open} };
    return $self;
}


sub begin {
    my ($self, $name) = @_;

    my ($ip, $port) = split /:/, $self->{to}{$name};

    socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    IO::Handle::blocking($s, 0);

    my $c = { s => $s, name => $name, began => time, out => "probe $name",
              in => '' };
    $self->{open}{ fileno $s } = $c;
    $self->{$name}{n}++;

    connect($s, pack_sockaddr_in($port, inet_aton($ip))) || $! == EINPROGRESS
        or $self->over($c, "connect: $!");
}


sub turn {
    my ($self) = @_;

    my ($rin, $win) = ('', '');

    for my $c (values %{ $self->{open} }) {
        vec(defined $c->{sent} ? $rin : $win, fileno $c->{s}, 1) = 1;
    }

    select $rin, $win, undef, 0.02;

    for my $c (values %{ $self->{open} }) {
        my $fd = fileno $c->{s};

        if (vec $win, $fd, 1) {
            defined syswrite $c->{s}, $c->{out}
                or do { $self->over($c, "$!"); next };
            $c->{sent} = 1;

        } elsif (vec $rin, $fd, 1) {
            my $n = sysread $c->{s}, $c->{in}, 1000, length $c->{in};

            if (!$n) {
                $self->over($c, defined $n ? 'closed' : "$!");

            } elsif ($c->{in} eq $c->{out}) {
                $self->over($c);
            }

        } elsif (time - $c->{began} > LIMIT) {
            $self->over($c, 'no answer');
        }
    }
}


sub over {
    my ($self, $c, $how) = @_;

    my $r = $self->{ $c->{name} };
    my $took = time - $c->{began};
    my $since = $c->{began} - $self->{started};

    delete $self->{open}{ fileno $c->{s} };
    close $c->{s};

    if (defined $how) {
        push @{ $r->{failed} }, sprintf '%s after %.1f s, came at %.1f s', $how,
                                        $took, $since;
        return;
    }

    $r->{slowest} = $took if $took > $r->{slowest};
    $r->{until} = $since if $took > SLOW && $since > $r->{until};
}


# In a line each.

sub text {
    my ($self) = @_;

    return map {
        my $r = $self->{$_};
        sprintf '%-8s %3d clients, %d failed, slowest %.2f s, the last one that'
                . ' waited came at %.1f s', $_, $r->{n},
                scalar @{ $r->{failed} }, $r->{slowest}, $r->{until};
    } sort keys %{ $self->{to} };
}


1;
