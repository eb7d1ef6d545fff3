# SPDX-License-Identifier: MIT
"""tools/floe/fleet/move.py and `floe move`: a VM goes on on another host, with all that it has said; or stays, and why."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from floe.cli import main as cli
from floe.errors import EXIT_FLOE, FloeError
from floe.fleet import connection, move, why
from floe.fleet.console import Line, Log
from floe.fleet.domain import CONSOLE
from floe.fleet.vms import Vms
from floe.hosts import table
from floe.hosts.table import LibvirtHost
from floe.spec.handover import Blob
from tests.support.command import failure
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts

Floe = Callable[..., tuple[str, str]]
TICKS = """
import time

n = 0
while True:
    print("tick", n)
    n += 1
    time.sleep(0.02)
"""
ECHO = """
import asyncio


async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def main():
    async with await asyncio.start_server(serve, "0.0.0.0", 7) as server:
        await server.wait_closed()


asyncio.run(main())
"""
HANDED = """
import os
import sys

import floe

print(floe.secret("token"))
for line in sys.stdin:
    print(line.strip(), floe.secret("token"), floe.secrets(), os.getenv("A"), os.getenv("B"))
"""
WEB = """
import asyncio

ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n"
connected = 0


async def serve(reader, writer):
    global connected
    connected += 1
    print("connected", connected)
    while await reader.readline():
        while await reader.readline() != b"\\r\\n":
            pass
        writer.write(ANSWER)
        await writer.drain()


async def main():
    async with await asyncio.start_server(serve, "0.0.0.0", 80) as server:
        await server.wait_closed()


asyncio.run(main())
"""
LONG_S = 5.0  # for a pause that is no failure on a busy machine; docs/hosts.md has what was measured
WAIT_S = 60.0  # for what comes at some time
CLIENTS, LOAD_S = 4, 60
MARKER = bytes(range(200, 232))  # its digits are in the memory of a VM, and in no frame by chance


@pytest.fixture(scope="module")
def pair(hosts: LibvirtHosts) -> Iterator[tuple[Vms, Vms]]:
    """The VMs of both hosts, over connections that stay."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hosts.environment.items():
            patch.setenv(name, value)
        with connection.open(EAST) as east, connection.open(WEST) as west:
            yield Vms(east), Vms(west)


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory, build: Callable[..., Path]) -> Path:
    app = tmp_path_factory.mktemp("app") / "ticks.py"
    app.write_text(TICKS)
    return build(app)


@pytest.fixture
def floe(known: LibvirtHosts, pair: tuple[Vms, Vms], capfd: pytest.CaptureFixture[str]) -> Iterator[Floe]:
    """`floe` in this process: what it says on standard output and error. No VM is left."""

    def run(*words: str | Path, code: int = 0) -> tuple[str, str]:
        got = cli.run([str(word) for word in words])
        out, err = capfd.readouterr()
        assert got == code, err
        return out, err

    yield run
    for vms in pair:
        for vm in vms.all():
            vms.remove(vm.name, force=True)


def counted(vms: Vms) -> list[int]:
    """What the VM has said."""
    vm = vms.find("ticks")
    said = vms.host.ask(Log(vms.store, vm.uuid + CONSOLE).news).decode()
    return [int(line.split()[1]) for line in said.rpartition("\n")[0].splitlines()]


def goes_on(vms: Vms) -> None:
    """It runs there, and nothing that it has said is lost, twice there or out of order."""
    before = counted(vms)
    end = time.monotonic() + WAIT_S
    while len(found := counted(vms)) <= len(before):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert found == list(range(len(found)))


def until_said(vms: Vms, text: str) -> str:
    """All that its VM `ticks` has said, once that is in it."""
    log = Log(vms.store, vms.find("ticks").uuid + CONSOLE)
    end, said = time.monotonic() + WAIT_S, ""
    while text not in said:
        assert time.monotonic() < end, said
        said += vms.host.ask(log.news).decode()
        time.sleep(0.05)
    return said


def files(known: LibvirtHosts, name: str) -> list[str]:
    """What is there of VMs, which images are not."""
    found = known.run(name, "ls", "/var/lib/libvirt/floe").split()
    return [file for file in found if not file.endswith((".elf", ".whole"))]


