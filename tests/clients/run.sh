#!/usr/bin/env bash
# Clients that nobody here wrote, against a real daemon: the official Python client over HTTP (both
# eras) and WebSocket, the official TypeScript SDK, and MCP Inspector's command line.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"

cargo build --quiet --locked -p kruxos-gateway -p kruxos-jail
need_node
python=$(python_with clients-venv mcp==2.3.0)
python_1=$(python_with clients-venv-1 'mcp[ws]==1.30.0')
modules=$work/clients-node
if ! cmp -s "$here/package.json" "$modules/package.json"; then
    mkdir -p "$modules"
    cp "$here/package.json" "$modules/"
    npm install --silent --no-audit --no-fund --prefix "$modules" >&2
fi
cp "$here/typescript.mjs" "$modules/"

data=$(mktemp -d)
trap 'stop_daemon; rm -rf "$data" "$data.up" "$data.log"' EXIT
start_daemon "$data"

"$python" "$here/python_http.py" "$gateway" "$token"
"$python_1" "$here/python_websocket.py" "$gateway" "$token"
node "$modules/typescript.mjs" "$gateway" "$token"
for era in modern legacy; do
    answer=$("$modules/node_modules/.bin/mcp-inspector" --cli --server-url "$gateway/mcp" --transport http \
        --header "Authorization: Bearer $token" --protocol-era "$era" --stored-auth-only \
        --method tools/call --tool-name system__time --format json </dev/null)
    case "$answer" in
        *unix_epoch*) echo "inspector $era: tools/call answered" ;;
        *) fail "inspector $era: $answer" ;;
    esac
done
echo "clients: 6 passed, 0 failed"
