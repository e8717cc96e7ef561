#!/bin/sh

# Runs tests with prove: side by side those that can be, then the others.
#
#     t/run.sh TEST...
#
# TEST is a program or a folder.  One that measures what others would disturb
# says so in its opening comment, "# Alone: " and why, and runs by itself.
#
#     PROVE_JOBS=N     at a time, four for each processor by default
#     PROVE=...        another prove, or with more options

set -eu

jobs=${PROVE_JOBS:-$((4 * $(nproc)))}
tests=

for test; do
    if [ -d "$test" ]; then
        tests="$tests $(find "$test" -name '*.t')"
    else
        tests="$tests $test"
    fi
done

# a common user has few descriptors at first, and may have more

# shellcheck disable=SC3045      # dash and bash have these
[ "$(ulimit -n)" -ge 20000 ] || ulimit -S -n 20000 2> /dev/null \
    || ulimit -S -n "$(ulimit -H -n)"

# the largest first, which by and large take longest

tests=$(ls -S -- $tests)
alone=
beside=

for test in $tests; do
    case $test in
    *.t) ! grep -q '^# Alone: ' "$test" || { alone="$alone $test"; continue; }
    esac

    beside="$beside $test"
done

# What the tests complain of passes by, and is told again at the end.

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkfifo "$dir/stderr"

run()
{
    tee -a "$dir/said" < "$dir/stderr" >&2 &
    ${PROVE:-prove} "$@" 2> "$dir/stderr" || status=1
    wait $!
}

status=0
[ -z "$beside" ] || run -j"$jobs" $beside
[ -z "$alone" ] || run $alone

if [ $status != 0 ] && [ -s "$dir/said" ]; then
    echo 'What the tests said:'
    cat "$dir/said"
fi

exit $status
