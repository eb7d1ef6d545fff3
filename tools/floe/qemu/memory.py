# SPDX-License-Identifier: MIT
"""The memory of a guest, read through the memory of its QEMU: no request that QEMU would have to answer.

Whose VM it is may do so, unless the host forbids one process to look into another, or into any but its descendants
(Yama's ptrace_scope).
"""

from __future__ import annotations

import os

_ALIGNED = 2 << 20  # where QEMU lets a guest's memory begin
_HIGH = 4 << 30  # where a guest has what does not fit below its devices
_Q35 = (0xB0000000, 0x80000000)
_FITS = {"q35": _Q35, "q35-iommu": _Q35}  # less than this is in one piece; else so much is below the devices
_FITS_ELSEWHERE = (0xE0000000, 0xC0000000)


class GuestMemory:
    """Of a running QEMU with a guest of `size` bytes, in whose memory `known` bytes lie at an address. Raises OSError:
    it may not be read, or it is not found."""

    def __init__(self, pid: int, size: int, machine: str, known: tuple[int, bytes]) -> None:
        self._fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        self._size = size
        fits, below = _FITS.get(machine, _FITS_ELSEWHERE)
        self._below = size if size < fits else below
        self._start = 0
        try:
            self._start = self._found(pid, *known)
        except BaseException:
            self.close()
            raise

    def _found(self, pid: int, address: int, content: bytes) -> int:
        with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps:
            for line in maps:
                place, access, *_ = line.split()
                start, end = (int(word, 16) for word in place.split("-"))
                if not access.startswith("rw") or end - start < self._size:
                    continue
                first = -(-start // _ALIGNED) * _ALIGNED
                begins: list[int] = [start, *range(first, end - self._size + 1, _ALIGNED)]  # start: a snapshot's file
                for begin in begins:
                    if os.pread(self._fd, len(content), begin + address) == content:
                        return begin
        raise OSError("the guest's memory is not found")

    def read(self, address: int, size: int) -> bytes:
        """Raises OSError; for an address that the guest does not have, too."""
        place, end = address, self._below
        if address >= _HIGH:
            place, end = address - _HIGH + self._below, self._size
        if not 0 <= place <= end - size:
            raise OSError(f"no guest memory at {address:#x}")
        data = os.pread(self._fd, size, self._start + place)
        if len(data) != size:
            raise OSError(f"guest memory at {address:#x} is not whole")
        return data

    def close(self) -> None:
        """Read no more."""
        os.close(self._fd)
