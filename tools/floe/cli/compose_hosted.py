# SPDX-License-Identifier: MIT
"""What the verbs of `floe compose` do with a stack whose file names hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from floe.cli import vms as local
from floe.cli.compose import say
from floe.compose import hosted
from floe.compose.hosted import Fleet
from floe.compose.stackfile import StackFile
from floe.errors import EXIT_OK, UsageError
from floe.fleet.console import Log
from floe.fleet.domain import CONSOLE
from floe.fleet.vms import There
from floe.shown import shown
from floe.spec.ports import forward_of


@contextmanager
def _fleet(file: StackFile) -> Iterator[Fleet]:
    """The hosts; those that do not answer are told of."""
    with Fleet(list(file.hosts)) as fleet:
        for error in fleet.down.values():
            click.echo(error.render(), err=True)
        yield fleet


def project(file: StackFile) -> str:
    """The stack's name."""
    return file.name or file.default_name


def _code(fleet: Fleet) -> int:
    """Of a verb that has asked all hosts."""
    return next((error.exit_code for error in fleet.down.values()), EXIT_OK)


def up(file: StackFile, profiles: Sequence[str], *, detach: bool) -> int:
    """`floe compose up -d`."""
    if not detach:
        raise UsageError("VMs of other hosts go on without this command", hint="floe compose up -d")
    with _fleet(file) as fleet:
        steps = hosted.plan(file, project(file), profiles, fleet, say)
        hosted.Up(file, project(file), fleet, say).run(steps)
        if all(step.action == "keep" for step in steps):
            say("nothing to do: all is up as the file says")
    return EXIT_OK


def plan(file: StackFile, profiles: Sequence[str], *, as_json: bool) -> int:
    """`floe compose plan`."""
    with _fleet(file) as fleet:
        steps = hosted.plan(file, project(file), profiles, fleet, say)
        if as_json:
            listed = [
                {"action": s.action, "vm": s.label, "name": s.name, "host": s.host, "reason": s.reason}
                | ({"addresses": s.addresses} if file.networks else {})
                for s in steps
            ]
            click.echo(json.dumps(listed, indent=2))
        else:
            rows = [
                (
                    f"{step.action:7}",
                    step.label,
                    step.host,
                    *([" ".join(step.addresses.values()) or "-"] if file.networks else []),
                    step.reason,
                )
                for step in steps
            ]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                words = [f"{word:{width}}" for word, width in zip(row, widths, strict=True)]
                click.echo(shown("  ".join(words).rstrip()))
        return _code(fleet)


def ps(file: StackFile, *, as_json: bool) -> int:
    """`floe compose ps`."""
    with _fleet(file) as fleet:
        found = sorted(fleet.of(project(file)), key=lambda vm: (vm.mark.service, vm.mark.replica))
        if as_json:
            listed = [{"vm": vm.mark.service, "label": _label(file, vm), **vm.as_dict()} for vm in found]
            click.echo(json.dumps(listed, indent=2))
        else:
            local.table(
                [("VM", "HOST", "STATE", "ADDRESS", "PORTS", "MEMORY", "UPTIME"), *(_row(file, vm) for vm in found)]
            )
        return _code(fleet)


def _row(file: StackFile, vm: There) -> tuple[str, ...]:
    forwards = [forward_of(told) for told in vm.mark.ports]
    ports = " ".join(f"{forward.place()}->{forward.guest_place()}" for forward in forwards)
    memory = f"{vm.mark.memory / (1 << 20):g}M"
    addresses = " ".join(address for address in vm.mark.addresses.values() if address)
    return (_label(file, vm), vm.host, _state(vm), addresses or "-", ports or "-", memory, local.duration(vm.uptime))


def _state(vm: There) -> str:
    return vm.state if vm.alive or vm.code is None else f"{vm.state} ({vm.code}, {vm.cause})"


def _label(file: StackFile, vm: There) -> str:
    return vm.name.removeprefix(f"{project(file)}.")


def logs(file: StackFile, names: Sequence[str], lines: int | None) -> int:
    """`floe compose logs`: VM by VM, as no host keeps the times of lines."""
    with _fleet(file) as fleet:
        found = fleet.of(project(file))
        wanted = [vm for vm in found if not names or vm.mark.service in names or _label(file, vm) in names]
        width = max((len(_label(file, vm)) for vm in wanted), default=0)
        for vm in wanted:
            vms = fleet.hosts[vm.host]
            said = vms.host.ask(Log(vms.store, vm.uuid + CONSOLE).news).decode("utf-8", "backslashreplace").splitlines()
            for line in said if lines is None else said[max(0, len(said) - lines) :]:
                click.echo(f"{_label(file, vm):{width}} | {shown(line)}")
        return _code(fleet)


def down(file: StackFile, timeout: float) -> int:
    """`floe compose down`: on the hosts that answer."""
    with _fleet(file) as fleet:
        hosted.down(
            file, project(file), fleet, timeout, lambda vm: say(f"{_label(file, vm)} on {vm.host} {_state(vm)}")
        )
        return _code(fleet)
