# SPDX-License-Identifier: MIT
"""The seccomp filter of a process that may send only where its guard lets it (Linux' seccomp_filter.rst; x86-64).

Its sockets of IPv4 and IPv6 are made by the guard, with numbers from `high` on, and stay there: no call gives one of
them a lower number. Calls that name a destination go to the guard, which makes them itself with an address of its own
copy. sendmsg(2) is the one whose address a filter cannot see, and QEMU uses it for its console and monitor: it is for
numbers below `high` alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

CONNECT, SENDTO, RECVFROM, SOCKET = 42, 44, 45, 41  # those that the guard is asked about
_SENDMSG, _SENDMMSG, _SOCKETPAIR = 46, 307, 53
_DUP, _DUP2, _DUP3, _FCNTL = 32, 33, 292, 72
_PTRACE, _PROCESS_VM_WRITEV, _IO_URING_SETUP = 101, 311, 425
_SECCOMP, PIDFD_GETFD = 317, 438
_X32 = 0x40000000  # the bit of a call of the x32 ABI

# linux/seccomp.h, linux/audit.h
_MODE_FILTER, _GET_NOTIF_SIZES = 1, 3
_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_ALLOW, _ERRNO, _USER_NOTIF, _KILL = 0x7FFF0000, 0x00050000, 0x7FC00000, 0x80000000
_ARCH_X86_64 = 0xC000003E
_NR, _ARCH = 0, 4  # where seccomp_data has them
_MSG_FASTOPEN = 0x20000000
_F_DUPFD, _F_DUPFD_CLOEXEC = 0, 1030

# linux/bpf_common.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

_libc = ctypes.CDLL(None, use_errno=True)

# One instruction: code, true, false, operand. A jump's way is "" for the next instruction, or a result of the table.
_Step = tuple[int, str, str, int]


def _argument(number: int, *, high: bool = False) -> _Step:
    return _LOAD, "", "", 16 + 8 * number + 4 * high


def _test(code: int, operand: int, yes: str = "", no: str = "") -> _Step:
    return code, yes, no, operand


def _below(argument: int, high: int) -> list[_Step]:
    """That descriptor must not be one of the guarded ones."""
    return [_argument(argument), _test(_AT_LEAST, high, yes="denied")]


def _with_address(argument: int) -> list[_Step]:
    """To the guard where that pointer is not null."""
    return [
        _argument(argument),
        _test(_EQUAL, 0, no="asked"),
        _argument(argument, high=True),
        _test(_EQUAL, 0, no="asked"),
    ]


def _rules(high: int) -> dict[int, list[_Step]]:
    """For each call the steps to a result; one that gets through them is allowed."""
    asked: list[_Step] = [_argument(0), _test(_AT_LEAST, 0, yes="asked")]
    denied: list[_Step] = [_argument(0), _test(_AT_LEAST, 0, yes="denied")]
    return {
        SENDTO: _with_address(4),
        RECVFROM: _with_address(4),
        CONNECT: asked,
        SOCKET: asked,
        _SENDMSG: [*_below(0, high), _argument(2), _test(_ANY_BIT, _MSG_FASTOPEN, yes="denied")],
        _SENDMMSG: [*_below(0, high), _argument(3), _test(_ANY_BIT, _MSG_FASTOPEN, yes="denied")],
        _DUP: _below(0, high),
        _DUP2: _below(0, high),
        _DUP3: _below(0, high),
        _FCNTL: [
            _argument(1),
            _test(_EQUAL, _F_DUPFD, yes="number"),
            _test(_EQUAL, _F_DUPFD_CLOEXEC, no="allowed"),
            *_below(0, high),
        ],
        **dict.fromkeys((_SOCKETPAIR, _PTRACE, _PROCESS_VM_WRITEV, _IO_URING_SETUP, PIDFD_GETFD), denied),
    }


_RESULTS = {"allowed": _ALLOW, "asked": _USER_NOTIF, "denied": _ERRNO | errno.EPERM, "killed": _KILL}


def program(high: int) -> bytes:
    """The filter as BPF, for descriptors from `high` on."""
    steps: list[_Step] = [
        (_LOAD, "", "", _ARCH),
        _test(_EQUAL, _ARCH_X86_64, no="killed"),
        (_LOAD, "", "", _NR),
        _test(_AT_LEAST, _X32, yes="killed"),
    ]
    places: dict[str, int] = {}
    rules = _rules(high)
    steps += [_test(_EQUAL, number, yes=f"call {number}") for number in rules]
    steps.append((_RETURN, "", "", _ALLOW))
    for number, rule in rules.items():
        places[f"call {number}"] = len(steps)
        if number == _FCNTL:
            places["number"] = len(steps) + len(rule) - 2
        steps += [*rule, (_RETURN, "", "", _ALLOW)]
    for name, result in _RESULTS.items():
        places[name] = len(steps)
        steps.append((_RETURN, "", "", result))

    def way(at: int, name: str) -> int:
        return places[name] - at - 1 if name else 0

    return b"".join(
        struct.pack("=HBBI", code, way(at, yes), way(at, no), operand)
        for at, (code, yes, no, operand) in enumerate(steps)
    )


def lacks() -> str:
    """What is missing here for a guard, for people; "" where nothing is."""
    if (machine := os.uname().machine) != "x86_64":
        return f"this processor is {machine}: it is for x86-64 alone"
    sizes = (ctypes.c_uint16 * 3)()
    if _libc.syscall(_SECCOMP, _GET_NOTIF_SIZES, 0, sizes) < 0 or sizes[0] != 80:
        return "this kernel has no notifications of seccomp's (Linux 5.14 on), or a container forbids them"
    return ""


def install(code: bytes) -> int:
    """Take the filter upon the calling thread, for good, and return the descriptor that its guard reads from. It must
    not gain privileges any more. Raises OSError."""
    buffer = ctypes.create_string_buffer(code, len(code))
    head = (ctypes.c_uint64 * 2)(len(code) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    # A call that the guard has taken up is then broken off by the process's end alone (Linux 5.19).
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):
        fd = int(_libc.syscall(_SECCOMP, _MODE_FILTER, flags, head))
        if fd >= 0 or ctypes.get_errno() != errno.EINVAL:
            break
    if fd < 0:
        raise OSError(ctypes.get_errno(), "a filter of system calls is refused")
    return fd
