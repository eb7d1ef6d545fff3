# SPDX-License-Identifier: MIT
"""An asyncio server that gives its streams to children, of which there may be one. Host: test_handoff.py."""

import asyncio
import os
import socket

import vm


def refused(what):
    try:
        vm.handoff(what)
    except (OSError, TypeError) as e:
        return repr(e)


over = asyncio.Event()


async def serve(reader, writer):
    line = await reader.readline()
    if line == b"stop\n":
        over.set()
        return
    vm.handoff(writer)
    try:
        pid = os.fork()
    except OSError as e:  # it goes on here, and no later fork takes it away
        writer.write(b"here errno %d\n" % e.errno)
        await writer.drain()
        await vm.wait_async()
        other = vm.spawn(print, "another", "child")
        assert (await vm.wait_async(other))[1] == 0
        writer.write(await reader.readline())
        await writer.drain()
        pid = 1
    while not pid and line:
        writer.write(b"there " + line)
        await writer.drain()
        line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    if not pid:
        os._exit(0)


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 8080)
    print("serving")
    await over.wait()
    server.close()


print("refused", refused(socket.socket()), refused(3), refused(vm.reader(os.pipe()[0])))
asyncio.run(main())
