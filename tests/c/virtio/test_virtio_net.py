# SPDX-License-Identifier: MIT
"""modules/virtio/virtio_net.c over both transports: frames in, frames out, offloads, interrupts."""

from __future__ import annotations

import struct

import pytest

from tests.c.support.harness import EAGAIN, EMSGSIZE, NET, VERSION_1, Device, Died, Harness
from tests.c.support.netcard import (
    ADDRESS,
    CSUM,
    EVERYTHING,
    GUEST_CSUM,
    GUEST_TSO4,
    GUEST_TSO6,
    HOST_TSO4,
    HOST_TSO6,
    MAC,
    MRG_RXBUF,
    MTU,
    RX,
    TX,
    USUAL,
    Card,
)
from tests.c.support.netuser import F_RX_CSUM, F_TX_CSUM, F_TX_TSO4, F_TX_TSO6, LARGE_VM, SMALL_VM, pattern


def test_no_device(h: Harness) -> None:
    assert h.number("probe", "virtio-net") == 0


def test_comes_up(card: Card) -> None:
    card.up()
    assert card.nic() == (ADDRESS.hex(), 1500, 0, False)
    assert card.dev.get("status") == 0x0F
    assert card.dev.get("driver_features") == USUAL
    assert card.h.number("link", 0) == 1
    assert card.dev.get("queue0.ready") == 1 and card.dev.get("queue1.ready") == 1
    assert card.h.log == []


@pytest.mark.parametrize(("ram", "count", "size"), [(SMALL_VM, 128, 2048), (LARGE_VM, 256, 4096)])
def test_receive_buffers_fit_the_machine(card: Card, ram: int, count: int, size: int) -> None:
    card.h.do("hal", "mem_total", ram)
    card.up()
    assert [c.writable for c in card.dev.drain(RX)] == [[size]] * count


@pytest.mark.parametrize("most", [1, 2, 64, 256, 1024, 32768])
def test_queue_size_of_the_device(card: Card, most: int) -> None:
    card.dev.set(queue0__max=most, queue1__max=most)
    card.up()
    assert card.dev.get("queue0.size") == min(most, 256)
    assert card.dev.get("queue1.size") == min(most, 256)
    assert len(card.dev.drain(RX)) == min(most, 256)


def test_features_are_a_subset_with_their_dependencies(card: Card) -> None:
    card.dev.set(features=VERSION_1 | EVERYTHING)
    card.up()
    accepted = card.dev.get("driver_features")
    assert accepted == USUAL | CSUM | GUEST_CSUM | MTU | GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6
    assert card.nic().features == F_TX_CSUM | F_TX_TSO4 | F_TX_TSO6 | F_RX_CSUM


@pytest.mark.parametrize(
    ("missing", "also"),
    [(CSUM, HOST_TSO4 | HOST_TSO6), (GUEST_CSUM, GUEST_TSO4 | GUEST_TSO6), (MRG_RXBUF, GUEST_TSO4 | GUEST_TSO6)],
)
def test_what_depends_on_a_missing_feature_is_not_taken(card: Card, missing: int, also: int) -> None:
    card.dev.set(features=VERSION_1 | EVERYTHING & ~missing)
    card.up()
    assert card.dev.get("driver_features") & (missing | also) == 0


def test_no_large_receive_in_a_small_machine(card: Card) -> None:
    card.h.do("hal", "mem_total", SMALL_VM)
    card.dev.set(features=VERSION_1 | EVERYTHING)
    card.up()
    assert card.dev.get("driver_features") & (GUEST_TSO4 | GUEST_TSO6) == 0


def test_receive(card: Card) -> None:
    card.up()
    assert card.take() == EAGAIN
    for n in (14, 60, 1514, 4096 - 12):
        card.receive(pattern(n))
        frame = card.frame()
        assert (frame.data, frame.segments, frame.csum_good) == (pattern(n), 1, False)
        card.give_back(frame)
    assert card.take() == EAGAIN


