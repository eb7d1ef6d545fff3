# SPDX-License-Identifier: MIT
"""What goes into an image, decided: imports followed from the script, C modules kept, packages and data added."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floe import tomlfile
from floe.build import port_archive, pypi, romfs
from floe.build.config import ImageConfig
from floe.build.resolve import Closure, Frozen, Resolver, Root, show
from floe.errors import BuildError
from floe.userfile import read_file

ALWAYS_MODULES = {"__main__", "builtins", "sys"}
# Whoever reaches one of them needs both and a driver: sockets do nothing before an interface is up.
NETWORK_MODULES = {"network", "socket"}
FORK_MODULE = "_vm"
# In the order of their start: first what decides how much memory there is.
DRIVERS = (
    "xen_balloon_driver",
    "virtio_console_driver",
    "virtio_rng_driver",
    "xen_console_driver",
)
NETWORK_DRIVERS = ("virtio_net_driver", "xen_netfront_driver")
FAMILY_DRIVERS = ("virtio_family_driver", "xen_family_driver")
DISK_DRIVERS = ("virtio_blk_driver", "xen_blkfront_driver")
LAST_DRIVERS = ("xen_control_driver",)  # it listens to what is meant for a VM that has its devices
LINES_KEPT = 2  # mpy-cross -O3 leaves the numbers of lines out, which a traceback needs


@dataclass(frozen=True)
class Contents:
    """Everything an image will hold. repl: a dev image. archive: "dev" too when the script needs the compiler. forks:
    its VM may beget others."""

    config: ImageConfig
    archive: port_archive.Archive
    closure: Closure
    packages: list[pypi.Unpacked]
    data: romfs.Romfs | None
    repl: bool
    forks: bool

    @property
    def disks(self) -> bool:
        """Whether the image has file systems and the driver for disks: each dev image, and what reaches `vfs`."""
        return "vfs" in self.closure.modules

    @property
    def interrupt(self) -> str:
        """What of the port is asked before the script is interrupted; "" for nothing."""
        frozen = self.closure.frozen
        if "signal.py" in frozen and frozen["signal.py"].origin == "floe":
            return "floe_interrupt_signal"
        return "floe_interrupt_loop" if "asyncio/core.py" in frozen else ""

    @property
    def drivers(self) -> tuple[str, ...]:
        return drivers_of(self.closure.modules)

    @property
    def libraries(self) -> tuple[Path, ...]:
        """The archives to link, in this order."""
        return (*((self.archive.disk_library,) if self.disks else ()), self.archive.library)


def drivers_of(modules: set[str]) -> tuple[str, ...]:
    """What an image with these modules probes at its start, in this order."""
    network = NETWORK_DRIVERS if modules & NETWORK_MODULES else ()
    family = FAMILY_DRIVERS if FORK_MODULE in modules else ()
    return DRIVERS + network + family + (DISK_DRIVERS if "vfs" in modules else ()) + LAST_DRIVERS


def choose(config: ImageConfig, profile: str, say: Callable[[str], None]) -> Contents:
    """Follow the imports of a script. Raises BuildError, NotFound."""
    archive = port_archive.load(profile)
    packages = pypi.fetch_all(config, port_archive.CACHE / "pypi", say)
    base = base_root()
    own = config.main.parent if config.main.is_relative_to(config.folder) else config.folder
    dev = profile == "dev"
    below = [Root.beside_script(folder, f"{show(folder)}/", "base") for folder in config.bases]
    roots = [Root.beside_script(own, f"{show(own)}/", "app"), *below, *pypi.merged(packages), base]
    resolver = Resolver(roots, archive.modules, at_run_time=dev)
    resolver.add(base.files["boot.py"])
    resolver.add(Frozen(config.main.name, config.main, "app"))
    if config.file is not None:
        line = tomlfile.line_of(read_file(config.file).decode(), "imports")
        resolver.require(config.imports, show(config.file), line)
    if config.fork:
        resolver.require(["vm"], "frozen/manifest.py", None)
    forks = FORK_MODULE in resolver.closure.modules  # a dev image has that module in any case
    if dev:
        resolver.add_all(base)
    if config.disks or "vfs" in resolver.closure.modules:
        resolver.require(["_disks"], "frozen/manifest.py", None)
    closure = resolver.closure
    closure.modules |= set(archive.modules) if dev else ALWAYS_MODULES
    if closure.modules & NETWORK_MODULES:
        closure.modules |= NETWORK_MODULES & set(archive.modules)
    if (closure.compiler or closure.native) and not dev:
        archive = port_archive.load("dev")
    data = romfs.make(config.data, config.ca) if config.data or config.ca else None
    return Contents(config, archive, closure, packages, data, repl=dev, forks=forks)


def base_root() -> Root:
    """The files of frozen/manifest.py, read by upstream's own manifest reader."""
    path = port_archive.MICROPYTHON / "tools" / "manifestfile.py"
    spec = importlib.util.spec_from_file_location("floe_upstream_manifestfile", path)
    assert spec is not None and spec.loader is not None
    reader: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    variables = {"MPY_DIR": str(port_archive.MICROPYTHON), "FLOE_DIR": str(port_archive.ROOT), "MPY_LIB_DIR": ""}
    manifest = reader.ManifestFile(reader.MODE_FREEZE, variables)
    try:
        manifest.execute(str(port_archive.ROOT / "frozen" / "manifest.py"))
    except reader.ManifestFileError as error:
        raise BuildError(str(error)) from error
    files: dict[str, Frozen] = {}
    fuller: dict[str, Frozen] = {}
    theirs = port_archive.MICROPYTHON.resolve()  # as the reader has its paths: build/ may be a link
    for item in manifest.files():
        origin = "micropython" if Path(item.full_path).is_relative_to(theirs) else "floe"
        file = Frozen(item.target_path, Path(item.full_path), origin, min(item.opt or 0, LINES_KEPT))
        (fuller if file.target in files else files)[file.target] = file  # the manifest has upstream's before ours
    return Root("frozen/", "floe", files, fuller)
