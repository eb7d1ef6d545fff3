# SPDX-License-Identifier: MIT
"""pyserial's port for URLs floe://NAME: the console of a detached VM over its UNIX socket; floe:///PATH is
a socket by its path.

pyserial finds this module by its name (`serial.protocol_handler_packages`). Beside what pyserial's own socket:// has:
`fd` for select(), an `in_waiting` that tells the truth, no delay, and reads ahead where single bytes are asked for.
What was read ahead counts as waiting, for select() too.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import socket
import termios
import time

import serial

from floe.detached import control

_AHEAD = 1 << 16
_PATIENCE_S = 0.002


class Serial(serial.SerialBase):  # type: ignore[misc, unused-ignore]  # pyserial has none
    """The console of one VM, as a serial port."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._sock: socket.socket | None = None
        self._ahead = b""
        self._readable = -1  # always so for select(): stands for what was read ahead
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Connect. Raises what control.endpoints() does, SerialException when the keeper refuses."""
        place = str(self.port).partition("://")[2]
        where = place if place.startswith("/") else control.endpoints(place).unix
        self._sock = socket.socket(socket.AF_UNIX)
        try:
            self._sock.connect(where)
        except OSError as e:
            raise serial.SerialException(f"cannot connect to {where}: {e}") from e
        self._readable = os.eventfd(1)
        self.is_open = True

    def close(self) -> None:
        """Hang up; what was written arrives."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._readable >= 0:
            os.close(self._readable)
            self._readable = -1
        self.is_open = False

    @property
    def fd(self) -> int:
        """For select(), to be asked for anew each time: readable when a read gets something at once."""
        assert self._sock is not None
        return self._readable if self._ahead else self._sock.fileno()

    @property
    def in_waiting(self) -> int:
        """Bytes that a read gets at once."""
        assert self._sock is not None
        count = array.array("i", [0])
        fcntl.ioctl(self._sock, termios.FIONREAD, count)
        # Whoever finds nothing sleeps before looking again (mpremote: 10 ms): an answer is on its way within less.
        if not count[0] and not self._ahead and select.select([self._sock], [], [], _PATIENCE_S)[0]:
            self._receive(1)  # the end, or what came just now
        return count[0] + len(self._ahead)

    def read(self, size: int = 1) -> bytes:
        """Read `size` bytes, or what came within the port's timeout; None waits for ever."""
        assert self._sock is not None
        end = None if self._timeout is None else time.monotonic() + self._timeout
        while len(self._ahead) < size:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._sock], [], [], left)[0]:
                break
            # For a reader of single bytes more is taken than it asks for.
            self._receive(_AHEAD if size == 1 else size - len(self._ahead))
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def read_exactly(self, size: int) -> bytes:
        """Read `size` bytes, however long they are."""
        assert self._sock is not None
        parts = [self._ahead[:size]]
        self._ahead = self._ahead[size:]
        missing = size - len(parts[0])
        while missing:
            self._wait()
            data = self._sock.recv(min(missing, 1 << 20))
            if not data:
                raise serial.SerialException("Device disconnected")
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def write(self, data: bytes) -> int:
        """Send all of it."""
        assert self._sock is not None
        try:
            self._sock.sendall(data)
        except OSError as e:
            raise serial.SerialException(f"Device disconnected: {e.strerror}") from e
        return len(data)

    def reset_input_buffer(self) -> None:
        """Forget what was received."""
        self._ahead = b""
        while self.in_waiting:
            self.read(self.in_waiting)

    def _wait(self) -> None:
        assert self._sock is not None
        if not select.select([self._sock], [], [], self._timeout)[0]:
            raise serial.SerialException("read timeout")

    def _receive(self, size: int) -> None:
        assert self._sock is not None
        with contextlib.suppress(ConnectionError):
            data = self._sock.recv(size)
            if data:
                self._ahead += data
                return
        raise serial.SerialException("Device disconnected")

    # What a serial line has and a socket has not.

    def _reconfigure_port(self) -> None:
        pass

    def _update_rts_state(self) -> None:
        pass

    def _update_dtr_state(self) -> None:
        pass

    def _update_break_state(self) -> None:
        pass
