# SPDX-License-Identifier: MIT
"""CPython's signal, as far as a VM hears one: it is asked for its end, by Ctrl-C, `floe stop` or the power button, and
cannot tell by which. A handler of SIGTERM is called for all of them, else one of SIGINT; port/signals.c calls
_interrupt. Where the image has asyncio, its loops have add_signal_handler()."""

import sys

import uio

SIGINT = 2
SIGTERM = 15
SIG_DFL = 0
SIG_IGN = 1


def default_int_handler(signalnum, frame):
    raise KeyboardInterrupt


_DEFAULTS = {SIGINT: default_int_handler, SIGTERM: SIG_DFL}
_handlers = dict(_DEFAULTS)
_interrupt = None


def valid_signals():
    return {SIGINT, SIGTERM}


def strsignal(signalnum):
    return {SIGINT: "Interrupt", SIGTERM: "Terminated"}.get(signalnum)


def _known(signalnum):
    if signalnum not in _handlers:
        raise ValueError("a VM hears SIGINT and SIGTERM only")


def getsignal(signalnum):
    _known(signalnum)
    return _handlers[signalnum]


def signal(signalnum, handler):
    """handler(signalnum, None) is called between two bytecodes; what it raises comes out where the script is."""
    global _interrupt  # noqa: PLW0603 -- the port looks for it here
    _known(signalnum)
    if handler not in (SIG_DFL, SIG_IGN) and not callable(handler):
        raise TypeError("signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object")
    old, _handlers[signalnum] = _handlers[signalnum], handler
    ignored = all(now == SIG_IGN for now in _handlers.values())
    _interrupt = _heard if ignored or _own() else None
    return old


def _own():
    """The signal that the script has a function of its own for, if there is one."""
    for signalnum in (SIGTERM, SIGINT):
        if _handlers[signalnum] not in (SIG_DFL, SIG_IGN, default_int_handler):
            return signalnum
    return None


def _heard(_):
    if (signalnum := _own()) is not None:
        raise_signal(signalnum)


def raise_signal(signalnum):
    """Call the handler, as if the signal had come."""
    handler = getsignal(signalnum)
    if handler == SIG_DFL:
        raise KeyboardInterrupt
    if handler != SIG_IGN:
        handler(signalnum, None)
        _wake()


# ---- asyncio's loop ----


def _asyncio():
    """asyncio.core, if the image has it: a computed name, so that this module alone does not bring it."""
    name = "asyncio"
    try:
        __import__(name)
    except ImportError:
        return None
    return sys.modules["asyncio.core"]


def _wake():
    """A handler may have made a task ready: a loop ends its wait for events, as standard output can be written to."""
    if _core is not None:
        out = sys.stdout
        queue = _core._io_queue
        if id(out) not in queue.map:
            queue.map[id(out)] = [None, None, out]
            queue.poller.register(out, 4)  # POLLOUT


class _Heard(uio.IOBase):
    """What a loop polls: it can be read while there are callbacks to call."""

    def __init__(self):
        self.callbacks = []
        self.signals = set()  # that have one
        self.queue = None  # of the loop whose task listens

    def ioctl(self, request, flags):
        return flags if request == 3 and self.callbacks else 0  # MP_STREAM_POLL


async def _listen(heard):
    while heard.signals:
        yield _core._io_queue.queue_read(heard)
        while heard.callbacks:
            _core.create_task(_run(*heard.callbacks.pop(0)))
    heard.queue = None


async def _run(callback, args):
    callback(*args)


def _nothing():
    pass


def _add_signal_handler(signalnum, callback, *args):
    if not callable(callback):
        raise TypeError("a callable object is required")
    signal(signalnum, lambda number, frame: _heard_by_loop.callbacks.append((callback, args)))
    _heard_by_loop.signals.add(signalnum)
    if _heard_by_loop.queue is not _core._io_queue:
        _heard_by_loop.queue = _core._io_queue
        _core.create_task(_listen(_heard_by_loop))


def _remove_signal_handler(signalnum):
    if getsignal(signalnum) == _DEFAULTS[signalnum]:
        return False
    signal(signalnum, _DEFAULTS[signalnum])
    _heard_by_loop.signals.discard(signalnum)
    if not _heard_by_loop.signals:
        _heard_by_loop.callbacks.append((_nothing, ()))  # its task ends
    return True


_core = _asyncio()
if _core is not None:
    _heard_by_loop = _Heard()
    _core.Loop.add_signal_handler = _add_signal_handler
    _core.Loop.remove_signal_handler = _remove_signal_handler
