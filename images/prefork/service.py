# SPDX-License-Identifier: MIT
"""Settings, what is loaded once for all workers, and the end."""

import gc

import appliance
from files import Files
from hosts import HostSettings
from loading import load
from supervisor import Supervisor
from worker import Worker, work

_DEFAULTS = {
    "workers": 4,
    "hang": appliance.Seconds(60),
    "handler": "handle",
    "timeout": appliance.Seconds(10),
    "concurrency": 1,
    "queue": 100,
    "max_body": appliance.Size(1048576),
    "connections": 256,
    "idle": appliance.Seconds(15),
    "debug": False,
}


class Service:
    """All that the first VM has before it forks; each worker has a copy."""

    def __init__(self, port: int, context: object) -> None:
        self.context = context
        self._port = port
        self.app = self.new_app()
        settings = self.app.settings
        for name in ("timeout", "concurrency", "connections"):
            if getattr(settings, name) <= 0:
                self.app.fail("%s: must be more than 0" % name.upper())
        if settings.workers < 0:
            self.app.fail("WORKERS: must not be less than 0")
        if 0 < settings.hang <= settings.timeout:
            self.app.fail("HANG: must be more than TIMEOUT, or 0")
        self.files = Files(HostSettings("/rom"))
        try:
            for _ in self.files.walk():
                pass
        except OSError:  # an image without files
            pass
        self.module = load(self.app.name, settings.handler)

    def new_app(self) -> appliance.App:
        """Settings, log and metrics of one VM."""
        return appliance.App("prefork", dict(_DEFAULTS, port=appliance.Port(self._port)))

    async def _main(self) -> None:
        supervisor = Supervisor(self.app, work, self)
        if self.app.settings.workers == 0 or not await supervisor.run():
            await Worker(self).serve()

    def run(self) -> None:
        gc.collect()
        self.app.run(self._main())


def run(port: int, context: object = None) -> None:
    """context: an ssl.SSLContext to serve TLS."""
    Service(port, context).run()
