# SPDX-License-Identifier: MIT
"""Runs inside the VM: a small TCP server that says `hello` and its free memory, until it is told to end."""

import socket

import floe

server = socket.socket(socket.AF_INET6)  # for both families
server.bind(("::", 80))
server.listen(128)
print("listening")
asked = b""
while asked != b"end":
    client = server.accept()[0]
    client.settimeout(2)
    try:
        asked = client.recv(100)
        client.send(b"hello %d\n" % floe.mem_info()["c_used"])
    except OSError:
        pass
    client.close()
print("the end")
