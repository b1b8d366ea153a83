#!/usr/bin/env bash
# aarch64.sh                cross-compiles with the x86_64 compiler, and runs the loader's tests and
#                           a sample of the official suite as aarch64 programs under qemu; then
#                           `levels`
# aarch64.sh levels         opens a file with several CPU levels on emulated CPUs of each level
# aarch64.sh toolchain      only sets up the tools for that
# aarch64.sh run COMMAND…   runs a command with the cross toolchain in its environment, such as
#                           `run cargo test -p X --target $TARGET`
#
# Offline, rustup has no standard library of another target. Therefore everything comes from
# packages of Debian 12, and is kept in target/cross/:
#   rustc-web and libstd-rust-web-dev for amd64 and arm64, a current rustc in Debian's security
#     archive; they are unpacked and not installed
#   qemu-user from the backports, which is unpacked and not installed; the version in Debian 12
#     copies page tables for every reservation, which takes about 90 ms and 6 MB for each GiB, and
#     version 10.0 does not
#   gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and the dependencies of libLLVM, which root
#     installs
# Host programs that are built with this toolchain use Debian's rustc too, so it has its own target
# directory.
set -euo pipefail
shopt -s inherit_errexit
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cross=$root/target/cross
export TARGET=aarch64-unknown-linux-gnu

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# missing PACKAGE…: prints the packages that are not installed.
missing() { for package; do dpkg -s "$package" > /dev/null 2>&1 || echo "$package"; done; }

# Sets up a separate apt with both architectures and the backports. It uses the archives of this
# machine, and does not change its lists.
private_apt() {
  local key=/usr/share/keyrings/debian-archive-keyring.gpg debian security
  debian=$(archive debian) security=$(archive debian-security)
  mkdir -p "$part/apt/lists/partial" "$part/apt/cache/archives/partial"
  printf "deb [signed-by=$key] %s main\n" "$debian bookworm" "$debian bookworm-backports" "$security bookworm-security" > "$part/apt/sources.list"
  cat > "$part/apt/conf" << CONF
Dir::Etc::sourcelist "$part/apt/sources.list"; Dir::Etc::sourceparts "-";
Dir::State::lists "$part/apt/lists"; Dir::State::status "/dev/null"; Dir::Cache "$part/apt/cache";
Acquire::Languages "none"; APT::Sandbox::User "root"; APT::Architectures { "amd64"; "arm64"; };
CONF
  APT_CONFIG=$part/apt/conf apt-get update -q > /dev/null
}

# archive NAME: prints the address of an archive in this machine's apt sources, in either format.
archive() {
  local found
  found=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2> /dev/null |
    grep -oE "^(URIs:|deb ).*https?://[^ ]+/$1/?( |\$)" | grep -oE "https?://[^ ]+/$1" | head -n 1) || true
  [ -n "$found" ] || die "this machine's apt sources name no archive '$1' (expected Debian 12)"
  echo "$found"
}

toolchain() {
  local packages name deb dep llvm std
  [ "$(uname -m)" = x86_64 ] || die "this script cross-compiles from x86_64, found $(uname -m)"
  packages=$(missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
  if [ -n "$packages" ]; then
    apt-get update -q > /dev/null
    # shellcheck disable=SC2086 # one word per package
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $packages > /dev/null
  fi
  [ ! -e "$cross/toolchain" ] || return 0
  part=$cross/toolchain.part
  rm -rf "$part"; mkdir -p "$part/debs" "$part/bin"
  private_apt
  std=$(APT_CONFIG=$part/apt/conf apt-cache depends libstd-rust-web-dev:amd64 | awk '/Depends: libstd-rust-web-1/ { print $2 }')
  llvm=$(APT_CONFIG=$part/apt/conf apt-cache depends "$std:amd64" | awk '/Depends: libllvm/ { print $2 }')
  dep=$(APT_CONFIG=$part/apt/conf apt-cache depends "$llvm:amd64" | awk '/Depends: (lib|zlib)/ { print $2 }')
  # shellcheck disable=SC2086
  packages=$(missing $dep)
  # shellcheck disable=SC2086
  [ -z "$packages" ] || DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $packages > /dev/null
  (cd "$part/debs" && APT_CONFIG=$part/apt/conf apt-get download -q rustc-web:amd64 libstd-rust-web-dev:amd64 libstd-rust-web-dev:arm64 \
    "$std:amd64" "$llvm:amd64" qemu-user:amd64/bookworm-backports > /dev/null)
  for deb in "$part"/debs/*.deb; do
    case $deb in
      */qemu-user_*) dpkg --fsys-tarfile "$deb" | tar x -C "$part/bin" --strip-components=3 ./usr/bin/qemu-aarch64 ;;
      *) dpkg -x "$deb" "$part/root" ;;
    esac
  done
  # These wrappers find the libraries relative to themselves, so that the folder can be anywhere.
  for name in rustc rustdoc; do
    cat > "$part/bin/$name" << 'WRAPPER'
