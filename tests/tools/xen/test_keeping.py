# SPDX-License-Identifier: MIT
"""The state of a Xen domain in a file (tools/floe/xen/keeping.py), and a domain that is made of one, as far as that goes
without Xen: tests/xen/test_snapshot.py has the rest."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.errors import VmError
from floe.xen import keeping
from tests.support.fakedomain import Fake

PAGE = 4096
OK = b"\nfloe: saved 0\n"


@pytest.fixture
def file() -> Iterator[int]:
    fd = os.memfd_create("state")
    os.write(fd, b"old" * 100_000)
    yield fd
    os.close(fd)


def kept(file: int, stream: bytes) -> tuple[str, int]:
    ours, theirs = socket.socketpair()

    def write() -> None:
        with theirs:
            theirs.sendall(stream)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with ours:
            return keeping.keep(ours, file)
    finally:
        writer.join()


@pytest.mark.parametrize("state", [
    b"", b"x", b"\nfloe: saved 0\n" * 700, os.urandom(3 * PAGE + 5), b"a" * PAGE + bytes(9 * PAGE) + b"b" + bytes(PAGE),
    bytes(8 * PAGE),
])  # fmt: skip
def test_a_state_is_the_file_with_holes_for_zeros(file: int, state: bytes) -> None:
    assert kept(file, b"4.17.7\n" + state + OK) == ("4.17.7", len(state))
    assert os.pread(file, 1 << 20, 0) == state
    if state == bytes(8 * PAGE):
        assert os.fstat(file).st_blocks == 0


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (b"", "dom0 does not tell the version of Xen"),
        (b"x" * 1000, "dom0 does not tell the version of Xen"),
        (b"4.17.7\n" + b"page" * 5000, "the connection to dom0 has ended while the state was written"),
        (b"4.17.7\npage\nfloe: saved 1\nxl: no\nsuch domain\n", "xl did not save the domain: xl: no such domain"),
        (b"4.17.7\npage\nfloe: saved 139\n", "xl did not save the domain: 139"),
    ],
    ids=["nothing", "no line", "cut off", "refused", "killed"],
)
def test_a_state_that_is_not_whole(file: int, stream: bytes, problem: str) -> None:
    with pytest.raises(VmError) as told:
        kept(file, stream)
    assert told.value.message == problem


def test_a_state_of_another_xen_is_refused(tmp_path: Path, file: int) -> None:
    """Nothing is asked of xl, and nothing is left."""
    fake = Fake(tmp_path, "--copied", "--state", str(file))
    fake.inherited = [file]
    try:
        fake.start()
        fake.events.sendall(json.dumps({"do": "load", "version": "3.1 x", "size": 100}).encode() + b"\n")
        told = fake.event()
        assert told["event"] == "FAILED"
        data = told["data"]
        assert isinstance(data, dict)
        assert "the state is of Xen 3.1x, and this is Xen" in data["message"]
        assert fake.process.wait(20) == 1
        assert fake.calls() == [] and os.listdir(tmp_path / "run") == []
    finally:
        fake.close()
