# SPDX-License-Identifier: MIT
# A server on every card: TCP 80 (GET /N: N bytes of a pattern; POST: the body's length and SHA-256), UDP 53 (any name is
# 10.1.2.3). It says when the first card's link changes. Arguments: "name NAME" asks for a name first, "fetch ADDRESS PORT
# PATH" gets a file by HTTP and says its length and SHA-256.

import asyncio
import hashlib
import socket
import sys

import network

PATTERN = bytes((i * 7 + i // 251) & 255 for i in range(16384))


async def serve(reader, writer):
    words = (await reader.readline()).split()
    length = 0
    while (line := await reader.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line[15:])
    writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
    if words[0] == b"GET":
        left = int(words[1][1:] or b"2")
        while left > 0:
            writer.write(memoryview(PATTERN)[:left])
            await writer.drain()
            left -= len(PATTERN)
    else:
        sha, got, buffer = hashlib.sha256(), 0, bytearray(16384)
        while got < length and (n := await reader.readinto(buffer)):
            sha.update(memoryview(buffer)[:n])
            got += n
        writer.write(b"%d %s\n" % (got, sha.digest().hex().encode()))
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def name_server():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("0.0.0.0", 53))
    while True:
        try:
            query, peer = sock.recvfrom(512)
        except OSError:
            await asyncio.sleep_ms(2)
            continue
        end = 12
        while query[end]:
            end += query[end] + 1
        is_a = query[end + 1 : end + 3] == b"\0\1"
        head = query[:2] + b"\x85\x80\0\1\0" + bytes([is_a]) + b"\0\0\0\0" + query[12 : end + 5]
        sock.sendto(head + (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\1\2\3" if is_a else b""), peer)


async def fetch(address, port, path):
    reader, writer = await asyncio.open_connection(address, int(port))
    writer.write(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
    await writer.drain()
    while await reader.readline() != b"\r\n":
        pass
    sha, got, buffer = hashlib.sha256(), 0, bytearray(16384)
    while n := await reader.readinto(buffer):
        sha.update(memoryview(buffer)[:n])
        got += n
    print("fetched", got, sha.digest().hex())


async def main():
    if sys.argv[1:2] == ["name"]:
        print("address", socket.getaddrinfo(sys.argv[2], 80)[0][-1][0])
    elif sys.argv[1:]:
        await fetch(*sys.argv[2:])
    names = asyncio.create_task(name_server())
    await asyncio.start_server(serve, "0.0.0.0", 80)
    print("ready")
    was = None
    while True:
        is_up = network.LAN(0).isconnected()
        if is_up != was:
            was = is_up
            print("link", "up" if is_up else "down")
        await asyncio.sleep_ms(50)
        assert not names.done()


asyncio.run(main())
