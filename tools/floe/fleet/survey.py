# SPDX-License-Identifier: MIT
"""What there is of a host: whether it answers, or why not; its libvirt, hypervisor, processors, memory, accelerators,
VMs, clock; and which hosts differ in what matters between them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from floe.errors import FloeError
from floe.fleet import connection, why
from floe.fleet.binding import binding
from floe.fleet.connection import Host
from floe.fleet.vms import Vms
from floe.hosts import ssh
from floe.hosts.table import SshHost

CLOCK_S = 5.0  # for a host's clock to be read; nobody waits longer for it than for the host
SKEW_S = 2.0  # from there on a clock that differs is worth a word: certificates, leases and logs do not fit
_LOOK_S = 30.0  # for one that answers: it looks at its QEMU first, once
_ARCHITECTURE = "x86_64"
_KINDS = {"kvm": "kvm", "qemu": "tcg", "xen": "xen"}  # libvirt's types of domains, as floe names them


@dataclass(frozen=True)
class Trial:
    """A VM that was booted to see whether it can be. problem: why not, "" if it was."""

    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class Facts:
    """Of a host that answers, in bytes and seconds. free: with what its kernel gives back at need; skew: how far its
    clock is ahead, None where it is not known."""

    answered_s: float
    libvirt: str
    hypervisor: str  # libvirt's name of it
    version: str
    cpus: int
    memory: int
    free: int
    accelerators: tuple[str, ...]
    vms: int = 0  # of floe's, that run
    skew: float | None = None
    trials: Mapping[str, Trial] = field(default_factory=dict)


Boot = Callable[[Host, str], float]  # boot(host, accelerator): seconds that it took. Raises FloeError


def look(names: Sequence[str], boot: Boot | None = None) -> dict[str, Facts | FloeError]:
    """All hosts at once, in the order of the names; boot: also try each accelerator. Raises NotFound where libvirt's
    binding is missing."""
    return dict(connection.ask_all(names, lambda host: _facts(host, boot)))


def differences(found: Mapping[str, Facts | FloeError]) -> list[str]:
    """Sentences on what of the hosts differs that should not."""
    up = {name: facts for name, facts in found.items() if isinstance(facts, Facts)}
    said = [
        f"{name}'s clock is {abs(facts.skew):.0f} s {'ahead of' if facts.skew > 0 else 'behind'} this machine's"
        for name, facts in up.items()
        if facts.skew is not None and abs(facts.skew) > SKEW_S
    ]
    by_version: dict[str, list[str]] = {}
    for name, facts in up.items():
        by_version.setdefault(f"{facts.hypervisor} {facts.version}", []).append(name)
    if len(by_version) > 1:
        each = "; ".join(f"{_listed(hosts)}: {version}" for version, hosts in by_version.items())
        said.append(f"the hypervisors differ, between which no VM moves ({each})")
    return said


def _facts(host: Host, boot: Boot | None) -> Facts:
    clock = connection.started(partial(_skew, host.place.ssh)) if host.place.ssh is not None else None
    began = time.monotonic()
    host.ask(lambda c: c.getHostname())
    answered = time.monotonic() - began
    facts = host.ask(lambda c: _told(c, answered), deadline_s=_LOOK_S)
    trials = {accel: _trial(host, accel, boot) for accel in facts.accelerators} if boot else {}
    running = sum(vm.alive for vm in Vms(host).all())
    return replace(facts, vms=running, skew=clock.result() if clock else None, trials=trials)


def facts_of(host: Host) -> Facts:
    """What it says at once: without its clock, and no accelerator is tried. Raises HostError."""
    return host.ask(lambda c: _told(c, 0.0), deadline_s=_LOOK_S)


def _told(connected: Any, answered: float) -> Facts:
    """What a connection tells."""
    information = connected.getInfo()
    stats = connected.getMemoryStats(binding().VIR_NODE_MEMORY_STATS_ALL_CELLS)  # KiB
    return Facts(
        answered_s=answered,
        libvirt=why.dotted(connected.getLibVersion()),
        hypervisor=str(connected.getType()),
        version=why.dotted(connected.getVersion()),
        cpus=int(information[2]),
        memory=int(stats.get("total", 0)) << 10,  # of the same view as what is free: of nodes there may be another
        free=sum(int(stats.get(kind, 0)) for kind in ("free", "buffers", "cached")) << 10,
        accelerators=tuple(_accelerators(connected)),
    )


def _accelerators(connected: Any) -> Iterable[str]:
    """What libvirt there believes it can run."""
    for kind, name in _KINDS.items():
        try:
            connected.getDomainCapabilities(None, _ARCHITECTURE, None, kind)
        except binding().libvirtError:
            continue  # that is its way to say no
        yield name


def _trial(host: Host, accel: str, boot: Boot) -> Trial:
    try:
        return Trial(boot(host, accel))
    except FloeError as e:
        return Trial(0.0, e.message)


def _skew(host: SshHost) -> float | None:
    """How far the clock there is ahead; None where no shell tells."""
    try:
        done = subprocess.run(
            ssh.argv(host, "date +%s"), capture_output=True, timeout=CLOCK_S, check=True,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        return int(done.stdout[:20]) + 0.5 - time.time()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
