# SPDX-License-Identifier: MIT
"""Interfaces, leases, names and groups, on the wires of test_lan.py: argv names what is done. It says what it sees."""

import errno
import socket
import sys
import time

import machine
import network
from guest_base import errno_of


def until(what, seconds=20):
    """Wait for what() to hold; whether it did."""
    limit = time.ticks_add(time.ticks_ms(), seconds * 1000)
    while not what():
        if time.ticks_diff(limit, time.ticks_ms()) < 0:
            return False
        time.sleep_ms(20)
    return True


def address():
    return network.LAN(0).ipconfig("addr4")[0]


def leases():
    """The host changes what the DHCP server does at each line."""
    nic = network.LAN(0)
    print("bound", until(nic.isconnected), address(), nic.ipconfig("has_dhcp4"), network.ipconfig("dns"))
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.sendto(b"first", ("10.9.0.1", 7))
    print("echo", s.recv(10))
    sys.stdin.readline()  # it was renewed some times
    print("renewed", address())
    sys.stdin.readline()  # the server has another address for us
    print("moved", until(lambda: address() == "10.9.0.99"), address())
    s.sendto(b"second", ("10.9.0.1", 7))
    print("echo", s.recv(10))
    sys.stdin.readline()  # the server is gone
    print("gone", until(lambda: not nic.isconnected()), address(), nic.status())
    print("unreachable", errno_of(s.sendto, b"lost", ("10.9.0.1", 7)) in (errno.EHOSTUNREACH, errno.ETIMEDOUT))
    sys.stdin.readline()  # the server is back
    print("back", until(nic.isconnected), address())
    s.sendto(b"third", ("10.9.0.1", 7))
    print("echo", s.recv(10))
    nic.active(False)
    print("released", nic.active(), nic.isconnected(), address())
    nic.active(True)
    print("again", until(nic.isconnected), address())


def waits():
    """No lease yet: the first question waits for one, and ifconfig("dhcp") runs callbacks until there is one."""
    nic = network.LAN(0)
    began = time.ticks_ms()
    print("first", nic.isconnected(), time.ticks_diff(time.ticks_ms(), began) >= 900)
    machine.Timer(-1, mode=machine.Timer.ONE_SHOT, period=1, callback=lambda t: print("waiting still"))
    nic.ifconfig("dhcp")
    print("lease", address())


def names():
    def ask(name, family=0):
        start = time.ticks_ms()
        try:
            found = sorted({entry[-1][0] for entry in socket.getaddrinfo(name, 80, family)})
        except OSError as e:
            found = e.errno
        print("name", name, found, time.ticks_diff(time.ticks_ms(), start))

    network.LAN(0)
    ask("good.test")
    ask("six.test", socket.AF_INET6)
    ask("both.test")
    for name in (
        "missing",
        "refused",
        "truncated",
        "forged",
        "other",
        "query",
        "loop",
        "empty",
        "cname",
        "long",
        "tail",
    ):
        ask(name + ".test", socket.AF_INET)
    ask("silent.test", socket.AF_INET)


def two():
    """Two cards, each with a name server of its own; the second without IPv6."""
    first, second = network.route()
    print("cards", first is network.LAN(0), second is network.LAN(1), errno_of(network.LAN, 2) == errno.ENODEV)
    print("first", first.ipconfig("addr4"), "second", second.ipconfig("addr4"))
    print("dns", network.ipconfig("dns"), first.ifconfig()[3])
    try:
        print("found", socket.getaddrinfo("good.test", 80, socket.AF_INET)[0][-1])
    except OSError as e:
        print("found", e)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for host in ("10.1.0.1", "10.2.0.1"):
        s.sendto(b"to " + host.encode(), (host, 9))
    sys.stdin.readline()  # both wires have seen a router advertisement, and were pinged
    print("six", until(lambda: first.ipconfig("has_autoconf6"), 5), second.ipconfig("addr6"))
    print("off", second.ipconfig("autoconf6"), len(first.ipconfig("addr6")))
    t = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    print("sent", errno_of(t.sendto, b"six", ("2001:db8:1::9", 9)))
    second.ipconfig(autoconf6=True)
    print("on", second.ipconfig("autoconf6"), until(lambda: len(second.ipconfig("addr6")) > 0, 5))
    sys.stdin.readline()


def devices():
    """A socket each for two cards, as a DHCP server has them: both hear broadcasts of theirs alone, and answer there."""
    both = []
    for name in (b"en0", b"en1"):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        s.bind(("0.0.0.0", 67))
        both.append(s)
    for name in (b"en9", b"en", b"eth0", b"en00"):
        assert errno_of(s.setsockopt, socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name) == errno.ENODEV
    print("ready")
    for s, other in (both, both[::-1]):
        s.settimeout(10)
        print("heard", *s.recvfrom(100))
        other.settimeout(0.2)
        print("other", errno_of(other.recv, 100) == errno.ETIMEDOUT)
        s.sendto(b"answer", ("255.255.255.255", 68))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"")
    print("any", *s.recvfrom(100))


def neighbours():
    nic = network.LAN(0)

    def of(start):
        return [entry[0] for entry in nic.ipconfig("addr6") if entry[0].startswith(start) and entry[1] & 0x10]

    until(lambda: of("fe80::"))
    print("local", len(of("fe80::")), "fe80::5054:ff:fe12:3477" in of("fe80::"))
    sys.stdin.readline()  # others have claimed what is ours
    print("still", len(of("2001:db8::2")), nic.ipconfig("addr4"))


