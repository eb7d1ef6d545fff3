# SPDX-License-Identifier: MIT
"""Runs inside the VM: TCP sockets, against peers on the host and against themselves."""

import errno
import select
import socket
import time

from guest_base import errno_of
from guest_kit import HOST, NOBODY, PORTS, connect, listener, pair, poll_once, read_all, run


def test_echo():
    s = connect("echo")
    data = bytes(range(256)) * 400
    s.sendall(data)
    got = s.read(len(data))
    assert got == data
    assert s.write(b"line one\nline two\n") == 18
    assert s.readline() == b"line one\n"
    assert s.makefile("rb").readline() == b"line two\n"
    buf = bytearray(8)
    s.send(b"0123456789")
    assert s.readinto(buf) == 8 and buf == b"01234567"
    assert s.recv_into(memoryview(buf)[:4]) == 2 and buf[:2] == b"89"
    try:
        s.recv_into(buf, 2, 0)
        raise AssertionError("no error")
    except TypeError:
        pass
    s.close()
    assert errno_of(s.send, b"x") == errno.EBADF
    assert errno_of(s.recv, 1) == errno.EBADF
    s.close()  # twice is no error


def test_peer_closes_first():
    s = connect("bye")
    assert s.recv(100) == b"bye"
    assert s.recv(100) == b""
    assert s.recv(100) == b""
    assert poll_once(s) == select.POLLIN | select.POLLOUT
    assert s.send(b"still here") == 10
    s.close()
    time.sleep_ms(200)
    s = connect("report")
    assert read_all(s) == b"still here"
    s.close()


def test_shutdown():
    s = connect("upper")
    s.sendall(b"after me the end")
    s.shutdown(socket.SHUT_WR)
    assert errno_of(s.send, b"x") == 32  # EPIPE
    assert read_all(s) == b"AFTER ME THE END"
    s.close()


def test_close_sends_the_rest():
    s = connect("count")
    data = bytes(30000)
    sent = s.send(data)
    s.close()
    time.sleep_ms(300)
    s = connect("report")
    assert read_all(s) == str(sent).encode()
    s.close()


def test_refused():
    s = socket.socket()
    assert errno_of(s.connect, (HOST, PORTS["nobody"])) == errno.ECONNREFUSED
    s.connect((HOST, PORTS["echo"]))  # the same socket may try again
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    s.close()


def test_timeouts():
    s = connect("echo")
    for timeout in (0.05, 0.3):
        s.settimeout(timeout)
        start = time.ticks_ms()
        assert errno_of(s.recv, 1) == errno.ETIMEDOUT
        took = time.ticks_diff(time.ticks_ms(), start)
        assert timeout * 1000 <= took < timeout * 1000 + 1000, took  # a host with other work is late
    s.close()
    s = listener("0.0.0.0", 8001)
    s.settimeout(0.05)
    assert errno_of(s.accept) == errno.ETIMEDOUT
    s.close()
    s = socket.socket()
    s.settimeout(36000)
    assert repr(s) == "<socket new timeout=36000000 ms>", s
    s.settimeout(0.2)
    assert errno_of(s.connect, (NOBODY, 80)) == errno.ETIMEDOUT
    s.close()
    try:
        s.settimeout(-1)
        raise AssertionError("no error")
    except ValueError:
        pass


def test_nonblocking():
    s = socket.socket()
    s.setblocking(False)
    assert poll_once(s) == select.POLLOUT | select.POLLHUP
    assert errno_of(s.recv, 1) == errno.ENOTCONN
    assert errno_of(s.connect, (NOBODY, 80)) == errno.EINPROGRESS
    assert errno_of(s.connect, (NOBODY, 80)) == errno.EALREADY
    assert poll_once(s) == 0
    assert errno_of(s.send, b"1") == errno.EAGAIN
    assert errno_of(s.recv, 1) == errno.EAGAIN
    assert s.write(b"1") is None
    assert s.read(1) is None
    s.close()
    assert poll_once(s) == 32  # POLLNVAL
    s = socket.socket()
    s.setblocking(False)
    assert errno_of(s.connect, (HOST, PORTS["echo"])) == errno.EINPROGRESS
    assert poll_once(s, ms=2000) == select.POLLOUT
    assert s.send(b"ping") == 4
    assert poll_once(s, select.POLLIN, 2000) == select.POLLIN
    assert s.recv(10) == b"ping"
    assert errno_of(s.recv, 10) == errno.EAGAIN
    s.close()
    s = socket.socket()
    s.setblocking(False)
    assert errno_of(s.connect, (HOST, PORTS["nobody"])) == errno.EINPROGRESS
    assert poll_once(s, select.POLLOUT, 2000) & (select.POLLERR | select.POLLHUP)
    assert errno_of(s.send, b"x") == errno.ECONNREFUSED
    s.close()


def test_full_send_queue():
    a, b, _ = pair(8002)
    a.setblocking(False)
    chunk = bytes(10000)
    total = 0
    while True:
        n = a.write(chunk)
        if n is None:
            break
        total += n
    assert poll_once(a, select.POLLOUT) == 0
    assert errno_of(a.send, b"x") == errno.EAGAIN
    got = 0
    while got < total:
        got += len(b.recv(65536))
    assert poll_once(a, select.POLLOUT, 1000) == select.POLLOUT
    a.close()
    assert b.recv(1) == b""
    b.close()


