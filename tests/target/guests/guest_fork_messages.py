# SPDX-License-Identifier: MIT
"""Messages of random sizes between VMs, both ways; sys.argv: how many through one child, how many with a child each."""

import os
import struct
import sys
import time
from multiprocessing import Pipe

MANY, EACH = (int(word) for word in sys.argv[1:3])
SIZES = (1, 1, 10, 10, 100, 100, 1000, 5000, 20000, 70000)
WINDOW = 8  # messages on their way


def message(number):
    """What must come: a number, and bytes that only it has, of a random size."""
    size = int.from_bytes(os.urandom(4), "little")
    size = size // 16 % SIZES[size % len(SIZES)]
    return struct.pack("<I", number) + bytes([number % 251]) * size


def turned(text):
    return text[4:] + text[:4]


def serve(connection):
    """Each message back, turned, until there are no more."""
    expected = 0
    try:
        while True:
            text = connection.recv_bytes()
            assert struct.unpack("<I", text[:4])[0] == expected
            expected += 1
            connection.send_bytes(turned(text))
    except EOFError:
        os._exit(7)


def through_one():
    ours, theirs = Pipe()
    pid = os.fork()
    if pid == 0:
        ours.close()
        serve(theirs)
    theirs.close()
    sent = []
    total = back = 0
    for number in range(MANY):
        text = message(number)
        # What is on its way fits the pipe, or both sides would wait for room.
        while sent and sum(len(one) + 4 for one in sent) + len(text) + 4 > 60000:
            back += ours.recv_bytes() == turned(sent.pop(0))
        ours.send_bytes(text)
        sent.append(text)
        total += len(text)
        while len(sent) >= WINDOW:
            back += ours.recv_bytes() == turned(sent.pop(0))
    while sent:
        back += ours.recv_bytes() == turned(sent.pop(0))
    ours.close()
    assert os.waitpid(pid, 0) == (pid, 7 << 8)
    print("through one", back, "more than", total // 1000000, "MB")


def with_a_child_each():
    back = 0
    for number in range(EACH):
        text = message(number)
        ours, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            ours.close()
            theirs.send_bytes(turned(theirs.recv_bytes()))
            os._exit(number % 100)
        theirs.close()
        ours.send_bytes(text)
        back += ours.recv_bytes() == turned(text)
        ours.close()
        assert os.waitpid(pid, 0) == (pid, number % 100 << 8)
    print("with a child each", back)


started = time.ticks_ms()
through_one()
between = time.ticks_ms()
with_a_child_each()
if len(sys.argv) > 3:
    print("ms", time.ticks_diff(between, started), time.ticks_diff(time.ticks_ms(), between))
print("the end")
