# SPDX-License-Identifier: MIT
"""Stands for QEMU where a container's first process is tested: `fakeqemu.py NOTES MODE ... -append LINE`. Writes to the
file NOTES what it was given, and ends in the way that MODE says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

SERIAL, MONITOR, VARIABLES = 3, 4, 5  # entry.h


def told() -> dict[str, object]:
    variables = os.pread(VARIABLES, 1 << 20, 0).decode().split("\0")[:-1]
    return {
        "words": sys.argv[3:-1],
        "line": sys.argv[-1],
        "variables": dict(variable.split("=", 1) for variable in variables),
        "environment": sorted(os.environ),
        "descriptors": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) < 64),
    }


def asked() -> None:
    """Wait for Ctrl-C on the console."""
    while os.read(0, 1) != b"\x03":
        pass


def say(event: str) -> None:
    os.write(MONITOR, (event + "\n").encode())


def main() -> int:
    notes, mode = sys.argv[1:3]
    with open(notes, "a") as f:
        f.write(json.dumps(told()) + "\n")
    os.write(SERIAL, b"from the 16550\n")
    print("from the console", flush=True)
    what, _, value = mode.partition(":")
    if what == "reset":
        return int(value) if "floe.reset" not in sys.argv[-1] else 3
    if what == "asked":
        asked()
        print("asked", flush=True)
    elif what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        time.sleep(60)
    elif what == "slow":
        print("slow", flush=True)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        time.sleep(60)
    elif what == "stands":
        say("x" * 9000)  # longer than a line that it keeps
        say('{"event": "STOP"}')
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        time.sleep(60)
    elif what == "event":
        reason, _, value = value.partition(":")
        say(json.dumps({"event": "SHUTDOWN", "data": {"guest": True, "reason": reason}}))
    elif what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return int(value or 0)


if __name__ == "__main__":
    sys.exit(main())
