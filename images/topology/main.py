# SPDX-License-Identifier: MIT
"""The client: resolves a name and fetches the page that is there, every EVERY_S seconds, and says when that begins to
work and when it stops. Settings: README.md."""

import os
import socket
import time

HOST = os.getenv("HOST", "www.classic.example")
EVERY_S = float(os.getenv("EVERY_S", "2"))
ANSWER_S = 10
AGAIN_S = 0.05  # until it has worked once: the servers are still starting
PATIENCE_S = 10  # for so long that is not reported
LONGEST = 1 << 20


def fetch():
    """The address of HOST, and how many bytes its page has. OSError; ValueError: what came is no page."""
    address = socket.getaddrinfo(HOST, 80)[0][-1]
    with socket.socket() as s:
        s.settimeout(ANSWER_S)
        s.connect(address)
        s.sendall(b"GET / HTTP/1.0\r\nHost: %s\r\n\r\n" % HOST.encode())
        said = b""
        while len(said) < LONGEST and (data := s.recv(4096)):
            said += data
    head, blank, body = said.partition(b"\r\n\r\n")
    if not blank or b" 200 " not in head.split(b"\r\n")[0]:
        raise ValueError("no page, but %r" % said[:60])
    return address[0], len(body)


def main():
    began = time.time()
    worked = None  # None: not yet, and nothing was said
    while True:
        try:
            address, size = fetch()
            if not worked:
                print("all reachable:", HOST, "is", address, "and has a page of", size, "bytes")
            worked = True
        except (OSError, ValueError) as e:
            if worked or (worked is None and time.time() - began > PATIENCE_S):
                print("not reachable:", e)
                worked = False
        time.sleep(AGAIN_S if worked is None else EVERY_S)


main()
