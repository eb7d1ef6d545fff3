# SPDX-License-Identifier: MIT
"""Networks of a stack: addresses and names, who reaches whom, ports that are waited for, and a switch that is killed."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.compose import networks, stackfile
from floe.errors import DiskFull, UsageError
from floe.hostnet import networks as carrier
from floe.store import stackfolder
from floe.store.stackfolder import Stack, StackFolder
from tests.support.command import FLOE
from tests.support.spaces import need_own_taps
from tests.support.stacks import Stacks, left
from tests.support.vms import until

DB = """
import socket, time
time.sleep_ms(300)
s = socket.socket()
s.bind(("0.0.0.0", 5000))
s.listen(8)
while True:
    client, address = s.accept()
    client.sendall(b"db says " + client.recv(100) + b" to " + address[0].encode())
    client.close()
"""
WEB = """
import network, socket
s = socket.socket()
s.bind(("0.0.0.0", 80))
s.listen(8)
print("cards", [network.LAN(n).ifconfig()[0] for n in range(3)])
while True:
    client, _ = s.accept()
    name = client.recv(100).decode()
    up = socket.socket()
    try:
        up.connect(socket.getaddrinfo(name, 5000)[0][-1])
        up.sendall(name.encode())
        while data := up.recv(100):
            client.sendall(data)
    except OSError as e:
        client.sendall(str(e).encode())
    up.close()
    client.close()
"""
PROBE = """
import socket
for name in ("web", "web.1", "db"):
    try:
        print(name, socket.getaddrinfo(name, 80)[0][-1])
    except OSError as e:
        print(name, "unknown")
"""


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stacks]:
    with Stacks(tmp_path, monkeypatch) as all_of_them:
        all_of_them.folder = tmp_path / "shop"
        all_of_them.folder.mkdir()
        yield all_of_them


def file(accel: str, more: str = "") -> str:
    return f"""
