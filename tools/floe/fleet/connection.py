# SPDX-License-Identifier: MIT
"""A connection to the libvirt of a host of the table. No call hangs: each has a deadline, and may be interrupted.

What goes over ssh goes over our own one, started with FLOE_SSH's words and asking nobody: libvirt's client connects to
a socket here, which becomes that ssh's standard streams, with virt-ssh-helper at the other end. So ssh's own words tell
why a host is not reached, and a call that hangs ends with it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, Self, TypeVar
from urllib.parse import quote

from floe.errors import FloeError, HostError
from floe.fleet import why
from floe.fleet.binding import binding
from floe.hosts import ssh, table
from floe.hosts.table import LibvirtHost

T = TypeVar("T")
CONNECT_S = 4  # for ssh to be answered at all
OPEN_S = 10.0
ASK_S = 20.0  # a host that was just started looks at its QEMU first
_BEAT_S, _BEATS = 1, 3  # keepalive: who says nothing for so many of them has gone
_CLOSE_S = 1.0
_SAID = 16 << 10  # bytes of ssh's words that are kept
OLDEST = 9_000_000  # of libvirt, as it counts: Debian 12's


class Host:
    """A host that has answered. Any thread may ask."""

    def __init__(self, place: LibvirtHost, connection: Any, line: _Line | None) -> None:
        self.name = place.name
        self.place = place
        self._connection = connection
        self._line = line

    def ask(self, work: Callable[[Any], T], *, deadline_s: float = ASK_S) -> T:
        """What work(connection) returns; it runs in another thread. Raises HostError, and what `work` raises beside
        libvirt's errors. After a deadline that has passed nothing more can be asked."""
        libvirt = binding()
        try:
            return _within(lambda: work(self._connection), deadline_s)
        except libvirt.libvirtError as e:
            raise why.refused(self.place, e, _words(self._line, e)) from None
        except TimeoutError:
            if self._line:
                self._line.end()
            raise why.silent(self.place, deadline_s) from None

    def ask_both(self, other: Host, work: Callable[[Any, Any], T], *, deadline_s: float) -> T:
        """As ask(), of work(connection, the other's)."""
        return self.ask(lambda connection: work(connection, other._connection), deadline_s=deadline_s)

    def close(self) -> None:
        """Whoever still asks gets an error."""
        with contextlib.suppress(Exception):  # the host may be gone, and nobody asks any more
            _within(self._connection.close, _CLOSE_S)
        if self._line:
            self._line.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open(name: str, *, deadline_s: float = OPEN_S) -> Host:
    """Connect to a host of the table. Raises NotFound, ConfigError, UsageError, HostError."""
    return connect(table.find_libvirt(name), deadline_s=deadline_s)


def connect(place: LibvirtHost, *, deadline_s: float = OPEN_S) -> Host:
    """Connect. Raises NotFound where there is no binding; HostError."""
    libvirt = binding()
    end = time.monotonic() + deadline_s
    line = None
    try:
        if place.ssh is None:
            uri = f"{place.driver}+unix:///{place.instance}?socket={quote(place.socket)}" if place.socket else place.uri
            connection = _within(lambda: _opened(libvirt, uri), deadline_s)
        else:
            line = _Line(place)
            connection = line.joined(lambda uri: _opened(libvirt, uri), end)
        host = Host(place, connection, line)
        version = host.ask(lambda c: c.getLibVersion(), deadline_s=max(0.1, end - time.monotonic()))
    except libvirt.libvirtError as e:
        problem = why.refused(place, e, _words(line, e))
    except TimeoutError:
        problem = why.silent(place, deadline_s)
    except BaseException:
        if line:
            line.end()
        raise
    else:
        if version >= OLDEST:
            return host
        host.close()
        problem = why.too_old(place, version, OLDEST)
    if line:
        line.end()
    raise problem


def ask_all(names: Iterable[str], work: Callable[[Host], T]) -> Iterator[tuple[str, T | FloeError]]:
    """What work() returns for each host, all of them asked at once; in the order of the names. A host that does not
    answer costs its deadline."""
    binding()
    asked = [(name, started(partial(_one, name, work))) for name in names]
    for name, future in asked:
        try:
            yield name, future.result()
        except FloeError as e:
            yield name, e


def _one(name: str, work: Callable[[Host], T]) -> T:
    with open(name) as host:
        return work(host)


def _opened(libvirt: Any, uri: str) -> Any:
    connection = libvirt.open(uri)
    connection.setKeepAlive(_BEAT_S, _BEATS)
    return connection


def _words(line: _Line | None, error: Any) -> tuple[int | None, str]:
    """What is known of the ssh behind an error of libvirt's: of one that has ended its status and words."""
    return line.words(lost=error.get_error_domain() == binding().VIR_FROM_RPC) if line else (None, "")


def started(work: Callable[[], T]) -> Future[T]:
    """A thread of its own does it, which a process does not wait for when it ends."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as e:  # who waits gets it
            future.set_exception(e)

    threading.Thread(target=run, daemon=True).start()
    return future


def _within(work: Callable[[], T], deadline_s: float) -> T:
    """Raises TimeoutError when the deadline has passed; the work goes on, and nobody learns of it."""
    return started(work).result(deadline_s)


class _Line:
    """An ssh to a host, which libvirt's client takes for a socket of this machine's."""

    def __init__(self, place: LibvirtHost) -> None:
        """Raises HostError for a FLOE_SSH that is no command."""
        assert place.ssh is not None
        self._place = place
        try:
            self._argv = ssh.argv(place.ssh, f"exec virt-ssh-helper {place.uri}", connect_s=CONNECT_S)
        except ValueError as e:
            raise HostError(f"{ssh.SSH}: {e}") from None
        self._process: subprocess.Popen[bytes] | None = None
        self._said = bytearray()
        self._reader: threading.Thread | None = None

    def joined(self, connect: Callable[[str], T], end: float) -> T:
        """What connect(URI) returns, called in another thread. Raises HostError, TimeoutError, what it raises."""
        with tempfile.TemporaryDirectory(prefix="floe-") as folder, socket.socket(socket.AF_UNIX) as door:
            fd = os.open(folder, os.O_PATH)
            try:
                path = f"/proc/self/fd/{fd}/libvirt"  # the folder's own path may be too long for a socket's
                door.bind(path)
                door.listen(1)
                uri = f"{self._place.driver}+unix:///{self._place.instance}?socket={quote(path)}"
                future = started(lambda: connect(uri))
                door.settimeout(max(0.1, end - time.monotonic()))
                try:
                    near = door.accept()[0]
                except OSError as e:
                    if future.done():
                        return future.result()
                    raise TimeoutError from e
            finally:
                os.close(fd)
        with near:
            self._start(near)
        return future.result(max(0.1, end - time.monotonic()))

    def words(self, *, lost: bool) -> tuple[int | None, str]:
        """ssh's status, None while it runs; and what it has said. lost: nothing gets through, it is about to end."""
        if self._process is None or self._reader is None:
            return None, ""
        if lost:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSE_S)
        if self._process.poll() is None:
            return None, ""
        self._reader.join(_CLOSE_S)
        return self._process.returncode, self._said.decode(errors="backslashreplace")

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self, near: socket.socket) -> None:
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=near.fileno(),
                stdout=near.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as e:
            raise HostError(f"{self._place.name}: cannot start {self._argv[0]}: {e.strerror}",
                            hint="sudo apt-get install -y openssh-client") from None  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        with self._process.stderr as said:
            while piece := os.read(said.fileno(), _SAID):
                self._said += piece
                del self._said[:-_SAID]
