# SPDX-License-Identifier: MIT
"""From Debian's packages to what boots: the hypervisor, dom0's kernel, and dom0's initramfs.

dom0 is a Linux that lives in memory: busybox, Xen's xl, xenstored and xenconsoled with the libraries they need, the
kernel modules of Xen's backends, and the scripts of dom0/ beside this file.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

from floe.lab import assets
from floe.lab.cpio import Archive
from floe.lab.tree import VIRTIO, Tree

SCRIPTS = Path(__file__).with_name("dom0")
# In the order of loading.
MODULES = (
    *VIRTIO,
    *("llc", "stp", "bridge", "loop", "brd"),
    *("xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs", "xen-netback", "xen-blkback"),
)
_PROGRAMS = (
    *("xl", "libxl-save-helper", "xen-init-dom0"),
    *("xenstored", "xenconsoled", "xenconsole", "vchan-socket-proxy"),
)
_XENSTORE = ("read", "write", "ls", "list", "watch", "rm", "exists", "chmod")
_WANTED = rf"boot/xen-[0-9.]+-amd64\.gz|bin/xenstore|lib/xen-[0-9.]+/bin/({'|'.join(_PROGRAMS)})"
_XL_CONF = 'autoballoon="off"\nclaim_mode=0\nvif.default.script="vif"\nvif.default.bridge="xenbr0"\n'


def build(packages: Iterable[Path]) -> dict[str, bytes]:
    """xen, vmlinux and dom0.cpio, by these names. Raises UpstreamError."""
    tree = Tree(packages, _WANTED, MODULES)
    xen = gzip.decompress(tree.one(r"boot/xen-[0-9.]+-amd64\.gz"))
    return {"xen": xen, "vmlinux": tree.kernel(), "dom0.cpio": _dom0(tree)}


def _dom0(tree: Tree) -> bytes:
    out = Archive()
    for path in ("dev", "proc", "sys", "run", "tmp", "etc/xen/scripts", "var/lib/xen", "var/lib/xenstored",
                 "var/log/xen/console", "var/lock"):  # fmt: skip
        out.folder(path)
    out.link("var/run", "/run")
    out.character_device("dev/console", 5, 1)
    programs = {name: tree.one(rf"lib/xen-[0-9.]+/bin/{name}") for name in _PROGRAMS}
    programs["xenstore"] = tree.one("bin/xenstore")
    tree.add_programs(out, programs)
    for verb in _XENSTORE:
        out.link(f"bin/xenstore-{verb}", "xenstore")
    folder = next(path.rpartition("/")[0] for path in tree.files if path.endswith("/bin/xl"))
    out.link(f"usr/{folder}", "/bin")  # where xl looks for the others
    tree.add_modules(out, MODULES)
    out.file("etc/xen/xl.conf", _XL_CONF.encode())
    out.file("lab/agent", assets.AGENT.read_bytes(), 0o755)
    for name, path in (("init", "init"), ("vif", "etc/xen/scripts/vif"), ("block", "etc/xen/scripts/block")):
        out.file(path, (SCRIPTS / name).read_bytes(), 0o755)
    return out.finish()


RECIPE = assets.Recipe(
    purpose="the Xen lab",
    any_version="floe lab xen up --any-version",
    pins=Path(__file__).with_name("packages.toml"),
    extras=("",),
    build=build,
    code=(Path(__file__), *sorted(path for path in SCRIPTS.iterdir() if path.is_file())),
    shown={"xen-hypervisor": "xen", "linux-image": "linux"},
)
