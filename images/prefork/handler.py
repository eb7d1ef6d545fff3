# SPDX-License-Identifier: MIT
"""The handler of this image: GET /factor?n=N. An image of your own has its own one beside its image.toml.

What is made here is made once, before the workers are forked: all have it."""

import os

_MOST = 100_000_000


def _primes(most: int) -> list:
    composite = bytearray(most + 1)
    for n in range(2, int(most**0.5) + 1):
        if not composite[n]:
            for multiple in range(n * n, most + 1, n):
                composite[multiple] = 1
    return [n for n in range(2, most + 1) if not composite[n]]


PRIMES = _primes(int(_MOST**0.5))


def _factors(n: int) -> list:
    found = []
    for prime in PRIMES:
        while n % prime == 0:
            found.append(prime)
            n //= prime
    if n > 1:
        found.append(n)
    return found


def handle(event: object, context: object) -> object:
    if event.path != "/factor":
        return "there are: / and /factor?n=N\n", 404
    text = event.query.get("n", "")
    if not text.isdigit() or len(text) > 9 or not 0 < int(text) <= _MOST:
        return "expected ?n=N, from 1 to %d\n" % _MOST, 422
    return {"n": int(text), "factors": _factors(int(text)), "vm": os.getpid()}
