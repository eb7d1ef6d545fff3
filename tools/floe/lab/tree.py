# SPDX-License-Identifier: MIT
"""The files of Debian's packages, and what a lab's initramfs takes from them."""

from __future__ import annotations

import io
import lzma
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from floe.errors import FloeError, UpstreamError
from floe.lab import bzimage, deb
from floe.lab.cpio import Archive

# Of a network card and disks, in the order of loading.
VIRTIO = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("virtio_blk", "failover", "net_failover", "virtio_net"),
)
LOADER = "ld-linux-x86-64.so.2"
_DLOPENED = ("libgcc_s.so.1",)  # by libpthread when a thread ends; xl aborts without it


class Tree:
    """The files of all packages that may be needed, by path; /usr/lib and /lib are one."""

    def __init__(self, packages: Iterable[Path], wanted: str, modules: Iterable[str]) -> None:
        """wanted: a regular expression of paths, beside busybox, libraries, and the kernel with these modules of it."""
        names = "|".join(re.escape(name) for name in modules)
        self._wanted = re.compile(
            rf"{wanted}|boot/vmlinuz-.*|bin/busybox|lib/x86_64-linux-gnu/[^/]+\.so(\..*)?"
            rf"|lib/modules/[^/]+/(.*/)?({names})\.ko(\.xz)?|lib/modules/[^/]+/modules\.builtin"
        )
        self.files: dict[str, bytes] = {}
        self._links: dict[str, str] = {}
        for package in packages:
            files, links = deb.read(package, lambda path: bool(self._wanted.fullmatch(path.removeprefix("usr/"))))
            self.files.update({path.removeprefix("usr/"): content for path, content in files.items()})
            self._links.update({path.removeprefix("usr/"): to for path, to in links.items()})

    def one(self, pattern: str) -> bytes:
        """The content of the one file whose path matches. Raises UpstreamError."""
        found = [content for path, content in self.files.items() if re.fullmatch(pattern, path)]
        if len(found) != 1:
            raise UpstreamError(f"Debian's packages have {len(found)} files like {pattern}")
        return found[0]

    def library(self, name: str) -> bytes:
        """A shared library by its soname. Raises UpstreamError."""
        path = f"lib/x86_64-linux-gnu/{name}"
        for _ in range(4):
            if path in self.files:
                return self.files[path]
            path = f"lib/x86_64-linux-gnu/{Path(self._links.get(path, '')).name}"
        raise UpstreamError(f"Debian's packages lack the library {name}")

    def module(self, name: str) -> bytes | None:
        """A kernel module; None when the kernel has it built in. Raises UpstreamError."""
        for path, content in self.files.items():
            if re.fullmatch(rf"lib/modules/.*/{name}\.ko(\.xz)?", path):
                return lzma.decompress(content) if path.endswith(".xz") else content
        if f"/{name}.ko" in self.one(r"lib/modules/[^/]+/modules\.builtin").decode():
            return None
        raise UpstreamError(f"Debian's kernel has no module {name}")

    def kernel(self) -> bytes:
        """Linux, unpacked."""
        return bzimage.kernel(self.one("boot/vmlinuz-.*"))

    def add_modules(self, out: Archive, names: Iterable[str]) -> None:
        """Put kernel modules into an initramfs, and lib/modules/list of them in their order. What the kernel has
        built in is left out. Raises UpstreamError."""
        loaded = [name for name in names if self._add_module(out, name)]
        out.file("lib/modules/list", "\n".join(loaded).encode() + b"\n")

    def _add_module(self, out: Archive, name: str) -> bool:
        if (module := self.module(name)) is None:
            return False
        out.file(f"lib/modules/{name}.ko", module)
        return True

    def add_programs(self, out: Archive, programs: Mapping[str, bytes]) -> None:
        """Put programs into an initramfs, by name, with busybox and all libraries they need. Raises UpstreamError."""
        out.file("bin/busybox", self.one("bin/busybox"), 0o755)
        for name, content in programs.items():
            out.file(f"bin/{name}", content, 0o755)
        for name, content in self._libraries(programs.values()).items():
            out.file(f"lib64/{name}" if name == LOADER else f"lib/{name}", content, 0o755)

    def _libraries(self, programs: Iterable[bytes]) -> dict[str, bytes]:
        """The shared libraries that the programs need, and those that these need."""
        found: dict[str, bytes] = {}
        waiting = [LOADER, *_DLOPENED, *(name for program in programs for name in _needed(program))]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = self.library(name)
                waiting += _needed(found[name])
        return found


def _needed(elf: bytes) -> list[str]:
    """DT_NEEDED of an ELF."""
    try:
        section = ELFFile(io.BytesIO(elf)).get_section_by_name(".dynamic")
        if not isinstance(section, DynamicSection):
            return []
        return [str(tag.needed) for tag in section.iter_tags("DT_NEEDED")]  # type: ignore[attr-defined]  # pyelftools sets it
    except ELFError as e:
        raise FloeError(f"a program in Debian's packages is no ELF: {e}") from e
