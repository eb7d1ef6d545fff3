# SPDX-License-Identifier: MIT
# The plainest server there is: one poll() loop, one fixed answer with a body of 1 KiB, kept alive.
import errno
import os
import select
import socket

BODY = b"x" * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + BODY


def main():
    port = int(os.getenv("PORT") or 80)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
    listener.listen(128)
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    print("serving on port", port)
    while True:
        for sock, _ in poller.ipoll(-1):
            if sock is listener:
                client = listener.accept()[0]
                client.setblocking(False)
                poller.register(client, select.POLLIN)
                continue
            try:
                data = sock.recv(2048)
            except OSError as exc:
                if exc.errno == errno.EAGAIN:  # registering a client may make ipoll() name another twice
                    continue
                data = b""
            if not data:
                poller.unregister(sock)
                sock.close()
            elif data[-4:] == b"\r\n\r\n":
                sock.write(ANSWER)


main()
