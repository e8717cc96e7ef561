package ZLTunnel::App;

# What the tests of upstreams share: the application behind the agents, an
# nginx of its own in that place, and a client that looks closely.  The
# functions take the harness as their first argument.

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time sleep);

use ZLTunnel::Proc qw(slowdown wait_for slurp run);

our @EXPORT = qw(app backend get request read_some abort give_up since);


# Starts app.pl: { port, name, proc }.

sub app {
    my ($t, $name, %o) = @_;

    my $port = $o{port} // $t->free_port;
    my $log = "$t->{dir}/logs/app-$name-$port";

    my $proc = ZLTunnel::Proc->start(
        name => "app $name", out => $log, err => "$log.err", env => $o{env},
        cmd => [ $^X, "$ZLTunnel::ROOT/t/lib/app.pl", $port, $name,
                 $o{proxy} ? 'proxy' : () ]);

    wait_for(sub { slurp($log) =~ /^ready/ }, 10) or die "no app $name";

    my $app = { kind => "app $name", port => $port, proc => $proc,
                log => $log, name => $name };
    push @{ $t->{services} }, $app;

    return $app;
}


# Starts an nginx of its own as the service, which is no part of what is
# tested and outlives its reloads: { port, log }.  text: in its http block,
# where %PORT% is the port.

sub backend {
    my ($t, $text) = @_;

    my $port = $t->free_port;
    my $dir = "$t->{dir}/backend-$port";

    mkdir $dir;
    chmod 0755, $dir;
    mkdir "$dir/temp";
    chmod 0777, "$dir/temp";

    $text =~ s/%PORT%/$port/g;
    $text =~ s/%DIR%/$dir/g;
    my $user = $> == 0 ? 'user www-data;' : '';

    ZLTunnel::write_file("$dir/nginx.conf", <<"EOT");
$user
worker_processes 1;
daemon off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000;
    keepalive_timeout 60s;
    client_body_temp_path $dir/temp/body;
    proxy_temp_path $dir/temp/proxy;
    fastcgi_temp_path $dir/temp/fastcgi;
    uwsgi_temp_path $dir/temp/uwsgi;
    scgi_temp_path $dir/temp/scgi;
    $text
}
EOT

    my $proc = ZLTunnel::Proc->start(
        name => "backend $port", out => "$dir/out", err => "$dir/err",
        cmd => [ $ZLTunnel::NGINX, '-p', $dir, '-c', "$dir/nginx.conf", '-e',
                 "$dir/error.log" ]);

    wait_for(sub {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
    }, 20) or die 'no backend nginx: ' . slurp("$dir/error.log");

    my $s = { kind => 'backend', port => $port, proc => $proc, dir => $dir };
    push @{ $t->{services} }, $s;

    return $s;
}


# One request on a connection of its own, to its end: { status, body, head,
# complete (1 if the answer had its whole length), time }.

sub get { my ($port, $path, %o) = @_; request($port, "GET $path", %o) }

sub request {
    my ($port, $line, %o) = @_;

    my $start = time;
    my $s = $o{socket} // IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                                PeerPort => $port)
        or return { status => 0, time => 0 };

    my $host = $o{host} // 'localhost';
    my $text = "$line HTTP/1.1\r\nHost: $host\r\n";
    $text .= "Connection: close\r\n" unless $o{socket} || $o{upgrade};
    $text .= "$_: $o{headers}{$_}\r\n" for sort keys %{ $o{headers} || {} };
    $text .= 'Content-Length: ' . length($o{body}) . "\r\n"
        if defined $o{body};
    $text .= "\r\n" . ($o{body} // '');

    syswrite $s, $text;

    my ($answer, $end) = ('', $start + ($o{timeout} // 20));

    until (complete($answer)) {
        defined read_some($s, \$answer, $end - time) or last;
    }

    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    my ($status) = ($head // '') =~ /^HTTP\/1\.1 (\d+)/;

    return { status => $status // 0, head => $head, time => time - $start,
             complete => scalar complete($answer), body => scalar unchunk($head, $body) };
}


# Whether an answer has all that its header promises.

sub complete {
    my ($answer) = @_;

    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    return 0 unless defined $body;
    return 1 if $head =~ /^HTTP\/1\.1 (101|204|304)/;
    return length $body >= $1 if $head =~ /^Content-Length: (\d+)/mi;
    return $body =~ /(^|\r\n)0\r\n\r\n$/ ? 1 : 0
        if $head =~ /^Transfer-Encoding: chunked/mi;
    return 0;
}


sub unchunk {
    my ($head, $body) = @_;

    return $body unless ($head // '') =~ /^Transfer-Encoding: chunked/mi;

    my $text = '';
    while ($body =~ s/^([0-9a-f]+)\r\n//i) {
        last if !hex $1;
        $text .= substr $body, 0, hex $1, '';
        substr $body, 0, 2, '';
    }

    return $text;
}


# Adds what comes to $$buf: undef at the end, a reset, or when the time is
# over.

sub read_some {
    my ($s, $buf, $timeout) = @_;

    return undef if $timeout <= 0;
    vec(my $rin = '', fileno $s, 1) = 1;
    select($rin, undef, undef, $timeout * slowdown())
        or return undef;

    return sysread($s, $$buf, 65536, length $$buf) || undef;
}


sub abort {
    my ($s) = @_;

    setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'i i', 1, 0;
    close $s;
}


# At least so many clients, 50 at a time, that send the request and are reset:
# once the first bytes of the answer are there if "reading" is set, else within
# "most" milliseconds.  Returns how many it were.

sub give_up {
    my ($port, $request, $n, %o) = @_;

    my $count = 0;

    while ($count < $n) {
        my @s = map {
            my $s = ZLTunnel::connect_to($port);
            syswrite $s, $request;
            $count++;
            $s
        } 1 .. 50;

        if ($o{reading}) {
            my $buf = '';
            read_some($_, \$buf, 10) for @s;

        } else {
            sleep 0.001 * int rand $o{most};
        }

        abort($_) for @s;
    }

    return $count;
}


# Whether nginx is of that version or a later one.

sub since {
    my (@want) = @_;

    my (undef, $v) = run($ZLTunnel::NGINX, '-v');
    my @is = $v =~ m{nginx/(\d+)\.(\d+)\.(\d+)};

    return sprintf('%03d' x 3, @is) ge sprintf('%03d' x 3, @want);
}


1;
