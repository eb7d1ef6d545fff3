# SPDX-License-Identifier: MIT
"""A Xen network card for the tests: the driver's verbs on one side, an honest backend's deeds on the other
(public/io/netif.h, public/io/ring.h), done on the granted pages themselves."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.c.support.harness import Harness
from tests.c.support.netuser import F_RX_CSUM, F_TX_CSUM, NetUser
from tests.c.support.xen_harness import CLOSED, CONNECTED, Backend

RING, HEADER = 256, 64
MAC = "00:16:3e:12:34:56"
CSUM_BLANK, DATA_VALIDATED, MORE_DATA, EXTRA_INFO = 1, 2, 4, 8  # tx
RX_VALIDATED, RX_BLANK, RX_MORE, RX_EXTRA, RX_GSO_PREFIX = 1, 2, 4, 8, 16
OKAY, NULL = 0, 1
PAGE = 4096
USUAL = F_TX_CSUM | F_RX_CSUM
ALL = {"feature__sg": 1, "feature__ipv6__csum__offload": 1, "feature__gso__tcpv4": 1, "feature__gso__tcpv6": 1}
TSO = {"csum": 1, "gso": 1, "size": 1460, "hdr": 54, "start": 34, "offset": 16}


@dataclass
class Request:
    """What the driver put into its ring for sending. An extra info is `extra`: its 8 bytes."""

    ref: int = 0
    offset: int = 0
    flags: int = 0
    id: int = 0
    size: int = 0
    extra: bytes = b""


class Ring:
    """One ring as the backend sees it."""

    def __init__(self, h: Harness, ref: int, size: int) -> None:
        self.h, self.ref, self.size = h, ref, size
        self.req_cons = self.rsp_prod = 0

    def peek(self, at: int, n: int) -> bytes:
        return bytes.fromhex(self.h.do("grant_read", self.ref, at, n))

    def poke(self, at: int, data: bytes) -> None:
        self.h.do("grant_write", self.ref, at, data.hex())

    def indices(self) -> tuple[int, int, int, int]:
        """req_prod, req_event, rsp_prod, rsp_event."""
        a, b, c, d = struct.unpack("<4I", self.peek(0, 16))
        return a, b, c, d

    def take(self) -> bytes | None:
        """The next request, unless there is none."""
        if self.indices()[0] == self.req_cons:
            return None
        raw = self.peek(HEADER + self.req_cons % RING * self.size, self.size)
        self.req_cons += 1
        return raw

    def answer(self, raw: bytes) -> None:
        """Put one response; `push` publishes it."""
        self.poke(HEADER + self.rsp_prod % RING * self.size, raw)
        self.rsp_prod += 1

    def push(self, jump: int = 0) -> bool:
        """Publish; true: the driver wants an event for it."""
        _, _, old, event = self.indices()
        new = (self.rsp_prod + jump) & 0xFFFFFFFF
        self.poke(8, struct.pack("<I", new))
        return (new - event) & 0xFFFFFFFF < (new - old) & 0xFFFFFFFF

    def want(self) -> None:
        """Ask for a notification at the next request (req_event)."""
        self.poke(4, struct.pack("<I", self.req_cons + 1))


class XenCard(NetUser):
    """A card, its driver, and the backend's side of it."""

    def __init__(self, h: Harness, number: int = 0, index: int = 0, mac: str = MAC, follows: bool = True) -> None:
        """follows: the backend goes with the driver when that is CLOSED."""
        super().__init__(h, index)
        self.back = Backend(h, "vif", number)
        h.do("xs_set", f"{self.back.front}/mac", mac)
        self.back.set(online=1, feature__rx__copy=1, feature__rx__notify=1)
        self.back.when(CONNECTED, CONNECTED)
        if follows:
            self.back.when(CLOSED, CLOSED)

    def up(self, **features: int) -> XenCard:
        self.back.set(**features)
        assert self.h.number("probe") >= 1, self.h.log
        assert self.h.number("link", self.index) == 1
        return self.attach()

    def attach(self) -> XenCard:
        """The backend learns where the rings are."""
        self.tx = Ring(self.h, int(self.back.get("tx-ring-ref")), 12)
        self.rx = Ring(self.h, int(self.back.get("rx-ring-ref")), 8)
        self.port = int(self.back.get("event-channel"))
        return self

    def notified(self) -> int:
        return int(self.h.do("port", self.port).split()[3])

    def sent(self) -> list[Request]:
        """All requests of one frame; none: no frame."""
        out: list[Request] = []
        extra = False
        while (raw := self.tx.take()) is not None:
            if extra:
                out.append(Request(extra=raw[:8]))
                extra = bool(raw[1] & 1)
            else:
                out.append(Request(*struct.unpack("<IHHHH", raw)))
                extra = len(out) == 1 and bool(out[0].flags & EXTRA_INFO)
            if not extra and not [r for r in out if not r.extra][-1].flags & MORE_DATA:
                break
        return out

    def bytes_of(self, requests: list[Request]) -> bytes:
        """A frame's bytes, out of the granted pages."""
        parts = [r for r in requests if not r.extra]
        sizes = [parts[0].size - sum(r.size for r in parts[1:]), *(r.size for r in parts[1:])]
        assert all(r.offset + n <= PAGE for r, n in zip(parts, sizes, strict=True))
        return b"".join(
            bytes.fromhex(self.h.do("grant_read", r.ref, r.offset, n)) for r, n in zip(parts, sizes, strict=True)
        )

    def complete(self, requests: list[Request], status: int = OKAY, push: bool = True) -> bool:
        for r in requests:
            self.tx.answer(struct.pack("<Hh", 0xFFFF if r.extra else r.id, NULL if r.extra else status) + bytes(8))
        return self.tx.push() if push else False

    def buffer(self) -> tuple[int, int]:
        """The next receive buffer: id and grant."""
        raw = self.rx.take()
        assert raw is not None, "no receive buffer is there"
        number, _, ref = struct.unpack("<HHI", raw)
        return number, ref

    def buffers(self) -> int:
        """How many receive buffers the backend has."""
        return self.rx.indices()[0] - self.rx.req_cons

    def receive(self, data: bytes, flags: int = 0, gso: tuple[int, int] | None = None, offset: int = 0) -> bool:
        """An honest reception: the frame over as many pages as it takes; gso: type and size."""
        pieces = [data[i : i + PAGE - offset] for i in range(0, len(data), PAGE - offset)] or [b""]
        for k, piece in enumerate(pieces):
            number, ref = self.buffer()
            if piece:
                self.h.do("grant_write", ref, offset, piece.hex())
            word = (RX_MORE if k + 1 < len(pieces) else 0) | (flags if k == 0 else 0)
            word |= RX_EXTRA if k == 0 and gso else 0
            self.rx.answer(struct.pack("<HHHh", number, offset, word, len(piece)))
            if k == 0 and gso:
                self.buffer()
                self.rx.answer(struct.pack("<BBHBBH", 1, 0, gso[1], gso[0], 0, 0))
        return self.rx.push()

    def rsp(self, number: int = -1, offset: int = 0, flags: int = 0, status: int = 60) -> None:
        """One response as told, for the next buffer; number -1: the right one."""
        right, _ = self.buffer()
        self.rx.answer(struct.pack("<HHHh", right if number < 0 else number, offset, flags, status))

    def extra(self, kind: int = 1, flags: int = 0, size: int = 1460, gso: int = 1) -> None:
        self.buffer()
        self.rx.answer(struct.pack("<BBHBBH", kind, flags, size, gso, 0, 0))

    def late_answer(self) -> None:
        self.rx.push(1)
