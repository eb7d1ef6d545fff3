# SPDX-License-Identifier: MIT
"""The promises of port/boot/paging.c and port/monitor, broken one by one from inside: each ends in a PANIC that names its cause.

Where addresses of the image are at stake it lies where its ELF says; test_aslr.py has what is where else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.qemu import ring3
from floe.qemu.accel import KVM_DEVICE
from floe.testing import Boot, Guest
from tests.support.layout import Layout

GUEST = Path(__file__).resolve().parent / "guests" / "guest_protection.py"
REGISTERS = [
    "rip",
    "cr2",
    "rsp",
    "rbp",
    "cs",
    "rflags",
    "rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "offset",
]
AS_LINKED = "floe.aslr=0"
PAGE = 4096


@pytest.fixture(scope="module")
def layout(build: Callable[..., Path]) -> Layout:
    return Layout(build(GUEST))


def run(boot: Boot, verb: str, *addresses: int) -> Guest:
    words = (verb, *(f"{address:x}" for address in addresses or (0,)))
    vm = boot(GUEST, deadline_s=30, switches=(AS_LINKED,), args=words)
    vm.expect_exact("ready")
    vm.wait()
    return vm


def panicked(vm: Guest, cause: str) -> dict[str, int]:
    """Check that the VM ended by a panic of this cause, once and completely; the registers it told."""
    lines = [line for line in vm.console_text.splitlines() if line.startswith("PANIC")]
    assert len(lines) == 1, vm.console_text
    assert vm.outcome is not None and (vm.outcome.code, vm.outcome.cause) == (120, "panic")
    assert lines[0].startswith(f"PANIC: {cause}, vector "), lines[0]
    registers = {name: int(value, 16) for name, value in re.findall(r"(\w+)=(0x[0-9a-f]+)", lines[0])}
    assert set(REGISTERS) <= set(registers)
    assert registers["cs"] & 3 == 3  # it was ring 3 that faulted
    return registers


WRITES = {
    "text": ("forbidden write", "link_text+64"),
    "last of text": ("forbidden write", "link_rodata+-1"),
    "rodata": ("forbidden write", "link_rodata+128"),
    "monitor text": ("forbidden write", "link_start"),
    "GDT": ("forbidden write", "monitor_gdt+16"),
    "TSS": ("forbidden write", "monitor_tss+4"),
    "IDT": ("forbidden write", "monitor_idt"),
    "page tables": ("forbidden write", "link_end"),
    "second page table": ("forbidden write", "link_end+4096"),
    "clock page of the hypervisor": ("forbidden write", "monitor_pvclock"),
    "canary": ("forbidden write", "__stack_chk_guard+1"),
    "guard of the panic stack": ("forbidden write", "boot_guard1"),
}


@pytest.mark.parametrize("name", WRITES)
def test_write(boot: Boot, layout: Layout, name: str) -> None:
    cause, place = WRITES[name]
    vm = run(boot, "write", layout[place])
    assert panicked(vm, cause)["cr2"] == layout[place]
    assert "written" not in vm.console_text


@pytest.mark.parametrize(
    "place", ["link_start", "monitor_gdt", "monitor_idt", "monitor_tss", "monitor_arena_start", "link_end"]
)
def test_read_of_the_monitor_s(boot: Boot, layout: Layout, place: str) -> None:
    assert panicked(run(boot, "read", layout[place]), "forbidden read")["cr2"] == layout[place]


@pytest.mark.parametrize("place", ["link_text", "link_rodata", "monitor_pvclock", "boot_stack_bottom", "link_data"])
def test_what_may_be_read_can_be_read(boot: Boot, layout: Layout, place: str) -> None:
    """So that the tests above see the rights of the page, and not a mistake of theirs."""
    vm = run(boot, "read", layout[place])
    assert (vm.wait(), "PANIC" in vm.console_text) == (0, False)
    assert re.search(r"^read \d+$", vm.console_text, re.MULTILINE)


def test_what_may_be_written_can_be_written(boot: Boot, layout: Layout) -> None:
    vm = run(boot, "write", layout["boot_stack_bottom+64"])
    assert vm.wait() == 0
    assert "written" in vm.console_text and "PANIC" not in vm.console_text


@pytest.mark.parametrize("verb", ["read", "write", "call"])
@pytest.mark.parametrize("address", [0, 8, PAGE - 1])
def test_page_zero(boot: Boot, verb: str, address: int) -> None:
    assert panicked(run(boot, verb, address), "NULL pointer access")["cr2"] == address


@pytest.mark.parametrize(
    ("address", "cause"),
    [(PAGE, "forbidden read"), (0x70_0000_0000, "forbidden read"), (1 << 63, "general protection")],
)
def test_where_nothing_is(boot: Boot, address: int, cause: str) -> None:
    panicked(run(boot, "read", address), cause)


@pytest.mark.parametrize(
    "place",
    [
        "heap",
        "boot_stack_bottom",
        "boot_stack_top+-4096",
        "link_rodata",
        "link_data",
        "monitor_pvclock",
        "link_start",
        "link_end",
    ],
)
def test_execution_of_data(boot: Boot, layout: Layout, place: str) -> None:
    """Heap, stack, constants, variables; and what is the monitor's, code and tables alike."""
    vm = run(boot, "heap") if place == "heap" else run(boot, "call", layout[place])
    registers = panicked(vm, "execution of data")
    assert registers["rip"] == registers["cr2"]
    if place != "heap":
        assert registers["rip"] == layout[place]


