# SPDX-License-Identifier: MIT
"""A stack on two hosts: placed, looked at, changed; a host dies, and what ran there runs on the other one."""

from __future__ import annotations

import hashlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from floe.compose import hosted, stackfile
from floe.compose.hosted import Fleet
from floe.compose.placement import NoPlace, Room, Wanted, place
from floe.errors import ConfigError, FloeError, HostError
from floe.fleet.mark import Mark
from floe.fleet.survey import Facts
from floe.fleet.vms import There, Vms, environment_of
from floe.image import elf
from floe.spec.runoptions import RunOptions
from floe.vm.plan import assemble, identity
from tests.support import libvirthosts, tiny
from tests.support.command import FLOE, floe
from tests.support.fixtures import REPO
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts

PATIENCE_S = 90.0
DEAD_S = 10.0  # for a host that has gone to be told of; on a busy machine, 5 s on one that is not

SERVE = """
import os, time
print("serving", os.getenv("WHO"))
while True:
    time.sleep(1)
"""
FILE = """
name = "shop"
hosts = ["east", "west"]
[host.west]
labels = ["ssd"]
[vm.db]
app = "serve.py"
place = {{ label = "ssd" }}
ready = {{ line = "serving" }}
[vm.web]
app = "serve.py"
replicas = {replicas}
env = {{ WHO = "{who}" }}
after = ["db"]
ready = {{ line = "serving {who}" }}
"""


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LibvirtHosts]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with libvirthosts.in_namespaces(tmp_path / "hosts", (EAST, WEST)) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


