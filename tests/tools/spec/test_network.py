# SPDX-License-Identifier: MIT
"""network.py, ports.py and the network words of QEMU's command line; ports against real sockets, frames against a real QEMU."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from floe.errors import FloeError, NotFound, UsageError, VmExitedEarly
from floe.hostnet import taps
from floe.qemu import words as qemu_words
from floe.qemu.commandline import Endpoints, command_line
from floe.spec import network, ports
from floe.spec.guestline import guest_command_line
from floe.spec.network import Card
from floe.spec.ports import Forward
from floe.spec.vmspec import VmSpec
from floe.stream.streams import Closed
from floe.testing import Boot
from floe.vm.vm import Vm
from tests.support import tiny
from tests.support.nobody import error_for_nobody
from tests.support.sockets import connect_soon
from tests.support.spaces import need_own_taps

# ---- -p ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "forward"),
    [
        ("8080:80", Forward("127.0.0.1", 8080, 80)),
        ("0:80", Forward("127.0.0.1", 0, 80)),
        ("localhost:1:2", Forward("127.0.0.1", 1, 2)),
        ("0.0.0.0:53:5353/udp", Forward("0.0.0.0", 53, 5353, "udp")),
        ("8443:443/tcp", Forward("127.0.0.1", 8443, 443)),
        ("[::1]:8080:80", Forward("::1", 8080, 80)),
        ("[0:0::0]:53:53/udp", Forward("::", 53, 53, "udp")),
        ("[fe80::1%eth0]:8080:80", Forward("fe80::1%eth0", 8080, 80)),
        ("[::ffff:127.0.0.1]:8080:80", Forward("127.0.0.1", 8080, 80)),
    ],
)
def test_forward(text: str, forward: Forward) -> None:
    assert ports.parse_forward(text) == forward


@pytest.mark.parametrize(
    "text",
    ["", "80", "80:", ":80", "a:b", "80:80:80:80", "70000:80", "80:0", "80:70000", "80:80/sctp", "[::1:80:80", "::1:80:80",
     "[]:80:80", "[127.0.0.1]:80:80", "[fe80::1]:80:80", "[::g]:1:2",
     "1.2.3:1:2", "80 :80", "-1:80", "host.example:80:80", "8080:80/", "٣:٤"],
)  # fmt: skip
def test_no_forward(text: str) -> None:
    with pytest.raises(UsageError) as error:
        ports.parse_forward(text)
    assert f"-p {text}" in error.value.message


def test_ranges() -> None:
    assert ports.parse_forwards("0.0.0.0:8000-8002:80-82/udp") == tuple(
        Forward("0.0.0.0", 8000 + i, 80 + i, "udp") for i in range(3)
    )
    assert len(ports.parse_forwards("8000-8010:8000-8010")) == 11
    for text in ("8000-8002:80", "8002-8000:82-80", "0-2:80-82", "8000-8256:8000-8256", "65535-65536:1-2"):
        with pytest.raises(UsageError, match=f"-p {text}: "):
            ports.parse_forwards(text)


def test_option_is_what_was_typed() -> None:
    for text in (
        "8080:80",
        "0.0.0.0:53:53/udp",
        "10.0.0.1:1:2",
        "[::1]:8080:80",
        "[::]:53:53/udp",
    ):
        assert ports.parse_forward(text).option() == f"-p {text}"


def test_zero_becomes_a_free_port() -> None:
    (forward,) = ports.claim([Forward("127.0.0.1", 0, 80)])
    assert forward.host_port > 0
    with socket.create_server(("127.0.0.1", forward.host_port)):
        pass


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_port_in_use_names_the_holder(bound: str, protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((bound, 0))
        if protocol == "tcp":
            holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(FloeError) as error:
            ports.claim([Forward("127.0.0.1", port, 80, protocol)])
    tail = "/udp" if protocol == "udp" else ""
    me = Path("/proc/self/comm").read_text().strip()
    assert error.value.message == f"port {port}{tail} is in use"
    assert error.value.evidence == f"by: {me} (pid {os.getpid()})"
    assert error.value.exit_code == 125
    proposed = ports.parse_forward(error.value.hint.removeprefix("-p "))
    assert proposed.guest_port == 80
    assert proposed.protocol == protocol
    ports.claim([proposed])  # it is free


def test_holder_on_ipv6() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as holder:
        port = holder.getsockname()[1]
        assert ports.find_holder(Forward("127.0.0.1", port, 80)).endswith(f"(pid {os.getpid()})")


def test_holder_that_may_not_be_seen(tmp_path: Path) -> None:
    """Another user's process: /proc/net/tcp still tells whose."""
    (tmp_path / "net").mkdir()
    line = f"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 {os.getuid()} 0 4711 1\n"
    (tmp_path / "net" / "tcp").write_text("  sl  local_address ...\n" + line)
    name = ports.find_holder(Forward("127.0.0.1", 8080, 80), tmp_path)
    assert name.startswith("a process of user ")
    assert ports.find_holder(Forward("127.0.0.1", 8081, 80), tmp_path) == ""


