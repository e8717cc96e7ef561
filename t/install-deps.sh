#!/bin/sh

# Installs the Debian packages that are missing, and nothing if none is.
#
#     t/install-deps.sh [build] [demo] [check] [bench] [fuzz] [lint] [deb] [rpm]
#
# build: to compile the module and the agent; demo: to run the demo; check:
# for the tests; bench, fuzz, lint, deb, rpm: for "make" with these.  The first three
# of them without arguments.  Services that come with the packages (nginx, sshd,
# redis) are not started: their programs are wanted.

set -eu

build='gcc libc6-dev make pkg-config nginx nginx-dev libnginx-mod-stream
       libssl-dev libuv1-dev zlib1g-dev libqrencode-dev'
demo='curl openssl procps'
bench=wrk
deb='debhelper dpkg-dev fakeroot libhiredis-dev'
rpm=rpm
fuzz='clang libclang-rt-dev'
lint='clang clang-tidy cppcheck shellcheck libperl-critic-perl'
check='libhiredis-dev perl curl openssl ca-certificates procps iproute2 openssh-server
       openssh-client redis-server redis-tools iperf3 dnsmasq-base
       bind9-dnsutils wrk python3-grpcio python3-yaml postgresql
       python3-psycopg2 python3-jwt python3-cryptography tinyproxy-bin
       squid microsocks dante-server haproxy jq nftables ufw fail2ban mandoc zsh
       fish lintian mmdebstrap systemd rpm
       prometheus'

[ $# -gt 0 ] || set -- build demo check

missing=

for set; do
    case $set in
    build) packages=$build ;;
    demo)  packages=$demo ;;
    bench) packages=$bench ;;
    check) packages=$check ;;
    fuzz)  packages=$fuzz ;;
    lint)  packages=$lint ;;
    deb)   packages="$build $deb" ;;
    rpm)   packages=$rpm ;;
    *)     echo "unknown set of packages: $set" >&2; exit 2 ;;
    esac

    command -v dpkg > /dev/null || continue

    for package in $packages; do
        case " $missing " in *" $package "*) continue ;; esac

        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)
        in
        installed) ;;
        *) missing="$missing $package" ;;
        esac
    done
done

if ! command -v dpkg > /dev/null; then
    echo "This is not Debian: no packages are installed, what is there is" \
         "used." >&2
    exit 0
fi

[ -n "$missing" ] || exit 0

echo "Installing:$missing"

if [ "$(id -u)" = 0 ]; then
    as_root=

elif command -v sudo > /dev/null; then
    as_root=sudo

else
    echo "Neither root nor sudo.  As root, run:" >&2
    echo "    apt-get update && apt-get install -y$missing" >&2
    exit 1
fi


# policy-rc.d is how Debian keeps packages from starting their services;
# one that is there already is the administrator's.

policy=/usr/sbin/policy-rc.d

if [ ! -e $policy ]; then
    trap '$as_root rm -f $policy' EXIT
    trap 'exit 1' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy > /dev/null
    $as_root chmod 755 $policy
fi

install() {
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold \
        install -y --no-install-recommends $missing < /dev/null
}

# the lists may be missing, or too old for what the mirror still has

install 2> /dev/null \
    || { $as_root apt-get -qq update && install; } \
    || { echo "Could not install:$missing" >&2; exit 1; }
