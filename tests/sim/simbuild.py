# SPDX-License-Identifier: MIT
"""Compiles the simulation: world, the host program, and node.so, once for each node, so that each has data of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.sim import scripts

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
UPSTREAM = ROOT / "build/upstream"
LWIP = UPSTREAM / "lwip/src"
LITTLEFS = UPSTREAM / "micropython/lib/littlefs"
NODES = 3
DEADLINE_S = 180
SERVER = [HERE / "server.c", HERE / "store.c", *(LITTLEFS / f"{name}.c" for name in ("lfs2", "lfs2_util"))]
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize=null")
# glibc's checked longjmp() refuses to leave for another stack.
COMMON = (
    "-U_FORTIFY_SOURCE",
    "-g",
    "-O1",
    "-std=gnu11",
    "-fno-omit-frame-pointer",
    "-fno-delete-null-pointer-checks",
    f"-I{ROOT}",
)
OUR_WARNINGS = ("-Wall", "-Wextra", "-Werror")
# A node's memory is the world's; only what sim_node names is seen from outside.
NODE = (
    "-fPIC",
    "-fvisibility=hidden",
    *(f"-D{name}=sim_{name}" for name in ("malloc", "calloc", "free")),
    "-include",
    str(HERE / "simhal.h"),
    *(f"-I{ROOT / d}" for d in ("port/hal", "modules/netdev", "modules/lwip", "modules/blkdev", "modules/virtio")),
    f"-I{LWIP / 'include'}",
    f"-I{LITTLEFS}",
)
# Its assertions hold, but for those of misuse, which the port answers with an exception. It copies a block byte by byte,
# with two calls for each: a third of a run, unless they are inlined, large as they are.
LITTLEFS_FLAGS = (
    *("-w", "-DLFS2_NO_DEBUG", "-DLFS2_NO_WARN", "-DLFS2_NO_ERROR", "-DLFS2_ASSERT(test)=hal_assert(test)"),
    *("--param=max-inline-insns-auto=500", "--param=large-function-growth=5000"),
    *("--param=inline-unit-growth=500", "--param=large-stack-frame-growth=5000"),
)


@dataclass(frozen=True)
class Sources:
    """flags: of each source of a node, and of each of the world's."""

    node: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    world: dict[Path, tuple[str, ...]] = field(default_factory=dict)


def sources() -> Sources:
    """What is compiled, and how: lwIP as modules/lwip/lwip.mk has it."""
    ours = [p for p in (ROOT / "modules/lwip").glob("*.c") if not p.name.startswith("mod_")]
    virtio = ("transport_mmio", "transport_pci", "virtio", "virtio_blk", "virtio_net", "virtqueue")
    ours += [ROOT / f"modules/virtio/{name}.c" for name in virtio]
    ours += [ROOT / f"modules/blkdev/{name}.c" for name in ("blkdev", "blkcache", "blkorder")]
    ours += [ROOT / f"modules/packet/{name}.c" for name in ("packetover", "packetvlan")]
    ours += [ROOT / "modules/netdev/netdev.c", ROOT / "port/hal/events.c", ROOT / "port/hal/copied.c"]
    ours += [ROOT / "tests/c/support/fake_device.c"]
    ours += [
        HERE / f"{name}.c" for name in ("node", "device", "server", "store", "client", "redisclient", "pagesclient")
    ]
    upstream = [p for d in ("core", "core/ipv4", "core/ipv6") for p in (LWIP / d).glob("*.c") if p.name != "timeouts.c"]
    upstream.append(LWIP / "netif/ethernet.c")
    assert len(upstream) > 25, f"{LWIP} is incomplete; try: make setup"
    node = dict.fromkeys(ours, (*OUR_WARNINGS, *NODE)) | dict.fromkeys(upstream, ("-w", *NODE))
    mtu = ["nd6_get_destination_mtu=nettx_path_mtu"]
    renamed = {"core/tcp": mtu, "core/ipv6/ip6": mtu, "core/ipv6/ip6_frag": mtu}
    renamed["core/ipv6/icmp6"] = ["nd6_input=netneigh_icmp6", "mld6_input=netneigh_icmp6"]
    renamed["netif/ethernet"] = ["etharp_input=netneigh_arp"]
    for name, defines in renamed.items():
        node[LWIP / f"{name}.c"] += tuple(f"-D{define}" for define in defines)
    for name in ("lfs2", "lfs2_util"):
        node[LITTLEFS / f"{name}.c"] = (*NODE, *LITTLEFS_FLAGS)
    world = dict.fromkeys((HERE / f"{name}.c" for name in ("world", "nodes", "wire", "medium")), OUR_WARNINGS)
    return Sources(node, world)


class Simulation:
    """Objects in a folder; programs made of them, with or without a source that is another one."""

    def __init__(self, folder: Path, *, sanitize: bool) -> None:
        """Compile all. Raises RuntimeError with what the compiler said."""
        compiler = os.environ.get("CC") or shutil.which("gcc")
        if compiler is None:
            raise RuntimeError("gcc is not installed; try: apt-get install gcc")
        self._compiler = compiler
        self._folder = folder
        self._flags = (*COMMON, *(SANITIZERS if sanitize else ("-O3",)))
        self._sources = sources()
        folder.mkdir(parents=True, exist_ok=True)
        every = {**self._sources.node, **self._sources.world}
        self._objects = {source: folder / f"{n}-{source.stem}.o" for n, source in enumerate(every)}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda s: self._compile(s, every[s], self._objects[s]), every))

    def program(
        self, name: str, planted: Mapping[Path, str] | None = None, script: scripts.Script | None = None
    ) -> Path:
        """A folder with world and its nodes. planted: what some of a node's sources are in this one, or with a script
        of the image's files."""
        out = self._folder / name
        out.mkdir(exist_ok=True)
        objects = dict(self._objects)
        planted = planted or {}
        for source, text in () if script else planted.items():
            changed = out / source.name
            changed.write_text(text)
            objects[source] = out / f"{source.stem}.o"
            self._compile(changed, (*self._sources.node[source], f"-I{source.parent}"), objects[source])
        node = [str(objects[source]) for source in self._sources.node]
        shared = ("-shared", "-Wl,-z,norelro", "-Wl,-Bsymbolic")
        self._run([self._compiler, *self._flags, *shared, *node, "-o", str(out / "node0.so")])
        for n in range(1, NODES):
            shutil.copyfile(out / "node0.so", out / f"node{n}.so")
        if script:
            node = [str(objects[source]) for source in self._sources.node if source not in SERVER]
            node += scripts.make(script, out / "work", {path.name: text for path, text in planted.items()})
            self._run([self._compiler, *self._flags, *shared, *scripts.LINKED_AT, *node, "-o", str(out / "node0.so")])
        world = [str(objects[source]) for source in self._sources.world]
        self._run([self._compiler, *self._flags, *world, "-ldl", "-o", str(out / "world")])
        return out

    def _compile(self, source: Path, flags: tuple[str, ...], out: Path) -> None:
        self._run([self._compiler, *self._flags, *flags, "-c", str(source), "-o", str(out)])

    def _run(self, argv: list[str]) -> None:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}\n{done.stderr}")
