# SPDX-License-Identifier: MIT
"""VMs that another floe started: the one that is installed in its place lists, reads, asks and ends them, and they live on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from floe.store import vmfolder
from floe.store.records import Names
from tests.support.command import failure, floe
from tests.support.fixtures import REPO
from tests.support.vms import Vms, kill, log, until

# The commit, and the module of the command: before there were packages; before there were restarts.
OLDER = {
    "flat": ("bbcff264fbcbf6f3956da605295c5655d6ea3c80", "floe.cli"),
    "no-restarts": ("f98404d0491e512b7df175a20644ca52596750ff", "floe.cli.main"),
}
# As the first of them wrote it down.
SPEC = {
    "name": "a", "app": "app.py", "profile": "sealed", "argv": ["/usr/bin/qemu-system-x86_64", "-S"], "memory": 33554432,
    "accel": "kvm", "machine": "microvm", "created": 1700000000.0, "hypervisor": "qemu",
    "ports": [{"address": "127.0.0.1", "host": 8080, "guest": 80, "protocol": "tcp"}],
    "leftovers": [], "console_port": None,
}  # fmt: skip
SCRIPT = "print('up')\n"


@dataclass(frozen=True)
class Venv:
    """A floe in a venv of its own, which another one may take the place of."""

    path: Path

    @property
    def package(self) -> Path:
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.path)})) / "floe"

    def install(self, package: Path, version: str = "") -> None:
        """As pip does it: what was there is gone."""
        if self.package.exists():
            shutil.rmtree(self.package)
        shutil.copytree(package, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        if version:
            (self.package / "__init__.py").write_text(f'"""A floe."""\n__version__ = "{version}"\n')

    def floe(self, *argv: str | Path, module: str = "floe.cli.main") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.path / "bin" / "python", "-P", "-c", f"from {module} import main; main()", *map(str, argv)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    made = Venv(tmp_path / "venv")
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", made.path], check=True, timeout=60)
    # The packages that floe uses, and not the floe that is beside them: that one is found by a .pth of its own.
    (made.package.parent / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dev image."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "board.py").write_text(SCRIPT)
    done = floe("build", "--dev", folder / "board.py", "-o", folder / "board.elf")
    assert done.returncode == 0, done.stderr
    return folder / "board.elf"


def package_of(commit: str, folder: Path) -> Path:
    """tools/floe as it was then."""
    archive = subprocess.run(["git", "-C", REPO, "archive", commit, "tools/floe"], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("SKIP: that commit is not known here (a shallow clone, or no clone)")
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True, timeout=60)
    return folder / "tools" / "floe"


def state(venv: Venv, name: str) -> dict[str, object]:
    done = venv.floe("ps", "--all", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = next(vm for vm in json.loads(done.stdout) if vm["name"] == name)
    return found


def goes_on(venv: Venv) -> None:
    """The VM of the other floe is as one of this floe's."""
    assert state(venv, "a")["state"] == "running"
    done = venv.floe("exec", "a", "print(6 * 7)")
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    done = venv.floe("logs", "a")
    assert done.returncode == 0 and done.stdout.startswith("up"), done


@pytest.mark.parametrize("version", OLDER)
def test_an_older_floe_is_replaced_while_its_vm_runs(
    vms: Vms, venv: Venv, board: Path, tmp_path: Path, version: str
) -> None:
    """Its modules are elsewhere, or nowhere: neither its keeper nor the parent of QEMU may need one."""
    commit, module = OLDER[version]
    venv.install(package_of(commit, tmp_path / "older"))
    done = venv.floe("run", "--detach", "--name", "a", board, module=module)
    assert done.returncode == 0, done.stderr
    folder = vmfolder.find("a")
    vms.note(folder)
    until(lambda: ">>> " in log("a"), "the prompt")
    venv.install(REPO / "tools" / "floe", "9.0.0")
    assert venv.floe("--version").stdout == "floe 9.0.0\n"
    goes_on(venv)
    kill(folder.keeper)
    goes_on(venv)
    vms.note(folder)
    assert venv.floe("stop", "a").returncode == 0
    assert (state(venv, "a")["state"], state(venv, "a")["exit_code"]) == ("ended", 0)
    done = venv.floe("start", "a")
    assert done.returncode == 125
    assert "a was started by an older floe, which did not write down what a start takes" in done.stderr
    assert venv.floe("rm", "a").returncode == 0


def test_this_floe_is_replaced_while_its_vm_runs(vms: Vms, venv: Venv, board: Path) -> None:
    """The keeper that started it starts it again, with no file of the floe that it is from."""
    venv.install(REPO / "tools" / "floe", "8.0.0")
    done = venv.floe("run", "--detach", "--name", "a", "--restart", "on-failure", board)
    assert done.returncode == 0, done.stderr
    folder = vmfolder.find("a")
    until(lambda: ">>> " in log("a"), "the prompt")
    shutil.rmtree(venv.package)
    for count in (1, 2):
        kill(folder.vm)
        until(lambda count=count: log("a").count(">>> ") == count + 1, "another start")
    venv.install(REPO / "tools" / "floe", "9.0.0")
    vms.note(folder)
    goes_on(venv)
    kill(folder.keeper)
    goes_on(venv)
    vms.note(folder)
    assert state(venv, "a")["restarts"] == 2
    assert venv.floe("stop", "a").returncode == 0
    done = venv.floe("start", "a")
    assert done.returncode == 0, done.stderr
    vms.note(folder)
    assert venv.floe("rm", "--force", "a").returncode == 0


@pytest.mark.parametrize(
    "extra", [{}, {"words of": "a later floe", "restart": "when-it-likes"}], ids=["older", "later"]
)
def test_a_folder_of_another_floe_s(vms: Vms, extra: dict[str, str]) -> None:
    """Its VM has ended: what is not known of it is told to be so."""
    folder = vmfolder.Folder(vmfolder.root() / "a")
    folder.path.mkdir(parents=True)
    spec = json.dumps({**SPEC, "sockets": str(folder.path), **extra})
    (folder.path / Names.SPEC).write_text(spec)
    (folder.path / Names.END).write_text('{"code":3,"cause":"exit","at":1700000061.0,"problem":""}'.ljust(512))
    folder.console_log.write_text("said\r\n")
    row = floe("ps", "-a").stdout.splitlines()[1].split()
    assert row == ["a", "ended", "(3,", "exit)", "qemu", "-", "-", "-", "127.0.0.1:8080->80", "32M", "0", "1m01s"]
    assert floe("logs", "a").stdout == "said\n"
    assert failure("start", "a", code=125) == (
        "a was started by an older floe, which did not write down what a start takes",
        "",
        "floe rm a && floe run --detach --name a app.py",
    )
    assert failure("service", "a", code=125)[0] == "the options that a was started with are not known"
    assert floe("rm", "a").returncode == 0
