# SPDX-License-Identifier: MIT
"""Writes files until it is killed, and says after each operation that what it did is on the disk. The operations are
those of crash.py, which knows what each one leaves behind."""

import os
import sys

import vfs

import floe

FIRST, LAST, SLOTS = (int(arg) for arg in sys.argv[1:4])
disk = floe.BlockDevice(0)


def content(k):
    seed = k * 2654435761 & 0xFFFFFFFF
    return b"%08d" % k + bytes(seed >> i & 0xFF for i in range(24)) * (seed % 300)


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def in_pieces(path, data):
    with open(path, "wb") as f:
        for at in range(0, len(data), 700):
            f.write(data[at : at + 700])


def replaced(path, data):
    write("/new", data)
    os.rename("/new", path)


kept_open = []


def flushed(path, data):
    f = open(path, "wb")  # noqa: SIM115 - closed before the next operation
    f.write(data)
    f.flush()
    kept_open.append(f)


def removed(path, data):
    try:
        os.remove(path)
    except OSError as e:
        if e.errno != 2:
            raise


KINDS = (write, replaced, in_pieces, flushed, removed)

assert vfs.mount()[0][1] == "/"
if "d" not in os.listdir("/"):
    os.mkdir("/d")
print("ready")
for k in range(FIRST, LAST):
    if kept_open:
        kept_open.pop().close()
    slot = k * 7 % SLOTS
    KINDS[k * 11 % 5]("/d/%d" % slot if slot % 2 else "/%d" % slot, content(k))
    print("ack", k, disk.stats()[4])
print("the end")
