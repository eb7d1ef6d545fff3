# SPDX-License-Identifier: MIT
"""modules/xen/netfront_xs.c: the handshake, and cards that come and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import EAGAIN, EMSGSIZE, ENOMEM, Harness
from tests.c.support.netuser import F_TX_TSO4, F_TX_TSO6, LARGE_VM, SMALL_VM, pattern
from tests.c.support.xen_harness import CLOSED, CLOSING, CONNECTED, INIT_WAIT, INITIALISING
from tests.c.support.xencard import ALL, PAGE, TSO, USUAL, XenCard


@pytest.fixture(scope="session")
def program(netfront: Path) -> Path:
    return netfront


@pytest.fixture
def card(h: Harness) -> XenCard:
    return XenCard(h)


# ---- handshake


def test_no_xen(h: Harness) -> None:
    h.do("xen", "absent", 1)
    assert h.number("probe") == 0


def test_no_card(h: Harness) -> None:
    assert h.number("probe") == 0 and h.log == []


def test_comes_up(card: XenCard) -> None:
    card.up(**ALL)
    assert card.nic() == ("00163e123456", 1500, USUAL | F_TX_TSO4 | F_TX_TSO6, False)
    told = ("request-rx-copy", "feature-rx-notify", "feature-sg", "feature-ipv6-csum-offload", "feature-gso-tcpv4")
    assert [card.back.get(name) for name in told] == ["1"] * 5
    assert card.back.get("state") == str(CONNECTED)
    assert card.h.do("port", card.port).split()[:2] == ["0", "0"]  # domain 0 may bind it, and it is unmasked
    assert card.h.log == []


@pytest.mark.parametrize(("ram", "count", "gso"), [(SMALL_VM, 64, "0"), (LARGE_VM, 256, "1")])
def test_memory_fits_the_machine(card: XenCard, ram: int, count: int, gso: str) -> None:
    card.h.do("hal", "mem_total", ram)
    card.up()
    assert card.buffers() == count
    assert card.back.get("feature-gso-tcpv4") == gso
    assert card.h.number("grants") == 2 + 2 * count


@pytest.mark.parametrize(
    ("features", "takes"),
    [
        ({}, USUAL),
        (ALL, USUAL | F_TX_TSO4 | F_TX_TSO6),
        (ALL | {"feature__sg": 0}, USUAL),
        (ALL | {"feature__no__csum__offload": 1}, USUAL | F_TX_TSO6),
        (ALL | {"feature__ipv6__csum__offload": 0}, USUAL | F_TX_TSO4),
        (ALL | {"feature__gso__tcpv4": 0}, USUAL | F_TX_TSO6),
    ],
)
def test_features(card: XenCard, features: dict[str, int], takes: int) -> None:
    card.up(**features)
    assert card.nic().features == takes


@pytest.mark.parametrize(("mtu", "seen"), [("9000", 9000), ("1400", 1400), ("68", 68), ("65535", 65517)])
def test_mtu(card: XenCard, mtu: str, seen: int) -> None:
    card.h.do("xs_set", f"{card.back.front}/mtu", mtu)
    assert card.up(feature__sg=1).nic().mtu == seen


def test_mtu_is_one_page_where_frames_cannot_be_in_pieces(card: XenCard) -> None:
    card.h.do("xs_set", f"{card.back.front}/mtu", 9000)
    assert card.up().nic().mtu == PAGE - 18
    assert card.send(1, PAGE) == 0 and card.send(2, PAGE + 1) == EMSGSIZE


def test_several_cards_in_order(h: Harness) -> None:
    numbers = (7, 0, 12, 3)
    cards = {n: XenCard(h, n, mac=f"00:16:3e:00:00:{n:02x}") for n in numbers}
    assert h.number("probe") == 4
    assert [h.do("nic", i).split()[0] for i in range(4)] == [f"00163e0000{n:02x}" for n in sorted(numbers)]
    assert all(card.back.get("state") == str(CONNECTED) for card in cards.values())


def test_more_cards_than_there_can_be(h: Harness) -> None:
    for n in range(10):
        XenCard(h, n)
    assert h.number("probe") == 8


def test_a_backend_that_is_slow(card: XenCard) -> None:
    card.back.state(INITIALISING)
    assert card.h.number("probe") == 1
    assert card.h.number("link", 0) == 0 and card.send(1, 60) == EMSGSIZE and card.take() == EAGAIN
    assert card.arm() == 0
    assert card.h.log == ["xen vif/0: the backend is not ready: no link yet (-110)"]
    card.back.state(INIT_WAIT)
    card.h.do("run")
    assert card.h.number("link", 0) == 1
    card.attach().receive(pattern(60))
    assert card.frame().data == pattern(60)


@pytest.mark.parametrize("state", [CLOSING, CLOSED])
def test_a_backend_that_gives_up_at_the_start(card: XenCard, state: int) -> None:
    """It waits for our answer: it gets it, and the start is not held up."""
    card.back.when(CONNECTED, state)
    before = card.h.number("clock")
    assert card.h.number("probe") == 1
    assert int(card.back.get("state")) in (CLOSED, INITIALISING)  # from the first it goes on to the second by itself
    assert card.h.number("clock") - before < 1_000_000_000
    assert card.h.number("grants") == 0


# ---- coming and going


def test_taken_down_and_up_again(card: XenCard) -> None:
    """The backend closes and stays: we begin again with it."""
    card.up(**ALL)
    for cookie in (1, 2, 3):
        assert card.send(cookie, 54, 10000, **TSO) == 0
    card.receive(pattern(60))
    held = card.frame()
    card.receive(pattern(61))
    card.h.do("xs_react", f"{card.back.front}/state", INITIALISING, f"{card.back.back}/state", INIT_WAIT)
    card.back.state(CLOSING)
    card.h.do("run")
    for _ in range(4):
        card.h.do("run")
    assert card.back.get("state") == str(CONNECTED) and card.h.number("link", 0) == 1
    card.attach()
    assert sorted(card.returned() for _ in range(4)) == [0, 1, 2, 3]
    assert card.take() == EAGAIN and card.buffers() == 255  # one is held by the stack
    card.give_back(held)
    assert card.buffers() == 256
    assert card.h.number("grants") == 2 + 512
    assert len(card.h.do("ports").split()) == 1
    for cookie in range(1, 257):
        assert card.send(cookie, 60) == 0
    card.receive(pattern(62))
    assert card.frame().data == pattern(62)


def test_started_anew_without_a_word(card: XenCard) -> None:
    card.up()
    assert card.send(1, 60) == 0
    card.h.do("xs_react", f"{card.back.front}/state", INITIALISING, f"{card.back.back}/state", INIT_WAIT)
    card.back.state(INIT_WAIT)
    for _ in range(4):
        card.h.do("run")
    assert card.h.number("link", 0) == 1
    card.attach()
    assert card.returned() == 1
    card.receive(pattern(60))
    assert card.frame().data == pattern(60)


def test_started_anew_has_to_see_our_end_first(h: Harness) -> None:
    """It may have taken what our folder still said for a contact."""
    card = XenCard(h, follows=False).up()
    card.back.state(INIT_WAIT)
    for _ in range(3):
        card.h.do("run")
    card.back.state(INIT_WAIT)
    card.h.do("run")
    assert card.back.get("state") == str(CLOSED) and card.h.number("grants") == 0
    card.back.state(CLOSED)
    card.h.do("run")
    assert card.back.get("state") == str(INITIALISING)
    card.back.state(INIT_WAIT)
    for _ in range(3):
        card.h.do("run")
    assert card.back.get("state") == str(CONNECTED) and card.h.number("link", 0) == 1


@pytest.mark.parametrize("number", [0, 5])
def test_pulled_and_plugged(card: XenCard, number: int) -> None:
    h = card.h
    card.up()
    assert card.send(1, 60) == 0
    card.back.set(online=0)
    card.back.state(CLOSING)
    h.do("run")
    assert card.back.get("state") == str(CLOSED) and h.number("link", 0) == 0
    assert card.returned() == 1 and card.send(2, 60) == EMSGSIZE and card.take() == EAGAIN and card.arm() == 0
    h.do("run")
    assert card.back.get("state") == str(CLOSED)  # it is being removed: we do not begin again
    h.do("xs_rm", card.back.front)
    h.do("xs_rm", card.back.back)
    for _ in range(3):
        h.do("run")
    assert h.number("grants") == 0 and h.do("ports").strip() == ""
    again = XenCard(h, number, mac="00:16:3e:99:99:99")
    for _ in range(3):
        h.do("run")
    assert h.number("link", 0) == 1
    again.attach().receive(pattern(60))
    assert again.frame().data == pattern(60)
    assert again.nic().mac == "00163e123456"  # the stack knows it by that
    assert h.log == []


def test_plugged_into_the_card_of_its_number(h: Harness) -> None:
    cards = [XenCard(h, n, n) for n in range(3)]
    cards[0].up()
    for n in (1, 2):
        h.do("xs_rm", cards[n].back.front)
        h.do("xs_rm", cards[n].back.back)
    h.do("run")
    assert [h.number("link", n) for n in range(3)] == [1, 0, 0]
    XenCard(h, 2, 2)
    for _ in range(3):
        h.do("run")
    assert [h.number("link", n) for n in range(3)] == [1, 0, 1]
    XenCard(h, 9, 1)
    for _ in range(3):
        h.do("run")
    assert [h.number("link", n) for n in range(3)] == [1, 1, 1]
    XenCard(h, 10)  # nobody is left for it
    for _ in range(3):
        h.do("run")
    assert h.do("xs_get", "device/vif/10/state") == str(INITIALISING) and h.log == []


def test_what_a_backend_still_has_mapped_is_left_alone(card: XenCard) -> None:
    card.up(**ALL)
    assert card.send(1, 54, 10000, **TSO) == 0
    requests = card.sent()
    held = [r.ref for r in requests if not r.extra]
    for ref in (*held, card.tx.ref, card.rx.ref):
        card.h.do("grant_hold", ref, 1)
    before = card.bytes_of(requests)
    card.h.do("xs_react", f"{card.back.front}/state", INITIALISING, f"{card.back.back}/state", INIT_WAIT)

    def restart() -> None:
        card.back.state(CLOSING)
        for _ in range(4):
            card.h.do("run")
        assert card.h.number("link", 0) == 1

    restart()
    old_tx = card.tx
    card.attach()
    assert card.returned() == 1 and card.tx.ref != old_tx.ref
    for cookie in range(1, 257 - len(held)):
        assert card.send(cookie, 60) == 0
    assert card.send(4000, 60) == EAGAIN
    assert card.bytes_of(requests) == before and old_tx.indices()[0] == len(requests)
    for ref in held:
        card.h.do("grant_hold", ref, 0)
    restart()
    card.attach()
    while card.returned():
        pass
    for cookie in range(1, 257):
        assert card.send(cookie, 60) == 0


def test_a_backend_that_keeps_every_ring(card: XenCard) -> None:
    card.up()
    card.h.do("xs_react", f"{card.back.front}/state", INITIALISING, f"{card.back.back}/state", INIT_WAIT)
    for n in range(4):
        card.attach()
        card.h.do("grant_hold", card.tx.ref, 1)
        card.h.do("grant_hold", card.rx.ref, 1)
        card.back.state(CLOSING)
        for _ in range(4):
            card.h.do("run")
        assert card.h.number("link", 0) == (n < 2)
    assert card.h.log[-1] == "xen vif/0: too few pages can be granted (-28)"


def test_a_neighbour_does_not_notice(h: Harness) -> None:
    a, b = XenCard(h, 0, 0), XenCard(h, 1, 1)
    a.up()
    b.attach()
    a.back.set(online=0)
    a.back.state(CLOSING)
    h.do("run")
    assert h.number("link", 0) == 0 and h.number("link", 1) == 1
    b.receive(pattern(60))
    assert b.frame().data == pattern(60)


def test_no_memory(h: Harness) -> None:
    XenCard(h)
    h.do("hal", "dma_left", 2)
    assert h.number("probe") == ENOMEM
    assert h.log == ["xen vif/0: no memory for packet buffers (-12)"]


# ---- what fails for a moment


@pytest.mark.parametrize("what", ["grants", "port", "event-channel", "feature-sg", "state"])
def test_a_handshake_that_failed_is_tried_again(card: XenCard, what: str) -> None:
    """At the start, for longer than that lasts. One line says what; the pauses grow."""
    if what in ("grants", "port"):
        card.h.do("xen", "ports_left" if what == "port" else "grants_left", 0)
    else:
        card.h.do("xs_fail", f"{card.back.back if what == 'feature-sg' else card.back.front}/{what}", 12, 8)
    assert card.h.number("probe") == 1
    card.h.do("wait", 1_000_000_000)
    assert card.h.number("link", 0) == 0 and card.h.number("grants") == 0 and card.h.do("ports").strip() == ""
    assert len(card.h.log) == 1, card.h.log
    assert card.h.number("evleft") <= 30_000_000_000
    card.h.do("xen", "ports_left", -1)
    card.h.do("xen", "grants_left", -1)
    card.h.do("wait", 60_000_000_000)
    assert card.h.number("link", 0) == 1 and len(card.h.log) == 1
    assert card.h.number("evleft") == 0xFFFFFFFFFFFFFFFF  # nothing is left to do
    card.attach().receive(pattern(60))
    assert card.frame().data == pattern(60)


@pytest.mark.parametrize("where", ["front/state", "back/state", "back/online", "back"])
def test_an_end_that_could_not_be_followed_at_once(card: XenCard, where: str) -> None:
    """The backend goes and stays: what could not be read or written for a moment is done later, with one line."""
    card.up()
    side, _, name = where.partition("/")
    folder = card.back.front if side == "front" else card.back.back
    card.h.do("xs_fail", f"{folder}/{name}" if name else folder, 12, 3)
    card.back.state(CLOSING)
    card.h.do("wait", 10_000_000_000)
    assert card.back.get("state") == str(INITIALISING) and len(card.h.log) == 1, card.h.log
    card.back.state(INIT_WAIT)
    card.h.do("run")
    assert card.h.number("link", 0) == 1 and len(card.h.log) == 1
    card.attach().receive(pattern(60))
    assert card.frame().data == pattern(60)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize(
    "states", [(INIT_WAIT,), (INITIALISING,), (CLOSING, INIT_WAIT), (CLOSING, CONNECTED), (CLOSED, INITIALISING)]
)
def test_an_end_that_is_told_although_the_backend_went_on(h: Harness, states: tuple[int, ...], count: int) -> None:
    """Our CLOSED cannot be written, and the backend's next state comes before that is tried again."""
    card = XenCard(h, follows=False).up()
    h.do("xs_fail", f"{card.back.front}/state", 12, count)
    for state in states:
        card.back.state(state)
        h.do("run")
    h.do("wait", 10_000_000_000)
    assert card.back.get("state") == str(CLOSED) and len(h.log) == 1, h.log
    card.back.state(CLOSED)
    h.do("run")
    assert card.back.get("state") == str(INITIALISING)
    card.back.state(INIT_WAIT)
    for _ in range(2):
        h.do("run")
    assert h.number("link", 0) == 1 and len(h.log) == 1
    assert h.number("evleft") == 0xFFFFFFFFFFFFFFFF
    card.attach().receive(pattern(60))
    assert card.frame().data == pattern(60)


