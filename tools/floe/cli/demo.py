# SPDX-License-Identifier: MIT
"""What `make run` shows: an image is built and booted, a page is fetched through its forwarded port, and how
long each step took. It serves until Ctrl-C; where standard input is no terminal it stops by itself."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from floe.build import pipeline, report
from floe.cli.run import say
from floe.errors import EXIT_INTERRUPTED, FloeError, TimedOut
from floe.shown import shown
from floe.spec import ports
from floe.spec.runoptions import RunOptions
from floe.stream.stamps import BootTimes
from floe.vm.plan import plan
from floe.vm.session import Session
from floe.vm.vm import Vm

GUEST_PORT = 80
HOST_PORT = 8080
ANSWER_DEADLINE_S = 15.0
_PROBE_INTERVAL_S = 0.005  # between attempts: a SYN that comes before the guest listens is lost
_SHOWN_LINES = 24
_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class Demo:
    """One run of the demonstration."""

    def __init__(self, app: Path) -> None:
        built = pipeline.build(app, say=say)
        say(f"image: {built.path}, {report.kib(built.image.size)} ({built.image.size} bytes)")
        port = _free(HOST_PORT)
        spec, _ = plan(app, RunOptions(forwards=(f"{port}:{GUEST_PORT}",), stamps=True), say)
        self.url = f"http://127.0.0.1:{port}/"
        self.problem: FloeError | None = None
        self._port = port
        self._session = Session(Vm(spec), interactive=False, say=say)
        self._times = BootTimes()

    def run(self) -> int:
        """Boot, fetch, show, serve. Returns the exit code: 0 when the guest ended as it was asked to."""
        session = self._session

        def note(times: BootTimes) -> None:
            self._times = times

        session.on_stamps = note
        code = session.run(None, meanwhile=self._probe)
        if self.problem is not None:
            raise self.problem
        return code

    def _probe(self) -> None:
        self._task = self._session.vm.loop.create_task(self._show())  # the loop keeps no reference

    async def _show(self) -> None:
        import asyncio

        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                arrived, answer, asked = await self._first_answer()
        except TimeoutError:
            self.problem = TimedOut(f"{self.url} did not answer within {ANSWER_DEADLINE_S:g} s")
            self._session.stop()
            return
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = [*head.decode(errors="replace").splitlines(), "", *body.decode(errors="replace").splitlines()]
        say(f"GET {self.url}" + (f", asked {asked} times until it answered" if asked > 1 else ""))
        for line in lines[:_SHOWN_LINES]:
            print(f"  {shown(line)}", file=sys.stderr)
        if len(lines) > _SHOWN_LINES:
            print(f"  ... {len(lines) - _SHOWN_LINES} more lines", file=sys.stderr)
        first_byte = (arrived - self._session.vm.started_at) * 1000
        say(f"{self._session.vm.spec.accel}, {self._session.vm.spec.machine}")
        say(replace(self._times, first_byte=first_byte).text())
        if os.isatty(0):
            say(f"serving {self.url} until Ctrl-C")
        else:
            say("standard input is no terminal: stopping")
            self._session.stop()

    async def _first_answer(self) -> tuple[float, bytes, int]:
        """time.monotonic() of the first byte of the first answer, the answer, and how often it was asked for: again and
        again until then. The guest may serve all of them."""
        import asyncio

        async def ask() -> tuple[float, bytes]:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(_REQUEST)
                first = await reader.readexactly(1)
                arrived = time.monotonic()
                return arrived, first + await reader.read()
            finally:
                writer.close()

        attempts: set[asyncio.Task[tuple[float, bytes]]] = set()
        asked = 0
        try:
            while True:
                attempts.add(asyncio.create_task(ask()))
                asked += 1
                done, attempts = await asyncio.wait(
                    attempts, timeout=_PROBE_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED
                )
                for attempt in done:
                    if attempt.exception() is None:
                        return *attempt.result(), asked
        finally:
            for attempt in attempts:
                attempt.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)


def _free(port: int) -> int:
    """The port, or the next one that is free."""
    wanted = ports.Forward("127.0.0.1", port, GUEST_PORT)
    try:
        ports.claim([wanted])
        return port
    except FloeError as e:
        free = ports.free_port(wanted)
        say(f"{e.message}: using {free}")
        return free


def main(argv: list[str]) -> int:
    """`python -m floe.cli.demo [APP]`; images/web without APP."""
    app = Path(argv[0]) if argv else Path(__file__).resolve().parents[3] / "images" / "web"
    try:
        return Demo(app).run()
    except FloeError as e:
        print(e.render(), file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
