#!/usr/bin/env python3
"""interruption.py [--rounds N] [NAME...]: measures the cost of interruption in real programs.

Compiles each program without interruption, with fuel and with epochs, and runs the three in
alternation. The ratio is the median over all rounds of the ratios of user times to the program without
interruption in the same round. The time is the minimum. fetch.sh fetches the programs. PRECAST=FILE
measures that binary instead of target/release/precast. PRECAST_PROGRAMS=DIR has the programs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAMS = Path(os.environ.get("PRECAST_PROGRAMS", ROOT / "target/programs"))
PRECAST = os.environ.get("PRECAST", str(ROOT / "target/release/precast"))
KINDS = ("none", "fuel", "epoch")

sys.path.append(str(ROOT / "tests/benches/running"))
from programs import PROGRAMS as ALL_WORK

# One piece of work for each program.
ROWS = ("CPython, a loop with a dict", "QuickJS, sieve and properties", "SQLite, joins and an index")
WORK = {program: (args, stdin) for program, args, stdin in map(ALL_WORK.get, ROWS)}


def run(artifact, program):
    """User time in seconds, and what was printed."""
    args, stdin = WORK[program]
    process = subprocess.Popen(
        [PRECAST, "run", str(artifact), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(stdin)
    process.stdin.close()
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"error: {artifact} ended with {process.returncode}")
    return usage.ru_utime, out


def code_size(artifact):
    about = subprocess.check_output([PRECAST, "inspect", "--json", str(artifact)], text=True)
    return next(size for name, size in json.loads(about)["sections"].items() if "text" in name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("programs", nargs="*", metavar="NAME", help=f"of {', '.join(WORK)}")
    options = parser.parse_args()
    unknown = [name for name in options.programs if name not in WORK]
    if unknown:
        parser.error(f"unknown program {unknown[0]!r}: expected {', '.join(WORK)}")
    programs = options.programs or list(WORK)
    subprocess.run([HERE / "fetch.sh", *programs], check=True)
    print(f"{'program':9}{'kind':7}{'user time':>10}{'ratio':>8}{'code':>14}{'ratio':>8}")
    for program in programs:
        with tempfile.TemporaryDirectory() as folder:
            artifacts = {kind: Path(folder) / f"{kind}.precast" for kind in KINDS}
            for kind, artifact in artifacts.items():
                wasm = PROGRAMS / f"{program}.wasm"
                command = [PRECAST, "compile", wasm, "--interruption", kind, "-o", artifact]
                subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            times = {kind: [] for kind in KINDS}
            outputs = set()
            for _ in range(options.rounds + 1):
                for kind in KINDS:
                    time, out = run(artifacts[kind], program)
                    times[kind].append(time)
                    outputs.add(out)
            if len(outputs) != 1:
                sys.exit(f"error: {program} prints other things with interruption: {outputs}")
            # The first round warms the page cache.
            for kind in KINDS:
                size = code_size(artifacts[kind])
                base = code_size(artifacts["none"])
                pairs = zip(times[kind][1:], times["none"][1:])
                ratio = statistics.median(time / base for time, base in pairs)
                print(f"{program:9}{kind:7}{min(times[kind]):9.3f}s{ratio:8.3f}{size:14}{size / base:8.3f}", flush=True)


main()
