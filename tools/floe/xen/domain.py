# SPDX-License-Identifier: MIT
"""Proxy process for one Xen domain; to its owner it behaves as QEMU does. Started by vm.py or by parent.py as
`python -P -m floe.xen.domain`, with the options of xen_driver.py. It inherits three sockets, connected or listening:
the guest's console, its 16550 (which a Xen guest does not have: nothing comes), and events for its owner.

It makes the domain, joins its console with the socket, ends it on SIGTERM, and ends when it has ended, with QEMU's
exit status. It owns nothing that outlives it: when it is killed, the script in dom0 sees the end of its input and
destroys the domain.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from floe.errors import FloeError
from floe.spec.disks import Disk
from floe.spec.handover import Blob
from floe.spec.ports import Forward
from floe.xen import events, places, scripts, xlconfig
from floe.xen.wire import HIGH_WATER, Wire

_QUIET_S = 0.5  # xenconsoled may hold output back for 0.2 s
_MISSING_S = 2.0  # and this long when it is known that bytes are still to come
_DESTROY_S = 20.0
_CHUNK = 1 << 16
_SEED = 32  # bytes
_REASONS = {0: "guest-shutdown", 1: "guest-reset"}  # public/sched.h: poweroff, reboot
_CODE_MAX = 126  # what fits into an exit status


class Domain:
    """One domain, from its creation to its destruction."""

    def __init__(self, place: places.Place, wires: Sequence[Wire]) -> None:
        """wires: the console's, the 16550's, that of the events."""
        self._place = place
        self._wires = wires
        self._owner, _, self._events = wires
        self._control: socket.socket | None = None
        self._guest: socket.socket | None = None  # its console, by way of dom0
        self._to_control = bytearray()
        self._to_guest = bytearray()
        self._line = b""  # the beginning of one from the control script
        self._xl_lines: list[str] = []  # output of xl's own
        self._console_known = False  # scripts.CONSOLE was told which tty to join
        self._received = 0  # bytes of the guest's console
        self._last_byte = 0.0
        self._running = False
        self._stopping = False  # our owner asked for it
        self._ending: tuple[int, str, int | None] | None = None  # exit status, reason, bytes of console in all
        self._wakeup, wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup.setblocking(False)
        signal.set_wakeup_fd(wakeup.detach())

    def run(self, elf: bytes, configuration: str, blobs: Sequence[Blob]) -> int:
        """Exit status of this process. Raises FloeError when there is no domain, or none any more."""
        signal.signal(signal.SIGTERM, self._stop)
        store = scripts.store(blobs, b"" if self._place.has_rdrand() else os.urandom(_SEED))
        self._control = self._place.connect(scripts.control(len(elf), configuration, store))
        self._to_control += elf + store.encode()
        self._guest = self._place.connect(scripts.CONSOLE)
        for sock in (self._control, self._guest):
            sock.setblocking(False)
        try:
            while not self._finished():
                self._turn()
        finally:
            self._destroy()
        status, reason = self._ending[:2] if self._ending else (0, "host-signal")
        self._events.put(events.encode("SHUTDOWN", reason=reason))
        return status

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    # ---- one turn -----------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait until something can be moved, and move it."""
        assert self._control is not None
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(self._control, select.POLLIN | (select.POLLOUT if self._to_control else 0))
        if self._guest is not None:
            wanted = select.POLLIN if self._owner.room else 0
            poll.register(self._guest, wanted | (select.POLLOUT if self._to_guest and self._console_known else 0))
        for wire in self._wires:
            if (mask := wire.mask(reading=len(self._to_guest) < HIGH_WATER)) and wire.fileno() >= 0:
                poll.register(wire, mask)
        ready = {fd for fd, _ in poll.poll(self._timeout_ms())}
        if self._wakeup.fileno() in ready:
            self._wakeup.recv(64)
        for wire in self._wires:  # first: what the guest says is for an owner that has come, not for one that has left
            if wire.fileno() in ready:
                data = wire.turn()
                if wire is self._owner:
                    self._to_guest += data
        self._control_turn(ready)
        self._guest_turn(ready)

    def _control_turn(self, ready: set[int]) -> None:
        assert self._control is not None
        if self._control.fileno() not in ready:
            return
        _send(self._control, self._to_control)
        data = _receive(self._control)
        if data == b"":
            if self._running:
                raise places.connection_lost_error(self._place)
            raise places.create_failed_error(self._xl_lines, self._place)
        *lines, self._line = (self._line + (data or b"")).split(b"\n")
        for line in lines:
            self._handle_line(line.decode(errors="replace"))

    def _handle_line(self, line: str) -> None:
        if not line.startswith(scripts.MARK):
            self._xl_lines.append(line)
            return
        word, *rest = line.removeprefix(scripts.MARK).split() or [""]
        if word == "domain":
            self._to_guest[:0] = (rest[1] if len(rest) > 1 else "/dev/null").encode() + b"\n"
            self._console_known = True
        elif word == "up":
            self._running = True
            self._events.put(events.encode("RESUME"))
        elif word == "shutdown":
            self._ending = _ending(rest)
            self._last_byte = time.monotonic()
        elif word == "xl" and self._ending is None and not self._stopping:
            if not self._running:
                raise places.create_failed_error(self._xl_lines, self._place)
            raise FloeError("the domain was destroyed from outside")

    def _guest_turn(self, ready: set[int]) -> None:
        if self._guest is None or self._guest.fileno() not in ready:
            return
        if self._console_known:
            _send(self._guest, self._to_guest)
        data = _receive(self._guest) if self._owner.room else None
        if data == b"":
            self._guest.close()
            self._guest = None
        elif data:
            self._received += len(data)
            self._last_byte = time.monotonic()
            self._owner.put(data)

    # ---- the end ------------------------------------------------------------------------------------

    def _finished(self) -> bool:
        """Whether the domain may be destroyed: its owner asked for it, or its last output has been taken."""
        if self._stopping:
            return True
        if self._ending is None:
            return False
        return (self._guest is None and self._owner.idle) or self._timeout_ms() == 0

    def _timeout_ms(self) -> int | None:
        """How long to wait for the next byte; None: for ever."""
        if self._ending is None or not self._owner.idle:
            return None
        total = self._ending[2]
        if total is not None and self._received & 0xFFFFFFFF == total:
            return 0
        deadline = self._last_byte + (_QUIET_S if total is None else _MISSING_S)
        return max(0, int((deadline - time.monotonic()) * 1000 + 1))

    def _destroy(self) -> None:
        """Let the script in dom0 destroy the domain, and wait until it has."""
        assert self._control is not None
        if self._guest is not None:
            self._guest.close()
        self._control.settimeout(_DESTROY_S)
        try:
            self._control.shutdown(socket.SHUT_WR)
            while self._control.recv(_CHUNK):
                pass
        except OSError:
            return  # dom0 is gone, and the domain with it


