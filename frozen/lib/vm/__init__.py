# SPDX-License-Identifier: MIT
"""A VM that begets VMs: fork(), and what POSIX has beside it, for VMs of one family (docs/fork.md)."""

import sys

import _vm
from _vm import close, get_blocking, getpid, getppid, kill, pipe, read, set_blocking, write
from _vm import exit as _exit

WNOHANG = 1

_attrs = {"handoff": "connections"}

_before = []
_after = []


def before_fork(function):
    """Have function() called before each fork(), the latest one first; what it raises comes out of fork()."""
    _before.append(function)
    return function


def after_fork(function):
    """Have function() called in each new VM before fork() returns there, the earliest one first."""
    _after.append(function)
    return function


def _begin(host):
    try:
        for function in reversed(_before):
            function()
    except BaseException:
        _forget()
        raise
    return _fork(host or "")


def _forget():
    pass


_fork = _vm.fork  # connections.py has others of both, once there are some to go with the next VM


def _became():
    for function in _after:
        function()


def fork(host=None):
    """Beget a copy of this VM, on a host if one is named: its number here, 0 there. The copy is another machine."""
    pid = _begin(host)
    if pid == 0:
        _became()
    return pid


def ready():
    """Set-up is over: what is made from this VM as a template goes on from here. Elsewhere it does nothing."""
    if _vm.is_template():
        _snapshot()


def _snapshot():
    """Let the host keep this VM's state; called between two steps of the script."""
    try:
        for function in reversed(_before):
            function()
    except BaseException as e:
        sys.print_exception(e)
        _vm.refuse()
        return
    if _vm.snapshot():
        _became()


def spawn(function, *args, host=None):
    """Beget a VM that does function(*args) and ends: its number. SystemExit is its exit code; another exception, 1."""
    pid = _begin(host)
    if pid == 0:
        _do(function, args)
    return pid


def _do(function, args):
    code = 1
    try:
        leave_loop()
        _became()
        function(*args)
        code = 0
    except SystemExit as e:
        code = exit_code(e)
    except BaseException as e:
        sys.print_exception(e)
    _exit(code)


def exit_code(e):
    """What SystemExit means; text is printed."""
    code = (e.args or (None,))[0] or 0
    if not isinstance(code, int):
        print(code)
        code = 1
    return code & 0xFFFF


def leave_loop():
    """Of asyncio's event loop, which may have called fork(), this VM has none any more: tasks are the parent's."""
    core = sys.modules.get("asyncio.core")
    if core is not None:
        core.new_event_loop()
        core.cur_task = core._interrupt = None


def waitpid(pid, options):
    """(number, status) of a child that has ended, -1 for any; with WNOHANG, (0, 0) where none has."""
    return _vm.wait(pid or -1, 0 if options & WNOHANG else None)


def wait():
    return _vm.wait(-1, None)


async def wait_async(pid=-1):
    """As waitpid(pid, 0), while the other tasks of the loop go on."""
    while not (ended := _vm.wait(pid, 0))[0]:
        await until_ready(_vm.Child(pid))
    return ended


async def until_ready(*streams):
    """Until one of them can be read."""
    yield sys.modules["asyncio.core"]._io_queue.queue_read(_vm.Any(streams))


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    globals()[name] = value
    return value


def WIFEXITED(status):
    return status & 0x7F == 0


def WEXITSTATUS(status):
    return status >> 8 & 0xFF


def WIFSIGNALED(status):
    return status & 0x7F != 0


def WTERMSIG(status):
    return status & 0x7F


def waitstatus_to_exitcode(status):
    return -WTERMSIG(status) if WIFSIGNALED(status) else WEXITSTATUS(status)


def reader(fd, *, blocking=True):
    """A reading end as an object with read(), readinto(), readline(), for select too, and with blocking=False for
    asyncio.StreamReader. Its close() closes the end."""
    if not blocking:
        set_blocking(fd, False)
    return _vm.Stream(fd)


def writer(fd, *, blocking=True):
    """A writing end as an object with write(), in the same way."""
    return reader(fd, blocking=blocking)
