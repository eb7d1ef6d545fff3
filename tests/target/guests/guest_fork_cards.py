# SPDX-License-Identifier: MIT
"""A server that forks when it is told to; test_fork_cards.py asks it and its children, by lines at port 80: `who`, `fork`
(answered by the parent alone), `exit`. With the argument `lease` it has a child as soon as it has read a line."""

import asyncio
import os
import sys
import time

import network
import vm

lan = network.LAN()


async def answer(reader, writer):
    try:
        await talk(reader, writer)
    except OSError:  # a connection of the parent's
        writer.close()


async def talk(reader, writer):
    while line := (await reader.readline()).strip():
        said = b"pid %d %s" % (vm.getpid(), lan.ifconfig()[0].encode())
        if line == b"exit":
            os._exit(5)
        if line == b"fork":
            try:
                pid = os.fork()
            except OSError as e:
                pid = -e.errno
            if pid == 0:
                break  # it is the parent's
            said = b"forked %d" % pid
        writer.write(said + b"\n")
        await writer.drain()
    writer.close()


async def report():
    """Its address whenever it is another one, and the hardware address."""
    known = None
    while True:
        if (now := lan.ifconfig()[0]) != known:
            known = now
            print("at", vm.getpid(), now, lan.config("mac").hex())
        await asyncio.sleep_ms(20)


async def main():
    for host in ("0.0.0.0", "::"):
        await asyncio.start_server(answer, host, 80)
    await report()


if sys.argv[1:] == ["lease"]:
    while lan.ifconfig()[0] == "0.0.0.0":
        time.sleep_ms(20)
    print("leased")
    input()
    os.fork()
asyncio.run(main())