def test_port_just_left_is_free_again() -> None:
    """TIME_WAIT does not keep a port from QEMU, nor from us."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as client:
        accepted, _ = server.accept()
        accepted.close()  # the server closes first, so its side waits
        assert client.recv(1) == b""
    server.close()
    assert ports.claim([Forward("127.0.0.1", port, 80)])[0].host_port == port


def test_the_same_port_twice() -> None:
    (one,) = ports.claim([Forward("127.0.0.1", 0, 80)])
    with pytest.raises(UsageError, match="given twice"):
        ports.claim([one, Forward("127.0.0.1", one.host_port, 81)])


def test_any_port_for_tcp_and_udp_is_one_port() -> None:
    """Of a DNS server, say, which is asked by both."""
    for order in (("tcp", "udp"), ("udp", "tcp")):
        both = [Forward("127.0.0.1", 0, 53, protocol) for protocol in order]
        more = [Forward("127.0.0.1", 0, 54, "udp"), Forward("0.0.0.0", 0, 53, "udp")]
        claimed = ports.claim([both[0], *more, both[1]])
        assert claimed[0].host_port == claimed[3].host_port
        assert len({forward.host_port for forward in claimed}) == 3
        for forward in claimed:
            with ports.open_socket(forward, backlog=1):
                pass


def test_ports_of_the_host_by_those_of_the_guest() -> None:
    forwards = [
        Forward("127.0.0.1", 8053, 53, "udp"), Forward("127.0.0.1", 8054, 53), Forward("127.0.0.1", 8069, 69, "udp"),
    ]  # fmt: skip
    for order in (forwards, forwards[::-1]):
        found = ports.HostPorts(order)
        assert (found[53], found["53/tcp"], found["53/udp"], found[69]) == (8054, 8054, 8053, 8069)
        assert (found.get(53), found.get("53/udp"), found.get("69/udp", 1)) == (8054, 8053, 8069)
        assert (found.get("69/tcp"), found.get("x", 1), found.get(80, 2)) == (None, 1, 2)
        assert 53 in found and "53/udp" in found and "69/tcp" not in found and 80 not in found
        assert set(found) == {53, 69}
        with pytest.raises(KeyError):
            found["69/tcp"]


def test_one_port_at_several_addresses() -> None:
    asked = ("127.0.0.1", "127.0.0.2", "::1", "::")
    one, *_ = ports.claim([Forward("::", 0, 80)])
    places = [Forward(address, one.host_port, 80) for address in asked]
    assert ports.claim(places[:3]) == tuple(places[:3])
    assert ports.claim([places[0], places[3]]) == (places[0], places[3])
    for clash in (
        [places[2], places[3]],
        [places[0], replace(places[0], address="0.0.0.0")],
    ):
        with pytest.raises(UsageError, match="given twice"):
            ports.claim(clash)


def test_ipv6_gets_a_port_of_ipv4_that_qemu_forwards() -> None:
    many = [Forward("::1", 0, 80 + n, "udp" if n % 2 else "tcp") for n in range(200)]
    claimed = ports.claim([*many, Forward("127.0.0.1", 0, 80)], through=True)
    drawn = [port for f in claimed for port in (f.host_port, f.through) if port]
    assert len(set(drawn)) == len(drawn) == 401
    card = qemu_words.netdev(Card(), 0, claimed[:1], vhost=False)
    assert card.endswith(f",hostfwd=tcp:127.0.0.1:{claimed[0].through}-10.0.2.15:80")
    assert not any(f.through for f in ports.claim(many[:2]))


def test_two_to_one_udp_port_share_what_qemu_forwards() -> None:
    asked = [Forward("127.0.0.1", 0, 53, "udp"), Forward("::1", 0, 53, "udp"), Forward("127.0.0.1", 0, 54, "udp")]
    one, two, three = claimed = ports.claim(asked, through=True)
    assert one.through == two.through != 0 == three.through
    card = qemu_words.netdev(Card(), 0, claimed, vhost=False)
    assert card.count("hostfwd=") == 2
    assert f"hostfwd=udp:127.0.0.1:{one.through}-10.0.2.15:53," in card


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_port_in_use_on_ipv6(protocol: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as holder:
        holder.bind(("::1", 0))
        if protocol == "tcp":
            holder.listen()
        with pytest.raises(FloeError, match=f"port {holder.getsockname()[1]}.* is in use") as error:
            ports.claim([Forward("::1", holder.getsockname()[1], 80, protocol)])
    assert error.value.evidence.endswith(f"(pid {os.getpid()})")
    assert error.value.hint.startswith("-p [::1]:")


def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ports, "_IP6_ADDRESSES", tmp_path / "if_inet6")
    with pytest.raises(FloeError, match=r"-p \[2001:db8::1\]:8080:80: this machine has no IPv6") as error:
        ports.claim([Forward("2001:db8::1", 8080, 80)])
    assert error.value.hint == "-p 0.0.0.0:8080:80"


@pytest.mark.parametrize("port", [0, 8080])
@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "fe80::1%nocard"])
def test_an_address_that_is_not_here(address: str, port: int) -> None:
    with pytest.raises(FloeError, match=re.escape(address)) as error:
        ports.claim([Forward(address, port, 80)])
    assert error.value.hint == "ip -brief address"


def test_a_port_for_root_only() -> None:
    """Asked for by an ordinary user, who root becomes for this."""
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first_free <= 1:
        pytest.skip("SKIP: this host lets everyone open every port")
    _, said = error_for_nobody(lambda: ports.claim([Forward("127.0.0.1", first_free - 1, 80)]))
    assert "may be opened by root only" in said


# ---- --net -------------------------------------------------------------------------------------------


def test_default_is_one_user_card() -> None:
    assert network.parse_cards([]) == (Card(),)
    assert network.parse_cards(["none"]) == ()


def test_cards() -> None:
    tap, pair = network.parse_cards(
        ["tap:tap7,ip=192.168.9.2/24,gw=192.168.9.1,mac=52:54:00:00:00:01", "listen:/tmp/x"]
    )
    assert tap == Card("tap", "tap7", "192.168.9.2/24", "192.168.9.1", "", "52:54:00:00:00:01")
    assert (pair.kind, pair.name) == ("listen", "/tmp/x")
    assert pair.mac == ""


def test_hardware_addresses() -> None:
    """The same at every start of the VM of a name, another for each card and VM; user cards have QEMU's own."""
    cards = network.parse_cards(["user", "tap:t", "listen:/x", "connect:/y,mac=52:54:00:00:00:01", "bridge:b"])
    one, again, other = (network.with_macs(cards, uuid) for uuid in ("a", "a", "b"))
    assert one == again
    assert [card.mac[:3] for card in one] == ["", "02:", "02:", "52:", "02:"]
    assert len({card.mac for card in (*one, *other)}) == 2 + 2 * 3


