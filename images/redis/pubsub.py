# SPDX-License-Identifier: MIT
"""Channels and patterns: who hears what is published."""

from pattern import matches
from resp import CommandError, array, bulk, bulks, integer, unknown_subcommand


class Hub:
    """Who has subscribed to what: name -> clients."""

    def __init__(self) -> None:
        self.channels: dict = {}
        self.patterns: dict = {}

    def publish(self, channel: bytes, message: bytes) -> int:
        """Returns how many clients have it."""
        heard = 0
        for client in self.channels.get(channel, ()):
            client.push(_pushed(client, (b"message", channel, message)))
            heard += 1
        for pattern, clients in self.patterns.items():
            if matches(pattern, channel):
                for client in clients:
                    client.push(_pushed(client, (b"pmessage", pattern, channel, message)))
                    heard += 1
        return heard

    def leave(self, client: object) -> None:
        for kind in (b"unsubscribe", b"punsubscribe"):
            for name in list(_mine(client, kind)):
                _remove(client, kind, name)


def _pushed(client: object, values: tuple) -> bytes:
    answer = bulks(values)
    return b">" + answer[1:] if client.resp == 3 else answer


def _mine(client: object, kind: bytes) -> dict:
    return client.patterns if kind[:1] == b"p" else client.channels


def _all(client: object, kind: bytes) -> dict:
    hub = client.server.hub
    return hub.patterns if kind[:1] == b"p" else hub.channels


def _remove(client: object, kind: bytes, name: bytes) -> None:
    if _mine(client, kind).pop(name, None) is None:
        return
    everybody = _all(client, kind)
    everybody[name].remove(client)
    if not everybody[name]:
        del everybody[name]


def _told(client: object, kind: bytes, name: object) -> bytes:
    head = b">3\r\n" if client.resp == 3 else b"*3\r\n"
    return head + bulk(kind) + (client.nil if name is None else bulk(name)) + integer(client.subscribed())


def subscribe(client: object, args: list) -> bytes:
    """SUBSCRIBE, PSUBSCRIBE."""
    kind = args[0].lower()
    if client.executing and client.resp == 2:
        raise CommandError("ERR %s isn't allowed in a transaction for a client of RESP2" % kind.decode().upper())
    answers = []
    for name in args[1:]:
        mine = _mine(client, kind)
        if name not in mine:
            mine[name] = True
            _all(client, kind).setdefault(name, []).append(client)
        answers.append(_told(client, kind, name))
    client.update()
    return b"".join(answers)


def unsubscribe(client: object, args: list) -> bytes:
    """UNSUBSCRIBE, PUNSUBSCRIBE."""
    kind = args[0].lower()
    names = args[1:] or list(_mine(client, kind))
    answers = []
    for name in names:
        _remove(client, kind, name)
        answers.append(_told(client, kind, name))
    client.update()
    return b"".join(answers) if answers else _told(client, kind, None)


def publish(client: object, args: list) -> bytes:
    return integer(client.server.hub.publish(args[1], args[2]))


def inspect(client: object, args: list) -> bytes:
    """PUBSUB."""
    what = args[1].lower()
    hub = client.server.hub
    if what == b"channels" and len(args) <= 3:
        return bulks([name for name in hub.channels if len(args) < 3 or matches(args[2], name)])
    if what == b"numsub":
        flat = []
        for name in args[2:]:
            flat += [bulk(name), integer(len(hub.channels.get(name, ())))]
        return array(flat)
    if what == b"numpat" and len(args) == 2:
        return integer(len(hub.patterns))
    raise unknown_subcommand(args)


COMMANDS = {
    "subscribe": (subscribe, -2, ""),
    "psubscribe": (subscribe, -2, ""),
    "unsubscribe": (unsubscribe, -1, ""),
    "punsubscribe": (unsubscribe, -1, ""),
    "publish": (publish, 3, ""),
    "pubsub": (inspect, -2, ""),
}
