# SPDX-License-Identifier: MIT
"""What goes into an image, decided and compiled: imports followed, bytecode made by upstream's mpy-cross and
mpy-tool, the module table filtered, the application's own C file and description written.

The files of one application lie in one folder (build/apps/<name>-<hash>), ready for pipeline.py to link.
"""

from __future__ import annotations

import codecs
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floe import __version__
from floe.build import missing, port_archive, pypi, romfs
from floe.build.config import ImageConfig, line_of
from floe.errors import BuildError
from floe.build.resolve import Closure, Frozen, Resolver, Root, show
from floe.setup.upstream import Pin, chosen_release, load_pins
from floe.userfile import read_file

ALWAYS_MODULES = {"__main__", "builtins", "sys"}
# Whoever reaches one of them needs both and a driver: sockets do nothing before an interface is up.
NETWORK_MODULES = {"network", "socket"}
# In the order of their start: first what decides how much memory there is.
DRIVERS = (
    "xen_balloon_driver",
    "virtio_console_driver",
    "virtio_rng_driver",
    "xen_console_driver",
    "xen_control_driver",
)
NETWORK_DRIVERS = ("virtio_net_driver", "xen_netfront_driver")
DISK_DRIVERS = ("virtio_blk_driver", "xen_blkfront_driver")
# What upstream keeps in lib/ of MicroPython's own archive: no pin of theirs in upstream.toml.
DISK_UPSTREAM = (("littlefs", "2.8", "BSD-3-Clause"), ("FatFs", "R0.13c", "BSD-1-Clause"))
ARENA_PAGES_DEV = 256  # 1 MiB for native code made at the REPL
TOOL_TIMEOUT_S = 120
_PYTHON = (sys.executable, "-I")  # nothing of the working folder's: a struct.py beside the script is the guest's
LINES_KEPT = 2  # mpy-cross -O3 leaves the numbers of lines out, which a traceback needs
_MPY_CROSS_FLAGS = ("-march=x64", "-msmall-int-bits=63")
_MPY_TOOL_FLAGS = ("-f", "-mlongint-impl=mpz", "-mmpz-dig-size=32")


@dataclass(frozen=True)
class Plan:
    """Everything an image will hold. repl: a dev image. archive: "dev" too when the script needs the compiler."""

    config: ImageConfig
    archive: port_archive.Archive
    closure: Closure
    packages: list[pypi.Unpacked]
    data: romfs.Romfs | None
    repl: bool

    @property
    def disks(self) -> bool:
        """Whether the image has file systems and the driver for disks: each dev image, and what reaches `vfs`."""
        return "vfs" in self.closure.modules

    @property
    def drivers(self) -> tuple[str, ...]:
        network = NETWORK_DRIVERS if self.closure.modules & NETWORK_MODULES else ()
        return DRIVERS + network + (DISK_DRIVERS if self.disks else ())

    @property
    def libraries(self) -> tuple[Path, ...]:
        """The archives to link, in this order."""
        return (*((self.archive.disk_library,) if self.disks else ()), self.archive.library)


def plan(config: ImageConfig, profile: str, say: Callable[[str], None]) -> Plan:
    """Follow the imports of a script. Raises BuildError, NotFound."""
    archive = port_archive.load(profile)
    packages = pypi.fetch_all(config, port_archive.BUILD / "pypi", say)
    base = base_root()
    own = Root.of_folder(config.main.parent, f"{show(config.main.parent)}/", "app")
    dev = profile == "dev"
    roots = [own, *pypi.merged(packages), base]
    resolver = Resolver(roots, archive.modules, at_run_time=dev)
    resolver.add(base.files["boot.py"])
    resolver.add(Frozen(config.main.name, config.main, "app"))
    if config.file is not None:
        resolver.require(config.imports, show(config.file), line_of(read_file(config.file).decode(), "imports"))
    if dev:
        resolver.require(sorted({t.split("/")[0].removesuffix(".py") for t in base.files}), "frozen/manifest.py", None)
    if config.disks or "vfs" in resolver.closure.modules:
        resolver.require(["_disks"], "frozen/manifest.py", None)
    closure = resolver.closure
    closure.modules |= set(archive.modules) if dev else ALWAYS_MODULES
    if closure.modules & NETWORK_MODULES:
        closure.modules |= NETWORK_MODULES & set(archive.modules)
    if (closure.compiler or closure.native) and not dev:
        archive = port_archive.load("dev")
    data = romfs.make(config.data, config.ca) if config.data or config.ca else None
    return Plan(config, archive, closure, packages, data, repl=dev)


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
    except reader.ManifestFileError as e:
        raise BuildError(str(e)) from e
    files = {}
    theirs = port_archive.MICROPYTHON.resolve()  # as the reader has its paths: build/ may be a link
    for item in manifest.files():
        origin = "micropython" if Path(item.full_path).is_relative_to(theirs) else "floe"
        files[item.target_path] = Frozen(item.target_path, Path(item.full_path), origin, min(item.opt or 0, LINES_KEPT))
    return Root("frozen/", "floe", files)


