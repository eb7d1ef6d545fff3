# SPDX-License-Identifier: MIT
"""The line between a Xen guest and whoever owns its family."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from floe.family import frames
from floe.family.frames import Kind, numbers
from floe.testing import Boot
from floe.xen import scripts
from floe.xenlab import lab as the_lab
from tests.xen import dom0
from tests.xen.dom0 import Domain

pytestmark = pytest.mark.usefixtures("lab")

SLOW = 120  # seconds; an emulated machine that others use too
ALONE = """
import os, sys, time, vm

print("pid", os.getpid(), os.getppid())
reading, writing = os.pipe()
block = bytes(range(256)) * 256
for number in range(16):
    sent = back = b""
    while len(sent) < len(block):
        sent += block[len(sent):][:os.write(writing, block[len(sent):])]
    while len(back) < len(block):
        back += os.read(reading, len(block) - len(back))
    assert back == block
print("piped")
try:
    os.kill(99, 0)
except OSError as e:
    print("nobody", e.errno)
os.kill(1, 15)
try:
    time.sleep(60)
except KeyboardInterrupt:
    os.write(writing, b"last words")
    sys.exit(7)
"""
FORKS = """
import os, sys, time, vm

print("ready")
pid = os.fork()
print("forked", pid, os.getpid(), os.getppid(), os.urandom(8).hex())
try:
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit(10 + os.getpid())
"""


def nothing_is_left() -> bool:
    """No program that joins a line, and no domain whose pages it keeps."""
    said = the_lab.call("ps | grep -c '[v]chan-socket'; xl list | grep -c null", deadline_s=60)
    return said.split() == ["0", "0"]


def test_a_family_of_one(boot: Boot, tmp_path: Path) -> None:
    """Frames both ways: a pipe to itself carries 1 MiB, signals reach it."""
    (tmp_path / "main.py").write_text(ALONE)
    vm = boot(tmp_path / "main.py", deadline_s=SLOW)
    assert vm.wait() == 7
    assert vm.console_text == "pid 1 0\npiped\nnobody 3\n"
    assert nothing_is_left()


# ---- by hand: a family of a few frames, and dom0's xl -----------------------------------------------


class Line:
    """A guest's line."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.settimeout(SLOW)

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        self._sock.sendall(frames.encode(kind, payload))

    def next(self) -> Kind:
        """The kind of the next frame that comes."""
        size, kind, *_ = struct.unpack("<IBBHI", self._take(12))
        self._take(size)
        return Kind(kind)

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._sock.recv(size - len(data))
            assert piece, "the line has ended"
            data += piece
        return data


@contextmanager
def joined(domain: Domain) -> Iterator[Line]:
    """A domain's line, for as long."""
    folder = f"{dom0.FOLDER}/{domain.name}"
    the_lab.call(f"mkdir {folder}")
    with the_lab.connect(scripts.FAMILY) as sock:
        sock.sendall(f"{domain.id} {folder}\n".encode())
        try:
            yield Line(sock)
        finally:
            the_lab.call(f"kill $(cat {folder}/family) 2>/dev/null", deadline_s=60)


class Copy(Domain):
    """What was saved of a domain, beside it, stopped."""

    def __init__(self, original: Domain, path: str) -> None:
        self.name = f"{original.name}-copy"
        config = dom0.put(
            original.config.replace(f'"{original.name}"', f'"{self.name}"').encode(), f"{dom0.FOLDER}/cfg"
        )
        said = the_lab.call(f"xl restore -p {config} {path} 2>&1 && xl domid {self.name}; rm {path}", deadline_s=SLOW)
        assert said.split()[-1].isdecimal(), said
        self.id = int(said.split()[-1])
        self._there = True


def test_a_vm_that_forks_is_saved_and_its_copy_has_a_line_of_its_own(
    build: Callable[..., Path], tmp_path: Path
) -> None:
    """It hears the host's wish while it serves the line alone; the copy's line is a new one, where it learns who it is."""
    (tmp_path / "main.py").write_text(FORKS)
    saved = f"{dom0.FOLDER}/saved"
    with Domain(build(tmp_path / "main.py"), memory=16 << 20, family=True) as parent, joined(parent) as line:
        parent.run_with_family()  # behind the line: a guest waits for no more than 10 s for its host's first word
        assert line.next() is Kind.HELLO
        line.send(Kind.HELLO, numbers(1, 1, 0, 16))
        assert line.next() is Kind.FORK
        line.send(Kind.PREPARED)
        assert line.next() is Kind.FROZEN
        parent.checkpoint(saved)
        line.send(Kind.RESULT, numbers(7))  # soon: it waits for it no longer than 30 s, which go on in here
        parent.expect("forked 7 1 0", SLOW)
        with Copy(parent, saved) as child, joined(child) as its_line:
            child.run_with_family()
            identity = f"pid=7\nppid=1\nseed={bytes(range(32)).hex()}\n"
            its_line.send(Kind.RESULT, numbers(0) + identity.encode())
            child.expect("forked 0 7 1", SLOW)
            drawn = {domain.console().rsplit("forked", 1)[1].split()[3] for domain in (parent, child)}
            assert len(drawn) == 2
            its_line.send(Kind.SIGNAL, numbers(15))
            assert child.wait(SLOW) == 17, child.console()
        line.send(Kind.ENDED, numbers(7, 17 << 8))
        line.send(Kind.SIGNAL, numbers(15))
        assert parent.wait(SLOW) == 11, parent.console()
    assert nothing_is_left()


def test_where_it_is_restored_there_is_no_family(build: Callable[..., Path], tmp_path: Path) -> None:
    """The line is gone, with a line on the console each, and the VM goes on."""
    (tmp_path / "main.py").write_text(
        "import os, sys, time, vm\nprint(os.getpid())\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n"
        "    try:\n        os.pipe()\n    except OSError as e:\n        sys.exit(e.errno)\n"
    )
    saved = f"{dom0.FOLDER}/saved"
    with Domain(build(tmp_path / "main.py"), memory=16 << 20, family=True) as domain:
        with joined(domain) as line:
            domain.run_with_family()
            assert line.next() is Kind.HELLO
            line.send(Kind.HELLO, numbers(1, 1, 0, 16))
            domain.expect("1", SLOW)
            domain.checkpoint(saved)
            line.send(Kind.KILLED, numbers(0))  # which it has not asked for: it hears it, so that the line goes on
            domain.expect("a frame that means nothing came", SLOW)
        domain.restore(saved)
        domain.expect("xen family: none where the VM goes on (-19)", SLOW)
        the_lab.call(f"xl shutdown {domain.name}", deadline_s=SLOW)
        assert domain.wait(SLOW) == 5, domain.console()
