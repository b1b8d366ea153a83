#!/usr/bin/env python3
"""growth.py [--precast FILE] [--quick | --smoke] [--limit SECONDS] [NAME...]: what compiling costs as modules grow.

Each dimension below is a kind of module with a size. The size is doubled from a start until compiling takes SECONDS
of processor time (default 4; 1 with --quick) or the dimension ends, with both memory strategies and the optimisation levels none and speed.
For each dimension one line says how long the largest module took, how much memory, and the growth: by how much time and
memory grow where the size doubles, as the mean over the last doublings that took at least 50 ms. Linear is 2.0; more than
2.6 is marked. A module that the compiler refuses ends its dimension, and the message is printed: it should name a limit.

With --smoke, each dimension is one module of 16 to 32 KB, compiled with both strategies. It fails if one takes more than
SMOKE_SECONDS of processor time or SMOKE_MB of memory: many times what is usual, so that a busy machine makes no
difference, but code whose cost grows with the square of such a module takes more. A module that is
refused may take REFUSED_SECONDS: one of calls with many results is refused when it has 64 MiB of code, which takes a
quarter of a minute.

The first argument of a dimension's function is the size.
"""
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

I32, I64, F32, F64, V128, FUNCREF = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70


def uleb(n):
    out = bytearray()
    while True:
        byte, n = n & 0x7F, n >> 7
        out.append(byte | (0x80 if n else 0))
        if not n:
            return bytes(out)


def sleb(n):
    out = bytearray()
    while True:
        byte, n = n & 0x7F, n >> 7
        done = (n == 0 and not byte & 0x40) or (n == -1 and byte & 0x40)
        out.append(byte | (0 if done else 0x80))
        if done:
            return bytes(out)


def vec(items):
    items = list(items)
    return uleb(len(items)) + b"".join(items)


def name(text):
    raw = text.encode()
    return uleb(len(raw)) + raw


def const(n):
    return b"\x41" + sleb(n)


def get(local):
    return b"\x20" + uleb(local)


def put(local):
    return b"\x21" + uleb(local)


SMOKE_SECONDS, REFUSED_SECONDS, SMOKE_MB = 15, 60, 600
DROP, END, ADD, XOR = b"\x1a", b"\x0b", b"\x6a", b"\x73"
BLOCK, LOOP, IF = b"\x02\x40", b"\x03\x40", b"\x04\x40"


def load(offset):
    return b"\x28\x02" + uleb(offset)


def functype(params, results):
    return b"\x60" + vec(bytes([p]) for p in params) + vec(bytes([r]) for r in results)


def body(code, locals_=()):
    raw = vec(uleb(count) + bytes([ty]) for count, ty in locals_) + code + END
    return uleb(len(raw)) + raw


def module(
    types=None, imports=(), funcs=None, tables=(), memory=1, tags=(), globals_=(), exports=(), elements=(), data=(), bodies=()
):
    """A module; functions have type 0 unless `funcs` says otherwise. All imports are functions. A passive segment
    names all functions that are defined, because code that nothing reaches is not compiled."""
    types = types or [functype([I32], [I32])]
    funcs = funcs if funcs is not None else [0] * len(bodies)
    elements = list(elements) + [b"\x01\x00" + vec(uleb(len(imports) + i) for i in range(len(bodies)))]
    sections = [
        (1, vec(types)),
        (2, vec(imports)),
        (3, vec(uleb(f) for f in funcs)),
        (4, vec(tables)),
        (5, vec([b"\x00" + uleb(memory)])),
        (13, vec(tags)),
        (6, vec(globals_)),
        (7, vec(exports)),
        (9, vec(elements)),
        (10, vec(bodies)),
        (11, vec(data)),
    ]
    out = bytearray(b"\0asm\x01\0\0\0")
    for number, content in sections:
        if content != b"\0":
            out += bytes([number]) + uleb(len(content)) + content
    return bytes(out)


