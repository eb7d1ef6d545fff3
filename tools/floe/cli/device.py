# SPDX-License-Identifier: MIT
"""`floe repl`, `cp`, `mount`: mpremote, called in-process, on the console of a detached VM; `exec`: by remote.py."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from floe.detached import control
from floe.errors import EXIT_OK, EXIT_SCRIPT_ERROR, EXIT_TIMED_OUT, FloeError, NotFound, TimedOut, UsageError, VmError
from floe.store import vmfolder


@click.command()
@click.argument("name")
def repl(name: str) -> int:
    """The console of a detached VM on this terminal; Ctrl-] or Ctrl-X leaves it, and the VM goes on."""
    if not sys.stdin.isatty():
        raise UsageError("floe repl needs a terminal", hint=f"floe exec {name} CODE")
    return mpremote(name, ["repl"])


@click.command(name="exec")
@click.argument("name")
@click.argument("code", required=False)
@click.option("-f", "--file", "file", type=click.Path(path_type=Path), help="Run this file of this machine.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
              help="Interrupt the code after S seconds: exit code 124.")  # fmt: skip
def execute(name: str, code: str | None, file: Path | None, timeout: float | None) -> int:
    """Run CODE in a detached VM: its output here, 1 as exit code when it raises. What it defines stays defined.

    Ctrl-C interrupts the code in the VM (exit code 130); a second one leaves it."""
    if (code is None) == (file is None):
        raise UsageError("either CODE or -f FILE", hint=f"floe exec {name} 'print(1)'")
    if file is not None and not file.is_file():
        raise NotFound(f"no such file: {file}")
    source = code.encode() if code is not None else file.read_bytes() if file is not None else b""
    port = serial_port(name)
    from mpremote.transport_serial import SerialTransport

    from floe.device import remote

    with _told(name):
        transport = SerialTransport(port)
        try:
            ended = remote.execute(transport, source, timeout)
        finally:
            transport.close()
    if ended == EXIT_TIMED_OUT:
        raise TimedOut(f"the code did not end within {timeout:g} s, and was interrupted", hint="a longer --timeout")
    return ended


@click.command()
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.argument("target", metavar="DST")
@click.option("-r", "--recursive", is_flag=True, help="Folders with all in them.")
def cp(sources: Sequence[str], target: str, recursive: bool) -> int:
    """Copy files from and to a detached VM; NAME:PATH is a file in the VM, as in floe cp main.py web:/lib/"""
    paths = [_vm_path(text) for text in (*sources, target)]
    names = sorted({name for name, _ in paths if name is not None})
    if len(names) != 1:
        problem = "none of the paths is in a VM" if not names else f"paths in several VMs: {', '.join(names)}"
        raise UsageError(problem, hint=f"floe cp {sources[0]} NAME:{target}")
    return mpremote(names[0], ["fs", "cp", *(["-r"] if recursive else []), *(path for _, path in paths)])


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("words", metavar="[COMMAND...]", nargs=-1, type=click.UNPROCESSED)
def mount(name: str, folder: Path, words: Sequence[str]) -> int:
    """Show DIR of this machine as /remote in a detached VM while COMMAND runs there: repl (if none is given), exec
    CODE, run FILE, or another one of mpremote's."""
    if not folder.is_dir():
        raise NotFound(f"no such folder: {folder}")
    if not words and not sys.stdin.isatty():
        raise UsageError("floe mount without a command needs a terminal", hint=f"floe mount {name} {folder} exec CODE")
    return mpremote(name, ["mount", str(folder), *(words or ["repl"])])


def _vm_path(text: str) -> tuple[str | None, str]:
    """VM and path as mpremote has it; a path of this machine has a / before its first colon, or no colon."""
    name, colon, path = text.partition(":")
    if not colon or "/" in name or not name:
        return None, text
    return name, f":{path}"


def serial_port(name: str) -> str:
    """The port of a VM's console, for pyserial and mpremote.

    Raises FloeError for a VM that has ended, has no REPL or is in use."""
    status = control.status(vmfolder.find(name))
    if status.state != "running":
        end = status.end
        how = f": {end.code}, {end.cause}" if end and end.code is not None else f": {end.problem}" if end else ""
        raise FloeError(f"{name} has ended{how}", hint=f"floe logs {name}")
    if status.spec.profile != "dev":
        again = shlex.join(["floe", "run", "--detach", "--dev", str(status.spec.app)])
        raise FloeError(f"{name} has no REPL: its image is sealed", hint=again)
    if status.client is not None:
        raise FloeError(f"{name} is in use by {status.client}", hint="one client at a time: end that one")
    import serial

    if "floe.device" not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append("floe.device")
    return f"floe://{name}"


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Failures of mpremote and pyserial in floe's words."""
    import serial
    from mpremote.transport import TransportError

    try:
        yield
    except TransportError as e:
        raise VmError(f"{name} does not answer as a REPL does: {e}", hint=f"floe logs -n 20 {name}") from e
    except serial.SerialException as e:
        raise VmError(f"{name} hung up: {e}", hint=f"floe ps --all; floe logs -n 20 {name}") from e


def mpremote(name: str, words: Sequence[str]) -> int:
    """Run mpremote's commands on a VM's console and return its exit code. Raises what serial_port() does."""
    port = serial_port(name)
    from mpremote import main as program

    from floe.device import transfer

    transfer.use()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # its own lines and the guest's bytes in order, in a pipe too
    before, sys.argv = sys.argv, ["mpremote", "connect", port, "resume", *words]
    try:
        with _told(name):
            code = program.main()
    except SystemExit as e:
        code = e.code
    finally:
        sys.argv = before
    if code is None or code == 0:
        return EXIT_OK
    return code if isinstance(code, int) else EXIT_SCRIPT_ERROR
