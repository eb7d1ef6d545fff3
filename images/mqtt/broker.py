# SPDX-License-Identifier: MIT
"""Sessions, subscriptions, retained messages, wills: who gets what. Knows connections by what they do for it."""

import controlpacket as p
from link import Link
from session import AS_PUBLISHED, NO_LOCAL, SUB_ID_SHIFT, Message, Session, now
from topics import Subscriptions, matches

import floe

_MARGIN = 32  # connections over the limit, so that they can be told
_SESSION, _FILTER, _RETAINED = 700, 400, 400  # bytes that one costs beside its texts


class Broker:
    """All state but that of connections. Limits are settings (service.py)."""

    def __init__(self, settings: object, log: object, users: object) -> None:
        self.log = log
        self.max_packet = settings.max_packet
        self.session_expiry = int(settings.session_expiry)
        self.inflight = settings.inflight
        self.keep_alive = int(settings.keep_alive)
        self.sessions: dict = {}  # client id -> Session
        self.links: set = set()
        self.retained: dict = {}  # topic -> Message
        self.tree = Subscriptions()
        self.changed = False  # since it was last saved
        self.received = 0  # packets
        self.published = 0  # messages that came
        self.sent = 0  # messages that went
        self.dropped = 0
        self.waiting_bytes = 0
        self.kept_bytes = 0  # of sessions that outlive connections, subscriptions, retained messages
        self._most_kept = settings.kept or floe.mem_info()["ram"] // 4
        self._clients = settings.clients
        self._most_filters = settings.subscriptions  # of one client
        self._queued = settings.queued
        self._queued_bytes = settings.queued_bytes
        self._most_retained = settings.retained
        self._users = users
        self._delayed: dict = {}  # Session -> (when, Message, retain)

    # ---- connections --------------------------------------------------------------------------

    async def serve(self, reader: object, writer: object) -> None:
        """A connection's whole life."""
        link = Link(self, reader, writer.get_extra_info("peername")[0])
        if len(self.links) >= self._clients + _MARGIN:
            reader.close()
            await reader.wait_closed()
            return
        self.links.add(link)
        await link.run()

    def refusal(self, wishes: object) -> int:
        if not self._users.may(wishes.user, wishes.password):
            return p.BAD_LOGIN
        if sum([link.session is not None for link in self.links]) >= self._clients:
            return p.BUSY
        if wishes.expiry_s and wishes.client_id not in self.sessions and not self._has_room(_SESSION, True):
            self.log.warning("no room for the session of another client (KEPT)")
            return p.BUSY
        return 0

    def _has_room(self, size: int, lasting: bool) -> bool:
        """What goes with its connection may take all, what lasts half of it: strangers lock nobody out for days."""
        return self.kept_bytes + size <= self._most_kept >> lasting

    def connected(self, link: Link, wishes: object) -> bool:
        """Give a connection its session. True: the session was there."""
        session = self.sessions.get(wishes.client_id)
        if session is not None and session.link is not None:
            old = session.link
            old.say_goodbye(p.TAKEN_OVER, "another connection of this client")
            self.closed(old)
            old.kill()
            session = self.sessions.get(wishes.client_id)
        if session is not None and wishes.clean:
            self._forget(session)
            session = None
        there = session is not None
        if session is None:
            session = Session(wishes.client_id, self)
            self.add(session, wishes.expiry_s)
        self._delayed.pop(session, None)
        session.link, link.session = link, session
        session.expiry_s, session.expires = wishes.expiry_s, None
        self.changed = True
        self.log.debug("%s: client %s, version %d", link.peer, wishes.client_id, wishes.version)
        return there

    def add(self, session: Session, expiry_s: int) -> None:
        """A new one."""
        self.sessions[session.id] = session
        session.expiry_s = expiry_s
        session.kept_bytes = _SESSION + len(session.id) if expiry_s else 0
        self.kept_bytes += session.kept_bytes

    def closed(self, link: Link) -> None:
        """A connection has ended, or has lost its session. May be called twice."""
        self.links.discard(link)
        session, link.session = link.session, None
        if session is None or session.link is not link:
            return
        session.link = None
        if link.will is not None:
            message, retain, delay, lasts = link.will
            delay = min(delay, session.expiry_s)
            if lasts is not None:
                message.expires = now() + delay + lasts
            if delay:
                self._delayed[session] = (now() + delay, message, retain)
            else:
                self.publish(message, retain, session)
        if session.expiry_s:
            session.expires = now() + session.expiry_s
        else:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        for text in list(session.filters):
            self.unsubscribe(session, text)
        for message, _, _ in session.waiting:
            self.gone(message)
        if self.sessions.pop(session.id, None) is not None:
            self.kept_bytes -= session.kept_bytes
        self.changed = True
        delayed = self._delayed.pop(session, None)
        if delayed is not None:
            self.publish(delayed[1], delayed[2], None)

    def tick(self) -> None:
        """Once a second: what is too late ends."""
        time = now()
        for link in list(self.links):
            if link.deadline and time >= link.deadline:
                link.say_goodbye(p.KEEP_ALIVE, "no packet in time")
                self.closed(link)
                link.kill()
        for session, (when, message, retain) in list(self._delayed.items()):
            if time >= when:
                del self._delayed[session]
                self.publish(message, retain, None)
        for session in list(self.sessions.values()):
            if session.expires is not None and time >= session.expires:
                self._forget(session)

    # ---- messages -----------------------------------------------------------------------------

    def publish(self, message: Message, retain: bool, sender: Session | None) -> bool:
        """To whom has subscribed; False: nobody has. Of clients, nothing under $SYS."""
        if message.topic[:1] == b"$" and sender is not None:
            return False
        self.published += 1
        if retain:
            self.retain(message, sender is None)
        tree = self.tree
        found = tree.find(message.topic)
        for session, options in found.items():
            if not (options & NO_LOCAL and session is sender):
                qos = min(message.qos, options & 3)
                said = message if options <= 0xFF else _with_ids(message, tree.ids.get(session), options)
                session.deliver(said, qos, 1 if retain and options & AS_PUBLISHED else 0)
                if qos:
                    self.changed = True
        for session, options in tree.turns:
            qos = min(message.qos, options & 3)
            said = message if options <= 0xFF else _with_ids(message, None, options)
            session.deliver(said, qos, 1 if retain and options & AS_PUBLISHED else 0)
            if qos:
                self.changed = True
        return bool(found or tree.turns)

    def retain(self, message: Message, always: bool = False) -> None:
        """In the place of the one before; without room there is none then, rather than an old one."""
        self.changed = True
        self._let_go(message.topic)
        if not message.payload:
            return
        size = _cost(message)
        if always or (len(self.retained) < self._most_retained and self._has_room(size, True)):
            self.retained[message.topic] = message
            self.kept_bytes += size
        else:
            self.log.warning("no room to retain a message of %s", message.topic)

    def _let_go(self, topic: bytes) -> None:
        message = self.retained.pop(topic, None)
        if message is not None:
            self.kept_bytes -= _cost(message)

    def send_retained(self, session: Session, text: bytes, options: int) -> None:
        levels = text.split(b"/")
        wild = b"+" in levels or b"#" in levels
        for topic in list(self.retained) if wild else (text,):
            message = self.retained.get(topic)
            if message is None or not matches(levels, topic):
                continue
            if message.expires is not None and not message.left():
                self._let_go(topic)
                continue
            if options > 0xFF:
                message = _with_ids(message, None, options)
            session.deliver(message, min(message.qos, options & 3), 1)

    def subscribe(self, session: Session, text: bytes, options: int) -> bool:
        """True: it is new."""
        if text not in session.filters:
            self.kept_bytes += _FILTER + 2 * len(text)
        session.filters[text] = options
        self.changed = True
        return self.tree.add(text, session, options)

    def unsubscribe(self, session: Session, text: bytes) -> bool:
        self.changed = True
        if session.filters.pop(text, None) is not None:
            self.kept_bytes -= _FILTER + 2 * len(text)
        return self.tree.remove(text, session)

    def may_subscribe(self, session: Session, text: bytes) -> bool:
        """Whether there is room for a subscription, if it is another one."""
        if text in session.filters:
            return True
        lasting = session.expiry_s > 0
        return len(session.filters) < self._most_filters and self._has_room(_FILTER + 2 * len(text), lasting)

    def may_wait(self, session: Session, message: Message) -> bool:
        """Whether there is room for one more; if so it counts."""
        size = len(message.payload) + len(message.topic)
        if len(session.waiting) >= self._queued or self.waiting_bytes + size > self._queued_bytes:
            return False
        self.waiting_bytes += size
        return True

    def gone(self, message: Message) -> None:
        self.waiting_bytes -= len(message.payload) + len(message.topic)


def _cost(message: Message) -> int:
    return _RETAINED + len(message.topic) + len(message.payload) + message.said_bytes()


def _with_ids(message: Message, ids: list | None, options: int) -> Message:
    return message.for_subscription(ids or [options >> SUB_ID_SHIFT])
