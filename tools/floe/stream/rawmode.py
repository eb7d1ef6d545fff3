# SPDX-License-Identifier: MIT
"""What of a dev image's console its program said, and what belongs to a raw-REPL session of mpremote's or floe's.

Follows the protocol from outside (MicroPython's reference manual, "raw mode", "raw-paste mode"; port/dev/rawpaste.c):
in raw mode each program typed is answered by OK or by raw-paste's window, its output, 04, its traceback, 04 and `>`.
What comes while such an answer is due belongs to the session; what comes at the prompt, with nothing typed, does not.
Files travel inside an answer and may look like its end: a prompt counts once the guest has been silent after it.
"""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Callable, Sequence

from floe.stream import keys

_BANNER = keys.RAW_BANNER + keys.RAW_PROMPT
_CONTROLS = b"\r\x01\x02\x03\x04\x05"  # typed on the way into raw mode and out of it, and no words of anybody's
_SILENCE_S = 0.05  # between a prompt and what the program says there
_LEFT_S = 5.0  # for the answer to the way out; after it what comes is the program's
_KEPT = 512  # bytes: more than any mark has

_ANY = rb"[^\r\n]*"
_NEWLINE = [rb"\r", rb"\n"]


def _letters(text: bytes) -> list[bytes]:
    return [re.escape(text[i : i + 1]) for i in range(len(text))]


_PROMPT = [*_NEWLINE, *_letters(b">>> ")]
_GREETING = [*_NEWLINE, *_letters(b"MicroPython "), _ANY, *_NEWLINE, *_letters(b'Type "help()"'), _ANY, *_PROMPT]
_ENTERED = [*_NEWLINE, *_letters(_BANNER)]


def _begun(pieces: Sequence[bytes]) -> bytes:
    """A pattern for each beginning of these pieces but the empty one."""
    pattern = b""
    for piece in reversed(pieces):
        pattern = piece + (b"(?:" + pattern + b")?" if pattern else b"")
    return pattern


_GREETED = re.compile(b"".join(_GREETING))
_PROMPTS = re.compile(b"".join(_GREETING) + b"|" + b"".join(_PROMPT))
_RAW = re.compile(rb"(?:\r\n)?" + re.escape(_BANNER))
_UNFINISHED = re.compile(b"(?:" + b"|".join(_begun(p) for p in (_GREETING, _PROMPT, _ENTERED, _ENTERED[2:])) + rb")\Z")
_ANSWER = re.compile(rb"OK|R\x01...", re.DOTALL)


class _Phase(enum.Enum):
    FRIENDLY = enum.auto()
    PROMPT = enum.auto()  # raw mode's
    PASTE = enum.auto()
    OUTPUT = enum.auto()
    TRACEBACK = enum.auto()
    CLOSED = enum.auto()  # the answer's second 04 has come


_AFTER_END = {_Phase.PASTE: _Phase.OUTPUT, _Phase.OUTPUT: _Phase.TRACEBACK, _Phase.TRACEBACK: _Phase.CLOSED}