def one(code, locals_=(), **rest):
    return module(bodies=[body(code, locals_)], **rest)


def table(count):
    return b"\x70\x00" + uleb(count)


def try_call():
    """Calls function 0 with local 0 and catches every exception."""
    return BLOCK + b"\x1f\x40\x01\x02\x00" + get(0) + b"\x10\x00" + put(0) + END + END


# The type of functions, and that of tags without values.
NOTHING = [functype([I32], [I32]), functype([], [])]


# --- the dimensions: start size, end, module of a size --------------------------------------------

DIMENSIONS = {}


def dimension(start, end=1 << 24):
    def add(make):
        DIMENSIONS[make.__name__] = (start, end, make)
        return make

    return add


@dimension(1000)
def operators(n):
    return one(get(0) + (const(3) + ADD + const(5) + XOR) * n)


@dimension(1000)
def conversions(n):
    return one(get(0) + b"\xb7\xaa" * n)


@dimension(1000)
def divisions(n):
    return one(get(0) + (get(0) + b"\x6d") * n)


@dimension(1000)
def loads_rising(n):
    return one(const(0) + b"".join(get(0) + load(4 * i) + ADD for i in range(n)), memory=600)


@dimension(1000)
def loads_same(n):
    return one(const(0) + (get(0) + load(8) + ADD) * n)


@dimension(1000)
def loads_chained(n):
    return one(get(0) + load(4) * n)


@dimension(1000)
def stores_rising(n):
    return one(b"".join(get(0) + get(0) + b"\x36\x02" + uleb(4 * i) for i in range(n)) + get(0), memory=600)


@dimension(1000)
def constant_addresses(n):
    return one(const(0) + b"".join(const(8 * i) + load(0) + ADD for i in range(n)), memory=2000)


@dimension(500)
def operands_alive(n):
    return one(b"".join(get(0) + load(4 * i) for i in range(n)) + const(0) + b"\x10\x00" + XOR * n, memory=600)


@dimension(500, 50_000)
def locals_(n):
    sets = b"".join(get(i) + const(i) + ADD + put(i + 1) for i in range(n - 1))
    return one(sets + get(n - 1), [(n, I32)])


@dimension(500, 50_000)
def locals_alive(n):
    sets = b"".join(get(0) + load(4 * i) + put(i + 1) for i in range(n - 1))
    return one(sets + get(0) + b"".join(get(i) + XOR for i in range(n)), [(n, I32)], memory=600)


@dimension(500, 50_000)
def locals_in_loop(n):
    steps = b"".join(get(i) + const(1) + ADD + put(i) for i in range(1, n))
    return one(LOOP + steps + get(1) + b"\x0d\x00" + END + get(0), [(n, I32)])


@dimension(500)
def blocks(n):
    return one((BLOCK + get(0) + b"\x0d\x00" + get(0) + const(1) + ADD + put(0) + END) * n + get(0))


@dimension(500)
def ifs(n):
    return one((get(0) + IF + get(0) + const(1) + ADD + put(0) + b"\x05" + const(7) + put(0) + END) * n + get(0))


@dimension(500)
def loops(n):
    return one((LOOP + get(0) + const(1) + b"\x6b" + b"\x22\x00\x0d\x00" + END) * n + get(0))


@dimension(1000)
def loops_without_end(n):
    table = get(0) + b"\x0e" + vec(uleb(i) for i in range(n - 1)) + uleb(n - 1)
    return one(BLOCK * n + table + (END + LOOP + b"\x0c\x00" + END) * n + get(0))


@dimension(200)
def branches_with_locals(n):
    assigned = b"".join(get(0) + put(i) + get(0) + b"\x0d\x00" for i in range(1, n + 1))
    return one(BLOCK + assigned + END + get(0) + b"".join(get(i) + ADD for i in range(1, n + 1)), [(n, I32)])


