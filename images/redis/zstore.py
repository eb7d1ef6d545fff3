# SPDX-License-Identifier: MIT
"""Union, intersection and difference of sorted sets; sets take part with scores of 1."""

import math

from number import parse_float, parse_integer
from resp import WRONG_TYPE, CommandError, bulks, integer, syntax_error
from sortedset import SortedSet
from zranges import store
from zsets import scored


class _Plan:
    """What a command says: keys, weights, how scores join."""

    def __init__(self, db: object, args: list, at: int) -> None:
        """`at`: place of the number of keys. Raises CommandError, of the keys' types too."""
        self.name = name = args[0].lower()
        count = parse_integer(args[at])
        if count < 1:
            raise CommandError("ERR at least 1 input key is needed for '%s' command" % name.decode())
        if count > len(args) - at - 1:
            raise syntax_error()
        self.keys = args[at + 1 : at + 1 + count]
        self.values = [db.get(key) for key in self.keys]
        if any(value is not None and type(value) not in (SortedSet, set) for value in self.values):
            raise CommandError(WRONG_TYPE)
        self.weights = [1.0] * count
        self.joins = not (name.startswith(b"zdiff") or name == b"zintercard")
        self.join = b"SUM"
        self.limit = 0
        self.with_scores = False
        self._options(args[at + 1 + count :], at == 1)

    def _options(self, words: list, answers: bool) -> None:
        while words:
            word = words[0].upper()
            used = 1
            if word == b"WEIGHTS" and self.joins and len(words) > len(self.keys):
                used = 1 + len(self.keys)
                self.weights = [parse_float(text, "ERR weight value is not a float") for text in words[1:used]]
            elif word == b"AGGREGATE" and self.joins and len(words) > 1:
                used = 2
                self.join = words[1].upper()
                if self.join not in (b"SUM", b"MIN", b"MAX"):
                    raise syntax_error()
            elif word == b"LIMIT" and self.name == b"zintercard" and len(words) > 1:
                used = 2
                problem = "ERR LIMIT can't be negative"
                self.limit = parse_integer(words[1], problem)
                if self.limit < 0:
                    raise CommandError(problem)
            elif word == b"WITHSCORES" and answers and self.name != b"zintercard":
                self.with_scores = True
            else:
                raise syntax_error()
            words = words[used:]

    def scores(self) -> dict:
        inputs = [_weighted(value, self.weights[at]) for at, value in enumerate(self.values)]
        if self.name.startswith(b"zu"):
            return self._union(inputs)
        result = inputs[0]
        if self.name.startswith(b"zd"):
            for other in inputs[1:]:
                result = {member: number for member, number in result.items() if member not in other}
            return result
        for other in inputs[1:]:
            result = {
                member: self._joined(number, other[member]) for member, number in result.items() if member in other
            }
        return result

    def _union(self, inputs: list) -> dict:
        result = inputs[0]
        for other in inputs[1:]:
            for member, number in other.items():
                result[member] = self._joined(result[member], number) if member in result else number
        return result

    def _joined(self, first: float, second: float) -> float:
        if self.join == b"SUM":
            total = first + second
            return 0.0 if math.isnan(total) else total
        return min(first, second) if self.join == b"MIN" else max(first, second)


def _weighted(value: object, weight: float) -> dict:
    """A dict of its own."""
    if value is None:
        return {}
    if type(value) is SortedSet:
        products = {member: number * weight for member, number in value.scores.items()}
        return {member: 0.0 if math.isnan(number) else number for member, number in products.items()}
    return dict.fromkeys(value, weight)


def _entries(scores: dict) -> list:
    return sorted([(number, member) for member, number in scores.items()])


def combine(client: object, args: list) -> bytes:
    """ZUNION, ZINTER, ZDIFF."""
    plan = _Plan(client.db, args, 1)
    entries = _entries(plan.scores())
    return scored(client, entries) if plan.with_scores else bulks([member for _, member in entries])


def intercard(client: object, args: list) -> bytes:
    """ZINTERCARD."""
    plan = _Plan(client.db, args, 1)
    found = len(plan.scores())
    return integer(min(found, plan.limit) if plan.limit else found)


def combine_and_store(client: object, args: list) -> bytes:
    """ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE."""
    plan = _Plan(client.db, args, 2)
    entries = _entries(plan.scores())
    store(client.db, args[1], entries)
    return integer(len(entries))


COMMANDS = {
    "zunion": (combine, -3, ""),
    "zinter": (combine, -3, ""),
    "zdiff": (combine, -3, ""),
    "zintercard": (intercard, -3, ""),
    "zunionstore": (combine_and_store, -4, "wm"),
    "zinterstore": (combine_and_store, -4, "wm"),
    "zdiffstore": (combine_and_store, -4, "wm"),
}
