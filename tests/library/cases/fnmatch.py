# SPDX-License-Identifier: MIT
from fnmatch import filter, fnmatch, fnmatchcase

for pattern in (
    "*",
    "*.py",
    "a?c",
    "[abc]x",
    "[!abc]x",
    "[a-c]*",
    "*b*c*",
    "",
    "[",
    "[]]",
    "[!]]",
    "a*b*",
    "[a",
    "**",
    "[-a]",
    "a.[ch]",
):
    print(
        pattern,
        [
            name
            for name in ("", "a", "abc", "x.py", "ax", "dx", "aXbYc", "[", "]", "[a", "-", "a.c", "a/b.py")
            if fnmatchcase(name, pattern)
        ],
    )
print(fnmatch("a.py", "*.py"), filter(["a.c", "b.h", "c.py"], "*.[ch]"))
