#!/usr/bin/env bash
# An agent works on a clone of this repository; the operator approves, is told what happened, and finds
# the one byte that somebody changed in the log.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"
cargo build --quiet --locked -p kruxos-gateway -p kruxos-jail -p kruxos-cli
exec python3 "$here/session.py" "$root" "$root/target/debug"
