#!/usr/bin/perl

# Protects: no answer reaches another request.  A service sends more than its
# answer has room for (a body after HEAD, bytes behind the announced length),
# and whatever is left, in a TLS record, behind a message, in a lane, in
# nginx's buffers, dies with the connection.  What has nothing left is used
# again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use IO::Select;
use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::App;

use constant HEAD => 100;              # bytes of the service's every head

my $long = ZLTunnel::long_run();
my @bases = map { $_ * 1024 } 4, 8, 16, 20, 32, 64;
my @around = $long ? (-10 .. 10) : (-1, 0, 1);
my @ways = $long ? qw(small large raw) : qw(small raw);   # buffers

my ($t, $front, $service);

for my $scheme (qw(ws wss)) {
    for my $lanes (qw(on off)) {
        subtest "$scheme, lanes=$lanes" => \&tried, $scheme, $lanes;
    }

    subtest "$scheme, after a lane was left" => \&moved, $scheme;
    subtest "$scheme, within a WebSocket" => \&tried, $scheme, 'off',
            '--transport', 'websocket';
}

done_testing();


sub setup {
    my ($scheme, $lanes, @args) = @_;

    $t = ZLTunnel->new(workers => 1);
    $front = $t->free_port;
    $service = talkative();

    $t->write_conf(http => <<"EOT");
keepalive_requests 1000000;
proxy_http_version 1.1;
proxy_set_header Connection '';
proxy_max_temp_file_size 0;
upstream e {
    zltunnel_service e max_fails=0 lanes=$lanes;
    keepalive 4;
    keepalive_requests 1000000;
}
server {
    listen 127.0.0.1:$front;
    location /small {
        proxy_pass http://e;
        proxy_buffer_size 4k;
        proxy_buffers 4 4k;
        proxy_busy_buffers_size 8k;
    }
    location /large {
        proxy_pass http://e;
        proxy_buffer_size 16k;
        proxy_buffers 8 16k;
    }
    location /raw {
        proxy_pass http://e;
        proxy_buffering off;
        proxy_buffer_size 4k;
    }
}
EOT

    my $token = $t->token('alice');
    $t->start;
    $t->agent(token => $token, tls => $scheme eq 'wss',
              services => ["e:$service->{port}/private"], args => \@args);
    wait_for(sub { ($t->status->{tunnels}[0] || {})->{idle_channels} })
        or die 'no idle channel';
}


# A service that says what a path asks for: /WAY/KIND/SIZE, where KIND is
# "good"; "behind": with another answer behind it; "rest": the same, in the
# same answer's head and body for HEAD, or "none" for one without a body.

sub talkative {
    my $port = $t->free_port;
    my $log = "$t->{dir}/logs/talkative";

    my $proc = ZLTunnel::Proc->start(name => 'talkative', out => $log,
                                     code => sub { talk($port) });
    my $s = { kind => 'talkative', port => $port, proc => $proc,
              log => $log };
    push @{ $t->{services} }, $s;

    wait_for(sub { ZLTunnel::slurp($log) =~ /^ready/ }, 10)
        or die 'no service';
    return $s;
}

sub talk {
    my ($port) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
                                       LocalPort => $port, ReuseAddr => 1)
        or die "listen: $!";
    my $all = IO::Select->new($listen);
    my %in;

    syswrite STDOUT, "ready\n";

    while (my @ready = $all->can_read) {
        for my $s (@ready) {
            if ($s == $listen) {
                my $c = $listen->accept or next;
                setsockopt $c, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(),
                           1;
                $all->add($c);
                $in{$c} = '';
                syswrite STDOUT, "accept\n";
                next;
            }

            if (!sysread $s, $in{$s}, 65536, length $in{$s}) {
                $all->remove($s);
                delete $in{$s};
                close $s;
                next;
            }

            while ($in{$s} =~ s/^(\w+) (\S+) .*?\r\n\r\n//s) {
                my $out = said($1, $2);
                syswrite $s, $out if length $out;
            }
        }
    }
}

sub head {
    my ($status, @headers) = @_;

    my $head = join "\r\n", "HTTP/1.1 $status", @headers, 'X-Pad: ';
    return $head . 'x' x (HEAD - 4 - length $head) . "\r\n\r\n";
}

sub body { substr "the body of $_[0] " x ($_[1] / 15 + 1), 0, $_[1] }

sub said {
    my ($method, $path) = @_;

    my (undef, $way, $kind, $size) = split m{/}, $path;
    my $answer = head('200 OK', "Content-Length: $size") . body($path, $size);
    my $poison = head('200 OK', 'Content-Length: 6') . 'POISON';

    return $answer if $kind eq 'good' || $kind eq 'head';
    return $answer . $poison if $kind eq 'behind';

    # "empty": an answer that has no body, and one behind it

    return head('204 No Content') . body($poison, $size);
}


# A client that keeps its connection; its answers, in order.

sub client {
    my $s = ZLTunnel::connect_to($front) or die "connect: $!";
    return { s => $s, in => '' };
}

