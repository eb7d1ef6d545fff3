# SPDX-License-Identifier: MIT
"""A monitor connection to the lab's QEMU."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

from floe.errors import VmError

TIMEOUT_S = 10.0


class Qmp:
    """One short QMP connection (QEMU's interop/qmp-spec), ready for commands."""

    def __init__(self, sock: socket.socket, evidence: Callable[[], str]) -> None:
        """evidence: what is known when it does not answer."""
        self._sock = sock
        self._evidence = evidence
        self._lines = sock.makefile("rb")
        self._events: list[dict[str, Any]] = []

    def greet(self, timeout_s: float = TIMEOUT_S) -> None:
        """Read the greeting and ask for command mode. Raises VmError."""
        self._sock.settimeout(timeout_s)
        self._message()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a command and return what it returns. Raises VmError: refused, or QEMU is gone."""
        try:
            self._sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        except OSError as e:
            raise VmError(f"QEMU's monitor does not take {command}: {e}") from e
        while True:
            message = self._message()
            if "error" in message:
                raise VmError(f"QEMU refused {command}: {message['error'].get('desc')}")
            if "return" in message:
                return message["return"]

    def human(self, line: str) -> str:
        """What the human monitor says to a command; "" when it did it. Raises VmError."""
        said = self.execute("human-monitor-command", **{"command-line": line})
        assert isinstance(said, str)
        return said.strip()

    def wait(self, event: str, wanted: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
        """The data of the first event of this name that is wanted, also of those that came already. Raises VmError."""
        ends = time.monotonic() + timeout_s
        while True:
            while self._events:
                message = self._events.pop(0)
                if message["event"] == event and wanted(message.get("data", {})):
                    data = message.get("data", {})
                    assert isinstance(data, dict)
                    return data
            self._sock.settimeout(max(0.01, ends - time.monotonic()))
            self._message()
            self._sock.settimeout(TIMEOUT_S)

    def _message(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
            if not line:
                raise ConnectionError("it closed the connection")
            message = json.loads(line)
            assert isinstance(message, dict)
            if "event" in message:
                self._events.append(message)
            return message
        except (OSError, ValueError) as e:
            raise VmError(f"QEMU's monitor does not answer: {e}", evidence=self._evidence()) from e

    def close(self) -> None:
        self._lines.close()
        self._sock.close()
