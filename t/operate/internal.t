#!/usr/bin/perl

# Protects: the requests that zltunnel_auth and zltunnel_notify make are driven
# by nginx as a client's are, whatever the location has: a delay of limit_req
# passes, an error page answers, a log has its variables; and
# worker_shutdown_timeout ends them, too.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Wire;

my $t = ZLTunnel->new(
    workers => 1, main => 'worker_shutdown_timeout 1s;',
    zltunnel => 'reconnect_grace 1s;');

my $port = $t->free_port;
my $silent = $t->free_port;

# the variables that look at the connection, and at what a client's has

my @variables = map { "\$$_" } qw(
    remote_addr remote_port binary_remote_addr server_addr server_port
    server_name connection connection_requests connection_time request
    request_length request_time request_uri request_completion pid scheme
    https ssl_protocol ssl_session_id ssl_server_name ssl_client_cert
    tcpinfo_rtt proxy_protocol_addr realip_remote_addr remote_user host
    http_host hostname status bytes_sent body_bytes_sent sent_http_connection
    sent_http_location pipe msec args is_args
    upstream_addr content_length content_type http_x_forwarded_for
    http_cookie proxy_add_x_forwarded_for limit_rate http2);

my $file = "$t->{dir}/logs/internal";

$t->write_conf(http => <<"EOT", location => <<"EOT2");
    limit_req_zone \$server_name zone=slow:1m rate=5r/s;
    log_format every '@variables';

    server {
        listen 127.0.0.1:$port;
        location = /auth { return 200; }
        location = /moved { return 302 /auth; }
        location = /no { return 403; }
    }
EOT
    access_log $file every;

    location = /limited { zltunnel; zltunnel_auth /slow timeout=30s; }
    location = /paged { zltunnel; zltunnel_auth /page; }
    location = /self { zltunnel; zltunnel_auth /self; }
    location = /silent {
        zltunnel;
        zltunnel_auth /none timeout=1m;
        zltunnel_notify /none;
    }

    location = /slow {
        internal;
        limit_req zone=slow burst=10;
        proxy_pass http://127.0.0.1:$port/auth;
    }

    location = /page {
        log_subrequest on;
        proxy_pass http://127.0.0.1:$port/moved;
        proxy_intercept_errors on;
        error_page 302 = \@moved;
    }

    location \@moved {
        log_subrequest on;
        try_files /nothing \@last;
    }

    location \@last {
        log_subrequest on;
        auth_request /no;
        limit_rate 1k;
        gzip on;
        rewrite ^ /auth break;
        proxy_pass http://127.0.0.1:$port;
    }

    location = /none {
        internal;
        proxy_read_timeout 1m;
        proxy_pass http://127.0.0.1:$silent;
    }
EOT2

# takes connections, and says nothing

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
    LocalPort => $silent, Listen => 64, ReuseAddr => 1,
    Timeout => 20) or die "listen: $!";

my $known = $t->token('known');
$t->start;

sub asks {
    my ($path, $token) = @_;

    my $c = ZLTunnel::Wire->control($t, path => $path);
    $c->auth($token, features => 7);
    return $c;
}

sub told { my ($c) = @_;
           return ($c->next(20) // { type => "none: $c->{end}" }) }


subtest 'a location with limit_req' => sub {
    my @c = map { asks('/limited', "limited-$_") } 1 .. 4;

    is(told($_)->{type}, 'AuthOk', 'let in, if a little later') for @c;
    $_->reset for @c;

    like($t->log, qr/delaying request/, 'nginx had it wait');
};


subtest 'a location with an error page, and a log' => sub {
    my $c = asks('/paged', 'paged');

    is(told($c)->{type}, 'AuthOk', 'the page answers');
    like(slurp($file), qr/^127\.0\.0\.1 .* \/page /m, 'it is logged');
    $c->reset;
};


subtest 'a location that asks itself' => sub {
    my $m = told(asks('/self', 'self'));

    is($m->{type}, 'AuthFail', 'an agent is told');
    is($m->{code}, 10, '.. to come again');
};


subtest 'worker_shutdown_timeout' => sub {
    my @c = map { asks('/silent', "silent-$_") } 1 .. 3;
    my $alice = asks('/silent', $known);
    is(told($alice)->{type}, 'AuthOk', 'an agent, of which somebody is told');

    my @taken = map { scalar $listen->accept } 1 .. 7;
    ok(7 == grep({ $_ } @taken), 'all is asked and told');

    my ($old) = $t->workers;
    my $from = time;

    kill 'HUP', $t->{nginx}->pid;

    ok(wait_for(sub { !kill 0, $old }, 60), 'a reload');
    cmp_ok(time - $from, '<', 5 * slowdown(), '.. ends it in time');
};

$t->finish;
