#!/bin/sh
# The stress test of runtimes in its long form: tests/runtime-stress.sh [SECONDS]
#
# Six threads make, call, close, cancel and interrupt instances, panic in them, call into others from
# inside, and exchange whole runtimes, against a model. A watchdog prints the stacks of all threads if
# nothing happens for a minute. The short form is part of `cargo test`.
set -eu
cd "$(dirname "$0")/.."
PRECAST_STRESS_SECONDS="${1:-300}" exec cargo test --release --workspace --test loader -- \
    --nocapture --test-threads=1 stress::
