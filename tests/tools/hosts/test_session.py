# SPDX-License-Identifier: MIT
"""tools/floe/hosts/session.py: sessions whose other side, or whose image, is not as it should be. With a real sshd:
tests/target/test_fork_hosts.py."""

from __future__ import annotations

import asyncio
import errno
import struct
import time
from pathlib import Path

import pytest

from floe import __version__
from floe.family.member import Unplaced
from floe.hosts.line import PROTOCOL, Kind
from floe.hosts.session import Session, Sessions
from floe.hosts.ssh import SSH
from floe.hosts.table import SshHost

WAIT_S = 20.0


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "image.elf"
    path.write_bytes(bytes(8192))
    return path


def ssh(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started in its place."""
    path = folder / "ssh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv(SSH, str(path))


def message(kind: Kind, payload: bytes = b"", vm: int = 0) -> bytes:
    return struct.pack("<IBBHI", len(payload), kind, 0, 0, vm) + payload


@pytest.mark.alone
def test_hosts_that_do_not_end_are_ended_at_once(tmp_path: Path, elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in the time of one."""
    ssh(tmp_path, "trap '' TERM; exec sleep 30", monkeypatch)

    async def main() -> float:
        sessions = Sessions(elf, asyncio.get_running_loop(), dict)
        opening = [asyncio.ensure_future(sessions.to(SshHost(f"h{n}", f"h{n}"))) for n in range(5)]
        await asyncio.sleep(0.5)  # until sh has read its first words
        began = time.monotonic()
        sessions.close()
        took = time.monotonic() - began
        for each in opening:
            each.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        return took

    assert 0.9 < asyncio.run(main()) < 3


@pytest.mark.parametrize("how", ["gone", "shorter"])
def test_an_image_that_cannot_be_sent(how: str, tmp_path: Path, elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hello = tmp_path / "hello"
    hello.write_bytes(message(Kind.HELLO, b'{"floe": "%s", "protocol": %d}' % (__version__.encode(), PROTOCOL)))
    need = tmp_path / "need"
    need.write_bytes(message(Kind.NEED, vm=1))
    ssh(tmp_path, f"cat {hello}; head -c 1 > /dev/null; cat {need}; cat > /dev/null", monkeypatch)

    async def main() -> Unplaced:
        loop = asyncio.get_running_loop()
        session = Session(SshHost("east", "east"), elf, loop)
        lost: asyncio.Future[Unplaced] = loop.create_future()
        try:
            async with asyncio.timeout(WAIT_S):
                await session.opened()
                await session.image()
                elf.unlink() if how == "gone" else elf.write_bytes(b"")
                session.expected += 1
                session.join(lambda message: None, lost.set_result)
                session.line.send(Kind.PING)
                return await lost
        finally:
            session.close()

    error = asyncio.run(main())
    if how == "gone":
        assert (error.number, error.message) == (errno.ENOENT, f"{elf}: No such file or directory")
    else:
        assert (error.number, error.message) == (errno.EIO, f"{elf}: a file that is sent has become shorter")
