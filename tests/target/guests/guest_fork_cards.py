# SPDX-License-Identifier: MIT
"""A server that forks when it is told to; test_fork_cards.py asks it and its children, by lines at port 80: `who`, `fork`
(answered by the parent alone), `exit`. With the argument `lease` it has a child as soon as it has read a line, with `fill` when
its frames leave again."""

import asyncio
import os
import socket
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


def fill():
    """Send until no frame leaves any more, and fork until that can be."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.setblocking(False)
    last = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), last) < 200:
        try:
            s.sendto(bytes(1400), ("255.255.255.255", 9))
            last = time.ticks_ms()
        except OSError:
            time.sleep_ms(5)
    print("full")
    while True:
        try:
            return os.fork()
        except OSError as e:
            print("refused", e.errno)


if sys.argv[1:] == ["fill"]:
    print("forked", fill())
if sys.argv[1:] == ["lease"]:
    while lan.ifconfig()[0] == "0.0.0.0":
        time.sleep_ms(20)
    print("leased")
    input()
    os.fork()
asyncio.run(main())
