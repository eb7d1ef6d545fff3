# SPDX-License-Identifier: MIT
"""tools/floe/bench/http.py, contest.py: rates rise until one is not held, contenders are named and compared, and nothing is left."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import pytest

from floe.bench import compiled, contest, guests, http, httpload, linux, peers, running, surroundings
from floe.bench.experiment import Options, Reading, Turn
from floe.bench.httpload import Counted, Load
from floe.bench.running import Endpoint
from floe.errors import NotFound, VmError

KINDS = dict.fromkeys(("connect", "read", "status", "timeout", "unsent"), 0)
CPYTHON = "CPython, process: JSON"


def turn(quick: bool = False) -> Turn:
    return Turn(0, quick, time.monotonic() + 100)


def holding(most: float, monkeypatch: pytest.MonkeyPatch) -> list[Load]:
    """A server that answers so many a second, in the place of the load; the loads that were put on it."""
    seen: list[Load] = []

    def put(load: Load, targets: object, prefix: object = ()) -> Counted:
        seen.append(load)
        offered = load.rate or most
        done = int(min(offered, most) * load.seconds)
        due = int(offered * load.seconds)
        return Counted(due, done, due - done, KINDS, done / load.seconds, 1.0, 2.0, 3.0, 4.0, 5.0, 0.1)

    monkeypatch.setattr(httpload, "put", put)
    return seen


def test_rates_rise_until_one_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = holding(1500, monkeypatch)
    readings = list(http.climb([Endpoint("127.0.0.1", 1)], ("/",), turn()))
    assert [reading.x for reading in readings if reading.x] == [100, 300, 1000, 3000]  # and not 10,000
    assert readings[3].values["errors"] == pytest.approx(50)
    assert readings[3].at == "3000/s"
    assert all(load.vary for load in seen if load.rate > 20)
    fastest = [reading for reading in readings if reading.x is None]
    assert {(load.connections, load.each) for load in seen if not load.rate} >= {(1, False), (500, False), (32, True)}
    assert [reading.values["per_s"] for reading in fastest] == [1500] * 5
    assert "late_ms" not in fastest[0].values


def test_quick_is_three_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    holding(1500, monkeypatch)
    readings = list(http.climb([Endpoint("127.0.0.1", 1)], ("/",), turn(quick=True)))
    assert [reading.at for reading in readings] == ["100/s", "500/s", "fastest, 32 connections"]


def test_several_servers_are_not_asked_over_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = holding(1500, monkeypatch)
    readings = list(http.climb([Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)], ("/",), turn()))
    assert min(load.connections for load in seen) == 32
    assert len([reading for reading in readings if reading.x is None]) == 4


def test_a_server_that_answers_nothing_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    holding(0.0001, monkeypatch)
    with pytest.raises(VmError, match="no request was answered"):
        list(http.climb([Endpoint("127.0.0.1", 1)], ("/",), turn()))


def test_linux_needs_a_processor_or_its_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    (in_vm,) = (peer for peer in peers.chosen("static") if peer.name == "linux-nginx")
    (nginx,) = (peer for peer in peers.chosen("static") if peer.name == "nginx")
    both = Options(accels=("kvm", "tcg"))
    monkeypatch.setattr(surroundings, "kvm_kind", lambda: "without hardware virtualisation")
    assert contest.accels_of(in_vm, both) == ("tcg",)
    assert len(contest.accels_of(nginx, both)) == 1
    monkeypatch.setattr(surroundings, "kvm_kind", lambda: "on hardware (vmx)")
    assert contest.accels_of(in_vm, both) == ("kvm", "tcg")


def fetches(argv: list[str], cwd: Path | None = None) -> str:
    raise AssertionError(f"--quick ran {argv}")


def test_what_cannot_be_prepared_is_left_out_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, absent = tmp_path / "mine.toml", tmp_path / "absent.toml"
    absent.write_text(
        'title = "Absent"\nkind = "process"\nserves = ["json"]\nprograms = ["no-such-server"]\ncommand = ["true"]\n'
    )
    monkeypatch.setattr(linux, "FOLDER", tmp_path / "linux")
    monkeypatch.setattr(linux, "_run", fetches)
    file.write_text('title = "Mine"\nkind = "own"\nserves = ["json"]\ncommand = ["true"]\n')
    monkeypatch.setattr(running.unixport, "build", lambda: None)
    monkeypatch.setattr(contest.spaces, "why_none", lambda: "network namespaces need root")
    experiment = http.prepare(Options(quick=True, accels=("tcg",), peers=(file, absent)))
    why = {one.name: one.why for one in experiment.left_out}
    assert why["Mine: JSON"] == "it needs a tap"
    assert why["CPython, tuned Linux microVM: JSON"] == why["Absent: JSON"] == "--quick fetches nothing"
    assert why["Floe, KVM: files"] == why["Floe, KVM: JSON"] != ""
    assert {
        why[name] for name in ("rates above 500/s", "fastest, 500 connections", "2 and more VMs at once", "a proxy")
    } == {"not in --quick"}
    assert "fastest, 32 connections" not in why
    assert why["taps"].startswith("network namespaces need root; all is on loopback")
    names = {contender.name for contender in experiment.contenders}
    assert {"Floe, TCG: JSON", "Floe, TCG: files", CPYTHON, "MicroPython, process: JSON"} <= names
    assert {contender.against for contender in experiment.contenders} - names == {""}  # each is there
    commands = {contender.name: contender.command for contender in experiment.contenders}
    assert commands[CPYTHON] == "'{python}' '{script}'"
    assert shlex.split(commands["Floe, TCG: JSON"])[-3:] == ["-p", "0:80", str(http.APPS["json"].app)]
    assert all(commands.values())


@pytest.mark.parametrize(("quick", "tap", "left_out"), [
    (True, True, {"Floe, KVM": "--accel names another", "Floe, TCG, user network": "not in --quick"}),
    (False, True, {"Floe, KVM": "--accel names another"}),
    (True, False, {"Floe, KVM": "--accel names another"}),
])  # fmt: skip
def test_an_accelerator_and_a_network_are_not_left_out_silently(
    quick: bool, tap: bool, left_out: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests.accel, "choose", lambda wanted: ("kvm", ""))
    monkeypatch.setattr(peers, "chosen", lambda service, more: [])
    app = http.APPS["static"]
    make = partial(http._contender, "static")
    found, without = contest.contenders(app, "", Options(quick=quick, accels=("tcg",)), tap, make)
    assert {one.name: one.why for one in without} == left_out
    assert ("Floe, TCG, user network" in {one.name for one in found}) == (tap and not quick)


def first(experiment_name: str) -> list[Reading]:
    experiment = http.prepare(Options(quick=True, accels=("tcg",)))
    (contender,) = (one for one in experiment.contenders if one.name == experiment_name)
    return list(contender.measure(turn(quick=True)))


@pytest.mark.parametrize("name", [CPYTHON, "Floe, TCG: files"])
def test_a_round_of_a_contender(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.unixport, "build", lambda: None)  # not needed here, and takes a minute
    readings = first(name)
    assert readings[0].at == "100/s" and readings[-1].at == "fastest, 32 connections"
    assert all(0 < reading.values["p50_ms"] <= reading.values["p999_ms"] for reading in readings)


def test_the_load_has_one_address_and_may_have_all_connections(accel: str) -> None:
    """images/web lets one address have three quarters of them and closes its longest waiting one beyond that."""
    with running.ours(http.APPS["static"], accel, time.monotonic() + 120, tap=False) as endpoint, ExitStack() as stack:

        def ask(one: HTTPConnection) -> None:
            one.request("GET", "/robots.txt")
            with one.getresponse() as answer:
                assert answer.status == 200 and answer.read()

        held = []
        for _ in range(400):
            one = stack.enter_context(closing(HTTPConnection(endpoint.address, endpoint.port, timeout=60)))
            ask(one)
            one.auto_open = 0
            held.append(one)
        ask(held[0])


def test_of_vms_behind_a_proxy_that_knows_all_of_them_the_proxy_is_asked(
    accel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Endpoint]] = []

    def climb(endpoints: list[Endpoint], paths: object, turn: Turn) -> list[Reading]:
        asked.append(endpoints)
        load = Load(1.0, rate=20, connections=4, timeout_s=30)
        counted = httpload.put(load, [(one.address, one.port) for one in endpoints])
        assert counted.errors == 0, counted
        return []

    started: list[running.App] = []
    ours = running.ours

    def noted(app: running.App, *words: object, **more: object) -> object:
        started.append(app)
        return ours(app, *words, **more)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(running, "ours", noted)
    monkeypatch.setattr(http, "climb", climb)
    contender = http._behind(2, accel, http.APPS["static"])
    assert contender.name.startswith("2 VMs behind a proxy of Floe, ") and contender.against.startswith("Floe, ")
    assert "UPSTREAMS=10.0.2.2:8081,10.0.2.2:8082" in contender.command
    assert list(contender.measure(turn())) == []
    assert [len(endpoints) for endpoints in asked] == [1]
    assert [str(app.env.get("UPSTREAMS", "")).count("10.0.2.2:") for app in started] == [0, 0, 2]


def test_without_gcc_nothing_is_booted_in_vain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiled, "FOLDER", tmp_path)
    monkeypatch.setattr(compiled.shutil, "which", lambda name, **more: None)
    with pytest.raises(NotFound, match=r"httpload\.c needs gcc"):
        http.prepare(Options(quick=True, accels=("tcg",)))


def processes_of(session: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append((stat.parent / "cmdline").read_text().replace("\0", " "))
    return found


def test_after_ctrl_c_there_is_a_report_and_no_process_or_namespace(tmp_path: Path) -> None:
    """A peer that ignores SIGTERM runs when the signal comes; as its process group is another, it is looked for by name."""
    mark = f"floe-bench-test-{os.getpid()}"
    script = f"trap '' TERM; echo {mark} up; while :; do sleep 1; done"
    (tmp_path / "mine.toml").write_text(
        'title = "Mine"\nkind = "process"\nserves = ["json"]\n'
        f'command = ["sh", "-c", "{script}"]\nready = "{mark} never"\nready_s = 100\nstop_s = 0.1\n'
    )
    code = (
        "import sys\nfrom floe.bench import unixport\nfrom floe.cli.start import main\nunixport.build = lambda: None\n"
        "from floe.bench import http\nhttp.APPS = {'json': http.APPS['json']}\n"
        "from floe.bench import peers\npeers.FOLDER = peers.FOLDER / 'none'\n"
        f"sys.argv = ['floe', 'bench', 'http', '--quick', '--accel', 'tcg', '--peer', {str(tmp_path / 'mine.toml')!r},"
        f" '-o', {str(tmp_path / 'out')!r}]\nsys.exit(main())\n"
    )
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 150
        while "Mine: JSON (" not in said.read_text() or not running_with(mark):
            assert process.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130, said.read_text()
    finally:
        process.kill()
        process.wait()
    assert processes_of(process.pid) == []
    assert running_with(mark) == []
    assert not list(Path("/run/netns").glob(f"floe-{process.pid}-*"))
    report = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert re.search(r"interrupted", said.read_text()) and report


def running_with(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_text()
        except OSError:
            continue
        if f"echo {mark} up" in text and "floe.cli.start" not in text:
            found.append(text)
    return found
