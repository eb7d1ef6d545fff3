# SPDX-License-Identifier: MIT
"""Which Python a running guest is in, read from its memory: no code of the guest's runs for it, sealed or not.

Each call of the bytecode interpreter (py/vm.c) catches exceptions, and is by that in a chain that begins at a word of
the guest's (port/traceback.c, which also holds the layouts that are taken for granted here to the compiler's). In the
registers that a call has saved there is its mp_code_state_t: the function, and the instruction it is at.

The guest goes on meanwhile, so that the chain may change under the reader: what is no frame any more ends a walk, and
every walk has a bound.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from floe.image import names, vitals
from floe.image.vitals import Read, Table

_TABLE = "floe_frame_vitals"
_CATCHER = struct.Struct("<10Q")  # nlr_buf_t: previous, value, rip, rbp, rsp, rbx, r12 to r15
_KEPT = (3, 5, 6, 7, 8, 9)  # of these, the registers that a call may have its frame in
_SPILLED = 256  # bytes of a call's own stack, in which it may have it too
_DEPTH = 1024
_CODE = 1 << 16  # of one function, at most
_PRELUDE = 32  # bytes that are sure to hold its two numbers
_POOLS = 256
_NAME = 256
_ADDRESSES = 1 << 47
_IDLE = "service_idle"  # port/monitor/monitor.S
IDLE = "idle"
CHANGED = "(not known)"


class Torn(Exception):
    """The guest was faster than the reader: the chain changed meanwhile."""


class Frame(NamedTuple):
    """A Python function, and where it is."""

    file: str
    line: int
    function: str


@dataclass(frozen=True)
class _Code:
    """What a function's bytecode says of itself. lines: its table, at: of its first instruction."""

    file: str
    function: str
    lines: bytes
    at: int

    def frame(self, ip: int) -> Frame:
        return Frame(self.file, line_at(self.lines, max(0, ip - self.at - 1)), self.function)


@dataclass(frozen=True)
class Program:
    """What an image says of the place of its functions and of its interpreter."""

    table: Table
    starts: list[int]
    functions: list[tuple[str, int]]  # by those starts: name, and size, 0 where it is not known
    stack: tuple[int, int]
    interpreter: tuple[int, int]
    kinds: frozenset[int]  # of functions in bytecode: the addresses of their types

    def function_at(self, address: int) -> str:
        """The C function there, by an address of the ELF's; "?" where there is none."""
        number = bisect.bisect_right(self.starts, address) - 1
        if number < 0:
            return "?"
        name, size = self.functions[number]
        if size and address >= self.starts[number] + size:
            return "?"
        return IDLE if name == _IDLE else name


def program(path: Path) -> Program | None:
    """None: the file is no image, or is one of an older floe's, which does not say it."""
    table = vitals.tables(path).get(_TABLE)
    try:
        with path.open("rb") as file:
            symbols = names.read(ELFFile(file))
    except (OSError, ELFError):
        return None
    found = {symbol.name: symbol for symbol in symbols}
    needed = ("boot_stack_bottom", "boot_stack_top", "mp_execute_bytecode", "mp_type_fun_bc", "mp_type_gen_wrap")
    if table is None or any(name not in found for name in needed):
        return None
    bottom, top, interpreter, *kinds = (found[name] for name in needed)
    monitor = found[_IDLE].section if _IDLE in found else None  # whose functions have neither type nor size
    code = sorted(
        (s.value, s.name, s.size)
        for s in symbols
        if s.name and (s.kind == "STT_FUNC" or (s.kind == "STT_NOTYPE" and s.section == monitor))
    )
    return Program(
        table,
        [value for value, _, _ in code],
        [(name, size) for _, name, size in code],
        (bottom.value, top.value),
        (interpreter.value, interpreter.value + interpreter.size),
        frozenset(kind.value for kind in kinds),
    )


