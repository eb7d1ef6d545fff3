# SPDX-License-Identifier: MIT
"""The other end of harness.c: builds the drivers with sanitizers and works them by commands.

The process under test is a child: what the sanitizers find ends it, and the test sees `Died` with the report.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
BUILD_DEADLINE_S = 120
ANSWER_DEADLINE_S = 20
FLAGS = [
    "-g",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-std=gnu11",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
]

EAGAIN, EIO, ENOMEM, ENODEV, EINVAL, ENOSPC, ENOSYS = -11, -5, -12, -19, -22, -28, -38
ETIMEDOUT, ENOTSUP, EMSGSIZE = -110, -95, -90
NET, BLOCK, CONSOLE, RNG = 1, 2, 3, 4
VERSION_1, EVENT_IDX = 1 << 32, 1 << 29


class Died(Exception):
    """The process under test ended. status: its exit status (negative: a signal); report: its last output."""

    def __init__(self, command: str, status: int, report: str) -> None:
        super().__init__(f"harness died with {status} in {command!r}:\n{report}")
        self.status = status
        self.report = report


def build(out: Path) -> Path:
    """Compile harness, fakes and drivers into one program with ASan and UBSan; return its path."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("neither gcc nor clang is installed; try: apt-get install gcc")
    fakes = ("fake_hal.c", "fake_device.c")
    users = ("disk_user.c", "net_user.c")
    own = [HERE / name for name in ("harness.c", "fuzz.c", "fuzz_lives.c", "disk.c", "line.c", *users, *fakes)]
    sources = [
        *own,
        *(ROOT / "modules/virtio").glob("*.c"),
        ROOT / "modules/netdev/netdev.c",
        ROOT / "modules/family/familydev.c",
        *(ROOT / "modules/blkdev" / f"{name}.c" for name in ("blkdev", "blkcache", "blkorder")),
    ]
    includes = [
        f"-I{ROOT / d}" for d in ("port/hal", "modules/netdev", "modules/family", "modules/blkdev", "modules/virtio")
    ]
    program = out / "harness"
    argv = [compiler, *FLAGS, "-include", str(HERE / "fake_hal.h"), *includes, *map(str, sources), "-o", str(program)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_DEADLINE_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"harness does not compile:\n{done.stderr}")
    return program


@dataclass
class Harness:
    """One process under test. `log` collects what the drivers printed, `events` the other tagged lines."""

    program: Path
    log: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
        self.process = subprocess.Popen(
            [str(self.program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
        )

    def __enter__(self) -> Harness:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def do(self, *words: object) -> str:
        """Run one command; return its answer (the lines that carry no tag), or raise Died."""
        command = " ".join(map(str, words))
        assert self.process.stdin is not None and self.process.stdout is not None
        watchdog = threading.Timer(ANSWER_DEADLINE_S, self.process.kill)
        watchdog.start()
        answer: list[str] = []
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                line = line.rstrip("\n")
                if line == ".":
                    return "\n".join(answer)
                tag, _, rest = line.partition(" ")
                if tag == "LOG":
                    self.log.append(rest)
                elif tag in ("INPUT", "ENTROPY", "ATTACH"):
                    self.events.append(line)
                else:
                    answer.append(line)
        except BrokenPipeError:
            pass
        finally:
            watchdog.cancel()
        raise Died(command, self.process.wait(ANSWER_DEADLINE_S), "\n".join(answer))

    def number(self, *words: object) -> int:
        return int(self.do(*words))

    def numbers(self, *words: object) -> list[int]:
        return [int(w) for w in self.do(*words).split()]


@dataclass(frozen=True)
class Chain:
    """A descriptor chain as the device sees it: head, and the lengths it may read and write."""

    head: int
    readable: list[int]
    writable: list[int]


class Device:
    """A fake device of one harness, over either transport."""

    def __init__(self, h: Harness, bus: str, kind: int) -> None:
        self.h = h
        self.bus = bus
        if bus == "mmio":
            count = h.number("mmio", 0xFEB00000, kind)
            h.do("hal", "cmdline", "virtio_mmio.device=512@0xfeb00000:5")
        else:
            count = h.number("pci", kind)
        self.index = count

    def set(self, **knobs: int) -> None:
        for name, value in knobs.items():
            self.h.do("dset", self.index, name.replace("__", "."), value)

    def get(self, name: str) -> int:
        return self.h.number("dget", self.index, name)

    def config(self, offset: int, data: bytes) -> None:
        self.h.do("config", self.index, offset, data.hex())

    def space(self, offset: int, data: bytes) -> None:
        self.h.do("space", self.index, offset, data.hex())

    def next(self, queue: int) -> Chain | None:
        """Take the next chain the driver made available."""
        answer = self.h.do("next", self.index, queue)
        if answer == "none":
            return None
        head, *segs = answer.split()
        lengths = [(s[0], int(s[1:])) for s in segs]
        return Chain(int(head), [n for k, n in lengths if k == "r"], [n for k, n in lengths if k == "w"])

    def take(self, queue: int) -> Chain:
        chain = self.next(queue)
        assert chain is not None, f"queue {queue} holds no buffer"
        return chain

    def drain(self, queue: int) -> list[Chain]:
        chains = []
        while (chain := self.next(queue)) is not None:
            chains.append(chain)
        return chains

    def read(self, queue: int, chain: Chain) -> bytes:
        return bytes.fromhex(self.h.do("read", self.index, queue, chain.head))

    def look(self, queue: int, chain: Chain) -> bytes:
        """What lies in a chain's writable buffers before anything is written there."""
        return bytes.fromhex(self.h.do("look", self.index, queue, chain.head))

    def fill(self, queue: int, chain: Chain, data: bytes) -> None:
        self.h.do("fill", self.index, queue, chain.head, data.hex())

    def used(self, queue: int, head: int, length: int) -> None:
        self.h.do("used", self.index, queue, head, length)

    def jump(self, queue: int, by: int) -> None:
        self.h.do("usedidx", self.index, queue, by)
