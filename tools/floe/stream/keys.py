# SPDX-License-Identifier: MIT
"""The bytes that are typed to a guest, and the words by which its REPL is known (MicroPython's reference/repl)."""

from __future__ import annotations

RAW = b"\x01"  # Ctrl-A: into raw mode
FRIENDLY = b"\x02"  # Ctrl-B: out of raw mode
INTERRUPT = b"\x03"  # Ctrl-C
END = b"\x04"  # Ctrl-D: of what is typed in raw mode; of a program's output, then of its traceback
INPUT_END = b"\xff" + END  # to a dev image at its prompt: there is no more to type (port/dev/repl.c)
ESCAPE = b"\x1d"  # Ctrl-], as in mpremote and telnet

ENTER_RAW = b"\r" + RAW  # without mpremote's Ctrl-C: a script beside the REPL goes on
RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"  # the prompt comes after it
RAW_PROMPT = b">"
PROMPT = b'Type "help()" for more information.\r\n>>> '  # a dev image's, once its script has ended

# To a dev image, whose script may run on beside a REPL that takes Ctrl-C: the same for the script, then the VM's end.
# The guest does it at Xen's wish too: port/dev/repl.c.
_STOP_DEVICE = INTERRUPT * 2 + ENTER_RAW + b"import floe\nfloe.stop()" + END + FRIENDLY


def stop_keys(profile: str) -> bytes:
    """What to type to ask a guest with an image of this profile for its end."""
    return _STOP_DEVICE if profile == "dev" else INTERRUPT
