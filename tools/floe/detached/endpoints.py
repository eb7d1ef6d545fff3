# SPDX-License-Identifier: MIT
"""Where clients find a VM's console: a pty, a UNIX socket and, where one is asked for, a TCP port of 127.0.0.1, all
joined to one hub, and all for this user alone: by their modes, and at the port by the owner of the client's socket.

One client at a time over all three. Another one on a socket gets one line that says so and is closed; at the pty
that line answers what is typed, until the console is free: from then on the pty has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from floe.detached import peer
from floe.detached.hub import Client, Hub
from floe.stream import inotify
from floe.stream.link import Link

_FOREIGN = b"floe: this console is for the user alone who started the VM\r\n"
_REFUSED_S = 2.0  # how long a refused client may take to hang up
_CONTROLS = bytes(range(0x20))
_KEPT = 16  # control bytes of a refused pty client that reach the guest when the console is free
_POLL_S = 0.25  # how often a pty is looked at where the kernel has no inotify watch left


class Listener:
    """A listening TCP or UNIX socket. Owns it."""

    def __init__(self, sock: socket.socket, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._sock = sock
        self._hub = hub
        self._loop = loop
        self._open: set[Link] = set()
        sock.setblocking(False)
        sock.listen(8)
        loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accept no more, and hang up on those that are there."""
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for link in list(self._open):
            link.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return  # it left again, or we have no descriptor free
        sock.setblocking(False)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        label = _label(sock)
        ours = sock.family != socket.AF_INET or peer.owner(sock) == os.geteuid()
        if ours:
            self._hub.look_for_the_end()
        if not ours or self._hub.client is not None:
            with contextlib.suppress(OSError):
                sock.send(self._hub.refusal() if ours else _FOREIGN)
                sock.shutdown(socket.SHUT_WR)
        link = Link(sock.detach(), self._loop)
        self._open.add(link)
        client = Client(link, label)
        client.on_left = lambda: self._left(link)
        if not ours or not self._hub.attach(client):
            # Its bytes are read: a socket closed over unread ones is reset, and the line might not arrive.
            link.on_end = client.on_left
            link.resume()
            self._loop.call_later(_REFUSED_S, client.on_left)

    def _left(self, link: Link) -> None:
        link.close()
        self._open.discard(link)


class Pty:
    """A pty whose slave, /dev/pts/N, is a terminal in raw mode that this user may open like a serial port."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop
        self._client: Client | None = None
        self._attached = False
        self._refused = b""  # the control bytes that were typed last while the console was another one's
        self._closed = False
        self.on_moved: Callable[[], None] = lambda: None  # `path` is another one now
        self._open()

    def _open(self) -> None:
        self._master, slave = os.openpty()
        self.path = os.ttyname(slave)
        tty.setraw(slave)
        os.fchmod(slave, 0o600)  # or the group tty could type here
        os.close(slave)  # from here on the master says "hung up" while nobody has the slave open
        self._watch: inotify.Watch | None = None
        try:
            self._watch = inotify.Watch(self.path, inotify.OPEN | inotify.CLOSE_WRITE | inotify.CLOSE_NOWRITE)
            self._loop.add_reader(self._watch.fd, self._look)
        except OSError:
            self._loop.call_later(_POLL_S, self._poll, self._master)

    def close(self) -> None:
        """The terminal goes away: who has it open reads an error."""
        self._closed = True
        if self._watch is not None:
            self._loop.remove_reader(self._watch.fd)
            self._watch.close()
        if self._client is not None:
            self._client.link.release()
        os.close(self._master)
        self._master = -1

    def console_is_free(self) -> None:
        """To be called when the hub's client has left: whoever has the pty open has the console now."""
        if self._client is not None and not self._attached:
            self._attached = self._hub.attach(self._client)
            if self._attached and self._refused:
                self._hub.type(self._refused)
                self._refused = b""

    def _poll(self, master: int) -> None:
        if self._master == master and self._watch is None:
            self._look()
            self._loop.call_later(_POLL_S, self._poll, master)

    def _look(self) -> None:
        if self._watch is not None:
            self._watch.happened()
        if self._client is not None or self._closed or self._hung_up():
            return
        link = Link(self._master, self._loop)
        client = self._client = Client(link, f"pty {self.path}")
        client.on_left = self._left
        self._attached = self._hub.attach(client)
        if not self._attached:
            link.on_data = lambda data: self._refuse(link, data)
            link.on_end = self._left
            link.resume()

    def _refuse(self, link: Link, data: bytes) -> None:
        """Say so. mpremote reads over that line and waits for the answer to its Ctrl-C and Ctrl-A: those are kept."""
        typed = self._refused + data
        self._refused = typed[len(typed.rstrip(_CONTROLS)) :][-_KEPT:]
        if not link.queued:
            link.send(self._hub.refusal())

    def _left(self) -> None:
        """Nobody has the slave open: what they left behind, bytes and modes, is not for the next one."""
        if self._client is not None:
            self._client.link.release()
        self._client = None
        self._attached = False
        self._refused = b""
        try:
            slave = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            self._replace()
            return
        try:
            tty.setraw(slave)
            termios.tcflush(slave, termios.TCIFLUSH)
        finally:
            os.close(slave)
        if self._watch is not None:
            self._loop.call_soon(self._look)

    def _replace(self) -> None:
        """Who had it made it exclusive for good (TIOCEXCL outlives its opener): another one, likely of that number."""
        before = self.path
        self.close()
        self._closed = False
        self._open()
        if self.path != before:
            self.on_moved()

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._master, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))


def _label(sock: socket.socket) -> str:
    """Who is on the other side of a connection."""
    if sock.family == socket.AF_INET:
        try:
            return "TCP client {}:{}".format(*sock.getpeername())
        except OSError:
            return "a TCP client"
    pid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})"
    except OSError:
        return f"pid {pid}"


def tcp_socket(wanted: int) -> socket.socket:
    """A socket bound to the wanted port of 127.0.0.1 if that is free, else to any. Raises OSError."""
    for port in (wanted, 0):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            return sock
        except OSError:
            sock.close()
            if not port:
                raise
    raise AssertionError


def unix_socket(path: Path) -> socket.socket:
    """A UNIX socket for this user at `path`, instead of one that an earlier keeper left there. Raises OSError."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        sock.bind(str(path))
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock
