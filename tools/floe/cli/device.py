# SPDX-License-Identifier: MIT
"""`floe repl`, `cp`, `mount`: mpremote, called in-process, on the console of a detached VM; `exec`: by remote.py."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from floe.cli.hostword import on_host
from floe.device import mpremote
from floe.errors import EXIT_TIMED_OUT, NotFound, TimedOut, UsageError


@click.command()
@click.argument("name")
@on_host
def repl(name: str, host: str | None) -> int:
    """The console of a detached VM on this terminal; Ctrl-] or Ctrl-X leaves it, and the VM goes on."""
    if not sys.stdin.isatty():
        raise UsageError("floe repl needs a terminal", hint=f"floe exec {name} CODE")
    with _port(host, name) as port:
        return mpremote.run(name, ["repl"], port)


@click.command(name="exec")
@click.argument("name")
@click.argument("code", required=False)
@click.option("-f", "--file", "file", type=click.Path(path_type=Path), help="Run this file of this machine.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
              help="Interrupt the code after S seconds: exit code 124.")  # fmt: skip
@on_host
def execute(name: str, code: str | None, file: Path | None, timeout: float | None, host: str | None) -> int:
    """Run CODE in a detached VM: its output here, 1 as exit code when it raises. What it defines stays defined.

    Ctrl-C interrupts the code in the VM (exit code 130); a second one leaves it."""
    if (code is None) == (file is None):
        raise UsageError("either CODE or -f FILE", hint=f"floe exec {name} 'print(1)'")
    if file is not None and not file.is_file():
        raise NotFound(f"no such file: {file}")
    source = code.encode() if code is not None else file.read_bytes() if file is not None else b""
    from mpremote.transport_serial import SerialTransport

    from floe.device import remote

    with _port(host, name) as port, mpremote.told(name):
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
@on_host
def cp(sources: Sequence[str], target: str, recursive: bool, host: str | None) -> int:
    """Copy files from and to a detached VM; NAME:PATH is a file in the VM, as in floe cp main.py web:/lib/"""
    paths = [_vm_path(text) for text in (*sources, target)]
    names = sorted({name for name, _ in paths if name is not None})
    if len(names) != 1:
        problem = "none of the paths is in a VM" if not names else f"paths in several VMs: {', '.join(names)}"
        raise UsageError(problem, hint=f"floe cp {sources[0]} NAME:{target}")
    words = ["fs", "cp", *(["-r"] if recursive else []), *(path for _, path in paths)]
    with _port(host, names[0]) as port:
        return mpremote.run(names[0], words, port)


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
    return mpremote.run(name, ["mount", str(folder), *(words or ["repl"])])


@contextlib.contextmanager
def _port(host: str | None, name: str) -> Iterator[str]:
    """The port of a VM's console. Raises as mpremote.serial_port() does, and HostError."""
    if not host:
        yield mpremote.serial_port(name)
        return
    from floe.cli import hosted

    with hosted.port_of(host, name) as port:
        yield mpremote.known(port)


def _vm_path(text: str) -> tuple[str | None, str]:
    """VM and path as mpremote has it; a path of this machine has a / before its first colon, or no colon."""
    name, colon, path = text.partition(":")
    if not colon or "/" in name or not name:
        return None, text
    return name, f":{path}"
