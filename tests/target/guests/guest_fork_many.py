# SPDX-License-Identifier: MIT
"""A VM that forks and waits, sys.argv[1] times in a row, each time when a line is typed; then ten children at once."""

import gc
import os
import sys

import floe

AT_ONCE = 10


def one(number):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, b"%d" % number)
        os._exit(number % 100)
    os.close(w)
    got = os.read(r, 100)
    os.close(r)
    assert got == b"%d" % number, got
    assert os.waitpid(pid, 0) == (pid, (number % 100) << 8)


def many():
    ends = [os.pipe() for _ in range(AT_ONCE)]
    r, go = os.pipe()
    pids = []
    for _, w in ends:
        pid = os.fork()
        if pid == 0:
            os.close(go)
            assert os.read(r, 1) == b""  # once all are there
            os.write(w, b"%d" % os.getpid())
            os._exit(0)
        pids.append(pid)
    os.close(go)
    assert [int(os.read(r, 10)) for r, _ in ends] == pids
    assert sorted(os.wait()[0] for _ in pids) == sorted(pids)


print("ready")
for number in range(int(sys.argv[1])):
    one(number)
    if number % 20 == 19:
        gc.collect()
        print("forked", number + 1, "uses", gc.mem_alloc(), floe.mem_info()["c_used"])
        input()
many()
print("ten at once")
