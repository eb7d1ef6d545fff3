# SPDX-License-Identifier: MIT
"""A trace of what a VM does, read from outside by its keeper at each look: the guest's ring of waits and collections,
its Python frames, the frames of its network cards. It is told as it comes, a line of JSON each, in the forms of
profile/timeline.py, for as long as somebody listens; who asked may end at any moment, and nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import time
from collections.abc import Callable
from typing import Any

from floe.detached.requests import Request
from floe.detached.sampling import read_stack, until
from floe.detached.vmprocess import VmProcess
from floe.errors import FloeError, VmError
from floe.hypervisor.base import Heard
from floe.image import frames, spans, vitals
from floe.store.vmfolder import Folder, dump

LONGEST_S = 3600.0
_TELL_S = 0.25
_LISTENER_S = 5.0  # what a listener may take to read any of what it is told
_UNREAD = 64 << 20  # bytes of it
_FORGET_S = 0.01
_MOST = 1_000_000  # spans and packets: QEMU may be quicker than any listener's memory


class Tracer:
    """Of one VM."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._busy = False

    async def answer(
        self,
        process: VmProcess,
        request: Request,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        over: Callable[[], bool],
    ) -> None:
        """Trace until it is over, or the listener has gone. The last line says why, or is the error."""
        told: dict[str, Any]
        if self._busy:
            told = {"error": f"{self._folder.name} is being traced already", "hint": "again when that is over"}
        else:
            self._busy = True
            try:
                told = await self._trace(process, request, streams, over)
            except FloeError as e:
                told = {"error": e.message, "evidence": e.evidence, "hint": e.hint}
            finally:
                self._busy = False
        await _tell(streams[1], told)

    async def _trace(
        self,
        process: VmProcess,
        request: Request,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        over: Callable[[], bool],
    ) -> dict[str, Any]:
        """Raises FloeError."""
        name, image = self._folder.name, self._folder.image
        program = await asyncio.to_thread(frames.program, image)
        table, known = vitals.tables(image).get(spans.TABLE), vitals.code(image)
        if program is None or known is None or table is None:
            raise FloeError(
                f"the image of {name} does not say when it waits",
                hint="build it again: this floe's images do",
            )
        gone = asyncio.ensure_future(streams[0].read(1))
        heard: dict[int, Heard] = {}
        with contextlib.ExitStack() as stack:
            stack.callback(gone.cancel)
            try:
                memory = process.memory(known)
                if memory is None:
                    raise VmError(f"{name} has ended")
                stack.callback(memory.close)
                ring, reader = spans.Reader(table, memory.read), frames.Reader(program, memory.read)
            except OSError as e:
                hint = "as root: kernel.yama.ptrace_scope forbids it" if isinstance(e, PermissionError) else ""
                raise VmError(f"the memory of {name} cannot be read: {e.strerror or e}", hint=hint) from e
            try:
                notes = await self._listen(process, heard)
                looks = _Looks(ring, reader, heard)
                try:
                    looks.look()  # and forget what was there before
                except (OSError, struct.error):
                    raise VmError(f"{name} has ended") from None
                begin = {"at": time.monotonic_ns(), "cards": {i: h.seconds_apart for i, h in heard.items()}}
                if not await _tell(streams[1], begin | {"notes": notes}):
                    return {}
                why = await _look_on(looks, request, streams[1], lambda: over() or gone.done())
            finally:
                await asyncio.gather(*(one.close() for one in heard.values()))
        return {"over": why}

    async def _listen(self, process: VmProcess, heard: dict[int, Heard]) -> list[str]:
        """What cannot be heard."""
        plan, notes = self._folder.plan, []
        if plan is None:
            return ["its cards are not known: it was started by an older floe"]
        forgetting = asyncio.ensure_future(_forget(heard))  # of the others, for as long as it takes
        try:
            for index, card in enumerate(plan.cards):
                try:
                    heard[index] = await process.hear(index, card)
                except VmError as e:
                    notes.append(f"no packets of net{index}: {e.message}")
        finally:
            forgetting.cancel()
        return notes


async def _forget(heard: dict[int, Heard]) -> None:
    """What comes meanwhile: a hypervisor may wait for whoever does not read."""
    while True:
        for one in heard.values():
            one.read()
        await until(time.monotonic() + _FORGET_S)


class _Listener:
    """Who asked: told without waiting for it, as a guest's packets wait for the next look."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._left = 0
        self._heard = time.monotonic()

    def tell(self, what: dict[str, Any]) -> None:
        self._writer.write(dump(what).encode() + b"\n")
        self._left = self._writer.transport.get_write_buffer_size()

    @property
    def gone(self) -> bool:
        """To be asked before it is told more."""
        left, now = self._writer.transport.get_write_buffer_size(), time.monotonic()
        if not left or left < self._left:
            self._left, self._heard = left, now
        return self._writer.is_closing() or left > _UNREAD or now - self._heard > _LISTENER_S


class _Looks:
    """What was found at each."""

    def __init__(self, ring: spans.Reader, reader: frames.Reader, heard: dict[int, Heard]) -> None:
        self._ring, self._reader, self._heard = ring, reader, heard
        self.count = 0

    def look(self) -> dict[str, Any]:
        """Raises OSError, struct.error."""
        before = time.monotonic_ns()
        found = [
            (index, comes_in, at, length, head.hex())
            for index, card in self._heard.items()
            for comes_in, at, length, head in card.read()
        ]
        done = self._ring.new()
        after = time.monotonic_ns()
        self.count += len(found) + len(done)
        lost = self._ring.lost, sum(card.lost for card in self._heard.values())
        at = before, after
        return {"at": at, "spans": done, "packets": found, "stack": read_stack(self._reader), "lost": lost}


async def _look_on(looks: _Looks, request: Request, writer: asyncio.StreamWriter, over: Callable[[], bool]) -> str:
    """Look, and tell, until one of these: why it ended, "" where it had lasted long enough."""
    rate, longest = max(1.0, min(request.rate, 1e3)), min(request.timeout, LONGEST_S)
    began = due = told = time.monotonic()
    found: list[dict[str, Any]] = []
    listener = _Listener(writer)
    while True:
        due = max(due + random.uniform(0.5, 1.5) / rate, time.monotonic())  # no timer of the guest's keeps step
        await until(due)
        if listener.gone:
            return f"nobody listened for {_LISTENER_S:.0f} s"
        try:
            found.append(looks.look())
        except (OSError, struct.error):
            listener.tell({"looks": found})
            return "it has ended, or was started anew"
        done = due - began >= longest
        ended = done or over()
        if ended or due - told >= _TELL_S:
            listener.tell({"looks": found})
            found, told = [], due
        if ended:
            return "" if done else "it was started anew"
        if looks.count > _MOST:
            return f"it is of {looks.count} events, which is as much as there may be"


async def _tell(writer: asyncio.StreamWriter, what: dict[str, Any]) -> bool:
    """Whether it is read."""
    try:
        writer.write(dump(what).encode() + b"\n")
        await asyncio.wait_for(writer.drain(), _LISTENER_S)
    except (OSError, TimeoutError):
        return False
    return True
