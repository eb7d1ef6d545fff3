# SPDX-License-Identifier: MIT
"""What the verbs of `floe compose` do with a stack whose file names hosts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import click

from floe.cli import vms as local
from floe.cli.compose import Printer, attended, say
from floe.compose import hosted, hostedup
from floe.compose.hosted import Fleet
from floe.compose.hostlogs import Follow
from floe.compose.stackfile import StackFile
from floe.errors import EXIT_OK, FloeError, NotFound
from floe.fleet.vms import There
from floe.shown import shown
from floe.spec.ports import forward_of
from floe.store.stackfolder import Scale


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


def up(file: StackFile, profiles: Sequence[str], *, detach: bool, grace_s: float) -> int:
    """`floe compose up`."""
    with _fleet(file) as fleet:
        file = hosted.scaled(file, project(file), fleet)
        # What cannot be built or has no place is told before anything is touched.
        steps = hosted.plan(file, project(file), profiles, fleet, say)
        there = _There(file, fleet, steps)
        if not detach:
            return attended(there, grace_s) or _code(fleet)
        there.start()
    return EXIT_OK


class _There:
    """A stack on hosts, as Attended."""

    def __init__(self, file: StackFile, fleet: Fleet, steps: list[hosted.Step]) -> None:
        self._file = file
        self._fleet = fleet
        self._steps = steps
        self._up = hostedup.Up(file, project(file), fleet, say)
        self._told: set[str] = set()  # names of those whose end was told

    def start(self) -> None:
        self._up.run(self._steps)
        if all(step.action == "keep" for step in self._steps):
            say("nothing to do: all is up as the file says")

    def call_off(self) -> None:
        self._up.called_off.set()

    def follow(self, busy: Callable[[], bool]) -> None:
        labels = [step.label for step in self._steps if step.action != "remove"]
        follow = _follow(self._file, self._fleet, (), Printer(labels))
        follow.on_end = self._tell_end
        follow.run(busy)

    def worst(self) -> int:
        self._fleet.look()
        ended = [vm.code for vm in self._fleet.of(project(self._file)) if not vm.alive and vm.code != 0]
        return EXIT_OK if not ended else FloeError.exit_code if ended[0] is None else ended[0]

    def end(self, grace_s: float) -> None:
        self._fleet.look()
        hostedup.down(self._file, project(self._file), self._fleet, grace_s, self._tell_end)

    def _tell_end(self, vm: There) -> None:
        if vm.name not in self._told:
            self._told.add(vm.name)
            _tell_end(self._file, vm)


def _follow(file: StackFile, fleet: Fleet, names: Sequence[str], printer: Printer) -> Follow:
    """The logs; who ends is told of, and a host that goes."""
    follow = Follow(fleet, project(file), names, printer.put)
    follow.on_end = partial(_tell_end, file)
    follow.on_gone = lambda error: click.echo(error.render(), err=True)
    return follow


def _tell_end(file: StackFile, vm: There) -> None:
    say(f"{_label(file, vm)} on {vm.host} {_state(vm)}")


def plan(file: StackFile, profiles: Sequence[str], *, as_json: bool) -> int:
    """`floe compose plan`."""
    with _fleet(file) as fleet:
        file = hosted.scaled(file, project(file), fleet)
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
            listed = [
                {"vm": vm.mark.service, "label": _label(file, vm), "ready": _ready(file, vm), **vm.as_dict()}
                for vm in found
            ]
            click.echo(json.dumps(listed, indent=2))
        else:
            local.table(
                [
                    ("VM", "HOST", "STATE", "READY", "ADDRESS", "PORTS", "MEMORY", "UPTIME"),
                    *(_row(file, vm) for vm in found),
                ]
            )
        return _code(fleet)


def _row(file: StackFile, vm: There) -> tuple[str, ...]:
    forwards = [forward_of(told) for told in vm.mark.ports]
    ports = " ".join(f"{forward.place()}->{forward.guest_place()}" for forward in forwards)
    memory = f"{vm.mark.memory / (1 << 20):g}M"
    addresses = " ".join(address for address in vm.mark.addresses.values() if address) or "-"
    ready = "yes" if _ready(file, vm) else "no"
    return (_label(file, vm), vm.host, _state(vm), ready, addresses, ports or "-", memory, local.duration(vm.uptime))


def _ready(file: StackFile, vm: There) -> bool:
    """Whether it has become so and is so still: it runs, or has ended as it should."""
    table = file.vms.get(vm.mark.service)
    return vm.mark.ready and (vm.alive or (table is not None and vm.code is not None and vm.code == table.ready.exit))


def _state(vm: There) -> str:
    return vm.state if vm.alive or vm.code is None else f"{vm.state} ({vm.code}, {vm.cause})"


def _label(file: StackFile, vm: There) -> str:
    return hosted.label(project(file), vm)


def logs(file: StackFile, names: Sequence[str], lines: int | None, *, follow: bool, as_json: bool) -> int:
    """`floe compose logs`: VM by VM, as no host keeps the times of lines."""
    with _fleet(file) as fleet:
        _check_known(file, fleet, names)
        labels = [_label(file, vm) for vm in fleet.of(project(file))]
        reader = _follow(file, fleet, names, Printer(labels, as_json=as_json))
        reader.put_all(lines, final=not follow)
        if follow:
            reader.run()
        return _code(fleet) or next((error.exit_code for error in reader.gone.values()), EXIT_OK)


def execute(file: StackFile, name: str, words: Sequence[str]) -> int:
    """`floe compose exec`: in the first of these VMs that runs."""
    from floe.cli import device

    with _fleet(file) as fleet:
        _check_known(file, fleet, [name])
        found = [vm for vm in fleet.of(project(file)) if name in (vm.mark.service, _label(file, vm))]
    if not found:
        raise next(iter(fleet.down.values()))
    vm = min(found, key=lambda vm: (not vm.alive, vm.mark.replica))
    words = ["--host", vm.host, vm.name, *words]
    code = device.execute.main(args=words, prog_name="floe exec", standalone_mode=False)
    return code if isinstance(code, int) else EXIT_OK


def scale(file: StackFile, name: str, count: int) -> int:
    """`floe scale` of a stack whose file this is."""
    own = project(file)
    wanted = {name: Scale(count, file.replicas_of(name, own))}
    file.scaled(wanted)  # what cannot be is told before anybody is asked
    with _fleet(file) as fleet:
        if not fleet.of(own):
            raise next(
                iter(fleet.down.values()), NotFound(f"no stack {own} is up", hint=f"floe compose up {file.file}")
            )
        file = file.scaled({**hosted.scaled(file, own, fleet).scales, **wanted})
        steps = hostedup.Up(file, own, fleet, say).scale(name, file.vms[name].profiles)
        if all(step.action == "keep" for step in steps):
            say(f"nothing to do: there are {count} of {own}.{name}")
    return EXIT_OK


def _check_known(file: StackFile, fleet: Fleet, names: Sequence[str]) -> None:
    """Raises NotFound for a name of no VM; where a host does not answer, nobody knows."""
    found = fleet.of(project(file))
    known = dict.fromkeys(word for vm in found for word in (vm.mark.service, _label(file, vm)))
    for name in names:
        if name not in known and not (fleet.down and name.partition(".")[0] in file.vms):
            evidence = f"there are: {', '.join(known)}" if known else ""
            raise NotFound(f"there is no VM {name} in the stack {project(file)}", evidence=evidence)


def down(file: StackFile, timeout: float) -> int:
    """`floe compose down`: on the hosts that answer."""
    with _fleet(file) as fleet:
        hostedup.down(file, project(file), fleet, timeout, partial(_tell_end, file))
        return _code(fleet)
