# SPDX-License-Identifier: MIT
"""A guest that got out into QEMU: a program in QEMU's place tries what somebody would who took QEMU over. Each try
succeeds where the same program is started as any other is."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from floe import confined, landlock
from floe.cli import doctor
from floe.qemu import commandline, reach
from floe.spec.disks import Disk
from floe.spec.network import Card
from floe.spec.ports import Forward
from floe.spec.vmspec import VmSpec, Wires
from tests.support import tiny
from tests.support.command import floe
from tests.support.fixtures import REPO
from tests.support.nobody import NOBODY
from tests.support.vms import Vms

NO, NOT_THIS_ONE = errno.EACCES, errno.EPERM
ROOT = os.geteuid() == 0
needs_landlock = pytest.mark.skipif(landlock.abi() == 0, reason="SKIP: no Landlock in this kernel, or not for us")


@pytest.fixture(scope="module")
def escaped() -> Iterator[Path]:
    """The program, in a folder with a blank which everybody may read."""
    with tempfile.TemporaryDirectory(prefix="floe escaped ") as folder:
        os.chmod(folder, 0o755)
        program = Path(folder) / "qemu" / "bin" / "qemu"
        program.parent.mkdir(parents=True)
        source = REPO / "tests/support/escaped.c"
        subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True, timeout=60)
        yield program


@pytest.fixture
def site() -> Iterator[Path]:
    """A folder of nobody's, or of whoever is no root: it is not the guest's."""
    folder = Path(tempfile.mkdtemp(prefix="floe-site-"))
    if ROOT:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def came_of(said: str) -> dict[str, int]:
    match = re.search(r"ESCAPED\|(.*)", said)
    assert match is not None, said
    return {word: int(number) for word, _, number in (one.rpartition("=") for one in match[1].split("|"))}


def tried(
    program: Path, words: Mapping[str, int], spec: VmSpec | None = None, user: int | None = None
) -> dict[str, int]:
    """What came of the words: of a program that is as QEMU is for this VM, or as any other."""
    environment = {**os.environ, "ESCAPED": "|".join(words)}
    argv = [str(program)]
    if spec is None:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False, user=user)
        return came_of(done.stdout)
    with reach.confinement(spec, Wires("", "", ""), str(program)) as limits:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=60, check=False, user=user,
            preexec_fn=confined.confining(limits.ruleset, limits.kept),
        )  # fmt: skip
    return came_of(done.stdout)


def owned(path: Path, text: str = "") -> Path:
    path.write_text(text)
    if ROOT:
        os.chown(path, NOBODY, NOBODY)
    return path


def ports(count: int) -> list[int]:
    """So many that are free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return found


@pytest.fixture(params=["root", "user"] if ROOT else ["user"])
def user(request: pytest.FixtureRequest) -> int | None:
    """Whom it runs as."""
    return NOBODY if ROOT and request.param == "user" else None


@needs_landlock
def test_files(escaped: Path, site: Path, user: int | None) -> None:
    """It reads what the VM was given and the system is made of, and writes what was named to be written."""
    image, disk, cd, mine = (owned(site / name, "x" * 512) for name in ("image.elf", "disk", "cd", "mine"))
    capture = site / "a.pcap"
    spec = VmSpec(
        image, disks=(Disk(disk), Disk(cd, readonly=True)), cards=(Card("connect", "/x"),) * 2, capture=capture
    )
    allowed = [f"read:{image}", f"read:{disk}", f"write:{disk}", f"read:{cd}"]
    allowed += ["read:/usr/bin/env", "read:/etc/hosts", "list:/usr/share", "read:/proc/self/status", "write:/dev/null"]
    refused = [f"write:{image}", f"truncate:{image}", f"write:{cd}", f"read:{mine}", f"write:{mine}", f"list:{site}"]
    refused += [f"create:{site}/new", f"folder:{site}/folder", f"remove:{mine}", "write:/proc/self/comm"]
    refused += ["list:/tmp", "read:/etc/fstab", "list:/etc", "start:/bin/true"]
    if user is None and ROOT:
        refused += ["write:/etc/hosts", "write:/usr/bin/env", "write:/proc/sys/kernel/hostname", "list:/root"]
    expected = dict.fromkeys(allowed, 0) | dict.fromkeys(refused, NO)
    assert tried(escaped, expected, spec, user) == expected
    assert mine.exists() and sorted(p.name for p in site.glob("*.pcap")) == ["a.1.pcap", "a.pcap"]
    assert tried(escaped, expected, None, user) == dict.fromkeys(expected, 0)


@needs_landlock
@pytest.mark.skipif(landlock.abi() < 4, reason="SKIP: this kernel's Landlock knows no ports")
def test_ports(escaped: Path, user: int | None) -> None:
    """It listens where a port is forwarded, and makes connections where the guest may."""
    asked, through, other, udp = ports(4)
    forwards = (Forward("127.0.0.1", asked, 80), Forward("0.0.0.0", 1, 81, through=through), Forward("", udp, 9, "udp"))
    image = Path("/nowhere/image.elf")
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"connect:{server.getsockname()[1]}"
        listens = [f"listen:{port}" for port in (asked, through, other, udp, 0)]
        expected = dict.fromkeys(listens[:2], 0) | dict.fromkeys(listens[2:], NO) | {there: 0}
        spec = VmSpec(image, forwards=forwards)
        assert tried(escaped, expected, spec, user) == expected
        alone = dict.fromkeys(expected, NO)
        assert tried(escaped, alone, replace(spec, cards=(Card("tap", "t"),)), user) == alone
        assert tried(escaped, expected, None, user) == dict.fromkeys(expected, 0)


