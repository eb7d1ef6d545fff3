# SPDX-License-Identifier: MIT
"""A trace of a VM: what its keeper read at each look (detached/tracing.py), put on one time line.

The guest's ring and each source of packets have clocks of their own. What is found at a look happened before it, and
after the look before: so each clock is laid on the host's, as exactly as the looks allow. `error` says how exactly.
A VM that is paused meanwhile (fork(), a snapshot) has a clock that stands still: it is laid anew behind that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

import msgspec

from floe.profile.samples import Frame

WAIT, COLLECTION = 0, 1  # kinds of spans (image/spans.py)
_SECOND = 1_000_000_000
_DRIFT = 0.0005  # of one clock against the other: an emulated guest has measured its own


class Begin(msgspec.Struct, frozen=True):
    """What a keeper says first. cards: of each source of packets, whether its two ways may be whole seconds apart.
    notes: what is not seen, and why."""

    at: int
    cards: dict[int, bool]
    notes: list[str]


class Look(msgspec.Struct, frozen=True):
    """at: ns by the host's clock, before and after. spans: kind, begin, end (0: it goes on). packets: card, whether it
    comes in, ns, bytes, first ones in hexadecimal. stack: None where it could not be read. lost: spans, packets, in
    all."""

    at: tuple[int, int]
    spans: list[tuple[Literal[0, 1], int, int]]
    packets: list[tuple[int, bool, int, int, str]]
    stack: list[Frame] | None
    lost: tuple[int, int]


class Span(NamedTuple):
    """Seconds since the trace began."""

    begin: float
    end: float


class Packet(NamedTuple):
    """at: seconds since the trace began. head: its first bytes."""

    at: float
    card: int
    comes_in: bool
    length: int
    head: bytes


class Sample(NamedTuple):
    """What Python was in from then on, the outermost call first; None: not known."""

    at: float
    stack: tuple[Frame, ...] | None


@dataclass
class Timeline:
    """seconds: how long it is; errors: seconds, at most, by which waits and collections, and packets, may be off."""

    seconds: float = 0.0
    waits: list[Span] = field(default_factory=list)
    collections: list[Span] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    lost_spans: int = 0
    lost_packets: int = 0
    notes: list[str] = field(default_factory=list)
    errors: tuple[float, float] = (0.0, 0.0)


def put_together(begin: Begin, looks: Sequence[Look]) -> Timeline:
    """One time line of them all."""
    line = Timeline(notes=list(begin.notes))
    if not looks:
        return line
    line.seconds = (looks[-1].at[1] - begin.at) / _SECOND
    line.lost_spans, line.lost_packets = looks[-1].lost
    line.samples = [Sample(max(0.0, (look.at[1] - begin.at) / _SECOND), _frames(look.stack)) for look in looks]
    _lay_spans(line, begin, looks)
    _lay_packets(line, begin, looks)
    return line


def _frames(stack: list[Frame] | None) -> tuple[Frame, ...] | None:
    return None if stack is None else tuple(stack)


def _lay_spans(line: Timeline, begin: Begin, looks: Sequence[Look]) -> None:
    offsets, error = laid(begin.at, list(_stamps(looks)))
    found: dict[int, list[Span]] = {WAIT: [], COLLECTION: []}
    last: tuple[int, float] | None = None
    begins: dict[int, float] = {}  # of one that goes on, as it was laid first: the VM may be paused before it ends
    for look, offset in zip(looks, offsets, strict=True):
        last = None
        for kind, start, end in look.spans:
            first = begins.get(start, max(0.0, (start + offset - begin.at) / _SECOND))
            if not end:
                begins, last = {start: first}, (kind, first)  # what the next look has as well, but for the last one
            elif end + offset > begin.at:
                found[kind].append(Span(first, (end + offset - begin.at) / _SECOND))
    if last is not None:
        found[last[0]].append(Span(last[1], max(last[1], line.seconds)))
    line.waits, line.collections = (_in_order(found[kind]) for kind in (WAIT, COLLECTION))
    line.errors = error, line.errors[1]


def _stamps(looks: Sequence[Look]) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """When each span ended, and one that goes on began, where a look before has not seen it."""
    on: int | None = None
    for number, look in enumerate(looks):
        stamps = [end for _, _, end in look.spans if end]
        for _, start, end in look.spans:
            if not end and start != on:
                stamps += [start] if number else []  # the first may have begun long before
                on = start
        yield look.at, stamps


def _in_order(spans: Iterable[Span]) -> list[Span]:
    """None begins before the one before has ended: where offsets of two looks differ, a span may reach so far."""
    found: list[Span] = []
    for span in spans:
        begin = max(span.begin, found[-1].end) if found else span.begin
        found.append(Span(begin, max(begin, span.end)))
    return found


def _lay_packets(line: Timeline, begin: Begin, looks: Sequence[Look]) -> None:
    worst = 0.0
    for card, apart in begin.cards.items():
        shift = _seconds_apart(card, looks) if apart else 0
        raw = [
            (look.at, [(at + shift * comes_in, comes_in, length, head) for c, comes_in, at, length, head in look.packets
                       if c == card])
            for look in looks
        ]  # fmt: skip
        offsets, error = laid(begin.at, [(at, [packet[0] for packet in packets]) for at, packets in raw])
        for (_, packets), offset in zip(raw, offsets, strict=True):
            for at, comes_in, length, head in packets:
                seconds = max(0.0, (at + offset - begin.at) / _SECOND)
                line.packets.append(Packet(seconds, card, comes_in, length, bytes.fromhex(head)))
        worst = max(worst, error)
    line.packets.sort(key=lambda packet: packet.at)
    line.errors = line.errors[0], worst


def _seconds_apart(card: int, looks: Sequence[Look]) -> int:
    """What is to be added to the stamps of what comes in, whole seconds, for both ways to be of one clock."""
    after: dict[bool, int] = {}
    for look in looks:
        for c, comes_in, at, _, _ in look.packets:
            if c == card:
                after[comes_in] = min(look.at[1] - at, after.get(comes_in, look.at[1] - at))
    return round((after[True] - after[False]) / _SECOND) * _SECOND if len(after) == 2 else 0


def laid(began: int, looks: Sequence[tuple[tuple[int, int], Sequence[int]]]) -> tuple[list[int], float]:
    """For each look (ns before and after it; stamps that were new in it) what is to be added to its stamps to have the
    host's clock; and by how many seconds that may be wrong, at the looks that found something."""
    bounds: list[tuple[float, float]] = []
    before = began
    for (start, end), stamps in looks:
        low, high = float("-inf"), float("inf")
        if stamps:
            low, high = before - min(stamps), end - max(stamps)
        bounds.append((min(low, high), high))
        before = start
    times = [at[1] for at, _ in looks]
    forth, back = [], []
    for part in _segments(times, bounds):
        forth += _carried(times[part], bounds[part])
        back += _carried([-at for at in reversed(times[part])], bounds[part][::-1])[::-1]
    offsets, error, known = [], 0.0, 0
    for (low, high), (low2, high2), (_, stamps) in zip(forth, back, looks, strict=True):
        high = min(high, high2)
        low = min(max(low, low2), high)
        if high < float("inf"):
            known = round((low + high) / 2)
        offsets.append(known)
        error = max(error, (high - low) / 2 / _SECOND) if stamps else error
    return offsets, error


def _segments(times: Sequence[int], bounds: Sequence[tuple[float, float]]) -> Iterator[slice]:
    """Looks between which the clock did not stand still: where it did, no upper bound is as low again as before. One
    may be too high by the time between two looks."""
    gaps = sorted(after - before for before, after in pairwise(times))
    slack = 2 * gaps[len(gaps) // 2] if gaps else 0
    ahead = [*accumulate((high for _, high in reversed(bounds)), min)][::-1]
    first, least = 0, float("inf")
    for number, (_, high) in enumerate(bounds):
        if least + slack < ahead[number] < float("inf"):
            yield slice(first, number)
            first, least = number, float("inf")
        least = min(least, high)
    yield slice(first, len(bounds))


def _carried(times: Sequence[int], bounds: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Each with what those before it say of it: a bound loses a little of its worth with time. A stamp that came to
    light late makes its lower bound too high, an upper bound always holds."""
    found: list[tuple[float, float]] = []
    for number, (low, high) in enumerate(bounds):
        if found:
            loss = (times[number] - times[number - 1]) * _DRIFT
            low, high = max(low, found[-1][0] - loss), min(high, found[-1][1] + loss)
        found.append((min(low, high), high))
    return found
