# SPDX-License-Identifier: MIT
"""A server for ../test_faults.py: a page from memory, records on a disk, the clocks. Each answer's first word is ok, or the
errno of what failed."""

import asyncio
import time

import vfs  # noqa: F401 - a disk is mounted where this is imported

SIZE = 600


def record(number):
    text = b"record %s " % number
    return (text * (SIZE // len(text) + 1))[:SIZE]


def answer(path):
    _, what, *rest = path.split(b"/")
    if what == b"clocks":
        return b"ok %d %d" % (time.ticks_ms(), time.time_ns() // 1_000_000)
    if what == b"write":
        with open("/r-%s" % rest[0].decode(), "wb") as f:
            f.write(record(rest[0]))
    elif what == b"read":
        with open("/r-%s" % rest[0].decode(), "rb") as f:
            return b"ok" if f.read() == record(rest[0]) else b"changed"
    elif what == b"fill":
        with open("/f-%s" % rest[0].decode(), "wb") as f:
            for _ in range(16):
                f.write(rest[0][:1] * 4096)
    return b"ok"


async def serve(reader, writer):
    try:
        while True:
            words = (await reader.readline()).split()
            while (await reader.readline()).strip():
                pass
            if len(words) != 3:
                break
            try:
                body = answer(words[1])
            except OSError as e:
                body = b"%d" % e.errno
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    except OSError:
        pass
    writer.close()
    await writer.wait_closed()


async def main():
    await asyncio.start_server(serve, "0.0.0.0", 80)
    print("serving")
    await asyncio.Event().wait()


asyncio.run(main())
