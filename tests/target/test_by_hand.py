# SPDX-License-Identifier: MIT
"""An ELF that QEMU starts without floe, with options of a person's own: what is there works, what lacks is told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.qemu import commandline
from floe.qemu.accel import arguments
from floe.vm.outcome import Outcome, judge

MACHINES = ["microvm,acpi=off", "q35", "pc"]

pytestmark = pytest.mark.usefixtures("each_qemu")


def by_hand(elf: Path, machine: str, accel: str, *more: str) -> tuple[Outcome | None, str]:
    """How a start ended, and what the guest said on its 16550, which is its console where it has no other."""
    argv = [commandline.find_qemu(), "-M", machine, *arguments(accel), "-m", "32M", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-bios", commandline.FIRMWARE, "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-serial", "stdio", "-kernel", str(elf), *more]  # fmt: skip
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return judge(done.returncode, ""), done.stdout


@pytest.mark.parametrize("machine", ["microvm,acpi=off", "q35"])
def test_a_command_line_over_the_limit_is_refused(build: Callable[..., Path], accel: str, machine: str) -> None:
    """Whatever was cut off: the end of an argument, an argument, a device."""
    fits, cut = ("-- " + "z" * length for length in (4091, 4092))
    assert by_hand(build("hello"), machine, accel, "-append", fits) == (Outcome(0, "exit"), "hello, world\n")
    outcome, said = by_hand(build("hello"), machine, accel, "-append", cut)
    assert outcome == Outcome(1, "exit")
    assert said == (
        "floe: the kernel command line has more than 4094 bytes\n"
        "try: fewer arguments; variables by fw_cfg, see docs/by-hand.md\n"
    )


def test_devices_behind_an_iommu_work(build: Callable[..., Path], accel: str) -> None:
    """iommu_platform=on has them insist on ACCESS_PLATFORM. No driver complains, and the text goes to the console."""
    console = ("-device", "virtio-serial-pci,disable-legacy=on,iommu_platform=on", "-chardev", "null,id=c")
    rest = ("-device", "virtconsole,chardev=c", "-device", "virtio-rng-pci,disable-legacy=on,iommu_platform=on")
    assert by_hand(build("hello"), "q35", accel, *console, *rest) == (Outcome(0, "exit"), "")


WORKS = """
import socket, vfs
with open("/kept", "w") as f:
    f.write("by the disk")
s = socket.socket()
s.connect(("10.0.2.100", 7))
s.send(b"by the card " * 1000)
got = b""
while len(got) < 12000:
    got += s.recv(4096)
print(open("/kept").read(), got == b"by the card " * 1000)
"""


def works(
    build: Callable[..., Path], accel: str, folder: Path, machine: str, kind: str = "device", card: str = ""
) -> None:
    """Console, entropy, network card and disk do, and nothing is complained of."""
    script, disk, console = folder / "works.py", folder / "disk", folder / "console"
    script.write_text(WORKS)
    disk.write_bytes(bytes(1 << 20))
    more = ["-append", "ip=dhcp", "-chardev", f"file,id=c,path={console}", "-device", f"virtio-serial-{kind}",
            "-device", "virtconsole,chardev=c", "-device", f"virtio-rng-{kind}",
            "-netdev", "user,id=n,guestfwd=tcp:10.0.2.100:7-cmd:cat", "-drive", f"if=none,id=d,format=raw,file={disk}",
            "-device", f"virtio-net-{kind},netdev=n{card}", "-device", f"virtio-blk-{kind},drive=d"]  # fmt: skip
    assert by_hand(build(script), machine, accel, *more) == (Outcome(0, "exit"), "")
    assert console.read_text() == "by the disk True\n"
    assert b"by the disk" in disk.read_bytes()


@pytest.mark.parametrize("header", [12, 10])
def test_the_first_register_layout(build: Callable[..., Path], accel: str, tmp_path: Path, header: int) -> None:
    """What QEMU gives a microvm unless it is told otherwise."""
    works(build, accel, tmp_path, "microvm,acpi=off", card=f",mrg_rxbuf={'on' if header == 12 else 'off'}")


@pytest.mark.parametrize("machine", ["microvm", "microvm,ioapic2=off", "microvm,pcie=on"])
def test_devices_that_acpi_s_tables_name(build: Callable[..., Path], accel: str, tmp_path: Path, machine: str) -> None:
    """No word on the command line, interrupts at the second I/O APIC; no port of PCI's configuration space."""
    works(build, accel, tmp_path, machine, "pci" if "pcie" in machine else "device")


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_devices_behind_bridges_work(build: Callable[..., Path], accel: str, tmp_path: Path, machine: str) -> None:
    """qboot numbers the buses and no more. libvirt puts every device of q35 behind a port of its own."""
    kind, console = "pcie-root-port" if machine == "q35" else "pci-bridge", tmp_path / "console"
    devices = [f"{kind},id=b{n},{'chassis' if machine == 'q35' else 'chassis_nr'}={n}" for n in (1, 2)]
    devices += ["virtio-rng-pci,bus=b1", "virtio-serial-pci,bus=b2", "virtconsole,chardev=c"]
    more = [word for device in devices for word in ("-device", device)]
    outcome = by_hand(build("hello"), machine, accel, "-chardev", f"file,id=c,path={console}", *more)
    assert (outcome, console.read_text()) == ((Outcome(0, "exit"), ""), "hello, world\n")


def test_a_microvm_that_names_no_device_says_what_does(build: Callable[..., Path], accel: str) -> None:
    """Where it has none, nothing lacks."""
    line = "virtio: no virtio_mmio.device= words on the command line; -M microvm,acpi=off adds them\n"
    machine, rng = "microvm,acpi=off,auto-kernel-cmdline=off", ("-device", "virtio-rng-device")
    assert by_hand(build("hello"), machine, accel, *rng) == (Outcome(0, "exit"), line + "hello, world\n")
    assert by_hand(build("hello"), machine, accel) == (Outcome(0, "exit"), "hello, world\n")
