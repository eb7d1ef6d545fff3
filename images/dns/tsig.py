# SPDX-License-Identifier: MIT
"""Transaction signatures (RFC 8945): messages signed with a secret that both sides have."""

import binascii
import hashlib
import hmac
import struct
import time

import dnsname
from rrtype import TSIG

_ALGORITHMS = {"hmac-sha256": hashlib.sha256, "hmac-sha1": hashlib.sha1, "hmac-sha512": hashlib.sha512}
_FUDGE_S = 300
_ANY = 255
BADSIG, BADKEY, BADTIME = 16, 17, 18


class Key:
    """A name, an algorithm and a secret."""

    def __init__(self, name: bytes, text: bytes) -> None:
        """text: the secret in base64, perhaps behind its algorithm and a colon. Raises ValueError."""
        algorithm, colon, secret = text.strip().rpartition(b":")
        word = str(algorithm, "utf-8").strip().lower() if colon else "hmac-sha256"
        if word not in _ALGORITHMS:
            raise ValueError("%s is no algorithm; there are: %s" % (word, ", ".join(sorted(_ALGORITHMS))))
        self.name = name
        self.algorithm = dnsname.from_text(word.encode(), dnsname.ROOT)
        self._hash = _ALGORITHMS[word]
        self._secret = binascii.a2b_base64(secret.strip())
        if not self._secret:
            raise ValueError("an empty secret")

    def mac(self, *parts: bytes) -> bytes:
        made = hmac.new(self._secret, b"", self._hash)
        for part in parts:
            made.update(part)
        return made.digest()

    def size(self) -> int:
        """Bytes that a signature adds to a message."""
        return len(self.name) + len(self.algorithm) + 26 + 64


class TsigError(ValueError):
    """A message whose signature does not hold. `code` is TSIG's own; `key` is None if it is not known."""

    def __init__(self, code: int, key: Key | None, mac: bytes) -> None:
        super().__init__("signature error %d" % code)
        self.code = code
        self.key = key
        self.mac = mac


class _Record:
    """A TSIG record of a message, taken apart. Raises ValueError, IndexError."""

    def __init__(self, message: bytes, at: int) -> None:
        self.name, at = dnsname.read(message, at)
        rtype, rclass, ttl, size = struct.unpack_from(">HHIH", message, at)
        if rtype != TSIG or rclass != _ANY or ttl or at + 10 + size != len(message):
            raise ValueError("bad TSIG")
        self.algorithm, at = dnsname.read(message, at + 10)
        high, low, self.fudge, mac_size = struct.unpack_from(">HIHH", message, at)
        self.time = high << 32 | low
        at += 10
        self.mac = message[at : at + mac_size]
        at += mac_size
        self.id, self.error, other_size = struct.unpack_from(">HHH", message, at)
        self.other = message[at + 6 : at + 6 + other_size]
        if at + 6 + other_size != len(message):
            raise ValueError("bad TSIG")

    def variables(self, timers_only: bool) -> bytes:
        times = struct.pack(">HIH", self.time >> 32, self.time & 0xFFFFFFFF, self.fudge)
        if timers_only:
            return times
        tail = struct.pack(">HH", self.error, len(self.other)) + self.other
        return self.name + struct.pack(">HI", _ANY, 0) + self.algorithm + times + tail


def _counted(mac: bytes) -> bytes:
    return struct.pack(">H", len(mac)) + mac if mac else b""


def verify(message: bytes, at: int, keys: dict, before: tuple = ()) -> tuple:
    """Check the TSIG record at message[at]. before: (the mac before this message, messages without one since, whether
    there was a signed answer before), of an answer. Returns (key, mac). Raises TsigError, ValueError, IndexError."""
    record = _Record(message, at)
    key = keys.get(record.name)
    if key is None or key.algorithm != record.algorithm:
        raise TsigError(BADKEY, None, b"")
    prior, unsigned, later = before or (b"", b"", False)
    additional = struct.unpack_from(">H", message, 10)[0] - 1
    plain = struct.pack(">H", record.id) + message[2:10] + struct.pack(">H", additional) + message[12:at]
    made = key.mac(_counted(prior), unsigned, plain, record.variables(later))
    if not hmac.compare_digest(made, record.mac):
        raise TsigError(BADSIG, None, b"")
    if abs(time.time() - record.time) > record.fudge:
        raise TsigError(BADTIME, key, record.mac)
    return key, record.mac


def sign(message: bytes, key: Key, prior: bytes = b"", later: bool = False, error: int = 0) -> tuple:
    """The message with a TSIG record, and its mac. prior: the mac before; later: it is not the first of an answer."""
    now = int(time.time())
    other = struct.pack(">HI", now >> 32, now & 0xFFFFFFFF) if error == BADTIME else b""
    times = struct.pack(">HIH", now >> 32, now & 0xFFFFFFFF, _FUDGE_S)
    tail = struct.pack(">HH", error, len(other)) + other
    head = key.name + struct.pack(">HI", _ANY, 0) + key.algorithm
    mac = key.mac(_counted(prior), message, times if later else head + times + tail)
    return _attach(message, key.name, key.algorithm + times + struct.pack(">H", len(mac)) + mac, tail), mac


def _attach(message: bytes, name: bytes, front: bytes, tail: bytes) -> bytes:
    data = front + message[:2] + tail
    additional = struct.unpack_from(">H", message, 10)[0] + 1
    head = message[:10] + struct.pack(">H", additional) + message[12:]
    return head + name + struct.pack(">HHIH", TSIG, _ANY, 0, len(data)) + data


def refuse(message: bytes, query: bytes, at: int, code: int) -> bytes:
    """The answer with the error of a signature that cannot be checked, itself without one."""
    record = _Record(query, at)
    times = struct.pack(">HIH", record.time >> 32, record.time & 0xFFFFFFFF, record.fudge)
    return _attach(message, record.name, record.algorithm + times + struct.pack(">H", 0), struct.pack(">HH", code, 0))
