#!/usr/bin/env bash
# Compiles the guest and runs the server; arguments go to the server. With `--cost`, measures what
# calls cost instead.
set -euo pipefail
cd "$(dirname "$0")"
precast=${PRECAST:-../../target/release/precast}
[ -x "$precast" ] || cargo build --release --workspace --bin precast --manifest-path ../../Cargo.toml
mkdir -p target
if [ "${1:-}" = --cost ]; then
  "$precast" compile cost.wat -o target/cost.precast
  exec cargo run --quiet --release --bin cost -- target/cost.precast
fi
"$precast" compile guest.wat --interruption epoch -o target/guest.precast
exec cargo run --quiet --release --bin edge-server -- target/guest.precast "$@"
