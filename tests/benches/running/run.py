#!/usr/bin/env python3
"""How fast compiled code runs: the kernels in this folder and real programs, by precast with several settings and
by Wasmtime.

run.py [--rounds N] [--instructions] [--precast FILE] [--wasmtime FILE] [--zig COMMAND] [--programs FOLDER]
       [--out FOLDER] [--way NAME=OPTIONS]... [NAME...]

Kernels are C, compiled by `zig cc` (the package `ziglang` of PyPI). Programs are those of programs.py whose modules are
in --programs. NAME is a part of the name of a kernel or program; without names, all kernels are run, and with
--wasmtime all programs too. All ways to run one are run one after the other, round by round, on one CPU. A figure is
the processor time of the process, which is hardly disturbed by other processes, less that of a program that does
nothing, which is the row `start`. The table has the ratio of medians to that of the first way, and in brackets that of
minima. The outputs of all ways must be equal.

With --wasmtime (fetch.sh of tests/programs fetches `wasmtime48`, whose Cranelift is precast's), the first way is Wasmtime at its
best: code for this CPU, once without and once with its inlining, of which the faster one counts in each row. The ways
of precast are then its baseline, x86-64-v3 and this CPU, unless others are named.

A way with the option `--profile PROFILE` gets a profile that is made by one run of the same program beforehand.

With --instructions, a figure is the number of instructions that are executed, in millions, counted by `valgrind` in one
round, which takes about 50 times as long. It does not depend on what else the machine does. Since valgrind has no
AVX-512, `--cpu x86-64-v3` takes the place of `--cpu native`; Wasmtime cannot be counted.
"""
import argparse, math, os, pathlib, re, resource, statistics, subprocess, sys
from programs import PROGRAMS

here = pathlib.Path(__file__).resolve().parent
root = here.parents[2]
parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("names", nargs="*")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--instructions", action="store_true")
parser.add_argument("--precast", default=root / "target/release/precast")
parser.add_argument("--wasmtime")
parser.add_argument("--zig", default=f"{sys.executable} -m ziglang")
parser.add_argument("--programs", type=pathlib.Path, default=root / "target/programs")
parser.add_argument("--out", type=pathlib.Path, default=root / "target/running")
parser.add_argument("--way", action="append", help="options of `precast compile`, by a name; replaces the default ways")
args = parser.parse_args()

BASELINE = ["baseline=--cpu baseline", "v3=--cpu x86-64-v3", "native=--cpu native"]
PASSES = ["without=--cpu native --passes inline=never,products=never,switches=never,loops=never,jumps=never", "default=--cpu native"]
ways = dict(way.split("=", 1) for way in args.way or (BASELINE if args.wasmtime else PASSES))
if args.instructions:
    args.rounds, args.wasmtime = 1, None
    ways = {way: options.replace("--cpu native", "--cpu x86-64-v3") for way, options in ways.items()}
# Wasmtime's ways: the options of `wasmtime compile`.
theirs = {"": [], "inlined": ["-C", "inlining=y"]} if args.wasmtime else {}
args.out.mkdir(parents=True, exist_ok=True)


def run(command, given=""):
    return subprocess.run(command, check=True, input=given.encode(), stdout=subprocess.PIPE).stdout


def newer(file, *sources):
    return file.exists() and all(file.stat().st_mtime >= os.stat(s).st_mtime for s in sources)


def used():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def counted(command, given):
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    done = subprocess.run([*valgrind, *command], check=True, input=given.encode(), capture_output=True)
    # Billions, of which thousandths are printed.
    return int(re.search(rb"I +refs: +([0-9,]+)", done.stderr)[1].replace(b",", b"")) / 1e9, done.stdout


def timed(command, given):
    if args.instructions:
        return counted(command, given)
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(everywhere)})
    before = used()
    output = run(command, given)
    time = used() - before
    os.sched_setaffinity(0, everywhere)
    return time, output


