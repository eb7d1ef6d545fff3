# SPDX-License-Identifier: MIT
# Bytes over the console on request: "out N" and "in N", each answered with the SHA-256 of what passed.
import hashlib
import sys

PIECE = 32768


def out(size):
    piece = bytearray(bytes(range(256)) * (PIECE // 256))
    digest = hashlib.sha256()
    for number in range(size // PIECE):
        piece[0] = number & 255
        digest.update(piece)
        sys.stdout.buffer.write(piece)
    return digest


def take(size):
    piece = memoryview(bytearray(PIECE))
    digest = hashlib.sha256()
    sys.stdout.write("!")
    for _ in range(size // PIECE):
        sys.stdin.buffer.readinto(piece)
        digest.update(piece)
    return digest


print("ready")
while True:
    words = sys.stdin.readline().split()
    if not words:
        break
    print((out if words[0] == "out" else take)(int(words[1])).digest().hex())
