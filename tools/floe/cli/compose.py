# SPDX-License-Identifier: MIT
"""`floe compose`: several VMs as one stack, as a file describes them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from floe import userfile
from floe.cli import signals
from floe.errors import EXIT_INTERRUPTED, EXIT_OK, DiskFull, FloeError, NotFound, UsageError
from floe.shown import shown

if TYPE_CHECKING:
    from concurrent.futures import Future

    from floe.compose.follow import Line
    from floe.compose.stackfile import StackFile
    from floe.compose.up import Up
    from floe.store.stackfolder import Stack, StackFolder

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")

_CUT = "the networks are cut, because their process was ended; floe compose up {} mends that"

_file = click.argument("file", type=click.Path(path_type=Path))
_profiles = click.option("--profile", "profiles", multiple=True, metavar="NAME", help="Also the VMs of this profile.")
_json = click.option("--json", "as_json", is_flag=True, help="JSON for a program.")


@click.group(short_help="Several VMs as one stack.")
def command() -> None:
    """Several VMs as one stack. FILE describes it: a TOML file, or a folder with compose.toml (docs/compose.md)."""


@command.command()
@_file
@_profiles
@click.option("-d", "--detach", is_flag=True, help="Return when all VMs are ready; else their logs are shown.")
@click.option("--timeout", type=click.FloatRange(min=0), default=5.0, show_default=True, metavar="S",
              help="At Ctrl-C: how long the scripts may take over their end.")  # fmt: skip
def up(file: Path, profiles: tuple[str, ...], detach: bool, timeout: float) -> int:
    """Start what is not up, start again what has changed, end what is no more in FILE.

    Without -d the logs follow, and Ctrl-C ends the stack; a second one does so at once."""
    from floe.compose import stack as stacks
    from floe.compose import up as bringing
    from floe.store import stackfolder

    described = _load(file)
    if described.hosts:
        from floe.cli import compose_hosted

        return compose_hosted.up(described, profiles, detach=detach, grace_s=timeout)
    folder = stackfolder.provide(described.file, described.name, described.default_name)
    going = bringing.Up(described, folder, say)
    try:
        if detach:
            try:
                _start(going, profiles)
            except KeyboardInterrupt:
                stacks.surely(lambda: say("ending what was started"))
                stacks.surely(going.undo)
                raise
            return EXIT_OK
        return attended(_Here(going, profiles), timeout)
    finally:
        stacks.surely(lambda: stacks.clear_empty(folder))


def _start(going: Up, profiles: tuple[str, ...]) -> None:
    if all(step.action == "keep" for step in going.start(profiles)):
        say("nothing to do: all is up as the file says")


class Attended(Protocol):
    """A stack that this command starts, shows and ends."""

    def start(self) -> None:
        """Returns when all is ready. Raises FloeError."""

    def call_off(self) -> None:
        """Have start() end soon."""

    def follow(self, busy: Callable[[], bool]) -> None:
        """Show what the VMs say until all of them have ended and nothing is busy starting them."""

    def worst(self) -> int:
        """The first exit code that is not 0, of VMs that have ended by themselves."""

    def end(self, grace_s: float) -> None:
        """End the stack; KeyboardInterrupt meanwhile ends it at once."""


def attended(stack: Attended, grace_s: float) -> int:
    """Start in the background, show the logs here; all ends with the logs."""
    from floe.compose.workers import Workers

    code = EXIT_OK
    with signals.as_ctrl_c(), Workers(1) as aside:
        starting = aside.submit(stack.start)
        try:
            stack.follow(lambda: _is_busy(starting))
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        except _FailedError:
            pass
        finally:
            notice = "ending the stack; again to end it at once" if code else ""
            worst = EXIT_OK if code == EXIT_OK and _is_halted(starting) else _end(stack, starting, grace_s, notice)
    code = code or worst
    error = starting.exception()
    if error is not None and code != EXIT_INTERRUPTED:
        raise error
    return code


def _end(stack: Attended, starting: Future[None], grace_s: float, notice: str) -> int:
    """End the whole stack, however often Ctrl-C is pressed, also while the notice is being said: the exit code that
    its VMs had by themselves."""
    code: int | None = None
    while True:
        try:
            from floe.compose.workers import finish

            if notice:
                once, notice = notice, ""
                say(once)
            stack.call_off()
            finish([starting])
            code = stack.worst() if code is None else code
            stack.end(grace_s)
            return code
        except KeyboardInterrupt:
            grace_s = 0


def _is_halted(starting: Future[None]) -> bool:
    """Whether an update has failed, and the VMs serve on as before."""
    from floe.compose.rolling import UpdateHalted

    return starting.done() and isinstance(starting.exception(), UpdateHalted)


class _FailedError(Exception):
    """A VM did not start."""


def _is_busy(starting: Future[None]) -> bool:
    """Whether VMs are being started. Raises _FailedError once one could not be."""
    if not starting.done():
        return True
    if starting.exception() is not None:
        raise _FailedError
    return False


class _Here:
    """A stack on this machine, as Attended."""

    def __init__(self, going: Up, profiles: tuple[str, ...]) -> None:
        self._going = going
        self._profiles = profiles
        self._cut = False

    def start(self) -> None:
        _start(self._going, self._profiles)

    def call_off(self) -> None:
        self._going.called_off.set()

    def follow(self, busy: Callable[[], bool]) -> None:
        from floe.compose import instances
        from floe.compose.follow import Follow

        labels = [label for name, vm in self._going.file.vms.items() for label in instances.labels(name, vm)]
        follow = Follow(self._going.folder, (), Printer(labels).put)
        follow.on_end = lambda label, how: say(f"{label} {how}")
        follow.run(lambda: busy() or self._look())

    def _look(self) -> bool:
        """Tell when the networks are cut."""
        from floe.compose import networks

        stack = self._going.folder.read()
        if not self._cut and stack is not None and stack.carrier is not None and not networks.identity(stack):
            self._cut = True
            say(_CUT.format(self._going.file.file))
        return False

    def worst(self) -> int:
        stack = self._going.folder.read()
        return EXIT_OK if stack is None else _worst(stack)

    def end(self, grace_s: float) -> None:
        from floe.compose import stack as stacks

        stack = self._going.folder.read()
        if stack is not None:  # else another one has ended it
            with self._going.folder.locked():
                stacks.down(self._going.folder, stack, grace_s, say)


def _worst(stack: Stack) -> int:
    """The first exit code that is not 0, of VMs that have ended by themselves."""
    from floe.detached import control
    from floe.store import vmfolder

    for name in stack.vms:
        try:
            end = control.status(vmfolder.find(name)).end
        except NotFound:
            continue
        if end is not None and end.code != 0:
            return FloeError.exit_code if end.code is None else end.code
    return EXIT_OK


@command.command()
@_file
@click.option("--timeout", type=click.FloatRange(min=0), default=5.0, show_default=True, metavar="S",
              help="How long the scripts may take over their end.")  # fmt: skip
def down(file: Path, timeout: float) -> int:
    """End and forget all VMs of the stack; nothing is left of it but the disks."""
    from floe.compose import stack as stacks

    if (described := _hosted(file)) is not None:
        from floe.cli import compose_hosted

        return compose_hosted.down(described, timeout)
    folder, _ = _found(file)
    with folder.locked():
        stacks.down(folder, stacks.read(folder, str(file)), timeout, say)
    return EXIT_OK


@command.command()
@_file
@_profiles
@_json
def plan(file: Path, profiles: tuple[str, ...], as_json: bool) -> int:
    """Print what `up` would do, and do nothing."""
    from floe.compose import stack as stacks
    from floe.compose import steps as planning
    from floe.store import stackfolder
    from floe.store.stackfolder import Stack

    described = _load(file)
    if described.hosts:
        from floe.cli import compose_hosted

        return compose_hosted.plan(described, profiles, as_json=as_json)
    folder = stackfolder.find(described.file)
    name = described.name or described.default_name
    stack = stacks.read(folder, str(file)) if folder else Stack(name=name, file=str(described.file))
    steps = planning.plan(described.scaled(stack.scales), stack, profiles, say)
    if as_json:
        listed = [{"action": s.action, "vm": s.label, "name": s.name, "reason": s.reason} for s in steps]
        click.echo(json.dumps(listed, indent=2))
        return EXIT_OK
    width = max((len(step.label) for step in steps), default=0)
    for step in steps:
        click.echo(shown(f"{step.action:7}  {step.label:{width}}  {step.reason}".rstrip()))
    return EXIT_OK


@command.command()
@_file
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.svg", help="Write it there.")
@_json
def graph(file: Path, output: Path | None, as_json: bool) -> int:
    """Draw the stack as an SVG: VMs, networks, ports, what comes after what; in colours what is up.

    --json: what would be on it."""
    from floe.compose import graph as graphs
    from floe.store import stackfolder

    described = _load(file)
    if described.hosts:
        from floe.compose import links

        described = links.joined(described, described.name)
    folder = stackfolder.find(described.file)
    stack = folder.read() if folder else None
    described = described.scaled(stack.scales) if stack else described
    states = graphs.states(described, stack) if stack else {}
    if as_json:
        made = json.dumps(graphs.facts(described, states), indent=2) + "\n"
    else:
        made = graphs.svg(described, states, graphs.addresses(described, stack) if stack else {})
    if output is None:
        click.echo(made, nl=False)
    else:
        _write(output, made)
    return EXIT_OK


def _write(path: Path, text: str) -> None:
    userfile.check_replaceable(path)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        userfile.forget(path)
        full = DiskFull.of(e, path.absolute().parent)
        raise full or NotFound(f"cannot write {path}: {e.strerror}", hint="name another file with -o") from e


@command.command()
@_file
@_json
def ps(file: Path, as_json: bool) -> int:
    """List the VMs of the stack."""
    from floe.cli import vms
    from floe.compose import networks
    from floe.compose import stack as stacks
    from floe.detached import control
    from floe.store import vmfolder

    if (described := _hosted(file)) is not None:
        from floe.cli import compose_hosted

        return compose_hosted.ps(described, as_json=as_json)
    _, stack = _found(file)
    if stack.carrier is not None and not networks.identity(stack):
        say(_CUT.format(file))
    rows: list[tuple[str, ...]] = [("VM", "STATE", "READY", "ADDRESS", "PORTS", "MEMORY", "UPTIME")]
    listed: list[dict[str, object]] = []
    for name, placed in stack.vms.items():
        label = stacks.label(stack.name, name)
        try:
            status = control.status(vmfolder.find(name))
        except FloeError as e:
            listed.append({"vm": placed.vm, "label": label, "name": name, "state": "gone", "problem": e.message})
            rows.append((label, "gone", *"-----"))
            continue
        ready = stacks.is_ready(placed, status)
        own = {net: found[name] for net, found in stack.addresses.items() if name in found}
        listed.append({"vm": placed.vm, "label": label, "ready": ready, "addresses": own, **status.as_dict()})
        state = stacks.how_ended(status) or status.state
        state += f", {status.restarts} restarts" if status.restarts else ""
        rows.append((label, state, "yes" if ready else "no", " ".join(own.values()) or "-", *vms.sizes(status)))
        for depth, child in control.tree(status)[1:]:
            told = dict(child.addresses)
            theirs = {net: told[address] for net, address in own.items() if address in told}
            short = stacks.label(stack.name, child.spec.name)
            listed.append({"vm": placed.vm, "label": short, "ready": None, "addresses": theirs, **child.as_dict()})
            rows.append(("  " * depth + short, child.state, "-", " ".join(theirs.values()) or "-", *vms.sizes(child)))
    click.echo(json.dumps(listed, indent=2)) if as_json else vms.table(rows)
    return EXIT_OK


@command.command()
@_file
@click.argument("names", metavar="[VM...]", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Go on until the VMs end.")
@click.option("-n", "--tail", "lines", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each.")
@click.option("-t", "--timestamps", "times", is_flag=True, help="The time (UTC) in front of each line.")
@_json
def logs(file: Path, names: tuple[str, ...], follow: bool, lines: int | None, times: bool, as_json: bool) -> int:
    """Print what the VMs said, in the order of time, each line behind its VM's name.

    Control characters are shown (^[ is escape), so that no terminal obeys them. --json: a line of JSON for each."""
    from floe.compose import stack as stacks
    from floe.compose.follow import Follow

    if (described := _hosted(file)) is not None:
        from floe.cli import compose_hosted

        if times:
            raise UsageError("--timestamps: a host's log has no times", hint="without --timestamps")
        return compose_hosted.logs(described, names, lines, follow=follow, as_json=as_json)
    folder, stack = _found(file)
    labels = [stacks.label(stack.name, name) for name in stack.vms]
    for name in names:
        _check_known(stack, name)
    reader = Follow(folder, names, Printer(labels, times=times, as_json=as_json).put)
    reader.put_all(None if lines is None and follow else lines if lines is not None else sys.maxsize)
    if follow:
        reader.run()
    return EXIT_OK


@command.command(name="exec", context_settings={"ignore_unknown_options": True})
@_file
@click.argument("name", metavar="VM")
@click.argument("words", metavar="[OPTIONS] CODE", nargs=-1, type=click.UNPROCESSED)
def execute(file: Path, name: str, words: Sequence[str]) -> int:
    """Run CODE in a VM of the stack, as `floe exec` does and with its options."""
    from floe.cli import device
    from floe.compose import stack as stacks

    if (described := _hosted(file)) is not None:
        from floe.cli import compose_hosted

        return compose_hosted.execute(described, name, words)
    _, stack = _found(file)
    _check_known(stack, name)
    full = next(n for n, placed in stack.vms.items() if name in (placed.vm, stacks.label(stack.name, n)))
    code = device.execute.main(args=[full, *words], prog_name="floe exec", standalone_mode=False)
    return code if isinstance(code, int) else EXIT_OK


def _check_known(stack: Stack, name: str) -> None:
    from floe.compose import stack as stacks

    known = {word: None for n, placed in stack.vms.items() for word in (placed.vm, stacks.label(stack.name, n))}
    if name not in known:
        raise NotFound(f"there is no VM {name} in the stack {stack.name}", evidence=f"there are: {', '.join(known)}")


def _load(file: Path) -> StackFile:
    from floe.compose import stackfile

    return stackfile.load(file, os.environ)


def _hosted(file: Path) -> StackFile | None:
    """A file that names hosts; None for one that does not, or whose stack is up on this machine."""
    from floe.compose import stackfile
    from floe.store import stackfolder

    path = stackfile.find(file)
    if stackfolder.find(path) is not None or not path.exists():
        return None
    described = _load(file)
    return described if described.hosts else None


def _found(file: Path) -> tuple[StackFolder, Stack]:
    """The stack of a file, which need not be there any more. Raises NotFound."""
    from floe.compose import stack as stacks
    from floe.compose import stackfile
    from floe.store import stackfolder

    path = stackfile.find(file)
    folder = stackfolder.find(path)
    if folder is None:
        if not path.exists():
            raise NotFound(f"no such file: {path}", hint="FILE is a stack's file, or a folder with compose.toml")
        raise NotFound(f"no stack of {file} is up", hint=f"floe compose up {file}")
    return folder, stacks.read(folder, str(file))


class Printer:
    """Lines behind their VM's name, in colours where standard output is a terminal."""

    def __init__(self, labels: Sequence[str], *, times: bool = False, as_json: bool = False) -> None:
        self._width = max(map(len, labels), default=0)
        self._colours = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(labels)}
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._times = times
        self._as_json = as_json

    def put(self, line: Line) -> None:
        if self._as_json:
            self._write(json.dumps({"vm": line.label, "time": line.at, "line": line.text}))
            return
        head = f"{line.label:{self._width}} |"
        if self._coloured:
            head = click.style(head, fg=self._colours.setdefault(line.label, _COLOURS[0]))
        when = f" {_text(line.at)}" if self._times else ""
        self._write(f"{head}{when} {line.text}")

    def _write(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _text(when: float | None) -> str:
    from floe.cli import logs as own

    return own.time_text(when)


def say(text: str) -> None:
    """One line of floe's own on standard error."""
    click.echo(shown(f"floe: {text}"), err=True)
