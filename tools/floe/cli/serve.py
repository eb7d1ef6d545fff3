# SPDX-License-Identifier: MIT
"""`floe serve`: ports of this machine behind which VMs are started when somebody asks."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from floe import errors, units
from floe.cli.run import command as run
from floe.cli.run import say
from floe.errors import UsageError
from floe.serve.behind import Behind
from floe.serve.each import Each
from floe.serve.idle import Idle
from floe.serve.service import Policy, Service
from floe.serve.starts import Starts
from floe.spec.ports import Forward
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import VmSpec
from floe.stream.streams import Output
from floe.vm.childlines import ChildLines
from floe.vm.plan import plan

_OF_RUN = ("variant", "how", "memory", "forwards", "cards", "allow", "disks", "env", "env_files", "secrets",
           "child_secrets", "accel_name", "machine", "children")  # fmt: skip
_IDLE = "30s"
_MOST = 16


@click.command(
    params=[
        *(p for p in run.params if p.name in ("app", "args")),
        click.Option(["--per-connection"], is_flag=True, help="A VM of its own for each connection; it ends with it."),
        click.Option(["--idle-stop"], metavar="T", help="One VM for all connections, from the first one until nobody\n"
                     f"was connected for T, as 30s, 5m, 500ms.  [default: {_IDLE}]"),
        click.Option(["--max", "most"], type=click.IntRange(1, 1000), metavar="N",
                     help=f"With --per-connection: VMs at a time; further connections wait.  [default: {_MOST}]"),
        click.Option(["--pool", "ahead"], type=click.IntRange(0, 1000), metavar="N",
                     help="With --per-connection: of these VMs, N are started ahead, and wait.  [default: 0]"),
        *(p for p in run.params if p.name in _OF_RUN),
    ],
    short_help="Start VMs of an app when somebody connects.",
)  # fmt: skip
def command(
    app: Path,
    args: tuple[str, ...],
    per_connection: bool,
    idle_stop: str | None,
    most: int | None,
    ahead: int | None,
    **options: object,
) -> int:
    """Serve the ports of APP (a .py file, a folder with image.toml, an ELF) by VMs that are started when somebody
    connects: until then, and a while after, it costs no more than this process.

    ARGS are the script's sys.argv[1:]; put -- before them. Ctrl-C ends the VMs in order; a second one at once."""
    if per_connection and idle_stop is not None:
        raise UsageError(
            "--per-connection and --idle-stop: one of them", hint="--per-connection ends each VM by itself"
        )
    for option, number in (("--max", most), ("--pool", ahead)):
        if number is not None and not per_connection:
            raise UsageError(
                f"{option} is for --per-connection: else there is one VM",
                hint=f"floe serve {app} --per-connection {option} {number}",
            )
    idle_s = _seconds(idle_stop or _IDLE)
    options["accel"] = options.pop("accel_name")
    spec, _ = plan(app, RunOptions(args=args, **options), say)  # type: ignore[arg-type]  # click typed each
    forwards = _served(spec, app)
    if per_connection:
        _check_disks(spec)

    def choose(starts: Starts) -> Policy:
        return Each(starts, most or _MOST, ahead or 0) if per_connection else Idle(starts, idle_s)

    with asyncio.Runner() as runner:
        return runner.run(_serve(spec, forwards, choose, named=per_connection))


async def _serve(spec: VmSpec, forwards: Sequence[Forward], choose: Callable[[Starts], Policy], *, named: bool) -> int:
    """named: each line of a VM's has its name in front."""
    loop = asyncio.get_running_loop()
    starts = Starts(spec, loop, say)
    policy = choose(starts)
    service = Service(forwards, policy)
    output, errors_ = Output(1, loop), Output(2, loop)
    asked = False

    def stop() -> None:
        """A second time: who does not read what VMs said is not waited for."""
        nonlocal asked
        if asked:
            output.discard()
            errors_.discard()
        asked = True
        service.stop()

    lines = ChildLines(loop)

    def listen(machine: Behind) -> None:
        """What VMs say is shown: of one as it is, of several line by line with their names."""
        for source, shown in ((machine.console, output), (machine.serial, errors_)):
            if not named:
                source.on_data = shown.put
            else:
                lines.join(machine.name, source, _Lines(shown))

    starts.on_output = listen
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop)
    for forward in forwards:
        say(f"{forward.place()} is served by {spec.name}, port {forward.guest_port}")
    policy.prepare()
    in_order = await service.run()
    for each in (output, errors_):
        await each.drain()
    return errors.EXIT_OK if in_order else errors.EXIT_INTERRUPTED


class _Lines:
    """Standard output or error as ChildLines' target: only whole lines come."""

    data = b""
    closed = False

    def __init__(self, output: Output) -> None:
        self.inject = output.put
        self.at_line_end: Callable[[], bytes] = lambda: b""


def _seconds(text: str) -> float:
    seconds = units.parse_seconds(text)
    if not seconds:
        raise UsageError(f"--idle-stop {text}: not a time", hint="--idle-stop 30s, 5m, 1h or 500ms")
    return seconds


def _served(spec: VmSpec, app: Path) -> list[Forward]:
    """The ports. Raises UsageError."""
    other = next((card for card in spec.cards if card.kind != "user"), None)
    if other is not None:
        raise UsageError(f"--net {other.kind}: floe serve forwards ports, to cards of kind user", hint="--net user")
    udp = [forward for forward in spec.forwards if forward.protocol != "tcp"]
    if udp:
        raise UsageError(
            f"{udp[0].option()}: floe serve has VMs for connections, and UDP has none", hint=f"floe run {app}"
        )
    spread = next((forward for forward in spec.forwards if forward.spread), None)
    if spread is not None:
        raise UsageError(
            f"{spread.option()}: floe serve chooses the VM of a connection itself",
            hint=replace(spread, spread=False).option(),
        )
    if not spec.forwards:
        raise UsageError(f"{app} has no port to serve", hint=f"floe serve {app} -p 8080:80")
    return list(spec.forwards)


def _check_disks(spec: VmSpec) -> None:
    for disk in spec.disks:
        if not disk.readonly:
            raise UsageError(
                f"--disk {disk.path}: several VMs at a time cannot write one disk", hint=f"--disk {disk.path}:ro"
            )
