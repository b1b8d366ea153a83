#!/usr/bin/env bash
# The server of tests/edge-server on precast and on Wasmtime, in alternation:
# edge/run.sh [--rounds N] [--seconds N].
# First, what calls cost that can be suspended. Then each round shows of both: requests per second,
# memory of a guest that waits, and answers to mixed requests.
set -euo pipefail
cd "$(dirname "$0")"
rounds=3 seconds=10
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=${2:?--rounds needs a number} ;;
    --seconds) seconds=${2:?--seconds needs a number} ;;
    *) echo "usage: edge/run.sh [--rounds N] [--seconds N]" >&2; exit 2 ;;
  esac
  shift 2
done

server=../../edge-server
precast=${PRECAST:-../../../target/release/precast}
mkdir -p ../target/artifacts
for guest in guest streams; do
  "$precast" compile $server/$guest.wat --interruption epoch -o ../target/artifacts/edge-$guest.precast
done
cargo build --release --manifest-path $server/Cargo.toml
cargo build --release -p precast-peers-edge
ours=${CARGO_TARGET_DIR:-$server/target}/release theirs=${CARGO_TARGET_DIR:-../target}/release
"$precast" compile $server/cost.wat -o ../target/artifacts/edge-cost.precast
"$theirs/edge-cost" ../target/artifacts/edge-cost.precast $server/cost.wat
# Each connection is a descriptor.
ulimit -n "$(ulimit -Hn)"
for round in $(seq "$rounds"); do
  for what in "--seconds $seconds --rate" '--waiting 4000' "--seconds $seconds --echo 0"; do
    printf '\n== precast, %s\n' "$what"
    # shellcheck disable=SC2086
    "$ours/edge-load" $what -- "$ours/edge-server" ../target/artifacts/edge-{guest,streams}.precast --port 0
    printf '\n== Wasmtime, %s\n' "$what"
    # shellcheck disable=SC2086
    "$ours/edge-load" $what -- "$theirs/edge-wasmtime" $server/guest.wat --port 0
  done
done
