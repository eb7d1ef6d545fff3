# SPDX-License-Identifier: MIT
"""A detached VM as pyserial and mpremote know a device: the port of its console, and mpremote, called in-process."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from collections.abc import Iterator, Sequence

from floe.detached import control
from floe.errors import EXIT_OK, EXIT_SCRIPT_ERROR, FloeError, VmError
from floe.store import vmfolder


def serial_port(name: str) -> str:
    """The port of a VM's console, for pyserial and mpremote.

    Raises FloeError for a VM that has ended, has no REPL or is in use."""
    status = control.status(vmfolder.find(name))
    if status.state == "restarting":
        raise FloeError(f"{name} has ended, and is to be started again", hint=f"floe logs -n 20 {name}")
    if status.state == "waiting":
        claim = shlex.join(["floe", "run", "--from", status.spec.origin, "--detach"])
        raise FloeError(f"{name} waits to be claimed", hint=claim)
    if not status.alive:
        end = status.end
        how = f": {end.code}, {end.cause}" if end and end.code is not None else f": {end.problem}" if end else ""
        raise FloeError(f"{name} has ended{how}", hint=f"floe logs {name}")
    if status.spec.profile != "dev":
        again = shlex.join(["floe", "run", "--detach", "--dev", str(status.spec.app)])
        raise FloeError(f"{name} has no REPL: its image is sealed", hint=again)
    if (plan := vmfolder.find(name).plan) is not None and plan.verified:
        again = shlex.join(["floe", "run", "--detach", status.spec.app])
        raise FloeError(
            f"{name} was started with --verify: only what was signed runs in it", hint=f"{again}, without --verify"
        )
    if status.client is not None:
        raise FloeError(f"{name} is in use by {status.client}", hint="one client at a time: end that one")
    return known(f"floe://{name}")


def known(port: str) -> str:
    """The same, once pyserial knows what floe:// is."""
    import serial

    if "floe.device" not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append("floe.device")
    return port


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """Failures of mpremote and pyserial in floe's words."""
    import serial
    from mpremote.transport import TransportError

    try:
        yield
    except TransportError as e:
        raise VmError(f"{name} does not answer as a REPL does: {e}", hint=f"floe logs -n 20 {name}") from e
    except serial.SerialException as e:
        raise VmError(f"{name} hung up: {e}", hint=f"floe ps --all; floe logs -n 20 {name}") from e


def run(name: str, words: Sequence[str], port: str = "") -> int:
    """Run mpremote's commands on a VM's console and return its exit code. port: where it is, if not this machine's VM
    of that name. Raises what serial_port() does."""
    port = port or serial_port(name)
    from mpremote import main as program

    from floe.device import transfer

    transfer.use()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # its own lines and the guest's bytes in order, in a pipe too
    before, sys.argv = sys.argv, ["mpremote", "connect", port, "resume", *words]
    try:
        with told(name):
            code = program.main()
    except SystemExit as e:
        code = e.code
    finally:
        sys.argv = before
    if code is None or code == 0:
        return EXIT_OK
    return code if isinstance(code, int) else EXIT_SCRIPT_ERROR
