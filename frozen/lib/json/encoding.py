# SPDX-License-Identifier: MIT
# dumps() with keywords, and the class that does it. A plain dumps() stays MicroPython's, which is faster.

import ujson


def dumps(obj, *, separators=None, cls=None, **how):
    if cls is None and not how:
        return ujson.dumps(obj, separators=separators)
    return (cls or JSONEncoder)(separators=separators, **how).encode(obj)


def dump(obj, fp, **how):
    fp.write(dumps(obj, **how))


def _quoted(text, ascii_only):
    if not ("\b" in text or "\f" in text or (ascii_only and ("\x7f" in text or len(text) != len(text.encode())))):
        return ujson.dumps(text)
    out = []
    for c in text:
        n = ord(c)
        if n < 127 or not ascii_only:
            out.append("\\b" if c == "\b" else "\\f" if c == "\f" else ujson.dumps(c)[1:-1])
        elif n < 0x10000:
            out.append("\\u%04x" % n)
        else:
            n -= 0x10000
            out.append("\\u%04x\\u%04x" % (0xD800 | n >> 10, 0xDC00 | n & 0x3FF))
    return '"' + "".join(out) + '"'


class JSONEncoder:
    def __init__(
        self,
        *,
        skipkeys=False,
        ensure_ascii=True,
        check_circular=True,
        allow_nan=True,
        sort_keys=False,
        indent=None,
        separators=None,
        default=None,
    ):
        self.skipkeys = skipkeys
        self.ensure_ascii = ensure_ascii
        self.allow_nan = allow_nan
        self.sort_keys = sort_keys
        self.indent = " " * indent if isinstance(indent, int) else indent
        self.item_separator, self.key_separator = separators or (", " if indent is None else ",", ": ")
        if default is not None:
            self.default = default
        self._open = []

    def default(self, o):
        raise TypeError("Object of type " + type(o).__name__ + " is not JSON serializable")

    def encode(self, o):
        return "".join(self.iterencode(o))

    def iterencode(self, o):
        out = []
        self._open.clear()
        self._encode(o, out, "\n")
        return iter(out)

    def _plain(self, o):
        """The text of what is no list and no dict; None if it is one, or is unknown."""
        if isinstance(o, str):
            return _quoted(o, self.ensure_ascii)
        if o is None or o is True or o is False:
            return {None: "null", True: "true", False: "false"}[o]
        if isinstance(o, int):
            return "%d" % o
        if isinstance(o, float):
            return self._float(o)
        return None

    def _float(self, o):
        if o - o == 0:  # neither infinite nor NaN
            return repr(o)
        if not self.allow_nan:
            raise ValueError("Out of range float values are not JSON compliant")
        return "Infinity" if o > 0 else "-Infinity" if o < 0 else "NaN"

    def _encode(self, o, out, newline):
        text = self._plain(o)
        if text is not None:
            out.append(text)
            return
        if id(o) in self._open:
            raise ValueError("Circular reference detected")
        self._open.append(id(o))
        if isinstance(o, dict):
            self._many(self._pairs(o), out, newline, "{}")
        elif isinstance(o, (list, tuple)):
            self._many([("", item) for item in o], out, newline, "[]")
        else:
            self._encode(self.default(o), out, newline)
        self._open.pop()

    def _many(self, pairs, out, newline, brackets):
        if not pairs:
            out.append(brackets)
            return
        inner = newline if self.indent is None else newline + self.indent
        shown = "" if self.indent is None else inner
        out.append(brackets[0] + shown)
        separator = ""
        for key, value in pairs:
            out.append(separator + key)
            self._encode(value, out, inner)
            separator = self.item_separator + shown
        out.append(("" if self.indent is None else newline) + brackets[1])

    def _pairs(self, o):
        pairs = []
        for key, value in sorted(o.items()) if self.sort_keys else o.items():
            text = self._plain(key)
            if text is not None:
                text = text if isinstance(key, str) else '"' + text + '"'
                pairs.append((text + self.key_separator, value))
            elif not self.skipkeys:
                raise TypeError("keys must be str, int, float, bool or None, not " + type(key).__name__)
        return pairs
