# SPDX-License-Identifier: MIT
"""What QEMU may reach of its host, should a guest get out into it: by Landlock, and as root by few capabilities.

It reads its program, libraries and firmware, the system's own files below /usr, /proc and /sys, and what the VM was
given; nobody's home. It writes what the user named for that: disks and captured packets, which are made beforehand. It
listens on the ports that are forwarded, and makes connections where a card is of kind user; with --allow a guard
(floe.egress) makes them. UDP is not restricted, and
a socket that listens without a port gets one of the kernel's choice: Landlock knows neither.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from floe import landlock
from floe.egress import filter as seccomp
from floe.errors import VmError
from floe.landlock import EXECUTE, IOCTL, LIST, MAKE_SOCKET, READ, REMOVE_FILE, TRUNCATE, WRITE, Confinement, Grant
from floe.spec import egress, network
from floe.spec.network import Card
from floe.spec.vmspec import VmSpec, Wires, capture_files

NOT_BY_LANDLOCK = "QEMU is not confined: this kernel has no Landlock, or a container forbids it"

# Where a system keeps programs, libraries and firmware, Nix's, Guix's and Homebrew's too; and what the kernel tells.
_SYSTEM = ("/usr", "/lib", "/lib64", "/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew", "/proc", "/sys")
# Of /etc: what the C library and those that QEMU is linked with look at. As root it would otherwise read /etc/shadow.
_SETTINGS = (
    "ld.so.cache", "ld.so.preload", "localtime", "resolv.conf", "hosts", "host.conf", "nsswitch.conf", "gai.conf",
    "passwd", "group", "ssl/openssl.cnf", "gnutls", "crypto-policies", "sasl2",
)  # fmt: skip
_RESOLVER = Path("/etc/resolv.conf")  # replaced by another file when the host changes networks
_SOURCES = ("/dev/urandom", "/dev/random", "/dev/zero")
_DEVICE = READ | WRITE | IOCTL


def lacks() -> str:
    """Why QEMU is not confined here, for people; "" where it is."""
    return "" if landlock.abi() else NOT_BY_LANDLOCK


@contextmanager
def confinement(spec: VmSpec, wires: Wires, program: str) -> Iterator[Confinement]:
    """Of this program as the VM's QEMU, whose descriptor is closed at the end. Raises VmError."""
    user = any(card.kind == "user" for card in spec.cards)
    rules = ""
    if spec.egress is not None:
        if lacking := seccomp.lacks():
            raise VmError(f"--allow: {lacking}", hint="without --allow, or --net none")
        rules = egress.rules(spec.egress, spec.cards, spec.forwards)
    connects = user and not rules
    binds = {f.through or f.host_port for f in spec.forwards if f.protocol == "tcp"} if user else set()
    try:
        _prepare(spec)
        grants = [*_program(program), *_system(user=user), *_devices(spec), *_files(spec, wires)]
        made = landlock.ruleset(grants, binds=binds, connects=connects)
    except OSError as e:
        raise VmError(f"QEMU cannot be confined: {e.strerror}") from e
    try:
        yield Confinement(made, _capabilities(spec.cards, user=user, pings=connects), rules)
    finally:
        if made >= 0:
            os.close(made)


def _prepare(spec: VmSpec) -> None:
    """QEMU makes no file itself: it would have to write in the whole folder. What it cannot open it tells."""
    for path in capture_files(spec):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _program(program: str) -> list[Grant]:
    """The program, its loader, and the folder that they were installed to. No other program is started; but a script
    that stands for QEMU starts one."""
    real = os.path.realpath(program)
    loader = _loader(real)
    run = READ | LIST | (0 if loader is not None else EXECUTE)
    grants = [Grant(real, READ | EXECUTE)]
    if loader is None:
        grants += [Grant(path, EXECUTE) for path in _SYSTEM[:-2]]
    elif loader:
        grants.append(Grant(loader, READ | EXECUTE))
    folders = {_installed(os.path.abspath(program)), _installed(real)}
    folders |= {os.path.realpath(path) for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path}
    return [*grants, *(Grant(path, run) for path in folders if path)]


def _installed(program: str) -> str:
    """The folder that a program has its own files in, "" where that would be somebody's home, or everything."""
    folder = os.path.dirname(program)
    outer = os.path.dirname(folder)
    home = os.path.realpath(os.path.expanduser("~"))
    places = [outer] if os.path.basename(folder) in ("bin", "sbin", "libexec") else []
    for place in (*places, folder):
        if os.path.commonpath([home, place]) != place:
            return place
    return ""


def _loader(program: str) -> str | None:
    """The interpreter of an ELF file (System V ABI, "Program Interpreter"), "" where it has none; None: no ELF file."""
    try:
        with open(program, "rb") as f:
            head = f.read(64)
            if len(head) < 64 or head[:5] != b"\x7fELF\x02":
                return None
            at, size, count = struct.unpack_from("<32xQ14xHH", head)
            f.seek(at)
            table = f.read(size * count)
            for start in range(0, len(table) - 55, size):
                kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", table, start)
                if kind == 3:  # PT_INTERP
                    f.seek(offset)
                    return f.read(min(length, 4096)).rstrip(b"\0").decode()
    except (OSError, ValueError, struct.error):
        return None
    return ""


def _system(*, user: bool) -> list[Grant]:
    grants = [Grant(path, READ | LIST) for path in _SYSTEM]
    grants += [Grant(f"/etc/{name}", READ | LIST) for name in _SETTINGS]
    if user:  # QEMU answers for the name servers of the host, and looks for others now and then
        grants.append(Grant(_RESOLVER.resolve().parent, READ))
    return grants


def _devices(spec: VmSpec) -> list[Grant]:
    grants = [Grant(path, READ) for path in _SOURCES] + [Grant("/dev/null", READ | WRITE)]
    if spec.accel == "kvm":
        grants.append(Grant("/dev/kvm", _DEVICE))
    if any(card.kind in ("tap", "bridge") for card in spec.cards):
        grants += [Grant("/dev/net/tun", _DEVICE), Grant("/dev/vhost-net", _DEVICE)]
    return grants


def _files(spec: VmSpec, wires: Wires) -> list[Grant]:
    """What the VM was given. What else it inherits is in no file system, and can be opened again as it is."""
    grants = [Grant(spec.elf, READ)]
    if wires.ram:  # also where QEMU writes none of it, it wants to be able to
        grants.append(Grant(wires.ram, READ | WRITE))
    for disk in spec.disks:
        grants.append(Grant(disk.path, READ | IOCTL | (0 if disk.readonly else WRITE | TRUNCATE)))
    grants += [Grant(path, WRITE | TRUNCATE) for path in capture_files(spec)]
    # Whoever listens makes a socket, and removes the one that a QEMU before it has left.
    folders = {path.absolute().parent for path in network.socket_paths(spec.cards)}
    return grants + [Grant(folder, MAKE_SOCKET | REMOVE_FILE) for folder in folders]


def _capabilities(cards: Sequence[Card], *, user: bool, pings: bool) -> int:
    """What root keeps: files of others' that were named, ports below 1024, a guest's ping, a tap by its name."""
    kept = 1 << landlock.DAC_OVERRIDE
    if user:
        kept |= 1 << landlock.NET_BIND_SERVICE
    if pings:
        kept |= 1 << landlock.NET_RAW
    if any(card.kind == "tap" and card.fd < 0 for card in cards):  # one on a bridge is inherited
        kept |= 1 << landlock.NET_ADMIN
    return kept
