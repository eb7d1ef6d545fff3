# SPDX-License-Identifier: MIT
"""A VM of which snapshots are made: it has a disk, a pipe with something in it, hooks and a port, and does what a line of
its console or the first word of a connection says; "template" among its arguments: with vm.ready() before."""

import asyncio
import os
import sys

import machine
import network
import vfs  # so that it may have disks
import vm

r, w = os.pipe()
os.write(w, b"in the pipe")
refuses = []


@vm.before_fork
def before():
    if refuses:
        raise ValueError("not now")


@vm.after_fork
def after():
    print("another machine", os.getpid(), network.hostname(), machine.unique_id().hex(), os.urandom(16).hex())


def do(line):
    if line == "pipe":
        return os.read(r, 100).decode()
    if line == "disk":
        with open("/note") as file:
            return file.read()
    if line == "id":
        return machine.unique_id().hex()
    if line.startswith("note "):
        with open("/note", "w") as file:
            file.write(line[5:])
        return "noted"
    if line == "refuse":
        refuses.append(1) if not refuses else refuses.clear()
        return "refuses %s" % bool(refuses)
    return line


async def serve(reader, writer):
    line = (await reader.readline()).decode().strip()
    writer.write(do(line).encode() + b"\n")
    await writer.drain()
    writer.close()
    if line == "end":
        end.set()


async def main():
    await asyncio.start_server(serve, "0.0.0.0", 80)
    print("serving", os.getpid(), hasattr(vfs, "mount"))
    if "template" in sys.argv:
        vm.ready()
        print("ready is over")
    await end.wait()


end = asyncio.Event()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("asked to end")
    sys.exit(7)
print("ends")
