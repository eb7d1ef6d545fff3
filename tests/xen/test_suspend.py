# SPDX-License-Identifier: MIT
"""A domain that is saved while it serves and writes: it goes on, and so does what was saved, in another domain; one that
is migrated goes on there."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from floe.spec.network import Card
from floe.xenlab import lab as the_lab
from tests.xen import dom0
from tests.xen.dom0 import Domain

pytestmark = pytest.mark.usefixtures("lab")

SECTORS = 256
SLOW = 120  # seconds; an emulated machine that others use too
# A loop that sleeps between writes, and a server: for each line its steps so far, both clocks in ms, and random bytes.
SERVER = """
import asyncio, os, struct, sys, time
import floe

disk = floe.BlockDevice(0)
step = 0

async def talk(reader, writer):
    while await reader.readline():
        writer.write(b"%d %d %d %s\\n" % (step, time.ticks_ms(), time.time_ns() // 1000000, os.urandom(8).hex().encode()))
        await writer.drain()

async def main():
    global step
    await asyncio.start_server(talk, "0.0.0.0", 7)
    print("ready")
    while True:
        disk.writeblocks(step % 256, struct.pack("<I", step) * 128)
        step += 1
        await asyncio.sleep_ms(20)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    disk.ioctl(3, 0)
    print("steps", step)
    sys.exit(7)
"""


class Answer(NamedTuple):
    steps: int
    ticks: int
    wall: int
    drawn: str


def ask(sock: socket.socket) -> Answer:
    """An answer, whose date is its host's: dom0's, which is this machine's but for what emulation loses under load."""
    before = time.time()
    sock.sendall(b"?\n")
    line = b""
    while not line.endswith(b"\n"):
        data = sock.recv(1000)
        assert data, "the connection has ended"
        line += data
    steps, ticks, wall, drawn = line.split()
    answer = Answer(int(steps), int(ticks), int(wall), drawn.decode())
    late = 0.0 if before - 2 < answer.wall / 1000 else time.time() - int(the_lab.call("date +%s"))
    assert before - 2 - late < answer.wall / 1000 < time.time() + 2
    return answer


def vbd(path: str) -> str:
    return f"format=raw,vdev=xvda,access=rw,backendtype=phy,target={path}"


@pytest.fixture
def server(build: Callable[..., Path], tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(SERVER)
    (tmp_path / "image.toml").write_text('name = "suspend"\ndisks = true\n')
    return build(tmp_path)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_saved_and_restored(server: Path) -> None:
    """Connections, clocks, disk writes, random numbers and the host's later wishes, in the domain that goes on and in
    the one that is restored."""
    path, saved, port = dom0.disk(SECTORS * 512), f"{dom0.FOLDER}/saved", free_port()
    mac = "00:16:3e:" + secrets.token_bytes(3).hex(":")
    with the_lab.take_address() as address:
        words = f"ip={address.text}/24,gw={the_lab.GATEWAY}"
        cards = (Card("bridge", the_lab.BRIDGE, mac=mac),)
        with (
            Domain(server, vbd(path), words=words, memory=16 << 20, cards=cards) as domain,
            the_lab.forward("127.0.0.1", port, address.text, 7),
        ):
            domain.expect("ready", SLOW)
            first, second = (socket.create_connection(("127.0.0.1", port), SLOW) for _ in range(2))
            with first, second:
                before = [ask(first), ask(second)]
                domain.checkpoint(saved)
                after = ask(first)
                assert after.steps > before[1].steps
                assert after.wall - after.ticks > before[1].wall - before[1].ticks + 500  # it has not felt the pause
                domain.restore(saved)
                restored = ask(second)
                assert before[1].steps <= restored.steps
                assert restored.wall - restored.ticks > before[1].wall - before[1].ticks + 500
                domain.migrate()
                moved = ask(second)
                assert moved.steps > restored.steps and moved.wall - moved.ticks > restored.wall - restored.ticks
                with socket.create_connection(("127.0.0.1", port), SLOW) as third:
                    answers = [*before, after, restored, moved, ask(third), ask(second)]
            assert len({answer.drawn for answer in answers}) == len(answers)
            the_lab.call(f"xl shutdown {domain.name}", deadline_s=SLOW)
            assert domain.wait(SLOW) == 7, domain.console()
            said = domain.console().replace("\r", "")
            assert "PANIC" not in said and "Traceback" not in said, said
            steps = int(said.rpartition("steps ")[2].split()[0])
    assert steps > answers[-1].steps
    last = [sector + (steps - 1 - sector) // SECTORS * SECTORS for sector in range(min(steps, SECTORS))]
    assert dom0.get(path)[: len(last) * 512] == b"".join(struct.pack("<I", step) * 128 for step in last)
