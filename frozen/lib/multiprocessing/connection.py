# SPDX-License-Identifier: MIT
# Messages over pipes: a length of four bytes, then the message. What one VM has received is not read ahead, so that
# another one may go on with the next message.

import select

import _vm
import vm

from .errors import BufferTooShort
from .values import dumps, loads

_PART = 16384
_MAX = 0x7FFFFFFF


def milliseconds(seconds):
    """For _vm; None: for ever."""
    return None if seconds is None else max(0, int(seconds * 1000 + 0.999))


class Connection:
    def __init__(self, reading=None, writing=None):
        self._reading, self._writing = reading, writing
        self._ends = [_vm.End(fd) for fd in (reading, writing) if fd is not None]

    def _for_reading(self):
        if self._reading is None:
            raise OSError("handle is closed" if self.closed else "connection is write-only")
        return self._reading

    def _for_writing(self):
        if self._writing is None:
            raise OSError("handle is closed" if self.closed else "connection is read-only")
        return self._writing

    @property
    def closed(self):
        return self._reading is None and self._writing is None

    @property
    def readable(self):
        return self._reading is not None

    @property
    def writable(self):
        return self._writing is not None

    def fileno(self):
        return self._for_writing() if self._reading is None else self._reading

    def close(self):
        self._reading = self._writing = None
        for end in self._ends:
            end.close()

    def send(self, obj):
        self._write(dumps(obj))

    def send_bytes(self, buf, offset=0, size=None):
        view = memoryview(buf)
        if offset < 0:
            raise ValueError("offset is negative")
        if offset > len(view):
            raise ValueError("buffer length < offset")
        if size is None:
            size = len(view) - offset
        elif size < 0:
            raise ValueError("size is negative")
        elif offset + size > len(view):
            raise ValueError("buffer length < offset + size")
        self._write(view[offset : offset + size])

    def _write(self, message):
        fd = self._for_writing()
        size = len(message)
        if size > _MAX:
            raise ValueError("a message of more than 2 GiB")
        head = size.to_bytes(4, "little")
        if size < _PART:
            _vm.write(fd, head + message)
        else:
            _vm.write(fd, head)
            _vm.write(fd, message)

    def recv(self):
        return loads(self._read(_MAX))

    async def recv_async(self):
        """As recv(), while the other tasks of the loop go on; no other VM reads from the same end."""
        await vm.until_ready(self.stream())
        return self.recv()

    def recv_bytes(self, maxlength=None):
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        return bytes(self._read(_MAX if maxlength is None else maxlength))

    def recv_bytes_into(self, buf, offset=0):
        message = self._read(_MAX)
        view = memoryview(buf)
        if offset + len(message) > len(view):
            raise BufferTooShort(bytes(message))
        view[offset : offset + len(message)] = message
        return len(message)

    def _read(self, most):
        fd = self._for_reading()
        size = int.from_bytes(_exactly(fd, 4), "little")
        if size > most:
            self.close()
            raise OSError("bad message length")
        return _exactly(fd, size, "got end of file during message")

    def poll(self, timeout=0.0):
        return _vm.ready(self._for_reading(), milliseconds(timeout))

    def stream(self):
        """What select and asyncio poll."""
        return vm.reader(self._for_reading())

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()


def _exactly(fd, size, cut=None):
    parts = _vm.read_within(fd, size, None) if size else b""
    if len(parts) == size:
        return parts
    if not parts and cut is None:
        raise EOFError
    parts = bytearray(parts)
    while len(parts) < size:
        part = _vm.read_within(fd, size - len(parts), None)
        if not part:
            raise OSError(cut or "got end of file during message")
        parts.extend(part)
    return parts


def Pipe(duplex=True):
    r, w = vm.pipe()
    if not duplex:
        return Connection(r), Connection(None, w)
    back, forth = vm.pipe()
    return Connection(r, forth), Connection(back, w)


def wait(object_list, timeout=None):
    """Those that can be read: connections, and what a process has as sentinel."""
    poller = select.poll()
    of = {}
    for one in object_list:
        stream = one.stream() if hasattr(one, "stream") else one
        of[id(stream)] = one
        poller.register(stream, select.POLLIN)
    ms = milliseconds(timeout)
    return [of[id(stream)] for stream, _ in poller.poll(-1 if ms is None else ms)]
