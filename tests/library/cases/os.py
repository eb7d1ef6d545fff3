# SPDX-License-Identifier: MIT
import os
import os.path


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print(type(e).__name__)


os.environ["FLOE_CASE"] = "value"
print(
    os.environ["FLOE_CASE"],
    os.getenv("FLOE_CASE"),
    os.environ.get("FLOE_NONE"),
    os.environ.get("FLOE_NONE", "d"),
    "FLOE_CASE" in os.environ,
)
tried(lambda: os.environ["FLOE_NONE"])
print(
    os.environ.setdefault("FLOE_CASE", "x"),
    os.environ.pop("FLOE_CASE"),
    os.environ.pop("FLOE_CASE", None),
    os.getenv("FLOE_CASE"),
)
os.environ["FLOE_CASE"] = "listed"
env = os.environ.copy()
print(
    ("FLOE_CASE", "listed") in os.environ.items(),
    "FLOE_CASE" in list(os.environ),
    "listed" in os.environ.values(),
    sum(key == "FLOE_CASE" for key in os.environ.keys()),
    env["FLOE_CASE"],
    dict(os.environ) == env == os.environ,
    len(os.environ) == len(env) > 0,
    (os.environ | {"FLOE_CASE": "other"})["FLOE_CASE"],
    bool(os.environ),
)
env["FLOE_CASE"] = "a copy's"
print(
    os.environ["FLOE_CASE"],
    [os.environ.pop(key) for key in list(os.environ) if key == "FLOE_CASE"],
    os.getenv("FLOE_CASE"),
)
os.putenv("FLOE_PUT", "1")
print("FLOE_PUT" in os.environ)
os.environ["FLOE_GONE"] = "1"
before = os.environ.copy()
key, value = os.environ.popitem()
print(before[key] == value, key in os.environ, os.getenv(key))
os.environ.clear()
print(len(os.environ), os.environ == {}, os.getenv("FLOE_GONE"), list(os.environ), bool(os.environ))
print(os.getenv("FLOE_NONE"), os.getenv("FLOE_NONE", "default"))
os.environ.update({"FLOE_A": "1"}, FLOE_B="2")
del os.environ["FLOE_A"]
print(
    os.getenv("FLOE_A"),
    os.environ["FLOE_B"],
    os.name,
    repr(os.linesep),
    os.curdir,
    os.pardir,
    os.extsep,
    os.pathsep,
    os.SEEK_END,
)
print(os.SEEK_SET, os.SEEK_CUR, os.cpu_count() >= 1, os.fspath("a"), os.sep)
tried(os.fspath, 1)
tried(os.environ.__setitem__, "A", 1)
tried(os.environ.__setitem__, 1, "A")
p = os.path
for path in (
    "",
    "/",
    "a",
    "a/b",
    "/a/b/",
    "a//b",
    "/a/../b",
    "../a",
    "a/./b/..",
    "//x",
    "///x",
    ".a.b",
    "a.tar.gz",
    "a.b/c",
    "..",
    "a/.hid",
    "a.",
    "./",
):
    print(
        repr(path),
        p.split(path),
        p.basename(path),
        p.dirname(path),
        p.splitext(path),
        p.isabs(path),
        p.normpath(path),
        p.splitdrive(path),
    )
print(
    p.join("a", "b"),
    p.join("a/", "b"),
    p.join("a", "/b"),
    p.join("", "b"),
    p.join("a", ""),
    p.join("a", "b", "c.txt"),
    p.sep,
)
tried(p.join, "a", 1)
print(
    p.commonprefix(["/usr/lib", "/usr/local"]),
    p.commonpath(["/usr/lib", "/usr/local/x"]),
    p.commonpath(["a/b", "a/b/c"]),
    p.commonprefix([]),
)
tried(p.commonpath, ["/a", "b"])
tried(p.commonpath, [])
print(
    p.relpath("/a/b/c", "/a/d"),
    p.relpath("/a", "/a"),
    p.relpath("x/y", "x"),
    p.abspath("/a/../b"),
    p.realpath("/none/./x"),
    p.normcase("A"),
)
print(
    p.exists("/surely/not/there"), p.isfile("/none"), p.isdir("/none"), p.islink("/none"), p.isdir("/"), p.exists("/")
)
os.environ["HOME"] = "/home/me"
print(p.expanduser("~/x"), p.expanduser("~"), p.expanduser("x"), p.expandvars("$HOME/${HOME}x/$NOT_SET-$"))
try:
    p.getsize("/surely/not")
except OSError:
    print("OSError")
print(list(os.walk("/surely/not/there")))
