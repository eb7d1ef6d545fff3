# SPDX-License-Identifier: MIT
"""`floe hosts`: whether other hosts answer, and what they have."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from floe.build import pipeline
from floe.cli.vms import table as show
from floe.errors import EXIT_OK, EXIT_REFUSED, FloeError, NotFound
from floe.fleet import survey
from floe.fleet.connection import Host
from floe.fleet.driver import Elsewhere
from floe.fleet.mark import Mark
from floe.fleet.survey import Boot, Facts
from floe.fleet.vms import Order, Vms
from floe.hosts import table
from floe.spec.runoptions import RunOptions
from floe.vm.plan import plan

_TRIAL = "floe-trial.py"  # a VM's name comes of it
_TRIAL_S = 20.0  # for emulation on a busy host


@click.command(short_help="Whether other hosts answer, and what they have.")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--no-boot", is_flag=True, help="Do not try the accelerators.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def command(names: tuple[str, ...], no_boot: bool, as_json: bool) -> int:
    """Ask all hosts of `floe host ls`, or those named, at once: versions, processors, memory, our VMs, clocks, and with
    each accelerator how long a small VM takes from its start to its end.

    Exit code 0 if all of them answer and boot, 126 if not."""
    known = table.read()
    for name in names:
        if name not in known:
            raise NotFound(f"there is no host {name}", hint="floe host ls")
    wanted = list(dict.fromkeys(names)) or list(known)
    with _trial_of(wanted and not no_boot) as boot:
        found = survey.look(wanted, boot) if wanted else {}
    problems = list(_problems(found))
    if as_json:
        click.echo(json.dumps([_told(name, known[name].uri, facts) for name, facts in found.items()], indent=2))
        return EXIT_REFUSED if problems else EXIT_OK
    rows = [("NAME", "STATE", "LIBVIRT", "HYPERVISOR", "CPUS", "MEMORY", "FREE", "VMS", "BOOTS")]
    show(rows + [_row(name, facts) for name, facts in found.items()])
    for error in problems:
        click.echo(error.render(), err=True)
    for difference in survey.differences(found):
        click.echo(f"floe: {difference}", err=True)
    return EXIT_REFUSED if problems else EXIT_OK


@contextmanager
def _trial_of(wanted: object) -> Iterator[Boot | None]:
    """What boots a VM that ends at once."""
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="floe-") as folder:
        app = Path(folder) / _TRIAL
        app.write_text("pass\n")
        yield partial(_boot, pipeline.build(app).path)


def _boot(image: Path, host: Host, accel: str) -> float:
    spec, _ = plan(image, RunOptions(accel=accel), hypervisor=Elsewhere(host))
    vms, content = Vms(host), image.read_bytes()
    vms.store.bring(content)
    began = time.monotonic()
    vm = vms.start(Order(spec, content, Mark(app=_TRIAL, profile="sealed", image="", memory=spec.memory)))
    try:
        ended = vms.wait(vm.name, _TRIAL_S)
        seconds = time.monotonic() - began
    finally:
        vms.remove(vm.name, force=True)
    if ended.alive:
        raise FloeError(f"a VM did not end within {_TRIAL_S:g} s")
    if ended.code != EXIT_OK:
        raise FloeError(f"a VM ended with {ended.code} ({ended.cause})")
    return seconds


def _problems(found: dict[str, Facts | FloeError]) -> Iterator[FloeError]:
    for name, facts in found.items():
        if isinstance(facts, FloeError):
            yield facts
            continue
        for accel, trial in facts.trials.items():
            if trial.problem:
                yield FloeError(f"{name} does not boot with {accel}: {trial.problem}", hint=f"on {name}: floe doctor")


def _row(name: str, facts: Facts | FloeError) -> tuple[str, ...]:
    if isinstance(facts, FloeError):
        return (name, "down", *"-------")
    boots = [f"{accel} {_took(facts, accel)}".rstrip() for accel in facts.accelerators]
    return (
        name, "up", facts.libvirt, f"{facts.hypervisor} {facts.version}", str(facts.cpus),
        _gib(facts.memory), _gib(facts.free), str(facts.vms), ", ".join(boots) or "-",
    )  # fmt: skip


def _took(facts: Facts, accel: str) -> str:
    trial = facts.trials.get(accel)
    if trial is None:
        return ""
    return "FAILS" if trial.problem else f"{trial.seconds:.1f}s"


def _told(name: str, uri: str, facts: Facts | FloeError) -> dict[str, object]:
    if isinstance(facts, FloeError):
        return {"name": name, "uri": uri, "up": False, "problem": facts.message, "hint": facts.hint}
    return {"name": name, "uri": uri, "up": True, **asdict(facts)}


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f}G"
