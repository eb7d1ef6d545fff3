# SPDX-License-Identifier: MIT
"""Elements drawn at random."""

import random


def drawn(elements: list, count: int) -> list:
    """So many different ones; of a negative count so many, each drawn from all."""
    if count < 0:
        return [elements[random.randrange(len(elements))] for _ in range(-count)]
    size = len(elements)
    if count >= size:
        return elements
    for at in range(count):
        other = at + random.randrange(size - at)
        elements[at], elements[other] = elements[other], elements[at]
    return elements[:count]
