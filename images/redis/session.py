# SPDX-License-Identifier: MIT
"""Commands about the connection: greeting, password, names, who else is there."""

import transaction
from keyspace import now_ms
from number import parse_integer
from resp import OK, CommandError, bulk, bulks, error, integer, pairs, syntax_error, text_of, unknown_subcommand

VERSION = b"7.0.15"  # of Redis, whose commands and words these are
_NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
_WRONG = "WRONGPASS invalid username-password pair or user is disabled."


def ping(client: object, args: list) -> bytes:
    if len(args) > 2:
        raise CommandError("ERR wrong number of arguments for 'ping' command")
    if client.resp == 2 and client.subscribed():
        return bulks([b"pong", args[1] if len(args) == 2 else b""])
    return bulk(args[1]) if len(args) == 2 else b"+PONG\r\n"


def echo(client: object, args: list) -> bytes:
    return bulk(args[1])


def leave(client: object, args: list) -> bytes:
    """QUIT."""
    client.end()
    return OK


def reset(client: object, args: list) -> bytes:
    transaction.forget(client)
    client.server.hub.leave(client)
    client.db = client.server.space.databases[0]
    client.speak(2)
    client.name = b""
    client.allowed = not client.server.password
    client.update()
    return b"+RESET\r\n"


def _log_in(client: object, user: bytes, password: bytes) -> None:
    """Raises CommandError."""
    wanted = client.server.password
    if user != b"default" or (wanted and not _same(password, wanted)):
        raise CommandError(_WRONG)
    client.allowed = True
    client.update()


def _same(first: bytes, second: bytes) -> bool:
    """In a time that tells nothing of where they differ."""
    differ = len(first) ^ len(second)
    for at in range(len(first)):
        differ |= first[at] ^ second[at % len(second)]
    return differ == 0


def auth(client: object, args: list) -> bytes:
    if len(args) > 3:
        raise syntax_error()
    if len(args) == 2 and not client.server.password:
        raise CommandError(_NO_PASSWORD)
    _log_in(client, args[1] if len(args) == 3 else b"default", args[-1])
    return OK


def hello(client: object, args: list) -> bytes:
    at = 2
    version = client.resp
    if len(args) > 1:
        version = parse_integer(args[1], "ERR Protocol version is not an integer or out of range")
        if version not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
    name = None
    login = None
    while at < len(args):
        word = args[at].upper()
        if word == b"AUTH" and at + 2 < len(args):
            login = args[at + 1], args[at + 2]
            at += 3
        elif word == b"SETNAME" and at + 1 < len(args):
            name = _valid_name(args[at + 1])
            at += 2
        else:
            raise CommandError("ERR Syntax error in HELLO option '%s'" % text_of(args[at]))
    if login is not None:
        _log_in(client, login[0], login[1])
    if not client.allowed:
        raise CommandError(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
            "<user> <pass> option can be used to authenticate the client and select the RESP protocol version at "
            "the same time"
        )
    if name is not None:
        client.name = name
    client.speak(version)
    client.update()
    flat = []
    for key, value in (
        (b"server", bulk(b"redis")),
        (b"version", bulk(VERSION)),
        (b"proto", integer(version)),
        (b"id", integer(client.number)),
        (b"mode", bulk(b"standalone")),
        (b"role", bulk(b"master")),
        (b"modules", b"*0\r\n"),
    ):
        flat += [bulk(key), value]
    return pairs(client, flat)


def _valid_name(name: bytes) -> bytes:
    for byte in name:
        if not 33 <= byte <= 126:
            raise CommandError("ERR Client names cannot contain spaces, newlines or special characters.")
    return name


def acl(client: object, args: list) -> bytes:
    what = args[1].lower()
    if what == b"whoami" and len(args) == 2:
        return bulk(b"default")
    if what == b"users" and len(args) == 2:
        return bulks([b"default"])
    if what == b"list" and len(args) == 2:
        return bulks([b"user default on %s ~* &* +@all" % (b"#..." if client.server.password else b"nopass")])
    raise unknown_subcommand(args)


