# SPDX-License-Identifier: MIT
"""Ready kernels: the port linked once for each kind of application, which then needs no compiler (ready.py).

They lie in build/ready, with an index of what each holds; a wheel brings them. In a checkout they are linked when they
are first asked for, and again when a port archive has changed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from floe.build import bytecode, link, port_archive, sources
from floe.build.contents import FORK_MODULE, NETWORK_MODULES, Contents, drivers_of
from floe.errors import BuildError
from floe.image import names

READY = port_archive.BUILD / "ready"
INDEX = "index.json"

# Native parts of images and of what few scripts import; _dns, _link and _packet bring all of the network.
_SERVERS = {"_dns", "_http", "_link", "_packet", "_packetrules", "_proxy", "_resp", "_timelimit"}
_NETWORK = NETWORK_MODULES | {"websocket", "hashlib"} | _SERVERS
_TLS = {"tls", "cryptolib"}
_DISK = {"vfs"}
_FAMILY = {FORK_MODULE, "_handoff"}
_LARGE = {"framebuf"}  # and seldom wanted by what has a console only


class Entry(msgspec.Struct, frozen=True):
    """What a kernel holds. archive: the port archive it was linked with; repl: it is a dev image's."""

    name: str
    archive: str
    repl: bool
    modules: list[str]
    bytes: int
    sha256: str

    @property
    def path(self) -> Path:
        return READY / f"{self.name}.elf"


class Index(msgspec.Struct, frozen=True):
    """made_from: a digest of all that the kernels were linked from."""

    made_from: str
    kernels: list[Entry]


@dataclass(frozen=True)
class _Kind:
    """A kernel to link. without: the modules of its archive that it leaves out."""

    name: str
    archive: str
    without: frozenset[str]
    repl: bool = False


_KINDS = (
    _Kind("console", "sealed", frozenset(_NETWORK | _TLS | _DISK | _LARGE | _FAMILY)),
    _Kind("console-disk", "sealed", frozenset(_NETWORK | _TLS | _FAMILY)),
    _Kind("network", "sealed", frozenset(_TLS | _DISK | _FAMILY)),
    _Kind("network-disk", "sealed", frozenset(_TLS | _FAMILY)),
    _Kind("tls", "sealed", frozenset(_DISK | _FAMILY)),
    _Kind("tls-disk", "sealed", frozenset()),
    _Kind("compiler", "dev", frozenset()),
    _Kind("dev", "dev", frozenset(), repl=True),
)


def choose(contents: Contents, say: Callable[[str], None]) -> Entry:
    """The kernel that holds all that an application reaches and the least beside it. Raises BuildError where there is
    none."""
    fitting = [
        entry
        for entry in index(say).kernels
        if entry.archive == contents.archive.profile
        and entry.repl == contents.repl
        and contents.closure.modules <= set(entry.modules)
    ]
    if not fitting:
        held = {name for entry in index(say).kernels for name in entry.modules}
        lacking = ", ".join(sorted(contents.closure.modules - held)) or "all of its modules together"
        raise BuildError(f"no ready kernel holds {lacking}", hint="--linked, on a machine with gcc and binutils")
    return min(fitting, key=lambda entry: (len(entry.modules), entry.bytes))


def index(say: Callable[[str], None]) -> Index:
    """The kernels there are; linked, where they are missing or of other archives. Raises BuildError, NotFound."""
    found = _read_index()
    if port_archive.INSTALLED and found is not None:
        return found
    archives = {profile: port_archive.load(profile) for profile in ("sealed", "dev")}
    made_from = _digest(archives)
    if found is None or found.made_from != made_from:
        say("linking the ready kernels, once for each state of the port archives")
        READY.mkdir(parents=True, exist_ok=True)
        found = Index(made_from, [_link(kind, archives[kind.archive]) for kind in _KINDS])
        part = READY / f".{INDEX}.{os.getpid()}"
        part.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
        part.replace(READY / INDEX)
    return found


def _read_index() -> Index | None:
    """The index, where it is one of this floe's and all its kernels are there."""
    try:
        found = msgspec.json.decode((READY / INDEX).read_bytes(), type=Index)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if all(entry.path.exists() for entry in found.kernels) else None


def _digest(archives: dict[str, port_archive.Archive]) -> str:
    kinds = [(kind.name, kind.archive, sorted(kind.without), kind.repl) for kind in _KINDS]
    h = hashlib.sha256(repr((names.FORM, kinds)).encode())
    for archive in archives.values():
        for path in (archive.library, archive.disk_library, archive.ready_library, archive.folder / "link.ld"):
            with path.open("rb") as f:
                h.update(hashlib.file_digest(f, "sha256").digest())
    return h.hexdigest()


def _link(kind: _Kind, archive: port_archive.Archive) -> Entry:
    modules = set(archive.modules) - kind.without
    with tempfile.TemporaryDirectory(prefix=f".{kind.name}-", dir=READY) as scratch:
        folder = Path(scratch)
        bytecode.write_module_table(archive, modules, folder)
        (folder / "floe_app.c").write_text(sources.kernel_c(drivers_of(modules), repl=kind.repl))
        own = [port_archive.MICROPYTHON / "py" / "objmodule.c", folder / "floe_app.c"]
        objects = link.compile_sources(archive, folder, own)
        libraries = [*([archive.disk_library] if "vfs" in modules else []), archive.library]
        files = [*map(str, objects), "-Wl,--whole-archive", str(archive.ready_library), "-Wl,--no-whole-archive"]
        out = folder / f"{kind.name}.elf"
        # help("modules") lists the names that ready.py puts first behind the image.
        listed = "-Wl,--defsym=floe_ready_names=link_end"
        link.link(archive, [*files, *map(str, libraries), listed], out, folder / "link.map")
        names.pack(out)
        raw = out.read_bytes()
        out.replace(READY / out.name)
    return Entry(kind.name, kind.archive, kind.repl, sorted(modules), len(raw), hashlib.sha256(raw).hexdigest())
