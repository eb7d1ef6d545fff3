# SPDX-License-Identifier: MIT
"""Sessions and retained messages in a file: written whole beside the old one, which it then replaces.

Fields of bytes behind their lengths, a CRC-32 at the end.
"""

import binascii
import os
import struct

import controlpacket as p
from session import Message, Session, now

_HEAD = b"floe-mqtt 1\n"


class _Writer:
    def __init__(self, file: object) -> None:
        self._file = file
        self.crc = 0

    def raw(self, data: bytes) -> None:
        self._file.write(data)
        self.crc = binascii.crc32(data, self.crc)

    def put(self, *values: object) -> None:
        for value in values:
            data = value if isinstance(value, bytes) else str(value).encode()
            self.raw(struct.pack(">I", len(data)))
            self.raw(data)

    def message(self, message: Message) -> None:
        expires = "" if message.expires is None else int(message.expires)
        self.put(message.topic, message.payload, message.qos, p.properties(message.properties), expires)


class _Fields:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = len(_HEAD)

    def bytes(self) -> bytes:
        size = struct.unpack_from(">I", self._data, self._at)[0]
        self._at += 4 + size
        if self._at > len(self._data):
            raise ValueError
        return self._data[self._at - size : self._at]

    def int(self) -> int:
        return int(self.bytes())

    def message(self) -> Message:
        topic, payload, qos = self.bytes(), self.bytes(), self.int()
        said, expires = p.Reader(self.bytes()).properties(), self.bytes()
        return Message(topic, payload, qos, said, int(expires) if expires else None)


class Store:
    """One file. Methods raise OSError."""

    def __init__(self, path: str) -> None:
        self.path = path

    def save(self, broker: object) -> None:
        broker.changed = False
        fresh = self.path + ".new"
        try:
            self._write(broker, fresh)
        except BaseException:
            broker.changed = True
            try:
                os.remove(fresh)  # a part of it would only take the room that is wanted
            except OSError:
                pass
            raise
        os.rename(fresh, self.path)
        if hasattr(os, "sync"):
            os.sync()

    def _write(self, broker: object, path: str) -> None:
        with open(path, "wb") as file:
            out = _Writer(file)
            out.raw(_HEAD)
            kept = [message for topic, message in broker.retained.items() if topic[:1] != b"$"]
            out.put(len(kept))
            for message in kept:
                out.message(message)
            sessions = [session for session in broker.sessions.values() if session.expiry_s]
            out.put(len(sessions))
            for session in sessions:
                _save_session(out, session)
            file.write(struct.pack(">I", out.crc))

    def load(self, broker: object) -> bool:
        """False: there is no file. Raises ValueError if it is not whole."""
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except OSError as exc:
            if exc.errno == 2:
                return False
            raise
        if data[: len(_HEAD)] != _HEAD or binascii.crc32(data[:-4]) != struct.unpack(">I", data[-4:])[0]:
            raise ValueError
        fields = _Fields(data[:-4])
        for _ in range(fields.int()):
            message = fields.message()
            broker.retain(message)
        for _ in range(fields.int()):
            _load_session(fields, broker)
        return True


def _save_session(out: _Writer, session: Session) -> None:
    out.put(session.id, session.expiry_s, len(session.filters))
    for text, options in session.filters.items():
        out.put(text, options)
    out.put(len(session.received), *session.received)
    out.put(len(session.order))
    for number in session.order:
        message, qos, flags = session.on_the_way[number]
        out.put(number, qos, flags, 0 if message is None else 1)
        if message is not None:
            out.message(message)
    out.put(len(session.waiting))
    for message, qos, flags in session.waiting:
        out.put(qos, flags)
        out.message(message)


def _load_session(fields: _Fields, broker: object) -> None:
    session = Session(fields.bytes(), broker)
    broker.add(session, fields.int())
    session.expires = now() + session.expiry_s
    for _ in range(fields.int()):
        text = fields.bytes()
        broker.subscribe(session, text, fields.int())
    for _ in range(fields.int()):
        session.received.add(fields.int())
    for _ in range(fields.int()):
        number, qos, flags = fields.int(), fields.int(), fields.int()
        session.on_the_way[number] = [fields.message() if fields.int() else None, qos, flags]
        session.order.append(number)
    for _ in range(fields.int()):
        qos, flags = fields.int(), fields.int()
        message = fields.message()
        if broker.may_wait(session, message):
            session.waiting.append((message, qos, flags))
