# SPDX-License-Identifier: MIT
"""Forks to other hosts, as lines of its console say: each is evaluated, and printed what it comes to."""

import hashlib
import os
import sys
import time

import machine
import vfs  # noqa: F401 -- so that it may have disks
import vm


def fork(host, life=0):
    """A child there that waits, and its number; or the errno below 0."""
    try:
        return vm.spawn(rest, life, host=host)
    except OSError as e:
        return -e.errno


def rest(life):
    print("born", vm.getpid())
    try:
        time.sleep(life)
    except KeyboardInterrupt:
        os._exit(5)


def reap():
    pid, status = os.wait()
    return pid, os.waitstatus_to_exitcode(status)


def asked(function, host):
    """What it returns there, and how that VM ended."""
    r, w = os.pipe()
    vm.spawn(answer, function, r, w, host=host)
    os.close(w)
    text = b""
    while data := os.read(r, 4096):
        text += data
    os.close(r)
    return text.decode(), reap()


def answer(function, r, w):
    os.close(r)
    os.write(w, str(function()).encode())


def facts():
    import floe

    return sys.argv[1:], os.getenv("WORD"), floe.secret("key"), machine.unique_id(), os.urandom(8)


def grandchild():
    pid = vm.spawn(print, "grandchild")
    return pid, reap()


def disk():
    before = notes()
    with open("/notes", "a") as f:
        f.write(" there")
    try:
        pid = vm.spawn(print, "never")
    except OSError as e:
        pid = -e.errno
    return before, notes(), pid


def notes(text=None):
    with open("/notes", "r" if text is None else "w") as f:
        return f.read() if text is None else f.write(text)


def echo(count, r, w, *others):
    """What it reads, length by length, written on."""
    for fd in others:
        os.close(fd)
    for _ in range(count):
        size = int.from_bytes(exactly(r, 4), "little")
        send(w, size.to_bytes(4, "little") + exactly(r, size))


def exactly(fd, size):
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def send(fd, data):
    while data:
        data = data[os.write(fd, data) :]


def messages(count, hosts):
    """Through a child on each host and back: how many bytes, and whether each is what was sent."""
    r, first = os.pipe()
    for host in hosts:
        r2, out2 = os.pipe()
        vm.spawn(echo, count, r, out2, r2, first, host=host)
        os.close(r)
        os.close(out2)
        r = r2
    total = 0
    for _ in range(count):
        size = int.from_bytes(os.urandom(2), "little") % 9000
        data = os.urandom(size)
        send(first, size.to_bytes(4, "little") + data)
        back = exactly(r, 4 + size)
        if hashlib.sha256(back[4:]).digest() != hashlib.sha256(data).digest():
            return "torn"
        total += size
    os.close(first)
    return total > 0, os.read(r, 1), [reap()[1] for _ in hosts]


def held(host):
    """A child that holds the writing end until it ends: what is read then, and how it ended."""
    r, w = os.pipe()
    vm.spawn(hold, r, host=host)
    os.close(w)
    print("held")
    return os.read(r, 1), reap()


def hold(r):
    os.close(r)
    print("born")
    while True:
        time.sleep(1)


while (line := input()) != "end":
    print("=", repr(eval(line)))
