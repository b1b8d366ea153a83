#!/usr/bin/env bash
# Builds everything and runs all comparisons except those of compile times, of compiled code and of
# deliveries: run.sh [--rounds N].
set -euo pipefail
cd "$(dirname "$0")"

rounds=41 runs=300 hits=30
if [ "${1:-}" = --rounds ]; then
  rounds=${2:?--rounds needs a number} runs=$((rounds * 8)) hits=$((rounds * 2))
elif [ $# -gt 0 ]; then
  echo "usage: run.sh [--rounds N]" >&2
  exit 2
fi

cargo build --release -p precast-peers-compilers -p precast-peers-features
cargo build --profile measured -p precast-peers
cargo build --profile small -p host-empty -p host-precast -p host-wasmtime

step() { printf '\n== %s\n' "${*##*/}"; "$@"; }
target=${CARGO_TARGET_DIR:-target}
step "$target/release/prepare"
step "$target/measured/runtime-bench" --rounds "$rounds"
step "$target/measured/dprint-bench" --rounds "$rounds"
step "$target/release/feature-bench" --rounds "$rounds"
step "$target/measured/process-bench" --runs "$runs"
step "$target/measured/memory-bench"
step "$target/measured/parked-bench"
step "$target/release/cache-bench" --runs "$hits"
