#!/usr/bin/perl

# Protects: HTTP/3 at the front of tunnelled services.  Answers and uploads
# are whole, an upload goes on while it comes, many streams of one QUIC
# connection don't mix, half of an answer does not look whole; streams that
# are cancelled, uploads that are reset, and clients that vanish leave no
# channel, descriptor, or counter behind.  Agents themselves speak HTTP/1.1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::App;
use ZLTunnel::Proc;

my $PYTHON;                    # one that has aioquic

need_http3();

for my $tls (0, 1) {
    subtest $tls ? 'wss' : 'ws', \&http3, $tls;
}

done_testing();


sub need_http3 {
    my (undef, $v) = run($ZLTunnel::NGINX, '-V');

    plan(skip_all => 'this nginx has no HTTP/3: t/with-nginx.sh builds one '
                     . 'of 1.25 or later with it')
        if $v !~ /--with-http_v3_module/;

    ($PYTHON) = grep { !(run($_, '-c', 'import aioquic'))[0] }
                     $ENV{TEST_PYTHON} || ('/usr/bin/python3', 'python3');

    plan(skip_all => 'no HTTP/3 client: install aioquic for Python 3 (in a '
                     . 'virtual environment: TEST_PYTHON=DIR/bin/python)')
        if !$PYTHON;
}


