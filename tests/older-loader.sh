#!/usr/bin/env bash
# older-loader.sh           the loader of the commit that released the current ABI must run what the
#                           newest compiler writes
# older-loader.sh COMMIT    the same with the loader of any commit
#
# The older checkout is kept and built in target/older/. If both checkouts were built in target/,
# cargo would take the libraries of one for those of the other: its hashes do not hold the path of a
# checkout, and files that are older than a library count as unchanged.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The commit that released the current ABI. Empty as long as that ABI is not released, because until
# then its number may stand for something else tomorrow: see artifacts-format/VERSIONS.md.
released=996d0d7a03d1003a4a6c82708d9b0a4e1c43357d

commit=${1:-$released}
abi=$(sed -n 's/^pub const ABI: u32 = \([0-9]*\);$/\1/p' artifacts-format/src/abi.rs)
if [ -z "$commit" ]; then
  echo "skipped: ABI $abi is not released, so no older loader has to open its artifacts"
  exit 0
fi
if [ $# = 0 ] && ! git cat-file -e "$commit^{commit}"; then
  echo "skipped: this checkout has no history with $commit"
  exit 0
fi
commit=$(git rev-parse --verify "$commit^{commit}")
older=$PWD/target/older/$commit
if [ ! -e "$older/Cargo.toml" ]; then
  git worktree add --force --detach "$older" "$commit" > /dev/null
fi
theirs=$(sed -n 's/^pub const ABI: u32 = \([0-9]*\);$/\1/p' "$older/artifacts-format/src/abi.rs")
if [ "$theirs" != "$abi" ]; then
  echo "error: the loader of $commit has ABI ${theirs:-unknown}, the compiler ABI $abi: give a commit of ABI $abi" >&2
  exit 2
fi
old=$older/target/release/precast new=$PWD/target/release/precast
# With the features of the workspace, as `cargo test --release --workspace` has built it already.
for checkout in "$older" "$PWD"; do
  CARGO_TARGET_DIR=$checkout/target \
    cargo build --release --manifest-path "$checkout/Cargo.toml" --workspace --bin precast
done

files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
failed=0
for strategy in guarded checked; do
  for interruption in none fuel epoch; do
    "$new" compile tests/loader/golden/program.wat -o "$files/program" --strategy "$strategy" \
      --interruption "$interruption"
    if found=$("$old" run --invoke sum "$files/program" 10 2>&1) && [ "$found" = 385 ]; then
      echo "ok: $strategy, interruption $interruption"
    else
      echo "FAILED: $strategy, interruption $interruption: expected 385, found $found"
      failed=1
    fi
  done
done
exit "$failed"
