# SPDX-License-Identifier: MIT
"""Proxy process for one Xen domain; to its owner it behaves as QEMU does. Started by vm.py or by parent.py as
`python -P -m floe.xen.domain`, with the options of xen_driver.py. It inherits sockets, connected or listening:
the guest's console, its 16550 (which a Xen guest does not have: nothing comes), events for its owner, and the line of
the guest's family where it may have one.

It makes the domain, or waits for one that it is to make a copy of (--copied: copying.py says how it is asked), joins
its console and that line with the sockets, ends it on SIGTERM, and ends when it has ended, with QEMU's exit status. It
owns nothing that outlives it: when it is killed, the script in dom0 sees the end of its input and destroys the domain.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from floe.errors import FloeError
from floe.spec.disks import Disk
from floe.spec.handover import Blob
from floe.spec.ports import Forward
from floe.xen import events, places, scripts, xlconfig
from floe.xen.arrival import Arrival
from floe.xen.joint import Joint, receive, send
from floe.xen.wire import Wire

_QUIET_S = 0.5  # xenconsoled may hold output back for 0.2 s
_MISSING_S = 2.0  # and this long when it is known that bytes are still to come
_FAMILY_QUIET_S = 0.2  # the guest waits for its frames to be taken; this is dom0's time to bring the last ones here
_DESTROY_S = 20.0
_CHUNK = 1 << 16
_SEED = 32  # bytes
_REASONS = {0: "guest-shutdown", 1: "guest-reset"}  # public/sched.h: poweroff, reboot
_CODE_MAX = 126  # what fits into an exit status


class Domain:
    """One domain, from its creation to its destruction."""

    def __init__(self, place: places.Place, wires: Sequence[Wire]) -> None:
        """wires: the console's, the 16550's, that of the events, and the family's if it may have one."""
        self._place = place
        self._wires = wires
        self._owner, _, self._events, *self._kin = wires
        self._control: socket.socket | None = None
        self._to_control = bytearray()
        self._joints: dict[Wire, Joint] = {}
        self._line = b""  # the beginning of one from the control script
        self._xl_lines: list[str] = []  # output of xl's own
        self._number = ""  # of the domain, once it is there
        self._running = False
        self._stopping = False  # our owner asked for it
        self._ending: tuple[int, str, int | None] | None = None  # exit status, reason, bytes of console in all
        self._ended_at = 0.0
        self._asked = b""  # the beginning of a line of our owner's
        self._arrival = Arrival()
        self._provide: Callable[[], str] | None = None  # the configuration of a copy
        self._state: int | None = None  # descriptor of a file that the copy is made of
        self._state_size = 0
        self._wakeup, wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup.setblocking(False)
        signal.set_wakeup_fd(wakeup.detach())

    def run(self, elf: bytes, configuration: str, blobs: Sequence[Blob]) -> int:
        """Exit status of this process. Raises FloeError when there is no domain, or none any more."""
        store = self._store(blobs)
        return self._serve(scripts.control(len(elf), configuration, store), elf + store.encode())

    def run_copy(self, provide: Callable[[], str], blobs: Sequence[Blob], state: int | None = None) -> int:
        """As run(), of a domain that is made of another one, or of the state in a file. provide: what is lent to it,
        once that one stands still; returns the configuration."""
        self._provide = provide
        self._state = state
        store = self._store(blobs)
        try:
            return self._serve(scripts.control_copy(store), store.encode())
        except (FloeError, OSError) as e:
            self._arrival.answer(e.message if isinstance(e, FloeError) else str(e))
            raise

    def _store(self, blobs: Sequence[Blob]) -> str:
        seed = b"" if self._place.has_rdrand() else os.urandom(_SEED)
        return scripts.store(blobs, seed, family=bool(self._kin))

    def _serve(self, control: str, given: bytes) -> int:
        signal.signal(signal.SIGTERM, self._stop)
        self._control = self._place.connect(control)
        self._to_control += given
        self._control.setblocking(False)
        self._joints[self._owner] = Joint(self._place.connect(scripts.CONSOLE), self._owner)
        for wire in self._kin:
            self._joints[wire] = Joint(self._place.connect(scripts.FAMILY), wire)
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

    def _ready(self) -> set[int]:
        """Wait until something can be moved: which descriptors say so."""
        assert self._control is not None
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(self._control, select.POLLIN | (select.POLLOUT if self._to_control else 0))
        for joint in self._joints.values():
            joint.register(poll)
        for wire in self._wires:
            reading = wire not in self._joints or self._joints[wire].room
            if (mask := wire.mask(reading=reading)) and wire.fileno() >= 0:
                poll.register(wire, mask)
        if self._arrival.fileno() >= 0:
            poll.register(self._arrival, select.POLLIN)
        return {fd for fd, _ in poll.poll(self._timeout_ms())}

    def _turn(self) -> None:
        """Move what can be moved."""
        ready = self._ready()
        if self._wakeup.fileno() in ready:
            self._wakeup.recv(64)
        for wire in self._wires:  # first: what the guest says is for an owner that has come, not for one that has left
            if wire.fileno() in ready:
                data = wire.turn()
                if wire in self._joints:
                    self._joints[wire].put(data)
                elif wire is self._events:
                    self._heed(data)
        for wire in self._kin:
            if wire.left and not self._joints[wire].closed:  # nobody else knows what has been said on it
                self._joints[wire].close()
                self._to_control += scripts.END_FAMILY
        self._control_turn(ready)
        for joint in self._joints.values():
            joint.turn(ready)
        for wire in self._kin:
            if self._joints[wire].closed and wire.idle:
                wire.hang_up()
        if self._arrival.fileno() in ready:
            self._arrival_turn()

    def _arrival_turn(self) -> None:
        number = self._arrival.turn()
        if number is not None:
            assert self._provide is not None
            configuration = self._provide().encode()
            self._to_control += f"copy {number} {len(configuration)}\n".encode() + configuration

    def _heed(self, data: bytes) -> None:
        """What our owner asks of a copy: copying.py has the list."""
        if self._provide is None:
            return
        *lines, self._asked = (self._asked + data).split(b"\n")
        for line in lines:
            asked = json.loads(line)
            if asked["do"] == "expect":
                self._arrival.expect(asked["fd"])
                self._events.put(events.encode("EXPECTS"))
            elif asked["do"] == "load":
                configuration = self._provide().encode()
                self._state_size = int(asked["size"])
                version = "".join(asked["version"].split()) or "-"
                self._to_control += f"restore {version} {len(configuration)}\n".encode() + configuration
            elif asked["do"] == "run":
                self._to_control += scripts.RUN

    def _send_state(self, folder: str) -> None:
        """Into dom0, whatever it takes; xl says what is wrong with it, or that it has ended too early."""
        assert self._state is not None
        with contextlib.suppress(OSError), self._place.connect(scripts.STATE) as sock:
            sock.setblocking(True)
            sock.sendall(f"{folder}\n".encode())
            at = 0
            while at < self._state_size:
                at += (sent := os.sendfile(sock.fileno(), self._state, at, self._state_size - at))
                if not sent:
                    return
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(_CHUNK):
                pass

    def _control_turn(self, ready: set[int]) -> None:
        assert self._control is not None
        if self._control.fileno() not in ready:
            return
        send(self._control, self._to_control)
        data = receive(self._control)
        if data == b"":
            if self._running:
                raise places.connection_lost_error(self._place)
            raise self._not_made()
        *lines, self._line = (self._line + (data or b"")).split(b"\n")
        for line in lines:
            self._handle_line(line.decode(errors="replace"))

    def _handle_line(self, line: str) -> None:
        if not line.startswith(scripts.MARK):
            self._xl_lines.append(line)
            return
        word, *rest = line.removeprefix(scripts.MARK).split() or [""]
        if word == "domain":
            number, folder, *tty = rest
            self._number = number
            self._joints[self._owner].tell("".join(tty) or "/dev/null")
            for wire in self._kin:
                self._joints[wire].tell(f"{number} {folder}")
        elif word == "up":
            self._running = True
            self._events.put(events.encode("RESUME", domain=self._number))
        elif word == "state":
            threading.Thread(target=self._send_state, args=(rest[0],), daemon=True).start()
        elif word == "copied":
            self._arrival.answer()
            if self._state is not None:
                self._events.put(events.encode("LOADED"))
        elif word == "shutdown":
            self._ending = _ending(rest)
            self._ended_at = time.monotonic()
        elif word == "xl" and self._ending is None and not self._stopping:
            if not self._running:
                raise self._not_made()
            raise FloeError("the domain was destroyed from outside")

    def _not_made(self) -> FloeError:
        if self._provide is None:
            return places.create_failed_error(self._xl_lines, self._place)
        return places.copy_failed_error(self._xl_lines, self._place)

    # ---- the end ------------------------------------------------------------------------------------

    def _finished(self) -> bool:
        """Whether the domain may be destroyed: its owner asked for it, or its last output has been taken."""
        if self._stopping:
            return True
        if self._ending is None:
            return False
        return self._timeout_ms() == 0

    def _timeout_ms(self) -> int | None:
        """How long to wait for the next byte; None: for ever."""
        if self._ending is None or not all(wire.idle for wire in self._joints):
            return None
        total = self._ending[2]
        quiet_s = dict.fromkeys(self._kin, _FAMILY_QUIET_S)
        if total is None or self._joints[self._owner].received & 0xFFFFFFFF != total:
            quiet_s[self._owner] = _QUIET_S if total is None else _MISSING_S
        deadlines = [
            max(self._ended_at, self._joints[wire].last_byte) + wait_s
            for wire, wait_s in quiet_s.items()
            if not self._joints[wire].closed
        ]
        return max(0, int((max(deadlines) - time.monotonic()) * 1000 + 1)) if deadlines else 0

    def _destroy(self) -> None:
        """Let the script in dom0 destroy the domain, and wait until it has."""
        assert self._control is not None
        for joint in self._joints.values():
            joint.close()
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


