#!/usr/bin/env python3
"""Shows which files of the loader import from which, and fails if its layers rot.

    tests/import-graph.py           the check, and the circles and their sizes
    tests/import-graph.py --files   the imports of each file, too

A file imports another one if a `use` or a path of its code names an item of it, or if it calls a
method that the other file adds to a type of a third one; comments, strings and unit tests do not
count. What the code map in loader/src/lib.rs says of layers is the rule: a
file imports from its own layer and from those below. A circle is a set of files that reach each
other by imports (a strongly connected component): none of them can be read, or changed, without
all the others. The numbers below may fall, and not rise.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent / "loader/src"

# The maximum number of files in one circle, by the layer of the code map; 1 allows no circle.
MAX_CIRCLE = {"ground": 6, "machine": 1, "handles": 1, "runtime": 8}

WORD = r"[A-Za-z_]\w*"

# Methods of a type, outside of traits.
METHODS = rf"^impl\b(?:<[^\n]*?>)? ?({WORD})(?:<[^\n]*?>)? {{\n(.*?)^}}"


def without_comments(code):
    """The code with comments, contents of strings and unit tests left out."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\\\'])\'',
        re.DOTALL,
    )
    code = token.sub(lambda found: '""' if found[0][-1] in "\"#'" else " ", code)
    while found := re.search(r"#\[cfg\(test\)\]\s*mod \w+ \{", code):
        end, depth = found.end(), 1
        while depth:
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
        code = code[: found.start()] + code[end:]
    return re.sub(r"#\[cfg\(test\)\]\s*mod \w+;", "", code)


def leaves(tree):
    """The paths of a `use`, each with the name that it has in the file."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        path, _, name = (part.strip() for part in tree.partition(" as "))
        path = path.split("::")
        if path[-1] == "self":
            path.pop()
        return [(path, name or path[-1])]
    prefix = head.strip().removesuffix("::")
    found, depth, start = [], 0, 0
    inner = rest[: rest.rindex("}")] + ","
    for at, char in enumerate(inner):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            if item := inner[start:at].strip():
                found += leaves(f"{prefix}::{item}")
            start = at + 1
    return found


class File:
    def __init__(self, module, code):
        self.module = module
        self.code = without_comments(code)
        self.children = set(re.findall(rf"\bmod ({WORD});", self.code))
        self.uses = []
        self.reexports = {}
        for public, tree in re.findall(r"\b(pub(?:\([^)]*\))? )?use ([^;]+);", self.code):
            for path, name in leaves(tree):
                self.uses.append(path)
                if public:
                    self.reexports[name] = path
        self.types = set(re.findall(rf"\b(?:struct|enum|union|trait|type) ({WORD})", self.code))
        self.functions = set(re.findall(rf"\bfn ({WORD})", self.code))
        self.added = {
            name
            for type, body in re.findall(METHODS, self.code, re.MULTILINE | re.DOTALL)
            if type not in self.types
            for name in re.findall(rf"\bpub\([a-z]+\) (?:unsafe )?fn ({WORD})", body)
        }
        self.calls = set(re.findall(rf"(?:\.|Self::|self::)({WORD})\s*\(", self.code))
        rest = re.sub(r"\buse [^;]+;", "", self.code)
        first = "|".join(["crate", "super", "self", *sorted(self.children)])
        paths = re.findall(rf"(?<![\w:])((?:{first})(?:\s*::\s*{WORD})+)", rest)
        self.uses += [re.sub(r"\s", "", path).split("::") for path in paths]


def modules(root):
    found = {}
    for path in sorted(root.rglob("*.rs")):
        parts = list(path.relative_to(root).with_suffix("").parts)
        if parts[-1] in ("mod", "lib"):
            parts.pop()
        if "tests" not in parts:
            found[tuple(parts)] = File(tuple(parts), path.read_text(encoding="utf-8"))
    return found


def absolute(file, path):
    """The path from the crate's root, or None if it leads to another crate."""
    at = file.module
    if path[0] == "crate":
        return path[1:]
    if path[0] in file.children:
        return [*at, *path]
    if path[0] not in ("self", "super"):
        return None
    while path and path[0] in ("self", "super"):
        at = at[:-1] if path[0] == "super" else at
        path = path[1:]
    return [*at, *path]


def owner(files, path, hops=0):
    """The file that has the item at this path from the root, by way of re-exports."""
    length = max(n for n in range(len(path) + 1) if tuple(path[:n]) in files)
    file = files[tuple(path[:length])]
    if length < len(path) and hops < 8:
        if (given := file.reexports.get(path[length])) and (real := absolute(file, given)):
            return owner(files, [*real, *path[length + 1 :]], hops + 1)
    return file.module