@needs_landlock
@pytest.mark.skipif(landlock.abi() < 6, reason="SKIP: this kernel's Landlock knows no signals")
def test_other_processes(escaped: Path, user: int | None) -> None:
    """It neither signals, traces nor calls one beside it."""
    name = f"floe-escaped-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as s, subprocess.Popen(["sleep", "60"], user=user) as process:
        s.bind(f"\0{name}")
        s.listen()
        words = [f"abstract:{name}", f"signal:{process.pid}", f"trace:{process.pid}"]
        try:
            expected = dict.fromkeys(words, NOT_THIS_ONE)
            assert tried(escaped, expected, VmSpec(Path("/nowhere")), user) == expected
            assert tried(escaped, expected, None, user) == dict.fromkeys(words, 0)
        finally:
            process.kill()


@pytest.mark.skipif(not ROOT, reason="SKIP: only root has capabilities")
def test_root_s_rights(escaped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are few, also where there is no Landlock."""
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    numbers = {f"capability:{number}": NOT_THIS_ONE for number in range(38)}
    of_file, low_port, network, raw = "capability:1", "capability:10", "capability:12", "capability:13"
    for cards, kept in (
        ((Card(),), [of_file, low_port, raw]),
        ((), [of_file]),
        ((Card("tap", "t"),), [of_file, network]),
        ((Card("bridge", "b"),), [of_file]),
    ):
        expected = numbers | dict.fromkeys(kept, 0)
        assert tried(escaped, expected, VmSpec(Path("/nowhere"), cards=cards)) == expected
    assert list(tried(escaped, numbers).values()).count(0) > 30


@needs_landlock
@pytest.mark.parametrize("way", ["run", "run -d"])
def test_each_qemu_is_confined(
    way: str, vms: Vms, escaped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As floe starts it: another VM's folder, and its own."""
    folder = tmp_path / "an app"
    folder.mkdir()
    image = tiny.build(folder, tiny.HANG)
    other = tmp_path / "state"
    other.mkdir(exist_ok=True)
    words = dict.fromkeys((f"create:{other}/new", f"read:{REPO}/README.md", f"create:{Path.home()}/floe-escaped"), NO)
    monkeypatch.setenv("ESCAPED", "|".join(words))
    monkeypatch.setenv(commandline.CHOICE, str(escaped))
    done = floe(*way.split(), "--accel", "tcg", image)
    assert done.returncode == 126
    assert came_of(done.stderr) == words


FORKS = """import os
try:
    os.fork()
except OSError as e:
    print("refused")
"""


@needs_landlock
def test_a_child_s_qemu_is_confined(escaped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where a script stands for QEMU, which starts what lies beside it and QEMU."""
    app, script = tmp_path / "forks.py", escaped.with_name("script")
    app.write_text(FORKS)
    qemu = commandline.find_qemu()
    script.write_text(f'#!/bin/sh\ncase "$*" in *-incoming*) exec "{escaped}";; esac\nexec {qemu} "$@"\n')
    script.chmod(0o755)
    words = {
        f"create:{tmp_path}/new": NO,
        f"read:{REPO}/README.md": NO,
        f"list:{Path.home()}": NO,
        "start:/bin/true": 0,
    }
    monkeypatch.setenv("ESCAPED", "|".join(words))
    monkeypatch.setenv(commandline.CHOICE, str(script))
    done = floe("run", "--accel", "tcg", app)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
    assert came_of(done.stderr) == words


def test_what_is_not_confined_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The VM starts all the same."""
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with reach.confinement(VmSpec(Path("/nowhere")), Wires("", "", ""), "/bin/true") as limits:
        assert limits.ruleset == -1
    assert reach.lacks() == reach.NOT_BY_LANDLOCK
    finding = doctor._confinement()
    assert (finding.ok, finding.needed, finding.detail) == (False, False, reach.NOT_BY_LANDLOCK)


@pytest.mark.parametrize("version", range(1, 8))
def test_each_abi_s_rules_are_taken(version: int, escaped: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older kernel refuses a ruleset that names what it does not know; a newer one takes the older's."""
    if landlock.abi() < version:
        pytest.skip(f"SKIP: this kernel's Landlock is of ABI {landlock.abi()}")
    monkeypatch.setattr(landlock, "abi", lambda: version)
    mine, disk = owned(site / "mine"), owned(site / "disk")
    expected = {f"write:{mine}": NO, f"create:{site}/new": NO, f"write:{disk}": 0}
    expected |= {f"truncate:{mine}": NO if version >= 3 else 0, f"listen:{ports(1)[0]}": NO if version >= 4 else 0}
    expected |= {f"signal:{os.getpid()}": NOT_THIS_ONE if version >= 6 else 0}
    assert tried(escaped, expected, VmSpec(mine, disks=(Disk(disk),))) == expected


def test_where_a_program_has_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the home folder, nor what that lies in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    outer = tmp_path.parent
    for program, folder in (
        ("/usr/bin/qemu", "/usr"),
        (f"{tmp_path}/bin/qemu", f"{tmp_path}/bin"),
        (f"{tmp_path}/opt/bin/qemu", f"{tmp_path}/opt"),
        (f"{tmp_path}/qemu", ""),
        (f"{outer}/qemu", ""),
        ("/qemu", ""),
    ):
        assert reach._installed(program) == folder
