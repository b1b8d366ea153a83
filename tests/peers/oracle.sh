#!/usr/bin/env bash
# oracle.sh TARGET [--count N | --seconds N] [--seed S] [--failures N] [--verbose]: compares precast
# with Wasmtime on the modules of tests/fuzz.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
cargo build -q --release -p precast-peers-features --bin oracle
exec "${CARGO_TARGET_DIR:-target}/release/oracle" "$@"
