#!/usr/bin/env bash
# perf, gdb and objdump name the functions of guests, in each way to deliver them: a file, embedded
# in an executable by its build script, a native object, and an executable of `precast exe`.
#
# gdb, perf and objdump are Debian's, and are installed if they are missing. Where the system has no
# perf or does not let it count, the script says so and leaves perf out.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v gdb > /dev/null || missing+=(gdb)
command -v objdump > /dev/null || missing+=(binutils)
if [ ${#missing[@]} -gt 0 ] || ! command -v perf > /dev/null; then
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null
  apt-get install -qq -y --no-install-recommends linux-perf > /dev/null || true
fi

cargo build --release --package precast --package precast-runner \
  --package embedded --package static-object
precast=$PWD/target/release/precast
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fails() {
  echo "$1"
  exit 1
}

# Stops at a function, and says which functions are on the stack. The first argument is the
# function, the others are the program and its arguments.
stack_at() {
  local function=$1
  shift
  timeout 600 gdb -q -batch -nx -ex 'set pagination off' -ex 'set breakpoint pending on' \
    -ex "break -qualified $function" -ex run -ex bt --args "$@" 2> /dev/null | grep '^#'
}

cat > spin.wat <<'WAT'
(module (memory 1)
  (func $busy_loop (param i32) (result i32) (local i32)
    (loop $l
      (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 31)) (i32.load8_u (local.get 1))))
      (local.set 1 (i32.and (local.get 1) (i32.const 0xfff)))
      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))
  (func $caller (param i32) (result i32)
    (i32.add (call $busy_loop (local.get 0)) (call $busy_loop (i32.const 7))))
  (func (export "_start") (drop (call $caller (i32.const 2000000000)))))
WAT
"$precast" compile -q spin.wat -o spin.precast --passes inline=never
"$precast" exe -q spin.precast -o spin --runner "${precast%/*}/precast-runner"
examples=${precast%/*}

echo 'objdump'
objdump -d spin.precast | grep '<busy_loop>:' > /dev/null || fails 'objdump: no function in the file'
objdump -d spin | grep '<busy_loop>:' > /dev/null || fails 'objdump: no function in the executable'
objdump -d "$examples/static-object" | grep '<greet>:' > /dev/null || fails 'objdump: no function of the object'
objdump -d "$examples/embedded" | grep '<embedded::guest::greet>:' > /dev/null || fails 'objdump: no embedded function'

echo 'gdb'
for way in "busy_loop ./spin" "greet $examples/static-object" "embedded::guest::greet $examples/embedded"; do
  read -r function program <<< "$way"
  found=$(stack_at "$function" "$program") || fails "gdb: $program does not stop at $function"
  grep -q "^#0 .* $function " <<< "$found" || fails "gdb: $program: $found"
done
found=$(stack_at busy_loop ./spin)
grep -q '^#1 .* caller ' <<< "$found" || fails "gdb: no caller: $found"
# gdb is told where a file is.
cat > file.py <<'PY'
import gdb, os, signal, threading, time
def computed(pid):
    "The hundredths of seconds that the process has computed for since the file is mapped."
    with open(f"/proc/{pid}/maps") as maps:
        if "spin.precast" not in maps.read():
            return 0
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[11])
def interrupt():
    # When it has computed for so long, it is in the guest, also on a busy machine.
    pid = 0
    while pid == 0 or computed(pid) < 50:
        time.sleep(0.05)
        pid = gdb.selected_inferior().pid
    os.kill(pid, signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
gdb.execute("run")
maps = gdb.execute("info proc mappings", to_string=True).splitlines()
start = min(int(line.split()[0], 16) for line in maps if line.endswith("spin.precast"))
gdb.execute(f"add-symbol-file spin.precast -o {start}")
gdb.execute("bt")
gdb.execute("kill")
PY
found=$(timeout 600 gdb -q -batch -nx -ex 'set confirm off' -x file.py \
  --args "$precast" run spin.precast 2> /dev/null) || fails "gdb: $found"
grep -q '^#0 .* busy_loop ' <<< "$found" || fails "gdb: no function of the file: $found"
grep -q '^#1 .* caller ' <<< "$found" || fails "gdb: no caller in the file: $found"

echo 'perf'
if perf record -q -o probe.data true 2> probe.txt; then
  perf record -q -o file.data "$precast" run spin.precast
  perf record -q -o executable.data ./spin
  for data in file executable; do
    perf report -i $data.data --stdio 2> /dev/null | grep ' busy_loop' > /dev/null ||
      fails "perf: no function of the $data"
  done
else
  echo "skipped: perf, because it cannot count here: $(head -1 probe.txt)"
fi
echo 'all functions have their names'
