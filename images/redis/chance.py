# SPDX-License-Identifier: MIT
"""Elements drawn at random."""

import random


def drawn(elements: list, count: int) -> list:
    """So many different ones; of a negative count so many, each drawn from all. MemoryError: they are too many."""
    if count < 0:
        found = [None] * min(-count, 1 << 40)  # fails at once where the answer would not fit
        for at in range(-count):
            found[at] = elements[random.randrange(len(elements))]
        return found
    size = len(elements)
    if count >= size:
        return elements
    for at in range(count):
        other = at + random.randrange(size - at)
        elements[at], elements[other] = elements[other], elements[at]
    return elements[:count]
