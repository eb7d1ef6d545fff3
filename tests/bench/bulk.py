# SPDX-License-Identifier: MIT
"""Bulk TCP each way, checked to the byte: Mbit/s, the longest silence, and the ratio to the Linux microVM.

The data is noise that both ends make (guests/bulk.py). What the guest sends is hashed here and compared with what
it should be; what it receives it compares itself, and in a run that is not timed it returns the SHA-256 of it.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from floe.bench.linux import MACHINE, LinuxVm
from floe.errors import VmError
from tests.bench.common import GUESTS, Options, Report, alternate, build, expect, floe_vm, median, ratios, say, spread

_SCRIPT = GUESTS / "guest_bulk.py"
_PORT = 5001
_SIZE = 65536
_FULL = 500_000_000 // _SIZE + 1  # blocks
_SILENCE_LIMIT_S = 60.0


def _noise() -> bytearray:
    out = bytearray(_SIZE)
    state = 1
    for i in range(_SIZE):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out[i] = state >> 16 & 0xFF
    return out


class _Data:
    """All blocks, and the hash of them: made once, outside what is timed."""

    def __init__(self, count: int) -> None:
        block = _noise()
        self.count = count
        self.stream = bytearray(count * _SIZE)
        for n in range(count):
            block[0:3] = n.to_bytes(3, "little")
            self.stream[n * _SIZE : (n + 1) * _SIZE] = block
        self.sha256 = hashlib.sha256(self.stream).digest()


def _connect(port: int, verb: str, count: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=_SILENCE_LIMIT_S)
    sock.sendall(f"{verb} {count}\n".encode())
    return sock


def _get(port: int, data: _Data) -> Report:
    """Guest to host."""
    got = bytearray(len(data.stream))
    view = memoryview(got)
    at, silence = 0, 0.0
    with _connect(port, "get", data.count) as sock:
        start = last = time.monotonic()
        while at < len(got):
            n = sock.recv_into(view[at : at + (1 << 20)])
            now = time.monotonic()
            if n == 0:
                raise VmError(f"the guest stopped sending after {at} bytes")
            silence, last, at = max(silence, now - last), now, at + n
        seconds = last - start
    if hashlib.sha256(got).digest() != data.sha256:
        raise VmError("what the guest sent is not what it should be: SHA-256 differs")
    return _figures(len(got), seconds, silence)


def _put(port: int, data: _Data, verb: str = "put", answer: bytes = b"ok\n") -> Report:
    """Host to guest."""
    view = memoryview(data.stream)
    at, silence = 0, 0.0
    with _connect(port, verb, data.count) as sock:
        start = last = time.monotonic()
        while at < len(view):
            n = sock.send(view[at : at + (1 << 18)])
            now = time.monotonic()
            silence, last, at = max(silence, now - last), now, at + n
        said = sock.recv(64)
        end = time.monotonic()
        silence = max(silence, end - last)
    if said != answer:
        raise VmError(f"the guest received something else: it says {said!r}")
    return _figures(len(view), end - start, silence)


def _figures(size: int, seconds: float, silence: float) -> Report:
    return {"mbit_s": size * 8 / seconds / 1e6, "silence_ms": silence * 1000, "seconds": seconds}


def _systems(stack: ExitStack, options: Options) -> dict[str, int]:
    """Boot all; port of each."""
    ports = {}
    for accel, machine in [*((accel, "microvm") for accel in options.accels), ("tcg", MACHINE)]:
        vm = stack.enter_context(floe_vm(build(_SCRIPT), accel=accel, machine=machine, ports=[_PORT]))
        expect(vm, "bulk: ready")
        ports[f"floe {accel} {machine}"] = vm.ports[_PORT]
    linux = stack.enter_context(LinuxVm(_SCRIPT, (_PORT,), {"PORT": str(_PORT)}))
    linux.wait_for("bulk: ready")
    ports[f"linux tcg {MACHINE}"] = linux.ports[_PORT]
    return ports


def bench(options: Options) -> Report:
    """500 MB each way in alternation on every system."""
    data = _Data(_FULL // 10 if options.quick else _FULL)
    report: Report = {"bytes": len(data.stream)}
    with ExitStack() as stack:
        ports = _systems(stack, options)
        for name, port in ports.items():
            say(f"bulk: SHA-256 in the guest, {name}")
            _put(port, data, "hash", data.sha256)
        directions: tuple[tuple[str, Callable[[int, _Data], Any]], ...] = (
            ("guest_to_host", _get),
            ("host_to_guest", _put),
        )
        for direction, move in directions:
            say(f"bulk: {direction}")
            runs = alternate(options.rounds, {name: partial(move, port, data) for name, port in ports.items()})
            result = {
                name: {
                    "mbit_s": spread([run["mbit_s"] for run in values], 1),
                    "longest_silence_ms": round(max(run["silence_ms"] for run in values), 1),
                    "seconds": median([run["seconds"] for run in values], 2),
                }
                for name, values in runs.items()
            }
            result["ratios"] = ratios(runs, "mbit_s")
            report[direction] = result
    report["sha256"] = "equal"
    return report
