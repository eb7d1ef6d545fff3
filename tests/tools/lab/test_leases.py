# SPDX-License-Identifier: MIT
"""What a lab lends (ports, disks, addresses) and what its dead borrowers have left, against a QEMU that is a monitor of
a few lines. With a real lab: tests/xen."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from floe.cli import lab_kvm as kvm
from floe.cli import lab_xen as xen
from floe.errors import FloeError, UsageError, VmError
from floe.lab import connection as labs
from floe.lab import disk as labdisk
from floe.lab import leases
from floe.spec.disks import Disk
from floe.spec.runoptions import RunOptions
from floe.store import vmfolder
from floe.vm import plan
from floe.xenlab import lab


class Monitor:
    """QMP on the lab's socket. It knows nodes (disks), and listens at forwarded ports as QEMU does."""

    def __init__(self) -> None:
        self.nodes: set[str] = set()
        self.stuck: set[str] = set()  # dom0 does not let these go
        self.ports: dict[str, socket.socket] = {}
        self.commands: list[str] = []
        lab.folder().mkdir(parents=True)
        self._listener = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(lab.folder()):
            self._listener.bind("qmp")
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock = self._listener.accept()[0]
                with sock, sock.makefile("rwb") as f:
                    f.write(b'{"QMP": {}}\n')
                    f.flush()
                    for line in f:
                        message = json.loads(line)
                        for answer in self._answers(message["execute"], message["arguments"]):
                            f.write(json.dumps(answer).encode() + b"\n")
                        f.flush()

    def _answers(self, command: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        name = arguments.get("node-name") or arguments.get("id") or ""
        self.commands.append(f"{command} {arguments.get('command-line', name)}".strip())
        refused = [{"error": {"desc": "no"}}]
        if command == "human-monitor-command":
            word, _, what = arguments["command-line"].partition(" ")
            if word == "hostfwd_remove":
                if what not in self.ports:
                    return [{"return": f"host forwarding rule for {what} not found\r\n"}]
                self.ports.pop(what).close()
            return [{"return": ""}]
        if command == "device_del":
            if name in self.stuck or name not in self.nodes:
                return refused
            return [{"return": {}}, {"event": "DEVICE_DELETED", "data": {"device": name}}]
        if command == "blockdev-del":
            if name in self.stuck or name not in self.nodes:
                return refused
            self.nodes.discard(name)
        if command == "query-named-block-nodes":
            return [{"return": [{"node-name": node} for node in (*self.nodes, "other")]}]
        return [{"return": {}}]

    def listen(self) -> int:
        """Forward a port of this machine."""
        s = socket.create_server(("127.0.0.1", 0))
        port = int(s.getsockname()[1])
        self.ports[f"tcp:127.0.0.1:{port}"] = s
        return port

    def close(self) -> None:
        self._listener.close()
        for s in self.ports.values():
            s.close()


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    """A lab that is up, whose QEMU is this process."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monitor = Monitor()
    own = vmfolder.Process.of(os.getpid())
    assert own is not None
    record = labs.Record(process=own, ports=[1], token="", memory=0, created=0, versions={}, argv=[])
    (lab.folder() / "lab.json").write_bytes(msgspec.json.encode(record))
    yield monitor
    monitor.close()


def left(folder: str, *names: str) -> list[Path]:
    """Leases of borrowers that died."""
    paths = [lab.folder() / folder / name for name in names]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return paths


IMAGE = SimpleNamespace(
    path=Path("x.elf"),
    segments=(SimpleNamespace(address=0, memory_bytes=1),),
    content={"name": "x", "memory": 8 << 20, "drivers": ["virtio-net"]},
)


def test_a_port_that_a_dead_guest_has_left_is_free(qemu: Monitor) -> None:
    port = qemu.listen()
    (path,) = left("forwards", f"tcp-127.0.0.1-{port}")
    options = RunOptions(forwards=(f"{port}:80",), hypervisor="xen")
    spec, _ = plan.assemble(IMAGE, None, options)
    assert spec.forwards[0].host_port == port
    assert not path.exists()
    with lab.forward("127.0.0.1", port, "10.0.2.16", 80):
        assert qemu.commands[-1] == f"human-monitor-command hostfwd_add tcp:127.0.0.1:{port}-10.0.2.16:80"


def test_a_port_that_is_lent_stays_taken(qemu: Monitor) -> None:
    port = qemu.listen()
    (path,) = left("forwards", f"tcp-127.0.0.1-{port}")
    held = leases.lock(path)
    assert held is not None
    lab.forget_dead_forwards()
    with pytest.raises(FloeError, match="is in use"):
        plan.assemble(IMAGE, None, RunOptions(forwards=(f"{port}:80",), hypervisor="xen"))
    os.close(held)


def test_a_new_lease_waits_for_who_sweeps(qemu: Monitor) -> None:
    (path,) = left("forwards", "tcp-127.0.0.1-9")
    held = leases.lock(path)
    assert held is not None

    def swept() -> None:
        path.unlink()
        os.close(held)

    threading.Timer(0.3, swept).start()
    with lab.forward("127.0.0.1", 9, "10.0.2.16", 80):
        assert path.exists()
        assert leases.lock(path) is None


def test_one_disk_that_is_stuck_spoils_no_sweep(qemu: Monitor) -> None:
    qemu.nodes |= {"stuck", "there"}
    qemu.stuck.add("stuck")
    paths = left("disks", "a-gone", "stuck", "there", "z-gone")
    labdisk.unplug_dead(lab.LAB)
    assert qemu.nodes == {"stuck"}
    assert [path.name for path in paths if path.exists()] == ["stuck"]
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _open(fd)]
    assert not [path for path in open_files if "/disks/" in path]


def _open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_plug_that_is_refused_leaves_nothing(qemu: Monitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: labs.Lab, script: str, **more: object) -> str:
        raise VmError("dom0 says nothing")

    monkeypatch.setattr(labs.Lab, "call", refuse)
    (tmp_path / "disk").write_bytes(b"\0" * 512)
    with pytest.raises(VmError, match="dom0 says nothing"):
        labdisk.plug(lab.LAB, Disk(tmp_path / "disk"))
    assert list((lab.folder() / "disks").iterdir()) == []


def test_the_monitor_s_turn_has_a_deadline(qemu: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    held = leases.lock(lab.folder() / "qmp.lock")
    assert held is not None
    monkeypatch.setattr(labs, "_TURN_S", 0.2)
    with pytest.raises(VmError, match="another floe has held"):
        lab.monitor("info status")
    os.close(held)
    assert lab.monitor("info status") == ""


def test_handshakes_that_are_all_taken_have_a_deadline(qemu: Monitor) -> None:
    held = leases.lock(lab.folder() / "agents" / "1")
    assert held is not None
    began = time.monotonic()
    with pytest.raises(VmError, match=r"does not take a script: no answer within 0\.3 s"):
        lab.connect("true", deadline_s=0.3)
    assert time.monotonic() - began < 5
    os.close(held)


def test_the_hypervisor_s_log_is_bounded(qemu: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labs, "_LOG_MAX", 1000)
    log = lab.folder() / "xen.log"
    for size, kept in ((1000, 1000), (1001, 0)):
        log.write_bytes(b"x" * size)
        with pytest.raises(VmError):
            lab.connect("true", deadline_s=0.1)
        assert log.stat().st_size == kept


@pytest.mark.parametrize("number", [0, 2, 3, 14, 255])
def test_the_lab_s_own_addresses_are_not_lent(qemu: Monitor, number: int) -> None:
    with pytest.raises(UsageError, match=rf"10\.0\.2\.{number} is the Xen lab's own"):
        lab.take_address(number)
    lab.take_address(number + 20 if number < 200 else 254).close()


SAID = b"\x1b]0;owned\x07 \x1b[31mred\xc3\xa4 \xff\r\nend\r"


@pytest.mark.parametrize(("flags", "seen"), [
    ([], "^[]0;owned^G ^[[31mredä \\xff\r\nend^M".encode()),
    (["--raw"], SAID),
])  # fmt: skip
def test_what_guests_said_is_shown_and_not_obeyed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    flags: list[str],
    seen: bytes,
) -> None:
    """In a guest's log, which comes from dom0 in pieces, and in both labs' own."""

    def connect(self: object, script: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        found = re.search(r"printf '.000(\w+)", script)
        assert found is not None
        for byte in SAID + b"\0%s 0\0" % found[1].encode():
            theirs.send(bytes([byte]))
        theirs.close()
        return ours

    monkeypatch.setattr(labs.Lab, "connect", connect)
    monkeypatch.setattr(labs.Lab, "folder", lambda self: tmp_path)
    for each in (xen.lab.LAB, kvm.lab.LAB):
        (tmp_path / each.log).write_bytes(SAID)
    with open(os.devnull) as null:
        monkeypatch.setattr(sys, "stdin", null)
        for verb, guest in ((xen.log, []), (xen.log, ["guest"]), (kvm.log, [])):
            assert verb.main([*guest, *flags], standalone_mode=False) == 0
            assert capfdbinary.readouterr().out == seen
