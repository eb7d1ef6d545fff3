# SPDX-License-Identifier: MIT
"""Leases on a disk: a line for each change, written and flushed before its client hears of it; when the file has grown,
it is written anew. The last line for an address holds. A line that is not whole is passed over."""

import binascii
import errno
import os

from leases import Lease

_MORE = 512  # lines more than there are leases, before the file is written anew


class LeaseFile:
    """Owns the file. path "": leases are kept in memory alone. all_leases(): those that there are."""

    def __init__(self, path: str, log: object, all_leases: object) -> None:
        self.path = path
        self.problem = ""
        self._log = log
        self._all = all_leases
        self._file = None
        self._lines = 0

    def try_it(self) -> None:
        """Find out whether it can be written. Where there is no disk, and so nothing to read, it is none."""
        if not self.path:
            return
        try:
            with open(self.path + ".new", "wb"):
                pass
            os.remove(self.path + ".new")
        except OSError as exc:
            if exc.errno == errno.ENODEV:
                self.path = ""
            else:
                self._cannot(exc)

    def load(self) -> list:
        """The leases in the file, the oldest line first. What is unreadable is said, and not believed."""
        found: dict = {}
        bad = 0
        try:
            with open(self.path, "rb") as file:
                for line in file:
                    lease = _lease_of(line)
                    bad += lease is None
                    if lease is not None:
                        found[lease.address] = lease
        except OSError:
            return []
        if bad:
            self._log.warning("%s: %d lines that are no leases are passed over", self.path, bad)
        return list(found.values())

    def put(self, lease: Lease) -> bool:
        """Write a lease down. False: that did not work; it is said, and in /health."""
        if not self.path:
            return True
        try:
            if self._file is None or self._lines > 2 * len(self._all()) + _MORE:
                self._rewrite()
            self._file.write(_line_of(lease))
            self._file.flush()
            self._lines += 1
            self.problem = ""
        except OSError as exc:
            self._cannot(exc)
            self._close()
            return False
        return True

    def _cannot(self, exc: OSError) -> None:
        if not self.problem:
            self._log.error("%s: cannot be written (error %d): leases are in memory alone", self.path, exc.errno or 0)
        self.problem = "%s: error %d" % (self.path, exc.errno or 0)

    def _rewrite(self) -> None:
        """The file of what there is takes the place of the old one at once, or not at all."""
        self._close()
        leases = self._all()
        with open(self.path + ".new", "wb") as file:
            for lease in leases:
                file.write(_line_of(lease))
            file.flush()
        os.rename(self.path + ".new", self.path)
        self._lines = len(leases)
        self._file = open(self.path, "ab")  # noqa: SIM115 - until close()

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError:
                pass  # what is in it was flushed, or said to be lost

    close = _close


def _line_of(lease: Lease) -> bytes:
    text = "%d %d %s %s %s" % (
        lease.address,
        lease.until,
        binascii.hexlify(lease.key).decode(),
        binascii.hexlify(lease.hardware).decode() or "-",
        lease.name or "-",
    )
    return b"%s %08x\n" % (text.encode(), binascii.crc32(text.encode()))


def _lease_of(line: bytes) -> Lease | None:
    words = line.split()
    try:
        if len(words) != 6 or line[-1:] != b"\n" or binascii.crc32(b" ".join(words[:5])) != int(words[5], 16):
            return None
        hardware = b"" if words[3] == b"-" else binascii.unhexlify(words[3])
        name = "" if words[4] == b"-" else words[4].decode()
        return Lease(int(words[0]), binascii.unhexlify(words[2]), hardware, int(words[1]), name)
    except ValueError:
        return None