@pytest.mark.parametrize(
    ("verb", "instruction", "cause"),
    [
        ("call", [b"\x0f\x0b"], "invalid opcode"),  # ud2
        ("call", [b"\xf4"], "general protection"),  # hlt
        ("call", [b"\xfa"], "general protection"),  # cli
        ("call3", [b"\xee"], "general protection"),  # out dx, al: port 0xffff is not ring 3's
        (
            "call3",
            [b"\xf7\xf7", b"\xf7\xff", b"\xf7\xf6", b"\xf7\xfe"],
            "division by zero",
        ),  # (i)div edi, esi: too large
    ],
)
def test_instruction(boot: Boot, layout: Layout, verb: str, instruction: list[bytes], cause: str) -> None:
    address = layout.bytes_in_text(*instruction)
    assert panicked(run(boot, verb, address), cause)["rip"] == address


def test_stack_overflow_in_c(boot: Boot, layout: Layout) -> None:
    registers = panicked(run(boot, "stack_of_c", layout["mp_call_function_0"]), "stack overflow")
    assert layout["boot_guard0"] <= registers["cr2"] < layout["boot_stack_bottom"]


def test_a_smashed_stack(boot: Boot, layout: Layout) -> None:
    """Each boot has a canary of its own, and a function that finds another one does not return."""
    canaries = set()
    for _ in range(2):
        vm = run(boot, "smash", layout["__stack_chk_guard"], layout["boot_stack_top"])
        found = re.search(
            r"^canary 0x([0-9a-f]+)\n+PANIC: stack smashed rip=0x[0-9a-f]+ offset=0x0$", vm.console_text, re.MULTILINE
        )
        assert found is not None, vm.console_text
        assert vm.outcome is not None and (vm.outcome.code, vm.outcome.cause) == (120, "panic")
        assert len(found[1]) > 12 and found[1].endswith("00")
        canaries.add(found[1])
    assert len(canaries) == 2


def test_a_write_that_does_not_fit(boot: Boot, layout: Layout) -> None:
    """What the compiler makes of a memcpy into memory whose size it knows."""
    vm = run(boot, "call3", layout["__memcpy_chk"])
    assert re.search(
        rf"^PANIC: a write of {0x3FFFFFFF7FFFFFFF} bytes where \d+ have room", vm.console_text, re.MULTILINE
    )


def test_the_panic_names_the_python_frames(boot: Boot, layout: Layout) -> None:
    vm = run(boot, "write", layout["link_text"])
    source = GUEST.read_text().splitlines()
    at = {text.strip(): n for n, text in enumerate(source, 1)}
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\S+)', vm.console_text)
    assert frames == [
        ("guest_protection.py", str(at["uctypes.bytearray_at(address, 1)[0] = 0x90"]), "write"),
        ("guest_protection.py", str(at["globals()[verb](int(sys.argv[2], 16))"]), "<module>"),
    ]


def test_a_fault_inside_the_panic_is_told(boot: Boot, layout: Layout) -> None:
    """By ring 0, which names the fault that came last and the one that all began with."""
    vm = boot(GUEST, deadline_s=30, switches=(AS_LINKED,), args=("silence", f"{layout['hal_platform']:x}"))
    vm.wait()
    lines = [line for line in vm.console_text.splitlines() if line.startswith("PANIC")]
    assert len(lines) == 1, vm.console_text
    match = re.fullmatch(
        r"PANIC: fault inside a panic, vector 0x0{15}e rip=0x([0-9a-f]{16}), after vector 0x0{15}e rip=0x([0-9a-f]{16})",
        lines[0],
    )
    assert match is not None, lines[0]
    assert all(layout["link_text"] <= int(rip, 16) < layout["link_rodata"] for rip in match.groups())
    assert match[1] != match[2]
    assert vm.outcome is not None and (vm.outcome.code, vm.outcome.cause) == (120, "panic")


def test_syscall(boot: Boot, layout: Layout, accel: str) -> None:
    """An invalid opcode, but on a KVM that the probe found not to refuse it: SECURITY.md names that class of host."""
    address = layout.bytes_in_text(b"\x0f\x05\x0f\x0b")
    vm = run(boot, "call", address)
    if accel == "kvm" and not ring3.refuses_syscall(KVM_DEVICE):
        assert "PANIC: invalid opcode" not in vm.console_text
        return
    assert panicked(vm, "invalid opcode")["rip"] == address


def test_a_device_writes_where_ring_3_tells_it_to(boot: Boot, layout: Layout) -> None:
    """No page table stands between a device and memory: what SECURITY.md says of it is true."""
    vm = run(boot, "dma", layout.bytes_in_text(b"\x0f\x05\x0f\x0b"))
    assert (vm.wait(), "PANIC" in vm.console_text) == (0, False)
    assert "text changed True\n" in vm.console_text


SELF_IPI = """
import time, uctypes
icr = uctypes.struct(0xFEE00300, {"low": uctypes.UINT32 | 0}, uctypes.NATIVE)
for vector in (0xFF, 0xFF):
    icr.low = 0x84000 | vector
    time.sleep_ms(50)
print("timers go on")
"""


def test_a_spurious_interrupt_that_a_program_sent_is_acknowledged(boot: Boot, tmp_path: Path) -> None:
    """Or it stays in service, and nothing below it is ever delivered: the VM is deaf."""
    path = tmp_path / "app.py"
    path.write_text(SELF_IPI)
    vm = boot(path, deadline_s=20)
    assert vm.wait() == 0
    assert vm.console_text == "timers go on\n"
