# SPDX-License-Identifier: MIT
"""netfront in another domain: the card's new backend is found, and nothing of the old one is asked for or given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import EAGAIN, EIO, EMSGSIZE, ETIMEDOUT, Harness
from tests.c.support.netuser import pattern
from tests.c.support.xen_harness import CLOSED, CONNECTED, INIT_WAIT, INITIALISING, Backend
from tests.c.support.xencard import XenCard

SLOTS = 256


@pytest.fixture(scope="session")
def program(netfront: Path) -> Path:
    return netfront


@pytest.fixture
def card(h: Harness) -> XenCard:
    return XenCard(h).up(feature__sg=1)


def resume(card: XenCard, number: int = 0, *, ready: bool = True) -> None:
    """The VM wakes up in domain 2, whose card has a backend of its own."""
    h = card.h
    h.do("xs_rm", card.back.back)
    h.do("xs_rm", card.back.front)
    card.back = Backend(h, "vif", number, domain=2)
    card.back.when(CONNECTED, CONNECTED)
    card.back.when(CLOSED, CLOSED)
    card.back.set(online=1, feature__rx__copy=1, feature__rx__notify=1)
    if not ready:
        card.back.state(INITIALISING)
    h.do("resumed")


def works(card: XenCard) -> None:
    card.attach()
    frame = pattern(300)
    assert card.send(9, len(frame)) == 0
    requests = card.sent()
    assert card.bytes_of(requests) == frame
    card.complete(requests)
    assert card.returned() == 9
    card.receive(frame)
    received = card.frame()
    assert received.data == frame
    card.give_back(received)


@pytest.mark.parametrize("number", [0, 3])
def test_a_card_gets_its_new_backend(card: XenCard, number: int) -> None:
    frame = pattern(300)
    assert card.send(5, len(frame)) == 0
    card.receive(frame)
    lent = card.frame()
    resume(card, number)
    assert card.h.number("link", 0) == 0
    assert card.send(6, len(frame)) == EMSGSIZE  # lost, as on a cable that nobody holds
    assert card.returned() == 5  # the same
    card.h.do("run")
    assert card.h.number("link", 0) == 1 and card.h.log == []
    assert card.h.number("grants") == 2 + 2 * SLOTS and len(card.h.do("ports").split()) == 1
    card.give_back(lent)
    card.attach()
    assert card.buffers() == SLOTS  # the one that was lent, too
    works(card)


def test_pages_that_the_old_backend_held_are_free(card: XenCard) -> None:
    card.h.do("grant_hold", card.tx.ref, 1)
    card.h.do("grant_hold", card.buffer()[1], 1)
    card.back.state(INIT_WAIT)
    card.h.do("run")
    resume(card)
    card.h.do("run")
    assert card.h.number("grants") == 2 + 2 * SLOTS
    works(card)


def test_a_backend_that_is_not_ready_yet(card: XenCard) -> None:
    resume(card, ready=False)
    card.h.do("run")
    assert card.h.number("link", 0) == 0
    card.back.state(INIT_WAIT)
    card.h.do("run")
    works(card)


def test_a_card_that_does_not_come_along_may_come_later(card: XenCard) -> None:
    h = card.h
    h.do("xs_rm", card.back.front)
    h.do("resumed")
    h.do("run")
    assert h.number("link", 0) == 0 and h.number("grants") == 0 and h.do("ports").split() == []
    card.back = Backend(h, "vif", 0, domain=2)
    card.back.when(CONNECTED, CONNECTED)
    card.back.set(online=1)
    h.do("run")
    works(card)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("err", [EAGAIN, EIO, ETIMEDOUT])
@pytest.mark.parametrize("where", ["cards", "front/backend", "front/backend-id", "back/state", "front", "back"])
def test_a_store_that_cannot_tell_yet_is_asked_again(card: XenCard, where: str, err: int, count: int) -> None:
    """A line for what failed first, one more where two things did; nothing is left to do once the card is up."""
    h = card.h
    h.do("xs_rm", card.back.back)
    h.do("xs_rm", card.back.front)
    card.back = Backend(h, "vif", 0, domain=2)
    card.back.when(CONNECTED, CONNECTED)
    card.back.set(online=1, feature__rx__copy=1)
    side, _, name = where.partition("/")
    folder = {"cards": "device/vif", "front": card.back.front, "back": card.back.back}[side]
    h.do("xs_fail", f"{folder}/{name}".rstrip("/"), -err, count)
    h.do("resumed")
    h.do("run")
    h.do("wait", 20_000_000_000)
    works(card)
    assert 1 <= len(h.log) <= 2 and f"({err})" in h.log[0], h.log
    assert h.number("evleft") == 0xFFFFFFFFFFFFFFFF


@pytest.mark.parametrize("where", ["", "/0/backend-id"])
def test_a_store_that_stays_silent_is_asked_ever_more_rarely(card: XenCard, where: str) -> None:
    h = card.h
    h.do("xs_fail", f"device/vif{where}", 110)
    resume(card)
    h.do("run")
    h.do("xs_log")
    h.do("wait", 60_000_000_000)
    asked = h.do("xs_log").splitlines()
    assert asked.count("L device/vif" if where == "" else "R device/vif/0/backend-id") in range(8, 11)
    assert len(h.log) == 1, h.log


def test_a_card_that_is_seen_not_to_be_here_later(card: XenCard) -> None:
    h = card.h
    resume(card)
    h.do("xs_fail", f"{card.back.front}/backend-id", 11, 1)
    h.do("run")
    h.do("xs_rm", card.back.front)
    h.do("xs_rm", card.back.back)
    h.do("wait", 1_000_000_000)
    assert h.number("link", 0) == 0 and h.number("evleft") == 0xFFFFFFFFFFFFFFFF
    card.back = Backend(h, "vif", 0, domain=2)
    card.back.when(CONNECTED, CONNECTED)
    card.back.set(online=1)
    h.do("run")
    works(card)


def test_a_new_backend_that_lies(card: XenCard) -> None:
    """As with the first: one line, and the card is dead; also where the VM goes on from there."""
    resume(card)
    card.h.do("run")
    card.attach()
    card.tx.push(3)
    assert card.returned() == 0
    resume(card)
    card.h.do("run")
    assert card.nic().dead and card.h.number("link", 0) == 0
    assert [line.partition("(")[0] for line in card.h.log] == ["xen vif/0: sent: response index jumped "]
    assert card.h.do("ports").split() == [] and card.h.number("grants") == 0
