import json, re, os, sys
print(sys.implementation.name, json.dumps({"a": [1, 2.5, None, "é"]}), json.loads('{"b": [true]}'))
m = re.match(r"(\w+)-(\d+)", "abc-42!")
print(m.group(1), m.group(2), re.sub(r"a(b+)", lambda m: m.group(1), "abbab"))
print(sum(i * i for i in range(1000)), 2 ** 200, 7 // -2, divmod(-7, 2), 1e100 / 3)

class Tree:
    def __init__(self, n):
        self.left, self.right = (Tree(n - 1), Tree(n - 1)) if n else (None, None)
    def __len__(self):
        return 1 + (len(self.left) + len(self.right) if self.left else 0)

for n in range(9):
    print(len(Tree(n)), end=" ")
print()

def nested(n):
    try:
        if n == 0:
            raise KeyError("innermost")
        nested(n - 1)
    except KeyError as e:
        raise ValueError(n) from e
    finally:
        print("leaving", n)

try:
    nested(5)
except ValueError as e:
    print("caught", repr(e))

def deep(n):
    return deep(n + 1)

try:
    deep(0)
except RuntimeError as e:
    print("too deep:", e)

def numbers():
    while True:
        try:
            yield 1
        except StopIteration:
            yield 2

g = numbers()
print(next(g), g.throw(StopIteration), next(g))
with open("/box/out.txt", "w") as f:
    f.write("one\ntwo\n" * 3)
with open("/box/out.txt") as f:
    print([line.strip() for line in f], sorted(os.listdir("/box")))
raise ValueError("at the end")
