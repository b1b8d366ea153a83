#!/usr/bin/env bash
# Makes guest.wasm, a small module with debugging information.
set -euo pipefail
cd "$(dirname "$0")"
rustc --edition 2024 --target wasm32-unknown-unknown --crate-type cdylib -g -C opt-level=1 \
    -C panic=abort --remap-path-prefix="$PWD"=/guest "$PWD/guest.rs" -o guest.wasm