def _ending(words: Sequence[str]) -> tuple[int, str, int | None]:
    """Exit status, QMP's word for the reason, and how many bytes the guest put on its console, from the script's words:
    the reason's number, and what the guest wrote, which may be anything."""
    reason, *said = [int(word) if word.isdecimal() and len(word) < 11 else -1 for word in words] or [-1]
    total = said[1] if len(said) > 1 and said[1] >= 0 else None
    status = (said[0] + 1) << 1 | 1 if said and 0 <= said[0] <= _CODE_MAX else 0
    return status, _REASONS.get(reason, "guest-panic"), total


def _blobs(options: Sequence[str]) -> list[Blob]:
    named = (text.rpartition("=") for text in options)
    return [Blob(name, Path(f"/dev/fd/{fd}").read_bytes()) for name, _, fd in named]


def _send(sock: socket.socket, data: bytearray) -> None:
    if data:
        try:
            del data[: sock.send(data[:_CHUNK])]
        except BlockingIOError:
            pass
        except OSError:
            data.clear()  # what it still says is read


def _receive(sock: socket.socket) -> bytes | None:
    """b"": it has ended. None: nothing now."""
    try:
        return sock.recv(_CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def main() -> int:
    """Run one domain."""
    parser = argparse.ArgumentParser(prog="floe.xen.domain")
    parser.add_argument("--place", required=True)
    parser.add_argument("--elf", required=True)
    parser.add_argument("--config", required=True, help="as xl reads it, without the kernel")
    parser.add_argument("--forward", action="append", default=[], help="PROTOCOL,ADDRESS,PORT,GUEST,PORT")
    parser.add_argument("--disk", action="append", default=[], help="ro|rw,PATH")
    parser.add_argument("--blob", action="append", default=[], help="NAME=DESCRIPTOR")
    for wire in ("--console", "--serial", "--events"):
        parser.add_argument(wire, type=int, required=True)
    options = parser.parse_args()
    wires = [Wire(socket.socket(fileno=fd)) for fd in (options.console, options.serial, options.events)]
    place = places.by_name(options.place)
    with contextlib.ExitStack() as leases:
        try:
            signal.signal(signal.SIGTERM, _terminate)
            for one in wires:
                one.wait()
            configuration = _provide(place, options, leases)
            return Domain(place, wires).run(Path(options.elf).read_bytes(), configuration, _blobs(options.blob))
        except _Terminated:
            wires[2].put(events.encode("SHUTDOWN", reason="host-signal"))
            return 0
        except (FloeError, OSError, ValueError) as e:
            failure = e if isinstance(e, FloeError) else FloeError(f"the domain's process failed: {e}")
            wires[2].put(events.encode("FAILED", message=failure.message, evidence=failure.evidence, hint=failure.hint))
            print(failure.render(), file=sys.stderr)
            return 1


class _Terminated(Exception):
    """SIGTERM before there was a domain."""


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


def _provide(place: places.Place, options: argparse.Namespace, leases: contextlib.ExitStack) -> str:
    """Forward ports and bring disks to dom0; returns the configuration with the names they have there."""
    targets: list[str] = []
    for text in options.forward:
        protocol, address, port, guest, guest_port = text.split(",")
        lease = place.forward(Forward(address, int(port), int(guest_port), protocol), guest)
        leases.callback(lease.close)
    for number, text in enumerate(options.disk):
        access, _, path = text.partition(",")
        target, disk = place.disk(Disk(Path(path), readonly=access == "ro"))
        if disk is not None:
            leases.callback(disk.close)
        targets.append(xlconfig.disk(target, number, readonly=access == "ro"))
    return "".join([options.config, *xlconfig.disk_lines(targets)])


if __name__ == "__main__":
    sys.exit(main())
