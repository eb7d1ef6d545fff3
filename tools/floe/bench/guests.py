# SPDX-License-Identifier: MIT
"""What is booted to be measured: images, built once, and VMs that end with their `with`."""

from __future__ import annotations

import shlex
import shutil
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe.bench.experiment import LeftOut
from floe.build import pipeline, port_archive
from floe.build.pipeline import Profile
from floe.errors import NotFound, VmError
from floe.qemu import accel
from floe.spec.ports import claim, parse_forward
from floe.spec.vmspec import VmSpec, parse_memory
from floe.stream.stamps import StampFilter
from floe.vm.vm import Vm

if TYPE_CHECKING:
    import asyncio

SCRIPTS = Path(__file__).parent / "scripts"
WEB = port_archive.ROOT / "images" / "web"
HTTP_PORT = 80
LABELS = {"kvm": "KVM", "tcg": "TCG"}  # accelerators, as tables have them


def usable_accels(wanted: str) -> tuple[str, ...]:
    """Those that are compared: all of this machine's for "auto", else the one. Raises VmError."""
    if wanted != "auto":
        return (accel.choose(wanted)[0],)
    return ("kvm", "tcg") if accel.choose("auto")[0] == "kvm" else ("tcg",)


def accels_left_out(used: Sequence[str], what: str) -> tuple[LeftOut, ...]:
    """A line for each accelerator that is not compared. what: as "Floe, {}"."""
    _, no_kvm = accel.choose("auto")
    return tuple(
        LeftOut(what.format(label), no_kvm if name == "kvm" and no_kvm else "--accel names another")
        for name, label in LABELS.items()
        if name not in used
    )


def need(program: str, package: str) -> None:
    """Raises NotFound without this program of a Debian package's."""
    if shutil.which(program) is None:
        raise NotFound(f"{program} is not installed", hint=f"apt-get install {package}")


def need_image(folder: Path) -> None:
    """Raises NotFound where there is no folder of an image's."""
    if not folder.is_dir():
        raise NotFound(f"images/{folder.name} is in a checkout of Floe only", hint="git clone, make setup")


@cache
def build(app: Path, *, profile: Profile | None = None) -> Path:
    """The ELF of an app. Built once: every round measures the same. profile: the app's own if None."""
    return pipeline.build(app, profile=profile).path


def spec(elf: Path, *, memory: str = "32M", ports: Sequence[int | str] = (), **more: Any) -> VmSpec:
    """A VM, its guest's ports forwarded to free ones of this host. more: as VmSpec has it."""
    forwards = claim([parse_forward(f"0:{port}") for port in ports])
    return VmSpec(elf=elf, memory=parse_memory(memory), forwards=forwards, **more)


@contextmanager
def booted(spec: VmSpec, *, loop: asyncio.AbstractEventLoop | None = None) -> Iterator[Vm]:
    """It is ended on leaving, and a panic in it is a VmError."""
    with Vm(spec, loop=loop) as vm:
        yield vm
        if vm.outcome is None:
            vm.pump(lambda: False, 0.05)
        if "PANIC" in vm.console_text:
            raise VmError("the guest panicked", evidence=vm.console_text[-2000:])


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop for several VMs; what still waits in it on leaving, as after Ctrl-C, is cancelled."""
    import asyncio

    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()


def expect(vm: Vm, text: str, deadline_s: float = 30.0) -> None:
    """Wait until the guest says it. Raises VmError."""
    from pexpect import EOF, TIMEOUT

    if vm.expect_exact([text, TIMEOUT, EOF], timeout=deadline_s):
        raise VmError(f"the guest did not say {text!r}", evidence=vm.console_text[-2000:])


def watch_stamps(vm: Vm) -> StampFilter:
    """What will have the guest's stamps, on this host's clock, as soon as their line has come."""
    stamps = StampFilter()

    def on_data(data: bytes) -> None:
        stamps.feed(data.replace(b"\r\n", b"\n"), (time.monotonic() - vm.started_at) * 1000)

    vm.console.on_data = on_data
    return stamps


_SERVES = b"serving on port"
_REQUEST = b"GET /robots.txt HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


async def served(vm: Vm) -> float:
    """Milliseconds from the start of QEMU to the first byte of images/web, which is asked as soon as it says that it
    listens. Takes the console's bytes to itself, as watch_stamps() does before it. Raises VmError."""
    import asyncio

    said, before = asyncio.Event(), vm.console.on_data

    def on_data(data: bytes) -> None:
        before(data)
        said.set()

    vm.console.on_data = on_data
    while _SERVES not in vm.console.data:
        if vm.gone:
            raise VmError("the guest ended before it served", evidence=vm.console_text[-1000:])
        said.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(said.wait(), 0.5)  # or QEMU has ended, which nobody says here
    reader, writer = await asyncio.open_connection("127.0.0.1", vm.ports[HTTP_PORT])
    try:
        writer.write(_REQUEST)
        if await reader.read(1) != b"H":
            raise VmError("the guest served nothing", evidence=vm.console_text[-1000:])
        return (time.monotonic() - vm.started_at) * 1000
    finally:
        writer.close()


def command_of(spec: VmSpec, app: Path, *more: str) -> str:
    """The command with which a user has the same VM. more: its further words."""
    words = ["floe", "run", "--accel", spec.accel, "--machine", spec.machine, "--memory", f"{spec.memory >> 10}K"]
    for forward in spec.forwards:
        words += ["-p", f"0:{forward.guest_port}" + ("/udp" if forward.protocol == "udp" else "")]
    words += [word for key, value in spec.env for word in ("-e", f"{key}={value}")]
    return shlex.join([*words, *more, str(app)])


# The bare guest: x86 in 32 bits, as PVH enters it.
_LETTER = b"A"
_CODE = bytes.fromhex("66ba f803 b041 ee f4 ebfd")  # mov dx, 0x3f8; mov al, 'A'; out dx, al; hlt; jmp to the hlt
_PLACE = 0x200000
_XEN_ELFNOTE_PHYS32_ENTRY = 18


def bare_elf(path: Path) -> Path:
    """Write an ELF that puts one letter on the first serial port and rests: what a VMM costs before any guest does."""
    note = struct.pack("<III4sI", 4, 4, _XEN_ELFNOTE_PHYS32_ENTRY, b"Xen\0", 0)
    headers = 64 + 2 * 56  # Ehdr, two Phdr: the note and the code
    entry = _PLACE + headers + len(note)
    note = note[:-4] + struct.pack("<I", entry)
    size = headers + len(note) + len(_CODE)
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    place = _PLACE + headers
    head += struct.pack("<IIQQQQQQ", 4, 4, headers, place, place, len(note), len(note), 4)
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, _PLACE, _PLACE, size, size, 4096)
    path.write_bytes(head + note + _CODE)
    return path
