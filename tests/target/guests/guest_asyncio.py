# SPDX-License-Identifier: MIT
"""Runs inside the VM: asyncio with hundreds of connections, cancellation, peers that do not read; net_host.py outside."""

import asyncio
import socket
import time

import network
from guest_kit import HOST, NOBODY, PORTS, run, settle

MANY = 300
BEFORE = settle()


def test_many_streams():
    """Hundreds of connections at once, each with a conversation of its own."""
    done = []

    async def talk(n):
        reader, writer = await asyncio.open_connection(HOST, PORTS["echo"])
        for turn in range(3):
            line = b"%d.%d %s\n" % (n, turn, b"x" * (n * 7 % 900))
            writer.write(line)
            await writer.drain()
            assert await reader.readline() == line
        writer.close()
        await writer.wait_closed()
        done.append(n)

    async def main():
        await asyncio.gather(*(talk(n) for n in range(MANY)))

    start = time.ticks_ms()
    asyncio.run(main())
    took = time.ticks_diff(time.ticks_ms(), start)
    assert sorted(done) == list(range(MANY))
    print("streams", MANY, "ms", took)


def test_a_server_under_load():
    """The VM's own server, by itself: every client is answered, whatever others do in between."""
    served = []

    async def serve(reader, writer):
        try:
            while True:
                line = await reader.readline()
                if not line:
                    break
                writer.write(line.upper())
                await writer.drain()
            served.append(1)
        finally:
            writer.close()
            await writer.wait_closed()

    async def good(n):
        reader, writer = await asyncio.open_connection("127.0.0.1", 8020)
        for _ in range(5):
            writer.write(b"hello %d\n" % n)
            await writer.drain()
            assert await reader.readline() == b"HELLO %d\n" % n
            await asyncio.sleep_ms(n % 5)
        writer.close()
        await writer.wait_closed()

    async def rude(n):
        _reader, writer = await asyncio.open_connection("127.0.0.1", 8020)
        writer.write(b"never finished")
        await writer.drain()
        await asyncio.sleep_ms(n)
        writer.close()  # in the middle of a line
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 8020, backlog=50)
        await asyncio.gather(*(good(n) if n % 3 else rude(n) for n in range(150)))
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    assert len(served) >= 100, len(served)


def test_cancellation():
    """wait_for and cancel() reach a task in connect, in a read and in a write, and nothing stays behind."""
    seen = []

    async def connecting():
        await asyncio.open_connection(NOBODY, 80)

    async def reading():
        reader, writer = await asyncio.open_connection(HOST, PORTS["echo"])
        try:
            await reader.read(1)
        finally:
            seen.append("closed")
            writer.close()

    async def writing():
        _, writer = await asyncio.open_connection("127.0.0.1", 8021)
        try:
            while True:
                writer.write(bytes(20000))
                await writer.drain()
        finally:
            seen.append("closed")
            writer.close()

    async def mute(reader, writer):
        await asyncio.sleep(60)

    async def main():
        for what in (connecting, reading):
            try:
                await asyncio.wait_for_ms(what(), 100)
                raise AssertionError("no timeout")
            except asyncio.TimeoutError:
                seen.append("timeout")
        server = await asyncio.start_server(mute, "127.0.0.1", 8021)
        tasks = [asyncio.create_task(writing()) for _ in range(3)] + [asyncio.create_task(reading()) for _ in range(50)]
        await asyncio.sleep_ms(500)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    asyncio.new_event_loop()  # the mute tasks of the server go with the loop
    assert seen.count("timeout") == 2 and seen.count("closed") == 54, seen


def test_backpressure():
    """A peer that reads slowly holds back its writer alone; memory stays where it was, and all arrives in order."""
    size = 2_000_000
    got = []
    ticks = []
    peak = [0]

    async def slow(reader, writer):
        n = 0
        while True:
            data = await reader.read(20000)
            if not data:
                break
            for i in range(0, len(data), 4096):
                assert data[i] == (n + i) * 31 % 251
            n += len(data)
            peak[0] = max(peak[0], network._memory()[1])
            await asyncio.sleep_ms(2)
        got.append(n)
        writer.close()

    async def ticker():
        while not got:
            ticks.append(time.ticks_ms())
            await asyncio.sleep_ms(10)

    async def main():
        server = await asyncio.start_server(slow, "127.0.0.1", 8022)
        beat = asyncio.create_task(ticker())
        _, writer = await asyncio.open_connection("127.0.0.1", 8022)
        sent = 0
        while sent < size:
            block = bytes((sent + i) * 31 % 251 for i in range(1000))
            writer.write(block)
            sent += len(block)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        await beat
        server.close()

    asyncio.run(main())
    assert got == [size], got
    assert peak[0] < 3_000_000, peak
    assert len(ticks) > 10
    print("backpressure", peak[0])


def test_server_of_both_families():
    """One call serves IPv4 and IPv6; an address serves its own family."""

    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def ask(host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"who?\n")
        await writer.drain()
        assert await reader.readline() == b"who?\n"
        writer.close()
        await writer.wait_closed()

    async def main():
        both = "127.0.0.1", "::1"
        port = 8030
        for host, clients in (("::", both), ("", both), (None, both), ("::1", both[1:]), ("0.0.0.0", both[:1])):
            port += 1
            server = await asyncio.start_server(serve, host, port)
            for client in clients:
                await ask(client, port)
            server.close()
            await server.wait_closed()
        if "echo6" in PORTS:
            await ask("fec0::2", PORTS["echo6"])

    asyncio.run(main())


def test_many_come_at_once():
    """A server takes none meanwhile, and no client is left to its next SYN."""

    async def serve(reader, writer):
        writer.write(b"x")
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 8040)
        clients = [socket.socket() for _ in range(60)]
        for client in clients:
            client.settimeout(0.9)  # the next SYN comes after a second
            client.connect(("127.0.0.1", 8040))
        for client in clients:
            reader = asyncio.StreamReader(client)
            assert await reader.read(1) == b"x"
            client.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_serve_forever():
    """Until it is cancelled; then its port is free."""

    async def serve(reader, writer):
        writer.write(b"x")
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 8041)
        async with server:
            await server.serve_forever()

    async def both():
        for _ in range(2):
            task = asyncio.create_task(main())
            await asyncio.sleep_ms(10)
            reader, writer = await asyncio.open_connection("127.0.0.1", 8041)
            assert await reader.read(1) == b"x"
            writer.close()
            await writer.wait_closed()
            task.cancel()
            try:
                await task
                raise AssertionError("it was not cancelled")
            except asyncio.CancelledError:
                pass

    asyncio.run(both())


def test_the_end():
    """All of it was given back."""
    after = settle()
    assert after <= BEFORE + 2, (BEFORE, after)


run(globals())
