# SPDX-License-Identifier: MIT
"""`floe build --oci`: the container image of an app, in a folder or as one file, written at once or not at all."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from floe import __version__
from floe.build import port_archive
from floe.build.config import ImageConfig
from floe.errors import DiskFull, NotFound, UsageError
from floe.image import elf
from floe.oci import qemufiles, rootfs
from floe.oci.layout import Execution, Healthcheck, Layout, labels_of, write_tar
from floe.units import epoch
from floe.userfile import check_replaceable

ENTRY = port_archive.ROOT / "build" / "container-entry"  # setup/__main__.py compiles it
_S = 1_000_000_000
_HEALTH = Healthcheck(["CMD", rootfs.HEALTHY], interval=30 * _S, timeout=10 * _S, start_period=10 * _S, retries=3)


def write(made: elf.Image, settings: ImageConfig, out: Path) -> Path:
    """Write an OCI image layout: a file if its name ends in .tar, else a folder, which may be an earlier layout.
    Returns its path.

    Raises NotFound, UsageError, BuildError, DiskFull."""
    epoch()
    archive = out.suffix == ".tar"
    if out.name.lower().endswith((".tar", ".tar.gz", ".tgz")) and not archive:
        raise UsageError(f"--oci {out}: a folder of that name would be no archive", hint="--oci NAME.tar")
    if archive:
        check_replaceable(out)
    else:
        _check_folder(out)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.absolute().parent) as scratch:
            layout = Layout(Path(scratch) / "layout")
            layout.add_layer(qemufiles.needed())
            layout.add_layer(rootfs.files(made, settings, qemufiles.program(), ENTRY))
            layout.finish(execution(settings), name(settings), rootfs.urunc())
            if archive:
                part = Path(scratch) / "tar"
                with part.open("wb") as opened:
                    write_tar(opened, layout.files())
                part.replace(out)
            else:
                if out.exists():
                    out.rename(Path(scratch) / "old")
                layout.folder.rename(out)
    except OSError as e:
        if full := DiskFull.of(e, out.absolute().parent):
            raise full from e
        raise NotFound(f"cannot write {out}: {e.strerror}", hint="name another place with --oci") from e
    return out


def _check_folder(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"--oci {out}: it is no folder, and its name does not end in .tar", hint=f"--oci {out}.tar")
    if out.is_dir() and any(out.iterdir()) and not _is_ours(out):
        raise UsageError(f"--oci {out}: the folder holds something else than an image", hint=f"--oci {out}/image")


def _is_ours(folder: Path) -> bool:
    """An earlier layout, and nothing else: it is replaced whole."""
    if {path.name for path in folder.iterdir()} != {"blobs", "index.json", "oci-layout"}:
        return False
    labels = labels_of(folder)
    return labels is not None and "floe" in labels


def execution(settings: ImageConfig) -> Execution:
    """What a container of the image runs."""
    ports = rootfs.forwards(settings)
    labels = {"org.opencontainers.image.title": settings.name, "org.opencontainers.image.version": settings.version}
    labels |= {"org.opencontainers.image.description": settings.description} if settings.description else {}
    return Execution(
        entrypoint=[rootfs.ENTRY],
        cmd=list(settings.args),
        env=[f"{key}={value}" for key, value in settings.env.items()],
        exposed_ports={f"{f.guest_port}/{f.protocol}": {} for f in ports},
        labels=labels | {"floe": __version__} | rootfs.urunc(),
        stop_signal="SIGTERM",
        healthcheck=_HEALTH if any(f.protocol == "tcp" for f in ports) else None,
    )


def name(settings: ImageConfig) -> str:
    """As engines name it: NAME:VERSION, in the characters that they take."""
    stem = re.sub(r"[^a-z0-9]+", "-", settings.name.lower()).strip("-") or "app"
    tag = re.sub(r"[^A-Za-z0-9_.-]", "-", settings.version).lstrip(".-")[:128]
    return f"{stem}:{'latest' if tag in ('', '0') else tag}"
