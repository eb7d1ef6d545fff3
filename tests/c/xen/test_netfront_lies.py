# SPDX-License-Identifier: MIT
"""modules/xen/netfront*.c against a backend that lies, lacks things or dies, and a XenStore that refuses."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.c.support.harness import EAGAIN, EINVAL, EIO, EMSGSIZE, Died, Harness
from tests.c.support.netuser import SMALL_VM, pattern
from tests.c.support.xen_harness import CLOSED, CLOSING, CONNECTED, INIT_WAIT, INITIALISED, RECONFIGURING, UNKNOWN
from tests.c.support.xencard import ALL, NULL, PAGE, RX_EXTRA, RX_GSO_PREFIX, RX_MORE, TSO, XenCard

ENOENT = -2


@pytest.fixture(scope="session")
def program(netfront: Path) -> Path:
    return netfront


@pytest.fixture
def card(h: Harness) -> XenCard:
    return XenCard(h)


def gso_frame(c: XenCard, *extras: dict[str, int], more: int = 0) -> None:
    c.rsp(flags=RX_EXTRA | more, status=PAGE)
    for extra in extras:
        c.extra(**extra)


def pieces(c: XenCard, count: int) -> None:
    for k in range(count):
        c.rsp(flags=RX_MORE if k + 1 < count else 0, status=100)


RX_LIES: dict[str, tuple[Callable[[XenCard], object], str]] = {
    "another id": (lambda c: c.rsp(number=1), "received id is not that of the request"),
    "id beyond": (lambda c: c.rsp(number=256), "received id is not that of the request"),
    "id huge": (lambda c: c.rsp(number=65535), "received id is not that of the request"),
    "length beyond the page": (lambda c: c.rsp(status=4097), "received length beyond the page"),
    "length huge": (lambda c: c.rsp(status=32767), "received length beyond the page"),
    "offset and length beyond the page": (lambda c: c.rsp(offset=4000, status=97), "received length beyond the page"),
    "offset beyond the page": (lambda c: c.rsp(offset=65535, status=1), "received length beyond the page"),
    "a prefix": (lambda c: c.rsp(flags=RX_GSO_PREFIX), "received flags out of place"),
    "extra info in the middle": (
        lambda c: (c.rsp(flags=RX_MORE), c.rsp(flags=RX_EXTRA)),
        "received flags out of place",
    ),
    "extra info of no type": (lambda c: gso_frame(c, {"kind": 0}), "received extra info that nobody asked for"),
    "multicast": (lambda c: gso_frame(c, {"kind": 2}), "received extra info that nobody asked for"),
    "extra info of type 255": (lambda c: gso_frame(c, {"kind": 255}), "received extra info that nobody asked for"),
    "two of a kind": (lambda c: gso_frame(c, {"flags": 1}, {}), "received extra info that nobody asked for"),
    "no size": (lambda c: gso_frame(c, {"size": 0}), "received frame of a segmentation that nobody asked for"),
    "no such protocol": (lambda c: gso_frame(c, {"gso": 3}), "received frame of a segmentation that nobody asked for"),
    "no protocol": (lambda c: gso_frame(c, {"gso": 0}), "received frame of a segmentation that nobody asked for"),
    "21 pieces": (lambda c: pieces(c, 21), "received frame in too many pieces"),
    "all there is": (lambda c: pieces(c, 200), "received frame in too many pieces"),
}


@pytest.mark.parametrize("lie", RX_LIES)
def test_receive_lies(card: XenCard, lie: str) -> None:
    deed, reason = RX_LIES[lie]
    card.up()
    deed(card)
    card.rx.push()
    assert card.take() == EIO
    card.dead(reason)


@pytest.mark.parametrize("jump", [257, 1 << 20, -1, 1 << 31])
@pytest.mark.parametrize("ring", ["rx", "tx"])
def test_an_index_that_cannot_be(card: XenCard, ring: str, jump: int) -> None:
    card.up()
    assert card.send(1, 60) == 0
    if ring == "rx":
        card.rx.push(jump)
        assert card.take() == EIO
        card.dead("received: response index jumped")
    else:
        card.tx.push(jump)
        assert card.returned() == 0
        card.dead("sent: response index jumped")


def test_more_answers_than_requests(card: XenCard) -> None:
    card.up()
    assert card.send(1, 60) == 0
    card.complete(card.sent())
    card.tx.push(1)
    assert card.returned() == 0
    card.dead("sent: response index jumped")


def test_no_large_receive_where_it_was_not_asked_for(card: XenCard) -> None:
    card.h.do("hal", "mem_total", SMALL_VM)
    card.up()
    gso_frame(card, {})
    card.rx.push()
    assert card.take() == EIO
    card.dead("received frame of a segmentation that nobody asked for")


@pytest.mark.parametrize("extra", [False, True])
def test_a_frame_never_completed(card: XenCard, extra: bool) -> None:
    card.up()
    card.rsp(flags=RX_EXTRA if extra else RX_MORE, status=100)
    card.rx.push()
    card.never_completed()


TX_LIES: dict[str, tuple[int, int, str]] = {
    "id beyond": (256, 0, "sent: id not outstanding"),
    "id huge": (65535, 0, "sent: id not outstanding"),
    "id not outstanding": (7, 0, "sent: id not outstanding"),
    "status is none": (-1, 2, "sent: status is none"),
    "status is none below": (-1, -3, "sent: status is none"),
    "status huge": (-1, 32767, "sent: status is none"),
    "null for a request": (-1, NULL, "sent: more answers than requests"),
}


@pytest.mark.parametrize("lie", TX_LIES)
def test_send_lies(card: XenCard, lie: str) -> None:
    number, status, reason = TX_LIES[lie]
    card.up()
    assert card.send(1, 60) == 0
    (request,) = card.sent()
    card.tx.answer(struct.pack("<Hh", request.id if number < 0 else number, status))
    card.tx.push()
    assert card.returned() == 0
    card.dead(reason)


def test_a_death_is_told_while_something_else_is_tried_again(card: XenCard) -> None:
    card.up()
    card.h.do("xs_fail", f"{card.back.back}/state", 12, 1)
    card.back.state(CONNECTED)
    card.h.do("run")
    assert card.h.log == ["xen vif/0: the backend's state cannot be read (-12)"]
    card.rsp(number=1)
    card.rx.push()
    assert card.take() == EIO
    card.dead("received id is not that of the request")
    assert len(card.h.log) == 2


def test_answered_twice(card: XenCard) -> None:
    card.up(**ALL)
    assert card.send(1, 60) == 0 and card.send(2, 60) == 0
    first, _ = card.sent(), card.sent()
    card.complete(first + first)
    assert card.returned() == 1 and card.returned() == 0
    card.dead("sent: id not outstanding")


def test_part_of_a_frame_answered_twice(card: XenCard) -> None:
    card.up(**ALL)
    assert card.send(1, 54, 10000, **TSO) == 0
    requests = card.sent()
    card.complete([requests[2], requests[2]])
    assert card.returned() == 0
    card.dead("sent: id not outstanding")


def test_the_extra_info_answered_twice(card: XenCard) -> None:
    card.up(**ALL)
    assert card.send(1, 54, 10000, **TSO) == 0
    requests = card.sent()
    card.complete([requests[1], requests[1]])
    assert card.returned() == 0
    card.dead("sent: more answers than requests")


def test_an_interrupt_without_work_is_harmless(card: XenCard) -> None:
    card.up()
    for _ in range(1000):
        card.h.do("port_raise", card.port)
        assert card.arm() == 0
    assert card.take() == EAGAIN and not card.nic().dead


def test_requests_that_the_backend_scribbles_on_are_not_read_back(card: XenCard) -> None:
    card.up(**ALL)
    assert card.send(1, 54, 10000, **TSO) == 0
    requests = card.sent()
    for k in range(len(requests)):
        card.tx.poke(64 + 12 * k, b"\xff" * 12)
    card.tx.poke(0, b"\xff" * 8)
    assert card.send(2, 60) == 0
    card.complete(requests)
    assert card.returned() == 1 and not card.nic().dead


# ---- handshake


@pytest.mark.parametrize(
    ("key", "value", "err", "why"),
    [
        ("mac", None, ENOENT, "MAC address is none, a group's or zero"),
        ("mac", "00:16:3e:12:34", EINVAL, "MAC address is none, a group's or zero"),
        ("mac", "00:16:3e:12:34:5", EINVAL, "MAC address is none, a group's or zero"),
        ("mac", "00:16:3e:12:34:56:78", EINVAL, "MAC address is none, a group's or zero"),
        ("mac", "00:16:3e:12:34:567", EINVAL, "MAC address is none, a group's or zero"),
        ("mac", "00-16-3e-12-34-56", EINVAL, "MAC address is none, a group's or zero"),
        ("mac", "g0:16:3e:12:34:56", EINVAL, "MAC address is none, a group's or zero"),
        ("mac", "00:00:00:00:00:00", EINVAL, "MAC address is none, a group's or zero"),
        ("mac", "01:16:3e:12:34:56", EINVAL, "MAC address is none, a group's or zero"),
        ("mac", "x" * 2000, EINVAL, "MAC address is none, a group's or zero"),
        ("mtu", "67", EINVAL, "MTU is none, or below 68"),
        ("mtu", "large", EINVAL, "MTU is none, or below 68"),
        ("mtu", "99999999999", EINVAL, "MTU is none, or below 68"),
        ("backend", None, ENOENT, "no backend is named"),
        ("backend-id", "40000", EINVAL, "the backend's domain is none"),
    ],
)
def test_a_folder_that_is_wrong(h: Harness, key: str, value: str | None, err: int, why: str) -> None:
    bad, good = XenCard(h, 0), XenCard(h, 1)
    h.do("xs_rm" if value is None else "xs_set", f"{bad.back.front}/{key}", value or "")
    assert h.number("probe") == err
    assert h.log == [f"xen vif/0: {why} ({err})"]
    assert h.number("link", 0) == 1 and h.do("nic", 1) == "none"  # the other card is up all the same
    good.attach().receive(pattern(60))
    assert good.frame().data == pattern(60)


@pytest.mark.parametrize("name", ["feature-sg", "feature-no-csum-offload", "feature-gso-tcpv4"])
@pytest.mark.parametrize("value", ["yes", "2", "-1"])
def test_a_feature_that_is_none(card: XenCard, name: str, value: str) -> None:
    card.h.do("xs_set", f"{card.back.back}/{name}", value)
    assert card.h.number("probe") == 1
    assert card.h.number("link", 0) == 0 and card.send(1, 60) == EMSGSIZE
    assert card.h.log[0] == f"xen vif/0: {name} (-22)"
    assert card.h.number("grants") == 0


@pytest.mark.parametrize("left", [0, 1, 2, 20, 37])
def test_too_few_grants(card: XenCard, left: int) -> None:
    card.h.do("xen", "grants_left", left)
    assert card.h.number("probe") == 1
    assert card.h.number("link", 0) == 0
    assert card.h.log[0] == "xen vif/0: too few pages can be granted (-28)"
    assert card.h.number("grants") == 0 and card.h.do("ports").strip() == ""


def test_few_grants(card: XenCard) -> None:
    """What can be granted is used."""
    card.h.do("xen", "grants_left", 2 + 2 * 20)
    card.up(**ALL)
    assert card.buffers() == 20 and card.back.get("feature-gso-tcpv4") == "0"
    for n in range(1, 21):
        assert card.send(n, 60) == 0
    assert card.send(21, 60) == EAGAIN
    frames = [card.sent() for _ in range(20)]
    for requests in frames:
        card.complete(requests)
    while card.returned():
        pass
    assert card.send(1, 54, 65000, **TSO) == 0


def test_no_event_channel(card: XenCard) -> None:
    card.h.do("xen", "ports_left", 0)
    assert card.h.number("probe") == 1
    assert card.h.number("link", 0) == 0
    assert card.h.log[0].startswith("xen vif/0: no event channel")
    assert card.h.number("grants") == 0


@pytest.mark.parametrize("key", ["tx-ring-ref", "event-channel", "feature-gso-tcpv6", "state"])
def test_a_store_that_refuses(card: XenCard, key: str) -> None:
    card.h.do("xs_fail", f"{card.back.front}/{key}", 13)
    assert card.h.number("probe") == 1
    assert card.h.number("link", 0) == 0
    assert card.h.number("grants") == 0 and card.h.do("ports").strip() == ""


def test_a_store_that_dies(card: XenCard) -> None:
    card.up()
    card.h.do("xen", "dead", 1)
    card.back.state(CLOSING)
    card.h.do("run")
    assert card.take() == EAGAIN  # whatever it was, nothing broke


@pytest.mark.parametrize("states", [
    (CLOSING,), (CLOSED,), (UNKNOWN,), (INIT_WAIT,), (INITIALISED,), (RECONFIGURING, CONNECTED), (CLOSED, CONNECTED),
    (INIT_WAIT, CLOSED, INIT_WAIT, CLOSING), (CONNECTED, INIT_WAIT, CONNECTED, INIT_WAIT) * 8,
])  # fmt: skip
def test_states_in_any_order(card: XenCard, states: tuple[int, ...]) -> None:
    """Whatever the order: no grant or port is lost, and an honest start afterwards works."""
    card.up(**ALL)
    assert card.send(1, 60) == 0
    for state in states:
        card.back.state(state)
        card.h.do("run")
    while card.returned():
        pass
    card.take()
    assert not card.nic().dead
    card.back.state(CLOSED)
    for _ in range(4):
        card.h.do("run")
    card.back.state(INIT_WAIT)
    for _ in range(4):
        card.h.do("run")
    assert card.h.number("link", 0) == 1, card.h.log
    assert card.h.number("grants") == 2 + 512 and len(card.h.do("ports").split()) == 1
    card.attach().receive(pattern(60))
    assert card.frame().data == pattern(60)


def test_a_dead_card_can_be_pulled(card: XenCard) -> None:
    card.up()
    card.rsp(status=4097)
    card.rx.push()
    assert card.take() == EIO
    card.back.set(online=0)
    card.back.state(CLOSING)
    for _ in range(3):
        card.h.do("run")
    assert card.back.get("state") == str(CLOSED) and card.h.number("grants") == 0
    card.h.do("xs_rm", card.back.front)
    card.h.do("xs_rm", card.back.back)
    card.h.do("run")
    again = XenCard(card.h)
    for _ in range(3):
        card.h.do("run")
    assert card.take() == EIO and card.nic().dead  # dead is for good
    assert again.back.get("state") == "1"


def test_a_buffer_returned_twice_is_our_bug(card: XenCard) -> None:
    card.up()
    card.receive(pattern(60))
    frame = card.frame()
    card.give_back(frame)
    with pytest.raises(Died):
        card.give_back(frame)


@pytest.mark.parametrize("seed", range(0, 400, 50))
def test_random_lives(h: Harness, seed: int) -> None:
    assert h.number("fuzz", seed, 50) == 0
