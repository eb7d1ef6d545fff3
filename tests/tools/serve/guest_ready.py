# SPDX-License-Identifier: MIT
"""Is set up once, and then serves one connection in each of its copies, which says who it is and what it draws."""

import binascii
import os
import socket

import machine
import vm

server = socket.socket()
server.bind(("0.0.0.0", 80))
server.listen(8)
print("set up")
vm.ready()
conn, _ = server.accept()
print("serves")
conn.send(b"hello\n")
while conn.readline():
    conn.send(binascii.hexlify(machine.unique_id()) + b" " + binascii.hexlify(os.urandom(8)) + b"\n")
conn.close()
