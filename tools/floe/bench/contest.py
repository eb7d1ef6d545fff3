# SPDX-License-Identifier: MIT
"""Who takes part where servers are compared: Floe with each accelerator, and the peers that serve the same."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from floe.bench import linux, peers, running, spaces, surroundings
from floe.bench.experiment import Contender, LeftOut, Options, Turn
from floe.bench.guests import LABELS, accels_left_out
from floe.bench.peers import Peer
from floe.bench.running import App, Endpoint
from floe.errors import FloeError

_BOOT_S = 60.0
Start = Callable[[float], AbstractContextManager[Endpoint]]  # to a server, by the end of the time for its start
Make = Callable[[str, Start, str], Contender]  # from its name, its start, and the name that it is compared with


def start_by(turn: Turn) -> float:
    """Until when a server may start, of time.monotonic()."""
    return min(turn.end, turn.end - turn.left() + _BOOT_S)


def titled(who: str, what: str) -> str:
    """A contender's name."""
    return f"{who}: {what}" if what else who


def without_taps(lost: str = "taps", rest: str = "all") -> tuple[bool, list[LeftOut]]:
    """Whether servers are behind taps here; and where not, what is lost by that, and that the rest is elsewhere."""
    if why := spaces.why_none():
        return False, [LeftOut(lost, f"{why}; {rest} is on loopback, VMs behind QEMU's user network")]
    return True, []


def of_one(
    app: App, options: Options, make: Make, *, lost: str = "taps", rest: str = "all"
) -> tuple[list[Contender], list[LeftOut]]:
    """contenders() of an experiment that has no other app. lost, rest: as without_taps() has them."""
    tap, left_out = without_taps(lost, rest)
    found, without = contenders(app, "", options, tap, make)
    return found, left_out + without


def contenders(app: App, what: str, options: Options, tap: bool, make: Make) -> tuple[list[Contender], list[LeftOut]]:
    """All that serve an app, and who does not, and why. They are compared with the peer that is a process and comes
    first by name, but MicroPython's where it is one. what: for their names. Raises ConfigError, and NotFound for a
    peer's file."""
    found: list[tuple[str, Start, str]] = []  # with its command
    left_out = list(accels_left_out(options.accels, titled("Floe, {}", what)))
    for accel in options.accels:
        ways = [("", tap)] + [(", user network", False)] * (tap and not options.quick)
        for name, with_tap in ways:
            ours = partial(running.ours, app, accel, tap=with_tap)
            found.append((f"Floe, {LABELS[accel]}{name}", ours, running.command(app, accel, tap=with_tap)))
        if tap and options.quick:
            left_out.append(LeftOut(titled(f"Floe, {LABELS[accel]}, user network", what), "not in --quick"))
    ceiling = ""
    for peer in peers.chosen(app.service, options.peers):
        if options.quick and (peer.kind == "linux" or not all(map(linux.is_there, peer.programs))):
            left_out.append(LeftOut(titled(peer.title, what), "--quick fetches nothing"))
            continue
        try:
            options.say(f"{app.service}: preparing {peer.name}")
            running.prepare(peer, app, tap=tap)
        except FloeError as e:
            left_out.append(LeftOut(titled(peer.title, what), e.message))
            continue
        if peer.kind == "process" and (not ceiling or peer.name == "micropython"):
            ceiling = peer.title
        accels = accels_of(peer, options)
        if peer.kind == "linux" and accels != options.accels:
            why = "Debian's kernel does not start under this machine's KVM"
            left_out.append(LeftOut(titled(f"{peer.title}, KVM", what), why))
        for accel in accels:
            name = peer.title if peer.kind == "process" else f"{peer.title}, {LABELS[accel]}"
            found.append((name, partial(running.theirs, peer, app, accel, tap=tap), shlex.join(peer.command)))
    compared = titled(ceiling, what) if ceiling else ""
    made = []
    for name, start, command in found:
        made.append(replace(make(titled(name, what), start, "" if name == ceiling else compared), command=command))
    return made, left_out


def accels_of(peer: Peer, options: Options) -> tuple[str, ...]:
    """A process has none to choose."""
    if peer.kind == "process":
        return options.accels[:1]
    return linux_accels(options) if peer.kind == "linux" else options.accels


def linux_accels(options: Options) -> tuple[str, ...]:
    """A kernel of Debian's needs privileged code to run as on a processor."""
    if "kvm" in options.accels and not surroundings.kvm_kind().startswith("on hardware"):
        return tuple(accel for accel in options.accels if accel != "kvm") or ("tcg",)
    return options.accels
