#!/usr/bin/env bash
# guest.sh [--check]: compiles guest.rs to guest.wasm, which build.rs uses where rustc cannot
# compile for WebAssembly. With --check, it only compares. The compiler is Debian 12's rustc 1.63,
# which tests/programs/fetch.sh fetches (see there for its requirements).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
../../programs/fetch.sh rust
rust=$(cd "${PRECAST_PROGRAMS:-../../../target/programs}" && pwd)/tools/rust/usr
out=$(mktemp)
trap 'rm -f "$out"' EXIT
LD_LIBRARY_PATH=$rust/lib/x86_64-linux-gnu:$rust/lib/llvm-14/lib "$rust/bin/rustc" --sysroot "$rust" -C linker="$rust/lib/llvm-14/bin/wasm-ld" \
  --target wasm32-unknown-unknown --edition 2021 --crate-type cdylib -C opt-level=s -C lto -C panic=abort -C strip=symbols -o "$out" guest.rs
if [ "${1-}" = --check ]; then
  cmp "$out" guest.wasm
else
  cat "$out" > guest.wasm
fi
