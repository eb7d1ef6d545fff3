# SPDX-License-Identifier: MIT
"""/metrics, /health and /ready on a port of their own."""

import gc
import socket

from appliance import Metrics
from appliance.admin import MAX_HEAD, answer, complete
from loop import IN

_CLIENTS = 8
_CLIENT_MS = 5000


class AdminPort:
    """What appliance's pages ask: `metrics`, `problems()`, `is_ready`, `is_stopping`."""

    def __init__(self, server: object, port: int) -> None:
        """A port that cannot be opened is a warning."""
        self.server = server
        self.metrics = Metrics()
        self.is_ready = False
        self.is_stopping = False
        self.open = 0
        self._measure()
        self._sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sock.bind(socket.getaddrinfo("::", port, socket.AF_INET6, socket.SOCK_STREAM)[0][-1])
            self._sock.listen(_CLIENTS)
            self._sock.setblocking(False)
        except OSError as exc:
            server.say.warning("no metrics: port %d cannot be opened (error %d)", port, exc.errno or 0)
            return
        server.loop.watch(self._sock, self, IN)

    def _measure(self) -> None:
        server = self.server
        space = server.space
        for name, text, function in (
            ("redis_connected_clients", "Clients.", lambda: len(server.clients)),
            ("redis_commands_processed", "Commands since the start.", lambda: server.commands),
            ("redis_connections_received", "Connections since the start.", lambda: server.accepted),
            ("redis_keys", "Keys of all databases.", lambda: sum([len(db.values) for db in space.databases])),
            ("redis_keyspace_hits", "Reads that found a key.", lambda: space.hits),
            ("redis_keyspace_misses", "Reads that found none.", lambda: space.misses),
            ("redis_expired_keys", "Keys whose time came.", lambda: space.expired),
            ("redis_evicted_keys", "Keys that went for others.", lambda: space.evicted),
            ("redis_memory_used_bytes", "The script's memory, garbage too.", gc.mem_alloc),
            ("redis_log_bytes", "The append-only file.", lambda: server.log.size if server.log else 0),
        ):
            self.metrics.gauge(name, text, function=function)

    def problems(self) -> list:
        log = self.server.log
        return ["log: error %d" % log.problem] if log is not None and log.problem else []

    def ready(self, events: int) -> None:
        sock, _ = self._sock.accept()
        if self.open >= _CLIENTS:
            sock.close()
            return
        sock.setblocking(False)
        _Page(self, sock)

    def failed(self, exc: Exception) -> None:
        self.server.report(exc)


class _Page:
    """One request and its answer."""

    def __init__(self, port: AdminPort, sock: object) -> None:
        self._port = port
        self._sock = sock
        self._head = b""
        port.open += 1
        port.server.loop.watch(sock, self, IN)
        self._timer = port.server.loop.call_later(_CLIENT_MS, self.close)

    def ready(self, events: int) -> None:
        data = self._sock.recv(MAX_HEAD)
        self._head += data
        if data and not complete(self._head):
            return
        if data:
            self._sock.setblocking(True)
            self._sock.settimeout(1)
            self._sock.write(answer(self._port, self._head))
        self.close()

    def failed(self, exc: Exception) -> None:
        self.close()

    def close(self) -> None:
        if self._sock is not None:
            loop = self._port.server.loop
            loop.cancel(self._timer)
            loop.unwatch(self._sock)
            self._sock.close()
            self._sock = None
            self._port.open -= 1
