# SPDX-License-Identifier: MIT
"""Starts a detached VM that has ended: the same name, image, ports, disks, addresses, variables and policy. Secrets and
env files are read anew, from where they were; what was taken from a pipe is gone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from floe.detached import control, launch
from floe.errors import FloeError, ImageRefused, NotFound
from floe.hostnet import taps
from floe.hypervisor import registry
from floe.image import elf, signature
from floe.spec import disks, egress, handover, ports
from floe.spec.vmspec import VmSpec
from floe.store import vmfolder
from floe.store.records import End, Life, Names
from floe.store.vmfolder import Folder
from floe.stream.logfile import BoundedLog

_PIPE = re.compile(r"/proc/[0-9]+/fd/[0-9]+")  # handover.py's for what can be read once


def start(name: str) -> Folder:
    """Start it; returns when its hypervisor runs. Raises NotFound, and FloeError for what is gone since."""
    folder = vmfolder.find(name)
    with _alone(folder):
        if control.status(folder).alive:
            raise FloeError(f"{name} is running already", hint="floe ps")
        plan, origin = folder.plan, folder.spec.origin
        if origin:
            raise FloeError(
                f"{name} went on from a snapshot, and its memory and disks ended with it",
                hint=f"floe rm {name} && floe run --from {shlex.quote(origin)} --detach --name {name}",
            )
        if plan is None:
            raise FloeError(
                f"{name} was started by an older floe, which did not write down what a start takes",
                hint=f"floe rm {name} && floe run --detach --name {name} {shlex.quote(folder.spec.app)}",
            )
        try:
            plan, blobs = _checked(folder, plan)
        except FloeError as e:
            e.message = f"{name} cannot be started: {e.message}"
            e.hint = (
                f"mend that, and again: floe start {name}\nor floe rm {name}, and floe run --detach with other options"
            )
            raise
        _start(folder, plan, blobs)
    return folder


def _checked(folder: Folder, plan: VmSpec) -> tuple[VmSpec, Sequence[handover.Blob]]:
    """The plan as this machine can carry it out now, and what the guest is handed over."""
    if not folder.image.exists():
        raise NotFound(f"its image is gone: {folder.image}")
    elf.read(folder.image)
    if plan.verified and signature.digest(folder.image) != plan.verified:
        raise ImageRefused(f"its image was changed after it was verified: {folder.image}")
    taken = [what for what in (*(p for _, p in plan.secrets), *plan.env_files) if _PIPE.fullmatch(str(what))]
    if taken:
        names = [f"--secret {name}" for name, path in plan.secrets if path in taken]
        names += ["--env-file"] * (len(taken) - len(names))
        raise FloeError(f"{', '.join(names)} came from a pipe, which is kept nowhere")
    hypervisor = registry.create(plan.hypervisor)
    accel, _ = hypervisor.choose_accel(plan.accel)
    hypervisor.before_claim(forwards=bool(plan.forwards), disks=bool(plan.disks))
    # A disk that was made at the first start has data now: one that is gone is not replaced by an empty one.
    disks.check_host([replace(disk, size=0) for disk in plan.disks])
    taps.check_host(plan.cards)
    blobs = handover.read(plan.secrets, plan.env_files, dict(plan.asked))
    asked = [replace(forward, through=0) for forward in plan.forwards]
    forwards = ports.claim(asked, through=hypervisor.relays_forwards)
    return replace(plan, accel=accel, forwards=forwards, egress=egress.pinned(plan.egress)), blobs


def _start(folder: Folder, plan: VmSpec, blobs: Sequence[handover.Blob]) -> None:
    told = folder.spec
    try:
        if not os.path.isdir(told.sockets):  # in a folder that a restart of the host has emptied
            told = msgspec.structs.replace(told, sockets=vmfolder.sockets_folder(folder))
        folder.blank()
        folder.life = Life()
        if told.console_port:  # asked for by its number: no other one will do
            (folder.path / Names.ENDPOINTS).unlink(missing_ok=True)
        log = BoundedLog(folder.console_log)
        log.note("started by floe start")
        log.close()
        launch.begin(folder, msgspec.structs.replace(told, accel=plan.accel), plan, blobs)
    except OSError as e:
        problem = f"cannot write {folder.path}: {e.strerror}"
        _abandon(folder, problem)
        raise FloeError(problem, hint="df, or another XDG_STATE_HOME") from e
    except BaseException as e:
        _abandon(folder, e.message if isinstance(e, FloeError) else "its start was interrupted")
        raise


def _abandon(folder: Folder, problem: str) -> None:
    """A start that failed leaves a VM that has ended."""
    launch.kill(folder)
    with contextlib.suppress(OSError):
        folder.end = End(code=None, cause="failed", at=time.time(), problem=problem)


@contextlib.contextmanager
def _alone(folder: Folder) -> Iterator[None]:
    """No other floe starts this VM meanwhile."""
    fd = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FloeError(f"{folder.name} is being started already", hint="floe ps") from None
        yield
    finally:
        os.close(fd)