@pytest.mark.parametrize(("flags", "good"), [(0, False), (1, True), (2, True), (4, False)])
def test_receive_checksum_vouched_for(card: Card, flags: int, good: bool) -> None:
    card.dev.set(features=USUAL | GUEST_CSUM)
    card.up()
    card.receive(pattern(60), flags=flags)
    assert card.frame().csum_good is good


@pytest.mark.parametrize(
    ("missing", "flags", "gso", "csum", "told"),
    [
        (0, 1, (0, 0), (34, 16), (1, 34, 16, 0, 0)),
        (0, 1, (1, 1448), (34, 16), (1, 34, 16, 1, 1448)),
        (0, 1, (4, 1428), (54, 16), (1, 54, 16, 2, 1428)),
        (0, 1, (0x81, 1448), (34, 16), (1, 34, 16, 1, 1448)),  # with ECN
        (0, 0, (1, 1448), (34, 16), (0, 0, 0, 0, 0)),  # what has to be cut has no checksum yet
        (0, 2, (0, 0), (34, 16), (0, 0, 0, 0, 0)),
        (0, 1, (1, 0), (34, 16), (1, 34, 16, 0, 0)),
        (0, 1, (3, 1448), (34, 6), (1, 34, 6, 0, 0)),  # UDP was not negotiated
        (0, 1, (1, 1448), (3999, 16), (0, 0, 0, 0, 0)),  # beyond the frame
        (0, 1, (1, 1448), (65535, 65535), (0, 0, 0, 0, 0)),
        (GUEST_TSO4, 1, (1, 1448), (34, 16), (1, 34, 16, 0, 0)),
        (GUEST_CSUM, 1, (1, 1448), (34, 16), (0, 0, 0, 0, 0)),
    ],
)
def test_receive_what_is_left_to_do(
    card: Card, missing: int, flags: int, gso: tuple[int, int], csum: tuple[int, int], told: tuple[int, ...]
) -> None:
    card.dev.set(features=(USUAL | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6) & ~missing)
    card.up()
    card.receive(pattern(4000), flags=flags, gso=gso, csum=csum)
    assert card.frame().offload == told


@pytest.mark.parametrize("total", [4096 - 11, 9000, 65535])
def test_receive_over_several_buffers(card: Card, total: int) -> None:
    card.up()
    buffers = (total + 12 + 4095) // 4096
    card.receive(pattern(total), buffers)
    frame = card.frame()
    assert frame.data == pattern(total) and frame.segments == buffers
    card.give_back(frame)


def test_receive_a_frame_that_comes_in_pieces(card: Card) -> None:
    card.up()
    a, b = card.dev.take(RX), card.dev.take(RX)
    card.dev.fill(RX, a, bytes(10) + b"\x02\x00" + bytes(4084))
    card.dev.used(RX, a.head, 4096)
    assert card.take() == EAGAIN
    assert card.take() == EAGAIN
    card.dev.used(RX, b.head, 50)
    assert len(card.frame().data) == 4084 + 50


def test_without_mergeable_buffers_the_count_is_not_looked_at(card: Card) -> None:
    card.dev.set(features=USUAL & ~MRG_RXBUF)
    card.up()
    card.receive(pattern(1514), buffers=1)
    chain = card.dev.take(RX)
    card.dev.fill(RX, chain, bytes(10) + b"\xff\xff" + pattern(60))
    card.dev.used(RX, chain.head, 72)
    assert card.frame().data == pattern(1514) and card.frame().data == pattern(60)


def test_runts_are_dropped_and_their_buffers_kept(card: Card) -> None:
    card.dev.set(queue0__max=2)
    card.up()
    for _ in range(20):
        card.receive(pattern(13))
        card.receive(b"")
        assert card.take() == EAGAIN
    card.receive(pattern(60))
    assert card.frame().data == pattern(60)
    assert card.stats()[:3] == (1, 60, 40)  # frames, bytes, dropped


