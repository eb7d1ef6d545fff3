# SPDX-License-Identifier: MIT
"""A VM's state outside of any hypervisor: its memory as a file, the rest of it as bytes, its disks as files. The way
there is a hypervisor whose guest's memory is that file: it takes the state as a copy's does, and never runs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from floe.errors import FloeError, VmError
from floe.family.copies import PrivateDisks
from floe.family.frames import Kind
from floe.family.member import CARD_KINDS, Machine, MakeCopy, Member
from floe.family.pipes import Kept
from floe.family.standby import Standby
from floe.spec.vmspec import VmSpec


@dataclass(frozen=True)
class Captured:
    """A VM as of one moment, for whoever calls close() at the end."""

    spec: VmSpec
    ram: int  # descriptor of a file in memory, of spec.memory bytes
    devices: bytes  # all else of the state, for Hypervisor.load()
    disks: PrivateDisks  # those that are written, in the order of spec.disks
    version: str  # of the hypervisor
    pipes: tuple[Kept, ...]  # of which it holds an end

    def close(self) -> None:
        """Let go of memory and disks."""
        os.close(self.ram)
        self.disks.close()


class Capture:
    """The first VM's state on its way out. last: it does not go on."""

    def __init__(self, member: Member, make: MakeCopy, loop: asyncio.AbstractEventLoop, *, last: bool) -> None:
        """Start the hypervisor. Raises FloeError, OSError."""
        original = member.machine
        _check(original)
        self._member = member
        self._last = last
        self._loop = loop
        self._begun = asyncio.Event()  # the guest stands where it can be copied; or there will be no state
        self._sent: asyncio.Future[tuple[Kept, ...]] = loop.create_future()
        self._spec = original.spec
        self._over = asyncio.Event()
        self._ram = os.memfd_create("floe-ram", os.MFD_CLOEXEC)
        self._disks = PrivateDisks(())
        try:
            os.ftruncate(self._ram, self._spec.memory)
            self._disks = PrivateDisks(self._spec.disks)
            machine = make(original, self._spec.name, self._disks)
            machine.spec = replace(machine.spec, forwards=())
            machine.ram = self._ram
            self._waiting = Standby(machine, self._disks, loop)
        except BaseException:
            os.close(self._ram)
            self._disks.close()
            raise
        self._waiting.take()
        self._waiting.on_over = lambda status: self._ended()

    async def result(self, deadline_s: float) -> Captured:
        """Ask the guest, which may take so long until it can be copied, and wait for all of it. Raises VmError."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._waiting.up()
                if not self._last:
                    await self._member.greeted.wait()
                    self._member.send(Kind.SNAPSHOT)
                await self._begun.wait()
        except TimeoutError:
            what = "did not reach vm.ready()" if self._last else "did not come to a point between two steps"
            raise VmError(f"the script of {self._member.name} {what} within {deadline_s:g} s") from None
        pipes = await asyncio.shield(self._sent)  # let_out() has deadlines of its own
        machine = self._waiting.machine
        devices = await machine.devices()
        disks, self._disks = self._disks, PrivateDisks(())
        ram, self._ram = self._ram, -1
        return Captured(self._spec, ram, devices, disks, machine.version, pipes)

    async def let_out(self, pipes: Callable[[], tuple[Kept, ...]], deadline_s: float) -> bool:
        """The guest asks for it: whether all went well. pipes: its own. deadline_s: for each step; as long as its
        disks are copied, for each piece of them."""
        member = self._member
        if self._sent.done():
            return False
        self._begun.set()
        try:
            async with asyncio.timeout(deadline_s) as limit:

                def progress() -> None:
                    with contextlib.suppress(RuntimeError):  # the loop is closed
                        self._loop.call_soon_threadsafe(_extend, limit, self._loop.time() + deadline_s)

                member.send(Kind.PREPARED)
                member.prepared = True
                member.hold()
                kept = pipes()  # it has read what was sent before PREPARED, and hears nothing behind it
                with await self._waiting.source() as sock:
                    await member.frozen.wait()
                    await member.machine.send_copy(sock, lambda: self._disks.fill(self._spec.disks, progress))
        except (FloeError, OSError, TimeoutError) as e:
            self.fail(e if isinstance(e, FloeError) else VmError(str(e) or "the guest's state took too long"))
        except BaseException:
            self.fail(VmError("the guest's state was given up"))
            raise
        if not self._sent.done():
            self._sent.set_result(kept)
        return self._sent.exception() is None

    async def close(self) -> None:
        """End the hypervisor, and wait for that."""
        self.fail(VmError("nobody waits for the state any more"))
        self._sent.exception()  # was told, or nobody is there to tell
        self._waiting.machine.end_at_once()
        await self._over.wait()

    def fail(self, error: FloeError) -> None:
        """There will be no state, unless it is out already."""
        if not self._sent.done():
            self._sent.set_exception(error)
        self._begun.set()

    def _ended(self) -> None:
        if self._waiting.channel is not None:
            self._waiting.channel.close()
        self._disks.close()
        if self._ram >= 0:
            os.close(self._ram)
            self._ram = -1
        self.fail(VmError("the hypervisor that was to take the state has ended"))
        self._over.set()


def _extend(limit: asyncio.Timeout, when: float) -> None:
    """Unless it is over."""
    with contextlib.suppress(RuntimeError):
        limit.reschedule(when)


def _check(machine: Machine) -> None:
    """Raises VmError for a VM whose state cannot be had."""
    if not machine.copies():
        raise VmError("its hypervisor does not copy a running VM")
    for card in machine.spec.cards:
        if card.kind not in CARD_KINDS:
            raise VmError(f"a VM with a network card of kind {card.kind} is not copied", hint="--net user")


def not_kept(number: int) -> VmError:
    """Why a guest that was asked has no snapshot. number: its -errno, as an unsigned one."""
    if number == 2**32 - errno.EAGAIN:
        return VmError("the script has too much to do for a snapshot just now", hint="try it again")
    return VmError("the script does not let itself be copied", hint="its log says why")
