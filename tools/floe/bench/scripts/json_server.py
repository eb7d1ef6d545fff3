# SPDX-License-Identifier: MIT
"""The same for MicroPython and CPython: one asyncio server, each answer a small JSON document that is made for it."""

import asyncio
import json
import os

_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
_served = [0]


def _answer(path: str, last: bool) -> bytes:
    _served[0] += 1
    body = json.dumps(
        {"path": path, "served": _served[0], "items": [{"id": n, "name": "item %d" % n} for n in range(5)]}
    )
    return (_HEAD % (len(body), "Connection: close\r\n" if last else "") + body).encode()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            line = await reader.readline()
            if not line:
                break
            last = False
            while True:
                field = await reader.readline()
                if field in (b"\r\n", b""):
                    break
                last = last or field.lower().startswith(b"connection: close")
            writer.write(_answer(line.decode().split(" ")[1], last))
            await writer.drain()
            if last:
                break
    except OSError:
        pass
    writer.close()


async def main() -> None:
    port = int(os.getenv("PORT") or 80)
    await asyncio.start_server(_serve, os.getenv("ADDRESS") or "0.0.0.0", port, backlog=512)
    print("serving on port", port)
    await asyncio.Event().wait()  # until it is killed


asyncio.run(main())
