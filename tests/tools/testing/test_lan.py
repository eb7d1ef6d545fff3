# SPDX-License-Identifier: MIT
"""boot.lan(): VMs on a network of their own, and what they say there captured for scapy to read."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.utils import rdpcap

from floe.testing import Boot
from floe.testing.lan import Lan
from tests.support.spaces import need_own_taps

OPEN = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(10)\ns.bind(('0.0.0.0', 7))"


def test_three_vms_talk_to_one_another(boot: Boot, tmp_path: Path) -> None:
    app = tmp_path / "node.py"
    app.write_text("import network\n")
    addresses = [f"10.9.0.{n}" for n in (1, 2, 3)]
    nets = boot.lan(*(f"{address}/24" for address in addresses))
    vms = [boot(app, dev=True, deadline_s=60, net=[net], capture=tmp_path / f"{n}.pcap") for n, net in enumerate(nets)]
    for vm in vms:
        vm.exec(OPEN)
    for n, vm in enumerate(vms):  # round the ring, with what the one before has said
        word = vm.eval("s.recvfrom(100)[0]") if n else b"word"
        vm.exec(f"s.sendto({word + str(n).encode()!r}, ('{addresses[(n + 1) % 3]}', 7))")
    assert vms[0].eval("s.recvfrom(100)") == (b"word012", ("10.9.0.3", 7))
    for vm in vms:
        vm.kill()

    for n in range(3):
        packets = rdpcap(str(tmp_path / f"{n}.pcap"))
        own = [p for p in packets if IP in p and UDP in p and p[IP].src == addresses[n] and p[UDP].dport == 7]
        assert [bytes(p[UDP].payload) for p in own] == [f"word{'012'[: n + 1]}".encode()]
        asked = [p for p in packets if ARP in p and p[ARP].op == 1 and p[ARP].psrc == addresses[n]]
        assert addresses[(n + 1) % 3] in {p[ARP].pdst for p in asked}
        # A hub: frames between the others are seen too, when they are for all.
        assert {p[Ether].src for p in packets} >= {own[0][Ether].src, own[0][Ether].dst}


def test_each_card_has_its_file(boot: Boot, tmp_path: Path) -> None:
    app = tmp_path / "two.py"
    app.write_text("import network\n")
    vm = boot(app, dev=True, deadline_s=60, net=["user", *boot.lan("10.9.0.1/24")], capture=tmp_path / "a,b.pcap")
    assert [path.name for path in vm.captures] == ["a,b.pcap", "a,b.1.pcap"]
    vm.exec(OPEN)
    vm.exec("s.sendto(b'out', ('10.0.2.2', 9))\ns.sendto(b'there', ('10.9.0.2', 9))")
    assert vm.eval("1") == 1
    user, lan = (rdpcap(str(path)) for path in vm.captures)  # while the VM runs
    assert b"out" in {bytes(p[UDP].payload) for p in user if UDP in p}
    assert "10.9.0.2" in {p[ARP].pdst for p in lan if ARP in p}
    assert not [p for p in user if ARP in p and p[ARP].pdst == "10.9.0.2"]
    assert "-sandbox" in vm.argv


def frame(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


@pytest.fixture
def lan() -> Lan:
    return Lan()


def joined(lan: Lan) -> socket.socket:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(10)
    s.connect(str(lan.path))
    return s


def received(s: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := s.recv(size - len(data))):
        data += part
    return data


def test_a_member_that_lies_or_sleeps_is_no_trouble(lan: Lan) -> None:
    one, two, sleeper, liar = (joined(lan) for _ in range(4))
    with one, two, sleeper, liar:
        # Until each is known to the hub: its own frame comes to the others.
        for member in (two, sleeper, liar):
            member.sendall(frame(b"here"))
            assert received(one, 8) == frame(b"here")
        liar.sendall(b"\xff\xff\xff\xffrubbish")
        with suppress(ConnectionResetError):
            assert len(received(liar, 100)) < 100  # put out, and what it said went nowhere
        big = frame(bytes(60000))
        for _ in range(100):  # more than is queued for one that does not read
            two.sendall(big)
            assert received(one, len(big)) == big
        one.sendall(frame(b"and back"))
        assert received(two, 28) == frame(b"here") * 2 + frame(b"and back")
    lan.close()
    assert not lan.path.parent.exists()


def test_closing_cuts_the_wires(lan: Lan) -> None:
    with joined(lan) as one, joined(lan) as two:
        two.sendall(frame(b"x"))
        assert received(one, 5) == frame(b"x")
        lan.close()
        lan.close()
        assert one.recv(1) == b""


TAP = """
import subprocess, sys
from pathlib import Path
from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap
from floe.testing import TIMEOUT, Boot
make = "ip tuntap add dev floe0 mode tap && ip link set floe0 up && ip addr add 10.8.0.1/24 dev floe0"
subprocess.run(make, shell=True, check=True)
app, file = map(Path, sys.argv[1:])
with Boot(accel="tcg") as boot:
    vm = boot(app, dev=True, deadline_s=40, net=["tap:floe0,ip=10.8.0.2/24"], capture=file)
    vm.exec("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('10.8.0.1', 9))")
    assert vm.expect(["never", TIMEOUT], timeout=1) == 1  # until ARP is answered
packets = rdpcap(str(file))
assert b"x" in [bytes(p[UDP].payload) for p in packets if UDP in p], packets.summary()
assert {p[Ether].type for p in packets} <= {0x800, 0x806, 0x86DD}, packets.summary()
"""


def test_a_tap_s_packets_are_whole_frames(tmp_path: Path) -> None:
    need_own_taps()
    app = tmp_path / "node.py"
    app.write_text("import network\n")
    inside = ["unshare", "-rn", "--mount", "sh", "-c", 'mount -t sysfs none /sys && exec "$0" "$@"']
    argv = [*inside, sys.executable, "-c", TAP, str(app), str(tmp_path / "tap.pcap")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
