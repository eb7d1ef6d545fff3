# SPDX-License-Identifier: MIT
"""TOML 1.0 read, with CPython's interface: load(), loads(), TOMLDecodeError.

A table is a dict in no order. Dates and times come with `datetime` where a script imports it; else they are text.
"""

import sys

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_WORD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+.:")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_DIGITS = {"x": "0123456789abcdefABCDEF", "o": "01234567", "b": "01"}
_WINDOW = 1024  # characters
_BASES = {"x": 16, "o": 8, "b": 2}


class TOMLDecodeError(ValueError):
    """What is wrong, and where: (at line 2, column 7)."""


class _Table:
    """A table while it is read. kind: how it came about, which decides what may be added to it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind  # "header", "super" (named by a longer header alone), "dotted", "inline", "array"
        self.values: dict = {}
        self.tables: dict = {}  # key -> _Table, or for an array of tables the list of them


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.end = len(self.text)
        self.at = 0
        self.lines = 0  # before `text`

    # ---- places -------------------------------------------------------------------------------

    def fail(self, problem: str, at: int = -1) -> TOMLDecodeError:
        at = self.at if at < 0 else at
        if at >= self.end:
            return TOMLDecodeError(problem + " (at end of document)")
        line = self.lines + self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        return TOMLDecodeError("%s (at line %d, column %d)" % (problem, line, column))

    def forget(self) -> None:
        """At the beginning of a line: let go of what was read. A character is found the later the further in it is."""
        if self.at >= _WINDOW:
            self.lines += self.text.count("\n", 0, self.at)
            self.text = self.text[self.at :]
            self.end -= self.at
            self.at = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def skip_blanks(self) -> None:
        text = self.text
        at = self.at
        while text[at : at + 1] in (" ", "\t"):
            at += 1
        self.at = at

    def skip_comment(self) -> None:
        if self.peek() != "#":
            return
        end = self.text.find("\n", self.at)
        end = self.end if end < 0 else end
        self.check_text(self.at, end, "comment")
        self.at = end

    def check_text(self, start: int, end: int, what: str) -> None:
        for at in range(start, end):
            char = ord(self.text[at])
            if (char < 0x20 and char not in (9, 10)) or char == 0x7F:
                raise self.fail("Found invalid character %r" % chr(char), at)

    def skip_lines(self) -> None:
        """Blanks, comments and ends of lines. No place in the text that somebody keeps is right after it."""
        while True:
            self.skip_blanks()
            self.skip_comment()
            if self.peek() != "\n":
                return
            self.at += 1
            self.forget()

    def end_of_line(self) -> None:
        self.skip_blanks()
        self.skip_comment()
        if self.at < self.end:
            if self.peek() != "\n":
                raise self.fail("Expected newline or end of document after a statement")
            self.at += 1
            self.forget()

    def expect(self, text: str, problem: str) -> None:
        if self.text[self.at : self.at + len(text)] != text:
            raise self.fail(problem)
        self.at += len(text)

    # ---- keys ---------------------------------------------------------------------------------

    def key(self) -> list:
        """A dotted key."""
        parts = [self.key_part()]
        while True:
            self.skip_blanks()
            if self.peek() != ".":
                return parts
            self.at += 1
            self.skip_blanks()
            parts.append(self.key_part())

    def key_part(self) -> str:
        char = self.peek()
        if char in ('"', "'") and char:
            return self.basic_line() if char == '"' else self.literal_line()
        start = self.at
        while self.peek() in _BARE and self.at < self.end:
            self.at += 1
        if self.at == start:
            raise self.fail("Invalid initial character for a key part")
        return self.text[start : self.at]

    # ---- values -------------------------------------------------------------------------------

    def value(self) -> object:
        char = self.peek()
        three = self.text[self.at : self.at + 3]
        if three == '"""':
            return self.basic_lines()
        if three == "'''":
            return self.literal_lines()
        if char == '"':
            return self.basic_line()
        if char == "'":
            return self.literal_line()
        if char == "[":
            return self.array()
        if char == "{":
            return self.inline_table()
        return self.word()

    def escaped(self) -> str:
        """What stands behind a backslash."""
        char = self.peek()
        self.at += 1
        if char in _ESCAPES and char:
            return _ESCAPES[char]
        if char not in ("u", "U"):
            raise self.fail("Unescaped '\\' in a string", self.at - 1)
        size = 4 if char == "u" else 8
        digits = self.text[self.at : self.at + size]
        if len(digits) != size or not all(digit in _DIGITS["x"] for digit in digits):
            raise self.fail("Invalid hex value")
        number = int(digits, 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise self.fail("Escaped character is not a Unicode scalar value")
        self.at += size
        return chr(number)

    def basic_line(self) -> str:
        self.at += 1
        parts = []
        start = self.at
        while True:
            char = self.peek()
            if char in ("", "\n"):
                raise self.fail("Unterminated string")
            if char in ('"', "\\"):
                self.check_text(start, self.at, "string")
                parts.append(self.text[start : self.at])
                self.at += 1
                if char == '"':
                    return "".join(parts)
                parts.append(self.escaped())
                start = self.at
            else:
                self.at += 1

    def literal_line(self) -> str:
        start = self.at + 1
        end = self.text.find("'", start)
        line = self.text.find("\n", start)
        if end < 0 or 0 <= line < end:
            self.at = line if line >= 0 else self.end
            raise self.fail('Expected "\'"')
        self.check_text(start, end, "string")
        self.at = end + 1
        return self.text[start:end]

    def basic_lines(self) -> str:
        self.at += 3
        if self.peek() == "\n":
            self.at += 1
        parts = []
        start = self.at
        while True:
            char = self.peek()
            if not char:
                raise self.fail("Unterminated string")
            if self.text[self.at : self.at + 3] == '"""':
                self.at += self.quotes('"')
                self.check_text(start, self.at, "string")
                parts.append(self.text[start : self.at])
                self.at += 3
                return "".join(parts)
            if char == "\\":
                self.check_text(start, self.at, "string")
                parts.append(self.text[start : self.at])
                self.at += 1
                if not self.joined():
                    parts.append(self.escaped())
                start = self.at
            else:
                self.at += 1

    def joined(self) -> bool:
        """Skip a line's end behind a backslash, and what is blank after it."""
        at = self.at
        while self.text[at : at + 1] in (" ", "\t"):
            at += 1
        if self.text[at : at + 1] != "\n":
            return False
        while self.text[at : at + 1] in (" ", "\t", "\n"):
            at += 1
        self.at = at
        return True

    def quotes(self, char: str) -> int:
        """Quotes before the three that end a string: one or two belong to it."""
        for more in (2, 1):
            if self.text[self.at + 3 : self.at + 3 + more] == char * more:
                return more
        return 0

    def literal_lines(self) -> str:
        self.at += 3
        if self.peek() == "\n":
            self.at += 1
        start = self.at
        end = self.text.find("'''", start)
        if end < 0:
            self.at = self.end
            raise self.fail("Expected \"'''\"")
        self.at = end
        end += self.quotes("'")
        self.check_text(start, end, "string")
        self.at = end + 3
        return self.text[start:end]

    def array(self) -> list:
        self.at += 1
        values: list = []
        while True:
            self.skip_lines()
            if self.peek() == "]":
                self.at += 1
                return values
            values.append(self.value())
            self.skip_lines()
            if self.peek() == ",":
                self.at += 1
            elif self.peek() != "]":
                raise self.fail("Unclosed array")

    def inline_table(self) -> _Table:
        self.at += 1
        table = _Table("inline")
        self.skip_blanks()
        if self.peek() == "}":
            self.at += 1
            return table
        while True:
            self.skip_blanks()
            self.assign(table)
            self.skip_blanks()
            char = self.peek()
            self.at += 1
            if char == "}":
                return table
            if char != ",":
                raise self.fail("Unclosed inline table", self.at - 1)

    def word(self) -> object:
        """A boolean, a number, a date or a time."""
        start = self.at
        text = self.text
        while self.at < self.end and text[self.at] in _WORD:
            self.at += 1
        word = text[start : self.at]
        if word in ("true", "false"):
            return word == "true"
        if len(word) >= 5 and (word[4] == "-" or word[2] == ":") and word[:2].isdigit():
            if len(word) == 10 and text[self.at : self.at + 1] == " " and text[self.at + 1 : self.at + 3].isdigit():
                at = self.at + 1
                while at < self.end and text[at] in _WORD:
                    at += 1
                word = text[start:at]
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

    # ---- tables -------------------------------------------------------------------------------

    def assign(self, table: _Table) -> None:
        """KEY = VALUE into a table."""
        start = self.at
        parts = self.key()
        self.skip_blanks()
        self.expect("=", "Expected '=' after a key in a key/value pair")
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
        many = self.text[self.at : self.at + 2] == "[["
        self.at += 2 if many else 1
        self.skip_blanks()
        parts = self.key()
        self.expect("]]" if many else "]", "Expected ']' at the end of a table declaration")
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
            self.skip_lines()
            if self.at >= self.end:
                return _plain(root)
            if self.peek() == "[":
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
    values = {key: _plain(value) for key, value in table.values.items()}
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
