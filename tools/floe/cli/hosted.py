# SPDX-License-Identifier: MIT
"""The verbs for VMs of other hosts: what run, ps, logs, stop, rm, repl, exec and cp do with --host."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from floe.cli import vms as local
from floe.errors import EXIT_OK, FloeError, UsageError
from floe.fleet import connection
from floe.fleet.domain import CONSOLE, SERIAL
from floe.fleet.mark import Mark
from floe.fleet.vms import Order, There, Vms
from floe.shown import Stream, shown
from floe.spec import handover
from floe.spec.ports import forward_of
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import VmSpec

# Options of `floe run` that say nothing of another host's VM, by click's names, and what stands for them.
_HERE = {
    "console_port": ("--console-port", "floe repl --host HOST NAME"),
    "pool_size": ("--pool", "without --host; there: floe run --host HOST -d --from FILE -n COPIES"),
    "children": ("--children", "without: a VM of another host does not fork"),
}


@contextlib.contextmanager
def vms_of(host: str) -> Iterator[Vms]:
    """The VMs of a host. Raises NotFound, UsageError, HostError."""
    from floe.fleet import driver

    driver.check_host(host)
    with connection.open(host) as opened:
        yield Vms(opened)


def run(host: str, params: Mapping[str, Any], options: dict[str, Any]) -> int:
    """`floe run --host`. params: all that click read; options: of them RunOptions', but for the accelerator."""
    from floe.fleet import driver
    from floe.vm.plan import identity, plan

    for key, (option, instead) in _HERE.items():
        if params[key] is not None:
            raise UsageError(f"{option}: not on another host", hint=instead)
    if params["from_file"] is not None:
        from floe.cli import snapshot

        return snapshot.run_on_host(click.get_current_context(), host)
    if params["copies"] is not None:
        raise UsageError("-n is for VMs that go on from a snapshot", hint="floe run --from FILE -d -n COPIES")
    if params["restart"] != "no":
        hint = "without; floe start --host HOST NAME starts it again (docs/hosts.md says why)"
        raise UsageError(f"--restart {params['restart']}: nobody restarts it on another host", hint=hint)
    detach, name = params["detach"], params["name"]
    if detach and params["timeout"] is not None:
        raise UsageError("--timeout: a detached VM is ended by `floe stop`")
    if name and not detach:
        raise UsageError("--name is for a detached VM", hint=f"floe run --host {host} --detach --name {name} APP")
    if name and not options["uuid"]:
        options["uuid"] = identity(f"{host}/{name}")
    asked = RunOptions(accel=params["accel_name"], **options)
    driver.check(asked)
    with vms_of(host) as vms:
        from floe.cli.run import say

        spec, why_no_kvm = plan(params["app"], asked, say, driver.Elsewhere(vms.host))
        if params["dry_run"]:
            click.echo(vms.xml(spec, _mark(params, spec), name or spec.name), nl=False)
            return EXIT_OK
        if params["verbose"]:
            say(f"using {spec.accel} on {host}" + (f"; {why_no_kvm}" if why_no_kvm else ""))
        image = spec.elf.read_bytes()
        blobs = handover.read(spec.secrets, spec.env_files, dict(spec.asked))
        vm = vms.start(Order(spec, image, _mark(params, spec), name, blobs, paused=not detach))
        for disk in vm.new_disks:
            say(f"made the disk {disk} on {host}, where it stays; floe host disk pull {host} {disk} brings it here")
        if detach:
            started(vm, as_json=params["as_json"])
            return EXIT_OK
        return attach(vms, vm, blobs, params)


def _mark(params: Mapping[str, Any], spec: VmSpec) -> Mark:
    from floe.image import elf

    return Mark(
        app=str(params["app"]),
        profile=str(elf.read(spec.elf).content["profile"]),
        image="",
        memory=spec.memory,
        ports=[forward.told() for forward in spec.forwards],
        verified=bool(spec.verified),
    )


def attach(vms: Vms, vm: There, blobs: Sequence[handover.Blob], params: Mapping[str, Any]) -> int:
    """Its console is this terminal, until it has ended: its exit code. Raises FloeError."""
    from floe.cli.run import say
    from floe.fleet.attached import Attached

    session = Attached(vms, vm, blobs, say)
    code: int | None = None
    try:
        code = session.run(params["timeout"])
    except FloeError as e:
        code = e.exit_code
        raise
    finally:
        if params["as_json"] and code is not None:
            click.echo(json.dumps({**session.vm.as_dict(), "exit_code": code}), err=True)
    return code


def started(vm: There, *, as_json: bool) -> None:
    """Tell of a VM that was started in the background."""
    if as_json:
        click.echo(json.dumps(vm.as_dict()))
        return
    click.echo(vm.name)
    if not vm.alive:
        click.echo(shown(f"floe: it has ended already: {_ending(vm)}; floe logs --host {vm.host} {vm.name}"), err=True)
        return
    disks = " ".join(f"{disk.path}{':ro' if disk.readonly else ''}" for disk in vm.disks)
    for what, where in (("host", vm.host), ("ports", _ports(vm)), ("disks", disks)):
        if where:
            click.echo(shown(f"  {what:6}  {where}"), err=True)


