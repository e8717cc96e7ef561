package ZLTunnel;

# The tests' harness: a real nginx in a directory of its own, real agents,
# local services, and what every test must leave behind: clean logs, no
# process and no descriptor.
#
#     my $t = ZLTunnel->new(workers => 4);
#     my $token = $t->token('alice', 'ports=30000-30010');
#     $t->start;
#     my $echo = $t->service('echo');
#     my $agent = $t->agent(token => $token, services => ["e:$echo->{port}"]);
#     my $port = $agent->port('e');
#     ...
#     $t->finish;
#
# Environment: TEST_NGINX_BINARY, TEST_ZLT_MODULE, TEST_ZLT_AGENT and
# TEST_STREAM_MODULE ("none" where a module is static) name what is tested;
# ZLT_LONG=1 asks for the full sizes, ZLT_SLOW=N multiplies all time limits,
# ZLT_KEEP=1 keeps the directory, ZLT_NETNS=none shares the machine's network
# (see ZLTunnel::Net).

use strict;
use warnings;
use feature 'state';

use ZLTunnel::Net;
BEGIN { ZLTunnel::Net::enter() }         # before anything is opened or said

use Cwd ();
use Digest::SHA qw(sha256_hex);
use Exporter 'import';
use Fcntl ':flock';
use File::Path ();
use File::Temp ();
use IO::Socket::INET;
use JSON::PP ();
use Scalar::Util qw(weaken);
use Socket qw(SOL_SOCKET SO_LINGER SO_REUSEADDR
              SOCK_STREAM pack_sockaddr_in inet_aton);
use Test::More;

use ZLTunnel::Agent;
use ZLTunnel::Local;
use ZLTunnel::Proc qw(slowdown wait_for slurp run run_ok fds sockets
                      has_connection children_of halt);

our @EXPORT = qw(slowdown wait_for slurp run run_ok fds has_connection
                 children_of halt long_run sizes need_nofile write_file
                 http_get http_request connect_to refuses sha256_hex);

our @ISA = 'ZLTunnel::Local';

our $ROOT = Cwd::abs_path(__FILE__ =~ s{/[^/]*$}{/../..}r);
our $AGENT = $ENV{TEST_ZLT_AGENT} || "$ROOT/objs/zltunnel-agent";
our $NGINX = path_of($ENV{TEST_NGINX_BINARY} || 'nginx');

my @all;                       # instances, weakly

# what must never be in a log, whatever the test does; the transitions are
# those of dial_state.c and its like
my $BAD_LOG = qr/\[alert\]|\[emerg\]|open\ socket\ .*left|Sanitizer
                 |runtime\ error|Assertion|core\ dumped|bad\ transition/x;


# A binary upgrade executes nginx by the name by which it was called, which
# must be a path.

sub path_of {
    my ($name) = @_;

    return $name if $name =~ m{/};

    my ($path) = grep { -x $_ && !-d $_ }
                 map { "$_/$name" } split /:/, "$ENV{PATH}:/usr/sbin:/sbin";

    return $path // $name;
}


sub long_run { $ENV{ZLT_LONG} ? 1 : 0 }

# sizes(long, short): the one that this run is to use, and a note of it
sub sizes {
    my ($what, $long, $short) = @_;

    note sprintf '%s: %s (%s run; long %s, short %s)', $what,
        long_run() ? ($long, 'long') : ($short, 'short'), $long, $short;

    return long_run() ? $long : $short;
}


# Skips the whole test where the limit of descriptors is too low for it.

sub need_nofile {
    my ($n) = @_;

    my ($limit) = slurp('/proc/self/limits') =~ /^Max open files\s+(\S+)/m;

    plan(skip_all => "RLIMIT_NOFILE is $limit, this test needs $n")
        if $limit ne 'unlimited' && $limit < $n;
}


sub write_file {
    my ($file, $content, $mode) = @_;

    open my $fh, '>:raw', $file or die "$file: $!";
    print $fh $content;
    close $fh or die "$file: $!";
    chmod $mode, $file if defined $mode;
}


sub connect_to {
    my ($port, %o) = @_;

    ($o{PeerAddr}, $port) = ($1, $2) if $port =~ /^(.+):(\d+)$/;

    # without Timeout, with which a reset that comes at once would look like
    # a refusal
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
                                 %o);
}


# Whether a port refuses connections; one that it does not refuse is reset, so
# that nobody goes on with it.

sub refuses {
    my ($port) = @_;

    my $s = connect_to($port) or return 1;
    setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'i i', 1, 0;

    return 0;
}