sub http3 {
    my ($tls) = @_;

    my $t = ZLTunnel->new(workers => 4);
    my $front = $t->free_port;
    my $certs = $t->certs;
    my $log = "$t->{dir}/logs/front.log";

    my $app = app($t, 'app');
    my $h2c = since(1, 29, 4);           # proxy_pass has HTTP/2
    my $http2 = $h2c ? 'http2 on;' : '';
    my $files = backend($t, <<"EOT");
server {
    listen 127.0.0.1:%PORT%;
    $http2
    root %DIR%;
    location /slow/ { alias %DIR%/; limit_rate 20k; }
}
EOT

    my $h2c_location = $h2c ? <<'EOT' : '';
location /h2c/ { proxy_pass http://h2c/; proxy_http_version 2;
                 proxy_set_header Host localhost; }
EOT

    my $size = sizes('bytes', 50_000_000, 5_000_000);
    my $big = bytes($size);
    write_file("$files->{dir}/big", $big, 0644);

    $t->write_conf(http => <<"EOT");
log_format front '\$uri \$server_protocol \$remote_port \$status';
upstream web { zltunnel_service web; keepalive 8; }
upstream files { zltunnel_service files; keepalive 8; }
upstream uploads { zltunnel_service uploads; keepalive 8; }
upstream held { zltunnel_service held; keepalive 8; }
upstream cut { zltunnel_service cut; keepalive 8; }
upstream h2c { zltunnel_service files; keepalive 8; }
upstream nobody { zltunnel_service nobody; }
server {
    listen 127.0.0.1:$front quic reuseport;
    ssl_certificate $certs/server.pem;
    ssl_certificate_key $certs/server.key;
    access_log $log front;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    location / { proxy_pass http://web; }
    location /files/ { proxy_pass http://files/; }
    location /upload { proxy_pass http://uploads; proxy_request_buffering off; }
    location /hold { proxy_pass http://held; }
    location /cut/ { proxy_pass http://cut/; proxy_buffering off; }
    $h2c_location
    location /nobody { proxy_pass http://nobody; }
    location = /tunnel/v1 { zltunnel; }
}
EOT

    my $token = $t->token('alice');
    $t->start;
    my $agent = $t->agent(token => $token, tls => $tls, services => [
        "web:$app->{port}/private", "files:$files->{port}/private",
        "uploads:$app->{port}/private", "held:$app->{port}/private",
        "cut:$files->{port}/private" ]);

    my $client = client($t, 'client', $front, 60);
    my $active = sub { $t->service_status($_[0])->{active} };


    # answers

    my $answers = $client->('get /');
    is_deeply($answers, [ answer('/', 200, "app 1 1\n") ], 'a request');
    is($client->('get /')->[0], answer('/', 200, "app 1 2\n"),
       'another one, on a connection that is kept alive');

    is($client->('get /files/big')->[0], answer('/files/big', 200, $big),
       "$size bytes are whole");

    my $part = $size / 50;
    my @paths = map {
        sprintf '/files/big@%d-%d', $_ * $part, ($_ + 1) * $part - 1
    } 0 .. 49;
    $answers = $client->("get @paths");
    is_deeply($answers, [ map {
        answer($paths[$_], 206, substr $big, $_ * $part, $part)
    } 0 .. 49 ], '50 streams at once, each with its own part');

  SKIP: {
        skip 'proxy_pass of this nginx has no HTTP/2', 1 unless $h2c;

        is_deeply($client->('get /h2c/big /h2c/big'),
                  [ (answer('/h2c/big', 200, $big)) x 2 ],
                  'and by HTTP/2 to the service');
    }

    like($client->('get /nobody')->[0], qr/^\S+ 502 .* whole$/,
         'a name that nobody has registered');
    like($client->('get /tunnel/v1')->[0], qr/^\S+ 426 .* whole$/,
         'no way in for agents');
    like($client->('get /reset')->[0], qr{^/reset 200 \d{1,4} \w+ reset$},
         'half of an answer does not look like a whole one');


    # uploads

    my $first = $t->events($app, 'first');
    $client->("post /upload $size");
    ok(wait_for(sub { $t->events($app, 'first') > $first }),
       'the first bytes of an upload arrive before the last are sent');
    is($client->('rest')->[0],
       answer('/upload', 200, "$size " . sha256_hex($big) . "\n"),
       "$size bytes arrive whole");
    is($active->('uploads'), 1, 'one connection is kept alive');


    # what is given up

    my $before = settled($t, $agent);
    ok(defined $before, 'the agent has the descriptors it should');

    $first = $t->events($app, 'first');
    $client->("post /upload $size");
    ok(wait_for(sub { $t->events($app, 'first') > $first }),
       'an upload has begun');
    $client->('reset');
    ok(wait_for(sub { $active->('uploads') == 0 }),
       'and is reset: nothing is left of it');

    $client->('open 20 /hold');
    ok(wait_for(sub { $t->events($app, 'hold') == 20 }),
       '20 requests are held by the service');
    $client->('cancel');
    ok(wait_for(sub { $t->events($app, 'gone') == 20 }),
       'and are cancelled, which it sees');
    ok(wait_for(sub { $active->('held') == 0 }), 'nothing is left of them');

    for my $path ('/cut/slow/big', '/cut/big') {
        $client->("open 20 $path");
        $client->('begun');
        is($active->('cut'), 20, "20 downloads of $path");
        is(scalar(grep { / reset$/ } @{ $client->('cancel') }), 20,
           'are cancelled in the middle');
        ok(wait_for(sub { $active->('cut') == 0 }),
           'nothing is left of them');
    }

    is($client->('get /files/big')->[0], answer('/files/big', 200, $big),
       'the connection serves other requests');

    my $other = client($t, 'other', $front, 3);
    $other->('open 10 /cut/slow/big');
    $other->('begun');
    is($active->('cut'), 10, '10 downloads of another client');
    $other->();
    ok(wait_for(sub { $active->('cut') == 0 }),
       'which vanishes: nothing is left of them');

    is(settled($t, $agent), $before, 'the agent has closed its descriptors');
    is($t->status->{tunnels}[0]{pending}, 0, 'and nothing is pending');


    # what it was by which this was shown

    my @lines = slurp($log) =~ m{^(?!/cut/)(\S+ \S+ \d+) \d+$}mg;
    my %ports = map { (split)[2], 1 } @lines;
    cmp_ok(scalar @lines, '>', 50, 'requests are logged');
    is(scalar(grep { !m{ HTTP/3\.0 } } @lines), 0, 'as of HTTP/3');
    is(scalar keys %ports, 1, 'on one connection');

    $t->finish;
}


# The bytes that h3_client.py sends.

sub bytes {
    my ($size) = @_;

    my $period = join '', map { chr($_ * 7 % 251) } 0 .. 250;
    return substr $period x ($size / 251 + 1), 0, $size;
}


# A line of h3_client.py for an answer that is whole.

sub answer {
    my ($path, $status, $body) = @_;

    return join ' ', $path, $status, length $body, sha256_hex($body), 'whole';
}


# Starts an h3_client.py.  What is returned tells it a command and returns
# its lines; without a command it kills it.

sub client {
    my ($t, $name, $port, $idle) = @_;

    my $proc = $t->spawn($name, $PYTHON, "$FindBin::Bin/../lib/h3_client.py",
                         $port, $t->certs . '/ca.pem', $idle);

    wait_for(sub { $proc->output =~ /^ready/m || !$proc->running })
        && $proc->running or die "no HTTP/3 client: " . slurp($proc->{err});

    return sub {
        return $proc->stop('KILL') if !@_;

        my $seen = length $proc->output;
        $proc->say($_[0]);

        my $said = wait_for(sub {
            my $new = substr $proc->output, $seen;
            return $new =~ /^(.*)^done /ms ? [ split /\n/, $1 ]
                   : !$proc->running && [ 'it has ended' ];
        }, 60);

        return $said // [ 'no answer' ];
    };
}


# The agent's sockets less those that its connections account for, once
# nothing changes.

sub settled {
    my ($t, $agent) = @_;

    my $last = '';

    return wait_for(sub {
        my $tunnel = $t->status->{tunnels}[0];
        my $active = 0;
        $active += $_->{active} for @{ $tunnel->{services} };

        my $now = fds($agent->pid)->{socket} - $tunnel->{idle_channels}
                  - 2 * $active;
        (my $was, $last) = ($last, "$now $active $tunnel->{idle_channels}");

        return $was eq $last && !$tunnel->{pending} && $now;
    });
}
