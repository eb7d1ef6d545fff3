# SPDX-License-Identifier: MIT
"""The family of a detached VM that forks. The first VM outlives its keeper; the others are that keeper's own processes
and end with it, and what the first one still waits for then fails (docs/fork.md). Their lines go to its logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from floe.detached.vmprocess import VmProcess
from floe.errors import FloeError
from floe.family import cards
from floe.family.copies import PrivateDisks
from floe.family.family import Family
from floe.family.member import Machine, Member
from floe.family.pipes import Kept
from floe.hosts.remote import Elsewhere, Remote
from floe.hypervisor import registry
from floe.snapshot.file import write
from floe.spec import handover
from floe.spec.vmspec import VmSpec
from floe.store.records import FAMILY_PLACE
from floe.store.vmfolder import Folder
from floe.stream.logfile import BoundedLog
from floe.vm.child import Child, spec_of_copy
from floe.vm.childlines import ChildLines

_HELD_S = 20.0  # from the start of a copy that is to wait to where it does
_GO_S = 5.0  # from there, once it is claimed, to its script


class _Log:
    """A log as what children's lines go to."""

    closed = False

    def __init__(self, log: BoundedLog) -> None:
        self._log = log

    @property
    def data(self) -> bytes:
        """As much of it as tells whether a line is over."""
        return b"" if self._log.between_lines else b"."

    @property
    def at_line_end(self) -> Callable[[], bytes]:
        """As BoundedLog has it."""
        return self._log.at_line_end

    @at_line_end.setter
    def at_line_end(self, wanted: Callable[[], bytes]) -> None:
        self._log.at_line_end = wanted

    def inject(self, data: bytes) -> None:
        """Append."""
        self._log.write(data)


