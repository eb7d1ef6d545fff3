# SPDX-License-Identifier: MIT
"""tools/floe/fleet/snapshot.py: `floe snapshot --host` and `floe run --host --from`: VMs that go on, each a machine of
its own, the original too; or why not, and then nothing is left."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from floe.errors import EXIT_FLOE, EXIT_INTERRUPTED, EXIT_REFUSED, HostError
from floe.family.capture import Captured
from floe.family.copies import PrivateDisks
from floe.family.frames import KEPT, Kind, encode
from floe.fleet import driver, snapshot, store
from floe.fleet.mark import Mark
from floe.fleet.vms import There, Vms
from floe.snapshot import file
from floe.snapshot.file import Snapshot
from floe.spec.network import Card
from floe.spec.vmspec import VmSpec
from tests.support import hostedvms
from tests.support.command import FLOE
from tests.support.hostedvms import Hosted
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts

COUNTS = """
import machine, network, os, random, sys, time
import vm

n, last = 0, None


@vm.before_fork
def before():
    if n < 0:
        raise ValueError("not now")


@vm.after_fork
def another():
    print("another", network.hostname(), machine.unique_id().hex(), random.getrandbits(30), os.getpid())
    global last
    last = n + 5 if "ends" in sys.argv else None


try:
    os.fork()
except OSError as e:
    print("alone", e.errno, os.getpid(), sys.argv[1:])
while n != last:
    n += 1
    print("count", n)
    time.sleep(0.05)
