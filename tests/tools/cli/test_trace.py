# SPDX-License-Identifier: MIT
"""`floe trace` on VMs that run: what they did is on the time line, and they do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from floe.cli import profile
from floe.cli import trace as verb
from floe.detached import control, tracing
from floe.detached.requests import Request
from floe.detached.tracing import Tracer
from floe.detached.vmprocess import VmProcess
from floe.errors import FloeError, VmError
from floe.store import vmfolder
from floe.store.vmfolder import Folder
from tests.support.command import FLOE, failure, floe
from tests.support.spaces import need_own_taps
from tests.support.vms import Vms, log, ps, until

# Asks its network for a name 50 times a second, which answers or does not, and leaves garbage behind.
SCRIPT = """
import gc
import socket
import time

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("at it")
while True:
    sock.sendto(b"x", ("10.0.2.2", 9))
    garbage = [bytes(100) for _ in range(100)]
    gc.collect()
    time.sleep_ms(20)
"""
ALONE = SCRIPT.replace("sock = ", "pass #").replace("sock.sendto", "pass #")
WAIT_S = 60


def begin(vms: Vms, tmp_path: Path, script: str, name: str, *words: str) -> None:
    (tmp_path / f"{name}.py").write_text(script)
    vms.run(tmp_path / f"{name}.py", "--name", name, *words)
    until(lambda: "at it" in log(name), "the script", WAIT_S)


def events(file: Path) -> dict[str, list[dict[str, Any]]]:
    """By track, each of which must be in the order of time."""
    told = json.loads(file.read_text())["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in told if event["name"] == "thread_name"}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for event in told:
        if event["ph"] != "M":
            found[names[event["tid"]]].append(event)
    for track in found.values():
        ends = 0.0
        for event in track:
            assert event["ts"] >= ends
            ends = round(event["ts"] + (event.get("dur", 0.0) if event["ph"] == "X" else 0.0), 3) - 0.01
    return found


def memory_is_read(name: str) -> bool:
    """Whether its keeper has it open."""
    folder = vmfolder.find(name)
    assert folder.keeper is not None and folder.vm is not None
    memory, found = f"/proc/{folder.vm.pid}/mem", set()
    for fd in Path(f"/proc/{folder.keeper.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed just now
            found.add(os.readlink(fd))
    return memory in found


@pytest.mark.parametrize(
    "words", [[], ["--dev", "--allow", "10.0.2.2:9/udp"]], ids=["sealed", "dev and held to --allow"]
)
def test_what_it_did_is_on_the_time_line(vms: Vms, tmp_path: Path, accel: str, words: list[str]) -> None:
    begin(vms, tmp_path, SCRIPT, "busy", "--accel", accel, *words)
    before = ps("busy")
    for seconds in ("0.1", "2"):  # nothing is left of the first one that would be in the way
        done = floe("trace", "busy", "-s", seconds, "-o", tmp_path / "busy.json")
        assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("busy: ")
    assert "the longest pause is of" in done.stdout
    tracks = events(tmp_path / "busy.json")
    assert len(tracks["processor"]) >= 5
    assert len(tracks["garbage collection"]) >= 5
    assert any("UDP 10.0.2.15:" in event["name"] for event in tracks["net0 out"])
    assert any("busy.py:" in event["name"] for event in tracks["Python (sampled)"])
    # Each collection is within a time in which the processor ran: both are of one clock.
    runs = [(event["ts"], event["ts"] + event["dur"]) for event in tracks["processor"]]
    for event in tracks["garbage collection"]:
        assert any(begin - 1 <= event["ts"] <= end + 1 for begin, end in runs)
    after = ps("busy")
    assert {key: after[key] for key in ("state", "pid", "resets", "restarts")} == {
        key: before[key] for key in ("state", "pid", "resets", "restarts")
    }


def test_a_vm_without_a_network_and_ctrl_c(vms: Vms, tmp_path: Path, accel: str) -> None:
    begin(vms, tmp_path, ALONE, "alone", "--accel", accel, "--net", "none")
    with subprocess.Popen([*FLOE, "trace", "alone", "-s", "600", "-o", str(tmp_path / "x.json")], stdout=-1) as process:
        until(lambda: memory_is_read("alone"), "its beginning", WAIT_S)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == (0 if said else 130), "it had heard something, or nothing yet"
    assert said.startswith(b"alone: ") or not said
    until(lambda: not memory_is_read("alone"), "its end", WAIT_S)
    done = floe("trace", "alone", "-s", "0.5", "-o", tmp_path / "x.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "net0" not in done.stdout and "garbage: collected" in done.stdout
    assert "net0 in" not in events(tmp_path / "x.json")


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_vm_that_ends_meanwhile_is_told_in_a_sentence(vms: Vms, tmp_path: Path, how: str) -> None:
    begin(vms, tmp_path, SCRIPT, "ends", "--accel", "tcg")
    with subprocess.Popen([*FLOE, "trace", "ends", "-s", "600"], stdout=-1, stderr=-1, text=True) as process:
        until(lambda: memory_is_read("ends"), "its beginning", WAIT_S)
        if how == "killed":
            ends = vmfolder.find("ends").vm
            assert ends is not None
            ends.signal(signal.SIGKILL)
        else:
            assert floe("stop", "ends", "--timeout", WAIT_S).returncode == 0
        said, why = process.communicate(timeout=WAIT_S)
    # Where it had not begun to look yet, nothing was seen.
    begun = why.startswith("floe: ends: it") and said.startswith("ends: ") and why.count("\n") == 1
    assert process.returncode == (0 if begun else 125), why
    assert "ended" in why or "the memory of ends cannot be read" in why
    until(lambda: ps("ends")["state"] != "running", "what its keeper makes of it", WAIT_S)
    end = ps("ends")["exit_code"], ps("ends")["cause"]
    assert (end == (1, "stopped")) == (how == "stopped"), "its script ended, and was not killed"
    cause, _, hint = failure("trace", "ends", code=125)
    assert (cause, hint) == ("ends has ended", "floe start ends")


def test_a_keeper_that_dies_leaves_nothing_that_is_in_the_way(vms: Vms, tmp_path: Path) -> None:
    begin(vms, tmp_path, SCRIPT, "busy", "--accel", "tcg")
    folder = vmfolder.find("busy")
    with subprocess.Popen([*FLOE, "trace", "busy", "-s", "600"], stdout=-1, stderr=-1, text=True) as process:
        until(lambda: memory_is_read("busy"), "its beginning", WAIT_S)
        keeper = folder.keeper
        assert keeper is not None
        keeper.signal(signal.SIGKILL)
        said, why = process.communicate(timeout=WAIT_S)
    ended = "it, or its keeper, has ended\n"
    code, told = (0, f"floe: busy: {ended}") if said else (125, f"floe: nothing of busy was seen: {ended}")
    assert process.returncode == code and why.startswith(told)
    assert ps("busy")["state"] == "running"
    vms.note(folder)
    done = floe("trace", "busy", "-s", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert " packets out, " in done.stdout


TAP = """
import subprocess, sys
make = "ip tuntap add dev floe0 mode tap && ip link set floe0 up && ip addr add 10.0.2.2/24 dev floe0"
subprocess.run(make, shell=True, check=True)
floe = [sys.executable, "-c", "from floe.cli.main import main; main()"]
app, out = sys.argv[1:]
net = ["--net", "tap:floe0,ip=10.0.2.15/24"]
subprocess.run([*floe, "run", "--detach", "--name", "tapped", "--accel", "tcg", *net, app], check=True, timeout=100)
try:
    subprocess.run([*floe, "trace", "tapped", "-s", "3", "-o", out], check=True, timeout=100)