def test_a_stack_that_holds_everything_starves_the_queue_and_loses_nothing(card: Card) -> None:
    card.dev.set(queue0__max=4)
    card.up()
    held = []
    for _ in range(4):
        card.receive(pattern(100))
        held.append(card.frame())
    assert card.dev.next(RX) is None and card.take() == EAGAIN
    for frame in reversed(held):
        card.give_back(frame)
    notified = card.dev.get("queue0.notified")
    card.h.do("availevent", card.dev.index, RX, 4)
    card.h.do("kick", 0)
    assert card.dev.get("queue0.notified") == notified + 1
    for _ in range(9):
        card.receive(pattern(100))
        card.give_back(card.frame())


@pytest.mark.parametrize(
    ("ram", "features", "mtu", "total", "size"),
    [
        (LARGE_VM, GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6, 1500, 65535, 4096),
        (LARGE_VM, MTU, 9000, 9018, 4096),
        (LARGE_VM, 0, 1500, 1518, 4096),
        (SMALL_VM, MTU, 9000, 9018, 2048),
        (SMALL_VM, MTU, 40000, 40018, 2048),
    ],
)
@pytest.mark.parametrize("queue", [32, 64, 256])
def test_what_the_stack_may_keep_leaves_room(
    card: Card, ram: int, features: int, mtu: int, total: int, size: int, queue: int
) -> None:
    card.h.do("hal", "mem_total", ram)
    card.dev.set(features=USUAL | features, queue0__max=queue)
    card.configure(ADDRESS, 1, mtu)
    card.up()
    told = card.h.number("told", 0)
    for _ in range(told // 2 if told > 0 else 32):  # netglue.c's rule; frames as large as can be
        card.receive(pattern(total), (total + 12 + size - 1) // size)
        card.frame()
    for _ in range(9):
        card.receive(pattern(total), (total + 12 + size - 1) // size)
        card.give_back(card.frame())


@pytest.mark.parametrize("twice", [False, True])
def test_returning_a_frame_twice_is_our_bug(card: Card, twice: bool) -> None:
    card.up()
    for _ in range(2):
        card.receive(pattern(60))
    frame = card.frame()
    card.frame()  # there is room in the queue for a second return
    card.give_back(frame)
    if twice:
        with pytest.raises(Died) as died:
            card.give_back(frame)
        assert died.value.status == 120 and "PANIC assertion failed" in died.value.report


def sent(card: Card) -> tuple[bytes, bytes, int]:
    chain = card.dev.take(TX)
    data = card.dev.read(TX, chain)
    assert chain.readable[0] == 12 and chain.writable == []
    card.dev.used(TX, chain.head, 0)
    return data[:12], data[12:], len(chain.readable)


@pytest.mark.parametrize("lengths", [(60,), (14, 20, 20, 1460), (75,) * 20])
def test_send(card: Card, lengths: tuple[int, ...]) -> None:
    card.up()
    assert card.send(9, *lengths) == 0
    assert card.returned() == 0
    header, data, segments = sent(card)
    assert header == bytes(12) and segments == 1 + len(lengths)
    assert data == pattern(sum(lengths))
    assert card.returned() == 9 and card.returned() == 0


@pytest.mark.parametrize(("size", "first"), [(60, 60), (1514, 1514), (4084, 4084), (5000, 4084)])
def test_what_was_received_is_sent_with_its_header_in_front(card: Card, size: int, first: int) -> None:
    card.dev.set(features=USUAL | MTU)
    card.configure(ADDRESS, 1, 9000)
    card.up()
    card.receive(pattern(size), 1 + (size > first))
    assert card.h.number("pass", 0, 7) == 0
    chain = card.dev.take(TX)
    assert chain.readable == [12 + first, *([size - first] if size > first else [])]
    data = card.dev.read(TX, chain)
    assert data == bytes(12) + pattern(size)
    card.dev.used(TX, chain.head, 0)
    assert card.returned() == 7


def test_no_header_goes_in_front_of_a_page(card: Card) -> None:
    card.up()
    for part in (bytes(10) + b"\x02\x00", pattern(60)):  # the frame begins in the second buffer
        chain = card.dev.take(RX)
        card.dev.fill(RX, chain, part)
        card.dev.used(RX, chain.head, len(part))
    assert card.h.number("pass", 0, 7) == 0
    header, data, segments = sent(card)
    assert (header, data, segments) == (bytes(12), pattern(60), 2)


@pytest.mark.parametrize(("first", "headroom"), [(12, 0), (13, 12), (72, 12)])
def test_only_a_header_in_front_of_the_frame_is_room(card: Card, first: int, headroom: int) -> None:
    card.up()
    raw = bytes(10) + b"\x02\x00" + pattern(72 + 60 - 12)
    for part in (raw[:first], raw[first:]):
        chain = card.dev.take(RX)
        card.dev.fill(RX, chain, part)
        card.dev.used(RX, chain.head, len(part))
    frame = card.frame()
    assert (frame.headroom, frame.data) == (headroom, raw[12:])


def test_a_ring_of_frames_is_sent_on(card: Card) -> None:
    card.up()
    for n in range(256):
        card.receive(pattern(60))
        assert card.h.number("pass", 0, n + 1) == 0


def test_who_waits_for_frames_to_leave_is_woken(card: Card) -> None:
    card.up()
    assert card.send(1, 60) == 0
    sent(card)
    assert card.arm() == 0  # nobody waits
    card.h.do("wanted", 0, 1)
    assert card.arm() == 1


def test_a_card_without_news_is_not_asked(card: Card) -> None:
    """Each access to its registers is an exit."""
    card.up()
    before = card.dev.get("accesses")
    for _ in range(3):
        assert card.arm() == 0
    assert card.dev.get("accesses") == before


def test_send_with_checksum(card: Card) -> None:
    card.dev.set(features=USUAL | CSUM)
    card.up()
    assert card.send(1, 100, csum=1, start=34, offset=16) == 0
    assert sent(card)[0] == struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 16, 0)


@pytest.mark.parametrize(("gso", "kind"), [(1, 1), (2, 4)])
def test_send_large(card: Card, gso: int, kind: int) -> None:
    card.dev.set(features=USUAL | CSUM | HOST_TSO4 | HOST_TSO6)
    card.up()
    assert card.send(1, 54, 20000, 20000, csum=1, gso=gso, size=1460, hdr=54, start=34, offset=16) == 0
    header, data, _ = sent(card)
    assert header == struct.pack("<BBHHHHH", 1, kind, 54, 1460, 34, 16, 0) and len(data) == 40054


@pytest.mark.parametrize(
    ("lengths", "more"),
    [
        ((), {}),
        ((13,), {}),
        ((1519,), {}),
        ((10,) * 21, {}),
        ((60,), {"csum": 1, "start": 50, "offset": 9}),
        ((54, 30000), {"csum": 1, "gso": 1, "size": 0, "hdr": 54}),
        ((54, 30000), {"csum": 0, "gso": 1, "size": 1460, "hdr": 54}),
        ((54, 30000), {"csum": 1, "gso": 1, "size": 1460, "hdr": 30054}),
        ((54, 65000, 1000), {"csum": 1, "gso": 1, "size": 1460, "hdr": 54}),
    ],
)
def test_frames_that_cannot_be_sent(card: Card, lengths: tuple[int, ...], more: dict[str, int]) -> None:
    card.dev.set(features=USUAL | CSUM | HOST_TSO4)
    card.up()
    assert card.send(1, *lengths, **more) == EMSGSIZE
    assert card.dev.next(TX) is None


def test_full_send_queue_is_not_now(card: Card) -> None:
    card.dev.set(queue1__max=8)
    card.up()
    results = [card.send(c, 20, 40, 40) for c in (1, 2, 3)]
    assert results == [0, 0, EAGAIN]
    assert card.stats().tx_full == 1
    sent(card)
    assert card.returned() == 1
    assert card.send(3, 20, 40, 40) == 0
    sent(card), sent(card)
    assert [card.returned() for _ in range(3)] == [2, 3, 0]


def test_more_frames_than_descriptors(card: Card) -> None:
    card.dev.set(queue1__max=16)
    card.up()
    for cookie in range(1, 50):
        assert card.send(cookie, 60) == 0
        sent(card)
        assert card.returned() == cookie


def test_one_notification_a_batch(card: Card) -> None:
    card.up()
    for cookie in range(1, 21):
        assert card.send(cookie, 60) == 0
    before = card.dev.get("queue1.notified")
    card.h.do("kick", 0)
    card.h.do("kick", 0)
    assert card.dev.get("queue1.notified") == before + 1
    assert card.send(21, 60) == 0
    card.h.do("kick", 0)
    assert card.dev.get("queue1.notified") == before + 1  # avail_event was not moved: it is still at work


def wants_irq(card: Card, queue: int) -> bool:
    return card.h.number("wantirq", card.dev.index, queue, 1, 1) == 1


def test_arm_receive(card: Card) -> None:
    card.up()
    card.receive(pattern(60))
    assert not wants_irq(card, RX)
    assert card.h.number("arm", 0) == 1  # the race: it was there before we armed
    card.frame()
    assert card.h.number("arm", 0) == 0
    card.receive(pattern(60))
    assert wants_irq(card, RX)
    card.receive(pattern(60))
    assert not wants_irq(card, RX)


def test_sent_frames_interrupt_only_while_the_queue_is_full(card: Card) -> None:
    card.dev.set(queue1__max=8)
    card.up()
    assert card.send(1, 60) == 0 and card.h.number("arm", 0) == 0
    sent(card)
    assert not wants_irq(card, TX)
    assert [card.send(c, 60) for c in (2, 3, 4, 5)] == [0, 0, 0, EAGAIN]
    assert card.h.number("arm", 0) == 1  # one has left already: there is work
    assert card.returned() == 1
    assert card.send(5, 60) == 0 and card.send(6, 60) == EAGAIN
    assert card.h.number("arm", 0) == 0
    wants = []
    for _ in range(4):
        sent(card)
        wants.append(wants_irq(card, TX))
    assert wants == [False, True, False, False]
    assert [card.returned() for _ in range(5)] == [2, 3, 4, 5, 0]
    assert card.send(7, 60) == 0 and card.h.number("arm", 0) == 0
    sent(card)
    assert not wants_irq(card, TX)  # nobody waits for room any more


def test_link_follows_the_device(card: Card) -> None:
    card.up()
    for link in (0, 1, 0):
        card.configure(ADDRESS, link, 1500)
        assert card.h.number("link", 0) != link
        card.raise_config_irq()
        card.h.number("arm", 0)
        assert card.h.number("link", 0) == link


def test_interrupts_are_acknowledged_on_mmio(h: Harness) -> None:
    card = Card(h, Device(h, "mmio", NET)).up()
    card.dev.set(irq_status=3)
    h.do("hal", "irq", 0)
    h.do("arm", 0)
    assert card.dev.get("irq_status") == 0


def test_mac_of_our_own_when_none_is_offered(card: Card) -> None:
    card.dev.set(features=USUAL & ~MAC)
    card.h.do("hal", "seeded", 1)
    card.up()
    assert card.nic().mac == "a6a5a5a5a5a5"


@pytest.mark.parametrize(("offered", "mtu"), [(68, 68), (1500, 1500), (9000, 9000), (65535, 65505)])
def test_mtu(card: Card, offered: int, mtu: int) -> None:
    card.dev.set(features=USUAL | MTU)
    card.configure(ADDRESS, 1, offered)
    card.up()
    assert card.nic().mtu == mtu


def test_several_cards(h: Harness, bus: str) -> None:
    cards = [Device(h, "pci", NET) for _ in range(3)] if bus == "pci" else []
    for i in range(0 if bus == "pci" else 3):
        h.number("mmio", 0xFEB00000 + 0x200 * i, NET)
    if bus == "mmio":
        h.do("hal", "cmdline", *[f"virtio_mmio.device=512@{0xFEB00000 + 0x200 * i:#x}:{5 + i}" for i in range(3)])
    for i in range(3):
        h.do("dset", i, "features", USUAL)
        h.do("config", i, 0, (ADDRESS[:5] + bytes([i]) + b"\x01\x00").hex())
    assert h.number("probe", "virtio-net") == 3 and len(cards) in (0, 3)
    assert [h.do("nic", i)[10:12] for i in range(3)] == ["00", "01", "02"]
