# SPDX-License-Identifier: MIT
"""`floe snapshot`: a running VM's state as a file, and `floe run --from` that file: VMs that go on from there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import click
from click.core import ParameterSource

from floe.cli import signals
from floe.cli.hostword import on_host
from floe.detached import control, launch
from floe.errors import EXIT_OK, FloeError, UsageError
from floe.image import elf
from floe.shown import shown
from floe.snapshot.file import Snapshot
from floe.snapshot.material import Material
from floe.spec import ports
from floe.spec.vmspec import parse_memory
from floe.vm import restored
from floe.vm.plan import identity
from floe.vm.session import Session

# Options of `floe run` that are good with --from, by click's names; those that must be as they were; the others are
# what a VM was begun with.
_GOOD = frozenset(
    {
        "from_file",
        "copies",
        "forwards",
        "detach",
        "name",
        "console_port",
        "timeout",
        "verbose",
        "as_json",
        "uuid",
        "host",
    }
)
_AS_THEY_WERE = {"machine": "machine", "accel_name": "accel", "hypervisor": "hypervisor"}


@click.command()
@click.argument("name", metavar="NAME")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@on_host
def command(name: str, file: Path, host: str | None) -> int:
    """Keep the state of the detached VM NAME in FILE: its memory, and the disks that it writes, as of this moment. The
    VM goes on. floe run --from FILE starts VMs that go on from there.

    Only images that may fork are copied. FILE holds all that the VM knows, secrets too: it is for you alone to read."""
    if host:
        from floe.cli.hosted import vms_of
        from floe.fleet import snapshot

        with signals.as_ctrl_c(), vms_of(host) as vms:
            return _kept(name, file, snapshot.keep(vms, name, file))
    folder, child = control.find(name)
    if child is not None:
        raise UsageError(
            f"{name} is a child; only the first VM of a family is kept", hint=f"floe snapshot {folder.name} {file}"
        )
    return _kept(folder.name, file, control.snapshot(folder, file))


def _kept(name: str, file: Path, size: int) -> int:
    click.echo(str(file))
    click.echo(shown(f"floe: {name} as of now, {size / (1 << 20):.1f} MiB on disk"), err=True)
    return EXIT_OK


def run(ctx: click.Context) -> int:
    """`floe run --from FILE`. Raises FloeError."""
    params = ctx.params
    if params["pool_size"] is not None:
        from floe.cli import pool

        return pool.run(ctx)
    asked = _asked(ctx)
    snapshot = Snapshot.open(params["from_file"])
    try:
        restored.check(snapshot, **asked)
        forwards = [f for text in params["forwards"] for f in ports.parse_forwards(text)]
        copies = params["copies"] or 1
        if copies > 1:
            _check_copies(copies, forwards, detached=params["detach"])
            if params["uuid"]:
                raise UsageError(f"--uuid: {copies} VMs cannot share one", hint="without: each has its own")
        return _detach(snapshot, forwards, copies, params) if params["detach"] else _attach(snapshot, forwards, params)
    finally:
        snapshot.close()


def run_on_host(ctx: click.Context, host: str) -> int:
    """`floe run --host HOST --from FILE`. Raises FloeError."""
    from floe.cli import hosted
    from floe.cli.run import check_attached
    from floe.fleet import snapshot as there

    params = ctx.params
    asked, detached = _asked(ctx), params["detach"]
    forwards = [f for text in params["forwards"] for f in ports.parse_forwards(text)]
    copies, name = params["copies"] or 1, params["name"]
    if copies > 1 and (forwards or params["uuid"] or not detached):
        wrong = "-p" if forwards else "--uuid" if params["uuid"] else "no --detach"
        raise UsageError(
            f"-n {copies}: {wrong} is for one VM of a host", hint="-n COPIES --detach, without -p and --uuid"
        )
    if detached and params["timeout"] is not None:
        raise UsageError("--timeout: a detached VM is ended by `floe stop`")
    if not detached:
        check_attached(f"--host {host} --from {shlex.quote(str(params['from_file']))}", name, None)
    snapshot = Snapshot.open(params["from_file"])
    told: list[dict[str, object]] = []
    try:
        with hosted.vms_of(host) as vms:
            there.check(snapshot, vms.host, **asked)
            for number in range(1, copies + 1):
                own = name if name is None or number == 1 else f"{name}-{number}"
                uuid = str(params["uuid"]) or (identity(f"{host}/{own}") if own else str(uuid4()))
                with signals.as_ctrl_c():
                    vm = there.go_on(vms, snapshot, forwards, own, uuid)
                if not detached:
                    return hosted.attach(vms, vm, (), params)
                if params["as_json"]:
                    told.append(vm.as_dict())
                else:
                    hosted.started(vm, as_json=False)
    finally:
        snapshot.close()
        _tell(told, params)
    return EXIT_OK


def _tell(told: Sequence[dict[str, object]], params: dict[str, object]) -> None:
    """Those that run, also where another one could not be started: a list where -n may ask for several."""
    if told:
        click.echo(json.dumps(told[0] if params["copies"] is None else told))


def _asked(ctx: click.Context) -> dict[str, str]:
    """What the command line wants to be as it was. Raises UsageError for what it may not have."""
    given = options_given(ctx)
    if ctx.params["app"] is not None:
        raise UsageError("--from goes on with the app and the arguments of the snapshot", hint="without APP and ARGS")
    _check_given(ctx, given)
    asked = {key: str(ctx.params[name]) for name, key in _AS_THEY_WERE.items() if name in given}
    if "memory" in given:
        asked["memory"] = f"{parse_memory(ctx.params['memory']) >> 20}M"
    if asked.get("accel") == "auto":
        del asked["accel"]
    return asked


def options_given(ctx: click.Context) -> set[str]:
    """Names of what the command line has."""
    return {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}


def _check_given(ctx: click.Context, given: set[str]) -> None:
    """Raises UsageError."""
    wrong = given - _GOOD - set(_AS_THEY_WERE) - {"memory", "app", "args"}
    names = sorted(p.opts[-1] for p in ctx.command.params if p.name in wrong)
    if names:
        raise UsageError(f"{', '.join(names)}: a VM that goes on from a snapshot has what that one had", hint="without")


def _check_copies(copies: int, forwards: list[ports.Forward], *, detached: bool) -> None:
    if not detached:
        raise UsageError(f"-n {copies}: one VM can have this terminal", hint="with --detach")
    check_any_port(forwards, f"{copies} VMs")


def check_any_port(forwards: Sequence[ports.Forward], who: str) -> None:
    """Raises UsageError where one has to be a certain one."""
    for forward in forwards:
        if forward.host_port:
            raise UsageError(
                f"{forward.option()}: {who} cannot share a port",
                hint=f"{replace(forward, host_port=0).option()}: any free one for each",
            )


def _attach(snapshot: Snapshot, forwards: list[ports.Forward], params: dict[str, object]) -> int:
    from floe.cli.run import check_attached, finish, say

    check_attached(f"--from {shlex.quote(snapshot.shown)}", params["name"], params["console_port"])
    spec = restored.spec_of(snapshot, forwards, Path(snapshot.content.app).stem or "vm", str(params["uuid"]))
    try:
        material = Material.of(snapshot)
    except OSError as e:
        raise FloeError(f"cannot copy {snapshot.shown}: {e.strerror}") from e
    vm = restored.Restored(spec, snapshot.state, material)
    interactive = elf.read(vm.spec.elf).content["profile"] == "dev"
    return finish(Session(vm, interactive=interactive, say=say), params)


def _detach(snapshot: Snapshot, forwards: list[ports.Forward], copies: int, params: dict[str, object]) -> int:
    from floe.cli import pool, vms

    if params["timeout"] is not None:
        raise UsageError("--timeout: a detached VM is ended by `floe stop`")
    port = params["console_port"]
    name = str(params["name"]) if params["name"] else None
    told = []
    try:
        for number in range(1, copies + 1):
            folder = pool.claimed(snapshot, forwards, params)
            if folder is None:
                own = name if name is None or number == 1 else f"{name}-{number}"
                uuid = str(params["uuid"]) or (identity(own) if own else "")
                spec = restored.spec_of(snapshot, forwards, own or "vm", uuid)
                folder = launch.go_on(spec, snapshot, name=own, console_port=port if isinstance(port, int) else None)
            if params["as_json"]:
                told.append(control.status(folder).as_dict())
            else:
                vms.started(control.status(folder), as_json=False)
    finally:
        _tell(told, params)
    return EXIT_OK
