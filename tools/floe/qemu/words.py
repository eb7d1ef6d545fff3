# SPDX-License-Identifier: MIT
"""Values of QEMU's options for what spec/ describes: a network card, a disk, a blob, a file's name in a list."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from floe.spec import handover
from floe.spec.disks import Disk
from floe.spec.handover import Blob
from floe.spec.network import Card, UserNet
from floe.spec.ports import Forward

_PREFIX = "opt/floe/"  # of names in fw_cfg: port/hal/fwcfg.c


def escaped(path: str) -> str:
    """A file's name as a value in a list of options, where a comma ends one."""
    return path.replace(",", ",,")


def netdev(card: Card, index: int, forwards: Sequence[Forward], *, vhost: bool, captured: bool = False) -> str:
    """The value of QEMU's -netdev for a card; `forwards` is empty for all but the first user card.

    captured: every frame goes through QEMU and starts with its first byte. With vhost none does, and QEMU 7.2 records
    a tap's virtio-net headers as part of the frames."""
    ident = f"id=net{index}"
    if card.kind == "bridge" and card.fd < 0:
        return f"bridge,{ident},br={card.name}"
    if card.kind in ("tap", "bridge"):
        on = "on" if vhost and not captured and os.access("/dev/vhost-net", os.R_OK | os.W_OK) else "off"
        if card.fd >= 0:
            return f"tap,{ident},fd={card.fd},vhost={on}"
        return f"tap,{ident},ifname={card.name},script=no,downscript=no,vhost={on}" + (
            ",vnet_hdr=off" if captured else ""
        )
    if card.kind in ("listen", "connect"):
        server = "on" if card.kind == "listen" else "off"
        return f"stream,{ident},server={server},addr.type=unix,addr.path={card.name}"
    net = UserNet.of(card, index)
    guest = net.guest.ip
    words = ["user", ident, f"net={net.guest.network}", f"host={net.gateway}", f"dns={net.dns}", f"dhcpstart={guest}"]
    if index:
        words.append(f"ipv6-net=fec0:0:0:{index:x}::/64")
    for f in forwards:
        host, port = ("127.0.0.1", f.through) if f.through else (f.address, f.host_port)
        word = f"hostfwd={f.protocol}:{host}:{port}-{guest}:{f.guest_port}"
        words += [word] if word not in words else []
    return ",".join(words)


def blockdev(disk: Disk, index: int) -> str:
    """The value of QEMU's -blockdev, in JSON, so that no character of a file's name means anything.

    cache: through the page cache, and a guest's flush is a flush; a second opener is refused (locking)."""
    node = {
        "driver": "host_device" if disk.path.is_block_device() else "file",
        "node-name": f"disk{index}",
        "filename": str(disk.path),
        "read-only": disk.readonly,
        "cache": {"direct": False, "no-flush": False},
        "aio": "threads",
        "locking": "on",
        "discard": "unmap",
    }
    return json.dumps(node)


def blobs_by_path(secrets: Sequence[tuple[str, Path]], env_files: Sequence[Path]) -> list[str]:
    """Arguments that name the files themselves."""
    named = [(f"secret/{name}", path) for name, path in secrets]
    named += [(f"env/{number}", path) for number, path in enumerate(env_files)]
    return [word for name, path in named for word in _fw_cfg(name, str(path))]


@contextmanager
def blobs_in_memory(blobs: Sequence[Blob]) -> Iterator[tuple[list[str], list[int]]]:
    """Arguments, and the descriptors that QEMU must inherit; they are closed at the end."""
    with handover.as_files(blobs) as fds:
        yield [w for b, fd in zip(blobs, fds, strict=True) for w in _fw_cfg(b.name, f"/dev/fd/{fd}")], fds


@contextmanager
def inherited(path: Path) -> Iterator[tuple[Path, list[int]]]:
    """A file by the name that it has for QEMU, and the descriptors that QEMU must inherit for that; they are closed at
    the end. What this process has in memory alone (signature.py) QEMU, confined, could not look up with it."""
    folder, _, number = str(path).rpartition("/")
    if folder != f"/proc/{os.getpid()}/fd":
        yield path, []
        return
    fd = os.dup(int(number))
    try:
        yield Path(f"/proc/self/fd/{fd}"), [fd]
    finally:
        os.close(fd)


def _fw_cfg(name: str, file: str) -> list[str]:
    return ["-fw_cfg", f"name={_PREFIX}{name},file={escaped(file)}"]
