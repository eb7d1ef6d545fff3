# SPDX-License-Identifier: MIT
import io
import os
import shutil


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except OSError as e:
        print("Error" if isinstance(e, shutil.Error) else "OSError", isinstance(e, shutil.SameFileError))


def write(name, text):
    with open(name, "w") as f:
        f.write(text)


def read(name):
    with open(name) as f:
        return f.read()


def tree(top):
    return sorted(os.path.join(where, name) for where, folders, files in os.walk(top) for name in folders + files)


os.makedirs("s/a/b")
write("s/one.txt", "1" * 10000)
write("s/a/two.log", "two")
write("s/a/b/three.txt", "three")
print(
    shutil.copyfile("s/one.txt", "s/copy"),
    len(read("s/copy")),
    shutil.copy("s/copy", "s/a"),
    shutil.copy2("s/a/two.log", "s/2"),
)
tried(shutil.copyfile, "s/one.txt", "./s/one.txt")
tried(shutil.copyfile, "s/none", "s/x")
tried(shutil.copyfile, "s/one.txt", "s/none/x")
a, b = io.BytesIO(b"x" * 9000), io.BytesIO()
shutil.copyfileobj(a, b)
print(len(b.getvalue()))
a.seek(0)
b = io.BytesIO()
shutil.copyfileobj(a, b, 10)
print(len(b.getvalue()))
print(shutil.copytree("s", "t", ignore=shutil.ignore_patterns("*.log", "2")), tree("t"))
tried(shutil.copytree, "s/a", "t")
print(shutil.copytree("s/a", "t", dirs_exist_ok=True), tree("t"))
print(shutil.move("t/copy", "t/moved"), shutil.move("t/moved", "t/b"), shutil.move("t/a", "t/b/"), tree("t"))
tried(shutil.move, "t/b", "t/b/a")
tried(shutil.move, "t/none", "t/x")
os.makedirs("t/two/b")
tried(shutil.move, "t/b", "t/two")
shutil.rmtree("t/b")
print(tree("t"))
tried(shutil.rmtree, "t/none")
shutil.rmtree("t/none", ignore_errors=True)
shutil.rmtree("t")
shutil.rmtree("s")
print(os.path.exists("t"), os.path.exists("s"))
usage = shutil.disk_usage("/")
print(usage.total >= usage.used + usage.free > 0, usage[0] == usage.total, len(usage))
