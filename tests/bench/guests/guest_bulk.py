# SPDX-License-Identifier: MIT
# One end of a bulk transfer, for both directions; the other end is tests/bench/bulk.py, which makes the same data.
#
# A client sends one line and gets, or sends, that many blocks of 64 KiB on the same connection:
#   b"get COUNT\n"         we send
#   b"put COUNT\n"         we receive, compare, and answer b"ok\n" or b"bad BLOCK\n"
#   b"hash COUNT\n"        we receive, and answer with the SHA-256 of it all
# A block is fixed noise behind its own number, so that a lost, doubled or displaced piece shows.
import hashlib
import os
import socket

SIZE = 65536


def noise():
    out = bytearray(SIZE)
    state = 1
    for i in range(SIZE):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out[i] = state >> 16 & 0xFF
    return out


def number(block, n):
    block[0] = n & 0xFF
    block[1] = n >> 8 & 0xFF
    block[2] = n >> 16 & 0xFF


def receive(sock, block, count):
    """None, or the number of the first block that is not what was sent."""
    got = bytearray(SIZE)
    for n in range(count):
        number(block, n)
        if sock.readinto(got) != SIZE or got != block:
            return n
    return None


def receive_hash(sock, count):
    got = bytearray(SIZE)
    digest = hashlib.sha256()
    for _ in range(count):
        if sock.readinto(got) != SIZE:
            break
        digest.update(got)
    return digest.digest()


def send(sock, block, count):
    for n in range(count):
        number(block, n)
        if sock.write(block) != SIZE:
            raise OSError("short write")


def serve(sock, block):
    words = sock.readline().split()
    if len(words) != 2:
        return
    count = int(words[1])
    if words[0] == b"get":
        send(sock, block, count)
    elif words[0] == b"put":
        bad = receive(sock, block, count)
        sock.write(b"ok\n" if bad is None else b"bad %d\n" % bad)
    elif words[0] == b"hash":
        sock.write(receive_hash(sock, count))


def main():
    block = noise()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(socket.getaddrinfo("0.0.0.0", int(os.getenv("PORT") or 5001))[0][-1])
    listener.listen(4)
    print("bulk: ready")
    while True:
        sock = listener.accept()[0]
        try:
            serve(sock, block)
        except OSError as exc:
            print("bulk:", exc)
        sock.close()


main()
