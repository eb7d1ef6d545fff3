# SPDX-License-Identifier: MIT
"""A server that gives each connection to a child: what a child does is in the first line that comes. The first
byte is read before: some of what there is to do is the server's. Host: test_handoff.py."""

import gc
import hashlib
import os
import socket
import ssl

import vm


def line_of(conn, line):
    while not line.endswith(b"\n"):
        data = conn.recv(1)
        if not data:
            break
        line += data
    return line.decode().split()


def answer(conn):
    while conn.readline().strip():
        pass
    body = "VM %d" % os.getpid()
    conn.write("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def echo(conn):
    """Up to the end; then the other half is still there."""
    n = 0
    while data := conn.recv(4096):
        n += len(data)
        conn.sendall(data)
    conn.sendall(b" and %d bytes" % n)


def both_ways(conn, size):
    """So many bytes come, and go back once all are here."""
    size = int(size)
    hashed, pieces = hashlib.sha256(), []
    while size:
        pieces.append(conn.recv(min(size, 65536)))
        size -= len(pieces[-1])
        hashed.update(pieces[-1])
    for piece in pieces:
        conn.sendall(piece)
    conn.sendall(hashed.digest())


def until_reset(conn):
    conn.sendall(b"ready")
    print("heard", heard(conn.recv, 100), heard(conn.recv, 100), heard(conn.send, b"x"), heard(conn.send, b"x"))


def heard(function, *args):
    try:
        return function(*args)
    except OSError as e:
        return e.errno


def wait(conn):
    conn.sendall(b"%d" % os.getpid())
    conn.recv(100)


def over_tls(conn):
    echo_line(context.wrap_socket(conn, server_side=True))


def echo_line(tls):
    tls.write(b"%d says " % os.getpid() + tls.readline())
    tls.close()


def kill(conn, pid):
    os.kill(int(pid), 9)
    conn.sendall(b"killed")


def again(conn):
    """A child of the child's has it next, and one that it was not given to has not."""
    if os.fork() == 0:
        print("not given", heard(conn.recv, 10), heard(conn.recv, 10))
        os._exit(0)
    os.wait()
    vm.handoff(conn)
    if os.fork() == 0:
        echo(conn)
        os._exit(0)
    assert heard(conn.recv, 10) == 9
    os.wait()


DO = {
    "GET": lambda conn, *rest: answer(conn),
    "echo": echo,
    "hash": both_ways,
    "reset": until_reset,
    "wait": wait,
    "tls": over_tls,
    "kill": kill,
    "again": again,
}


def serve(conn, first):
    listener.close()
    word, *rest = line_of(conn, first)
    DO[word](conn, *rest)
    conn.close()
    os._exit(0)


def of_server(conn, first):
    """What the server does itself. True: it ends."""
    if first == b"!":
        gc.collect()
        r, w = os.pipe()
        os.close(r)
        os.close(w)
        conn.sendall(b"%d %d" % (r, gc.mem_free()))
    elif first == b"T":  # TLS is begun here, and goes on there
        tls = context.wrap_socket(conn, server_side=True)
        tls.write(b"begun\n")
        vm.handoff(tls)
        if vm.fork() == 0:
            echo_line(tls)
            os._exit(0)
        print("here", heard(tls.write, b"x"))
        tls.close()
    conn.close()
    return first == b"Q"


def reap(options):
    try:
        while os.waitpid(-1, options)[0]:
            pass
    except OSError as e:
        assert e.errno == 10  # there is none


def pem(name):
    return os.getenv(name).replace("|", "\n").encode()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(pem("GOOD_PEM"), pem("GOOD_KEY"))
listener = socket.socket()
listener.bind(("0.0.0.0", 8080))
listener.listen(20)
print("serving")
while True:
    conn, addr = listener.accept()
    first = conn.recv(1)
    if first in (b"!", b"T", b"Q"):
        if of_server(conn, first):
            break
        continue
    vm.handoff(conn)
    if os.fork() == 0:
        serve(conn, first)
    conn.close()
    reap(os.WNOHANG)
reap(0)
print("the end")
