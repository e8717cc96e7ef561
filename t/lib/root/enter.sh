#!/bin/sh

# The first process of a root of the tests' own (ZLTunnel::Root), in namespaces of
# its own: mounts what a system needs below DIR, and becomes systemd there.
#
#     enter.sh DIR LOWER
#
# LOWER is the tree that is seen, and not written to: what is written is in
# memory, below DIR.

set -eu

dir=$1
lower=$2

ip link set lo up

mount -t tmpfs -o mode=755 tmpfs "$dir"
mkdir "$dir/up" "$dir/work" "$dir/root"
chmod 755 "$dir/up" "$dir/root"
mount -t overlay overlay \
    -o "lowerdir=$lower,upperdir=$dir/up,workdir=$dir/work" "$dir/root"

cd "$dir/root"

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp

for node in null zero full random urandom tty; do
    touch dev/$node
    mount --bind /dev/$node dev/$node
done

mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/1 dev/stdout
mount -t tmpfs -o mode=1777 tmpfs dev/shm

mount -t cgroup2 cgroup2 sys/fs/cgroup

# services of packages are to be started, as on a machine

rm -f usr/sbin/policy-rc.d

hostname zlt
printf '127.0.0.1 localhost zlt\n::1 localhost\n' > etc/hosts

mkdir run/old
pivot_root . run/old
umount -l /run/old
rmdir /run/old

exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    container=zlt /lib/systemd/systemd --unit=basic.target \
    --show-status=0 --log-target=console
