# SPDX-License-Identifier: MIT
# A server that does, on request, what exhausts the stack or the memory, and says what came of it.

import asyncio

import floe


def down(n):
    return down(n + 1) + 1


def much():
    return bytearray(100 << 20)


def hoard():
    kept = []
    while True:
        kept.append(bytearray(1 << 16))


WORK = {"down": lambda: down(0), "much": much, "hoard": hoard, "none": lambda: None}


async def serve(reader, writer):
    while True:
        line = await reader.readline()
        if not line:
            break
        try:
            WORK[line.decode().strip()]()
            answer = "done"
        except Exception as e:
            answer = type(e).__name__
        writer.write(("%s\n" % answer).encode())
        await writer.drain()
    writer.close()


async def main():
    await asyncio.start_server(serve, "0.0.0.0", 80)
    print("serving", floe.mem_info()["ram"])
    await asyncio.sleep(3600)


asyncio.run(main())
