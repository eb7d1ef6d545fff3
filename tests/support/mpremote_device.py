# SPDX-License-Identifier: MIT
"""A VM's console as the port of a device, for unmodified mpremote: a TCP port of the loopback, served while a test waits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from floe.stream.streams import Matched
from floe.testing import Guest

T = TypeVar("T")


class Device:
    """Bridges a guest's console to one TCP client at a time. Lives as long as the guest's event loop."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        self._writer: asyncio.StreamWriter | None = None
        server = vm.loop.run_until_complete(asyncio.start_server(self._client, "127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        vm.console.on_data = self._to_client

    def _to_client(self, data: bytes) -> None:
        if self._writer is not None:
            self._writer.write(data)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        while data := await reader.read(65536):
            self.vm.console.send(data)
        self._writer = None
        writer.close()

    def meanwhile(self, work: Callable[[], T], *, deadline_s: float = 60.0) -> T:
        """Do blocking work in a thread while the guest is served."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            future.add_done_callback(lambda _: self.vm.loop.call_soon_threadsafe(self.vm._changed.set))
            assert self.vm.pump(future.done, deadline_s) is Matched
            return future.result()

    def mpremote(self, *words: str, deadline_s: float = 60.0) -> tuple[int, str, float]:
        """Run mpremote with these words: exit code, output, seconds."""

        def work() -> tuple[int, str, float]:
            started = time.monotonic()
            argv = [sys.executable, "-m", "mpremote", "connect", self.url, *words]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=deadline_s, check=False)
            return done.returncode, done.stdout + done.stderr, time.monotonic() - started

        return self.meanwhile(work, deadline_s=deadline_s)

    def type(self, text: str | bytes, awaited: str, *, deadline_s: float | None = None) -> None:
        """Type at the console and wait for what it shall answer, behind what was found before."""
        self.vm.send(text.encode() if isinstance(text, str) else text)
        self.vm.expect_exact(awaited, timeout=deadline_s)

    def ask(self, text: str, answers: list[str]) -> int:
        """Type at the console and wait for one of the answers; which of them came."""
        self.vm.send(text.encode())
        return self.vm.expect_exact(answers)