def kernel(source):
    wasm = args.out / f"{source.stem}.wasm"
    if not newer(wasm, source):
        run([*args.zig.split(), "cc", "-target", "wasm32-wasi", "-O2", "-s", "-o", str(wasm), str(source)])
    return wasm


def profile(wasm, arguments, given):
    """The file with the profile of one run."""
    file = args.out / f"{wasm.stem}.profile"
    file.unlink(missing_ok=True)
    run([str(args.precast), "run", "--profile-out", str(file), str(wasm), *arguments], given)
    return file


def commands(wasm, arguments, given):
    """The command that runs the module in each way."""
    found = {}
    for way, options in theirs.items():
        artifact = args.out / f"{wasm.stem}-{way}.cwasm"
        if not newer(artifact, wasm, args.wasmtime):
            run([args.wasmtime, "compile", *options, "-o", str(artifact), str(wasm)])
        found["wasmtime " + way] = [args.wasmtime, "run", "--allow-precompiled", *options, str(artifact)]
    for way, options in ways.items():
        artifact = args.out / f"{wasm.stem}-{way}.precast"
        if "PROFILE" in options:
            options = options.replace("PROFILE", str(profile(wasm, arguments, given)))
        run([str(args.precast), "compile", *options.split(), "-o", str(artifact), str(wasm)])
        found[way] = [str(args.precast), "run", str(artifact)]
    return found


def measure(wasm, arguments, given, start={}):
    """Median and minimum of the times of each way less its start, Wasmtime's best one as `wasmtime`."""
    times, output = {}, None
    each = commands(wasm, arguments, given)
    for round in range(args.rounds):
        # Each is the first one as often as the others.
        order = list(each.items())
        turn = round % len(order)
        for way, command in order[turn:] + order[:turn]:
            time, found = timed(command + arguments, given)
            times.setdefault(way, []).append(time)
            if output not in (None, found):
                sys.exit(f"{wasm}: {way} has another output: {found!r}, not {output!r}")
            output = found
    figures = {}
    for way in each:
        first = start.get("wasmtime" if way not in ways else way, (0, 0))
        figures[way] = (statistics.median(times[way]) - first[0], min(times[way]) - first[1])
    best = min((figures.pop("wasmtime " + way) for way in theirs), default=None)
    return {"wasmtime": best, **figures} if best else figures


def report(name, figures):
    """Prints a row, and returns the ratios of each way."""
    (base, least), line, ratios = next(iter(figures.values())), f"{name:30}", {}
    for way, (median, minimum) in figures.items():
        ratios[way] = (median / base, minimum / least)
        unit = "M " if args.instructions else "ms"
        line += f"{median * 1000:8.1f} {unit} {ratios[way][0]:5.3f} ({ratios[way][1]:5.3f})"
    print(line, flush=True)
    return ratios


def mean(name, rows):
    if rows:
        line = f"{f'mean of {len(rows)} {name}':30}"
        for way in rows[0]:
            middle, least = (math.exp(statistics.fmean(math.log(row[way][i]) for row in rows)) for i in (0, 1))
            line += f"{'':11} {middle:5.3f} ({least:5.3f})"
        print(line, flush=True)


wanted = lambda name: not args.names or any(part in name for part in args.names)
print(f"{'':30}" + "".join(f"{way:>25}" for way in [*(["wasmtime"] if theirs else []), *ways]))
nothing = args.out / "start.c"
if not nothing.exists():
    nothing.write_text("int main(void) { return 0; }\n")
start = measure(kernel(nothing), [], "")
report("start", start)
kernels = [report(source.stem, measure(kernel(source), [], "", start))
           for source in sorted((here / "kernels").glob("*.c")) if wanted(source.stem)]
programs = []
for name, (program, arguments, given) in PROGRAMS.items():
    wasm = args.programs / f"{program}.wasm"
    if wanted(name) and (args.wasmtime or args.names) and wasm.exists():
        programs.append(report(name, measure(wasm, arguments, given, start)))
mean("kernels", kernels)
mean("programs", programs)
mean("rows", kernels + programs)
