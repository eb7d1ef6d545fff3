# SPDX-License-Identifier: MIT
"""tools/floe/fleet/probe.py: whether a guest's port answers, which is not whether QEMU takes a connection."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from floe.errors import HostError
from floe.fleet import connection, probe
from floe.fleet.probe import Probe
from floe.fleet.vms import Vms
from floe.spec.ports import parse_forwards
from tests.support import hostedvms
from tests.support.hostedvms import Build, Hosted
from tests.support.libvirthosts import EAST, LibvirtHosts

# One that answers late, one whose server hangs up at once, and a port at which nobody listens.
SERVER = """
import socket, time


def listening(port):
    s = socket.socket()
    s.bind(("0.0.0.0", port))
    s.listen(4)
    return s


hasty, word = listening(81), listening(83)
hasty.accept()[0].close()
word.accept()
late = listening(80)
print("listening")
while True:
    time.sleep(1)
"""
SAID = """Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[{state}]  23       127.0.0.1 47834       10.0.2.15    80     0     0
  TCP[HOST_FORWARD]  12       127.0.0.1  8080       10.0.2.15    80     0     0
  UDP[237 sec]       25       10.0.2.15 80       10.0.2.3    80     0     0
"""


@pytest.fixture
def floe(known: LibvirtHosts, capsys: pytest.CaptureFixture[str]) -> Iterator[Hosted]:
    yield from hostedvms.hosted(known, capsys)


def test_a_port_that_answers_late(floe: Hosted, tmp_path: Path, build: Build) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    ports = ("8080:80", "127.0.0.1:8081:81", "0.0.0.0:8082:82", "8083:83")
    floe("run", "--host", EAST, "-d", "--name", "a", *(f"-p{port}" for port in ports), build(tmp_path / "server.py"))
    with connection.open(EAST) as host, contextlib.ExitStack() as stack:
        vms = Vms(host)
        late, hasty, none, word = (
            stack.enter_context(contextlib.closing(Probe(vms, "a", parse_forwards(port)[0]))) for port in ports
        )
        until(hasty)
        assert not late.answers()
        assert "listening" not in floe("logs", "--host", EAST, "a")
        until(word)
        until(late)
        assert "listening" in floe("logs", "--host", EAST, "a")
        assert not none.answers()
        vms.stop("a", 0)
        assert not late.answers()


def until(asked: Probe) -> None:
    end = time.monotonic() + 60
    while not asked.answers():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("state", "answered"), [("ESTABLISHED", True), ("CLOSE_WAIT", True), ("SYN_SENT", False), ("CLOSED", False)]
)
def test_what_qemu_says_of_connections(state: str, answered: bool) -> None:
    said = SAID.format(state=state)
    assert probe.is_answered(said, 80) == answered
    assert not probe.is_answered(said, 8080)


@pytest.mark.parametrize("alive", [False, True])
def test_a_vm_that_ends_while_it_is_asked(alive: bool) -> None:
    class Ending:
        host = SimpleNamespace(place=SimpleNamespace(ssh=None))

        def on(self, name: str, work: object) -> bool:
            raise HostError("east: Unable to read from monitor: Connection reset by peer", code=38)

        def wait(self, name: str, seconds: float) -> SimpleNamespace:
            return SimpleNamespace(alive=alive)

    asked = Probe(cast("Vms", Ending()), "a", parse_forwards("1:80")[0])
    if alive:
        with pytest.raises(HostError, match="Unable to read"):
            asked.answers()
    else:
        assert not asked.answers()


def test_a_host_that_carries_no_connections() -> None:
    said = "channel 0: open failed: administratively prohibited: open failed"
    asked = probe._Through("east", ["sh", "-c", f"echo '{said}' >&2; exit 255"])
    asked._process.wait(60)
    with pytest.raises(HostError, match="east lets nobody ask its ports through ssh: channel 0") as told:
        asked.is_over()
    assert "AllowTcpForwarding" in told.value.hint
    asked.close()
