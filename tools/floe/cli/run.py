# SPDX-License-Identifier: MIT
"""`floe run`: build if needed, boot, console here, and the script's exit code as ours."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from floe import errors
from floe.cli.hostword import on_host
from floe.errors import FloeError, UsageError
from floe.hypervisor import registry
from floe.image import elf
from floe.qemu import accel, commandline, reach, ring3
from floe.shown import shown
from floe.spec.restart import Policy, parse_restart
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import DEFAULT_HYPERVISOR, VmSpec
from floe.stream.stamps import BootTimes
from floe.vm.plan import identity, plan
from floe.vm.session import Session
from floe.vm.vm import Vm


def _app(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """It is needed, but for what goes on from a file."""
    if value is None and ctx.params.get("from_file") is None:
        raise click.MissingParameter(ctx=ctx, param=param)
    return value


@click.command(short_help="Build if needed, boot, and show the console here.")
@click.argument("app", type=click.Path(path_type=Path), required=False, metavar="APP", callback=_app)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--dev", is_flag=True, help="Build with REPL and compiler; the REPL follows the script.")
@click.option("--variant", metavar="NAME", default="", help="Build as [variant.NAME] of image.toml says.")
@click.option("--tls", "variant", flag_value="tls", help="Short for --variant tls.")
@click.option("--linked", "how", flag_value="linked", help="Link it, with gcc and ld.  [default: where they are]")
@click.option("--ready", "how", flag_value="ready", help="Join it to a ready kernel, which takes no compiler.")
@click.option("--memory", metavar="SIZE", help="RAM of the VM, as 32M.  [default: what the image asks for]")
@click.option("-p", "--publish", "forwards", multiple=True, metavar="[ADDR:]HOST:GUEST[/udp|/spread]",
              help="Forward a port of this machine, or a range; ADDR: 127.0.0.1, HOST 0: any free.")  # fmt: skip
@click.option("--net", "cards", multiple=True,
              metavar="KIND[,ip=ADDR/BITS[+N]|dhcp|none][,gw=ADDR][,dns=ADDR][,ip6=ADDR/BITS|none][,mac=MAC]",
              help="Card: user, none, tap:NAME, bridge:NAME, listen:PATH, connect:PATH.  [default: user]")  # fmt: skip
@click.option("--allow", multiple=True, metavar="HOST:PORT[/udp]|none",
              help="What the VM may reach, a name or an address, and nothing else.  [default: all]")  # fmt: skip
@click.option("--disk", "disks", multiple=True, metavar="FILE[:ro][:size=N][:optional]",
              help="A disk, mounted at /, /disk1, /disk2, ...; with size=16M a missing FILE is created.\n"
                   "The VM ends with 119 where it cannot be mounted and is not optional.")  # fmt: skip
@click.option(
    "-e",
    "--env",
    "env",
    multiple=True,
    metavar="K[=V]",
    help="Set for os.getenv(), on no command line; without =V, this shell's value.",
)
@click.option("--env-file", "env_files", multiple=True, metavar="FILE",
              help="Lines K=V for os.getenv(), as docker's; --env is over it.")  # fmt: skip
@click.option("--secret", "secrets", multiple=True, metavar="NAME=FILE", help="Hand FILE over for floe.secret(NAME).")
@click.option("--child-secret", "child_secrets", multiple=True, metavar="NAME",
              help="A child of fork() may read this one, too.  [default: those of image.toml]")  # fmt: skip
@click.option(
    "--uuid", metavar="UUID", default="", help="machine.unique_id() of the VM.  [default: by --name, else random]"
)
@click.option("--accel", "accel_name", type=click.Choice(accel.ACCELS), default="auto", show_default=True)
@click.option("--hypervisor", type=click.Choice(registry.HYPERVISORS), default="qemu", show_default=True,
              help="xen: this dom0, or the lab that `floe lab xen up` started.")  # fmt: skip
@click.option("--machine", type=click.Choice(commandline.MACHINES), default="microvm", show_default=True)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="End the VM after S seconds: exit code 124.",
)
@click.option("--verify", type=click.Path(path_type=Path), metavar="PUBKEY",
              help="Boot APP, an ELF, only if APP.sig is a signature of it by a key of this file.")  # fmt: skip
@click.option("-d", "--detach", is_flag=True, help="Return when the VM runs; floe ps, logs, repl, stop are for it.")
@click.option("--name", metavar="NAME", help="Of the detached VM.  [default: made from APP]")
@click.option("--console-port", type=click.IntRange(0, 65535), metavar="PORT",
              help="With -d: the console at a port of 127.0.0.1 too, 0 for any; for this user alone.")  # fmt: skip
@click.option("--restart", metavar="POLICY", default="no",
              help="With -d: start it again when it ends: on-failure (its exit code is not 0) or always, with :N at\n"
                   "most N times; not after floe stop.  [default: no]")  # fmt: skip
@click.option("--children", type=click.IntRange(min=0), metavar="N",
              help="How many copies of a VM that forks may run at a time.  [default: 16]")  # fmt: skip
@click.option("--from", "from_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Instead of booting APP, go on from what `floe snapshot` kept.")  # fmt: skip
@click.option("-n", "copies", type=click.IntRange(min=1), metavar="COPIES",
              help="With --from and -d: so many VMs, NAME, NAME-2, ...  [default: 1]")  # fmt: skip
@click.option("--pool", "pool_size", type=click.IntRange(0, 1000), metavar="N",
              help="With --from and -d: have N VMs wait that went on from FILE; without --pool, one of them\n"
                   "goes on then. With APP, FILE is made first: APP as it is at vm.ready().")  # fmt: skip
@click.option("--no-aslr", is_flag=True, help="Do not move the image to random addresses, for a debugger.")
@click.option("--stamps", is_flag=True, help="Print when kernel and script started.")
@on_host
@click.option("--dry-run", is_flag=True, help="Print the command line, or Xen's configuration, instead of running it.")
@click.option("-v", "--verbose", is_flag=True, help="Say which accelerator and command line are used.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One line of JSON: how it went, on standard error; with -d the VM, on standard output.",
)
def command(
    app: Path | None,
    timeout: float | None,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
    accel_name: str,
    **options: str | bool | int | tuple[str, ...] | None,
) -> int:
    """Boot APP: a .py file or a folder with image.toml, built if needed, or an ELF that floe built.

    ARGS are the script's sys.argv[1:]; put -- before them. Ctrl-C asks the script to end; a second Ctrl-C, or
    Ctrl-], ends the VM."""
    if host := options.pop("host"):
        return _on_host(str(host), options)
    if options.pop("from_file") is not None:
        from floe.cli import snapshot

        return snapshot.run(click.get_current_context())
    assert app is not None
    if options.pop("copies") is not None:
        raise UsageError("-n is for VMs that go on from a snapshot", hint="floe run --from FILE -d -n COPIES")
    if options.pop("pool_size") is not None:
        raise UsageError("--pool is for VMs that go on from a snapshot", hint="floe run -d --pool N --from FILE APP")
    detach, name, console_port = (options.pop(key) for key in ("detach", "name", "console_port"))
    policy = parse_restart(str(options.pop("restart")))
    if name and not options["uuid"]:
        options["uuid"] = identity(str(name))
    spec, why_no_kvm = plan(app, RunOptions(accel=accel_name, **options), say)  # type: ignore[arg-type]  # click typed each
    if dry_run:
        _show(replace(spec, elf=app) if spec.verified else spec, as_json=as_json)
        return errors.EXIT_OK
    if verbose:
        say(f"using {spec.accel}" + (f"; {why_no_kvm}" if why_no_kvm else ""))
        if spec.accel == "kvm" and ring3.refuses_syscall(accel.KVM_DEVICE) is False:
            say(ring3.NO_BOUNDARY)
        if spec.hypervisor == DEFAULT_HYPERVISOR and (lacking := reach.lacks()):
            say(lacking)
    if detach:
        if timeout is not None:
            raise UsageError("--timeout: a detached VM is ended by `floe stop`")
        port = console_port if isinstance(console_port, int) else None
        _detach(spec, app=app, name=name, console_port=port, restart=policy, as_json=as_json)
        return errors.EXIT_OK
    check_attached(shlex.quote(str(app)), name, console_port)
    if policy.ever:
        raise UsageError(
            "--restart is for a detached VM", hint=f"floe run --detach --restart {policy} {shlex.quote(str(app))}"
        )
    session = Session(Vm(spec), interactive=elf.read(spec.elf).content["profile"] == "dev", say=say)
    return finish(session, {"timeout": timeout, "verbose": verbose, "as_json": as_json})


def _on_host(host: str, options: dict[str, Any]) -> int:
    from floe.cli import hosted

    of_here = {"from_file", "copies", "pool_size", "detach", "name", "console_port", "restart"}
    own = {key: value for key, value in options.items() if key not in of_here}
    return hosted.run(host, click.get_current_context().params, own)


def finish(session: Session, params: Mapping[str, object]) -> int:
    """Run it to its end, as --timeout, --verbose and --json say, and return the exit code."""
    verbose, as_json = bool(params["verbose"]), bool(params["as_json"])
    if not as_json:
        session.on_stamps = lambda times: say(times.text())

    def started() -> None:
        if verbose:
            say(shlex.join(session.vm.argv))

    timeout = params["timeout"]
    try:
        code = session.run(timeout if isinstance(timeout, float) else None, meanwhile=started)
    except FloeError as e:
        if as_json:
            click.echo(json.dumps(_report(session, e.exit_code)), err=True)
        raise
    if as_json:
        click.echo(json.dumps(_report(session, code)), err=True)
    return code


def check_attached(what: str, name: object, console_port: object) -> None:
    """No option is one of --detach. what: the words behind `floe run` and its options. Raises UsageError."""
    if console_port is not None:
        raise UsageError("--console-port is for a detached VM", hint=f"floe run --detach --console-port 0 {what}")
    if name is not None:
        raise UsageError("--name is for a detached VM", hint=f"floe run --detach --name {name} {what}")


def _show(spec: VmSpec, *, as_json: bool) -> None:
    click.echo(registry.create(spec.hypervisor).show(spec, as_json=as_json))
    if spec.egress is not None:
        say("--allow is not in this command, whose VM may reach all that this host does")
    for forward in spec.forwards:
        if forward.through:
            say(f"{forward.place()} is not in this command: floe carries it to 127.0.0.1:{forward.through}")


def _detach(spec: VmSpec, *, app: Path, name: object, console_port: int | None, restart: Policy, as_json: bool) -> None:
    from floe.cli import runwords, vms
    from floe.detached import control, launch

    own = str(name) if name else None
    try:
        words = runwords.given(click.get_current_context())
    except UsageError:  # a secret from a pipe: no service can be made of this
        words = []
    folder = launch.launch(spec, app=str(app), name=own, console_port=console_port, restart=str(restart), command=words)
    vms.started(control.status(folder), as_json=as_json)


def say(text: str) -> None:
    """One line of floe's own on standard error."""
    click.echo(shown(f"floe: {text}"), err=True)


def _report(session: Session, code: int) -> dict[str, object]:
    vm = session.vm
    times = session.stamps.times if session.stamps else None
    return {
        "exit_code": code,
        "cause": vm.outcome.cause if vm.outcome else "failure",
        "accel": vm.spec.accel,
        "machine": vm.spec.machine,
        "hypervisor": vm.spec.hypervisor,
        "memory": vm.spec.memory,
        "ports": [asdict(forward) for forward in vm.spec.forwards],
        "resets": vm.resets,
        "stamps_ms": (times or BootTimes()).as_dict() if session.stamps else None,
    }
