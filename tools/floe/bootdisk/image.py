# SPDX-License-Identifier: MIT
"""`floe build --disk`: a disk or CD from which a BIOS and UEFI boot an app, written at once or not at all. GRUB loads
a small kernel (handover.c), which starts the ELF as a hypervisor would; the ELF is the same, byte for byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from floe.bootdisk import gpt, grub, tool
from floe.bootdisk.formats import Format
from floe.build import port_archive
from floe.build.config import ImageConfig
from floe.errors import DiskFull, NotFound, UsageError
from floe.image import elf
from floe.spec.guestline import guest_command_line
from floe.spec.vmspec import VmSpec
from floe.units import epoch
from floe.userfile import check_replaceable

HANDOVER = port_archive.ROOT / "build" / "handover"  # setup/__main__.py compiles it
# The tools of a format, and Debian's packages of them.
_TOOLS = {"mformat": "mtools", "qemu-img": "qemu-utils", "xorriso": "xorriso"}
_CONVERTED = {"qcow2": ["qcow2"], "vmdk": ["vmdk"], "vhd": ["vpc", "-o", "subformat=fixed,force_size=on"]}
_MIB = 1 << 20
_BESIDE = 2 * _MIB  # of an EFI system partition, for the FAT itself and whoever edits grub.cfg
_BIOS_CD, _EFI_CD = "bios.img", "efi.img"


def lacking(form: Format) -> list[str]:
    """Debian's packages that are not installed, of those that make such a disk."""
    wanted = ["mformat", *(["xorriso"] if form == "iso" else ["qemu-img"] if form in _CONVERTED else [])]
    return grub.lacking() + [_TOOLS[name] for name in wanted if shutil.which(name) is None]


def check(made: elf.Image, settings: ImageConfig, form: Format) -> None:
    """Whether this image can be on such a disk, and this machine can make it. Raises UsageError, NotFound."""
    secrets = made.content.get("secrets", ())
    if secrets:
        raise UsageError(
            f"{settings.name} takes secrets ({', '.join(secrets)}), and nobody hands them over to a boot disk",
            hint="[env] of image.toml, for what may lie on the disk",
        )
    if packages := lacking(form):
        raise NotFound(
            f"--disk {form} takes programs that are not here: {', '.join(packages)}",
            hint=f"sudo apt-get install --no-install-recommends {' '.join(packages)}",
        )
    if not HANDOVER.is_file():
        raise NotFound("the boot disks' kernel is not compiled", evidence=f"missing: {HANDOVER}", hint="make setup")


def write(made: elf.Image, settings: ImageConfig, form: Format) -> Path:
    """Write the disk beside the ELF, NAME.raw and so on. Returns its path. Raises what check() does, and FloeError."""
    check(made, settings, form)
    out = made.path.with_suffix(f".{form}")
    check_replaceable(out)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.absolute().parent) as folder:
            maker = _Maker(made, settings, Path(folder))
            whole = maker.iso() if form == "iso" else maker.raw()
            if form in _CONVERTED:
                whole = maker.converted(whole, form)
            whole.chmod(0o644)
            whole.replace(out)
    except OSError as e:
        if full := DiskFull.of(e, out.absolute().parent):
            raise full from e
        raise NotFound(f"cannot write {out}: {e.strerror}", hint="name another file with -o") from e
    return out


