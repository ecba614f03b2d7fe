# Sourced by the test scripts: where things are kept, the daemon under test, and tools from the registries.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${KRUXOS_TEST_CACHE:-$root/.work}
mkdir -p "$work"

fail() { echo "FAILED: $*" >&2; exit 1; }

# need_node: Node 22 or newer in PATH, from the npm registry where the machine has an older one.
need_node() {
    command -v npm >/dev/null || fail "npm is needed (Node.js)"
    local major
    major=$(node --version | sed -E 's/v([0-9]+).*/\1/')
    if [ "$major" -lt 22 ]; then
        [ -x "$work/node/node_modules/node/bin/node" ] ||
            npm install --silent --no-audit --no-fund --prefix "$work/node" node@24 >&2
        PATH="$work/node/node_modules/node/bin:$PATH"
        export PATH
    fi
}

# python_with VENV REQUIREMENT...: prints the python of a virtual environment with exactly these.
python_with() {
    local venv=$work/$1; shift
    if [ ! -e "$venv/ready" ]; then
        python3 -m venv "$venv" >&2
        "$venv/bin/pip" install --quiet --disable-pip-version-check "$@" >&2
        touch "$venv/ready"
    fi
    echo "$venv/bin/python"
}

# start_daemon DIR [BINARY]: starts the gateway on free ports; sets daemon_pid and the fields of `up --json`.
start_daemon() {
    local dir=$1 binary=${2:-$root/target/debug/kruxosd} clean=() name
    # The daemon refuses KRUXOS_* variables that are no keys, and the tests have some of their own.
    for name in "${!KRUXOS_@}"; do clean+=(-u "$name"); done
    env "${clean[@]}" "$binary" up --json --port 0 --health-port 0 --data-dir "$dir" >"$dir.up" 2>"$dir.log" &
    daemon_pid=$!
    local waited=0
    until [ -s "$dir.up" ]; do
        kill -0 "$daemon_pid" 2>/dev/null || { cat "$dir.log" >&2; fail "the daemon ended"; }
        waited=$((waited + 1))
        [ "$waited" -lt 300 ] || fail "the daemon did not start within 30 s"
        sleep 0.1
    done
    gateway=$(field gateway "$dir.up")
    token=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["agent"]["token"] or "")' "$dir.up")
    health=$(field health "$dir.up")
    control=$(field control_socket "$dir.up")
    workspace=$(field workspace "$dir.up")
}

field() { python3 -c 'import json,sys; print(json.load(open(sys.argv[2]))[sys.argv[1]])' "$1" "$2"; }

# stop_daemon: SIGTERM, and the exit code must be 0.
stop_daemon() {
    kill "$daemon_pid" 2>/dev/null || return 0
    wait "$daemon_pid" || fail "the daemon ended with $?"
}
