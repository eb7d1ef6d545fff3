# SPDX-License-Identifier: MIT
"""The parent of a detached VM's hypervisor: starts it, starts it again after machine.reset(), and writes down its
exit status for whoever asks later. A keeper that dies is replaced. A process of its own, as small as Python makes
one: it imports the standard library only and is run as a file, without site packages.

    python -I -S parent.py FOLDER KEEPER STATUS=WORD[,STATUS=WORD...] AFTER HANDED COMMAND...

A STATUS is an exit status that asks for another start; @BOOTED@ in the command is then its WORD, and nothing before.
Words that begin with @ONCE@ are, without that, for the first start alone.
The first start comes AFTER so many seconds. HANDED, numbers with commas between, or "-" for none: descriptors that go
to a keeper that is replaced, so that it can start the VM anew; "no" where it will not.
COMMAND inherits all descriptors that this process did. KEEPER is the number of the keeper that started this process.
Where its first word is @CONFINED@RULESET,CAPABILITIES, it is confined as confined.py has it, which lies beside this
file: the numbers of a descriptor, which it does not inherit, and of a mask. Where @EGRESS@RULES is next, this process
is its guard, by the package egress that lies there too, and writes what is refused into a FIFO, a line each.
"""

from __future__ import annotations

import _thread
import importlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

# Of the VM's folder: records.Names.
PID, EXIT, HYPERVISOR_LOG, REFUSED = "pid", "exit", "hv.log", "refused"
ONCE, CONFINED, EGRESS = "@ONCE@", "@CONFINED@", "@EGRESS@"
_RECORD_BYTES = 64  # of what record() overwrites; vmfolder.py gives a record more
_SOON_S = 5.0  # a keeper that lived for less is not replaced: the next would die too


def record(folder: str, name: str, value: int) -> None:
    """Overwrite a record in place: that needs no room on a full disk."""
    try:
        fd = os.open(f"{folder}/{name}", os.O_WRONLY)
        os.pwrite(fd, str(value).encode().ljust(_RECORD_BYTES), 0)
        os.close(fd)
    except OSError:
        pass  # the folder was removed: nobody will ask


def inherited() -> list[int]:
    """The descriptors beyond the standard ones, which from here on only spawn() passes on."""
    fds = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2:
                os.set_inheritable(int(name), False)
                fds.append(int(name))
        except OSError:
            pass  # listdir's own
    return fds


def spawn(folder: str, command: list[str], fds: list[int], confine: Callable[[], None] | None, guard: Any) -> int:
    """Start the command with its messages in hv.log, and return its process id. confine, guard: None for none; where
    there is a guard the command is confined, too. Raises OSError."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    log = os.open(f"{folder}/{HYPERVISOR_LOG}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    actions = [
        *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((null, log, log))),
        *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds),  # onto itself: to be inherited
    ]
    reset = [signal.SIGHUP, signal.SIGINT]

    def start() -> int:
        return os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsigdef=reset, setsigmask=[])

    try:
        if confine is None:
            return start()
        guarded: AbstractContextManager[Callable[[], None]] = guard.entrance() if guard else nullcontext(_no_guard)
        with guarded as enter:
            return in_thread([confine, enter], start)
    finally:
        os.close(null)
        os.close(log)


def _no_guard() -> None:
    pass


def in_thread(limits: list[Callable[[], None]], start: Callable[[], int]) -> int:
    """start(), from a thread that is confined, as what it starts then is: this process, which starts keepers too, is
    not. Raises OSError."""
    done = _thread.allocate_lock()
    started: list[int] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            for limit in limits:
                limit()
            started.append(start())
        except OSError as e:
            failed.append(e)
        finally:
            done.release()

    done.acquire()
    _thread.start_new_thread(run, ())
    done.acquire()
    if failed:
        raise failed[0]
    return started[0]


def confining(word: str) -> Callable[[], None]:
    """What confines a thread, by the command's first word. Raises OSError."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # where -I does not look
    sys.dont_write_bytecode = True
    confined = importlib.import_module("confined")
    number, _, kept = word.removeprefix(CONFINED).partition(",")
    confine: Callable[[], None] = confined.confining(int(number), int(kept))
    return confine


