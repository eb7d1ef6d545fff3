# SPDX-License-Identifier: MIT
"""Connections served here (first byte "h") or by a child: "p" is sent back, "d" asks for BYTES, "u" is followed by BYTES."""

import os
import socket

import vm

BYTES = 16 << 20
PIECE = bytes(65536)


def serve(conn):
    while word := conn.recv(1):
        if word == b"d":
            for _ in range(BYTES // len(PIECE)):
                conn.sendall(PIECE)
        elif word == b"u":
            left = BYTES
            while left:
                left -= len(conn.recv(65536))
            conn.sendall(b"u")
        else:
            conn.sendall(word)
    conn.close()


listener = socket.socket()
listener.bind(("0.0.0.0", 8080))
listener.listen(8)
print("serving")
while True:
    conn, _ = listener.accept()
    if conn.recv(1) == b"h":
        serve(conn)
        continue
    vm.handoff(conn)
    if os.fork() == 0:
        serve(conn)
        os._exit(0)
    os.wait()
