# SPDX-License-Identifier: MIT
# hmac (RFC 2104), as CPython documents it: new(), digest(), compare_digest().

import hashlib


def _algorithm(digestmod):
    return getattr(hashlib, digestmod) if isinstance(digestmod, str) else digestmod


class HMAC:
    def __init__(self, key, msg=None, digestmod="sha256"):
        self._new = _algorithm(digestmod)
        self._inner = self._new()
        self.digest_size = self._inner.digest_size
        self.block_size = self._inner.block_size
        if len(key) > self.block_size:
            key = self._new(key).digest()
        key = bytes(key) + bytes(self.block_size - len(key))
        self._inner.update(bytes(b ^ 0x36 for b in key))
        self._outer = self._new(bytes(b ^ 0x5C for b in key))
        if msg is not None:
            self.update(msg)

    def update(self, msg):
        self._inner.update(msg)

    def copy(self):
        other = HMAC.__new__(HMAC)
        other._new, other.digest_size, other.block_size = self._new, self.digest_size, self.block_size
        other._inner, other._outer = self._inner.copy(), self._outer.copy()
        return other

    def digest(self):
        outer = self._outer.copy()
        outer.update(self._inner.copy().digest())
        return outer.digest()

    def hexdigest(self):
        return self.digest().hex()


def new(key, msg=None, digestmod="sha256"):
    return HMAC(key, msg, digestmod)


def digest(key, msg, digest):
    return HMAC(key, msg, digest).digest()


def compare_digest(a, b):
    """Whether a == b, in a time that tells nothing about where they differ."""
    if isinstance(a, str):
        a = a.encode()
    if isinstance(b, str):
        b = b.encode()
    if len(a) != len(b):
        return False
    different = 0
    for x, y in zip(a, b):
        different |= x ^ y
    return different == 0
