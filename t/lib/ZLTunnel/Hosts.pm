package ZLTunnel::Hosts;

# A client that asks for many hosts all the time, in a process of its own, by
# kept connections of HTTP/1.1 or of HTTP/2, and looks who answers:
#
#     my $c = ZLTunnel::Hosts->start($t, port => $front, http2 => 1,
#         owner => { 'a.t.example' => 'alice' },      # of the names
#         serves => { 8001 => 'alice' },              # the services' ports
#         paths => [ '/', '/cached/' ]);
#     $c->goes_on(500) or die;                        # so many right ones more
#     my $r = $c->stop;            # { good, wrong => [...], 404 => n, ... }
#
# The services answer "PORT HOST URI", of the request that came there.  A request
# without an answer is made again: connections end when nginx reads its
# configuration again, or a worker dies.  What had begun is counted as "half".

use strict;
use warnings;

use JSON::PP ();
use POSIX ();
use Time::HiRes qw(time);

use ZLTunnel::Proc qw(wait_for slurp);

my $count = 0;


sub start {
    my ($class, $t, %o) = @_;

    my $self = bless { %o, file => "$t->{dir}/hosts-" . ++$count }, $class;

    $self->{pid} = fork() // die "fork: $!";
    return $self if $self->{pid};

    $SIG{PIPE} = 'IGNORE';
    eval { $self->run; 1 } or print STDERR "# hosts: $@";
    POSIX::_exit(0);
}


sub report {
    my $text = slurp("$_[0]{file}.json");
    return length $text ? JSON::PP::decode_json($text) : { good => 0 };
}