def ps(hosts: Sequence[str], *, everything: bool, as_json: bool) -> int:
    """`floe ps --host`: of all these hosts, which are asked at once; those that do not answer are told of."""
    rows: list[tuple[str, ...]] = [("NAME", "HOST", "STATE", "ACCEL", "MACHINE", "PORTS", "MEMORY", "UPTIME")]
    told: list[dict[str, object]] = []
    failed: list[FloeError] = []
    for name, found in connection.ask_all(dict.fromkeys(hosts), lambda host: Vms(host).all()):
        if isinstance(found, FloeError):
            failed.append(found)
            told.append({"host": name, "problem": found.message})
            continue
        wanted = [vm for vm in found if everything or vm.alive]
        rows += [_row(vm) for vm in wanted]
        told += [vm.as_dict() for vm in wanted]
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        local.table(rows)
    for error in failed:
        click.echo(error.render(), err=True)
    return failed[0].exit_code if failed else EXIT_OK


def start(host: str, names: Sequence[str], *, as_json: bool) -> int:
    """`floe start --host`."""
    with vms_of(host) as vms:
        for name in names:
            started(vms.again(name), as_json=as_json)
    return EXIT_OK


def stop(host: str, names: Sequence[str], timeout: float) -> int:
    """`floe stop --host`."""
    with vms_of(host) as vms:
        for name in [vms.find(name).name for name in names]:
            ended = vms.stop(name, timeout)
            click.echo(name)
            click.echo(shown(f"floe: {name} {_ending(ended)}"), err=True)
    return EXIT_OK


def rm(host: str, names: Sequence[str], *, force: bool) -> int:
    """`floe rm --host`."""
    with vms_of(host) as vms:
        for vm in [vms.find(name) for name in names]:
            vms.remove(vm.name, force=force)
            click.echo(vm.name)
            for disk in vm.disks:
                if not disk.readonly:
                    there = f"floe host disk rm {host} {disk.path} removes it"
                    click.echo(shown(f"floe: its disk {disk.path} stays on {host}; {there}"), err=True)
    return EXIT_OK


def logs(host: str, name: str, *, follow: bool, lines: int | None, times: bool, raw: bool) -> int:
    """`floe logs --host`."""
    from floe.fleet import console, store

    if times:
        raise UsageError("--timestamps: a host's log has no times", hint="without --timestamps")
    filtered = None if raw else Stream()

    def put(data: bytes, *, final: bool = False) -> None:
        sys.stdout.buffer.write(data if filtered is None else filtered.feed(data, final=final).encode())
        sys.stdout.buffer.flush()

    with vms_of(host) as vms:
        vm = vms.find(name)
        log = console.Log(vms.store, vm.uuid + CONSOLE)
        said = vms.host.ask(log.news, deadline_s=store.BRING_S)
        kept = said.splitlines(keepends=True)
        put(said if lines is None else b"".join(kept[max(0, len(kept) - lines) :]))
        alive = vm.alive
        while follow and alive:
            store.wait(console.LATER_S)
            alive, said = vms.on(name, lambda connection, dom, now: console.latest(log, connection, now))
            put(said)
        put(b"", final=True)
        if lines != 0:
            serial = vms.host.ask(console.Log(vms.store, vm.uuid + SERIAL).news)
            sys.stderr.buffer.write(serial if raw else Stream().feed(serial, final=True).encode())
    return EXIT_OK


@contextlib.contextmanager
def port_of(host: str, name: str) -> Iterator[str]:
    """A VM's console as a port of pyserial's. Raises FloeError for a VM that has ended, has no REPL or is in use."""
    from floe.fleet import console

    with vms_of(host) as vms:
        vm = vms.find(name)
        if vm.alive and vm.mark.profile != "dev":
            raise FloeError(
                f"{name} has no REPL: its image is sealed", hint=f"floe run --host {host} --detach --dev APP"
            )
        if vm.mark.verified:
            raise FloeError(f"{name} was started with --verify: only what was signed runs in it")
        with tempfile.TemporaryDirectory(prefix="floe-") as folder:
            door = console.Door(vms, vm, Path(folder) / "console")
            try:
                yield f"floe://{door.path}"
            finally:
                door.close()


def _row(vm: There) -> tuple[str, ...]:
    memory = f"{vm.mark.memory / (1 << 20):g}M"
    return (vm.name, vm.host, _ending(vm), vm.accel, vm.machine, _ports(vm) or "-", memory, local.duration(vm.uptime))


def _ending(vm: There) -> str:
    if vm.alive:
        return vm.state
    return f"{vm.state} ({vm.code}, {vm.cause})" if vm.code is not None else f"{vm.state} ({vm.cause or 'unknown'})"


def _ports(vm: There) -> str:
    forwards = [forward_of(told) for told in vm.mark.ports]
    return " ".join(f"{forward.place()}->{forward.guest_place()}" for forward in forwards)
