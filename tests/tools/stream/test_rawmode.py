# SPDX-License-Identifier: MIT
"""rawmode.py: what of a console's bytes is told as the program's, however they are cut into pieces."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from floe.stream.rawmode import RawMode

GREETING = b'\r\nMicroPython v1.25.0; floe with x86-64 VM\r\nType "help()" for more information.\r\n>>> '
ENTERED = b"\r\nraw REPL; CTRL-B to exit\r\n>"
PASTE = b"R\x01\x00\x80\x01"
STOP = b"\x03\x03\r\x01import floe\nfloe.stop()\x04\x02"


class Talk:
    """One console, with a clock of its own."""

    def __init__(self, cut: Callable[[bytes], list[bytes]]) -> None:
        self.now = 0.0
        self.mode = RawMode(lambda: self.now)
        self.words = b""
        self._cut = cut

    def typed(self, data: bytes, *, own: bool = False) -> None:
        self.mode.typed(data, own=own)

    def said(self, *pieces: bytes, after: float = 0.0) -> None:
        """Each piece is cut further, but its end is the end of what the guest had to say."""
        self.now += after
        for piece in pieces:
            for part in self._cut(piece):
                self.words += self.mode.said(part)

    def end(self) -> bytes:
        self.words += self.mode.rest()
        return self.words


def _whole(data: bytes) -> list[bytes]:
    return [data]


def _bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.fixture(params=[_whole, _bytes])
def talk(request: pytest.FixtureRequest) -> Talk:
    return Talk(request.param)


def _enter(talk: Talk) -> None:
    talk.said(b"tick 0\n")
    talk.typed(b"\r\x03")
    talk.said(GREETING + b"\r\n>>> \r\n>>> ")
    talk.typed(b"\r\x01")
    talk.said(b"\r\n>>> " + ENTERED)
    assert talk.mode.inside


def test_a_session_leaves_the_program_s_words(talk: Talk) -> None:
    _enter(talk)
    talk.typed(b"\x05A\x01")
    talk.said(PASTE)
    talk.typed(b"print(1)\x04")
    talk.said(b"\x041\r\n\x04\x04>")
    talk.typed(b"print(2)\x04")
    talk.said(b"OK2\r\n\x04\x04>")
    talk.typed(b"\x04")  # a soft reset, which a running service does not make
    talk.said(b"OK\r\nMPY: soft reboot\r\n" + ENTERED[2:])
    talk.typed(b"\r\x02")
    assert not talk.mode.inside
    talk.said(GREETING + b"tick 1\r\n" + b"tick 2\r\n")
    talk.said(b"tick 3\r\n")
    assert talk.end() == b"tick 0\ntick 1\r\ntick 2\r\ntick 3\r\n"


def test_what_is_said_at_the_raw_prompt_is_the_program_s(talk: Talk) -> None:
    """A timer's callback, with nothing typed and nothing running."""
    _enter(talk)
    talk.typed(b"print(1)\x04")
    talk.said(b"OK1\r\n\x04\x04>")
    talk.said(b"by a timer\r\n", after=0.2)
    talk.typed(b"print(2)\x04")
    talk.said(b"OK2\r\n\x04\x04>")
    talk.typed(b"\r\x02")
    talk.said(GREETING)
    assert talk.end() == b"tick 0\nby a timer\r\n"


def test_a_file_that_looks_like_the_protocol_stays_out(talk: Talk) -> None:
    _enter(talk)
    talk.typed(b"get()\x04")
    talk.said(b"OK#0000ff", b"\x04\x04>", b"text of the file\x04\x04>", GREETING, ENTERED, b"more of it", b"\x04\x04>")
    talk.typed(b"\r\x02")
    talk.said(GREETING, b"tick 1\n")
    assert talk.end() == b"tick 0\ntick 1\n"


def test_the_keeper_s_way_out_after_a_client_s_program(talk: Talk) -> None:
    _enter(talk)
    talk.typed(b"print(1)\x04")
    talk.said(b"OK1\r\n\x04\x04>")
    talk.typed(b"\r\x02", own=True)
    talk.said(GREETING[:2])
    talk.said(GREETING[2:] + b"tick 1\n")
    assert talk.end() == b"tick 0\ntick 1\n"


