# SPDX-License-Identifier: MIT
"""What the children of a VM say, as lines between those of its own console: each whole, with the child's name."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Protocol

_LINE = 1 << 16  # bytes without an end of line that are shown as one
HELD_S = 0.1  # how long a child's lines wait for the end of a line of the first VM's


def head(name: str) -> bytes:
    """In front of each line of this child's."""
    return b"[" + name.encode() + b"] "


class Source(Protocol):
    """What a child says."""

    on_data: Callable[[bytes], None]
    on_end: Callable[[], None]


class Target(Protocol):
    """Where lines go to: a stream of the first VM's, or its log."""

    at_line_end: Callable[[], bytes]  # called where a line of the first VM's has ended: what is put there

    @property
    def data(self) -> bytes | bytearray:
        """What is there; its last byte tells whether a line is over."""

    @property
    def closed(self) -> bool:
        """Whether nothing of the first VM's will come any more."""

    def inject(self, data: bytes) -> None:
        """Take what the first VM did not say."""


class ChildLines:
    """Puts lines of children into a stream of the first VM's, as if that had said them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Target, bytearray] = {}

    def join(self, name: str, source: Source, target: Target) -> None:
        """All that comes from `source` goes to `target`."""
        rest = bytearray()
        target.at_line_end = functools.partial(self._taken, target)

        def said(data: bytes) -> None:
            rest.extend(data)
            while (end := rest.find(b"\n", 0, _LINE) + 1) or len(rest) >= _LINE:
                self._put(target, name, bytes(rest[: end or _LINE]))
                del rest[: end or _LINE]

        def over() -> None:
            if rest:
                self._put(target, name, bytes(rest))
                rest.clear()

        source.on_data = said
        source.on_end = over

    def _put(self, target: Target, name: str, line: bytes) -> None:
        end = b"" if line.endswith(b"\n") else b"\n"
        waiting = self._waiting.get(target)
        if waiting is None:
            waiting = self._waiting[target] = bytearray()
            self._loop.call_soon(self._show, target, waiting, self._loop.time() + HELD_S)
        waiting += head(name) + line + end

    def show_all(self) -> None:
        """Nothing of the first VM's follows."""
        for target, waiting in list(self._waiting.items()):
            self._show(target, waiting, 0.0)

    def _taken(self, target: Target) -> bytes:
        """What waits for this end of a line, which no longer waits."""
        return bytes(self._waiting.pop(target, b""))

    def _show(self, target: Target, waiting: bytearray, deadline: float) -> None:
        """Now, if the first VM is between two lines."""
        if self._waiting.get(target) is not waiting:
            return
        between = not target.data or target.data.endswith(b"\n")
        if not between and self._loop.time() < deadline and not target.closed:
            self._loop.call_later(HELD_S / 10, self._show, target, waiting, deadline)
            return
        target.inject((b"" if between else b"\n") + self._taken(target))