[network.front]
[network.back]
subnet = "10.20.0.0/16"
[vm.db]
app = "db.py"
accel = "{accel}"
networks = {{ back = "10.20.3.4" }}
ready = {{ port = 5000 }}
[vm.web]
app = "web.py"
accel = "{accel}"
replicas = 1
networks = ["front", "back"]
ports = ["0:80"]
after = ["db"]
ready = {{ port = 80 }}
[vm.probe]
app = "probe.py"
accel = "{accel}"
networks = ["front"]
after = ["web"]
ready = {{ exit = 0 }}
{more}
"""


def asked(stacks: Stacks, name: str) -> str:
    """What web says of it, from this machine."""
    (port,) = stacks.ps()["web.1"]["ports"]
    with socket.create_connection(("127.0.0.1", port["host"]), 20) as s:
        s.sendall(name.encode())
        said = b""
        while data := s.recv(1000):
            said += data
    return said.decode()


def test_who_reaches_whom(stacks: Stacks, accel: str) -> None:
    stacks.write(file(accel), db=DB, web=WEB, probe=PROBE)
    stacks.compose("up", "-d")
    vms = stacks.ps()
    assert {label: vm["addresses"] for label, vm in vms.items()} == {
        "db": {"back": "10.20.3.4"},
        "web.1": {"front": "10.100.0.2", "back": "10.20.0.2"},
        "probe": {"front": "10.100.0.3"},
    }
    assert asked(stacks, "db") == "db says db to 10.20.0.2"
    assert "cards ['10.0.2.15', '10.100.0.2', '10.20.0.2']" in stacks.compose("logs", "web").stdout
    assert stacks.compose("logs", "probe").stdout.splitlines() == [
        "probe | web ('10.100.0.2', 80)",
        "probe | web.1 ('10.100.0.2', 80)",
        "probe | db unknown",
    ]
    assert "nothing to do" in stacks.compose("up", "-d").stderr

    # The switch is killed: `up` makes another one, and starts again what was joined to it.
    (folder,) = stackfolder.everything()
    stack = folder.read()
    assert stack is not None
    assert stack.carrier is not None
    assert stack.carrier.signal(signal.SIGKILL)
    until(lambda: stack.carrier is not None and not stack.carrier.alive, "its end")
    assert "the networks are cut" in stacks.compose("ps").stderr
    planned = [line.split() for line in stacks.compose("plan").stdout.splitlines()]
    assert planned == [["replace", name, "networks", "changed"] for name in ("db", "web.1", "probe")]
    stacks.compose("up", "-d")
    assert asked(stacks, "db") == "db says db to 10.20.0.2"

    # A VM more: the others keep their addresses and go on.
    before = stacks.ps()
    stacks.write(
        file(accel, f'[vm.a]\napp = "db.py"\naccel = "{accel}"\nnetworks = ["back"]\nready = {{ port = 5000 }}')
    )
    stacks.compose("up", "-d")
    after = stacks.ps()
    assert {label: vm["pid"] for label, vm in after.items() if label != "a"} == {
        label: vm["pid"] for label, vm in before.items()
    }
    assert asked(stacks, "a") == "db says a to 10.20.0.2"
    stacks.compose("down")
    assert left() == []


def test_a_port_that_is_open_in_the_second_network(stacks: Stacks) -> None:
    stacks.write(
        '[vm.a]\napp = "a.py"\nnetworks = { front = "", back = "10.77.0.9" }\nports = ["0:80", "0:80/udp"]\n'
        'ready = { port = 80, within = 30 }\n[network.front]\n[network.back]\nsubnet = "10.77.0.0/24"\n',
        a='import socket\ns = socket.socket()\ns.bind(("10.77.0.9", 80))\ns.listen(1)\nwhile True:\n    s.accept()\n',
    )
    stacks.compose("up", "-d")
    vm = stacks.ps()["a"]
    assert vm["ready"]
    assert [port["protocol"] for port in vm["ports"]] == ["tcp", "udp"]
    assert len({port["host"] for port in vm["ports"]}) == 1  # any port of this machine's, but one for both


def test_a_port_that_nobody_opens(stacks: Stacks) -> None:
    stacks.write(
        '[vm.a]\napp = "a.py"\nready = { port = 80, within = 2 }\n', a="import network, time\ntime.sleep(60)\n"
    )
    done = stacks.compose("up", "-d", code=124)
    assert "floe: a is not ready after 2 s: port 80 does not answer" in done.stderr
    stacks.compose("down")
    assert left() == []


SRV = "import socket\ns = socket.socket()\ns.bind(('0.0.0.0', 80))\ns.listen(4)\ns.accept()[0].send(b'hi')\n"
CLI = "import socket\ns = socket.socket()\ns.connect(('10.77.0.2', 80))\nprint(s.recv(100))\n"
BRIDGED = """
[network.lan]
bridge = "floebr"
subnet = "10.77.0.0/24"
[vm.srv]
app = "srv.py"
networks = { lan = "10.77.0.2" }
ready = { line = "up" }
[vm.cli]
app = "cli.py"
networks = ["lan"]
after = ["srv"]
"""
IN_NAMESPACE = 'mount -t sysfs none /sys && ip link add floebr type bridge && ip link set floebr up && exec "$0" "$@"'


def test_a_bridge_of_this_machine(stacks: Stacks) -> None:
    need_own_taps()
    stacks.write(BRIDGED, srv=SRV.replace("s.accept", "print('up')\ns.accept"), cli=CLI)
    argv = ["unshare", "-rn", "--mount", "sh", "-c", IN_NAMESPACE, *FLOE, "compose", "up", str(stacks.folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "cli | b'hi'" in done.stdout
    assert left() == []


def test_a_full_disk(tmp_path: Path) -> None:
    """The folder that is named is the one that has no room, not the one that the command was given in."""
    file = load(tmp_path, '[vm.a]\napp = "a.py"\n[vm.b]\napp = "b.py"\n')
    folder = StackFolder(tmp_path / "state")
    (folder.path / "net").mkdir(parents=True)
    new = folder.path / "net" / "networks.json.new"
    new.symlink_to("/dev/full")
    stack = Stack(name="s", file=str(file.file), sockets=str(folder.path / "net"))
    networks.settle(file, stack, [("s.a", "a"), ("s.b", "b")])
    with pytest.raises(DiskFull, match=r"the disk is full: .*/state/net"):
        networks.provide(folder, file, stack)
    assert not new.is_symlink()
    assert stack.carrier is None


def test_cards(tmp_path: Path) -> None:
    text = """
[network.lan]
bridge = "br0"
[network.fixed]
bridge = "br1"
subnet = "10.7.0.0/24"
gateway = "10.7.0.1"
dns = "10.7.0.53"
[network.own]
[vm.a]
app = "a.py"
networks = ["lan", "fixed", "own"]
outside = true
[vm.b]
app = "b.py"
networks = []
"""
    file = load(tmp_path, text)
    stack = stackfolder.Stack(name="s", file=str(file.file), sockets="/run/x")
    networks.settle(file, stack, [("s.a", "a"), ("s.b", "b")])
    macs = [networks.hardware_address("s.a", name) for name in ("lan", "fixed", "own")]
    assert networks.cards(file, stack, "s.a", file.vms["a"]) == [
        "user",
        f"bridge:br0,mac={macs[0]}",
        f"bridge:br1,ip=10.7.0.2/24,gw=10.7.0.1,dns=10.7.0.53,mac={macs[1]}",
        f"connect:/run/x/own.net,ip=10.100.2.2/24,dns=10.100.2.1,mac={macs[2]}",
    ]
    assert len(set(macs)) == 3
    assert networks.cards(file, stack, "s.b", file.vms["b"]) == ["user"]
    cut = stackfile.Vm(app="b.py", networks=[], outside=False)
    assert networks.cards(file, stack, "s.b", cut) == ["none"]


def test_gateways_that_are_vms(tmp_path: Path) -> None:
    text = """
