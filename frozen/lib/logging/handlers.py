# SPDX-License-Identifier: MIT
# CPython's logging.handlers, as far as a VM has what they write to: files that rotate by size, and a buffer in memory.

import os

from . import ERROR, FileHandler, Handler


def _remove(name):
    try:
        os.remove(name)
    except OSError:
        pass


class RotatingFileHandler(FileHandler):
    """FILE, FILE.1, ... FILE.backupCount: the next one begins before a message that would make it maxBytes long."""

    def __init__(self, filename, mode="a", maxBytes=0, backupCount=0, encoding=None, delay=False, errors=None):
        self.maxBytes = maxBytes
        self.backupCount = backupCount
        super().__init__(filename, "a" if maxBytes > 0 else mode, encoding, delay)

    def _open(self):
        stream = super()._open()
        self._length = stream.seek(0, 2)
        return stream

    def shouldRollover(self, record):
        if self.stream is None:
            self.stream = self._open()
        more = len(self.format(record).encode()) + len(self.terminator)
        return self.maxBytes > 0 and self._length > 0 and self._length + more >= self.maxBytes

    def doRollover(self):
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        for i in range(self.backupCount, 0, -1):
            old = "%s.%d" % (self.baseFilename, i - 1) if i > 1 else self.baseFilename
            new = "%s.%d" % (self.baseFilename, i)
            _remove(new)
            try:
                os.rename(old, new)
            except OSError:
                pass  # there are not so many yet
        self.stream = self._open()

    def emit(self, record):
        try:
            if self.shouldRollover(record):
                self.doRollover()
            text = self.format(record) + self.terminator
            self.stream.write(text)
            self.flush()
            self._length += len(text.encode())
        except Exception:
            self.handleError(record)


class BufferingHandler(Handler):
    def __init__(self, capacity):
        super().__init__()
        self.capacity = capacity
        self.buffer = []

    def shouldFlush(self, record):
        return len(self.buffer) >= self.capacity

    def emit(self, record):
        self.buffer.append(record)
        if self.shouldFlush(record):
            self.flush()

    def flush(self):
        self.buffer = []

    def close(self):
        self.flush()
        super().close()


class MemoryHandler(BufferingHandler):
    """Keeps records until there are many, or a grave one, for another handler."""

    def __init__(self, capacity, flushLevel=ERROR, target=None, flushOnClose=True):
        super().__init__(capacity)
        self.flushLevel = flushLevel
        self.target = target
        self.flushOnClose = flushOnClose

    def setTarget(self, target):
        self.target = target

    def shouldFlush(self, record):
        return super().shouldFlush(record) or record.levelno >= self.flushLevel

    def flush(self):
        if self.target is not None:
            for record in self.buffer:
                self.target.handle(record)
            self.buffer = []

    def close(self):
        if self.flushOnClose:
            self.flush()
        self.target = None
        Handler.close(self)
