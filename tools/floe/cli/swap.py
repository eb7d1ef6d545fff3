# SPDX-License-Identifier: MIT
"""`floe swap NAME MODULE FILE`: another version of a module for a program that runs in a detached VM, and goes on.

FILE is compiled here; the guest loads it beside the program and changes over between two bytecodes (port/dev/swap.c).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from floe.build import bytecode, port_archive
from floe.cli import device
from floe.errors import FloeError, NotFound, VmError
from floe.stream import keys

if TYPE_CHECKING:
    from mpremote.transport_serial import SerialTransport

_BEGINS = b"floe: another __main__ begins\r\n"  # port/dev/repl.c
_ANSWER_S = 5.0
_SOON_S = 2.0  # an answer of a REPL beside a loop takes less
_END_S = 10.0  # for the main script to end
_MAIN = "__main__"
_SWAP = "import floe\nfloe.swap({module!r}, {code!r})"
_PAUSE = "floe.pause_us()"


@click.command()
@click.argument("name")
@click.argument("module")
@click.argument("file", type=click.Path(path_type=Path))
def command(name: str, module: str, file: Path) -> int:
    """Replace MODULE, which the program in a detached VM has imported, by FILE, while it runs (dev images).

    Functions and classes that others have taken from the module follow; what runs ends as it began. The module's state
    starts anew: what FILE assigns at its top level. Names that FILE does not have keep their values, and so do those
    that it lists: __floe_keep__ = ("visits", "cache"). When FILE does not compile, or fails at its first run, nothing
    changes.

    MODULE __main__ is the main script: it is asked for its end, as floe stop asks (an asyncio loop's main task is
    cancelled, else it gets Ctrl-C), and FILE runs in its place. Modules and names that FILE does not assign keep their
    values; tasks and connections of the loop end."""
    if not file.is_file():
        raise NotFound(f"no such file: {file}")
    target = module.replace(".", "/") + ".py"
    code = bytecode.compile_file(port_archive.load("dev").mpy_cross, file, target).read_bytes()
    if module == _MAIN:
        _swap_main(name, code)
        click.echo(f"the main script of {name} has ended, and {file} runs in its place", err=True)
        return 0
    with _raw_mode(name) as transport:
        pause_us = swap(transport, module, code)
    click.echo(f"{module} replaced in {name}; the program paused for {pause_us / 1000:.1f} ms", err=True)
    click.echo(f"  what {file} assigns at its top level has started anew; other names are kept", err=True)
    return 0


def _swap_main(name: str, code: bytes) -> None:
    with _raw_mode(name, interrupt=True) as transport:
        _told(transport, _MAIN, code)
        transport.exit_raw_repl()
        if not transport.read_until(1, _BEGINS, timeout_overall=_END_S).endswith(_BEGINS):
            raise VmError(
                f"the main script of {name} did not end within {_END_S:g} s",
                hint=f"the new one runs once it has; or: floe stop {name}",
            )


def swap(transport: SerialTransport, module: str, code: bytes) -> int:
    """Send .mpy bytes to a guest in raw mode; microseconds for which that held up the program.

    Raises FloeError with the guest's words when it refuses, and then nothing has changed."""
    _told(transport, module, code)
    return int(transport.eval(_PAUSE))


def _told(transport: SerialTransport, module: str, code: bytes) -> None:
    from mpremote.transport import TransportExecError

    try:
        transport.exec(_SWAP.format(module=module, code=code))
    except TransportExecError as e:
        lines = e.error_output.strip().splitlines()
        why = lines[-1] if lines else "no reason given"
        hint = f"the main script is called {_MAIN}" if "has been imported" in why else ""
        raise FloeError(f"{module} was not replaced: {why}", evidence="\n".join(lines[:-1]), hint=hint) from e


@contextlib.contextmanager
def _raw_mode(name: str, *, interrupt: bool = False) -> Iterator[SerialTransport]:
    """interrupt: a script that has no REPL beside it is ended by Ctrl-C, and the REPL after it is taken."""
    url = device.serial_port(name)
    import serial
    from mpremote.transport import TransportError
    from mpremote.transport_serial import SerialTransport

    try:
        transport = SerialTransport(url)
        try:
            transport.serial.write(keys.ENTER_RAW)
            answered = _greeted(transport, _SOON_S if interrupt else _ANSWER_S)
            if interrupt and not answered:
                transport.serial.write(keys.INTERRUPT)
                answered = _greeted(transport, _ANSWER_S)
            if not answered:
                raise VmError(
                    f"{name} did not end at Ctrl-C" if interrupt else f"{name} has no REPL beside its program",
                    evidence=f"it did not answer within {_ANSWER_S:g} s",
                    hint=f"floe stop {name}" if interrupt else "only a program that runs an asyncio loop has one",
                )
            transport.in_raw_repl = True
            try:
                yield transport
            finally:
                if transport.in_raw_repl:
                    transport.exit_raw_repl()
        finally:
            transport.close()
    except (TransportError, serial.SerialException) as e:
        raise VmError(f"{name} does not answer as a REPL does: {e}", hint=f"floe logs -n 20 {name}") from e


def _greeted(transport: SerialTransport, seconds: float) -> bool:
    return bool(transport.read_until(1, keys.RAW_BANNER, timeout_overall=seconds).endswith(keys.RAW_BANNER))
