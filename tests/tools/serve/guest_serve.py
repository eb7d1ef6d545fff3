# SPDX-License-Identifier: MIT
"""Serves one connection after another: each line is a word, which says what is done."""

import binascii
import os
import socket
import sys
import time

import machine

server = socket.socket()
server.bind(("0.0.0.0", 80))
time.sleep_ms(int(os.getenv("LATER", "0")))  # a port that is forwarded, and not open yet
server.listen(8)
print("up")
while True:
    conn, _ = server.accept()
    conn.send(b"hello\n")
    while word := conn.readline().strip():
        if word == b"id":
            conn.send(binascii.hexlify(machine.unique_id()) + b"\n")
        elif word == b"echo":
            while data := conn.recv(65536):
                conn.sendall(data)
            break
        elif word == b"wait":
            conn.send(b"waiting\n")
            try:
                conn.recv(1)
            except KeyboardInterrupt:
                conn.send(b"the last word\n")
                conn.close()
                sys.exit(0)
        elif word == b"end":
            sys.exit(3)
    conn.close()
