#!/usr/bin/env bash
# run.sh TARGET [--count N | --seconds N] [--seed S] [--failures N] [--verbose]: runs a fuzzer. See
# README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
# Builds the same packages as `cargo test --release --workspace`, so that nothing is built twice.
cargo build -q --release --workspace --bin precast-fuzz
exec target/release/precast-fuzz "$@"
