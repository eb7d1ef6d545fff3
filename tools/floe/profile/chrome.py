# SPDX-License-Identifier: MIT
"""A time line as JSON in Chrome's trace event format, which https://ui.perfetto.dev and chrome://tracing open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from floe.profile import heads
from floe.profile.timeline import Packet, Sample, Span, Timeline

_VM = 1
_PROCESSOR, _PYTHON, _COLLECTOR, _CARDS = 1, 2, 3, 10  # tracks, in their order
NOT_KNOWN = "(not known)"
NOWHERE = "(no Python)"
_LEAST_US = 0.001


def write(file: TextIO, name: str, line: Timeline) -> None:
    """An event a line. Raises OSError."""
    about = {
        "vm": name,
        "seconds": round(line.seconds, 6),
        "lost": {"waits and collections": line.lost_spans, "packets": line.lost_packets},
        "inexact by at most, us": {
            "waits and collections": round(line.errors[0] * 1e6, 1),
            "packets": round(line.errors[1] * 1e6, 1),
        },
        "notes": line.notes,
    }
    file.write('{"displayTimeUnit": "ms", "otherData": ' + json.dumps(about) + ',\n"traceEvents": [')
    separator = "\n"
    for event in events(name, line):
        file.write(separator + json.dumps(event, separators=(",", ":")))
        separator = ",\n"
    file.write("\n]}\n")


def events(name: str, line: Timeline) -> Iterator[dict[str, Any]]:
    """Of each track in the order of time. ts, dur: us."""
    yield _named("process_name", 0, name)
    yield from _track(_PROCESSOR, "processor")
    for begin, end in running(line):
        yield _slice(_PROCESSOR, "runs", begin, end)
    yield from _track(_PYTHON, "Python (sampled)")
    yield from _python(line)
    yield from _track(_COLLECTOR, "garbage collection")
    for begin, end in line.collections:
        yield _slice(_COLLECTOR, "collects", begin, end)
    cards = sorted({packet.card for packet in line.packets})
    for card in cards:
        for comes_in in (True, False):
            track = _CARDS + 2 * card + (not comes_in)
            yield from _track(track, f"net{card} {'in' if comes_in else 'out'}")
            for packet in line.packets:
                if packet.card == card and packet.comes_in == comes_in:
                    yield _packet(track, packet)


def running(line: Timeline) -> list[Span]:
    """When the processor did not wait: each of them begins with a wake."""
    if not line.waits:
        return [Span(0.0, line.seconds)] if line.seconds and not line.lost_spans else []
    edges = [0.0, *(edge for wait in line.waits for edge in wait), max(line.seconds, line.waits[-1].end)]
    return [Span(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]


def _python(line: Timeline) -> Iterator[dict[str, Any]]:
    """A slice for each run of samples that are alike, up to the one that is not."""
    first: Sample | None = None
    for sample in line.samples:
        if first is None or sample.stack != first.stack:
            if first is not None:
                yield _run(first, sample.at)
            first = sample
    if first is not None:
        yield _run(first, line.seconds)


def _run(sample: Sample, end: float) -> dict[str, Any]:
    if sample.stack is None:
        return _slice(_PYTHON, NOT_KNOWN, sample.at, end)
    places = [frame.place for frame in sample.stack]
    return _slice(_PYTHON, places[-1] if places else NOWHERE, sample.at, end, {"called by": places[-2::-1]})


def _packet(track: int, packet: Packet) -> dict[str, Any]:
    text = heads.read(packet.head, packet.length).text
    args = {"frame": packet.length}
    return {"ph": "i", "s": "t", "pid": _VM, "tid": track, "ts": _us(packet.at), "name": text, "args": args}


def _slice(track: int, name: str, begin: float, end: float, args: dict[str, Any] | None = None) -> dict[str, Any]:
    length = max(_LEAST_US, round((end - begin) * 1e6, 3))
    event: dict[str, Any] = {"ph": "X", "pid": _VM, "tid": track, "ts": _us(begin), "dur": length, "name": name}
    return event | {"args": args} if args else event


def _track(track: int, name: str) -> Iterator[dict[str, Any]]:
    yield _named("thread_name", track, name)
    yield {"ph": "M", "pid": _VM, "tid": track, "name": "thread_sort_index", "args": {"sort_index": track}}


def _named(what: str, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": _VM, "tid": track, "name": what, "args": {"name": name}}


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 3)
