# SPDX-License-Identifier: MIT
"""GRUB for a boot disk, of Debian's packages: its programs for a BIOS and for UEFI, each one file with all modules that
it needs, and its configuration. Nothing of GRUB's is part of floe."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from floe.bootdisk import tool

FOLDER = "/floe"  # on the disk
EFI_PROGRAM = "/EFI/BOOT/BOOTX64.EFI"  # where firmware looks on what it knows nothing of
BIOS, BIOS_CD, EFI = "i386-pc", "i386-pc-eltorito", "x86_64-efi"
_LIBRARY = Path("/usr/lib/grub")
_PACKAGES = {BIOS: "grub-pc-bin", EFI: "grub-efi-amd64-bin"}
_MODULES = ["normal", "multiboot2", "serial", "terminal", "echo"]
_MORE = {
    BIOS: ["biosdisk", "part_gpt", "fat"],
    BIOS_CD: ["biosdisk", "iso9660"],
    EFI: ["part_gpt", "fat", "iso9660"],
}
_KERNEL_SECTOR = 0x5C  # of boot.img: where the rest of GRUB begins, a 64-bit sector
_BLOCKS = 0x1F4  # of the rest's first sector: where what follows it begins, the same


def lacking() -> list[str]:
    """Names of its packages that are not installed."""
    found = [package for kind, package in _PACKAGES.items() if not (_LIBRARY / kind / "moddep.lst").is_file()]
    return found + ([] if shutil.which("grub-mkimage") else ["grub-common"])


def core(kind: str, prefix: str, scratch: Path) -> bytes:
    """GRUB as one program. prefix: the folder of its grub.cfg, as GRUB has it."""
    made = scratch / f"{kind}.img"
    folder = _LIBRARY / (BIOS if kind == BIOS_CD else kind)
    tool.run(["grub-mkimage", "-O", kind, "-d", str(folder), "-p", prefix, "-o", str(made), *_MODULES, *_MORE[kind]])
    return made.read_bytes()


def boot_sector(start: int) -> bytes:
    """The code of a BIOS's first sector; `start`: the sector at which core() stands."""
    code = bytearray((_LIBRARY / BIOS / "boot.img").read_bytes()[:440])
    struct.pack_into("<Q", code, _KERNEL_SECTOR, start)
    return bytes(code)


def placed(made: bytes, start: int) -> bytes:
    """core() of BIOS, for that sector of a disk."""
    code = bytearray(made)
    struct.pack_into("<Q", code, _BLOCKS, start + 1)
    return bytes(code)


def configuration(line: str, folder: str = FOLDER) -> str:
    """grub.cfg: start at once, with the guest's command line, of which each word is quoted: none has a quote."""
    words = " ".join(f"'{word}'" for word in line.split())
    return (
        "# What floe build --disk wrote. Variables (env.NAME=VALUE), -- and arguments stand behind app.elf:\n"
        "# quotes, blanks, % and what is not ASCII as %XX.\n"
        "set gfxpayload=text\n"
        "serial --unit=0 --speed=115200\n"
        "terminal_input --append serial\n"
        "terminal_output --append serial\n"
        f"multiboot2 {folder}/handover\n"
        f"module2 {folder}/app.elf {words}\n"
        "boot\n"
    )