def digest(p: Plan) -> str:
    """A name for the bytes of the image: changes when anything that goes into it does."""
    h = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            h.update(len(raw).to_bytes(8, "little") + raw)

    for target, file in sorted(p.closure.frozen.items()):
        add(target, str(file.optimise), file.path.read_bytes())
    for path in (*p.libraries, p.archive.folder / "link.ld", p.archive.mpy_cross):
        with path.open("rb") as f:
            add(hashlib.file_digest(f, "sha256").digest())
    add(*p.archive.cflags, *p.archive.ldflags, *_MPY_CROSS_FLAGS, *_MPY_TOOL_FLAGS)
    add(p.data.image if p.data else b"", json.dumps(describe(p, {}), sort_keys=True), _app_c(p), _app_s(p, 0))
    return h.hexdigest()


def write(p: Plan, folder: Path) -> None:
    """Fill an application's folder: frozen_content.c, genhdr/moduledefs.h, floe_app.c, floe_app.S and what
    it includes. Raises BuildError, naming file and line for a syntax error."""
    (folder / "genhdr").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        mpy = dict(
            zip(sorted(p.closure.frozen), pool.map(lambda t: _compile(p, t), sorted(p.closure.frozen)), strict=True)
        )
    tool = str(port_archive.MICROPYTHON / "tools" / "mpy-tool.py")
    qstrs = str(p.archive.folder / "genhdr" / "qstrdefs.preprocessed.h")
    mpytool = [*_PYTHON, str(Path(__file__).with_name("mpytool.py")), tool, *_MPY_TOOL_FLAGS]
    frozen = _tool([*mpytool, "-q", qstrs, *map(str, mpy.values())], "mpy-tool")
    (folder / "frozen_content.c").write_text(frozen)
    definitions = folder / "moduledefs.collected"
    definitions.write_text(p.archive.module_definitions(p.closure.modules))
    table = _tool([*_PYTHON, str(port_archive.MICROPYTHON / "py" / "makemoduledefs.py"), str(definitions)], "makemoduledefs")
    (folder / "genhdr" / "moduledefs.h").write_text(table)
    note = json.dumps(
        describe(p, {t: path.stat().st_size for t, path in mpy.items()}), separators=(",", ":"), sort_keys=True
    )
    (folder / "note.json").write_text(note)
    if p.data:
        (folder / "romfs.img").write_bytes(p.data.image)
    (folder / "floe_app.c").write_text(_app_c(p))
    (folder / "floe_app.S").write_text(_app_s(p, len(note)))


def compile_file(mpy_cross: Path, path: Path, target: str, optimise: int = 0) -> Path:
    """One Python file to .mpy, from the cache if these bytes were compiled before. target: its name in tracebacks.

    Raises BuildError with file, line and what MicroPython's compiler says."""
    source = read_file(path).removeprefix(codecs.BOM_UTF8)
    flags = [*_MPY_CROSS_FLAGS, f"-O{optimise}", "-s", target]
    key = hashlib.sha256(b"\0".join([mpy_cross.read_bytes(), *map(str.encode, flags), source])).hexdigest()
    cached = port_archive.BUILD / "mpy" / f"{key}.mpy"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_name(f"{key}.{os.getpid()}.part")
        # By way of its standard output: into a file on a full disk it writes a part, and says nothing.
        done = _run([str(mpy_cross), *flags, "-o", "-", "-"], f"{show(path)}: mpy-cross", source)
        if done.returncode:
            raise _syntax_error(path, source.decode(errors="replace"), done.stderr.decode(errors="replace"))
        try:
            part.write_bytes(done.stdout)
            part.replace(cached)
        finally:
            part.unlink(missing_ok=True)
    return cached


def _compile(p: Plan, target: str) -> Path:
    file = p.closure.frozen[target]
    return compile_file(p.archive.mpy_cross, file.path, target, file.optimise)


def _syntax_error(path: Path, source: str, stderr: str) -> BuildError:
    """mpy-cross's traceback as `file:line: message`, and the name of what it does not know where that can be told."""
    lines = stderr.strip().splitlines()
    problem = lines[-1] if lines else "mpy-cross failed"
    numbers = [n for text in lines if (n := re.match(r"  File .*, line (\d+)", text))]
    if not numbers:
        return BuildError(f"{show(path)}: {problem}", hint="MicroPython's compiler says so; CPython may accept more")
    line = int(numbers[-1][1])
    code = source.splitlines()[line - 1 : line]
    evidence = f"{line} | {code[0].rstrip()}" if code else ""
    feature = missing.find(source, line)
    if feature is None:
        hint = "MicroPython's compiler says so; CPython may accept more"
        return BuildError(f"{show(path)}:{line}: {problem}", evidence=evidence, hint=hint)
    version = next((pin.version for pin in _pins() if pin.name == "micropython"), "").rpartition(".")[0]
    return BuildError(
        f"{show(path)}:{line}: MicroPython {version} has no {feature.what}", evidence=evidence, hint=feature.instead
    )


