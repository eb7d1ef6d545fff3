# SPDX-License-Identifier: MIT
"""The append-only file: every command that changed something, as RESP. Loaded at start, written anew when it has grown.

The file system keeps what a flush has written, and nothing of what came after the last one.
"""

import os

from keyspace import now_ms
from number import format_float
from resp import ProtocolError, Reader, bulks
from sortedset import SortedSet

_PIECE = 16384
_ITEMS = 64  # elements in one command of a rewritten file
_EVERY_MS = {b"everysec": 1000, b"no": 30000}


class LogError(Exception):
    """The file is none that can be loaded."""


class AppendLog:
    """Owns the file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0
        self.base = 0  # bytes after the last rewrite
        self.problem = 0  # errno of a write that failed
        self.behind = False  # the file lacks a change: nothing is true of it before it is written anew
        self._file = None
        self._pieces: list = []
        self._selected = -1
        self._group: list | None = None  # commands of a transaction
        self._unflushed = False
        self._flushed_at = 0

    def open(self) -> None:
        """May raise OSError."""
        self._file = open(self.path, "ab")  # noqa: SIM115 - until close()
        self.size = self.base = os.stat(self.path)[6]

    def feed(self, db: object, commands: list) -> None:
        """Commands that have been carried out in this database. Raises MemoryError: then the file is behind."""
        behind, self.behind = self.behind, True
        if self._group is not None:
            self._group.append((db, commands))
        else:
            if db.number != self._selected:
                self._selected = db.number
                self._pieces.append(bulks([b"SELECT", b"%d" % db.number]))
            for command in commands:
                self._pieces.append(bulks(command))
        self.behind = behind

    def begin_group(self) -> None:
        self._group = []

    def end_group(self) -> None:
        """The transaction's commands, all or none. Raises MemoryError, as feed()."""
        group, self._group = self._group, None
        behind, self.behind = self.behind, True
        if group:
            self.feed(group[0][0], [[b"MULTI"]])
            for db, commands in group:
                self.feed(db, commands)
            self.feed(group[-1][0], [[b"EXEC"]])
        self.behind = behind

    def write(self, policy: bytes, now: int) -> None:
        """What was fed, and a flush if it is due. Raises OSError: nothing since the last flush may be acknowledged."""
        if not self._pieces and not self._unflushed:
            return
        try:
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                try:
                    pieces = [b"".join(pieces)]
                except MemoryError:
                    pass  # each by itself
                for data in pieces:
                    self._file.write(data)
                    self.size += len(data)
                self._unflushed = True
            if policy == b"always" or now - self._flushed_at >= _EVERY_MS[policy]:
                self._file.flush()
                self._flushed_at = now
                self._unflushed = False
        except OSError as exc:
            self.problem = exc.errno or 5
            self._pieces = []
            self._unflushed = False
            raise
        except MemoryError:
            self.behind = True
            raise

    def close(self) -> None:
        """May raise OSError."""
        if self._file is not None:
            if not self.problem and not self.behind:
                self.write(b"always", 0)
            self._file.close()
            self._file = None

    # ---- loading ------------------------------------------------------------------------------

    def load(self, session: object, warn: object) -> int:
        """Carry out what is in the file. Returns how many commands. Raises LogError, OSError."""
        try:
            file = open(self.path, "rb")  # noqa: SIM115 - a with follows
        except OSError:
            return 0
        space = session.server.space
        space.now = 0  # nothing expires before all is read
        try:
            with file:
                done, good, size = _replay(file, os.stat(self.path)[6], session)
        finally:
            space.now = now_ms()
        if good < size:
            warn("%s: cut off after byte %d: %d bytes of an unfinished command", self.path, good, size - good)
            _cut(self.path, good)
        return done

    # ---- writing it again ---------------------------------------------------------------------

    def rewrite(self, space: object) -> None:
        """A file of what there is takes the place of the one of what was done. Raises OSError, MemoryError: the old one
        stays, or the new one is there and not open, which is `behind`."""
        temporary = self.path + ".new"
        try:
            with open(temporary, "wb") as file:
                for db in space.databases:
                    if db.values:
                        file.write(bulks([b"SELECT", b"%d" % db.number]))
                    for key, value in db.values.items():
                        for command in _making(key, value):
                            file.write(bulks(command))
                        if key in db.expires:
                            file.write(bulks([b"PEXPIREAT", key, b"%d" % db.expires[key]]))
        except OSError:
            try:
                os.remove(temporary)
            except OSError:
                pass
            raise
        self.behind = True
        if self._file is not None:
            old, self._file = self._file, None
            old.close()
        self._pieces.clear()
        os.rename(temporary, self.path)
        self._selected = -1
        self._unflushed = False
        self.open()
        self.problem = 0
        self.behind = False


def _making(key: bytes, value: object) -> object:
    """Commands that make a value."""
    kind = type(value)
    if kind is bytes:
        yield [b"SET", key, value]
        return
    name, step = b"RPUSH", _ITEMS
    if kind is dict:
        name, step = b"HSET", 2 * _ITEMS
        flat = [part for pair in value.items() for part in pair]
    elif kind is SortedSet:
        name, step = b"ZADD", 2 * _ITEMS
        flat = [part for number, member in value.order for part in (format_float(number), member)]
    else:
        name = b"SADD" if kind is set else name
        flat = list(value)
    for at in range(0, len(flat), step):
        yield [name, key] + flat[at : at + step]  # noqa: RUF005


def _replay(file: object, left: int, session: object) -> tuple:
    """left: bytes of the file. Returns (commands, bytes of whole ones, bytes of the file)."""
    data = b""
    start = 0  # place of data in the file
    need = 1
    done = good = begin = 0
    reader = Reader()
    while True:
        piece = file.read(min(max(_PIECE, need - len(data)), left))
        left -= len(piece)
        if not piece:
            return done, good, start + len(data)
        data += piece
        at = 0
        while at < len(data):
            try:
                if reader.begun is None:
                    begin = start + at
                    if data[at] != 42:
                        raise ProtocolError("no command")
                args, at, need = reader.read(data, at)
                if args == []:
                    raise ProtocolError("no command")
            except ProtocolError as exc:
                raise LogError("byte %d: %s" % (begin, exc))
            if args is None:
                break
            answer = session.execute(args)
            if answer is None or answer[:1] == b"-":
                raise LogError("byte %d: %s" % (start + at, (answer or b"it waits").decode().strip()))
            done += 1
            if session.queue is None:
                good = start + at
        start += at
        data = data[at:]


def _cut(path: str, size: int) -> None:
    """Keep the begin of a file. May raise OSError."""
    temporary = path + ".new"
    with open(path, "rb") as old, open(temporary, "wb") as new:
        while size:
            piece = old.read(min(size, _PIECE))
            new.write(piece)
            size -= len(piece)
    os.rename(temporary, path)
