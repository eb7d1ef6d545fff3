# SPDX-License-Identifier: MIT
"""`floe doctor`: what this machine has and lacks for building and running images, and the command that mends it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click

from floe import landlock
from floe.bootdisk import image as bootable
from floe.bootdisk.formats import FORMATS
from floe.build import link, pipeline, port_archive
from floe.errors import EXIT_NOT_FOUND, EXIT_OK, FloeError, VmError
from floe.image import signature
from floe.qemu import accel, commandline, reach, ring3

_TOOL_TIMEOUT_S = 20
_MIN_QEMU = (7, 2)
_DEVICES = (
    "virtio-net-device",
    "virtio-serial-device",
    "virtserialport",
    "virtio-rng-device",
    "virtio-net-pci",
    "isa-debug-exit",
)
_APT = "sudo apt-get update && sudo apt-get install -y --no-install-recommends"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. needed: nothing can be built or run without it. mend: a command, "" when all is well."""

    name: str
    ok: bool
    needed: bool
    detail: str
    mend: str = ""


@click.command(short_help="Say what this machine has and lacks.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(as_json: bool) -> int:
    """Look at this machine. Exit code 0 when everything needed is there, 127 when not."""
    findings = list(examine())
    good = all(f.ok or not f.needed for f in findings)
    if as_json:
        click.echo(json.dumps({"ok": good, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        for f in findings:
            click.echo(f"{'ok     ' if f.ok else 'LACKS  ' if f.needed else 'note   '} {f.name:<14} {f.detail}")
            if f.mend:
                first, *rest = f.mend.splitlines()
                click.echo(f"{'':<23}try: {first}")
                for line in rest:
                    click.echo(f"{'':<28}{line}")
    return EXIT_OK if good else EXIT_NOT_FOUND


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which things are used."""
    yield _python()
    if port_archive.INSTALLED:
        yield _linker()
    else:
        for tool, package in (("gcc", "gcc"), ("ld", "binutils"), ("make", "make")):
            yield _tool(tool, package)
        yield _header()
        yield _port_archives()
        yield _apt_source()
    yield _cache()
    yield _signatures()
    yield _boot_disks()
    yield from _qemu()
    kvm = _kvm()
    yield kvm
    if kvm.ok:
        yield _ring3()
    yield _confinement()
    yield _xen()
    yield _loopback()


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Finding("python", good, True, version, "" if good else f"{_APT} python3")


def _tool(name: str, package: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, False, True, "not installed", f"{_APT} {package}")
    said = _output([path, "--version"])
    return Finding(name, True, True, said.splitlines()[0] if said else path)


def _linker() -> Finding:
    """An installed floe takes a compiler where there is one, and needs none."""
    if link.is_possible():
        return Finding("compiler", True, False, "gcc and ld: images are linked; --ready does without")
    return Finding("compiler", True, False, "none, and none is needed: images are on ready kernels")


def _header() -> Finding:
    """The C library's headers, which gcc alone does not bring: mpy-cross is compiled against them."""
    found = (
        "stdio.h" in _output(["gcc", "-E", "-x", "c", "-"], stdin="#include <stdio.h>\n")
        if shutil.which("gcc")
        else False
    )
    mend = "" if found else f"{_APT} libc6-dev"
    return Finding("libc headers", found, True, "found" if found else "gcc finds no stdio.h", mend)


def _port_archives() -> Finding:
    missing = [p for p in ("sealed", "dev") if not (port_archive.BUILD / "port" / p / "libfloe.a").exists()]
    if missing:
        return Finding("port archive", False, True, f"not compiled: {', '.join(missing)}", "make setup")
    return Finding("port archive", True, True, "sealed, dev")


def _apt_source() -> Finding:
    """Where upstream sources come from first; upstream's own release files are the second origin."""
    if shutil.which("apt-get") is None:
        return Finding("apt source", False, False, "no apt-get: upstream's own release files are used")
    lines = _output(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]).split()
    if not any(line.rstrip("/").endswith("/debian") for line in lines):
        return Finding("apt source", False, False, "apt names no Debian mirror: upstream's own release files are used")
    return Finding("apt source", True, False, "a Debian mirror is configured")


def _cache() -> Finding:
    """Where images are built. Tried, for neither root's nor a file system's rights stand in the folder's mode."""
    cache = folder = port_archive.CACHE
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        said = pipeline.cannot_write(e)
        return Finding("cache", False, True, said.message, said.hint)
    return Finding("cache", True, True, str(cache))


def _signatures() -> Finding:
    if shutil.which(signature.TOOL) is None:
        return Finding(
            "signatures", False, False, f"no {signature.TOOL}: for --sign and --verify", f"{_APT} openssh-client"
        )
    return Finding("signatures", True, False, f"{signature.TOOL} makes and verifies them")


def _boot_disks() -> Finding:
    packages = dict.fromkeys(package for form in FORMATS for package in bootable.lacking(form))
    if packages:
        lacks = f"for floe build --disk only, not installed: {', '.join(packages)}"
        return Finding("boot disks", False, False, lacks, f"{_APT} {' '.join(packages)}")
    return Finding("boot disks", True, False, f"floe build --disk makes them: {', '.join(FORMATS)}")


def _qemu() -> Iterator[Finding]:
    mend = f"{_APT} qemu-system-x86"
    try:
        path = commandline.find_qemu()
    except FloeError as e:
        yield Finding(
            "qemu", False, True, e.message, e.hint.splitlines()[0] if os.environ.get(commandline.CHOICE) else mend
        )
        return
    match = re.search(r"version (\d+)\.(\d+)(\.\d+)?", _output([path, "--version"]))
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    good = version >= _MIN_QEMU
    wanted = ".".join(map(str, _MIN_QEMU))
    whose = f", {path}" + (f" (by {commandline.CHOICE})" if os.environ.get(commandline.CHOICE) else "")
    detail = (match[0] if match else "unknown version") + ("" if good else f", older than {wanted}") + whose
    yield Finding("qemu", good, True, detail, "" if good else mend)
    machines = {line.split()[0] for line in _output([path, "-machine", "help"]).splitlines() if line.strip()}
    named = tuple(name for name in commandline.MACHINES if name != commandline.IOMMU)  # the other is a q35 and a device
    yield _offered("qemu machines", named, machines, mend)
    devices = set(re.findall(r'name "([^"]+)"', _output([path, "-device", "help"])))
    yield _offered("qemu devices", _DEVICES, devices, mend)
    backends = set(_output([path, "-netdev", "help"]).split())
    yield _offered("qemu networks", ("user", "tap", "stream"), backends, mend)
    yield _firmware(path, mend)


def _offered(name: str, wanted: tuple[str, ...], offered: set[str], mend: str) -> Finding:
    missing = [item for item in wanted if item not in offered]
    if missing:
        return Finding(name, False, True, f"not offered: {', '.join(missing)}", mend)
    return Finding(name, True, True, ", ".join(wanted))


def _firmware(path: str, mend: str) -> Finding:
    """QEMU itself says whether it finds the firmware: a machine that cannot load it does not start."""
    argv = [
        path,
        "-M",
        "microvm",
        "-accel",
        "tcg",
        "-bios",
        commandline.FIRMWARE,
        "-nodefaults",
        "-display",
        "none",
        "-S",
    ]
    said = _output([*argv, "-monitor", "stdio"], stdin="quit\n")
    good = "(qemu)" in said
    return Finding(
        "firmware",
        good,
        True,
        commandline.FIRMWARE if good else f"{commandline.FIRMWARE} not found",
        "" if good else mend,
    )


def _kvm() -> Finding:
    try:
        accel.check_kvm()
    except VmError as e:
        return Finding("kvm", False, False, f"{e.message}; TCG is used", e.hint.removesuffix(f"\n{accel.WITHOUT}"))
    return Finding("kvm", True, False, "opens, and makes a VM")


def _ring3() -> Finding:
    """Whether a guest's monitor is out of its own ring 3's reach."""
    refused = ring3.refuses_syscall(accel.KVM_DEVICE)
    if refused is None:
        return Finding(
            "ring 3", False, False, "the probe of KVM did not end: whether ring 3 is kept apart is not known"
        )
    if not refused:
        return Finding("ring 3", False, False, ring3.NO_BOUNDARY, "--accel tcg, or a host with VT-x or SVM")
    return Finding("ring 3", True, False, "a boundary: KVM refuses syscall in it")


def _confinement() -> Finding:
    """Whether a guest that gets out into QEMU is held there."""
    if lacking := reach.lacks():
        return Finding("confinement", False, False, lacking)
    version = landlock.abi()
    return Finding("confinement", True, False, f"QEMU's, by Landlock's ABI {version}: {landlock.what(version)}")


def _xen() -> Finding:
    """Whether `floe run --hypervisor xen` finds one."""
    from floe.xen import dom0
    from floe.xenlab import lab

    if dom0.is_here():
        return Finding("xen", True, False, f"this machine is a dom0, with {dom0.find_xl()}")
    if lab.is_up():
        return Finding("xen", True, False, "the lab is up")
    return Finding("xen", False, False, "no dom0, and the lab is down: for --hypervisor xen only", "floe lab xen up")


def _loopback() -> Finding:
    """Forwarded ports are opened on 127.0.0.1."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.getsockname()
    except OSError as e:
        return Finding("ports", False, True, f"127.0.0.1: {e.strerror}", "sudo ip link set lo up")
    return Finding("ports", True, True, "can be opened on 127.0.0.1")


def _output(argv: list[str], stdin: str = "") -> str:
    """What a tool prints on both streams; "" when it cannot be run or hangs."""
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