[network.front]
subnet = "10.7.0.0/24"
gateway = "10.7.0.2"
dns = "10.8.0.53"
[network.back]
subnet = "10.8.0.0/24"
gateway = "10.8.0.2"
dns = "10.8.0.53"
[vm.client]
app = "a.py"
networks = ["front"]
[vm.router]
app = "a.py"
networks = { front = "10.7.0.2", back = "10.8.0.2" }
[vm.names]
app = "a.py"
networks = { back = "10.8.0.53" }
"""
    file = load(tmp_path, text)
    stack = stackfolder.Stack(name="s", file=str(file.file), sockets="/run/x")
    networks.settle(file, stack, [(f"s.{vm}", vm) for vm in file.vms])

    def cards(vm: str) -> list[str]:
        return [card.rpartition(",mac=")[0] for card in networks.cards(file, stack, f"s.{vm}", file.vms[vm])]

    assert cards("client") == ["connect:/run/x/front.net,ip=10.7.0.3/24,gw=10.7.0.2,dns=10.8.0.53"]
    assert cards("router") == [
        "connect:/run/x/front.net,ip=10.7.0.2/24,dns=10.8.0.53",
        "connect:/run/x/back.net,ip=10.8.0.2/24,dns=10.8.0.53",
    ]
    assert cards("names") == ["connect:/run/x/back.net,ip=10.8.0.53/24,gw=10.8.0.2,dns=10.8.0.53"]
    text = text.replace('networks = ["front"]', 'networks = { front = "dhcp" }')
    file = load(tmp_path, text)
    networks.settle(file, stack, [(f"s.{vm}", vm) for vm in file.vms])  # it has had another one
    assert stack.addresses["front"] == {"s.router": "10.7.0.2"}
    assert cards("client") == ["connect:/run/x/front.net"]
    bridged = load(tmp_path, text.replace('subnet = "10.8.0.0/24"', 'bridge = "br0"\nsubnet = "10.8.0.0/24"'))
    with pytest.raises(UsageError, match=r"not all of 10\.8\.0\.2 "):  # there it is another machine
        networks.settle(bridged, stack, [(f"s.{vm}", vm) for vm in file.vms])


def load(folder: Path, text: str) -> stackfile.StackFile:
    (folder / "compose.toml").write_text(text)
    return stackfile.load(folder, {})


def test_addresses(tmp_path: Path) -> None:
    text = """
[network.x]
subnet = "10.9.0.0/29"
[vm.a]
app = "a.py"
networks = ["x"]
[vm.b]
app = "b.py"
networks = { x = "10.9.0.3" }
"""
    members = {"s.a.1": "a", "s.a.2": "a", "s.b": "b"}
    first = {"x": {"s.a.1": "10.9.0.2", "s.a.2": "10.9.0.4", "s.b": "10.9.0.3"}}
    assert networks.addresses(load(tmp_path, text), {}, members) == first
    # What was once given stays, also when others come before it; a fixed one is had by whom the file says.
    had = {"x": {"s.a.2": "10.9.0.6", "s.a.1": "10.9.0.3", "gone": "10.9.0.2"}}
    assert networks.addresses(load(tmp_path, text), had, members) == {
        "x": {"s.a.1": "10.9.0.2", "s.a.2": "10.9.0.6", "s.b": "10.9.0.3"}
    }
    other = load(tmp_path, text.replace("10.9.0", "10.8.0"))
    assert set(networks.addresses(other, first, members)["x"].values()) == {"10.8.0.2", "10.8.0.4", "10.8.0.3"}
    with pytest.raises(UsageError, match=r"vm\.c\.networks: 10\.9\.0\.3 is b's in the network x"):
        three = load(tmp_path, text + '[vm.c]\napp = "c.py"\nnetworks = { x = "10.9.0.3" }\n')
        networks.addresses(three, {}, {**members, "s.c": "c"})
    many = {f"s.a.{n}": "a" for n in range(6)}
    with pytest.raises(UsageError, match=r"network\.x\.subnet: no address of 10\.9\.0\.0/29 is left for s\.a\.5"):
        networks.addresses(load(tmp_path, text), {}, many)


def test_addresses_for_children(tmp_path: Path) -> None:
    """They lie behind their VM's, in each network; what runs keeps its own as long as it can."""
    text = """
[network.x]
subnet = "10.9.0.0/28"
[vm.a]
app = "a.py"
networks = ["x"]
[vm.b]
app = "b.py"
networks = ["x"]
children = 3
"""
    members = {"s.a": "a", "s.b": "b"}
    file = load(tmp_path, text)
    given = networks.addresses(file, {}, members)
    assert given == {"x": {"s.a": "10.9.0.2", "s.b": "10.9.0.3"}}
    (card,) = networks.cards(file, Stack(name="s", file="", sockets="/n", addresses=given), "s.b", file.vms["b"])
    assert card.startswith("connect:/n/x.net,ip=10.9.0.3/28+3,dns=10.9.0.1,")
    assert networks.addresses(file, given, {**members, "s.a.2": "a"})["x"]["s.a.2"] == "10.9.0.7"
    had = {"x": {"s.a": "10.9.0.6", "s.b": "10.9.0.4"}}
    assert networks.addresses(file, had, members) == {"x": {"s.a": "10.9.0.6", "s.b": "10.9.0.2"}}
    fixed = load(tmp_path, text.replace('"b.py"\nnetworks = ["x"]', '"b.py"\nnetworks = { x = "10.9.0.12" }'))
    with pytest.raises(UsageError, match=r"in the network x not all of 10\.9\.0\.12 and the 3 behind it are free"):
        networks.addresses(fixed, {}, members)
    with pytest.raises(UsageError, match=r"no address of 10\.9\.0\.0/28 is left for s\.b\.3"):
        networks.addresses(file, {}, {f"s.b.{n}": "b" for n in range(4)})


