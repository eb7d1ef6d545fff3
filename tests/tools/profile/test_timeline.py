# SPDX-License-Identifier: MIT
"""timeline.py: clocks that begin anywhere and drift are laid on the host's, and what is laid stays in order."""

from __future__ import annotations

import random

import pytest

from floe.profile.samples import Frame
from floe.profile.timeline import COLLECTION, WAIT, Begin, Look, Span, laid, put_together

MS = 1_000_000
SECOND = 1000 * MS
BEGAN = 77 * SECOND


def begin(**cards: bool) -> Begin:
    return Begin(BEGAN, {int(name[3:]): apart for name, apart in cards.items()}, [])


def look(at_ms: float, **found: object) -> Look:
    at = BEGAN + int(at_ms * MS)
    told: dict[str, object] = {"at": (at, at + MS // 10), "spans": [], "packets": [], "stack": [], "lost": (0, 0)}
    return Look(**(told | found))  # type: ignore[arg-type]  # the fields that a test is about


@pytest.mark.parametrize("drift", [0.0, 0.0004, -0.0004])
def test_a_clock_is_laid_as_exactly_as_its_looks_allow(drift: float) -> None:
    choose = random.Random(7)
    offset = 12345 * SECOND
    truth = sorted(choose.randrange(0, 4 * SECOND) for _ in range(4000))
    times = [i * 10 * MS for i in range(1, 401)]
    looks, left = [], list(truth)
    for time in times:
        here = [at for at in left if at < time]
        left = left[len(here) :]
        looks.append(((BEGAN + time, BEGAN + time + MS // 10), [round(at * (1 + drift)) - offset for at in here]))
    offsets, error = laid(BEGAN, looks)
    worst = 0
    done = 0
    for (_, stamps), added in zip(looks, offsets, strict=True):
        for stamp in stamps:
            worst = max(worst, abs(stamp + added - BEGAN - truth[done]))
            done += 1
    assert done > 3900
    assert worst <= error * SECOND + MS // 10
    assert error < 0.001


@pytest.mark.parametrize("pause_ms", [60, 900])
@pytest.mark.parametrize("drift", [0.0, 0.0004, -0.0004])
def test_a_clock_that_stands_still_for_a_pause_is_laid_anew_behind_it(drift: float, pause_ms: int) -> None:
    choose = random.Random(pause_ms)
    pauses = [(SECOND, SECOND + pause_ms * MS), (3 * SECOND, 3 * SECOND + pause_ms * MS)]
    events = sorted(choose.randrange(0, 6 * SECOND) for _ in range(6000))
    truth = [at for at in events if not any(begin <= at < end for begin, end in pauses)]

    def clock(at: int) -> int:
        return round((at - sum(end - begin for begin, end in pauses if at >= end)) * (1 + drift)) - 9 * SECOND

    looks, left = [], list(truth)
    for time in range(10 * MS, 6 * SECOND + 20 * MS, 10 * MS):
        here = [at for at in left if at < time]
        left = left[len(here) :]
        looks.append(((BEGAN + time, BEGAN + time + MS // 10), [clock(at) for at in here]))
    offsets, error = laid(BEGAN, looks)
    stamps = [stamp + added - BEGAN for (_, stamps), added in zip(looks, offsets, strict=True) for stamp in stamps]
    assert len(stamps) == len(truth)
    worst = max(abs(found - at) for found, at in zip(stamps, truth, strict=True))
    assert worst <= error * SECOND + MS // 10
    assert error < 0.002


def test_a_wait_in_which_the_vm_is_paused_is_as_long_as_it_was() -> None:
    """Its clock stood still from 25 ms to 525 ms."""
    boot, looks = 500 * SECOND, []
    for at in range(5, 20, 5):
        looks.append(look(at, spans=[(WAIT, boot + (at - 4) * MS, boot + (at - 1) * MS)]))
    looks += [look(at, spans=[(WAIT, boot + 18 * MS, 0)]) for at in range(20, 530, 5)]
    looks.append(look(530, spans=[(WAIT, boot + 18 * MS, boot + 29 * MS)]))
    for at in range(535, 600, 5):
        looks.append(look(at, spans=[(WAIT, boot + (at - 504) * MS, boot + (at - 501) * MS)]))
    line = put_together(begin(), looks)
    off = line.errors[0] + 1e-6
    assert off < 0.005
    assert line.waits[3] == (pytest.approx(0.018, abs=off), pytest.approx(0.529, abs=off))
    assert line.waits[4] == (pytest.approx(0.531, abs=off), pytest.approx(0.534, abs=off))


def test_a_stamp_that_came_to_light_late_does_no_harm() -> None:
    looks = [((BEGAN + i * 10 * MS, BEGAN + i * 10 * MS), [(i * 10 - 1) * MS]) for i in range(1, 50)]
    looks[20] = (looks[20][0], [looks[20][1][0] - 30 * MS, looks[20][1][0]])
    offsets, error = laid(BEGAN, looks)
    assert all(abs(offset - BEGAN) <= 10 * MS for offset in offsets)
    assert error <= 0.01


def test_waits_and_collections_are_where_the_guest_had_them() -> None:
    boot = 500 * SECOND  # the guest's clock at BEGAN
    looks = [
        look(10, spans=[(WAIT, boot + MS, boot + 9 * MS), (COLLECTION, boot + 9 * MS, boot + int(9.8 * MS))]),
        look(20, spans=[(WAIT, boot + 11 * MS, 0)]),
        look(30, spans=[(WAIT, boot + 11 * MS, 0)]),
    ]
    line = put_together(begin(), looks)
    assert line.seconds == pytest.approx(0.0301)
    (first, last), (collected,) = line.waits, line.collections
    off = line.errors[0] + 1e-6
    assert first == (pytest.approx(0.001, abs=off), pytest.approx(0.009, abs=off))
    assert collected == (pytest.approx(0.009, abs=off), pytest.approx(0.0098, abs=off))
    assert last == (pytest.approx(0.011, abs=off), pytest.approx(line.seconds)), "what goes on lasts to the end"


def test_a_guest_that_never_wakes_waits_all_the_time() -> None:
    line = put_together(begin(), [look(at, spans=[(WAIT, 5 * SECOND, 0)]) for at in (10, 20)])
    assert line.waits == [Span(0.0, line.seconds)]


@pytest.mark.parametrize("apart", [0, 3 * SECOND, -3 * SECOND])
def test_both_ways_of_a_card_have_one_clock(apart: int) -> None:
    """QEMU's files begin with the whole second in which they were made."""
    looks = []
    for i in range(1, 30):
        at = 1_700_000_000 * SECOND + i * 10 * MS
        packets = [(0, True, at - 3 * MS + apart, 60, "00"), (0, False, at - 2 * MS, 60, "01")]
        looks.append(look(i * 10, packets=packets))
    line = put_together(begin(net0=True), looks)
    assert [packet.comes_in for packet in line.packets] == [True, False] * 29
    gaps = [b.at - a.at for a, b in zip(line.packets[::2], line.packets[1::2], strict=True)]
    assert gaps == [pytest.approx(0.001, abs=1e-6)] * 29
    assert abs(line.packets[0].at - 0.0071) <= line.errors[1] + 1e-6


def test_nothing_that_was_seen_is_left_out() -> None:
    stack = [Frame("a.py", 3, "f")]
    line = put_together(begin(), [look(10, stack=stack), look(20, stack=None, lost=(4, 9))])
    assert [sample.stack for sample in line.samples] == [tuple(stack), None]
    assert (line.lost_spans, line.lost_packets) == (4, 9)
    assert put_together(begin(), []).seconds == 0.0