def many():
    for i, nic in enumerate(network.route()):
        print("card", i, nic.ipconfig("addr4"))


def config():
    nic = network.LAN(0)
    print(nic, network.LAN() is nic)
    print("mac", nic.config("mac").hex(), nic.config("mtu"), nic.config("driver"), len(nic.config("stats")))
    wrong = (
        lambda: nic.config("nothing"),
        lambda: nic.config(mac=b"123456"),
        nic.config,
        lambda: nic.ipconfig("nothing"),
        lambda: nic.ipconfig(nothing=1),
        lambda: nic.ipconfig("addr4", gw4="1.2.3.4"),
        lambda: nic.ipconfig(addr4="300.1.1.1/24"),
        lambda: nic.ipconfig(addr4="10.0.0.1/33"),
        lambda: nic.ipconfig(addr4="::1/64"),
        lambda: nic.ipconfig(gw4="nowhere"),
        lambda: nic.ipconfig(addr6="10.0.0.1"),
        lambda: nic.ifconfig(("10.0.0.1", "255.0.0.0", "10.0.0.2")),
        lambda: nic.status("rssi"),
        lambda: network.hostname("x" * 33),
        lambda: network.ipconfig(prefer=5),
    )
    print("errors", [type(e).__name__ for e in map(error_of, wrong)])
    nic.ifconfig(("10.9.0.7", "255.255.0.0", "10.9.0.1", "10.9.0.53"))
    print("set", nic.ifconfig(), nic.ipconfig("dhcp4"), network.ipconfig("dns"))
    nic.ipconfig(addr4="10.9.0.8/24", gw4="10.9.0.1")
    print("set", nic.ifconfig()[:3])
    nic.ipconfig(addr4=("10.9.0.9", "255.255.255.128"))
    print("set", nic.ipconfig("addr4"))
    nic.ipconfig(addr6="2001:db8::5/64")
    print("six", "2001:db8::5" in [entry[0] for entry in nic.ipconfig("addr6")])
    nic.ipconfig(addr6=None)
    print("six", "2001:db8::5" in [entry[0] for entry in nic.ipconfig("addr6")])
    network.ipconfig(dns="10.9.0.54", prefer=6)
    print("dns", network.ipconfig("dns"), network.ipconfig("prefer"))
    network.hostname("renamed")
    began = time.ticks_ms()
    nic.ifconfig("dhcp")
    print("at once", time.ticks_diff(time.ticks_ms(), began) < 9000)  # it would wait for 10 s
    print("dhcp", nic.ifconfig()[0], network.ipconfig("dns"), network.hostname())
    nic.active(False)
    print("down", nic.active(), nic.isconnected(), nic.status(), errno_of(nic.ifconfig, "dhcp") == errno.EHOSTUNREACH)


def error_of(call):
    try:
        call()
    except (ValueError, TypeError, OSError) as e:
        return e


def how_far(member):
    """Hops and looping back of what is sent; the host looks at the packets."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    member.bind(("0.0.0.0", 9))
    member.settimeout(1)
    for level, option, value in (
        (socket.IPPROTO_IP, socket.IP_TTL, b"\x05\0\0\0"),
        (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, b"\x03"),
        (socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, True),
    ):
        s.setsockopt(level, option, value)
    s.sendto(b"one", ("10.9.0.1", 9))
    s.sendto(b"many", ("239.1.2.3", 9))
    print("heard", member.recv(10))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, b"\0\0\0\0")
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, -1)
    s.sendto(b"others", ("239.1.2.3", 9))
    print("not", errno_of(member.recv, 10) == errno.ETIMEDOUT)
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    stream = socket.socket()
    stream.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
    for option in (socket.IPV6_UNICAST_HOPS, socket.IPV6_MULTICAST_HOPS, socket.IPV6_MULTICAST_LOOP):
        six.setsockopt(socket.IPPROTO_IPV6, option, 1)
    wrong = (
        (s, socket.IP_TTL, 0),
        (s, socket.IP_TTL, 256),
        (s, socket.IP_MULTICAST_TTL, -2),
        (s, socket.IP_TTL, b"\1\2"),
        (stream, socket.IP_MULTICAST_TTL, 1),
        (stream, socket.IP_MULTICAST_LOOP, 1),
    )
    print("wrong", {errno_of(a.setsockopt, socket.IPPROTO_IP, b, c) for a, b, c in wrong} == {errno.EINVAL})
    for a in (s, six, stream):
        a.close()


def groups():
    member = socket.inet_pton(socket.AF_INET, "239.1.2.3") + socket.inet_pton(socket.AF_INET, "10.9.0.2")
    join, leave = socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    print("leave", errno_of(s.setsockopt, 0, leave, member) == 99)  # EADDRNOTAVAIL
    s.setsockopt(0, join, member)
    print("twice", errno_of(s.setsockopt, 0, join, member) == errno.EADDRINUSE)
    time.sleep_ms(300)
    t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    t.setsockopt(0, join, member)
    s.close()
    time.sleep_ms(300)
    print("one left")
    sys.stdin.readline()
    how_far(t)
    t.close()  # the last one: the group is left
    time.sleep_ms(500)


globals()[sys.argv[1]]()
print("the end")
