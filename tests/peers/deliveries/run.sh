#!/usr/bin/env bash
# run.sh [--rounds N]: makes the hosts and artifacts of each delivery, and measures them. PRECAST
# names precast's command line, RUNNER the runner of executables (see loader/runner), both built
# before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../../.. && pwd)
precast=${PRECAST:-$root/target/release/precast}
runner=${RUNNER:-$root/target/x86_64-unknown-linux-musl/runner/precast-runner}
rounds=501
if [ "${1:-}" = --rounds ]; then rounds=${2:?--rounds needs a number}; fi

cargo build -q --release
cargo build -q --profile fast --features signed --bin opens
target=${CARGO_TARGET_DIR:-target}
hosts=$target/release
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

echo '#include <unistd.h>
int main(void) { return write(1, "hello\n", 6) != 6; }' > "$out/c.c"
cc -O2 -static -s "$out/c.c" -o "$out/c"
"$precast" compile -q guest.wat -o "$out/guest.precast"
commands=(c="$out/c" file="$hosts/file $out/guest.precast" embedded="$hosts/embedded" object="$hosts/static_object")
if [ -e "$runner" ]; then
  "$precast" exe -q guest.wat -o "$out/guest" --runner "$runner"
  commands+=(exe="$out/guest")
else
  echo "without \`precast exe\`: $runner was not built" >&2
fi
./deliveries.py --rounds "$rounds" "${commands[@]}"

# Artifacts of 1 MB and of 50 MB, nearly all of which is data.
python3 - "$out" <<'PYTHON'
import random, sys
def leb(n):
    out = bytearray()
    while n >= 128: out.append(n & 127 | 128); n >>= 7
    return bytes(out) + bytes([n])
def section(number, body): return bytes([number]) + leb(len(body)) + body
for megabytes in (1, 50):
    data = random.Random(1).randbytes(megabytes << 20)
    memory = section(5, b"\1\0" + leb(megabytes * 16))
    segment = section(11, b"\1\0\x41\0\x0b" + leb(len(data)) + data)
    open(f"{sys.argv[1]}/{megabytes}MB.wasm", "wb").write(b"\0asm\1\0\0\0" + memory + segment)
PYTHON
"$precast" key -q "$out/key" > "$out/key.id"
for size in 1MB 50MB; do
  "$precast" compile -q "$out/$size.wasm" -o "$out/$size"
  "$precast" sign -q --key "$out/key" "$out/$size"
done
"$precast" compile -q guest.wat -o "$out/1-variant"
"$precast" compile -q --variant x86-64-v3 --variant x86-64-v4 guest.wat -o "$out/3-variants"
"$target/fast/opens" --rounds $((rounds / 5 + 1)) --key "$out/key.pub" "$out"/{1-variant,3-variants,1MB,50MB}
