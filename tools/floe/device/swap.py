# SPDX-License-Identifier: MIT
"""Another version of a module sent to a guest, which loads it beside the program and changes over between two
bytecodes (port/dev/swap.c)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from floe.device import mpremote
from floe.errors import FloeError, VmError
from floe.stream import keys

if TYPE_CHECKING:
    from mpremote.transport_serial import SerialTransport

MAIN = "__main__"  # the main script
_BEGINS = b"floe: another __main__ begins\r\n"  # port/dev/repl.c
_ANSWER_S = 5.0
_SOON_S = 2.0  # an answer of a REPL beside a loop takes less
_END_S = 10.0  # for the main script to end
_SWAP = "import floe\nfloe.swap({module!r}, {code!r})"
_PAUSE = "floe.pause_us()"


def replace_main(name: str, code: bytes) -> None:
    """End the main script of a VM as floe stop does, and run .mpy bytes in its place. Raises FloeError."""
    with _raw_mode(name, interrupt=True) as transport:
        _told(transport, MAIN, code)
        transport.exit_raw_repl()
        if not transport.read_until(1, _BEGINS, timeout_overall=_END_S).endswith(_BEGINS):
            raise VmError(
                f"the main script of {name} did not end within {_END_S:g} s",
                hint=f"the new one runs once it has; or: floe stop {name}",
            )


def replace(name: str, module: str, code: bytes) -> int:
    """Send .mpy bytes to a VM whose program has imported the module; microseconds for which that held up the program.

    Raises FloeError with the guest's words when it refuses, and then nothing has changed."""
    with _raw_mode(name) as transport:
        _told(transport, module, code)
        return int(transport.eval(_PAUSE))


def _told(transport: SerialTransport, module: str, code: bytes) -> None:
    from mpremote.transport import TransportExecError

    try:
        transport.exec(_SWAP.format(module=module, code=code))
    except TransportExecError as e:
        lines = e.error_output.strip().splitlines()
        why = lines[-1] if lines else "no reason given"
        hint = f"the main script is called {MAIN}" if "has been imported" in why else ""
        raise FloeError(f"{module} was not replaced: {why}", evidence="\n".join(lines[:-1]), hint=hint) from e


@contextlib.contextmanager
def _raw_mode(name: str, *, interrupt: bool = False) -> Iterator[SerialTransport]:
    """interrupt: a script that has no REPL beside it is ended by Ctrl-C, and the REPL after it is taken."""
    url = mpremote.serial_port(name)
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
                    hint=f"floe stop {name}" if interrupt else "only an asyncio loop, or an appliance, has one",
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