def graph(files):
    """For each file, the files that it imports from."""
    edges = {}
    # A name that several files have for functions does not tell which of them is called.
    has = [name for file in files.values() for name in file.functions]
    added = {
        name: module
        for module, file in files.items()
        for name in file.added
        if has.count(name) == 1
    }
    for module, file in files.items():
        paths = (absolute(file, path) for path in file.uses)
        edges[module] = {owner(files, path) for path in paths if path}
        edges[module] |= {added[name] for name in file.calls if name in added}
        edges[module].discard(module)
        if not module:
            edges[module] = set()  # The root declares everything, and is imported by nobody.
    return edges


def circles(edges):
    """Strongly connected components of more than one file (Tarjan's algorithm)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in sorted(edges[node]):
            if to not in index:
                visit(to)
            if to in stack:
                low[node] = min(low[node], low[to])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return sorted(found, key=len, reverse=True)


def layers(root):
    """The layers of the code map, lowest first: the names of modules, with the layer of each."""
    found, layer, order = {}, None, []
    for row in re.findall(r"^// \|(.*)\|$", (root / "lib.rs").read_text(), re.MULTILINE):
        name, names = (cell.strip() for cell in row.split("|")[:2])
        if name and name not in order:
            order.append(name)
        for module in re.findall(r"`(\w+)`", names):
            found[module] = order[-1]
    return found, [name for name in order if name in found.values()]


def shown(module):
    return "/".join(module) or "lib"


def main():
    files = modules(ROOT)
    edges = graph(files)
    layer, order = layers(ROOT)
    wrong = []
    for module in files:
        if module and module[0] not in layer:
            wrong.append(f"`{module[0]}` has no layer: add it to the code map in loader/src/lib.rs")
    if wrong:
        sys.exit("\n".join(wrong))

    def height(module):
        return order.index(layer[module[0]])

    upwards = [(a, b) for a in edges for b in sorted(edges[a]) if a and b and height(b) > height(a)]
    for a, b in upwards:
        wrong.append(
            f"{shown(a)}.rs, of the layer `{layer[a[0]]}`, imports from {shown(b)}.rs, of the layer"
            f" `{layer[b[0]]}` above: move what it needs down, or let the upper file pass it in"
        )
    found = circles(edges)
    for circle in found:
        where = max((layer[module[0]] for module in circle), key=order.index)
        limit = MAX_CIRCLE[where]
        if len(circle) > limit:
            wrong.append(
                f"{len(circle)} files of the layer `{where}` import each other in a circle, which"
                f" may have {limit}: {', '.join(map(shown, circle))}. Move what the lower ones need"
                " into a file of its own"
            )
    if "--files" in sys.argv:
        for module in edges:
            if module:
                names = sorted(shown(to) for to in edges[module])
                print(f"{shown(module)}: {', '.join(names)}")
    count = sum(map(len, edges.values()))
    print(f"{len(files)} files, {count} imports, {len(upwards)} of them upwards")
    for circle in found:
        print(f"circle of {len(circle)}: {', '.join(map(shown, circle))}")
    if wrong:
        sys.exit("\n".join(wrong))


def would_notice():
    """The check of the check: what code imports, and what makes a circle."""
    first = '''//! See [`crate::top`].
use crate::{b::{self, Two}, Given}; // crate::top
fn f() -> &'static str { "crate::top" }
#[cfg(test)]
mod tests { use crate::top::Top; }
'''
    top = '''use crate::c::given::Given;
impl Given {
    pub(crate) fn only_here(&self) {}
}
'''
    files = {
        (): File((), "mod a; mod b; mod c; mod top; pub use c::given::Given;"),
        ("a",): File(("a",), first),
        ("b",): File(("b",), "pub struct Two; fn g(x: super::c::given::Given) { x.only_here() }"),
        ("c",): File(("c",), "mod given;"),
        ("c", "given"): File(("c", "given"), "pub struct Given;"),
        ("top",): File(("top",), top),
    }
    edges = graph(files)
    assert edges["a",] == {("b",), ("c", "given")}, edges
    assert edges["b",] == {("c", "given"), ("top",)}, edges
    assert circles(edges) == []
    files["top",] = File(("top",), top + "use crate::a;")
    assert circles(graph(files)) == [[("a",), ("b",), ("top",)]]


if __name__ == "__main__":
    would_notice()
    main()
