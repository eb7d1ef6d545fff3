# SPDX-License-Identifier: MIT
"""A VM that begets servers when it is told to on port 7000: who answers a line at port 80 says its own number first.

Orders: `fork`, `deaf` (a child that listens no more), `kill PID`, `end PID` (a child that is asked goes on for those
that are connected)."""

import os
import select
import signal
import socket
import time


def listening(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
    s.listen(16)
    return s


def serve(**handlers):
    """Answer lines: of each listener by its handler."""
    poller = select.poll()
    for s, _ in handlers.values():
        poller.register(s, select.POLLIN)
    handled = {id(s): handler for s, handler in handlers.values()}
    clients = {}
    while True:
        for s, _ in poller.poll(100):
            if id(s) in handled:
                conn = s.accept()[0]
                clients[id(conn)] = handled[id(s)]
                poller.register(conn, select.POLLIN)
                continue
            try:
                line = s.recv(1000)
            except OSError:  # of the parent's, in a child
                line = b""
            if line:
                s.sendall(clients[id(s)](line.strip()))
            else:
                poller.unregister(s)
                del clients[id(s)]
                s.close()


web = listening(80)
orders = listening(7000)


def name(line):
    return b"%d %s\n" % (os.getpid(), line)


def be_child(deaf):
    orders.close()
    signal.signal(signal.SIGTERM, lambda number, frame: print("goes on"))
    if deaf:
        web.close()
        print("deaf")
        while True:
            time.sleep(60)
    print("serves")
    serve(web=(web, name))


def obey(line):
    word, *rest = line.decode().split()
    if word in ("fork", "deaf"):
        pid = os.fork()
        if pid == 0:
            be_child(word == "deaf")
        return b"%d\n" % pid
    os.kill(int(rest[0]), {"kill": 9, "end": 15}[word])
    return b"done\n"


print("ready", os.getpid())
serve(web=(web, name), orders=(orders, obey))
