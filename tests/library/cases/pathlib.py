# SPDX-License-Identifier: MIT
import os
from pathlib import Path, PosixPath, PurePath, PurePosixPath


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print("OSError" if isinstance(e, OSError) else type(e).__name__)


for text in (
    "",
    ".",
    "/",
    "a",
    "a/b.txt",
    "/a/b.tar.gz",
    "a//b/./c/",
    "../x",
    "//h/x",
    "///x",
    ".hid",
    "a.",
    "/a/..",
    "a/.b.c",
):
    p = PurePosixPath(text)
    print(
        repr(p),
        p.parts,
        repr(p.root),
        repr(p.anchor),
        p.name,
        p.stem,
        p.suffix,
        p.suffixes,
        p.parent,
        [str(q) for q in p.parents],
        p.is_absolute(),
    )
a = PurePosixPath("/etc")
print(
    a / "x" / "y",
    "/r" / PurePosixPath("s"),
    a / "/b",
    a.joinpath("p", "q"),
    PurePosixPath("a", "b", PurePosixPath("c")),
    os.fspath(a),
    a.as_posix(),
)
print(
    a == PurePosixPath("/etc/"),
    hash(a) == hash(PurePosixPath("/etc")),
    a < PurePosixPath("/f"),
    sorted([PurePosixPath("b"), PurePosixPath("a/c"), PurePosixPath("a")]),
    a != "/etc",
)
print(
    PurePosixPath("/a/b/c").relative_to("/a"),
    PurePosixPath("/a/b").is_relative_to("/a"),
    PurePosixPath("/ab").is_relative_to("/a"),
)
tried(PurePosixPath("/a").relative_to, "/b")
p = PurePosixPath("d/file.txt")
print(
    p.with_name("x"),
    p.with_stem("y"),
    p.with_suffix(".md"),
    p.with_suffix(""),
    PurePosixPath("a/b").with_suffix(".c"),
    PurePosixPath("/x y").as_uri(),
)
for f, bad in (
    (p.with_name, "a/b"),
    (p.with_suffix, "md"),
    (PurePosixPath("/").with_name, "x"),
    (PurePosixPath("a").as_uri, None),
    (PurePosixPath, 5),
):
    tried(f, *([bad] if bad is not None else []))
for path, pattern in (
    ("a/b.py", "*.py"),
    ("/a/b.py", "a/*.py"),
    ("a/b.py", "/a/*.py"),
    ("/a/b.py", "/a/*.py"),
    ("b.py", "a/*.py"),
    ("a/b.py", "b*"),
):
    print(path, pattern, PurePosixPath(path).match(pattern))

top = Path("top")
tried(top.mkdir)
tried(top.mkdir)
top.mkdir(exist_ok=True)
(top / "a" / "b").mkdir(parents=True)
tried((top / "x" / "y").mkdir)
f = top / "one.txt"
print(
    f.write_text("line\nmore\n"),
    f.read_text(),
    f.read_bytes(),
    f.exists(),
    f.is_file(),
    f.is_dir(),
    top.is_dir(),
    f.is_symlink(),
)
print(
    (top / "a" / "two.txt").write_bytes(b"\x00\xff"),
    (top / "a" / "two.txt").read_bytes(),
    (top / "a" / "b" / "three.md").write_text("3"),
)
with f.open() as opened:
    print(opened.readline())
with (top / "four.md").open("w") as opened:
    opened.write("4")
(top / "empty").touch()
tried((top / "empty").touch, exist_ok=False)
tried(f.write_text, b"x")
tried(f.write_bytes, "x")
tried((top / "none").read_text)
print(sorted(str(p) for p in top.iterdir()))
for pattern in ("*", "*.txt", "*/*.txt", "**/*.md", "**", "a/b/*", "none/*", "[ef]*"):
    print(pattern, sorted(str(p) for p in top.glob(pattern)))
print(sorted(str(p) for p in top.rglob("*.txt")), f.stat()[6], f.samefile(top / "." / "one.txt"))
print(f.rename(top / "renamed"), f.exists(), (top / "renamed").replace(top / "four.md"), (top / "four.md").read_text())
(top / "four.md").unlink()
tried((top / "four.md").unlink)
(top / "four.md").unlink(missing_ok=True)
tried(top.rmdir)
print(
    Path("x").absolute() == Path.cwd() / "x",
    Path("/a/../b").resolve(),
    Path("x").resolve() == Path.cwd() / "x",
    isinstance(f, PurePath),
    isinstance(f, PosixPath) or type(f) is Path,
)
os.environ["HOME"] = "/home/me"
print(Path.home(), Path("~/x").expanduser())
for path in ("top/a/b/three.md", "top/a/two.txt", "top/empty"):
    Path(path).unlink()
for path in ("top/a/b", "top/a", "top"):
    Path(path).rmdir()
print(top.exists())
