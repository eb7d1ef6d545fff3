# SPDX-License-Identifier: MIT
"""floe snapshot and floe run --from of a Xen domain in the lab."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from floe.xenlab import lab as the_lab
from tests.support.command import floe
from tests.support.vms import Vms, log, ps, until
from tests.xen.xl import domains

GUEST = Path(__file__).with_name("guest_snapshot.py")
SLOW = 120  # seconds, to dom0 and back


def ask(name: str) -> list[str]:
    (port,) = ps(name)["ports"]
    with socket.create_connection(("127.0.0.1", port["host"]), SLOW) as conn:
        conn.sendall(b"who")
        return conn.recv(200).decode().split()


def test_domains_go_on_from_a_state(vms: Vms, tmp_path: Path) -> None:
    """They are machines of their own, the one that was kept goes on, and nothing is left in dom0."""
    name = str(vms.run("--hypervisor", "xen", "--memory", "16M", "-p", "0:80", GUEST)["name"])
    until(lambda: "ready" in log(name), "the guest to be ready", SLOW)
    first = ask(name)
    path = tmp_path / "kept.snap"
    done = floe("snapshot", name, path)
    assert done.returncode == 0, done.stderr
    for copy in ("one", "two"):
        vms.run("--from", path, "--hypervisor", "xen", "--name", copy)
        until(lambda copy=copy: "became 1\n" in log(copy), "the copy to go on", SLOW)  # type: ignore[misc]  # a lambda's default
    answers = [ask(each) for each in ("one", "two", name)]
    assert first[0] == "1" and [answer[0] for answer in answers] == ["2", "2", "2"]
    assert [answer[1] for answer in answers[:2]] == ["one", "two"]
    assert answers[2][1:4] == first[1:4]
    for what in (2, 3, 4):  # identity, hardware address, random bytes
        assert len({answer[what] for answer in answers}) == 3, answers
    assert all(abs(float(answer[5]) - time.time()) < 60 for answer in answers)
    done = floe("run", "--from", path, "--hypervisor", "qemu")
    assert done.returncode == 125 and "hypervisor  Xen           QEMU" in done.stderr
    assert floe("stop", "one", "two", name).returncode == 0
    done = floe("run", "-d", "--pool", "1", "--from", path)
    waits = done.stdout.strip()
    assert done.returncode == 0 and ps(waits)["state"] == "waiting" and log(waits) == "", done.stderr
    assert vms.run("--from", path)["name"] == waits
    until(lambda: "became 1\n" in log(waits), "the claimed one to go on", SLOW)
    assert floe("run", "-d", "--pool", "0", "--from", path).returncode == 0
    assert floe("stop", waits).returncode == 0
    until(
        lambda: not domains() and not the_lab.call("ls -d /run/floe.* /run/floe-said.* 2>/dev/null"), "dom0 to be empty"
    )
