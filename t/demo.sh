#!/bin/bash

# A tunnel on loopback, to see it work: nginx with the module, an agent, and
# a small web service behind it, which is then fetched through the port that
# nginx has assigned to it, and by the name of its host.  Ends at Ctrl-C; leaves
# nothing behind.

set -eu

cd "$(dirname "$0")/.."

nginx=$(command -v "${TEST_NGINX_BINARY:-nginx}" || echo /usr/sbin/nginx)
objs=$PWD/objs
dir=$(mktemp -d "${TMPDIR:-/tmp}/zltunnel-demo-XXXXXX")
chmod 755 "$dir"                    # the workers are another user
pids=()


cleanup() {
    trap - EXIT INT TERM HUP

    for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2> /dev/null || true; done

    rm -rf "$dir"
}

trap cleanup EXIT
trap 'echo; cleanup; exit 0' INT TERM HUP


die() {
    echo "demo: $*" >&2
    [ ! -s "$dir/nginx.out" ] || tail -5 "$dir/nginx.out" >&2
    [ ! -s "$dir/error.log" ] || tail -5 "$dir/error.log" >&2
    [ ! -s "$dir/agent.log" ] || tail -5 "$dir/agent.log" >&2
    exit 1
}


# The first port from $1 on that is free, with the $2 - 1 behind it.  A port of
# another zltunnel that has no service refuses connections, and is taken: so
# they are bound.

free_ports() {
    perl -MIO::Socket::INET -e '
        my ($port, $n) = @ARGV;
        my @held;

        for (; @held < $n && $port < 65536; $port++) {
            my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1",
                                          LocalPort => $port, Proto => "tcp");
            @held = $s ? (@held, $s) : ();
        }

        die "there are no free ports\n" if @held < $n;
        print $port - $n, "\n"' "$1" "$2"
}


wait_for() {
    for _ in $(seq 100); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.1
    done

    return 1
}


[ -f "$objs/ngx_zltunnel_module.so" ] && [ -x "$objs/zltunnel-agent" ] \
    || die "nothing is built yet: run make"

tunnel=$(free_ports 8000 1)
web=$(free_ports 8080 2)
hosts=$((web + 1))
first=$(free_ports 30000 10)
last=$((first + 9))


# A token: its owner keeps the token, nginx has only its hash.

(umask 077; "$objs/zltunnel-agent" token --name demo > "$dir/new")
sed -n '2s/$/ hosts=*.demo.localhost/p' "$dir/new" > "$dir/tokens"
(umask 077; sed -n 1p "$dir/new" > "$dir/token")
rm "$dir/new"


# what "make install" puts beside nginx.conf, and what a browser shows

cp ngx_zltunnel_module/*.conf "$dir/"
mkdir "$dir/www"
cp ngx_zltunnel_module/*.html "$dir/www/"


stream=$("$nginx" -V 2>&1 | tr ' ' '\n' | sed -n 's/^--modules-path=//p')
stream=$stream/ngx_stream_module.so

{
    [ ! -e "$stream" ] || echo "load_module $stream;"
    [ "$(id -u)" != 0 ] || ! id www-data > /dev/null 2>&1 \
        || echo "user www-data;"

    cat << EOT
load_module $objs/ngx_zltunnel_module.so;

worker_processes 2;
daemon           off;
pid              $dir/nginx.pid;
error_log        $dir/error.log notice;

events { worker_connections 1024; }

zltunnel {
    token_file $dir/tokens;
    domain     demo.localhost;      # an agent's "web" is below it

    # a name that nobody has is unknown at once, agents are not away for long
    reconnect_grace 1s;
}

http {
    access_log            off;
    client_body_temp_path $dir/temp;
    proxy_temp_path       $dir/temp;
    fastcgi_temp_path     $dir/temp;
    uwsgi_temp_path       $dir/temp;
    scgi_temp_path        $dir/temp;

    server {
        listen 127.0.0.1:$tunnel;

        location = /tunnel/v1     { zltunnel; }
        location = /tunnel/status { zltunnel_status; }

        # what a browser shows of it; in real life with a password

        location /dashboard/ {
            alias $dir/www/;
            index dashboard.html;
            allow 127.0.0.1;
            deny  all;

            location /dashboard/api/ { zltunnel_api write=on; }
        }
    }

    # the hosts that agents bring; in real life with TLS, and a wildcard in DNS

    upstream tunnelled {
        zltunnel_host \$host;
        keepalive 64;
    }

    server {
        listen 127.0.0.1:$hosts;
        server_name *.demo.localhost;

        include zltunnel_error.conf;
        location / { include zltunnel_proxy.conf; proxy_pass http://tunnelled; }
    }

    # the service, on the agent's side in real life

    server {
        listen 127.0.0.1:$web;
        return 200 "Hello from behind the tunnel.\n";
    }
}

stream {
    server {
        listen 127.0.0.1:$first-$last;
        zltunnel_ports;
    }
}
EOT
} > "$dir/nginx.conf"

"$nginx" -p "$dir" -c "$dir/nginx.conf" -e "$dir/error.log" \
    < /dev/null > "$dir/nginx.out" 2>&1 &
pids+=($!)

wait_for curl -sf "http://127.0.0.1:$web/" || die "nginx does not start"

"$objs/zltunnel-agent" connect \
    --server "ws://127.0.0.1:$tunnel/tunnel/v1" \
    --token-file "$dir/token" --service "web:127.0.0.1:$web:0" --host web \
    < /dev/null > "$dir/agent.out" 2> "$dir/agent.log" &
pids+=($!)

wait_for grep -q -- '->.*http' "$dir/agent.out" \
    || die "the agent does not register"

port=$(sed -n 's/.*->  [^/]*:\([0-9]*\)$/\1/p' "$dir/agent.out")
url=http://web.demo.localhost:$hosts/

cat << EOT

nginx   with the module: agents connect to ws://127.0.0.1:$tunnel/tunnel/v1,
        ports $first-$last are there to be assigned (a port that is not
        assigned refuses connections)
agent   zltunnel-agent connect --server ws://127.0.0.1:$tunnel/tunnel/v1 \\
            --token-file token --service web:127.0.0.1:$web:0 --host web
        and it says, once connected:

$(grep -- '->' "$dir/agent.out" | sed 's/^/        /')
EOT

for at in "http://127.0.0.1:$port/" "$url"; do
    printf '\n$ curl %s\n' "$at"

    # resolvers need not know names below localhost

    curl -sS --max-time 10 --noproxy '*' \
        --resolve "web.demo.localhost:$hosts:127.0.0.1" "$at" \
        > "$dir/answer" || die "no answer through the tunnel"
    cat "$dir/answer"

    grep -q 'Hello from behind the tunnel' "$dir/answer" || die "a wrong answer"
done

cat << EOT

In a browser: $url
What one sees where nobody answers: http://nobody.demo.localhost:$hosts/
What nginx knows about it: http://127.0.0.1:$tunnel/dashboard/
    or curl http://127.0.0.1:$tunnel/tunnel/status
Its configuration: $dir/nginx.conf

Ctrl-C ends the demo.
EOT

# wait is interrupted by a signal at once; it ends by itself if one of the
# processes does

wait -n "${pids[@]}" || true
die "nginx or the agent has ended"
