package ZLTunnel::Local;

# What stands around the tunnel in a test: local services, clients and a relay
# in the path, and certificates.  The harness inherits these methods.

use strict;
use warnings;
use feature 'state';

use Cwd ();
use Digest::SHA ();
use Fcntl ':flock';
use File::Path ();

use ZLTunnel::Proc qw(wait_for slurp run run_ok has_connection halt);

my $root = Cwd::abs_path(__FILE__ =~ s{/[^/]*$}{/../../..}r);
my $objs = "$root/objs/t";


# The nettool, compiled when a source of it is newer.

sub nettool {
    my $tool = "$objs/nettool";
    my @src = glob "$root/t/lib/*.c";

    File::Path::make_path($objs);
    open my $lock, '>', "$objs/lock" or die "$objs/lock: $!";
    flock $lock, LOCK_EX;

    if (!-e $tool || grep { -M $_ < -M $tool } @src, glob "$root/t/lib/*.h") {
        run_ok({ timeout => 120 }, $ENV{CC} || 'cc', '-O2', '-Wall', '-Wextra',
               '-o', "$tool.new", @src, '-lcrypto');
        rename "$tool.new", $tool;
    }

    return $tool;
}


# Clients that have come to this worker, one at each port.  The others sleep, and
# are awake again after that.

sub clients_of {
    my ($self, $worker, @to) = @_;

    my @c;
    my @others = grep { $_ != $worker } $self->workers;

    halt($_) for @others;
    kill CONT => $worker;

    for my $to (@to) {
        my $c = ZLTunnel::Wire::Socket->new($to);
        push @c, $c;
        wait_for(sub { has_connection($worker, $to, $c->{s}->sockport) })
            or die "no client of worker $worker";
    }

    kill CONT => @others;
    return wantarray ? @c : $c[0];
}


# Starts a local service, a kind of nt_serve.c: { port, proc }.

sub service {
    my ($self, $kind, @args) = @_;

    my $port = $self->free_port;
    my $log = "$self->{dir}/logs/service-$kind-$port";

    my $proc = ZLTunnel::Proc->start(
        name => "$kind service", out => $log, err => "$log.err",
        cmd => [ nettool(), 'serve', $kind, $port, @args ]);

    wait_for(sub { slurp($log) =~ /^ready/ }, 10) or die "no $kind service";

    my $s = { kind => $kind, port => $port, proc => $proc, log => $log };
    push @{ $self->{services} }, $s;

    return $s;
}


# How many lines of a kind ("accept", "eof", "reset", "close") it printed.

sub events {
    my ($self, $service, $event) = @_;

    my @lines = slurp($service->{log}) =~ /^\Q$event\E /mg;
    return scalar @lines;
}


# Starts another process that the end of the test must see gone.

sub spawn {
    my ($self, $name, @cmd) = @_;

    my $proc = ZLTunnel::Proc->start(
        name => $name, stdin => 1, cmd => \@cmd,
        out => "$self->{dir}/logs/$name", err => "$self->{dir}/logs/$name.err");

    push @{ $self->{procs} }, $proc;
    return $proc;
}


# Starts a relay.pl before nginx's plain or TLS port: { port, proc }.

sub relay {
    my ($self, $tls) = @_;

    my $port = $self->free_port;
    my $proc = $self->spawn("relay-$port", $^X, "$root/t/lib/relay.pl", $port,
                            $self->{$tls ? 'tls_port' : 'http_port'});

    wait_for(sub { $proc->output =~ /^ready/ }, 10) or die 'no relay';

    my $url = ($tls ? 'wss' : 'ws') . "://127.0.0.1:$port/tunnel/v1";
    return { port => $port, proc => $proc, url => $url };
}


# Another nginx, which speaks TLS to a port for those who do not:
# { port, proc }.