class Reader:
    """Of one guest, for a while: what it has read of code it takes to stay."""

    def __init__(self, program: Program, memory: Read) -> None:
        """memory: of the guest. Raises OSError."""
        self._program = program
        up = vitals.up(program.table, memory)
        self._up = up
        self._read = vitals.moved(memory, up)
        self._nlr_top, self._pools = (address + up for address in program.table.words)
        self._codes: dict[tuple[int, int], _Code | None] = {}
        self._names: dict[int, str] = {}
        self._usual: tuple[int, ...] = _KEPT  # the register that had it before comes first

    def function_at(self, rip: int) -> str:
        """The C function that is at this address: ring 3's are moved, the monitor's are not."""
        return self._program.function_at(rip - self._up if rip >= self._up else rip)

    def stack(self) -> list[Frame]:
        """The calls of Python functions, the outermost first. Raises Torn, OSError, struct.error."""
        bottom, end = (address + self._up for address in self._program.stack)
        at = self._word(self._nlr_top)
        if not at:
            return []
        start = max(bottom, at - _SPILLED)
        _check(bottom <= at < end and at % 8 == 0)
        stack = self._read(start, end - start)
        found = []
        for catcher in self._catchers(stack, start):
            rip, (first, last) = catcher[3] - self._up, self._program.interpreter
            if first <= rip < last:
                found.append(self._frame(catcher, stack, start))
        _check(self._word(self._nlr_top) == at)
        return found[::-1]

    def _catchers(self, stack: bytes, start: int) -> Iterator[tuple[int, ...]]:
        """From the innermost one on: its address, and what it holds."""
        at, end = self._word(self._nlr_top), start + len(stack)
        for _ in range(_DEPTH):
            _check(start <= at <= end - _CATCHER.size)
            words = _CATCHER.unpack_from(stack, at - start)
            yield at, *words
            if not words[0]:
                return
            _check(words[0] > at and words[0] % 8 == 0)  # outer calls are further up
            at = words[0]

    def _frame(self, catcher: tuple[int, ...], stack: bytes, start: int) -> Frame:
        at, words = catcher[0], catcher[1:]
        for register in self._usual:
            found = self._frame_at(words[register], stack, start)
            if found is not None:
                if register != self._usual[0]:
                    self._usual = (register, *(kept for kept in _KEPT if kept != register))
                return found
        own = words[4] if start <= words[4] <= at else at
        for address in range(own, min(at, own + _SPILLED), 8):
            found = self._frame_at(int.from_bytes(stack[address - start : address - start + 8], "little"), stack, start)
            if found is not None:
                return found
        raise Torn

    def _frame_at(self, address: int, stack: bytes, start: int) -> Frame | None:
        """None: no mp_code_state_t is there."""
        if address % 8 or not 0 < address < _ADDRESSES:
            return None
        try:
            inside = start <= address <= start + len(stack) - 16
            raw = stack[address - start : address - start + 16] if inside else self._read(address, 16)
            function, ip = struct.unpack("<2Q", raw)
            if function % 8 or not 0 < function < _ADDRESSES:
                return None
            kind, context, _, bytecode = struct.unpack("<4Q", self._read(function, 32))
        except OSError:
            return None
        if kind - self._up not in self._program.kinds or not bytecode <= ip < bytecode + _CODE:
            return None
        key = (bytecode, context)
        if key not in self._codes:
            self._codes[key] = self._code(bytecode, context)
        code = self._codes[key]
        return code.frame(ip) if code is not None else None

    def _code(self, bytecode: int, context: int) -> _Code | None:
        try:
            at, arguments = _signature(self._read(bytecode, _PRELUDE))
            info, cells, at = _sizes(self._read(bytecode, _PRELUDE), at)
            if info > _CODE:
                return None
            raw = self._read(bytecode + at, info)
            names_at = self._word(context + 16)
            place, here = _number(raw, 0)
            for _ in range(arguments):
                _, here = _number(raw, here)
            file, function = (self._name(self._half(names_at + 2 * number)) for number in (0, place))
        except (OSError, IndexError):
            return None
        return _Code(file, function, raw[here:], bytecode + at + info + cells)

    def _name(self, number: int) -> str:
        """The text of a qstr."""
        if number not in self._names:
            pool = self._word(self._pools)
            for _ in range(_POOLS):
                if not pool:
                    break
                before, total, _, count = struct.unpack("<4Q", self._read(pool, 32))
                first = total & ((1 << 63) - 1)
                if first <= number < first + count:
                    text = self._word(pool + 48 + 8 * (number - first))
                    self._names[number] = self._text(text)
                    break
                pool = before
        return self._names.get(number, "?")

    def _text(self, address: int) -> str:
        found = b""
        while len(found) < _NAME and b"\0" not in found:
            found += self._read(address + len(found), 16)
        return found.partition(b"\0")[0].decode("utf-8", "backslashreplace")

    def _word(self, address: int) -> int:
        return int.from_bytes(self._read(address, 8), "little")

    def _half(self, address: int) -> int:
        return int.from_bytes(self._read(address, 2), "little")


def _check(holds: bool) -> None:
    if not holds:
        raise Torn


def _signature(raw: bytes) -> tuple[int, int]:
    """Where the second number of a prelude is, and how many arguments have names (py/bc.h: xSSSSEAA, xFSSKAED...)."""
    at, byte = 1, raw[0]
    positional, keyword = byte & 3, 0
    while byte & 0x80:
        byte = raw[at]
        positional |= (byte & 4) << (at - 1)
        keyword |= (byte >> 3 & 1) << (at - 1)
        at += 1
    return at, positional + keyword


def _sizes(raw: bytes, at: int) -> tuple[int, int, int]:
    """Bytes of names and lines, bytes of cells, and where those begin (py/bc.h: xIIIIIIC...)."""
    info = cells = number = 0
    while True:
        byte = raw[at]
        cells |= (byte & 1) << number
        info |= (byte >> 1 & 0x3F) << 6 * number
        at, number = at + 1, number + 1
        if not byte & 0x80:
            return info, cells, at


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the highest first, and what follows it."""
    value = 0
    while True:
        byte = raw[at]
        value, at = value << 7 | byte & 0x7F, at + 1
        if not byte & 0x80:
            return value, at


def line_at(lines: bytes, offset: int) -> int:
    """The line of the instruction at this offset (py/emitbc.c: 0LLBBBBB, or 1LLLBBBB LLLLLLLL)."""
    line, at = 1, 0
    while at < len(lines):
        byte = lines[at]
        if byte & 0x80:
            if at + 1 >= len(lines):
                break
            step, more, at = byte & 0xF, (byte << 4 & 0x700) | lines[at + 1], at + 2
        else:
            step, more, at = byte & 0x1F, byte >> 5, at + 1
        if offset < step:
            break
        offset -= step
        line += more
    return line
