# SPDX-License-Identifier: MIT
"""What `floe build --disk` makes, on machines that get a disk and no kernel: q35 with SeaBIOS, and with Debian's OVMF.

Under emulation: not every KVM runs firmware at speed. docs/disk-images.md, which is run, has a raw disk and UEFI."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from floe.bootdisk import image
from floe.bootdisk.formats import FORMATS
from floe.qemu.commandline import find_qemu
from tests.boot.dnspeer import free_port
from tests.support.command import floe

ROOT = Path(__file__).resolve().parents[2]
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
    argv = [find_qemu(), *MACHINE, "-serial", "stdio"]
    if firmware == UEFI:
        variables = folder / "variables.fd"
        shutil.copy(OVMF / "OVMF_VARS_4M.fd", variables)
        argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF / 'OVMF_CODE_4M.fd'}"]
        argv += ["-drive", f"if=pflash,format=raw,file={variables}"]
    if disk.suffix == ".iso":
        return [*argv, "-cdrom", str(disk), *more]
    kind = {".vhd": "vpc"}.get(disk.suffix, disk.suffix[1:])
    return [*argv, "-drive", f"if=virtio,format={kind},file={disk}", *more]


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


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    lacking = dict.fromkeys(package for form in FORMATS for package in image.lacking(form))
    if lacking or not OVMF.is_dir():
        pytest.skip(f"SKIP: not installed: {', '.join(lacking) or 'ovmf'}")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("an app")
    (folder / "image.toml").write_text(IMAGE)
    (folder / "main.py").write_text(SCRIPT)
    return folder


@pytest.mark.parametrize(
    ("form", "firmware"),
    [("raw", BIOS), ("iso", BIOS), ("vmdk", BIOS), ("vhd", BIOS)],
)
def test_firmware_boots_it(app: Path, form: str, firmware: str, tmp_path: Path) -> None:
    """With the arguments and variables of image.toml, whatever they hold; and the exit code leaves as ever."""
    status, console = booted(firmware, made(app, form, app), tmp_path, *EXIT)
    assert console.endswith(SAID)
    assert "PANIC" not in console
    assert status == (7 + 1) * 2 + 1


@pytest.mark.parametrize(("form", "firmware"), [("qcow2", BIOS), ("iso", UEFI)])
def test_a_site_is_served_and_ends_when_asked(form: str, firmware: str, tmp_path: Path) -> None:
    """With RAM above 4 GiB, for which UEFI gives devices addresses above it, too."""
    disk, port = made(tmp_path, form, ROOT / "images" / "web"), free_port()
    network = ["-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:80", "-device", "virtio-net-pci,netdev=n"]
    ours, monitor = socket.socketpair()
    more = ["-m", "3G", *network, "-chardev", f"socket,id=m,fd={monitor.fileno()}", "-mon", "chardev=m"]
    argv = command(firmware, disk, tmp_path, *more)
    with ours, subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=[monitor.fileno()]
    ) as qemu:  # fmt: skip
        monitor.close()
        try:
            assert b"<title>Floe" in page(f"http://127.0.0.1:{port}/")
            ours.sendall(b"system_powerdown\n")
            console = qemu.communicate(timeout=BOOT_S)[0]
        finally:
            qemu.kill()
    assert b"serving on port 80" in console
    assert b"PANIC" not in console
    assert qemu.returncode == 0


def page(url: str) -> bytes:
    """What is served there, as soon as something is."""
    end = time.monotonic() + BOOT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            assert time.monotonic() < end, f"nothing at {url}"
            time.sleep(0.2)


def test_the_boot_disk_is_no_disk_of_the_script_s(tmp_path: Path) -> None:
    """Which sees it beside its own: that is at /, and what it booted from stays as it is."""
    (tmp_path / "app.py").write_text(
        "import os, vfs\nopen('kept', 'w').write('x')\nprint(os.listdir('/'), vfs.mount())\n"
    )
    disk, data = made(tmp_path, "raw", tmp_path / "app.py"), tmp_path / "data.img"
    data.write_bytes(bytes(1 << 20))
    before = disk.read_bytes()
    status, console = booted(BIOS, disk, tmp_path, "-drive", f"if=virtio,format=raw,file={data}")
    assert "['kept'" in console
    assert "/disk1" not in console
    assert status == 0
    assert disk.read_bytes() == before
    assert floe("disk", "ls", data).stdout.split()[-1] == "kept"
