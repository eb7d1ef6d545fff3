# SPDX-License-Identifier: MIT
"""A client's connection: commands in, answers out. What it sends ahead is answered in one piece.

A client that does not read its answers is not read from; one that waits for a list is read from only when it is served.
"""

import errno

from _resp import run, take
from appliance.loop import IN, OUT
from resp import (
    MOST_BEFORE_LOGIN,
    QUEUED,
    CommandError,
    ProtocolError,
    Reader,
    error,
    text_of,
    unknown_subcommand,
    wrong_arguments,
)

_RECEIVE = 16384
_OUT_HIGH = 1 << 20  # bytes of waiting answers over which no further command is taken
_LARGE = 1024  # as _resp's: a smaller answer is not counted; there is room for as many as one piece of input asks for
_OUT_MOST = 16 << 20  # bytes of messages that a subscriber may leave unread
_EACH = 80  # bytes that an argument costs beside its own
_IN_RESP2 = (b"ping", b"subscribe", b"psubscribe", b"unsubscribe", b"punsubscribe", b"quit", b"reset")
_SUBCOMMANDS = {
    b"object": (b"encoding", b"freq", b"idletime", b"refcount", b"help"),
    b"pubsub": (b"channels", b"numsub", b"numpat"),
    b"config": (b"get", b"set", b"resetstat", b"rewrite"),
    b"client": (b"id", b"getname", b"setname", b"setinfo", b"info", b"list", b"kill", b"no-evict"),
}
_WITHOUT_LOGIN = (b"auth", b"hello", b"quit", b"reset")
_HELD_MOST = error("ERR of all clients' unfinished commands this one's took the most memory (maxmemory-clients)")
_OUT_OF_MEMORY = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"


class Session:
    """What commands see of a client; one without a socket replays a log."""

    def __init__(self, server: object) -> None:
        self.server = server
        self.db = server.space.databases[0]
        self.resp = 2
        self.nil = b"$-1\r\n"
        self.nil_array = b"*-1\r\n"
        self.name = b""
        self.library = [b"", b""]  # name and version
        self.allowed = True  # has logged in
        self.queue: list | None = None  # commands of a transaction
        self.queue_broken = False
        self.queued = 0  # bytes of them
        self.watched: list = []  # (database, key)
        self.watch_broken = False
        self.executing = False  # within EXEC: nothing waits
        self.channels: dict = {}
        self.patterns: dict = {}
        self.special = False  # the way of a command is not the usual one

    def speak(self, version: int) -> None:
        self.resp = version
        self.nil = b"$-1\r\n" if version == 2 else b"_\r\n"
        self.nil_array = b"*-1\r\n" if version == 2 else b"_\r\n"

    def update(self) -> None:
        """After a change of what makes it special."""
        self.special = self.queue is not None or not self.allowed or (self.subscribed() and self.resp == 2)

    def subscribed(self) -> int:
        return len(self.channels) + len(self.patterns)

    def execute(self, args: list) -> bytes | None:
        """Run a command. Returns the answer, b"" for what answered by itself, None if the client waits."""
        server = self.server
        entry = server.table.get(args[0])
        if entry is None:
            entry = server.table.get(args[0].lower())
            if entry is None:
                return self._unknown(args)
        arity = entry[1]
        if len(args) != arity and (arity > 0 or len(args) < -arity):
            self.queue_broken = True
            return wrong_arguments(args[0])
        if self.special:
            answer = self._special(entry[4], args)
            if answer is not None:
                return answer
        try:
            if not entry[2]:
                return entry[0](self, args)
            if server.limit and entry[3] and not server.make_room(args):
                self.queue_broken = True
                return _OUT_OF_MEMORY
            if server.log is None:
                return entry[0](self, args)
            return server.logged(self, entry[0], args)
        except (CommandError, MemoryError) as exc:
            return self.refused(exc)

    def refused(self, exc: BaseException) -> bytes:
        """What is answered where a command raised this; raises what is none of a command's."""
        if isinstance(exc, CommandError):
            return error(str(exc))
        if isinstance(exc, MemoryError):
            self.server.ran_out()
            return _OUT_OF_MEMORY
        raise exc

    def _unknown(self, args: list) -> bytes:
        self.queue_broken = True
        if not self.allowed:
            return b"-NOAUTH Authentication required.\r\n"
        said = ""
        for arg in args[1:]:
            if len(said) >= 128:
                break
            said += "'%s' " % text_of(arg[: 128 - len(said)])
        return error("ERR unknown command '%s', with args beginning with: %s" % (text_of(args[0][:128]), said))

    def _special(self, name: bytes, args: list) -> bytes | None:
        """The answer, or None: the command is to be run."""
        if not self.allowed and name not in _WITHOUT_LOGIN:
            self.queue_broken = True
            return b"-NOAUTH Authentication required.\r\n"
        if self.queue is not None and name not in (b"exec", b"discard", b"multi", b"watch", b"quit", b"reset"):
            known = _SUBCOMMANDS.get(name)
            if known is not None and len(args) > 1 and args[1].lower() not in known:
                self.queue_broken = True
                return error(str(unknown_subcommand(args)))
            if not self.queue:
                self.queued = 0
            self.queued += sum([len(arg) for arg in args]) + _EACH * len(args)
            self.queue.append(args)
            return QUEUED
        if self.resp == 2 and self.subscribed() and name not in _IN_RESP2:
            return error(
                "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed "
                "in this context" % name.decode()
            )
        return None


