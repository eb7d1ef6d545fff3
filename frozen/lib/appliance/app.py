# SPDX-License-Identifier: MIT
"""An appliance: its settings, log, metrics and checks, and how it runs and ends."""

import asyncio
import sys
import time

import floe

from .admin import MAX_HEAD, answer, complete
from .log import LEVELS, Log
from .metrics import Metrics
from .settings import Settings, SettingsError

_BAD_SETTINGS = 2  # exit code
_COMMON = {"metrics_port": 9100, "log_level": "info"}
_CLIENTS = 8  # of the admin port at a time
_CLIENT_S = 5
_MEMORY = (
    ("ram", "RAM of the VM."),
    ("ram_free", "RAM that nobody has taken."),
    ("c_used", "Memory of the network, TLS and drivers, used."),
    ("gc_total", "The script's memory."),
    ("gc_used", "The script's memory, used."),
)


class App:
    """An appliance of a name. `defaults` are its settings (settings.py says which types); more: a dict of them.

    A setting that cannot be is printed and ends the script with exit code 2."""

    def __init__(self, name: str, more: dict | None = None, **defaults: object) -> None:
        self.name = name
        self.metrics = Metrics()
        self.is_ready = False
        self.is_stopping = False
        self._checks: dict = {}  # name -> function
        self._clients = 0
        try:
            self.settings = Settings(name, dict(_COMMON, **(more or {}), **defaults))
            if self.settings.log_level not in LEVELS:
                raise SettingsError("LOG_LEVEL=%s: one of %s" % (self.settings.log_level, ", ".join(LEVELS)))
        except SettingsError as exc:
            self.fail(str(exc))
        self.log = Log(name, self.settings.log_level)
        self._measure()

    def fail(self, problem: str) -> None:
        """Print what is wrong with the settings and end."""
        print("error %s: %s" % (self.name, problem))
        sys.exit(_BAD_SETTINGS)

    # ---- metrics and health -------------------------------------------------------------------

    def counter(self, name: str, help: str, labels: tuple = ()) -> object:
        return self.metrics.counter(name, help, labels)

    def gauge(self, name: str, help: str, labels: tuple = (), function: object = None) -> object:
        return self.metrics.gauge(name, help, labels, function)

    def histogram(self, name: str, help: str, **more: object) -> object:
        return self.metrics.histogram(name, help, **more)

    def check(self, name: str, function: object) -> None:
        """Health asks function(): True, or what is wrong as text (False: no more to say)."""
        self._checks[name] = function

    def ready(self) -> None:
        """The appliance serves: /ready says so from here on."""
        self.is_ready = True

    def problems(self) -> list:
        """What the checks say."""
        found = []
        for name in sorted(self._checks):
            try:
                said = self._checks[name]()
            except Exception as exc:
                said = "%s: %s" % (type(exc).__name__, exc)
            if said is not True:
                found.append("%s: %s" % (name, said) if said else name)
        return found

    def _measure(self) -> None:
        self.gauge("floe_info", "Which image this is.", ("name", "version")).labels(*floe.app()).set(1)
        self.gauge("process_start_time_seconds", "When it started, since 1970.").set(time.time())
        for key, text in _MEMORY:
            self.gauge("floe_%s_bytes" % key, text, function=lambda key=key: floe.mem_info()[key])
        self.gauge("floe_log_dropped_lines", "Lines of the log that had no room.", function=lambda: self.log.dropped)

    # ---- running ------------------------------------------------------------------------------

    def run(self, main: object) -> object:
        """Run a coroutine with the admin port beside it, until it returns or the VM is asked for its end.

        Then `main` is cancelled, as docs/ending.md says: its `finally` runs. What it raises is logged and raised."""
        try:
            return asyncio.run(self._run(main))
        except KeyboardInterrupt:
            self.log.info("stopped")
            return None
        finally:
            self.log.close()

    async def _run(self, main: object) -> object:
        wake = asyncio.Event()
        self.log.start(wake.set)
        writer = asyncio.create_task(self._write_log(wake))
        server = await self._listen()
        try:
            return await self._until_the_end(main)
        except Exception as exc:
            self.log.exception(exc)
            raise
        finally:
            self.is_ready = False
            writer.cancel()
            if server is not None:
                server.close()

    async def _until_the_end(self, main: object) -> object:
        ended = asyncio.Event()

        async def watched() -> object:
            try:
                return await main
            finally:
                ended.set()

        task = asyncio.create_task(watched())
        try:
            await ended.wait()  # and not for the task, to which the cancelling would be passed on at once
        except asyncio.CancelledError:
            self.is_ready = False
            self.is_stopping = True
            self.log.info("stopping")
            task.cancel()
        return await task

    async def _write_log(self, wake: object) -> None:
        while True:
            await wake.wait()
            wake.clear()
            while self.log.write_some():
                await asyncio.sleep_ms(0)

    async def _listen(self) -> object:
        port = self.settings.metrics_port
        if not port:
            return None
        try:
            return await asyncio.start_server(self._client, "::", port)
        except OSError as exc:
            self.log.warning("no metrics: port %d cannot be opened (error %d)", port, exc.errno)
            return None

    async def _client(self, reader: object, writer: object) -> None:
        self._clients += 1
        try:
            if self._clients <= _CLIENTS:
                await asyncio.wait_for(self._serve(reader, writer), _CLIENT_S)
        except (OSError, asyncio.TimeoutError):
            pass
        finally:
            self._clients -= 1
            writer.close()
            await writer.wait_closed()

    async def _serve(self, reader: object, writer: object) -> None:
        head = b""
        while not complete(head):
            data = await reader.read(MAX_HEAD)
            if not data:
                return
            head += data
        writer.write(answer(self, head))
        await writer.drain()
