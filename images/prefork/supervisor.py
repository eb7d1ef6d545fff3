# SPDX-License-Identifier: MIT
"""The first VM: forks the workers, hears of each by a pipe, and forks another one for one that ends or hangs.

A pipe brings a line a second: requests served, connections now. Its end is the worker's."""

import asyncio
import os
import signal
import time

import vm

_STABLE_MS = 10000  # a worker that lived so long is replaced at once, as good as
_AGAIN_MS = 100  # before another one takes the place; twice as long after each that lived less
_MOST_MS = 10000
_SIGKILL = 9
_ENOSYS = 38
_END_S = 4.5  # for the workers to end in order, of the 5 s that a VM has


class Place:
    """Of one worker, and of those that come after it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.tried = False  # a first one serves, or could not
        self.pid = 0  # 0: there is none
        self.serves = False
        self.served = 0
        self.connections = 0
        self.stream: object = None

    def hear(self, line: bytes) -> None:
        self.served, self.connections = map(int, line.split())
        self.serves = self.tried = True


class Supervisor:
    """work(supervisor, service, pipe): what a worker does, in its VM."""

    def __init__(self, app: object, work: object, service: object) -> None:
        self._app = app
        self._work = work
        self._service = service
        self._places = [Place(number + 1) for number in range(app.settings.workers)]
        self._stopping = False
        self._cannot = asyncio.Event()  # fork at all
        self._before = 0  # requests that workers have served that have ended
        if not self._places:
            return
        places = self._places
        app.gauge("prefork_workers", "Workers that serve.", function=lambda: sum([place.serves for place in places]))
        text = "Connections of all workers, a second ago."
        app.gauge("prefork_connections", text, function=lambda: sum([place.connections for place in places]))
        app.counter("prefork_requests_total", "Requests that workers have answered.", function=self._served)
        self._forks = app.counter("prefork_forks_total", "Workers that were forked.")
        self._ends = app.counter("prefork_ends_total", "Workers that have ended.", labels=("how",))
        app.check("workers", self._health)

    def _served(self) -> int:
        return self._before + sum([place.served for place in self._places])

    def _health(self) -> object:
        if self._cannot.is_set():
            return True  # who serves has checks of its own
        return any(place.serves for place in self._places) or "none of %d serves" % len(self._places)

    def leave(self) -> None:
        """In a worker: let go of what is the first VM's."""
        for place in self._places:
            if place.stream is not None:
                place.stream.close()

    async def run(self) -> bool:
        """Until the end is asked for. False: no VM can be forked here."""
        tasks = [asyncio.create_task(self._keep(place)) for place in self._places]
        try:
            await self._cannot.wait()
            for task in tasks:
                task.cancel()
            return False
        finally:
            if not self._cannot.is_set():
                await self._end(tasks)

    async def _end(self, tasks: list) -> None:
        self._stopping = True
        for place in self._places:
            if place.pid:
                _kill(place.pid, signal.SIGTERM)
            else:
                tasks[place.number - 1].cancel()
        try:
            await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), _END_S)
        except asyncio.TimeoutError:
            self._app.log.warning("workers that did not end in time are ended")
        self._app.log.info("%d requests", self._served())

    async def _keep(self, place: Place) -> None:
        """One worker after the other."""
        wait_ms = _AGAIN_MS
        while not self._stopping:
            began = time.ticks_ms()
            await self._live(place)
            if self._stopping:
                return
            stable = time.ticks_diff(time.ticks_ms(), began) >= _STABLE_MS
            wait_ms = _AGAIN_MS if stable else min(wait_ms, _MOST_MS)
            place.tried = True
            self._look()
            await asyncio.sleep_ms(wait_ms)
            wait_ms *= 2

    async def _live(self, place: Place) -> None:
        """A worker, from its fork to its end."""
        log = self._app.log
        try:
            self._fork(place)
        except OSError as exc:
            if exc.errno != _ENOSYS:
                log.error("worker %d cannot be forked (error %d)", place.number, exc.errno)
            elif not self._cannot.is_set():
                log.warning("no VM can be forked here: this one serves alone")
                self._cannot.set()
            return
        self._forks.inc()
        await self._hear(place)
        place.stream.close()
        place.stream = None
        pid, status = await vm.wait_async(place.pid)
        code = os.waitstatus_to_exitcode(status)
        self._ends.labels("killed" if code < 0 else "failed" if code else "ended").inc()
        self._before += place.served
        place.pid = place.served = place.connections = 0
        place.serves = False
        (log.info if self._stopping else log.warning)("worker %d (VM %d) ended with %d", place.number, pid, code)

    def _fork(self, place: Place) -> None:
        """Raises OSError."""
        r, w = os.pipe()
        place.stream = vm.reader(r, blocking=False)
        try:
            place.pid = vm.spawn(self._work, self, self._service, w)
        except OSError:
            place.stream.close()
            place.stream = None
            raise
        finally:
            os.close(w)

    async def _hear(self, place: Place) -> None:
        """Until its pipe ends; a worker that hangs is ended."""
        lines = asyncio.StreamReader(place.stream)
        hang_s = self._app.settings.hang or None
        while True:
            try:
                line = await asyncio.wait_for(lines.readline(), hang_s)
            except asyncio.TimeoutError:
                self._app.log.error("worker %d (VM %d) hangs", place.number, place.pid)
                _kill(place.pid, _SIGKILL)
                hang_s = None
                continue
            if not line:
                return
            place.hear(line)
            self._look()

    def _look(self) -> None:
        """Whether all places have had a worker, and one serves."""
        app, places = self._app, self._places
        serving = sum([place.serves for place in places])
        if not app.is_ready and not self._stopping and serving and all(place.tried for place in places):
            app.ready()
            app.log.info("serving on port %d by %d workers", app.settings.port, serving)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:  # it has ended already
        pass
