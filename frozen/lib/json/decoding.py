# SPDX-License-Identifier: MIT
# What is read is read by MicroPython's json; what is no JSON raises CPython's error.

import uio
import ujson


class JSONDecodeError(ValueError):
    def __init__(self, msg, doc, pos):
        before = doc[:pos] if isinstance(doc, str) else doc[:pos].decode()
        self.msg = msg
        self.doc = doc
        self.pos = pos
        self.lineno = before.count("\n") + 1
        self.colno = pos - before.rfind("\n")
        super().__init__("%s: line %d column %d (char %d)" % (msg, self.lineno, self.colno, pos))


def _stop(text):
    """About where the reader stops, in characters: it looks one further than what it does not like."""
    raw = text.encode() if isinstance(text, str) else text
    stream = uio.BytesIO(raw + b"\0")  # which it takes for the end
    try:
        ujson.load(stream)
    except ValueError:
        pass
    at = stream.tell() - 2
    if at == len(raw) - 1 and raw[at:] in b'{[]},:" \t\r\n0123456789':
        at += 1  # it ends too early
    return sum(byte & 0xC0 != 0x80 for byte in raw[: max(at, 0)])


def loads(s, *, object_hook=None, object_pairs_hook=None):
    try:
        made = ujson.loads(s)
    except ValueError:
        raise JSONDecodeError("syntax error in JSON", s, _stop(s)) from None
    if object_pairs_hook is not None:
        return _hooked(made, lambda d: object_pairs_hook(list(d.items())))
    return made if object_hook is None else _hooked(made, object_hook)


def load(fp, **how):
    return loads(fp.read(), **how)


def _hooked(value, hook):
    if isinstance(value, list):
        return [_hooked(item, hook) for item in value]
    return hook({k: _hooked(v, hook) for k, v in value.items()}) if isinstance(value, dict) else value
