# SPDX-License-Identifier: MIT
"""tools/floe/bench/running.py, spaces.py: servers answer where they are said to, and nothing of them is left."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from floe.bench import dns, httpload, linux, peers, running, spaces
from floe.bench.httpload import Load
from floe.bench.peers import Peer
from floe.bench.running import App, Endpoint
from floe.build import port_archive
from floe.errors import NotFound, TimedOut, VmError

JSON = App("json", Path(running.__file__).parent / "scripts" / "json_server.py")
END_S = 120.0
SLEEPER = 'title = "Sleeper"\nkind = "process"\nserves = ["json"]\n'
HAS_SPACES = pytest.mark.skipif(bool(spaces.why_none()), reason=f"SKIP: {spaces.why_none()}")
BOTH = pytest.mark.parametrize("tap", [False, pytest.param(True, marks=HAS_SPACES)], ids=["loopback", "tap"])


def end() -> float:
    return time.monotonic() + END_S


def own_spaces() -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"floe-{os.getpid()}-*")]


def answered(endpoint: Endpoint) -> int:
    load = Load(0.5, rate=20, connections=2, timeout_s=30)
    counted = httpload.put(load, [(endpoint.address, endpoint.port)], endpoint.prefix)
    assert counted.errors == 0, counted
    return counted.answered


def of(tmp_path: Path, text: str) -> Peer:
    (tmp_path / "mine.toml").write_text(text)
    return peers.load(tmp_path / "mine.toml")


@BOTH
def test_the_same_script_answers_in_cpython_and_in_a_vm_of_ours(tap: bool, accel: str) -> None:
    (cpython,) = (peer for peer in peers.chosen("json") if peer.name == "cpython")
    with running.theirs(cpython, JSON, accel, end(), tap=tap) as endpoint:
        assert answered(endpoint) == 10
    with running.ours(JSON, accel, end(), tap=tap) as endpoint:
        assert answered(endpoint) == 10
    assert own_spaces() == []


def listening(port: int) -> set[str]:
    """The addresses at which a port of this machine is taken, as Linux writes them."""
    found = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            address, _, number = line.split()[1].partition(":")
            if int(number, 16) == port:
                found.add(address)
    return found


@pytest.mark.parametrize(("name", "app"), [
    ("cpython", JSON), ("iperf3", App("bulk", JSON.app)), ("nsd", App("dns", JSON.app, "53/udp")),
    ("redis-server", App("redis", JSON.app)), ("mosquitto", App("mqtt", JSON.app)),
])  # fmt: skip
def test_without_a_tap_a_peer_is_not_reached_from_other_machines(
    name: str, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (peer,) = (peer for peer in peers.chosen(app.service) if peer.name == name)
    if not all(map(linux.is_there, peer.programs)):
        pytest.skip(f"SKIP: {name} is not installed")
    if name == "nsd":
        app = replace(app, app=dns.image())
    with running.theirs(peer, app, "tcg", end(), tap=False) as endpoint:
        assert listening(endpoint.port) == {"0100007F"}  # 127.0.0.1


def test_settings_of_servers_hold_paths_with_blanks() -> None:
    paths = {name: f"/a folder/{name}" for name in ("data", "dir")}
    for file in peers.FOLDER.glob("*.conf"):
        named = file.read_text()
        text = peers.filled(named, paths)
        count = named.count("{data}") + named.count("{dir}")  # mosquitto's names none
        assert text.count("/a folder/") == text.count('"/a folder/') == count, file
        assert count >= 2 or file.name == "mosquitto.conf", file


def test_nginx_serves_from_a_path_with_a_blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nginx,) = (peer for peer in peers.chosen("static") if peer.name == "nginx")
    if not linux.is_there("nginx"):
        pytest.skip("SKIP: nginx is not installed")
    data = tmp_path / "a folder" / "data"
    data.mkdir(parents=True)
    (data / "index.html").write_text("hello")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a folder"))
    with running.theirs(nginx, App("static", data.parent), "tcg", end(), tap=False) as endpoint:
        assert answered(endpoint) == 10
        assert listening(endpoint.port) == {"0100007F"}


@HAS_SPACES
def test_what_is_measured_behind_a_tap_is_not_reached_from_here(accel: str) -> None:
    (cpython,) = (peer for peer in peers.chosen("json") if peer.name == "cpython")
    with running.theirs(cpython, JSON, accel, end()) as endpoint:
        counted = httpload.put(Load(0.2, rate=20, timeout_s=0.5), [(endpoint.address, endpoint.port)])
        assert counted.answered == 0


def test_a_program_that_ends_or_never_serves_is_told_with_what_it_said(tmp_path: Path) -> None:
    ends = of(tmp_path, SLEEPER + 'command = ["sh", "-c", "echo no licence; exit 3"]\n')
    with (
        pytest.raises(VmError, match="mine ended with 3 before it served") as caught,
        running.theirs(ends, JSON, "tcg", end(), tap=False),
    ):
        pass
    assert caught.value.evidence == "no licence"
    silent = of(tmp_path, SLEEPER + 'command = ["sleep", "1000"]\nready_s = 0.5\nready = "serving"\n')
    with pytest.raises(TimedOut, match="mine does not serve"), running.theirs(silent, JSON, "tcg", end(), tap=False):
        pass
    nothing = of(tmp_path, SLEEPER + 'command = ["/nowhere/server"]\n')
    with (
        pytest.raises(NotFound, match="cannot start /nowhere/server"),
        running.theirs(nothing, JSON, "tcg", end(), tap=False),
    ):
        pass


def is_running(pid: int) -> bool:
    """Not where it has ended and nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(pid: int) -> None:
    deadline = end()
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_program_that_ends_while_it_is_measured_is_no_result(tmp_path: Path) -> None:
    script = "echo $$ > {here}/pid; echo up; while [ ! -e {here}/stop ]; do sleep 0.1; done; exit 4"
    peer = of(tmp_path, SLEEPER + f'command = ["sh", "-c", "{script}"]\nready = "up"\n')
    with pytest.raises(VmError, match=r"mine ended with 4$"), running.theirs(peer, JSON, "tcg", end(), tap=False):
        (tmp_path / "stop").touch()
        wait_for_end(int((tmp_path / "pid").read_text()))