@pytest.mark.parametrize(
    "text",
    ["bridge", "tap", "tap:", "user:x", "user,ip", "user,ip=", "user,ip=10.0.0.1", "user,ip=10.0.0.300/24",
     "user,gw=10.0.0.1", "user,ip=10.0.0.2/24,gw=x", "user,mac=01:00:00:00:00:00", "user,mac=52-54-00-00-00-01",
     "user,speed=10", "user,ip=::1/64", "user,ip6=off", "user,ip6=2001:db8::2", "user,ip6=10.0.0.1/24"],
)  # fmt: skip
def test_no_card(text: str) -> None:
    with pytest.raises(UsageError) as error:
        network.parse_cards([text])
    assert f"--net {text}" in error.value.message
    assert error.value.exit_code == 125


def test_none_stands_alone_and_there_is_a_limit() -> None:
    with pytest.raises(UsageError, match="none does not go with"):
        network.parse_cards(["none", "user"])
    with pytest.raises(UsageError, match="9 network cards"):
        network.parse_cards(["user"] * 9)


def test_guest_words() -> None:
    cards = network.parse_cards(
        ["user", "user", "user,ip=dhcp", "user,ip=none", "user,ip=172.16.0.9/16", "tap:t", "connect:/x,ip=10.9.9.2/24"]
    )
    assert network.guest_words(cards) == [
        "ip=10.0.2.15/24,gw=10.0.2.2,dns=10.0.2.3",
        "ip=10.0.3.15/24,gw=10.0.3.2,dns=10.0.3.3",
        "ip=dhcp",
        "ip=none",
        "ip=172.16.0.9/16,gw=172.16.0.2,dns=172.16.0.3",
        "ip=dhcp",
        "ip=10.9.9.2/24",
    ]
    cards = network.parse_cards(["user", "user,ip6=none", "user,ip6=2001:db8::2/64"])
    assert network.guest_words(cards)[3:] == ["ip6=auto", "ip6=none", "ip6=2001:db8::2/64"]
    words = network.guest_words(network.parse_cards(["user"] * 6))  # a guest has room for four name servers
    assert [",dns=" in word for word in words] == [True] * 4 + [False] * 2


