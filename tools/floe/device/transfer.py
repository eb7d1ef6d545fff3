# SPDX-License-Identifier: MIT
"""mpremote's transport over a VM's console, with files in large pieces: mpremote itself sends 256 bytes at a time as
Python source, which a serial line needs and a console does not: that one loses nothing, however fast one sends.

To the guest, pieces travel with Ctrl-C escaped, so that a transfer can be interrupted like anything else. From the
guest they travel as they are. Each piece has a head of `#` and six hexadecimal digits, its length.
"""

from __future__ import annotations

from collections.abc import Callable

from mpremote import commands
from mpremote.transport import TransportError, TransportExecError, _convert_filesystem_error
from mpremote.transport_serial import SerialTransport

from floe.stream.keys import END, INTERRUPT

_PIECE = 32 << 10  # bytes: what the guest must have room for three times
_PIECES = 8  # in one go; what runs beside in the guest has its turn in between
_HEAD = 7
_ESCAPE = b"\x10"

_GUEST = f"""
import sys
def _floe_put(f, r, w):
 bad = None
 while 1:
  n = int(r(7)[1:], 16)
  if not n: break
  b = r(n)
  try:
   if not bad: f.write(b.replace(b"\\x10C", b"\\x03").replace(b"\\x10P", b"\\x10"))
  except Exception as e:
   bad = e
 if bad: raise bad
def _floe_get(f, r, w):
 for _ in range({_PIECES}):
  b = f.read({_PIECE})
  w(b"#%06x" % len(b))
  w(b)
  if not b: break
"""

_Progress = Callable[[int, int], None] | None


class ConsoleTransport(SerialTransport):  # type: ignore[misc, unused-ignore]  # mpremote has no types
    """As mpremote's own, apart from how a file's content travels."""

    def fs_readfile(self, src: str, chunk_size: int = 0, progress_callback: _Progress = None) -> bytearray:
        """Content of a file of the guest's. Raises OSError, TransportError."""
        size = self._open(src, "rb")
        content = bytearray()
        while True:
            self._run("get")
            for _ in range(_PIECES):
                piece = self._piece()
                content += piece
                if not piece:
                    break
            self._done(src)
            if progress_callback and size:
                progress_callback(len(content), size)
            if not piece:
                self.exec("_floe_f.close()")
                return content

    def fs_writefile(self, dest: str, data: bytes, chunk_size: int = 0, progress_callback: _Progress = None) -> None:
        """Write a file of the guest's. Raises OSError, TransportError."""
        self._open(dest, "wb")
        step = _PIECE * _PIECES
        for at in range(0, len(data), step):
            self._run("put")
            part = data[at : at + step]
            for start in range(0, len(part), _PIECE):
                self.serial.write(_framed(part[start : start + _PIECE]))
            self.serial.write(_framed(b""))
            self._done(dest)
            if progress_callback:
                progress_callback(min(at + step, len(data)), len(data))
        self.exec("_floe_f.close()")

    def _open(self, path: str, mode: str) -> int:
        """Open the guest's file as _floe_f; its size."""
        try:
            self.exec(f"{_GUEST}_floe_f = open({path!r}, {mode!r})")
        except TransportExecError as e:
            raise _convert_filesystem_error(e, path) from None
        return int(self.fs_stat(path).st_size) if mode == "rb" else 0

    def _run(self, what: str) -> None:
        self.exec_raw_no_follow(f"_floe_{what}(_floe_f, sys.stdin.buffer.read, sys.stdout.buffer.write)")

    def _piece(self) -> bytes:
        """The next piece that the guest sends; b"" where it sends none, for _done() to say why."""
        first = self.serial.read(1)
        if first != b"#":
            self._pushed_back = first
            return b""
        length = int(self.serial.read_exactly(_HEAD - 1), 16)
        return bytes(self.serial.read_exactly(length))

    _pushed_back = b""

    def _done(self, path: str) -> None:
        """Wait for the end of what _run() started. Raises OSError, TransportError."""
        if self._pushed_back:  # the byte before the traceback
            self._pushed_back, out, error = b"", b"", self.read_until(1, END)[:-1]
        else:
            out, error = self.follow(timeout=10)
        if error:
            raise _convert_filesystem_error(TransportExecError(out, error.decode(errors="replace")), path)
        if out:
            raise TransportError(f"the guest printed meanwhile: {out[:60]!r}")


def _framed(piece: bytes) -> bytes:
    escaped = piece.replace(_ESCAPE, _ESCAPE + b"P").replace(INTERRUPT, _ESCAPE + b"C")
    return b"#%06x" % len(escaped) + escaped


def use() -> None:
    """Have mpremote's commands use this transport from here on."""
    commands.SerialTransport = ConsoleTransport
