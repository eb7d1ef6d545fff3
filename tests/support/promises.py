# SPDX-License-Identifier: MIT
"""The promises of SECURITY.md that the port alone keeps: the verb of tests/target/security/promises.c that tries to break
it, how that ends, and which edits of the sources switch the protection off, so that it succeeds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support import cguest
from tests.support.cguest import FLAGS, Edit

SOURCE = Path(__file__).resolve().parents[1] / "target" / "security" / "promises.c"
REFUSED = "refused"
_PAGING, _MONITOR = "port/boot/paging.c", "port/monitor/monitor.S"
_MONITOR_DATA = Edit(
    _PAGING,
    "PROT_MONITOR_RW (PTE_PRESENT | PTE_WRITE | PTE_NX)",
    "PROT_MONITOR_RW (PTE_PRESENT | PTE_WRITE | PTE_NX | PTE_USER)",
)
_DATA_RUNS = Edit(
    _PAGING, "PROT_RW (PTE_PRESENT | PTE_USER | PTE_WRITE | PTE_NX)", "PROT_RW (PTE_PRESENT | PTE_USER | PTE_WRITE)"
)
_NO_GUARDS = Edit(_PAGING, "GUARD = HAL_PAGE_SIZE", "GUARD = 0")
_NO_SMEP = Edit(_PAGING, "BIT64(CR4_SMEP_BIT) : 0", "0ull : 0")  # ring 0 would not execute what ring 3 may read


@dataclass(frozen=True)
class Promise:
    """kept: the PANIC's words, or REFUSED. off: the edits without which it is not kept. xen: to be seen below Xen only."""

    kept: str
    off: tuple[Edit, ...]
    xen: bool = False


