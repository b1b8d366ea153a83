# Run by CPython 3.15, a reactor that reads its program from standard input.
import json, re, sys, os, hashlib
print(sys.version_info[:2], sys.platform)
print(json.loads('{"a": [1, 2.5, null, "\\u00e9"]}'), json.dumps({"b": {"c": True}}))
print(re.findall(r"(\w+)@(\w+)\.(\w+)", "ada@example.org, bob@example.com"))
print(hashlib.sha256(b"precast").hexdigest()[:16], 2**100)
try:
    [].pop()
except IndexError as error:
    print("caught", error)
with open("/box/notes.txt", "w") as file:
    file.writelines(f"line {n}\n" for n in range(3))
print(os.listdir("/box"), open("/box/notes.txt").read().split("\n"))
try:
    open("/etc/passwd")
except OSError as error:
    print(type(error).__name__)
import numpy
print(numpy.linalg.solve(numpy.array([[2.0, 1.0], [1.0, 3.0]]), numpy.array([3.0, 5.0])).round(6))