class Kin:
    """A family and its first VM as the family sees it, from one start of that VM to its end."""

    def __init__(
        self,
        spec: VmSpec,
        process: VmProcess,
        blobs: Sequence[handover.Blob],
        logs: tuple[BoundedLog, BoundedLog],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """logs: of the console and of the 16550."""
        self.spec = spec
        self._process = process
        self._blobs = blobs
        self._loop = loop
        self._say = logs[0].note
        self._lines = ChildLines(loop)
        self._console, self._serial = map(_Log, logs)
        hypervisor, away = registry.create(spec.hypervisor), None
        if hypervisor.copies_to_hosts:
            away = Elsewhere(spec.elf, self._for_child, loop, self._likeness)
        self._family = Family(self, spec.name, make=self._make, loop=loop, say=logs[0].note, elsewhere=away)
        self._family.fork_s = hypervisor.copy_s
        self._family.on_child = self._listen
        self._family.on_end = self._ended
        self._ends: dict[str, asyncio.Future[int]] = {}  # of children that somebody waits for
        process.on_channel = self._family.connect
        process.on_restored = self._go_on
        self.on_waiting: Callable[[], None] = lambda: None  # the first VM waits to be claimed
        self.waits = False  # it is to wait, once it is restored
        self._holding: asyncio.Task[None] | None = None

    # ---- what a family asks of its first VM -----------------------------------------------------------

    def copies(self) -> bool:
        """Whether its hypervisor can copy it while it runs."""
        return self._process.copies()

    async def send_copy(self, sock: socket.socket, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Stand still, call `meanwhile`, send all of the guest's state there, and go on. Raises VmError."""
        await self._process.send_copy(sock, meanwhile)

    def end_at_once(self) -> None:
        """Begin to end it."""
        self._process.kill()

    def _make(self, original: Machine, name: str, disks: PrivateDisks) -> Child:
        child = Child(spec_of_copy(original.spec, name, disks), self._loop, self._for_child(), disks)
        child.say = lambda text: self._say(f"{name}: {text}")
        return child

    def _for_child(self) -> tuple[handover.Blob, ...]:
        return handover.for_child(self._blobs, self.spec.child_secrets)

    def _likeness(self) -> Mapping[str, str]:
        return registry.create(self.spec.hypervisor).likeness(self.spec.accel)

    def _listen(self, name: str, machine: Machine) -> None:
        assert isinstance(machine, Child | Remote)
        self._lines.join(name, machine.console, self._console)
        self._lines.join(name, machine.serial, self._serial)

    # ---- what is asked of a family --------------------------------------------------------------------

    def terminate(self) -> None:
        """Ask all children to end."""
        self._family.terminate()

    def kill(self) -> None:
        """Begin to end all children."""
        self._family.kill()

    def then(self, over: Callable[[], None]) -> None:
        """The first VM has ended: call that when all others have."""

        def once() -> None:
            self._family.on_over = lambda: None
            self._lines.show_all()
            over()

        self._family.on_over = once
        if self._family.dissolve():
            once()

    def _go_on(self, pipes: Sequence[Kept]) -> None:
        self._family.go_on(pipes, hold=self.waits)
        if self.waits:
            self._holding = self._loop.create_task(self._hold())

    async def _hold(self) -> None:
        try:
            await self._family.held(_HELD_S)
        except FloeError as e:
            self._say(e.message)
            self._process.kill()
            return
        self.on_waiting()

    async def let_go(self) -> bool:
        """Have the first VM's script go on, which waits. False: it does not answer, and is ended."""
        try:
            await asyncio.wait_for(self._family.let_go(), _GO_S)
        except TimeoutError:
            self._say(f"it did not go on within {_GO_S:g} s")
            self._process.kill()
            return False
        return True

    def reached_at(self, guest_port: int) -> Sequence[tuple[str, int]]:
        """As Family.reached_at()."""
        return self._family.reached_at(guest_port)

    def told(self) -> list[dict[str, Any]]:
        """Of each child: what `floe ps` shows."""
        names = {child.pid: child.name for child in self._children()}
        return [
            {
                "name": child.name,
                "number": child.pid,
                "parent": names.get(child.ppid, self.spec.name),
                "host": child.host,
                "pid": child.machine.pid if isinstance(child.machine, Child) else None,
                "began": child.born_at,
                "addresses": list(zip(_addresses(self.spec), _addresses(child.machine.spec), strict=False)),
                "ports": [forward.told() for forward in child.machine.spec.forwards],
            }
            for child in self._children()
            if isinstance(child.machine, Child | Remote)
        ]

    async def snapshot(self, path: Path, app: str) -> int:
        """Keep the first VM's state in a file, and return the bytes of disk it takes. Raises FloeError, OSError."""
        captured = await self._family.capture()

        def keep() -> int:
            """In a thread, which goes on where nobody waits: what it reads is closed by itself alone."""
            with contextlib.closing(captured):
                key = registry.create(self.spec.hypervisor).state_key(self.spec)
                return write(path, captured, blobs=self._blobs, app=app, key=key)

        return await asyncio.to_thread(keep)

    async def stop(self, name: str, grace_s: float) -> int | None:
        """Ask a child to end, end it after grace_s, and tell how as waitpid() does. None: there is no such child."""
        child = next((child for child in self._children() if child.name == name), None)
        if child is None:
            return None
        end = self._ends.setdefault(name, self._loop.create_future())
        if grace_s > 0:
            child.ask_to_end()
            await asyncio.wait([end], timeout=grace_s)
        if not end.done():
            child.machine.end_at_once()
        return await end

    def _ended(self, name: str, status: int) -> None:
        if (end := self._ends.pop(name, None)) is not None:
            end.set_result(status)

    def _children(self) -> list[Member]:
        return [child for child in self._family.children if child.born]


def of(
    folder: Folder,
    process: VmProcess,
    handed: Sequence[int],
    logs: tuple[BoundedLog, BoundedLog],
    loop: asyncio.AbstractEventLoop,
) -> Kin | None:
    """The family of this VM; None where it has none. handed: the descriptors that its hypervisor was given."""
    plan = folder.plan
    if plan is None or plan.children is None or FAMILY_PLACE not in folder.spec.parts:
        return None
    try:
        blobs = _blobs(plan, handed)
    except (FloeError, OSError) as e:
        logs[0].note(f"it cannot fork: {e.message if isinstance(e, FloeError) else e.strerror}")
        return None
    capture = plan.capture and plan.capture.absolute()
    spec = replace(plan, elf=folder.image, name=folder.name, capture=capture)
    return Kin(spec, process, blobs, logs, loop)


def _addresses(spec: VmSpec) -> list[str]:
    return [text.partition("/")[0] for text in cards.addresses(spec.cards)]


def _blobs(plan: VmSpec, handed: Sequence[int]) -> tuple[handover.Blob, ...]:
    """What the guest was handed over: from the files in memory that its hypervisor got, which come first, or anew from
    where it was. Raises FloeError, OSError."""
    count = handover.env_blobs(plan.env_files, dict(plan.asked))
    names = [f"secret/{name}" for name, _ in plan.secrets] + [f"env/{n}" for n in range(count)]
    if len(handed) < len(names):
        return handover.read(plan.secrets, plan.env_files, dict(plan.asked))
    contents = (os.pread(fd, os.fstat(fd).st_size, 0) for fd in handed)
    return tuple(handover.Blob(name, content) for name, content in zip(names, contents, strict=False))
