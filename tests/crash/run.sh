#!/usr/bin/env bash
# kill -9 in the middle of load, 50 times on one data directory (crates/gateway/tests/crash).
set -euo pipefail
cd "$(dirname "$0")/../.."
KRUXOS_CRASH_ROUNDS=${KRUXOS_CRASH_ROUNDS:-50} cargo test --locked --quiet -p kruxos-gateway --test crash -- --nocapture
