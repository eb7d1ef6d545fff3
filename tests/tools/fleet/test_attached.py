# SPDX-License-Identifier: MIT
"""tools/floe/fleet/attached.py and console.py: `floe run --host` with the console here, and exec and cp on a host: all
that is said arrives, what is typed arrives there, and the exit code is the script's."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.fleet import connection, console, domain
from floe.fleet.vms import Vms
from tests.support import hostedvms, libvirthosts
from tests.support.command import FLOE
from tests.support.hostedvms import LOOP, Build, Hosted
from tests.support.libvirthosts import EAST, LibvirtHosts

MUCH = """
import sys
print("begun")
for line in sys.stdin:
    sys.stdout.write(line.upper())
    if line == "last\\n":
        break
for n in range(6000):
    print("%06d" % n, "x" * 50)
sys.exit(9)
"""

RESETS = """
import machine, os, sys
print(os.getenv("A"))
if sys.stdin.readline() == "reset\\n":
    machine.reset()
sys.exit(5)
"""


@pytest.fixture
def floe(known: LibvirtHosts, capsys: pytest.CaptureFixture[str]) -> Iterator[Hosted]:
    yield from hostedvms.hosted(known, capsys)


def app(build: Build, tmp_path: Path, text: str, *, dev: bool = False) -> Path:
    script = tmp_path / "app.py"
    script.write_text(text)
    return build(script, dev=dev)


def run(*words: str | Path, given: str = "", timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    argv = [*FLOE, "run", "--host", EAST, *map(str, words)]
    return subprocess.run(argv, input=given, capture_output=True, text=True, timeout=timeout_s, check=False)


def test_all_of_it_arrives(floe: Hosted, build: Build, tmp_path: Path, accel: str) -> None:
    done = run("--accel", accel, app(build, tmp_path, MUCH), given="one\nlast\n")
    lines = "".join(f"{n:06d} {'x' * 50}\n" for n in range(6000))
    assert done.stdout.replace("\r", "") == f"begun\nONE\nLAST\n{lines}"
    assert (done.returncode, done.stderr) == (9, "")
    assert floe.ps(EAST) == [] and floe.files(EAST) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 7), (signal.SIGTERM, 7)])
def test_asked_to_end(floe: Hosted, build: Build, tmp_path: Path, number: signal.Signals, code: int) -> None:
    argv = [*FLOE, "run", "--host", EAST, str(app(build, tmp_path, LOOP))]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("up")
        process.send_signal(number)
        assert process.stdout.read() == "bye\n"
        assert process.wait(30) == code
    assert floe.ps(EAST) == []


def test_a_reset(floe: Hosted, build: Build, tmp_path: Path) -> None:
    argv = ["timeout", "60", *FLOE, "run", "--host", EAST, "-e", "A=b", str(app(build, tmp_path, RESETS))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for typed in ("reset\n", "end\n"):
            assert process.stdout.readline() == "b\n"
            process.stdin.write(typed)
            process.stdin.flush()
        assert process.wait(30) == 5
    assert floe.files(EAST) == []


def test_its_time_is_over(floe: Hosted, build: Build, tmp_path: Path) -> None:
    done = run("--timeout", "2", app(build, tmp_path, LOOP))
    assert done.returncode == 124 and "the guest did not end within 2 s" in done.stderr
    assert floe.ps(EAST) == []


def test_a_panic(floe: Hosted, build: Build, tmp_path: Path) -> None:
    done = run(app(build, tmp_path, "import machine\nprint('before')\nmachine.mem8[0] = 1\n"))
    assert done.returncode == 120, done.stderr
    assert done.stdout == "before\n"
    assert "PANIC" in done.stderr and "floe: the guest panicked" in done.stderr


def test_code_and_files(floe: Hosted, build: Build, tmp_path: Path) -> None:
    floe("run", "--host", EAST, "-d", "--name", "dev", app(build, tmp_path, "print('up')\nx = 41\n", dev=True))
    assert floe("exec", "--host", EAST, "dev", "print(x + 1)") == "42\r\n"
    assert floe("exec", "--host", EAST, "dev", "for n in range(2000): print('y' * 70)") == ("y" * 70 + "\r\n") * 2000
    floe("exec", "--host", EAST, "dev", "1/0", code=1)
    content = os.urandom(40000)
    (tmp_path / "a").write_bytes(content)
    floe("cp", "--host", EAST, tmp_path / "a", "dev:/a")
    floe("cp", "--host", EAST, "dev:/a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content
    floe("run", "--host", EAST, "-d", "--name", "sealed", app(build, tmp_path, LOOP))
    floe("exec", "--host", EAST, "sealed", "1", code=125)
    assert floe.said.startswith("floe: sealed has no REPL: its image is sealed\n")


def test_one_client_at_a_time(floe: Hosted, build: Build, tmp_path: Path) -> None:
    floe("run", "--host", EAST, "-d", "--name", "dev", app(build, tmp_path, "print('up')\n", dev=True))
    with connection.open(EAST) as host:
        vms = Vms(host)
        line = console.Line(vms, vms.find("dev"))
        try:
            floe("exec", "--host", EAST, "dev", "1", code=125)
            assert floe.said.startswith("floe: dev is in use by another client\n")
            line.send(b"print(40 + 2)\r")
            end = time.monotonic() + 60
            while "\n42" not in floe("logs", "--host", EAST, "dev"):
                assert time.monotonic() < end
        finally:
            line.close()
    assert floe("exec", "--host", EAST, "dev", "print(7)") == "7\r\n"


def test_a_client_that_reads_nothing_costs_the_log_nothing(floe: Hosted, build: Build, tmp_path: Path) -> None:
    script = "import sys\nsys.stdin.readline()\n" + "for n in range(20000):\n    print('%06d' % n, 'x' * (n % 90))\n"
    floe("run", "--host", EAST, "-d", "--name", "much", app(build, tmp_path, script))
    with connection.open(EAST) as host:
        vms = Vms(host)
        stream = vms.on("much", console._opened)
        vms.host.ask(lambda c: console.send_all(stream, b"go\n"))
        vms.wait("much", 180)
        log = console.Log(vms.store, vms.find("much").uuid + domain.CONSOLE)
        said, end = b"", time.monotonic() + 60
        while b"019999" not in said and time.monotonic() < end:  # virtlogd writes it a little later
            said += host.ask(log.news)
        vms.host.ask(lambda c: console._finish(stream))
    assert said.replace(b"\r", b"").splitlines() == [b"%06d " % n + b"x" * (n % 90) for n in range(20000)]


class Renamed:
    """A pool with a log that virtlogd renames when it is full."""

    def __init__(self) -> None:
        self.files = {"x.console": b""}

    def names(self, connection: object) -> list[str]:
        return list(self.files)

    def size(self, connection: object, name: str) -> int:
        return len(self.files[name])

    def read(self, connection: object, name: str, offset: int = 0) -> bytes:
        return self.files.get(name, b"")[offset:]


def test_a_log_that_is_renamed() -> None:
    pool = Renamed()
    log = console.Log(pool, "x.console")  # type: ignore[arg-type]  # a stand-in
    pool.files |= {"x.console.1": b"first ", "x.console.0": b"second ", "x.console": b"third ", "x.console.odd": b"?"}
    assert log.news(None) == b"first second third "
    assert log.news(None) == b""
    pool.files["x.console"] += b"end "
    pool.files |= {"x.console.1": b"second ", "x.console.0": b"third end ", "x.console": b"new"}
    assert log.news(None) == b"end new"
    pool.files["x.console"] += b"er"
    assert log.news(None) == b"er"


def test_who_is_gone_leaves_a_vm_that_others_see(floe: Hosted, build: Build, tmp_path: Path) -> None:
    argv = [*FLOE, "run", "--host", EAST, str(app(build, tmp_path, LOOP))]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("up")
        process.kill()
    (vm,) = floe.ps(EAST)
    assert vm["state"] == "running"


def test_a_host_that_dies(tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    with libvirthosts.in_namespaces(tmp_path / "hosts", ("mortal",)) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        argv = [*FLOE, "run", "--host", "mortal", str(app(build, tmp_path, LOOP))]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, **pipes) as process:  # type: ignore[call-overload]  # a dict
            assert process.stdout.readline().startswith("up")
            made.kill("mortal")
            began = time.monotonic()
            assert process.wait(30) == 126
            assert time.monotonic() - began < 10
            assert process.stderr.read().startswith("floe: mortal ")
