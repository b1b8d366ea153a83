#!/usr/bin/env bash
# Fetches swc's plug-ins, builds the benchmark, and runs it: swc/run.sh [--rounds N]. Building takes
# many minutes.
set -euo pipefail
cd "$(dirname "$0")"
../../programs/fetch.sh swc-emotion swc-styled-components swc-jest swc-noop
exec cargo run --release --bin swc-bench -- "$@"
