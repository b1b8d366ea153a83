#!/usr/bin/env bash
# Compiles the guests and runs the server; arguments go to the server.
#
#   run.sh [--port PORT]           serves on 127.0.0.1
#   run.sh --load SECONDS [OPTION…]  mixed requests, whose answers are checked; options of
#                                    src/bin/load.rs
#   run.sh --cost                  measures what calls cost that can be suspended
set -euo pipefail
cd "$(dirname "$0")"
precast=${PRECAST:-../../target/release/precast}
[ -x "$precast" ] || cargo build --release --workspace --bin precast --manifest-path ../../Cargo.toml
mkdir -p target
if [ "${1:-}" = --cost ]; then
  "$precast" compile cost.wat -o target/cost.precast
  exec cargo run --quiet --release --bin cost -- target/cost.precast
fi
for guest in guest streams; do
  "$precast" compile $guest.wat --interruption epoch -o target/$guest.precast
done
if [ "${1:-}" = --load ]; then
  seconds=${2:?--load needs a number of seconds}
  shift 2
  # Each connection is a descriptor.
  ulimit -n "$(ulimit -Hn)"
  cargo build --quiet --release --bins
  built=${CARGO_TARGET_DIR:-target}/release
  exec "$built/edge-load" --seconds "$seconds" "$@" -- \
    "$built/edge-server" target/guest.precast target/streams.precast --port 0
fi
exec cargo run --quiet --release --bin edge-server -- target/guest.precast target/streams.precast "$@"