sub tls_to {
    my ($self, $to) = @_;

    my $port = $self->free_port;
    my $dir = "$self->{dir}/tls-$port";

    mkdir $dir;
    ZLTunnel::write_file("$dir/nginx.conf", ZLTunnel::load_modules() . <<"EOT");
worker_processes 1;
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 2048; }
stream {
    server {
        listen 127.0.0.1:$port;
        proxy_pass 127.0.0.1:$to;
        proxy_ssl on;
        tcp_nodelay on;
    }
}
EOT

    my $proc = ZLTunnel::Proc->start(
        name => 'nginx for TLS', out => "$dir/out", err => "$dir/err",
        cmd => [ $ZLTunnel::NGINX, '-p', $dir, '-c', "$dir/nginx.conf", '-e',
                 "$dir/error.log" ]);
    push @{ $self->{procs} }, $proc;

    wait_for(sub { ZLTunnel::connect_to($port) }) or die 'no nginx for TLS';

    return { port => $port, proc => $proc };
}


# Tells a relay something and waits until it has done it.

sub tell {
    my ($self, $relay, $command) = @_;

    my $before = () = $relay->{proc}->output =~ /^done /mg;
    $relay->{proc}->say($command);

    wait_for(sub {
        my $now = () = $relay->{proc}->output =~ /^done /mg;
        return $now > $before;
    }) or die "the relay did not $command";
}


# One transfer by nettool: { sent, received (bytes), sent_sha, received_sha,
# end, tail }

sub transfer {
    my ($self, $port, @args) = @_;

    my ($rc, $out) = run({ timeout => 300 }, nettool(), 'transfer', $port,
                         @args);
    return parse_transfer($out);
}


sub parse_transfer {
    my ($out) = @_;

    my %r = (output => $out, end => 'none');

    @r{qw(sent sent_sha)} = ($1, $2) if $out =~ /^sent (\d+) (\w+)/m;
    @r{qw(received received_sha)} = ($1, $2)
        if $out =~ /^received (\d+) (\w+)/m;
    $r{end} = $1 if $out =~ /^end (\w+)/m;
    $r{tail} = $1 if $out =~ /^tail (.*?) *$/m;

    return \%r;
}


# Certificates, made once a day, and anew when their names change: a CA, and
# server.pem for the addresses of tests, other.pem for another name;
# unknown.pem is a second CA that signed nothing.  A test keeps those of the
# day on which it began, whoever makes new ones beside it.

my %names = (server => 'DNS:localhost,IP:127.0.0.1,IP:::1,IP:10.9.0.1',
             other => 'DNS:other.example');

sub certs {
    state $dir = "$objs/certs/" . int(time / 86400) . '-'
                 . substr Digest::SHA::sha1_hex(%names{qw(server other)}), 0, 8;

    File::Path::make_path($dir);
    open my $lock, '>', "$dir/lock" or die "$dir/lock: $!";
    flock $lock, LOCK_EX;

    return $dir if -e "$dir/done";

    File::Path::remove_tree(grep { -M $_ > 2 } glob "$objs/certs/*");

    for my $ca (qw(ca unknown)) {
        run_ok('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
               '-keyout', "$dir/$ca.key", '-out', "$dir/$ca.pem", '-days', 30,
               '-subj', "/CN=zltunnel test $ca");
    }

    for my $cert (sort keys %names) {
        ZLTunnel::write_file("$dir/$cert.ext", "subjectAltName=$names{$cert}\n");
        run_ok('openssl', 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout',
               "$dir/$cert.key", '-out', "$dir/$cert.csr", '-subj',
               "/CN=zltunnel test $cert");
        run_ok('openssl', 'x509', '-req', '-in', "$dir/$cert.csr", '-CA',
               "$dir/ca.pem", '-CAkey', "$dir/ca.key", '-CAcreateserial',
               '-days', 30, '-extfile', "$dir/$cert.ext", '-out',
               "$dir/$cert.pem");
    }

    ZLTunnel::write_file("$dir/done", '');
    return $dir;
}


1;