finally:
    subprocess.run([*floe, "rm", "--force", "tapped"], check=True, timeout=100)
"""


def test_the_packets_of_a_tap_are_those_of_its_interface(tmp_path: Path) -> None:
    need_own_taps()
    (tmp_path / "tapped.py").write_text(SCRIPT)
    out = tmp_path / "tap.json"
    inside = ["unshare", "-rn", "--mount", "sh", "-c", 'mount -t sysfs none /sys && exec "$0" "$@"']
    argv = [*inside, sys.executable, "-c", TAP, str(tmp_path / "tapped.py"), str(out)]
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    tracks = events(out)
    assert any(event["name"].startswith("UDP 10.0.2.15:") for event in tracks["net0 out"])
    assert any(event["name"].startswith("ICMP 10.0.2.2 > 10.0.2.15") for event in tracks["net0 in"]), "nobody is there"
    assert not any(event["name"].startswith("UDP") for event in tracks["net0 in"])


def test_what_cannot_be_traced_is_told(vms: Vms, tmp_path: Path) -> None:
    assert failure("trace", "nothere", code=127)[0] == "there is no VM nothere"
    begin(vms, tmp_path, ALONE, "busy", "--accel", "tcg", "--net", "none")
    cause, _, _ = failure("trace", "busy", "-s", "600", "-o", tmp_path / "none" / "x.json", code=125)
    assert cause == f"cannot write {tmp_path}/none/x.json: No such file or directory"
    vmfolder.find("busy").image.write_bytes(Path("/bin/true").read_bytes())
    cause, _, hint = failure("trace", "busy", "-o", tmp_path / "x.json", code=125)
    assert cause == "the image of busy does not say when it waits"
    assert not (tmp_path / "x.json").exists()
    assert hint == "build it again: this floe's images do"


BEGIN = {"at": 10**9, "cards": {"0": True}, "notes": ["no packets of net1: so it is"]}
LOOK = {"at": [2 * 10**9, 2 * 10**9], "spans": [[1, 5, 7]], "packets": [], "stack": None, "lost": [0, 0]}


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ([{"over": ""}], ""),
        ([{"over": "it has ended, or was started anew"}], "floe: one: it has ended, or was started anew\n"),
        ([], "floe: one: it, or its keeper, has ended\n"),
        ([KeyboardInterrupt()], ""),
    ],
    ids=["time", "end", "keeper's end", "ctrl-c"],
)
def test_what_was_seen_is_printed_however_it_ends(monkeypatch: pytest.MonkeyPatch, end: list[Any], told: str) -> None:
    """Without a VM."""

    def trace(folder: Folder, seconds: float, rate: float) -> Iterator[dict[str, Any]]:
        for part in [BEGIN, {"looks": [LOOK]}, *end]:
            if isinstance(part, BaseException):
                raise part
            yield part

    monkeypatch.setattr(profile.control, "find", lambda name: (SimpleNamespace(name=name), None))
    monkeypatch.setattr(profile.control, "status", lambda folder: SimpleNamespace(alive=True))
    monkeypatch.setattr(control, "trace", trace)
    done = CliRunner().invoke(verb.command, ["one"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(told + "one: 1.0 s\n")
    assert "garbage: collected 1 times" in done.output
    assert done.output.endswith("no packets of net1: so it is\n")


@pytest.mark.parametrize(
    "told",
    [
        [{"at": "x", "cards": {}, "notes": []}],
        [BEGIN, {"looks": [{key: value for key, value in LOOK.items() if key != "spans"}]}],
        [BEGIN, {"looks": [LOOK | {"packets": [[0, True, 5, 60, "zz"]]}]}],
        [BEGIN, {"looks": [LOOK | {"packets": [[0, True, 10**400, 60, ""]]}]}],
        [BEGIN, {"over": [1]}],
    ],
    ids=["begin", "look", "head", "moment", "end"],
)
def test_what_is_no_trace_is_told_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: list[Any]
) -> None:
    monkeypatch.setattr(profile.control, "find", lambda name: (SimpleNamespace(name=name), None))
    monkeypatch.setattr(profile.control, "status", lambda folder: SimpleNamespace(alive=True))
    monkeypatch.setattr(control, "trace", lambda *args: (part for part in told))
    done = CliRunner().invoke(verb.command, ["one", "-o", str(tmp_path / "x.json")])
    assert isinstance(done.exception, VmError)
    assert done.exception.message.startswith("the keeper of one tells no trace: ")
    assert done.exception.hint == "its keeper may be another floe's: floe stop and floe start one"
    assert not (tmp_path / "x.json").exists()


def test_of_a_vm_that_ends_at_once_it_is_said_that_nothing_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile.control, "find", lambda name: (SimpleNamespace(name=name), None))
    monkeypatch.setattr(profile.control, "status", lambda folder: SimpleNamespace(alive=True))
    monkeypatch.setattr(control, "trace", lambda *args: (part for part in ()))
    done = CliRunner().invoke(verb.command, ["one"])
    assert isinstance(done.exception, FloeError)
    assert done.exception.message == "nothing of one was seen: it, or its keeper, has ended"


class Guest:
    """What is told of it is far more than a socket holds."""

    def __init__(self) -> None:
        self.count = 0

    def look(self) -> dict[str, Any]:
        self.count += 1
        return {"packets": [(0, True, self.count, 60, "00" * (1 << 18))]}


async def looked_on(guest: Guest, seconds: float, reads: bool) -> tuple[str, int]:
    """Why it ended, and how many looks there were while the listener had not read all that it was told."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        _, writer = await asyncio.open_connection(sock=ours)
        looking = asyncio.create_task(
            tracing._look_on(cast(Any, guest), Request(timeout=seconds, rate=100), writer, lambda: False)
        )
        before = 0
        while not looking.done():
            if writer.transport.get_write_buffer_size() == 0:
                before = guest.count
            await asyncio.sleep(0.01)
            with contextlib.suppress(BlockingIOError):
                if reads:
                    theirs.recv(1 << 16)
        writer.transport.abort()
        return looking.result(), guest.count - before


