# SPDX-License-Identifier: MIT
"""Many VMs of images/web in this process and one event loop: started, asked, and ended one by one."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from floe import hostmemory
from floe.bench import guests
from floe.bench.experiment import LeftOut, Options, Turn
from floe.bench.guests import HTTP_PORT
from floe.errors import TimedOut
from floe.vm.vm import Vm

MEMORY = "8M"
_ON_THE_HOST = 96 << 20  # bytes that one may take of this machine, QEMU's own included
_AT_A_TIME = 4


class Crowd:
    """VMs that serve. many() ends them."""

    def __init__(self, elf: Path, accel: str, loop: asyncio.AbstractEventLoop) -> None:
        self._elf, self._accel, self._loop = elf, accel, loop
        self.vms: list[Vm] = []

    def start(self, count: int, turn: Turn) -> list[float]:
        """So many more, some at a time; for each the milliseconds until its first byte. Raises VmError, TimedOut."""
        times: list[float] = []
        while len(times) < count:
            new = [self._start() for _ in range(min(_AT_A_TIME, count - len(times)))]
            try:
                times += self._loop.run_until_complete(self._served(new, turn.left()))
            except TimeoutError:
                raise TimedOut("a web VM did not serve within the round's time") from None
        return times

    def _start(self) -> Vm:
        spec = guests.spec(self._elf, accel=self._accel, memory=MEMORY, ports=[HTTP_PORT])
        vm = Vm(spec, loop=self._loop)
        self.vms.append(vm)
        vm.start()
        return vm

    async def _served(self, vms: list[Vm], deadline_s: float) -> list[float]:
        async with asyncio.timeout(deadline_s):
            return list(await asyncio.gather(*(guests.served(vm) for vm in vms)))

    def rest(self, seconds: float) -> None:
        """Serve them, and do nothing else."""
        self.vms[0].pump(lambda: False, seconds)

    def end(self, vm: Vm) -> None:
        """End one, at once."""
        self.vms.remove(vm)
        vm.close()


@contextmanager
def many(elf: Path, accel: str) -> Iterator[Crowd]:
    """A crowd, empty at first; each VM has some descriptors of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with guests.event_loop() as loop:
            crowd = Crowd(elf, accel, loop)
            try:
                yield crowd
            finally:
                for vm in reversed(crowd.vms):
                    vm.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fitting(counts: Sequence[int], options: Options) -> tuple[tuple[int, ...], tuple[LeftOut, ...]]:
    """The counts of VMs for which this machine has memory; and what is left out: the others, accelerators."""
    found = tuple(count for count in counts if hostmemory.has_room(count * _ON_THE_HOST))
    too_many = [count for count in counts if count not in found]
    left_out = [LeftOut(f"{count} VMs", "this machine has no memory for them") for count in too_many]
    return found, (*guests.accels_left_out(options.accels, "Floe, {}"), *left_out)