def connected_to(address: str, port: int = 7) -> socket.socket:
    """As soon as it listens."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return socket.create_connection((address, port), LONG_S)
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_there_and_back(known: LibvirtHosts, pair: tuple[Vms, Vms], floe: Floe, ticks: Path, accel: str) -> None:
    east, west = pair
    floe("run", "--host", EAST, "-d", "--name", "ticks", "--accel", accel, ticks)
    goes_on(east)
    told = json.loads(floe("move", "--host", EAST, "--json", "ticks", WEST)[0])
    assert (told["host"], told["state"], told["accel"]) == (WEST, "running", accel)
    assert 0 < told["pause"] < LONG_S
    assert east.all() == [] and files(known, EAST) == []
    goes_on(west)
    out, err = floe("move", "--host", WEST, "ticks", EAST)
    assert out == "ticks\n" and err.startswith("floe: ticks is on east; it stood still for ")
    assert west.all() == [] and files(known, WEST) == []
    goes_on(east)


@pytest.mark.any_accel
def test_a_connection_goes_with_it(known: LibvirtHosts, floe: Floe, tmp_path: Path) -> None:
    """To a VM on a bridge: nobody at its other end notices, but for the pause."""
    app, address = tmp_path / "echo.py", f"{known.addresses[EAST].rpartition('.')[0]}.50"
    app.write_text(ECHO)
    card = {known.bridge(name) for name in (EAST, WEST)}.pop()
    floe("run", "--host", EAST, "-d", "--name", "echo", "--net", f"bridge:{card},ip={address}/24", app)
    over = threading.Event()

    def talk(connected: socket.socket) -> int:
        answers = connected.makefile("rb")
        for number in itertools.count():
            if over.is_set():
                return number
            connected.sendall(b"%d\n" % number)
            assert answers.readline() == b"%d\n" % number
            time.sleep(0.002)
        raise AssertionError("it counts for ever")

    with ThreadPoolExecutor(1) as pool, connected_to(address) as sock:
        talking = pool.submit(talk, sock)
        try:
            floe("move", "--host", EAST, "echo", WEST)
            floe("move", "--host", WEST, "echo", EAST)
        finally:
            over.set()
        assert talking.result(WAIT_S) > 100


@pytest.mark.any_accel
def test_no_request_fails_while_it_moves(
    known: LibvirtHosts, pair: tuple[Vms, Vms], floe: Floe, tmp_path: Path
) -> None:
    """Of a constant load, and no connection ends. -rP shows how long it stood still, and what clients saw of it."""
    if shutil.which("wrk") is None:
        pytest.skip("SKIP: wrk is not installed")
    app, address = tmp_path / "web.py", f"{known.addresses[EAST].rpartition('.')[0]}.51"
    app.write_text(WEB)
    card = {known.bridge(name) for name in (EAST, WEST)}.pop()
    where = ("--net", f"bridge:{card},ip={address}/24", "--memory", "8M")
    floe("run", "--host", EAST, "-d", "--name", "ticks", *where, app)
    connected_to(address, 80).close()
    accepted = 1 + 1 + CLIENTS  # this one, and one by which wrk tries the address first
    argv = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{LOAD_S}s", f"--timeout={LOAD_S}s", f"http://{address}/"]
    wrk = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        until_said(pair[0], f"connected {accepted}\n")
        pause = json.loads(floe("move", "--host", EAST, "--json", "ticks", WEST)[0])["pause"]
        wrk.send_signal(signal.SIGINT)
        report, _ = wrk.communicate(timeout=LOAD_S)
    finally:
        wrk.kill()
        wrk.wait()
    print(f"it stood still for {pause * 1000:.0f} ms", report, sep="\n")
    assert wrk.returncode == 0 and int(re.search(r"(\d+) requests in", report)[1]) > 100
    assert "Socket errors" not in report and "Non-2xx" not in report
    assert until_said(pair[1], "connected").count("connected") == accepted


@pytest.mark.any_accel
def test_its_memory_is_seen_by_nobody(known: LibvirtHosts, floe: Floe, tmp_path: Path) -> None:
    """Who hears all that goes between the hosts finds in it what the VM knows where --address has it go in plain, and
    not where it goes by ssh."""
    app = tmp_path / "known.py"
    app.write_text(f"import time\nknown = b'{MARKER.hex()}' * 4000\nprint('up')\nwhile True:\n    time.sleep(1)\n")
    floe("run", "--host", EAST, "-d", "--name", "ticks", "--memory", "8M", app)
    for words, target, source, heard in (
        ((), WEST, EAST, False),
        (("--address", known.addresses[EAST]), EAST, WEST, True),
    ):
        with overheard(known.links[WEST]) as frames:
            floe("move", "--host", source, *words, "ticks", target)
        assert len(frames) > 100
        assert any(MARKER.hex().encode() in frame for frame in frames) == heard


@pytest.mark.parametrize("ends", [("xen", "west"), ("west", "xen")])
def test_under_xen_xl_moves(ends: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked: neither host is there."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    table.add("xen", "xen+ssh://root@dom0.invalid/system")
    table.add("west", "qemu+ssh://west.invalid/system")
    source, target = ends
    said = failure("move", "--host", source, "clock", target, code=125)
    assert said[0] == "xen is a dom0: floe moves no VM to one or from one"
    assert said[2].startswith("by hand, from one dom0 to another: xl migrate clock DOM0; else stop it")
    script = tmp_path / "a.py"
    script.write_text("")
    for words in (("run", "--host", "xen", script), ("stop", "--host", "xen", "clock")):
        assert failure(*words, code=125)[0] == "xen is a dom0: floe starts VMs on one from there alone"
    (tmp_path / "compose.toml").write_text('name = "s"\nhosts = ["west", "xen"]\n[vm.a]\napp = "a.py"\n')
    assert failure("compose", "plan", tmp_path, code=125)[0] == "xen is a dom0: floe starts VMs on one from there alone"


def test_where_no_ssh_goes(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A host that is this machine wants an address."""
    here = LibvirtHost("here", "qemu", "system")
    monkeypatch.setattr(connection, "open", lambda name: nullcontext(SimpleNamespace(name=name, place=here)))
    assert cli.run(["move", "--host", "here", "web", "there"]) == EXIT_FLOE
    err = capfd.readouterr().err
    assert err.startswith("floe: here is this machine, to which no ssh goes\n") and "--address ADDR: of there," in err