def test_a_folder_that_came_again_before_its_end_was_told(card: XenCard) -> None:
    card.up()
    card.h.do("xs_fail", f"{card.back.front}/backend", 12, 1)
    card.h.do("xs_rm", card.back.back)
    card.h.do("run")
    card.back.set(online=1)
    card.back.state(INIT_WAIT)
    card.h.do("wait", 1_000_000_000)
    card.back.state(INIT_WAIT)
    card.h.do("wait", 1_000_000_000)
    assert card.h.number("link", 0) == 1, card.h.log


def test_a_slow_handshake_that_failed_once_is_not_begun_again(h: Harness) -> None:
    """The backend stays in INIT_WAIT for longer than the pauses, and its state is found as before. Three lines: one each."""
    card = XenCard(h)
    card.back.set(state=INITIALISING)
    h.do("xs_fail", f"{card.back.front}/event-channel", 12, 1)
    assert h.number("probe") == 1
    h.do("xs_react", f"{card.back.front}/state", CONNECTED, f"{card.back.back}/state", INIT_WAIT)  # the last one counts
    card.back.state(INIT_WAIT)
    h.do("wait", 1_000_000_000)
    assert card.back.get("state") == str(CONNECTED)
    h.do("xs_fail", f"{card.back.back}/state", 12, 1)  # and it cannot be read for a moment
    card.back.state(INIT_WAIT)
    h.do("wait", 1_000_000_000)
    assert card.back.get("state") == str(CONNECTED) and len(h.log) == 3, h.log
    card.back.state(CONNECTED)
    h.do("run")
    assert h.number("link", 0) == 1


