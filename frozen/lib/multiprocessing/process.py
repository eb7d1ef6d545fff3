# SPDX-License-Identifier: MIT
# A VM as a process: begotten by fork(), with the code that its parent has.

import sys

import _vm
import vm

from .connection import milliseconds

_SIGKILL, _SIGTERM = 9, 15
_children = []  # that were started here and not seen to have ended
_numbers = {}  # of a process: how many it has begotten


class _Main:
    """The process that runs the script."""

    name = "MainProcess"
    daemon = False
    exitcode = None
    _identity = ()

    def __init__(self, pid=None):
        self._pid = pid

    @property
    def pid(self):
        return vm.getpid() if self._pid is None else self._pid

    ident = pid

    def is_alive(self):
        return True


_current = _Main()
_parent = None


def current_process():
    return _current


def parent_process():
    return _parent


def active_children():
    """Those that run; who has ended is joined by it."""
    return [process for process in list(_children) if process.is_alive()]


class Process:
    def __init__(self, group=None, target=None, name=None, args=(), kwargs=None, *, daemon=None, host=None):
        if group is not None:
            raise AssertionError("group argument must be None for now")
        mother = _current._identity
        _numbers[mother] = number = _numbers.get(mother, 0) + 1
        self._identity = mother + (number,)
        self._target, self._args, self._kwargs = target, tuple(args), dict(kwargs or {})
        self._name = name or type(self).__name__ + "-" + ":".join(str(n) for n in self._identity)
        self._daemon = _current.daemon if daemon is None else bool(daemon)
        self._host = host  # of this name, not CPython's
        self._pid = self._code = self._owner = None
        self._asked = 0  # a signal that was sent
        self._ended = self._closed = False

    def _check(self):
        if self._closed:
            raise ValueError("process object is closed")

    def _check_mine(self, what):
        self._check()
        if self._pid is None or self._owner != vm.getpid():
            raise AssertionError("can only " + what)

    # ---- what it is

    @property
    def name(self):
        return self._name

    @name.setter
    def name(self, name):
        if not isinstance(name, str):
            raise AssertionError("name must be a string")
        self._name = name

    @property
    def daemon(self):
        return self._daemon

    @daemon.setter
    def daemon(self, daemon):
        if self._pid is not None:
            raise AssertionError("process has already started")
        self._daemon = bool(daemon)

    @property
    def pid(self):
        self._check()
        return self._pid

    ident = pid

    @property
    def exitcode(self):
        """As a script gave it; minus the signal's number where it was ended; None: it runs, or was not started."""
        self._check()
        if self._pid is not None and self._owner == vm.getpid():
            self._poll(0)
        return self._code

    @property
    def sentinel(self):
        """What select, asyncio and connection.wait() poll for its end."""
        self._check()
        if self._pid is None:
            raise ValueError("process not started")
        return _vm.Child(self._pid)

    def is_alive(self):
        self._check()
        if self is _current:
            return True
        if self._pid is None:
            return False
        self._check_mine("test a child process")
        return not self._poll(0)

    def __repr__(self):
        if self._closed:
            state = "closed"
        elif self is _current or (self._pid is not None and self._owner != vm.getpid()):
            state = "unknown" if self is not _current else "started"
        elif self._pid is None:
            state = "initial"
        elif self._poll(0):
            state = "stopped exitcode=" + str(self._code)
        else:
            state = "started"
        daemon = " daemon" if self._daemon else ""
        return "<" + type(self).__name__ + " name='" + self._name + "' " + state + daemon + ">"

    # ---- its life

    def run(self):
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def start(self):
        self._check()
        if self._pid is not None:
            raise AssertionError("cannot start a process twice")
        if _current.daemon:
            raise AssertionError("daemonic processes are not allowed to have children")
        active_children()
        parent = vm.getpid()
        _watch_the_end()
        pid = vm.fork(self._host)
        if pid == 0:
            self._live(parent)
        self._pid, self._owner = pid, parent
        _children.append(self)

    def _live(self, parent):
        """All that the new VM does."""
        global _current, _parent  # noqa: PLW0603 -- this is another process now
        code = 1
        try:
            vm.leave_loop()
            _parent = _Main(parent)
            _parent.name = _current.name
            _current = self
            self._pid = self._owner = vm.getpid()
            try:
                self.run()
                code = 0
            finally:
                _end_children()
        except SystemExit as e:
            code = vm.exit_code(e)
        except KeyboardInterrupt:
            pass  # it was asked for its end
        except BaseException as e:
            print("Process " + self._name + ":")
            sys.print_exception(e)
        vm._exit(code)

    def _poll(self, ms):
        """Whether it has ended, after that time at most."""
        if not self._ended:
            try:
                pid, status = _vm.wait(self._pid, ms)
            except OSError as e:
                if e.errno != 10:  # ECHILD: the script has waited for it by itself
                    raise
                pid, status = self._pid, 0xFF00
            if pid:
                self._ended = True
                self._code = vm.waitstatus_to_exitcode(status)
                if self._asked == _SIGTERM and self._code in (0, 1):
                    self._code = -_SIGTERM  # it took this for its end
                if self in _children:
                    _children.remove(self)
        return self._ended

    def join(self, timeout=None):
        self._check_mine("join a started process" if self._pid is None else "join a child process")
        self._poll(milliseconds(timeout))

    async def join_async(self):
        """As join(), while the other tasks of the loop go on."""
        self._check_mine("join a started process" if self._pid is None else "join a child process")
        if not self._poll(0):
            await vm.until_ready(_vm.Child(self._pid))
            self._poll(0)

    def _signal(self, number):
        self._check_mine("end a child process")
        if not self._poll(0):
            self._asked = number
            try:
                vm.kill(self._pid, number)
            except OSError as e:
                if e.errno != 3:  # ESRCH: it has just ended
                    raise

    def terminate(self):
        """Ask it for its end: its script is interrupted, and ends within 5 s."""
        self._signal(_SIGTERM)

    def kill(self):
        self._signal(_SIGKILL)

    def close(self):
        if self._pid is not None and not self._closed and self._owner == vm.getpid() and not self._poll(0):
            raise ValueError(
                "Cannot close a process while it is still running. You should first call join() or terminate()."
            )
        self._closed = True


# ---- the end of whoever has children -----------------------------------------------------------------


def _end_children():
    for process in active_children():
        if process.daemon:
            process.kill()
    for process in list(_children):
        process.join()


_watching = False


def _watch_the_end():
    """Before the script's VM ends, its children are waited for; daemons are ended."""
    global _watching  # noqa: PLW0603 -- once
    if not _watching:
        _watching = True
        before = sys.atexit(None)

        def at_end():
            if vm.getpid() == owner:
                _end_children()
            if before is not None:
                before()

        owner = vm.getpid()
        sys.atexit(at_end)


@vm.after_fork
def _became():
    global _watching  # noqa: PLW0603 -- the parent's children, and its end, are not ours
    _children.clear()
    _watching = False
