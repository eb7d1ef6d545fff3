# SPDX-License-Identifier: MIT
"""`floe top` on VMs that run: what it says of a guest is what that one says of itself, and it leaves when told."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import pexpect
import pytest

from floe.detached import usage
from floe.detached.usage import Watch
from floe.hypervisor import qemu_driver
from floe.store import vmfolder
from floe.xen import places
from tests.support.command import FLOE, floe
from tests.support.vms import Vms, kill, log, until

HOLDS = """
import floe, gc, socket

held = bytearray(300_000)
listener = socket.socket()
listener.bind(("0.0.0.0", 7))
listener.listen(4)
print("listening")
clients = []
while True:
    clients.append(listener.accept()[0])
    gc.collect()
    print("heap", floe.mem_info()["gc_total"], floe.mem_info()["gc_used"])
    clients[-1].send(bytes(50_000))
"""
IDLE = "import time\nprint('idle')\nwhile True:\n    time.sleep(1)\n"
WAIT_S = 60


def top(*words: object) -> list[dict[str, Any]]:
    done = floe("top", "--once", "--json", *words)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_a_guest_s_figures_are_its_own(vms: Vms, tmp_path: Path, accel: str, machine: str) -> None:
    (tmp_path / "holds.py").write_text(HOLDS)
    told = vms.run(tmp_path / "holds.py", "--name", "one", "--accel", accel, "--machine", machine, "-p", "0:7")
    until(lambda: "listening" in log("one"), "the listener", WAIT_S)
    (before,) = top()
    assert (before["name"], before["state"], before["pid"]) == ("one", "running", told["pid"])
    assert before["connections"] == 0
    assert before["cpu_percent"] >= 0 and before["host_bytes"] > 1 << 20
    with socket.create_connection(("127.0.0.1", told["ports"][0]["host"]), WAIT_S) as client:
        size = 0
        while size < 50_000:
            size += len(client.recv(50_000))
        until(lambda: "heap" in log("one"), "what it says of itself", WAIT_S)
        (after,) = top("one")
    said = re.search(r"heap (\d+) (\d+)", log("one"))
    assert said is not None
    total, used = map(int, said.groups())
    assert after["connections"] == 1
    assert abs(after["heap"] - total) < total / 50  # which counts whole pools, and so do the tables but for their ends
    assert used - 20_000 < after["heap_used"] < used + 120_000 and used > 300_000
    assert after["tx_bytes"] - before["tx_bytes"] > 50_000
    assert after["tx_frames"] > before["tx_frames"] and after["rx_frames"] > before["rx_frames"]
    assert after["rx_frames_per_s"] is not None
    assert 0 < after["c_heap"] < after["ram"] - after["ram_free"] < after["ram"] <= after["memory"] == 32 << 20


def test_a_table_and_its_end(vms: Vms, tmp_path: Path) -> None:
    done = floe("top")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "floe: no VM runs here; floe run --detach or floe compose up starts some\n"
    done = floe("top", "none")
    assert done.returncode == 127
    assert "there is no VM and no stack none" in done.stderr and "try: floe ps --all" in done.stderr
    (tmp_path / "idle.py").write_text(IDLE)
    for name in ("s.a", "s.b", "other"):
        vms.run(tmp_path / "idle.py", "--name", name)
    until(lambda: "idle" in log("s.a"), "its start", WAIT_S)
    lines = floe("top", "s").stdout.splitlines()
    assert lines[0].split()[:4] == ["NAME", "STATE", "READY", "CPU"]
    assert [line.split()[:2] for line in lines[1:]] == [["s.a", "running"], ["s.b", "running"]]
    assert re.fullmatch(
        r"s\.a +running +- +[\d.]+% +[\d.]+M +[\d.]+M/32M +[\d.]+K/[\d.]+K +\d+K? +- +- +- +- +- +0 +\d+s", lines[1]
    )
    live = pexpect.spawn(FLOE[0], [*FLOE[1:], "top", "--interval", "0.2"], timeout=WAIT_S, dimensions=(24, 80))
    live.expect_exact("\x1b[?1049h")
    live.expect_exact("s.b")
    assert live.isalive()
    live.send("\x1a")  # it is not stopped, and draws
    for key in "ch":
        live.send(key)
        live.expect_exact("s.b")
    process = vmfolder.find("other").vm
    assert process is not None
    kill(process)
    live.expect(r"NAME[^\n]*\n(?:(?!other).)*s\.b(?:(?!other).)*\x1b\[H")  # a table without it
    live.send("q")
    live.expect_exact("\x1b[?1049l")
    live.expect(pexpect.EOF)
    live.close()
    assert live.exitstatus == 0
    wide = {**os.environ, "COLUMNS": "140"}
    live = pexpect.spawn(FLOE[0], [*FLOE[1:], "top"], timeout=WAIT_S, env=wide)
    live.expect_exact("PKT IN/S")
    live.kill(signal.SIGTERM)
    live.expect_exact("\x1b[?1049l")
    live.expect(pexpect.EOF)
    live.close()
    assert live.exitstatus == 0
    stream = pexpect.spawn(FLOE[0], [*FLOE[1:], "top", "--json", "--interval", "0.1"], timeout=WAIT_S)
    for _ in range(2):
        stream.expect(r"\[\{[^\n]*\}\]")
        assert [vm["name"] for vm in json.loads(stream.match[0])] == ["s.a", "s.b"]
    stream.kill(signal.SIGINT)
    stream.expect(pexpect.EOF)
    stream.close()
    assert stream.exitstatus == 0


def test_one_that_is_started_again(vms: Vms, tmp_path: Path) -> None:
    (tmp_path / "again.py").write_text("import time\nprint('up')\ntime.sleep(1)\nraise SystemExit(3)\n")
    vms.run(tmp_path / "again.py", "--name", "again", "--restart", "always")
    watch = Watch()
    seen = []
    end = time.monotonic() + WAIT_S
    while len({one.status.pid for one in seen if one.guest is not None}) < 2:
        assert time.monotonic() < end
        seen += watch.sample()
        time.sleep(0.1)
    watch.close()
    assert max(one.status.restarts for one in seen) >= 1
    assert all(one.cpu is None or one.cpu >= 0 for one in seen)


def test_a_keeper_that_does_not_answer_holds_nobody_up(
    vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "idle.py").write_text(IDLE)
    vms.run(tmp_path / "idle.py", "--name", "one")
    monkeypatch.setattr(usage, "_ANSWER_S", 0.3)
    watch = Watch()
    keeper = vmfolder.find("one").keeper
    assert keeper is not None
    keeper.signal(signal.SIGSTOP)
    try:
        (stopped,) = watch.sample()
        assert (stopped.status.state, stopped.guest, stopped.cpu) == ("no answer", None, None)
    finally:
        keeper.signal(signal.SIGCONT)
    until(lambda: [seen.status.state for seen in watch.sample()] == ["running"], "its answer", WAIT_S)
    watch.close()


def test_where_a_process_may_look_into_its_own_descendants_only(
    vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where kernel.yama.ptrace_scope is 1: the keeper, whose descendant QEMU is, tells."""

    def refused(*words: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    def not_yet(*words: object) -> None:
        raise OSError("the guest's memory is not found")

    (tmp_path / "idle.py").write_text(IDLE)
    vms.run(tmp_path / "idle.py", "--name", "one")
    until(lambda: "idle" in log("one"), "its start", WAIT_S)
    (open_to_us,) = Watch().sample()
    with monkeypatch.context() as just_begun:  # its image is not loaded yet
        just_begun.setattr(qemu_driver, "GuestMemory", not_yet)
        early = Watch()
        assert [seen.guest for seen in early.sample()] == [None]
    assert [seen.guest for seen in early.sample()] == [open_to_us.guest]
    early.close()
    monkeypatch.setattr(qemu_driver, "GuestMemory", refused)
    watch = Watch()
    (told,) = watch.sample()
    watch.close()
    assert told.guest is not None
    assert told.guest == open_to_us.guest
    assert told.host_bytes is not None


_XL = """\
libxl: a warning
Name                                        ID   Mem VCPUs\tState\tTime(s)
Domain-0                                     0   384     1     r-----      {dom0}
one-{uuid}                                 7    32     1     -b----       {cpu}
another one                                  8    64     1     --p---       1.0
"""


def test_a_domain_of_xen(vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one only what dom0's xl says is known; and nothing where there is no Xen, or where it does not answer."""
    (tmp_path / "idle.py").write_text(IDLE)
    vms.run(tmp_path / "idle.py", "--name", "one")
    vms.run(tmp_path / "idle.py", "--name", "two")
    folder = vmfolder.find("one")
    folder.spec = msgspec.structs.replace(folder.spec, hypervisor="xen")
    plan = folder.plan
    assert plan is not None
    watch = Watch()
    (none, _) = watch.sample()
    assert (none.cpu, none.host_bytes, none.guest) == (None, None, None)
    place = FakeDom0(plan.uuid[:8])
    monkeypatch.setattr(places, "choose", lambda: place)
    (first, two) = watch.sample()
    assert (first.cpu, first.host_bytes, first.guest) == (None, 32 << 20, None)
    assert two.host_bytes is not None and two.host_bytes != first.host_bytes
    place.cpu_s += 100.0
    (then, _) = watch.sample()
    assert then.cpu is not None and then.cpu > 0 and then.as_dict()["host_bytes"] == 32 << 20
    place.silent = True
    monkeypatch.setattr(usage, "_ANSWER_S", 0.3)
    monkeypatch.setattr(usage, "_HOST_S", 1.0)
    assert watch.sample()[0].cpu is None  # the last answer is still there, and nothing came since
    until(lambda: watch.sample()[0].host_bytes is None, "the end of waiting for an answer", WAIT_S)
    watch.close()


class FakeDom0:
    """A place whose scripts print a list of domains."""

    def __init__(self, uuid: str) -> None:
        self.cpu_s = 5.0
        self.silent = False
        self._uuid = uuid
        self._open: list[socket.socket] = []

    def connect(self, script: str) -> socket.socket:
        assert script.endswith("xl list\n")
        ours, theirs = socket.socketpair()
        if self.silent:
            self._open.append(theirs)
            return ours
        with theirs:
            theirs.sendall(_XL.format(uuid=self._uuid, cpu=self.cpu_s, dom0=7.5).encode())
        return ours
