# SPDX-License-Identifier: MIT
"""A time line in a few lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from floe.profile import heads
from floe.profile.chrome import NOWHERE, running
from floe.profile.timeline import Timeline


class Answer(NamedTuple):
    """What a packet waited for its answer. begin, seconds: when it came in, and how long that took."""

    begin: float
    seconds: float
    text: str


def lines(name: str, line: Timeline) -> Iterator[str]:
    """Of the VM of this name."""
    yield f"{name}: {line.seconds:.1f} s"
    if line.seconds > 0:
        yield from _processor(line)
        yield from _collector(line)
        yield from _packets(line)
    yield from line.notes
    if line.lost_spans or line.lost_packets:
        yield f"too fast to be read: {line.lost_spans} waits or collections, {line.lost_packets} packets: --rate 1000"


def _processor(line: Timeline) -> Iterator[str]:
    waited = sum(wait.end - wait.begin for wait in line.waits)
    wakes = sum(1 for wait in line.waits if wait.end < line.seconds)
    runs = running(line)
    text = f"processor: woken {wakes} times, {wakes / line.seconds:.0f}/s; waited {100 * waited / line.seconds:.0f} %"
    if runs:
        longest = max(runs, key=lambda run: run.end - run.begin)
        text += f"; ran for {_time(longest.end - longest.begin)} at most, at {longest.begin:.3f} s"
    yield text


def _collector(line: Timeline) -> Iterator[str]:
    if not line.collections:
        yield "garbage: never collected"
        return
    total = sum(one.end - one.begin for one in line.collections)
    longest = max(line.collections, key=lambda one: one.end - one.begin)
    text = f"garbage: collected {len(line.collections)} times, {_time(total)} in all; the longest pause is of "
    yield text + f"{_time(longest.end - longest.begin)}, at {longest.begin:.3f} s, {_where(line, longest.begin)}"


def _where(line: Timeline, at: float) -> str:
    """Python's line at that moment, as the samples have it."""
    before = [sample for sample in line.samples if sample.at <= at and sample.stack is not None]
    stack = before[-1].stack if before else None
    return f"by {stack[-1].place}" if stack else NOWHERE


def _packets(line: Timeline) -> Iterator[str]:
    for card in sorted({packet.card for packet in line.packets}):
        counts = []
        for way, text in ((True, "in"), (False, "out")):
            found = [packet.length for packet in line.packets if packet.card == card and packet.comes_in == way]
            counts.append(f"{len(found)} packets {text}, {sum(found)} bytes")
        yield f"net{card}: {'; '.join(counts)}"
    waited = answers(line)
    if waited:
        longest = max(waited, key=lambda answer: answer.seconds)
        usual = sorted(answer.seconds for answer in waited)[len(waited) // 2]
        yield (
            f"answers: {len(waited)}, after {_time(usual)} in the median; the longest wait is of "
            f"{_time(longest.seconds)}, at {longest.begin:.3f} s: {longest.text}"
        )


def answers(line: Timeline) -> list[Answer]:
    """For each packet in that asks for something, the next one out of the same connection that says something."""
    found: list[Answer] = []
    open_: dict[tuple[int, tuple[object, ...]], tuple[float, str]] = {}
    for packet in line.packets:
        head = heads.read(packet.head, packet.length)
        if head.flow is None or head.back is None:
            continue
        if packet.comes_in and head.asks:
            open_.setdefault((packet.card, head.back), (packet.at, head.text))
        elif not packet.comes_in and head.answers:
            asked = open_.pop((packet.card, head.flow), None)
            if asked is not None:
                found.append(Answer(asked[0], packet.at - asked[0], asked[1]))
    return found


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.2f} s"