def test_netdev_words() -> None:
    forwards = [Forward("0.0.0.0", 8080, 80), Forward("127.0.0.1", 5353, 53, "udp")]
    assert qemu_words.netdev(Card(), 0, forwards, vhost=False) == (
        "user,id=net0,net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,dhcpstart=10.0.2.15,"
        "hostfwd=tcp:0.0.0.0:8080-10.0.2.15:80,hostfwd=udp:127.0.0.1:5353-10.0.2.15:53"
    )
    assert "net=10.0.3.0/24" in qemu_words.netdev(Card(), 1, [], vhost=False)
    assert (
        qemu_words.netdev(Card("tap", "t0"), 2, [], vhost=False)
        == "tap,id=net2,ifname=t0,script=no,downscript=no,vhost=off"
    )


def test_what_the_host_lacks() -> None:
    with pytest.raises(FloeError, match="there is no tap device floe-none") as error:
        taps.check_host([Card("tap", "floe-none")])
    assert error.value.hint.startswith("sudo ip tuntap add dev floe-none mode tap")
    with pytest.raises(FloeError, match="lo is a network device, but not a tap"):
        taps.check_host([Card("tap", "lo")])
    with pytest.raises(NotFound, match="no socket /nowhere/s"):
        taps.check_host([Card("connect", "/nowhere/s")])
    with pytest.raises(NotFound, match="its folder does not exist"):
        taps.check_host([Card("listen", "/nowhere/s")])


