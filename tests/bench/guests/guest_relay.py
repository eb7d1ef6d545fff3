# SPDX-License-Identifier: MIT
# The plainest relay there is: what a client of port 80 sends goes to UPSTREAM (host:port) as it is, and back.
import errno
import os
import select
import socket


def main():
    host, _, port = os.getenv("UPSTREAM").partition(":")
    upstream = socket.getaddrinfo(host, int(port))[0][-1]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(socket.getaddrinfo("0.0.0.0", 80)[0][-1])
    listener.listen(128)
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    print("serving on port 80")
    others = {}  # id -> the socket at the other side
    while True:
        for sock, _ in poller.ipoll(-1):
            if sock is listener:
                client = listener.accept()[0]
                server = socket.socket()
                server.connect(upstream)
                for one, other in ((client, server), (server, client)):
                    one.setblocking(False)
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    others[id(one)] = other
                    poller.register(one, select.POLLIN)
                continue
            other = others.get(id(sock))
            try:
                data = sock.recv(65536)
            except OSError as exc:
                if exc.errno == errno.EAGAIN:  # registering a client may make ipoll() name another twice
                    continue
                data = b""
            if data:
                other.write(data)
                continue
            for end in (sock, other):
                del others[id(end)]
                poller.unregister(end)
                end.close()


main()
