# SPDX-License-Identifier: MIT
# CPython's fnmatch: names against *, ? and [sets]. Not here: translate().


def fnmatchcase(name, pat):
    """Whether all of a name is as the pattern has it."""
    star = None  # where the pattern goes on behind the last *, and where the name then was
    n = p = 0
    while n < len(name) or p < len(pat):
        c = pat[p : p + 1]
        if c == "*":
            star = [p + 1, n]
            p += 1
            continue
        if n < len(name) and c:
            matched, after = _one(name[n], pat, p)
            if matched:
                n += 1
                p = after
                continue
        if star is None or star[1] >= len(name):
            return False
        star[1] += 1
        p, n = star
    return True


def _one(char, pat, p):
    """Whether a character is as the piece of a pattern at p has it, and where the next piece is."""
    c = pat[p]
    end = pat.find("]", p + (3 if pat[p + 1 : p + 2] == "!" else 2)) if c == "[" else -1
    if c == "?":
        return True, p + 1
    if end < 0:
        return char == c, p + 1
    found = False
    inner = pat[p + 1 : end]
    negated = inner.startswith("!")
    inner = inner[1:] if negated else inner
    i = 0
    while i < len(inner):
        if inner[i + 1 : i + 2] == "-" and i + 2 < len(inner):
            found = found or inner[i] <= char <= inner[i + 2]
            i += 3
        else:
            found = found or inner[i] == char
            i += 1
    return found != negated, end + 1


def fnmatch(name, pat):
    return fnmatchcase(name, pat)


def filter(names, pat):
    return [name for name in names if fnmatchcase(name, pat)]
