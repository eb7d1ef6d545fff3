# SPDX-License-Identifier: MIT
# What a POSIX system says of itself.

name = "posix"
linesep = "\n"
curdir = "."
pardir = ".."
extsep = "."
pathsep = ":"
SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2


def cpu_count():
    return 1
