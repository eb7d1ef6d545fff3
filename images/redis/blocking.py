# SPDX-License-Identifier: MIT
"""Commands that wait for elements: BLPOP and its likes. Who has waited longest is served first."""

from lists import ends_of, move, take
from number import parse_float, parse_integer
from resp import CommandError, array, bulk, bulks, syntax_error
from sortedset import SortedSet
from zsets import pop_entries, score


class Wait:
    """What a client waits for. serve(client, key) makes the answer and what the log has of it."""

    def __init__(self, client: object, keys: list, kind: object, serve: object) -> None:
        self.client = client
        self.db = client.db
        self.keys = keys
        self.kind = kind
        self.serve = serve
        self.nothing = client.nil_array  # the answer when the time is over
        self._timer = None

    def attempt(self) -> bytes | None:
        """The answer of the first key that has elements. Raises CommandError for a key of another type."""
        for key in self.keys:
            if self.db.typed(key, self.kind) is not None:
                return self.serve(self.client, key)
        return None

    def begin(self, seconds: float) -> None:
        client = self.client
        client.waits = self
        client.halted = True
        for key in self.keys:
            waiting = self.db.waiters.setdefault(key, [])
            if client not in waiting:
                waiting.append(client)
        if seconds:
            self._timer = client.server.loop.call_later(max(int(seconds * 1000), 1), self.time_out)

    def time_out(self) -> None:
        self.end(self.nothing)

    def forget(self) -> None:
        """The client waits no longer."""
        client = self.client
        client.waits = None
        for key in self.keys:
            waiting = self.db.waiters.get(key)
            if waiting and client in waiting:
                waiting.remove(client)
                if not waiting:
                    del self.db.waiters[key]
        if self._timer is not None:
            self._timer.cancel()

    def end(self, answer: bytes) -> None:
        self.forget()
        self.client.out.append(answer)
        self.client.resume()


def seconds_of(text: bytes) -> float:
    """Raises CommandError."""
    seconds = parse_float(text, "ERR timeout is not a float or out of range")
    if seconds < 0:
        raise CommandError("ERR timeout is negative")
    if seconds > 9223372036854775:
        raise CommandError("ERR timeout is out of range")
    return seconds


def _wait(client: object, wait: Wait, seconds: float) -> bytes | None:
    answer = wait.attempt()
    if answer is None:
        if client.executing:
            return wait.nothing
        wait.begin(seconds)
    return answer


def serve_arrived(space: object) -> None:
    """Clients whose elements have come."""
    while space.arrived:
        db, key = space.arrived.pop(0)
        for client in list(db.waiters.get(key, ())):
            wait = client.waits
            if wait is None or key not in db.values or type(db.values[key]) is not wait.kind:
                continue
            try:
                answer = client.server.unasked(db, wait.attempt)
            except CommandError as exc:
                answer = b"-%s\r\n" % str(exc).encode()
            if answer is not None:
                wait.end(answer)


def _pop(first: bool) -> object:
    def serve(client: object, key: bytes) -> bytes:
        value = take(client.db, key, first, 1)[0]
        client.db.space.as_written = [[b"LPOP" if first else b"RPOP", key]]
        return bulks([key, value])

    return serve


def bpop(client: object, args: list) -> bytes | None:
    """BLPOP, BRPOP."""
    seconds = seconds_of(args[-1])
    return _wait(client, Wait(client, args[1:-1], list, _pop(args[0][1:2] in b"lL")), seconds)


def _bmove(client: object, args: list, ends: tuple, seconds: float) -> bytes | None:
    def serve(waiting: object, key: bytes) -> bytes:
        value = move(waiting.db, key, args[2], ends)
        sides = [b"LEFT" if end else b"RIGHT" for end in ends]
        waiting.db.space.as_written = [[b"LMOVE", key, args[2], sides[0], sides[1]]]
        return bulk(value)

    wait = Wait(client, [args[1]], list, serve)
    wait.nothing = client.nil
    return _wait(client, wait, seconds)