def test_random_files_stay_out() -> None:
    """Prompts of raw mode come about in them by chance."""
    chance = random.Random(5)

    def cut(data: bytes) -> list[bytes]:
        at = sorted(chance.randrange(len(data)) for _ in range(len(data) // 3000 + 1))
        return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True) if a < b]

    talk = Talk(cut)
    _enter(talk)
    talk.typed(b"get()\x04")
    talk.said(b"OK", *(bytes(chance.choices(b"\x04>OKR\x01ab", k=20_000)) for _ in range(20)), b"\x04\x04>")
    talk.typed(b"\r\x02")
    talk.said(GREETING)
    assert talk.end() == b"tick 0\n"


def test_the_keeper_s_question_loses_no_words(talk: Talk) -> None:
    """floe stop to a script that has no REPL beside it, ends in raw mode and says so."""
    talk.said(b"waiting\n")
    talk.typed(STOP, own=True)
    talk.said(b"Traceback (most recent call last):\r\nKeyboardInterrupt: \r\n" + GREETING + ENTERED)
    talk.said(b"OK\x04\x04at its end\r\n")
    assert talk.end() == b"waiting\nTraceback (most recent call last):\r\nKeyboardInterrupt: \r\nat its end\r\n"


def test_the_keeper_s_question_to_a_service(talk: Talk) -> None:
    """What the service says as it ends may come right behind the answer, or behind the greeting of the way out."""
    talk.said(b"up\n")
    talk.typed(STOP, own=True)
    talk.said(GREETING + b"\r\n>>> \r\n>>> " + ENTERED, b"OK\x04\x04>" + GREETING[:40])
    talk.said(GREETING[40:] + b"cancelled\n", b"finally ran\n")
    assert talk.end() == b"up\ncancelled\nfinally ran\n"


def test_the_keeper_s_question_to_a_service_that_ends_at_once(talk: Talk) -> None:
    talk.said(b"up\n")
    talk.typed(STOP, own=True)
    talk.said(GREETING + ENTERED + b"OK\x04\x04>cancelled\nfinally ran\n")
    assert talk.end() == b"up\ncancelled\nfinally ran\n"


def test_the_keeper_s_question_in_a_client_s_session(talk: Talk) -> None:
    _enter(talk)
    talk.typed(b"get()\x04")
    talk.said(b"OK#000fff a file")
    talk.typed(STOP, own=True)
    talk.said(b" and more of it\x04Traceback: KeyboardInterrupt\r\n\x04>")
    talk.said(ENTERED[2:] + b"OK")
    talk.typed(b"\r\x02")  # the client has seen the traceback, and leaves
    talk.said(b"\x04\x04>")
    talk.said(GREETING[:5])
    talk.said(GREETING[5:] + b"\r\n>>> " + GREETING + b"finally ran\r\n", after=0.2)
    assert talk.end() == b"tick 0\nfinally ran\r\n"


def test_a_way_out_that_is_not_answered_hides_nothing_for_long(talk: Talk) -> None:
    _enter(talk)
    talk.typed(b"\r\x02")
    talk.said(b"lost, as it seems")
    talk.said(b"told\n", after=6.0)
    assert talk.end() == b"tick 0\ntold\n"


@pytest.mark.parametrize(
    "words", [b"over\r", b"tick\r\n", b"ra", b"\r\nMicroPython is", b"\r\n>>>", b"raw REPL; CTRL-B"]
)
def test_what_only_begins_like_a_mark_is_told(talk: Talk, words: bytes) -> None:
    talk.typed(b"\r")
    talk.said(words)
    assert talk.end() == words
    talk.said(b"; and so on\n")
    assert talk.end() == words + b"; and so on\n"


def test_a_banner_that_comes_late_in_two_parts_is_one(talk: Talk) -> None:
    talk.said(b"raw REPL; C")
    assert talk.mode.rest() == b"raw REPL; C"
    talk.said(b"TRL-B to exit\r\n>")
    assert talk.mode.inside


def test_a_person_s_session_is_told(talk: Talk) -> None:
    talk.typed(b"print(1)\r")
    said = b"print(1)\r\n1\r\n>>> "
    talk.said(said)
    assert talk.end() == said
