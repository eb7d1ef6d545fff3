# SPDX-License-Identifier: MIT
"""VMs that wait, to be had in no time: a template is booted once, up to vm.ready(), and others go on from there, each
a machine of its own whose script stands until somebody claims it. What they do not write they share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from floe import hostmemory
from floe.errors import FloeError, VmError
from floe.family.capture import Captured
from floe.hypervisor import registry
from floe.snapshot.file import State
from floe.snapshot.material import Material
from floe.spec import handover
from floe.spec.vmspec import VmSpec
from floe.vm.restored import Restored, spec_from
from floe.vm.template import READY_S, captured_when_ready, check_copied, end

_SOON_S = 0.05  # from a claim to the start of the next VM, which takes the processor from the claimed one's first lines
_TRIES = 3  # VMs that end while they wait, one after another


class _NoRoom(VmError):
    """The host's memory is used."""


class Pool:
    """`size` VMs that wait, in the running event loop. A claimed one is the claimer's, who ends and closes it."""

    def __init__(
        self,
        spec: VmSpec,
        size: int,
        *,
        blobs: Sequence[handover.Blob] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """spec: of vm.plan; each VM has any free port for each that is forwarded. blobs: what they are handed over, if
        it was read already. say takes lines for the user. Raises UsageError for an image that cannot be copied."""
        check_copied(spec)
        self._spec = spec
        self._size = size
        self._blobs = blobs
        self._say = say
        self._number = 0
        self._captured: Captured | None = None
        self._state: State | None = None
        self._waiting: list[Restored] = []
        self._wanted = asyncio.Event()  # one more may be needed
        self._changed = asyncio.Condition()
        self._filling: asyncio.Task[None] | None = None
        self._problem: FloeError | None = None  # why no VM can be made
        self._is_short = False  # of memory, as the user knows

    @property
    def ready(self) -> int:
        """How many VMs wait."""
        return len(self._waiting)

    async def start(self, deadline_s: float = READY_S) -> None:
        """Boot the template, which ends at vm.ready(), and begin to make VMs. Raises FloeError."""
        blobs = self._blobs
        if blobs is None:
            blobs = handover.read(self._spec.secrets, self._spec.env_files, dict(self._spec.asked))
        self._captured = captured = await captured_when_ready(self._spec, blobs, say=self._say, deadline_s=deadline_s)
        self._state = State(captured.devices, captured.version, captured.pipes, blobs)
        self._wanted.set()
        self._filling = asyncio.get_running_loop().create_task(self._fill())

    async def claim(self) -> Restored:
        """One that runs: .spec.name, .ports. Another takes its place. Raises FloeError where none can be made."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting or self._problem is not None)
                if not self._waiting:
                    assert self._problem is not None
                    problem, self._problem = self._problem, None
                    self._wanted.set()  # the next claim finds it tried again
                    raise problem
                vm, self._problem = self._waiting.pop(0), None  # what failed while others waited is tried again
            asyncio.get_running_loop().call_later(_SOON_S, self._wanted.set)
            try:
                await vm.go_on()
                return vm
            except FloeError:  # it has ended while it waited
                await end(vm)
            except BaseException:  # nobody wants it any more
                await end(vm)
                raise

    async def close(self) -> None:
        """End all that wait."""
        if self._filling is not None:
            self._filling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._filling
        waiting, self._waiting = self._waiting, []
        await asyncio.gather(*(end(vm) for vm in waiting))
        if self._captured is not None:
            self._captured.close()
            self._captured = None

    async def _fill(self) -> None:
        failed = 0
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while len(self._waiting) < self._size and self._problem is None:
                try:
                    vm = await self._made()
                    failed = 0
                except _NoRoom as e:
                    vm, self._problem = None, e
                    self._tell(e.message)
                except (FloeError, OSError) as e:
                    failed += 1
                    if failed < _TRIES:
                        continue
                    failed = 0
                    vm, self._problem = None, e if isinstance(e, FloeError) else VmError(f"no VM can be made: {e}")
                async with self._changed:
                    self._waiting += [vm] if vm is not None else []
                    self._changed.notify_all()
            self._is_short = self._is_short and len(self._waiting) < self._size

    def _tell(self, problem: str) -> None:
        """Once, until all are there again."""
        if not self._is_short:
            self._is_short = True
            self._say(f"{len(self._waiting)} of {self._size} VMs wait: {problem}")

    async def _made(self) -> Restored:
        """One that waits. Raises FloeError, OSError."""
        assert self._captured is not None and self._state is not None
        if not hostmemory.has_room(self._spec.memory):
            raise _NoRoom(f"this machine has no memory left for another copy of {self._spec.name}")
        self._number += 1
        through = registry.create(self._spec.hypervisor).relays_forwards
        spec = spec_from(self._spec, (), f"{self._spec.name}.{self._number}", through=through)
        material = await _material(self._captured)
        vm = Restored(spec, self._state, material, loop=asyncio.get_running_loop(), paused=True)
        vm.say = self._say
        try:
            vm.start()
        except BaseException:
            material.close()
            raise
        try:
            await vm.up()
        except BaseException:
            await end(vm)
            raise
        return vm


async def _material(captured: Captured) -> Material:
    """By a thread, which is waited for come what may: what it reads is closed next. Raises OSError."""
    making = asyncio.ensure_future(asyncio.to_thread(Material.of_captured, captured))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            (await making).close()
        raise