# ---- CLIENT -----------------------------------------------------------------------------------


def _line(client: object) -> bytes:
    now = now_ms()
    flags = b"P" if client.subscribed() else b"b" if client.waits else b"x" if client.queue is not None else b"N"
    host, port = client.address[:2]
    queued = -1 if client.queue is None else len(client.queue)
    return (
        b"id=%d addr=%s:%d name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=%d multi=%d cmd=%s user=default resp=%d "
        b"lib-name=%s lib-ver=%s\n"
        % (
            client.number,
            host.encode(),
            port,
            client.name,
            (now - client.since) // 1000,
            (now - client.active) // 1000,
            flags,
            client.db.number,
            len(client.channels),
            len(client.patterns),
            queued,
            client.last.lower(),
            client.resp,
            client.library[0],
            client.library[1],
        )
    )


def _kill(client: object, args: list) -> bytes:
    """CLIENT KILL ADDRESS, or with ID, ADDR, SKIPME, TYPE."""
    old_form = len(args) == 3
    wanted = {b"addr": args[2]} if old_form else {}
    skip_me = not old_form
    for at in range(2, len(args) if not old_form else 0, 2):
        word = args[at].lower()
        if at + 1 == len(args) or word not in (b"id", b"addr", b"skipme", b"type", b"user"):
            raise syntax_error()
        if word == b"id":
            parse_integer(args[at + 1], "ERR client-id should be greater than 0")
        if word == b"skipme":
            skip_me = args[at + 1].lower() == b"yes"
        else:
            wanted[word] = args[at + 1]
    found = [other for other in client.server.clients.values() if _fits(other, wanted)]
    if skip_me:
        found = [other for other in found if other is not client]
    for other in found:
        if other is client:
            client.end()
        else:
            other.close()
    if old_form:
        if not found:
            raise CommandError("ERR No such client")
        return OK
    return integer(len(found))


def _fits(client: object, wanted: dict) -> bool:
    host, port = client.address[:2]
    facts = {
        b"id": b"%d" % client.number,
        b"addr": b"%s:%d" % (host.encode(), port),
        b"type": b"pubsub" if client.subscribed() else b"normal",
        b"user": b"default",
    }
    return all(facts[key] == value for key, value in wanted.items())


def client_command(client: object, args: list) -> bytes:  # noqa: PLR0911 - a return for each subcommand
    """CLIENT."""
    what = args[1].lower()
    count = len(args)
    if what == b"id" and count == 2:
        return integer(client.number)
    if what == b"getname" and count == 2:
        return bulk(client.name) if client.name else client.nil
    if what == b"setname" and count == 3:
        client.name = _valid_name(args[2])
        return OK
    if what == b"setinfo" and count == 4:
        kind = args[2].lower()
        if kind not in (b"lib-name", b"lib-ver"):
            raise CommandError("ERR Unrecognized option '%s'" % text_of(args[2]))
        client.library[kind == b"lib-ver"] = _valid_name(args[3])
        return OK
    if what == b"info" and count == 2:
        return bulk(_line(client))
    if what == b"list":
        return bulk(b"".join([_line(other) for other in client.server.clients.values()]))
    if what == b"kill" and count > 2:
        return _kill(client, args)
    if what == b"no-evict" and count == 3:
        return OK
    if what in (b"id", b"getname", b"setname", b"info", b"kill", b"setinfo", b"no-evict"):
        return error("ERR wrong number of arguments for 'client|%s' command" % what.decode())
    raise unknown_subcommand(args)


COMMANDS = {
    "ping": (ping, -1, ""),
    "echo": (echo, 2, ""),
    "quit": (leave, -1, ""),
    "reset": (reset, 1, ""),
    "auth": (auth, -2, ""),
    "hello": (hello, -1, ""),
    "acl": (acl, -2, ""),
    "client": (client_command, -2, ""),
}
