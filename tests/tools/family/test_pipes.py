# SPDX-License-Identifier: MIT
"""tools/floe/family/pipes.py: what POSIX promises of a pipe, between VMs that are numbers here."""

from __future__ import annotations

import random

import pytest

from floe.family import pipes as module
from floe.family.frames import AT_END, NOBODY_READS, READING, WRITING, BrokenFrame, Kind
from floe.family.pipes import MAX_PIPES, WINDOW, Pipes

TOP, CHILD, OTHER = 1, 2, 3
PIPE = TOP << 16 | 1


class Sent(list[tuple[int, Kind, bytes]]):
    """What the VMs were told, in order."""

    def __call__(self, pid: int, kind: Kind, payload: bytes, channel: int) -> None:
        assert channel >> 16 == TOP
        self.append((pid, kind, payload))

    def new(self) -> list[tuple[int, Kind, bytes]]:
        told = list(self)
        self.clear()
        return told


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def made() -> tuple[Pipes, Sent]:
    """A pipe whose maker has forked once."""
    sent = Sent()
    pipes = Pipes(sent)
    pipes.make(TOP, PIPE)
    pipes.inherit(TOP, CHILD)
    return pipes, sent


def test_bytes_go_to_who_asked_first_and_writers_hear_of_it() -> None:
    pipes, sent = made()
    pipes.read(TOP, PIPE, 3)
    pipes.read(CHILD, PIPE, 100)
    assert sent.new() == []
    pipes.write(CHILD, PIPE, b"hello")
    assert sent.new() == [
        (TOP, Kind.DATA, b"hel"),
        (CHILD, Kind.TAKEN, number(3)),
        (CHILD, Kind.DATA, b"lo"),
        (CHILD, Kind.TAKEN, number(2)),
    ]


def test_two_writers_are_told_apart() -> None:
    pipes, sent = made()
    pipes.write(TOP, PIPE, b"one")
    pipes.write(CHILD, PIPE, b"two")
    pipes.read(TOP, PIPE, 5)
    assert sent.new() == [
        (TOP, Kind.DATA, b"onetw"),
        (TOP, Kind.TAKEN, number(3)),
        (CHILD, Kind.TAKEN, number(2)),
    ]


def test_the_end_comes_behind_the_last_byte_of_the_last_writer() -> None:
    pipes, sent = made()
    pipes.write(CHILD, PIPE, b"last")
    pipes.leave(CHILD)  # it ended; what it wrote stays
    pipes.read(TOP, PIPE, 100)
    assert sent.new() == [(TOP, Kind.DATA, b"last")]
    pipes.read(TOP, PIPE, 100)
    assert sent.new() == []  # it may write itself
    pipes.close(TOP, PIPE, WRITING)
    assert sent.new() == [(TOP, Kind.DATA, b"")]
    pipes.read(TOP, PIPE, 100)
    assert sent.new() == [(TOP, Kind.DATA, b"")]  # again and again


def test_a_writer_without_a_reader_is_told_while_it_waits_and_when_it_writes() -> None:
    pipes, sent = made()
    pipes.close(CHILD, PIPE, READING)
    pipes.write(CHILD, PIPE, b"x" * WINDOW)
    pipes.close(TOP, PIPE, WRITING)
    pipes.close(TOP, PIPE, READING)
    assert sent.new() == [(CHILD, Kind.TAKEN, number(NOBODY_READS))]
    pipes.write(CHILD, PIPE, b"more")
    assert sent.new() == [(CHILD, Kind.TAKEN, number(NOBODY_READS))]
    pipes.leave(CHILD)
    assert len(pipes) == 0


def test_who_polls_is_told_once() -> None:
    pipes, sent = made()
    pipes.want(TOP, PIPE, 1)
    assert sent.new() == []
    pipes.write(CHILD, PIPE, b"a")
    pipes.write(CHILD, PIPE, b"b")
    assert sent.new() == [(TOP, Kind.READABLE, b"")]
    pipes.want(TOP, PIPE, 1)
    assert sent.new() == [(TOP, Kind.READABLE, b"")]


def test_a_window_is_a_writer_s_own() -> None:
    pipes, _ = made()
    pipes.write(TOP, PIPE, b"x" * WINDOW)
    pipes.write(CHILD, PIPE, b"x" * WINDOW)
    with pytest.raises(BrokenFrame, match="nobody has taken"):
        pipes.write(CHILD, PIPE, b"x")


def test_what_the_dead_have_written_has_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2 * WINDOW)
    pipes, sent = made()
    pipes.write(CHILD, PIPE, b"x" * WINDOW)
    pipes.leave(CHILD)
    pipes.inherit(TOP, OTHER)
    pipes.write(OTHER, PIPE, b"x" * WINDOW)
    with pytest.raises(BrokenFrame, match="that nobody reads"):
        pipes.write(TOP, PIPE, b"x")
    pipes.read(TOP, PIPE, 1)
    assert sent.new()[0] == (TOP, Kind.DATA, b"x")
    pipes.write(TOP, PIPE, b"x")