class Client(Session):
    """Owns its socket."""

    def __init__(self, server: object, sock: object, address: tuple, number: int) -> None:
        super().__init__(server)
        self.sock = sock
        self.address = address
        self.number = number
        self.since = self.active = server.space.now
        self.last = b"NULL"  # the name of the last command
        self.waits = None  # what it waits for, blocking.Wait
        self.ending = False  # closed when the answers have left
        self._reader = Reader()
        self._rest: list = []  # received and not taken
        self._rest_size = 0
        self._need = 0  # bytes of it without which nothing can be taken
        self._begun = 0  # bytes that were taken of a command that is not whole
        self.held = 0  # bytes that wait for the rest of a command, or for EXEC
        self.out: list = []
        self._large = 0  # bytes of large answers in it
        self._left = None  # of what was being sent
        self.halted = False  # takes no command for now: it waits, has too many answers, or ends
        self._mask = IN
        self.allowed = not server.password
        self.update()
        server.loop.watch(sock, self, IN)

    def ready(self, events: int) -> None:
        """May raise OSError."""
        if events & IN and self._mask & IN:
            data = self.sock.recv(_RECEIVE)
            server = self.server
            self.active = server.space.now
            if data:
                if self._rest or self.halted:
                    data = self._with_rest(data)
                    if data is None:
                        return
                self._take(data)
                if server.log is None:
                    self._send()
                else:
                    server.unsent.append(self)
                return
        elif events & OUT:
            self.settle()
            return
        self.close()

    def _with_rest(self, data: bytes) -> bytes | None:
        """All that is received and not taken; None: it is kept, for nothing of it can be taken now."""
        self._rest.append(data)
        self._rest_size += len(data)
        if self.halted and self._rest_size > _OUT_HIGH:
            self._watch(0)
        if self.halted or self._rest_size < self._need:
            self._hold()
            return None
        data = b"".join(self._rest)
        self._rest = []
        self._rest_size = self._need = 0
        self._hold()
        return data

    def failed(self, exc: Exception) -> None:
        if isinstance(exc, OSError) and exc.errno == errno.EAGAIN:
            return
        try:
            if isinstance(exc, MemoryError):
                self._no_memory()
            elif not isinstance(exc, OSError):
                self.server.report(exc)
        finally:
            self.close()

    def _no_memory(self) -> None:
        """For what it sent, or for its answers; it is told, where it can be."""
        self._rest.clear()
        self._reader = self.queue = None
        if self._left is None and self.sock is not None:
            try:
                self.sock.write(_OUT_OF_MEMORY)
            except OSError:
                pass
        self.close()
        self.server.ran_out()

    def close(self) -> None:
        if self.sock is None:
            return
        self.server.loop.unwatch(self.sock)
        self.sock.close()
        self.sock = None
        self.out.clear()
        self._left = None
        self.server.held -= self.held
        self.held = 0
        self.server.removed(self)

    def settle(self) -> None:
        """Answers leave now, or when the log has what they acknowledge."""
        if self.server.log is None:
            self._send()
        else:
            self.server.unsent.append(self)

    def push(self, message: bytes) -> None:
        """Something that is no answer to what the client sent now."""
        self.out.append(message)
        self.server.unsent.append(self)

    # ---- commands -----------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """Run the commands in it; what is left waits for more."""
        size = len(data)
        at = 0
        server = self.server
        reader = self._reader
        while True:
            if not self.special and reader.begun is None:  # first those that neither wait nor change what a client is
                out = self.out
                before = len(out)
                at = run(data, at, server.plain, self, out, server.space.arrived)
                if at < 0:
                    at = ~at
                    self._answered(out.pop())
                server.commands += len(out) - before
            if at == size or self.halted:
                break
            taken = take(data, at) if self.allowed and reader.begun is None else None
            args, at = taken or self._read(data, at)
            if args is None:
                break
            if args:
                self.last = args[0]
                server.commands += 1
                self._answered(self.execute(args))
                if at == size or self.halted:
                    break
        if at < size and not self.ending:
            self._rest = [data[at:] if at else data]
            self._rest_size = size - at
        if self.held or self._rest or reader.begun or self.queue:
            self._hold()

    def _hold(self) -> None:
        """Tell the server how much it keeps now."""
        size = self._rest_size
        begun = self._reader.begun
        if begun:
            size += self._begun + _EACH * len(begun)
        if self.queue:
            size += self.queued
        self.server.held += size - self.held
        self.held = size
        if 0 < self.server.held_most < self.server.held:
            self.server.relieve()

    def give_up(self) -> None:
        """It keeps too much: it is told, and hung up on."""
        self._rest = []
        self._rest_size = 0
        self._reader = Reader()
        self.queue = None
        self._hold()
        self.end()
        self.push(_HELD_MOST)

    def _read(self, data: bytes, at: int) -> tuple:
        """(arguments, where the next begins) of a command of any form. None: no more of this data can be run now."""
        reader = self._reader
        before = at
        if reader.begun is None:
            self._begun = 0
        try:
            args, at, self._need = reader.read(data, at, self.server.most if self.allowed else MOST_BEFORE_LOGIN)
            self._begun += at - before
        except ProtocolError as exc:
            self.out.append(error("ERR Protocol error: %s" % exc))
            self.end()
            args = None
        return args, at

    def _answered(self, answer: bytes | BaseException | None) -> None:
        if answer is not None:
            if type(answer) is not bytes:
                answer = self.refused(answer)
            self.out.append(answer)
            if len(answer) > _LARGE:
                self._large += len(answer)
                if self._large > _OUT_HIGH:
                    self.halted = True
        server = self.server
        if server.space.arrived:
            server.serve_waiting()

    def end(self) -> None:
        """No further command; closed when the answers have left."""
        self.ending = True
        self.halted = True

    def resume(self) -> None:
        """After a wait: the commands that came meanwhile."""
        self.halted = self.ending
        if self._rest and not self.halted and self.sock is not None:
            data = b"".join(self._rest)
            self._rest = []
            self._rest_size = 0
            self._take(data)
        self.server.unsent.append(self)

    # ---- answers ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what is there; errors are this client's."""
        if self.sock is None:
            return
        try:
            self._send()
        except (OSError, MemoryError) as exc:
            try:
                self.failed(exc)
            except MemoryError:
                pass  # it is closed

    def _send(self) -> None:
        """May raise OSError."""
        while True:
            piece = self._left
            fresh = piece is None
            if fresh:
                out = self.out
                if not out:
                    break
                self._left = piece = out[0] if len(out) == 1 else b"".join(out)
                out.clear()
                self._large = 0
            sent = self.sock.write(piece) or 0
            if sent < len(piece):
                self._left = memoryview(piece)[sent:]
                self._wait_for_reader()
                return
            self._left = None
            if fresh:
                break
        if self.halted:
            if self.ending:
                self.close()
                return
            if self.waits is None:
                self.resume()
        if self._mask != IN:
            self._watch(IN)

    def _wait_for_reader(self) -> None:
        waiting = len(self._left) + sum([len(answer) for answer in self.out])
        if self.subscribed() and waiting > _OUT_MOST:
            self.server.say.warning("client %d does not read: closed", self.number)
            self.close()
        else:
            self._watch(OUT if waiting > _OUT_HIGH or self.halted else IN | OUT)

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self.server.loop.watch(self.sock, self, mask)
