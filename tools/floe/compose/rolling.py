# SPDX-License-Identifier: MIT
"""An update of VMs that serve together, one after the other: one more starts, of the new kind; once it is ready, an old
one gets no new connections, ends when it has none left, and starts again as a new one; and so on. Never do fewer serve
than before. At the first failure it halts, and those that are left of the old ones go on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from floe.compose import stack as stacks
from floe.compose.steps import Step
from floe.compose.workers import Workers
from floe.detached import usage
from floe.errors import FloeError, Interrupted

# A name's address is believed for a second by who has asked (hostnet/names.py), and by images/web for two; and a bit.
FORGOTTEN_S = 2.5
_LOOK_S = 0.2


class UpdateHalted(FloeError):
    """A new VM did not become ready. What served before the update, serves."""

    def __init__(self, vm: str, old: Sequence[str], cause: FloeError) -> None:
        left = f"\nas before the update: {', '.join(old)}" if old else ""
        hint = "floe compose up goes on with the update" if not cause.hint else f"{cause.hint}\nfloe compose up goes on"
        super().__init__(
            f"the update of {vm} is halted: {cause.message}", evidence=f"{cause.evidence}{left}".strip("\n"), hint=hint
        )
        self.exit_code = cause.exit_code


class Hands(Protocol):
    """What an update does with VMs. All raise FloeError."""

    called_off: threading.Event

    def begin(self, step: Step) -> None:
        """Start the VM of a step that asks for it, which nobody asks yet; returns when it is ready."""

    def admit(self, name: str, *, serving: bool) -> None:
        """Have the name of a VM's table stand for it, or no more."""

    def end(self, name: str) -> None:
        """End and forget a VM."""

    def tell(self, text: str) -> None:
        """A line for the user."""


class Labelled(Protocol):
    """What halting() asks of a step."""

    @property
    def label(self) -> str: ...


S = TypeVar("S", bound=Labelled)


@contextlib.contextmanager
def halting(key: str, updates: Sequence[S]) -> Iterator[list[S]]:
    """Gives a list of the steps, from which those are to be taken that are done. Raises UpdateHalted for an error."""
    left = list(updates)
    try:
        yield left
    except Interrupted:
        raise
    except FloeError as e:
        raise UpdateHalted(key.removeprefix("vm."), [step.label for step in left], e) from e


def roll(hands: Hands, spare: Step, updates: list[Step], drain_s: float) -> None:
    """Carry out the steps of one table that are updates, with a spare VM; what is left in the list is not done. Raises
    what the hands raise, and Interrupted."""
    _begin(hands, spare)
    while updates:
        step = updates[0]
        retire(hands, {step.name: step.label}, drain_s)
        del updates[0]
        _begin(hands, step)
    retire(hands, {spare.name: spare.label}, drain_s)
    hands.tell(f"{spare.label} is removed: the update is done")


def _begin(hands: Hands, step: Step) -> None:
    if hands.called_off.is_set():
        raise Interrupted(f"{step.label} was not started")
    hands.begin(step)
    hands.admit(step.name, serving=True)
    if step.action != "keep":
        hands.tell(f"{step.label} is {'updated' if step.action == 'update' else 'started'}: {step.reason}")


def retire(hands: Hands, names: dict[str, str], drain_s: float) -> None:
    """End VMs, given with their labels, once nobody is connected to them, or after so many seconds. Raises Interrupted
    when it is called off before; they serve as they did then."""
    try:
        for name in names:
            hands.admit(name, serving=False)
        connected = _drain(hands, list(names), drain_s)
    except BaseException:
        for name in names:
            hands.admit(name, serving=True)
        raise
    for name, count in connected.items():
        if count:
            what = "a connection" if count == 1 else f"{count} connections"
            hands.tell(f"{names[name]} has {what} still after {drain_s:g} s, and is ended")
    with Workers(stacks.WORKERS) as pool:
        for ending in [pool.submit(hands.end, name) for name in names]:
            ending.result()


def _drain(hands: Hands, names: Sequence[str], drain_s: float) -> dict[str, int]:
    """How many connections each is left with; those without a network are left out."""
    begin = time.monotonic()
    watch = usage.Watch(names)
    try:
        while True:
            found = watch.sample()
            known = {name: count for name in names if (count := _connections(found, name)) is not None}
            least = min(FORGOTTEN_S, drain_s) if known else 0.0
            gone = time.monotonic() - begin
            if gone >= drain_s or (gone >= least and not any(known.values())):
                return known
            if hands.called_off.wait(_LOOK_S):
                raise Interrupted(f"{', '.join(names)} was not ended")
    finally:
        watch.close()


def _connections(found: Sequence[usage.Usage], name: str) -> int | None:
    """Those of a VM and its children, together; 0 where it is not known. None: it has ended, or has no network."""
    own = [u.guest for u in found if u.status.spec.name == name or u.status.spec.name.startswith(f"{name}.")]
    told = [0 if guest is None else guest.connections for guest in own]
    counts = [count for count in told if count is not None]
    return sum(counts) if counts else None
