# SPDX-License-Identifier: MIT
"""A stack on two hosts: placed, looked at, changed; a host dies, and what ran there runs on the other one."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from floe.cli import compose_hosted
from floe.compose import hosted, stackfile
from floe.compose.placement import NoPlace, Room, Wanted, place
from floe.compose.rolling import UpdateHalted
from floe.errors import ConfigError, FloeError, HostError, NotFound
from floe.spec.disks import Disk
from tests.support import tiny
from tests.support.command import floe
from tests.support.fixtures import REPO
from tests.support.hostedstacks import BOTH, Shop, Told
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts

DEAD_S = 10.0  # for a host that has gone to be told of; 5 s on a machine that is not busy


@pytest.mark.alone
def test_a_stack_on_two_hosts(hosts: LibvirtHosts, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "a shop")
    shop.write()
    assert [line.split() for line in shop.compose("plan")[0].splitlines()] == [
        ["start", "db", "west"], ["start", "web.1", "east"], ["start", "web.2", "west"], ["start", "web.3", "east"],
    ]  # fmt: skip
    said = shop.compose("up", "-d")[1].splitlines()
    assert said[0] == "floe: db is started on west"
    assert len(said) == 4
    first = shop.vms()
    assert {label: (vm.host, vm.state) for label, vm in first.items()} == {
        "db": (WEST, "running"), "web.1": (EAST, "running"), "web.2": (WEST, "running"), "web.3": (EAST, "running"),
    }  # fmt: skip
    assert {step[0] for step in shop.up()} == {"keep"}
    assert "web.3 | serving v1" in shop.compose("logs", "web")[0]

    shop.write(who="v2", replicas=2)
    assert shop.up() == [
        ("keep", "db", WEST, ""), ("replace", "web.3", EAST, "for the time of the update"),
        ("update", "web.1", EAST, "env changed"), ("update", "web.2", WEST, "env changed"),
    ]  # fmt: skip
    second = shop.vms()
    assert {label: vm.mark.created == first[label].mark.created for label, vm in second.items()} == {
        "db": True, "web.1": False, "web.2": False,
    }  # fmt: skip
    another_files(shop)
    shop.write(who="v2", replicas=2)

    hosts.kill(EAST)
    begin = time.monotonic()
    out, err = shop.compose("ps", code=126)
    assert time.monotonic() - begin < DEAD_S
    assert "floe: east is not reached" in err
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [["db", WEST, "running"], ["web.2", WEST, "running"]]
    assert shop.up() == [("keep", "db", WEST, ""), ("start", "web.1", WEST, ""), ("keep", "web.2", WEST, "")]
    said = shop.compose("down", "--timeout", "1", code=126)[1].splitlines()
    assert len([line for line in said if " on west ended" in line]) == 3
    assert shop.vms() == {}


def another_files(shop: Shop) -> None:
    """Nothing is removed of a stack of another file's that has this name, nor started without a place."""
    (shop.folder / "compose.toml").write_text('name = "shop"\nhosts = ["east"]\n[vm.other]\napp = "serve.py"\n')
    with pytest.raises(FloeError, match="name: there is another stack shop on these hosts"):
        shop.up(act=False)
    shop.write(more='[vm.large]\napp = "serve.py"\nmemory = "900G"\n')
    with pytest.raises(NoPlace, match=r"shop\.large \(921600M\) has no place on any host"):
        shop.up(act=False)


