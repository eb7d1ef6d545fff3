# SPDX-License-Identifier: MIT
# A guest that wants out, by the test's leave: each line is a verb and what it is for. "frames": those of the secret
# leave as they are, by the card. The others say what came of it.

import socket
import sys

import _link

import floe

link = _link.Link(0, 0)


def frames():
    left = floe.secret("frames")
    count = 0
    while left:
        size = int.from_bytes(left[:2], "big")
        while not link.send(left[2 : 2 + size]):
            pass
        left = left[2 + size :]
        count += 1
    return count


def get(host, port):
    """The status of an HTTP request, and where its answer sends us."""
    s = socket.socket()
    s.settimeout(20)
    try:
        s.connect(socket.getaddrinfo(host, int(port))[0][-1])
        s.send(b"GET / HTTP/1.0\r\n\r\n")
        head = b""
        while data := s.recv(1000):
            head += data
        status, _, rest = head.decode().partition("\r\n")
        _, _, to = rest.partition("Location: http://")
        return status.split()[1], to.partition("/")[0]
    finally:
        s.close()


def follow(host, port):
    while True:
        status, to = get(host, port)
        if not to:
            return status
        print("sent to", to)
        host, _, port = to.partition(":")


def udp(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1)
    s.sendto(b"datagram", (host, int(port)))
    try:
        return s.recvfrom(100)
    finally:
        s.close()


def ask(server, query):
    """A query of our own to a name server; its answer's code and place."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1)
    s.sendto(bytes.fromhex(query), (server, 53))
    try:
        data, place = s.recvfrom(1000)
        return data[3] & 15, place
    finally:
        s.close()


def names(name):
    return sorted({info[-1][0] for info in socket.getaddrinfo(name, 1)})


VERBS = {"frames": frames, "get": get, "follow": follow, "udp": udp, "ask": ask, "names": names}

print("<READY>")
for line in sys.stdin:
    verb, *words = line.split()
    if verb == "end":
        break
    try:
        print("<%s>" % (VERBS[verb](*words),))
    except OSError as e:
        print("<OSError %s>" % e.errno)