sys.exit(7)
"""
REFUSES = COUNTS.replace("n < 0", "n > 0")
WAIT_S = 60.0
ENOSYS = 38
MAC = "02:00:00:00:00:07"


@pytest.fixture
def floe(known: LibvirtHosts, capsys: pytest.CaptureFixture[str]) -> Iterator[Hosted]:
    yield from hostedvms.hosted(known, capsys)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory, build: Callable[..., Path]) -> Path:
    app = tmp_path_factory.mktemp("app") / "counts.py"
    app.write_text(COUNTS)
    return build(app)


def said(floe: Hosted, host: str, name: str, wanted: str) -> list[str]:
    """The lines of its log, once one is like this."""
    end = time.monotonic() + WAIT_S
    while not re.search(wanted, text := floe("logs", "--host", host, name), re.M):
        assert time.monotonic() < end, text
        time.sleep(0.1)
    return text.splitlines()


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("count ")]


def files_of_states(floe: Hosted, *hosts: str) -> list[str]:
    return [name for host in hosts for name in floe.files(host) if name.endswith(".state")]


def test_each_that_goes_on_is_a_machine_of_its_own_there_and_on_a_host_like_it(
    floe: Hosted, counts: Path, tmp_path: Path
) -> None:
    floe("run", "--host", EAST, "-d", "--name", "first", counts, "--", "a b", "c")
    begun = said(floe, EAST, "first", "^count 3$")
    assert begun[0] == f"alone {ENOSYS} 1 ['a b', 'c']", "a VM of a host begets none"
    kept = tmp_path / "kept"
    assert floe("snapshot", "--host", EAST, "first", kept) == f"{kept}\n"
    assert re.fullmatch(r"floe: first as of now, [0-9.]+ MiB on disk\n", floe.said)
    assert kept.stat().st_mode & 0o777 == 0o600

    last = numbers(said(floe, EAST, "first", "^count 3$"))[-1]
    went_on = said(floe, EAST, "first", f"^count {last + 2}$")
    assert numbers(went_on) == list(range(1, len(went_on))) and not any(line.startswith("another") for line in went_on)

    assert floe("run", "--host", EAST, "-d", "--name", "copy", "-n", "2", "--from", kept) == "copy\ncopy-2\n"
    floe("snapshot", "--host", EAST, "copy", kept)  # a copy is kept in turn, and the first one again
    floe("run", "--host", WEST, "-d", "--name", "far", "-p", "18080:80", "--from", kept)
    floe("snapshot", "--host", EAST, "first", kept)
    seen = []
    for host, name in ((EAST, "copy"), (EAST, "copy-2"), (WEST, "far")):
        first, *rest = said(floe, host, name, "^count [0-9]+$")
        word, hostname, own, drawn, pid = first.split()
        assert (word, hostname, pid) == ("another", name, "1")
        assert numbers(rest)[0] > 3, "it goes on from where the first one was"
        seen.append((own, drawn))
    assert [len(set(each)) for each in zip(*seen, strict=True)] == [3, 3], "numbers that two machines share"
    found = {vm["name"]: vm for vm in floe.ps(EAST, WEST)}
    assert [own for own, _ in seen] == [found[name]["uuid"].replace("-", "") for name in ("copy", "copy-2", "far")]
    assert [(port["host"], port["guest"]) for port in found["far"]["ports"]] == [(18080, 80)]
    floe("rm", "--force", "--host", EAST, "copy")
    words = ("--json", "--name", "copy", "-n", "2", "--from", kept)
    told = json.loads(floe("run", "--host", EAST, "-d", *words, code=EXIT_FLOE))
    assert floe.said.startswith("floe: --name copy-2: there is a running VM of that name on east\n")
    assert [vm["name"] for vm in told] == ["copy"]
    assert files_of_states(floe, EAST, WEST) == []


def test_its_console_is_here_and_its_exit_code_is_the_script_s(floe: Hosted, counts: Path, tmp_path: Path) -> None:
    """Of a PC, too, with two cards, each of which has what it had."""
    words = ("--machine", "q35", "--net", "user", "--net", f"user,ip=10.9.0.5/24,dns=10.9.0.9,mac={MAC}")
    floe("run", "--host", EAST, "-d", "--name", "first", *words, counts, "--", "ends")
    said(floe, EAST, "first", "^count 3$")
    kept = tmp_path / "kept"
    floe("snapshot", "--host", EAST, "first", kept)
    argv = [*FLOE, "run", "--host", EAST, "--from", str(kept)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("another ") and done.stdout.count("count ") == 5
    opened = Snapshot.open(kept)
    opened.close()
    plan = opened.content.plan
    assert plan.cards == (
        Card(ip="10.0.2.15/24", gateway="10.0.2.2", dns="10.0.2.3"),
        Card(ip="10.9.0.5/24", gateway="10.9.0.2", dns="10.9.0.9", mac=MAC),
    )
    assert plan.switches == ("floe.unserved=1", "--", "ends")


def test_who_is_not_kept_goes_on(
    floe: Hosted, tmp_path: Path, build: Callable[..., Path], counts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = {"plain": "import time\nprint('up')\ntime.sleep(600)\n", "refuses": REFUSES}
    for name, text in scripts.items():
        (tmp_path / f"{name}.py").write_text(text)
        floe("run", "--host", EAST, "-d", "--name", name, build(tmp_path / f"{name}.py"))
    floe("run", "--host", EAST, "-d", "--name", "told", "-e", "A=b", counts)
    kept = tmp_path / "kept"
    for name, problem in (
        ("plain", "plain does not fork, and cannot be copied: nothing in it imports vm"),
        ("told", "told was handed variables at its start, which east does not keep"),
    ):
        floe("snapshot", "--host", EAST, name, kept, code=EXIT_FLOE)
        assert floe.said.startswith(f"floe: {problem}\n")
    before = numbers(said(floe, EAST, "refuses", "^count 1$"))[-1]
    floe.hosts.run(EAST, "virsh", "suspend", "refuses")
    floe("snapshot", "--host", EAST, "refuses", kept, code=EXIT_FLOE)
    assert floe.said == "floe: refuses is paused on east\n  try: there: virsh resume refuses\n"
    floe.hosts.run(EAST, "virsh", "resume", "refuses")
    floe("snapshot", "--host", EAST, "refuses", kept, code=EXIT_REFUSED)
    assert floe.said.startswith("floe: the script does not let itself be copied\n")
    assert "ValueError: not now" in said(floe, EAST, "refuses", f"^count {before + 2}$")
    monkeypatch.setattr(snapshot, "_STREAM", b"????")  # as with a dump_image_format
    floe("rm", "--force", "--host", EAST, "told")
    floe("run", "--host", EAST, "-d", "--name", "again", counts)
    before = numbers(said(floe, EAST, "again", "^count 1$"))[-1]
    floe("snapshot", "--host", EAST, "again", kept, code=EXIT_REFUSED)
    assert floe.said.startswith("floe: east does not give the state of again as it is\n")

    def broken(vms: Vms, vm: There) -> None:
        dump(vms, vm)
        raise HostError("no room")

    dump = snapshot._dump
    monkeypatch.setattr(snapshot, "_dump", broken)
    floe("snapshot", "--host", EAST, "again", kept, code=EXIT_REFUSED)
    assert floe.said.startswith("floe: no room\n")
    before = numbers(said(floe, EAST, "again", f"^count {before + 1}$"))[-1]
    lines = said(floe, EAST, "again", f"^count {before + 2}$")
    assert not any(line.startswith("another") for line in lines)
    assert not kept.exists() and files_of_states(floe, EAST) == []


def test_what_does_not_fit_is_not_begun(
    floe: Hosted, counts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    floe("run", "--host", EAST, "-d", "--name", "first", counts)
    said(floe, EAST, "first", "^count 1$")
    kept = tmp_path / "kept"
    floe("snapshot", "--host", EAST, "first", kept)
    floe("rm", "--force", "--host", EAST, "first")
    run = ("run", "--host", EAST, "-d", "--from", kept)
    for words, problem in (
        (("--machine", "q35"), f"{kept} cannot go on on east"),
        (("-n", "2", "-p", "8080:80"), "-n 2: -p is for one VM of a host"),
        (("--restart", "always"), "--restart: a VM that goes on from a snapshot has what that one had"),
    ):
        floe(*run, *words, code=EXIT_FLOE)
        assert floe.said.startswith(f"floe: {problem}\n"), floe.said
    floe(*run, "--machine", "q35", "--hypervisor", "qemu", code=EXIT_FLOE)
    assert re.search(r"the snapshot +east\n +machine +microvm +q35\n", floe.said) and "hypervisor" not in floe.said
    assert floe.said.endswith("  try: make it anew on east: floe snapshot --host east NAME FILE\n")
    floe("run", "--host", EAST, "--name", "a", "--from", kept, code=EXIT_FLOE)
    assert floe.said.endswith(f"  try: floe run --detach --name a --host east --from {kept}\n")
    floe("run", "--from", kept, code=EXIT_FLOE)
    assert floe.said.startswith(f"floe: {kept} was made on a host\n")

    opened = Snapshot.open(kept)
    spec, key = opened.content.plan, opened.content.key
    floe(*run[:-1], written(tmp_path, opened, spec, key | {"version": "QEMU 1.0.0"}), code=EXIT_FLOE)
    assert re.search(r"the snapshot +east\n", floe.said) and "QEMU 1.0.0" in floe.said
    with monkeypatch.context() as patch:
        patch.setattr(driver, "_why_no_kvm", lambda host: f"{host.name} has no /dev/kvm")
        floe(
            *run[:-1], written(tmp_path, opened, replace(spec, accel="kvm"), key | {"accel": "kvm"}), code=EXIT_REFUSED
        )
        assert floe.said.startswith("floe: KVM does not serve on east: east has no /dev/kvm\n")
    local = replace(spec, hypervisor="qemu", memory=0)
    floe(*run[:-1], written(tmp_path, opened, local, key), code=EXIT_FLOE)
    assert "was not made on a host of libvirt's" in floe.said
    for card in (
        Card("tap", "x"),
        Card(mac="02:00:00:00:00:01,romfile=/etc/passwd"),
        Card(ip="10.0.2.15/24,x"),
        Card(ip="10.0.2.15/24", gateway="nonsense"),
    ):
        floe(*run[:-1], written(tmp_path, opened, replace(spec, cards=(card,)), key), code=EXIT_FLOE)
        assert "was not made by floe snapshot" in floe.said
    floe(*run[:-1], written(tmp_path, opened, replace(spec, machine="pc"), key), code=EXIT_FLOE)
    assert "was not made by floe snapshot" in floe.said
    half = written(tmp_path, opened, spec, key, devices=opened.state.devices[: len(opened.state.devices) // 2])
    floe(*run[:-1], half, code=EXIT_REFUSED)
    assert "load of migration failed" in floe.said and floe.ps(EAST) == [] and floe.files(EAST) == []
    opened.close()


@pytest.fixture(params=[signal.SIGHUP, signal.SIGINT])
def ending(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """What ends a floe from outside; twice, as of an impatient user. Where floe does not take it, nothing does."""
    number = request.param
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    main = threading.main_thread().ident
    assert main is not None

    def end() -> None:
        for _ in range(2):
            signal.pthread_kill(main, number)
            time.sleep(0.2)  # else both are one

    yield end
    signal.signal(signal.SIGHUP, before)


class Broken:
    """A stream of libvirt's, in the midst of which something happens."""

    def __init__(self, stream: Any, happens: Callable[[], None]) -> None:
        self._stream = stream
        self._happens = [happens]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def recv(self, size: int) -> bytes:
        data: bytes = self._stream.recv(size)
        while self._happens:
            self._happens.pop()()
        return data


