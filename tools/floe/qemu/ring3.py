# SPDX-License-Identifier: MIT
"""Whether KVM keeps ring 3 from `syscall`. Where EFER.SCE is 0 it is an invalid opcode (Intel SDM vol. 2, SYSCALL).

A KVM without hardware virtualisation (page-table based) lets it through: the processor traps to the host, which goes on
in the guest where it was not asked to. The probe is a VM of a few instructions, made by KVM's own ioctls (linux/kvm.h):
ring 0 goes to ring 3 by iretq, ring 3 says `syscall`, and the stub of the vector that comes writes a byte to a port. It
runs in a process of its own, `python -m floe.qemu.ring3 DEVICE`, which a deadline can end.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import subprocess
import sys
from pathlib import Path

REFUSED, LET_THROUGH = 41, 42  # no exit code of Python's own
NO_BOUNDARY = "KVM without VT-x or SVM (page-table based): syscall is not refused, so that ring 3 is no boundary"
_DEADLINE_S = 5.0

_CREATE_VM, _VCPU_MMAP_SIZE, _SUPPORTED_CPUID = 0xAE01, 0xAE04, 0xC008AE05
_CREATE_VCPU, _SET_MEMORY, _SET_CPUID2 = 0xAE41, 0x4020AE46, 0x4008AE90
_RUN, _SET_REGS, _GET_SREGS, _SET_SREGS = 0xAE80, 0x4090AE82, 0x8138AE83, 0x4138AE84
_EXIT_IO = 2
_CPUID_MAX = 256

_SIZE = 1 << 16
_BASE = 0x200000  # where it is mapped: what jumps to address 0 meets no page
_PML4, _PDPT, _PD, _IDT, _GDT, _TSS, _CODE, _STACK0, _STACK3 = range(0x1000, 0xA000, 0x1000)
_IRETQ, _RING3, _STUB_UD, _STUB_OTHER = (_CODE + offset for offset in (0, 0x10, 0x20, 0x30))
_CODE0, _DATA0, _DATA3, _CODE3, _TSS_SELECTOR = 0x10, 0x18, 0x2B, 0x33, 0x40


def refuses_syscall(device: Path) -> bool | None:
    """Whether KVM gives ring 3 an invalid opcode for `syscall`. None: the probe did not get as far."""
    argv = [sys.executable, "-P", "-m", "floe.qemu.ring3", str(device)]  # no floe.py of the working folder's
    try:
        code = subprocess.run(argv, capture_output=True, timeout=_DEADLINE_S, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {0: True, LET_THROUGH: False}.get(code)


def _memory() -> bytes:
    """All of the VM's memory."""
    memory = bytearray(_SIZE)

    def put(at: int, *words: int) -> None:
        struct.pack_into(f"<{len(words)}Q", memory, at, *words)

    present_write_user, large = 7, 0x80
    put(_PML4, _PDPT | present_write_user)
    put(_PDPT, _PD | present_write_user)
    put(_PD + 8, present_write_user | large)
    put(_GDT, 0, 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CFFB000000FFFF, 0x00CFF3000000FFFF, 0x00AFFB000000FFFF)
    put(_TSS + 4, _BASE + _STACK0 + 0x800)  # RSP0, unaligned by definition
    for vector in range(32):
        stub = _BASE + (_STUB_UD if vector == 6 else _STUB_OTHER)
        interrupt_gate = 0x8E00 << 32
        put(_IDT + 16 * vector, stub & 0xFFFF | _CODE0 << 16 | interrupt_gate | (stub >> 16) << 48, 0)
    for at, code in (
        (_IRETQ, b"\x48\xcf"),
        (_RING3, b"\x0f\x05\xcc"),  # syscall; int3, whose gate is not ring 3's
        (_STUB_UD, bytes((0xB0, REFUSED, 0xE6, 0x10, 0xF4))),  # mov al, REFUSED; out 0x10, al; hlt
        (_STUB_OTHER, bytes((0xB0, LET_THROUGH, 0xE6, 0x10, 0xF4))),
    ):
        memory[at : at + len(code)] = code
    put(_STACK0 + 0xF00, _BASE + _RING3, _CODE3, 2, _BASE + _STACK3 + 0x800, _DATA3)
    return bytes(memory)


def _segment(selector: int, kind: int, *, dpl: int = 0, code: bool = False, base: int = 0, limit: int = 0) -> bytes:
    """struct kvm_segment."""
    flat = limit == 0
    return struct.pack(
        "<QIH8B2x", base, limit or 0xFFFFFFFF, selector, kind, 1, dpl, int(flat and not code), int(flat), int(code),
        int(flat), 0,
    )  # fmt: skip


def _system_registers(current: bytes) -> bytes:
    """struct kvm_sregs: long mode, ring 0, EFER.SCE 0."""
    data = _segment(_DATA0, 3)
    task = _segment(_TSS_SELECTOR, 11, base=_BASE + _TSS, limit=0x67)
    segments = _segment(_CODE0, 11, code=True) + data * 5 + task + struct.pack("<QIH8B2x", 0, 0xFFFF, 0, 2, 1, *[0] * 6)
    tables = struct.pack("<QH6xQH6x", _BASE + _GDT, 0x57, _BASE + _IDT, 32 * 16 - 1)
    pg_ne_et_mp_pe, pae_fxsr, lma_lme = 0x80000033, 0x620, 0x500
    control = struct.pack("<6Q", pg_ne_et_mp_pe, 0, _PML4, pae_fxsr, 0, lma_lme)
    filled = segments + tables + control
    return filled + current[len(filled) :]


def probe(device: str) -> int:
    """What ring 3's `syscall` came to: REFUSED or LET_THROUGH. Raises OSError."""
    kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    vm = fcntl.ioctl(kvm, _CREATE_VM, 0)
    memory = mmap.mmap(-1, _SIZE)
    memory[:] = _memory()
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, _SET_MEMORY, struct.pack("<IIQQQ", 0, 0, 0, _SIZE, at))
    cpu = fcntl.ioctl(vm, _CREATE_VCPU, 0)
    run = mmap.mmap(cpu, fcntl.ioctl(kvm, _VCPU_MMAP_SIZE, 0))
    cpuid = bytearray(struct.pack("<II", _CPUID_MAX, 0) + bytes(40 * _CPUID_MAX))
    fcntl.ioctl(kvm, _SUPPORTED_CPUID, cpuid)
    fcntl.ioctl(cpu, _SET_CPUID2, cpuid)
    registers = bytearray(312)
    fcntl.ioctl(cpu, _GET_SREGS, registers)
    fcntl.ioctl(cpu, _SET_SREGS, _system_registers(bytes(registers)))
    general = [0] * 18
    general[6], general[16], general[17] = _BASE + _STACK0 + 0xF00, _BASE + _IRETQ, 2  # rsp, rip, rflags
    fcntl.ioctl(cpu, _SET_REGS, struct.pack("<18Q", *general))
    fcntl.ioctl(cpu, _RUN, 0)
    (reason,) = struct.unpack_from("<I", run, 8)
    if reason != _EXIT_IO:
        raise OSError(f"KVM ended the probe with exit reason {reason}")
    (offset,) = struct.unpack_from("<Q", run, 40)
    return int(run[offset])


if __name__ == "__main__":
    sys.exit(0 if (_result := probe(sys.argv[1])) == REFUSED else _result)