@dimension(1000)
def branches_to_one_loop(n):
    return one(LOOP + (get(0) + b"\x0d\x00") * n + END + get(0))


@dimension(1000)
def branches_out_of_one_block(n):
    return one(BLOCK + (get(0) + b"\x0d\x00" + get(0) + const(3) + b"\x6c" + put(0)) * n + END + get(0))


@dimension(1000)
def branches_to_loop_of_ten(n):
    steps = b"".join(get(i) + get(0) + ADD + put(i) for i in range(1, 11))
    return one(LOOP + (get(0) + b"\x0d\x00") * n + steps + END + get(1), [(10, I32)])


@dimension(100)
def locals_of_inner_loop(n):
    """Branches to an outer loop, before its locals are read in an inner one."""
    read = b"".join(get(0) + get(i) + ADD + put(0) for i in range(1, n + 1))
    inner = LOOP + read + get(0) + b"\x0d\x00" + END
    changed = b"".join(get(0) + put(i) for i in range(1, n + 1))
    return one(LOOP + (get(0) + b"\x0d\x00") * 10 * n + inner + changed + get(0) + b"\x0d\x00" + END + get(0), [(n, I32)])


@dimension(500)
def read_modify_writes(n):
    return one((get(0) + get(0) + load(0) + const(1) + ADD + b"\x36\x02\x00") * n + get(0))


@dimension(10)
def declared_locals_in_frame(n):
    """Functions that keep their locals in the frame, with locals that nothing uses."""
    nested = LOOP * 210 + b"".join(get(i) + DROP for i in range(1, 159)) + END * 210
    return module(bodies=[body(nested + get(0), [(158, I32), (40000, V128)])] * n)


@dimension(200)
def functions_with_locals_that_nothing_uses(n):
    return module(bodies=[body(get(0), [(49000, I32)])] * n)


@dimension(200)
def branches_to_loop_with_locals(n):
    counted = b"".join(get(i) + const(1) + ADD + put(i) + get(0) + b"\x0d\x00" for i in range(1, n + 1))
    return one(LOOP + counted + END + get(0) + b"".join(get(i) + ADD for i in range(1, n + 1)), [(n, I32)])


@dimension(200)
def nested_blocks(n):
    return one(BLOCK * n + b"".join(get(0) + b"\x0d" + uleb(i % n) for i in range(n)) + END * n + get(0))


@dimension(200)
def nested_loops(n):
    return one(LOOP * n + get(0) + const(1) + ADD + put(0) + (get(0) + b"\x0d\x00" + END) * n + get(0))


@dimension(50)
def nested_loops_with_locals(n):
    steps = b"".join(get(i) + const(1) + ADD + put(i) for i in range(n))
    return one(LOOP * n + steps + (get(0) + b"\x0d\x00" + END) * n + get(0), [(n, I32)])


@dimension(50)
def nested_loops_reading_locals(n):
    reads = b"".join(get(i) + DROP for i in range(n))
    return one(LOOP * n + reads + (get(0) + b"\x0d\x00" + END) * n + get(0), [(n, I32)])


@dimension(50)
def nested_loops_summing_locals(n):
    sets = b"".join(get(0) + load(4 * i) + put(i + 1) for i in range(n - 1))
    sums = get(0) + b"".join(get(i) + XOR for i in range(n)) + put(0)
    return one(sets + LOOP * n + sums + (get(0) + b"\x0d\x00" + END) * n + get(0), [(n, I32)], memory=600)


@dimension(50)
def nested_blocks_with_locals(n):
    sets = b"".join(get(0) + load(4 * i) + put(i) for i in range(n))
    sums = get(0) + b"".join(get(i) + XOR for i in range(n))
    return one(BLOCK * n + b"".join(get(0) + b"\x0d" + uleb(i) for i in range(n)) + sets + END * n + sums, [(n, I32)], memory=600)