sub answer {
    my ($c, $method) = @_;

    my $fill = sub {
        vec(my $rin = '', fileno $c->{s}, 1) = 1;
        select($rin, undef, undef, 20) or return 0;
        return sysread $c->{s}, $c->{in}, 262144, length $c->{in};
    };

    while ($c->{in} !~ /\r\n\r\n/) {
        $fill->() or return { status => 'nothing' };
    }

    $c->{in} =~ s/^(.*?\r\n)\r\n//s;
    my $head = $1;
    my ($status) = $head =~ /^HTTP\/1.1 (\d+)/;
    my ($len) = $head =~ /^Content-Length: (\d+)/mi;

    $len = 0 if $method eq 'HEAD';

    while (length $c->{in} < ($len // 0)) {
        $fill->() or return { status => 'cut' };
    }

    return { status => $status,
             body => substr $c->{in}, 0, $len // 0, '' };
}


# Asks for something that leaves bytes behind, and for something else after
# it: when the first is answered; "at once"; or the first on a "fresh"
# connection, since it was asked for before.  Returns what is wrong.

my $victim = 0;

sub ask_twice {
    my ($c, $method, $path, $how, $pause) = @_;

    my ($way) = $path =~ m{^/(\w+)};
    my $next = "/$way/good/" . (10 + $victim++ % 90);
    my $before = "$method $path HTTP/1.1\r\nHost: h\r\n\r\n";
    my $after = "GET $next HTTP/1.1\r\nHost: h\r\n\r\n";

    if ($how eq 'fresh') {
        syswrite $c->{s}, $before;
        answer($c, $method);
    }

    syswrite $c->{s}, $before . ($how eq 'at once' ? $after : '');
    my $first = answer($c, $method);

    select undef, undef, undef, $pause if $pause;
    syswrite $c->{s}, $after if $how ne 'at once';
    my $r = answer($c, 'GET');

    return "$method $path: $first->{status}"
        if $first->{status} !~ /^20[04]$/;

    my ($size) = $next =~ /(\d+)$/;
    return undef
        if $r->{status} eq 200 && $r->{body} eq body($next, $size);

    %$c = %{ client() };
    return "$method $path: " . substr "$r->{status} $r->{body}", 0, 40;
}


# Sizes and ways to ask: the answer ends there, or its body does.

sub cases_of {
    my ($kind) = @_;

    my @how = ('after it', 'at once', 'fresh');
    my $n = 0;
    my @cases;

    for my $base ($kind eq 'empty' && !$long ? $bases[0] : @bases) {
        for my $around (@around) {
            for my $size ($base + $around, $base + $around - HEAD) {
                push @cases, map { [ $size, $_ ] }
                             $long || !$around ? @how : $how[$n++ % 3];
            }
        }
    }

    return @cases;
}

sub none_is_wrong {
    my ($before, @only) = @_;

    for my $way (@ways) {
        my $c = client();

        for my $case ([qw(GET behind)], [qw(HEAD head)], [qw(GET empty)]) {
            my ($method, $kind) = @$case;
            my @cases = @only ? @only : cases_of($kind);
            my @wrong;

            for my $case (@cases) {
                my ($size, $how) = @$case;
                my $answer;

                # What is still on its way when the next request goes, nobody
                # can know of: the next time there is a pause between.

                for my $pause (0, 0.3, 2) {
                    $before->($c, $way) if $before;
                    $answer = ask_twice($c, $method, "/$way/$kind/$size",
                                        $pause ? 'after it' : $how, $pause);
                    last if !defined $answer;
                }

                push @wrong, $answer // ();
            }

            is(scalar @wrong, 0, "$method $kind, buffers $way: none of "
               . @cases) or diag(join "\n", grep { defined } @wrong[0 .. 4]);
        }
    }
}


# Connections with nothing left are used again.

sub kept {
    my ($name, $before) = @_;

    my $accepted = () = ZLTunnel::slurp($service->{log}) =~ /^accept/mg;

    my $c = client();
    my @wrong;

    for my $way (@ways) {
        for my $size (1, 3000, 4096 - HEAD, 4096, 20480 - HEAD, 20480, 60000) {
            push @wrong, ask_twice($c, 'GET', "/$way/good/$size",
                                   'after it') // ();
        }
    }

    my $now = () = ZLTunnel::slurp($service->{log}) =~ /^accept/mg;

    is(scalar @wrong, 0, "$name: answers") or diag(explain(\@wrong));
    cmp_ok($now - $accepted, '<=', 2, "$name: kept and used again");
}


sub tried {
    setup(@_);
    kept('good');
    none_is_wrong();
    kept('good after that');
    $t->finish;
}


sub moved {
    my ($scheme) = @_;

    setup($scheme, 'on');

    # a download that lasts: the connection leaves its lane by that

    none_is_wrong(sub {
        my ($c, $way) = @_;

        syswrite $c->{s}, "GET /$way/good/40000000 HTTP/1.1\r\nHost: h\r\n\r\n";
        answer($c, 'GET');
    }, map { [ $_ - HEAD, 'after it' ] } $long ? @bases : @bases[0, 3, 5]);

    cmp_ok($t->status->{left_lane}, '>', 0,
           'lanes were left');
    $t->finish;
}