def blmove(client: object, args: list) -> bytes | None:
    ends = ends_of(args[3], args[4])
    return _bmove(client, args, ends, seconds_of(args[5]))


def brpoplpush(client: object, args: list) -> bytes | None:
    return _bmove(client, args, (False, True), seconds_of(args[3]))


def bzpop(client: object, args: list) -> bytes | None:
    """BZPOPMIN, BZPOPMAX."""
    least = args[0][-1:] in b"nN"

    def serve(waiting: object, key: bytes) -> bytes:
        number, member = pop_entries(waiting.db, key, least, 1)[0]
        waiting.db.space.as_written = [[b"ZREM", key, member]]
        return array([bulk(key), bulk(member), score(waiting, number)])

    return _wait(client, Wait(client, args[1:-1], SortedSet, serve), seconds_of(args[-1]))


def _several(args: list, at: int, words: tuple) -> tuple:
    """(keys, whether the first word was said, count) of LMPOP and ZMPOP; `at`: the place of the number of keys."""
    problem = "ERR numkeys should be greater than 0"
    number = parse_integer(args[at], problem)
    if number <= 0:
        raise CommandError(problem)
    if at + 1 + number >= len(args):
        raise syntax_error()
    where = args[at + 1 + number].upper()
    if where not in words:
        raise syntax_error()
    rest = args[at + 2 + number :]
    count = 1
    if rest:
        if len(rest) != 2 or rest[0].upper() != b"COUNT":
            raise syntax_error()
        problem = "ERR count should be greater than 0"
        count = parse_integer(rest[1], problem)
        if count <= 0:
            raise CommandError(problem)
    return args[at + 1 : at + 1 + number], where == words[0], count


def lmpop(client: object, args: list) -> bytes | None:
    """LMPOP, BLMPOP."""
    waits = len(args[0]) == 6
    keys, first, count = _several(args, 2 if waits else 1, (b"LEFT", b"RIGHT"))

    def serve(waiting: object, key: bytes) -> bytes:
        taken = take(waiting.db, key, first, count)
        waiting.db.space.as_written = [[b"LPOP" if first else b"RPOP", key, b"%d" % len(taken)]]
        return b"*2\r\n" + bulk(key) + bulks(taken)

    return _perhaps(client, args, Wait(client, keys, list, serve))


def zmpop(client: object, args: list) -> bytes | None:
    """ZMPOP, BZMPOP."""
    waits = len(args[0]) == 6
    keys, least, count = _several(args, 2 if waits else 1, (b"MIN", b"MAX"))

    def serve(waiting: object, key: bytes) -> bytes:
        entries = pop_entries(waiting.db, key, least, count)
        waiting.db.space.as_written = [[b"ZREM", key] + [member for _, member in entries]]
        answers = [b"*2\r\n" + bulk(member) + score(waiting, number) for number, member in entries]
        return b"*2\r\n" + bulk(key) + array(answers)

    return _perhaps(client, args, Wait(client, keys, SortedSet, serve))


def _perhaps(client: object, args: list, wait: Wait) -> bytes | None:
    if len(args[0]) == 6:
        return _wait(client, wait, seconds_of(args[1]))
    answer = wait.attempt()
    return client.nil_array if answer is None else answer


COMMANDS = {
    "blpop": (bpop, -3, "w"),
    "brpop": (bpop, -3, "w"),
    "blmove": (blmove, 6, "wm"),
    "brpoplpush": (brpoplpush, 4, "wm"),
    "bzpopmin": (bzpop, -3, "w"),
    "bzpopmax": (bzpop, -3, "w"),
    "lmpop": (lmpop, -4, "w"),
    "blmpop": (lmpop, -5, "w"),
    "zmpop": (zmpop, -4, "w"),
    "bzmpop": (zmpop, -5, "w"),
}