@pytest.mark.parametrize("machine", ["microvm", "q35", "pc"])
def test_qemu_takes_every_kind_and_number_of_cards(tmp_path: Path, machine: str) -> None:
    """QEMU refuses a word it does not know; a guest that ends with 0 shows that it took them all."""
    cards = network.parse_cards(
        ["user", "user,ip=172.16.0.9/16", "user,ip=dhcp", f"listen:{tmp_path}/wire", f"connect:{tmp_path}/wire"]
    )
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "wire2"))
        other.listen()
        cards = (*cards[:4], network.parse_card(f"connect:{tmp_path}/wire2"))
        forwards = ports.claim([Forward("127.0.0.1", 0, 80), Forward("127.0.0.1", 0, 53, "udp")])
        spec = VmSpec(tiny.build(tmp_path, tiny.leave(0)), machine=machine, cards=cards, forwards=forwards)
        with Vm(spec) as vm:
            assert vm.wait(deadline_s=20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_socket_is_left(tmp_path: Path, number: signal.Signals) -> None:
    wire = tmp_path / "wire"
    elf = tiny.build(tmp_path, tiny.say("up"), tiny.HANG)
    with Vm(VmSpec(elf, cards=network.parse_cards([f"listen:{wire}"]))) as vm:
        vm.expect_exact("up", timeout=20)
        assert wire.exists()
        os.kill(vm.pid, number)
        with pytest.raises(VmExitedEarly):
            vm.wait(deadline_s=20)
    assert not wire.exists()


def test_a_tap_card(tmp_path: Path) -> None:
    """A real tap, in a network namespace of its own."""
    elf = tiny.build(tmp_path, tiny.leave(0))
    program = (
        "import subprocess\nfrom pathlib import Path\nfrom floe.spec.network import parse_cards\nfrom floe.spec.vmspec import VmSpec\n"
        "from floe.vm.vm import Vm\nsubprocess.run(['ip', 'tuntap', 'add', 'dev', 'floe0', 'mode', 'tap'], check=True)\n"
        f"with Vm(VmSpec(Path({str(elf)!r}), cards=parse_cards(['tap:floe0']))) as vm:\n"
        "    assert vm.wait(deadline_s=20) == 0, vm.messages.text\n"
    )
    need_own_taps()
    inside = ["unshare", "-rn", "--mount", "sh", "-c", 'mount -t sysfs none /sys && exec "$0" "$@"']
    argv = [*inside, sys.executable, "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


NAMESPACE = """
import os, subprocess, time
from pathlib import Path
from floe.hostnet import taps
from floe.errors import FloeError
from floe.spec.network import parse_cards
from floe.spec.vmspec import VmSpec
from floe.vm.vm import Vm
for line in ("tuntap add dev floe0 mode tap", "link add floebr type bridge", "link set floebr up"):
    subprocess.run(["ip", *line.split()], check=True)
ELF, HANG = (Path(path) for path in sys.argv[1:])

def cause(call):
    try:
        call()
    except FloeError as e:
        return e.message, e.evidence, e.hint
    raise AssertionError("no error")

with Vm(VmSpec(ELF, cards=parse_cards(["tap:floe0", "bridge:floebr"]))) as vm:
    assert vm.wait(deadline_s=20) == 0, vm.messages.text
with Vm(VmSpec(HANG, cards=parse_cards(["tap:floe0", "bridge:floebr"]))) as vm:
    vm.expect("up", timeout=20)
    links = subprocess.run(["ip", "-br", "link", "show", "master", "floebr"], capture_output=True, text=True).stdout
    assert len(links.splitlines()) == 1, links
    message, evidence, hint = cause(lambda: taps.check("floe0"))
    assert message == "tap device floe0 is in use" and evidence.endswith(f"(pid {vm.pid})"), (message, evidence)
    assert "ip tuntap add" in hint
links = subprocess.run(["ip", "-br", "link", "show", "master", "floebr"], capture_output=True, text=True).stdout
assert links == "", links
taps.check("floe0")
assert cause(lambda: taps.check("floebr"))[0] == "floebr is a network device, but not a tap"
for name, what in (("nobr", "bridge nobr does not exist"), ("floe0", "bridge floe0 is a network device, but not a bridge")):
    assert cause(lambda: Vm(VmSpec(ELF, cards=parse_cards([f"bridge:{name}"]))).start())[0] == what
"""


def test_taps_and_bridges_of_a_namespace(tmp_path: Path) -> None:
    """As under `nsenter -n`: /sys is that of another namespace. Who holds a tap is named; a bridge gets a tap that goes
    with the VM."""
    need_own_taps()
    folder = tmp_path / "hang"
    folder.mkdir()
    elfs = [str(tiny.build(tmp_path, tiny.leave(0))), str(tiny.build(folder, tiny.say("up"), tiny.HANG))]
    argv = ["unshare", "-rn", sys.executable, "-c", f"import sys\n{NAMESPACE}", *elfs]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr


def test_a_bridge_in_what_is_pasted(tmp_path: Path) -> None:
    argv = command_line(VmSpec(tmp_path, cards=(Card("bridge", "br0"),)), Endpoints.for_paste())
    assert "bridge,id=net0,br=br0" in argv
    assert "spawn" not in argv[argv.index("-sandbox") + 1]


def test_frames_reach_the_other_end(boot: Boot, tmp_path: Path) -> None:
    """A guest on `listen:` sends to whoever connects: it asks for the address of the host it sends to."""
    wire, mac = tmp_path / "wire", "52:54:00:00:00:99"
    app = tmp_path / "app.py"
    app.write_text(
        "import socket, time\nprint('up')\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "while True:\n    s.sendto(b'floe', ('10.9.9.1', 9))\n    time.sleep_ms(20)\n"
    )
    vm = boot(app, deadline_s=20, net=[f"listen:{wire},ip=10.9.9.2/24,mac={mac}"])
    vm.expect_exact("up")
    received = bytearray()
    arp_request = bytes.fromhex("ff" * 6 + mac.replace(":", "") + "0806")
    with socket.socket(socket.AF_UNIX) as peer:
        connect_soon(peer, wire)
        peer.setblocking(False)
        vm.loop.add_reader(peer, lambda: received.extend(peer.recv(65536)))

        def came() -> bool:
            return any(frame.startswith(arp_request) for frame in _frames(received))

        while not came() and vm.left_s() > 0:  # what was sent before we were there is lost; it asks again
            assert vm.pump(came, 0.1) is not Closed
        vm.loop.remove_reader(peer)
    assert came()


def _frames(stream: bytes | bytearray) -> Iterator[bytes]:
    while len(stream) >= 4:
        (length,) = struct.unpack(">I", stream[:4])
        if len(stream) < 4 + length:
            return
        yield stream[4 : 4 + length]
        stream = stream[4 + length :]


# ---- the guest's command line ------------------------------------------------------------------------


def test_too_many_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is room for"):
        guest_command_line(VmSpec(tmp_path, args=("x" * 4000,)))


def test_only_the_first_user_card_has_the_ports(tmp_path: Path) -> None:
    cards = (Card("listen", "/x"), Card(), Card())
    argv = command_line(VmSpec(tmp_path, cards=cards, forwards=(Forward("127.0.0.1", 1, 2),)), Endpoints.for_paste())
    netdevs = [argv[i + 1] for i, word in enumerate(argv) if word == "-netdev"]
    assert ["hostfwd" in word for word in netdevs] == [False, True, False]


def test_servers_that_are_named_are_asked_first() -> None:
    cards = network.parse_cards(["user", "connect:/x,ip=10.9.0.2/24,dns=10.9.0.1"])
    assert network.guest_words(cards) == ["ip=10.0.2.15/24,gw=10.0.2.2,dns=10.9.0.1", "ip=10.9.0.2/24,dns=10.0.2.3"]
    cards = network.parse_cards(["connect:/x,ip=dhcp", "user", "connect:/y,ip=10.9.0.2/24"])
    assert network.guest_words(cards) == ["ip=dhcp", "ip=10.0.3.15/24,gw=10.0.3.2,dns=10.0.3.3", "ip=10.9.0.2/24"]
