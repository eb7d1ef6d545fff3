# SPDX-License-Identifier: MIT
"""Starts detached VMs: the folder, what is written down about it, and the keeper."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from floe import confined
from floe.detached import parent, refused
from floe.errors import FloeError, VmError
from floe.hostnet import taps
from floe.hypervisor import registry
from floe.image import elf
from floe.snapshot.file import Snapshot
from floe.snapshot.material import Material
from floe.spec import disks, handover, network
from floe.spec.restart import parse_restart
from floe.spec.vmspec import VmSpec, Wires
from floe.store import vmfolder
from floe.store.records import FAMILY_PLACE, PLACES, Names, Spec
from floe.store.vmfolder import Folder, Process

_WIRES = Wires(*PLACES, listening=True)
_KILL_ROUNDS, _KILL_S = 3, 5.0
_TAIL = 10  # lines of the keeper's own messages


def launch(
    spec: VmSpec,
    *,
    app: str,
    name: str | None,
    console_port: int | None = None,
    restart: str = "no",
    command: Sequence[str] = (),
) -> Folder:
    """Start a detached VM; returns when its hypervisor runs. `name` None: one made from app's.
    `console_port`: of 127.0.0.1, for the console, 0 for any free one. restart: as --restart has it. command: the
    words of a `floe run` that is the same wherever it is typed, for floe service.

    Raises FloeError, with the last that hypervisor and guest said if it ended at once."""
    policy = parse_restart(restart)
    taps.check_host(spec.cards)
    disks.provide(spec.disks)
    blobs = handover.read(spec.secrets, spec.env_files, dict(spec.asked))
    folder = vmfolder.create(name, Path(app).stem or "vm")
    try:
        shutil.copyfile(spec.elf, folder.image)
        told = _spec(folder, spec, app)
        told = msgspec.structs.replace(told, console_port=console_port, restart=str(policy), command=list(command))
        begin(folder, told, spec, blobs)
    except OSError as e:
        _abandon(folder)
        raise _unwritten(folder, e) from e
    except BaseException:
        _abandon(folder)
        raise
    return folder


def go_on(
    spec: VmSpec,
    snapshot: Snapshot,
    *,
    name: str | None,
    base: str | None = None,
    console_port: int | None = None,
    waits: bool = False,
) -> Folder:
    """Start a detached VM that goes on from a snapshot, as vm.restored.spec_of() has it; `name` and `console_port` as
    launch() has them. base: from which a name is made. waits: until it is claimed (pools.py). Raises FloeError."""
    app = snapshot.content.app
    folder = vmfolder.create(name, base or Path(app).stem or "vm")
    material: Material | None = None
    try:
        material = Material.of(snapshot)
        folder.image.write_bytes(snapshot.read("elf"))
        spec = replace(spec, disks=material.disks.disks)
        told = _spec(folder, spec, app)
        told = msgspec.structs.replace(
            told,
            console_port=console_port,
            origin=snapshot.shown,
            snapshot=snapshot.fd,
            pool=snapshot.identity if waits else "",
            handed=material.fds,
        )
        begin(folder, told, spec, snapshot.state.blobs)
    except OSError as e:
        _abandon(folder)
        raise _unwritten(folder, e) from e
    except BaseException:
        _abandon(folder)
        raise
    finally:
        if material is not None:
            material.close()
    return folder


def _unwritten(folder: Folder, e: OSError) -> FloeError:
    return FloeError(f"cannot write {folder.path}: {e.strerror}", hint="df, or another XDG_STATE_HOME")


def begin(folder: Folder, told: Spec, spec: VmSpec, blobs: Sequence[handover.Blob]) -> None:
    """Write down what is started, and start it. Of one that goes on from a snapshot the first of told.handed is its
    memory. Raises OSError, FloeError."""
    chosen = registry.create(spec.hypervisor)
    switches = (*spec.switches, "@BOOTED@")  # parent.py says there why the guest was started again
    own = replace(spec, elf=folder.image, switches=switches, name=folder.name)
    wires = _WIRES if spec.children is None else replace(_WIRES, family=FAMILY_PLACE)
    brought: list[int] = []
    if told.snapshot >= 0:
        brought = [*told.handed, told.snapshot]
        wires = replace(wires, copied=True, ram=f"/dev/fd/{brought[0]}", once=parent.ONCE)
    for program, name in ((parent.__file__, Names.PROGRAM), (confined.__file__, Names.CONFINED)):
        shutil.copyfile(program, folder.path / name)
    try:
        with chosen.command(own, wires, blobs) as (argv, fds), chosen.confinement(own, wires, argv) as limits:
            # A copy is told its addresses, which are known from here on; else they are given at each start.
            placed = chosen.placed_cards(spec.cards) if told.snapshot >= 0 else spec.cards
            folder.plan = replace(spec, elf=folder.image, cards=placed)
            handed = [*fds, *brought]
            if limits is not None:
                handed += [limits.ruleset] if limits.ruleset >= 0 else []
                told = msgspec.structs.replace(told, confined=f"{limits.ruleset},{limits.kept}", egress=limits.egress)
                refused.provide(folder, limits.egress)
            folder.spec = msgspec.structs.replace(told, argv=argv, handed=handed, ports=_ports(spec))
            start_keeper(folder, inherited=handed)
    finally:
        chosen.release()


def _spec(folder: Folder, spec: VmSpec, app: str) -> Spec:
    return Spec(
        name=folder.name,
        app=app,
        profile=str(elf.read(folder.image).content["profile"]),
        argv=[],
        memory=spec.memory,
        accel=spec.accel,
        machine=spec.machine,
        ports=[],
        created=time.time(),
        sockets=vmfolder.sockets_folder(folder),
        leftovers=[str(path.absolute()) for path in network.socket_paths(spec.cards)],
        hypervisor=spec.hypervisor,
    )


def _ports(spec: VmSpec) -> list[dict[str, Any]]:
    return [forward.told() for forward in spec.forwards]


def _abandon(folder: Folder) -> None:
    """A start that failed leaves nothing."""
    kill(folder)
    folder.remove()


def kill(folder: Folder) -> None:
    """End all processes of a VM at once; the parent first, which would replace the keeper."""
    for _ in range(_KILL_ROUNDS):  # one of them may have started another one just then
        alive = [process for process in (folder.parent, folder.keeper, folder.vm) if process and process.alive]
        for process in alive:
            process.signal(signal.SIGKILL)
        for process in alive:
            _wait_for_end(process)


def _wait_for_end(process: Process) -> None:
    with contextlib.suppress(OSError):
        fd = os.pidfd_open(process.pid)
        try:
            if process.alive:
                select.select([fd], [], [], _KILL_S)
        finally:
            os.close(fd)


def start_keeper(folder: Folder, *, adopt: bool = False, inherited: Sequence[int] = ()) -> None:
    """Start the VM's keeper and wait for its word. `inherited`: descriptors for the hypervisor. Raises VmError."""
    ours, theirs = os.pipe()
    argv = [sys.executable, "-P", "-m", "floe.detached.keeper", str(folder.path), "--ready", str(theirs)]
    argv += ["--adopt"] if adopt else []
    argv += ["--inherited", *map(str, inherited)] if inherited else []
    try:
        keeper = subprocess.Popen(
            argv,
            pass_fds=[theirs, *inherited],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read()
    if not said:
        keeper.wait()
        raise VmError(
            f"the keeper of {folder.name} died at once", evidence=_tail(folder.keeper_log), hint="floe doctor"
        )
    answer = json.loads(said)
    if "error" in answer:
        keeper.wait()
        raise VmError(answer["error"], evidence=answer.get("evidence", ""), hint=answer.get("hint", ""))


def _tail(path: Path) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-_TAIL:])
    except OSError:
        return ""
