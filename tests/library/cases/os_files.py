# SPDX-License-Identifier: MIT
import os


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except OSError as e:
        print("OSError", e.errno)


def write(name, text):
    with open(name, "w") as f:
        f.write(text)


os.makedirs("top/a/b")
tried(os.makedirs, "top/a/b")
os.makedirs("top/a/b", exist_ok=True)
os.makedirs("top/c/", exist_ok=True)
write("top/one", "1")
write("top/a/two", "22")
tried(os.makedirs, "top/one", exist_ok=True)
print([(top, sorted(folders), sorted(files)) for top, folders, files in sorted(os.walk("top"))])
print([top for top, _, _ in os.walk("top/a", topdown=False)])
print(
    os.path.isfile("top/one"),
    os.path.isdir("top/a"),
    os.path.isfile("top/a"),
    os.path.getsize("top/a/two"),
    os.path.samefile("top/one", "./top/one"),
)
os.replace("top/one", "top/a/two")
print(os.path.exists("top/one"), os.path.getsize("top/a/two"), os.path.getmtime("top/a/two") > 0)
tried(os.replace, "top/none", "top/a/two")
print(os.path.getsize("top/a/two"), sorted(os.listdir("top")))
os.remove("top/a/two")
os.removedirs("top/a/b")
print(os.listdir("top"))
os.removedirs("top/c")
print(os.path.exists("top"))
