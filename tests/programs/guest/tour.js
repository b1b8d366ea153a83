// A walk through QuickJS: classes, closures, generators, destructuring, regular expressions, JSON, BigInt, Map and Set, typed arrays,
// Proxy, promises, errors. Prints nothing that differs between runs.

class Shape {
  #name;
  static count = 0;
  constructor(name) { this.#name = name; Shape.count++; }
  get name() { return this.#name; }
  area() { return 0; }
  toString() { return `${this.name} of ${this.area().toFixed(6)}`; }
}
class Circle extends Shape {
  constructor(r) { super("circle"); this.r = r; }
  area() { return Math.PI * this.r ** 2; }
}
class Rectangle extends Shape {
  constructor(w, h) { super("rectangle"); Object.assign(this, { w, h }); }
  area() { return this.w * this.h; }
}
print([new Circle(1.5), new Rectangle(2, 0.1 + 0.2), new Shape("nothing")].join("; "), Shape.count);

const counter = (() => { let n = 0; return { up: (by = 1) => (n += by), get value() { return n; } }; })();
[1, 2, 3].forEach((x) => counter.up(x));
const compose = (...fs) => (x) => fs.reduceRight((y, f) => f(y), x);
print(counter.up(), counter.value, compose((x) => x + 1, (x) => x * 2)(20));

function* fibonacci() { let [a, b] = [0n, 1n]; for (;;) { yield a; [a, b] = [b, a + b]; } }
const take = (n, it) => { const out = []; for (const x of it) { if (out.length === n) break; out.push(x); } return out; };
print(take(15, fibonacci()).join(" "), take(300, fibonacci()).pop());

const log = "2024-03-01 ERROR disk=93%\n2024-03-02 INFO disk=12%\n2024-03-05 ERROR cpu=99%";
print([...log.matchAll(/^(?<date>[\d-]+) ERROR (?<key>\w+)=(?<value>\d+)%$/gm)].map(({ groups: g }) => `${g.date}:${g.key}:${g.value}`));
print("a1b22c333".replace(/(?<=[a-z])\d+/g, (d) => `<${d.length}>`), /\p{Lu}\p{Ll}+/u.exec("été Ünder")[0], "x,y;z".split(/[,;]/));

const document = { name: "módulo 🦀", sizes: [1, 2.5, -3e-7, null, true], nested: { deep: [[[{}]]] }, skip: undefined };
const line = JSON.stringify(document);
print(line, JSON.stringify(JSON.parse(line, (k, v) => (typeof v === "number" ? v * 2 : v)), null, 1).split("\n").length);
try { JSON.parse('{"a": [1, 2,]}'); } catch (error) { print(error.name); }

const factorial = (n) => (n < 2n ? 1n : n * factorial(n - 1n));
print(factorial(60n), (2n ** 200n) % (10n ** 9n + 7n), -7n / 2n, BigInt.asIntN(8, 255n), BigInt("0xdeadbeefdeadbeef").toString(36));
print(0.1 + 0.2, 1e21, 5e-324, (255).toString(2), (1234.5678).toFixed(2), (0.000001234).toExponential(2), parseInt("12px"), Number("0b101"), -0 === 0, Object.is(-0, 0), NaN);
print([Math.sin(1e6), Math.hypot(3, 4), Math.fround(0.1), Math.clz32(1000), Math.imul(0x7fffffff, 3), 2 ** 31 | 0, -1 >>> 0].join(" "));

const words = "the quick brown fox jumps over the lazy dog the end".split(" ");
const counts = words.reduce((m, w) => m.set(w, (m.get(w) ?? 0) + 1), new Map());
print([...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, 4).join(" "), new Set(words).size);

let state = 12345;
const random = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0);
const many = Array.from({ length: 50000 }, random).sort((a, b) => a - b);
print(many.length, many[0], many[25000], many.every((x, i) => i === 0 || many[i - 1] <= x));
const bytes = new Uint8Array(new Float64Array([1.5, -2]).buffer);
const view = new DataView(bytes.buffer);
print([...bytes].join(" "), view.getInt16(6), view.getFloat64(8, true), new Uint16Array([65537, -1]).join());

const { a, ...rest } = { a: 1, b: 2, c: 3 };
const proxy = new Proxy({}, { get: (_, key) => `<${String(key)}>` });
print(a, JSON.stringify(rest), proxy.anything, rest?.d?.e ?? "nothing", [3, 1, 2].toSorted?.(), [[1], [2, [3]]].flat(Infinity), Object.entries({ x: 1 }));
print([..."añ🦀"].length, "ß".toUpperCase(), "abc".at(-1), "5".padStart(3, "0"), "é".normalize("NFD").length, `${Symbol("s").toString()}`);

for (const action of [() => null.x, () => undefined_name, () => new Array(-1), () => { throw { custom: true }; }, () => 1n + 1]) {
  try { action(); } catch (error) { print(error.name ?? JSON.stringify(error)); } finally { counter.up(); }
}
label: for (let i = 0; ; i++) for (let j = 0; j < 5; j++) { if (i * j === 12) { print("found", i, j); break label; } }

const later = (x) => new Promise((resolve) => resolve(x)).then((y) => y * 2);
(async () => {
  const results = await Promise.allSettled([later(21), Promise.reject(new Error("no")), (async () => "async")()]);
  print(results.map((r) => r.value ?? r.reason.message).join(" "));
  for await (const x of (async function* () { yield* [1, 2]; })()) print("awaited", x);
})();
print("end of the script, value", counter.value);