class Shop:
    """A stack in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "serve.py").write_text(SERVE)

    def write(self, *, who: str = "v1", replicas: int = 3, more: str = "") -> None:
        (self.folder / "compose.toml").write_text(FILE.format(who=who, replicas=replicas) + more)

    def compose(self, verb: str, *words: str, code: int = 0) -> tuple[str, str]:
        """As a user does it."""
        done = floe("compose", verb, self.folder, *words)
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout, done.stderr

    def up(self, *, act: bool = True) -> list[tuple[str, str, str, str]]:
        """As `floe compose up`, or `plan`, and quicker: what was to be done."""
        file = stackfile.load(self.folder, {})
        with Fleet(list(file.hosts)) as fleet:
            file = hosted.scaled(file, file.name, fleet)
            steps = hosted.plan(file, file.name, (), fleet, lambda text: None)
            if act:
                hosted.Up(file, file.name, fleet, lambda text: None).run(steps)
        return [(step.action, step.label, step.host, step.reason) for step in steps]

    def vms(self) -> dict[str, There]:
        """By label."""
        with Fleet((EAST, WEST)) as fleet:
            return {vm.name.removeprefix("shop."): vm for vm in fleet.of("shop")}


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
        ("remove", "web.3", EAST, "fewer replicas"), ("keep", "db", WEST, ""),
        ("replace", "web.1", EAST, "env changed"), ("replace", "web.2", WEST, "env changed"),
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


class Said:
    """A `floe compose` that goes on, and what it says."""

    def __init__(self, *words: str | Path) -> None:
        self.process = subprocess.Popen(
            [*FLOE, "compose", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.said = b""

    def until(self, *parts: str) -> None:
        """Until it has said all of these."""
        assert self.process.stdout is not None
        end = time.monotonic() + PATIENCE_S
        while not all(part.encode() in self.said for part in parts):
            left = max(0.0, end - time.monotonic())
            assert select.select([self.process.stdout], [], [], left)[0], self.said.decode()
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            assert more, self.said.decode()
            self.said += more

    def end(self) -> tuple[int, str]:
        """Its exit code and all that it said."""
        rest = self.process.communicate(timeout=PATIENCE_S)[0]
        return self.process.returncode, (self.said + rest).decode()


def test_a_stack_on_two_hosts_attended(hosts: LibvirtHosts, tmp_path: Path) -> None:
    """Logs, a VM's end and a host's are told; Ctrl-C ends all and leaves nothing, and so does the end of all VMs."""
    shop = Shop(tmp_path / "a shop")
    # They end by themselves: with the first code that is not 0; what was said without an end of line is shown, too.
    (shop.folder / "job.py").write_text("import sys\nsys.stdout.write('done')\nraise SystemExit(3)\n")
    (shop.folder / "job.toml").write_text('name = "shop"\nhosts = ["east", "west"]\n[vm.job]\napp = "job.py"\n')
    code, said = Said("up", shop.folder / "job.toml").end()
    assert code == 3, said
    assert "job | done\n" in said
    assert len(re.findall(r"floe: job on (?:east|west) ended \(3, exit\)", said)) == 1
    assert shop.vms() == {}

    # A VM that does not become ready ends what was started, and the error tells why.
    text = FILE.format(who="v1", replicas=1).replace('"serving v1"', '"never", within = 1')
    (shop.folder / "compose.toml").write_text(text)
    code, said = Said("up", shop.folder).end()
    assert code == 124, said
    assert "web.1 is not ready after 1 s" in said
    assert shop.vms() == {}

    shop.write(replicas=2)
    up = Said("up", shop.folder)
    up.until("db    | serving None", "web.1 | serving v1", "web.2 | serving v1", "floe: web.2 is started on west")
    logs = Said("logs", "-f", "--json", shop.folder, "web.2")
    logs.until('{"vm": "web.2", "time": null, "line": "serving v1"}')
    with Fleet((EAST,)) as fleet:
        fleet.hosts[EAST].stop("shop.web.1", 0)
    up.until("floe: web.1 on east ended (130, interrupt)")
    hosts.kill(EAST)
    up.until("floe: east is not reached")
    logs.until("floe: east is not reached")
    assert logs.process.poll() is None  # the other one goes on
    up.process.send_signal(signal.SIGINT)
    code, said = up.end()
    assert code == 130
    assert "floe: ending the stack; again to end it at once" in said
    assert said.index("web.2 on west ended (1, exit)") < said.index("db on west ended (1, exit)")
    assert logs.end()[0] == 126
    assert shop.vms() == {}


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
    assert {step[0] for step in shop.up()} == {"keep"}
    assert floe("scale", "shop.web", "0").stderr.count(": fewer replicas") == 3
    assert {step[1] for step in shop.up()} == {"db", "shell"}
    for words, code, problem in (
        (("shop.db", "2"), 125, "shop.db is one VM, without replicas"),
        (("shop.web", "65"), 125, "vm.web.replicas: 65 is not from 0 to 64"),
    ):
        done = floe("scale", *words)
        assert (done.returncode, problem in done.stderr) == (code, True), done.stderr

    assert shop.compose("exec", "shell", "print(6 * 7)")[0] == "42\n"
    assert "ZeroDivisionError" in "".join(shop.compose("exec", "shell", "1 / 0", code=1))
    assert "there is no VM none in the stack shop\n  there are: " in shop.compose("exec", "none", "1", code=127)[1]

    # Another number in the file is the one that holds.
    shop.write(replicas=2)
    assert [step[:2] for step in shop.up()] == [
        ("remove", "shell"), ("keep", "db"), ("start", "web.1"), ("start", "web.2")
    ]  # fmt: skip
    assert {str(vm.mark.scales) for vm in shop.vms().values()} == {"{}"}
    shop.compose("down", "--timeout", "0")
    done = floe("scale", "shop.web", "3")
    assert (done.returncode, "no stack shop is up" in done.stderr) == (127, True)


class Told(Fleet):
    """What hosts would say: of each VM its host, its name, when it was started, and whether it runs."""

    def __init__(self, image: Path, *vms: tuple[str, str, float, bool], down: str = "") -> None:
        names = [name for name in (EAST, WEST) if name != down]
        self.hosts = {name: cast("Vms", SimpleNamespace(host=SimpleNamespace(name=name))) for name in names}
        self.rooms = {name: Facts(0, "", "", "", 1, 1 << 30, 1 << 30, ()) for name in names}
        self.down = {down: HostError(f"{down} is not reached")} if down else {}
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        self.vms = []
        for host, name, created, runs in vms:
            spec = assemble(elf.read(image), None, RunOptions(uuid=identity(f"{host}/{name}"), accel="tcg"))[0]
            own = environment_of(spec, ())
            service, _, replica = name.partition(".")[2].partition(".")
            told = Mark(app="a", profile="sealed", image=digest, memory=spec.memory, created=created, environment=own,
                        project="s", service=service, replica=int(replica or 0))  # fmt: skip
            self.vms.append(There(host, name, spec.uuid, told, "running" if runs else "ended", "tcg", "microvm"))


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
        ('disks = ["d.img"]', "disks: not on other hosts yet"),
        ("ready = { port = 80 }", "ready.port: not on other hosts yet"),
        ('restart = "always"', "restart: not on other hosts yet"),
        ("outside = false", "outside: not on other hosts yet"),
    ],
)
def test_a_vm_that_makes_no_sense_there(tmp_path: Path, words: str, problem: str) -> None:
    (tmp_path / "compose.toml").write_text(f'name = "s"\nhosts = ["east"]\n[vm.a]\napp = "a.py"\n{words}\n')
    with pytest.raises(ConfigError, match=rf"vm\.a\.{problem}"):
        stackfile.load(tmp_path, {})


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