def test_of_what_is_ended_from_outside_nothing_is_left(
    floe: Hosted, counts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: Callable[[], None]
) -> None:
    """While the VM stands still, and it goes on; while its state is fetched; and while one is brought there."""
    floe("run", "--host", EAST, "-d", "--name", "first", counts)
    said(floe, EAST, "first", "^count 1$")
    kept = tmp_path / "kept"
    floe("snapshot", "--host", EAST, "first", kept)
    dump, restored = snapshot._dump, snapshot._restored

    def dumping(vms: Vms, vm: There) -> None:
        ending()
        dump(vms, vm)

    def restoring(*words: Any) -> None:
        ending()
        restored(*words)

    def fetching(connection: Any, volume: Any, offset: int, limit: int) -> bytes:
        if not volume.name().endswith(".state"):
            return download(connection, volume, offset, limit)
        made = SimpleNamespace(newStream=lambda: Broken(connection.newStream(), ending))
        return download(made, volume, offset, limit)

    download = store._download
    monkeypatch.setattr(snapshot, "_dump", dumping)
    monkeypatch.setattr(snapshot, "_restored", restoring)
    floe("snapshot", "--host", EAST, "first", tmp_path / "not", code=EXIT_INTERRUPTED)
    last = numbers(said(floe, EAST, "first", "^count 1$"))[-1]
    said(floe, EAST, "first", f"^count {last + 2}$")
    monkeypatch.setattr(snapshot, "_dump", dump)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_download", fetching)
        floe("snapshot", "--host", EAST, "first", tmp_path / "not", code=EXIT_INTERRUPTED)
    assert files_of_states(floe, EAST) == [] and not (tmp_path / "not").exists()
    own = floe.ps(EAST)[0]["uuid"]
    floe("run", "--host", EAST, "-d", "--name", "copy", "--from", kept, code=EXIT_INTERRUPTED)
    assert [vm["name"] for vm in floe.ps(EAST)] == ["first"]
    assert [name for name in floe.files(EAST) if not name.startswith(own) or name.endswith(".state")] == []


