#!/usr/bin/env python3
"""How fast compiled code runs: the kernels in this folder, by precast with several settings and by Wasmtime.

run.py [--rounds N] [--precast FILE] [--wasmtime FILE] [--zig COMMAND] [--out FOLDER] [--way NAME=OPTIONS]... [KERNEL...]

Kernels are C, compiled by `zig cc` (the package `ziglang` of PyPI). All ways to run a kernel are run one after the
other, round by round, on one CPU. A figure is the user time of the process, which is hardly disturbed by other
processes; the table has the ratio of medians to the first way's, and in brackets that of minima. The outputs of all
ways must be equal.
"""
import argparse, math, os, pathlib, resource, statistics, subprocess, sys

here = pathlib.Path(__file__).resolve().parent
root = here.parents[2]
parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("kernels", nargs="*")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--precast", default=root / "target/release/precast")
parser.add_argument("--wasmtime")
parser.add_argument("--zig", default=f"{sys.executable} -m ziglang")
parser.add_argument("--out", type=pathlib.Path, default=root / "target/running")
parser.add_argument("--way", action="append", help="options of `precast compile`, by a name; replaces the default ways")
args = parser.parse_args()

ways = dict(way.split("=", 1) for way in args.way or [
    "without=--cpu native --passes inline=never,products=never,switches=never",
    "default=--cpu native"])
names = args.kernels or sorted(path.stem for path in (here / "kernels").glob("*.c"))
args.out.mkdir(parents=True, exist_ok=True)


def run(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def newer(file, *sources):
    return file.exists() and all(file.stat().st_mtime >= os.stat(s).st_mtime for s in sources)


def timed(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    output = run(command)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, output


os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
ratios = {}
print(f"{'kernel':12}" + "".join(f"{name:>22}" for name in [*ways, *(["wasmtime"] if args.wasmtime else [])]))
for name in names:
    source, wasm = here / "kernels" / f"{name}.c", args.out / f"{name}.wasm"
    if not newer(wasm, source):
        run([*args.zig.split(), "cc", "-target", "wasm32-wasi", "-O2", "-s", "-o", str(wasm), str(source)])
    commands = {}
    for way, options in ways.items():
        artifact = args.out / f"{name}-{way}.precast"
        run([str(args.precast), "compile", *options.split(), "-o", str(artifact), str(wasm)])
        commands[way] = [str(args.precast), "run", str(artifact)]
    if args.wasmtime:
        artifact = args.out / f"{name}.cwasm"
        if not newer(artifact, wasm, args.wasmtime):
            run([args.wasmtime, "compile", "-o", str(artifact), str(wasm)])
        commands["wasmtime"] = [args.wasmtime, "run", "--allow-precompiled", str(artifact)]
    times, outputs = {way: [] for way in commands}, {}
    for _ in range(args.rounds):
        for way, command in commands.items():
            time, output = timed(command)
            times[way].append(time)
            if outputs.setdefault("first", output) != output:
                sys.exit(f"{name}: {way} has another output: {output!r}, not {outputs['first']!r}")
    base = times[next(iter(times))]
    line = f"{name:12}"
    for way, found in times.items():
        median, least = statistics.median(found), min(found)
        ratio = median / statistics.median(base)
        ratios.setdefault(way, []).append((ratio, least / min(base)))
        line += f"{median * 1000:8.0f} ms {ratio:4.2f} ({least / min(base):4.2f})"
    print(line, flush=True)
mean = lambda values: math.exp(statistics.fmean(map(math.log, values)))
print(f"{'mean':12}" + "".join(f"{'':11} {mean(r for r, _ in found):4.2f} ({mean(l for _, l in found):4.2f})" for found in ratios.values()))
