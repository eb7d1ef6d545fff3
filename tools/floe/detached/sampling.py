# SPDX-License-Identifier: MIT
"""Samples of what a VM does, taken by its keeper: the C function from its hypervisor, the Python frames from its
memory (image/frames.py). The guest is not stopped for it, so that both are of moments one after the other: each is as
frequent as it should be, and they are put together only where the same functions ran before and after."""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from floe.detached.requests import Request
from floe.detached.vmprocess import VmProcess
from floe.errors import FloeError, VmError
from floe.image import frames, vitals
from floe.image.frames import Frame, Program, Reader
from floe.store.vmfolder import Folder

LONGEST_S = 2.0  # of one request
_TRIES = 4  # at a stack that changes while it is read


class Sampler:
    """Of one VM."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._program: Program | None = None
        self._busy = False

    async def answer(self, process: VmProcess, request: Request, over: Callable[[], bool]) -> dict[str, Any]:
        """Sample as it is asked for, or until it is over; what is found, or an error."""
        if self._busy:
            told = f"{self._folder.name} is being profiled already"
            return {"error": told, "evidence": "", "hint": "again when that is over"}
        self._busy = True
        try:
            before = await process.exits() if request.exits else {}
            found = await self._take(process, min(request.timeout, LONGEST_S), max(1.0, min(request.rate, 1e3)), over)
            return found | {"exits": await _since(before, process) if before else {}}
        except FloeError as e:
            return {"error": e.message, "evidence": e.evidence, "hint": e.hint}
        finally:
            self._busy = False

    async def _take(self, process: VmProcess, seconds: float, rate: float, over: Callable[[], bool]) -> dict[str, Any]:
        """Raises FloeError."""
        name, image = self._folder.name, self._folder.image
        if self._program is None:
            self._program = await asyncio.to_thread(frames.program, image)
        known = vitals.code(image)
        if self._program is None or known is None:
            raise FloeError(
                f"the image of {name} does not say where its Python frames are",
                hint="build it again: this floe's images do",
            )
        found: Counter[tuple[tuple[Frame, ...], str]] = Counter()
        lost = idle = 0
        await process.instruction()  # where that cannot be told, it says so
        try:
            memory = process.memory(known)
        except OSError as e:
            hint = "as root: kernel.yama.ptrace_scope forbids it" if isinstance(e, PermissionError) else ""
            raise VmError(f"the memory of {name} cannot be read: {e.strerror or e}", hint=hint) from e
        if memory is None:
            raise VmError(f"the memory of {name} cannot be read")
        began = due = time.monotonic()
        try:
            reader = Reader(self._program, memory.read)
            while True:
                before = read_stack(reader)
                try:
                    c = reader.function_at(await process.instruction())
                except VmError:
                    break  # it has ended
                stack = read_stack(reader)
                if stack is None:
                    lost += 1
                else:
                    idle += c == frames.IDLE
                    found[stack, c if _functions(before) == _functions(stack) else frames.CHANGED] += 1
                due = max(due + random.uniform(0.5, 1.5) / rate, time.monotonic())  # no timer of the guest's keeps step
                await until(due)
                if over() or time.monotonic() - began >= seconds:
                    break
        except OSError as e:
            raise VmError(f"the memory of {name} cannot be read: {e.strerror or e}") from e
        finally:
            memory.close()
        stacks = [{"frames": stack, "c": c, "count": count} for (stack, c), count in found.items()]
        return {"seconds": time.monotonic() - began, "lost": lost, "idle": idle, "stacks": stacks}


async def _since(before: dict[str, int], process: VmProcess) -> dict[str, int]:
    """Exits by reasons; none where it has ended, or was started anew, which counts from 0."""
    try:
        after = await process.exits()
    except VmError:
        return {}
    found = {name: count - before.get(name, 0) for name, count in after.items()}
    return found if min(found.values()) >= 0 else {}


async def until(due: float) -> None:
    """By time.monotonic(), which is the loop's."""
    come = asyncio.Event()
    asyncio.get_running_loop().call_at(due, come.set)
    await come.wait()


def _functions(stack: tuple[Frame, ...] | None) -> list[tuple[str, str]] | None:
    return None if stack is None else [(frame.file, frame.function) for frame in stack]


def read_stack(reader: Reader) -> tuple[Frame, ...] | None:
    """None: it changes faster than it is read."""
    for _ in range(_TRIES):
        try:
            return tuple(reader.stack())
        except (frames.Torn, OSError, struct.error):
            pass
    return None
