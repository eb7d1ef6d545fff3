# SPDX-License-Identifier: MIT
"""`floe top`: what detached VMs use, now and again."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from floe.cli import signals
from floe.errors import EXIT_OK, NotFound
from floe.shown import shown

if TYPE_CHECKING:
    from rich.table import Table

    from floe.detached.usage import Usage, Watch

_ONCE_S = 0.5  # over which rates are taken for one answer
_HEAD = ("NAME", "STATE", "READY", "CPU", "HOST", "MEMORY", "SCRIPT", "C", "IN/S", "OUT/S", "PKT IN/S", "PKT OUT/S",
         "CONNS", "RESTARTS", "UPTIME")  # fmt: skip
_NUMBERS = _HEAD[3:13]
_WIDE = {"READY": 100, "MEMORY": 100, "C": 130, "PKT IN/S": 130, "PKT OUT/S": 130}  # shown from so many columns on
_NOBODY = "no VM runs here; floe run --detach or floe compose up starts some"
_KEYS: dict[str, Callable[[Usage], tuple[float, str]]] = {
    "name": lambda usage: (0, usage.status.spec.name),
    "cpu": lambda usage: (-(usage.cpu or 0), usage.status.spec.name),
    "host": lambda usage: (-(usage.host_bytes or 0), usage.status.spec.name),
    "script": lambda usage: (-(usage.guest.heap_used if usage.guest else 0), usage.status.spec.name),
    "net": lambda usage: (-((usage.rx_rate or 0) + (usage.tx_rate or 0)), usage.status.spec.name),
    "conns": lambda usage: (-((usage.guest and usage.guest.connections) or 0), usage.status.spec.name),
}
_TYPED = {word[0]: word for word in ("name", "cpu", "host", "script")} | {"i": "net", "t": "conns"}
_LEAVE = "qQ\x1b\x04"


@click.command()
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--interval", type=click.FloatRange(min=0.1, max=3600), default=2.0, show_default=True, metavar="S",
              help="Between two looks.")  # fmt: skip
@click.option(
    "--sort", "key", type=click.Choice(tuple(_KEYS)), default="name", show_default=True, help="The largest first."
)
@click.option("--once", is_flag=True, help="One table, and the end; so where standard output is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each look: a list of VMs.")
def command(names: Sequence[str], interval: float, key: str, *, once: bool, as_json: bool) -> int:
    """What the detached VMs use, as a live table; q or Ctrl-C leaves it. NAME: a VM, or a stack for all of its VMs.

    CPU: of one processor. HOST: the VM's share of this machine's memory; MEMORY: what is in use of what the VM has;
    SCRIPT: what Python objects take of what their heap has grown to; C: what C code has taken. IN/S, OUT/S: bytes of
    its network cards, and PKT its packets. CONNS: TCP connections. The guest's own figures are read from its memory,
    and cost it nothing; where that is not allowed they are `-`.

    On a terminal the keys n, c, h, s, i, t sort by name, cpu, host, script, net, conns."""
    from floe.detached import usage

    for name in names:
        if not usage.known(name):
            raise NotFound(f"there is no VM and no stack {name}", hint="floe ps --all")
    watch = usage.Watch(names)

    def look() -> list[Usage]:
        return sorted(watch.sample(), key=_KEYS[key])

    try:
        if as_json:
            _print_json(look, interval, once=once)
        elif once or not sys.stdout.isatty():
            _print_once(look)
        else:
            _show(watch, key, interval)
    except KeyboardInterrupt:
        pass
    finally:
        watch.close()
    return EXIT_OK


def _print_json(look: Callable[[], list[Usage]], interval: float, *, once: bool) -> None:
    look()
    _wait(_ONCE_S if once else interval)
    while True:
        click.echo(json.dumps([usage.as_dict() for usage in look()]))
        if once:
            return
        _wait(interval)


def _wait(seconds: float) -> None:
    select.select([], [], [], seconds)


def _print_once(look: Callable[[], list[Usage]]) -> None:
    from floe.cli import vms

    if not look():
        click.echo(f"floe: {_NOBODY}", err=True)
        return
    _wait(_ONCE_S)
    vms.table([_HEAD, *map(_row, look())])


def _show(watch: Watch, key: str, interval: float) -> None:
    from rich.console import Console
    from rich.live import Live

    found = watch.sample()
    with signals.as_ctrl_c(), _keys() as typed, Live(console=Console(), screen=True, auto_refresh=False) as live:
        due = time.monotonic() + min(_ONCE_S, interval)
        while True:
            for pressed in typed(due):
                if pressed in _LEAVE:
                    return
                key = _TYPED.get(pressed, key)
            if time.monotonic() >= due:
                found = watch.sample()
                due = time.monotonic() + interval
            live.update(_table(sorted(found, key=_KEYS[key]), live.console.width), refresh=True)


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits until then, or for keys, which it returns. Ctrl-Z does nothing meanwhile: it would leave
    the terminal as it is."""
    fd = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = termios.tcgetattr(fd) if fd is not None else None
    stopping = signal.signal(signal.SIGTSTP, signal.SIG_IGN)

    def typed(due: float) -> str:
        left = max(0.0, due - time.monotonic())
        if fd is None or not select.select([fd], [], [], left)[0]:
            _wait(left if fd is None else 0)
            return ""
        return os.read(fd, 64).decode("utf-8", "replace") or _LEAVE  # the terminal is gone

    try:
        if fd is not None:
            tty.setcbreak(fd)
        yield typed
    finally:
        if fd is not None and before is not None:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTSTP, stopping)


def _table(found: list[Usage], width: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), caption=None if found else _NOBODY)
    columns = [number for number, name in enumerate(_HEAD) if width >= _WIDE.get(name, 0)]
    for name in (_HEAD[number] for number in columns):
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    for usage in found:
        style = "" if usage.status.state == "running" and usage.ready is not False else "yellow"
        cells = _row(usage)
        table.add_row(*(Text(shown(cells[number])) for number in columns), style=style)
    return table


def _row(usage: Usage) -> tuple[str, ...]:
    from floe.cli import vms

    guest = usage.guest
    _, memory, uptime = vms.sizes(usage.status)
    if guest is not None and guest.ram is not None and guest.ram_free is not None:
        memory = f"{_bytes(guest.ram - guest.ram_free)}/{memory}"
    return (
        usage.status.spec.name,
        usage.status.state,
        "-" if usage.ready is None else "yes" if usage.ready else "no",
        "-" if usage.cpu is None else f"{usage.cpu * 100:.1f}%",
        _bytes(usage.host_bytes),
        memory,
        f"{_bytes(guest.heap_used)}/{_bytes(guest.heap)}" if guest else "-",
        _bytes(guest.c_heap if guest else None),
        _bytes(usage.rx_rate),
        _bytes(usage.tx_rate),
        *("-" if rate is None else f"{rate:.0f}" for rate in (usage.rx_frames_rate, usage.tx_frames_rate)),
        "-" if guest is None or guest.connections is None else str(guest.connections),
        str(usage.status.restarts),
        uptime,
    )


def _bytes(number: float | None) -> str:
    """In the largest unit that leaves it above 1, with three digits."""
    if number is None:
        return "-"
    for unit in ("", "K", "M"):
        if number < 1000:
            return f"{number:.0f}{unit}" if not unit or number >= 100 else f"{number:.1f}{unit}"
        number /= 1024
    return f"{number:.1f}G"