class Told:
    """A line at which a guest says this when it is asked, after much that nobody waits for."""

    def __init__(self, vms: Any, vm: Any, channel: str, heard: Callable[[bytes], None]) -> None:
        self._heard = heard
        self._answers = [
            [*([encode(Kind.GO)] * 1000), encode(Kind.FORK, KEPT)],
            [*([encode(Kind.GO)] * 1000), encode(Kind.FROZEN)],
            [],
        ]

    def send(self, data: bytes) -> None:
        for piece in self._answers.pop(0):
            self._heard(piece)

    def close(self) -> None:
        pass


def test_what_a_guest_says_beside_does_not_count_as_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "Line", Told)
    dumped = []
    vms, vm = cast(Vms, None), There(EAST, "a", "", Mark(app="", profile="", image="", memory=0), "running", "tcg", "")
    with snapshot._Guest(vms, vm) as guest:
        guest.kept(lambda: dumped.append(1))
    assert dumped == [1]


def written(folder: Path, opened: Snapshot, spec: VmSpec, key: dict[str, str], devices: bytes | None = None) -> Path:
    """A snapshot's file with something else in it."""
    image, path = folder / "image.elf", folder / "other"
    image.write_bytes(opened.read("elf"))
    with (folder / "nothing").open("wb") as nothing:
        captured = Captured(
            replace(spec, elf=image), nothing.fileno(), devices or opened.state.devices, PrivateDisks(()), "", ()
        )
        file.write(path, captured, blobs=(), app="app.py", key=key)
    return path
