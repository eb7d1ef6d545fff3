# SPDX-License-Identifier: MIT
"""The same MicroPython as a Linux process: upstream's unix port from the pinned sources, compiled with the port's
own flags for code and with the same files for speed (port/port.mk says which), static, so that it also runs in
the Linux microVM, and with fork(2), which it lacks, as module `linux_fork`. Built once into build/bench/unix."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from floe.bench import compiled
from floe.build import port_archive
from floe.errors import BuildError, NotFound
from floe.lab import assets

BENCH = compiled.FOLDER
FOLDER = BENCH / "unix"
BINARY = FOLDER / "micropython"
_FORK = Path(__file__).parent / "scripts" / "linux_fork"
_TIMEOUT_S = 600
# What Debian's source package lacks, and what needs it.
_WITHOUT = ["BTREE=0", "SSL=0", "FFI=0", "THREAD=0"]


def library() -> dict[str, Path]:
    """What an appliance imports of Floe's, as files beside its own: its library, and on Linux a module `floe`."""
    lib = port_archive.ROOT / "frozen" / "lib"
    files = {str(path.relative_to(lib)): path for path in sorted((lib / "appliance").glob("*.py"))}
    files["tomllib.py"] = lib / "tomllib.py"
    files["floe.py"] = Path(__file__).parent / "scripts" / "linux_floe.py"
    return files


def _port_flags() -> tuple[list[str], str, str, list[str]]:
    """From port.mk: flags of the architecture, of the fast files, of the fastest, and the fast files of upstream."""
    text = re.sub(r"\\\n\s*", " ", (port_archive.ROOT / "port" / "port.mk").read_text())

    def value(name: str) -> str:
        found = re.search(rf"^{name}\s*:?=\s*(.*)$", text, re.MULTILINE)
        if found is None:
            raise BuildError(f"port/port.mk sets no {name}")
        return found[1]

    def prefixed(call: re.Match[str]) -> str:
        return " ".join(call[1] + name for name in call[2].split())

    own = ("-ffreestanding", "-mstack-protector-guard=global")  # a process has its canary elsewhere
    arch = [flag for flag in value("CFLAGS_ARCH").split() if flag not in own]
    fast = re.sub(r"\$\(addprefix (\S+), ([^)]*)\)", prefixed, value("PY_FAST"))
    return arch, value("FAST_OPT"), value("CSUPEROPT"), fast.split()


def build() -> None:
    """Make BINARY if it is missing or older than port.mk, once for all who ask at a time.

    Raises BuildError, NotFound."""
    with assets.locked(BENCH / "unix.lock", lambda text: None):
        sources = (port_archive.ROOT / "port" / "port.mk", _FORK / "linux_fork.c")
        if not BINARY.exists() or BINARY.stat().st_mtime <= max(path.stat().st_mtime for path in sources):
            _make()


def _make() -> None:
    if not (port_archive.MICROPYTHON / "ports" / "unix").is_dir():
        raise NotFound("MicroPython's unix port is built from a checkout of Floe only", hint="git clone, make setup")
    arch, fast, superopt, files = _port_flags()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "lib").mkdir()
    (FOLDER / "lib" / "README.md").touch()  # micropython-lib is not used, but looked for
    (FOLDER / "manifest.py").write_text('include("$(MPY_DIR)/extmod/asyncio")\n')
    (FOLDER / "bench.mk").write_text(f"include Makefile\n$(addprefix $(BUILD)/, {' '.join(files)}): CFLAGS += {fast}\n")
    with tempfile.TemporaryDirectory(prefix="floe-unix-") as scratch:
        way = Path(scratch)  # upstream's make takes no blank in a path, so everything is reached through links
        (way / "modules").mkdir()
        for link, target in (("unix", FOLDER), ("mpy-cross", port_archive.BUILD / "mpy-cross"),
                             ("modules/linux_fork", _FORK)):  # fmt: skip
            (way / link).symlink_to(target)
        folder, cross = way / "unix", way / "mpy-cross"
        argv = ["make", "-C", str(port_archive.MICROPYTHON / "ports" / "unix"), "-f", str(folder / "bench.mk"), "-j2"]
        argv += [f"BUILD={folder}", "PROG=micropython", "DEBUG="]
        argv += ["COPT=-Os -DNDEBUG -fdata-sections -ffunction-sections"]
        argv += [f"CSUPEROPT={superopt}", f"CFLAGS_EXTRA={' '.join(arch)} -w", "LDFLAGS_EXTRA=-static -no-pie"]
        argv += [f"USER_C_MODULES={way / 'modules'}"]
        argv += [f"MPY_LIB_DIR={folder / 'lib'}", f"FROZEN_MANIFEST={folder / 'manifest.py'}"]
        argv += [f"MICROPY_PY_{word}" for word in _WITHOUT] + ["MICROPY_SSL_MBEDTLS=0", "MICROPY_SSL_AXTLS=0"]
        argv += [f"MICROPY_MPYCROSS={cross}", f"MICROPY_MPYCROSS_DEPENDENCY={cross}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode or not BINARY.exists():
        raise BuildError("the unix port did not build", evidence=(done.stderr or done.stdout)[-2000:])
