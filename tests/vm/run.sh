#!/usr/bin/env bash
# The sandbox's kernel tests in a guest that has cgroup v2: a user-mode Linux of Debian's, which needs
# neither KVM nor root's help from the host. The host's own files are its root, read-only.
# The package is fetched once and kept; where it cannot be had the run is skipped and says so, unless
# KRUXOS_VM_REQUIRED=1.
set -euo pipefail
. "$(dirname "$0")/../lib.sh"

deadline=300

skip() {
    [ "${KRUXOS_VM_REQUIRED:-0}" = 1 ] && fail "$1"
    echo "skipped: $1"
    exit 0
}

fetch() { # PACKAGE FOLDER: Debian's package, unpacked
    [ -e "$2/.ready" ] && return
    command -v apt-get >/dev/null || skip "$1 comes from Debian's packages, and there is no apt-get here"
    rm -rf "$2" && mkdir -p "$2"
    # A fresh machine has no package lists yet; root can have them fetched.
    download "$1" "$2" || { [ "$(id -u)" = 0 ] && apt-get -qq update && download "$1" "$2"; } ||
        skip "$1 could not be fetched (apt-get update may help)"
    (cd "$2" && dpkg -x ./*.deb . && rm ./*.deb) || fail "$1 could not be unpacked"
    touch "$2/.ready"
}

download() { # PACKAGE FOLDER
    (cd "$2" && apt-get -qq -o APT::Sandbox::User=root download "$1" 2>/dev/null)
}

[ "$(uname -m)" = x86_64 ] || skip "user-mode Linux is packaged for x86_64 only"
fetch user-mode-linux "$work/vm/uml"
linux=$work/vm/uml/usr/bin/linux.uml

# The paths of the two test programs, as cargo names them.
program() {
    cargo test --locked --quiet --package kruxos-sandbox --test "$1" --no-run --message-format=json |
        python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[1]:
        print(message["executable"])' "$1"
}
run=$work/vm/run
mkdir -p "$run"
cp "$(program cgroup)" "$run/groups"
cp "$(program seccomp)" "$run/filters"

truncate -s 64M "$run/disk"
PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F "$run/disk" || echo "without a disk: there is no mkfs.ext4"

# /mnt is where the guest writes: the host's own files are read-only there.
cat >"$run/init" <<END
#!/bin/sh
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/mnt TMPDIR=/mnt RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /mnt
mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
mkdir /dev/shm
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir /mnt/disk
mount -t ext4 /dev/ubda /mnt/disk
ip link set lo up
passed() { "\$@" && echo "PASSED \$tag"; }
cd /mnt
uname -sr

echo "--- in the root group"
tag=groups passed $run/groups --require=seccomp,user_ns,pid_ns,net_ns,mount_ns,cgroup_v2

echo "--- in a group that was not delegated and holds another process"
group=/sys/fs/cgroup/kruxos.service
mkdir \$group
echo \$\$ >\$group/cgroup.procs
$run/groups the_device | grep "shared with other processes, such as init" && echo "PASSED shared"

echo "--- in a group that was delegated"
python3 -c 'import os; os.setxattr("/sys/fs/cgroup/kruxos.service", "trusted.delegate", b"1")'
tag=service passed $run/groups --require=cgroup_v2
tag=again passed $run/groups --require=cgroup_v2 leftovers

echo "--- the filters on this kernel"
tag=filters passed $run/filters
poweroff -f 2>/dev/null || echo o >/proc/sysrq-trigger
END
chmod +x "$run/init"

timeout --kill-after=10 "$deadline" "$linux" mem=1G rootfstype=hostfs rootflags=/ ro "init=$run/init" \
    "ubd0=$run/disk" con=null con0=fd:0,fd:1 quiet cgroup_no_v1=all </dev/null 2>&1 | tee "$work/vm/log" || true
for tag in groups shared service again filters; do
    grep -q "^PASSED $tag" "$work/vm/log" || fail "in the guest: $tag"
done
echo "passed in the guest"
