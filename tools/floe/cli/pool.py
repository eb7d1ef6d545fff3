# SPDX-License-Identifier: MIT
"""`floe run --pool N --from FILE`: VMs restored from a snapshot that wait until they are claimed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields, replace
from pathlib import Path

import click

from floe.cli import vms
from floe.cli.run import say
from floe.cli.snapshot import check_any_port, options_given
from floe.detached import control, pools
from floe.errors import EXIT_OK, FloeError, UsageError
from floe.hypervisor import registry
from floe.snapshot import file as snapshots
from floe.snapshot.file import Snapshot
from floe.spec import handover
from floe.spec.ports import Forward, parse_forwards
from floe.spec.runoptions import RunOptions
from floe.store import vmfolder
from floe.store.vmfolder import Folder
from floe.vm import restored
from floe.vm.plan import plan
from floe.vm.template import captured_when_ready, check_copied

_HERE = "127.0.0.1"
_OF_A_POOL = frozenset({"from_file", "pool_size", "detach", "name", "as_json"})
_OF_ONE_VM = ("copies", "timeout", "console_port", "restart", "uuid", "dry_run", "stamps")


def run(ctx: click.Context) -> int:
    """Set the size of the pool, and make the snapshot first if there is an app. Raises FloeError."""
    params, given = ctx.params, options_given(ctx)
    path = Path(params["from_file"]) if params["from_file"] is not None else None
    if path is None:
        raise UsageError("--pool: the VMs go on from a snapshot", hint="floe run -d --pool N --from FILE [APP]")
    if not params["detach"]:
        raise UsageError("--pool: the VMs wait in the background", hint="with --detach")
    wrong = given & set(_OF_ONE_VM) if params["app"] is not None else given - _OF_A_POOL
    names = sorted(p.opts[-1] for p in ctx.command.params if p.name in wrong)
    if names:
        raise UsageError(f"{', '.join(names)}: not for a pool", hint="without")
    if params["name"] is not None:
        vmfolder.check_name(params["name"])
    if params["app"] is not None:
        _make(path, params)
    snapshot = Snapshot.open(path)
    told: list[dict[str, object]] = []

    def tell(folder: Folder) -> None:
        status = control.status(folder)
        if params["as_json"]:
            told.append(status.as_dict())
        else:
            vms.started(status, as_json=False)

    try:
        restored.check(snapshot)
        pools.keep(snapshot, params["pool_size"], params["name"], tell)
    except OSError as e:
        raise FloeError(f"the pool of {path} cannot be written down: {e.strerror}", hint="df") from e
    finally:
        snapshot.close()
        if params["as_json"]:
            click.echo(json.dumps(told))
    return EXIT_OK


def _make(path: Path, params: dict[str, object]) -> None:
    """Boot an app and write its state at vm.ready() to path. Raises FloeError."""
    if path.exists():
        raise FloeError(f"{path} is there already", hint="without APP it is used; with APP, remove it first")
    options = {field.name: params[field.name] for field in fields(RunOptions) if field.name in params}
    app = Path(str(params["app"]))
    asked = RunOptions(**{**options, "accel": str(params["accel_name"])})  # type: ignore[arg-type]  # click typed each
    check_any_port([f for text in asked.forwards for f in parse_forwards(text)], "so many VMs")
    spec, _ = plan(app, asked, say)
    check_copied(spec)
    blobs = handover.read(spec.secrets, spec.env_files, dict(spec.asked))
    captured = asyncio.run(captured_when_ready(spec, blobs, say=say))
    try:
        key = registry.create(spec.hypervisor).state_key(spec)
        snapshots.write(path, replace(captured, spec=spec), blobs=blobs, app=str(app), key=key)
    except OSError as e:
        raise FloeError(f"cannot write {path}: {e.strerror}") from e
    finally:
        captured.close()


def claimed(snapshot: Snapshot, forwards: list[Forward], params: dict[str, object]) -> Folder | None:
    """A waiting VM that fits the options, claimed; None: a new one has to be started, and the user is told why."""
    own = [params[name] for name in ("name", "uuid", "console_port")]
    there = {(f.guest_port, f.protocol) for f in snapshot.content.plan.forwards}
    is_any = all(f.address == _HERE and f.host_port == 0 and (f.guest_port, f.protocol) in there for f in forwards)
    if all(word in (None, "") for word in own) and is_any:
        found = pools.claim(snapshot)
        if found is None and (problem := pools.problem(snapshot)):
            say(f"no VM waits, and another one is started: {problem}")
        return found
    if pools.waiting(snapshot):
        say("no VM that waits has the name, the ports or the UUID that are asked for: another one is started")
    return None
