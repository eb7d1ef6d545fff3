# SPDX-License-Identifier: MIT
# Counts who comes, and tells each what machine this is.

import os
import socket
import time

import machine
import network
import vm

vm.after_fork(lambda: print("became", os.getpid()))
count = 0
s = socket.socket()
s.bind(("0.0.0.0", 80))
s.listen(5)
print("ready")
while True:
    conn, _ = s.accept()
    count += 1
    mac = network.LAN(0).config("mac").hex()
    own = (str(count), network.hostname(), machine.unique_id().hex(), mac, os.urandom(8).hex(), str(time.time()))
    try:
        conn.recv(10)
        conn.sendall(" ".join(own).encode())
    except OSError as e:
        print(e)
    conn.close()
