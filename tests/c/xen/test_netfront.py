# SPDX-License-Identifier: MIT
"""modules/xen/netfront*.c: frames in, frames out, offloads, events."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.c.support.harness import EAGAIN, EMSGSIZE, Harness
from tests.c.support.netuser import LARGE_VM, SMALL_VM, pattern
from tests.c.support.xencard import (
    ALL,
    CSUM_BLANK,
    DATA_VALIDATED,
    EXTRA_INFO,
    MORE_DATA,
    PAGE,
    RX_BLANK,
    RX_VALIDATED,
    TSO,
    XenCard,
)


@pytest.fixture(scope="session")
def program(netfront: Path) -> Path:
    return netfront


@pytest.fixture
def card(h: Harness) -> XenCard:
    return XenCard(h)


# ---- receive


def test_receive(card: XenCard) -> None:
    card.up()
    assert card.take() == EAGAIN
    for n in (14, 60, 1514, PAGE):
        card.receive(pattern(n))
        frame = card.frame()
        assert (frame.data, frame.segments, frame.csum_good) == (pattern(n), 1, False)
        card.give_back(frame)
    assert card.take() == EAGAIN
    assert card.buffers() == 256


@pytest.mark.parametrize("offset", [2, 256])
def test_receive_at_an_offset(card: XenCard, offset: int) -> None:
    card.up()
    card.receive(pattern(6000), offset=offset)
    frame = card.frame()
    assert frame.data == pattern(6000) and frame.segments == 2


@pytest.mark.parametrize(("flags", "good"), [(0, 0), (RX_VALIDATED, 1), (RX_BLANK, 1), (RX_BLANK | RX_VALIDATED, 1)])
def test_receive_checksum_vouched_for(card: XenCard, flags: int, good: int) -> None:
    card.up().receive(pattern(60), flags=flags)
    assert card.frame().csum_good is bool(good)


@pytest.mark.parametrize(("total", "gso"), [(PAGE + 1, None), (9000, None), (30000, (1, 1448)), (65535, (2, 1428))])
def test_receive_in_pieces(card: XenCard, total: int, gso: tuple[int, int] | None) -> None:
    card.up()
    for _ in range(18):  # round the ring
        card.receive(pattern(total), RX_BLANK, gso)
        frame = card.frame()
        assert frame.data == pattern(total) and frame.segments == -(-total // PAGE)
        assert frame.offload == (1, 0, 0, *(gso or (0, 0)))  # where the sum goes is the stack's to find
        card.give_back(frame)
    assert card.buffers() == 256


def test_receive_what_nothing_is_left_to_do_of(card: XenCard) -> None:
    card.up()
    for flags, gso in ((RX_VALIDATED, None), (0, None), (0, (1, 1448))):
        card.receive(pattern(30000), RX_BLANK, (1, 1448))
        assert card.frame().offload == (1, 0, 0, 1, 1448)
        card.receive(pattern(1000), flags, gso)
        assert card.frame().offload == (0, 0, 0, 0, 0)


def test_receive_a_frame_that_comes_in_parts(card: XenCard) -> None:
    card.up()
    a, ref_a = card.buffer()
    b, ref_b = card.buffer()
    card.h.do("grant_write", ref_a, 0, pattern(PAGE).hex())
    card.h.do("grant_write", ref_b, 0, pattern(50).hex())
    card.rx.answer(struct.pack("<HHHh", a, 0, 4, PAGE))
    card.rx.push()
    assert card.take() == EAGAIN and card.take() == EAGAIN
    card.rx.answer(struct.pack("<HHHh", b, 0, 0, 50))
    card.rx.push()
    assert card.frame().data == pattern(PAGE) + pattern(50)


@pytest.mark.parametrize("how", ["runt", "empty", "error", "dropped", "copy failed", "second part lost", "too long"])
def test_no_frame_is_dropped_and_its_buffers_kept(card: XenCard, how: str) -> None:
    card.up()
    for n in range(1, 20 if how == "too long" else 300):
        if how == "too long":
            card.receive(pattern(65536), 0, (1, 1448))
        elif how == "second part lost":
            card.rsp(flags=4, status=PAGE)
            card.rsp(status=-1)
        else:
            card.rsp(status={"runt": 13, "empty": 0, "error": -1, "dropped": -2, "copy failed": -12}[how])
        card.rx.push()
        assert card.take() == EAGAIN
        assert card.stats().rx_dropped == n and card.buffers() == 256
    card.receive(pattern(60))
    assert card.frame().data == pattern(60)


def test_the_backend_hears_of_buffers_of_dropped_frames(card: XenCard) -> None:
    """The stack got nothing, so that it does not kick."""
    card.up().kick()
    card.rx.poke(4, struct.pack("<I", card.rx.indices()[0] + 1))  # the backend has seen all buffers
    before = card.notified()
    card.rsp(status=-1)
    card.rx.push()
    assert card.take() == EAGAIN
    assert card.notified() == before + 1


@pytest.mark.parametrize(
    ("ram", "mtu", "total", "left"),
    [
        (SMALL_VM, 1500, 1518, -1),
        (SMALL_VM, 9000, 9018, -1),
        (SMALL_VM, 60000, 60018, -1),
        (LARGE_VM, 1500, 65535, -1),
        (LARGE_VM, 1500, 65535, 2 + 2 * 60),
        (LARGE_VM, 9000, 9018, 2 + 2 * 20),
    ],
)
def test_what_the_stack_may_keep_leaves_room(card: XenCard, ram: int, mtu: int, total: int, left: int) -> None:
    card.h.do("hal", "mem_total", ram)
    card.h.do("xs_set", f"{card.back.front}/mtu", mtu)
    card.h.do("xen", "grants_left", left)
    card.up(**ALL)
    for _ in range(card.h.number("told", 0) // 2):  # frames as large as can be
        card.receive(pattern(total))
        card.frame()
    for _ in range(3):
        card.receive(pattern(total))
        card.give_back(card.frame())


def test_the_stack_may_hold_all(card: XenCard) -> None:
    card.up()
    for _ in range(256):
        card.receive(pattern(60))
    held = [card.frame() for _ in range(256)]
    assert card.take() == EAGAIN and card.buffers() == 0
    for frame in reversed(held):
        card.give_back(frame)
    assert card.buffers() == 256


# ---- send


def test_send(card: XenCard) -> None:
    card.up(**ALL)
    for cookie, lengths in enumerate([(14,), (60,), (1000, 514), (14, 20, 20, 1464)], 1):
        assert card.send(cookie, *lengths) == 0
        (r,) = requests = card.sent()
        assert (r.flags, r.offset, r.size) == (0, 0, sum(lengths))
        assert card.bytes_of(requests) == pattern(sum(lengths))
        assert card.h.do("grant", r.ref).split()[1] == "1"  # read-only
        assert card.returned() == 0
        card.complete(requests)
        assert card.returned() == cookie and card.returned() == 0
    assert (card.stats().tx_frames, card.stats().tx_bytes) == (4, 14 + 60 + 1514 + 1518)


def test_what_is_on_its_way_has_pages_of_its_own(card: XenCard) -> None:
    card.up(**ALL)
    assert card.send(1, 60) == 0 and card.send(2, 14, 1500) == 0
    for _ in range(card.buffers()):
        card.receive(b"\xff" * 1514)
    assert card.bytes_of(card.sent()) == pattern(60) and card.bytes_of(card.sent()) == pattern(1514)


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("lengths", [(54, 3000), (100, 65435), (54, *[1460] * 19), (PAGE, PAGE)])
def test_send_large(card: XenCard, lengths: tuple[int, ...], kind: int) -> None:
    card.up(**ALL)
    total = sum(lengths)
    for cookie in range(1, 20):  # round the ring
        assert card.send(cookie, *lengths, **TSO | {"gso": kind}) == 0
        requests = card.sent()
        assert requests[0].flags & ~MORE_DATA == CSUM_BLANK | DATA_VALIDATED | EXTRA_INFO
        assert requests[1].extra == struct.pack("<BBHBBH", 1, 0, 1460, kind, 0, 0)
        assert len(requests) == 1 + -(-total // PAGE) <= 18
        assert requests[0].size == total and card.bytes_of(requests) == pattern(total)
        card.complete(requests)
        assert card.returned() == cookie


@pytest.mark.parametrize(("v6", "features"), [(False, {}), (True, {"feature__ipv6__csum__offload": 1})])
def test_send_checksum_left_to_the_backend(card: XenCard, v6: bool, features: dict[str, int]) -> None:
    card.up(**features)
    assert card.send(1, 600, csum=1, start=34, offset=16) == 0
    assert card.sent()[0].flags == CSUM_BLANK | DATA_VALIDATED


@pytest.mark.parametrize("total", [60, 61, 801, 867, 1514, PAGE, 9001])
def test_send_checksum_made_by_us(card: XenCard, total: int) -> None:
    """Of 801 and 867 bytes the sum has a carry when it was folded once."""
    card.h.do("xs_set", f"{card.back.front}/mtu", 9000)
    card.up(feature__sg=1, feature__no__csum__offload=1)
    assert card.send(1, 50, total - 50, csum=1, start=34, offset=16) == 0
    requests = card.sent()
    assert requests[0].flags & ~MORE_DATA == 0
    out, want = card.bytes_of(requests), pattern(total)
    part = want[34:] + bytes(total % 2)
    s = sum(struct.unpack(f">{len(part) // 2}H", part))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    assert out == want[:50] + struct.pack(">H", ~s & 0xFFFF) + want[52:]


@pytest.mark.parametrize(
    ("lengths", "offload"),
    [
        ((13,), {}),
        ((1519,), {}),
        ((1,) * 21, {}),
        ((60,), {"csum": 1, "start": 50, "offset": 9}),
        ((60,), {"csum": 1, "start": 34, "offset": 17}),
        ((54, 65482), TSO),
        ((54,), TSO),
        ((54, 3000), TSO | {"size": 0}),
        ((54, 3000), TSO | {"csum": 0}),
    ],
)
def test_what_cannot_be_sent(card: XenCard, lengths: tuple[int, ...], offload: dict[str, int]) -> None:
    card.up(**ALL)
    assert card.send(1, *lengths, **offload) == EMSGSIZE
    assert card.sent() == [] and card.send(1, 60) == 0


def test_answers_in_any_order(card: XenCard) -> None:
    card.up(**ALL)
    frames = []
    for cookie in range(1, 15):
        assert card.send(cookie, 54, 10000, **TSO) == 0
        frames.append(card.sent())
    for requests in reversed(frames):
        card.complete(requests[::-1])
    assert [card.returned() for _ in range(15)] == [*range(14, 0, -1), 0]


def test_a_frame_is_back_when_all_of_it_was_answered(card: XenCard) -> None:
    card.up(**ALL)
    assert card.send(1, 54, 10000, **TSO) == 0
    requests = card.sent()
    for r in requests:
        assert card.returned() == 0
        card.complete([r])
    assert card.returned() == 1


@pytest.mark.parametrize("status", [-1, -2])
def test_a_frame_that_the_backend_could_not_send_is_back_too(card: XenCard, status: int) -> None:
    card.up()
    assert card.send(1, 60) == 0
    card.complete(card.sent(), status)
    assert card.returned() == 1 and not card.nic().dead


@pytest.mark.parametrize(("ram", "count"), [(SMALL_VM, 64), (LARGE_VM, 256)])
def test_full(card: XenCard, ram: int, count: int) -> None:
    card.h.do("hal", "mem_total", ram)
    card.up(**ALL)
    for cookie in range(1, count + 1):
        assert card.send(cookie, 60) == 0
    assert card.send(4000, 60) == EAGAIN
    assert card.stats().tx_full == 1
    frames = [card.sent() for _ in range(count)]
    card.complete(frames[0])
    assert card.returned() == 1
    assert card.send(1, 60) == 0 and card.send(4000, 60) == EAGAIN


def test_an_extra_info_needs_room_too(card: XenCard) -> None:
    card.up(**ALL)
    frames = []
    for cookie in range(1, 129):  # a page and an extra info each: the ring is full before the pages are used up
        assert card.send(cookie, 54, 1000, **TSO) == 0
        frames.append(card.sent())
    assert card.send(4000, 54, 1000, **TSO) == EAGAIN and card.send(4000, 60) == EAGAIN
    card.complete(frames[0])
    assert card.returned() == 1 and card.returned() == 0  # the extra info's answer is taken too
    assert card.send(4000, 54, 1000, **TSO) == 0


# ---- events


def test_one_notification_a_kick_and_only_if_wanted(card: XenCard) -> None:
    card.up(**ALL)
    assert card.kick() == 0  # it was told of the buffers when it was connected
    card.tx.want()
    for cookie in (1, 2, 3):
        card.send(cookie, 60)
    card.receive(pattern(60))
    card.rx.want()
    card.give_back(card.frame())
    assert card.kick() == 1 and card.kick() == 0
    card.send(4, 60)
    assert card.kick() == 0  # nobody asked
    for _ in range(4):
        card.sent()
    card.tx.want()
    card.send(5, 60)
    assert card.kick() == 1


def test_an_event_for_the_next_frame_once_armed(card: XenCard) -> None:
    card.up()
    card.receive(pattern(60))
    assert card.arm() == 1
    card.frame()
    assert card.arm() == 0
    assert card.receive(pattern(60)) is True
    assert card.receive(pattern(60)) is False  # one is enough
    assert card.arm() == 1


def test_sent_frames_wake_only_who_waits_for_room(card: XenCard) -> None:
    card.up()
    for cookie in range(1, 257):
        card.send(cookie, 60)
    frames = [card.sent() for _ in range(256)]
    assert card.arm() == 0
    card.complete(frames[0])  # asked for when the ring was made, by its first state
    assert card.complete(frames[1]) is False
    assert card.arm() == 0
    assert card.send(4000, 60) == EAGAIN
    assert card.arm() == 1
    assert card.returned() == 1 and card.returned() == 2
    for cookie in (1, 2):
        assert card.send(cookie, 60) == 0
    assert card.send(4000, 60) == EAGAIN
    assert card.arm() == 0
    assert [card.complete(frames[k]) for k in range(2, 130)].index(True) == 127  # half of what is out


def test_a_sent_frame_wakes_the_stack_that_wants_to_know(card: XenCard) -> None:
    card.up()
    card.send(1, 60)
    card.complete(card.sent())  # asked for by the ring's first state
    card.returned()
    card.send(2, 60)
    assert card.arm() == 0 and card.complete(card.sent()) is False
    card.returned()
    card.h.do("wanted", 0, 1)
    card.send(3, 60)
    assert card.arm() == 0 and card.complete(card.sent()) is True
    assert card.arm() == 1


def test_a_pending_event_is_taken(card: XenCard) -> None:
    card.up()
    card.h.do("port_raise", card.port)
    assert card.h.do("port", card.port).split()[2] == "1"
    assert card.arm() == 0
    assert card.h.do("port", card.port).split()[2] == "0"
