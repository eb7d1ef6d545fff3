# SPDX-License-Identifier: MIT
"""A VM's console on a host: what it said, from the file there, and a line to it, by libvirt's stream.

The file has all that was said, as far as virtlogd keeps it (docs/hosts.md), however slowly somebody reads; the line is
for who types."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from floe.errors import FloeError
from floe.fleet import domain, store
from floe.fleet.binding import binding
from floe.fleet.connection import Host
from floe.fleet.store import Store
from floe.fleet.vms import There, Vms

_BLOCK = 1 << 16
_OLDER = 9  # files that virtlogd may keep beside the one it writes
_OPEN_S = 10.0
_SEND_S = 30.0
_ANSWER_S = 1.0  # a REPL that is typed at answers, if not while code runs
SOON_S, LATER_S = 0.02, 0.25  # how often what a VM says is looked for: soon after it has said something, else later


class Log:
    """A file that virtlogd writes, and renames to NAME.0 when it is full: what is new in it, call by call."""

    def __init__(self, store: Store, name: str, *, begun: bool = False) -> None:
        """begun: the VM has just been started, and nothing older is kept."""
        self._store = store
        self._name = name
        self._offset = 0
        self._begun = begun

    def news(self, connection: Any) -> bytes:
        """What came since the last call; at the first one all that is kept."""
        if not self._begun:
            self._begun = True
            older = [n for n in self._store.names(connection) if n.startswith(f"{self._name}.")]
            first = b"".join(self._store.read(connection, name) for name in _by_age(older))
            return first + self._rest(connection)
        size = self._store.size(connection, self._name)
        if size == self._offset:
            return b""
        if size > self._offset:
            return self._rest(connection)
        self._store.names(connection)  # looks at the files: it was renamed
        last = self._store.read(connection, f"{self._name}.0", self._offset)
        self._offset = 0
        return last + self._rest(connection)

    def skip(self, connection: Any) -> None:
        """What was said until now is no news."""
        self._begun = True
        self._offset = self._store.size(connection, self._name)

    def _rest(self, connection: Any) -> bytes:
        data = self._store.read(connection, self._name, self._offset)
        self._offset += len(data)
        return data


def _by_age(names: list[str]) -> list[str]:
    numbered = [(name.rpartition(".")[2], name) for name in names]
    return [name for number, name in sorted(numbered, key=lambda n: -int(n[0]) if n[0].isdecimal() else 0)
            if number.isdecimal() and int(number) <= _OLDER]  # fmt: skip


class Line:
    """What is typed at a VM's console. One client at a time has it, for as long as it is open. QEMU drops what the VM
    says and such a client is too slow for, but not from the log: of a guest's buffer of 4 KiB a UNIX socket takes all
    or nothing, and where it takes nothing the log has it."""

    def __init__(
        self, vms: Vms, vm: There, channel: str = domain.CHANNEL, heard: Callable[[bytes], None] = lambda data: None
    ) -> None:
        """channel: the console's, or another one. heard: is called in another thread with what comes, b"" at the end.
        Raises FloeError where another has it; HostError."""
        self._host: Host = vms.host
        self._heard = heard
        self._stream: Any = vms.on(vm.name, partial(_opened, channel=channel), deadline_s=_OPEN_S)
        threading.Thread(target=self._empty, daemon=True).start()

    def send(self, data: bytes) -> None:
        """Type. Raises HostError."""
        self._host.ask(lambda connection: send_all(self._stream, data), deadline_s=_SEND_S)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(FloeError):  # the host is gone, or the VM has ended
            self._host.ask(lambda connection: _finish(self._stream), deadline_s=_OPEN_S)

    def _empty(self) -> None:
        with contextlib.suppress(binding().libvirtError, OSError):
            while data := self._stream.recv(_BLOCK):
                self._heard(data)
        self._heard(b"")


class Door:
    """A UNIX socket of this machine's at which one client finds a VM's console: what it says from now on, from its
    log, and what is typed."""

    def __init__(self, vms: Vms, vm: There, path: Path) -> None:
        """Raises FloeError where another has the console; HostError, OSError."""
        self.path = path
        self._vms, self._name = vms, vm.name
        self._line = Line(vms, vm)
        self._log = Log(vms.store, vm.uuid + domain.CONSOLE)
        vms.host.ask(self._log.skip)
        self._typed = threading.Event()  # an answer is soon to come
        self._answered = threading.Event()  # something has come since
        self._answered.set()
        self._closed = False
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(1)
        self._client: socket.socket | None = None
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._serving.start()

    def close(self) -> None:
        """Hang up, once the guest has heard what was typed: QEMU forgets what a guest has not read by then."""
        self._shut(self._listening, socket.SHUT_RDWR)
        self._shut(self._client, socket.SHUT_RD)
        self._serving.join(_SEND_S)
        self._answered.wait(_ANSWER_S)
        self._closed = True
        self._typed.set()
        self._shut(self._client, socket.SHUT_RDWR)
        self._line.close()

    @staticmethod
    def _shut(sock: socket.socket | None, how: int) -> None:
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(how)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            client = self._client = self._listening.accept()[0]
            threading.Thread(target=self._show, args=(client,), daemon=True).start()
            with contextlib.suppress(FloeError):
                while data := client.recv(_BLOCK):
                    self._answered.clear()
                    self._line.send(data)
                    self._typed.set()

    def _show(self, client: socket.socket) -> None:
        delay = SOON_S
        with contextlib.suppress(FloeError, OSError):
            alive = True
            while alive and not self._closed:
                alive, said = self._vms.on(self._name, lambda connection, dom, vm: latest(self._log, connection, vm))
                if said:
                    self._answered.set()
                client.sendall(said)
                delay = SOON_S if said or self._typed.is_set() else min(LATER_S, delay * 1.5)
                self._typed.clear()
                self._typed.wait(delay)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)


def latest(log: Log, connection: Any, vm: There) -> tuple[bool, bytes]:
    """Whether the VM runs; and what it has said since the last look, all of it where it has ended."""
    if not vm.alive:
        store.settle()
    return vm.alive, log.news(connection)


def send_all(stream: Any, data: bytes) -> None:
    """Raises libvirtError."""
    view = memoryview(data)
    while view:
        view = view[stream.send(bytes(view)) :]


def _opened(connection: Any, dom: Any, vm: There, channel: str = domain.CHANNEL) -> Any:
    libvirt = binding()
    stream = connection.newStream()
    try:
        dom.openChannel(channel, stream, 0)
    except libvirt.libvirtError as e:
        if not vm.alive:
            raise FloeError(f"{vm.name} has ended", hint=f"floe logs --host {vm.host} {vm.name}") from None
        if "ctive channel stream" in str(e):
            raise FloeError(
                f"{vm.name} is in use by another client", hint="one client at a time: end that one"
            ) from None
        raise
    return stream


def _finish(stream: Any) -> None:
    with contextlib.suppress(binding().libvirtError):
        stream.finish()
