#!/bin/sh
# The long form of the stress test of runtimes: tests/runtime-stress.sh [SECONDS]
#
# Six threads make, call, close, cancel and interrupt instances, panic in them, call other instances
# from inside of a call, and replace whole runtimes. The results are compared with a model. A
# watchdog prints the stacks of all threads if nothing happens for a minute. The short form is part
# of `cargo test`.
set -eu
cd "$(dirname "$0")/.."
PRECAST_STRESS_SECONDS="${1:-300}" exec cargo test --release --workspace --test loader -- \
    --nocapture --test-threads=1 stress::
