"""A walk through CPython: strings, dictionaries, big integers, regular expressions, json, classes, generators, exceptions, files.

Prints nothing that differs between runs. Arguments are echoed; with a folder `/data` preopened, files are written there.
"""

import collections
import dataclasses
import decimal
import fractions
import functools
import hashlib
import heapq
import io
import itertools
import json
import math
import os
import random
import re
import struct
import sys
import textwrap
import zlib


def strings():
    text = "Grüße, 世界! ¿Qué tal? 🦀"
    print(len(text), len(text.encode()), text.upper(), text[::-1], sep=" | ")
    print(f"{math.pi:.10f} {1e21:g} {2 / 3!r} {-5:+08d} {255:#x} {255:#010b} {0.1 + 0.2} {'mid':^9}|")
    print("%s %r %5.1f%%" % ("old", "style", 12.345), "{0[1]} {name.real}".format([1, 2], name=7))
    print(text.translate({ord("ü"): "ue", ord("ß"): "ss", ord("!"): None}), sorted("bānana", key=str.casefold))
    print(textwrap.fill("the linear memory of an instance is an array of bytes " * 3, width=42))


def containers():
    rng = random.Random(2024)
    numbers = [rng.randrange(10**6) for _ in range(20_000)]
    counted = collections.Counter(n % 97 for n in numbers)
    print(counted.most_common(4), sum(numbers), heapq.nsmallest(5, numbers), len(set(numbers)))
    table = {f"key{n}": n for n in numbers}
    for n in numbers[::2]:
        table.pop(f"key{n}", None)
    print(len(table), sorted(table.items(), key=lambda item: (item[1], item[0]))[:3])
    queue = collections.deque(range(8), maxlen=5)
    queue.rotate(2)
    print(queue, list(itertools.islice(itertools.permutations("abc"), 3)), [*zip("xy", (1, 2))])
    print({1, 2, 3} ^ {3, 4}, {**{"a": 1}, "b": 2} | {"a": 3}, [x for row in [[1, 2], [3]] for x in row])