@dimension(500, 50_000)
def locals_behind_blocks(n):
    """Each local is assigned in a block of its own, behind many blocks."""
    each = b"".join(BLOCK + get(0) + b"\x0d\x00" + const(i) + put(i) + END for i in range(n))
    return one((BLOCK + get(0) + b"\x0d\x00" + END) * n + each + get(0), [(n, I32)])


@dimension(200)
def nested_ifs(n):
    return one((get(0) + IF) * n + get(0) + load(4) + put(0) + END * n + get(0))


@dimension(100)
def nested_ifs_with_results(n):
    """Sixty results each, between blocks that have none."""
    types_ = [functype([I32], [I32]), functype([], [I32] * 60)]
    code = (get(0) + b"\x04\x01") * n + get(0) * 60 + (b"\x05" + get(0) * 60 + END) * n + XOR * 59
    return one(code, types=types_)


@dimension(50)
def ifs_with_results(n):
    """Thirty results each, one after the other."""
    types_ = [functype([I32], [I32]), functype([I32] * 30, [I32] * 30)]
    values = b"".join(get(0) + load(4 * i) for i in range(30))
    each = get(0) + b"\x04\x01" + DROP * 30 + values + END
    return one(values + each * n + XOR * 29, types=types_)


@dimension(100)
def nested_loops_with_results(n):
    """Sixty parameters and results each, between blocks that have none."""
    types_ = [functype([I32], [I32]), functype([I32] * 60, [I32] * 60)]
    values = b"".join(get(0) + load(4 * i) for i in range(60))
    code = values + b"\x03\x01" * n + DROP * 60 + values + (get(0) + b"\x0d\x00" + END) * n + XOR * 59
    return one(code, types=types_)


@dimension(200)
def loads_in_nested_loops(n):
    each = get(0) + load(4) + put(1)
    return one((LOOP + each) * n + (get(1) + b"\x0d\x00" + END) * n + get(0), [(1, I32)])


@dimension(1000)
def br_table_targets(n):
    targets = b"\x0e" + uleb(n) + b"".join(uleb(i % 2) for i in range(n + 1))
    return one(BLOCK + BLOCK + get(0) + targets + END + const(1) + b"\x0f" + END + const(2))


@dimension(200)
def br_table_blocks(n):
    targets = b"\x0e" + uleb(n) + b"".join(uleb(i) for i in range(n)) + b"\x00"
    return one(BLOCK * (n + 1) + get(0) + targets + (END + get(0) + const(1) + ADD + put(0)) * (n + 1) + get(0))


@dimension(200)
def br_table_values(n):
    targets = b"\x0e" + uleb(n) + b"".join(uleb(i) for i in range(n)) + b"\x00"
    return one(b"\x02\x7f" * (n + 1) + get(0) + get(0) + targets + (END + DROP + get(0)) * (n + 1))


@dimension(100)
def br_tables(n):
    targets = b"\x0e" + uleb(16) + bytes(i % 2 for i in range(17))
    return one((BLOCK + BLOCK + get(0) + targets + END + get(0) + const(1) + ADD + put(0) + END) * n + get(0))


@dimension(10, 1000)
def params(n):
    code = b"".join(get(i) for i in range(n)) + b"\x10\x00"
    return module([functype([I32] * n, [I32])], bodies=[body(code)])


@dimension(10, 1000)
def results(n):
    return module([functype([I32] * n, [I32] * n)], bodies=[body(b"".join(get(i) for i in range(n)) + b"\x10\x00")])


@dimension(10)
def functions_with_results(n):
    """Functions that forward 1,000 results each."""
    return module([functype([], [I32] * 1000)], bodies=[body(b"\x10" + uleb((i + 1) % n)) for i in range(n)])


@dimension(200, 50_000)
def try_locals_alive(n):
    sets = b"".join(get(0) + load(4 * i) + put(i + 1) for i in range(n - 1))
    return one(sets + try_call() + get(0) + b"".join(get(i) + XOR for i in range(n)), [(n, I32)], memory=600)


