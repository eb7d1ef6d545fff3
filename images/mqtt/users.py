# SPDX-License-Identifier: MIT
"""Who may connect: lines `name:password` or `name:sha256:SALT:HEX` of the secret `users`."""

import binascii
import hashlib

import floe


class UsersError(ValueError):
    """A line that says no user."""


def _same(one: bytes, other: bytes) -> bool:
    """Takes as long wherever they differ."""
    if len(one) != len(other):
        return False
    differ = 0
    for index, byte in enumerate(one):
        differ |= byte ^ other[index]
    return not differ


class Users:
    """Without the secret everybody may."""

    def __init__(self) -> None:
        self._users: dict = {}  # name -> (salt, hash)
        try:
            said = floe.secret("users")
        except (OSError, KeyError, ValueError):
            said = None
        self.open = said is None
        for number, line in enumerate((said or b"").splitlines(), 1):
            line = line.strip()
            if line and line[:1] != b"#":
                name, colon, rest = line.partition(b":")
                if not name or not colon:
                    raise UsersError("secret users, line %d: expected NAME:PASSWORD" % number)
                self._users[name] = self._hashed(number, rest)

    def _hashed(self, number: int, rest: bytes) -> tuple:
        if rest[:7] != b"sha256:":
            return b"", hashlib.sha256(rest).digest()
        salt, _, digest = rest[7:].partition(b":")
        try:
            digest = binascii.unhexlify(digest)
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise UsersError("secret users, line %d: expected NAME:sha256:SALT:HEX, 64 digits" % number)
        return salt, digest

    def may(self, name: bytes | None, password: bytes | None) -> bool:
        if self.open:
            return True
        salt, digest = self._users.get(name, (b"", b""))
        return _same(hashlib.sha256(salt + (password or b"")).digest(), digest)
