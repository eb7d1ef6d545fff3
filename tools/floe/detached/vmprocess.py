# SPDX-License-Identifier: MIT
"""A detached VM's hypervisor: started through parent.py, connected to over UNIX sockets, found again by a later keeper.

QEMU, or the process of a Xen domain, inherits listening sockets whose names lie in the VM's folder, so anyone who may
enter that folder can connect again when a keeper has died. What a keeper needs of it is start, adopt, end, and the four
callbacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from floe.detached.parent import CONFINED, EGRESS
from floe.errors import EXIT_INTERRUPTED, FloeError, ImageRefused, VmError, VmExitedEarly
from floe.family.pipes import Kept
from floe.hypervisor import registry
from floe.hypervisor.base import GuestMemory, Heard
from floe.snapshot.file import State, state_of
from floe.spec.network import Card
from floe.spec.vmspec import Wires
from floe.store.records import PLACES, End, Names, Spec
from floe.store.vmfolder import Folder, Process
from floe.stream.link import Link
from floe.vm.outcome import RESETS, Ending, Failure, Outcome, evidence

_CONNECT_S = 5.0
_SAY_S = 1.0  # what a guest may take to say where it stands
_LAST_EVENTS_S = 2.0
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_MESSAGES_LIMIT = 1 << 18  # bytes of the hypervisor's of all starts before, at which they are dropped
_CHATTER = "info: QEMU waiting for connection on"


class VmProcess:
    """One VM. Every callback comes from the event loop."""

    def __init__(self, folder: Folder, spec: Spec, loop: asyncio.AbstractEventLoop) -> None:
        self.on_console: Callable[[Link | None], None] = lambda link: None  # a new one; None: it has ended
        self.on_serial: Callable[[bytes], None] = lambda data: None
        self.on_channel: Callable[[socket.socket], None] = lambda sock: sock.close()  # its family's, where it has one
        self.on_up: Callable[[], None] = lambda: None  # the hypervisor runs the guest, for the first time or again
        self.on_restored: Callable[[Sequence[Kept]], None] = lambda pipes: (
            None
        )  # it goes on from a snapshot, with these
        self.on_end: Callable[[End], None] = lambda end: None
        self.resets = 0
        self._folder = folder
        self._spec = spec
        self._loop = loop
        self._hypervisor = registry.create(spec.hypervisor)
        self._ending = Ending(self._hypervisor.label, watched=False)  # an earlier keeper may have died
        self._state: State | None = None  # from which the guest is to go on
        self._restoring: asyncio.Task[None] | None = None
        self._ended = False
        self._cancelled = False
        self._again = False  # it may be starting again after a reset, or have ended for good
        self._child: subprocess.Popen[bytes] | None = None
        self._watched: Process | None = None
        self._pidfd = -1
        self._links: list[Link] = []
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- beginning ----------------------------------------------------------------------------------

    def start(self, inherited: Sequence[int] = (), *, after_s: float = 0.0) -> None:
        """Start the hypervisor after so many seconds; it inherits these descriptors too.

        Raises VmError, ImageRefused."""
        self._check_image()
        _become_subreaper()
        if self._spec.snapshot >= 0:
            self._state = state_of(self._spec.snapshot, self._spec.origin)
        listeners = []
        try:
            self._folder.hypervisor_log.touch(0o600)
            if self._folder.hypervisor_log.stat().st_size > _MESSAGES_LIMIT:
                os.truncate(self._folder.hypervisor_log, 0)
            self._folder.pid = self._folder.exit_status = None
            parts = self._spec.parts
            listeners = [self._listen(part) for part in parts.values()]
            self._connect()
            numbers = {word: str(s.fileno()) for word, s in zip(parts, listeners, strict=True)}
            argv = [_replaced(word, numbers) for word in self._spec.argv]
            resets = ",".join(f"{status}={word}" for status, word in RESETS.items())
            parent = [sys.executable, "-I", "-S", str(self._folder.program), str(self._folder.path), str(os.getpid())]
            handed = (",".join(map(str, inherited)) or "-") if self._spec.policy.ever else "no"
            with self._limits(inherited) as (limits, more):
                self._child = subprocess.Popen(
                    [*parent, resets, f"{after_s:.3f}", handed, *limits, *argv],
                    pass_fds=[*(s.fileno() for s in listeners), *inherited, *more],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            process = Process.of_child(self._child.pid)  # by now it may all be over
            self._folder.parent = process
        except OSError as e:
            self.kill()
            raise VmError(
                f"cannot start {self._hypervisor.label}: {e.strerror}", evidence=f"in {self._folder.path}"
            ) from e
        finally:
            for s in listeners:
                s.close()
        self._watch(process)

    def _check_image(self) -> None:
        """What --verify checked boots, at each start."""
        plan = self._folder.plan
        if plan is None or not plan.verified:
            return
        from floe.image import signature  # for those few alone: it is much to load

        try:
            found = signature.digest(self._folder.image)
        except OSError as e:
            raise ImageRefused(f"its image cannot be verified: {self._folder.image}: {e.strerror}") from e
        if found != plan.verified:
            raise ImageRefused(f"its image was changed after it was verified: {self._folder.image}")

    @contextlib.contextmanager
    def _limits(self, inherited: Sequence[int]) -> Iterator[tuple[list[str], list[int]]]:
        """The parent's word for what the hypervisor is confined to, and a descriptor for it where the one that was
        handed is lost with the processes that had it. Raises VmError."""
        number, plan = self._spec.ruleset, self._folder.plan
        if number < 0 or number in inherited or plan is None:
            confined, guarded = self._spec.confined, self._spec.egress
            yield [*([CONFINED + confined] if confined else []), *([EGRESS + guarded] if guarded else [])], []
            return
        with self._hypervisor.confinement(plan, Wires(*PLACES), self._spec.argv) as limits:
            assert limits is not None
            words = [f"{CONFINED}{limits.ruleset},{limits.kept}"]
            yield (
                [*words, EGRESS + limits.egress] if limits.egress else words,
                [limits.ruleset] if limits.ruleset >= 0 else [],
            )

    def adopt(self) -> None:
        """Connect to a hypervisor that an earlier keeper started. Raises VmError when there is none, unless it is to be
        started again: then its end is told. Its family ended with that keeper: it sees that nobody is there."""
        process = self._folder.vm
        try:
            if process is not None:
                self._connect(Names.PARTS)
        except OSError as e:
            if self._folder.vm is not None and self._folder.exit_status is None:
                raise VmError(f"cannot connect to {self._hypervisor.label}: {e.strerror or e}") from e
            process = self._folder.vm
        if process is None:
            if not self._folder.due:
                raise VmError(f"{self._folder.name} does not run any more")
            self._loop.call_soon(self._gone)
            return
        parent = self._folder.parent
        self._watch(parent if parent is not None and parent.alive else process)

    def _listen(self, part: str) -> socket.socket:
        path = Path(self._spec.sockets) / part
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.bind(str(new))
        s.listen(1)
        # QEMU, when it ends, unlinks a socket by the name it was bound to: under another one it stays for the next.
        new.rename(path)
        return s

    def _connect(self, parts: Iterable[str] = ()) -> None:
        """Connect to all parts, or these; QEMU takes the connections when it is ready for them. Raises OSError."""
        socks: list[socket.socket] = []
        try:
            for part in parts or self._spec.parts.values():
                s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                socks.append(s)
                s.settimeout(_CONNECT_S)
                s.connect(str(Path(self._spec.sockets) / part))
            self._hypervisor.greet(socks[2], copied=self._state is not None)
        except OSError:
            for s in socks:
                s.close()
            raise
        console, serial = (Link(s.detach(), self._loop) for s in socks[:2])
        self._links = [console, serial]
        console.on_end = self._console_ended
        serial.on_data = self.on_serial
        serial.resume()
        self.on_console(console)
        for channel in socks[3:]:
            self.on_channel(channel)
        task = self._loop.create_task(self._hypervisor.watch(socks[2], self._on_event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        state, self._state = self._state, None
        if state is not None:
            self._restoring = self._loop.create_task(self._restore(state))

    async def _restore(self, state: State) -> None:
        try:
            await self._hypervisor.load(state.devices, state.version)
            await self._hypervisor.run_copy()
            self.on_restored(state.pipes)
        except FloeError as e:
            self._on_event("FAILED", {"message": e.message, "evidence": e.evidence, "hint": e.hint})
            self.kill()

    def _on_event(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "RESUME":
            self._again = False
            if self._spec.ports and (process := self._folder.vm) is not None:
                self._hypervisor.widen_ports(process.pid)
            self.on_up()
        elif self._ending.on_event(name, data):
            self.kill()

    # ---- of its family's ----------------------------------------------------------------------------

    def copies(self) -> bool:
        """Whether its hypervisor can copy it while it runs."""
        return self._hypervisor.copies

    async def send_copy(self, sock: socket.socket, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Stand still, call `meanwhile`, send all of the guest's state there, and go on. Raises VmError."""
        await self._hypervisor.send_copy(sock.fileno(), meanwhile)

    # ---- what it does -------------------------------------------------------------------------------

    async def instruction(self) -> int:
        """The address that the guest's processor is at. Raises VmError."""
        return await self._hypervisor.instruction()

    async def exits(self) -> dict[str, int]:
        """How often the processor has left the guest, by reasons. Raises VmError."""
        return await self._hypervisor.exits()

    async def hear(self, index: int, card: Card) -> Heard:
        """The frames of one of its network cards. Raises VmError."""
        process = self._folder.vm
        if process is None:
            raise VmError(f"{self._folder.name} has ended")
        return await self._hypervisor.hear(process.pid, index, card)

    def memory(self, known: tuple[int, bytes]) -> GuestMemory | None:
        """The guest's, in which these bytes lie at an address. Raises OSError."""
        process = self._folder.vm
        if process is None:
            return None
        return self._hypervisor.memory(process.pid, self._spec.memory, self._spec.machine, known)

    # ---- ending -------------------------------------------------------------------------------------

    def end(self) -> None:
        """Begin to end the VM."""
        if not self._ended:
            # It writes out what it has printed, and says where it stood.
            interrupted = self._hypervisor.interrupt()
            self._ending.ask(Outcome(EXIT_INTERRUPTED, "interrupt"), made_to_panic=interrupted)
            self._loop.call_later(_SAY_S if interrupted else 0, self._terminate)

    def _terminate(self) -> None:
        if not self._ended:
            self._signal(signal.SIGTERM)
            self._loop.call_later(self._hypervisor.kill_grace_s, self.kill)

    def cancel(self) -> None:
        """End a VM that is still to be started, after start(after_s=...)."""
        self._cancelled = True
        parent = self._folder.parent
        if parent is not None:
            parent.signal(signal.SIGTERM)  # it holds that back while it starts the hypervisor

    def kill(self) -> None:
        """End the VM at once."""
        if not self._ended:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        process = self._folder.vm
        if process is not None:
            process.signal(number)

    def _watch(self, process: Process) -> None:
        try:
            self._pidfd = os.pidfd_open(process.pid)
        except OSError:
            self._loop.call_soon(self._gone)
            return
        self._watched = process
        self._loop.add_reader(self._pidfd, self._gone)

    def _console_ended(self) -> None:
        """QEMU is gone: for good, or to be started again by its parent, who still listens for it."""
        self._close_links()
        self.on_console(None)
        if not self._ended:
            with contextlib.suppress(OSError):
                self._connect()
                self.resets += 1
                self._again = True

    def _gone(self) -> None:
        """What was watched has ended."""
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._child is not None:
            self._child.wait()
            self._child = None
        status = self._folder.exit_status
        left = self._folder.vm
        if status is None and left is not None and left != self._watched:
            self._watch(left)  # the parent was killed, QEMU lives
            if self._cancelled:
                self.kill()
            return
        if status is None and self._watched is not None:
            status = _wait_for(self._watched.pid)
        self._ended = True
        self._close_links()
        self._last = self._loop.create_task(self._finish(status))

    async def _finish(self, status: int | None) -> None:
        """Once the last event is read, which says why."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_EVENTS_S)
        self.resets -= self._again
        self._hypervisor.release()
        self.on_end(self._judge(status))

    def _close_links(self) -> None:
        for link in self._links:
            link.read_now()
            link.close()
        self._links = []

    def _judge(self, status: int | None) -> End:
        result = self._ending.result(status)
        if isinstance(result, Failure):
            return End(code=None, cause=result.cause, at=time.time(), problem=result.problem)
        return End(code=result.code, cause=result.cause, at=time.time())

    def failure(self, end: End) -> VmError:
        """What to tell of a hypervisor that failed, with the last it and its guest said."""
        if self._ending.refusal is not None:
            return self._ending.refusal
        label = self._hypervisor.label
        messages = [line for line in _lines(self._folder.hypervisor_log) if _CHATTER not in line]
        guest = [*_lines(self._folder.console_log), *_lines(self._folder.serial_log)]
        tail = evidence(label, messages, guest)
        return VmExitedEarly(end.problem or f"{label} ended", argv=self._spec.argv, tail=tail)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _replaced(word: str, numbers: Mapping[str, str]) -> str:
    for name, number in numbers.items():
        word = word.replace(name, number)
    return word


def _become_subreaper() -> None:
    """A QEMU whose parent is killed becomes our child: prctl(2)."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wait_for(pid: int) -> int | None:
    """Exit status of a process that has ended, if it is our child."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, os.WNOHANG)[1])
    except ChildProcessError:
        return None