def _tool(argv: list[str], name: str) -> str:
    """Output of one of upstream's own scripts."""
    done = _run(argv, name)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-5:]
        raise BuildError(f"{name} failed", evidence="\n".join(said), hint="make clean setup")
    return done.stdout.decode()


def _run(argv: list[str], name: str, told: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(argv, input=told, capture_output=True, timeout=TOOL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        hint = "a number of many thousand digits takes long: have a function compute it, and keep large data in data/"
        raise BuildError(f"{name} did not end within {TOOL_TIMEOUT_S} s", hint=hint) from None


def describe(p: Plan, mpy_sizes: dict[str, int]) -> dict[str, Any]:
    """What the image holds, as `floe inspect` shows it: the content of the ELF's Floe note."""
    c = p.config
    held = p.closure.modules
    upstream = [(pin.name, pin.version, pin.licence) for pin in _pins() if not pin.modules or held & set(pin.modules)]
    upstream += DISK_UPSTREAM if p.disks else ()
    return {
        "format": 1,
        "floe": __version__,
        "name": c.name,
        "version": c.version,
        "profile": "dev" if p.repl else "sealed",
        "compiler": p.archive.profile == "dev",
        "main": c.main.name,
        "memory": c.memory,
        "secrets": list(c.secrets),
        "modules": sorted(held),
        "drivers": [name.removesuffix("_driver").replace("_", "-") for name in p.drivers],
        "frozen": [
            {
                "name": t,
                "origin": f.origin,
                "mpy_bytes": mpy_sizes.get(t, 0),
                "sha256": hashlib.sha256(f.path.read_bytes()).hexdigest(),
            }
            for t, f in sorted(p.closure.frozen.items())
        ],
        "data": p.data.files if p.data else {},
        "packages": [
            {"name": k.name, "version": k.version, "licence": k.licence, "sha256": k.sha256} for k in p.packages
        ],
        "upstream": [{"name": n, "version": v, "licence": licence} for n, v, licence in upstream],
    }


def _pins() -> list[Pin]:
    return load_pins(port_archive.ROOT / "port" / "upstream.toml", chosen_release())


def _c_string(text: str) -> str:
    """A C string literal: printable ASCII stands for itself, every other byte is octal."""
    keep = (chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in text.encode())
    return '"' + "".join(keep) + '"'


def _app_c(p: Plan) -> str:
    drivers = "".join(f"    &{name},\n" for name in p.drivers)
    declared = "".join(f"extern const hal_driver_t {name};\n" for name in p.drivers)
    romfs_fields = f"    .romfs = floe_romfs,\n    .romfs_size = {len(p.data.image)},\n" if p.data else ""
    loop = "    .interrupt_loop = floe_interrupt_loop,\n" if "asyncio/core.py" in p.closure.frozen else ""
    repl = f"    .repl = floe_repl,\n    .arena_pages = {ARENA_PAGES_DEV},\n" if p.repl else ""
    return (
        "// Generated by floe.\n"
        '#include "app.h"\n\n'
        "void floe_repl(void);\n"
        f"extern const unsigned char floe_romfs[];\n{declared}"
        f"static const hal_driver_t *const drivers[] = {{\n{drivers}    0,\n}};\n\n"
        "const floe_app_t floe_app = {\n"
        f"    .main_module = {_c_string(p.config.main.name)},\n"
        "    .drivers = drivers,\n"
        f"{repl}{loop}{romfs_fields}"
        f"    .name = {_c_string(p.config.name)},\n"
        f"    .version = {_c_string(p.config.version)},\n"
        "};\n"
    )


def _app_s(p: Plan, note_bytes: int) -> str:
    data = (
        '    .section .romfs, "a", @progbits\n    .balign 4096\n'
        '    .global floe_romfs\nfloe_romfs:\n    .incbin "romfs.img"\n'
        if p.data
        else ""
    )
    return (
        "// Generated by floe: ELF notes of owner Floe: 1, what is inside, as JSON; 2, the file's digest.\n"
        '    .section .note.floe, "a", @note\n    .balign 4\n'
        f'    .long 5, {note_bytes}, 1\n    .asciz "Floe"\n    .balign 4\n    .incbin "note.json"\n    .balign 4\n'
        '    .long 5, 32, 2\n    .asciz "Floe"\n    .balign 4\n    .fill 32\n'
        f"{data}"
        '    .section .note.GNU-stack, "", @progbits\n'
    )
