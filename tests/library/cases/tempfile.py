# SPDX-License-Identifier: MIT
import os
import tempfile

tempfile.tempdir = os.path.abspath("temp")
os.mkdir("temp")
print(tempfile.gettempdir() == os.path.abspath("temp"), tempfile.gettempprefix())
with tempfile.NamedTemporaryFile("w+", suffix=".txt", prefix="my") as f:
    f.write("some text")
    f.flush()
    f.seek(0)
    name = os.path.basename(f.name)
    print(f.read(), name.startswith("my"), name.endswith(".txt"), os.path.getsize(f.name), os.listdir("temp") == [name])
print(os.listdir("temp"), f.closed)
f = tempfile.NamedTemporaryFile(delete=False)
f.write(b"bytes")
f.close()
f.close()
with open(f.name, "rb") as g:
    print(g.read(), os.path.dirname(f.name) == tempfile.gettempdir())
os.remove(f.name)
f = tempfile.NamedTemporaryFile("w+", dir=".")
print(f.write("a\nb\n"), f.seek(0), list(f), os.path.exists(f.name))
f.close()
print(os.path.exists(f.name))
with tempfile.TemporaryFile() as f:
    f.write(b"123")
    f.seek(1)
    print(f.read())
with tempfile.TemporaryDirectory(prefix="d") as d:
    os.makedirs(os.path.join(d, "a/b"))
    with open(os.path.join(d, "a", "file"), "w") as f:
        f.write("x")
    print(os.path.isdir(d), os.path.basename(d).startswith("d"), sorted(os.listdir(d)))
print(os.path.exists(d), os.listdir("temp"))
t = tempfile.TemporaryDirectory()
print(os.path.isdir(t.name))
t.cleanup()
print(os.path.exists(t.name))
d = tempfile.mkdtemp(suffix="-end", dir="temp")
print(os.path.isdir(d), d.endswith("-end"), tempfile.mkdtemp() != tempfile.mkdtemp(), len(os.listdir("temp")))
with tempfile.SpooledTemporaryFile(max_size=100, mode="w+") as f:
    f.write("spooled")
    f.seek(0)
    print(f.read())
with tempfile.SpooledTemporaryFile() as f:
    f.write(b"spooled")
    f.seek(2)
    print(f.read())
try:
    tempfile.NamedTemporaryFile(dir="no/such")
except OSError:
    print("OSError")
tempfile.tempdir = None
