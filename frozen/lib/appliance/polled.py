# SPDX-License-Identifier: MIT
"""An appliance whose objects a poll loop calls: as App, without asyncio and its tasks."""

import floe

from .adminport import AdminPort
from .base import BaseApp
from .loop import Loop


class PolledApp(BaseApp):
    """`loop` calls its objects; the pages of the admin port are answered while it runs."""

    def __init__(self, name: str, more: dict | None = None, tables: tuple = (), **defaults: object) -> None:
        super().__init__(name, more, tables, **defaults)
        self.loop = Loop(self.report)
        port = self.settings.metrics_port
        if port:
            try:
                AdminPort(self, self.loop, port)
            except OSError as exc:
                self.log.warning("no metrics: port %d cannot be opened (error %d)", port, exc.errno)

    def report(self, exc: Exception) -> None:
        """What was raised, and nobody took it."""
        try:
            if isinstance(exc, OSError):
                self.log.warning("error %d", exc.errno or 0)
            else:
                self.log.exception(exc)
        except MemoryError:
            pass  # there is none for the line, either

    def run(self) -> None:
        """Run the loop until it is stopped or the VM is asked for its end; in a dev image with its REPL beside it."""
        self.log.start(self._write_later)
        beside = getattr(floe, "beside", None)
        try:
            if beside is None:
                self.loop.run()
            else:
                beside(self.loop.run)
        except KeyboardInterrupt:
            pass
        except Exception as exc:
            self.log.exception(exc)
            raise
        finally:
            self.is_ready = False
            self.is_stopping = True
            self.log.close()

    def _write_later(self) -> None:
        self.loop.call_later(0, self._write)

    def _write(self) -> None:
        if self.log.write_some():
            self._write_later()