def main() -> int:
    """Run one domain."""
    parser = argparse.ArgumentParser(prog="floe.xen.domain")
    parser.add_argument("--place", required=True)
    parser.add_argument("--elf", required=True)
    parser.add_argument("--config", required=True, help="as xl reads it, without the kernel")
    parser.add_argument("--forward", action="append", default=[], help="PROTOCOL,ADDRESS,PORT,GUEST,PORT")
    parser.add_argument("--disk", action="append", default=[], help="ro|rw,PATH")
    parser.add_argument("--blob", action="append", default=[], help="NAME=DESCRIPTOR")
    parser.add_argument("--copied", action="store_true")
    parser.add_argument("--state", type=int, help="descriptor of what floe.xen.keeping has written")
    for wire in ("--console", "--serial", "--events"):
        parser.add_argument(wire, type=int, required=True)
    parser.add_argument("--family", type=int)
    options = parser.parse_args()
    fds = [options.console, options.serial, options.events, *([] if options.family is None else [options.family])]
    wires = [Wire(socket.socket(fileno=fd)) for fd in fds]
    place = places.by_name(options.place)
    with contextlib.ExitStack() as leases:
        try:
            signal.signal(signal.SIGTERM, _terminate)
            for one in wires:
                one.wait()
            domain, blobs = Domain(place, wires), _blobs(options.blob)
            _forward(place, options, leases)
            if options.copied:
                return domain.run_copy(lambda: _configuration(place, options, leases), blobs, options.state)
            configuration = _configuration(place, options, leases)
            return domain.run(Path(options.elf).read_bytes(), configuration, blobs)
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


def _forward(place: places.Place, options: argparse.Namespace, leases: contextlib.ExitStack) -> None:
    for text in options.forward:
        protocol, address, port, guest, guest_port = text.split(",")
        lease = place.forward(Forward(address, int(port), int(guest_port), protocol), guest)
        leases.callback(lease.close)


def _configuration(place: places.Place, options: argparse.Namespace, leases: contextlib.ExitStack) -> str:
    """Bring the disks to dom0; returns the configuration with the names they have there."""
    targets: list[str] = []
    for number, text in enumerate(options.disk):
        access, _, path = text.partition(",")
        target, disk = place.disk(Disk(_for_others(path), readonly=access == "ro"))
        if disk is not None:
            leases.callback(disk.close)
        targets.append(xlconfig.disk(target, number, readonly=access == "ro"))
    return "".join([options.config, *xlconfig.disk_lines(targets)])


def _for_others(path: str) -> Path:
    """A file that we have inherited, by a name that is good in other processes."""
    folder, _, number = path.rpartition("/")
    return Path(f"/proc/{os.getpid()}/fd/{number}" if folder == "/dev/fd" else path)


if __name__ == "__main__":
    sys.exit(main())