@pytest.mark.parametrize("ident", [PIPE, CHILD << 16 | 1, 5])
def test_an_id_that_is_not_the_maker_s_or_not_new(ident: int) -> None:
    pipes, _ = made()
    with pytest.raises(BrokenFrame, match="PIPE with the id"):
        pipes.make(TOP, ident)


def test_there_is_an_end_to_pipes() -> None:
    pipes, _ = made()
    for count in range(2, MAX_PIPES + 1):
        pipes.make(TOP, TOP << 16 | count)
    with pytest.raises(BrokenFrame, match="more than"):
        pipes.make(TOP, TOP << 16 | 0x8000)


def test_a_pipe_of_which_a_vm_holds_no_end_is_none_of_its_business() -> None:
    pipes, sent = made()
    pipes.write(OTHER, PIPE, b"x")
    pipes.read(OTHER, PIPE, 1)
    pipes.want(OTHER, PIPE, 1)
    pipes.close(OTHER, PIPE, READING)
    pipes.close(TOP, PIPE | 0x77, READING)
    assert sent.new() == []


def test_any_order_of_reads_and_writes_keeps_every_byte() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    pipes, sent = made()
    written, read, waits = bytearray(), bytearray(), False
    room = {TOP: WINDOW, CHILD: WINDOW}
    for _ in range(5000):
        if chance.random() < 0.5 and not waits:
            waits = True
            pipes.read(CHILD, PIPE, chance.randrange(1, 20000))
        else:
            writer = chance.choice((TOP, CHILD))
            data = chance.randbytes(min(chance.randrange(1, 16385), room[writer]))
            if data:
                written += data
                room[writer] -= len(data)
                pipes.write(writer, PIPE, data)
        for pid, kind, payload in sent.new():
            if kind is Kind.DATA:
                assert pid == CHILD
                read += payload
                waits = False
            else:
                room[pid] += int.from_bytes(payload, "little")
    assert written.startswith(read)
    assert len(written) - len(read) == sum(WINDOW - left for left in room.values())


def test_what_lies_in_a_pipe_is_told_and_a_read_taken_back() -> None:
    pipes, sent = made()
    pipes.tell(TOP, PIPE, 0)
    assert sent.new() == [(TOP, Kind.STATE, number(0))]
    pipes.read(TOP, PIPE, 10)
    pipes.read(CHILD, PIPE, 10)
    pipes.tell(TOP, PIPE, 1)
    assert sent.new() == [(TOP, Kind.STATE, number(0))]
    pipes.write(CHILD, PIPE, b"for the other one")
    assert sent.new() == [(CHILD, Kind.DATA, b"for the ot"), (CHILD, Kind.TAKEN, number(10))]
    pipes.tell(TOP, PIPE, 1)  # none is out
    assert sent.new() == [(TOP, Kind.STATE, number(7))]
    for writer in (TOP, CHILD):
        pipes.close(writer, PIPE, WRITING)
    pipes.read(TOP, PIPE, 100)
    pipes.tell(TOP, PIPE, 0)
    assert sent.new() == [(TOP, Kind.DATA, b"her one"), (TOP, Kind.STATE, number(AT_END))]
    pipes.tell(OTHER, PIPE, 0)
    assert sent.new() == []
    with pytest.raises(BrokenFrame, match="STATE of 2"):
        pipes.tell(TOP, PIPE, 2)


def test_the_pipes_of_a_vm_that_goes_on_alone() -> None:
    """What lies in them is there; an end that another VM held is gone."""
    pipes, sent = made()
    other = TOP << 16 | 2
    pipes.make(TOP, other)
    pipes.close(TOP, PIPE, WRITING)
    pipes.write(CHILD, PIPE, b"of the child's")
    pipes.write(TOP, other, b"x" * 16384)
    pipes.write(TOP, other, b"own")
    kept = pipes.kept(TOP)
    sent = Sent()
    alone = Pipes(sent)
    alone.bring(TOP, kept)
    alone.read(TOP, PIPE, 100)
    alone.read(TOP, PIPE, 100)
    assert sent.new() == [(TOP, Kind.DATA, b"of the child's"), (TOP, Kind.DATA, b"")]
    for _ in range(WINDOW // 16384):
        alone.write(TOP, other, b"y" * 16384)  # a window of its own
    alone.read(TOP, other, 16384)
    assert sent.new() == [(TOP, Kind.DATA, b"x" * 16384)]
    alone.read(TOP, other, 100)
    [(_, _, data), taken] = sent.new()
    assert data == b"own" + b"y" * 97
    assert taken == (TOP, Kind.TAKEN, number(97))
    alone.leave(TOP)
    assert len(alone) == 0
