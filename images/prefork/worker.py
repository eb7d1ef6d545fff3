# SPDX-License-Identifier: MIT
"""What serves: in a VM of its own as a worker, or alone in the first one where no VM can be forked."""

import asyncio
import os
import signal

from calls import Calls
from httpd import Limits, Server
from message import HttpError, Request

_DRAIN_S = 4  # for requests in flight at the end
_TELL_S = 1  # between two signs of life


class Worker:
    """Owns a server. A file of /rom is served as it is; everything else is a call of the handler."""

    def __init__(self, service: object) -> None:
        self._app = app = service.app
        settings = app.settings
        limits = Limits()
        limits.body = settings.max_body
        limits.connections = settings.connections
        limits.idle_s = max(1, int(settings.idle))
        self._files = service.files
        self._calls = Calls(app, service.module)
        if callable(getattr(service.module, "health", None)):
            app.check("handler", self._calls.health)
        self._server = Server(self, limits, service.context)

    def __call__(self, request: Request) -> object:
        try:
            return self._files(request)
        except HttpError as exc:
            if exc.status != 404:
                raise
        return self._calls(request)

    async def serve(self, pipe: int | None = None) -> None:
        """Until the end is asked for. pipe: where a worker tells its parent how it is; then a wish to end is heard
        as often as it comes, by who asks the parent and by the parent itself."""
        app, server, stop = self._app, self._server, self._calls.stop
        port = app.settings.port
        try:
            server.start(port)
        except OSError as exc:
            app.fail("PORT=%d cannot be opened (error %d)" % (port, exc.errno))
        teller = None
        if pipe is not None:
            asyncio.get_event_loop().add_signal_handler(signal.SIGTERM, stop.set)
            teller = asyncio.create_task(self._tell_always(pipe))
        app.ready()
        (app.log.info if pipe is None else app.log.debug)("serving on port %d", port)
        try:
            await stop.wait()
        finally:
            app.is_ready, app.is_stopping = False, True
            cut = await server.stop(_DRAIN_S)
            app.log.info("%d requests, %d cut", server.served, cut)
            if teller is not None:
                teller.cancel()
                self._tell(pipe)

    def _tell(self, pipe: int) -> None:
        self._server.fold()
        os.write(pipe, b"%d %d\n" % (self._server.served, len(self._server.connections)))

    async def _tell_always(self, pipe: int) -> None:
        while True:
            self._tell(pipe)
            await asyncio.sleep(_TELL_S)


def work(supervisor: object, service: object, pipe: int) -> None:
    """Be a worker: what vm.spawn() does in a child."""
    supervisor.leave()
    service.app.leave()
    service.app = service.new_app()
    service.app.run(Worker(service).serve(pipe))
