# SPDX-License-Identifier: MIT
"""`make wheel`, and what it makes, installed into an empty venv: with Python and QEMU, and without compiler, make and
checkout, an application is built, run, tested and looked into. tests/fresh/wheel.py does it in a root without compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from floe import __version__
from floe.cli import wheel as wheel_of
from floe.errors import UsageError
from floe.qemu import commandline

REPO = Path(__file__).resolve().parents[2]
TOOLS = ("gcc", "cc", "ld", "as", "make")
TIMEOUT_S = 240


@dataclass(frozen=True)
class Installed:
    """A wheel in a venv. folder: where its user works."""

    venv: Path
    folder: Path

    def run(self, *argv: str | Path, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """A command of the venv, with QEMU and no compiler in its PATH."""
        return subprocess.run(
            [self.venv / "bin" / str(argv[0]), *map(str, argv[1:])],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        home = self.folder.parent / "home"
        kept = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy") or k.startswith(("PIP_", "SSL_"))}
        return kept | {"HOME": str(home), "PATH": str(self.folder.parent / "bin"), "LANG": "C.UTF-8"}

    def files(self) -> set[Path]:
        return {path for path in self.venv.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-P", "-m", "floe.cli.wheel", "-o", str(out)]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    top = tmp_path_factory.mktemp("installed folder")
    for name in ("work", "home", "bin"):
        (top / name).mkdir()
    for tool in (commandline.find_qemu(), shutil.which("sh")):
        assert tool is not None
        (top / "bin" / Path(tool).name).symlink_to(tool)
    subprocess.run([sys.executable, "-I", "-m", "venv", str(top / "venv")], check=True, timeout=TIMEOUT_S)
    there = Installed(top / "venv", top / "work")
    done = there.run("pip", "install", "-q", "--disable-pip-version-check", f"{wheel}[testing]")
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip(f"SKIP: pip does not get what floe needs: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert not any(shutil.which(tool, path=there.environment()["PATH"]) for tool in TOOLS)
    return there


def test_the_file_s_name_and_content(wheel: Path) -> None:
    assert wheel.name == f"floe-{__version__}-py3-none-linux_x86_64.whl"
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("build/mpy-cross", "build/ready/console.elf", "build/port/dev/libfloe.a", "frozen/boot.py"):
        assert f"floe/wheel/{name}" in names
    assert "floe/xenlab/packages.toml" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "build/"))]


def test_a_script(installed: Installed) -> None:
    before = installed.files()
    (installed.folder / "app.py").write_text("import sys\nprint('hello,', sys.argv[1])\nsys.exit(3)\n")
    done = installed.run("floe", "run", "app.py", "--", "world")
    assert (done.stdout, done.returncode) == ("hello, world\n", 3), done.stderr
    done = installed.run("floe", "build", "app.py", "-o", "app.elf")
    assert done.returncode == 0, done.stderr
    done = installed.run("floe", "inspect", "app.elf")
    assert "on the ready kernel console" in done.stdout
    assert f"made by   floe {__version__}, sealed" in done.stdout
    done = installed.run("floe", "run", "--linked", "app.py")
    assert done.returncode == 127
    assert "gcc is not installed" in done.stderr
    assert installed.files() == before, "something was written beside the installed files"
    assert (installed.folder.parent / "home/.cache/floe/apps").is_dir()


def test_web_serves(installed: Installed, wheel: Path) -> None:
    shutil.copytree(REPO / "images" / "web", installed.folder / "web")
    done = installed.run("floe", "run", "-d", "--name", "wheel-web", "-p", "0:80", "--json", "web")
    assert done.returncode == 0, done.stderr
    try:
        port = json.loads(done.stdout)["ports"][0]["host"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            assert answer.status == 200
            assert b"<html" in answer.read()
        # Another wheel in its place leaves what runs as it is.
        again = installed.run("pip", "install", "-q", "--no-deps", "--force-reinstall", wheel)
        assert again.returncode == 0, again.stderr
        assert "wheel-web" in installed.run("floe", "ps").stdout
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            assert answer.status == 200
    finally:
        done = installed.run("floe", "stop", "wheel-web")
    assert done.returncode == 0, done.stderr
    installed.run("floe", "rm", "wheel-web")


def test_every_image_is_built(installed: Installed) -> None:
    """A ready kernel has what each needs, native modules among it."""
    images = installed.folder / "images"
    shutil.copytree(REPO / "images", images)
    for file in sorted(images.glob("*/image.toml")):
        name = file.parent.name
        if "[packages]" in file.read_text():
            continue  # what it needs is on PyPI
        done = installed.run("floe", "build", file.parent, "-o", f"{name}.elf")
        assert done.returncode == 0, done.stderr
        assert "on the ready kernel" in installed.run("floe", "inspect", f"{name}.elf").stdout


def test_an_image_on_one_of_floe_s(installed: Installed) -> None:
    folder = installed.folder / "greeter"
    folder.mkdir()
    (folder / "image.toml").write_text('base = "function"\n')
    (folder / "handler.py").write_text("def greet(event, context):\n    return 'hello'\n")
    done = installed.run("floe", "run", "greeter")  # a name of a function that is not the one asked for
    assert done.returncode == 3, done.stderr
    assert "error function: handler.py has no function handle(event, context); there is: greet" in done.stdout


def test_a_dev_image_as_a_device(installed: Installed) -> None:
    (installed.folder / "dev.py").write_text("answer = 42\nprint('up')\n")
    done = installed.run("floe", "run", "--dev", "-d", "--name", "wheel-dev", "dev.py")
    assert done.returncode == 0, done.stderr
    try:
        done = installed.run("floe", "exec", "wheel-dev", "print(answer + 1)")
        assert (done.stdout, done.returncode) == ("43\n", 0), done.stderr
    finally:
        installed.run("floe", "stop", "wheel-dev")
        installed.run("floe", "rm", "wheel-dev")


def test_a_new_project_tests_itself(installed: Installed) -> None:
    done = installed.run("floe", "new", "project")
    assert done.returncode == 0, done.stderr
    done = installed.run("pytest", "-q", "project")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_doctor_asks_for_no_compiler(installed: Installed) -> None:
    done = installed.run("floe", "doctor", "--json")
    said = json.loads(done.stdout)
    needed = [f["name"] for f in said["findings"] if f["needed"]]
    assert "qemu" in needed
    assert not {"gcc", "ld", "make", "libc headers"} & set(needed)
    assert said["ok"], [f for f in said["findings"] if f["needed"] and not f["ok"]]


def test_another_release_is_in_no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLOE_UPSTREAM", "next")
    with pytest.raises(UsageError, match="and FLOE_UPSTREAM says next") as told:
        wheel_of.make(tmp_path)
    assert told.value.hint == "env -u FLOE_UPSTREAM make wheel"
    assert list(tmp_path.iterdir()) == []
