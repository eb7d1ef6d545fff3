# SPDX-License-Identifier: MIT
"""The filter as a program of BPF; what it does to a process: test_guard.py."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from floe.egress import filter as seccomp

HIGH = 1024
ALLOWED, ASKED, DENIED, KILLED = 0x7FFF0000, 0x7FC00000, 0x00050000 | errno.EPERM, 0x80000000
X86_64 = 0xC000003E


def result(number: int, *args: int, arch: int = X86_64) -> int:
    """What the kernel would find: a machine of four instructions (linux/filter.h)."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *args, *[0] * (6 - len(args)))
    steps = list(struct.iter_unpack("=HBBI", seccomp.program(HIGH)))
    at = value = 0
    while True:
        code, yes, no, operand = steps[at]
        at += 1
        if code == 0x06:
            return int(operand)
        if code == 0x20:
            value = struct.unpack_from("=I", data, operand)[0]
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            at += yes if holds else no


ADDRESS, BEYOND_4G = 0x1000, 0x7F00_0000_0000


@pytest.mark.parametrize(
    ("number", "args", "expected"),
    [
        (seccomp.CONNECT, (3, ADDRESS, 16), ASKED),
        (seccomp.SOCKET, (2, 1, 0), ASKED),
        (seccomp.SENDTO, (3, 1, 1, 0, 0, 0), ALLOWED),  # send()
        (seccomp.SENDTO, (3, 1, 1, 0, ADDRESS, 16), ASKED),
        (seccomp.SENDTO, (3, 1, 1, 0, BEYOND_4G, 16), ASKED),
        (seccomp.RECVFROM, (3, 1, 1, 0, 0, 0), ALLOWED),  # recv()
        (seccomp.RECVFROM, (3, 1, 1, 0, BEYOND_4G, ADDRESS), ASKED),
        (46, (HIGH - 1, ADDRESS, 0), ALLOWED),  # sendmsg()
        (46, (HIGH, ADDRESS, 0), DENIED),
        (46, (1 << 32 | HIGH, ADDRESS, 0), DENIED),  # the kernel looks at the lower half
        (46, (3, ADDRESS, 0x20000000), DENIED),
        (307, (HIGH, ADDRESS, 1, 0), DENIED),  # sendmmsg()
        (307, (3, ADDRESS, 1, 0x20000000), DENIED),
        (72, (HIGH, 0, 5), DENIED),  # fcntl(): F_DUPFD
        (72, (HIGH, 1030, 5), DENIED),
        (72, (3, 1030, 5), ALLOWED),
        (72, (HIGH, 4, 0x800), ALLOWED),  # F_SETFL
        (0, (HIGH, 1, 1), ALLOWED),  # read()
        (0x40000000 | 42, (3, ADDRESS, 16), KILLED),  # of x32
    ],
)
def test_calls(number: int, args: tuple[int, ...], expected: int) -> None:
    assert result(number, *args) == expected


def test_another_architecture_s_calls() -> None:
    """Which have other numbers: of 32-bit programs 42 is pipe()."""
    assert result(42, 3, ADDRESS, 16, arch=0x40000003) == KILLED


def test_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seccomp.lacks() == ""
    here = os.uname()
    monkeypatch.setattr(seccomp.os, "uname", lambda: os.uname_result((*here[:4], "aarch64")))
    assert "x86-64" in seccomp.lacks()
