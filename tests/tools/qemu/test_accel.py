# SPDX-License-Identifier: MIT
"""tools/floe/qemu/accel.py: what of this machine's processor a guest's state depends on. Whether KVM serves:
tests/tools/cli/test_doctor.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.hypervisor.qemu_driver import Qemu
from floe.qemu import accel
from floe.spec.vmspec import VmSpec

CPUINFO = "processor\t: 0\nmodel name\t: A {model} CPU\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: other\n"


def seen(kind: str, cpuinfo: Path, **row: str) -> str:
    """What a copy on another host and a snapshot both ask for."""
    cpuinfo.write_text(CPUINFO.format(**{"model": "fast", "flags": "fpu sse vmx"} | row))
    driver = Qemu()
    asked = driver.likeness(kind)["processor"]
    assert driver.state_key(VmSpec(Path("x.elf"), memory=1 << 20, accel=kind))["cpu"] == asked
    return asked


def test_the_processor_is_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(accel, "_CPUINFO", cpuinfo)
    monkeypatch.setattr(accel, "check_kvm", lambda device=None: None)
    as_it_is = seen("kvm", cpuinfo)
    assert as_it_is.startswith("A fast CPU (vmx, features ")
    assert seen("kvm", cpuinfo, flags="sse  vmx fpu") == as_it_is
    others = [{"model": "slow"}, {"flags": "fpu vmx"}, {"flags": "fpu sse"}]
    assert len({as_it_is, *(seen("kvm", cpuinfo, **other) for other in others)}) == 4
    assert seen("kvm", cpuinfo, flags="fpu").startswith("A fast CPU (no hardware virtualisation, features ")
    assert seen("tcg", cpuinfo) == seen("tcg", cpuinfo, model="slow") == "QEMU's max"