def test_a_store_that_cannot_tell_has_not_pulled_the_card(card: XenCard) -> None:
    card.up()
    card.h.do("xs_fail", f"{card.back.front}/backend", 12, 1)
    card.h.do("xs_rm", card.back.back)
    card.h.do("wait", 1_000_000_000)
    card.back.set(online=1)
    card.back.state(INIT_WAIT)
    card.h.do("wait", 1_000_000_000)
    assert card.h.number("link", 0) == 1, card.h.log


def test_a_contact_that_was_taken_for_refused(card: XenCard) -> None:
    """Our state was written, but XenStore's answer came too late: the backend is connected to rings that are gone."""
    card.h.do("xs_fail", f"{card.back.front}/state", 110, 1)
    card.back.state(INITIALISING)
    assert card.h.number("probe") == 1
    card.back.state(INIT_WAIT)
    card.h.do("run")
    card.h.do("xs_set", f"{card.back.front}/state", CONNECTED)
    card.back.state(CONNECTED)
    card.h.do("wait", 1_000_000_000)
    assert card.back.get("state") == str(INITIALISING)
    card.back.state(INIT_WAIT)
    card.h.do("wait", 1_000_000_000)
    assert card.h.number("link", 0) == 1
    card.attach().receive(pattern(60))
    assert card.frame().data == pattern(60)


def test_a_ninth_card_pulls_none(h: Harness) -> None:
    cards = [XenCard(h, n, n - 1) for n in range(1, 9)]
    assert h.number("probe") == 8
    ninth = XenCard(h, 0)
    h.do("run")
    assert [h.number("link", i) for i in range(8)] == [1] * 8 and ninth.back.get("state") == str(INITIALISING)
    h.do("xs_rm", cards[7].back.front)  # but it takes the place of one that really is
    h.do("run")
    assert [h.number("link", i) for i in range(8)] == [1] * 8 and ninth.back.get("state") == str(CONNECTED)
