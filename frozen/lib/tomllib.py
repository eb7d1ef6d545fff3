# SPDX-License-Identifier: MIT
"""TOML 1.0 read, with CPython's interface: load(), loads(), TOMLDecodeError.

A table is a dict in no order. Dates and times come with `datetime` where a script imports it; else they are text.
"""

import sys

_BARE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+.:")
_NOWHERE = frozenset(range(32)) - {9, 10} | {127}  # in no string and no comment
_ESCAPES = {98: "\b", 116: "\t", 110: "\n", 102: "\f", 114: "\r", 34: '"', 92: "\\"}
_DIGITS = {"x": "0123456789abcdefABCDEF", "o": "01234567", "b": "01"}
_HEX = frozenset(b"0123456789abcdefABCDEF")
_BASES = {"x": 16, "o": 8, "b": 2}
_TAB, _LINE, _BLANK, _QUOTE, _HASH, _SINGLE, _COMMA, _DOT = 9, 10, 32, 34, 35, 39, 44, 46
_OPEN, _BACKSLASH, _CLOSE, _OPEN_TABLE, _CLOSE_TABLE = 91, 92, 93, 123, 125


class TOMLDecodeError(ValueError):
    """What is wrong, and where: (at line 2, column 7)."""


class _Table:
    """A table while it is read. kind: how it came about, which decides what may be added to it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind  # "header", "super" (named by a longer header alone), "dotted", "inline", "array"
        self.values: dict = {}
        self.tables: dict = {}  # key -> _Table, or for an array of tables the list of them


class _Reader:
    """Of UTF-8: there a byte is found at once, wherever it stands. What is looked for is ASCII, of which no other
    character has a byte."""

    def __init__(self, text: str) -> None:
        self.data = text.encode().replace(b"\r\n", b"\n") + b"\n"  # so that something stands at the end
        self.end = len(self.data) - 1
        self.at = 0
        self.is_clean = not _NOWHERE & set(self.data)
        self.keys: dict = {}  # those that were read, by what was read

    def fail(self, problem: str, at: int = -1) -> TOMLDecodeError:
        at = self.at if at < 0 else at
        if at >= self.end:
            return TOMLDecodeError(problem + " (at end of document)")
        line = self.data.count(b"\n", 0, at) + 1
        column = len(self.data[self.data.rfind(b"\n", 0, at) + 1 : at].decode()) + 1
        return TOMLDecodeError("%s (at line %d, column %d)" % (problem, line, column))

    def skip_blanks(self) -> int:
        """What stands behind them."""
        data = self.data
        at = self.at
        while data[at] == _BLANK or data[at] == _TAB:
            at += 1
        self.at = at
        return data[at]

    def skip_comment(self) -> None:
        end = self.data.find(b"\n", self.at)
        self.check_text(self.at, end)
        self.at = end

    def check_text(self, start: int, end: int) -> None:
        if self.is_clean:
            return
        for at in range(start, end):
            if self.data[at] in _NOWHERE:
                raise self.fail("Found invalid character %r" % chr(self.data[at]), at)

    def skip_lines(self) -> int:
        """Blanks, comments and ends of lines; what stands behind them, at the end of all the end of a line."""
        while True:
            char = self.data[self.at]
            if char <= _HASH:
                char = self.skip_blanks()
                if char == _HASH:
                    self.skip_comment()
                    char = _LINE
            if char != _LINE or self.at >= self.end:
                return char
            self.at += 1

    def end_of_line(self) -> None:
        char = self.data[self.at]
        if char != _LINE:
            char = self.skip_blanks()
            if char == _HASH:
                self.skip_comment()
            elif char != _LINE:
                raise self.fail("Expected newline or end of document after a statement")
        if self.at < self.end:
            self.at += 1

    def expect(self, text: bytes, problem: str) -> None:
        if self.data[self.at : self.at + len(text)] != text or self.at + len(text) > self.end:
            raise self.fail(problem)
        self.at += len(text)

    def key(self, stop: bytes) -> list:
        """A dotted key and the blanks behind it. stop: what follows, if all is well."""
        end = self.data.find(stop, self.at)
        raw = self.data[self.at : end]
        parts = self.keys.get(raw)
        if parts is not None:  # most tables have the same ones
            self.at = end
            return parts
        parts = [self.key_part()]
        while self.skip_blanks() == _DOT:
            self.at += 1
            self.skip_blanks()
            parts.append(self.key_part())
        if self.at == end:
            self.keys[raw] = parts
        return parts

    def key_part(self) -> str:
        data = self.data
        start = at = self.at
        if data[at] == _QUOTE:
            return self.basic_line()
        if data[at] == _SINGLE:
            return self.literal_line()
        while data[at] in _BARE:
            at += 1
        if at == start:
            raise self.fail("Invalid initial character for a key part")
        self.at = at
        return data[start:at].decode()

    def value(self) -> object:
        char = self.data[self.at]
        if char == _QUOTE:
            return self.basic_lines() if self.is_next(b'"""') else self.basic_line()
        if char == _SINGLE:
            return self.literal_lines() if self.is_next(b"'''") else self.literal_line()
        if char == _OPEN:
            return self.array()
        if char == _OPEN_TABLE:
            return self.inline_table()
        return self.word()

    def is_next(self, text: bytes) -> bool:
        return self.data[self.at : self.at + len(text)] == text

    def escaped(self) -> str:
        """What stands behind a backslash."""
        char = self.data[self.at]
        self.at += 1
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char not in b"uU":
            raise self.fail("Unescaped '\\' in a string", self.at - 1)
        size = 4 if char == 117 else 8
        digits = self.data[self.at : self.at + size]
        if len(digits) != size or not all(digit in _HEX for digit in digits):
            raise self.fail("Invalid hex value")
        number = int(digits, 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise self.fail("Escaped character is not a Unicode scalar value")
        self.at += size
        return chr(number)

    def basic_line(self) -> str:
        data = self.data
        self.at += 1
        parts = []
        while True:
            start = self.at
            line = data.find(b"\n", start)
            end = data.find(b'"', start, line)
            back = data.find(b"\\", start, end if end >= 0 else line)
            self.at = at = back if back >= 0 else end if end >= 0 else line
            if at == line:
                raise self.fail("Unterminated string")
            self.check_text(start, at)
            self.at += 1
            text = data[start:at].decode()
            if back < 0:
                return "".join(parts) + text if parts else text
            parts.append(text)
            parts.append(self.escaped())

    def literal_line(self) -> str:
        start = self.at + 1
        line = self.data.find(b"\n", start)
        end = self.data.find(b"'", start, line)
        if end < 0:
            self.at = line
            raise self.fail('Expected "\'"')
        self.check_text(start, end)
        self.at = end + 1
        return self.data[start:end].decode()

    def basic_lines(self) -> str:
        data = self.data
        self.at += 3
        if data[self.at] == _LINE:
            self.at += 1
        parts = []
        start = self.at
        while True:
            if self.at >= self.end:
                self.at = self.end
                raise self.fail("Unterminated string")
            char = data[self.at]
            if self.is_next(b'"""'):
                self.at += self.quotes(b'"')
                self.check_text(start, self.at)
                parts.append(data[start : self.at].decode())
                self.at += 3
                return "".join(parts)
            if char == _BACKSLASH:
                self.check_text(start, self.at)
                parts.append(data[start : self.at].decode())
                self.at += 1
                if not self.joined():
                    parts.append(self.escaped())
                start = self.at
            else:
                self.at += 1

    def joined(self) -> bool:
        """Skip a line's end behind a backslash, and what is blank after it."""
        start = self.at
        if self.skip_blanks() != _LINE or self.at >= self.end:
            self.at = start
            return False
        while self.at < self.end and self.skip_blanks() == _LINE:
            self.at += 1
        return True

    def quotes(self, char: bytes) -> int:
        """Quotes before the three that end a string: one or two belong to it."""
        for more in (2, 1):
            if self.data[self.at + 3 : self.at + 3 + more] == char * more:
                return more
        return 0

    def literal_lines(self) -> str:
        self.at += 3
        if self.data[self.at] == _LINE:
            self.at += 1
        start = self.at
        end = self.data.find(b"'''", start)
        if end < 0:
            self.at = self.end
            raise self.fail("Expected \"'''\"")
        self.at = end
        end += self.quotes(b"'")
        self.check_text(start, end)
        self.at = end + 3
        return self.data[start:end].decode()

    def array(self) -> list:
        self.at += 1
        values: list = []
        while True:
            if self.skip_lines() == _CLOSE:
                self.at += 1
                return values
            values.append(self.value())
            char = self.skip_lines()
            if char == _COMMA:
                self.at += 1
            elif char != _CLOSE:
                raise self.fail("Unclosed array")

    def inline_table(self) -> _Table:
        self.at += 1
        table = _Table("inline")
        if self.skip_blanks() == _CLOSE_TABLE:
            self.at += 1
            return table
        while True:
            self.skip_blanks()
            self.assign(table)
            char = self.skip_blanks()
            if char == _CLOSE_TABLE:
                self.at += 1
                return table
            if char != _COMMA:
                raise self.fail("Unclosed inline table")
            self.at += 1

    def word(self) -> object:
        """A boolean, a number, a date or a time."""
        start = at = self.at
        data = self.data
        while data[at] in _WORD:
            at += 1
        self.at = at
        word = data[start:at].decode()
        if word.isdigit() and word[0] != "0":
            return int(word)
        if word in ("true", "false"):
            return word == "true"
        if len(word) >= 5 and (word[4] == "-" or word[2] == ":") and word[:2].isdigit():
            if len(word) == 10 and data[at] == _BLANK and data[at + 1 : at + 3].isdigit():
                at += 1
                while data[at] in _WORD:
                    at += 1
                word = data[start:at].decode()
                self.at = at
            return self.moment(word, start)
        number = _number(word)
        if number is None:
            self.at = start
            raise self.fail("Invalid value")
        return number

    def moment(self, word: str, start: int) -> object:
        if not _is_moment(word):
            raise self.fail("Invalid date or datetime", start)
        datetime = sys.modules.get("datetime")
        if datetime is None:
            return word
        text = word.replace("t", "T").replace("z", "Z").replace("Z", "+00:00")
        try:
            if text[2] == ":":
                return datetime.time.fromisoformat(text)
            if len(text) == 10:
                return datetime.date.fromisoformat(text)
            return datetime.datetime.fromisoformat(text)
        except ValueError:
            raise self.fail("Invalid date or datetime", start)

    def assign(self, table: _Table) -> None:
        """KEY = VALUE into a table."""
        start = self.at
        parts = self.key(b"=")
        self.expect(b"=", "Expected '=' after a key in a key/value pair")
        self.skip_blanks()
        for part in parts[:-1]:
            if part in table.values:
                raise self.fail("Cannot overwrite a value", start)
            below = table.tables.get(part)
            if below is None:
                below = table.tables[part] = _Table("dotted")
            elif isinstance(below, list) or below.kind != "dotted":
                raise self.fail("Cannot overwrite a value", start)
            table = below
        name = parts[-1]
        value = self.value()
        if name in table.values or name in table.tables:
            raise self.fail("Cannot overwrite a value")
        if isinstance(value, _Table):
            table.tables[name] = value
        else:
            table.values[name] = value

    def header(self, root: _Table) -> _Table:
        """The table that a line [A.B] or [[A.B]] begins."""
        start = self.at
        many = self.is_next(b"[[")
        self.at += 2 if many else 1
        self.skip_blanks()
        parts = self.key(b"]")
        self.expect(b"]]" if many else b"]", "Expected ']' at the end of a table declaration")
        table = root
        for part in parts[:-1]:
            if part in table.values:
                raise self.fail("Cannot overwrite a value", start)
            below = table.tables.get(part)
            if below is None:
                below = table.tables[part] = _Table("super")
            if isinstance(below, list):
                below = below[-1]
            if below.kind == "inline":
                raise self.fail("Cannot mutate immutable namespace", start)
            table = below
        name = parts[-1]
        there = table.tables.get(name)
        if name in table.values:
            raise self.fail("Cannot overwrite a value", start)
        if many:
            if there is None:
                there = table.tables[name] = []
            elif not isinstance(there, list):
                raise self.fail("Cannot mutate immutable namespace", start)
            there.append(_Table("array"))
            return there[-1]
        if there is None:
            there = table.tables[name] = _Table("header")
        elif isinstance(there, list) or there.kind != "super":
            raise self.fail("Cannot declare a table twice", start)
        there.kind = "header"
        return there

    def document(self) -> dict:
        root = table = _Table("header")
        while True:
            char = self.skip_lines()
            if self.at >= self.end:
                return _plain(root)
            if char == _OPEN:
                table = self.header(root)
            else:
                self.assign(table)
            self.end_of_line()


def _fits(text: str, form: str) -> bool:
    """Whether it has a digit where the form has 0, and is the form elsewhere."""
    return len(text) == len(form) and all(
        char.isdigit() if wanted == "0" else char == wanted for char, wanted in zip(text, form)
    )


def _is_moment(word: str) -> bool:
    """A date, a time, or both and perhaps an offset, as RFC 3339 writes them."""
    time = word
    if word[4:5] == "-":
        if not _fits(word[:10], "0000-00-00"):
            return False
        if len(word) == 10:
            return True
        if word[10] not in "Tt ":
            return False
        time = word[11:]
        if time[-1:] in ("Z", "z"):
            time = time[:-1]
        elif time[-6:-5] in ("+", "-"):
            if not _fits(time[-5:], "00:00"):
                return False
            time = time[:-6]
    part = time[8:]
    return _fits(time[:8], "00:00:00") and (not part or (part[0] == "." and part[1:].isdigit()))


def _number(word: str) -> object:
    """An int or a float; None for what is neither."""
    sign = word[:1] if word[:1] in ("+", "-") else ""
    body = word[len(sign) :]
    if body in ("inf", "nan"):
        return float(word)
    if body[:1] == "0" and body[1:2] in _BASES and body[1:2]:
        digits = _DIGITS[body[1]]
        if sign or not _grouped(body[2:], digits):
            return None
        return int(body[2:].replace("_", ""), _BASES[body[1]])
    mantissa = body
    exponent = ""
    for letter in ("e", "E"):
        if letter in body:
            mantissa, _, exponent = body.partition(letter)
            if not _grouped(exponent[1:] if exponent[:1] in ("+", "-") else exponent, "0123456789"):
                return None
            break
    whole, point, part = mantissa.partition(".")
    if not _grouped(whole, "0123456789") or (whole[:1] == "0" and len(whole) > 1):
        return None
    if point and not _grouped(part, "0123456789"):
        return None
    plain = word.replace("_", "")
    return float(plain) if point or exponent else int(plain)


def _grouped(text: str, digits: str) -> bool:
    """Whether it is digits, with single underscores between them."""
    before = "_"
    for char in text:
        if char == "_":
            if before == "_":
                return False
        elif char not in digits:
            return False
        before = char
    return before != "_"


def _plain(table: object) -> object:
    if isinstance(table, list):
        return [_plain(each) for each in table]
    if not isinstance(table, _Table):
        return table
    values = table.values
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = _plain(value)  # there may be tables in it
    for key, below in table.tables.items():
        values[key] = _plain(below)
    return values


def loads(text: str) -> dict:
    """The tables of a document. Raises TOMLDecodeError."""
    if not isinstance(text, str):
        raise TypeError("Expected str object, not '%s'" % type(text).__name__)
    return _Reader(text).document()


def load(file: object) -> dict:
    """loads() of a file that is open for reading bytes."""
    data = file.read()
    if isinstance(data, str):
        raise TypeError("File must be opened in binary mode, e.g. use `open('foo.toml', 'rb')`")
    return loads(data.decode())