PROMISES = {
    "write_text": Promise(
        "forbidden write",
        (Edit(_PAGING, "PROT_RX (PTE_PRESENT | PTE_USER)", "PROT_RX (PTE_PRESENT | PTE_USER | PTE_WRITE)"),),
    ),
    "write_constant": Promise(
        "forbidden write",
        (Edit(_PAGING, "PROT_R (PTE_PRESENT | PTE_USER | PTE_NX)", "PROT_R (PTE_PRESENT | PTE_USER | PTE_WRITE)"),),
    ),
    "run_data": Promise("execution of data", (_DATA_RUNS,)),
    "run_stack": Promise("execution of data", (_DATA_RUNS,)),
    "page_zero": Promise(
        "NULL pointer access",
        (
            Edit(
                _PAGING,
                "    map_image(pml4);\n",
                "    map_image(pml4);\n    map(pml4, 0, HAL_PAGE_SIZE, 0, PROT_RW);\n",
            ),
        ),
    ),
    "overflow_stack": Promise(
        "stack overflow",
        (Edit(_PAGING, "boot_guard0 + HAL_PAGE_SIZE, hal_ram_offset, 0}", "boot_guard0, hal_ram_offset, 0}"),),
    ),
    "past_c_heap": Promise("forbidden write", (_NO_GUARDS,)),
    "past_heap": Promise("forbidden write", (_NO_GUARDS,)),
    "past_devices": Promise("forbidden write", (_NO_GUARDS,)),
    "past_arena": Promise("forbidden write", (_NO_GUARDS,)),
    "before_arena": Promise("forbidden write", (_NO_GUARDS,)),
    "read_monitor": Promise("forbidden read", (_MONITOR_DATA,)),
    "read_monitor_code": Promise(
        "forbidden read",
        (Edit(_PAGING, "PROT_MONITOR_RX (PTE_PRESENT)", "PROT_MONITOR_RX (PTE_PRESENT | PTE_USER)"), _NO_SMEP),
    ),
    "write_monitor": Promise("forbidden write", (_MONITOR_DATA,)),
    "write_tables": Promise("forbidden write", (_MONITOR_DATA,)),
    "protect_outside": Promise(
        REFUSED,
        (
            Edit(_MONITOR, "    jae service_bad\n    cmpq $0x100000, %rsi", "    cmpq $0x100000, %rsi"),
            Edit(_MONITOR, "    ja service_bad\n    movq %rdi, %r8", "    movq %rdi, %r8"),
            Edit(_PAGING, "a < pool_next; a +=", "a < pool_end; a +="),  # or there is no table behind the arena's
            Edit(_PAGING, "boot_ram[i].start = pool_next", "boot_ram[i].start = pool_end"),
        ),
    ),
    "write_executable": Promise("forbidden write", (Edit(_MONITOR, "leaq 0x5(%rdi), %r9", "leaq 0x7(%rdi), %r9"),)),
    "run_writable": Promise("execution of data", (Edit(_MONITOR, "movabsq $0x8000000000000007, %r9", "movq $7, %r9"),)),
    "write_msr": Promise(REFUSED, (Edit(_MONITOR, "    jne service_bad\n1:  wrmsr", "1:  wrmsr"),)),
    "high_port": Promise(
        "general protection", (Edit(_MONITOR, ".org monitor_ports + MONITOR_PORTS / 8, 0xff", ".fill 0x2000, 1, 0"),)
    ),
    "dma_port": Promise("general protection", (Edit(_MONITOR, "PORTS 0x510, 0x03", "PORTS 0x510, 0xff"),)),
    "hypercall": Promise(REFUSED, (Edit(_MONITOR, ".quad 1 << 12 |", ".quad 1 << 17 | 1 << 12 |"),), xen=True),
    "lock_again": Promise(REFUSED, (Edit(_MONITOR, "    cmpb $0, monitor_locked(%rip)\n    jne service_bad\n", ""),)),
    "smash_stack": Promise("stack smashed", (Edit(FLAGS, "-fstack-protector-strong", "-fno-stack-protector"),)),
    "write_too_much": Promise(
        "a write of 17 bytes where 16 have room", (Edit("port/libc/fortify.c", "if (n > room)", "if (false)"),)
    ),
    "silence": Promise(
        "fault inside a panic", (Edit(_MONITOR, "    ja fault_in_panic", "    ja service_triple_fault"),)
    ),
    "random_unfed": Promise(REFUSED, (Edit("port/hal/entropy.c", "if (!seeded)", "if (false)"),)),
    "random_stuck": Promise(REFUSED, (Edit("port/hal/entropy.c", "healthy(source, data, len) && ", ""),)),
}
HERE = [name for name, promise in PROMISES.items() if not promise.xen]


# For the labs, where each boot takes seconds: what processor and monitor keep. Where it is switched off, one boot breaks all
# of it, but `silence`, in this order: lock_again, which gives all memory, is the last one.
OF_RING_0 = [n for n, promise in PROMISES.items() if promise.off[0].file in (_PAGING, _MONITOR) and n != "silence"]


def build(folder: Path, off: Iterable[str] = ()) -> Path:
    """The guest, with every protection but these."""
    edits = dict.fromkeys(edit for name in off for edit in PROMISES[name].off)  # several may need the same one
    return cguest.build(SOURCE, folder, edits)


def kept(name: str, text: str, code: int) -> bool:
    """Whether the promise was kept: what the guest said, and its exit code."""
    end = PROMISES[name].kept
    panics = re.findall(r"^PANIC: .*$", text, re.MULTILINE)
    if _broken(name) in text:
        return False
    if end == REFUSED:
        return f"{name}: refused\n" in text and not panics and code == 0
    return len(panics) == 1 and panics[0].startswith(f"PANIC: {end}") and code == 120


def broken(name: str, text: str) -> bool:
    """Whether the guest has done what it must not, unnoticed."""
    if name == "silence":  # it is the noticing that is broken
        return text.strip() == ""
    return _broken(name) in text and "PANIC" not in text


def _broken(name: str) -> str:
    return f"{name}: it went on\n"
