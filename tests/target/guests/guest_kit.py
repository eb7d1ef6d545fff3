# SPDX-License-Identifier: MIT
"""What the guests that test sockets share: the services of net_host.py, by the arguments, and a runner."""

import gc
import select
import socket
import sys
import time

import network

HOST = "10.0.2.2"
NOBODY = "10.0.2.77"  # in the network, but nobody answers
PORTS = {}
KEPT = 16384  # headers of received frames stay with the stack for the next ones
for arg in sys.argv[1:]:
    name, port = arg.split("=")
    PORTS[name] = int(port)


def connect(service, timeout=10):
    s = socket.socket()
    s.settimeout(timeout)
    s.connect((HOST, PORTS[service]))
    return s


def read_all(s):
    parts = []
    while True:
        part = s.recv(4096)
        if not part:
            return b"".join(parts)
        parts.append(part)


def poll_once(s, mask=select.POLLIN | select.POLLOUT, ms=0):
    p = select.poll()
    p.register(s, mask)
    events = p.poll(ms)
    return events[0][1] if events else 0


def listener(address="127.0.0.1", port=0, backlog=5, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.settimeout(5)
    s.bind((address, port))
    s.listen(backlog)
    return s


def pair(port, client="127.0.0.1", server="127.0.0.1", family=socket.AF_INET):
    lst = listener(server, port, family=family)
    a = socket.socket(socket.AF_INET6 if ":" in client else socket.AF_INET)
    a.settimeout(5)
    a.connect((client, port))
    b, peer = lst.accept()
    b.settimeout(5)
    lst.close()
    return a, b, peer


def settle():
    """Bytes the stack holds when what was closed has gone, in units of what it keeps for received frames."""
    gc.collect()
    limit = time.ticks_add(time.ticks_ms(), 8000)
    while network._memory()[3] > 0 and time.ticks_diff(limit, time.ticks_ms()) > 0:
        time.sleep_ms(20)
    time.sleep_ms(200)  # the last frames leave
    return network._memory()[1] // KEPT


def run(tests):
    """Run every function test_*, in order of their names; the last line says that all have passed."""
    for name in sorted(tests):
        if name.startswith("test_"):
            tests[name]()
            print("ok", name)
    print("all done")
