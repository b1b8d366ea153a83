#!/bin/sh
# The long form of the cache's torture test: tests/cache-torture.sh [SECONDS]
#
# Eight processes of four threads share a directory while another process kills them, deletes and
# damages entries, and (as root) fills the disk. The short form is part of `cargo test`.
set -eu
cd "$(dirname "$0")/.."
PRECAST_TORTURE_SECONDS="${1:-300}" exec cargo test --release --workspace --test cache -- \
    --nocapture --test-threads=1 torture::
