# SPDX-License-Identifier: MIT
"""Guests of a few instructions, assembled here: what a VM does is then known to the letter.

They are 64-bit ELF files with a PVH note that run 32-bit code without paging, as PVH enters it, and carry the notes
of an image, so that `floe run` takes them.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from floe.image import elf as elf_file

CONTENT = {
    "format": 1,
    "floe": "0",
    "name": "tiny",
    "version": "0",
    "profile": "sealed",
    "compiler": False,
    "main": "tiny.py",
    "memory": 8 << 20,
    "drivers": [],
    "modules": [],
    "frozen": [],
    "data": {},
    "packages": [],
    "upstream": [],
}

_LINK = """
ENTRY(start)
PHDRS { note PT_NOTE FLAGS(4); text PT_LOAD FLAGS(5); data PT_LOAD FLAGS(6); }
SECTIONS {
  . = 0x200000;
  .note : { *(.note.pvh) } :text :note
  .text : { *(.text) } :text
  . = ALIGN(4096);
  .data : { *(.data) } :data
  .bss : { *(.bss) } :data
  /DISCARD/ : { *(.comment) }
}
"""
_HEAD = """
    .section .note.pvh, "a", @note
    .long 4, 4, 18
    .asciz "Xen"
    .long start
    .balign 4
    .long 5, content_end - content, 1
    .asciz "Floe"
    .balign 4
content: .ascii "{content}"
content_end:
    .balign 4
    .long 5, 32, 2
    .asciz "Floe"
    .balign 4
    .skip 32
    .data
    .long 0
    .text
    .code32
    .globl start
start:
    movl $stack, %esp
"""
_TAIL = """
    hang: hlt
    jmp hang
    .bss
    .skip 256
stack:
"""


def say(text: str) -> str:
    """Instructions that send ASCII text to the 16550."""
    lines = ["movw $0x3f8, %dx"]
    for byte in text.encode("ascii"):
        lines += [f"movb ${byte}, %al", "outb %al, %dx"]
    return "\n".join(lines)


def leave(code: int) -> str:
    """Instructions that end the VM with an exit code, as hal_exit() does."""
    return f"movw $0xf4, %dx\n movl ${code + 1}, %eax\n outl %eax, %dx"


HANG = ""  # no interrupt ever comes: the CPU halts for good
TRIPLE_FAULT = "movl $0, -8(%esp)\n movl $0, -4(%esp)\n lidt -8(%esp)\n ud2"
KBD_RESET = "movw $0x64, %dx\n movb $0xfe, %al\n outb %al, %dx"


def build(folder: Path, *parts: str, bss: int = 0) -> Path:
    """Assemble and link the parts into folder and return the ELF; `bss` adds that many bytes of memory to it."""
    content = json.dumps(CONTENT).replace('"', '\\"')
    source = _HEAD.replace("{content}", content) + "\n".join(parts) + _TAIL + (f".skip {bss}\n" if bss else "")
    elf = folder / f"tiny-{hashlib.sha256(source.encode()).hexdigest()[:12]}.elf"
    script = elf.with_suffix(".ld")
    script.write_text(_LINK)
    subprocess.run(
        ["gcc", "-c", "-x", "assembler", "-o", elf.with_suffix(".o"), "-"], input=source.encode(), check=True
    )
    subprocess.run(
        ["ld", "-nostdlib", "-static", "-z", "noexecstack", "-T", script, "-o", elf, elf.with_suffix(".o")], check=True
    )
    elf_file.seal(elf)
    return elf