@dimension(200, 50_000)
def try_calls_with_locals(n):
    """Locals that are assigned and alive around many calls with a handler."""
    each = b"".join(try_call() + get(0) + load(4 * i) + put(i) for i in range(n))
    return one(each + get(0) + b"".join(get(i) + XOR for i in range(n)), [(n, I32)], memory=600)


@dimension(500)
def try_calls_and_locals(n):
    """Many calls with the same handler, behind which many locals are read."""
    sets = b"".join(const(i) + put(i) for i in range(n))
    calls = sets + (get(0) + b"\x10\x00" + put(0)) * n
    return one(BLOCK + b"\x1f\x40\x01\x02\x00" + calls + END + END + get(0) + b"".join(get(i) + XOR for i in range(n)), [(n, I32)])


@dimension(50)
def try_nested_loops_with_locals(n):
    steps = b"".join(get(i) + const(1) + ADD + put(i) for i in range(n))
    return one(LOOP * n + try_call() + steps + (get(0) + b"\x0d\x00" + END) * n + get(0), [(n, I32)])


@dimension(100)
def try_operands_alive(n):
    operands = b"".join(get(0) + load(4 * i) for i in range(n))
    return one(operands + try_call() + get(0) + XOR * n, memory=600)


@dimension(100)
def try_nested_ifs_with_results(n):
    """Sixty results each, behind a call with a handler."""
    types_ = [functype([I32], [I32]), functype([], [I32] * 60)]
    code = (get(0) + b"\x04\x01") * n + get(0) * 60 + (b"\x05" + get(0) * 60 + END) * n + XOR * 59
    return one(try_call() + code, types=types_)


@dimension(10)
def try_blocks_with_values(n):
    """Nested blocks of 500 values each, around calls with a handler."""
    types_ = [functype([I32], [I32]), functype([], [I32] * 500)]
    values = get(0) * 500
    branch = values + get(0) + b"\x0d\x00" + DROP * 500
    code = b"\x02\x01" * n + try_call() + (branch + values + END + DROP * 500) * n + get(0)
    return one(code, types=types_)


@dimension(500)
def calls(n):
    return one(get(0) + b"\x10\x00" * n)


@dimension(500)
def calls_with_locals(n):
    return one((get(0) + b"\x10\x00" + put(1)) * n + get(0) + get(1) + ADD, [(1, I32)])


@dimension(500)
def indirect_calls(n):
    element = b"\x00" + const(0) + END + vec([uleb(0)])
    return one(get(0) + (get(0) + b"\x11\x00\x00") * n, tables=[table(10)], elements=[element])


@dimension(500)
def callees(n):
    code = get(0) + b"".join(b"\x10" + uleb(1 + i) for i in range(n))
    return module(bodies=[body(code)] + [body(get(0))] * n)


