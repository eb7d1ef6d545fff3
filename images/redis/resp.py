# SPDX-License-Identifier: MIT
"""The protocol's pieces (RESP2, RESP3): commands taken from bytes, answers made of values, and the errors' words.

bulk(), bulks() and integer() make an answer of values; they are native, as is what takes most commands (client.py)."""

from _resp import bulk, bulks, integer, more  # noqa: F401 - for all that answer

OK = b"+OK\r\n"
QUEUED = b"+QUEUED\r\n"
ZERO = b":0\r\n"
ONE = b":1\r\n"
EMPTY = b"*0\r\n"
MOST = (1 << 20, 512 << 20)  # arguments of a command, bytes of one
MOST_BEFORE_LOGIN = (10, 16384)
MAX_LINE = 65536
_CRLF = b"\r\n"


class CommandError(Exception):
    """What a command answers instead of a value: the words behind the minus."""


class ProtocolError(Exception):
    """What a client sent is no command; it is told and hung up on."""


def syntax_error() -> CommandError:
    return CommandError("ERR syntax error")


def unknown_subcommand(args: list) -> CommandError:
    command = text_of(args[0]).upper()
    return CommandError("ERR unknown subcommand '%s'. Try %s HELP." % (text_of(args[1][:128]), command))


WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_INTEGER = "ERR value is not an integer or out of range"
NOT_FLOAT = "ERR value is not a valid float"
NO_KEY = "ERR no such key"


def error(text: str) -> bytes:
    return b"-%s\r\n" % text.replace("\r", " ").replace("\n", " ").encode()


def wrong_arguments(name: bytes) -> bytes:
    return error("ERR wrong number of arguments for '%s' command" % text_of(name.lower()))


def text_of(data: bytes) -> str:
    """For messages: what is no UTF-8 is shown as ?."""
    try:
        return data.decode()
    except UnicodeError:
        return "".join([chr(byte) if 32 <= byte < 127 else "?" for byte in data])


# ---- answers ----------------------------------------------------------------------------------


def array(answers: list) -> bytes:
    """Of answers that are made already."""
    return b"*%d\r\n" % len(answers) + b"".join(answers)


def bulks_or_nil(client: object, values: list) -> bytes:
    return bulks(values, client.nil)


def pairs(client: object, flat: list) -> bytes:
    """A map, of answers that are keys and values in turn."""
    if client.resp == 3:
        return b"%%%d\r\n" % (len(flat) // 2) + b"".join(flat)
    return array(flat)


def members(client: object, values: object) -> bytes:
    """A set."""
    answer = bulks(values)
    return b"~" + answer[1:] if client.resp == 3 else answer


# ---- commands ---------------------------------------------------------------------------------


class Reader:
    """Takes commands, by steps, from bytes that come in pieces. Looks once at each argument, however many pieces."""

    def __init__(self) -> None:
        self.begun: list | None = None  # arguments, as far as they are there, of a command that is not whole
        self._count = 0  # how many they will be

    def read(self, data: bytes, at: int, most: tuple = MOST) -> tuple:
        """The command at a place, or what follows of the one that is begun.

        Returns (arguments, where the next begins, 0), or (None, where to go on, bytes that must be there from then on).
        An empty line is a command of no arguments. most: as MOST. Raises ProtocolError."""
        if self.begun is None:
            if data[at] != 42:  # *
                return _read_inline(data, at, min(MAX_LINE, most[1]))
            end = data.find(_CRLF, at)
            if end < 0:
                return _unfinished(data, at, "mbulk count string")
            count = _number(data[at + 1 : end])
            if count is None or count > MOST[0]:
                raise ProtocolError("invalid multibulk length")
            if count > most[0]:
                raise ProtocolError("unauthenticated multibulk length")
            at = end + 2
            self.begun = []
            self._count = count
        arguments = self.begun
        at = more(data, at, arguments, self._count, most[1])  # then what is not whole, or of no usual form
        while len(arguments) < self._count:
            end = data.find(_CRLF, at)
            if end < 0:
                return _unfinished(data, at, "bulk count string")
            first = end + 2
            behind = first + _size(data[at:end], most)
            if len(data) < behind + 2:
                return None, at, behind + 2 - at
            arguments.append(data[first:behind])
            at = behind + 2
        self.begun = None
        return arguments, at, 0


def _unfinished(data: bytes, at: int, what: str, longest: int = MAX_LINE) -> tuple:
    """What read() returns where a line has no end yet."""
    size = len(data) - at
    if size > longest:
        raise ProtocolError("too big " + what)
    return None, at, size + 1


def _size(head: bytes, most: tuple) -> int:
    """Of the argument that has this head."""
    if head[:1] != b"$":
        raise ProtocolError("expected '$', got '%s'" % text_of(head[:1]))
    size = _number(head[1:])
    if size is None or not 0 <= size <= MOST[1] or (most is not MOST_BEFORE_LOGIN and size > most[1]):
        raise ProtocolError("invalid bulk length")
    if size > most[1]:
        raise ProtocolError("unauthenticated bulk length")
    return size


def _number(text: bytes) -> int | None:
    """None: it is no number, or has zeros in front, which Redis refuses too: one number has one form."""
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 11 or (digits[0] == 48 and text != b"0"):
        return None
    return int(text)


def _read_inline(data: bytes, at: int, longest: int) -> tuple:
    end = data.find(b"\n", at)
    if end < 0:
        return _unfinished(data, at, "inline request", longest)
    if end - at > longest:
        raise ProtocolError("too big inline request")
    words = split_words(data[at:end])
    if words is None:
        raise ProtocolError("unbalanced quotes in request")
    return words, end + 1, 0


_HEX = b"0123456789abcdefABCDEF"
_ESCAPES = {110: 10, 114: 13, 116: 9, 98: 8, 97: 7}


def split_words(line: bytes) -> list | None:
    """Words between blanks, some in quotes. None: quotes that do not match."""
    line = line.strip(b" \t\r\n\x00")
    if b'"' not in line and b"'" not in line:
        return line.split()
    words: list = []
    at = 0
    while at < len(line):
        if line[at] in b" \t\r\x0b\x0c":
            at += 1
            continue
        word, at = _word(line, at)
        if word is None:
            return None
        words.append(word)
    return words


def _word(line: bytes, at: int) -> tuple:
    """(word, where it ends); the word is None if its quotes do not match."""
    word = bytearray()
    quote = 0
    while at < len(line):
        char = line[at]
        if quote:
            if char == quote:
                if at + 1 < len(line) and line[at + 1] not in b" \t\r\x0b\x0c":
                    return None, at
                return bytes(word), at + 1
            if char == 92 and at + 1 < len(line):
                char, at = _escape(line, at, quote)
        elif char in b" \t\r\x0b\x0c":
            return bytes(word), at
        elif char in b"\"'":
            quote = char
            at += 1
            continue
        word.append(char)
        at += 1
    return (None if quote else bytes(word)), at


def _escape(line: bytes, at: int, quote: int) -> tuple:
    """(byte, place of its last character) of a backslash within quotes."""
    after = line[at + 1]
    if quote == 39:
        return (39, at + 1) if after == 39 else (92, at)
    if after == 120 and at + 3 < len(line) and line[at + 2] in _HEX and line[at + 3] in _HEX:
        return int(line[at + 2 : at + 4], 16), at + 3
    return _ESCAPES.get(after, after), at + 1
