# SPDX-License-Identifier: MIT
"""tools/floe/bench/surroundings.py: what is ours of the processors, what is others', and what the machine is."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from floe import __version__
from floe.bench import surroundings
from floe.qemu import accel

BURN = "import sys, time\nwhile time.process_time() < 1: pass\nprint(flush=True)\nsys.stdin.read()"


def test_time_of_a_child_is_ours_while_it_runs_and_when_it_has_ended() -> None:
    before = surroundings.own_seconds()
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = surroundings.own_seconds()
        assert child.pid in surroundings.descendants()
    assert child.pid not in surroundings.descendants()
    assert running - before >= 0.9
    assert surroundings.own_seconds() - before >= 0.9


def test_what_others_take_is_what_we_do_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine of two processors over 10 s, 20 s of them in all: 9 s busy, of which 4 were ours; 1 s was stolen."""
    stat = tmp_path / "stat"
    hz = surroundings._TICKS
    monkeypatch.setattr(surroundings, "_PROC", tmp_path)
    monkeypatch.setattr(surroundings, "own_seconds", lambda: 100.0)
    stat.write_text(f"cpu  {hz * 50} 0 {hz * 7} {hz * 900} {hz} 0 0 {hz * 3} 0 0\ncpu0 1 2\n")
    watch = surroundings.Watch()
    monkeypatch.setattr(surroundings, "own_seconds", lambda: 104.0)
    stat.write_text(f"cpu  {hz * 56} 0 {hz * 10} {hz * 909} {hz * 2} 0 0 {hz * 4} 0 0\ncpu0 1 2\n")
    seen = watch.look()
    assert (seen.others, seen.steal) == (0.25, 0.05)


def test_the_machine_is_described() -> None:
    told = surroundings.describe()
    assert told["floe"] == __version__
    assert str(told["qemu"]).startswith("QEMU emulator version")
    assert int(told["processors"]) >= 1
    assert int(told["memory_mib"]) > 100
    assert all(told[key] for key in ("cpu", "kernel", "kvm", "micropython", "python", "commit"))
    assert time.strptime(str(told["date"]), "%Y-%m-%d %H:%M:%S %z").tm_year >= 2024


def test_a_kvm_that_is_not_there_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accel, "KVM_DEVICE", tmp_path / "kvm")
    assert surroundings.kvm_kind().startswith("none: KVM is not available")
