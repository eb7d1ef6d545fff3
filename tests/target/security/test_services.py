# SPDX-License-Identifier: MIT
"""What ring 3 may ask of ring 0 and of the processor: services.c asks for all of it, on each accelerator.

tests/c/port/test_port_monitor.py looks at what ring 0 does for each of these, and for what a VM without Xen cannot ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.testing import Boot, Guest
from tests.support import cguest
from tests.support.layout import Layout

SOURCE = Path(__file__).with_name("services.c")
# A KVM without VT-x or SVM says it of gates that a process may not call.
GATE = {"general protection", "invalid opcode"}
INSTRUCTIONS = [
    "read_cr3",
    "write_cr3",
    "write_cr0",
    "write_cr4",
    "rdmsr",
    "wrmsr",
    "lidt",
    "lgdt",
    "ltr",
    "invlpg",
    "far_return",  # to ring 0's code segment
    "port_of_power",
    "interrupt_controller",
    "interval_timer",
    "isa_dma",
    "last_port",
]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cguest.build(SOURCE, tmp_path_factory.mktemp("services"))


@pytest.fixture
def run(boot: Boot, guest: Path) -> Callable[[str], Guest]:
    def run(verb: str) -> Guest:
        vm = boot(guest, deadline_s=30, args=(verb,))
        vm.wait()
        assert "it went on" not in vm.console_text
        return vm

    return run


def panicked(vm: Guest, function: str, guest: Path) -> str:
    """The cause of the PANIC that a verb ended in, in its function."""
    lines = [line for line in vm.console_text.splitlines() if line.startswith("PANIC: ")]
    assert len(lines) == 1, vm.console_text
    assert vm.outcome is not None and (vm.outcome.code, vm.outcome.cause) == (120, "panic")
    rip, offset = (int(lines[0].partition(f" {name}=")[2].split()[0], 16) for name in ("rip", "offset"))
    start = Layout(guest)[function]
    assert function == "arena_call" or start <= rip - offset < start + 128
    return lines[0].removeprefix("PANIC: ").partition(",")[0]


def test_every_service_with_every_bad_argument(run: Callable[[str], Guest]) -> None:
    """A second LOCK with tables of ring 3's own, which would give it all memory, above all."""
    vm = run("services")
    assert vm.console_text == "all services asked\n"
    assert vm.outcome is not None and vm.outcome.code == 0


@pytest.mark.parametrize("verb", INSTRUCTIONS)
def test_instructions_of_ring_0(run: Callable[[str], Guest], guest: Path, verb: str) -> None:
    assert panicked(run(verb), verb, guest) == "general protection"


def test_a_panic_waits_for_a_host_that_is_slow(boot: Boot, guest: Path) -> None:
    """Its line is one byte a message, and a socket holds few of those."""
    vm = boot(guest, deadline_s=30, args=("read_cr3",))
    time.sleep(0.7)
    vm.wait()
    assert panicked(vm, "read_cr3", guest) == "general protection"


@pytest.mark.parametrize("vector", [8, 14, 64, 111, 128, 255])
def test_gates_that_are_not_ring_3_s(run: Callable[[str], Guest], guest: Path, vector: int) -> None:
    """Faults, interrupts, and where no gate is."""
    assert panicked(run(f"int{vector}"), f"int{vector}", guest) in GATE


def test_ports_and_interrupts_stay_ring_0_s(run: Callable[[str], Guest]) -> None:
    assert run("interrupts_on").console_text == "ready\nflags 0\n"


@pytest.mark.parametrize("machine", ["microvm", "pc", "q35"])
def test_the_controllers_of_old_interrupt_nobody(boot: Boot, guest: Path, machine: str) -> None:
    vm = boot(guest, deadline_s=30, args=("old_controllers",), machine=machine)
    assert vm.wait() == 0
    assert vm.console_text.endswith("ready\nmasked ff ff\n")


def test_the_arena_is_writable_or_executable(run: Callable[[str], Guest], guest: Path) -> None:
    assert panicked(run("arena_write"), "arena_write", guest) == "forbidden write"
    vm = run("arena_call")
    assert panicked(vm, "arena_call", guest) == "execution of data"
    assert vm.console_text.startswith("ready\ncalled\n")


def test_ring_3_may_not_ask_where_the_tables_are(run: Callable[[str], Guest], guest: Path) -> None:
    vm = run("sgdt")
    if "umip 0" in vm.console_text:
        pytest.skip("SKIP: this processor has no UMIP")
    assert panicked(vm, "sgdt", guest) == "general protection"
