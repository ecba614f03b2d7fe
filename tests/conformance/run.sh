#!/bin/sh
# Runs the official MCP conformance suite against a gateway with the fixture set, for both requirement
# sets. Every scored scenario must pass; unscored ones are reported, and must pass too unless they are
# listed here with a reason.
#
# Excluded: none. Reported without a verdict: tasks-status-notifications, which the suite itself skips.
#
# Needs npm (any Node that runs it); the suite's own Node comes from npm. Installs into
# $KRUXOS_TEST_CACHE, default .work/ of this checkout.
set -eu

SUITE_VERSION=0.2.0-alpha.12
NODE_VERSION=24
REVISIONS="2026-07-28 2025-11-25"

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${KRUXOS_TEST_CACHE:-$root/.work}/conformance
suite=$cache/node_modules/@modelcontextprotocol/conformance/dist/index.js
node=$cache/node_modules/.bin/node
mkdir -p "$cache"

if ! grep -qs "\"version\": \"$SUITE_VERSION\"" "$cache/node_modules/@modelcontextprotocol/conformance/package.json" \
    || [ ! -e "$node" ]; then
    npm install --prefix "$cache" --no-save --no-audit --no-fund --loglevel=error \
        "node@$NODE_VERSION" "@modelcontextprotocol/conformance@$SUITE_VERSION"
fi

cargo build --quiet --manifest-path "$root/Cargo.toml" -p kruxos-gateway \
    --features conformance-fixtures --example conformance_server

run=$(mktemp -d)
server=
# The server ends when its input does, so it cannot outlive this script.
cleanup() {
    exec 9>&- || true
    if [ -n "$server" ]; then wait "$server" || true; fi
    rm -rf "$run"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
mkfifo "$run/input"
"${CARGO_TARGET_DIR:-$root/target}/debug/examples/conformance_server" \
    <"$run/input" >"$run/ready" 2>"$run/server.log" &
server=$!
exec 9>"$run/input"
tries=0
until [ -s "$run/ready" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
        cat "$run/server.log" >&2
        echo "the conformance server did not start" >&2
        exit 1
    fi
    sleep 0.1
done

field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$run/ready"; }
url=$(field url)
KRUXOS_CONFORMANCE_TOKEN=$(field token)
KRUXOS_CONFORMANCE_SUITE=$suite
export KRUXOS_CONFORMANCE_TOKEN KRUXOS_CONFORMANCE_SUITE

failed=0
for revision in $REVISIONS; do
    log=$run/$revision.log
    status=0
    (cd "$run" && "$node" --import "$here/bearer.mjs" "$suite" server --url "$url" \
        --requirements "$revision" -o "$run/out-$revision") >"$log" 2>&1 || status=$?
    # From the summary on, the log is short and says everything.
    sed -n '/=== SUMMARY ===/,$p' "$log"
    if [ "$status" -ne 0 ] || grep -q '✗' "$log" || ! grep -q '^Total: ' "$log"; then
        echo "conformance to $revision: FAILED (exit $status)" >&2
        grep -l '"FAILURE"' "$run/out-$revision"/*/checks.json 2>/dev/null | while read -r checks; do
            echo "--- $checks" >&2
            grep -B8 -A3 '"errorMessage"' "$checks" | head -60 >&2 || true
        done
        failed=1
    fi
done
exit $failed
