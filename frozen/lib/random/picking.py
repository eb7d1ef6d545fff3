# SPDX-License-Identifier: MIT
# What is picked out of many.

import urandom


def shuffle(x):
    for i in range(len(x) - 1, 0, -1):
        j = urandom.randrange(i + 1)
        x[i], x[j] = x[j], x[i]


def sample(population, k, *, counts=None):
    if isinstance(population, (set, frozenset, dict)):
        raise TypeError("Population must be a sequence.  For dicts or sets, use sorted(d).")
    pool = list(population)
    if counts is not None:
        counts = list(counts)
        if len(counts) != len(pool):
            raise ValueError("The number of counts does not match the population")
        pool = [x for x, n in zip(pool, counts) for _ in range(n)]
    if not 0 <= k <= len(pool):
        raise ValueError("Sample larger than population or is negative")
    for i in range(k):
        j = urandom.randrange(i, len(pool))
        pool[i], pool[j] = pool[j], pool[i]
    return pool[:k]


def choices(population, weights=None, *, cum_weights=None, k=1):
    population = list(population)
    if weights is not None and cum_weights is not None:
        raise TypeError("Cannot specify both weights and cumulative weights")
    if weights is not None:
        total = 0
        cum_weights = [total := total + w for w in weights]
    if cum_weights is None:
        return [urandom.choice(population) for _ in range(k)]
    if len(cum_weights) != len(population):
        raise ValueError("The number of weights does not match the population")
    if cum_weights[-1] <= 0:
        raise ValueError("Total of weights must be greater than zero")
    out = []
    for _ in range(k):
        x = urandom.random() * cum_weights[-1]
        at = 0
        while at < len(cum_weights) - 1 and cum_weights[at] <= x:
            at += 1
        out.append(population[at])
    return out


def randbytes(n):
    return bytes(urandom.getrandbits(8) for _ in range(n))
