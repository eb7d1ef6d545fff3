# SPDX-License-Identifier: MIT
"""modules/virtio/virtqueue.c: the split ring against an honest device, a model, and every lie of its own kind."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.c.support.harness import EAGAIN, EINVAL, EIO, EMSGSIZE, ENOMEM, Died, Harness


class Taken(NamedTuple):
    """What virtq_take() gave back. result: 0 or -errno; length: bytes that the device says it wrote."""

    result: int
    cookie: int
    length: int


def take(h: Harness) -> Taken:
    return Taken(*h.numbers("q_take"))


def queue(h: Harness, size: int = 8, event_idx: bool = True) -> None:
    assert h.number("q_init", size, int(event_idx)) == 0


def provide(h: Harness, cookie: int, out: int = 0, into: int = 1, length: int = 100) -> int:
    return h.number("q_provide", out, into, length, cookie)


def device_next(h: Harness) -> int:
    return int(h.do("next", "raw").split()[0])


def test_sanitizers_are_active(program: Path) -> None:
    with Harness(program) as h, pytest.raises(Died) as died:
        h.do("overflow", 64)
    assert "AddressSanitizer: heap-buffer-overflow" in died.value.report
    with Harness(program) as h, pytest.raises(Died) as died:
        h.do("shift", 40)
    assert "runtime error: shift exponent 40" in died.value.report


@pytest.mark.parametrize("size", [0, 3, 6, 100, 65535, 65536])
def test_size_must_be_a_power_of_two(h: Harness, size: int) -> None:
    assert h.number("q_init", size, 1) == EINVAL


@pytest.mark.parametrize("left", [0, 1])
def test_no_memory(h: Harness, left: int) -> None:
    h.do("hal", "dma_left", left)
    assert h.number("q_init", 8, 1) == ENOMEM


@pytest.mark.parametrize("size", [1, 2, 256, 32768])
def test_round_trip(h: Harness, size: int) -> None:
    queue(h, size)
    assert take(h).result == EAGAIN
    assert provide(h, 77) == 0
    h.do("used", "raw", 0, device_next(h), 42)
    assert take(h) == (0, 77, 42)
    assert take(h).result == EAGAIN
    assert h.do("q_state") == f"{size} 0 alive"


def test_chain_layout_and_room(h: Harness) -> None:
    queue(h, 8)
    assert provide(h, 1, out=2, into=3, length=10) == 0
    assert h.do("next", "raw").split()[1:] == ["r10", "r10", "w10", "w10", "w10"]
    assert provide(h, 2, out=4) == EAGAIN  # 5 wanted, 3 free
    assert provide(h, 2, out=9) == EMSGSIZE
    assert provide(h, 2, out=2) == 0
    assert h.do("q_state") == "0 2 alive"


def test_an_empty_chain_is_our_bug(h: Harness) -> None:
    queue(h, 8)
    with pytest.raises(Died) as died:
        provide(h, 1, out=0, into=0)
    assert died.value.status == 120 and "PANIC assertion failed" in died.value.report


def test_completions_in_any_order(h: Harness) -> None:
    queue(h, 4)
    for cookie in (1, 2, 3, 4):
        assert provide(h, cookie) == 0
    heads = [device_next(h) for _ in range(4)]
    for k in (2, 0, 3, 1):
        h.do("used", "raw", 0, heads[k], k)
    assert [take(h)[1:] for _ in range(4)] == [(3, 2), (1, 0), (4, 3), (2, 1)]


@pytest.mark.parametrize("event_idx", [False, True])
def test_indices_wrap(h: Harness, event_idx: bool) -> None:
    """More than 65536 chains through a queue of 4, two at a time."""
    queue(h, 4, event_idx)
    assert h.number("q_cycle", 70000) == 70000
    assert h.do("q_state") == "4 0 alive"


LIES: dict[str, tuple[list[tuple[str, *tuple[int, ...]]], str]] = {
    "index jumps by one too many": ([("usedidx", 3)], "used index jumped"),
    "index jumps far": ([("usedidx", 5000)], "used index jumped"),
    "index goes backwards": ([("usedidx", -1)], "used index jumped"),
    "index runs ahead 32768": ([("usedidx", 32768)], "used index jumped"),
    "id is the queue size": ([("used", 8, 0)], "used id beyond the queue"),
    "id is huge": ([("used", 0xFFFFFFFF, 0)], "used id beyond the queue"),
    "id aliases modulo 65536": ([("used", 0x10000, 0)], "used id beyond the queue"),
    "id never given": ([("used", 7, 0)], "used id not outstanding"),
    "id in the middle of a chain": ([("used", 1, 0)], "used id not outstanding"),
    "id twice": ([("used", 0, 0), ("used", 0, 0)], "used id not outstanding"),
    "length one too long": ([("used", 0, 101)], "used length beyond the buffer"),
    "length huge": ([("used", 0, 0xFFFFFFFF)], "used length beyond the buffer"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("event_idx", [False, True])
def test_device_lies(h: Harness, lie: str, event_idx: bool) -> None:
    deeds, reason = LIES[lie]
    queue(h, 8, event_idx)
    assert provide(h, 1, out=1, into=1) == 0  # descriptors 0 and 1
    assert provide(h, 2) == 0
    for verb, *args in deeds:
        h.do(verb, "raw", 0, *args)
    results = [take(h).result for _ in range(3)]
    assert EIO in results and results[-1] == EIO
    assert h.do("q_state").endswith(reason)
    assert provide(h, 3) == EIO
    assert h.number("q_kick") == 0 and h.number("q_arm", 1) == 0


@pytest.mark.parametrize("junk", [0x00, 0xFF, 0x41])
def test_rings_overwritten_by_the_device(h: Harness, junk: int) -> None:
    """What the driver wrote into shared memory does not guide it: descriptor loops and changes are nothing to it."""
    queue(h, 8)
    for cookie in (1, 2, 3):
        assert provide(h, cookie, out=1, into=1) == 0
    heads = [device_next(h) for _ in range(3)]
    h.do("scribble", "raw", 0, junk)
    for head in heads:
        h.do("used", "raw", 0, head, 100)
    assert [take(h) for _ in range(3)] == [(0, c, 100) for c in (1, 2, 3)]
    assert h.do("q_state") == "8 0 alive"
    for cookie in range(4, 8):
        assert provide(h, cookie, out=1, into=1) == 0


def test_kick_follows_the_device_flag(h: Harness) -> None:
    queue(h, 8, event_idx=False)
    assert h.number("q_kick") == 0  # nothing provided
    assert provide(h, 1) == 0 and provide(h, 2) == 0
    assert h.number("q_kick") == 1
    assert h.number("q_kick") == 0  # one decision a batch
    h.do("nonotify", "raw", 0, 1)
    assert provide(h, 3) == 0
    assert h.number("q_kick") == 0


def test_kick_follows_the_event_index(h: Harness) -> None:
    queue(h, 8)
    assert provide(h, 1) == 0 and h.number("q_kick") == 1  # avail_event 0: at the first
    assert provide(h, 2) == 0 and h.number("q_kick") == 0
    h.do("availevent", "raw", 0, 3)
    assert provide(h, 3) == 0 and h.number("q_kick") == 0
    assert provide(h, 4) == 0 and provide(h, 5) == 0 and h.number("q_kick") == 1


@pytest.mark.parametrize("event_idx", [False, True])
def test_interrupts_are_armed_and_suppressed(h: Harness, event_idx: bool) -> None:
    queue(h, 8, event_idx)
    for cookie in range(1, 8):
        assert provide(h, cookie) == 0

    def complete() -> bool:
        h.do("used", "raw", 0, device_next(h), 1)
        return h.number("wantirq", "raw", 0, int(event_idx), 1) == 1

    assert not complete()  # never armed
    assert h.number("q_arm", 1) == 1  # there is one already
    assert take(h).result == 0
    assert h.number("q_arm", 1) == 0
    assert complete()
    assert take(h).result == 0
    assert not complete()  # off again since the take
    assert h.number("q_arm", 1) == 1


def test_interrupt_after_several(h: Harness) -> None:
    queue(h, 8)
    for cookie in range(1, 8):
        assert provide(h, cookie) == 0
    assert h.number("q_arm", 3) == 0
    wants = []
    for _ in range(4):
        h.do("used", "raw", 0, device_next(h), 1)
        wants.append(h.number("wantirq", "raw", 0, 1, 1))
    assert wants == [0, 0, 1, 0]


@pytest.mark.parametrize("counts", [(3, 1), (1, 3)])
def test_who_waits_for_another_number_is_woken_at_that(h: Harness, counts: tuple[int, int]) -> None:
    queue(h, 8)
    for cookie in range(1, 8):
        assert provide(h, cookie) == 0
    for count in counts:
        assert h.number("q_arm", count) == 0
    wants = []
    for _ in range(4):
        h.do("used", "raw", 0, device_next(h), 1)
        wants.append(h.number("wantirq", "raw", 0, 1, 1))
    assert wants == [int(number == counts[-1]) for number in (1, 2, 3, 4)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("provide"), st.integers(0, 3), st.integers(0, 3), st.integers(0, 70000)),
        st.tuples(st.just("complete"), st.integers(0, 7), st.integers(0, 100)),
        st.tuples(st.just("take")),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, event_idx=st.booleans(), size=st.sampled_from([1, 2, 4, 8]))
def test_against_a_model(program: Path, steps: list[tuple[object, ...]], event_idx: bool, size: int) -> None:
    """An honest device: what the queue answers is what a list of chains and a list of completions would."""
    with Harness(program) as h:
        queue(h, size, event_idx)
        out: dict[int, tuple[int, int, int]] = {}  # head -> cookie, descriptors, writable
        done: list[tuple[int, int, int]] = []
        free, cookie = size, 0
        for step in steps:
            if step[0] == "provide":
                o, i, length = (int(str(x)) for x in step[1:])
                if o + i == 0:
                    continue
                cookie += 1
                r = provide(h, cookie, o, i, length)
                assert r == (EMSGSIZE if o + i > size else EAGAIN if o + i > free else 0)
                if r == 0:
                    free -= o + i
                    out[device_next(h)] = (cookie, o + i, i * length)
            elif step[0] == "complete" and out:
                head = sorted(out)[int(str(step[1])) % len(out)]
                c, n, writable = out.pop(head)
                written = writable * int(str(step[2])) // 100
                h.do("used", "raw", 0, head, written)
                done.append((c, n, written))
            elif step[0] == "take":
                answer = take(h)
                if done:
                    c, n, written = done.pop(0)
                    assert answer == (0, c, written)
                    free += n
                else:
                    assert answer.result == EAGAIN
        assert h.do("q_state") == f"{free} {len(out) + len(done)} alive"


def test_random_lives(h: Harness) -> None:
    assert h.do("fuzz", "queue", 1000, 1500).splitlines()[-1] == "0"