def test_whoever_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU would wait for the next look, and the guest with it."""
    monkeypatch.setattr(tracing, "_LISTENER_S", 2.0)
    why, looks = asyncio.run(looked_on(Guest(), 600, reads=False))
    assert why == "nobody listened for 2 s"
    assert looks >= 3


def test_whoever_reads_slowly_is_told_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_LISTENER_S", 1.0)
    monkeypatch.setattr(tracing, "_UNREAD", 1 << 40)
    why, looks = asyncio.run(looked_on(Guest(), 2.5, reads=True))
    assert why == ""
    assert looks >= 3


def test_a_vm_that_was_started_anew_is_told_so() -> None:
    async def scene() -> str:
        ours, theirs = socket.socketpair()
        with theirs:
            _, writer = await asyncio.open_connection(sock=ours)
            guest: Any = SimpleNamespace(look=dict, count=0)
            why = await tracing._look_on(guest, Request(timeout=600, rate=100), writer, lambda: True)
            writer.close()
            return why

    assert asyncio.run(scene()) == "it was started anew"


def test_two_at_once_would_see_each_others_packets(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []

    async def drain() -> None:
        await asyncio.sleep(0)

    async def both() -> None:
        tracer = Tracer(cast(Folder, SimpleNamespace(name="busy", image=tmp_path / "none.elf")))
        writer = SimpleNamespace(write=lambda data: said.append(json.loads(data)), drain=drain)
        streams = cast(Any, (SimpleNamespace(), writer))
        process, request = cast(VmProcess, SimpleNamespace()), Request(do="trace", timeout=1.0)
        first = asyncio.create_task(tracer.answer(process, request, streams, lambda: False))
        await asyncio.sleep(0)  # it reads the image
        await tracer.answer(process, request, streams, lambda: False)
        await first

    asyncio.run(both())
    assert [one["error"] for one in said] == [
        "busy is being traced already",
        "the image of busy does not say when it waits",
    ]