def test_a_program_that_will_not_end_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 1000 & echo $! > {here}/child; echo up; while :; do sleep 1; done"
    peer = of(tmp_path, SLEEPER + f'command = ["sh", "-c", "{script}"]\nready = "up"\nstop_s = 0.2\n')
    with running.theirs(peer, JSON, "tcg", end(), tap=False):
        child = int((tmp_path / "child").read_text())
        assert is_running(child)
    wait_for_end(child)


@HAS_SPACES
def test_a_peer_of_its_own_kind_gets_a_tap_and_serves_behind_it(tmp_path: Path) -> None:
    """The start script runs a VM of ours as any other unikernel's would run its own."""
    (tmp_path / "start.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from floe.bench import guests\n"
        "from floe.spec.network import parse_cards\n"
        "tap, address, app = sys.argv[1:]\n"
        "card = parse_cards([f'tap:{tap},ip={address}/24,ip6=none'])\n"
        "with guests.booted(guests.spec(guests.build(Path(app)), accel='tcg', cards=card)) as vm:\n"
        "    guests.expect(vm, 'serving', 100)\n"
        "    print('ready', flush=True)\n"
        "    vm.pump(lambda: False, 100)\n"
    )
    command = f'command = ["{{python}}", "{{here}}/start.py", "{{tap}}", "{{address}}", "{JSON.app}"]\n'
    peer = of(tmp_path, 'title = "Own"\nkind = "own"\nserves = ["json"]\nready = "ready"\nready_s = 110\n' + command)
    with running.theirs(peer, JSON, "tcg", end()) as endpoint:
        assert answered(endpoint) == 10
    assert own_spaces() == []
    with pytest.raises(NotFound, match="needs a tap"):
        running.prepare(peer, JSON, tap=False)


@HAS_SPACES
def test_a_program_is_all_that_a_linux_microvm_runs(tmp_path: Path) -> None:
    if shutil.which("iperf3") is None:
        pytest.skip("SKIP: iperf3 is not installed")
    try:
        linux.kernel()
    except NotFound as e:
        pytest.skip(f"SKIP: no kernel of Debian's: {e.message}")
    text = 'title = "Linux"\nkind = "linux"\nserves = ["bulk"]\nprograms = ["iperf3"]\n'
    peer = of(tmp_path, text + 'command = ["{iperf3}", "-s", "-p", "{port}"]\nkernel = ["mitigations=off"]\n')
    app = App("bulk", JSON.app, port=5201)
    with running.theirs(peer, app, "tcg", end()) as endpoint:
        argv = [*endpoint.prefix, "iperf3", "-c", endpoint.address, "-p", str(endpoint.port), "-n", "64K"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("tap", [False, True], ids=["user-network", "tap"])
def test_a_user_can_start_the_same_vm(tap: bool) -> None:
    app = replace(JSON, env={"NAME": "a b"})
    words = shlex.split(running.command(app, "tcg", tap=tap))
    argv = [str(Path(sys.executable).with_name("floe")), *words[1:-1], "--dry-run", words[-1]]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert ("ifname=tap0" in done.stdout) == tap
    assert ("-10.0.2.15:80 " in done.stdout) != tap
    assert "-m 32768K " in done.stdout and "env.NAME=a%20b" in done.stdout


def test_a_script_of_an_image_has_its_packages_beside_it() -> None:
    app = App("microdot", port_archive.ROOT / "images" / "microdot")
    assert "def " in app.beside()["microdot/microdot.py"].read_text()