sub goes_on {
    my ($self, $n, $timeout) = @_;

    my $before = $self->report->{good};
    return wait_for(sub { $self->report->{good} >= $before + $n },
                    $timeout // 60);
}


sub stop {
    my ($self) = @_;

    ZLTunnel::write_file("$self->{file}.stop", '');
    waitpid $self->{pid}, 0;

    return $self->report;
}


# What follows runs in the process of its own.

sub run {
    my ($self) = @_;

    my $http2 = $self->{http2};
    my ($said, %open) = (0);

    $self->{r} = { good => 0, wrong => [], again => 0 };
    $self->{names} = [ sort keys %{ $self->{owner} } ];
    srand 1 + ($http2 ? 1 : 0);

    my $stop;

    while (!$stop || %open) {
        if (time - $said > 0.1) {
            $said = time;
            $self->tell;
            $stop ||= -e "$self->{file}.stop" && time + 20;
        }

        last if $stop && time > $stop;

        while (!$stop && keys %open < ($http2 ? 3 : 12)) {
            my $c = $self->open_one($http2) or last;
            $open{ fileno $c->{s} } = $c;
        }

        my ($rin, $win) = ('', '');

        for my $c (values %open) {
            $self->fill($c) if !$stop;
            vec($rin, fileno $c->{s}, 1) = 1;
            vec($win, fileno $c->{s}, 1) = 1 if length $c->{out};
        }

        if (select($rin, $win, undef, 0.1) > 0) {
            for my $fd (keys %open) {
                my $c = $open{$fd};
                vec($rin, $fd, 1) || vec($win, $fd, 1) or next;
                $self->turn($c);
                delete $open{$fd} if $c->{gone};
            }
        }

        for my $fd ($stop ? keys %open : ()) {
            delete $open{$fd} if !%{ $open{$fd}{asked} };
        }
    }

    $self->tell;
}


sub tell {
    my ($self) = @_;

    ZLTunnel::write_file("$self->{file}.new",
                         JSON::PP::encode_json($self->{r}));
    rename "$self->{file}.new", "$self->{file}.json";
}


sub open_one {
    my ($self, $http2) = @_;

    my $s = ZLTunnel::connect_to($self->{port}) or return;
    $s->blocking(0);

    return { s => $s, in => '', asked => {}, next => 1, http2 => $http2,
             out => !$http2 ? '' : "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                    . frame(4, 0, 0, '') . frame(8, 0, 0, pack 'N', 0x7fff0000)
    };
}


sub fill {
    my ($self, $c) = @_;

    return if $c->{last};

    while (keys %{ $c->{asked} } < ($c->{http2} ? 8 : 1)) {
        my $q = pop @{ $self->{again} } // $self->question;
        my $post = $q->{method} eq 'POST';
        my $body = $post ? 'x' x 10 : '';

        $c->{asked}{ $c->{next} } = $q;

        if (!$c->{http2}) {
            $c->{out} .= "$q->{method} $q->{path} HTTP/1.1\r\nHost: $q->{host}"
                . "\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
            next;
        }

        $c->{out} .= frame(1, $post ? 4 : 5, $c->{next}, join '', map {
            my ($name, $value) = @$_;
            "\0" . chr(length $name) . $name . chr(length $value) . $value;
        } [ ':method', $q->{method} ], [ ':scheme', 'http' ],
          [ ':authority', $q->{host} ], [ ':path', $q->{path} ]);
        $c->{out} .= frame(0, 1, $c->{next}, $body) if $post;
        $c->{next} += 2;
    }
}


sub question {
    my ($self) = @_;

    my $paths = $self->{paths};
    my $path = $paths->[ rand @$paths ];

    return { host => $self->{names}[ rand @{ $self->{names} } ],
             method => $path !~ /cached/ && rand() < 0.2 ? 'POST' : 'GET',
             path => $path . ($path =~ /cached/ ? int rand 3
                                                : ++$self->{n}) };
}


sub frame {
    my ($type, $flags, $stream, $payload) = @_;

    return substr(pack('N', length $payload), 1)
           . pack('C C N', $type, $flags, $stream) . $payload;
}


sub turn {
    my ($self, $c) = @_;

    if (length $c->{out}) {
        my $n = syswrite $c->{s}, $c->{out};
        substr $c->{out}, 0, $n, '' if $n;
    }

    my $n = sysread $c->{s}, $c->{in}, 65536, length $c->{in};
    my $end = !$n && !(!defined $n && $!{EAGAIN});

    $c->{http2} ? $self->read_http2($c) : $self->read_http1($c);

    if ($end) {
        close $c->{s};
        $c->{gone} = 1;
        $self->again($_) for values %{ $c->{asked} };
    }

    $c->{gone} = 1 if $c->{last} && !%{ $c->{asked} };
}


sub again {
    my ($self, $q) = @_;

    $self->{r}{ $q->{begun} ? 'half' : 'again' }++;
    push @{ $self->{again} }, { %$q, begun => 0, body => undef };
}


sub read_http1 {
    my ($self, $c) = @_;

    my ($q) = values %{ $c->{asked} } or return;

    $q->{begun} = 1 if length $c->{in};
    $c->{in} =~ m{^HTTP/1\.1\ (\d+)\ (.*?)\r\n\r\n}s or return;

    my ($status, $head, $len) = ($1, $2, $+[0]);
    my ($size) = $head =~ /^Content-Length: (\d+)/mi;
    return if length($c->{in}) < $len + ($size // 0);

    $self->answer($q, $status, substr $c->{in}, $len, $size // 0);

    substr $c->{in}, 0, $len + ($size // 0), '';
    $c->{asked} = {};
    $c->{last} = 1 if $head =~ /^Connection: close/mi || !defined $size;
}


sub read_http2 {
    my ($self, $c) = @_;

    while (length $c->{in} >= 9) {
        my ($len, $type, $flags, $id) = unpack 'N C C N', "\0$c->{in}";
        last if length($c->{in}) < 9 + $len;

        my $payload = substr $c->{in}, 9, $len;
        substr $c->{in}, 0, 9 + $len, '';

        my $q = $c->{asked}{$id};

        if ($type == 4 && !($flags & 1)) {
            $c->{out} .= frame(4, 1, 0, '');

        } elsif ($type == 6 && !($flags & 1)) {
            $c->{out} .= frame(6, 1, 0, $payload);

        } elsif ($type == 7) {
            my $last = unpack 'N', $payload;
            $c->{last} = 1;
            $self->again(delete $c->{asked}{$_})
                for grep { $_ > $last } keys %{ $c->{asked} };

        } elsif ($type == 3 && $q) {
            $self->again(delete $c->{asked}{$id});

        } elsif ($type == 1 && $q) {
            $payload =~ s/^[\x20-\x3f]+//;
            $q->{status} = $payload =~ /^\x88/ ? 200 : $payload =~ /^\x8d/ ? 404
                : $payload =~ /^\x48\x03(\d{3})/ ? $1 : 'odd';
            $q->{begun} = 1;

        } elsif ($type == 0 && $q) {
            $q->{body} .= $payload;
        }

        if ($q && $type < 2 && $flags & 1) {
            $self->answer($q, $q->{status}, $q->{body} // '');
            delete $c->{asked}{$id};
        }
    }
}


sub answer {
    my ($self, $q, $status, $body) = @_;

    if ($status != 200) {
        $self->{r}{$status}++;
        $self->{r}{last}{$status} = "$q->{method} $q->{host} $q->{path}";
        return;
    }

    my ($port, $host, $uri) = split ' ', $body;
    my $who = $self->{serves}{ $port // '' } // 'nobody';

    return $self->wrong($q, $body)
        if $who ne $self->{owner}{ $q->{host} }
           || ($host // '') ne $q->{host} || ($uri // '') ne $q->{path};

    $self->{r}{good}++;
    $self->{r}{by}{$port}++;
}


sub wrong {
    my ($self, $q, $body) = @_;

    push @{ $self->{r}{wrong} }, "$q->{host} $q->{path}: $body"
        if @{ $self->{r}{wrong} } < 10;
}


1;