def guarding(folder: str, word: str) -> Any:
    """The guard that the word asks for, an egress.guard.Guard. Raises OSError, ValueError."""
    told = os.open(f"{folder}/{REFUSED}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # what no keeper has read waits

    def tell(text: str) -> None:
        with suppress(OSError):  # full: no keeper has been there for long
            os.write(told, f"{text}\n".encode())

    return importlib.import_module("egress.guard").Guard(word.removeprefix(EGRESS), tell)


def spawn_keeper(folder: str, handed: list[int]) -> int:
    """Start a keeper for the VM, which takes these descriptors. Raises OSError."""
    ready = max([2, *handed]) + 1  # where it tells that it is, which nobody reads
    command = [sys.executable, "-P", "-m", "floe.detached.keeper", folder, "--ready", str(ready), "--adopt"]
    command += ["--inherited", *map(str, handed)] if handed else []
    actions = [
        *((os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2, ready)),
        *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in handed),
    ]
    return os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)


class Keeper:
    """The keeper that serves the VM; one that dies early has no successor."""

    def __init__(self, folder: str, pid: int, handed: list[int]) -> None:
        self._folder = folder
        self._handed = handed
        self._child = 0
        self._watch(pid)
        if os.getppid() != pid:  # it has died already, and the number may be another's
            self.died()

    def _watch(self, pid: int) -> None:
        self._since = time.monotonic()
        try:
            self.pidfd = os.pidfd_open(pid)
        except OSError:
            self.pidfd = -1

    def died(self) -> None:
        """Start another one."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pidfd = -1
        if self._child:
            os.waitpid(self._child, 0)
        if time.monotonic() - self._since > _SOON_S or not self._child:
            self._replace()

    def ensure(self) -> None:
        """The VM has ended, and there must be one that knows what is to be done then."""
        if self.pidfd < 0 or select.select([self.pidfd], [], [], 0)[0]:
            self._replace()

    def _replace(self) -> None:
        try:
            self._child = spawn_keeper(self._folder, self._handed)
            self._watch(self._child)
        except OSError:
            pass  # the next floe that looks tries again


def rest(seconds: float, keeper: Keeper) -> None:
    """Wait; a keeper that dies meanwhile is replaced."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([keeper.pidfd] if keeper.pidfd >= 0 else [], [], [], left)[0]:
            keeper.died()


def wait(pid: int, keeper: Keeper) -> int:
    """Exit status of a child; a keeper that dies meanwhile is replaced."""
    child = os.pidfd_open(pid)
    while True:
        watched = [child] if keeper.pidfd < 0 else [child, keeper.pidfd]
        ready = select.select(watched, [], [])[0]
        if child in ready:
            os.close(child)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        keeper.died()


def main(folder: str, started_by: int, again: dict[int, str], manner: tuple[float, str], command: list[str]) -> None:
    """Run the command until it ends with a status that is not in `again`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fds = inherited()
    after, handed = manner
    keeper = Keeper(folder, started_by, [int(fd) for fd in handed.split(",") if fd.isdecimal()])
    confine, guard = None, None
    if command[0].startswith(CONFINED):
        confine = confining(command[0])
        fds = [fd for fd in fds if fd != int(command[0].removeprefix(CONFINED).partition(",")[0])]
        command = command[1:]
    if command[0].startswith(EGRESS):
        guard = guarding(folder, command[0])
        command = command[1:]
    rest(after, keeper)
    word = ""
    while True:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # no hypervisor that nobody knows of
        pid = spawn(
            folder, [text.removeprefix(ONCE).replace("@BOOTED@", word) for text in command], fds, confine, guard
        )
        record(folder, PID, pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        status = wait(pid, keeper)
        if status not in again:
            break
        word = again[status]
        command = [text for text in command if not text.startswith(ONCE)]
    record(folder, EXIT, status)
    if handed != "no":
        keeper.ensure()


if __name__ == "__main__":
    pairs = (pair.partition("=") for pair in sys.argv[3].split(","))
    resets = {int(status): word for status, _, word in pairs}
    main(sys.argv[1], int(sys.argv[2]), resets, (float(sys.argv[4]), sys.argv[5]), sys.argv[6:])
