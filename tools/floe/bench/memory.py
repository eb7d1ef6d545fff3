# SPDX-License-Identifier: MIT
"""The least RAM with which a VM does its work: a script that says one line, and a web server with 32 and with 500
connections that are kept and used. Found by halving, so that one round takes some boots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from floe.bench import guests
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, RoundOver, Turn
from floe.bench.guests import HTTP_PORT, LABELS, WEB
from floe.build import port_archive
from floe.errors import FloeError, VmError
from floe.spec.vmspec import VmSpec

_LEAST_KIB, _MOST_KIB = 2 << 10, 32 << 10  # no VM has less than the first
_FIRST_TRY_S = 45.0  # with the most RAM
_SLOWER = 4  # than with the most, and some seconds more: after that a VM does not do it
_OPENING = 8  # at a time: QEMU's user network takes few that are not accepted yet
_ASKS = 3  # each connection, when all are open
_REQUEST = b"GET /style.css HTTP/1.1\r\nHost: bench\r\n\r\n"
_LIMITS = (("MAX_CONNECTIONS", "512"), ("MAX_PER_ADDRESS", "512"))
FIGURES = (Figure("least", "least RAM", "KiB"),)

Works = Callable[[int, float], bool]  # with so many KiB, within so many seconds


def prepare(options: Options) -> Experiment:
    """Raises what the builds do."""
    options.say("memory: building hello and web")
    hello, web = guests.build(_hello_app()), guests.build(WEB)
    step = 512 if options.quick else 128
    left_out = guests.accels_left_out(options.accels, "Floe, {}")
    if options.quick:
        left_out += (LeftOut("500 connections", "--quick opens 32"),)
    return Experiment(
        "memory",
        "Memory",
        f"KiB of RAM, to the next {step}: the least with which a VM does its work. Served: so many kept-alive "
        f"connections at once, each of which asks {_ASKS} times for a style sheet.",
        FIGURES,
        tuple(
            Contender(f"Floe, {LABELS[accel]}", partial(_floe, hello, web, accel, step), limit_s=240)
            for accel in options.accels
        ),
        rounds=options.of(3, 1),
        seconds=60 if options.quick else 600,
        left_out=left_out,
        note="--memory takes these sizes; a VM that has more uses it for the script's heap.",
    )


def _hello_app() -> Path:
    hello = port_archive.ROOT / "images" / "hello"
    return hello if hello.is_dir() else guests.SCRIPTS / "hello.py"


def _floe(hello: Path, web: Path, accel: str, step: int, turn: Turn) -> Iterator[Reading]:
    works: dict[str, Works] = {
        "says a line": lambda kib, seconds: _says(guests.spec(hello, accel=accel, memory=f"{kib}K"), seconds),
        "serves 32": partial(_serves, web, accel, 32),
        "serves 500": partial(_serves, web, accel, 500),
    }
    if turn.quick:
        del works["serves 500"]
    for at, does in works.items():
        yield Reading({"least": least(does, step, turn)}, at)


def least(works: Works, step: int, turn: Turn) -> int:
    """KiB, a multiple of step, from which it works, as far as more never does worse. Raises VmError, RoundOver."""
    low, high = _LEAST_KIB // step - 1, _MOST_KIB // step  # low does not do it, high does
    begun = time.monotonic()
    if not works(high * step, min(_FIRST_TRY_S, turn.left())):
        raise VmError(f"the guest does not do its work with {high * step} KiB either")
    deadline_s = 5 + _SLOWER * (time.monotonic() - begun)
    while high - low > 1:
        # Less is likelier than the middle: no image of ours takes half of the most.
        middle = low + max(1, (high - low) // 4)
        if turn.left() < deadline_s:  # cut short, it would say nothing about memory
            raise RoundOver("there was no time to find the least RAM")
        if works(middle * step, deadline_s):
            high = middle
        else:
            low = middle
    return high * step


def _says(spec: VmSpec, deadline_s: float) -> bool:
    try:
        with guests.booted(spec) as vm:
            return vm.wait(deadline_s=deadline_s) == 0 and "hello" in vm.console_text
    except FloeError:
        return False


def _serves(web: Path, accel: str, count: int, kib: int, deadline_s: float) -> bool:
    """Whether all get an answer each time."""
    spec = guests.spec(web, accel=accel, memory=f"{kib}K", ports=[HTTP_PORT], env=_LIMITS)
    try:
        with guests.event_loop() as loop, guests.booted(spec, loop=loop) as vm:

            async def asked() -> None:
                async with asyncio.timeout(deadline_s):
                    await guests.served(vm)
                    await _keep_and_use(vm.ports[HTTP_PORT], count)

            loop.run_until_complete(asked())
        return True
    except (FloeError, OSError, EOFError, TimeoutError):  # TimeoutError: it hangs, which is as good as an error
        return False


async def _keep_and_use(port: int, count: int) -> None:
    """Raises OSError, EOFError or VmError for what is no answer."""
    opening = asyncio.Semaphore(_OPENING)
    writers: list[asyncio.StreamWriter] = []

    async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with opening:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            await _ask(reader, writer)
            return reader, writer

    try:
        async with asyncio.TaskGroup() as group:
            opens = [group.create_task(opened()) for _ in range(count)]
        for _ in range(_ASKS - 1):
            async with asyncio.TaskGroup() as group:
                for task in opens:
                    group.create_task(_ask(*task.result()))
    except* (OSError, EOFError, VmError) as failures:
        raise VmError("a connection got no answer") from failures
    finally:
        for writer in writers:
            writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), -1)
    if not head.startswith(b"HTTP/1.1 200 ") or length < 0:
        raise VmError(f"the guest answered {head[:40]!r}")
    await reader.readexactly(length)