#!/bin/sh
root=$(dirname "$(dirname "$(realpath "$0")")")/root
LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu exec "$root/usr/bin/$(basename "$0")" --sysroot "$root/usr" "$@"
WRAPPER
    chmod +x "$part/bin/$name"
  done
  rm -rf "$part/debs" "$part/apt"
  mv "$part" "$cross/toolchain"
}

environment() {
  export RUSTC=$cross/toolchain/bin/rustc RUSTDOC=$cross/toolchain/bin/rustdoc
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$cross/toolchain/bin/qemu-aarch64 -L /usr/aarch64-linux-gnu"
  export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
  unset RUSTUP_TOOLCHAIN RUSTFLAGS
}
# crossed COMMAND…: runs a command in that environment, with its own target directory.
crossed() { (environment && CARGO_TARGET_DIR=$cross/build "$@"); }

run_tests() {
  cd "$root"
  local artifacts=$cross/artifacts
  rm -rf "$artifacts"
  # The first run is native. Everything that it compiles, it also compiles for aarch64 and keeps.
  # The second run is on aarch64 and compiles nothing.
  PRECAST_RECORD=$artifacts PRECAST_RECORD_TARGET=$TARGET cargo test --release --workspace --test loader --test main-thread --test sample
  PRECAST_REPLAY=$artifacts PRECAST_RUNNER="$cross/toolchain/bin/qemu-aarch64 -L /usr/aarch64-linux-gnu" \
    crossed cargo test --release -p precast-tests --no-default-features --test loader --test main-thread --test sample --target "$TARGET"
}

# On each emulated CPU, the best level that it can run must be opened, and its code must run. That
# code has atomic instructions, which are others from Armv8.1 on: a CPU without them faults.
run_levels() {
  cd "$root"
  local dir=$cross/levels program=$cross/build/$TARGET/release/examples/levels level file cpu expected found
  rm -rf "$dir"; mkdir -p "$dir"
  cat > "$dir/guest.wat" << 'WAT'
(module
  (memory 1 1 shared)
  (func (export "sum") (param i32) (result i32)
    (loop $again
      (drop (i32.atomic.rmw.add (i32.const 0) (local.get 0)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (i32.atomic.load (i32.const 0))))
WAT
  cargo build --release --workspace --bin precast
  crossed cargo build --release -p precast-loader --example levels --target "$TARGET"
  local compile=(target/release/precast --quiet compile --target "$TARGET" "$dir/guest.wat")
  for level in armv9-a armv8.4-a armv8.1-a baseline; do
    "${compile[@]}" --cpu "$level" -o "$dir/$level"
  done
  "${compile[@]}" --cpu armv9-a --variant armv8.4-a --variant armv8.1-a --variant baseline -o "$dir/all"
  "${compile[@]}" --cpu armv9-a --variant armv8.1-a -o "$dir/new"

  # check FILE CPU PATTERN: what the program prints about a file on this CPU.
  check() {
    found=$("$cross/toolchain/bin/qemu-aarch64" -cpu "$2" -L /usr/aarch64-linux-gnu "$program" "$dir/$1")
    # shellcheck disable=SC2053 # a pattern
    [[ $found == $3 ]] || die "$1 on $2: found '$found', expected '$3'"
    echo "$1 on $2: $found"
  }
  # digest LEVEL: the digest of the artifact of this level, which is also that of the variant.
  digest() { target/release/precast inspect "$dir/$1" | awk '$1 == "digest" { print $2 }'; }
  # An emulated A64FX has the atomics of Armv8.1, but not the dot products of the next level.
  for cpu in cortex-a53:baseline cortex-a72:baseline a64fx:armv8.1-a neoverse-n1:armv9-a max:armv9-a; do
    check all "${cpu%:*}" "$(digest "${cpu#*:}") 500500"
  done
  check new a64fx "$(digest armv8.1-a) 500500"
  for cpu in cortex-a53 cortex-a72; do
    check new "$cpu" 'error: the file has no variant for this host *with lse, fp16, dotprod; aarch64-linux with lse:*'
    check armv9-a "$cpu" 'error: *CPU*lse*fp16*dotprod*'
  done
}

case ${1:-} in
  '') mkdir -p "$cross"; toolchain; run_tests; run_levels ;;
  levels) mkdir -p "$cross"; toolchain; run_levels ;;
  toolchain) mkdir -p "$cross"; toolchain; "$cross/toolchain/bin/rustc" -V; "$cross/toolchain/bin/qemu-aarch64" --version | head -n 1 ;;
  run) shift; mkdir -p "$cross"; toolchain; crossed "$@" ;;
  *) die "unknown command '$1' (expected levels, toolchain, run or nothing)" ;;
esac
