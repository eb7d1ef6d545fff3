# SPDX-License-Identifier: MIT
"""One connection: packets in, what they mean to the broker, packets out."""

import asyncio

import controlpacket as p
from connect import Connect, connack
from session import NO_LOCAL, SUB_ID_SHIFT, Message, now
from topics import is_filter, is_topic, shared

_READ = 4096
_ROOM = 65536  # bytes that wait to be sent, and messages still come
_MOST = 262144  # bytes beyond which nothing more is read
_CONNECT_S = 10
_STALL_S = 60  # of a client without keep alive that does not read
_LAST_S = 1  # for the last packet to leave
_ACK = {1: p.PUBACK, 2: p.PUBREC}
_RECEIVED = 1000  # messages of QoS 2 that a client has not released
_ALIASES = 20  # topics that a client may give numbers


class Link:
    """Owns its stream. `session` is None before CONNECT, and after another connection has taken it."""

    def __init__(self, broker: object, stream: object, peer: str) -> None:
        self.version = 4
        self.receive_max = 65535
        self.peer = peer
        self.session: object = None
        self.will: tuple | None = None  # (Message, retain, seconds of delay, seconds of life or None)
        self.deadline = now() + _CONNECT_S
        self._silence = 0.0  # seconds that may be between two packets; 0: any
        self._largest = 0  # bytes of a packet that the client takes; 0: any
        self._broker = broker
        self._stream = stream
        self._splitter = p.Splitter(broker.max_packet)
        self._aliases: dict = {}  # number -> topic, as the client has said
        self._dirty = asyncio.Event()
        self._task: object = None

    # ---- out ----------------------------------------------------------------------------------

    def has_room(self) -> bool:
        return len(self._stream.out_buf) < _ROOM

    def takes(self, data: bytes) -> bool:
        """False: it is too large for the client, and is to be treated as if it had been delivered."""
        return not self._largest or len(data) <= self._largest

    def send(self, data: bytes) -> None:
        """Now, or as soon as the client takes it."""
        if not self.takes(data):
            return
        try:
            self._stream.write(data)
        except OSError:
            self.kill()
            return
        if self._stream.out_buf:
            self._dirty.set()

    async def _flush(self) -> None:
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                await self._stream.drain()
                if self.session is not None:
                    self.session.send_waiting()
        except OSError:
            self.kill()

    def say_goodbye(self, code: int, why: str) -> None:
        if self.version == p.V5 and self.session is not None:
            self.send(p.packet(p.DISCONNECT << 4, bytes((code,)) + p.properties({p.REASON: why.encode()})))

    def kill(self) -> None:
        """A task cannot cancel itself: when its own answer does not leave, its next read raises."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    # ---- in -----------------------------------------------------------------------------------

    async def run(self) -> None:
        self._task = asyncio.current_task()
        flusher = asyncio.create_task(self._flush())
        try:
            await self._read()
        except p.PacketError as exc:
            self._broker.log.info("%s: %s", self.peer, exc)
            self.say_goodbye(exc.code, str(exc))
        except MemoryError:
            self._splitter = p.Splitter(0)  # what it sent goes first
            self._broker.log.warning("%s: closed: no memory for what it sends", self.peer)
            self.say_goodbye(p.QUOTA, "no memory")
        except (OSError, EOFError):
            pass
        finally:
            self._task = None
            flusher.cancel()
            self._broker.closed(self)
            await self._close()

    async def _close(self) -> None:
        try:
            if self._stream.out_buf:
                await asyncio.wait_for(self._stream.drain(), _LAST_S)
        except (OSError, asyncio.TimeoutError):
            pass
        self._stream.close()
        await self._stream.wait_closed()

    async def _read(self) -> None:
        while True:
            data = await self._stream.read(_READ)
            if not data:
                return
            self._splitter.feed(data)
            while True:
                got = self._splitter.next()
                if got is None:
                    break
                self._broker.received += 1
                if not self._handle(got[0], p.Reader(got[1])):
                    return
                if self._silence:
                    self.deadline = now() + self._silence
                while len(self._stream.out_buf) > _MOST:
                    if not self.deadline:
                        self.deadline = now() + _STALL_S
                    await asyncio.sleep_ms(10)
                if not self._silence:
                    self.deadline = 0

    def _handle(self, first: int, body: p.Reader) -> bool:
        """False: the connection ends."""
        kind = first >> 4
        if self.session is None:
            if kind != p.CONNECT:
                raise p.PacketError("packet %d before CONNECT" % kind, p.PROTOCOL_ERROR)
            return self._connect(body)
        if kind == p.PUBLISH:
            self._publish(first, body)
        elif kind in (p.PUBACK, p.PUBREC, p.PUBREL, p.PUBCOMP):
            self._acknowledged(kind, body)
        elif kind == p.SUBSCRIBE:
            self._subscribe(body)
        elif kind == p.UNSUBSCRIBE:
            self._unsubscribe(body)
        elif kind == p.PINGREQ:
            self.send(bytes((p.PINGRESP << 4, 0)))
        elif kind == p.DISCONNECT:
            return self._disconnect(body)
        else:
            raise p.PacketError("packet %d of a client" % kind, p.PROTOCOL_ERROR)
        return True

    def _connect(self, body: p.Reader) -> bool:
        wishes = Connect(body, self._broker.session_expiry)
        self.version = wishes.version if wishes.version == p.V5 else 4
        code = wishes.refusal or self._broker.refusal(wishes)
        if code:
            self._broker.log.info("%s: refused, reason %d", self.peer, code)
            self.send(connack(self.version, False, code, {}))
            return False
        longest = self._broker.keep_alive
        keep_alive = wishes.keep_alive
        if longest and not 0 < keep_alive <= longest and self.version == p.V5:
            keep_alive = longest
        self._silence = keep_alive * 1.5
        self.deadline = now() + self._silence if self._silence else 0
        self.receive_max = min(wishes.receive_max, self._broker.inflight)
        self._largest = wishes.max_packet
        self.will = wishes.will
        there = self._broker.connected(self, wishes)
        more = {p.MAX_PACKET: self._broker.max_packet, p.RECEIVE_MAX: _RECEIVED, p.ALIAS_MAX: _ALIASES}
        if keep_alive != wishes.keep_alive:
            more[p.SERVER_KEEP_ALIVE] = keep_alive
        if wishes.assigned:
            more[p.ASSIGNED_ID] = wishes.client_id
        if wishes.expiry_s != wishes.wanted_expiry_s:
            more[p.SESSION_EXPIRY] = wishes.expiry_s
        self.send(connack(self.version, there, 0, more))
        self.session.resume()
        return True

    def _publish(self, first: int, body: p.Reader) -> None:
        qos = first >> 1 & 3
        topic = body.text()
        if qos == 3 or (not qos and first & 8):
            raise p.PacketError("QoS 3, or a duplicate of QoS 0")
        number = body.packet_id() if qos else 0
        said = body.properties() if self.version == p.V5 else {}
        if p.SUB_ID in said:
            raise p.PacketError("a subscription id of a client", p.PROTOCOL_ERROR)
        if p.ALIAS in said:
            topic = self._topic_of(said[p.ALIAS], topic)
        if not is_topic(topic):
            raise p.PacketError("a topic that is none", p.BAD_TOPIC if topic else p.PROTOCOL_ERROR)
        session = self.session
        if qos == 2:
            if number in session.received:
                self.send(p.answer(p.PUBREC, number, self.version))
                return
            if len(session.received) >= _RECEIVED:
                raise p.PacketError("too many messages that were not released", p.TOO_MANY)
            session.received.add(number)
        expires = now() + said[p.EXPIRY] if p.EXPIRY in said else None
        message = Message(topic, body.take(body.left()), qos, p.passed_on(said), expires)
        there = self._broker.publish(message, bool(first & 1), session)
        if qos:
            self.send(p.answer(_ACK[qos], number, self.version, 0 if there else p.NOBODY))

    def _topic_of(self, alias: int, topic: bytes) -> bytes:
        if not 0 < alias <= _ALIASES:
            raise p.PacketError("topic alias %d" % alias, p.BAD_ALIAS)
        if topic:
            self._aliases[alias] = topic
        return self._aliases.get(alias, b"")

    def _acknowledged(self, kind: int, body: p.Reader) -> None:
        number = body.packet_id()
        code = body.byte() if self.version == p.V5 and body.left() else 0
        session = self.session
        self._broker.changed = True
        if kind == p.PUBACK:
            session.acknowledged(number, 1)
        elif kind == p.PUBCOMP:
            session.acknowledged(number, 2)
        elif kind == p.PUBREL:
            session.received.discard(number)
            self.send(p.answer(p.PUBCOMP, number, self.version))
        elif session.received_there(number, code < 0x80):
            self.send(p.answer(p.PUBREL, number, self.version))

    def _subscribe(self, body: p.Reader) -> None:
        number = body.packet_id()
        ids = body.properties().get(p.SUB_ID) if self.version == p.V5 else None
        if ids and (len(ids) > 1 or not ids[0]):
            raise p.PacketError("a subscription id that is none", p.PROTOCOL_ERROR)
        above = ids[0] << SUB_ID_SHIFT if ids else 0
        codes = bytearray()
        wanted = []
        while body.left():
            text, options = body.text(), body.byte()
            if options & 3 == 3 or options & (0xC0 if self.version == p.V5 else 0xFC) or options & 0x30 == 0x30:
                raise p.PacketError("options of a subscription", p.PROTOCOL_ERROR)
            if options & NO_LOCAL and text[:7] == b"$share/":
                raise p.PacketError("a shared subscription without one's own messages", p.PROTOCOL_ERROR)
            code = self._refusal(text)
            if not code:
                wanted.append((text, options | above))
            codes.append((code if self.version == p.V5 else 0x80) if code else options & 3)
        if not codes:
            raise p.PacketError("a subscription to nothing", p.PROTOCOL_ERROR)
        fresh = [(text, options, self._broker.subscribe(self.session, text, options)) for text, options in wanted]
        self.send(p.packet(p.SUBACK << 4, number.to_bytes(2, "big") + self._no_properties() + codes))
        for text, options, new in fresh:
            handling = options >> 4 & 3
            if (handling == 0 or (handling == 1 and new)) and text[:7] != b"$share/":
                self._broker.send_retained(self.session, text, options)

    def _refusal(self, text: bytes) -> int:
        if not is_filter(shared(text)[1]):
            return p.BAD_FILTER
        return 0 if self._broker.may_subscribe(self.session, text) else p.QUOTA

    def _unsubscribe(self, body: p.Reader) -> None:
        number = body.packet_id()
        if self.version == p.V5:
            body.properties()
        codes = bytearray()
        while body.left():
            codes.append(0 if self._broker.unsubscribe(self.session, body.text()) else 17)
        if not codes:
            raise p.PacketError("an unsubscription from nothing", p.PROTOCOL_ERROR)
        data = number.to_bytes(2, "big") + self._no_properties()
        self.send(p.packet(p.UNSUBACK << 4, data + codes if self.version == p.V5 else data))

    def _no_properties(self) -> bytes:
        return b"\0" if self.version == p.V5 else b""

    def _disconnect(self, body: p.Reader) -> bool:
        code = 0
        if self.version == p.V5 and body.left():
            code = body.byte()
            said = body.properties() if body.left() else {}
            if p.SESSION_EXPIRY in said:
                if said[p.SESSION_EXPIRY] and not self.session.expiry_s:
                    raise p.PacketError("a session that was to end and is not to end", p.PROTOCOL_ERROR)
                self.session.expiry_s = min(said[p.SESSION_EXPIRY], self._broker.session_expiry)
        if code != 4:
            self.will = None
        return False