@dimension(500)
def calls_of_blocks(n):
    return module(bodies=[body((BLOCK + END) * n + get(0))] + [body(get(0) + b"\x10\x00")] * (n // 8))


@dimension(500)
def calls_of_calls(n):
    small = [body(get(0) + const(3) + ADD)] + [body(get(0) + b"\x10" + uleb(i)) for i in range(n)]
    return module(bodies=small)


@dimension(1000)
def functions(n):
    return module(bodies=[body(get(0) + const(1) + ADD)] * n)


@dimension(1000)
def types(n):
    kinds = [I32, I64, F32, F64]
    return module([functype([kinds[i >> s & 3] for s in range(0, 24, 2)], [I32]) for i in range(n)], bodies=[])


@dimension(500)
def signatures_called(n):
    kinds = [I32, I64, F32, F64]
    types_ = [functype([kinds[i >> s & 3] for s in range(0, 24, 2)], [I32]) for i in range(n)]
    imports_ = [name("m") + name(str(i)) + b"\x00" + uleb(i) for i in range(n)]
    return module(types_, imports=imports_, funcs=[], bodies=[])


@dimension(1000)
def imports(n):
    return module(imports=[name("m") + name(str(i)) + b"\x00\x00" for i in range(n)], bodies=[])


@dimension(1000)
def exports(n):
    return module(exports=[name(str(i)) + b"\x00\x00" for i in range(n)], bodies=[body(get(0))])


@dimension(1000)
def names_length(n):
    return module(exports=[name("n" * n) + b"\x00\x00"], bodies=[body(get(0))])


@dimension(1000)
def globals_(n):
    return module(globals_=[b"\x7f\x01" + const(i) + END for i in range(n)], bodies=[body(get(0) + b"\x24\x00" + get(0))])


@dimension(1000)
def constant_expressions(n):
    return module(globals_=[b"\x7f\x00" + const(0) + (const(1) + ADD) * n + END], bodies=[body(get(0))])


@dimension(1000)
def globals_of_globals(n):
    rest = [b"\x7f\x00\x23" + uleb(i) + END for i in range(n)]
    return module(globals_=[b"\x7f\x00" + const(1) + END] + rest, bodies=[body(get(0))])


@dimension(1000, 100_000)
def data_segments(n):
    return module(data=[b"\x00" + const(16 * i) + END + vec([b"\x01"]) for i in range(n)], memory=200, bodies=[body(get(0))])


@dimension(1000, 100_000)
def data_segments_far(n):
    return module(data=[b"\x00" + const(4096 * i) + END + vec([b"\x01"]) for i in range(n)], memory=8000, bodies=[body(get(0))])


@dimension(1000, 100_000)
def passive_segments(n):
    return module(data=[b"\x01" + vec([b"\x01"]) for _ in range(n)], bodies=[body(get(0))])


@dimension(1000, 100_000)
def element_segments(n):
    each = [b"\x00" + const(i) + END + vec([b"\x00"]) for i in range(n)]
    return module(tables=[table(n)], elements=each, bodies=[body(get(0))])


@dimension(1000)
def elements(n):
    return module(tables=[table(n)], elements=[b"\x00" + const(0) + END + vec([b"\x00"] * n)], bodies=[body(get(0))])


@dimension(10, 100)
def tables(n):
    return module(tables=[table(1000)] * n, bodies=[body(get(0))])


@dimension(1000)
def selects(n):
    return one(get(0) + (get(0) + get(0) + b"\x1b") * n)


@dimension(1000)
def float_constants(n):
    import struct

    each = b"".join(b"\x44" + struct.pack("<d", i + 0.5) + b"\xa0" for i in range(n))
    return one(b"\x44" + bytes(8) + each + b"\xaa")


@dimension(1000)
def vectors(n):
    each = b"".join(b"\xfd\x0c" + i.to_bytes(16, "little") + b"\xfd\x51" for i in range(n))
    return one(b"\xfd\x0c" + bytes(16) + each + b"\xfd\x1b\x00")


@dimension(500)
def memory_fills(n):
    return one((get(0) + get(0) + get(0) + b"\xfc\x0b\x00") * n + get(0))


@dimension(50)
def try_nested_with_tags(n):
    """Handlers in one another, each for a tag of its own, around as many calls."""
    tries = b"".join(b"\x1f\x40\x01\x00" + uleb(i) + uleb(i) for i in range(n))
    calls = (get(0) + b"\x10\x00" + put(0)) * n
    return one(BLOCK + tries + calls + END * (n + 1) + get(0), types=NOTHING, tags=[b"\x00\x01"] * n)


@dimension(50, 10_000)
def try_with_many_clauses(n):
    """A handler with many clauses, around as many calls."""
    clauses = vec(b"\x00" + uleb(i) + b"\x00" for i in range(n))
    calls = (get(0) + b"\x10\x00" + put(0)) * n
    return one(BLOCK + b"\x1f\x40" + clauses + calls + END + END + get(0), types=NOTHING, tags=[b"\x00\x01"] * n)


@dimension(50)
def legacy_tries_that_delegate(n):
    """Handlers of the legacy encoding in one another, each of which delegates to the next."""
    return one(b"\x06\x40" * n + (get(0) + b"\x10\x00" + put(0)) * n + b"\x18\x00" * n + get(0))


@dimension(50)
def throws(n):
    """Values that are thrown, a thousand each."""
    types_ = [functype([I32], [I32]), functype([I32] * 1000, [])]
    return one((get(0) + IF + get(0) * 1000 + b"\x08\x00" + END) * n + get(0), types=types_, tags=[b"\x00\x01"])


@dimension(50)
def branches_with_values(n):
    """Branches of four bytes that pass a thousand values each."""
    return one(get(0) * 1000 + (get(0) + b"\x0d\x00") * n, types=[functype([I32], [I32] * 1000)])


@dimension(10)
def calls_with_values(n):
    """Calls of two bytes with a thousand parameters and results each."""
    values = b"".join(get(i) for i in range(1000))
    return one(values + b"\x10\x00" * n, types=[functype([I32] * 1000, [I32] * 1000)])


@dimension(10)
def calls_that_double(n):
    """Functions that each call the one before twice."""
    twice = [body(get(0) + b"\x10" + uleb(i) + b"\x10" + uleb(i)) for i in range(n)]
    return module(bodies=[body(get(0) + const(3) + ADD)] + twice)


@dimension(10)
def globals_that_double(n):
    """Constant expressions that each add the global before to itself."""
    rest = [b"\x7f\x00" + (b"\x23" + uleb(i)) * 2 + ADD + END for i in range(n)]
    return module(imports=[name("m") + name("g") + b"\x03\x7f\x00"], globals_=rest)


@dimension(100)
def interpreter(n):
    """A loop with a branch table, each target of which goes back to the loop."""
    table = b"\x0e" + vec(uleb(i) for i in range(n)) + uleb(n)
    cases = b"".join(END + get(0) + const(i) + ADD + put(0) + b"\x0c" + uleb(n - i) for i in range(n))
    return one(LOOP + BLOCK * (n + 1) + get(0) + b"\x2d\x00\x00" + table + cases + END + END + get(0))


@dimension(20)
def loops_with_branch_tables(n):
    """Loops in one another, and in each a branch table to all of them."""
    tables_ = (BLOCK + get(0) + b"\x0e" + vec(uleb(i + 1) for i in range(n)) + b"\x00" + END) * n
    return one(LOOP * n + tables_ + END * n + get(0))


@dimension(100, 16_000)
def types_in_a_circle(n):
    """A recursive group of types, each of which refers to the next."""
    group = b"\x4e" + vec(b"\x60\x01\x63" + sleb((i + 1) % n) + b"\x00" for i in range(n))
    return module([group, functype([I32], [I32])], funcs=[n], bodies=[body(get(0))])


@dimension(100, 16_000)
def types_that_double(n):
    """Types that each refer to the one before twice."""
    rest = [b"\x60\x02" + (b"\x63" + sleb(i)) * 2 + b"\x00" for i in range(n)]
    return module([functype([], [])] + rest + [functype([I32], [I32])], funcs=[n + 1], bodies=[body(get(0))])


@dimension(1000)
def unreachable_blocks(n):
    return one(b"\x00" + BLOCK * n + END * n + get(0))


@dimension(1000)
def names(n):
    functions_ = vec(uleb(i) + name(f"function number {i}") for i in range(n))
    section = name("name") + b"\x01" + uleb(len(functions_)) + functions_
    return module(bodies=[body(get(0))] * n) + b"\x00" + uleb(len(section)) + section


@dimension(500)
def calls_through_references(n):
    return one((get(0) + b"\xd2\x00\x14\x00" + put(0)) * n + get(0))


# --- how they are measured ------------------------------------------------------------------------


def compile_(args, wasm, options):
    """Seconds of processor time, MB, and the first line of an error."""
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [args.precast, "compile", wasm, "-o", wasm + ".precast", "--threads", "1"] + options
    limit = int(6 * args.limit) + 1

    def limited():
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=limited)
    peak = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                peak = max([peak] + [int(line.split()[1]) for line in status if line.startswith("VmHWM")])
        except OSError:
            pass
        time.sleep(0.005)
    message = process.stderr.read().decode(errors="replace").strip()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime
    if process.returncode < 0:
        message = f"killed after {limit} s of processor time"
    return spent, peak / 1024, None if process.returncode == 0 else " ".join(message.split())[:300]


def measure(args, folder, title, options):
    start, end, make = DIMENSIONS[title]
    size, rows, refused = start, [], None
    while size <= end:
        wasm = os.path.join(folder, "growth.wasm")
        with open(wasm, "wb") as file:
            file.write(make(size))
        seconds, memory, error = compile_(args, wasm, options)
        if error:
            refused = f"{size}: {error}"
            break
        rows.append((size, seconds, memory))
        if seconds > args.limit or size == end:
            break
        size = min(size * 2, end)
    growth = [(b[1] / a[1], b[2] / a[2]) for a, b in zip(rows, rows[1:]) if a[1] >= 0.05 and b[0] == 2 * a[0]][-3:]
    mean = [sum(column) / len(growth) for column in zip(*growth)] if growth else None
    last = rows[-1] if rows else (size, 0, 0)
    text = f"time x {mean[0]:.2f}, memory x {mean[1]:.2f}" if mean else "-"
    mark = " <== more than linear" if mean and max(mean) > 2.6 else ""
    print(f"{title:22} {' '.join(options[1::2]):14} {last[0]:>9} {last[1]:7.2f} s {last[2]:6.0f} MB  {text}{mark}", flush=True)
    if refused:
        print(f"{'':22} refused at {refused}", flush=True)
    return not mark and (not refused or "killed" not in refused)


def smoke(args, folder, title):
    """Compiles a module of 16 to 32 KB, or the largest of the dimension."""
    start, end, make = DIMENSIONS[title]
    size, content = start, make(start)
    while len(content) < 1 << 14 and size < end:
        size = min(size * 2, end)
        content = make(size)
    wasm = os.path.join(folder, "growth.wasm")
    with open(wasm, "wb") as file:
        file.write(content)
    fine = True
    for strategy in ["guarded", "checked"]:
        seconds, memory, error = compile_(args, wasm, ["--strategy", strategy])
        most = REFUSED_SECONDS if error else SMOKE_SECONDS
        text = f"{title:40} {strategy:8} {size:>9} {len(content):>9} bytes {seconds:7.2f} s {memory:6.0f} MB"
        if error and ("at most" not in error or "killed" in error):
            text += f" <== {error}"
        elif seconds > most or memory > SMOKE_MB:
            text += f" <== at most {most} s and {SMOKE_MB} MB are expected"
        elif error:
            text += f" refused: {error}"
        print(text, flush=True)
        fine &= "<==" not in text
    return fine


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precast", default=os.path.join(root, "target/release/precast"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--limit", type=float)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.limit = args.limit or (1.0 if args.quick else 4.0)
    if args.smoke:
        args.limit = REFUSED_SECONDS / 6
    unknown = [n for n in args.names if n not in DIMENSIONS]
    if unknown:
        sys.exit(f"error: no dimension is called {unknown[0]} (expected one of {', '.join(DIMENSIONS)})")
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        for title in args.names or DIMENSIONS:
            if args.smoke:
                fine &= smoke(args, folder, title)
                continue
            for strategy in ["guarded", "checked"]:
                for level in ["none", "speed"]:
                    fine &= measure(args, folder, title, ["--strategy", strategy, "--opt-level", level])
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
