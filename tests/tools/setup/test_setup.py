# SPDX-License-Identifier: MIT
"""floe.setup: what a fresh machine lacks, with stand-ins for apt-get and sudo, and stamps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from floe.errors import FloeError, NotFound
from floe.setup import __main__ as setup

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty PATH but for stand-ins; the tool `gadget` is what is wanted."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("env", "sh", "touch", "chmod", "true", "cat"):
        (tools / name).symlink_to(f"/usr/bin/{name}" if Path(f"/usr/bin/{name}").exists() else f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tools))
    return tools


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def apt_that_installs(tools: Path, code: int = 0) -> Path:
    log = tools.parent / "log"
    body = (
        f'echo "$*" >> {log}\ncase "$1" in install) touch {tools}/gadget; chmod 755 {tools}/gadget ;; esac\nexit {code}'
    )
    script(tools / "apt-get", body)
    return log


WANTED = {"gadget-package": "gadget"}


def test_nothing_missing_runs_nothing(machine: Path) -> None:
    log = apt_that_installs(machine)
    script(machine / "gadget", "true")
    setup.install_packages(WANTED)
    assert not log.exists()


def test_root_installs(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    log = apt_that_installs(machine)
    setup.install_packages(WANTED)
    assert log.read_text().splitlines() == ["update -q", "install -y --no-install-recommends gadget-package"]


def test_sudo_installs(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    log = apt_that_installs(machine)
    script(machine / "sudo", '[ "$1" = -n ] && shift; exec "$@"')
    setup.install_packages(WANTED)
    assert "install -y --no-install-recommends gadget-package" in log.read_text()


def test_without_root_it_prints_the_one_command(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    log = apt_that_installs(machine)
    with pytest.raises(NotFound) as raised:
        setup.install_packages(WANTED)
    assert raised.value.message == "not installed: gadget-package"
    assert raised.value.hint.splitlines()[0] == (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends gadget-package"
    )
    assert not log.exists()


def test_apt_fails(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    apt_that_installs(machine, code=100)
    (machine / "gadget").unlink(missing_ok=True)
    with pytest.raises(FloeError, match="apt-get could not install gadget-package"):
        setup.install_packages(WANTED)


def test_installed_but_still_missing(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    script(machine / "apt-get", "exit 0")
    with pytest.raises(FloeError, match="installed, but still not found: gadget-package"):
        setup.install_packages(WANTED)


def test_proofs(machine: Path) -> None:
    wanted = {"a": "/etc/passwd", "b": "/no/such/file", "c": "python:json", "d": "python:no_such_module", "e": "sh"}
    assert setup.missing_packages(wanted) == ["b", "d"]


def test_stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "STAMPS", tmp_path / "stamps")
    assert not setup._stamped("x", "1")
    setup._stamp("x", "1")
    assert setup._stamped("x", "1")
    assert not setup._stamped("x", "2")
    assert [p.name for p in (tmp_path / "stamps").iterdir()] == ["x"]


def test_changed_pins_discard_what_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "STAMPS", tmp_path / "build/.setup")
    monkeypatch.setattr(setup.upstream, "bring_all", lambda *words: 0)
    (tmp_path / "port").mkdir()
    pins = tmp_path / "port/upstream.toml"
    pins.write_text((REPO / "port/upstream.toml").read_text())
    setup.fetch_upstream()
    patch = tmp_path / "port/patches/lwip/a.patch"
    patch.parent.mkdir(parents=True)
    for change in (lambda: pins.write_text(pins.read_text() + "\n"), lambda: patch.write_text("--- a\n")):
        (tmp_path / "build/port").mkdir(parents=True)
        (tmp_path / "build/mpy-cross").write_text("")
        setup.fetch_upstream()
        assert (tmp_path / "build/port").exists()
        change()
        setup.fetch_upstream()
        assert not (tmp_path / "build/port").exists()
        assert not (tmp_path / "build/mpy-cross").exists()


def test_a_step_that_fails_says_what_it_printed() -> None:
    with pytest.raises(FloeError) as raised:
        setup._must(["sh", "-c", "echo the reason; exit 3"], "it could not be done")
    assert raised.value.message == "it could not be done"
    assert raised.value.evidence == "the reason"


def test_it_runs_without_any_third_party_package() -> None:
    code = "import sys; sys.path.insert(0, 'tools'); import floe.setup.__main__ as setup; print(setup.main(['--help']))"
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert "what make run (and make test) need" in done.stdout, done.stderr


def test_an_older_python_is_told_so() -> None:
    code = (
        "import sys; sys.version_info = (3, 9, 2); sys.version = '3.9.2 (x)'; sys.path.insert(0, 'tools'); import floe"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "floe: Python 3.11 or newer is needed, this is 3.9.2\n"
