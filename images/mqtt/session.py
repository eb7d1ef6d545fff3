# SPDX-License-Identifier: MIT
"""A client's session: subscriptions, messages on their way and waiting; it may outlive its connections."""

import time

from controlpacket import PUBREL, SUB_ID, answer, properties, publish

NO_LOCAL, AS_PUBLISHED = 4, 8  # options of a subscription, above its QoS


SUB_ID_SHIFT = 8  # above all options: the id of a subscription


def now() -> float:
    """Seconds; time.time() has whole ones, by which a second would end at once."""
    return time.time_ns() / 1000000000


class Message:
    """What was published. expires: now() when it is too late, or None."""

    def __init__(self, topic: bytes, payload: bytes, qos: int, said: dict, expires: float | None) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.properties = said
        self.expires = expires
        self._fastest: dict = {}  # version -> packet of QoS 0 without flags

    def for_subscription(self, ids: list) -> "Message":
        """The same with the ids of the subscriptions for which it is sent."""
        said = dict(self.properties)
        said[SUB_ID] = ids
        return Message(self.topic, self.payload, self.qos, said, self.expires)

    def said_bytes(self) -> int:
        """About what its properties take."""
        return len(properties(self.properties)) if self.properties else 0

    def left(self) -> int | None:
        return None if self.expires is None else max(0, int(self.expires - now() + 0.999))

    def packet(self, version: int, qos: int, number: int, flags: int) -> bytes:
        if qos or flags or self.expires is not None:
            return publish(self, version, qos, number, flags, self.left())
        made = self._fastest.get(version)
        if made is None:
            made = self._fastest[version] = publish(self, version, 0, 0, 0, None)
        return made


class Session:
    """`link` is the connection, None while there is none."""

    def __init__(self, client_id: bytes, limits: object) -> None:
        self.id = client_id
        self.link: object = None
        self.kept_bytes = 0  # that it counts for itself: broker.py
        self.expiry_s = 0  # after the end of a connection; 0: with it
        self.expires: float | None = None  # now() when it goes; None: connected, or never
        self.filters: dict = {}  # filter -> options
        self.received: set = set()  # ids of QoS 2 that were published and not yet released
        self.on_the_way: dict = {}  # id -> [Message or None (released), QoS, flags], in no order
        self.order: list = []  # ids of on_the_way as they were sent
        self.waiting: list = []  # (Message, QoS, flags)
        self._limits = limits
        self._last_id = 0
        self._held: list = []  # ids of on_the_way that have to be sent again and were not yet

    def deliver(self, message: Message, qos: int, flags: int) -> None:
        """Send it, now or when there is room. QoS 0 is not kept."""
        link = self.link
        if not qos:
            if link is not None and link.has_room():
                link.send(message.packet(link.version, 0, 0, flags))
                self._limits.sent += 1
            elif link is not None:
                self._limits.dropped += 1
            return
        free = link is not None and not self.waiting and not self._held
        if free and len(self.on_the_way) < link.receive_max and link.has_room():
            self._send(message, qos, flags)
        elif not self._limits.may_wait(self, message):
            self._limits.dropped += 1
        else:
            self.waiting.append((message, qos, flags))

    def _send(self, message: Message, qos: int, flags: int) -> None:
        link = self.link
        number = self._last_id
        while True:
            number = number % 65535 + 1
            if number not in self.on_the_way:
                break
        self._last_id = number
        data = message.packet(link.version, qos, number, flags)
        if link.takes(data):
            self.on_the_way[number] = [message, qos, flags]
            self.order.append(number)
            link.send(data)
            self._limits.sent += 1

    def send_waiting(self) -> None:
        link = self.link
        while self._held and len(self.on_the_way) - len(self._held) < link.receive_max and link.has_room():
            self._send_again(self._held.pop(0))
        while self.waiting and len(self.on_the_way) < link.receive_max and link.has_room():
            message, qos, flags = self.waiting.pop(0)
            self._limits.gone(message)
            if message.expires is None or message.left():
                self._send(message, qos, flags)

    def acknowledged(self, number: int, qos: int) -> None:
        """PUBACK (1) or PUBCOMP (2). An id that is not on its way means nothing."""
        entry = self.on_the_way.get(number)
        if entry is not None and entry[1] == qos:
            self._forget(number)
            self.send_waiting()

    def _forget(self, number: int) -> None:
        del self.on_the_way[number]
        self.order.remove(number)
        if number in self._held:
            self._held.remove(number)

    def received_there(self, number: int, good: bool) -> bool:
        """PUBREC. True: there is something to release."""
        entry = self.on_the_way.get(number)
        if entry is None or entry[1] != 2:
            return False
        if not good:
            self.acknowledged(number, 2)
            return False
        entry[0] = None
        return True

    def resume(self) -> None:
        """A new connection: send again what was on its way, in its order, then what waits; no more at a time than the
        client takes."""
        self._held = list(self.order)
        self.send_waiting()

    def _send_again(self, number: int) -> None:
        link = self.link
        message, qos, flags = self.on_the_way[number]
        if message is None:
            link.send(answer(PUBREL, number, link.version))
            return
        data = message.packet(link.version, qos, number, flags | 8)
        if link.takes(data):
            link.send(data)
        else:
            self._forget(number)