@contextmanager
def overheard(device: str) -> Iterator[list[bytes]]:
    """All frames of a device; the list is whole at the end."""
    frames: list[bytes] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:  # ETH_P_ALL
        sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        sock.bind((device, 0))
        sock.settimeout(0.1)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    frames.append(sock.recv(1 << 16))

        with ThreadPoolExecutor(1) as pool:
            listening = pool.submit(listen)
            try:
                yield frames
            finally:
                over.set()
                listening.result(WAIT_S)


@pytest.mark.any_accel
def test_what_stays(
    known: LibvirtHosts, pair: tuple[Vms, Vms], floe: Floe, ticks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    east, west = pair
    floe("run", "--host", EAST, "-d", "--name", "ticks", ticks)
    nowhere = f"{known.addresses[WEST].rpartition('.')[0]}.77"
    _, err = floe("move", "--host", EAST, "--address", nowhere, "ticks", WEST, code=126)
    assert err.startswith("floe: ticks stays on east: ") and f"at {nowhere}, ports 49152 to 49215" in err
    goes_on(east)
    ends = move.Tunnel(9, SimpleNamespace(last=lambda: "open failed"))  # nothing leads there
    with monkeypatch.context() as patch:
        patch.setattr(move, "through_here", lambda source, target: nullcontext(ends))
        _, err = floe("move", "--host", EAST, "ticks", WEST, code=126)
    assert err.startswith("floe: ticks stays on east: ") and "(open failed)\n" in err
    assert "by ssh it goes to 127.0.0.1:9 of west: its sshd must allow that (AllowTcpForwarding)" in err
    goes_on(east)
    assert west.all() == [] and files(known, WEST) == []

    floe("run", "--host", WEST, "-d", "--name", "ticks", ticks)
    with pytest.raises(FloeError, match=r"^west has a VM ticks already$"):
        move.move("ticks", east.host, west.host, nowhere)
    west.stop("ticks", 0)
    with pytest.raises(FloeError, match=r"^ticks cannot move while it runs: it is ended$") as e:
        move.move("ticks", west.host, east.host, nowhere)
    assert e.value.hint.startswith("floe stop --host west ticks && floe rm --host west ticks\nfloe run --host east ")


@pytest.mark.any_accel
def test_what_does_not_fit(pair: tuple[Vms, Vms], floe: Floe, ticks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypervisors that differ, and what it was not handed."""
    east, west = (vms.host for vms in pair)
    floe("run", "--host", EAST, "-d", "--name", "ticks", ticks)
    with pytest.raises(FloeError, match="was handed no variables and no secrets: it moves with the same, which east "):
        move.move("ticks", east, west, "", [Blob("secret/token", b"hidden")])
    versions = iter(("7.2.22", "10.0.0"))
    monkeypatch.setattr(why, "dotted", lambda version: next(versions))
    with pytest.raises(FloeError, match=r"while it runs: east has QEMU 7\.2\.22, west QEMU 10\.0\.0"):
        move.move("ticks", east, west, "")


@pytest.mark.any_accel
def test_what_it_was_handed(
    known: LibvirtHosts, pair: tuple[Vms, Vms], floe: Floe, build: Callable[..., Path], tmp_path: Path
) -> None:
    """Is read again on the other host, where it lies in no file either; a client that does not have it moves nothing."""
    east, west = pair
    app, secret, variables = (tmp_path / name for name in ("handed.py", "secret", "variables"))
    app.write_text(HANDED)
    secret.write_bytes(b"hidden")
    variables.write_text("A=one\n")
    given = ("--secret", f"token={secret}", "--env-file", variables, "-e", "B=two")
    floe("run", "--host", EAST, "-d", "--name", "ticks", *given, build(app))
    assert until_said(east, "hidden'") == "b'hidden'\n"

    with pytest.raises(FloeError, match="was handed variables and the secret token at its start: it moves ") as e:
        move.move("ticks", east.host, west.host, "", [Blob("secret/token", b"hidden")])
    again = "--env-file FILE|-e K=V --env-file FILE|-e K=V --secret token=FILE ticks west"
    assert e.value.hint == f"floe move --host east {again}"
    others = [Blob("secret/token", b"hidder"), Blob("env/0", b"A=one\n"), Blob("env/1", b"B=two\0")]
    with pytest.raises(FloeError, match="was handed other variables or secrets at its start than it is given now"):
        move.move("ticks", east.host, west.host, "", others)
    assert west.all() == []

    floe("move", "--host", EAST, *given[2:], *given[:2], "ticks", WEST)
    assert east.all() == [] and files(known, EAST) == []
    assert not [file for file in files(known, WEST) if ".handed" in file]
    line = Line(west, west.find("ticks"))
    line.send(b"asked\n")
    assert "asked b'hidden' ['token'] one two\n" in until_said(west, " two")
    line.close()
    west.stop("ticks", 0)
    _, err = floe("start", "--host", WEST, "ticks", code=125)
    assert err.startswith("floe: ticks was handed variables or secrets, which west does not keep\n")


@pytest.mark.any_accel
@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_interrupted(
    pair: tuple[Vms, Vms], floe: Floe, ticks: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """At once, or when it may have arrived: it is on one of both, and runs."""
    floe("run", "--host", EAST, "-d", "--name", "ticks", ticks)
    wait, interrupts = move._Steps.wait, iter([seconds])

    def waiting(steps: move._Steps, until: float) -> None:
        for delay in interrupts:
            time.sleep(delay)
            raise KeyboardInterrupt
        wait(steps, until)

    monkeypatch.setattr(move._Steps, "wait", waiting)
    floe("move", "--host", EAST, "ticks", WEST, code=130)
    (where,) = [vms for vms in pair if vms.all()]
    goes_on(where)
