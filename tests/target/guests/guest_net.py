# SPDX-License-Identifier: MIT
"""Runs inside the VM: UDP, names, network.LAN, many sockets at once and what they leave behind."""

import errno
import select
import socket
import time

import network
from guest_base import errno_of
from guest_kit import HOST, PORTS, connect, pair, poll_once, run, settle


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
    network.ipconfig(prefer=6)
    assert [i[0] for i in socket.getaddrinfo("host.example", 80)] == [i[0] for i in both[::-1]]
    network.ipconfig(prefer=4)
    assert socket.getaddrinfo("host.example", 80) == both and len(both) == 2
    six = socket.getaddrinfo("host.example", 81, socket.AF_INET6, socket.SOCK_DGRAM)
    assert six == [(socket.AF_INET6, socket.SOCK_DGRAM, 0, "", ("2001:db8::1", 81, 0, 0))]
    n = len(asked)
    socket.getaddrinfo("host.example", 82, socket.AF_INET)
    assert len(asked) == n  # remembered
    assert errno_of(socket.getaddrinfo, "missing.example", 80) == -2
    n = len(asked)
    for name in ("a..b", ".a", "a" * 64, "b." + "a" * 64, "localhost\0b"):
        assert errno_of(socket.getaddrinfo, name, 80) == -2
    assert len(asked) == n  # no name: nobody is asked
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
    connect("echo").close()


def refused():
    s = socket.socket()
    assert errno_of(s.connect, (HOST, PORTS["nobody"])) == errno.ECONNREFUSED
    s.close()


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
    refused()
    nic.active(False)
    assert not nic.isconnected() and nic.status() == 0
    s = socket.socket()
    assert errno_of(s.connect, (HOST, 1)) == errno.EHOSTUNREACH
    s.close()
    nic.ipconfig(addr4=None)
    nic.active(True)
    refused()  # the connection waits for the new lease
    assert nic.ipconfig("addr4")[0] == "10.0.2.15"


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


run(globals())
