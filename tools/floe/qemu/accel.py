# SPDX-License-Identifier: MIT
"""Which accelerators serve on this host: KVM where /dev/kvm really makes a VM, else TCG."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import grp
import hashlib
import os
import stat
from pathlib import Path

from floe.errors import UsageError, VmError

ACCELS = ("auto", "kvm", "tcg")
KVM_DEVICE = Path("/dev/kvm")
_CPUINFO = Path("/proc/cpuinfo")
WITHOUT = "or without: --accel tcg"

# linux/kvm.h: _IO(KVMIO, 0) and _IO(KVMIO, 1); the version has been 12 since Linux 2.6.22.
_KVM_GET_API_VERSION = 0xAE00
_KVM_CREATE_VM = 0xAE01
_KVM_API_VERSION = 12

# -arch-capabilities: a KVM without hardware virtualisation cannot set MSR 0x10a, which no guest of ours reads.
_CPU = {"kvm": "host,-arch-capabilities", "tcg": "max"}


class KvmNotPermitted(VmError):
    """/dev/kvm is there and this user may not open it."""


def check_kvm(device: Path | None = None) -> None:
    """Make a VM and close it again. Raises VmError saying what is missing, KvmNotPermitted for lack of rights."""
    device = device or KVM_DEVICE
    try:
        kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        raise KvmNotPermitted(
            f"KVM not permitted: no right to open {device}",
            evidence=_rights(device),
            hint=f"{_how_to_be_let_in(device)}\n{WITHOUT}",
        ) from None
    except OSError as e:
        raise VmError(
            f"KVM is not available: {device}: {e.strerror}",
            hint=f"sudo modprobe kvm_intel (or kvm_amd)\n{WITHOUT}",
        ) from None
    try:
        if (version := fcntl.ioctl(kvm, _KVM_GET_API_VERSION)) != _KVM_API_VERSION:
            raise VmError(
                f"KVM is not usable: {device} speaks API {version}, not {_KVM_API_VERSION}", hint="--accel tcg"
            )
        os.close(fcntl.ioctl(kvm, _KVM_CREATE_VM, 0))
    except OSError as e:
        raise VmError(f"KVM is not usable: {device} makes no VM: {e.strerror}", hint="--accel tcg") from None
    finally:
        os.close(kvm)


def choose(wanted: str) -> tuple[str, str]:
    """Accelerator to use for --accel, and why KVM was passed over ("" where it was not).

    Raises VmError when `kvm` was asked for by name and does not serve."""
    if wanted not in ACCELS:
        raise UsageError(f"--accel {wanted}: no such accelerator", hint=f"one of {', '.join(ACCELS)}")
    if wanted == "tcg":
        return "tcg", ""
    try:
        check_kvm()
    except VmError as e:
        if wanted == "kvm":
            raise
        return "tcg", e.message
    return "kvm", ""


def arguments(accel: str) -> list[str]:
    """QEMU's arguments for an accelerator returned by choose()."""
    return ["-accel", accel, "-cpu", _CPU[accel]]


def cpu_seen(accel: str) -> str:
    """What a guest's state depends on of this machine's processor: with KVM its model, whether it virtualises, and all
    that it can do."""
    if accel != "kvm":
        return f"QEMU's {_CPU[accel]}"
    known: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in _CPUINFO.read_text().split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            known[key.strip()] = value.strip()
    flags = sorted(known.get("flags", "").split())
    kind = ", ".join({"vmx", "svm"}.intersection(flags)) or "no hardware virtualisation"
    features = hashlib.sha256(" ".join(flags).encode()).hexdigest()[:8]
    return f"{known.get('model name', '?')} ({kind}, features {features})"


def _rights(device: Path) -> str:
    st = device.stat()
    return f"{stat.filemode(st.st_mode)} owner uid {st.st_uid}, group {_group(device)}; you are uid {os.geteuid()}"


def _how_to_be_let_in(device: Path) -> str:
    """Never root's own group: its members may do far more than make VMs."""
    st = device.stat()
    join = f"sudo usermod -aG {{}} {getpass.getuser()}, then log in again"
    if st.st_gid != 0 and st.st_mode & 0o060 == 0o060:
        return join.format(_group(device))
    rule = 'KERNEL=="kvm", GROUP="kvm", MODE="0660"'
    return (
        "an administrator gives the device to the group kvm, and you to the group:\n"
        f"echo '{rule}' | sudo tee /etc/udev/rules.d/65-kvm.rules\n"
        f"sudo groupadd -f kvm && sudo udevadm control --reload && sudo udevadm trigger {device}\n" + join.format("kvm")
    )


def _group(device: Path) -> str:
    gid = device.stat().st_gid
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