# One HTTP request on a connection of its own, as raw bytes: the answer as
# { status, head, body }, or undef where none came.

sub http_request {
    my ($port, $request, $timeout) = @_;

    my $s = connect_to($port) or return undef;
    my $answer = '';

    syswrite $s, $request;

    while (1) {
        vec(my $rin = '', fileno $s, 1) = 1;
        select($rin, undef, undef, $timeout // 10) or last;
        sysread($s, $answer, 65536, length $answer) or last;

        my ($head, $body) = split /\r\n\r\n/, $answer, 2;
        last if defined $body && $head =~ /^HTTP\/1.1 101 /;
        last if defined $body && $head =~ /^Content-Length: (\d+)/mi
                && length $body >= $1;
    }

    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    return undef unless ($head // '') =~ /^HTTP\/1\.\d (\d+)/;

    return { status => $1, head => $head, body => $body };
}


sub http_get {
    my ($port, $path) = @_;

    return http_request($port, "GET $path HTTP/1.1\r\nHost: localhost\r\n"
                               . "Connection: close\r\n\r\n");
}


# Options: workers, master ("off"), daemon ("on"), zone (its size), range
# (number of assigned ports), udp (1: the same ports for UDP, too), connections
# (worker_connections), machine (a ZLTunnel::Nodes on which nginx runs, at its
# address), and more configuration, as text: main, events, zltunnel,
# http, location (in the server of the tunnel), after (http), ports (in the
# server of the assigned ports), stream; allow => [qr/.../] for what may be in
# the log though it looks bad.

sub new {
    my ($class, %o) = @_;

    -x $AGENT or BAIL_OUT("$AGENT is missing: run make first");

    my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1);
    chmod 0755, $dir;                     # workers are another user

    my $self = bless {
        workers => 1, master => 'on', daemon => 'off', zone => '2m',
        range => 8, connections => 4096,
        address => $o{machine} ? $o{machine}{ip} : '127.0.0.1',
        allow => [], dir => $dir, agents => [], services => [], procs => [],
        paths => [], tokens => [], secrets => [], owner => $$, %o
    }, $class;

    push @all, $self;
    weaken($all[-1]);

    mkdir "$dir/$_" for qw(logs temp);

    # what is installed beside nginx.conf
    symlink $_, "$dir/" . s{.*/}{}r for glob "$ROOT/ngx_zltunnel_module/*.conf";

    if ($> == 0) {
        my ($uid, $gid) = (getpwnam 'www-data')[2, 3];
        chown $uid, $gid, "$dir/temp";
    }

    $self->{block} = reserve_ports(1 + int(($self->{range} + 30) / 100));
    $self->{next_port} = $self->{block}{base};
    $self->{http_port} = $self->free_port;
    $self->{tls_port} = $self->free_port;
    $self->{base} = $self->free_port($self->{range});

    $self->write_tokens;
    $self->write_conf;

    return $self;
}


# Some hundred ports below the ephemeral range, which no other instance has
# now, nor another test unless this one has a network of its own.

sub reserve_ports {
    my ($hundreds) = @_;

    state $own = ZLTunnel::Net::own();
    state $dir = $own ? File::Temp::tempdir('zltunnel-ports-XXXXXX',
                                            TMPDIR => 1, CLEANUP => 1)
                      : File::Spec->tmpdir . "/zltunnel-ports.$<";
    mkdir $dir, 0700;

    for my $try (0 .. 199) {
        my $n = $own ? $try : $$ + $try * 7;
        $n %= 201 - $hundreds;

        my $base = 11000 + 100 * $n;
        my @locks;

        for my $i ($n .. $n + $hundreds - 1) {
            open my $lock, '>', "$dir/$i" or die "$dir/$i: $!";
            last unless flock $lock, LOCK_EX | LOCK_NB;
            push @locks, $lock;
        }

        next if @locks < $hundreds;

        my $end = $base + 100 * $hundreds;
        next if grep { !port_free($_) } $base .. $end - 1;

        return { base => $base, end => $end, locks => \@locks };
    }

    die "no free ports";
}


sub port_free {
    my ($port) = @_;

    socket(my $s, Socket::PF_INET, SOCK_STREAM, 0) or return 0;
    setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);

    socket(my $u, Socket::PF_INET, Socket::SOCK_DGRAM, 0) or return 0;

    my $addr = pack_sockaddr_in($port, inet_aton('127.0.0.1'));

    return bind($s, $addr) && listen($s, 1) && bind($u, $addr);
}


