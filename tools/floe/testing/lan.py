# SPDX-License-Identifier: MIT
"""A network for VMs, an Ethernet hub: a UNIX socket to which cards `connect:PATH`, and a thread that gives each frame
to all others. Frames travel as spec/network.py says: behind their length, 4 bytes big endian. Owns the socket and its
folder.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import threading
from pathlib import Path

_LENGTH = 4
_MAX_FRAME = 1 << 17  # beyond any Ethernet frame; what claims more is not one
_MAX_QUEUED = 1 << 20  # bytes for a VM that does not take them; frames on top are lost, as on a wire
_STOP_S = 5.0


class Lan:
    """Runs from creation to close(). `path` is what the cards connect to."""

    def __init__(self) -> None:
        # Not below a test's own folder: a socket's path has 107 bytes at most.
        self._folder = Path(tempfile.mkdtemp(prefix="floe-lan-"))
        self.path = self._folder / "s"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._members: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Cut all wires."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_STOP_S)
        if not self._thread.is_alive() and not self._loop.is_closed():
            self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._member, sock=self._listener)
        await self._stop.wait()
        server.close()
        for writer in self._members:
            writer.transport.abort()
        talks = asyncio.all_tasks() - {asyncio.current_task()}
        if talks:
            await asyncio.wait(talks, timeout=_STOP_S)

    async def _member(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._members.add(writer)
        try:
            while True:
                head = await reader.readexactly(_LENGTH)
                length = int.from_bytes(head, "big")
                if length > _MAX_FRAME:
                    return
                frame = head + await reader.readexactly(length)
                for other in self._members:
                    if other is not writer and other.transport.get_write_buffer_size() < _MAX_QUEUED:
                        other.write(frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the VM has ended
        finally:
            self._members.discard(writer)
            writer.transport.abort()
