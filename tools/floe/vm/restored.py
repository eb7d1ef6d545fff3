# SPDX-License-Identifier: MIT
"""A VM that goes on from a snapshot: another machine than the one it was made of, and the first of a family of its own.
A VM that is reset boots its image anew, and keeps its disks."""

from __future__ import annotations

import asyncio
import signal
import socket
import uuid
from collections.abc import Sequence
from dataclasses import astuple, replace

from floe.errors import FloeError, UsageError, VmError
from floe.hypervisor import registry
from floe.snapshot.file import Snapshot, State
from floe.snapshot.material import Material
from floe.spec import disks, ports
from floe.spec.vmspec import VmSpec
from floe.vm.vm import Vm

_GO_S = 5.0
_HELD_S = 20.0  # from the start of a copy that is to wait to where it does


def check(snapshot: Snapshot, **asked: str) -> None:
    """Raises UsageError where it cannot go on here, with all that differs. asked: what the user wants to be so; VmError
    for an accelerator that does not serve; FloeError for a machine that no snapshot has."""
    plan = snapshot.content.plan
    if plan.hypervisor not in registry.HYPERVISORS:
        raise UsageError(f"{snapshot.shown} was made on a host", hint="floe run --host HOST --from FILE")
    hypervisor = registry.create(plan.hypervisor)
    # They become words of a command line, and a snapshot of ours never has others.
    fields = [*map(astuple, plan.cards), *map(astuple, plan.forwards)]
    words = [word for each in fields for word in each if isinstance(word, str)]
    is_ours = plan.machine in hypervisor.machines and all(card.kind == "user" for card in plan.cards)
    if (
        not is_ours
        or any("," in word for word in words)
        or any(f.protocol not in ("tcp", "udp") for f in plan.forwards)
    ):
        raise FloeError(f"{snapshot.shown} was not made by floe snapshot", hint="make it anew: floe snapshot NAME FILE")
    hypervisor.choose_accel(plan.accel)
    if "hypervisor" in asked:
        asked["hypervisor"] = registry.create(asked["hypervisor"]).label
    here = hypervisor.state_key(plan) | {name: value for name, value in asked.items() if value}
    snapshot.check_alike(here, "here")
    disks.check_host([disk for disk in plan.disks if disk.readonly])


def spec_of(snapshot: Snapshot, forwards: Sequence[ports.Forward], name: str, own_uuid: str = "") -> VmSpec:
    """The VM that goes on, without what Material brings. forwards: those that were asked for; each port of the
    snapshot's that is not among them gets any free one. Raises what ports.claim() does."""
    plan = snapshot.content.plan
    through = registry.create(plan.hypervisor).relays_forwards
    return spec_from(plan, forwards, name, own_uuid=own_uuid, through=through)


def spec_from(
    plan: VmSpec, forwards: Sequence[ports.Forward], name: str, *, own_uuid: str = "", through: bool = False
) -> VmSpec:
    """As spec_of(), of the VM that a state comes from."""
    asked = {(f.guest_port, f.protocol) for f in forwards}
    others = {(f.address, f.guest_port, f.protocol): replace(f, host_port=0, through=0) for f in plan.forwards}
    wanted = [*forwards, *(f for key, f in others.items() if key[1:] not in asked)]
    return replace(
        plan,
        name=name,
        uuid=own_uuid or str(uuid.uuid4()),
        forwards=ports.claim(wanted, through=through),
        capture=None,
    )


class Restored(Vm):
    """Entering starts it. `paused`: its script stands until go_on(), in a machine that is its own by then."""

    def __init__(
        self,
        spec: VmSpec,
        state: State,
        material: Material,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        paused: bool = False,
    ) -> None:
        """spec: as spec_of() has it. The material becomes ours."""
        super().__init__(material.given_to(spec), loop=loop)
        self._state = state
        self._material = material
        self._paused = paused
        self._blobs = tuple(state.blobs)
        self._is_copy = True
        self._inherited = material.fds
        self._ram = f"/dev/fd/{material.ram}"
        self._restoring: asyncio.Task[None] | None = None

    def _provide(self) -> None:
        """It has all in its material."""

    def _attach(self, sockets: list[socket.socket]) -> None:
        super()._attach(sockets)
        if self._is_copy:
            self._is_copy, self._ram = False, ""  # the next start is one of its image
            self._restoring = self.loop.create_task(self._restore())

    async def _restore(self) -> None:
        try:
            await self._hypervisor.load(self._state.devices, self._state.version)
            await self._hypervisor.run_copy()
            self.spec = replace(self.spec, cards=self._hypervisor.placed_cards(self.spec.cards))
            assert self.family is not None
            self.family.go_on(self._state.pipes, hold=self._paused)
            if self._paused:
                await self.family.held(_HELD_S)
        except FloeError as e:
            self._on_event("FAILED", {"message": e.message, "evidence": e.evidence, "hint": e.hint})
            self._kill(signal.SIGKILL)

    async def up(self) -> None:
        """Wait until its state is there. Raises VmError."""
        assert self._restoring is not None
        await asyncio.shield(self._restoring)
        if self._ending.refusal is not None:
            raise self._ending.refusal

    async def go_on(self) -> None:
        """Let its script go on, if it was to be paused. Raises VmError."""
        await self.up()
        assert self.family is not None
        going, ended = asyncio.ensure_future(self.family.let_go()), asyncio.ensure_future(self.ended())
        try:
            await asyncio.wait([going, ended], timeout=_GO_S, return_when=asyncio.FIRST_COMPLETED)
            if not going.done():
                raise VmError(f"{self.spec.name} has ended while it waited, or does not answer")
        finally:
            going.cancel()
            ended.cancel()

    def _release(self) -> None:
        super()._release()
        if self.outcome or self._failure:
            self._material.close()