sub free_port {
    my ($self, $n) = @_;

    my $port = $self->{next_port};
    $self->{next_port} += $n // 1;

    die "no ports left" if $self->{next_port} > $self->{block}{end};
    return $port;
}


sub load_modules {
    my $stream = $ENV{TEST_STREAM_MODULE};

    if (!defined $stream) {
        my (undef, $v) = run($NGINX, '-V');
        $stream = $v =~ /--modules-path=(\S+)/ && -e "$1/ngx_stream_module.so"
                  ? "$1/ngx_stream_module.so" : 'none';
    }

    my $module = $ENV{TEST_ZLT_MODULE} || "$ROOT/objs/ngx_zltunnel_module.so";

    return join '', map { "load_module $_;\n" } grep { $_ ne 'none' }
                    $stream, $module;
}


# The configuration; $self->{conf} replaces it as a whole.

sub write_conf {
    my ($self, %o) = @_;

    $self->{$_} = $o{$_} for keys %o;
    my %v = (%$self, modules => load_modules(), certs => $self->certs);

    $v{user} = $> == 0 ? 'user www-data;' : '';
    $v{last} = $v{base} + $v{range} - 1;
    $v{$_} //= '' for qw(main events zltunnel http location after ports
                        stream);
    $v{listen} //= "$v{address}:$v{base}"
                   . ($v{range} > 1 ? "-$v{last}" : '');
    $v{ports} = "listen $v{listen} udp rcvbuf=4m;\n$v{ports}" if $v{udp};

    my $text = $o{conf} // <<'EOT';
%%modules%%
%%user%%
worker_processes %%workers%%;
master_process %%master%%;
daemon %%daemon%%;
pid %%dir%%/nginx.pid;
error_log %%dir%%/logs/error.log info;
%%main%%
events {
    worker_connections %%connections%%;
    %%events%%
}

zltunnel {
    zone %%zone%%;
    token_file %%dir%%/tokens;
    %%zltunnel%%
}

http {
    access_log %%dir%%/logs/access.log;
    client_body_temp_path %%dir%%/temp/body;
    proxy_temp_path %%dir%%/temp/proxy;
    fastcgi_temp_path %%dir%%/temp/fastcgi;
    uwsgi_temp_path %%dir%%/temp/uwsgi;
    scgi_temp_path %%dir%%/temp/scgi;
    %%http%%

    server {
        listen %%address%%:%%http_port%%;
        listen %%address%%:%%tls_port%% ssl;
        server_name localhost;
        ssl_certificate %%certs%%/server.pem;
        ssl_certificate_key %%certs%%/server.key;

        location = /tunnel/v1 { zltunnel; }
        location = /tunnel/status { zltunnel_status; }
        %%location%%
    }
}

%%after%%

stream {
    server {
        listen %%listen%%;
        zltunnel_ports;
        %%ports%%
    }
    %%stream%%
}
EOT

    $text =~ s/%%(\w+)%%/$v{$1} \/\/ die "no $1"/ge;
    write_file("$self->{dir}/nginx.conf", $text);
}


# nginx -t on the configuration: (status, output)

sub test_conf {
    my ($self, %o) = @_;

    $self->write_conf(%o) if %o;
    return run($NGINX, '-t', '-p', $self->{dir}, '-c',
               "$self->{dir}/nginx.conf", '-e', "$self->{dir}/test.log");
}


# Adds a token with its rights, "ports=... expires=..."; returns it.

sub token {
    my ($self, $name, $rights, $token) = @_;

    $token //= random_token();
    push @{ $self->{tokens} }, { name => $name, rights => $rights // '',
                                 token => $token };
    push @{ $self->{secrets} }, $token;

    if ($self->{nginx} && $self->{nginx}->running) {
        $self->{new}{$token} = { pids => [ $self->workers ],
                                 log => length $self->log };
    }

    $self->write_tokens;

    return $token;
}


# Waits until no worker is left that has not read a token which was added while
# it ran: an agent with "connect" ends if its token is refused.

