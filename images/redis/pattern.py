# SPDX-License-Identifier: MIT
"""Glob patterns: * ? [a-z] [^a] and the backslash."""

STAR = 42
MARK = 63
OPEN = 91
CLOSE = 93
BACKSLASH = 92


def matches(pattern: bytes, text: bytes) -> bool:
    """Whether all of the text matches."""
    at = 0
    place = 0
    back = -1  # place behind the last *, to which the pattern returns with one more byte of text
    back_at = 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == STAR:
            place += 1
            back = place
            back_at = at
            continue
        if place < len(pattern):
            fits, after = _one(pattern, place, text[at])
            if fits:
                place = after
                at += 1
                continue
        if back < 0:
            return False
        back_at += 1
        at = back_at
        place = back
    while place < len(pattern) and pattern[place] == STAR:
        place += 1
    return place == len(pattern)


def _one(pattern: bytes, place: int, byte: int) -> tuple:
    """(whether the pattern's next unit takes this byte, place behind the unit)."""
    char = pattern[place]
    if char == MARK:
        return True, place + 1
    if char == OPEN:
        return _set(pattern, place + 1, byte)
    if char == BACKSLASH and place + 1 < len(pattern):
        place += 1
        char = pattern[place]
    return char == byte, place + 1


def _set(pattern: bytes, place: int, byte: int) -> tuple:
    size = len(pattern)
    negated = place < size and pattern[place] == 94
    if negated:
        place += 1
    found = False
    while True:
        if place >= size:  # the last ] is not there
            break
        char = pattern[place]
        if char == BACKSLASH and place + 1 < size:
            place += 1
            found = found or pattern[place] == byte
        elif char == CLOSE:
            place += 1
            break
        elif place + 2 < size and pattern[place + 1] == 45:
            low, high = char, pattern[place + 2]
            if low > high:
                low, high = high, low
            found = found or low <= byte <= high
            place += 2
        else:
            found = found or char == byte
        place += 1
    return found != negated, place