def test_reset():
    s = connect("reset")
    s.send(b"go")
    assert errno_of(s.recv, 100) == errno.ECONNRESET
    s.close()
    s, t, _ = pair(8011)
    t.send(b"last words")
    s.send(b"never read")
    time.sleep_ms(20)
    t.close()
    time.sleep_ms(20)
    assert s.recv(100) == b"last words"
    assert poll_once(s) & (select.POLLERR | select.POLLHUP) == select.POLLERR | select.POLLHUP
    assert errno_of(s.recv, 100) == errno.ECONNRESET
    assert s.recv(100) == b""
    assert errno_of(s.send, b"x") == 32  # EPIPE
    s.close()


def test_connect_again_after_a_reset():
    """Nothing of the first connection is left: not its data, and not that its send queue was full."""
    s, t, _ = pair(8012)
    s.setblocking(False)
    while errno_of(s.send, bytes(20000)) == 0:
        pass
    t.send(b"old")
    time.sleep_ms(20)
    t.close()
    time.sleep_ms(20)
    s.settimeout(2)
    lst = listener(port=8013)
    s.connect(("127.0.0.1", 8013))
    t, _ = lst.accept()
    assert s.send(b"ping") == 4
    assert t.recv(10) == b"ping"
    t.send(b"pong")
    assert s.recv(10) == b"pong"
    s.close()
    t.close()
    lst.close()


def test_to_itself_without_delay():
    """What a machine sends to itself does not wait for a timer of the stack, 50 ms away."""
    a, b, _ = pair(8014)
    start = time.ticks_ms()
    for _ in range(40):
        a.send(b"x")
        assert b.recv(1) == b"x"
    assert time.ticks_diff(time.ticks_ms(), start) < 1500  # and not 40 * 50
    a.close()
    b.close()


def test_listening():
    s = listener(port=8003)
    assert errno_of(s.recv, 1) == errno.ENOTCONN
    assert errno_of(s.send, b"x") == errno.ENOTCONN
    assert errno_of(s.connect, ("127.0.0.1", 1)) == errno.EINVAL
    s.setblocking(False)
    assert errno_of(s.accept) == errno.EAGAIN
    assert poll_once(s) == 0
    t = socket.socket()
    assert errno_of(t.bind, ("127.0.0.1", 8003)) == errno.EADDRINUSE
    t.connect(("127.0.0.1", 8003))
    assert poll_once(s, ms=1000) == select.POLLIN
    c, peer = s.accept()
    assert peer[0] == "127.0.0.1"
    s.close()
    t.send(b"hi")
    c.settimeout(2)
    assert c.recv(2) == b"hi"
    c.close()
    t.close()
    s = listener(port=8003)  # the port is free again at once
    s.close()


def test_data_before_accept():
    s = listener(port=8004)
    t = socket.socket()
    t.connect(("127.0.0.1", 8004))
    t.send(b"early")
    t.close()
    time.sleep_ms(20)
    c, _ = s.accept()
    assert c.recv(100) == b"early"
    assert c.recv(100) == b""
    c.close()
    s.close()


def test_backlog():
    s = listener(port=8005, backlog=2)
    waiting = []
    for _ in range(20):  # at once: they are let in, as nobody could accept one in between
        t = socket.socket()
        t.settimeout(0.9)
        t.connect(("127.0.0.1", 8005))
        waiting.append(t)
    time.sleep_ms(1600)
    t = socket.socket()
    t.settimeout(0.3)
    assert errno_of(t.connect, ("127.0.0.1", 8005)) == errno.ETIMEDOUT
    t.close()
    for _ in range(20):
        s.accept()[0].close()
    t = socket.socket()
    t.settimeout(3)
    t.connect(("127.0.0.1", 8005))
    for t in waiting:
        t.close()
    s.close()


def test_families():
    a, b, peer = pair(8006, "::1", "::1", socket.AF_INET6)
    assert peer[0] == "::1" and len(peer) == 4
    a.close()
    b.close()
    for client in ("127.0.0.1", "::1"):  # one socket serves both
        a, b, peer = pair(8007, client, "::", socket.AF_INET6)
        assert peer[0] == client
        a.send(b"x")
        assert b.recv(1) == b"x"
        a.close()
        b.close()
    s = socket.socket()
    assert errno_of(s.connect, ("::1", 80)) == 97  # EAFNOSUPPORT
    s.close()
    assert errno_of(socket.socket, 3) == 97
    assert socket.inet_ntop(socket.AF_INET, b"\x7f\0\0\1") == "127.0.0.1"
    assert socket.inet_pton(socket.AF_INET6, "fe80::1") == b"\xfe\x80" + bytes(13) + b"\x01"
    for family, other in ((socket.AF_INET, "::1"), (socket.AF_INET6, "1.2.3.4")):
        assert errno_of(socket.inet_pton, family, other) == errno.EINVAL
    assert errno_of(socket.inet_pton, 3, "1.2.3.4") == errno_of(socket.inet_ntop, 3, bytes(4)) == 97


run(globals())