class _Maker:
    """The steps, in a folder of its own, on whose file system the disk will be."""

    def __init__(self, made: elf.Image, settings: ImageConfig, folder: Path) -> None:
        self._elf, self._folder = made.path, folder
        line = guest_command_line(VmSpec(made.path, cards=(), env=tuple(settings.env.items()), args=settings.args))
        self._text = grub.configuration(line).encode()
        digest = hashlib.sha256(made.path.read_bytes())
        digest.update(self._text)
        self._digest = digest.digest()
        self._epoch = str(epoch())

    def raw(self) -> Path:
        """A disk with a partition for either firmware."""
        core = grub.core(grub.BIOS, f"(,gpt2){grub.FOLDER}", self._folder)
        system = self._efi_system()
        size = system.stat().st_size
        (bios, efi), sectors = gpt.lay_out([(gpt.BIOS_BOOT, "BIOS", len(core)), (gpt.EFI_SYSTEM, "EFI", size)])
        first, last = gpt.tables([bios, efi], sectors, self._digest, grub.boot_sector(bios.start))
        whole = self._folder / "raw"
        with whole.open("wb") as disk:
            disk.truncate(sectors * gpt.SECTOR)
            disk.write(first)
            disk.seek(bios.start * gpt.SECTOR)
            disk.write(grub.placed(core, bios.start))
            disk.seek(efi.start * gpt.SECTOR)
            with system.open("rb") as content:
                shutil.copyfileobj(content, disk)
            disk.seek(sectors * gpt.SECTOR - len(last))
            disk.write(last)
        return whole

    def converted(self, raw: Path, form: Format) -> Path:
        whole = self._folder / form
        tool.run(["qemu-img", "convert", "-q", "-f", "raw", "-O", *_CONVERTED[form], str(raw), str(whole)])
        return whole

    def iso(self) -> Path:
        """A CD (ISO 9660) with an El Torito entry for either firmware."""
        tree = self._folder / "tree"
        own = tree / grub.FOLDER[1:]
        own.mkdir(parents=True)
        for name, content in self._files().items():
            (own / name).write_bytes(content)
        (own / _BIOS_CD).write_bytes(grub.core(grub.BIOS_CD, f"(cd){grub.FOLDER}", self._folder))
        self._efi_system().replace(own / _EFI_CD)
        for path in (*own.iterdir(), own, tree):
            os.utime(path, (int(self._epoch),) * 2)
        whole = self._folder / "iso"
        when = datetime.fromtimestamp(int(self._epoch), UTC).strftime("%Y%m%d%H%M%S00")
        bios = f"{grub.FOLDER[1:]}/{_BIOS_CD}"
        tool.run(
            ["xorriso", "-as", "mkisofs", "-quiet", "-o", str(whole), "-V", "FLOE", "-R",
             f"--modification-date={when}", "--set_all_file_dates", "set_to_mtime", "-uid", "0", "-gid", "0",
             "-b", bios, "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info",
             "-eltorito-alt-boot", "-e", f"{grub.FOLDER[1:]}/{_EFI_CD}", "-no-emul-boot", str(tree)],
            {"SOURCE_DATE_EPOCH": self._epoch},
        )  # fmt: skip
        return whole

    def _files(self) -> dict[str, bytes]:
        return {"grub.cfg": self._text, "handover": HANDOVER.read_bytes(), "app.elf": self._elf.read_bytes()}

    def _efi_system(self) -> Path:
        """An EFI system partition: a FAT with GRUB for UEFI, and what GRUB for either firmware reads."""
        program = grub.core(grub.EFI, grub.FOLDER, self._folder)
        files = {grub.EFI_PROGRAM: program} | {f"{grub.FOLDER}/{name}": c for name, c in self._files().items()}
        size = -(-(sum(map(len, files.values())) + _BESIDE) // _MIB) * _MIB
        fat, one = self._folder / "fat", self._folder / "file"
        with fat.open("wb") as made:
            made.truncate(size)
        told = {"SOURCE_DATE_EPOCH": self._epoch}
        number = self._digest[:4].hex()
        tool.run(["mformat", "-i", str(fat), "-T", str(size // gpt.SECTOR), "-N", number, "-v", "FLOE", "::"], told)
        folders = sorted({str(parent) for name in files for parent in Path(name).parents if parent != Path("/")})
        tool.run(["mmd", "-i", str(fat), *(f"::{folder}" for folder in folders)], told)
        for name, content in files.items():
            one.write_bytes(content)
            tool.run(["mcopy", "-i", str(fat), str(one), f"::{name}"], told)
        return fat
