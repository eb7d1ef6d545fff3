# SPDX-License-Identifier: MIT
"""Records in files, the oldest file of which is written anew: a disk in use that does not fill."""

import binascii
import os

_SIZE = 256


class Store:
    """`files` files of `records` records each, on the first disk."""

    def __init__(self, files, records):
        self._files = files
        self._records = records
        self.count = 0

    def turn(self):
        """Write one record, read a file of before. Returns how many were written. Raises OSError, and ValueError for
        a record that is not what was written."""
        number, at = divmod(self.count, self._records)
        with open("/log-%d" % (number % self._files), "ab" if at else "wb") as f:
            f.write(self._record(self.count))
        self.count += 1
        if number:
            self._check(max(0, number - self._files + 1) + self.count % min(number, self._files - 1))
        return self.count

    def _check(self, number):
        with open("/log-%d" % (number % self._files), "rb") as f:
            for n in range(number * self._records, (number + 1) * self._records):
                record = f.read(_SIZE)
                if binascii.crc32(record[4:]) != int.from_bytes(record[:4], "big") or record[4:12] != b"%08d" % n:
                    raise ValueError("record %d is not what was written" % n)
            if f.read(1):
                raise ValueError("file %d has more than was written" % number)

    def _record(self, n):
        body = b"%08d" % (n % 100_000_000) + os.urandom(_SIZE - 12)
        return binascii.crc32(body).to_bytes(4, "big") + body
