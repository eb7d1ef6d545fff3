# SPDX-License-Identifier: MIT
"""Runs inside the VM: what module socket promises, against peers on the host and against itself.

Arguments: name=port for each service of net_host.py. Prints "ok NAME" for each test, then "all done".
"""

import errno
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


def errno_of(call, *args):
    try:
        call(*args)
    except OSError as e:
        return e.errno
    return 0


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
        assert timeout * 1000 <= took < timeout * 1000 + 150, took
    s.close()
    s = listener("0.0.0.0", 8001)
    s.settimeout(0.05)
    assert errno_of(s.accept) == errno.ETIMEDOUT
    s.close()
    s = socket.socket()
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
    for _ in range(2):
        t = socket.socket()
        t.connect(("127.0.0.1", 8005))
        waiting.append(t)
    time.sleep_ms(20)
    t = socket.socket()
    t.settimeout(0.3)
    assert errno_of(t.connect, ("127.0.0.1", 8005)) == errno.ETIMEDOUT
    t.close()
    for _ in range(2):
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


def test_host_v6():
    if "echo6" not in PORTS:
        print("SKIP: the host has no ::1")
        return
    limit = time.ticks_add(time.ticks_ms(), 10000)
    while not network.LAN(0).ipconfig("has_autoconf6"):
        assert time.ticks_diff(limit, time.ticks_ms()) > 0, "no router advertisement"
        time.sleep_ms(50)
    info = socket.getaddrinfo("fec0::2", PORTS["echo6"], 0, socket.SOCK_STREAM)[0]
    assert info[0] == socket.AF_INET6
    s = socket.socket(*info[:3])
    s.settimeout(5)
    s.connect(info[-1])
    data = bytes(20000)
    s.sendall(data)
    assert s.read(len(data)) == data
    s.close()


def test_udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.1)
    assert poll_once(s) == select.POLLOUT
    assert errno_of(s.recv, 10) == errno.ETIMEDOUT
    s.settimeout(0)
    assert errno_of(s.recv, 10) == errno.EAGAIN
    s.settimeout(3)
    peer = (HOST, PORTS["udp"])
    for size in (0, 1, 1400, 1472, 4000, 9000):  # the last two in fragments
        data = bytes(i & 0xFF for i in range(size))
        assert s.sendto(data, peer) == size
        got, sender = s.recvfrom(10000)
        assert got == data and sender == peer, (size, len(got), sender)
    s.sendto(b"0123456789", peer)
    assert s.recv(4) == b"0123"  # the rest of a datagram is lost
    s.connect(peer)
    assert s.send(b"connected") == 9
    assert s.recv(100) == b"connected"
    assert errno_of(s.sendto, b"x", ("255.255.255.255", 9)) == errno.EACCES
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    assert s.sendto(b"x", ("255.255.255.255", 9)) == 1
    s.close()


def test_udp_queue_is_bounded():
    r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    r.bind(("127.0.0.1", 8008))
    r.settimeout(0)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(2000):
        s.sendto(bytes(1000), ("127.0.0.1", 8008))
    time.sleep_ms(10)
    n = 0
    while errno_of(r.recv, 2000) == 0:
        n += 1
    assert 20 < n < 400, n
    r.close()
    s.close()


def test_multicast():
    r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    r.bind(("", 8009))
    mreq = socket.inet_pton(socket.AF_INET, "239.1.2.3") + bytes(4)
    r.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, mreq)
    r.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, mreq)
    assert errno_of(r.setsockopt, socket.IPPROTO_IP, 99, 1) == errno.EOPNOTSUPP
    r.close()


