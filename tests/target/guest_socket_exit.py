# SPDX-License-Identifier: MIT
"""Runs inside the VM: send, and end at once, with the data still on its way. Arguments: as guest_socket.py's."""

import socket
import sys

ports = {}
for arg in sys.argv[1:]:
    name, port = arg.split("=")
    ports[name] = int(port)
s = socket.socket()
s.connect(("10.0.2.2", ports["count"]))
s.sendall(bytes(100000))
