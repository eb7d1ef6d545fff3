# SPDX-License-Identifier: MIT
"""A detached VM with --allow: it is guarded however it is started, by whom it outlives, and the log says of what."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.store import vmfolder
from tests.support.command import floe
from tests.support.vms import Vms, kill, log, ps, until

# Connects to each port of its host that is typed; "end" is an end that --restart does not take for a good one.
TRIES = """
import socket, sys
print("tries")
for line in sys.stdin:
    if line.strip() == "end":
        sys.exit(3)
    s = socket.socket()
    s.settimeout(3)
    try:
        s.connect(("10.0.2.2", int(line)))
        print("reached", line.strip())
    except OSError as e:
        print("failed", line.strip(), e.errno)
    s.close()
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "an app"
    folder.mkdir()
    (folder / "tries.py").write_text(TRIES)
    return folder / "tries.py"


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """One that is to be allowed, and one that is not; both are served."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        yield one.getsockname()[1], other.getsockname()[1]


def came_of(name: str, number: object) -> str:
    """What the guest says once it has tried that port, or ends."""
    before = len(log(name))
    with socket.socket(socket.AF_UNIX) as console:
        console.settimeout(20)
        console.connect(ps(name)["unix"])
        console.sendall(f"{number}\n".encode())
        until(
            lambda: any(word in log(name)[before:] for word in (f"reached {number}", f"failed {number}")), "an answer"
        )
    return "reached" if f"reached {number}" in log(name)[before:] else "failed"


def test_whoever_has_started_it(vms: Vms, app: Path, ports: tuple[int, int]) -> None:
    """Its keeper dies; it is started again by --restart, by its own reset's parent, and by floe start."""
    allowed, other = ports
    told = vms.run("--accel", "tcg", "--restart", "on-failure", "--name", "g", "--allow", f"localhost:{allowed}", app)
    assert told["name"] == "g"
    until(lambda: "tries" in log("g"), "the guest")
    assert (came_of("g", allowed), came_of("g", other)) == ("reached", "failed")
    line = f"[floe: --allow: refused 127.0.0.1:{other}]"
    until(lambda: line in log("g"), "the line")
    assert (came_of("g", other), log("g").count(line)) == ("failed", 1)

    kill(vmfolder.find("g").keeper)
    until(lambda: ps("g")["state"] == "running", "another keeper")
    assert (came_of("g", allowed), came_of("g", other)) == ("reached", "failed")

    with socket.socket(socket.AF_UNIX) as console:
        console.connect(ps("g")["unix"])
        console.sendall(b"end\n")
        until(lambda: log("g").count("tries\n") == 2, "another start")
    vms.note(vmfolder.find("g"))
    assert (came_of("g", allowed), came_of("g", other)) == ("reached", "failed")
    until(lambda: log("g").count(line) == 2, "the line, by another guard")

    assert floe("stop", "g").returncode == 0
    assert floe("start", "g").returncode == 0
    vms.note(vmfolder.find("g"))
    until(lambda: log("g").count("tries\n") == 3, "the guest")
    assert (came_of("g", allowed), came_of("g", other)) == ("reached", "failed")


def test_without_its_parent_it_reaches_nothing(vms: Vms, app: Path, ports: tuple[int, int]) -> None:
    """The guard is there; its forwarded ports and its console go on."""
    allowed, _ = ports
    vms.run("--accel", "tcg", "--name", "g", "--allow", f"127.0.0.1:{allowed}", app)
    until(lambda: "tries" in log("g"), "the guest")
    assert came_of("g", allowed) == "reached"
    kill(vmfolder.find("g").parent)
    assert came_of("g", allowed) == "failed"


def test_a_name_that_is_not_found(vms: Vms, app: Path) -> None:
    done = floe("run", "-d", "--allow", "no-such-name.invalid:80", app)
    assert (done.returncode, done.stdout) == (125, "")
    assert "--allow no-such-name.invalid: this host cannot look the name up" in done.stderr
    assert list(vmfolder.everything()) == []
