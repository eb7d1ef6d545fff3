# SPDX-License-Identifier: MIT
"""Runs inside the VM: says on three ports what it hears, in capitals, by TCP and UDP; "reset" and "end" it obeys."""

import select
import socket
import sys

import machine

PORTS = (7001, 7002, 7003)


def opened(kind, port):
    s = socket.socket(socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", port))
    if kind == socket.SOCK_STREAM:
        s.listen(64)
    return s


streams = [opened(socket.SOCK_STREAM, port) for port in PORTS]
datagrams = [opened(socket.SOCK_DGRAM, port) for port in PORTS]
poller = select.poll()
for each in streams + datagrams:
    poller.register(each, select.POLLIN)
print("listening")
while True:
    for ready, _ in poller.poll():
        if ready in datagrams:
            data, client = ready.recvfrom(9000)
            ready.sendto(data.upper(), client)
            continue
        connection, _ = ready.accept()
        data = connection.recv(100)
        connection.sendall(b"%d " % PORTS[streams.index(ready)] + data.upper())
        connection.close()
        if data == b"reset":
            machine.reset()
        if data == b"end":
            sys.exit(9)