def test_names():
    """A DNS server inside the guest, answering from a socket's callback while getaddrinfo waits."""
    asked = []

    def answer(s):
        while True:
            try:
                q, sender = s.recvfrom(512)
            except OSError:
                return
            kind = q[-3]
            asked.append(kind)
            name = q[12:-4]
            if b"missing" in name:
                r = q[:2] + b"\x81\x83" + q[4:6] + bytes(6) + q[12:]
            elif kind == 1:
                r = q[:2] + b"\x81\x80" + q[4:6] + b"\0\1" + bytes(4) + q[12:]
                r += b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\1\2\3"
            else:
                r = q[:2] + b"\x81\x80" + q[4:6] + b"\0\1" + bytes(4) + q[12:]
                r += b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10" + b"\x20\x01\x0d\xb8" + bytes(11) + b"\1"
            s.sendto(r, sender)

    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    server.setblocking(False)
    server.setsockopt(socket.SOL_SOCKET, 20, answer)
    before = network.ipconfig("dns")
    network.ipconfig(dns="127.0.0.1")
    assert network.ipconfig("dns") == "127.0.0.1"
    both = socket.getaddrinfo("host.example", 80)
    assert both[0] == (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.1.2.3", 80))
    six = socket.getaddrinfo("host.example", 81, socket.AF_INET6, socket.SOCK_DGRAM)
    assert six == [(socket.AF_INET6, socket.SOCK_DGRAM, 0, "", ("2001:db8::1", 81, 0, 0))]
    n = len(asked)
    socket.getaddrinfo("host.example", 82, socket.AF_INET)
    assert len(asked) == n  # remembered
    assert errno_of(socket.getaddrinfo, "missing.example", 80) == -2
    assert errno_of(socket.getaddrinfo, "a..b", 80) == -2
    server.close()
    network.ipconfig(dns=before)
    assert socket.getaddrinfo("localhost", 80, socket.AF_INET)[0][-1] == ("127.0.0.1", 80)
    assert socket.getaddrinfo("0.0.0.0", 80)[0][-1] == ("0.0.0.0", 80)


def test_parallel():
    before = settle()
    socks = []
    for _ in range(200):
        s = socket.socket()
        s.setblocking(False)
        assert errno_of(s.connect, (HOST, PORTS["echo"])) == errno.EINPROGRESS
        socks.append(s)
    for i, s in enumerate(socks):
        s.settimeout(10)
        s.sendall(b"%06d" % i)
    for i, s in enumerate(socks):
        assert s.read(6) == b"%06d" % i
        s.close()
    socks = None
    after = settle()
    assert after <= before + 1, (before, after)


def settle():
    """Bytes the stack holds when what was closed has gone, in units of what it keeps for received frames."""
    gc.collect()
    limit = time.ticks_add(time.ticks_ms(), 8000)
    while network._memory()[3] > 0 and time.ticks_diff(limit, time.ticks_ms()) > 0:
        time.sleep_ms(20)
    time.sleep_ms(200)  # the last frames leave
    return network._memory()[1] // KEPT


def forget(n):
    for _ in range(n):
        s = connect("echo")
        s.send(b"forgotten")
    for _ in range(n):
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def test_forgotten():
    before = settle()
    forget(100)
    after = settle()
    assert after <= before + 1, (before, after)
    for _ in range(20):  # the collector comes by itself when memory for sockets runs out
        forget(100)
    after = settle()
    assert after <= before + 1, (before, after)


def test_many_in_turn():
    connect("echo").close()
    before = settle()
    for _ in range(500):
        s = connect("echo")
        s.sendall(b"one")
        assert s.read(3) == b"one"
        s.close()
    after = settle()
    assert after <= before + 1, (before, after)


def test_memory_error():
    socks = []
    try:
        while True:
            socks.append(socket.socket())
    except (MemoryError, OSError) as e:
        assert isinstance(e, MemoryError) or e.errno == errno.ENOMEM
    n = len(socks)
    socks = None
    assert n > 100, n
    test_echo()


def test_notify():
    seen = []
    a, b, _ = pair(8010)
    b.setsockopt(socket.SOL_SOCKET, 20, seen.append)
    a.send(b"x")
    time.sleep_ms(50)
    assert seen and seen[0] is b
    b.setsockopt(socket.SOL_SOCKET, 20, None)
    n = len(seen)
    a.send(b"y")
    time.sleep_ms(50)
    assert len(seen) == n
    assert b.recv(2) == b"xy"
    b.setsockopt(socket.SOL_SOCKET, 20, lambda s: s.close())
    a.send(b"z")
    b.settimeout(1)
    try:
        b.recv(100)
        b.recv(100)
        raise AssertionError("no error")
    except OSError as e:
        assert e.errno == errno.EBADF
    a.close()


def test_lan():
    nic = network.LAN(0)
    assert nic.active() and nic.isconnected() and nic.status() == 2
    assert nic.ipconfig("addr4") == ("10.0.2.15", "255.255.255.0") and nic.ipconfig("gw4") == HOST
    assert nic.ipconfig("dhcp4") and nic.ipconfig("has_dhcp4")
    assert len(nic.config("mac")) == 6 and nic.config("mtu") == 1500
    assert nic.ifconfig()[0] == "10.0.2.15"
    assert network.route() == [nic]
    network.hostname("test")
    assert network.hostname() == "test"
    nic.ipconfig(addr4="10.0.2.20/24", gw4=HOST)
    assert not nic.ipconfig("dhcp4") and nic.ipconfig("addr4")[0] == "10.0.2.20"
    test_refused()
    nic.active(False)
    assert not nic.isconnected() and nic.status() == 0
    s = socket.socket()
    assert errno_of(s.connect, (HOST, 1)) == errno.EHOSTUNREACH
    s.close()
    nic.ipconfig(addr4=None)
    nic.active(True)
    test_refused()  # the connection waits for the new lease
    assert nic.ipconfig("addr4")[0] == "10.0.2.15"


for name in sorted(globals()):
    if name.startswith("test_"):
        globals()[name]()
        print("ok", name)
print("all done")
