# SPDX-License-Identifier: MIT
"""The process that carries the networks of one stack: `python -P -m floe.hostnet.networks FOLDER --parent FD`.

FOLDER/networks.json says which there are, with the switch's own address and the names in each:

    {"back": {"address": "10.100.0.1", "names": {"db": [["10.100.0.2", "02:1f:..."]]}}}

Cards connect to FOLDER/NAME.net. Requests come on FOLDER/ctl, a line of JSON each: {"do": "reload"} reads the file
again, {"do": "probe", "network": NAME, "address": A, "port": N} tells whether a port answers. SIGTERM ends it; its
sockets go with it. It imports the standard library only, to be there at once.

FD is a socket: it says {} there when it is there, and ends if the other side is closed before a byte has come, which
means that it is written down whom to end.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from floe.hostnet.station import Gateway
from floe.hostnet.switch import Loop, Network

CONTROL, FILE, SUFFIX = "ctl", "networks.json", ".net"
_LONGEST = 1 << 16  # bytes of a request
_MAX_CLIENTS = 256
_PREDECESSOR_S = 15  # for the end of one that nobody has written down


class Networks:
    """All networks of a stack."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self._folder = folder
        self._networks: dict[str, tuple[Network, Gateway]] = {}
        self._clients: set[socket.socket] = set()
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        signal.alarm(_PREDECESSOR_S)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # until its sockets are gone, whose names are ours
        signal.alarm(0)
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._control.bind(str(folder / CONTROL))
        self._control.listen(16)
        self._control.setblocking(False)
        self.loop.selector.register(self._control, selectors.EVENT_READ, self._accept)

    def reload(self) -> None:
        """Become what the file says. Raises OSError, ValueError, KeyError, TypeError."""
        wanted: dict[str, Any] = json.loads((self._folder / FILE).read_text())
        for name in [name for name in self._networks if name not in wanted]:
            self._close(name)
        for name, asked in wanted.items():
            if name in self._networks and self._networks[name][1].name != asked["address"]:
                self._close(name)
            if name not in self._networks:
                network = Network(self.loop, self._folder / f"{name}{SUFFIX}")
                self._networks[name] = network, Gateway(network, asked["address"])
            self._networks[name][1].set_names(asked["names"])

    def close(self) -> None:
        """Cut all wires."""
        for name in list(self._networks):
            self._close(name)
        for client in self._clients:
            client.close()
        self._control.close()
        (self._folder / CONTROL).unlink(missing_ok=True)
        os.close(self._lock)

    def _close(self, name: str) -> None:
        network, gateway = self._networks.pop(name)
        gateway.close()
        network.close()

    def _accept(self, events: int) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._control.accept()
            if len(self._clients) >= _MAX_CLIENTS:
                client.close()
                return
            client.setblocking(False)
            self._clients.add(client)
            got = bytearray()
            self.loop.selector.register(client, selectors.EVENT_READ, lambda events: self._hear(client, got))

    def _hear(self, client: socket.socket, got: bytearray) -> None:
        if client not in self._clients:
            return
        try:
            data = client.recv(_LONGEST)
        except OSError:
            data = b""
        got += data
        if not data or len(got) > _LONGEST:
            self._leave(client)
        elif got.endswith(b"\n"):
            try:
                self._do(json.loads(got), lambda said: self._answer(client, said))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
                self._answer(client, {"error": f"{type(e).__name__}: {e}"})

    def _do(self, request: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
        if request["do"] == "reload":
            self.reload()
            answer({})
        elif request["do"] == "probe":
            gateway = self._networks[request["network"]][1]
            gateway.probe(request["address"], request["port"], lambda open_: answer({"open": open_}))
        else:
            raise ValueError(request["do"])

    def _answer(self, client: socket.socket, said: dict[str, Any]) -> None:
        if client in self._clients:
            with contextlib.suppress(OSError):
                client.send(json.dumps(said).encode() + b"\n")
            self._leave(client)

    def _leave(self, client: socket.socket) -> None:
        self._clients.discard(client)
        self.loop.selector.unregister(client)
        client.close()


def main() -> None:
    """Carry the networks of one folder until SIGTERM."""
    parser = argparse.ArgumentParser(prog="floe.hostnet.networks")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    parent = socket.socket(fileno=options.parent)
    parent.set_inheritable(False)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    networks = Networks(options.folder)
    waker, woken = socket.socketpair()
    for end in (waker, woken):
        end.setblocking(False)

    def stop(*_: object) -> None:
        networks.loop.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    networks.loop.selector.register(woken, selectors.EVENT_READ, lambda events: woken.recv(64))

    def hear_parent(events: int) -> None:
        networks.loop.selector.unregister(parent)
        with parent, contextlib.suppress(OSError):
            if parent.recv(1):
                return
        stop()

    networks.loop.selector.register(parent, selectors.EVENT_READ, hear_parent)
    try:
        networks.reload()
        with contextlib.suppress(OSError):  # it is gone, as will be heard
            parent.send(b"{}")
        networks.loop.run()
    finally:
        networks.close()


if __name__ == "__main__":
    main()