class RawMode:
    """Told in order what is typed and what the guest says, picks the program's words."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase = _Phase.FRIENDLY
        self._held = b""  # in friendly mode the beginning of a mark, as it seems; in raw mode the last that came
        self._told = b""  # what was held and given up, and came after it
        self._asked = False  # something was typed at the prompt
        self._quiet = False  # only controls were typed: prompts that answer them are no words
        self._leaving = False  # the last that was typed is the way out
        self._may_leave = False  # the way out was typed
        self._own = False  # the last that was typed is the keeper's
        self._ending = False  # what runs is the script's end, which the keeper has asked for
        self._typed_at = self._prompted_at = 0.0

    @property
    def inside(self) -> bool:
        """Whether the guest is in raw mode, and the last that was typed was not the way out."""
        return self._phase is not _Phase.FRIENDLY and not self._leaving

    @property
    def holds(self) -> bool:
        """Whether rest() has something."""
        return self._phase is _Phase.FRIENDLY and bool(self._held)

    @property
    def idle(self) -> bool:
        """Whether all that comes is the program's while no client is there."""
        return self._phase is _Phase.FRIENDLY and not self._own and not self._held

    def typed(self, data: bytes, *, own: bool = False) -> None:
        """Bytes on their way to the guest; `own`: the keeper's."""
        self._asked = True
        self._own = own
        self._typed_at = self._clock()
        self._leaving = data.endswith(keys.FRIENDLY)
        self._may_leave |= self._leaving
        if self._phase is _Phase.FRIENDLY:
            self._quiet = own or not data.strip(_CONTROLS)

    def said(self, data: bytes) -> bytes:
        """Bytes that came from the guest: those of them, and of those held back, that are words of the program."""
        words = b""
        while data:
            more, data = self._friendly(data) if self._phase is _Phase.FRIENDLY else self._raw(data)
            words += more
        return words

    def rest(self) -> bytes:
        """What was held back; nobody waits for what would have followed."""
        if not self.holds:
            return b""
        self._told, self._held = self._held, b""
        return self._told

    # Both: the words, and what is left of data, in the other mode.

    def _friendly(self, data: bytes) -> tuple[bytes, bytes]:
        data, told = self._held + data, self._told
        self._held = self._told = b""
        if (entered := _RAW.search(told + data)) is not None:
            self._phase, self._asked, self._may_leave = _Phase.PROMPT, True, self._leaving
            words = data[: max(0, entered.start() - len(told))]
            return self._stripped(words), data[entered.end() - len(told) :]
        if (unfinished := _UNFINISHED.search(data)) is not None:
            self._held = unfinished[0]
            data = data[: unfinished.start()]
        if told:
            self._told = (told + data)[-len(_BANNER) :]
        return self._stripped(data), b""

    def _raw(self, data: bytes) -> tuple[bytes, bytes]:
        if self._leaving and self._clock() - self._typed_at > _LEFT_S:
            self._leave()
            return b"", data
        seen = self._held + data
        if (entered := _RAW.search(seen)) is not None:
            self._phase, self._asked, self._held = _Phase.PROMPT, True, b""
            return b"", seen[entered.end() :]
        if self._may_leave and (greeted := _GREETED.search(seen)) is not None:
            words, _ = self._answer(data[: max(0, greeted.start() - len(self._held))])
            self._leave()
            return words, seen[greeted.end() :]
        if self._phase is _Phase.PROMPT and not self._asked:
            if self._clock() - self._prompted_at >= _SILENCE_S:
                return data, b""
            self._phase = _Phase.OUTPUT  # that was no prompt
        return self._answer(data)

    def _leave(self) -> None:
        self._phase, self._held, self._quiet = _Phase.FRIENDLY, b"", True
        self._may_leave = self._own = self._ending = False

    def _answer(self, data: bytes) -> tuple[bytes, bytes]:
        """Go on in the protocol; what of it says the script that the keeper has asked for its end."""
        self._held = (self._held + data)[-_KEPT:]
        words = b""
        while data:
            if self._phase is _Phase.PROMPT:
                data = self._begin()
            elif self._phase is _Phase.CLOSED and self._ending:
                self._leave()  # the way out is typed already, and what is still to come is the script's end
                self._own = True
                return words, data.removeprefix(keys.RAW_PROMPT)
            elif self._phase is _Phase.CLOSED:
                self._phase = _Phase.OUTPUT
                if data == keys.RAW_PROMPT:  # else it was no end, but a file, or a script that has run to its end
                    self._phase, self._prompted_at = _Phase.PROMPT, self._clock()
                    self._asked = self._own or self._may_leave
                    self._ending, self._held, data = False, b"", b""
            else:
                text, end, data = data.partition(keys.END)
                words += text if self._ending else b""
                self._phase = _AFTER_END[self._phase] if end else self._phase
        return words, b""

    def _begin(self) -> bytes:
        """Look for the beginning of an answer in what came since the prompt; what follows it."""
        if (found := _ANSWER.search(self._held)) is None:
            return b""
        self._phase = _Phase.OUTPUT if found[0] == b"OK" else _Phase.PASTE
        self._ending = self._own
        return self._held[found.end() :]

    def _stripped(self, data: bytes) -> bytes:
        return _PROMPTS.sub(b"", data) if self._quiet else data