def arithmetic():
    factorial = math.factorial(500)
    print(len(str(factorial)), hashlib.sha256(str(factorial).encode()).hexdigest())
    print(pow(3, 10**6, 10**9 + 7), math.gcd(factorial, 2**600), math.isqrt(10**60 + 1), -7 // 2, -7 % 3, 2**200 >> 190)
    print(fractions.Fraction(1, 3) + fractions.Fraction(5, 7), decimal.Decimal(2).sqrt(decimal.Context(prec=40)), complex(1, 2) ** 2)
    print(int("zz", 36), (1 << 130).to_bytes(17, "big").hex(), float.fromhex("0x1.8p3"), round(2.5), round(-1.005, 2))
    primes = [n for n in range(2, 3000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    print(len(primes), primes[-3:], math.fsum([0.1] * 10), math.sin(1e6), math.gamma(5.5))


def expressions():
    log = "2024-03-01 ERROR disk=93%\n2024-03-02 INFO disk=12%\n2024-03-05 ERROR cpu=99%\n"
    print(re.findall(r"(?m)^(\d{4})-(\d\d)-(\d\d) ERROR (\w+)=(\d+)%$", log))
    print(re.sub(r"(?P<key>\w+)=(?P<value>\d+)%", lambda m: f"{m['key']}:{int(m['value']) / 100}", log).splitlines()[1])
    print(re.fullmatch(r"(a+)+b", "aaaaab").span(1), re.split(r"[,;]\s*", "a, b;c,d"), re.search(r"(?<=@)\w+(?=\.)", "me@host.org")[0])


def data():
    document = {"name": "módulo", "sizes": [1, 2.5, -3e-7, None, True], "nested": {"é": [], "deep": [[[{}]]]}}
    line = json.dumps(document, sort_keys=True)
    print(line, json.loads(line) == document, json.dumps(document, ensure_ascii=False, indent=1).count("\n"))
    try:
        json.loads('{"a": [1, 2,]}')
    except json.JSONDecodeError as error:
        print("refused:", error)
    packed = struct.pack("<IhdQ?", 0xDEADBEEF, -2, 1.5, 2**63, True)
    blob = bytes(i * i & 255 for i in range(5000))
    squeezed = zlib.compress(blob, 9)
    print(packed.hex(), struct.unpack("<IhdQ?", packed)[1:3], zlib.decompress(squeezed) == blob, zlib.crc32(blob), hashlib.md5(blob).hexdigest())


@dataclasses.dataclass(order=True)
class Version:
    major: int
    minor: int = 0
    tags: list = dataclasses.field(default_factory=list, compare=False)

    def __str__(self):
        return f"{self.major}.{self.minor}"


class Meta(type):
    registry = []

    def __new__(mcs, name, bases, body, **options):
        cls = super().__new__(mcs, name, bases, body, **options)
        mcs.registry.append(name)
        return cls

    def __init__(cls, name, bases, body, **_):
        super().__init__(name, bases, body)


class Base(metaclass=Meta):
    def __init_subclass__(cls, **options):
        cls.options = options

    def __getattr__(self, name):
        return f"<{name}>"


class Derived(Base, speed="fast"):
    @functools.cached_property
    def expensive(self):
        return sum(range(1000))


def objects():
    versions = [Version(1, 10), Version(1, 9, ["x"]), Version(0, 99)]
    print(*map(str, sorted(versions)), max(versions), Meta.registry, Derived.options, Derived().expensive, Derived().anything)

    @functools.lru_cache(maxsize=None)
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    def echo():
        received = []
        while (item := (yield len(received))) is not None:
            received.append(item)
        return received

    generator = echo()
    next(generator)
    lengths = [generator.send(c) for c in "abc"]
    try:
        generator.send(None)
    except StopIteration as stop:
        print(fibonacci(12), lengths, stop.value)
    match {"kind": "call", "args": [1, 2, 3]}:
        case {"kind": "call", "args": [first, *rest]}:
            print("matched", first, rest)


def failures():
    def deep(n):
        return deep(n + 1) + 1

    sys.setrecursionlimit(100)  # far below what any engine's stack allows
    for action in (lambda: 1 // 0, lambda: [][3], lambda: {}["k"], lambda: int("x"), lambda: "a" + 1, lambda: deep(0), lambda: open("/nowhere")):
        try:
            action()
        except Exception as error:
            print(type(error).__name__, str(error)[:60], sep=": ")
    try:
        try:
            raise ValueError("inner")
        finally:
            print("finally")
    except ValueError as error:
        try:
            raise RuntimeError("outer") from error
        except RuntimeError as outer:
            print(repr(outer), repr(outer.__cause__))


def files():
    if not os.path.isdir("/data"):
        print("no /data")
        return
    os.makedirs("/data/a/b", exist_ok=True)
    with open("/data/a/b/lines.txt", "w", encoding="utf-8") as file:
        file.writelines(f"línea {i}\n" for i in range(1000))
    with open("/data/a/b/lines.txt", encoding="utf-8") as file:
        print(sum(len(line) for line in file), os.path.getsize("/data/a/b/lines.txt"))
    with open("/data/a/raw.bin", "wb+") as file:
        file.write(bytes(range(256)) * 16)
        file.seek(-6, io.SEEK_END)
        print(file.read(3).hex(), file.tell(), file.truncate(100))
    os.rename("/data/a/raw.bin", "/data/a/b/raw.bin")
    print([(root, sorted(folders), sorted(names)) for root, folders, names in sorted(os.walk("/data"))])
    os.remove("/data/a/b/raw.bin")


if __name__ == "__main__":
    print(sys.version.split()[0], sys.argv[1:], sys.platform, os.environ.get("COLOR"))
    for part in (strings, containers, arithmetic, expressions, data, objects, failures, files):
        print(f"-- {part.__name__}")
        part()
    print("to standard error", file=sys.stderr)
    sys.exit(3)
