# SPDX-License-Identifier: MIT
"""One VM: starts its hypervisor, owns it, ends it, and says how the guest ended.

The hypervisor (QEMU, or the process of a Xen domain: ../hypervisor) inherits connected sockets for the console, the
16550, its events and its messages: there are no names to clash, no files to leave behind, and the end of a stream is
the end of it. The kernel ends it when the thread that started it ends in any way (PR_SET_PDEATHSIG, prctl(2)): start a
VM from a thread that outlives it.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from floe.errors import EXIT_INTERRUPTED, EXIT_TIMED_OUT, FloeError, VmError, VmExitedEarly
from floe.hostnet import taps
from floe.hypervisor import registry
from floe.spec import disks, handover, network
from floe.spec.ports import HostPorts
from floe.spec.vmspec import VmSpec, Wires
from floe.stream.keys import stop_keys
from floe.stream.streams import Closed, Ended, Matched, Stream, TimedOut
from floe.vm.beginning import Beginning
from floe.vm.outcome import Ending, Failure, Outcome, evidence

if TYPE_CHECKING:
    import asyncio

    from floe.family.copies import PrivateDisks
    from floe.family.family import Family
    from floe.family.member import Machine
    from floe.hostnet.relay import Relay
    from floe.vm.expect import Expect

_SAY_S = 1.0  # what it may take to say where it stands
STOP_GRACE_S = 5.0  # how long a guest may take over an orderly end
_KEEP = 4 << 20  # bytes of each stream that are kept for whoever asks later


class Vm:
    """A VM as a context manager: entering boots it, leaving ends it.

        with Vm(spec) as vm:
            vm.expect("ready", timeout=10)
            vm.send(b"x")
            assert vm.wait(deadline_s=10) == 0

    Everything happens inside the calls that wait. `loop` lets several VMs share one event loop, so that a wait
    on one of them serves the others too."""

    def __init__(self, spec: VmSpec, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.spec = spec
        self.argv: list[str] = []
        self.outcome: Outcome | None = None
        self.resets = 0
        self.started_at = 0.0  # time.monotonic() right before QEMU was last started
        self.on_launch: Callable[[], None] = lambda: None  # QEMU runs, the streams are new ones
        self.on_channel: Callable[[socket.socket], None] = lambda sock: sock.close()  # its family's, where it has one
        self.say: Callable[[str], None] = lambda text: None  # takes lines for the user
        self.family: Family | None = None  # of an image that forks
        self._hypervisor = registry.create(spec.hypervisor)
        self._ending = Ending(self._hypervisor.label)
        self._loop = loop
        self._owns_loop = loop is None
        self._failure: FloeError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._relay: Relay | None = None
        self._beginning = Beginning(self._tell)
        self._exited = False
        self._past = ["", ""]  # console and 16550 before the last reset
        self._unread = b""  # of them, what read_console() has not returned
        self._expecter: Expect | None = None
        self._booted_by: tuple[str, ...] = ()  # the guest's word for the reset before this start
        self._blobs: tuple[handover.Blob, ...] = ()  # read once: a reset finds what the first start found
        self._is_copy = False
        self._inherited: list[int] = []  # descriptors for the hypervisor
        self._packets = ""  # Wires.packets
        self._ram, self._ram_shared = "", False  # as Wires has them

    # ---- what a caller may look at ------------------------------------------------------------------

    @property
    def ports(self) -> HostPorts:
        """Port of the host for each forwarded port of the guest."""
        return HostPorts(self.spec.forwards)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that serves the VM; there is one from start() on."""
        assert self._loop is not None
        return self._loop

    @property
    def pid(self) -> int:
        """Process id of QEMU, or of what stands for it."""
        assert self._process is not None
        return self._process.pid

    @property
    def gone(self) -> bool:
        """The hypervisor has ended; what it and the guest said may not all be read yet."""
        return self._exited

    @property
    def console_text(self) -> str:
        """All the guest said: its console, then its 16550 (early boot and panics)."""
        return self._past[0] + self.console.text + self._past[1] + self.serial.text

    @property
    def panic_text(self) -> str:
        """Where a PANIC line is to be found: the 16550's text, or the console's where the VM has no 16550."""
        return self.serial.text if self._hypervisor.has_16550 else self.console.text

    # ---- starting -----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the VM. Raises what the hypervisor's command(), taps.check_host(), disks.provide(), handover.read() and
        relay.through_qemu() do, VmError when the command cannot be run."""
        self._provide()
        if any(forward.through for forward in self.spec.forwards):
            from floe.hostnet import relay

            self._relay = relay.through_qemu(self.spec.forwards, self._family_at)
        try:
            sockets = self._spawn()
        except BaseException:
            self._release()
            raise
        try:
            import asyncio  # after QEMU was started: the two take about as long

            self._loop = self._loop or asyncio.new_event_loop()
            self._changed = asyncio.Event()
            self._found_family()
            self._attach(sockets)
        except BaseException:
            self._abandon()
            self._release()
            raise

    def preload(self) -> None:
        """Load what start() would load beside the guest, where the guest's time is measured."""
        import asyncio  # noqa: F401 - for the loading alone

        self._hypervisor.preload()

    def _provide(self) -> None:
        """All that the VM takes of this host."""
        taps.check_host(self.spec.cards)
        disks.provide(self.spec.disks)
        self._blobs = self._handed_over()

    def _handed_over(self) -> tuple[handover.Blob, ...]:
        """What the guest is given of files and of this environment."""
        return handover.read(self.spec.secrets, self.spec.env_files, dict(self.spec.asked))

    def _found_family(self) -> None:
        """An image that forks has one."""
        if self.spec.children is None:
            return
        from floe.family.family import Family
        from floe.hosts.remote import Elsewhere, Remote
        from floe.vm.child import Child, spec_of_copy
        from floe.vm.childlines import ChildLines

        def handed() -> tuple[handover.Blob, ...]:
            return handover.for_child(self._blobs, self.spec.child_secrets)

        def make(original: Machine, name: str, disks: PrivateDisks) -> Child:
            child = Child(spec_of_copy(original.spec, name, disks), self.loop, handed(), disks)
            child.say = lambda text: self.say(f"{name}: {text}")
            return child

        def listen(name: str, machine: Machine) -> None:
            assert isinstance(machine, Child | Remote)
            lines.join(name, machine.console, self.console)
            lines.join(name, machine.serial, self.serial)

        def say(text: str) -> None:
            self.say(text)

        lines = ChildLines(self.loop)
        hypervisor, away = self._hypervisor, None
        if hypervisor.copies_to_hosts:
            away = Elsewhere(self.spec.elf, handed, self.loop, self._likeness)
        self.family = Family(self, self.spec.name, make=make, loop=self.loop, say=say, elsewhere=away)
        self.family.fork_s = hypervisor.copy_s
        self.family.on_child = listen
        self.family.on_over = self._progress
        self.on_channel = self.family.connect

    def _family_at(self, guest_port: int) -> Sequence[tuple[str, int]]:
        """Where the others of the family have a TCP port of the guest's; for any thread."""
        return self.family.reached_at(guest_port) if self.family is not None else ()

    def _spawn(self) -> list[socket.socket]:
        """Start the hypervisor and return our ends of its sockets: console, 16550, events, messages, and the family's
        where it may have one."""
        pairs = [socket.socketpair() for _ in range(4 if self.spec.children is None else 5)]
        theirs = [pair[1] for pair in pairs]
        self._hypervisor.greet(pairs[2][0], copied=self._is_copy)
        try:
            spec = replace(self.spec, switches=(*self.spec.switches, *self._booted_by))
            console, serial, events, _, *family = (str(s.fileno()) for s in theirs)
            wires = Wires(console, serial, events, family="".join(family), copied=self._is_copy, packets=self._packets)
            wires = replace(wires, ram=self._ram, ram_shared=self._ram_shared)
            passed = [s.fileno() for s in theirs if s is not theirs[3]] + self._inherited
            with (
                self._hypervisor.command(spec, wires, self._blobs) as (self.argv, fds),
                self._hypervisor.confinement(spec, wires, self.argv) as limits,
                self._beginning.under(limits, small_pages=spec.small_pages) as begin,
            ):
                self.started_at = time.monotonic()
                self._process = subprocess.Popen(
                    self.argv,
                    pass_fds=[*passed, *fds],
                    stdin=subprocess.DEVNULL,
                    stdout=theirs[3].fileno(),
                    stderr=theirs[3].fileno(),
                    start_new_session=True,  # a terminal's Ctrl-C is for floe alone
                    preexec_fn=begin,  # noqa: PLW1509 - a few system calls, no lock is taken
                )
        except OSError as e:
            raise VmError(
                f"cannot start {self._hypervisor.label}: {e.strerror}", evidence=f"command: {shlex.join(self.argv)}"
            ) from e
        finally:
            for s in theirs:
                s.close()
        return [pair[0] for pair in pairs]

    def _tell(self, text: str) -> None:
        """Say it, from another thread."""
        with suppress(RuntimeError):  # the loop is closed, and nobody listens any more
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self.say, text)

    def _attach(self, sockets: list[socket.socket]) -> None:
        console, serial, monitor, messages, *family = sockets
        self.console, self.serial, self.messages = (
            Stream(s, self.loop, self._progress, _KEEP) for s in (console, serial, messages)
        )
        self._ending.restarted()
        self._pidfd = os.pidfd_open(self.pid)
        self._exited = False
        self.loop.add_reader(self._pidfd, self._reap)
        self._monitor_task = self.loop.create_task(self._hypervisor.watch(monitor, self._on_event))
        self._monitor_task.add_done_callback(lambda task: self._progress())
        for channel in family:
            self.on_channel(channel)
        self.on_launch()

    # ---- what happens meanwhile ---------------------------------------------------------------------

    def _on_event(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "RESUME" and self.spec.forwards:
            self._hypervisor.widen_ports(self.pid)
        elif self._ending.on_event(name, data):
            self._kill(signal.SIGKILL)

    def _reap(self) -> None:
        assert self._process is not None
        self.loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self._exited = True
        for path in network.socket_paths(self.spec.cards):
            path.unlink(missing_ok=True)  # QEMU removes it only where it ends in order
        self._progress()

    def _progress(self) -> None:
        """Look whether the VM is at its end: QEMU gone, and every stream read to its last byte."""
        self._changed.set()
        streams_done = self.console.closed and self.serial.closed and self.messages.closed
        if self.outcome or self._failure or not (self._exited and streams_done and self._monitor_task.done()):
            return
        assert self._process is not None
        status = self._process.returncode
        word = None if self._is_copy else self._ending.reset(status)
        if word is None and self.family is not None and not self.family.dissolve():
            return
        try:
            if word is not None:
                self._booted_by = (word,)
                self._past = [self._past[0] + self.console.text, self._past[1] + self.serial.text]
                self._unread = self.read_console()
                self.resets += 1
                self._attach(self._spawn())
            else:
                self.outcome = self._judge(status)
        except FloeError as e:  # of another start too: Xen may be gone
            self._failure = e
        self._over()

    def _over(self) -> None:
        """It may have ended for good."""

    def _judge(self, status: int) -> Outcome:
        """How the guest ended, from QEMU's exit status. Raises VmError when it was QEMU that ended."""
        result = self._ending.result(status)
        if isinstance(result, Failure):
            messages, guest = self.messages.text.splitlines(), self.console_text.splitlines()
            tail = evidence(self._hypervisor.label, messages, guest)
            raise result.error or VmExitedEarly(result.problem, argv=self.argv, tail=tail)
        return result

    # ---- of its family's ----------------------------------------------------------------------------

    def copies(self) -> bool:
        """Whether its hypervisor can copy it while it runs."""
        return self._hypervisor.copies

    def _likeness(self) -> Mapping[str, str]:
        return self._hypervisor.likeness(self.spec.accel)

    async def send_copy(self, sock: socket.socket, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Stand still, call `meanwhile`, send all of the guest's state there, and go on. Raises VmError."""
        await self._hypervisor.send_copy(sock.fileno(), meanwhile)

    def end_at_once(self) -> None:
        """Begin to end the VM; nobody waits for its last words."""
        self.end(Outcome(EXIT_INTERRUPTED, "interrupt"), speak=False)

    # ---- waiting ------------------------------------------------------------------------------------

    def pump(self, until: Callable[[], bool], deadline_s: float | None) -> Ended:
        """Serve the VM until `until()` holds (Matched), the time is over (TimedOut) or the VM has ended (Closed)."""
        return self.loop.run_until_complete(self._pump(until, deadline_s))

    async def _pump(self, until: Callable[[], bool], deadline_s: float | None) -> Ended:
        import asyncio

        deadline = None if deadline_s is None else self.loop.time() + deadline_s
        while not until():
            if self.outcome or self._failure:
                return Closed
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return Matched if until() else TimedOut
        return Matched

    def read_console(self) -> bytes:
        """What the guest said on its console and its 16550 since the last call."""
        new, self._unread = self._unread + self.console.read() + self.serial.read(), b""
        return new

    @property
    def expecter(self) -> Expect:
        """pexpect on what the guest says, behind what an earlier call matched: before, after, match are there."""
        if self._expecter is None:
            from floe.vm.expect import Expect

            self._expecter = Expect(self)
        return self._expecter

    def expect(self, pattern: Any, timeout: float) -> int:
        """Wait for a pattern as pexpect has it: a regular expression, pexpect.EOF, pexpect.TIMEOUT, or a list of them.

        Returns which of a list matched. Raises pexpect.EOF and pexpect.TIMEOUT where they are not in it."""
        __tracebackhide__ = True
        return self.expecter.expect(pattern, timeout)

    def expect_exact(self, text: Any, timeout: float) -> int:
        """As expect(), for text as it stands."""
        __tracebackhide__ = True
        return self.expecter.expect_exact(text, timeout)

    def send(self, data: bytes) -> None:
        """Type on the console. The bytes leave with the next call that waits."""
        self.console.send(data)

    def wait(self, *, deadline_s: float | None = None) -> int:
        """Wait for the VM's end and return floe's exit code; over the deadline the VM is ended: 124.

        Raises VmExitedEarly when QEMU failed."""
        if self.pump(lambda: False, deadline_s) is TimedOut:
            self.end(Outcome(EXIT_TIMED_OUT, "timeout"))
            self.pump(lambda: False, None)
        return self._result()

    async def ended(self) -> None:
        """Wait for the VM's end, in the event loop that serves it."""
        await self._pump(lambda: False, None)

    def stop(self, *, grace_s: float = STOP_GRACE_S) -> int:
        """Ask the guest to end, end it after grace_s, and return floe's exit code."""
        if self.outcome is None and self._failure is None:
            self.ask_to_end()
            if self.pump(lambda: False, grace_s) is TimedOut:
                self.kill()
        return self._result()

    def ask_to_end(self) -> bytes:
        """Interrupt the script; a dev image ends then too. The keys, which are returned, leave with the next call that
        waits."""
        from floe.image import elf

        try:
            profile = str(elf.read(self.spec.elf).content["profile"])
        except FloeError:  # the file has changed since
            profile = "sealed"
        typed = stop_keys(profile)
        if self.family is not None:
            self.family.terminate()
        self.send(typed)
        return typed

    def kill(self) -> None:
        """End the VM at once."""
        self.end(Outcome(EXIT_INTERRUPTED, "interrupt"), speak=False)
        self.pump(lambda: False, None)

    def close(self) -> None:
        """End the VM if it still runs, and let go of everything. May be called more than once."""
        if self._process is not None and self._loop is not None:
            if self.outcome is None and self._failure is None:
                self.kill()
            self._release()
            if self._owns_loop and not self._loop.is_closed():
                self._loop.close()

    def _release(self) -> None:
        self._hypervisor.release()
        if self._relay is not None:
            self._relay.close()
            self._relay = None

    def _abandon(self) -> None:
        """End a hypervisor that no loop serves yet."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _result(self) -> int:
        if self._failure is not None:
            raise self._failure
        assert self.outcome is not None
        return self.outcome.code

    def end(self, why: Outcome, *, speak: bool = True) -> None:
        """Begin to end the VM with this outcome, unless the guest is faster; a later wait sees it through.

        `speak`: it first says where it stands (panic.stood()) and writes out what it has printed, if it can."""
        if self.family is not None:
            self.family.kill()
        if self.outcome is None and self._failure is None and not self._ending.begun:
            interrupted = speak and not self._exited and self._hypervisor.interrupt()
            self._ending.ask(why, made_to_panic=interrupted)
            if interrupted:
                self.loop.call_later(_SAY_S, self._terminate)
            else:
                self._terminate()

    def _terminate(self) -> None:
        self._kill(signal.SIGTERM)
        self.loop.call_later(self._hypervisor.kill_grace_s, self._kill, signal.SIGKILL)

    def _kill(self, number: signal.Signals) -> None:
        assert self._process is not None
        if not self._exited:
            self._process.send_signal(number)
