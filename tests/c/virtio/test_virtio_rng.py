# SPDX-License-Identifier: MIT
"""modules/virtio/virtio_rng.c: a seed at boot without waiting for long, refreshed later, and lies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.c.support.harness import ENOMEM, RNG, VERSION_1, Device, Harness

MINUTE_NS = 60_000_000_000
SEED = bytes(range(64))


@pytest.fixture
def dev(h: Harness, device: Callable[[int], Device]) -> Device:
    return device(RNG)


def entropy(h: Harness) -> list[str]:
    found = [e.split(" ")[1] for e in h.events if e.startswith("ENTROPY")]
    h.events.clear()
    return [f for f in found if f]


def probe(h: Harness) -> int:
    return h.number("probe", "virtio-rng")


def answer(dev: Device, data: bytes) -> None:
    chain = dev.take(0)
    assert chain.writable == [64] and chain.readable == []
    dev.fill(0, chain, data)
    dev.used(0, chain.head, len(data))


def test_no_device(h: Harness) -> None:
    assert probe(h) == 0


def test_a_slow_host_does_not_hold_the_boot(h: Harness, dev: Device) -> None:
    """No answer during probe: it gives up within 2 ms of simulated time, and the answer is taken later."""
    assert probe(h) == 1
    assert h.number("clock") < 5_000_000
    assert entropy(h) == []
    assert h.number("run") == 0
    answer(dev, SEED)
    assert h.number("run") == 1
    assert entropy(h) == [SEED.hex()]


def test_seeded_machine_does_not_wait_at_all(h: Harness, dev: Device) -> None:
    h.do("hal", "seeded", 1)
    assert probe(h) == 1
    assert h.number("clock") < 100_000


def test_answer_during_probe(h: Harness, dev: Device) -> None:
    h.do("hal", "answer_rng", dev.index)
    assert probe(h) == 1
    assert len(entropy(h)) == 1
    assert h.number("clock") < 1_000_000


def test_refresh_after_a_minute_only(h: Harness, dev: Device) -> None:
    assert probe(h) == 1
    for _ in range(3):
        answer(dev, SEED)
        assert h.number("run") == 1
        assert h.number("run") == 0 and dev.next(0) is None
        h.do("hal", "advance", MINUTE_NS - 1_000_000)
        h.do("run")
        assert dev.next(0) is None
        h.do("hal", "advance", 2_000_000)
        h.do("run")
    assert dev.get("queue0.notified") == 4  # each time: no event index was agreed on


def test_a_seed_is_not_kept(h: Harness, dev: Device) -> None:
    """Where the device wrote it: the buffer is the next request's, too."""
    assert probe(h) == 1
    answer(dev, SEED)
    assert h.number("run") == 1 and entropy(h) == [SEED.hex()]
    h.do("hal", "advance", 2 * MINUTE_NS)
    h.do("run")
    assert dev.look(0, dev.take(0)) == bytes(64)


def test_one_request_at_a_time(h: Harness, dev: Device) -> None:
    assert probe(h) == 1
    for _ in range(10):
        h.do("hal", "advance", MINUTE_NS)
        h.do("run")
    assert len(dev.drain(0)) == 1


def test_nobody_is_woken(h: Harness, dev: Device) -> None:
    dev.set(features=VERSION_1 | 1 << 29)
    assert probe(h) == 1
    assert h.number("evarm") == 0
    answer(dev, SEED)
    assert h.number("wantirq", dev.index, 0, 1, 1) == 0


@pytest.mark.parametrize("n", [0, 1, 63, 64])
def test_short_answers(h: Harness, dev: Device, n: int) -> None:
    assert probe(h) == 1
    answer(dev, SEED[:n])
    h.do("run")
    assert entropy(h) == ([SEED[:n].hex()] if n else [])


@pytest.mark.parametrize(("head", "length", "reason"), [
    (1, 64, "used id beyond the queue"),
    (0xFFFFFFFF, 64, "used id beyond the queue"),
    (0, 65, "used length beyond the buffer"),
])  # fmt: skip
def test_lies(h: Harness, dev: Device, head: int, length: int, reason: str) -> None:
    assert probe(h) == 1
    dev.take(0)
    dev.used(0, head, length)
    assert h.number("run") == 0
    assert reason in h.log[0] and dev.get("status") == 0
    assert entropy(h) == []
    assert h.number("run") == 0 and h.number("evarm") == 0 and len(h.log) == 1


def test_id_twice(h: Harness, dev: Device) -> None:
    assert probe(h) == 1
    answer(dev, SEED)
    h.do("run")
    dev.used(0, 0, 64)
    h.do("run")
    assert len(entropy(h)) == 1
    assert "used index jumped" in h.log[0]


@pytest.mark.parametrize("left", range(3))
def test_every_allocation_fails_once(h: Harness, dev: Device, left: int) -> None:
    h.do("hal", "dma_left", left)
    assert probe(h) == ENOMEM and dev.get("status") == 0
