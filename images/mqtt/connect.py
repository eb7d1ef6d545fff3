# SPDX-License-Identifier: MIT
"""CONNECT, taken apart and judged, and CONNACK."""

import binascii
import os

import controlpacket as p
from session import Message
from topics import is_topic

_V3_CODES = {p.BAD_VERSION: 1, p.BAD_ID: 2, p.BUSY: 3, p.BAD_LOGIN: 4, p.NOT_AUTHORIZED: 5}
_LONGEST_ID = 1024


class Connect:
    """What a client wants. `refusal`: a reason code, or 0. Raises PacketError."""

    def __init__(self, body: p.Reader, longest_expiry: int) -> None:
        self.refusal = 0
        self.will: tuple | None = None
        self.user: bytes | None = None
        self.password: bytes | None = None
        self.receive_max = 65535
        self.max_packet = 0
        self.expiry_s = 0
        self.wanted_expiry_s = 0
        name, self.version = body.text(), body.byte()
        if name != b"MQTT":
            raise p.PacketError("a protocol that is not MQTT")
        if self.version not in (4, p.V5):
            self.refusal = p.BAD_VERSION
            return
        flags = body.byte()
        if flags & 1 or flags & 0x18 == 0x18 or (not flags & 4 and flags & 0x38):
            raise p.PacketError("flags of CONNECT")
        self.clean = bool(flags & 2)
        self.keep_alive = body.short()
        if self.version == p.V5:
            self._options(body.properties(), longest_expiry)
        elif not self.clean:
            self.expiry_s = self.wanted_expiry_s = longest_expiry
        self._identify(body.text())
        if flags & 4:
            self._read_will(body, flags)
        if flags & 0x80:
            self.user = body.text()
        if flags & 0x40:
            self.password = body.binary()
        if body.left():
            raise p.PacketError("CONNECT is too long")

    def _options(self, said: dict, longest_expiry: int) -> None:
        self.receive_max = said.get(p.RECEIVE_MAX, 65535)
        self.max_packet = said.get(p.MAX_PACKET, 0)
        if not self.receive_max or (p.MAX_PACKET in said and not self.max_packet):
            raise p.PacketError("a maximum of 0", p.PROTOCOL_ERROR)
        self.wanted_expiry_s = said.get(p.SESSION_EXPIRY, 0)
        self.expiry_s = min(self.wanted_expiry_s, longest_expiry)
        if 21 in said:
            self.refusal = 0x8C  # a method of authentication

    def _identify(self, client_id: bytes) -> None:
        self.assigned = not client_id
        self.client_id = client_id
        if self.assigned:
            self.client_id = b"auto-" + binascii.hexlify(os.urandom(8))
            if self.version != p.V5 and not self.clean:
                self.refusal = p.BAD_ID
        elif len(client_id) > _LONGEST_ID:
            self.refusal = p.BAD_ID

    def _read_will(self, body: p.Reader, flags: int) -> None:
        said = body.properties() if self.version == p.V5 else {}
        topic, payload = body.text(), body.binary()
        if not is_topic(topic):
            raise p.PacketError("a will's topic that is none", p.BAD_TOPIC)
        message = Message(topic, payload, flags >> 3 & 3, p.passed_on(said), None)
        self.will = (message, bool(flags & 0x20), said.get(p.WILL_DELAY, 0), said.get(p.EXPIRY))


def connack(version: int, there: bool, code: int, said: dict) -> bytes:
    """`code` is of version 5; older clients get the nearest of theirs."""
    if version == p.V5:
        return p.packet(p.CONNACK << 4, bytes((there, code)) + p.properties({} if code else said))
    return p.packet(p.CONNACK << 4, bytes((there, _V3_CODES.get(code, 5) if code else 0)))
