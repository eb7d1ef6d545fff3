# SPDX-License-Identifier: MIT
"""The image's own layer: the ELF, the first process (entry.c) and the lists of words that it reads, below /floe."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from floe.build.config import ImageConfig
from floe.errors import NotFound, UsageError
from floe.image import elf
from floe.oci.layout import File
from floe.qemu import commandline
from floe.qemu.commandline import Endpoints
from floe.spec.network import Card
from floe.spec.ports import Forward, parse_forwards
from floe.spec.vmspec import VmSpec
from floe.stream.keys import stop_keys

FOLDER = "/floe"
ENTRY = f"{FOLDER}/entry"
HEALTHY = f"{FOLDER}/healthy"
_ELF = f"{FOLDER}/image.elf"
# Of the network inside QEMU, which keeps a caller's address: none that a caller can have (RFC 5737). slirp4netns gives
# a container 10.0.2.100, in QEMU's usual network, where the guest would look for it in vain.
_GUEST = "192.0.2.15/24"
_EVERYWHERE = "0.0.0.0"  # of the container's own network
# entry.h has these descriptors. The console is the standard streams.
_ENDPOINTS = Endpoints("stdio,id=console,signal=off", "socket,id=serial,fd=3", "socket,id=qmp,fd=4")
_VARIABLES = ["-fw_cfg", "name=opt/floe/env/0,file=/dev/fd/5"]


def forwards(settings: ImageConfig) -> tuple[Forward, ...]:
    """The ports of image.toml: in the container they have the guest's numbers."""
    found = [f for text in settings.ports for f in parse_forwards(text)]
    told = [Forward(_EVERYWHERE, f.guest_port, f.guest_port, f.protocol) for f in found]
    return tuple(dict.fromkeys(told))


def files(made: elf.Image, settings: ImageConfig, program: str, entry: Path) -> list[File]:
    """Of the layer. program: QEMU's path in the container; entry: the file that entry.c was compiled to.

    Raises NotFound, UsageError."""
    if not entry.is_file():
        raise NotFound("the containers' first process is not compiled", evidence=f"missing: {entry}", hint="make setup")
    networked = "virtio-net" in made.content["drivers"]
    ports = forwards(settings)
    if ports and not networked:
        raise UsageError(f"ports of {settings.name}: nothing in it imports network or socket", hint="ports = []")
    spec = VmSpec(
        Path(_ELF),
        memory=int(made.content["memory"]),
        cards=(Card(ip=_GUEST),) if networked else (),
        forwards=ports,
        switches=("floe.env=1",),
    )
    lists = {kind: _command(replace(spec, accel=kind), program) for kind in ("kvm", "tcg")} | {
        "stop": [stop_keys(made.content["profile"]).decode()],
        "ports": [str(f.guest_port) for f in ports if f.protocol == "tcp"],
        "secrets": list(made.content.get("secrets", ())),
    }
    return [
        File(ENTRY, entry, 0o755),
        File(HEALTHY, link=Path(ENTRY).name),
        File(_ELF, made.path),
        *(File(f"{FOLDER}/{name}", _words(words)) for name, words in lists.items()),
        File("/urunc.json", _json({key: base64.b64encode(value.encode()).decode() for key, value in urunc().items()})),
    ]


def _command(spec: VmSpec, program: str) -> list[str]:
    return [program, *commandline.command_line(spec, _ENDPOINTS, _VARIABLES)[1:]]


def _words(words: Sequence[str]) -> bytes:
    return "".join(f"{word}\0" for word in words).encode()


def urunc() -> dict[str, str]:
    """The annotations of urunc, an OCI runtime that starts a monitor itself; it also reads them from /urunc.json, each
    in base64."""
    said = {"unikernelType": "floe", "hypervisor": "qemu", "binary": _ELF, "cmdline": "", "mountRootfs": "false"}
    return {f"com.urunc.unikernel.{key}": value for key, value in said.items()}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