FAMILY = """
import os, socket
s = socket.socket()
s.bind(("0.0.0.0", 5000))
s.listen(8)
pid = os.fork()
pid = pid and os.fork()
print("up")
while True:
    client, address = s.accept()
    client.sendall(b"%d" % os.getpid())
    client.close()
"""
CALLER = """
import socket
for address in ("db", "10.100.0.3", "10.100.0.4"):
    s = socket.socket()
    s.connect(socket.getaddrinfo(address, 5000)[0][-1])
    print(address, "is", s.recv(10).decode())
    s.close()
"""


def test_a_vm_and_its_children(stacks: Stacks) -> None:
    """Each has an address in the network, is listed and heard; nothing is left of them."""
    text = """
[vm.db]
app = "db.py"
accel = "tcg"
children = 2
ready = { line = "[shop.db.2] up" }
[vm.caller]
app = "caller.py"
accel = "tcg"
after = ["db"]
ready = { exit = 0 }
"""
    stacks.write(text, db=FAMILY, caller=CALLER)
    stacks.compose("up", "-d")
    assert sorted(stacks.compose("logs").stdout.splitlines()) == [
        "caller | 10.100.0.3 is 2",
        "caller | 10.100.0.4 is 3",
        "caller | db is 1",
        "db     | [shop.db.1] up",
        "db     | [shop.db.2] up",
        "db     | up",
    ]
    vms = stacks.ps()
    assert {label: (vm["addresses"], vm["parent"]) for label, vm in vms.items() if vm["vm"] == "db"} == {
        "db": ({"default": "10.100.0.2"}, None),
        "db.1": ({"default": "10.100.0.3"}, "shop.db"),
        "db.2": ({"default": "10.100.0.4"}, "shop.db"),
    }
    rows = [line.split() for line in stacks.compose("ps").stdout.splitlines()]
    assert rows[2][:4] == ["db.1", "running", "-", "10.100.0.3"]
    pids = [vm["pid"] for label, vm in vms.items() if label in ("db.1", "db.2")]
    stacks.compose("down")
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of the children")
    assert left() == []


def test_a_carrier_that_nobody_has_written_down_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`up` may be ended at any moment; the next one's carrier takes the place of that of the one before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = stackfolder.provide(tmp_path / "compose.toml", "", "shop")
    (folder.path / "net").mkdir()
    (folder.path / "net" / carrier.FILE).write_text('{"back": {"address": "10.100.0.1", "names": {}}}')
    stack = Stack(name="shop", file="", sockets=str(folder.path / "net"))

    def write(self: StackFolder, stack: Stack) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
        interrupted.setattr(StackFolder, "write", write)
        networks._start(folder, stack)
    assert stack.carrier is not None and stack.carrier.wait_gone(20)
    networks._start(folder, stack)
    try:
        written = folder.read()
        assert written is not None and written.carrier == stack.carrier and stack.carrier is not None
        assert networks.ask(stack, {"do": "reload"}) == {}
    finally:
        networks.stop(stack)
    folder.remove()
    until(lambda: left() == [], "the end of the carriers")
