# SPDX-License-Identifier: MIT
"""Children that write and end at once, by each way out: all that they wrote is read, before their end is known or after."""

import os
import sys

TIMES = 50
SIZES = (1, 100, 4096, 20000, 60000)


def write_and_end(w, data, way):
    os.write(w, data)
    if way == 0:
        os._exit(0)
    elif way == 1:
        sys.exit(0)
    elif way == 2:
        raise ValueError("on purpose")


whole = 0
for turn in range(TIMES):
    data = bytes([turn]) * SIZES[turn % len(SIZES)]
    way = turn % 4
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        write_and_end(w, data, way)
        break  # the end of the script
    os.close(w)
    if turn % 3:
        os.waitpid(pid, 0)
    got = b""
    while part := os.read(r, 16384):
        got += part
    if not turn % 3:
        os.waitpid(pid, 0)
    os.close(r)
    if got != data:
        print("turn", turn, "way", way, "of", len(data), "bytes", len(got), "came")
    whole += got == data
else:
    print("whole", whole)
