package ZLTunnel::Many;

# An HTTP client that has many requests under way, in one process, and bytes
# to recognize a part of a body by:
#
#     my @r = many($port, 50, [ map { { line => "GET /$_" } } 1 .. 1000 ]);
#
# A request is { line, headers => {}, body }; what comes of it is in it
# afterwards: status, head, answer (the body), whole (1 if the answer had all
# that its header promises), time.

use strict;
use warnings;

use Exporter 'import';
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Time::HiRes qw(time);

use ZLTunnel::App ();
use ZLTunnel::Proc qw(slowdown);

our @EXPORT = qw(many pattern part start_request feed);


my $pattern = '';

# So many bytes of which no two parts look alike, nor are compressible.

sub pattern {
    my ($n) = @_;

    if (length $pattern < $n) {
        my $seed = 2463534242;
        my @words;

        for (0 .. $n / 4) {
            $seed ^= $seed << 13 & 0xffffffff;
            $seed ^= $seed >> 17;
            $seed ^= $seed << 5 & 0xffffffff;
            push @words, $seed;
        }

        $pattern = pack 'N*', @words;
    }

    return substr $pattern, 0, $n;
}

sub part { substr $pattern, $_[0], $_[1] }


# Options: turn => a sub that is called now and then; timeout, of all.

sub many {
    my ($port, $parallel, $requests, %o) = @_;

    my @left = @$requests;
    my %open;
    my $end = time + ($o{timeout} // 60) * slowdown();

    while (@left || %open) {
        while (@left && keys %open < $parallel) {
            my $r = start_request($port, shift @left) or next;
            $open{ fileno $r->{s} } = $r;
        }

        my ($rin, $win) = ('', '');
        for my $fd (keys %open) {
            vec($rin, $fd, 1) = 1;
            vec($win, $fd, 1) = 1 if length $open{$fd}{out};
        }

        last if time > $end;
        $o{turn}->() if $o{turn};
        select($rin, $win, undef, 0.2) > 0 or next;

        for my $fd (keys %open) {
            next unless vec($rin, $fd, 1) || vec($win, $fd, 1);
            delete $open{$fd} if feed($open{$fd});
        }
    }

    close $_->{s} for values %open;
    return @$requests;
}


# Connects and asks; more is up to feed().

sub start_request {
    my ($port, $r) = @_;

    $r->{status} = 0;
    $r->{in} = '';
    $r->{start} = time;
    $r->{s} = ZLTunnel::connect_to($port) or return undef;
    $r->{s}->blocking(0);

    my %h = (Host => 'localhost', Connection => 'close',
             %{ $r->{headers} || {} });
    $h{'Content-Length'} = length $r->{body} if defined $r->{body};

    $r->{out} = join "\r\n", "$r->{line} HTTP/1.1",
                     (map { "$_: $h{$_}" } sort keys %h), '',
                     $r->{body} // '';
    return $r;
}


# Sends and receives what there is; true at the end of it.

sub feed {
    my ($r) = @_;

    if (length $r->{out}) {
        my $n = syswrite $r->{s}, $r->{out}, 262144;
        substr $r->{out}, 0, $n, '' if $n;
    }

    my $n = sysread $r->{s}, $r->{in}, 262144, length $r->{in};
    return 0 if $n || (!defined $n && $!{EAGAIN});

    close $r->{s};

    $r->{time} = time - $r->{start};
    $r->{whole} = ZLTunnel::App::complete($r->{in}) ? 1 : 0;

    my ($head, $body) = split /\r\n\r\n/, delete $r->{in}, 2;
    ($r->{status}) = ($head // '') =~ /^HTTP\/1\.1 (\d+)/;
    $r->{status} //= 0;
    $r->{head} = $head;
    $r->{answer} = ZLTunnel::App::unchunk($head, $body // '');

    return 1;
}


1;
