# SPDX-License-Identifier: MIT
import glob
import os

for folder in ("g/a/b", "g/.hid", "g/c"):
    os.makedirs(folder)
for name in ("g/one.txt", "g/two.py", "g/.dot.txt", "g/a/x.txt", "g/a/b/y.txt", "g/.hid/z.txt", "g/c/[q].txt"):
    with open(name, "w") as f:
        f.write(name)


def show(pattern, **kw):
    print(pattern, sorted(glob.glob(pattern, **kw)))


for pattern in ("g/*", "g/*.txt", "g/.*", "g/?ne.txt", "g/[ot]*", "g/[!o]*.*", "g/*/", "g/*/*", "g/*/*.txt", "g/a/", "g/one.txt",
                "g/one.txt/", "g/none", "g/none/*", "*/one.txt", "*/a/b/*.txt", "g/a/*/y.txt", "g/**", "g/**/*.txt"):  # fmt: skip
    show(pattern)
for pattern in ("g/**", "g/**/*.txt", "g/**/", "**/y.txt", "g/**/b/*", "g/a/**/b/**", "g/**/a"):
    show(pattern, recursive=True)
show("*.txt", root_dir="g")
show("**/*.txt", root_dir="g", recursive=True)
show("**", root_dir="g", recursive=True)
show("*", root_dir="g/none")
show("g/*", include_hidden=True)
show("g/**/*.txt", recursive=True, include_hidden=True)
print(glob.glob(os.path.join(os.getcwd(), "g", "none*")))
print([os.path.basename(name) for name in glob.iglob(os.path.join(os.getcwd(), "g/*.py"))])
print(glob.escape("a[b]*?c"), glob.glob("g/c/" + glob.escape("[q].txt")), glob.has_magic("a*"), glob.has_magic("a"))
