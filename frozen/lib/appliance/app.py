# SPDX-License-Identifier: MIT
"""An appliance on asyncio: how it runs and ends."""

import asyncio
import socket
from asyncio import core

from .base import BaseApp


class App(BaseApp):
    """An appliance whose main() is a coroutine."""

    _clients = 0
    _port = None

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

    def leave(self) -> None:
        """In a VM that was forked while this ran: let go of the port of the pages, which another App may have then."""
        if self._port is not None:
            self._port.close()

    async def _run(self, main: object) -> object:
        wake = asyncio.Event()
        self.log.start(wake.set)
        writer = asyncio.create_task(self._write_log(wake))
        server = self._listen()
        try:
            return await self._until_the_end(main)
        except Exception as exc:
            self.log.exception(exc)
            raise
        finally:
            self.is_ready = False
            writer.cancel()
            if server is not None:
                server.cancel()

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

    # Sockets without asyncio's streams, which not every appliance has: its start is waited for.

    def _listen(self) -> object:
        """The task that takes clients of the port of the pages."""
        port = self.settings.metrics_port
        if not port:
            return None
        sock = socket.socket(socket.AF_INET6)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(socket.getaddrinfo("::", port)[0][-1])
            sock.listen(5)
            sock.setblocking(False)
            self._port = sock
            return asyncio.create_task(self._accept(sock))
        except OSError as exc:
            sock.close()
            self.log.warning("no metrics: port %d cannot be opened (error %d)", port, exc.errno)
            return None

    async def _accept(self, sock: object) -> None:
        try:
            while True:
                yield core._io_queue.queue_read(sock)
                try:
                    core.create_task(self._client(sock.accept()[0]))
                except (OSError, MemoryError):
                    await asyncio.sleep_ms(1000)
        finally:
            sock.close()

    async def _client(self, sock: object) -> None:
        self._clients += 1
        try:
            if self._clients <= 8:  # who is over it comes again
                await asyncio.wait_for(self._serve(sock), 5)
        except (OSError, MemoryError, asyncio.TimeoutError):
            pass
        finally:
            self._clients -= 1
            sock.close()

    async def _serve(self, sock: object) -> None:
        from .admin import MAX_HEAD, answer, complete

        sock.setblocking(False)
        data = b""
        while not complete(data):
            yield core._io_queue.queue_read(sock)
            more = sock.recv(MAX_HEAD)
            if not more:
                return
            data += more
        data = answer(self, data)
        while data:
            yield core._io_queue.queue_write(sock)
            data = data[sock.send(data) :]
