# SPDX-License-Identifier: MIT
"""From Debian's packages to what boots: the hypervisor, dom0's kernel, and dom0's initramfs. Prints nothing.

dom0 is a Linux that lives in memory: busybox, Xen's xl, xenstored and xenconsoled with the libraries they need, the
kernel modules of Xen's backends, and the scripts of dom0/ beside this file.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
from collections.abc import Iterable
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from floe.errors import FloeError, UpstreamError
from floe.xen import bzimage, deb
from floe.xen.cpio import Archive

SCRIPTS = Path(__file__).with_name("dom0")
# In the order of loading; what a kernel has built in is left out.
MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("virtio_blk", "failover", "net_failover", "virtio_net", "llc", "stp", "bridge", "loop", "brd"),
    *("xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs", "xen-netback", "xen-blkback"),
)
_PROGRAMS = ("xl", "xenstored", "xenconsoled", "xen-init-dom0", "xenconsole")
_XENSTORE = ("read", "write", "ls", "list", "watch", "rm", "exists", "chmod")
_LOADER = "ld-linux-x86-64.so.2"
_DLOPENED = ("libgcc_s.so.1",)  # by libpthread when a thread ends; xl aborts without it
_XL_CONF = 'autoballoon="off"\nclaim_mode=0\nvif.default.script="vif"\nvif.default.bridge="xenbr0"\n'


class Tree:
    """The files of all packages that may be needed, by path; /usr/lib and /lib are one."""

    def __init__(self, packages: Iterable[Path], modules: Iterable[str]) -> None:
        names = "|".join(re.escape(name) for name in modules)
        self._wanted = re.compile(
            rf"boot/xen-[0-9.]+-amd64\.gz|boot/vmlinuz-.*|bin/busybox|bin/xenstore|lib/xen-[0-9.]+/bin/({'|'.join(_PROGRAMS)})"
            rf"|lib/x86_64-linux-gnu/[^/]+\.so(\..*)?|lib/modules/[^/]+/(.*/)?({names})\.ko(\.xz)?|lib/modules/[^/]+/modules\.builtin"
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

    def hypervisor(self) -> bytes:
        """Xen, unpacked."""
        return gzip.decompress(self.one(r"boot/xen-[0-9.]+-amd64\.gz"))

    def kernel(self) -> bytes:
        """Linux, unpacked."""
        return bzimage.kernel(self.one("boot/vmlinuz-.*"))


def build(packages: Iterable[Path]) -> dict[str, bytes]:
    """xen, vmlinux and dom0.cpio, by these names. Raises UpstreamError."""
    tree = Tree(packages, MODULES)
    return {"xen": tree.hypervisor(), "vmlinux": tree.kernel(), "dom0.cpio": _dom0(tree)}


def _dom0(tree: Tree) -> bytes:
    out = Archive()
    for path in ("dev", "proc", "sys", "run", "tmp", "etc/xen/scripts", "var/lib/xen", "var/lib/xenstored",
                 "var/log/xen/console", "var/lock"):  # fmt: skip
        out.folder(path)
    out.link("var/run", "/run")
    out.character_device("dev/console", 5, 1)
    out.file("bin/busybox", tree.one("bin/busybox"), 0o755)
    programs = {name: tree.one(rf"lib/xen-[0-9.]+/bin/{name}") for name in _PROGRAMS}
    programs["xenstore"] = tree.one("bin/xenstore")
    for name, content in programs.items():
        out.file(f"bin/{name}", content, 0o755)
    for verb in _XENSTORE:
        out.link(f"bin/xenstore-{verb}", "xenstore")
    folder = next(path.rpartition("/")[0] for path in tree.files if path.endswith("/bin/xl"))
    out.link(f"usr/{folder}", "/bin")  # where xl looks for xenconsole
    for name, content in _libraries(tree, programs.values()).items():
        out.file(f"lib64/{name}" if name == _LOADER else f"lib/{name}", content, 0o755)
    loaded = []
    for name in MODULES:
        if (module := tree.module(name)) is not None:
            out.file(f"lib/modules/{name}.ko", module)
            loaded.append(name)
    out.file("lib/modules/list", "\n".join(loaded).encode() + b"\n")
    out.file("etc/xen/xl.conf", _XL_CONF.encode())
    for name, path in (("init", "init"), ("agent", "lab/agent"), ("vif", "etc/xen/scripts/vif"),
                       ("block", "etc/xen/scripts/block")):  # fmt: skip
        out.file(path, (SCRIPTS / name).read_bytes(), 0o755)
    return out.finish()


def _libraries(tree: Tree, programs: Iterable[bytes]) -> dict[str, bytes]:
    """The shared libraries that the programs need, and those that these need."""
    found: dict[str, bytes] = {}
    waiting = [_LOADER, *_DLOPENED, *(name for program in programs for name in _needed(program))]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = tree.library(name)
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
