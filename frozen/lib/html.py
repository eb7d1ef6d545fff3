# SPDX-License-Identifier: MIT
"""escape and unescape; of HTML's names for characters, those that are written most."""

_NAMES = {
    "amp": "&",
    "lt": "<",
    "gt": ">",
    "quot": '"',
    "apos": "'",
    "nbsp": "\xa0",
    "copy": "\xa9",
    "reg": "\xae",
    "deg": "\xb0",
    "middot": "\xb7",
    "laquo": "\xab",
    "raquo": "\xbb",
    "times": "\xd7",
    "auml": "\xe4",
    "ouml": "\xf6",
    "uuml": "\xfc",
    "Auml": "\xc4",
    "Ouml": "\xd6",
    "Uuml": "\xdc",
    "szlig": "\xdf",
    "eacute": "\xe9",
    "ndash": "\u2013",
    "mdash": "\u2014",
    "lsquo": "\u2018",
    "rsquo": "\u2019",
    "ldquo": "\u201c",
    "rdquo": "\u201d",
    "bull": "\u2022",
    "hellip": "\u2026",
    "euro": "\u20ac",
    "trade": "\u2122",
    "rarr": "\u2192",
    "larr": "\u2190",
}


def escape(s, quote=True):
    s = s.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return s.replace('"', "&quot;").replace("'", "&#x27;") if quote else s


def _number(s):
    """The character of a reference like "#65" or "#x41" that s starts with, and how long that is."""
    base, start = (16, 2) if s[1:2] in ("x", "X") else (10, 1)
    end = start
    while end < len(s) and s[end] in "0123456789abcdefABCDEF"[: 10 if base == 10 else 22]:
        end += 1
    if end == start:
        return "", 0
    number = int(s[start:end], base)
    wrong = number == 0 or 0xD800 <= number < 0xE000 or number > 0x10FFFF
    return "\ufffd" if wrong else chr(number), end + (s[end : end + 1] == ";")


def _named(s):
    """The same for a name; those of old end without a semicolon too."""
    end = 0
    while end < len(s) and (s[end].isalpha() or s[end].isdigit()):
        end += 1
    if s[end : end + 1] == ";" and s[:end] in _NAMES:
        return _NAMES[s[:end]], end + 1
    while end:
        found = _NAMES.get(s[:end], "\uffff")
        if found < "\u0100" and s[:end] != "apos":
            return found, end
        end -= 1
    return "", 0


def unescape(s):
    done = []
    while "&" in s:
        before, _, s = s.partition("&")
        found, length = _number(s) if s.startswith("#") else _named(s)
        done += [before, found or "&"]
        s = s[length:]
    return "".join(done) + s
