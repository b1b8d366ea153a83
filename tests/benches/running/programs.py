"""Work for real programs, about a second each, nearly all of it in the guest's own code. fetch.sh in
tests/programs fetches them."""

PYTHON_LOOP = """
def run(n):
    total, seen = 0, {}
    for i in range(n):
        total = (total * 31 + i) % 1000003
        if total not in seen: seen[total] = i
    return total, len(seen)
print(run(700000))
"""
PYTHON_TEXT = """
import json, re
rows = [{"id": i, "name": f"row {i * 7919 % 1009}", "tags": [str(j) for j in range(i % 7)]} for i in range(12000)]
text = json.dumps(rows)
back = json.loads(text)
words = re.findall(r'"name": "(row \\\\d*7)"', text)
print(len(text), len(back), len(words), len(re.sub(r"[aeiou]+", "-", text)))
"""
PYTHON_OBJECTS = """
class Node:
    __slots__ = ("key", "left", "right")
    def __init__(self, key): self.key, self.left, self.right = key, None, None
def insert(root, key):
    while True:
        side = "left" if key < root.key else "right"
        child = getattr(root, side)
        if child is None: setattr(root, side, Node(key)); return
        root = child
root, x = Node(500000), 1
for _ in range(24000):
    x = x * 1103515245 + 12345 & 0x7fffffff
    insert(root, x % 1000000)
def depth(n): return 0 if n is None else 1 + max(depth(n.left), depth(n.right))
print(depth(root), sum(sorted(range(200000), key=lambda i: i * 7919 % 100003)[:100]))
"""
QUICKJS_SIEVE = """
function sieve(n) {
  const a = new Uint8Array(n + 1); let count = 0;
  for (let i = 2; i <= n; i++) { if (!a[i]) { count++; for (let j = i * 2; j <= n; j += i) a[j] = 1; } }
  return count;
}
let s = 0; for (let k = 0; k < 6; k++) s += sieve(250000);
const o = {}; for (let i = 0; i < 400000; i++) { const k = 'k' + (i % 997); o[k] = (o[k] || 0) + i; }
print(s, Object.keys(o).length);
"""
QUICKJS_OBJECTS = """
class Shape { constructor(n) { this.n = n; } area() { return this.n; } }
class Square extends Shape { area() { return this.n * this.n; } }
class Circle extends Shape { area() { return 3 * this.n * this.n; } }
let sum = 0;
const shapes = Array.from({length: 1000}, (_, i) => i % 3 ? new Square(i % 10) : new Circle(i % 7));
for (let k = 0; k < 400; k++) for (const s of shapes) sum += s.area();
const words = []; for (let i = 0; i < 20000; i++) words.push(('w' + i * 7919 % 10007).replace(/[0-5]+/g, '-'));
words.sort();
const map = new Map(); for (const w of words) map.set(w, (map.get(w) ?? 0) + 1);
print(sum, map.size, JSON.stringify(JSON.parse(JSON.stringify(words))).length);
"""
# Without this, QuickJS waits for events, which Wasmtime takes to be for ever.
LEAVE = "std.exit(0);"
SQLITE_JOIN = """
pragma temp_store = memory;
create table t (a integer primary key, b integer, c text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 120000)
  insert into t select i, (i * 7919) % 100003, 'row ' || (i % 1009) from n;
create index tb on t (b);
select count(*), sum(x.a * y.b % 13) from t x join t y on y.b = x.a where x.c like '%7%';
select c, sum(b) from t group by c order by 2 desc limit 3;
"""
SQLITE_TEXT = """
pragma temp_store = memory;
create table t (a integer primary key, c text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
  insert into t select i, printf('%08d %s', i * 7919 % 100003, hex(i)) from n;
select count(*) from t where c like '%1_3%4%';
select substr(c, 1, 3) as k, count(*), max(length(replace(c, '3', 'three'))) from t group by k order by k limit 2;
select count(distinct upper(trim(c, '0'))) from t;
"""

# Name of the row: program, arguments, standard input.
PROGRAMS = {
    "CPython, a loop with a dict": ("python", ["-c", PYTHON_LOOP], ""),
    "CPython, json and re": ("python", ["-c", PYTHON_TEXT], ""),
    "CPython, objects and sorting": ("python", ["-c", PYTHON_OBJECTS], ""),
    "QuickJS, sieve and properties": ("quickjs", ["--std", "-e", QUICKJS_SIEVE + LEAVE], ""),
    "QuickJS, classes and strings": ("quickjs", ["--std", "-e", QUICKJS_OBJECTS + LEAVE], ""),
    "SQLite, joins and an index": ("sqlite", ["-batch"], SQLITE_JOIN),
    "SQLite, text": ("sqlite", ["-batch"], SQLITE_TEXT),
}
