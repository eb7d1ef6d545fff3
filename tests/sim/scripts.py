# SPDX-License-Identifier: MIT
"""Servers that are images' scripts: what their node is linked from. The image's bytecode, the port's own objects, and
python.c in place of what of the port is a machine's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

from floe.build import link, pipeline, port_archive  # noqa: E402 - the line before says where it is

FILES = 8  # pagesclient.c has the same files, sizes and bytes
FILE_NAME = 0xF11E00
# Not in a node: the machine (node.c and python.c are it), and what is compiled for it in another way (simbuild.py).
_MACHINE = ("port/boot/", "port/hal/", "port/monitor/", "port/xen/", "modules/xen/")
_INSTEAD = ("port/main.o", "port/traceback.o", "port/libc/malloc.o")
_OF_THE_HAL = ("port/hal/console.o", "port/hal/spans.o", "port/hal/suspend.o")
AR_DEADLINE_S = 60
# At an address that nothing else is near, so that each run has the same one: objects without a hash of their own have
# their address for it. It is the loader's to use what a shared object asks for (nodes.c looks at it).
LINKED_AT = ("-Wl,-Ttext-segment=0x640000000000", "-Wl,--gc-sections", "-Wl,--no-undefined", "-Wl,--wrap=gc_alloc")


@dataclass(frozen=True)
class Script:
    """An image, and the words of its command line. pages: its site is made here."""

    name: str
    words: str
    disks: bool = False
    pages: bool = False


SCRIPTS = {
    "redis": Script("redis", "env.APPENDONLY=true env.APPENDFSYNC=always env.REWRITE_SIZE=32K", disks=True),
    "web": Script("web", "", pages=True),
}


def stream_byte(name: int, at: int) -> int:
    """sim_byte() of node.c."""
    x = (name ^ at >> 3) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    x ^= x >> 29
    return (x * 0xBF58476D1CE4E5B9 & (1 << 64) - 1) >> (at % 8 * 8) & 0xFF


def make(script: Script, work: Path, planted: Mapping[str, str]) -> list[str]:
    """What the linker gets, from a folder of its own. planted: files of the image that have another text."""
    app = work / "app" / script.name
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(ROOT / "images" / script.name, app)
    settings = app / "image.toml"
    settings.write_text(settings.read_text().partition("\n[")[0] + "\n")  # no budget, no variants
    for name, text in planted.items():
        (app / name).write_text(text)
    if script.pages:
        shutil.rmtree(app / "data")
        (app / "data").mkdir()
        for n in range(FILES):
            content = bytes(stream_byte(FILE_NAME + n, i) for i in range(n**3 * 97))
            (app / "data" / f"{n}.bin").write_bytes(content)
    built = pipeline.build(app, how="linked").path.parent
    archive = port_archive.load("sealed")
    text = re.sub(r"(extern const hal_driver_t|    &\w+_driver,).*\n", "", (built / "floe_app.c").read_text())
    text += f'const char sim_serves[] = "{script.name}", sim_words[] = "{script.words}";\n'
    (work / "floe_app.c").write_text(text)
    own = link.compile_sources(archive, work, [work / "floe_app.c", HERE / "python.c"])
    brought = [built / f"{name}.o" for name in ("frozen_content", "floe_data", "objmodule")]
    libraries = [archive.disk_library] if script.disks else []
    return [*map(str, (*own, *brought, *libraries, _port(archive.folder, work))), "-lgcc"]


def _port(folder: Path, work: Path) -> Path:
    """An archive of the port's objects without the machine's; it names them and holds none."""
    kept = []
    for path in sorted(folder.rglob("*.o")):
        name = str(path.relative_to(folder))
        other = name.startswith(("disk/", "ready/", "genhdr/", *_MACHINE)) and name not in _OF_THE_HAL
        if not other and name not in _INSTEAD:
            kept.append(str(path))
    out = work / "port.a"
    argv = ["ar", "qcsT", str(out), *kept]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=AR_DEADLINE_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{out}: {done.stderr}")
    return out
