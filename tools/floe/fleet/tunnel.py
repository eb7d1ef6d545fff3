# SPDX-License-Identifier: MIT
"""A way for a VM's memory from host to host by two ssh, through this machine: neither host has a key for the other, or
must reach it, and nothing goes in plain.

libvirt's own tunnel (VIR_MIGRATE_TUNNELLED) goes from libvirtd to libvirtd, so the source would need a key for the
target; its TLS needs certificates on both. Here the source's sshd listens at a port of its loopback; who connects there
gets to a socket here, and on to the same port of the target's loopback, where QEMU listens. Both ssh are there before
the memory comes: what waits for one is in buffers, and the VM stands still until they are empty.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import Self

from floe.errors import HostError
from floe.fleet import why
from floe.fleet.connection import CONNECT_S
from floe.hosts import ssh
from floe.hosts.table import LibvirtHost

LOOPBACK = "127.0.0.1"
_OPEN_S = 15.0
_CLOSE_S = 1.0
_READY = "floe-is-there"  # what a shell says there, once ssh has said what became of the forward


class Tunnel:
    """port: at the loopback of both hosts."""

    def __init__(self, port: int, onward: _Forward) -> None:
        self.port = port
        self._onward = onward

    def problem(self) -> str:
        """What the ssh to the target said since it was there."""
        return self._onward.last()


@contextlib.contextmanager
def through_here(source: LibvirtHost, target: LibvirtHost) -> Iterator[Tunnel]:
    """From the source's loopback to that of the target; ssh reaches both. Raises HostError."""
    with tempfile.TemporaryDirectory(prefix="floe-") as folder, contextlib.ExitStack() as stack:
        fd = os.open(folder, os.O_PATH)
        stack.callback(os.close, fd)
        door = f"/proc/{os.getpid()}/fd/{fd}/door"  # the folder's own path may be too long for a socket's
        back = stack.enter_context(_Forward(source, "-R", f"{LOOPBACK}:0:{door}"))
        found = re.search(rf"^Allocated port (\d+) for remote forward to {re.escape(door)}", back.said(), re.M)
        if not found:
            raise back.refused()
        port = int(found[1])
        onward = stack.enter_context(_Forward(target, "-L", f"{door}:{LOOPBACK}:{port}"))
        if not os.path.exists(door):
            raise onward.refused()
        yield Tunnel(port, onward)


class _Forward:
    """An ssh that forwards, once it is there; a context manager."""

    def __init__(self, place: LibvirtHost, option: str, forward: str) -> None:
        """Raises HostError."""
        assert place.ssh is not None
        self._place = place
        self._lines: list[str] = []
        self._ready = threading.Event()
        argv = ssh.argv(place.ssh, f"echo {_READY}; exec cat", connect_s=CONNECT_S, forward=(option, forward))
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            text=True, errors="backslashreplace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            if not self._ready.wait(_OPEN_S):
                raise why.silent(place, _OPEN_S)
        except BaseException:
            self._end()
            raise

    def said(self) -> str:
        """ssh's words so far."""
        return "\n".join(self._lines)

    def last(self) -> str:
        """The last of them."""
        return self._lines[-1] if self._lines else ""

    def refused(self) -> HostError:
        """There is no forward."""
        hint = "AllowTcpForwarding yes in its sshd_config; or --address ADDR, by TCP, which nothing encrypts"
        return HostError(f"{self._place.name}: its ssh forwards nothing: {self.last()}", hint=hint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for line in said:
                if line.strip() == _READY:
                    self._ready.set()
                elif line.strip():
                    self._lines.append(line.strip())
        self._ready.set()  # nothing more comes

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join(_CLOSE_S)  # what ssh has started may have its words' pipe still
