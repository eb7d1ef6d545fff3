# SPDX-License-Identifier: MIT
"""VMs that wait at vm.ready(): each claim has another machine, at once; what cannot be a template says why."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from floe import hostmemory
from floe.errors import UsageError, VmError
from floe.serve.clones import Clones
from floe.serve.starts import Starts
from floe.spec import handover
from floe.spec.handover import Blob
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import VmSpec
from floe.vm.plan import plan
from floe.vm.pool import Pool
from floe.vm.restored import Restored

GUEST = Path(__file__).resolve().parent / "guests" / "guest_snapshot.py"
DEADLINE_S = 60.0
SIZE = 2


def spec_of(accel: str, disk: Path) -> VmSpec:
    options = RunOptions(accel=accel, memory="16M", forwards=("0:80",), args=("template",), disks=(f"{disk}:size=1M",))
    return plan(GUEST, options, print)[0]


async def answer(port: int, word: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{word}\n".encode())
    try:
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


def test_each_claim_has_a_machine_of_its_own(accel: str, tmp_path: Path) -> None:
    """Also more claims than VMs wait; one that dies while it waits is passed over. Nothing is left."""

    async def main() -> None:
        disk = tmp_path / "d.img"
        disk.write_bytes(bytes(1 << 20))
        before = len(os.listdir("/proc/self/fd"))
        pool = Pool(spec_of(accel, disk), SIZE, say=print)
        async with asyncio.timeout(DEADLINE_S):
            await pool.start()
            while pool.ready < SIZE:
                await asyncio.sleep(0.01)
            pool._waiting[0].end_at_once()
            await pool._waiting[0].ended()
            claimed = await asyncio.gather(*(pool.claim() for _ in range(2 * SIZE)))
            ids = set()
            for number, vm in enumerate(claimed):
                assert await answer(vm.ports[80], f"note {number}") == "noted"
                ids.add(await answer(vm.ports[80], "id"))
            for number, vm in enumerate(claimed):
                assert await answer(vm.ports[80], "disk") == str(number)
                assert await answer(vm.ports[80], "end") == "end"
                await vm.ended()
                assert vm.outcome is not None
                assert vm.outcome.code == 0
                assert "ready is over" in vm.console_text
                assert "PANIC" not in vm.console_text
                vm.close()
            assert len(ids) == len({vm.spec.name for vm in claimed}) == 2 * SIZE
            await pool.close()
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(main())


@pytest.mark.any_accel
def test_a_host_without_memory(accel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many wait as there is room for, of which the user is told once; a claim of more says why, and the next one
    finds it tried again."""

    async def main() -> None:
        disk, said, places = tmp_path / "d.img", [], [1]
        disk.write_bytes(bytes(1 << 20))
        pool = Pool(spec_of(accel, disk), SIZE, say=said.append)
        monkeypatch.setattr(hostmemory, "left", lambda: (1 << 40) if pool.ready < places[0] else 32 << 20)
        async with asyncio.timeout(DEADLINE_S), contextlib.AsyncExitStack() as stack:
            await pool.start()
            stack.push_async_callback(pool.close)
            while pool.ready < 1 or not said:
                await asyncio.sleep(0.01)
            for _ in range(2):
                vm = await pool.claim()
                while pool.ready < 1:
                    await asyncio.sleep(0.01)
                await _ended(vm)
            assert said == ["1 of 2 VMs wait: this machine has no memory left for another copy of guest_snapshot"]
            places[0] = 0
            await _ended(await pool.claim())
            with pytest.raises(VmError, match="no memory left"):
                await pool.claim()
            places[0] = 2
            with contextlib.suppress(VmError):  # it was tried before there was room
                await _ended(await pool.claim())
            while pool.ready < 2:
                await asyncio.sleep(0.01)

    asyncio.run(main())


@pytest.mark.any_accel
def test_what_is_handed_over_is_read_once(accel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all that is served: a secret from a pipe is there once, and all copies have the same one."""
    disk, key, reads = tmp_path / "d.img", tmp_path / "key", []
    disk.write_bytes(bytes(1 << 20))
    key.write_text("s3cret")
    read = handover.read

    def counted(*what: Any) -> tuple[Blob, ...]:
        reads.append(what)
        return read(*what)

    monkeypatch.setattr(handover, "read", counted)

    async def main() -> None:
        options = RunOptions(accel=accel, memory="16M", forwards=("0:80",), args=("template",), secrets=(f"key={key}",))
        async with asyncio.timeout(DEADLINE_S):
            starts = Starts(plan(GUEST, options, print)[0], asyncio.get_running_loop(), print)
            clones = Clones(starts, 1)
            failed = asyncio.Event()
            clones.start(failed.set)
            while not clones.ready and not failed.is_set():
                await asyncio.sleep(0.01)
            assert not failed.is_set()
            await clones.close()

    asyncio.run(main())
    assert len(reads) == 1


async def _ended(vm: Restored) -> None:
    vm.end_at_once()
    await vm.ended()
    vm.close()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import vm\nprint('no time')\n", r"ended with 0 before vm.ready\(\)"),
        ("import time, vm\nprint('no time')\ntime.sleep(600)\n", r"did not reach vm.ready\(\) within 2 s"),
    ],
    ids=["ends", "waits"],
)
def test_a_script_that_is_never_ready(script: str, why: str, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(script)

    async def main() -> None:
        pool = Pool(plan(app, RunOptions(accel="tcg"))[0], SIZE)
        with contextlib.ExitStack() as stack:
            told = stack.enter_context(pytest.raises(VmError, match=why))
            await pool.start(2.0)
        await pool.close()
        assert "no time" in told.value.evidence
        assert told.value.hint == "vm.ready() in the script"

    asyncio.run(main())


def test_an_image_that_does_not_fork_has_no_pool(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("print(1)\n")
    with pytest.raises(UsageError, match="does not fork, and cannot be copied"):
        Pool(plan(app, RunOptions(accel="tcg"))[0], SIZE)
