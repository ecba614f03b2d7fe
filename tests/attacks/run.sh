#!/usr/bin/env bash
# The attack battery: hostile calls and programs through the real gateway, each with an honest twin. As root
# it runs twice, the second time with a daemon without privilege.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"

if [ ! -x /usr/bin/python3 ]; then
    echo "skipped: the payloads need /usr/bin/python3, which boxes see"
    exit 0
fi
cargo build --quiet --locked -p kruxos-gateway -p kruxos-jail -p kruxos-cli
python=$(python_with clients-venv mcp==2.3.0)
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
chmod 755 "$bin"
cp "$root"/target/debug/{kruxosd,kruxos-jail,kruxos} "$here"/{battery,payloads}.py "$bin/"

battery() { # battery COMMAND...: everything below it, as whoever COMMAND makes it
    local data=$bin/$1 as=("${@:2}")
    mkdir "$data"
    [ "${#as[@]}" -eq 0 ] || chown 65534:65534 "$data"
    mkfifo "$data.ready" 2>/dev/null || true
    rm -f "$data.ready"
    "${as[@]}" env HOME="$data" "$bin/kruxosd" up --json --port 0 --health-port 0 --data-dir "$data/d" \
        >"$data.up" 2>"$data.log" &
    daemon_pid=$!
    local waited=0
    until [ -s "$data.up" ]; do
        kill -0 "$daemon_pid" 2>/dev/null || { cat "$data.log" >&2; fail "the daemon ended"; }
        waited=$((waited + 1)); [ "$waited" -lt 300 ] || fail "the daemon did not start within 30 s"
        sleep 0.1
    done
    local result=0
    "$python" "$bin/battery.py" "$(field gateway "$data.up")" "$data/d" "$bin/kruxos" || result=$?
    stop_daemon
    [ "$result" -eq 0 ] || { tail -30 "$data.log" >&2; fail "the battery, $1"; }
}

echo "== as $(id -un)"
battery own
if [ "$(id -u)" -eq 0 ]; then
    echo "== without privilege"
    battery nobody setpriv --reuid 65534 --regid 65534 --clear-groups
fi