def test_more_replicas_and_code_in_one(hosts: LibvirtHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sees the VMs knows how many there are to be; the file says where they come from."""
    shop = Shop(tmp_path / "a shop")
    (shop.folder / "shell.py").write_text("print('a shell')\n")
    shop.write(replicas=1, more='[vm.shell]\napp = "shell.py"\ndev = true\nready = { line = "a shell" }\n')
    shop.up()
    monkeypatch.chdir(tmp_path)
    done = floe("scale", "shop.web", "3")
    assert (done.returncode, "no stack shop is up" in done.stderr) == (127, True)
    done = floe("scale", "-f", shop.folder, "shop.web", "3")
    assert done.returncode == 0, done.stderr
    said = re.sub(" on [a-z]+", "", done.stderr).splitlines()
    assert sorted(said) == ["floe: web.2 is started", "floe: web.3 is started"]
    assert set(shop.vms()) == {"db", "shell", "web.1", "web.2", "web.3"}
    assert {vm.mark.scales["web"] for vm in shop.vms().values()} == {(3, 1)}

    monkeypatch.chdir(shop.folder)
    assert {step[0] for step in shop.up(act=False)} == {"keep"}
    assert floe("scale", "shop.web", "0").stderr.count(": fewer replicas") == 3
    assert {step[1] for step in shop.up(act=False)} == {"db", "shell"}
    for words, code, problem in (
        (("shop.db", "2"), 125, "shop.db is one VM, without replicas"),
        (("shop.web", "65"), 125, "vm.web.replicas: 65 is not from 0 to 64"),
    ):
        done = floe("scale", *words)
        assert (done.returncode, problem in done.stderr) == (code, True), done.stderr

    assert shop.compose("exec", "shell", "print(6 * 7)")[0] == "42\n"
    assert "ZeroDivisionError" in "".join(shop.compose("exec", "shell", "1 / 0", code=1))

    # Another number in the file is the one that holds.
    shop.write(replicas=2)
    assert [step[:2] for step in shop.up()] == [
        ("remove", "shell"), ("keep", "db"), ("start", "web.1"), ("start", "web.2")
    ]  # fmt: skip
    assert {str(vm.mark.scales) for vm in shop.vms().values()} == {"{}"}
    shop.compose("down", "--timeout", "0")
    done = floe("scale", "shop.web", "3")
    assert (done.returncode, "no stack shop is up" in done.stderr) == (127, True)


WEB = """
import os, socket
if os.getenv("WHO") == "no":
    raise SystemExit(3)
s = socket.socket()
s.bind(("0.0.0.0", 80))
s.listen(4)
while True:
    client, _ = s.accept()
    client.send(os.getenv("WHO").encode())
    client.close()
"""
ROLLING = """
name = "shop"
hosts = ["east", "west"]
[vm.web]
app = "web.py"
replicas = 1
update = "rolling"
drain = 1
ports = ["0.0.0.0:8080:80"]
env = {{ WHO = "{who}" }}
ready = {{ port = 80 }}
"""


class Clients:
    """Ask both hosts, one after the other, until told to end."""

    def __init__(self, hosts: LibvirtHosts) -> None:
        self._addresses = [hosts.addresses[name] for name in (EAST, WEST)]
        self._ending = threading.Event()
        self.rounds: list[set[bytes]] = []  # what has answered in each

    def run(self) -> None:
        while not self._ending.wait(0.02):
            self.rounds.append({answer for address in self._addresses if (answer := asked(address))})

    def __enter__(self) -> Clients:
        self._thread = threading.Thread(target=self.run)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self._thread.join()


def asked(address: str) -> bytes:
    try:
        with socket.create_connection((address, 8080), 20) as client:
            return client.recv(100)
    except OSError:
        return b""


def test_one_new_and_one_old_after_the_other(hosts: LibvirtHosts, tmp_path: Path) -> None:
    """One more is there until all are updated; one that does not become ready leaves the old ones as they are."""
    shop = Shop(tmp_path / "a shop")
    (shop.folder / "web.py").write_text(WEB)
    file = shop.folder / "compose.toml"
    file.write_text(ROLLING.format(who="v1"))
    shop.up()
    (first,) = shop.vms().values()
    assert first.mark.ready
    other = WEST if first.host == EAST else EAST
    with Clients(hosts) as clients:
        file.write_text(ROLLING.format(who="v2"))
        said: list[str] = []
        assert shop.up(said) == [
            ("start", "web.2", other, "for the time of the update"), ("update", "web.1", first.host, "env changed")
        ]  # fmt: skip
        assert said == [
            f"web.2 is started on {other}: for the time of the update",
            f"web.1 is updated on {first.host}: env changed",
            f"web.2 is removed from {other}: the update is done",
        ]
    assert len(clients.rounds) > 3
    assert [answers for answers in clients.rounds if not answers] == []  # never nobody
    assert clients.rounds[0] == {b"v1"}
    (second,) = shop.vms().values()
    assert asked(hosts.addresses[second.host]) == b"v2"

    file.write_text(ROLLING.format(who="no"))
    with pytest.raises(
        UpdateHalted, match=r"update of web is halted: web\.2 has ended before it was ready: 3"
    ) as halted:
        shop.up()
    assert halted.value.evidence.endswith("as before the update: web.1")
    assert shop.vms()["web.1"] == second
    assert [row.split()[:4] for row in shop.compose("ps")[0].splitlines()[1:]] == [
        ["web.1", second.host, "running", "yes"], ["web.2", other, "ended", "(3,"],
    ]  # fmt: skip
    file.write_text(ROLLING.format(who="v2"))
    assert shop.up() == [("remove", "web.2", other, "fewer replicas"), ("keep", "web.1", second.host, "")]
    assert shop.vms() == {"web.1": second}
    shop.compose("down", "--timeout", "0")


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[..., list[tuple[str, str, str, str]]]]:
    """The steps of a stack of two, of what hosts say."""
    image = tiny.build(tmp_path, tiny.HANG)
    (tmp_path / "compose.toml").write_text(
        f'name = "s"\nhosts = ["east", "west"]\n[vm.a]\napp = "{image}"\nreplicas = 2\naccel = "tcg"\n'
    )
    file = stackfile.load(tmp_path, {})

    def steps(*vms: tuple[str, str, float, bool], down: str = "") -> list[tuple[str, str, str, str]]:
        found = hosted.plan(file, "s", (), Told(image, *vms, down=down), lambda text: None)
        return [(step.action, step.label, step.host, step.reason) for step in found]

    yield steps


def test_a_host_that_comes_back(told: Callable[..., list[tuple[str, str, str, str]]]) -> None:
    both = (EAST, "s.a.1", 1.0, True), (WEST, "s.a.2", 1.0, True)
    keep = [("keep", "a.1", EAST, ""), ("keep", "a.2", WEST, "")]
    assert told(*both) == keep
    assert told(both[1], down=EAST) == [("start", "a.1", WEST, ""), ("keep", "a.2", WEST, "")]
    # It is there twice: the newer one stays, and the other ends when all is ready.
    assert told(*both, (WEST, "s.a.1", 2.0, True)) == [
        ("keep", "a.1", WEST, ""), ("keep", "a.2", WEST, ""), ("remove", "a.1", EAST, "it is on west"),
    ]  # fmt: skip
    # The host was down itself, and what ran there has ended: it is forgotten.
    assert told((EAST, "s.a.1", 3.0, False), both[1], (WEST, "s.a.1", 2.0, True))[2:] == [
        ("remove", "a.1", EAST, "it is on west")
    ]
    assert told((EAST, "s.a.1", 3.0, False), both[1])[0] == ("replace", "a.1", EAST, "ended")


def planned(folder: Path, words: str, *vms: tuple[str, str, float, bool]) -> list[tuple[str, str, str, str]]:
    """The steps for VMs that were started without arguments."""
    image = tiny.build(folder, tiny.HANG)
    text = f'name = "s"\nhosts = ["east", "west"]\n[vm.a]\napp = "{image}"\nreplicas = 2\naccel = "tcg"\nargs = ["x"]\n'
    (folder / "compose.toml").write_text(text + words)
    steps = hosted.plan(stackfile.load(folder, {}), "s", (), Told(image, *vms), lambda text: None)
    return [(step.action, step.label, step.host, step.reason) for step in steps]


UPDATES = [("update", "a.1", EAST, "env changed"), ("update", "a.2", WEST, "env changed")]
SPARE = "for the time of the update"


def test_an_update_of_replicas(tmp_path: Path) -> None:
    assert planned(tmp_path, "", *BOTH) == [("start", "a.3", EAST, SPARE), *UPDATES]
    # One that is left of another update is used, where it is.
    assert planned(tmp_path, "", *BOTH, (WEST, "s.a.3", 2.0, True)) == [("replace", "a.3", WEST, SPARE), *UPDATES]
    # Who has ended serves nobody.
    assert planned(tmp_path, "", (EAST, "s.a.1", 1.0, False), BOTH[1]) == [
        ("start", "a.3", WEST, SPARE), ("replace", "a.1", EAST, "env changed"), UPDATES[1],
    ]  # fmt: skip
    assert {step[0] for step in planned(tmp_path, 'update = "replace"', *BOTH)} == {"replace"}


def test_a_name_that_no_vm_has(tmp_path: Path) -> None:
    """Of a host that does not answer nobody knows which there are."""
    image = tiny.build(tmp_path, tiny.HANG)
    (tmp_path / "compose.toml").write_text(
        f'name = "s"\nhosts = ["east", "west"]\n[vm.a]\napp = "{image}"\nreplicas = 2\n'
    )
    file = stackfile.load(tmp_path, {})
    all_there, one_down = Told(image, *BOTH), Told(image, BOTH[1], down=EAST)
    compose_hosted._check_known(file, all_there, ["a", "a.1", "a.2"])
    compose_hosted._check_known(file, one_down, ["a.1"])
    for fleet, name in ((all_there, "a.3"), (one_down, "none")):
        with pytest.raises(NotFound, match=f"there is no VM {name} in the stack s"):
            compose_hosted._check_known(file, fleet, [name])


def test_a_vm_that_has_moved_is_the_same_still(tmp_path: Path) -> None:
    image = tiny.build(tmp_path, tiny.HANG)
    told = Told(image, (EAST, "s.a", 1.0, True))
    told.vms = [replace(vm, host=WEST) for vm in told.vms]
    (tmp_path / "compose.toml").write_text(
        f'name = "s"\nhosts = ["east", "west"]\n[vm.a]\napp = "{image}"\naccel = "tcg"\n'
    )
    (step,) = hosted.plan(stackfile.load(tmp_path, {}), "s", (), told, lambda text: None)
    assert (step.action, step.host) == ("keep", WEST)


def test_an_image_is_hashed_once_for_all_its_vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tiny.build(tmp_path, tiny.HANG)
    hashed: list[bytes] = []
    digest_of = hashlib.sha256

    def counted(content: bytes = b"") -> Any:
        hashed.append(bytes(content))
        return digest_of(content)

    told = Told(image, *((EAST, f"s.{table}.{number}", 1.0, True) for table in "ab" for number in (1, 2, 3)))
    table = f'app = "{image}"\nreplicas = 3\naccel = "tcg"\n'
    (tmp_path / "compose.toml").write_text(f'name = "s"\nhosts = ["east", "west"]\n[vm.a]\n{table}[vm.b]\n{table}')
    file = stackfile.load(tmp_path, {})
    monkeypatch.setattr(hashlib, "sha256", counted)
    assert [step.action for step in hosted.plan(file, "s", (), told, lambda text: None)] == ["keep"] * 6
    assert hashed.count(image.read_bytes()) == 1


def test_an_update_for_which_no_host_has_room(tmp_path: Path) -> None:
    """One after the other nevertheless; not where the file insists on one more meanwhile."""
    found = planned(tmp_path, 'memory = "600M"', *BOTH)
    assert [step[:2] for step in found] == [("update", "a.1"), ("update", "a.2")]
    with pytest.raises(NoPlace, match=r"s\.a\.3 .* has no place on any host"):
        planned(tmp_path, 'memory = "600M"\nupdate = "rolling"', *BOTH)


def test_no_host_answers(told: Callable[..., list[tuple[str, str, str, str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "hosts", property(lambda self: {}, lambda self, value: None), raising=False)
    with pytest.raises(HostError, match="east is not reached"):
        told(down=EAST)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ('hosts = ["east"]', "name: a stack on other hosts is known by its name there"),
        ('name = "s"\nhosts = ["east"]\n[host.west]\nlabels = []', "host.west: 'west' is none of the file's hosts"),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, words: str, problem: str) -> None:
    (tmp_path / "compose.toml").write_text(f'{words}\n[vm.a]\napp = "a.py"\n')
    with pytest.raises(ConfigError, match=problem):
        stackfile.load(tmp_path, {})


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ('place = "round"', "place: 'round' is none"),
        ('place = { label = "x" }', "place: no host has the label x"),
        ('place = { name = "x" }', "place: label is wanted, and nothing else"),
        ('ports = ["0:80"]', "ports: any free port is for VMs of this machine"),
        ('allow = ["none"]', "allow: not on other hosts yet"),
        ('disks = ["d.img"]\nreplicas = 2', "disks: a disk of another host is one VM's"),
        ('disks = ["d.img"]\nreplicas = 1\nupdate = "rolling"', "disks: a disk of another host is one VM's"),
        ('disks = ["a/d.img"]', "disks: --disk a/d.img: a disk of another host has a name, and no path"),
        ("ready = { port = 80 }", "ready.port: on another host a port is asked that is forwarded"),
        ('ready = { port = 80 }\nports = ["8080:80/udp"]', "ready.port: on another host a port is asked that is"),
        ('restart = "always"', "restart: not on other hosts yet"),
    ],
)
def test_a_vm_that_makes_no_sense_there(tmp_path: Path, words: str, problem: str) -> None:
    (tmp_path / "compose.toml").write_text(f'name = "s"\nhosts = ["east"]\n[vm.a]\napp = "a.py"\n{words}\n')
    with pytest.raises(ConfigError, match=rf"vm\.a\.{problem}"):
        stackfile.load(tmp_path, {})


DISKS = """
name = "s"
hosts = ["east", "west"]
[host.{label}]
labels = ["ssd"]
[vm.a]
app = "{app}"
accel = "tcg"
disks = ["{disk}:size=1M"]
"""
ON_SSD = 'place = { label = "ssd" }\n'


def test_a_vm_stays_where_its_disk_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny.CONTENT, "drivers", ["virtio-blk"])
    image, file = tiny.build(tmp_path, tiny.HANG), tmp_path / "compose.toml"
    file.write_text(DISKS.format(label=WEST, app=image, disk="d.img"))
    with pytest.raises(ConfigError, match=r"vm\.a\.disks: a disk stays on its host, and the VM may run on east, west"):
        stackfile.load(tmp_path, {})
    told = Told(image, (WEST, "s.a", 1.0, True))
    told.vms = [replace(vm, disks=(Disk(Path("d.img")),)) for vm in told.vms]

    def steps(label: str, disk: str = "d.img") -> list[tuple[str, str, str]]:
        file.write_text(DISKS.format(label=label, app=image, disk=disk) + ON_SSD)
        planned = hosted.plan(stackfile.load(tmp_path, {}), "s", (), told, lambda text: None)
        return [(step.action, step.host, step.reason) for step in planned]

    assert [step[0] for step in steps(WEST)] in (["keep"], ["replace"])
    assert "disks" not in steps(WEST)[0][2]
    assert "disks" in steps(WEST, "e.img")[0][2]
    with pytest.raises(FloeError, match=r"vm\.a\.place: a is on west, where its disk d\.img stays, not on east"):
        steps(EAST)
    told.vms = [replace(vm, disks=()) for vm in told.vms]
    moved = [("start", EAST, f"it moves from {WEST}"), ("remove", WEST, f"it is on {EAST}")]
    assert steps(EAST) == moved, "it has none yet, and may get one there"


NOTES = """
import os, time, vfs
with open("/n.txt", "a") as f:
    f.write(os.getenv("WHO") + " ")
print("notes:", open("/n.txt").read())
while True:
    time.sleep(1)
"""


def test_what_is_on_a_disk_stays(hosts: LibvirtHosts, tmp_path: Path) -> None:
    """For the VM that takes the place of another one, and until somebody removes it."""
    (tmp_path / "notes.py").write_text(NOTES)

    def up(who: str) -> tuple[str, str]:
        text = DISKS.format(label=WEST, app="notes.py", disk="d.img") + ON_SSD
        more = f'env = {{ WHO = "{who}" }}\nready = {{ line = "notes: " }}\n'
        (tmp_path / "compose.toml").write_text(text + more)
        done = floe("compose", "up", "-d", tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stderr, floe("compose", "logs", tmp_path).stdout

    assert "floe: made the disk d.img on west, where it stays" in up("ada")[0]
    said, log = up("bob")
    assert "a is started on west: env changed" in said and "made the disk" not in said
    assert "notes: ada bob" in log
    assert floe("compose", "down", "--timeout", "0", tmp_path).returncode == 0
    assert floe("host", "disk", "ls", WEST).stdout.splitlines()[1].startswith("d.img")


def test_the_file_of_the_page(tmp_path: Path) -> None:
    page = (REPO / "docs" / "compose.md").read_text()
    (text,) = re.findall(r"^```toml\n(# hosts\.toml\n.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "compose.toml").write_text(text)
    file = stackfile.load(tmp_path, {})
    assert file.hosts == {"east": frozenset(), "west": frozenset({"ssd"})}
    assert file.vms["store"].labels == {"ssd"}


def test_a_place_without_hosts(tmp_path: Path) -> None:
    (tmp_path / "compose.toml").write_text('[vm.a]\napp = "a.py"\nplace = "pack"\n')
    with pytest.raises(ConfigError, match=r"vm\.a\.place: the file names no hosts"):
        stackfile.load(tmp_path, {})


def test_replicas_may_have_one_port_on_each_host(tmp_path: Path) -> None:
    text = 'name = "s"\nhosts = ["east", "west"]\n[vm.a]\napp = "a.py"\nreplicas = 2\nports = ["8080:80"]\n'
    (tmp_path / "compose.toml").write_text(text)
    assert stackfile.load(tmp_path, {}).hosts == {"east": frozenset(), "west": frozenset()}
    wanted = [Wanted(f"a.{n}", "a", 1, ports=frozenset({"8080/tcp"})) for n in (1, 2, 3)]
    rooms = [Room("east", 100), Room("west", 100)]
    assert place(wanted[:2], rooms, {}) == {"a.1": "east", "a.2": "west"}
    with pytest.raises(NoPlace) as told:
        place(wanted, rooms, {})
    assert told.value.evidence == "east: a.1 has port 8080/tcp\nwest: a.2 has port 8080/tcp"
