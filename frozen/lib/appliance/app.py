# SPDX-License-Identifier: MIT
"""An appliance on asyncio: how it runs and ends."""

import asyncio

from .base import BaseApp


class App(BaseApp):
    """An appliance whose main() is a coroutine."""

    _clients = 0

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
            if self._clients <= 8:  # who is over it comes again
                await asyncio.wait_for(self._serve(reader, writer), 5)
        except (OSError, asyncio.TimeoutError):
            pass
        finally:
            self._clients -= 1
            writer.close()
            await writer.wait_closed()

    async def _serve(self, reader: object, writer: object) -> None:
        from .admin import MAX_HEAD, answer, complete

        head = b""
        while not complete(head):
            data = await reader.read(MAX_HEAD)
            if not data:
                return
            head += data
        writer.write(answer(self, head))
        await writer.drain()
