# SPDX-License-Identifier: MIT
"""What `floe build --disk` makes, on machines that get a disk and no kernel: q35 with SeaBIOS, and with Debian's OVMF.

Under emulation: what KVM is tried with need not have what runs firmware at speed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from floe.qemu.commandline import find_qemu
from tests.support.command import floe

OVMF = Path("/usr/share/OVMF")
BIOS, UEFI = "bios", "uefi"
BOOT_S = 120
MACHINE = ["-nodefaults", "-no-user-config", "-display", "none", "-M", "q35", "-accel", "tcg", "-m", "96"]
EXIT = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
IMAGE = """name = "app"
args = ["one two", "", "it's \\"q\\" \\\\ $x"]
[env]
WHERE = "100% $HOME 'q' é"
"""
SCRIPT = """import os, sys
print(sys.argv[1:], os.getenv("WHERE"))
sys.exit(7)
"""
SAID = "['one two', '', 'it\\'s \"q\" \\\\ $x'] 100% $HOME 'q' é\n"


def command(firmware: str, disk: Path, folder: Path, *more: str) -> list[str]:
    """Of a machine whose console is its 16550, on standard output."""
    argv = [find_qemu(), *MACHINE, "-serial", "stdio", *more]
    if firmware == UEFI:
        variables = folder / "variables.fd"
        shutil.copy(OVMF / "OVMF_VARS_4M.fd", variables)
        argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF / 'OVMF_CODE_4M.fd'}"]
        argv += ["-drive", f"if=pflash,format=raw,file={variables}"]
    if disk.suffix == ".iso":
        return [*argv, "-cdrom", str(disk)]
    kind = {".vhd": "vpc"}.get(disk.suffix, disk.suffix[1:])
    return [*argv, "-drive", f"if=virtio,format={kind},file={disk}"]


def booted(firmware: str, disk: Path, folder: Path, *more: str) -> tuple[int, str]:
    """QEMU's exit status, and what was on the console."""
    argv = command(firmware, disk, folder, *more)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_S, check=False)
    return done.returncode, done.stdout.decode(errors="replace").replace("\r", "")


def made(folder: Path, form: str, app: Path | str) -> Path:
    done = floe("build", app, "--disk", form, "-o", folder / f"app.{form}")
    assert done.returncode == 0, done.stderr
    assert f"floe: wrote {folder / f'app.{form}'}\n" in done.stderr
    return folder / f"app.{form}"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("an app")
    (folder / "image.toml").write_text(IMAGE)
    (folder / "main.py").write_text(SCRIPT)
    return folder


@pytest.mark.parametrize("firmware", [BIOS, UEFI])
@pytest.mark.parametrize("form", ["raw", "iso"])
def test_both_firmwares_boot_it(app: Path, form: str, firmware: str, tmp_path: Path) -> None:
    """With the arguments and variables of image.toml, whatever they hold; and the exit code leaves as ever."""
    disk = made(app, form, app)
    status, console = booted(firmware, disk, tmp_path, *EXIT)
    assert console.endswith(SAID)
    assert "PANIC" not in console
    assert status == (7 + 1) * 2 + 1
