# SPDX-License-Identifier: MIT
"""The server: its clients, its turns, and what stands between a command and its answer: the log, the memory's limit."""

import errno
import gc
import socket

import blocking
import table
from _resp import spread
from appliance.listener import Listener, families
from client import Client
from config import Config
from eviction import Eviction
from keyspace import Space, now_ms
from pubsub import Hub
from resp import MOST
from scan import Scans

_TICK_MS = 100
_EXPIRIES = 200  # keys looked at in a tick
_SPREAD_EVERY = 100  # changes
_HELD_LEAST = 1 << 20  # bytes of unfinished commands for which nobody is hung up on


class Server:
    """Owns the listeners, the clients and the databases."""

    def __init__(self, app: object, databases: int) -> None:
        """app: an appliance.PolledApp."""
        self.say = app.log
        self.report = app.report
        self.loop = app.loop
        self.loop.begin = self._begin
        self.loop.settle = self._settle
        self.space = Space(databases)
        self.table = table.build()
        self.hub = Hub()
        self.scans = Scans()
        self.eviction = Eviction(self.space)
        self.config = Config(self)
        self.log = None  # an appendlog.AppendLog
        self.plain: dict = {}  # commands before which nothing stands
        self.fsync = b"everysec"
        self.rewrite_least = 1 << 20
        self.rewrite_due = False
        self.limit = 0  # bytes that keys may take; 0: none
        self.password = b""
        self.port = 6379
        self.most_clients = 128
        self.idle_s = 0
        self.most = MOST  # arguments of a command, bytes of one
        self.held = 0  # bytes of commands that are not whole, of all clients
        self.held_most = 0  # 0: what there is
        self.clients: dict = {}  # number -> Client
        self.unsent: list = []  # clients whose answers leave at the end of the turn
        self.accepted = 0
        self.commands = 0
        self.started = self.space.now
        self._ran_out_at = 0
        self._spread_at = 0
        self._expiring: list = []  # (database, key): still to be looked at
        self.sort_commands()
        self._tick()
        self.loop.call_later(_TICK_MS, self._tick, _TICK_MS)

    # ---- turns --------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.space.now = now_ms()

    def _settle(self) -> None:
        """The end of a turn: first the log, then the answers; then what their room lets in."""
        log = self.log
        while True:
            if self.rewrite_due or (log is not None and log.behind and not log.problem):
                self._rewrite()
            if log is not None and not log.problem:
                try:
                    log.write(self.fsync, self.space.now)
                except OSError as exc:
                    self._log_failed(exc.errno or 0)
            if not self.unsent:
                break
            unsent, self.unsent = self.unsent, []
            for client in unsent:
                client.flush()

    def _tick(self) -> None:
        log = self.log
        if log is not None and log.size >= max(2 * log.base, self.rewrite_least) and not log.problem:
            self.rewrite_due = True
        if log is not None and log.behind and log.problem == errno.ENOMEM:
            self.rewrite_due = True  # once more
        self._expire_some()
        self._spread()
        if self.idle_s:
            for client in list(self.clients.values()):
                if (
                    self.space.now - client.active > 1000 * self.idle_s
                    and client.waits is None
                    and not client.subscribed()
                ):
                    client.close()

    def _expire_some(self) -> None:
        if not self._expiring:
            self._expiring = [(db, key) for db in self.space.databases for key in db.expires]
        for _ in range(min(_EXPIRIES, len(self._expiring))):
            db, key = self._expiring.pop()
            db.get(key)

    def _spread(self) -> None:
        """Keep keys quick to find where many have come and gone."""
        space = self.space
        if space.dirty - self._spread_at < _SPREAD_EVERY:
            return
        self._spread_at = space.dirty
        try:
            for db in space.databases:
                spread(db.values)
                spread(db.expires)
        except MemoryError:
            pass  # they stay as they are

    # ---- what stands between ------------------------------------------------------------------

    def logged(self, client: object, function: object, args: list) -> bytes | None:
        """Carry out a command that may change something; the log has what it did."""
        log = self.log
        if log.problem:
            return b"-MISCONF Errors writing to the AOF file: error %d\r\n" % log.problem
        space = self.space
        before = space.dirty
        db = client.db
        space.as_written = None
        try:
            answer = function(client, args)
        except MemoryError:
            log.behind = True  # nobody knows how much of it was done
            raise
        if space.dirty != before:
            log.feed(db, [args] if space.as_written is None else space.as_written)
        return answer

    def unasked(self, db: object, call: object) -> object:
        """A change that no command of this moment makes; returns what the call does."""
        before = self.space.dirty
        self.space.as_written = None
        try:
            answer = call()
        except MemoryError:
            if self.log is not None:
                self.log.behind = True
            raise
        if self.log is not None and self.space.dirty != before and self.space.as_written is not None:
            self.log.feed(db, self.space.as_written)
        return answer

    def deleted(self, db: object, key: bytes) -> None:
        """A key went by itself."""
        if self.log is not None:
            self.log.feed(db, [[b"DEL", key]])

    def serve_waiting(self) -> None:
        blocking.serve_arrived(self.space)

    def sort_commands(self) -> None:
        """After a change of log or limit."""
        self.plain = table.plain(self.table, self.log is not None, bool(self.limit))

    def set_limit(self, limit: int) -> None:
        self.limit = limit
        self.sort_commands()
        self.eviction.measure_again()

    def make_room(self, args: list) -> bool:
        return self.eviction.make_room(self.limit, args)

    def ran_out(self) -> None:
        """The interpreter had no memory for a command."""
        gc.collect()
        if self.space.now - self._ran_out_at > 1000:
            self._ran_out_at = self.space.now
            self.say.warning("no memory for a command; %d bytes are free", gc.mem_free())
        if self.held > _HELD_LEAST:
            self.relieve()

    def relieve(self) -> None:
        """Hang up on the client whose unfinished commands take the most memory."""
        most = None
        for client in self.clients.values():
            if not client.ending and (most is None or client.held > most.held):
                most = client
        if most is not None:
            most.give_up()

    def _log_failed(self, problem: int) -> None:
        """What was not written is not acknowledged."""
        if self.fsync == b"always":
            for client in self.unsent:
                client.close()
        self.say.error("the log cannot be written (error %d): no more changes are taken", problem)

    def _rewrite(self) -> None:
        self.rewrite_due = False
        begun = now_ms()
        log = self.log
        try:
            log.rewrite(self.space)
        except (OSError, MemoryError) as exc:
            problem = errno.ENOMEM if isinstance(exc, MemoryError) else exc.errno or 0
            if log.behind:
                known, log.problem = log.problem, problem or errno.EIO
                if not known:
                    self._log_failed(log.problem)
                return
            log.base = log.size
            self.say.error("the log cannot be written again (error %d); the old one stays", problem)
            return
        self.say.info("log written again: %d bytes, %d ms", self.log.size, now_ms() - begun)

    # ---- clients ------------------------------------------------------------------------------

    def listen(self) -> list:
        """On both families, if there are both. Returns their names. Raises OSError."""

        def listen(family: int, address: object) -> None:
            Listener(self.loop, family, address, self.accept)

        return families(self.port, socket.SOCK_STREAM, listen)

    def accept(self, sock: object, address: tuple) -> None:
        if len(self.clients) >= self.most_clients:
            try:
                sock.write(b"-ERR max number of clients reached\r\n")
            finally:
                sock.close()
            return
        self.accepted += 1
        self.clients[self.accepted] = Client(self, sock, address, self.accepted)

    def removed(self, client: Client) -> None:
        """It is closed."""
        if self.clients.pop(client.number, None) is None:
            return
        if client.waits is not None:
            client.waits.forget()
        self.hub.leave(client)
        for db, key in client.watched:
            db.watchers[key].remove(client)
            if not db.watchers[key]:
                del db.watchers[key]
        client.watched = []

    def close(self) -> None:
        """Answers that are due leave, the log is whole."""
        self._settle()
        for client in list(self.clients.values()):
            client.close()
        if self.log is not None:
            self.log.close()
