#!/bin/sh

# Runs the tests with an nginx that is built from source.
#
#     t/with-nginx.sh DIR [TEST...]
#
# DIR is nginx's source tree, a release or a checkout of its repository, and
# is left as it is.  nginx, the modules and the agent are built in
# objs/nginx-VERSION; all tests run, or those given.  HTTP/3 is built in where
# nginx has it; its test wants aioquic, for Python 3, and skips without:
#
#     python3 -m venv DIR && DIR/bin/pip install aioquic
#     TEST_PYTHON=DIR/bin/python t/with-nginx.sh ...
#
#     SANITIZE=1       nginx, module and agent with AddressSanitizer and UBSan,
#                      each allocation of a pool by itself
#     CONFIGURE=...    more arguments of nginx's configure
#     BUILD=DIR        somewhere else than objs/nginx-VERSION

set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
src=$(cd "$1" && pwd)
shift

version=$(sed -n 's/^#define NGINX_VERSION *"\(.*\)"/\1/p' \
              "$src/src/core/nginx.h")
[ -n "$version" ] || { echo "$src is not an nginx source tree" >&2; exit 2; }

build=${BUILD:-$root/objs/nginx-$version${SANITIZE:+-sanitize}}
cc_opt=-O1\ -g
ld_opt=

if [ -n "${SANITIZE:-}" ]; then
    flags=-fsanitize=address,undefined
    cc_opt="$cc_opt $flags -DNGX_DEBUG_PALLOC=1"
    checks=alignment,nonnull-attribute,pointer-overflow,shift
    cc_opt="$cc_opt -fno-sanitize=$checks"
    ld_opt="$flags $build/sanitize.o"

    export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
    export LSAN_OPTIONS="${LSAN_OPTIONS:-print_suppressions=0}"
    export ZLT_SLOW="${ZLT_SLOW:-4}"

    mkdir -p "$build"
    ${CC:-cc} -g -fPIC -c -o "$build/sanitize.o" "$root/auto/sanitize.c"
fi

if [ ! -x "$build/sbin/nginx" ]; then
    rm -rf "$build/src"
    mkdir -p "$build"
    cp -R "$src" "$build/src"
    chmod -R u+w "$build/src"

    cd "$build/src"
    rm -rf objs
    configure=./configure
    [ -f configure ] || configure=auto/configure

    # since 1.25.0
    http_v3=
    ! grep -q -e --with-http_v3_module auto/options \
        || http_v3=--with-http_v3_module

    $configure --prefix="$build" --with-compat --with-debug --with-threads \
        --with-http_ssl_module --with-http_v2_module $http_v3 \
        --with-http_realip_module --with-http_auth_request_module \
        --with-http_stub_status_module --with-stream \
        --with-stream_ssl_module --with-stream_ssl_preread_module \
        --with-stream_realip_module --with-cc-opt="$cc_opt" \
        --with-ld-opt="$ld_opt" ${CONFIGURE:-} > "$build/build.log" 2>&1 \
        && make -j"${JOBS:-2}" >> "$build/build.log" 2>&1 \
        && make install >> "$build/build.log" 2>&1 \
        || { tail -20 "$build/build.log" >&2; exit 1; }
fi

cd "$root"

cluster=
[ ! -e /usr/include/hiredis/hiredis.h ] || cluster=CLUSTER=1

make --no-print-directory NGINX="$build/sbin/nginx" NGINX_SRC="$src" \
     OBJS="$build/zltunnel" $cluster all > "$build/module.log" 2>&1 \
    || { tail -20 "$build/module.log" >&2; exit 1; }

export TEST_NGINX_BINARY="$build/sbin/nginx"
export TEST_ZLT_MODULE="$build/zltunnel/ngx_zltunnel_module.so"
export TEST_ZLT_AGENT="$build/zltunnel${SANITIZE:+/sanitize}/zltunnel-agent"
export TEST_STREAM_MODULE=none

# not for what a test builds

unset SANITIZE

[ $# -gt 0 ] || set -- t

"$TEST_NGINX_BINARY" -v
t/run.sh "$@"
