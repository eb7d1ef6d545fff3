# SPDX-License-Identifier: MIT
"""Guests of the KVM lab: their files, the inner QEMU's command line, the script that runs it.

An ELF is copied into the lab's memory; a disk is a file of this machine, plugged into the lab's; a port of this machine
is forwarded to one of Linux, and that by the inner QEMU to the guest's.
"""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from floe.errors import FloeError, UsageError, VmError
from floe.kvmlab.lab import LAB
from floe.lab import disk as labdisk
from floe.lab.leases import Lease, lock
from floe.qemu import commandline
from floe.qemu.commandline import Endpoints
from floe.spec import disks
from floe.spec.vmspec import VmSpec

_FOLDER = "/run/guests"
_PORTS = range(20000, 21000)  # of Linux, lent to guests
_PUT_S = 60.0
_REMOVE_S = 15.0
# The 16550 goes with QEMU's own words, to standard error: a pipe there, as a socket cannot be opened by its name.
_ENDPOINTS = Endpoints("stdio,id=console,signal=off", "file,id=serial,path=/proc/self/fd/2", lossless=False)
# What comes there is kept until the end, so that it stands in no line of the console's.
_SCRIPT = """
trap 'rm -f {file} {file}.said' EXIT
trap 'exit 143' TERM
{{ {{ {command}; echo $? >{file}; }} 2>&1 >&3 | head -c {most} >{file}.said; }} 3>&1
cat {file}.said
read -r s <{file} && exit $s
exit 1
"""
_MOST = 1 << 16  # bytes


@contextmanager
def put(data: bytes) -> Iterator[str]:
    """A file in the lab's memory, executable, until the end of the context. Raises as Lab.call(), and VmError when
    there is no room for it."""
    path = f"{_FOLDER}/{secrets.token_hex(8)}"
    try:
        said = LAB.call(f"cat >{path} && chmod 700 {path} && wc -c <{path}", stdin=data, deadline_s=_PUT_S).strip()
        if said != str(len(data)):
            raise VmError(f"{LAB.title} did not take a file of {len(data)} bytes", evidence=said)
        yield path
    finally:
        _remove(path)


def _remove(path: str) -> None:
    """A lab that is gone, or does not answer, has nothing that need be removed."""
    try:
        LAB.call(f"rm -f {path}", deadline_s=_REMOVE_S)
    except (FloeError, OSError):
        return


@contextmanager
def settled(spec: VmSpec) -> Iterator[VmSpec]:
    """The same guest as the inner QEMU is to have it: with the names that its files have there, and Linux's ports.

    Raises NotFound without a lab, and what disks.provide(), labdisk.plug() and Lab.forward() do."""
    LAB.running()
    disks.provide(spec.disks)
    with ExitStack() as lent:
        elf = lent.enter_context(put(spec.elf.read_bytes()))
        there = [lent.enter_context(labdisk.plug(LAB, disk)).target for disk in spec.disks]
        forwards = []
        for forward in spec.forwards:
            if forward.is_ip6:
                raise UsageError(f"-p [{forward.address}]:...: the lab forwards IPv4 alone", hint="-p 8080:80")
            port = lent.enter_context(_port())
            lent.enter_context(
                LAB.forward(forward.address, forward.host_port, LAB.address, int(port.name), forward.protocol)
            )
            forwards.append(replace(forward, address=LAB.address, host_port=int(port.name)))
        yield replace(
            spec,
            elf=Path(elf),
            accel="kvm",
            forwards=tuple(forwards),
            disks=tuple(replace(disk, path=Path(path)) for disk, path in zip(spec.disks, there, strict=True)),
        )


class _Port(Lease):
    def __init__(self, fd: int, path: Path) -> None:
        super().__init__(fd, path)
        self.name = path.name


def _port() -> _Port:
    """A port of Linux that no other guest has."""
    for number in _PORTS:
        path = LAB.folder() / "ports" / str(number)
        if (fd := lock(path)) is not None:
            return _Port(fd, path)
    raise FloeError(f"all {len(_PORTS)} ports for guests of {LAB.title} are taken", hint="floe lab kvm down")


def command(spec: VmSpec) -> list[str]:
    """The inner QEMU's command line for a guest that is settled."""
    argv = [commandline.QEMU, *commandline.command_line(spec, _ENDPOINTS)[1:]]
    for index, word in enumerate(argv):
        if word == "-blockdev":  # a block device of Linux, whatever that path is on this machine
            argv[index + 1] = json.dumps(json.loads(argv[index + 1]) | {"driver": "host_device"})
    return argv


def script(argv: Sequence[str]) -> str:
    """A shell text that runs the inner QEMU: the guest's console is its input and output, QEMU's status its exit code.
    Behind the console comes what the 16550 and QEMU said."""
    return _SCRIPT.format(command=shlex.join(argv), file=f"{_FOLDER}/{secrets.token_hex(8)}", most=_MOST)
