# SPDX-License-Identifier: MIT
"""Whether a port of a guest answers, asked through the port of its host that is forwarded to it.

QEMU takes a connection to that port whatever becomes of it. So one is held open, by ssh where the host is another
machine (as `ssh -W`: the port may be its 127.0.0.1's), and QEMU is asked for how far the guest has come with it."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from typing import Any

from floe.errors import HostError
from floe.fleet import binding
from floe.fleet.vms import There, Vms
from floe.hosts import ssh
from floe.spec.ports import Forward

_CONNECT_S = 4
_ENDING_S = 2.0  # from a monitor that hangs up to a domain that has ended
_HMP = 1  # VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
_ANY = "0.0.0.0"
# libslirp's words: a connection of the guest's, its state, descriptor, source, and where it leads.
_ROW = re.compile(r"^\s*TCP\[(?P<state>[A-Z_0-9]+)\]\s+\S+\s+\S+\s+\S+\s+\S+\s+(?P<port>[0-9]+)\s", re.MULTILINE)
_UNANSWERED = frozenset({"HOST_FORWARD", "CLOSED", "LISTEN", "SYN_SENT", "SYN_RECEIVED"})


class Probe:
    """Asks one port. Must be closed."""

    def __init__(self, vms: Vms, name: str, forward: Forward) -> None:
        self._vms, self._name = vms, name
        self._forward = forward
        self._connected: _Through | socket.socket | None = None

    def answers(self) -> bool:
        """Whether it does by now. Raises HostError where the host lets nobody ask; as Vms.find() does."""
        if self._connected is None or _is_over(self._connected):
            self.close()
            self._connected = self._connect()
        try:
            return self._vms.on(self._name, self._answered)
        except HostError:
            if self._vms.wait(self._name, _ENDING_S).alive:
                raise
            return False  # QEMU ended while it was asked

    def close(self) -> None:
        """Hang up."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def _connect(self) -> _Through | socket.socket | None:
        address = "127.0.0.1" if self._forward.address == _ANY else self._forward.address
        place = self._vms.host.place
        if place.ssh is not None:
            argv = ssh.through(place.ssh, f"{address}:{self._forward.host_port}", connect_s=_CONNECT_S)
            return _Through(place.name, argv)
        try:
            return socket.create_connection((address, self._forward.host_port), _CONNECT_S)
        except OSError:
            return None

    def _answered(self, connection: Any, domain: Any, vm: There) -> bool:
        if not vm.alive:
            return False
        said = binding.monitor().qemuMonitorCommand(domain, "info usernet", _HMP)
        return is_answered(said, self._forward.guest_port)


def is_answered(said: str, port: int) -> bool:
    """Whether a guest has taken a connection to its port, by what `info usernet` says."""
    rows = _ROW.finditer(said)
    return any(int(row["port"]) == port and row["state"] not in _UNANSWERED for row in rows)


class _Through:
    """A connection through ssh."""

    def __init__(self, host: str, argv: list[str]) -> None:
        self._host = host
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )

    def is_over(self) -> bool:
        """Raises HostError where the host refuses to carry it."""
        if self._process.poll() is None:
            return False
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="backslashreplace").strip()
        if "administratively prohibited" in said:
            hint = "AllowTcpForwarding in its sshd_config, or ready = { line = TEXT }"
            raise HostError(f"{self._host} lets nobody ask its ports through ssh: {said}", hint=hint)
        return True

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _is_over(connected: _Through | socket.socket) -> bool:
    if isinstance(connected, _Through):
        return connected.is_over()
    with contextlib.suppress(BlockingIOError):
        try:
            return not connected.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except ConnectionError:
            return True
    return False