sub known {
    my ($self, $token) = @_;

    my $new = delete $self->{new}{$token // ''} or return;

    wait_for(sub {
        my %read = map { $_ => 1 }
                   substr($self->log, $new->{log}) =~ /(\d+)#\d+: [^\n]* it holds /g;
        my %run = map { $_ => 1 } $self->workers;

        return !grep { $run{$_} && !$read{$_} } @{ $new->{pids} };
    });
}


sub random_token {
    open my $fh, '<:raw', '/dev/urandom' or die;
    read $fh, my $bytes, 24;
    return unpack 'H*', $bytes;
}


sub write_tokens {
    my ($self) = @_;

    my $text = "# tokens of the test\n";

    for my $t (@{ $self->{tokens} }) {
        $text .= join(' ', grep { length } sha256_hex($t->{token}), $t->{name},
                      $t->{rights}) . "\n";
    }

    # whole or not at all, as one should
    write_file("$self->{dir}/tokens.new", $text, 0644);
    rename "$self->{dir}/tokens.new", "$self->{dir}/tokens";
}


# Takes a name's tokens out of the file.

sub revoke {
    my ($self, $name) = @_;

    $self->{tokens} = [ grep { $_->{name} ne $name } @{ $self->{tokens} } ];
    $self->write_tokens;
}


sub start {
    my ($self) = @_;

    my @cmd = ($NGINX, '-p', "$self->{dir}", '-c', "$self->{dir}/nginx.conf",
               '-e', "$self->{dir}/logs/error.log");

    @cmd = $self->{machine}->inside(@cmd) if $self->{machine};

    $self->{nginx} = ZLTunnel::Proc->start(
        name => 'nginx', err => "$self->{dir}/logs/stderr", cmd => \@cmd);

    if ($self->{daemon} eq 'on') {
        $self->{nginx}->wait(30);

        # written by the child, which need not have come as far
        my $pid = wait_for(sub {
            slurp("$self->{dir}/nginx.pid") =~ /^(\d+)\n/ && $1;
        });
        $self->follow($pid) if $pid;
    }

    my $ready = wait_for(sub {
        return 'exited' unless $self->{nginx}->running;
        return connect_to("$self->{address}:$self->{http_port}")
               && $self->workers == $self->{workers} && 'ready';
    }, 30);

    if (($ready // '') ne 'ready') {
        diag($self->tails);
        die "nginx did not start\n";
    }

    $self->{first_sockets} = $self->first_sockets if $self->{master} eq 'off';

    return $self;
}


# Without a master: how many sockets it has that are nobody's connection.  It
# listens on one while it has not made the next ones, but has all of them when
# it has answered a request; and has closed that one when the client sees it.

sub first_sockets {
    my ($self) = @_;

    my $s = connect_to($self->{http_port}) or die "no connection: $!";
    syswrite $s, "GET / HTTP/1.0\r\n\r\n";
    1 while sysread $s, my $answer, 65536;

    return $self->worker_sockets;
}


# The nginx of the test is that process from now on.

sub follow {
    my ($self, $pid) = @_;

    $self->{nginx} = ZLTunnel::Proc->adopt(name => 'nginx', pid => $pid);
}


# The pids of the workers; without a master, its own.

sub workers {
    my ($self) = @_;

    my @pids = $self->{nginx}->pid;
    return @pids if $self->{master} eq 'off';

    @pids = grep {
        slurp("/proc/$_/cmdline") =~ /^nginx: worker process(?! is)/
    } children_of(@pids);

    return @pids;
}


# The highest number of sockets that one worker has of its own: those of the
# master, ports and the ways between processes, are handed on to workers at
# moments of their choice.  Without a master, of those it did not start with.

sub worker_sockets {
    my ($self) = @_;

    return keys(%{ sockets($self->{nginx}->pid) })
           - ($self->{first_sockets} // 0) if $self->{master} eq 'off';

    my $most = 0;

    for my $pid ($self->workers) {
        my $own = sockets($pid);
        delete @$own{ keys %{ sockets($self->{nginx}->pid) } };
        $most = keys %$own if keys %$own > $most;
    }

    return $most;
}


# Sockets of workers to each other, or within one: bridges, and what is there
# always.

sub worker_pairs {
    my ($self) = @_;

    my %unix = map { (split)[6] => 1 } grep { / 0001 03 / }
               split /\n/, slurp('/proc/net/unix');

    return scalar grep { /(\d+)/ && $unix{$1} }
           map { keys %{ sockets($_) } } $self->workers;
}


# The decoded zltunnel_status, or undef.

sub status {
    my ($self, $path) = @_;

    my $r = http_get("$self->{address}:$self->{http_port}",
                     $path // '/tunnel/status');
    return undef unless $r && $r->{status} == 200;

    return JSON::PP::decode_json($r->{body});
}


# What the status says of one service, tunnels of all names searched.

sub service_status {
    my ($self, $name) = @_;

    my $st = $self->status or return undef;

    for my $tunnel (@{ $st->{tunnels} }) {
        for my $s (@{ $tunnel->{services} }) {
            return $s if $s->{name} eq $name;
        }
    }

    return undef;
}


sub url {
    my ($self, $scheme, $host) = @_;

    $host //= '127.0.0.1';
    my $port = $scheme eq 'wss' ? $self->{tls_port} : $self->{http_port};

    return "$scheme://$host:$port/tunnel/v1";
}


# Starts an agent; see ZLTunnel::Agent.  It is waited for, unless wait => 0.

sub agent {
    my ($self, %o) = @_;

    $self->known($o{token});

    my $agent = ZLTunnel::Agent->start($self, %o);
    push @{ $self->{agents} }, $agent;

    if ($o{wait} // 1) {
        if (!$agent->registered(scalar @{ $o{services} || [] } || 1)) {
            diag($self->tails);
            die "the agent did not register\n";
        }
    }

    return $agent;
}


sub log { slurp("$_[0]{dir}/logs/error.log") }


# The last lines of every log, for a test that failed.

sub tails {
    my ($self, $n) = @_;

    my $text = '';
    $n //= 40;

    for my $file (sort glob "$self->{dir}/logs/*") {
        next if $file =~ /access/ || !-s $file;
        my @lines = split /\n/, slurp($file);
        splice @lines, 0, @lines - $n if @lines > $n;
        $text .= join "\n", "--- $file", @lines, '';
    }

    return $text;
}


# Ends everything, that of other instances too, and judges what is left.

sub finish {
    my ($self, @others) = @_;

    $_->end for $self, @others;

    is_deeply([ ZLTunnel::Proc::left() ], [], 'no process is left');

    for my $t ($self, @others) {
        $t->check_logs;
        $t->{done} = 1;
    }

    done_testing();
}


sub end {
    my ($self) = @_;

    for my $agent (@{ $self->{agents} }) {
        next unless $agent->{proc}->running;
        is($agent->stop, 0, "agent $agent->{n} ends at SIGTERM with 0");
    }

    $_->stop for @{ $self->{procs} };

    if ($self->{nginx} && $self->{nginx}->running) {
        $self->check_descriptors;
        $_->{proc}->stop for @{ $self->{services} };

        is($self->{nginx}->stop($self->{master} eq 'off' ? 'TERM' : 'QUIT', 20),
           0, 'nginx quits with 0');
    }

    $_->{proc}->stop for @{ $self->{services} };
    $_->stop for @{ $self->{paths} };
}


# With the agents gone, no worker may have a socket of its own, nor more pipes
# than the relay keeps for later.

sub check_descriptors {
    my ($self) = @_;

    ok(wait_for(sub { !$self->worker_sockets }, 30),
       'no socket is left open in a worker') or diag($self->worker_sockets);

    for my $pid ($self->workers) {
        my $pipes = fds($pid)->{pipe};
        cmp_ok($pipes, '<=', 128, "worker $pid keeps few pipes ($pipes)");
    }
}


sub check_logs {
    my ($self) = @_;

    my (@bad, @secrets);
    my $secret = join '|', map { $_, sha256_hex($_) } @{ $self->{secrets} };

    $secret = qr/$secret/ if length $secret;

    for my $file (glob "$self->{dir}/logs/*") {
        for my $line (split /\n/, slurp($file)) {

            push @bad, "$file: $line"
                if $line =~ $BAD_LOG
                   && !grep { $line =~ $_ } @{ $self->{allow} };

            push @secrets, "$file: $line" if $secret && $line =~ $secret;
        }
    }

    splice @bad, 20 if @bad > 20;
    splice @secrets, 20 if @secrets > 20;

    is_deeply(\@bad, [], 'no alert, no sanitizer report in any log');
    is_deeply(\@secrets, [], 'no token or hash of one in any log');
}


# At the end of its scope, or of the test if it has none.

sub tidy {
    my ($self) = @_;

    return if $$ != $self->{owner} || $self->{tidy}++;
    local ($?, $@, $!);

    if (!$self->{done} || !Test::More->builder->is_passing) {
        diag($self->tails);
    }

    ZLTunnel::Proc::kill_all() if !$self->{done};
    File::Path::remove_tree($self->{dir}) if !$ENV{ZLT_KEEP};
}

sub DESTROY { $_[0]->tidy if ${^GLOBAL_PHASE} ne 'DESTRUCT' }

END { $_->tidy for grep { defined } @all }


1;
